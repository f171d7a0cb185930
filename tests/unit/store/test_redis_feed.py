"""The change feed over Redis: who is believed, what is told to whom, and when something may have been missed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.logged import logged_events
from tests.support.loop import Loop, running_loop
from tests.support.redis_server import RedisServer, needs_redis, redis_server
from tlsgate.clock import SystemClock
from tlsgate.config.model import StorageSettings
from tlsgate.store.interface import Store
from tlsgate.store.registry import build_store
from tlsgate.store.tyk_feed import CHANNEL, sign

pytestmark = needs_redis
OURS = "tlsgate-changes"


class World:
    """Stores on one server, and what their listeners were told."""

    def __init__(self, loop: Loop, server: RedisServer) -> None:
        self.loop = loop
        self.server = server
        self.stores: list[Store] = []

    def open(self, secret: str = "n", **fields: Any) -> tuple[Store, list[tuple[str, str]]]:
        """A store that listens."""
        settings = StorageSettings(type="redis", host="127.0.0.1", port=self.server.port, feed_secret=secret, timeout_s=1.0, **fields)
        store = build_store(settings, self.loop.reactor, SystemClock())
        told: list[tuple[str, str]] = []
        store.subscribe(lambda topic, payload: told.append((topic, payload)))
        self.loop.run(store.start())
        self.stores.append(store)
        self.loop.until(lambda: told == [("gap", "")])
        told.clear()
        return store, told


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A server and a reactor."""
    with redis_server(tmp_path) as server, running_loop() as loop:
        world = World(loop, server)
        yield world
        for store in world.stores:
            loop.run(store.stop())


def test_stores_with_one_secret_hear_each_other(world: World) -> None:
    """Each once, also where Tyk's channel tells of it again."""
    one, told = world.open()
    _, there = world.open()
    changes = [("key", "a"), ("policy", "p"), ("api", "x"), ("reload", ""), ("certificate", "c")]
    for change in changes:
        world.loop.run(one.publish(*change))
    world.loop.until(lambda: len(there) >= 5)
    world.loop.turn(0.2)
    assert told == there == changes


@pytest.mark.parametrize("secret", ["other", ""])
def test_another_secret_is_not_believed(world: World, secret: str) -> None:
    """Nor none; it is logged, seldom."""
    _, told = world.open()
    stranger, _ = world.open(secret)
    with logged_events() as events:
        for _ in range(5):
            world.loop.run(stranger.publish("key", "a"))
        world.loop.turn(0.3)
    assert told == []
    # The stranger is told in Tyk's form too, hence twice as many.
    counts = [event["count"] for event in events if event.get("event") == "store.feed_forged"]
    assert counts[:3] == [1, 2, 4] and "node_secret" in events[0]["log_format"]


def test_what_is_no_message_is_passed_over(world: World) -> None:
    """Without a good MAC, or with one over nonsense."""
    _, told = world.open()
    with logged_events() as events:
        for text in ("", "-", "- []", '- ["o","key","a"]', "0" * 64 + ' ["o","key","a"]', "é"):
            world.server.cli("PUBLISH", OURS, text)
        world.server.cli("PUBLISH", CHANNEL, "nonsense")
        world.loop.turn(0.3)
    assert told == []
    assert {event["event"] for event in events} == {"store.feed_forged", "store.feed_unreadable"}


def test_without_a_secret_messages_are_plain(world: World) -> None:
    """Development mode only: the configuration insists on a secret elsewhere; Tyk's channel is neither heard nor written then."""
    one, _ = world.open("")
    _, there = world.open("")
    world.loop.run(one.publish("key", "a"))
    world.loop.until(lambda: there == [("key", "a")])
    assert world.server.cli("PUBSUB", "NUMSUB", CHANNEL).endswith("0")


def test_tyk_is_heard(world: World) -> None:
    """With a good signature; without one it is not."""
    _, told = world.open()
    for command, payload, secret in (("KeySpaceUpdateNotification", "a,b", "n"), ("PolicyChanged", "", "n"), ("GroupReload", "", "")):
        message = {"command": command, "payload": payload, "signature": sign(command, payload, secret), "algorithm": 5}
        world.server.cli("PUBLISH", CHANNEL, json.dumps(message))
    world.loop.until(lambda: len(told) == 2)
    world.loop.turn(0.2)
    assert told == [("key", "a,b"), ("reload", "")]


def test_with_a_prefix_tyk_is_left_alone(world: World) -> None:
    """Its names are others then."""
    world.open(key_prefix="mine-")
    assert world.server.cli("PUBSUB", "NUMSUB", CHANNEL).endswith("0")
    assert world.server.cli("PUBSUB", "NUMSUB", f"mine-{OURS}").endswith("1")


def test_a_user_without_tyks_channel_hears_ours(world: World) -> None:
    """It is logged; neither hearing nor telling suffers."""
    world.server.cli("ACL", "SETUSER", "gate", "on", ">p", "~*", "resetchannels", f"&{OURS}", "+@all")
    with logged_events() as events:
        one, told = world.open(username="gate", password="p")
        _, there = world.open(username="gate", password="p")
    assert [event["event"] for event in events if event["event"] != "store.back"] == ["store.tyk_feed_refused"] * 2
    world.loop.run(one.publish("key", "a"))
    world.loop.until(lambda: there == told == [("key", "a")])


def test_a_gap_is_told_when_values_can_be_read_again(world: World) -> None:
    """Not before: forgetting while nothing can be looked up would only cost answers."""
    store, _ = world.open()
    healthy: list[bool] = []
    store.subscribe(lambda topic, payload: healthy.append(store.healthy))
    for _ in range(3):
        healthy.clear()
        world.server.stop()
        world.loop.until(lambda: not store.healthy)
        world.server.start()
        world.loop.until(lambda: bool(healthy), 5)
        assert healthy[0] is True


def test_a_feed_that_is_lost_alone_makes_caches_short_lived(world: World) -> None:
    """Values can be read, changes are not heard: a gap with each attempt, and one log line."""
    store, told = world.open()
    world.server.cli("ACL", "SETUSER", "default", "-subscribe")
    with logged_events() as events:
        world.server.cli("CLIENT", "KILL", "TYPE", "pubsub")
        world.loop.until(lambda: told.count(("gap", "")) >= 3, 5)
    assert store.healthy
    assert [event["event"] for event in events] == ["store.feed_away"]
    world.server.cli("ACL", "SETUSER", "default", "+subscribe")
    other, _ = world.open()
    world.loop.until(lambda: world.server.cli("PUBSUB", "NUMSUB", OURS).endswith("2"), 5)
    told.clear()
    world.loop.run(other.publish("key", "a"))
    world.loop.until(lambda: ("key", "a") in told)
