"""JSON objects to records the way Go reads them: names in any letter case, ``null`` for a zero value, a wrong type refuses the whole.

Knows shapes of records; must not know any particular record. Stricter than Go: a member given twice (in any letter case) is refused, and
so is text after the object. Source: keys reference, section 1; decisions 4.2.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import msgspec

from tlsgate.config.json_text import parse_json
from tlsgate.errors import TlsgateError

__all__ = [
    "Convert",
    "Shape",
    "UnusableRecord",
    "cut_integer",
    "flag",
    "free",
    "integer",
    "listing",
    "mapping",
    "member_objects",
    "moment",
    "number",
    "parse_object",
    "read_object",
    "text",
    "whole_numbers",
]

R = TypeVar("R", bound=msgspec.Struct)
Convert = Callable[[Any], Any]
"""Returns a member's value as it stands in the record; raises :class:`UnusableRecord`."""

_MAX_INTEGER = 2**63 - 1
_ZERO_MOMENT = "0001-01-01T00:00:00Z"
_MOMENT = re.compile(
    r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:[.,]\d{1,9})?(?:Z|[+-]\d{2}:\d{2})"
)


class UnusableRecord(TlsgateError):
    """A JSON body that is no such record; the words never quote a value.

    :param reason: what is wrong.
    :param path: of the member.
    """

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(f"{path}: {reason}" if path else reason)
        self.reason = reason
        self.path = path

    def below(self, name: str) -> UnusableRecord:
        """Return the same fault, seen from one level up."""
        return UnusableRecord(self.reason, f"{name}.{self.path}" if self.path else name)


class Shape(Generic[R]):
    """How objects become one kind of record.

    :param record: has ``extra`` for unknown members if they are to be kept.
    :param members: JSON name to (attribute, converter). Where an older name leads to the same attribute, the one that is not zero counts.
    """

    __slots__ = ("_keeps", "_members", "_record")

    def __init__(self, record: type[R], members: Mapping[str, tuple[str, Convert]]) -> None:
        self._record = record
        self._members = {name: (name, attribute, convert) for name, (attribute, convert) in members.items()}
        self._keeps = any(field.name == "extra" for field in msgspec.structs.fields(record))

    def read(self, tree: Any) -> R:
        """Return the record of an object; ``None`` is the zero record.

        :raises UnusableRecord: a wrong type anywhere, or a member given twice.
        """
        if tree is None:
            return self._record()
        if type(tree) is not dict:
            raise UnusableRecord("must be an object")
        members = self._members
        values: dict[str, Any] = {}
        extra: dict[str, Any] = {}
        seen = set()
        for name, item in tree.items():
            found = members.get(name) or members.get(name.lower())
            if found is None:
                extra[name] = item
                continue
            known, attribute, convert = found
            if known in seen:
                raise UnusableRecord("is given twice", known)
            seen.add(known)
            if item is None:
                continue
            try:
                value = convert(item)
            except UnusableRecord as fault:
                raise fault.below(known) from None
            values[attribute] = value or values.get(attribute, value)
        if extra and self._keeps:
            values["extra"] = extra
        return self._record(**values)


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the object that a body is.

    :raises UnusableRecord: no UTF-8, no JSON, no object, something after it, or a member given twice in one object.
    """
    try:
        value = parse_json(body.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise UnusableRecord("not UTF-8") from None
    except ValueError as error:
        raise UnusableRecord(str(error).split(": line")[0]) from None
    if type(value) is not dict:
        raise UnusableRecord("must be an object")
    return value


def read_object(stored: bytes) -> dict[str, Any]:
    """Return the object of a stored value, quickly: what the store holds was checked when it was written.

    :raises UnusableRecord: no JSON object.
    """
    try:
        value = msgspec.json.decode(stored)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnusableRecord(f"not JSON ({type(error).__name__})") from None
    if type(value) is not dict:
        raise UnusableRecord("must be an object")
    return value


def text(value: Any) -> str:
    """Return a text."""
    if type(value) is not str:
        raise UnusableRecord("must be a text")
    return value


def flag(value: Any) -> bool:
    """Return a switch."""
    if type(value) is not bool:
        raise UnusableRecord("must be true or false")
    return value


def integer(value: Any) -> int:
    """Return a whole number of 64 bits; ``1.7e9`` is none."""
    if type(value) is not int or not -_MAX_INTEGER - 1 <= value <= _MAX_INTEGER:
        raise UnusableRecord("must be a whole number")
    return value


def cut_integer(value: int) -> int:
    """Return the nearest whole number that :func:`integer` takes, for sums of numbers that it took."""
    return min(max(value, -_MAX_INTEGER - 1), _MAX_INTEGER)


def number(value: Any) -> float:
    """Return a number."""
    if type(value) is not float and type(value) is not int:
        raise UnusableRecord("must be a number")
    try:
        return float(value)
    except OverflowError:
        raise UnusableRecord("must be a number") from None


def moment(value: Any) -> str:
    """Return an RFC 3339 time as text, empty for Go's zero time."""
    if type(value) is not str or (value and _MOMENT.fullmatch(value) is None):
        raise UnusableRecord("must be a time such as 2026-01-31T12:00:00Z")
    return "" if value == _ZERO_MOMENT else value


def free(value: Any) -> dict[str, Any]:
    """Return an object of anything."""
    if type(value) is not dict:
        raise UnusableRecord("must be an object")
    return value


def listing(item: Convert, *, empty: Any = "") -> Convert:
    """Return a converter of lists to tuples; ``null`` items are ``empty``."""

    def convert(value: Any) -> tuple[Any, ...]:
        if type(value) is not list:
            raise UnusableRecord("must be a list")
        made = []
        for index, part in enumerate(value):
            try:
                made.append(empty if part is None else item(part))
            except UnusableRecord as fault:
                raise fault.below(str(index)) from None
        return tuple(made)

    return convert


def mapping(item: Convert) -> Convert:
    """Return a converter of objects whose member names are data; ``null`` members go through the converter."""

    def convert(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise UnusableRecord("must be an object")
        made = {}
        for name, part in value.items():
            try:
                made[name] = item(part)
            except UnusableRecord as fault:
                raise fault.below(name) from None
        return made

    return convert


def member_objects(members: Mapping[str, Convert]) -> Convert:
    """Return a converter of small objects that stay objects: known members are checked and get their usual spelling."""

    def convert(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise UnusableRecord("must be an object")
        made: dict[str, Any] = {}
        for name, part in value.items():
            known = name if name in members else name.lower() if name.lower() in members else ""
            if not known:
                made[name] = part
                continue
            if known in made:
                raise UnusableRecord("is given twice", known)
            if part is None:
                continue
            try:
                made[known] = members[known](part)
            except UnusableRecord as fault:
                raise fault.below(known) from None
        return made

    return convert


def whole_numbers(value: Any) -> Any:
    """Return a value for encoding: floats without a fraction as whole numbers, as Go writes them."""
    if type(value) is float and value.is_integer() and abs(value) < 1e21:
        return int(value)
    if type(value) is dict:
        return {name: whole_numbers(part) for name, part in value.items()}
    if type(value) in (list, tuple):
        return [whole_numbers(part) for part in value]
    return value
