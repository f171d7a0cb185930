"""Everything of one store into another, by JSON lines: ``{"name": ..., "value": ... | "base64": ... | "members": [...], "ttl": ...}``.

The last line, ``{"end": <lines before>}``, tells a whole export from one that was cut off. Values, counters among them, and sets are moved;
logs of sliding windows live for seconds and are left out. Knows the protocols of ``store.interface`` only, no backend and no file.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec
from twisted.internet.defer import Deferred

from tlsgate.store.interface import Entry, Store

__all__ = ["Moved", "export", "load"]

_TOGETHER = 200
"""Lines written at once: SQLite commits them together, Redis gets them in one go."""
_encode = msgspec.json.Encoder().encode


class Output(Protocol):
    """What is written to."""

    def write(self, data: bytes, /) -> Any:
        """Take some bytes."""
        ...


class Moved(NamedTuple):
    """What was moved."""

    values: int
    sets: int
    passed_over: int
    """Names that hold something else, or ended meanwhile."""
    complete: bool
    """False: the lines end before their ``end`` does."""


class _Line(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One line."""

    name: str | None = None
    value: str | None = None
    base64: str | None = None
    members: list[str] | None = None
    ttl: float | None = None
    end: int | None = None


_decoder = msgspec.json.Decoder(_Line)


async def export(store: Store, stream: Output) -> Moved:
    """Write everything that a store holds; what others change meanwhile is there in one state or the other.

    :param stream: takes bytes; written line by line, nothing is gathered.
    :raises StoreUnavailable: the export has no end then.
    """
    values = sets = passed_over = 0
    async for names in store.names(""):
        for start in range(0, len(names), _TOGETHER):
            part = names[start : start + _TOGETHER]
            for name, entry in zip(part, await store.get_entries(part), strict=True):
                if entry is not None:
                    stream.write(_encode(_line_of(name, entry)) + b"\n")
                    values += 1
                    continue
                members = await store.members(name)
                if members:
                    stream.write(_encode(_Line(name=name, members=members)) + b"\n")
                    sets += 1
                else:
                    passed_over += 1
    stream.write(_encode(_Line(end=values + sets)) + b"\n")
    return Moved(values, sets, passed_over, True)


async def load(store: Store, stream: Iterable[bytes]) -> Moved:
    """Write the lines of an export into a store, over what has the same names; sets are united.

    :param stream: lines; read as they are needed.
    :raises ValueError: a line that is none of an export, or a set where the store has a value; what stands before it is written.
    :raises StoreUnavailable: some lines are written; loading again is safe.
    """
    counted = _Counted()
    waiting: list[Coroutine[Any, Any, Any]] = []
    fault = ""
    for number, text in enumerate(stream, 1):
        try:
            work = counted.take(store, text) if text.strip() else None
        except ValueError as error:
            fault = f"line {number}: {error}"
            break
        if work is not None:
            waiting.append(work)
        if len(waiting) >= _TOGETHER:
            await _together(waiting)
            waiting = []
    await _together(waiting)
    if fault:
        raise ValueError(fault)
    return Moved(counted.values, counted.sets, 0, counted.complete)


class _Counted:
    """The lines of a load so far."""

    __slots__ = ("complete", "sets", "values")

    def __init__(self) -> None:
        self.values = self.sets = 0
        self.complete = False

    def take(self, store: Store, text: bytes) -> Coroutine[Any, Any, Any] | None:
        """Return what a line asks for, None for the last one.

        :raises ValueError: what is wrong with the line.
        """
        if self.complete:
            raise ValueError("something stands after the end")
        line = _parse(text)
        if line.name is None:
            if line.end != self.values + self.sets:
                raise ValueError(f"the export had {line.end} lines before its end, here are {self.values + self.sets}")
            self.complete = True
            return None
        if line.members is not None:
            self.sets += 1
            return store.add_to_set(line.name, *line.members)
        self.values += 1
        value = line.value.encode() if line.value is not None else base64.b64decode(line.base64 or "", validate=True)
        return store.put(line.name, value, ttl_s=None if line.ttl is None else math.ceil(line.ttl))


def _line_of(name: str, entry: Entry) -> _Line:
    ttl = None if entry.ttl_s is None else max(0.001, round(entry.ttl_s, 3))
    try:
        return _Line(name=name, value=entry.value.decode(), ttl=ttl)
    except UnicodeDecodeError:
        return _Line(name=name, base64=base64.b64encode(entry.value).decode(), ttl=ttl)


def _parse(text: bytes) -> _Line:
    try:
        line = _decoder.decode(text)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from error
    contents = [line.value, line.base64, line.members, line.end]
    if contents.count(None) != len(contents) - 1 or (line.name is None) != (line.end is not None):
        raise ValueError("needs a name with a value, base64 or members")
    if line.ttl is not None and (line.ttl <= 0 or line.members is not None):
        raise ValueError("a ttl is above zero, and of a value only")
    return line


async def _together(work: Sequence[Coroutine[Any, Any, Any]]) -> None:
    """Do all at once and wait for all; raises the first error when all have ended."""
    results = [Deferred.fromCoroutine(each).addErrback(lambda failure: failure.value) for each in work]
    ended = [await result for result in results]
    for result in ended:
        if isinstance(result, Exception):
            raise result
