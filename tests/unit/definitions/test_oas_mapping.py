"""A tree that remembers where its members came from."""

from __future__ import annotations

from tlsgate.config.problems import Problems
from tlsgate.config.schema import TEXT, object_of
from tlsgate.config.section import check
from tlsgate.definitions.oas_mapping import Mapping


def test_members_are_set_with_their_origin() -> None:
    """Objects on the way are made; None leaves a member absent, its origin is known all the same."""
    made = Mapping()
    made.put("a.b", 1, "x.y")
    made.put("a.c", None, "x.z")
    made.put("d", False, "w")
    assert made.tree == {"a": {"b": 1}, "d": False}
    assert made.origins == {"a.b": "x.y", "a.c": "x.z", "d": "w"}


def test_members_of_sections_are_taken() -> None:
    """With the path of the section."""
    section = check({"name": "n"}, object_of({"name": TEXT, "other": TEXT}), Problems("f"), "ext")
    made = Mapping()
    made.take(section, "name", "a.name")
    made.take(section, "other", "a.other")
    assert made.tree == {"a": {"name": "n"}}
    assert made.origins == {"a.name": "ext.name", "a.other": "ext.other"}


def test_entries_of_lists_have_origins_of_their_own() -> None:
    """By their number."""
    made = Mapping()
    made.append("a.list", {"x": 1}, "one")
    made.append("a.list", {"x": 2}, "two")
    assert made.tree == {"a": {"list": [{"x": 1}, {"x": 2}]}}
    assert made.origins == {"a.list[0]": "one", "a.list[1]": "two"}


def test_objects_can_be_given_a_place() -> None:
    """Problems may concern the whole of them."""
    made = Mapping()
    made.place("a", "x")
    assert made.tree == {} and made.origins == {"a": "x"}


def test_a_member_can_be_dropped_again() -> None:
    """At the top only."""
    made = Mapping()
    made.put("a", 1, "x")
    made.drop("a")
    made.drop("b")
    assert made.tree == {}
