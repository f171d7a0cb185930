"""Reads members of a definition as written, before any schema: names do not depend on case, wrong types are absent; knows no field."""

from __future__ import annotations

from typing import Any

from tlsgate.config.trees import Tree

__all__ = ["find_member", "find_name", "listed", "named", "put_member", "section_of"]


def find_name(tree: Tree, name: str) -> str:
    """Return how a member is spelled in a tree; as asked for when it is not there."""
    if name in tree:
        return name
    folded = name.casefold()
    return next((written for written in tree if written.casefold() == folded), name)


def find_member(tree: object, path: str) -> Any:
    """Return the value at a path of names with dots, None where there is none."""
    for name in path.split("."):
        if not isinstance(tree, dict):
            return None
        tree = tree.get(find_name(tree, name))
    return tree


def put_member(tree: Tree, path: str, value: Any) -> None:
    """Set a member in place, in the spelling that is there; objects on the way are made."""
    *sections, name = path.split(".")
    for part in sections:
        written = find_name(tree, part)
        below = tree.get(written)
        if not isinstance(below, dict):
            below = tree[written] = {}
        tree = below
    tree[find_name(tree, name)] = value


def section_of(tree: object, path: str) -> Tree:
    """Return an object, an empty one where there is none."""
    found = find_member(tree, path)
    return found if isinstance(found, dict) else {}


def listed(tree: object, path: str) -> list[Any]:
    """Return a list, an empty one where there is none."""
    found = find_member(tree, path)
    return found if isinstance(found, list) else []


def named(tree: object, path: str) -> list[tuple[str, Tree]]:
    """Return the objects of an object by name."""
    return [(name, entry) for name, entry in section_of(tree, path).items() if isinstance(entry, dict)]
