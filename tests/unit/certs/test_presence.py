"""Whether a client's certificate is in the store: asked once, and never believed after a change."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred

from tests.support.apis import FixedClock
from tests.support.keys import begin, run
from tlsgate.certs.presence import CertificatePresence
from tlsgate.errors import StoreUnavailable

ONE, TWO = "org" + "ab" * 32, "org" + "cd" * 32


class World:
    def __init__(self, keep_s: float = 10.0, limit: int = 100) -> None:
        self.clock = FixedClock()
        self.there = {ONE, TWO}
        self.held: Deferred[None] | None = None
        self.presence = CertificatePresence(self.ask, self.clock, keep_s, limit)

    async def ask(self, id: str) -> bool:
        found = id in self.there
        if self.held is not None:
            await self.held
        return found

    def knows(self, id: str = ONE) -> bool:
        return self.presence.knows(id, self.clock.monotonic())


def test_what_is_there_is_known_for_a_while() -> None:
    """As long as sessions are."""
    world = World()
    assert not world.knows()
    assert run(world.presence.find(ONE))
    world.clock.time += 9.9
    assert world.knows() and not world.knows(TWO)
    world.clock.time += 0.2
    assert not world.knows()


def test_what_is_not_there_is_not_remembered() -> None:
    """Nobody fills the memory with certificates of his own, and an upload counts at once."""
    world = World()
    world.there.clear()
    assert not run(world.presence.find(ONE))
    world.there.add(ONE)
    assert run(world.presence.find(ONE))


@pytest.mark.parametrize(("topic", "payload", "other"), [("certificate", ONE, True), ("gap", "", False)])
def test_a_change_is_believed_at_once(topic: str, payload: str, other: bool) -> None:
    """Of this certificate; of all when changes may have been missed."""
    world = World()
    run(world.presence.find(ONE))
    run(world.presence.find(TWO))
    world.presence.on_change("key", ONE)
    assert world.knows()
    world.presence.on_change(topic, payload)
    assert not world.knows() and world.knows(TWO) is other


@pytest.mark.parametrize("topic", ["certificate", "gap"])
def test_an_answer_that_a_change_has_overtaken_is_not_kept(topic: str) -> None:
    """The store said yes, then it was deleted, then the answer arrived."""
    world = World()
    world.held = Deferred()
    _, results = begin(world.presence.find(ONE))
    world.presence.on_change(topic, ONE)
    world.held.callback(None)
    assert results == [True] and not world.knows()


def test_nothing_is_kept_where_sessions_are_not() -> None:
    """`local_session_cache.disable_cached_session_state`."""
    world = World(keep_s=0)
    assert run(world.presence.find(ONE)) and not world.knows()


def test_the_memory_is_bounded() -> None:
    """The oldest answer goes."""
    world = World(limit=1)
    run(world.presence.find(ONE))
    run(world.presence.find(TWO))
    assert not world.knows(ONE) and world.knows(TWO)


def test_a_store_that_is_away_is_no_answer() -> None:
    world = World()

    async def away(id: str) -> bool:
        raise StoreUnavailable("no answer")

    presence = CertificatePresence(away, world.clock, 10.0)
    with pytest.raises(StoreUnavailable):
        run(presence.find(ONE))
    assert not presence.knows(ONE, 0.0)
