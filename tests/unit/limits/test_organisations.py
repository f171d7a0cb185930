"""Sessions of organisations: cached, missing ones too, forgotten when they change."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from tests.support.apis import FixedClock
from tests.support.keys import begin, run
from tlsgate.auth.session_codec import encode_stored
from tlsgate.config.model import KeySettings
from tlsgate.limits.organisations import ORG_PREFIX, Organisations
from tlsgate.model.session import Session
from tlsgate.store.memory import MemoryStore


class World:
    def __init__(self, **settings: bool) -> None:
        self.clock = FixedClock(1000.0)
        self.store = MemoryStore(self.clock)
        self.organisations = Organisations(self.store, self.clock, KeySettings(**settings))
        self.store.subscribe(self.organisations.on_change)

    def write(self, org: str, session: Session) -> None:
        run(self.store.put(ORG_PREFIX + org, encode_stored(session)))


def test_what_was_found_is_known_for_a_while() -> None:
    world = World()
    world.write("one", Session(quota_max=5))
    assert world.organisations.peek("one", 1000.0) is None
    found = run(world.organisations.find("one"))
    assert found.session is not None and found.session.quota_max == 5
    assert world.organisations.peek("one", 1009.0) is found
    assert world.organisations.peek("one", 1010.0) is None


def test_a_missing_one_is_known_too_until_it_is_written() -> None:
    """Tyk remembers it until the API reloads."""
    world = World()
    assert run(world.organisations.find("one")).session is None
    assert world.organisations.peek("one", 1001.0) is not None
    world.write("one", Session(quota_max=5))
    run(world.store.publish("org", "one"))
    assert world.organisations.peek("one", 1001.0) is None


def test_missed_changes_forget_everything() -> None:
    world = World()
    run(world.organisations.find("one"))
    world.organisations.on_change("key", "one")
    assert world.organisations.peek("one", 1001.0) is not None
    world.organisations.on_change("gap", "")
    assert world.organisations.peek("one", 1001.0) is None


def test_a_change_during_a_look_is_not_lost() -> None:
    """The old answer is given, and not kept."""
    world = World()
    held: Deferred[None] = Deferred()
    get = world.store.get

    async def slow(name: str) -> bytes | None:
        value = await get(name)
        await held
        return value

    world.store.get = slow  # type: ignore[method-assign]
    _, results = begin(world.organisations.find("one"))
    run(world.store.publish("org", "one"))
    held.callback(None)
    assert results[0].session is None
    assert world.organisations.peek("one", 1001.0) is None


def test_what_cannot_be_read_is_no_session_without_limits() -> None:
    world = World()
    run(world.store.put(ORG_PREFIX + "one", b"{"))
    found = run(world.organisations.find("one"))
    assert found.unreadable and found.session is None


def test_without_a_cache_everything_is_asked() -> None:
    world = World(cache_sessions=False)
    run(world.organisations.find("one"))
    assert world.organisations.peek("one", 1000.0) is None
