"""The thread with the connection: batches, faults, calls that nobody waits for any more."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred

from tests.support.loop import Loop, running_loop
from tests.support.stores import ManualClock
from tlsgate.errors import StoreUnavailable
from tlsgate.store.sqlite_faults import FaultLog
from tlsgate.store.sqlite_thread import DatabaseThread


@pytest.fixture
def loop() -> Iterator[Loop]:
    """A reactor for the answers."""
    with running_loop() as loop:
        yield loop


@pytest.fixture
def writer(loop: Loop, tmp_path: Path) -> Iterator[DatabaseThread]:
    """A started writer."""
    path = str(tmp_path / "s.db")
    thread = DatabaseThread(loop.reactor, ManualClock(7.0), path, FaultLog(path), write=True)
    thread.start()
    yield thread
    if thread._closed is None:
        wait(loop, thread.close())


def wait(loop: Loop, deferred: Deferred[Any]) -> Any:
    """The result."""

    async def result() -> Any:
        return await deferred

    return loop.run(result())


def write(connection: sqlite3.Connection, name: str, now: float) -> str:
    """A job that writes and tells."""
    connection.execute("INSERT INTO entries VALUES (?, 0, x'', NULL)", (name,))
    return f"{name} at {now:g}"


def names(connection: sqlite3.Connection, now: float) -> list[str]:
    """A job that reads."""
    return [row[0] for row in connection.execute("SELECT name FROM entries ORDER BY name")]


def refuse(connection: sqlite3.Connection, now: float) -> None:
    """A job that finds its arguments wrong."""
    raise ValueError("wrong")


def fail(connection: sqlite3.Connection, now: float) -> None:
    """A job whose statement the database cannot do."""
    connection.execute("INSERT INTO nowhere VALUES (1)")


def test_a_batch_is_one_transaction(loop: Loop, writer: DatabaseThread) -> None:
    """Answered in order; a wrong call is told so, and the others are done."""
    calls = [writer.submit(write, "a"), writer.submit(refuse), writer.submit(write, "b")]
    assert wait(loop, calls[0]) == "a at 7"
    with pytest.raises(ValueError):
        wait(loop, calls[1])
    assert wait(loop, calls[2]) == "b at 7"
    assert wait(loop, writer.submit(names)) == ["a", "b"]
    assert writer.healthy


def test_a_fault_fails_the_whole_batch_and_writes_nothing(loop: Loop, writer: DatabaseThread) -> None:
    """Nobody is told that something was written which was not; the next batch has a new connection."""
    wait(loop, writer.submit(names))
    held = threading.Event()
    writer.submit(lambda connection, now: held.wait(5) and None)
    calls = [writer.submit(write, "a"), writer.submit(fail), writer.submit(write, "b")]
    held.set()
    for call in calls:
        with pytest.raises(StoreUnavailable, match="nowhere"):
            wait(loop, call)
    assert not writer.healthy
    assert wait(loop, writer.submit(names)) == []
    assert writer.healthy


def test_a_call_that_was_given_up_is_not_done(loop: Loop, writer: DatabaseThread) -> None:
    """It is taken back if it has not begun."""
    wait(loop, writer.submit(names))
    held = threading.Event()
    first = writer.submit(lambda connection, now: held.wait(5) and None)
    late = writer.submit(write, "late")
    late.addErrback(lambda failure: failure.trap(CancelledError) and None)
    late.cancel()
    held.set()
    wait(loop, first)
    assert wait(loop, writer.submit(names)) == []


def test_a_thread_that_hangs_refuses_at_once(loop: Loop, writer: DatabaseThread, tmp_path: Path) -> None:
    """Another process holds the lock; when it lets go everything works again."""
    wait(loop, writer.submit(names))
    lock = os.open(tmp_path / "s.db-lock", os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    stuck = writer.submit(write, "a")
    writer.note_late()
    assert not writer.healthy
    with pytest.raises(StoreUnavailable, match="does not keep up"):
        writer.submit(names)
    fcntl.flock(lock, fcntl.LOCK_UN)
    os.close(lock)
    assert wait(loop, stuck) == "a at 7"
    assert writer.healthy


def test_pending_calls_are_bounded(loop: Loop, writer: DatabaseThread, monkeypatch: pytest.MonkeyPatch) -> None:
    """n-1, n, n+1."""
    monkeypatch.setattr("tlsgate.store.sqlite_thread._MAX_PENDING", 3)
    held = threading.Event()
    calls = [writer.submit(lambda connection, now: held.wait(5) and None), writer.submit(names), writer.submit(names)]
    with pytest.raises(StoreUnavailable, match="does not keep up"):
        writer.submit(names)
    held.set()
    for call in calls:
        wait(loop, call)
    assert wait(loop, writer.submit(names)) == []


def test_closing_does_what_is_pending(loop: Loop, writer: DatabaseThread, tmp_path: Path) -> None:
    """Then nothing is taken any more."""
    call = writer.submit(write, "a")
    closed = writer.close()
    assert wait(loop, call) == "a at 7"
    wait(loop, closed)
    with pytest.raises(StoreUnavailable, match="closed"):
        writer.submit(names)
    with sqlite3.connect(tmp_path / "s.db") as connection:
        assert connection.execute("SELECT name FROM entries").fetchall() == [("a",)]
    connection.close()


def test_one_that_was_never_started_closes_at_once(loop: Loop, tmp_path: Path) -> None:
    """A start that failed before."""
    thread = DatabaseThread(loop.reactor, ManualClock(), str(tmp_path / "s.db"), FaultLog(""), write=True)
    assert wait(loop, thread.close()) is None


def test_a_file_that_was_put_in_place_of_the_old_one_is_opened(loop: Loop, writer: DatabaseThread, tmp_path: Path) -> None:
    """A restored copy; nothing goes into the file that is gone."""
    wait(loop, writer.submit(write, "old"))
    other = DatabaseThread(loop.reactor, ManualClock(), str(tmp_path / "other.db"), FaultLog(""), write=True)
    other.start()
    wait(loop, other.submit(write, "restored"))
    wait(loop, other.close())
    for suffix in ("-wal", "-shm"):
        (tmp_path / f"s.db{suffix}").unlink(missing_ok=True)
    (tmp_path / "other.db").rename(tmp_path / "s.db")
    assert wait(loop, writer.submit(names)) == ["restored"]
