"""Declared sizes. Source: API definitions reference, sections 11 and 18."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.apis import make_api, make_config, make_exchange, make_tools
from tlsgate.errors import Refusal
from tlsgate.gates.size import build, max_body_bytes
from tlsgate.model.api import SizeRule, VersionSettings


def outcome(
    length: str | None, method: str = "POST", path: str = "/test/x", gateway: int = 0, rules: tuple[SizeRule, ...] = (), limit: int = 0
) -> str:
    api = make_api(version=VersionSettings(size_limit_bytes=limit, size_rules=rules))
    gate = build(api, make_config(http={"max_request_body_size": gateway}), make_tools())
    assert gate is not None
    headers: dict[str, Any] = {} if length is None else {"Content-Length": length}
    try:
        gate(make_exchange(method, path, headers=headers))
    except Refusal as refusal:
        return refusal.id
    return "passes"


def test_without_limits_there_is_no_gate() -> None:
    """Absent, not skipped."""
    assert build(make_api(), make_config(), make_tools()) is None


@pytest.mark.parametrize(("length", "expected"), [("1023", "passes"), ("1024", "passes"), ("1025", "size.too_large"), (None, "passes")])
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_the_gateways_limit(length: str | None, expected: str, method: str) -> None:
    """413 over `max_request_body_size`; equal passes, every method counts, unknown lengths are counted as they come."""
    assert outcome(length, method, gateway=1024) == expected
    assert max_body_bytes(make_config(http={"max_request_body_size": 1024})) == 1024
    assert max_body_bytes(make_config()) == 0


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        ("9", "passes"),
        ("10", "passes"),
        ("11", "size.limit"),
        ("0", "passes"),
        (None, "size.length_required"),
        ("x", "size.length_invalid"),
        ("-1", "size.length_invalid"),
        ("", "size.length_invalid"),
        ("9" * 19, "size.length_invalid"),
    ],
)
def test_the_apis_limit(length: str | None, expected: str) -> None:
    """Reference 11: 411 without length, 400 not a number, 400 larger."""
    assert outcome(length, limit=10) == expected
    assert outcome(length, rules=(SizeRule(path="/x", limit_bytes=10),)) == expected


@pytest.mark.parametrize("method", ["GET", "DELETE", "TRACE", "OPTIONS", "HEAD"])
def test_methods_without_body_are_not_looked_at(method: str) -> None:
    """Reference 11."""
    assert outcome("11", method, limit=10) == "passes"
    assert outcome(None, method, limit=10) == "passes"


def test_rules_go_by_path_and_method() -> None:
    """The first that matches; the limit for all paths holds as well."""
    rules = (SizeRule(path="/x", method="PUT", limit_bytes=5), SizeRule(path="/x", limit_bytes=20))
    assert outcome("6", "PUT", rules=rules) == "size.limit"
    assert outcome("6", "POST", rules=rules) == "passes"
    assert outcome("21", "POST", rules=rules) == "size.limit"
    assert outcome("99", "POST", "/test/y", rules=rules) == "passes"
    assert outcome("15", "POST", rules=rules, limit=10) == "size.limit"


def test_another_reading_of_the_path_does_not_lift_a_limit() -> None:
    """Decisions 2.11: a limit closes."""
    rules = (SizeRule(path="/a/b", limit_bytes=5),)
    assert outcome("6", path="/test/a%2Fb", rules=rules) == "size.limit"
    assert outcome("5", path="/test/a%2Fb", rules=rules) == "passes"
    assert outcome("6", path="/test/a%2Fc", rules=rules) == "passes"
