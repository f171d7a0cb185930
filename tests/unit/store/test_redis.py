"""The Redis store: what is its own beside tests/conformance: Tyk's data, scripts, prefixes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from tests.support.loop import Loop, running_loop
from tests.support.redis_server import RedisServer, needs_redis, redis_server
from tlsgate.clock import SystemClock
from tlsgate.config.model import StorageSettings
from tlsgate.errors import StoreUnavailable
from tlsgate.store.interface import Count, Entry, Store
from tlsgate.store.redis import load_script
from tlsgate.store.registry import build_store

SCRIPTS = ("entries", "put", "replace", "count_window", "count_sliding", "set_add", "set_remove", "set_members")


class World:
    """A server and stores on it."""

    def __init__(self, loop: Loop, server: RedisServer) -> None:
        self.run = loop.run
        self.loop = loop
        self.cli = server.cli
        self.server = server
        self._stores: list[Store] = []

    def open(self, **fields: Any) -> Store:
        """A started store."""
        store = build_store(
            StorageSettings(type="redis", host="127.0.0.1", port=self.server.port, **fields), self.loop.reactor, SystemClock()
        )
        self.run(store.start())
        self._stores.append(store)
        return store

    def close(self) -> None:
        """Stop all."""
        for store in self._stores:
            self.run(store.stop())


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Everything."""
    with redis_server(tmp_path) as server, running_loop() as loop:
        world = World(loop, server)
        yield world
        world.close()


def test_scripts_are_known_by_their_digest() -> None:
    """As Redis reckons it; each file is used."""
    for name in SCRIPTS:
        script = load_script(name)
        assert script.digest == hashlib.sha1(script.source.encode()).hexdigest()
    files = {file.name for file in resources.files("tlsgate.store").joinpath("scripts").iterdir()}
    assert files == {f"{name}.lua" for name in SCRIPTS}


@needs_redis
def test_data_that_tyk_made_is_read(world: World) -> None:
    """Its names, lives, counters and lists."""
    store = world.open()
    world.cli("SET", "apikey-default1234", '{"rate": 5}', "EX", "100")
    world.cli("SET", "quota-default1234", "7", "EX", "50")
    world.cli("RPUSH", "tyk-admin-api-ids", "b", "a", "b")
    world.cli("ZADD", "rate-limit-x", "1000000000000", "1000000000000")
    entry = world.run(store.get_entry("apikey-default1234"))
    assert entry is not None and entry.value == b'{"rate": 5}' and 90 < (entry.ttl_s or 0) <= 100
    assert world.run(store.count_window("quota-default1234", 60, 10))[1].value == 8
    assert world.run(store.members("tyk-admin-api-ids")) == ["a", "b"]
    assert world.run(store.count_sliding("rate-limit-x", 10, 5, 1001.0))[1].value == 2


@needs_redis
def test_what_we_write_tyk_reads(world: World) -> None:
    """Strings with a life, sorted sets of nanoseconds, lists that stay lists."""
    store = world.open()
    world.run(store.put("apikey-a", b"{}", ttl_s=100))
    assert world.cli("TYPE", "apikey-a") == "string" and 90 < int(world.cli("TTL", "apikey-a")) <= 100
    world.run(store.count_sliding("rate-limit-a", 10, 5, 1000.0))
    assert world.cli("ZRANGE", "rate-limit-a", "0", "-1", "WITHSCORES").split() == ["1000000000000", "1000000000000"]
    world.cli("RPUSH", "ids", "a")
    world.run(store.add_to_set("ids", "b", "a"))
    assert world.cli("TYPE", "ids") == "list" and sorted(world.cli("LRANGE", "ids", "0", "-1").split()) == ["a", "b"]
    world.run(store.remove_from_set("ids", "a"))
    assert world.cli("LRANGE", "ids", "0", "-1") == "b"


@needs_redis
def test_a_server_that_forgot_the_scripts_is_told_them(world: World) -> None:
    """After a restart, or SCRIPT FLUSH; each call is counted once."""
    store = world.open()
    for number in (1, 2, 3):
        assert world.run(store.count_window("w", 60, 10))[1].value == number
        world.cli("SCRIPT", "FLUSH")


@needs_redis
def test_a_prefix_keeps_two_installations_apart(world: World) -> None:
    """Names, and what is found by an empty prefix."""
    plain, mine = world.open(), world.open(key_prefix="m[1]*")
    world.run(plain.put("a", b"plain"))
    world.run(mine.put("a", b"mine"))
    world.cli("SET", "m1x", "stranger")

    async def names(store: Store) -> list[str]:
        return sorted([name async for batch in store.names("") for name in batch])

    assert world.run(mine.get("a")) == b"mine" and world.cli("GET", "m[1]*a") == "mine"
    assert world.run(names(mine)) == ["a"]
    assert world.run(names(plain)) == ["a", "m1x", "m[1]*a"]


@needs_redis
def test_names_that_are_no_text_are_none_of_ours(world: World) -> None:
    """Another program's keys in the same database."""
    store = world.open()
    world.cli("EVAL", "redis.call('SET', '\\255\\254', '1') redis.call('SADD', 's', '\\255', 'a')", "0")

    async def names() -> list[str]:
        return sorted([name async for batch in store.names("") for name in batch])

    assert world.run(names()) == ["s"]
    assert world.run(store.members("s")) == ["a"]


@needs_redis
def test_a_large_limit_and_window_stay_exact(world: World) -> None:
    """Beyond what a float shows with six digits."""
    store = world.open()
    world.cli("SET", "q", "4503599627370495")
    assert world.run(store.count_window("q", 0, 2**53, 2)) == (True, Count(4503599627370497, None))
    assert world.run(store.count_window("new", 10_000_000, 2**53, 1_000_000_000_000_000))[1].value == 1_000_000_000_000_000
    assert world.run(store.get("new")) == b"1000000000000000"


@needs_redis
def test_names_end_with_an_error_when_the_connection_was_lost_in_between(world: World) -> None:
    """A half list is never taken for a whole one."""
    store = world.open()
    world.cli("EVAL", "for i = 1, 3000 do redis.call('SET', 'k' .. i, '1') end", "0")

    async def names() -> int:
        found = 0
        async for batch in store.names("k"):
            found += len(batch)
            if found == len(batch):
                world.server.stop()
                world.server.start()
                await world.loop.sleep(1.5)
        return found

    with pytest.raises(StoreUnavailable):
        world.run(names())


@needs_redis
def test_entries_of_many_names_are_one_moment(world: World) -> None:
    """In order, with lives; another kind is no value."""
    store = world.open()
    world.cli("SET", "a", "1", "PX", "50000")
    world.cli("SADD", "b", "m")
    found = world.run(store.get_entries(["b", "a", "none"]))
    assert found[0] is None and found[2] is None and isinstance(found[1], Entry) and 40 < (found[1].ttl_s or 0) <= 50
