"""How problems are collected, and that their values give nothing away."""

from __future__ import annotations

import pytest

from tlsgate.config.problems import Problems, Resolved, join_path, reason_of, show_value


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        ("short", '"short"'),
        ("two\nlines", '"two\\nlines"'),
        ("é", '"\\u00e9"'),
        ("x" * 58, '"' + "x" * 58 + '"'),
        ("x" * 59, '"' + "x" * 56 + "..."),
        (True, "true"),
        (7, "7"),
        (1.5, "1.5"),
        (10**40, "a very large number"),
        ([1, 2], "a list of 2"),
        ({"a": 1}, "an object"),
        (b"x", "bytes"),
        ("https://user:hunter2@host/", '"https://***@host/"'),
        ("-----BEGIN PRIVATE KEY-----\nabc", "PEM text"),
        (Resolved.of("hunter2", "env://PASSWORD"), "from env://PASSWORD"),
    ],
)
def test_values_are_shown_on_one_line_without_secrets(value: object, shown: str) -> None:
    """A value is cut at 60 characters, escaped, and never a key, a password, or text from outside of the file."""
    assert show_value(value) == shown


def test_a_secret_field_shows_nothing() -> None:
    """Whatever stands there."""
    assert show_value("hunter2", secret=True) == ""


def test_errors_and_warnings_are_kept_in_order() -> None:
    """A warning alone does not fail the file."""
    problems = Problems("f.json")
    problems.warning("a", "odd", value=1)
    assert not problems.failed
    problems.error("b", "bad", "mend it", value="x")
    assert problems.failed
    assert [str(problem) for problem in problems.all()] == [
        "warning: f.json: a: odd (value: 1)",
        'error: f.json: b: bad (value: "x"); mend it',
    ]


def test_the_number_of_problems_is_bounded() -> None:
    """A list with thousands of bad entries ends in one line that counts them; a late error still fails the file."""
    problems = Problems("f.json")
    for number in range(500):
        problems.warning(f"a[{number}]", "odd")
    assert len(problems.all()) == 500
    problems.warning("a[500]", "odd")
    assert (problems.all()[-1].message, problems.all()[-1].severity) == ("1 more problems are not listed", "warning")
    problems.error("a[501]", "bad")
    assert len(problems.all()) == 501
    assert problems.all()[-1].severity == "error"


@pytest.mark.parametrize(
    ("path", "origin"),
    [
        ("proxy.listen_path", "server.listenPath.value"),
        ("proxy.listen_path.x[2]", "server.listenPath.value.x[2]"),
        ("rules[0].path", "operations.a.allow.path"),
        ("rules[1].path", "rules[1].path"),
        ("other", "other"),
        ("[0]", "[0]"),
    ],
)
def test_paths_are_translated_by_their_longest_known_beginning(path: str, origin: str) -> None:
    """A tree made from another form names places in that form."""
    problems = Problems("f.json", {"proxy.listen_path": "server.listenPath.value", "rules[0]": "operations.a.allow"})
    problems.error(path, "bad")
    assert problems.all()[0].path == origin


def test_names_from_references_are_shown_as_references() -> None:
    """The name of a member can come from outside as well."""
    assert join_path("a", Resolved.of("hunter2", "env://NAME")) == "a.env://NAME"
    assert join_path("", "b") == "b"


def test_reasons_that_may_quote_a_value_are_replaced() -> None:
    """An error of a pattern compiler repeats the pattern."""
    assert reason_of(ValueError("missing ): hunter2("), "hunter2(") == "missing ): hunter2("
    assert reason_of(ValueError("missing ): hunter2("), Resolved.of("hunter2(", "env://P")) == "it is not well-formed"
