"""A tree under construction whose every member remembers where it came from; knows nothing of either form."""

from __future__ import annotations

from typing import Any

from tlsgate.config.section import Section
from tlsgate.config.trees import Tree

__all__ = ["Mapping"]


class Mapping:
    """Builds a tree member by member, together with the origin of each."""

    __slots__ = ("origins", "tree")

    def __init__(self) -> None:
        self.tree: Tree = {}
        self.origins: dict[str, str] = {}
        """Path in the source by path in the tree; there for absent members too, since their absence may be the problem."""

    def put(self, path: str, value: Any, origin: str) -> None:
        """Set a member.

        :param path: names from the top, with dots; objects on the way are made.
        :param value: None leaves the member absent.
        """
        self.origins[path] = origin
        if value is None:
            return
        *sections, name = path.split(".")
        tree = self.tree
        for part in sections:
            tree = tree.setdefault(part, {})
            if not isinstance(tree, dict):
                return  # what stands there is of a wrong type, which the schema says
        tree[name] = value

    def place(self, path: str, origin: str) -> None:
        """Say where an object came from whose members have been set one by one."""
        self.origins[path] = origin

    def take(self, section: Section, name: str, path: str) -> None:
        """Set a member to that of a section, if it is there."""
        self.put(path, section.tree.get(name), section.where(name))

    def append(self, path: str, entry: Tree, origin: str) -> None:
        """Add an entry to a list."""
        *sections, name = path.split(".")
        tree = self.tree
        for part in sections:
            tree = tree.setdefault(part, {})
        entries = tree.setdefault(name, [])
        self.origins[f"{path}[{len(entries)}]"] = origin
        entries.append(entry)

    def drop(self, path: str) -> None:
        """Remove a member at the top of the tree again."""
        self.tree.pop(path, None)
