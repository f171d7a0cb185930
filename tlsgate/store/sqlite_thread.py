"""A thread with a connection to the SQLite file: takes jobs from the reactor in batches, so that no disk is waited for there.

Knows connections, transactions and the lock between processes; must not know what a job does.
"""

from __future__ import annotations

import fcntl
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads

from tlsgate.clock import Clock
from tlsgate.errors import StoreUnavailable
from tlsgate.store.sqlite_faults import FaultLog, describe_fault
from tlsgate.store.sqlite_schema import check_version, open_database

__all__ = ["DatabaseThread"]

_BATCH = 500
"""Jobs of one transaction: some 5 ms, during which other processes wait."""
_MAX_PENDING = 10_000


class _Job:
    """A call on its way; ``called`` of its Deferred tells the thread that nobody waits any more."""

    __slots__ = ("action", "arguments", "durable", "error", "result", "waiter")

    def __init__(self, action: Callable[..., Any], arguments: tuple[Any, ...], durable: bool) -> None:
        self.action = action
        self.arguments = arguments
        self.durable = durable
        self.waiter: Deferred[Any] = Deferred()
        self.result: Any = None
        self.error: Exception | None = None


class DatabaseThread:
    """One thread, one connection, one queue.

    :param reactor: results come back on its thread.
    :param clock: wall time, given to each job.
    :param path: of the file.
    :param faults: told how each batch went.
    :param write: jobs of a batch share one transaction and are answered when it is committed; else each reads on its own.
    """

    def __init__(self, reactor: IReactorFromThreads, clock: Clock, path: str, faults: FaultLog, *, write: bool) -> None:
        self._reactor = reactor
        self._clock = clock
        self._path = path
        self._faults = faults
        self._name = "writer" if write else "reader"
        self._write = write
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._pending = 0
        self._stalled = False
        self._closed: Deferred[None] | None = None
        self._healthy = False
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] = (0, 0)
        self._synchronous = True
        self._lock = -1
        self._thread = threading.Thread(target=self._run, name=f"store-{self._name}", daemon=True)

    @property
    def healthy(self) -> bool:
        """Whether the last batch went well and none hangs."""
        return self._healthy and not self._stalled

    def start(self) -> None:
        """Start the thread; the file is opened with the first batch, and again after a fault."""
        self._thread.start()

    def submit(self, action: Callable[..., Any], *arguments: Any, durable: bool = True) -> Deferred[Any]:
        """Have ``action(connection, *arguments, now)`` done.

        :param durable: the batch is on the disk before it is answered; else it survives the process, not the machine.
        :returns: fires with its result, fails with ``StoreUnavailable``, or with a ``ValueError`` of the action, which then must not have
            written. One that fires from outside before the job begins takes the job back.
        :raises StoreUnavailable: the thread hangs, too much is pending, or it was closed.
        """
        if self._stalled or self._pending >= _MAX_PENDING or self._closed is not None:
            raise StoreUnavailable("the store was closed" if self._closed is not None else "the store does not keep up")
        job = _Job(action, arguments, durable)
        self._pending += 1
        self._queue.put(job)
        return job.waiter

    def note_late(self) -> None:
        """Refuse calls at once from now on, until the batch that hangs ends."""
        self._stalled = self._pending > 0

    def close(self) -> Deferred[None]:
        """Do what is pending, close the file and end the thread."""
        closed: Deferred[None] = Deferred()
        self._closed = closed
        if self._thread.is_alive():
            self._queue.put(None)
        else:
            closed.callback(None)
        return closed

    def _settle(self, jobs: list[_Job], taken: int, fault: str) -> None:
        """Answer a batch, on the reactor's thread."""
        self._pending -= taken
        self._stalled = False
        if jobs:
            self._healthy = not fault
            self._faults.note(self._name, fault)
        for job in jobs:
            if not job.waiter.called:
                if job.error is not None:
                    job.waiter.errback(job.error)
                else:
                    job.waiter.callback(job.result)

    def _finish(self) -> None:
        """Tell whoever waits for the end, on the reactor's thread; by then it may wait no more."""
        if self._closed is not None and not self._closed.called:
            self._closed.callback(None)

    def _run(self) -> None:
        """The thread."""
        going = True
        while going:
            taken = self._take()
            going = None not in taken
            jobs = [job for job in taken if job is not None and not job.waiter.called]
            fault = self._serve(jobs) if jobs else ""
            self._reactor.callFromThread(self._settle, jobs, sum(job is not None for job in taken), fault)
        self._disconnect()
        if self._lock >= 0:
            os.close(self._lock)
        self._reactor.callFromThread(self._finish)

    def _take(self) -> list[_Job | None]:
        """Return what is there, at least one."""
        taken = [self._queue.get()]
        try:
            while len(taken) < _BATCH and taken[-1] is not None:
                taken.append(self._queue.get_nowait())
        except queue.Empty:
            pass
        return taken

    def _serve(self, jobs: list[_Job]) -> str:
        """Do a batch.

        :returns: why the store is away, else empty.
        """
        try:
            if self._write:
                self._write_all(jobs)
            else:
                self._read_all(jobs)
        except Exception as error:
            fault = describe_fault(error, self._path)
            for job in jobs:
                job.error = StoreUnavailable(fault)
            # Whatever is wrong with a connection or its file, the next batch starts with a new one.
            self._disconnect()
            return fault
        return ""

    def _write_all(self, jobs: list[_Job]) -> None:
        with self._locked():
            connection = self._connect()
            self._set_synchronous(connection, any(job.durable for job in jobs))
            connection.execute("BEGIN IMMEDIATE")
            try:
                # Another process may have migrated the file since it was opened.
                check_version(connection)
                self._do(connection, jobs)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def _read_all(self, jobs: list[_Job]) -> None:
        self._do(self._connect(), jobs)

    def _do(self, connection: sqlite3.Connection, jobs: list[_Job]) -> None:
        now = self._clock.now()
        for job in jobs:
            try:
                job.result = job.action(connection, *job.arguments, now)
            except ValueError as error:
                job.error = error

    def _set_synchronous(self, connection: sqlite3.Connection, wanted: bool) -> None:
        """Let a commit wait for the disk, or not: then a crash of the machine (not of the process) loses it; the file stays sound."""
        if wanted != self._synchronous:
            connection.execute("PRAGMA synchronous = FULL" if wanted else "PRAGMA synchronous = NORMAL")
            self._synchronous = wanted

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock between the writers of all processes: SQLite's own is polled with growing pauses, which starves some of them."""
        if self._lock < 0:
            self._lock = os.open(f"{self._path}-lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _connect(self) -> sqlite3.Connection:
        """Return the connection; a file that another one took the place of (a restored backup) is opened anew."""
        if self._connection is not None and self._identity != self._look():
            self._disconnect()
        if self._connection is None:
            self._connection = open_database(self._path, write=self._write)
            self._synchronous = True
            self._identity = self._look()
        return self._connection

    def _look(self) -> tuple[int, int]:
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return (0, 0)
        return (found.st_dev, found.st_ino)

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
