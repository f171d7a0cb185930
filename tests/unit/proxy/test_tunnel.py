"""Tests of :mod:`tlsgate.proxy.tunnel`: the CONNECT dialogue over memory transports, whole and byte by byte."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.python.failure import Failure

from tests.support.memory_channel import MemoryTransport
from tlsgate.errors import UpstreamError
from tlsgate.proxy.proxies import ProxyAddress
from tlsgate.proxy.tunnel import Tunnel, Via

DONE = Failure(ConnectionDone())
ADDRESS = ProxyAddress("http", "proxy.test", 3128, b"Basic dTpw")
OPENED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class Inside:
    """What runs in the tunnel: keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[object] = []

    def makeConnection(self, transport: Any) -> None:
        self.said.append("made")
        self.transport = transport

    def dataReceived(self, data: bytes) -> None:
        self.said.append(data)

    def readConnectionLost(self) -> None:
        self.said.append("ended")

    def connectionLost(self, reason: Failure) -> None:
        self.said.append("lost")


class World:
    """A tunnel that has asked."""

    def __init__(self) -> None:
        self.inside, self.transport = Inside(), MemoryTransport()
        self.opened = 0
        self.done: Deferred[None] = Deferred()
        self.error: UpstreamError | None = None
        self.done.addErrback(self._failed)
        self.tunnel = Tunnel(b"CONNECT up.test:443 HTTP/1.1\r\n\r\n", self.inside, self._open, self.done)
        self.tunnel.makeConnection(self.transport)

    def _open(self) -> None:
        self.opened += 1

    def _failed(self, failure: Failure) -> None:
        assert isinstance(failure.value, UpstreamError)
        self.error = failure.value

    def feed(self, data: bytes, *, bytewise: bool = False) -> None:
        for piece in [data[at : at + 1] for at in range(len(data))] if bytewise else [data]:
            self.tunnel.dataReceived(piece)


@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [("up.test", 443, b"up.test:443"), ("192.0.2.1", 80, b"192.0.2.1:80"), ("2001:db8::1", 8443, b"[2001:db8::1]:8443")],
)
def test_the_request_names_the_target(host: str, port: int, expected: bytes) -> None:
    """RFC 9110 section 9.3.6: authority-form and Host; credentials only where there are some."""
    via = Via(ADDRESS, None, tunnelled=True)
    lines = [b"CONNECT " + expected + b" HTTP/1.1", b"Host: " + expected, b"Proxy-Authorization: Basic dTpw", b"", b""]
    assert via.build_request(host, port).split(b"\r\n") == lines
    anonymous = Via(ADDRESS._replace(authorization=b""), None, tunnelled=True)
    assert b"Authorization" not in anonymous.build_request(host, port)


def test_ways_differ_by_all_that_matters() -> None:
    """The key of a pool entry holds it: proxy, login, tunnel or not."""
    via = Via(ADDRESS, None, tunnelled=False)
    assert via.key == Via(ADDRESS, None, tunnelled=False).key
    assert via.as_tunnel().tunnelled
    others = [
        via.as_tunnel(),
        Via(ADDRESS._replace(port=1), None, tunnelled=False),
        Via(ADDRESS._replace(authorization=b""), None, tunnelled=False),
    ]
    assert len({via.key, *(other.key for other in others)}) == 4


@pytest.mark.parametrize("bytewise", [False, True])
@pytest.mark.parametrize("interim", [b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 102 X\r\nA: b\r\n\r\n" * 3])
@pytest.mark.parametrize(
    "answer", [OPENED, b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", b"HTTP/1.1 204 \r\n\r\n", b"HTTP/1.1 299\r\n\r\n"]
)
def test_any_success_opens_the_way(answer: bytes, interim: bytes, bytewise: bool) -> None:
    """Lengths in it mean nothing (RFC 9110 section 9.3.6); nothing is handed on before, everything afterwards."""
    world = World()
    assert world.transport.value() == b"CONNECT up.test:443 HTTP/1.1\r\n\r\n"
    world.feed(interim + answer[:-1], bytewise=bytewise)
    assert world.inside.said == []
    world.feed(answer[-1:])
    assert world.inside.said == ["made"]
    assert world.inside.transport is world.transport
    assert world.opened == 1
    world.feed(b"hello")
    world.tunnel.readConnectionLost()
    world.tunnel.writeConnectionLost()
    world.tunnel.connectionLost(DONE)
    assert world.inside.said == ["made", b"hello", "ended", "lost"]
    assert world.error is None


def test_what_comes_with_the_answer_is_the_upstreams() -> None:
    """Servers of some protocols speak first."""
    world = World()
    world.feed(OPENED + b"220 ready\r\n")
    assert world.inside.said == ["made", b"220 ready\r\n"]


@pytest.mark.parametrize("bytewise", [False, True])
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "refused CONNECT with 407"),
        (b"HTTP/1.1 300 X\r\n\r\n", "refused CONNECT with 300"),
        (b"HTTP/1.1 503\r\n\r\n", "refused CONNECT with 503"),
        (b"HTTP/2 200 OK\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 099 X\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1  200 OK\r\n\r\n", "not HTTP"),
        (b"\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 17000, "too long a head"),
    ],
)
def test_everything_else_fails_and_cuts(answer: bytes, reason: str, bytewise: bool) -> None:
    """With the reason for the log; later bytes reach nobody."""
    world = World()
    world.feed(answer, bytewise=bytewise)
    world.feed(OPENED)
    assert world.error is not None
    assert (world.error.refusal, world.error.flag) == ("upstream.failed", "UCF")
    assert reason in world.error.reason
    assert world.transport.disconnected
    assert (world.inside.said, world.opened) == ([], 0)


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\n"])
@pytest.mark.parametrize("how", ["end", "loss"])
def test_a_proxy_that_goes_away_has_not_opened_the_way(begun: bytes, how: str) -> None:
    """However it goes; once."""
    world = World()
    world.feed(begun)
    if how == "end":
        world.tunnel.readConnectionLost()
    world.tunnel.connectionLost(DONE)
    assert world.error is not None
    assert "instead of answering" in world.error.reason
    assert world.inside.said == []


def test_nobody_is_told_twice() -> None:
    """Whoever waited has given up by now."""
    world = World()
    world.done.cancel()
    world.error = None
    world.tunnel.connectionLost(DONE)
    assert world.error is None


def test_half_closes_are_passed_on() -> None:
    """Twisted asks for this interface before it tells of them."""
    assert IHalfCloseableProtocol.providedBy(World().tunnel)
