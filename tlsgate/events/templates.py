"""Bodies of web hooks: the built-in one, and templates in the small part of Go's language that such templates use.

Knows text and the fields of an event; must not know where a body goes. A template may hold ``{{.Type}}``, ``{{.TimeStamp}}``,
``{{.Meta.Name}}``, ``{{if ...}} ... {{else}} ... {{end}}`` with a field or ``eq`` of a field and a text, and comments; ``-`` trims. Nothing
else is run: a template can neither call nor loop. Values are escaped for the format of the body, so that no client can write a member of
its own into it (Tyk escapes for HTML, which leaves JSON open). Source: keys reference, section 12.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote_plus

from tlsgate.events.record import Event

__all__ = ["Template", "build_default_body", "find_escape"]

_ACTION = re.compile(r"(\s*)\{\{(- )?\s*(.*?)\s*( -)?\}\}(\s*)", re.DOTALL)
_FIELD = re.compile(r"\.(Type|TimeStamp|Meta\.[A-Za-z_]+)\Z")
_CONDITION = re.compile(r'if\s+(?:(eq|ne)\s+)?\.(Type|TimeStamp|Meta\.[A-Za-z_]+)(?:\s+"([^"\\]*)")?\Z')
_XML_ESCAPES = {ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;", ord('"'): "&#34;", ord("'"): "&#39;"}
_REQUEST = "originatingrequest"
_MAX_DEPTH = 20

Escape = Callable[[str], str]


class _Condition:
    """``{{if}}``: two lists of parts, one of which counts."""

    __slots__ = ("name", "no", "operator", "text", "yes")

    def __init__(self, name: str, operator: str, text: str) -> None:
        self.name = name
        self.operator = operator
        self.text = text
        self.yes: list[_Part] = []
        self.no: list[_Part] = []

    def choose(self, values: Mapping[str, str]) -> list[_Part]:
        """Return the parts that count."""
        value = values.get(self.name, "")
        holds = bool(value) if not self.operator else (value == self.text) is (self.operator == "eq")
        return self.yes if holds else self.no


class _Place(str):
    """The normal name of a field, where its value goes."""


_Part = str | _Place | _Condition


class Template:
    """A template, compiled; immutable.

    :param escape: makes a value harmless for the format of the body.
    :raises ValueError: something else stands between the braces; the message says what.
    """

    __slots__ = ("_escape", "_parts", "wants_request")

    def __init__(self, text: str, escape: Escape) -> None:
        self._escape = escape
        self.wants_request = False
        """Whether the request itself is part of the body."""
        self._parts = self._parse(text)

    def render(self, event: Event) -> bytes:
        """Return the body for an event; what the event does not say is empty."""
        values = {_normal(f"Meta.{name}"): _show(value) for name, value in event.fields.items()}
        values["type"], values["timestamp"] = event.type, event.timestamp
        made: list[str] = []
        self._fill(self._parts, values, made)
        return "".join(made).encode("utf-8", "replace")

    def _fill(self, parts: list[_Part], values: Mapping[str, str], made: list[str]) -> None:
        for part in parts:
            if isinstance(part, _Condition):
                self._fill(part.choose(values), values, made)
            elif isinstance(part, _Place):
                made.append(self._escape(values.get(part, "")))
            else:
                made.append(part)

    def _parse(self, text: str) -> list[_Part]:
        top: list[_Part] = []
        target = top
        open_conditions: list[tuple[_Condition, list[_Part]]] = []
        position = 0
        for found in _ACTION.finditer(text):
            before, trims_left, action, trims_right, after = found.groups()
            literal = text[position : found.start()] + ("" if trims_left else before)
            position = found.end() if trims_right else found.end() - len(after)
            if literal:
                target.append(literal)
            field = _FIELD.match(action)
            condition = _CONDITION.match(action)
            if field is not None:
                target.append(_Place(self._name(field[1])))
            elif condition is not None and bool(condition[1]) is (condition[3] is not None):
                if len(open_conditions) >= _MAX_DEPTH:
                    raise ValueError("conditions are nested too deeply")
                made = _Condition(self._name(condition[2]), condition[1] or "", condition[3] or "")
                target.append(made)
                open_conditions.append((made, target))
                target = made.yes
            elif action == "else" and open_conditions and target is open_conditions[-1][0].yes:
                target = open_conditions[-1][0].no
            elif action == "end" and open_conditions:
                _, target = open_conditions.pop()
            elif not (action.startswith("/*") and action.endswith("*/")):
                raise ValueError(f"{{{{{action[:40]}}}}} is not understood")
        rest = text[position:]
        if "{{" in rest:
            raise ValueError("{{ without }}")
        if open_conditions:
            raise ValueError("{{if}} without {{end}}")
        if rest:
            target.append(rest)
        return top

    def _name(self, written: str) -> str:
        name = _normal(written)
        self.wants_request = self.wants_request or name == _REQUEST
        return name


def build_default_body(event: Event) -> bytes:
    """Return the built-in body: JSON with the members that Tyk's default template has for this event."""
    fields = event.fields
    names: tuple[str, ...] = tuple(fields)
    if event.type == "TriggerExceeded":
        names = ("message", "org", "key", "trigger_limit")
    elif event.of_request:
        names = ("message", "path", "origin", "key")
    body: dict[str, Any] = {"event": event.type, **{name: fields.get(name, "") for name in names}}
    if event.type.startswith("Certificate"):
        body["timestamp"] = event.timestamp
    return json.dumps(body, ensure_ascii=False, default=str).encode("utf-8", "replace")


def find_escape(content_type: str) -> Escape:
    """Return how values are made harmless in a body of a content type: JSON where nothing is said."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind.endswith(("xml", "html")):
        return lambda value: value.translate(_XML_ESCAPES)
    if kind == "application/x-www-form-urlencoded":
        return quote_plus
    if kind.startswith("text/"):
        return str
    return lambda value: json.dumps(value, ensure_ascii=False)[1:-1]


def _normal(name: str) -> str:
    """Return a name without regard to case and underscores: ``.Meta.TriggerLimit`` is the field ``trigger_limit``."""
    return name.removeprefix("Meta.").replace("_", "").lower()


def _show(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else "" if value is None else str(value)
