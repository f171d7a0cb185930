"""A small schema for trees of JSON: which members there are and of what type; checks a tree against it.

Knows types and spelling of names; must not know what a value means. Member names are matched as Tyk matches them, without regard to case;
``null`` stands for an absent member; a wrong type is named, the value dropped, and the file thereby unusable (decisions 4.2).
"""

from __future__ import annotations

import difflib
import enum
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from tlsgate.config.problems import Problems, join_path
from tlsgate.config.trees import Tree

__all__ = [
    "ANY",
    "DURATION",
    "FLAG",
    "FREE",
    "INTEGER",
    "NANOSECONDS",
    "NUMBER",
    "SECRET",
    "SECRETS",
    "TEXT",
    "TEXTS",
    "TEXT_MAP",
    "Leaf",
    "ListOf",
    "MapOf",
    "ObjectOf",
    "Schema",
    "check_object",
    "check_value",
    "is_secret",
    "list_of",
    "map_of",
    "object_of",
]

MAX_INTEGER = 2**63 - 1


class _Kind(enum.Enum):
    TEXT = "text"
    FLAG = "true or false"
    INTEGER = "a whole number"
    NUMBER = "a number"
    DURATION = "a duration such as 10s"
    NANOSECONDS = "a whole number of nanoseconds"
    ANY = "anything"


class Leaf(NamedTuple):
    """A single value."""

    kind: _Kind
    secret: bool = False


class ListOf(NamedTuple):
    """A list of one kind of items."""

    item: Schema


class MapOf(NamedTuple):
    """An object whose member names are data."""

    item: Schema


class ObjectOf:
    """An object with known members.

    :param members: schema by name.
    :param strict: an unknown member is an error instead of a warning (settings of our own).
    :param open: unknown members are expected, and not even mentioned.
    """

    __slots__ = ("folded", "members", "open", "strict")

    def __init__(self, members: Mapping[str, Schema], *, strict: bool = False, open: bool = False) -> None:
        self.members = dict(members)
        self.folded = {name.casefold(): name for name in members}
        self.strict = strict
        self.open = open


Schema: TypeAlias = Leaf | ListOf | MapOf | ObjectOf

TEXT = Leaf(_Kind.TEXT)
SECRET = Leaf(_Kind.TEXT, secret=True)
FLAG = Leaf(_Kind.FLAG)
INTEGER = Leaf(_Kind.INTEGER)
NUMBER = Leaf(_Kind.NUMBER)
DURATION = Leaf(_Kind.DURATION)
NANOSECONDS = Leaf(_Kind.NANOSECONDS)
ANY = Leaf(_Kind.ANY)
TEXTS = ListOf(TEXT)
TEXT_MAP = MapOf(TEXT)
SECRETS = MapOf(SECRET)
FREE = MapOf(ANY)


def object_of(members: Mapping[str, Schema], *, strict: bool = False, open: bool = False) -> ObjectOf:
    """Return the schema of an object with known members."""
    return ObjectOf(members, strict=strict, open=open)


def list_of(members: Mapping[str, Schema], *, strict: bool = False) -> ListOf:
    """Return the schema of a list of objects with known members."""
    return ListOf(ObjectOf(members, strict=strict))


def map_of(members: Mapping[str, Schema], *, strict: bool = False) -> MapOf:
    """Return the schema of an object of objects with known members."""
    return MapOf(ObjectOf(members, strict=strict))


def is_secret(schema: Schema) -> bool:
    """Tell whether values of this schema may not be shown."""
    while isinstance(schema, (ListOf, MapOf)):
        schema = schema.item
    return isinstance(schema, Leaf) and schema.secret


def check_object(tree: Tree, schema: ObjectOf, problems: Problems, path: str) -> Tree:
    """Return the known members of the right type, in canonical spelling, after noting everything else."""
    made: Tree = {}
    members = schema.members
    for written, value in tree.items():
        name = written
        known = members.get(name)
        if known is None:
            name = schema.folded.get(written.casefold(), "")
            if not name:
                _unknown(written, schema, problems, path)
                continue
            known = members[name]
        if name in made:
            problems.error(
                join_path(path, written), "the same member is given twice, in different spelling", "names do not depend on case: keep one"
            )
            continue
        if value is None:
            continue
        if type(known) is Leaf:
            if _fits(value, known.kind):
                made[name] = value
            else:
                _wrong(value, known, problems, join_path(path, written))
        else:
            checked = check_value(value, known, problems, join_path(path, written))
            if checked is not None:
                made[name] = checked
    return made


def check_value(value: object, schema: Schema, problems: Problems, path: str) -> Any:
    """Return a single value in canonical form, or None after noting why it does not fit."""
    if isinstance(schema, Leaf):
        if _fits(value, schema.kind):
            return value
        return _wrong(value, schema, problems, path)
    if isinstance(schema, ListOf):
        if not isinstance(value, list):
            return _wrong(value, schema, problems, path)
        if schema.item is TEXT and all(type(item) is str for item in value):
            return value
        items = [
            _zero(schema.item) if item is None else check_value(item, schema.item, problems, f"{path}[{n}]") for n, item in enumerate(value)
        ]
        return [item for item in items if item is not None]
    if not isinstance(value, dict):
        return _wrong(value, schema, problems, path)
    if isinstance(schema, ObjectOf):
        return check_object(value, schema, problems, path)
    checked = {
        key: _zero(schema.item) if item is None else check_value(item, schema.item, problems, join_path(path, key))
        for key, item in value.items()
    }
    return {key: item for key, item in checked.items() if item is not None}


def _fits(value: object, kind: _Kind) -> bool:
    if kind is _Kind.TEXT:
        return isinstance(value, str)
    if kind is _Kind.FLAG:
        return value is True or value is False
    if kind is _Kind.ANY:
        return True
    if isinstance(value, bool):
        return False
    if kind is _Kind.INTEGER or kind is _Kind.NANOSECONDS:
        return isinstance(value, int) and -MAX_INTEGER <= value <= MAX_INTEGER
    if isinstance(value, int) and not -MAX_INTEGER <= value <= MAX_INTEGER:
        return False
    return isinstance(value, (int, float)) or (kind is _Kind.DURATION and isinstance(value, str))


def _zero(schema: Schema) -> Any:
    """Return what ``null`` stands for inside a list or map."""
    if isinstance(schema, ListOf):
        return []
    if isinstance(schema, (MapOf, ObjectOf)):
        return {}
    return {_Kind.TEXT: "", _Kind.FLAG: False, _Kind.ANY: None, _Kind.DURATION: ""}.get(schema.kind, 0)


def _wrong(value: object, schema: Schema, problems: Problems, path: str) -> None:
    if isinstance(schema, Leaf):
        wanted = schema.kind.value
        if (
            isinstance(value, int)
            and not isinstance(value, bool)
            and schema.kind in (_Kind.INTEGER, _Kind.NUMBER, _Kind.NANOSECONDS, _Kind.DURATION)
        ):
            problems.error(path, "the number is too large", value=value)
            return
    else:
        wanted = "a list" if isinstance(schema, ListOf) else "an object"
    problems.error(path, f"must be {wanted}, not {_type_name(value)}", value=value, secret=is_secret(schema))


def _type_name(value: object) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, str):
        return "text"
    if isinstance(value, int):
        return "a number"
    if isinstance(value, float):
        return "a number with a fraction"
    return "a list" if isinstance(value, list) else "an object"


def _unknown(name: str, schema: ObjectOf, problems: Problems, path: str) -> None:
    if schema.open:
        return
    close = difflib.get_close_matches(name.casefold(), schema.folded, n=1, cutoff=0.75)
    remedy = f"did you mean {schema.folded[close[0]]}?" if close else ""
    where = join_path(path, name if name.isprintable() and len(name) <= 80 else ascii(name[:80]))
    if schema.strict:
        problems.error(where, "there is no such setting", remedy)
    else:
        problems.warning(where, "unknown field, kept but without effect", remedy)
