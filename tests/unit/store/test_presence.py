"""How many processes share a store."""

from __future__ import annotations

from pathlib import Path

import pytest
from twisted.internet.task import Clock as FakeReactor

from tests.support.keys import run
from tests.support.logged import logged_events
from tests.support.loop import running_loop
from tests.support.redis_server import needs_redis, redis_server
from tests.support.stores import ManualClock
from tlsgate.clock import SystemClock
from tlsgate.config.model import StorageSettings
from tlsgate.store.memory import MemoryStore
from tlsgate.store.presence import LIFE_S, ROUND_S, Presence
from tlsgate.store.registry import build_store


class World:
    """Processes on one store in memory, each with its time and what it was told."""

    def __init__(self) -> None:
        self.clock = ManualClock(0.0)
        self.store = MemoryStore(self.clock)
        self.told: list[list[int]] = []
        self.reactors: list[FakeReactor] = []

    def join(self) -> Presence:
        """One more process."""
        told: list[int] = []
        reactor = FakeReactor()
        presence = Presence(self.store, reactor, told.append)
        self.told.append(told)
        self.reactors.append(reactor)
        presence.start()
        return presence

    def pass_time(self, seconds: float, *hung: int) -> None:
        """Let time pass, except for processes that hang."""
        for _ in range(round(seconds)):
            self.clock.time += 1
            for number, reactor in enumerate(self.reactors):
                if number not in hung:
                    reactor.advance(1)


def test_who_comes_and_goes_is_counted_by_all_at_once() -> None:
    """The change feed wakes them."""
    world = World()
    first = world.join()
    assert first.nodes == 1 and world.told == [[]]
    second, third = world.join(), world.join()
    assert [presence.nodes for presence in (first, second, third)] == [3, 3, 3]
    assert world.told == [[2, 3], [2, 3], [3]]
    run(second.stop())
    assert [first.nodes, third.nodes] == [2, 2]
    assert world.reactors[1].getDelayedCalls() == []
    run(third.stop())
    run(first.stop())
    assert run(world.store.members("tlsgate-nodes")) == []


def test_one_that_was_killed_counts_until_its_life_ends() -> None:
    """And one that only hung counts again when it goes on."""
    world = World()
    first, second = world.join(), world.join()
    world.pass_time(LIFE_S - 1, 1)
    assert first.nodes == 2
    world.pass_time(1 + ROUND_S, 1)
    assert first.nodes == 1
    world.pass_time(ROUND_S)
    assert [first.nodes, second.nodes] == [2, 2]


def test_while_the_store_is_away_the_number_stays() -> None:
    """A share that jumps to the whole limit would admit too much."""
    world = World()
    first, second = world.join(), world.join()
    world.store.available = False
    world.pass_time(60)
    assert [first.nodes, second.nodes] == [2, 2] and world.told == [[2], [2]]
    world.store.available = True
    world.pass_time(2 * ROUND_S)
    assert [first.nodes, second.nodes] == [2, 2]
    run(second.stop())
    world.store.available = False
    run(first.stop())
    assert world.reactors[0].getDelayedCalls() == []


def test_a_name_that_somebody_else_uses_is_logged() -> None:
    """The process goes on by itself."""
    world = World()
    run(world.store.put("tlsgate-nodes", b"x"))
    with logged_events() as events:
        presence = world.join()
    assert [event["event"] for event in events] == ["store.nodes_unusable"]
    assert presence.nodes == 1
    run(presence.stop())


def test_one_that_was_never_started_stops() -> None:
    """A start that failed before."""
    store = MemoryStore(ManualClock())
    run(Presence(store, FakeReactor(), lambda nodes: None).stop())
    assert run(store.members("tlsgate-nodes")) == []


@needs_redis
@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_on_real_stores(tmp_path: Path, kind: str) -> None:
    """Three stores of one file or server, as three processes have."""
    with redis_server(tmp_path) as server, running_loop() as loop:
        settings = StorageSettings(type=kind, path=str(tmp_path / "s.db"), host="127.0.0.1", port=server.port, feed_secret="n")
        stores = [build_store(settings, loop.reactor, SystemClock()) for _ in range(3)]
        presences = [Presence(store, loop.reactor, lambda nodes: None) for store in stores]
        for store, presence in zip(stores, presences, strict=True):
            loop.run(store.start())
            presence.start()
        loop.until(lambda: [presence.nodes for presence in presences] == [3, 3, 3], 8)
        loop.run(presences.pop().stop())
        loop.until(lambda: [presence.nodes for presence in presences] == [2, 2], 8)
        for presence in presences:
            loop.run(presence.stop())
        for store in stores:
            loop.run(store.stop())
