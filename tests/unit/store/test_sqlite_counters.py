"""The embedded store and its file of counters: counted exactly, or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.loop import Loop, running_loop
from tlsgate.clock import SystemClock
from tlsgate.errors import StoreUnavailable
from tlsgate.store.sqlite import SqliteStore


@pytest.fixture
def loop() -> Iterator[Loop]:
    with running_loop() as made:
        yield made


@pytest.fixture
def open_store(loop: Loop, tmp_path: Path) -> Iterator[Callable[[], SqliteStore]]:
    """Open another store on the same file; all are closed at the end."""
    opened: list[SqliteStore] = []

    def build() -> SqliteStore:
        store = SqliteStore(loop.reactor, SystemClock(), str(tmp_path / "store.db"))
        opened.append(store)
        loop.run(store.start())
        return store

    yield build
    for store in opened:
        loop.run(store.stop())


def used(loop: Loop, store: SqliteStore) -> int:
    """Count once; returns the counter."""
    return loop.run(store.count_window("quota-k", 600, 100))[1].value


def until_counted(loop: Loop, store: SqliteStore, value: int) -> None:
    """Count as soon as it can be: then the counter is so high."""

    def counts() -> bool:
        try:
            loop.run(store.read_count("quota-k"))
        except StoreUnavailable:
            return False
        return True

    loop.until(counts)
    assert used(loop, store) == value


def test_without_its_file_nothing_is_counted_until_it_is_there(
    loop: Loop, tmp_path: Path, open_store: Callable[[], SqliteStore], caplog: pytest.LogCaptureFixture
) -> None:
    """Counting elsewhere would give every process a quota of its own: one that cannot open the file refuses (503), and tries again."""
    (tmp_path / "store.db-counters").mkdir()
    store = open_store()
    for call in (store.count_window("quota-k", 600, 100), store.read_count("quota-k")):
        with pytest.raises(StoreUnavailable, match=r"store\.db-counters"):
            loop.run(call)
    assert loop.run(store.put("apikey-a", b"{}")) and loop.run(store.delete("apikey-a")) == 1, "keys can be written and revoked meanwhile"
    (tmp_path / "store.db-counters").rmdir()
    until_counted(loop, store, 1)
    assert used(loop, open_store()) == 2, "and it is the file that others count in"


def test_a_file_of_something_else_is_neither_used_nor_touched(loop: Loop, tmp_path: Path, open_store: Callable[[], SqliteStore]) -> None:
    """The reason says what to do."""
    (tmp_path / "store.db-counters").write_bytes(b"x" * 5000)
    store = open_store()
    with pytest.raises(StoreUnavailable, match="move it away"):
        loop.run(store.count_window("quota-k", 600, 100))
    loop.turn(0.5)
    assert (tmp_path / "store.db-counters").read_bytes() == b"x" * 5000


def test_a_file_that_was_moved_or_replaced_is_let_go(loop: Loop, tmp_path: Path, open_store: Callable[[], SqliteStore]) -> None:
    """Processes that open it later count in what the path names: so does everybody."""
    early = open_store()
    assert [used(loop, early) for _ in range(3)] == [1, 2, 3]
    hot = early.hot_counter("quota-k")
    os.rename(tmp_path / "store.db-counters", tmp_path / "moved")
    late = open_store()
    assert used(loop, late) == 1
    loop.turn(0.5)
    assert used(loop, early) == 2
    assert hot is not None and hot.count(600, 100, 0.0) is None, "what was remembered of the old file asks the store"
    os.rename(tmp_path / "moved", tmp_path / "store.db-counters")
    loop.turn(0.5)
    assert [used(loop, early), used(loop, late)] == [4, 5]


def test_a_listing_that_loses_the_file_says_so(loop: Loop, tmp_path: Path, open_store: Callable[[], SqliteStore]) -> None:
    """What was yielded is not all: an export must not be taken for whole."""
    store = open_store()
    for number in range(1200):
        loop.run(store.count_window(f"quota-{number}", 600, 100))

    async def list_all() -> None:
        async for _ in store.names("quota-"):
            (tmp_path / "store.db-counters").rename(tmp_path / "moved")
            store._look_after_counters()

    with pytest.raises(StoreUnavailable):
        loop.run(list_all())


def test_counters_that_were_cut_short_stop_neither_start_nor_feed(
    loop: Loop, tmp_path: Path, open_store: Callable[[], SqliteStore], caplog: pytest.LogCaptureFixture
) -> None:
    """Only what is counted is away; keys are read, and changes of others are heard of, or a revoked key would stay in use."""
    first = open_store()
    used(loop, first)
    loop.run(first.stop())
    os.truncate(tmp_path / "store.db-counters", 5000)
    store, other = open_store(), open_store()
    heard: list[tuple[str, str]] = []
    store.subscribe(lambda topic, payload: heard.append((topic, payload)))
    with pytest.raises(StoreUnavailable, match="cut short"):
        used(loop, store)
    loop.run(other.publish("key", "k"))
    loop.until(lambda: ("key", "k") in heard)
    os.unlink(tmp_path / "store.db-counters")
    until_counted(loop, store, 1)


def test_counters_that_are_cut_short_later_do_not_end_the_feed(loop: Loop, tmp_path: Path, open_store: Callable[[], SqliteStore]) -> None:
    """Found by the next look, before anybody counts."""
    store, other = open_store(), open_store()
    heard: list[tuple[str, str]] = []
    store.subscribe(lambda topic, payload: heard.append((topic, payload)))
    os.truncate(tmp_path / "store.db-counters", 5000)

    def is_away() -> bool:
        return store.hot_counter("quota-k") is None

    loop.until(is_away)
    loop.run(other.publish("key", "k"))
    loop.until(lambda: ("key", "k") in heard)


def test_a_round_that_fails_oddly_is_not_the_last(
    loop: Loop, open_store: Callable[[], SqliteStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever happens in one look for changes, there is another one."""
    store = open_store()
    looks: list[int] = []

    def look() -> None:
        looks.append(1)
        raise RuntimeError("odd")

    monkeypatch.setattr(store, "_look_after_counters", look)
    loop.until(lambda: len(looks) > 2)
