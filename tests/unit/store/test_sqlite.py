"""The embedded store: what is its own beside tests/conformance."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.logged import logged_events
from tests.support.loop import running_loop
from tests.support.stores import ManualClock
from tlsgate.clock import SystemClock
from tlsgate.errors import StoreUnavailable
from tlsgate.store import sqlite
from tlsgate.store.sqlite import SqliteStore


def test_a_restart_finds_everything(tmp_path: Path) -> None:
    """Values, sets, counters, logs."""
    path = str(tmp_path / "s.db")
    clock = ManualClock()
    with running_loop() as loop:
        store = SqliteStore(loop.reactor, clock, path)
        loop.run(store.start())
        loop.run(store.put("a", b"1", ttl_s=100))
        loop.run(store.add_to_set("s", "m"))
        loop.run(store.count_window("w", 60, 5))
        loop.run(store.count_sliding("l", 60, 5, clock.now()))
        loop.run(store.stop())
    clock.time += 10
    with running_loop() as loop:
        store = SqliteStore(loop.reactor, clock, path)
        loop.run(store.start())
        assert store.healthy
        entry = loop.run(store.get_entry("a"))
        assert entry is not None and entry.ttl_s == pytest.approx(90)
        assert loop.run(store.members("s")) == ["m"]
        assert loop.run(store.count_window("w", 60, 5))[1].value == 2
        assert loop.run(store.count_sliding("l", 60, 5, clock.now()))[1].value == 2
        loop.run(store.stop())


def test_what_has_ended_leaves_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By itself, in small steps."""
    monkeypatch.setattr(sqlite, "SWEEP_S", 0.05)
    clock = ManualClock()
    with running_loop() as loop:
        store = SqliteStore(loop.reactor, clock, str(tmp_path / "s.db"))
        loop.run(store.start())
        for number in range(5):
            loop.run(store.put(f"k{number}", b"1", ttl_s=1))
        clock.time += 2
        reader = sqlite3.connect(tmp_path / "s.db")
        loop.until(lambda: reader.execute("SELECT count(*) FROM entries").fetchone()[0] == 0)
        reader.close()
        loop.run(store.stop())


def test_a_missing_folder_is_named_and_looked_for_again(tmp_path: Path) -> None:
    """Calls are refused at once meanwhile; listeners are told that they missed something."""
    path = tmp_path / "none" / "s.db"
    with running_loop() as loop, logged_events() as events:
        store = SqliteStore(loop.reactor, SystemClock(), str(path))
        told: list[str] = []
        store.subscribe(lambda topic, payload: told.append(topic))
        loop.run(store.start())
        assert not store.healthy
        with pytest.raises(StoreUnavailable, match="make the folder"):
            loop.run(store.put("a", b"1"))
        path.parent.mkdir()
        loop.until(lambda: store.healthy)
        loop.run(store.put("a", b"1"))
        loop.until(lambda: told == ["gap"])
        loop.run(store.stop())
    found = [event["event"] for event in events if str(event.get("event", "")).startswith("store.")]
    assert [name for name in found if name != "store.no_counters"] == ["store.away", "store.not_opened", "store.back"]


def test_counters_do_not_wait_for_the_disk(tmp_path: Path) -> None:
    """A window that is lost with the machine's power is counted anew; a key never is."""
    with running_loop() as loop:
        store = SqliteStore(loop.reactor, SystemClock(), str(tmp_path / "s.db"))
        loop.run(store.start())
        loop.run(store.count_sliding("l", 60, 5, 1000.0))
        assert store._writer._synchronous is False
        loop.run(store.put("a", b"1"))
        assert store._writer._synchronous is True
        loop.run(store.stop())


def test_a_reactor_that_tells_the_end_of_a_turn_lets_a_lone_store_keep_counters_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second store of the same file is seen within one look, and gone again within another: both count exactly meanwhile."""
    ends: list[Callable[[], None]] = []
    path = str(tmp_path / "s.db")
    with running_loop() as loop:
        monkeypatch.setattr(loop.reactor, "at_turn_end", ends.append, raising=False)
        store, other = (SqliteStore(loop.reactor, SystemClock(), path, timeout_s=0.3) for _ in range(2))
        loop.run(store.start())
        counted = [loop.run(store.count_window("w", 600, 10**6))[1].value for _ in range(2)]
        assert len(ends) == 1
        loop.run(other.start())
        with pytest.raises(StoreUnavailable, match="busy"):
            loop.run(other.count_window("w", 600, 10**6))
        ends.pop()()

        def looks_around() -> bool:
            loop.run(store.count_window("w", 600, 10**6))
            kept = bool(ends)
            while ends:
                ends.pop()()
            return kept

        loop.until(lambda: not looks_around())
        before = loop.run(store.read_count("w"))
        assert before is not None
        for number in range(4):
            assert loop.run((store, other)[number % 2].count_window("w", 600, 10**6))[1].value == before.value + number + 1
        assert counted == [1, 2] and not ends
        loop.run(other.stop())
        loop.until(looks_around)
        loop.run(store.stop())
