"""Connections to Redis: found, verified, logged in, ready, or given up in time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory, Protocol

from tests.support.gateway import free_port
from tests.support.loop import Loop, running_loop
from tests.support.redis_server import RedisServer, needs_redis, redis_server
from tlsgate.errors import StoreUnavailable
from tlsgate.store.redis_connect import CommandConnection, Connector, RedisAccess

pytestmark = needs_redis


@pytest.fixture
def loop() -> Iterator[Loop]:
    """A reactor."""
    with running_loop() as loop:
        yield loop


def open_one(loop: Loop, access: RedisAccess, timeout_s: float = 2.0) -> CommandConnection:
    """A connection."""
    return loop.run(Connector(loop.reactor, access, timeout_s).open(CommandConnection))


def ask(loop: Loop, connection: CommandConnection, *command: Any) -> Any:
    """The answer to a command."""

    async def answer() -> Any:
        return await connection.execute_command(*command)

    return loop.run(answer())


def server_access(server: RedisServer, **fields: Any) -> RedisAccess:
    """How to get to it."""
    return RedisAccess((("127.0.0.1", server.port),), **fields)


def test_a_connection_answers_in_its_database(tmp_path: Path, loop: Loop) -> None:
    """Bytes in, bytes out."""
    with redis_server(tmp_path) as server:
        connection = open_one(loop, server_access(server, database=3))
        ask(loop, connection, "SET", "a", b"\xff")
        assert ask(loop, connection, "GET", "a") == b"\xff"
        assert server.cli("-n", "3", "EXISTS", "a") == "1"
        loop.run(connection.abort())
        assert connection.lost


@pytest.mark.parametrize(
    ("fields", "message"), [({}, "NOAUTH"), ({"password": "wrong"}, "WRONGPASS"), ({"password": "p", "database": 99}, "out of range")]
)
def test_what_is_refused_is_named(tmp_path: Path, loop: Loop, fields: dict[str, Any], message: str) -> None:
    """With the address; no connection is left behind, and no password is shown."""
    with redis_server(tmp_path, "requirepass p") as server:
        with pytest.raises(StoreUnavailable, match=message) as caught:
            open_one(loop, server_access(server, **fields))
        assert str(caught.value).startswith(f"127.0.0.1:{server.port}: ") and "wrong" not in str(caught.value)
        loop.run(open_one(loop, server_access(server, password="p")).abort())


def test_nobody_listens(loop: Loop) -> None:
    """At once."""
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1"):
        open_one(loop, RedisAccess((("127.0.0.1", free_port()),)))
    assert time.monotonic() - began < 1


class Mute(Protocol):
    """Says what it is told to, to whatever comes."""

    answer = b""

    def dataReceived(self, data: bytes) -> None:
        """Answer."""
        assert self.transport is not None
        self.transport.write(self.answer)


@pytest.mark.parametrize(("answer", "message"), [(b"", "no connection within 0.3 s"), (b"HTTP/1.1 400 Bad Request\r\n\r\n", "127.0.0.1")])
def test_something_else_listens(loop: Loop, answer: bytes, message: str) -> None:
    """It says nothing, or speaks another protocol."""
    factory = Factory.forProtocol(type("Server", (Mute,), {"answer": answer}))
    factory.noisy = False
    port = loop.reactor.listenTCP(0, factory, interface="127.0.0.1")
    with pytest.raises(StoreUnavailable, match=message):
        open_one(loop, RedisAccess((("127.0.0.1", port.getHost().port),)), 0.3)
    port.stopListening()
    loop.turn(0.05)


@pytest.mark.parametrize("turns", range(0, 12, 2))
def test_a_cancelled_attempt_ends_whatever_it_was_doing(tmp_path: Path, loop: Loop, turns: int) -> None:
    """Look-up, connecting, greeting: never taken for a fault after which another Sentinel is asked (a stop would hang)."""
    with redis_server(tmp_path) as server:
        access = RedisAccess((("localhost", server.port), ("127.0.0.1", server.port)), master_name="none")
        attempt = loop.begin(Connector(loop.reactor, access, 5.0).open(CommandConnection))
        ended: list[Any] = []
        attempt.addErrback(lambda failure: ended.append(failure.type))
        for _ in range(turns):
            loop.reactor.iterate(0)
        attempt.cancel()
        loop.until(lambda: bool(ended), 2)
        assert ended == [CancelledError] or (turns > 4 and ended == [StoreUnavailable])
        loop.turn(0.05)  # a connection that was made just then closes


class FakeSentinel(Protocol):
    """Names a master, whoever asks."""

    master = 0
    asked = 0

    def dataReceived(self, data: bytes) -> None:
        """Answer the one question."""
        assert self.transport is not None
        type(self).asked += 1
        port = str(self.master).encode()
        self.transport.write(b"*2\r\n$9\r\n127.0.0.1\r\n$%d\r\n%s\r\n" % (len(port), port))


def listen_as_sentinel(loop: Loop, master: int) -> tuple[Any, type[FakeSentinel]]:
    """A Sentinel with an opinion."""
    kind = type("Sentinel", (FakeSentinel,), {"master": master, "asked": 0})
    factory = Factory.forProtocol(kind)
    factory.noisy = False
    return loop.reactor.listenTCP(0, factory, interface="127.0.0.1"), kind


def test_a_sentinel_that_is_wrong_or_gone_is_not_asked_first_again(tmp_path: Path, loop: Loop) -> None:
    """One that was cut off names a replica, or a server that is gone; the one that knows is found and kept."""
    with redis_server(tmp_path) as master, redis_server(tmp_path, f"replicaof 127.0.0.1 {master.port}") as replica:
        stale, stale_kind = listen_as_sentinel(loop, replica.port)
        lost, lost_kind = listen_as_sentinel(loop, free_port())
        good, good_kind = listen_as_sentinel(loop, master.port)
        addresses = [("127.0.0.1", free_port()), *[("127.0.0.1", port.getHost().port) for port in (stale, lost, good)]]
        connector = Connector(loop.reactor, RedisAccess(tuple(addresses), master_name="gate"), 2.0)
        with pytest.raises(StoreUnavailable, match="the server itself does not"):
            loop.run(connector.open(CommandConnection))
        with pytest.raises(StoreUnavailable):
            loop.run(connector.open(CommandConnection))
        connections = [loop.run(connector.open(CommandConnection)) for _ in range(3)]
        assert (stale_kind.asked, lost_kind.asked, good_kind.asked) == (1, 1, 3)
        assert ask(loop, connections[0], "ROLE")[0] == b"master"
        for connection in connections:
            loop.run(connection.abort())
        for port in (stale, lost, good):
            port.stopListening()
        loop.turn(0.05)


def test_several_attempts_at_once_each_try_all_sentinels(tmp_path: Path, loop: Loop) -> None:
    """Two of three are gone; no attempt misses the third."""
    with redis_server(tmp_path) as master:
        good, _ = listen_as_sentinel(loop, master.port)
        addresses = (("127.0.0.1", free_port()), ("127.0.0.1", free_port()), ("127.0.0.1", good.getHost().port))
        connector = Connector(loop.reactor, RedisAccess(addresses, master_name="gate"), 3.0)
        attempts = [loop.begin(connector.open(CommandConnection)) for _ in range(5)]
        opened: list[Any] = []
        for attempt in attempts:
            attempt.addBoth(opened.append)
        loop.until(lambda: len(opened) == 5, 5)
        assert [type(entry) for entry in opened] == [CommandConnection] * 5
        for connection in opened:
            loop.run(connection.abort())
        good.stopListening()
        loop.turn(0.05)


def test_no_sentinel_knows_the_master(tmp_path: Path, loop: Loop) -> None:
    """Each is named with what it said."""
    with redis_server(tmp_path, sentinel=True) as one, redis_server(tmp_path, sentinel=True) as two:
        access = RedisAccess((("127.0.0.1", one.port), ("127.0.0.1", two.port)), master_name="gate")
        with pytest.raises(
            StoreUnavailable, match=f"{one.port}: knows no master gate; Sentinel 127.0.0.1:{two.port}: knows no master gate"
        ):
            open_one(loop, access)


def test_whoever_waits_for_the_loss_is_told(tmp_path: Path, loop: Loop) -> None:
    """Before and after it; what waits on the connection fails."""
    with redis_server(tmp_path) as server:
        connection = open_one(loop, server_access(server))
        before = connection.when_lost()
        server.pause()
        waiting: Deferred[Any] = connection.execute_command("GET", "a")
        waiting.addErrback(lambda failure: "failed")
        loop.run(connection.abort())
        assert before.called and connection.when_lost().called and waiting.result == "failed"
        server.resume()


class Chatty(Protocol):
    """Greets like Redis, then says what it likes."""

    says = b""

    def dataReceived(self, data: bytes) -> None:
        """Answer."""
        assert self.transport is not None
        self.transport.write(b"+PONG\r\n" if b"PING" in data else self.says)


def open_chatty(loop: Loop, says: bytes) -> tuple[Any, CommandConnection]:
    factory = Factory.forProtocol(type("Says", (Chatty,), {"says": says}))
    factory.noisy = False
    port = loop.reactor.listenTCP(0, factory, interface="127.0.0.1")
    return port, open_one(loop, RedisAccess((("127.0.0.1", port.getHost().port),)))


def test_an_answer_that_nobody_asked_for_goes_to_nobody(loop: Loop) -> None:
    """Or the next call, for another key, would get it, and each one after it; also where the next call follows at once."""
    port, connection = open_chatty(loop, b"$1\r\na\r\n$6\r\nothers\r\n")
    seen: list[Any] = []

    async def ask_twice() -> None:
        seen.append(await connection.execute_command("GET", "a"))
        try:
            seen.append(await connection.execute_command("GET", "b"))
        except Exception as error:
            seen.append(type(error).__name__)

    loop.run(ask_twice())
    loop.until(lambda: connection.lost)
    assert seen[0] == b"a" and b"others" not in seen
    port.stopListening()
    loop.turn(0.05)


def test_an_answer_without_bounds_is_cut_off(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not gathered until there is no memory left; several that are large are fine."""
    monkeypatch.setattr("tlsgate.store.redis_connect.MAX_REPLY_BYTES", 100_000)
    large = b"$90000\r\n" + b"a" * 90_000 + b"\r\n"
    port, connection = open_chatty(loop, large)
    for _ in range(3):
        assert len(ask(loop, connection, "GET", "a")) == 90_000
    assert not connection.lost
    loop.run(connection.abort())
    port.stopListening()
    loop.turn(0.05)
    port, connection = open_chatty(loop, b"$2000000000\r\n" + b"a" * 200_000)
    with pytest.raises(Exception, match=r"(?i)lost|connection"):
        ask(loop, connection, "GET", "a")
    assert connection.lost
    port.stopListening()
    loop.turn(0.05)
