"""Text of a configuration file to a plain tree: JSON, and YAML by extension, read strictly and within bounds.

Knows the two syntaxes; must not know any field. Stricter than the usual readers where leniency hides mistakes: a member given twice,
numbers that no computer number holds, half a surrogate pair, several documents, YAML tags, and aliases that multiply.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
from collections.abc import Iterator
from typing import Any, NoReturn

import yaml

from tlsgate.errors import ConfigError, Problem

__all__ = ["Tree", "copy_tree", "is_yaml", "load_tree", "parse_json", "parse_tree"]

Tree = dict[str, Any]
"""An object of JSON: members as written."""

MAX_DEPTH = 128
MAX_FILE_BYTES = 256 * 1024 * 1024
MAX_ALIAS_NODES = 100_000
"""Values that YAML aliases may add by repetition."""
_MAX_DIGITS = 400

_YAML_NULL = re.compile(r"(?:~|null|Null|NULL|)\Z")
_YAML_TRUE = re.compile(r"(?:true|True|TRUE)\Z")
_YAML_FALSE = re.compile(r"(?:false|False|FALSE)\Z")
_YAML_INT = re.compile(r"[-+]?[0-9]+\Z")
_YAML_BASED = re.compile(r"0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_YAML_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_YAML_ODD = re.compile(r"[-+]?\.(?:inf|Inf|INF)\Z|\.(?:nan|NaN|NAN)\Z")
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def is_yaml(name: str) -> bool:
    """Tell whether a file of this name holds YAML."""
    return name.lower().endswith((".yaml", ".yml"))


def load_tree(path: str, *, regular: bool = False) -> Tree:
    """Read a file and return its tree.

    :param path: JSON, or YAML by extension.
    :param regular: refuse anything but a regular file, so that a pipe in a directory of definitions stops nobody.
    :raises ConfigError: unreadable, too big, or as of :func:`parse_tree`.
    """
    try:
        # without O_NONBLOCK opening a pipe waits for its writer, perhaps for ever
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | (os.O_NONBLOCK if regular else 0))
        with open(descriptor, "rb") as file:
            if regular and not stat.S_ISREG(os.fstat(descriptor).st_mode):
                _fail(path, "not a regular file")
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        _fail(path, f"cannot be read: {error.strerror or type(error).__name__}", "check the path and the permissions")
    if len(data) > MAX_FILE_BYTES:
        _fail(path, f"larger than {MAX_FILE_BYTES // 1048576} MiB")
    return parse_tree(data, path)


def parse_tree(data: bytes, name: str) -> Tree:
    """Return the tree of a file's bytes.

    :param data: UTF-8, with or without a byte order mark.
    :param name: file name: tells JSON from YAML, and stands in problems.
    :raises ConfigError: not one well-formed object; the problem gives line and column, never the text itself.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        _fail(name, f"not UTF-8 (byte {error.start})", "save the file as UTF-8")
    if not text.strip():
        _fail(name, "the file is empty", "an object is needed, {} at least")
    try:
        value = _parse_yaml(text) if is_yaml(name) else _parse_json(text)
    except RecursionError:
        _fail(name, f"nested deeper than {MAX_DEPTH} levels")
    except _Unusable as error:
        _fail(name, str(error))
    except json.JSONDecodeError as error:
        _fail(name, f"not valid JSON: {_json_reason(error)} at line {error.lineno}, column {error.colno}")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        _fail(name, f"not valid YAML: {_yaml_reason(error)}{place}")
    except yaml.YAMLError as error:
        _fail(name, f"not valid YAML: {type(error).__name__}")
    if not isinstance(value, dict):
        _fail(name, "the file holds no object at its top")
    try:
        _examine(value)
    except _Unusable as error:
        _fail(name, str(error))
    return value


def parse_json(text: str) -> object:
    """Return the value of a JSON text, read as strictly as a file.

    :raises ValueError: not well-formed, or beyond the bounds.
    """
    try:
        value = _parse_json(text)
        _examine(value)
    except (RecursionError, _Unusable) as error:
        raise ValueError(str(error)) from None
    return value


def copy_tree(value: Any) -> Any:
    """Return a copy that shares no object or list with the original."""
    if isinstance(value, dict):
        return {key: copy_tree(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copy_tree(item) for item in value]
    return value


class _Unusable(Exception):
    """Well-formed, perhaps, but nothing that a configuration may hold."""


def _fail(name: str, message: str, remedy: str = "") -> NoReturn:
    raise ConfigError([Problem(name, "", "", message, remedy)]) from None


def _json_reason(error: json.JSONDecodeError) -> str:
    return error.msg[0].lower() + error.msg[1:]


def _yaml_reason(error: yaml.MarkedYAMLError) -> str:
    """Keep the wording of the parser unless it quotes the file."""
    reason = error.problem or "syntax error"
    return reason if "'" not in reason and '"' not in reason else reason.split("'")[0].split('"')[0].strip(" ,:") or "syntax error"


# JSON


def _parse_json(text: str) -> object:
    return json.loads(text, object_pairs_hook=_object, parse_int=_integer, parse_float=_number, parse_constant=_constant)


def _object(pairs: list[tuple[str, Any]]) -> Tree:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise _Unusable(f"member {json.dumps(name[:60])} is given twice in one object")
            seen.add(name)
    return made


def _integer(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise _Unusable("a number has too many digits")
    return int(text)


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _Unusable("a number is too large")
    return value


def _constant(text: str) -> float:
    raise _Unusable(f"{text} is no number of JSON")


def _examine(value: object) -> None:
    """Refuse what nests too deep or holds half of a surrogate pair; iterative, because the depth is not known yet."""
    if isinstance(value, str):
        _examine_text(value)
    level: list[object] = [value]
    depth = 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise _Unusable(f"nested deeper than {MAX_DEPTH} levels")
        below: list[object] = []
        for item in level:
            for text in item if isinstance(item, dict) else ():
                _examine_text(text)
            for part in item.values() if isinstance(item, dict) else item if isinstance(item, list) else ():
                if isinstance(part, str):
                    _examine_text(part)
                elif isinstance(part, (dict, list)):
                    below.append(part)
        level = below


def _examine_text(text: str) -> None:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise _Unusable("text with half of a surrogate pair") from None


# YAML: events to values with a stack of our own: no recursion, no object is ever constructed by a tag, 1.2 core types


class _Open:
    """A mapping or sequence under construction."""

    __slots__ = ("anchor", "is_map", "key", "merged", "nodes", "value")

    def __init__(self, *, is_map: bool, anchor: str | None) -> None:
        self.is_map = is_map
        self.anchor = anchor
        self.value: Any = {} if is_map else []
        self.key: str | None = None
        self.merged: list[Tree] = []
        """Objects under merge keys (``<<``): members of their own win over them."""
        self.nodes = 1


def _parse_yaml(text: str) -> object:
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
                raise _Unusable("several YAML documents in one file")
            continue
        if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            is_map = isinstance(event, yaml.MappingStartEvent)
            _check_tag(event.tag, "map" if is_map else "seq")
            if len(stack) >= MAX_DEPTH:
                raise _Unusable(f"nested deeper than {MAX_DEPTH} levels")
            if stack and stack[-1].is_map and stack[-1].key is None:
                raise _Unusable("a YAML key that is not plain text")
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
                raise _Unusable("a YAML alias without its anchor, or inside of it")
            value, nodes = anchors[event.anchor]
            repeated += nodes
            if repeated > MAX_ALIAS_NODES:
                raise _Unusable("YAML aliases repeat too much")
            if stack and stack[-1].is_map and stack[-1].key is None:
                raise _Unusable("a YAML key that is not plain text")
            value = copy_tree(value)
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
                raise _Unusable("a YAML merge key without a mapping")
            parent.merged.append(source)
        parent.key = None
        return
    if parent.key in parent.value:
        raise _Unusable(f"member {json.dumps(parent.key[:60])} is given twice in one mapping")
    parent.value[parent.key] = value
    parent.key = None


def _check_tag(tag: str | None, expected: str) -> None:
    if tag not in (None, "!", f"tag:yaml.org,2002:{expected}"):
        raise _Unusable("YAML tags are not taken")


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
        return _integer(text)
    if _YAML_BASED.match(text):
        return int(text, 0)
    if _YAML_FLOAT.match(text):
        return _number(text)
    if _YAML_ODD.match(text):
        raise _Unusable(f"{text} is no number of JSON")
    return text
