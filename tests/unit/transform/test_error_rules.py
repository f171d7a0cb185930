"""Which `error_overrides` rule applies. Source: API definitions reference, section 12.3; token reference, section 10."""

from __future__ import annotations

from typing import Any

import pytest

from tlsgate.errors import CatalogueEntry
from tlsgate.model.api import ErrorOverride
from tlsgate.transform.error_rules import ErrorRules, build_error_rules
from tlsgate.transform.error_templates import BUILT_IN


def rules(*levels: list[dict[str, Any]]) -> ErrorRules:
    return build_error_rules([("file", [ErrorOverride(**rule) for rule in level]) for level in levels], BUILT_IN)


def chosen(found: ErrorRules, status: int = 403, message: str = "Access denied", flag: str = "EAD") -> str | None:
    rule = found.find(CatalogueEntry(status, message), flag)
    return None if rule is None else rule.message


def upstream(found: ErrorRules, status: int, body: bytes = b"") -> str | None:
    rule = found.find_upstream(status, body)
    return None if rule is None else rule.message


def test_definition_before_gateway_exact_before_class_first_before_later() -> None:
    """Reference 12.3."""
    own = [{"statuses": "4XX", "message": "own class"}, {"statuses": "403", "flag": "XXX", "message": "own flag"}]
    general = [{"statuses": "403", "message": "exact"}, {"statuses": "403", "message": "later"}, {"statuses": "5xx", "message": "class"}]
    both = rules(own, general)
    assert chosen(both) == "own class"
    assert chosen(both, flag="XXX") == "own flag"
    assert chosen(rules(general)) == "exact"
    assert chosen(both, 500) == "class"
    assert chosen(rules(own), 500) is None
    assert not rules()
    assert not rules([])
    assert both


def test_flag_or_else_pattern() -> None:
    """Token reference 10: the pattern is used when the flag is absent or does not match; no match part fits everything."""
    both = rules([{"statuses": "4xx", "flag": "AMF", "message_pattern": "(?i)DENIED$", "message": "hit"}])
    assert chosen(both, flag="AMF", message="other") == "hit"
    assert chosen(both, flag="EAD") == "hit"
    assert chosen(both, flag="EAD", message="denied access") is None
    assert chosen(rules([{"statuses": "4xx", "flag": "AMF", "message": "hit"}])) is None
    assert chosen(rules([{"statuses": "4xx", "body_field": "a", "message": "hit"}])) is None


def test_upstream_answers() -> None:
    """Flag URS is any upstream 5xx, another flag never matches; fields and patterns look into the body."""
    flagged = rules([{"statuses": "5xx", "flag": "URS", "message": "hit"}, {"statuses": "4xx", "flag": "URS", "message": "never"}])
    assert upstream(flagged, 502) == "hit"
    assert upstream(flagged, 404) is None
    assert upstream(rules([{"statuses": "5xx", "flag": "URT", "message": "hit"}]), 502) is None
    assert upstream(rules([{"statuses": "404", "message": "hit"}]), 404) == "hit"
    pattern = rules([{"statuses": "404", "message_pattern": "no such", "message": "hit"}])
    assert upstream(pattern, 404, b"there is no such thing") == "hit"
    assert upstream(pattern, 404, b"else") is None


@pytest.mark.parametrize(
    ("field", "value", "body", "expected"),
    [
        ("error.code", "E1", b'{"error": {"code": "E1"}}', True),
        ("error.code", "E1", b'{"error": {"code": "E2"}}', False),
        ("error.code", "", b'{"error": {"code": "E2"}}', True),
        ("error.code", "", b'{"error": {}}', False),
        ("error.code", "", b'{"error": null}', False),
        ("errors.0.id", "7", b'{"errors": [{"id": 7}]}', True),
        ("errors.1.id", "7", b'{"errors": [{"id": 7}]}', False),
        ("errors.x.id", "7", b'{"errors": [{"id": 7}]}', False),
        ("ok", "false", b'{"ok": false}', True),
        ("error", "", b"not json", False),
        ("error", "", b"", False),
        ("error", "", b"[" * 4096, False),
        ("error", "", b"\xff", False),
    ],
)
def test_body_fields(field: str, value: str, body: bytes, expected: bool) -> None:
    """A dotted path and the text of the value; broken bodies match nothing and raise nothing."""
    found = rules([{"statuses": "5xx", "body_field": field, "body_value": value, "message": "hit"}])
    assert (upstream(found, 500, body) == "hit") is expected


def test_the_body_is_read_once_for_several_rules() -> None:
    """And the first that fits wins."""
    found = rules([{"statuses": "500", "body_field": "a", "message": "a"}, {"statuses": "500", "body_field": "b", "message": "b"}])
    assert upstream(found, 500, b'{"b": 1}') == "b"


@pytest.mark.parametrize(
    "rule",
    [
        {"statuses": "200"},
        {"statuses": "40x"},
        {"statuses": ""},
        {"statuses": "4xx\n"},
        {"statuses": "401", "status": 99},
        {"statuses": "401", "status": 600},
        {"statuses": "401", "message_pattern": "("},
        {"statuses": "401", "template": "missing"},
        {"statuses": "401", "body": "{{.Other}}"},
        {"statuses": "401", "headers": (("X-A", "b\r\nc"),)},
        {"statuses": "401", "headers": (("X A", "b"),)},
        {"statuses": "401", "headers": (("Content-Length", "1"),)},
    ],
)
def test_unusable_rules_are_left_out_and_named(rule: dict[str, Any]) -> None:
    """Token reference 10: with a warning; the others stay."""
    found = rules([rule, {"statuses": "401", "message": "good"}])
    assert chosen(found, 401) == "good"
    assert [(problem.file, problem.severity) for problem in found.problems] == [("file", "warning")]
