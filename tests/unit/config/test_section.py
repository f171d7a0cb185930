"""Checked trees are read with zero values, and problems name place and value."""

from __future__ import annotations

from typing import Any

import pytest

from tlsgate.config.problems import Problems, Resolved
from tlsgate.config.schema import FLAG, FREE, INTEGER, NUMBER, SECRET, TEXT, TEXT_MAP, TEXTS, list_of, map_of, object_of
from tlsgate.config.section import Section, check

SCHEMA = object_of(
    {
        "text": TEXT,
        "flag": FLAG,
        "count": INTEGER,
        "number": NUMBER,
        "texts": TEXTS,
        "pairs": TEXT_MAP,
        "free": FREE,
        "secret": SECRET,
        "sub": object_of({"name": TEXT}),
        "many": list_of({"name": TEXT}),
        "named": map_of({"name": TEXT}),
    }
)


def read(**tree: Any) -> Section:
    return check(tree, SCHEMA, Problems("f"))


def found(section: Section) -> list[str]:
    return [str(problem) for problem in section.problems.all()]


def test_absent_members_have_zero_values() -> None:
    """Of their type, or the default that is asked for."""
    section = read()
    assert (section.text("text"), section.flag("flag"), section.integer("count"), section.number("number")) == ("", False, 0, 0.0)
    assert (section.text("text", "x"), section.flag("flag", True), section.integer("count", 7), section.number("number", 1.5)) == (
        "x",
        True,
        7,
        1.5,
    )
    assert (section.texts("texts"), section.pairs("pairs"), section.free("free")) == ((), (), {})
    assert section.section("sub").text("name") == ""
    assert section.sections("many") == [] and list(section.named("named")) == []
    assert not section.has("text")


def test_members_are_read() -> None:
    """In the order of the file."""
    section = read(
        text="x",
        flag=True,
        count=3,
        number=2,
        texts=["a", "b"],
        pairs={"k": "v"},
        free={"a": 1},
        many=[{"name": "m"}],
        named={"n": {"name": "o"}},
    )
    assert (section.text("text"), section.flag("flag"), section.integer("count"), section.number("number")) == ("x", True, 3, 2.0)
    assert (section.texts("texts"), section.pairs("pairs"), section.free("free")) == (("a", "b"), (("k", "v"),), {"a": 1})
    assert [entry.text("name") for entry in section.sections("many")] == ["m"]
    assert [(name, entry.text("name")) for name, entry in section.named("named")] == [("n", "o")]
    assert section.has("text")


@pytest.mark.parametrize(("value", "good"), [(-1, False), (0, True), (10, True), (11, False)])
def test_numbers_have_bounds(value: int, good: bool) -> None:
    """Outside of them the default is returned, and the file has failed."""
    section = read(count=value, number=value)
    assert section.integer("count", 5, high=10) == (value if good else 5)
    assert section.number("number", 5.0, high=10) == (float(value) if good else 5.0)
    assert section.problems.failed is not good


def test_bounds_are_told() -> None:
    """In words."""
    section = read(count=-1, number=-1)
    section.integer("count")
    section.number("number", low=2.5)
    section.integer("count", low=1, high=65535)
    assert found(section) == [
        "error: f: count: must be zero or more (value: -1)",
        "error: f: number: must be 2.5 or more (value: -1)",
        "error: f: count: must be between 1 and 65535 (value: -1)",
    ]


def test_problems_name_place_and_value() -> None:
    """Of members, of items of lists and maps, of members of objects in them."""
    section = read(text="x", secret="hunter2", texts=["a"], pairs={"k": "v"}, many=[{"name": "m"}], named={"n": {}}, sub={"name": "s"})
    section.error("text", "bad", "mend it")
    section.warning("secret", "short")
    section.error_at("texts", 0, "bad")
    section.warning_at("pairs", "k", "odd", "mend it")
    section.sections("many")[0].error("name", "bad")
    dict(section.named("named"))["n"].error("name", "missing")
    section.section("sub").warning("name", "odd")
    assert found(section) == [
        'error: f: text: bad (value: "x"); mend it',
        "warning: f: secret: short",
        'error: f: texts[0]: bad (value: "a")',
        'warning: f: pairs.k: odd (value: "v"); mend it',
        'error: f: many[0].name: bad (value: "m")',
        "error: f: named.n.name: missing",
        'warning: f: sub.name: odd (value: "s")',
    ]


def test_texts_from_references_are_plain_when_read_and_hidden_when_shown() -> None:
    """What is built from a tree holds ordinary text."""
    section = read(text=Resolved.of("hunter2", "env://P"), texts=[Resolved.of("hunter3", "env://Q")])
    assert type(section.text("text")) is str and type(section.texts("texts")[0]) is str
    section.error("text", "bad")
    section.error_at("texts", 0, "bad")
    assert found(section) == ["error: f: text: bad (value: from env://P)", "error: f: texts[0]: bad (value: from env://Q)"]
    assert section.reason(ValueError("hunter2"), "text") == section.reason(ValueError("hunter3"), "texts", 0) == "it is not well-formed"
    assert read(text="(").reason(ValueError("missing )"), "text") == "missing )"
