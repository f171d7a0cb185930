"""The store in memory: what is its own beside tests/conformance."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from tests.support.keys import begin, run
from tests.support.stores import ManualClock
from tlsgate.errors import StoreUnavailable
from tlsgate.store.memory import MemoryStore


def test_what_has_ended_does_not_stay_in_memory() -> None:
    """Writing removes it, without a timer."""
    clock = ManualClock(0.0)
    store = MemoryStore(clock)
    for number in range(500):
        run(store.put(f"k{number}", b"x", ttl_s=10))
    clock.time = 11.0
    run(store.put("one", b"x", ttl_s=10))
    assert list(store._items) == ["one"]


def test_values_that_are_written_again_and_again_do_not_fill_it() -> None:
    """Old ends are sorted out."""
    store = MemoryStore(ManualClock(0.0))
    for _ in range(20_000):
        run(store.put("a", b"x", ttl_s=1000))
    assert len(store._ends) < 2000


def test_names_let_others_run() -> None:
    """Between two batches of 500."""
    reactor = Clock()
    store = MemoryStore(ManualClock(), reactor)
    for number in range(1200):
        run(store.put(f"k{number}", b"x"))

    async def count() -> int:
        return sum([len(batch) async for batch in store.names("")])

    _, ended = begin(count())
    assert ended == []
    reactor.pump([0.0] * 3)
    assert ended == [1200]


def test_a_store_that_is_away_comes_back_with_a_gap() -> None:
    """Tests see what a lost connection does."""
    store = MemoryStore(ManualClock())
    told: list[str] = []
    store.subscribe(lambda topic, payload: told.append(topic))
    store.available = False
    assert not store.healthy
    with pytest.raises(StoreUnavailable):
        run(store.get("a"))
    store.available = True
    assert store.healthy and told == ["gap"]
    run(store.start())
    run(store.put("a", b"1"))
    run(store.stop())
    assert run(store.get("a")) is None
