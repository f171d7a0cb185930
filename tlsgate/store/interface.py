"""What a store can do, as small protocols; knows no backend.

Names are text (Tyk's Redis key names without the key prefix), values are bytes. Every call ends within the store's own deadline or raises
``StoreUnavailable``; a caller never waits longer, and a call that was not answered is never sent again: it was done once or not at all.
Times to live are whole seconds from 1, None is for ever. A name holds one thing at a time: a value, a set, or the log of a sliding window;
a counter is a value, its number as ASCII digits. What a name holds of another kind is no value (None); counting or adding to it is a
``ValueError``, as is a name that is no Unicode text.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import NamedTuple, Protocol

__all__ = ["GAP", "MARKS_KEPT", "ChangeFeed", "Count", "CounterStore", "Entry", "HotCounter", "KeyStore", "Store"]

GAP = "gap"
"""Topic of the feed: changes may have been missed."""
MARKS_KEPT = 10_000
"""Entries of a sliding log that are kept at least."""


class Entry(NamedTuple):
    """A value with what is left of its life."""

    value: bytes
    ttl_s: float | None


class Count(NamedTuple):
    """A counter after an operation."""

    value: int
    expires_in_s: float | None
    """Until the counter starts anew; None for never."""


class KeyStore(Protocol):
    """Values by name."""

    async def get(self, name: str) -> bytes | None:
        """Return a value, None when there is none (or it has ended).

        :raises StoreUnavailable: no answer in time.
        """
        ...

    async def get_entry(self, name: str) -> Entry | None:
        """Return a value with its remaining life."""
        ...

    async def get_many(self, names: Sequence[str]) -> list[bytes | None]:
        """Return values in the order of the names, in one round trip."""
        ...

    async def get_entries(self, names: Sequence[str]) -> list[Entry | None]:
        """Return values with their remaining lives in the order of the names, in one round trip."""
        ...

    async def put(self, name: str, value: bytes, *, ttl_s: int | None = None, keep_ttl: bool = False, only_if: str = "") -> bool:
        """Write a value; acknowledged only when it survives a crash of the process.

        :param ttl_s: whole seconds from 1; None is for ever.
        :param keep_ttl: an existing value keeps its remaining life; a new one gets ``ttl_s``.
        :param only_if: ``present``, ``absent`` or empty for always.
        :returns: whether it was written.
        """
        ...

    async def replace(self, name: str, old: bytes | None, value: bytes, *, ttl_s: int | None = None) -> bool:
        """Write a value if what is there is what the caller has read, in one step; for names that nobody counts.

        :param old: as read; None for a name that held nothing.
        :param ttl_s: whole seconds from 1; None is for ever.
        :returns: whether it was written; acknowledged as by ``put``.
        """
        ...

    async def delete(self, *names: str) -> int:
        """Remove whatever the names hold; returns how many of them held something."""
        ...

    def names(self, prefix: str) -> AsyncIterator[list[str]]:
        """Yield the names with a prefix, whatever they hold, in batches; a batch never blocks the reactor for more than a few milliseconds.

        A name that is there all the time is yielded, one that comes or goes meanwhile perhaps; Redis may yield a name twice.

        :raises StoreUnavailable: the store went away in between; what was yielded is not all.
        """
        ...

    async def add_to_set(self, name: str, *members: str) -> None:
        """Add members to a set (Tyk keeps indexes as lists or sets; backends hide which)."""
        ...

    async def remove_from_set(self, name: str, *members: str) -> None:
        """Remove members of a set."""
        ...

    async def members(self, name: str) -> list[str]:
        """Return the members of a set, in order of their text; none for a name that holds something else."""
        ...


class HotCounter(Protocol):
    """A counter of ``count_window`` that can be counted without waiting."""

    def count(self, window_s: float, limit: int, now: float, cost: int = 1) -> tuple[bool, int, float] | None:
        """Count as ``count_window`` does; None when that cannot be done at once: nothing has been counted, await ``count_window``.

        :param now: epoch seconds.
        :returns: whether it was admitted, the counter's value, and its end in epoch seconds (0 is never).
        """
        ...


class CounterStore(Protocol):
    """Counters that are exact across all processes that share the store; each call is one atomic step."""

    async def count_window(self, name: str, window_s: float, limit: int, cost: int = 1) -> tuple[bool, Count]:
        """Quota and fixed window: create with the window's life or add, in one step; refused when the limit would be passed.

        A counter without an end is created anew when the window has one (Tyk's rule); another window applies from the next start on.

        :param window_s: 0 never renews.
        :param limit: 0 admits nothing; "unlimited" is the caller's business.
        :param cost: from 1.
        :returns: whether it was admitted, and the counter (a refused request is not counted beyond the limit).
        """
        ...

    def hot_counter(self, name: str) -> HotCounter | None:
        """Return the counter of a name in its quick form, None where the backend has none."""
        ...

    async def count_sliding(self, name: str, per_s: float, limit: int, now: float, *, log_refused: bool = True) -> tuple[bool, Count]:
        """Sliding log: admitted when fewer than ``limit`` entries lie within the last ``per_s`` seconds.

        An entry that is ``per_s`` old is out. Only the newest entries are kept, ``MARKS_KEPT`` or the limit if that is larger: the decision
        needs no more, and hammering a refused key does not fill the store.

        :param now: of the request, epoch seconds; entries after it count as well.
        :param log_refused: refused requests count too (hammering keeps a client out).
        :returns: whether it was admitted, and how many entries there are now with the time until the oldest one leaves.
        """
        ...

    async def read_count(self, name: str) -> Count | None:
        """Return a counter of ``count_window`` without changing it; None for a name that holds no number."""
        ...


class ChangeFeed(Protocol):
    """Changes that reach every process of every node."""

    async def publish(self, topic: str, payload: str) -> None:
        """Tell all others, and our own listeners before this returns or raises: they are told even when nobody else can be.

        :raises StoreUnavailable: whether others were told is not known.
        """
        ...

    def tell_here(self, topic: str, payload: str) -> None:
        """Tell our own listeners alone: another process of this machine has told us sooner than the feed does."""
        ...

    def subscribe(self, listener: Callable[[str, str], None]) -> None:
        """Be told (topic, payload) of every change, at the latest after one second.

        Topics: ``key``, ``policy``, ``certificate``, ``api``, ``reload``, ``node``. After a gap (reconnect) the listener gets
        (``gap``, ``""``): whatever is cached is to be forgotten. A listener that raises is logged.
        """
        ...


class Store(KeyStore, CounterStore, ChangeFeed, Protocol):
    """A whole backend."""

    async def start(self) -> None:
        """Open; a store that is away does not fail the start (calls raise until it is there)."""
        ...

    async def stop(self) -> None:
        """Close; acknowledged writes are safe."""
        ...

    @property
    def healthy(self) -> bool:
        """Whether the last look found the store there."""
        ...
