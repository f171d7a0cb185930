"""Trees are compared with a schema: names without regard to case, types by name, unknown members with a guess."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsgate.config.known import CONFIG
from tlsgate.config.problems import Problems, Resolved
from tlsgate.config.schema import (
    ANY,
    DURATION,
    FLAG,
    FREE,
    INTEGER,
    NANOSECONDS,
    NUMBER,
    SECRET,
    SECRETS,
    TEXT,
    TEXT_MAP,
    TEXTS,
    ListOf,
    MapOf,
    Schema,
    check_object,
    check_value,
    is_secret,
    list_of,
    map_of,
    object_of,
)
from tlsgate.definitions.classic_fields import CLASSIC
from tlsgate.definitions.oas_fields import EXTENSION


def run(tree: dict[str, Any], **members: Schema) -> tuple[dict[str, Any], list[str]]:
    problems = Problems("f")
    made = check_object(tree, object_of(members), problems, "")
    return made, [str(problem) for problem in problems.all()]


def test_names_are_matched_without_regard_to_case() -> None:
    """As Tyk does (decisions 4.2)."""
    assert run({"LISTEN_Port": 1, "sub": {"NAME": "x"}}, listen_port=INTEGER, Sub=object_of({"name": TEXT})) == (
        {"listen_port": 1, "Sub": {"name": "x"}},
        [],
    )


def test_two_spellings_of_one_member_are_refused() -> None:
    """Which of them counts is anybody's guess."""
    made, problems = run({"a": 1, "A": 2}, a=INTEGER)
    assert made == {"a": 1}
    assert problems == ["error: f: A: the same member is given twice, in different spelling; names do not depend on case: keep one"]


def test_null_is_an_absent_member() -> None:
    """As in Tyk, where it stands for the zero value; inside of lists and maps it is the zero value."""
    assert run({"a": None, "b": None}, a=INTEGER, b=TEXTS) == ({}, [])
    assert run(
        {"a": ["x", None], "b": {"k": None}, "c": [None], "d": [None], "e": {"k": None}, "f": [None, True]},
        a=TEXTS,
        b=TEXT_MAP,
        c=ListOf(INTEGER),
        d=list_of({"x": TEXT}),
        e=MapOf(TEXTS),
        f=ListOf(FLAG),
    ) == ({"a": ["x", ""], "b": {"k": ""}, "c": [0], "d": [{}], "e": {"k": []}, "f": [False, True]}, [])


@pytest.mark.parametrize(
    ("schema", "value", "message"),
    [
        (TEXT, 1, "must be text, not a number (value: 1)"),
        (TEXT, True, "must be text, not true or false (value: true)"),
        (FLAG, "true", 'must be true or false, not text (value: "true")'),
        (FLAG, 1, "must be true or false, not a number (value: 1)"),
        (INTEGER, "8080", 'must be a whole number, not text (value: "8080")'),
        (INTEGER, 1.0, "must be a whole number, not a number with a fraction (value: 1.0)"),
        (INTEGER, True, "must be a whole number, not true or false (value: true)"),
        (INTEGER, 2**63, "the number is too large (value: 9223372036854775808)"),
        (NUMBER, 10**40, "the number is too large (value: a very large number)"),
        (NUMBER, "1", 'must be a number, not text (value: "1")'),
        (NUMBER, False, "must be a number, not true or false (value: false)"),
        (DURATION, [], "must be a duration such as 10s, not a list (value: a list of 0)"),
        (NANOSECONDS, 1.5, "must be a whole number of nanoseconds, not a number with a fraction (value: 1.5)"),
        (TEXTS, "a", 'must be a list, not text (value: "a")'),
        (TEXT_MAP, ["a"], "must be an object, not a list (value: a list of 1)"),
        (object_of({}), "a", 'must be an object, not text (value: "a")'),
        (FREE, 5, "must be an object, not a number (value: 5)"),
        (SECRET, 5, "must be text, not a number"),
        (SECRETS, "hunter2", "must be an object, not text"),
    ],
)
def test_wrong_types_are_named_and_dropped(schema: Schema, value: object, message: str) -> None:
    """With the value, unless the field holds secrets."""
    made, problems = run({"x": value}, x=schema)
    assert made == {}
    assert problems == [f"error: f: x: {message}"]


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (TEXT, ""),
        (INTEGER, -(2**63) + 1),
        (INTEGER, 2**63 - 1),
        (NUMBER, 1),
        (NUMBER, 1.5),
        (DURATION, "10s"),
        (DURATION, 3),
        (DURATION, 0.5),
        (ANY, {"a": [None]}),
        (FREE, {"a": [None], "b": 1}),
        (ListOf(ANY), [1, "x", {}]),
        (MapOf(ListOf(ANY)), {"a": [1]}),
        (map_of({"a": TEXT}), {"one": {"a": "x"}}),
    ],
)
def test_right_types_are_kept(schema: Schema, value: object) -> None:
    """As they are."""
    assert run({"x": value}, x=schema) == ({"x": value}, [])


def test_wrong_items_are_named_with_their_place() -> None:
    """The rest of the list stays."""
    made, problems = run(
        {"a": ["x", 5, "y"], "b": {"k": 1, "l": "z"}, "c": [{"d": 1}, {"d": "x"}]}, a=TEXTS, b=TEXT_MAP, c=list_of({"d": TEXT})
    )
    assert made == {"a": ["x", "y"], "b": {"l": "z"}, "c": [{}, {"d": "x"}]}
    assert [problem.split(": ")[2] for problem in problems] == ["a[1]", "b.k", "c[0].d"]


def test_unknown_members_are_warnings_with_a_guess() -> None:
    """In shapes that are Tyk's they are kept for the round trip, but have no effect."""
    made, problems = run({"use_sl": True, "bogus": {"secret": "hunter2"}, "\n\t": 1}, use_ssl=FLAG, listen_port=INTEGER)
    assert made == {}
    assert problems == [
        "warning: f: use_sl: unknown field, kept but without effect; did you mean use_ssl?",
        "warning: f: bogus: unknown field, kept but without effect",
        "warning: f: '\\n\\t': unknown field, kept but without effect",
    ]


def test_unknown_members_of_our_own_are_errors() -> None:
    """Decisions 4.1."""
    problems = Problems("f")
    check_object({"tlsgate": {"developmnt": True}}, object_of({"tlsgate": object_of({"development": FLAG}, strict=True)}), problems, "")
    assert [str(problem) for problem in problems.all()] == [
        "error: f: tlsgate.developmnt: there is no such setting; did you mean development?"
    ]


def test_open_objects_mention_nothing() -> None:
    """Where members are somebody else's."""
    problems = Problems("f")
    assert check_object({"a": 1, "b": "x"}, object_of({"b": TEXT}, open=True), problems, "") == {"b": "x"}
    assert problems.all() == []


def test_single_values_are_checked_too() -> None:
    """For values that stand alone, such as those of the environment."""
    problems = Problems("f")
    assert check_value([1], ListOf(INTEGER), problems, "X") == [1]
    assert check_value("a", ListOf(INTEGER), problems, "X") is None
    assert problems.failed


def test_a_name_from_a_reference_is_not_shown() -> None:
    """The name of a member may be a secret as well."""
    _, problems = run({"m": {Resolved.of("hunter2", "env://N"): 5}}, m=TEXT_MAP)
    assert problems == ["error: f: m.env://N: must be text, not a number (value: 5)"]


def test_secrets_are_told_through_lists_and_maps() -> None:
    """Whose values are they?"""
    assert is_secret(SECRET) and is_secret(SECRETS) and is_secret(ListOf(SECRET))
    assert not is_secret(TEXT) and not is_secret(object_of({"a": SECRET}))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


@given(st.data())
def test_any_tree_can_be_checked(data: st.DataObject) -> None:
    """With names that are known and values that are anything: problems, never an exception."""
    for schema in (CONFIG, CLASSIC, EXTENSION):
        tree = data.draw(st.dictionaries(st.sampled_from(sorted(schema.members)), JSON, max_size=4))
        check_object(tree, schema, Problems("f"), "")
