"""Reads a tree that has been checked against its schema, and words problems about its members.

Knows how members are read, and how a value is shown in a problem; must not know what any of them means.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tlsgate.config.problems import Problems, join_path, reason_of
from tlsgate.config.schema import MAX_INTEGER, SECRET, ListOf, MapOf, ObjectOf, check_object, is_secret
from tlsgate.config.trees import Tree

__all__ = ["Section", "check"]


def check(tree: Tree, schema: ObjectOf, problems: Problems, path: str = "") -> Section:
    """Compare a tree with its schema, note everything that does not fit, and return it in canonical spelling.

    :param tree: as parsed; stays as it is.
    :returns: a reader over a copy that holds known members of the right type only; unknown ones are left out.
    """
    return Section(check_object(tree, schema, problems, path), schema, path, problems)


class Section:
    """Reads one object of a checked tree; what is absent has the zero value of its type."""

    __slots__ = ("path", "problems", "schema", "tree")

    def __init__(self, tree: Tree, schema: ObjectOf, path: str, problems: Problems) -> None:
        self.tree = tree
        self.schema = schema
        self.path = path
        self.problems = problems

    def has(self, name: str) -> bool:
        """Tell whether the member is there (and not null)."""
        return name in self.tree

    def text(self, name: str, default: str = "") -> str:
        """Return a text."""
        return str(self.tree.get(name, default))

    def flag(self, name: str, default: bool = False) -> bool:
        """Return a switch."""
        return bool(self.tree.get(name, default))

    def integer(self, name: str, default: int = 0, *, low: int = 0, high: int = MAX_INTEGER) -> int:
        """Return a whole number within bounds; outside of them it is a problem and the default is returned."""
        value = self.tree.get(name, default)
        if not low <= value <= high:
            self.error(name, f"must be {_range(low, high)}")
            return default
        return int(value)

    def number(self, name: str, default: float = 0.0, *, low: float = 0.0, high: float = 1e12) -> float:
        """Return a number within bounds; outside of them it is a problem and the default is returned."""
        value = self.tree.get(name, default)
        if not low <= value <= high:
            self.error(name, f"must be {_range(low, high)}")
            return default
        return float(value)

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of texts."""
        return tuple([str(item) for item in self.tree.get(name, ())])

    def pairs(self, name: str) -> tuple[tuple[str, str], ...]:
        """Return an object of texts as pairs, in order."""
        return tuple([(str(key), str(item)) for key, item in self.tree.get(name, {}).items()])

    def free(self, name: str) -> Tree:
        """Return an object of anything."""
        value = self.tree.get(name)
        return value if isinstance(value, dict) else {}

    def section(self, name: str) -> Section:
        """Return a reader of an object; an absent one is empty."""
        schema = self.schema.members[name]
        assert isinstance(schema, ObjectOf), name
        return Section(self.tree.get(name, {}), schema, self.where(name), self.problems)

    def sections(self, name: str) -> list[Section]:
        """Return a reader for each object of a list."""
        schema = self.schema.members[name]
        assert isinstance(schema, ListOf) and isinstance(schema.item, ObjectOf), name
        where = self.where(name)
        return [Section(item, schema.item, f"{where}[{index}]", self.problems) for index, item in enumerate(self.tree.get(name, ()))]

    def named(self, name: str) -> Iterator[tuple[str, Section]]:
        """Return name and reader of each object in an object of objects."""
        schema = self.schema.members[name]
        assert isinstance(schema, MapOf) and isinstance(schema.item, ObjectOf), name
        where = self.where(name)
        for key, item in self.tree.get(name, {}).items():
            yield key, Section(item, schema.item, join_path(where, key), self.problems)

    def where(self, name: str) -> str:
        """Return the path of a member."""
        return join_path(self.path, name)

    def error(self, name: str, message: str, remedy: str = "") -> None:
        """Note that a member makes the whole unusable, with its value unless that is a secret."""
        self.problems.error(self.where(name), message, remedy, value=self.tree.get(name), secret=self._is_secret(name))

    def warning(self, name: str, message: str, remedy: str = "") -> None:
        """Note something about a member, with its value unless that is a secret."""
        self.problems.warning(self.where(name), message, remedy, value=self.tree.get(name), secret=self._is_secret(name))

    def error_at(self, name: str, key: int | str, message: str, remedy: str = "") -> None:
        """Note that an item of a list or map makes the whole unusable."""
        path, value = self._item(name, key)
        self.problems.error(path, message, remedy, value=value, secret=self._is_secret(name))

    def warning_at(self, name: str, key: int | str, message: str, remedy: str = "") -> None:
        """Note something about an item of a list or map."""
        path, value = self._item(name, key)
        self.problems.warning(path, message, remedy, value=value, secret=self._is_secret(name))

    def reason(self, error: ValueError, name: str, key: int | str | None = None) -> str:
        """Return what an error says about a member, or an item of it, as far as that may be shown."""
        value = self.tree.get(name) if key is None else self._item(name, key)[1]
        return reason_of(error, value)

    def _item(self, name: str, key: int | str) -> tuple[str, object]:
        container: Any = self.tree.get(name, {})
        value = container[key] if isinstance(key, int) else container.get(key)
        return (f"{self.where(name)}[{key}]" if isinstance(key, int) else join_path(self.where(name), key)), value

    def _is_secret(self, name: str) -> bool:
        return is_secret(self.schema.members.get(name, SECRET))


def _range(low: float, high: float) -> str:
    if high >= 1e12:
        return f"{low:g} or more" if low else "zero or more"
    return f"between {low:g} and {high:g}"
