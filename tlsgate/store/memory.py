"""The store of tests and of a gateway that forgets everything: one process, no disk.

Knows the protocols of ``store.interface`` only. Expiry counts on the given clock, so that tests move time by hand.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right, insort
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from tlsgate.clock import Clock
from tlsgate.errors import StoreUnavailable
from tlsgate.store.feed import Listeners
from tlsgate.store.interface import MARKS_KEPT, Count, Entry, HotCounter
from tlsgate.store.rules import check_names, check_put, parse_number, sliding_bounds

__all__ = ["MemoryStore"]

_BATCH = 500
_SLACK = 1000
"""Ends of values that may be out of date before they are sorted out."""


class _Item:
    """What a name holds: a value (bytes), a set, or the sorted scores of a sliding log."""

    __slots__ = ("content", "expires_at")

    def __init__(self, content: Any, expires_at: float | None) -> None:
        self.content: Any = content
        self.expires_at = expires_at


class MemoryStore:
    """A :class:`tlsgate.store.interface.Store` in this process's memory.

    :param clock: wall time.
    :param reactor: lets others run between batches of names; None goes on at once (tests).
    """

    def __init__(self, clock: Clock, reactor: IReactorTime | None = None) -> None:
        self._clock = clock
        self._reactor = reactor
        self._items: dict[str, _Item] = {}
        self._ends: list[tuple[float, str]] = []
        self._listeners = Listeners()
        self._available = True

    @property
    def available(self) -> bool:
        """Whether calls are answered; tests set it to False for a store that is away."""
        return self._available

    @available.setter
    def available(self, value: bool) -> None:
        back = value and not self._available
        self._available = value
        if back:
            self._listeners.tell_gap()

    @property
    def healthy(self) -> bool:
        """Whether calls are answered."""
        return self._available

    async def start(self) -> None:
        """Nothing to open."""

    async def stop(self) -> None:
        """Forget everything."""
        self._items.clear()
        self._ends.clear()

    async def get(self, name: str) -> bytes | None:
        """Return a value."""
        return self._value(name)

    async def get_entry(self, name: str) -> Entry | None:
        """Return a value with its remaining life."""
        return self._entry(name)

    async def get_many(self, names: Sequence[str]) -> list[bytes | None]:
        """Return values in the order of the names."""
        return [self._value(name) for name in names]

    async def get_entries(self, names: Sequence[str]) -> list[Entry | None]:
        """Return values with their remaining lives in the order of the names."""
        return [self._entry(name) for name in names]

    async def put(self, name: str, value: bytes, *, ttl_s: int | None = None, keep_ttl: bool = False, only_if: str = "") -> bool:
        """Write a value."""
        check_put(name, ttl_s, only_if)
        item = self._find(name)
        if (item is None and only_if == "present") or (item is not None and only_if == "absent"):
            return False
        expires_at = None if ttl_s is None else self._clock.now() + ttl_s
        if keep_ttl and item is not None:
            expires_at = item.expires_at
        self._items[name] = _Item(value, None)
        self._end(name, expires_at)
        return True

    async def replace(self, name: str, old: bytes | None, value: bytes, *, ttl_s: int | None = None) -> bool:
        """Write a value if what is there is what the caller has read."""
        check_put(name, ttl_s, "")
        return self._value(name) == old and await self.put(name, value, ttl_s=ttl_s, only_if="absent" if old is None else "present")

    async def delete(self, *names: str) -> int:
        """Remove whatever the names hold."""
        return sum(self._find(name) is not None and self._items.pop(name, None) is not None for name in names)

    async def names(self, prefix: str) -> AsyncIterator[list[str]]:
        """Yield the names with a prefix."""
        prefix.encode()
        self._check()
        known = list(self._items)
        for start in range(0, len(known), _BATCH):
            if start and self._reactor is not None:
                turn: Deferred[None] = Deferred()
                self._reactor.callLater(0, turn.callback, None)
                await turn
            batch = [name for name in known[start : start + _BATCH] if name.startswith(prefix) and self._find(name) is not None]
            if batch:
                yield batch

    async def add_to_set(self, name: str, *members: str) -> None:
        """Add members to a set."""
        check_names(members)
        self._find_kind(name, set)
        if members:
            self._items.setdefault(name, _Item(set(), None)).content.update(members)

    async def remove_from_set(self, name: str, *members: str) -> None:
        """Remove members of a set."""
        check_names(members)
        item = self._find_kind(name, set)
        if item is not None:
            item.content.difference_update(members)
            if not item.content:
                del self._items[name]

    async def members(self, name: str) -> list[str]:
        """Return the members of a set."""
        item = self._find(name)
        return sorted(item.content) if item is not None and isinstance(item.content, set) else []

    async def count_window(self, name: str, window_s: float, limit: int, cost: int = 1) -> tuple[bool, Count]:
        """Quota and fixed window."""
        return self._count_window(name, window_s, limit, cost)

    def hot_counter(self, name: str) -> HotCounter | None:
        """Return the counter of a name."""
        return _Hot(self, name)

    def _count_window(self, name: str, window_s: float, limit: int, cost: int) -> tuple[bool, Count]:
        item = self._find_kind(name, bytes)
        number = 0
        if item is not None:
            number = parse_number(item.content)
            if window_s > 0 and item.expires_at is None:
                item, number = None, 0
        if number + cost > limit:
            return False, Count(number, (window_s if window_s > 0 else None) if item is None else self._left(item))
        if item is None:
            item = self._items[name] = _Item(b"", None)
            self._end(name, self._clock.now() + window_s if window_s > 0 else None)
        item.content = b"%d" % (number + cost)
        return True, Count(number + cost, self._left(item))

    async def count_sliding(self, name: str, per_s: float, limit: int, now: float, *, log_refused: bool = True) -> tuple[bool, Count]:
        """Sliding log."""
        item = self._find_kind(name, list)
        score, out = sliding_bounds(now, per_s)
        marks: list[float] = [] if item is None else item.content
        del marks[: bisect_right(marks, out)]
        admitted = len(marks) < limit
        if admitted or log_refused:
            insort(marks, score)
            del marks[: max(0, len(marks) - max(limit, MARKS_KEPT))]
            self._items[name] = _Item(marks, None)
            self._end(name, self._clock.now() + per_s)
        return admitted, Count(len(marks), (marks[0] - out) / 1e9 if marks else per_s)

    async def read_count(self, name: str) -> Count | None:
        """Return a counter without changing it."""
        item = self._find(name)
        if item is None or not isinstance(item.content, bytes):
            return None
        try:
            return Count(parse_number(item.content), self._left(item))
        except ValueError:
            return None

    async def publish(self, topic: str, payload: str) -> None:
        """Tell the listeners: there is nobody else."""
        self._listeners.tell(topic, payload)
        self._check()

    def tell_here(self, topic: str, payload: str) -> None:
        """Tell our own listeners alone."""
        self._listeners.tell(topic, payload)

    def subscribe(self, listener: Callable[[str, str], None]) -> None:
        """Tell a listener of every change."""
        self._listeners.add(listener)

    def _check(self) -> None:
        if not self._available:
            raise StoreUnavailable("the store is away")

    def _find(self, name: str) -> _Item | None:
        """Return what a name holds; what has ended is removed."""
        name.encode()
        if not self._available:
            self._check()
        item = self._items.get(name)
        if item is not None and item.expires_at is not None and item.expires_at <= self._clock.now():
            del self._items[name]
            return None
        return item

    def _find_kind(self, name: str, kind: type) -> _Item | None:
        item = self._find(name)
        if item is not None and not isinstance(item.content, kind):
            raise ValueError("the name holds something of another kind")
        return item

    def _value(self, name: str) -> bytes | None:
        item = self._find(name)
        return item.content if item is not None and isinstance(item.content, bytes) else None

    def _entry(self, name: str) -> Entry | None:
        item = self._find(name)
        return Entry(item.content, self._left(item)) if item is not None and isinstance(item.content, bytes) else None

    def _left(self, item: _Item) -> float | None:
        return None if item.expires_at is None else item.expires_at - self._clock.now()

    def _end(self, name: str, expires_at: float | None) -> None:
        """Set the end of what a name holds, and remove some of what has ended: writing pays for it, step by step."""
        self._items[name].expires_at = expires_at
        ends = self._ends
        if expires_at is not None:
            heapq.heappush(ends, (expires_at, name))
        if len(ends) > 2 * len(self._items) + _SLACK:
            self._ends = ends = [(item.expires_at, name) for name, item in self._items.items() if item.expires_at is not None]
            heapq.heapify(ends)
        now = self._clock.now()
        while ends and ends[0][0] <= now:
            _, name = heapq.heappop(ends)
            item = self._items.get(name)
            if item is not None and item.expires_at is not None and item.expires_at <= now:
                del self._items[name]


class _Hot:
    """A counter without waiting."""

    __slots__ = ("_name", "_store")

    def __init__(self, store: MemoryStore, name: str) -> None:
        self._store = store
        self._name = name

    def count(self, window_s: float, limit: int, now: float, cost: int = 1) -> tuple[bool, int, float] | None:
        """Count; None for a store that plays dead."""
        try:
            admitted, count = self._store._count_window(self._name, window_s, limit, cost)
        except StoreUnavailable:
            return None
        return admitted, count.value, 0.0 if count.expires_in_s is None else now + count.expires_in_s
