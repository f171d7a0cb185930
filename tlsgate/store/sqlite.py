"""The embedded store: one SQLite file, shared by the processes of one machine.

Counters of windows lie in a mapped file beside it (``store.counter_file``), where all processes count them without waiting; one that was
written as a value moves there when it is counted for the first time, and back when somebody writes a value over it.

Writes go to one thread, which commits what has gathered in one transaction (acknowledged is on the disk; counters and the feed survive the
process, not the machine); reads go to another. The feed is a table that every process looks into five times a second.
Knows calls and their deadlines; must not know SQL or threads' insides.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from tlsgate.clock import Clock
from tlsgate.errors import StoreUnavailable
from tlsgate.store import sqlite_ops as ops
from tlsgate.store.counter_file import CounterFile, Stored
from tlsgate.store.feed import Listeners
from tlsgate.store.interface import Count, Entry, HotCounter
from tlsgate.store.rules import check_names, check_put
from tlsgate.store.sqlite_faults import FaultLog, describe_fault
from tlsgate.store.sqlite_schema import VERSION
from tlsgate.store.sqlite_thread import DatabaseThread
from tlsgate.store.timeouts import Timeouts

__all__ = ["SqliteStore"]

POLL_S = 0.2
SWEEP_S = 30.0
_BATCH = 500
_READ_AT_ONCE = 200
_BUCKETS_AT_ONCE = 200
_BUSY_S = 0.001
_log = Logger()


class SqliteStore:
    """A :class:`tlsgate.store.interface.Store` in a file.

    :param reactor: of the whole process.
    :param clock: wall time, for expiry.
    :param path: of the file, in a folder that exists on a local disk; ``-wal``, ``-shm`` and ``-lock`` lie beside it.
    :param timeout_s: deadline of every call.
    """

    def __init__(self, reactor: Any, clock: Clock, path: str, *, timeout_s: float = 2.0) -> None:
        self._reactor = reactor
        faults = FaultLog(path)
        self._writer = DatabaseThread(reactor, clock, path, faults, write=True)
        self._reader = DatabaseThread(reactor, clock, path, faults, write=False)
        self._timeouts: Timeouts[DatabaseThread] = Timeouts(reactor, timeout_s, DatabaseThread.note_late)
        self._listeners = Listeners()
        self._counters: CounterFile | None = None
        """None while it cannot be opened: then nothing is counted, for other processes may have it open (exact or not at all)."""
        self._counters_fault = "the store is not open"
        self._counters_path = path + "-counters"
        self._clock = clock
        self._timeout_s = timeout_s
        self._origin = os.urandom(8).hex()
        self._last: int | None = None
        self._loops: list[Deferred[None]] = []

    @property
    def healthy(self) -> bool:
        """Whether the last writes and reads went well."""
        return self._writer.healthy and self._reader.healthy

    async def start(self) -> None:
        """Open the file, make it where it is missing, and migrate an older one; what is wrong with it is logged and tried again."""
        self._writer.start()
        self._reader.start()
        try:
            await self._write(_probe)
            self._last = await self._read(_find_last)
        except StoreUnavailable as error:
            _log.error("the store cannot be opened, requests that need it get 503: {reason}", event="store.not_opened", reason=str(error))
        self._open_counters()
        self._loops = [
            Deferred.fromCoroutine(self._forever(each_s, step)) for each_s, step in ((POLL_S, self._poll), (SWEEP_S, self._sweep))
        ]

    def _open_counters(self) -> None:
        """Open the counters, or note why not: once for each reason."""
        counters = CounterFile(self._counters_path, getattr(self._reactor, "at_turn_end", None))
        try:
            counters.open()
        except (StoreUnavailable, OSError) as error:
            fault = describe_fault(error, self._counters_path)
            if fault != self._counters_fault:
                self._counters_fault = fault
                _log.error("nothing can be counted, requests with a quota get 503: {reason}", event="store.no_counters", reason=fault)
        else:
            self._counters = counters
            self._counters_fault = ""

    def _look_after_counters(self) -> None:
        """Try again what could not be opened; let go of a file that is not the one of that name any more (moved, restored)."""
        if self._counters is not None and not self._counters.is_current():
            self._counters.close()
            self._counters = None
        if self._counters is None:
            self._open_counters()
        else:
            self._counters.look_around()

    async def stop(self) -> None:
        """Write what is pending and close."""
        if self._counters is not None:
            self._counters.close()
            self._counters = None
        self._counters_fault = "the store is closed"
        for loop in self._loops:
            loop.cancel()
        for thread in (self._reader, self._writer):
            closed = thread.close()
            self._timeouts.watch(closed, thread)
            try:
                await closed
            except StoreUnavailable as error:
                _log.error("the store does not close: {reason}", event="store.not_closed", reason=str(error))
        self._timeouts.stop()

    async def get(self, name: str) -> bytes | None:
        """Return a value."""
        entry = (await self.get_entries((name,)))[0]
        return None if entry is None else entry.value

    async def get_entry(self, name: str) -> Entry | None:
        """Return a value with its remaining life."""
        return (await self.get_entries((name,)))[0]

    async def get_many(self, names: Sequence[str]) -> list[bytes | None]:
        """Return values in the order of the names."""
        return [None if entry is None else entry.value for entry in await self.get_entries(names)]

    async def get_entries(self, names: Sequence[str]) -> list[Entry | None]:
        """Return values with their remaining lives in the order of the names."""
        check_names(names)
        found: list[Entry | None] = []
        # In parts, so that single reads come in between.
        for start in range(0, len(names), _READ_AT_ONCE):
            found += await self._read(ops.find_entries, names[start : start + _READ_AT_ONCE])
        if self._counters is not None:
            now = self._clock.now()
            for index, name in enumerate(names):
                entry = found[index]
                # A number may be what a kill has left behind of a counter that has moved.
                if (entry is None or entry.value.lstrip(b"-").isdigit()) and (stored := self._counters.find(name, now)) is not None:
                    found[index] = Entry(b"%d" % stored.value, stored.expires_at - now if stored.expires_at else None)
        return found

    async def put(self, name: str, value: bytes, *, ttl_s: int | None = None, keep_ttl: bool = False, only_if: str = "") -> bool:
        """Write a value; acknowledged when it is on the disk."""
        check_put(name, ttl_s, only_if)
        await self._settle(name)
        written = bool(await self._write(ops.put, name, value, ttl_s, keep_ttl, only_if))
        if written:
            # Another process may have moved what was there before into the file again, or what we wrote: that one has left no row.
            moved = await self._take(name)
            if moved is not None and (await self._read(ops.find_entries, (name,)))[0] is None:
                await self._write(ops.keep_counter, name, moved.value, moved.expires_at)
        return written

    async def replace(self, name: str, old: bytes | None, value: bytes, *, ttl_s: int | None = None) -> bool:
        """Write a value if what is there is what the caller has read."""
        check_put(name, ttl_s, "")
        return bool(await self._write(ops.replace, name, old, value, ttl_s))

    async def delete(self, *names: str) -> int:
        """Remove whatever the names hold."""
        check_names(names)
        counted = 0
        for name in names:
            counted += await self._take(name) is not None
        return counted + int(await self._write(ops.delete, names))

    async def names(self, prefix: str) -> AsyncIterator[list[str]]:
        """Yield the names with a prefix, in order."""
        check_names((prefix,))
        batch: list[str] = [""]
        while batch:
            batch = await self._read(ops.find_names, prefix, batch[-1], _BATCH)
            if batch:
                yield batch
        counters = self._counters
        if counters is not None:
            batch = []
            for number, found in enumerate(counters.names(prefix, self._clock.now())):
                batch += found
                if len(batch) >= _BATCH or (number % _BUCKETS_AT_ONCE == 0 and number):
                    if batch:
                        yield batch
                    batch = []
                    await deferLater(self._reactor, 0)
                    if self._counters is not counters:
                        raise StoreUnavailable("the counters went away")
            if batch:
                yield batch

    async def add_to_set(self, name: str, *members: str) -> None:
        """Add members to a set."""
        check_names((name, *members))
        await self._settle(name)
        await self._write(ops.add_members, name, members)

    async def remove_from_set(self, name: str, *members: str) -> None:
        """Remove members of a set."""
        check_names((name, *members))
        await self._write(ops.remove_members, name, members)

    async def members(self, name: str) -> list[str]:
        """Return the members of a set."""
        check_names((name,))
        found: list[str] = await self._read(ops.find_members, name)
        return found

    async def count_window(self, name: str, window_s: float, limit: int, cost: int = 1) -> tuple[bool, Count]:
        """Quota and fixed window."""
        check_names((name,))
        if self._counters is None:
            raise StoreUnavailable(self._counters_fault)
        counter = self.hot_counter(name)
        if counter is not None:
            end = self._clock.monotonic() + self._timeout_s
            while self._counters is not None:
                now = self._clock.now()
                hot = counter.count(window_s, limit, now, cost)
                if hot is not None:
                    return hot[0], Count(hot[1], hot[2] - now if hot[2] else None)
                answer, made = await self._make_counter(name, window_s, limit, cost)
                if answer is not None:
                    return answer
                if not made:
                    if self._clock.monotonic() > end:
                        raise StoreUnavailable("the counter is busy")
                    await deferLater(self._reactor, _BUSY_S)
            raise StoreUnavailable(self._counters_fault)
        # A name that is too long for the file.
        counted: tuple[bool, Count] = await self._write(ops.count_window, name, window_s, limit, cost, durable=False)
        return counted

    def hot_counter(self, name: str) -> HotCounter | None:
        """Return the counter of a name as it lies in the mapped file; None for a name that is too long for it."""
        return None if self._counters is None else self._counters.counter(name)

    async def _make_counter(self, name: str, window_s: float, limit: int, cost: int) -> tuple[tuple[bool, Count] | None, bool]:
        """Move a counter from the database into the file, or make it there.

        The file has it before the database loses it: whoever looks meanwhile, or goes on after a kill in between, finds all that was
        counted. What is left behind by a kill is hidden by the file's.

        :returns: (an answer, when it needs no counter or the file is full; whether the file has the counter now).
        """
        if self._counters is not None and self._counters.find(name, self._clock.now()) is not None:
            return None, False  # it is there: another process was at it
        found: tuple[int, float] | None = await self._read(ops.find_counter, name)
        now = self._clock.now()
        if found is None and cost > limit:
            return (False, Count(0, window_s if window_s > 0 else None)), False
        number, expires_at = found or (0, now + window_s if window_s > 0 else 0.0)
        if self._counters is None:
            raise StoreUnavailable(self._counters_fault)
        try:
            made = self._counters.put(Stored(name, number, expires_at), now)
        except BlockingIOError:
            return None, False
        if made is None:
            return None, False  # another process made it, perhaps of another value: ours is not to be dropped
        if not made:
            # The file is full: the database counts.
            counted: tuple[bool, Count] = await self._write(ops.count_window, name, window_s, limit, cost, durable=False)
            return counted, False
        if found is not None:
            await self._write(ops.drop_counter, name, number, expires_at, durable=False)
        return None, True

    async def _take(self, name: str) -> Stored | None:
        """Remove a counter from the file and return it.

        :raises StoreUnavailable: other processes are at it all the time.
        """
        end = self._clock.monotonic() + self._timeout_s
        while self._counters is not None:
            try:
                return self._counters.take(name, self._clock.now())
            except BlockingIOError:
                if self._clock.monotonic() > end:
                    raise StoreUnavailable("the counter is busy") from None
                await deferLater(self._reactor, _BUSY_S)
        return None

    async def _settle(self, name: str) -> None:
        """Move a counter of the file into the database, before something else is done with its name."""
        stored = await self._take(name)
        if stored is not None:
            await self._write(ops.keep_counter, name, stored.value, stored.expires_at)

    async def count_sliding(self, name: str, per_s: float, limit: int, now: float, *, log_refused: bool = True) -> tuple[bool, Count]:
        """Sliding log."""
        check_names((name,))
        await self._settle(name)
        counted: tuple[bool, Count] = await self._write(ops.count_sliding, name, per_s, limit, now, log_refused, durable=False)
        return counted

    async def read_count(self, name: str) -> Count | None:
        """Return a counter without changing it."""
        check_names((name,))
        if self._counters is None:
            raise StoreUnavailable(self._counters_fault)
        now = self._clock.now()
        stored = self._counters.find(name, now)
        if stored is not None:
            return Count(stored.value, stored.expires_at - now if stored.expires_at else None)
        found: Count | None = await self._read(ops.find_count, name)
        return found

    async def publish(self, topic: str, payload: str) -> None:
        """Tell our own listeners at once, the other processes when they look next."""
        check_names((topic, payload))
        self._listeners.tell(topic, payload)
        await self._write(ops.note_change, self._origin, topic, payload, durable=False)

    def tell_here(self, topic: str, payload: str) -> None:
        """Tell our own listeners alone."""
        self._listeners.tell(topic, payload)

    def subscribe(self, listener: Callable[[str, str], None]) -> None:
        """Tell a listener of every change."""
        self._listeners.add(listener)

    def _write(self, action: Callable[..., Any], *arguments: Any, durable: bool = True) -> Deferred[Any]:
        waiter = self._writer.submit(action, *arguments, durable=durable)
        self._timeouts.watch(waiter, self._writer)
        return waiter

    def _read(self, action: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        waiter = self._reader.submit(action, *arguments)
        self._timeouts.watch(waiter, self._reader)
        return waiter

    async def _forever(self, each_s: float, step: Callable[[], Coroutine[Any, Any, None]]) -> None:
        told = ""
        try:
            while True:
                await deferLater(self._reactor, each_s)
                try:
                    await step()
                    told = ""
                except CancelledError:
                    raise
                except StoreUnavailable:
                    # The threads log it; the next round finds out whether it is over.
                    pass
                except Exception as error:
                    # Changes of others must go on arriving, whatever this was: a revoked key would stay in use.
                    if str(error) != told:
                        told = str(error)
                        _log.failure("a round of the store failed", event="store.round_failed")
        except CancelledError:
            pass

    async def _poll(self) -> None:
        """Look for changes of others, and try whether a writer or counters that failed work again."""
        self._look_after_counters()
        if not self._writer.healthy:
            await self._write(_probe)
        if self._last is None:
            self._last = await self._read(_find_last)
            self._listeners.tell_gap()
        found: ops.Changes = await self._read(_find_changes, self._origin, self._last)
        self._last = found.last
        if found.gap:
            self._listeners.tell_gap()
        for topic, payload in found.changes:
            self._listeners.tell(topic, payload)

    async def _sweep(self) -> None:
        """Remove what has ended, in small steps."""
        while await self._write(ops.sweep, durable=False):
            await deferLater(self._reactor, 0.05)


def _probe(connection: Any, now: float) -> None:
    """Write one page: the file can be opened, and the disk is not full."""
    connection.execute(f"PRAGMA user_version = {VERSION}")


def _find_last(connection: Any, now: float) -> int:
    return ops.last_change(connection)


def _find_changes(connection: Any, origin: str, last: int, now: float) -> ops.Changes:
    return ops.find_changes(connection, origin, last)
