"""Calls to Redis that end in time: errors of servers, lost connections, new attempts."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock as FakeReactor

from tests.support.logged import logged_events
from tests.support.loop import Loop, running_loop
from tests.support.redis_server import RedisServer, needs_redis, redis_server
from tlsgate.errors import StoreUnavailable
from tlsgate.store import redis_link
from tlsgate.store.redis_connect import Connector, RedisAccess
from tlsgate.store.redis_link import Attempts, RedisLink, UnknownScript, find_code


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server."""
    with redis_server(tmp_path) as server:
        yield server


@pytest.fixture
def loop() -> Iterator[Loop]:
    """A reactor."""
    with running_loop() as loop:
        yield loop


@pytest.fixture
def link(loop: Loop, server: RedisServer) -> Iterator[RedisLink]:
    """A started link with all its connections."""
    link = RedisLink(loop.reactor, Connector(loop.reactor, RedisAccess((("127.0.0.1", server.port),)), 1.0), 1.0)
    loop.run(link.start())
    loop.until(lambda: len(link._ready) == redis_link.CONNECTIONS)
    yield link
    loop.run(link.stop())


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("READONLY You can't write against a read only replica.", "READONLY"),
        ("ERR Error running script (call to f_1): @user_script:3: @user_script: 3: -READONLY You can't write", "READONLY"),
        ("OOM command not allowed when used memory > 'maxmemory'. script: 1, on @user_script:2.", "OOM"),
        ("ERR unknown command 'EVALSHA', with args beginning with: 'apikey-secret'", "ERR"),
        ("", "an error"),
        ("what is this", "an error"),
    ],
)
def test_the_code_of_an_error(text: str, code: str) -> None:
    """Of Redis 6 and 7; names of keys never get into logs."""
    assert find_code(text) == code


@needs_redis
def test_answers_and_errors(loop: Loop, link: RedisLink, server: RedisServer) -> None:
    """Our mistakes are ``ValueError``, unknown scripts are told, everything else is a store that is away."""
    assert loop.run(link.call("SET", "a", "1")) == "OK" or loop.run(link.call("GET", "a")) == b"1"
    server.cli("SADD", "s", "m")
    with pytest.raises(ValueError, match="another kind"):
        loop.run(link.call("GET", "s"))
    with pytest.raises(UnknownScript):
        loop.run(link.call("EVALSHA", "0" * 40, 0))
    with logged_events() as events, pytest.raises(StoreUnavailable) as caught:
        loop.run(link.call("NONSENSE", "apikey-secret"))
    assert "secret" not in str(caught.value) and "secret" not in str(events)
    assert link.healthy


@needs_redis
def test_a_server_that_refuses_is_named_once_a_minute(loop: Loop, link: RedisLink, server: RedisServer) -> None:
    """Out of memory, with what to do; reads go on."""
    server.cli("CONFIG", "SET", "maxmemory", "1")
    with logged_events() as events:
        for _ in range(3):
            with pytest.raises(StoreUnavailable, match="Redis answers OOM"):
                loop.run(link.call("SET", "a", "1"))
    assert [(event["event"], event["code"]) for event in events] == [("store.refused", "OOM")]
    assert "memory" in events[0]["remedy"] and link.healthy
    assert loop.run(link.call("GET", "a")) is None


@needs_redis
def test_a_master_that_became_a_replica_is_left(loop: Loop, link: RedisLink, server: RedisServer) -> None:
    """Its connections are dropped and opened anew, wherever the master is then."""
    server.cli("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(StoreUnavailable, match="READONLY"):
        loop.run(link.call("SET", "a", "1"))
    assert len(link._ready) < redis_link.CONNECTIONS
    server.cli("REPLICAOF", "NO", "ONE")
    loop.until(lambda: len(link._ready) == redis_link.CONNECTIONS)
    loop.run(link.call("SET", "a", "1"))


@needs_redis
def test_a_slow_answer_does_not_cost_the_connection(loop: Loop, link: RedisLink) -> None:
    """Only one that says nothing at all is given up."""
    slow = loop.begin(link.call("BLPOP", "none", "0"))
    slow.addErrback(lambda failure: failure.type)
    began = time.monotonic()
    while not slow.called:
        loop.run(link.call("PING"))
        loop.turn(0.05)
    assert slow.result is StoreUnavailable and 0.9 < time.monotonic() - began < 2
    assert link.healthy


@needs_redis
def test_pending_calls_are_bounded(loop: Loop, link: RedisLink, server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hanging server does not gather calls; n and n+1."""
    monkeypatch.setattr(redis_link, "MAX_PENDING", 3)
    loop.turn(0.05)
    server.pause()
    calls = [loop.begin(link.call("GET", "a")) for _ in range(3 * redis_link.CONNECTIONS)]
    for call in calls:
        call.addErrback(lambda failure: str(failure.value))
    assert not any(call.called for call in calls)
    with pytest.raises(StoreUnavailable, match="too many"):
        loop.run(link.call("GET", "a"))
    loop.until(lambda: all(call.called for call in calls), 3)
    server.resume()
    loop.until(lambda: link.healthy)


@needs_redis
def test_an_outage_is_told_once_with_its_end(loop: Loop, link: RedisLink, server: RedisServer) -> None:
    """Whatever is tried in between; whoever wants to know is told when calls are answered again."""
    back: list[int] = []
    link.on_ready = lambda: back.append(1)
    with logged_events() as events:
        server.stop()
        loop.until(lambda: not link.healthy)
        with pytest.raises(StoreUnavailable):
            loop.run(link.call("GET", "a"))
        loop.turn(0.8)
        server.start()
        loop.until(lambda: len(link._ready) == redis_link.CONNECTIONS)
    assert [event["event"] for event in events] == ["store.away", "store.back"]
    assert back == [1] and link.losses == 1


@needs_redis
def test_an_idle_connection_is_asked(loop: Loop, link: RedisLink, server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a server that hangs is noticed before somebody needs it."""
    server.pause()
    loop.until(lambda: not link.healthy, 5)
    server.resume()
    loop.until(lambda: link.healthy, 5)


def test_pauses_grow_and_have_a_bound() -> None:
    """Some tenths of a second at first, a second at most; a success begins anew."""
    reactor: Any = FakeReactor()
    moments: list[float] = []
    fail = [True]

    async def attempt() -> None:
        moments.append(reactor.seconds())
        if fail[0]:
            raise StoreUnavailable("test")

    attempts = Attempts(reactor, attempt)
    while len(moments) < 12:
        reactor.advance(0.01)
    pauses = [later - earlier for earlier, later in itertools.pairwise(moments)]
    assert all(0.05 < pause <= redis_link.LAST_PAUSE_S + 0.011 for pause in pauses)
    assert min(pauses[5:]) >= redis_link.LAST_PAUSE_S / 2
    fail[0] = False
    while len(moments) < 14:
        reactor.advance(0.01)
    assert moments[-1] - moments[-2] <= redis_link.FIRST_PAUSE_S + 0.011
    stopped: list[Any] = []
    from twisted.internet.defer import Deferred

    Deferred.fromCoroutine(attempts.stop()).addBoth(stopped.append)
    assert stopped == [None] and reactor.getDelayedCalls() == []


def test_one_that_was_not_started_refuses() -> None:
    """At once."""
    from tests.support.keys import run

    reactor: Any = FakeReactor()
    link = RedisLink(reactor, Connector(reactor, RedisAccess((("127.0.0.1", 1),)), 1.0), 1.0)
    with pytest.raises(StoreUnavailable, match="not started"):
        run(link.call("GET", "a"))
    assert not link.healthy
