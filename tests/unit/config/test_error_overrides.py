"""Overrides of error answers, the same in tyk.conf and in definitions."""

from __future__ import annotations

from typing import Any

import pytest

from tlsgate.config.error_overrides import build_error_overrides, build_message_overrides
from tlsgate.config.known import CONFIG
from tlsgate.config.problems import Problems
from tlsgate.config.section import check
from tlsgate.model.api import ErrorOverride


def overrides(tree: dict[str, Any]) -> tuple[tuple[ErrorOverride, ...], list[str]]:
    problems = Problems("f")
    section = check({"error_overrides": tree}, CONFIG, problems)
    made = build_error_overrides(section.tree["error_overrides"], "error_overrides", problems)
    return made, [str(problem) for problem in problems.all()]


def messages(tree: dict[str, Any]) -> tuple[tuple[tuple[str, int, str], ...], list[str]]:
    problems = Problems("f")
    made = build_message_overrides(check({"override_messages": tree}, CONFIG, problems), "override_messages")
    return made, [str(problem) for problem in problems.all()]


def test_rules_become_records_exact_statuses_first() -> None:
    """Reference, section 12.3: an exact code before a class, within them in the order of the file."""
    made, problems = overrides(
        {
            "5XX": [{"response": {"body": "down"}}],
            "401": [
                {
                    "match": {"flag": "AMF", "message_pattern": "^Auth"},
                    "response": {"status_code": 403, "message": "no", "headers": {"X-A": "1"}},
                },
                {"match": {"body_field": "error.code", "body_value": "7"}, "response": {"template": "mine"}},
            ],
        }
    )
    assert problems == []
    assert made == (
        ErrorOverride(statuses="401", flag="AMF", message_pattern="^Auth", status=403, message="no", headers=(("X-A", "1"),)),
        ErrorOverride(statuses="401", body_field="error.code", body_value="7", template="mine"),
        ErrorOverride(statuses="5xx", body="down"),
    )


@pytest.mark.parametrize("status", ["40", "4011", "3xx", "600", "xx4", "", "4x1"])
def test_keys_are_statuses_or_classes(status: str) -> None:
    """Anything else is named."""
    made, problems = overrides({status: [{}]})
    assert made == ()
    assert problems == [f"error: f: error_overrides.{status}: must be a status such as 401, or 4xx or 5xx"]


@pytest.mark.parametrize(("code", "good"), [(199, False), (200, True), (599, True), (600, False), (0, True)])
def test_statuses_are_those_of_answers(code: int, good: bool) -> None:
    """0 keeps the status."""
    made, problems = overrides({"4xx": [{"response": {"status_code": code}}]})
    assert made[0].status == code
    assert (problems == []) is good


def test_bad_patterns_and_unknown_flags_are_named() -> None:
    """A pattern that re2 refuses is an error, a flag that nothing raises a warning."""
    _, problems = overrides({"401": [{"match": {"flag": "XXX", "message_pattern": "("}}]})
    assert problems[0] == 'warning: f: error_overrides.401[0].match.flag: there is no such error flag (value: "XXX")'
    assert problems[1].startswith("error: f: error_overrides.401[0].match.message_pattern: not a regular expression of RE2")


def test_messages_become_triples() -> None:
    """Only the given part is replaced."""
    assert messages({"auth.key_not_found": {"code": 400}, "oauth.client_deleted": {"message": "gone"}}) == (
        (("auth.key_not_found", 400, ""), ("oauth.client_deleted", 0, "gone")),
        [],
    )


def test_messages_of_the_gateways_own_catalogue_can_be_replaced() -> None:
    """Not only those that Tyk has ids for."""
    assert messages({"cert.missing": {"message": "Show it"}, "route.not_found": {"code": 410}}) == (
        (("cert.missing", 0, "Show it"), ("route.not_found", 410, "")),
        [],
    )


def test_bad_messages_are_named() -> None:
    """A status that is none, and an id that nothing uses."""
    made, problems = messages({"auth.nothing": {"message": "x"}, "auth.key_not_found": {"code": 99}})
    assert len(made) == 2
    assert problems == [
        "warning: f: override_messages.auth.nothing: there is no message with this id",
        "error: f: override_messages.auth.key_not_found.code: must be a status between 200 and 599 (value: 99)",
    ]
