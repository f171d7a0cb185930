"""``error_overrides``: which rule applies to an error, of the gateway or of an upstream; knows nothing of how bodies are rendered.

Source: API definitions reference, section 12.3; token reference, section 10.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from tlsgate.errors import CatalogueEntry, Problem, WireError
from tlsgate.model.api import ErrorOverride
from tlsgate.routing.paths import compile_expression
from tlsgate.transform.error_templates import Template, Templates
from tlsgate.wire.forwarding import validate_header

__all__ = ["ErrorRule", "ErrorRules", "build_error_rules"]

_STATUSES = re.compile(r"[45](?:[0-9]{2}|[xX]{2})\Z")
_UPSTREAM_FLAG = "URS"
"""The one flag that upstream answers have: those with a 5xx status."""


class ErrorRule(NamedTuple):
    """One rule, compiled."""

    always: bool
    flag: str
    pattern: Any
    field: tuple[str, ...]
    value: str
    status: int
    body: Template | None
    body_xml: Template | None
    """The same with the message escaped for XML; None when it holds no placeholder."""
    message: str
    template: str
    headers: tuple[tuple[bytes, bytes], ...]

    def matches(self, flag: str, message: bytes) -> bool:
        """Tell whether the rule applies: its flag, or else its pattern."""
        if self.always or (self.flag and self.flag == flag):
            return True
        return self.pattern is not None and self.pattern.search(message) is not None


class ErrorRules:
    """The rules of an API and of the gateway, by status and in order; immutable."""

    __slots__ = ("_levels", "problems")

    def __init__(self, levels: Sequence[dict[str, tuple[ErrorRule, ...]]], problems: tuple[Problem, ...]) -> None:
        self._levels = tuple(level for level in levels if level)
        self.problems = problems

    def __bool__(self) -> bool:
        return bool(self._levels)

    def find(self, entry: CatalogueEntry, flag: str) -> ErrorRule | None:
        """Return the first rule for an error of the gateway."""
        message = entry.message.encode("utf-8", "replace")
        for rule in self._of(entry.status):
            if rule.matches(flag, message):
                return rule
        return None

    def find_upstream(self, status: int, body: bytes) -> ErrorRule | None:
        """Return the first rule for an error answer of an upstream.

        :param body: its beginning.
        """
        flag = _UPSTREAM_FLAG if status >= 500 else ""
        tree: Any = _UNREAD
        for rule in self._of(status):
            if rule.matches(flag, body):
                return rule
            if rule.field:
                if tree is _UNREAD:
                    tree = _parse(body)
                if _field_is(tree, rule.field, rule.value):
                    return rule
        return None

    def _of(self, status: int) -> Iterable[ErrorRule]:
        exact = str(status)
        family = f"{status // 100}xx"
        for level in self._levels:
            yield from level.get(exact, ())
            yield from level.get(family, ())


def build_error_rules(levels: Iterable[tuple[str, Iterable[ErrorOverride]]], templates: Templates) -> ErrorRules:
    """Return the rules of all levels, the definition's first; those that cannot be used are left out and named.

    :param levels: (file for messages, rules).
    :param templates: that rules may name.
    """
    problems: list[Problem] = []
    compiled: list[dict[str, tuple[ErrorRule, ...]]] = []
    for source, overrides in levels:
        level: dict[str, list[ErrorRule]] = {}
        for number, override in enumerate(overrides):
            try:
                rule = _compile(override, templates)
            except ValueError as error:
                where = f"error_overrides.{override.statuses}"
                problems.append(Problem(source or "configuration", where, str(number), f"the rule is left out: {error}", "", "warning"))
                continue
            level.setdefault(override.statuses.lower(), []).append(rule)
        compiled.append({statuses: tuple(rules) for statuses, rules in level.items()})
    return ErrorRules(compiled, tuple(problems))


_UNREAD = object()


def _compile(override: ErrorOverride, templates: Templates) -> ErrorRule:
    if _STATUSES.match(override.statuses) is None:
        raise ValueError("the key is neither a status nor 4xx or 5xx")
    if override.status and not 200 <= override.status <= 599:
        raise ValueError("response.status_code is no status of an answer")
    if override.template and not override.body and not templates.holds(override.template):
        raise ValueError(f"no template {override.template!r} in template_path")
    body = body_xml = None
    if override.body:
        if "{{." in override.body:
            body = Template(override.body, is_xml=False)
            body_xml = Template(override.body, is_xml=True)
        else:
            body = _Verbatim(override.body)
    headers = tuple((name.encode(), value.encode()) for name, value in override.headers)
    for name, value in headers:
        _check_header(name, value)
    return ErrorRule(
        always=not (override.flag or override.message_pattern or override.body_field),
        flag=override.flag,
        pattern=compile_expression(override.message_pattern) if override.message_pattern else None,
        field=tuple(override.body_field.split(".")) if override.body_field else (),
        value=override.body_value,
        status=override.status,
        body=body,
        body_xml=body_xml,
        message=override.message,
        template=override.template,
        headers=headers,
    )


class _Verbatim(Template):
    """A body that is sent as written, whatever braces it holds."""

    __slots__ = ("_body",)

    def __init__(self, text: str) -> None:
        self._body = text.encode()

    def render(self, message: str, status: int) -> bytes:
        return self._body


def _check_header(name: bytes, value: bytes) -> None:
    try:
        validate_header(name, value)
    except WireError as error:
        raise ValueError(f"response.headers: {error.reason}") from error
    if name.lower() in (b"content-length", b"transfer-encoding", b"connection"):
        raise ValueError("response.headers must not set framing")


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _field_is(tree: Any, field: Iterable[str], value: str) -> bool:
    for name in field:
        if isinstance(tree, dict):
            tree = tree.get(name)
        elif isinstance(tree, list) and name.isascii() and name.isdigit() and len(name) < 7 and int(name) < len(tree):
            tree = tree[int(name)]
        else:
            return False
    if tree is None:
        return False
    text = tree if isinstance(tree, str) else json.dumps(tree)
    return not value or text == value
