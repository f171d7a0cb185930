"""YAML text to values of the same kinds as JSON; knows nothing of files or fields.

Events become values on a stack of our own: nothing recurses, no tag ever constructs an object, aliases are copied and counted. Plain
scalars follow the core schema of YAML 1.2: ``yes``, ``on`` and dates stay text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

from tlsgate.config.json_text import MAX_DEPTH, UnusableText, examine, parse_integer, parse_number

__all__ = ["MAX_ALIAS_NODES", "copy_value", "parse_yaml"]

MAX_ALIAS_NODES = 100_000
"""Values that aliases may add by repetition."""

_YAML_NULL = re.compile(r"(?:~|null|Null|NULL|)\Z")
_YAML_TRUE = re.compile(r"(?:true|True|TRUE)\Z")
_YAML_FALSE = re.compile(r"(?:false|False|FALSE)\Z")
_YAML_INT = re.compile(r"[-+]?[0-9]+\Z")
_YAML_BASED = re.compile(r"0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_YAML_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_YAML_ODD = re.compile(r"[-+]?\.(?:inf|Inf|INF)\Z|\.(?:nan|NaN|NAN)\Z")
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Open:
    """A mapping or sequence under construction."""

    __slots__ = ("anchor", "is_map", "key", "merged", "nodes", "value")

    def __init__(self, *, is_map: bool, anchor: str | None) -> None:
        self.is_map = is_map
        self.anchor = anchor
        self.value: Any = {} if is_map else []
        self.key: str | None = None
        self.merged: list[dict[str, Any]] = []
        """Objects under merge keys (``<<``): members of their own win over them."""
        self.nodes = 1


def parse_yaml(text: str) -> object:
    """Return the value of a YAML document.

    :raises ValueError: beyond the bounds (:class:`tlsgate.config.json_text.UnusableText`).
    :raises yaml.YAMLError: not well-formed.
    """
    events: Iterator[Any] = yaml.parse(text, Loader=_LOADER)
    stack: list[_Open] = []
    anchors: dict[str, tuple[Any, int]] = {}
    repeated = 0
    documents = 0
    result: Any = None
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise UnusableText("several YAML documents in one file: each needs a file of its own")
            continue
        if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            is_map = isinstance(event, yaml.MappingStartEvent)
            _check_tag(event.tag, "map" if is_map else "seq")
            if len(stack) >= MAX_DEPTH:
                raise UnusableText(f"nested deeper than {MAX_DEPTH} levels")
            if stack and stack[-1].is_map and stack[-1].key is None:
                raise UnusableText("a YAML key that is not plain text")
            stack.append(_Open(is_map=is_map, anchor=event.anchor))
            continue
        if isinstance(event, yaml.ScalarEvent):
            top = stack[-1] if stack else None
            if top is not None and top.is_map and top.key is None:
                top.key = event.value
                continue
            value, nodes = _scalar(event), 1
            if event.anchor:
                anchors[event.anchor] = (value, 1)
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in anchors:
                raise UnusableText("a YAML alias without its anchor, or inside of it")
            value, nodes = anchors[event.anchor]
            repeated += nodes
            if repeated > MAX_ALIAS_NODES:
                raise UnusableText("YAML aliases repeat too much")
            if stack and stack[-1].is_map and stack[-1].key is None:
                raise UnusableText("a YAML key that is not plain text")
            value = copy_value(value)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            done = stack.pop()
            for merged in done.merged:
                for key, item in merged.items():
                    done.value.setdefault(key, item)
            value, nodes = done.value, done.nodes
            if done.anchor:
                anchors[done.anchor] = (value, nodes)
        else:
            continue
        if stack:
            _put(stack[-1], value, nodes)
        else:
            result = value
    examine(result)
    return result


def _put(parent: _Open, value: object, nodes: int) -> None:
    parent.nodes += nodes
    if not parent.is_map:
        parent.value.append(value)
        return
    assert parent.key is not None
    if parent.key == "<<":
        for source in value if isinstance(value, list) else [value]:
            if not isinstance(source, dict):
                raise UnusableText("a YAML merge key without a mapping")
            parent.merged.append(source)
        parent.key = None
        return
    if parent.key in parent.value:
        raise UnusableText(f"member {json.dumps(parent.key[:60])} is given twice in one mapping")
    parent.value[parent.key] = value
    parent.key = None


def _check_tag(tag: str | None, expected: str) -> None:
    if tag not in (None, "!", f"tag:yaml.org,2002:{expected}"):
        raise UnusableText("YAML tags are not taken")


def _scalar(event: Any) -> object:
    """Return the value of a scalar by the core schema of YAML 1.2: ``yes``, ``on`` and dates stay text."""
    text: str = event.value
    if event.tag not in (None, "!"):
        _check_tag(event.tag, "str")
        return text
    if event.style not in (None, "") or event.tag == "!":
        return text
    if _YAML_NULL.match(text):
        return None
    if _YAML_TRUE.match(text):
        return True
    if _YAML_FALSE.match(text):
        return False
    if _YAML_INT.match(text):
        return parse_integer(text)
    if _YAML_BASED.match(text):
        return parse_integer(text)
    if _YAML_FLOAT.match(text):
        return parse_number(text)
    if _YAML_ODD.match(text):
        raise UnusableText(f"{text} is no number of JSON")
    return text


def copy_value(value: Any) -> Any:
    """Return a copy that shares no object or list with the original."""
    if isinstance(value, dict):
        return {key: copy_value(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copy_value(item) for item in value]
    return value
