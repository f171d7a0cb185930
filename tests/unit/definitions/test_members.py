"""Tests of `tlsgate.definitions.members`: names without regard to case, wrong types are absent."""

from __future__ import annotations

from typing import Any

from tlsgate.definitions.members import find_member, find_name, listed, named, put_member, section_of

TREE: dict[str, Any] = {"Proxy": {"Listen_Path": "/a/"}, "list": [1], "text": "x", "named": {"a": {"b": 1}, "c": 2}}


def test_reading() -> None:
    assert find_name(TREE, "PROXY") == "Proxy"
    assert find_name(TREE, "none") == "none"
    assert find_member(TREE, "proxy.listen_path") == "/a/"
    assert find_member(TREE, "text.below") is None
    assert find_member([], "a") is None
    assert section_of(TREE, "proxy") == {"Listen_Path": "/a/"}
    assert section_of(TREE, "text") == {}
    assert listed(TREE, "list") == [1]
    assert listed(TREE, "text") == []
    assert named(TREE, "named") == [("a", {"b": 1})]


def test_writing_keeps_the_spelling() -> None:
    tree: dict[str, Any] = {"API_ID": "", "x": 5}
    put_member(tree, "api_id", "one")
    put_member(tree, "x.y.z", 1)
    assert tree == {"API_ID": "one", "x": {"y": {"z": 1}}}
