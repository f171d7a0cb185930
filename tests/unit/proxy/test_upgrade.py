"""Tests of :mod:`tlsgate.proxy.upgrade`: a WebSocket through a gateway in memory."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from tests.support.gateway import classic
from tests.support.memory_channel import MemoryTransport
from tests.support.memory_gateway import MemoryGateway
from tests.support.memory_world import MemoryUpstream

DONE = Failure(ConnectionDone())
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
GOING_AWAY = b"\x88\x02\x03\xe9"
NOT_ALLOWED = b"\x88\x02\x03\xf0"


class World:
    """A client and an upstream that have switched."""

    def __init__(self, answer: bytes = SWITCH, behind: bytes = b"") -> None:
        options = {"http_server_options": {"enable_websockets": True}, "tlsgate": {"limits": {"stream_idle_s": 20.0}}}
        self.gateway = MemoryGateway(classic("api", "http://up.test", "/"), **options)
        MemoryUpstream(self.gateway, lambda received: [answer])
        self.finished: list[Any] = []
        finished = self.gateway.site.finished

        def note(request: Any) -> None:
            self.finished.append((request.status, request.response_bytes, request.detail))
            finished(request)

        self.gateway.site.finished = note  # type: ignore[method-assign]
        self.channel, self.client = self.gateway.connect()
        self.channel.dataReceived(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + behind)
        while (calls := self.gateway.reactor.getDelayedCalls()) and min(call.getTime() for call in calls) <= self.gateway.reactor.seconds():
            self.gateway.reactor.advance(0)
        self.connection = next(iter(self.gateway.pool._all))
        self.upstream: MemoryTransport = self.connection.transport
        self.upstream.clear()
        # From here on the test is the upstream.
        self.upstream.write = lambda data: MemoryTransport.write(self.upstream, data)  # type: ignore[method-assign]

    def wait(self, seconds: float) -> None:
        for _ in range(int(seconds * 4)):
            self.gateway.reactor.advance(0.25)


def test_bytes_pass_both_ways_unread() -> None:
    """Whatever they are, a request line included."""
    world = World()
    assert world.client.value().endswith(b"\r\n\r\n")
    world.client.clear()
    world.channel.dataReceived(b"GET /evil HTTP/1.1\r\n\r\n")
    world.connection.dataReceived(b"HTTP/1.1 200 OK\r\n\r\n")
    assert world.upstream.value() == b"GET /evil HTTP/1.1\r\n\r\n"
    assert world.client.value() == b"HTTP/1.1 200 OK\r\n\r\n"
    assert world.finished == []


def test_what_came_with_the_heads_is_not_lost() -> None:
    """Frames right behind the 101, and a client that did not wait for it."""
    world = World(SWITCH + b"\x81\x01a", behind=b"early")
    assert world.client.value().endswith(b"\r\n\r\n\x81\x01a")


def test_the_end_is_recorded_once() -> None:
    """One record for an upgrade, when it is over."""
    world = World()
    world.connection.dataReceived(b"12345")
    world.connection.readConnectionLost()
    assert world.client.half_closed
    world.channel.readConnectionLost()
    assert [(status, size) for status, size, _ in world.finished] == [(101, 5)]
    world.channel.connectionLost(DONE)
    world.connection.connectionLost(DONE)
    assert len(world.finished) == 1


@pytest.mark.parametrize("side", ["client", "upstream"])
def test_a_cut_is_passed_on(side: str) -> None:
    """Not as a clean end."""
    world = World()
    if side == "client":
        world.channel.connectionLost(DONE)
        assert world.upstream.disconnected
    else:
        world.connection.connectionLost(DONE)
        assert world.client.disconnected
    assert len(world.finished) == 1


def test_shutting_down_says_goodbye() -> None:
    """Decisions 2.14: a close frame with 1001 and a half-close at once, cut after five seconds."""
    world = World()
    world.client.clear()
    world.channel.drain()
    assert world.client.value() == GOING_AWAY
    assert world.client.half_closed
    world.wait(4)
    assert not world.finished
    world.wait(2)
    assert world.client.disconnected
    assert world.upstream.disconnected


@pytest.mark.parametrize("end", ["drain", "recheck"])
def test_no_goodbye_inside_a_frame(end: str) -> None:
    """The client would take it for the rest of a message; between the parts of one it may stand."""
    for half, said in ((b"\x01\x05he", b""), (b"\x82\x7e\x01", b""), (b"\x01\x05hello", GOING_AWAY if end == "drain" else NOT_ALLOWED)):
        world = World()
        world.connection.dataReceived(half)
        world.client.clear()
        if end == "drain":
            world.channel.drain()
            assert world.client.half_closed
        else:
            world.gateway.generation.apis.clear()
            world.channel.recheck()
        assert world.client.value() == said, half


def test_silence_ends_it() -> None:
    """``stream_idle_s``, whichever side moved last."""
    world = World()
    world.wait(15)
    world.channel.dataReceived(b"x")
    world.wait(15)
    assert not world.client.disconnected
    world.wait(6)
    assert world.client.disconnected
    assert world.finished[0][2] == "nothing moved in time"


def test_a_reload_that_takes_its_api_away_cuts_it() -> None:
    """Decisions 1: every request is judged by the present settings; a stream that goes on is one, too."""
    world = World()
    world.channel.recheck()
    assert not world.client.disconnected
    world.gateway.generation.apis.clear()
    world.client.clear()
    world.channel.recheck()
    assert world.client.value() == NOT_ALLOWED and world.client.disconnecting
    assert world.upstream.disconnected
    assert world.finished[0][2] == "its API is gone after a reload"
