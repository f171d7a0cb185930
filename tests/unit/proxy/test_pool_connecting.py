"""Tests of :func:`tlsgate.proxy.pool.open_transport`: addresses in turn, time, failures told apart, the layers of a connection."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from twisted.internet import error
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from tests.support.certs import make_authority
from tests.support.memory_channel import MemoryTransport
from tlsgate.clock import SystemClock
from tlsgate.errors import UpstreamError
from tlsgate.pki.pem import parse_pem
from tlsgate.proxy import pool as pool_module
from tlsgate.proxy.connection import UpstreamConnection
from tlsgate.proxy.pool import Destination, Pool, open_transport
from tlsgate.proxy.proxies import ProxyAddress
from tlsgate.proxy.tunnel import Tunnel, Via
from tlsgate.tls.client import build_client_context, build_upstream_identity
from tlsgate.tls.deadlines import Deadlines
from tlsgate.tls.trust import build_trust
from tlsgate.tls.upstream import TlsClient, UpstreamTls

CA = make_authority("CA")
PROXY = ProxyAddress("http", "192.0.2.99", 3128)


def tls(host: str) -> UpstreamTls:
    """TLS towards a host."""
    identity = build_upstream_identity(host=host, port=443, trust=build_trust([parse_pem(CA.pem)], "test"))
    return UpstreamTls(identity, build_client_context(identity, SystemClock()))


class Attempt:
    """One TCP connection that is being made."""

    def __init__(self, host: str, port: int, factory: Any, timeout_s: float) -> None:
        self.where = (host, port)
        self.timeout_s = timeout_s
        self.factory = factory
        self.disconnected = False
        self.transport: Any = MemoryTransport()
        self.protocol: Any = None

    def disconnect(self) -> None:
        """Nobody wants it any more."""
        self.disconnected = True

    def connect(self) -> MemoryTransport:
        """It is there."""
        self.protocol = self.transport.protocol = self.factory.buildProtocol(None)
        self.protocol.makeConnection(self.transport)
        return self.transport

    def fail(self, problem: Exception) -> None:
        """It cannot be had."""
        self.factory.clientConnectionFailed(self, Failure(problem))


class _Names:
    """Every name has the same addresses."""

    def __init__(self, asked: list[str], addresses: list[str]) -> None:
        self._asked = asked
        self._addresses = addresses

    async def find(self, host: str, timeout_s: float) -> list[str]:
        self._asked.append(host)
        return self._addresses


class World:
    """A destination that is being connected to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, destination: Destination, *, addresses: list[str], timeout_s: float = 6.0) -> None:
        self.clock: Any = Clock()
        self.attempts: list[Attempt] = []
        self.looked_up: list[str] = []

        def connect(reactor: Any, host: str, port: int, factory: Any, *, timeout_s: float) -> Attempt:
            self.attempts.append(Attempt(host, port, factory, timeout_s))
            return self.attempts[-1]

        monkeypatch.setattr(pool_module, "connect_prompt", connect)
        self.pool = Pool(self.clock, Deadlines(self.clock, self.clock.seconds), max_idle=0, max_idle_per_key=1, idle_s=90)
        self.pool.lookups = lookups = _Names(self.looked_up, addresses)  # type: ignore[assignment]
        self.application = UpstreamConnection(self.pool, Deadlines(self.clock, self.clock.seconds))
        self.result: Any = "waiting"
        self.work = Deferred.fromCoroutine(open_transport(self.clock, lookups, destination, self.application, timeout_s))
        self.work.addCallbacks(lambda none: setattr(self, "result", "connected"), lambda failure: setattr(self, "result", failure.value))


def test_a_plain_connection_is_the_applications_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing stands between the transport and the connection: each byte would pay for it."""
    world = World(monkeypatch, Destination("up.test", 80), addresses=["192.0.2.1"])
    assert world.looked_up == ["up.test"]
    assert (world.attempts[0].where, world.attempts[0].timeout_s) == (("192.0.2.1", 80), 6.0)
    transport: Any = world.attempts[0].connect()
    assert world.result == "connected"
    assert transport.protocol is world.application
    assert world.application.transport is transport
    assert world.clock.getDelayedCalls() == []


def test_addresses_are_tried_in_turn_in_what_time_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that refuses at once leaves its share to the others."""
    world = World(monkeypatch, Destination("up.test", 80), addresses=["192.0.2.1", "192.0.2.2", "192.0.2.3"])
    assert world.attempts[0].timeout_s == 2.0
    world.attempts[0].fail(error.ConnectionRefusedError(errno.ECONNREFUSED, "refused"))
    assert world.attempts[1].timeout_s == 3.0
    world.clock.advance(3.0)
    assert world.attempts[1].disconnected
    assert world.attempts[2].timeout_s == 3.0
    world.attempts[2].connect()
    assert world.result == "connected"


@pytest.mark.parametrize(
    ("problem", "refusal", "flag"),
    [
        (error.ConnectionRefusedError(errno.ECONNREFUSED, "x"), "upstream.failed", "UCF"),
        (error.NoRouteError(errno.ENETUNREACH, "x"), "upstream.failed", "NRH"),
        (error.ConnectError(errno.EHOSTUNREACH, "x"), "upstream.failed", "NRH"),
        (error.ConnectError(errno.EACCES, "x"), "upstream.failed", "UCF"),
        (error.ConnectBindError(errno.EMFILE, "x"), "upstream.failed", "UCF"),
        (error.TCPTimedOutError(errno.ETIMEDOUT, "x"), "upstream.timeout", "UCT"),
        (error.TimeoutError(), "upstream.timeout", "UCT"),
    ],
)
def test_failures_are_told_apart(monkeypatch: pytest.MonkeyPatch, problem: Exception, refusal: str, flag: str) -> None:
    """Tyk's flags; the last failure is the one that counts."""
    world = World(monkeypatch, Destination("up.test", 80), addresses=["192.0.2.1"])
    world.attempts[0].fail(problem)
    assert isinstance(world.result, UpstreamError)
    assert (world.result.refusal, world.result.flag) == (refusal, flag)
    assert "192.0.2.1 port 80" in world.result.reason


def test_nobody_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """TCP is there, TLS never comes; what happens afterwards is told to nobody."""
    world = World(monkeypatch, Destination("up.test", 443, tls("up.test")), addresses=["192.0.2.1"])
    world.attempts[0].connect()
    world.clock.advance(6.0)
    assert isinstance(world.result, UpstreamError)
    assert (world.result.refusal, world.result.flag) == ("upstream.timeout", "UCT")
    assert world.attempts[0].disconnected
    world.attempts[0].protocol.connectionLost(Failure(error.ConnectionDone()))
    world.attempts[0].fail(error.TimeoutError())


def test_a_connection_that_comes_too_late_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The attempt was given up; whatever it brings changes nothing."""
    world = World(monkeypatch, Destination("up.test", 80), addresses=["192.0.2.1"])
    world.clock.advance(6.0)
    assert isinstance(world.result, UpstreamError)
    assert world.attempts[0].disconnected
    world.attempts[0].connect()
    assert isinstance(world.result, UpstreamError)


def test_cancelling_takes_the_attempt_along(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that has gone."""
    world = World(monkeypatch, Destination("up.test", 80), addresses=["192.0.2.1", "192.0.2.2"])
    world.work.cancel()
    assert isinstance(world.result, CancelledError)
    assert world.attempts[0].disconnected
    assert len(world.attempts) == 1
    assert world.clock.getDelayedCalls() == []


def test_a_failed_handshake_is_tried_at_the_next_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of several servers behind a name may be broken."""
    world = World(monkeypatch, Destination("up.test", 443, tls("up.test")), addresses=["192.0.2.1", "192.0.2.2"])
    world.attempts[0].connect()
    world.attempts[0].protocol.dataReceived(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    assert len(world.attempts) == 2
    world.attempts[1].connect()
    world.attempts[1].protocol.dataReceived(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    assert isinstance(world.result, UpstreamError)
    assert world.result.flag == "TLP"


# Through a proxy.


def test_a_request_to_a_proxy_goes_to_the_proxys_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """The target's name is the proxy's to look up."""
    world = World(monkeypatch, Destination("up.test", 80, None, Via(PROXY, None, tunnelled=False)), addresses=["192.0.2.99"])
    assert world.looked_up == ["192.0.2.99"]
    assert world.attempts[0].where == ("192.0.2.99", 3128)
    transport: Any = world.attempts[0].connect()
    assert transport.protocol is world.application
    assert transport.value() == b""
    assert world.result == "connected"


def test_a_tunnel_is_opened_before_anything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain in the tunnel: connected when the proxy says so."""
    world = World(monkeypatch, Destination("up.test", 81, None, Via(PROXY, None, tunnelled=True)), addresses=["192.0.2.99"])
    transport = world.attempts[0].connect()
    assert transport.value() == b"CONNECT up.test:81 HTTP/1.1\r\nHost: up.test:81\r\n\r\n"
    assert world.result == "waiting"
    world.attempts[0].protocol.dataReceived(b"HTTP/1.1 200 OK\r\n\r\n")
    assert world.result == "connected"
    assert world.application.transport is transport


def test_tls_in_a_tunnel_begins_when_it_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ClientHello is the first that the upstream sees; connected after its handshake only."""
    world = World(monkeypatch, Destination("up.test", 443, tls("up.test"), Via(PROXY, None, tunnelled=True)), addresses=["192.0.2.99"])
    transport = world.attempts[0].connect()
    transport.clear()
    world.attempts[0].protocol.dataReceived(b"HTTP/1.1 200 OK\r\n\r\n")
    assert transport.value().startswith(b"\x16\x03\x01")
    assert b"up.test" in transport.value()
    assert world.result == "waiting"
    world.attempts[0].protocol.dataReceived(b"\x15\x03\x03\x00\x02\x02\x28")
    assert isinstance(world.result, UpstreamError)
    assert world.result.flag == "TLH"


@pytest.mark.parametrize("tunnelled", [False, True])
def test_a_proxy_behind_tls_shakes_hands_first(monkeypatch: pytest.MonkeyPatch, tunnelled: bool) -> None:
    """With the proxy's name; a failure of it is the failure of all."""
    via = Via(PROXY._replace(scheme="https", host="proxy.test"), tls("proxy.test"), tunnelled=tunnelled)
    world = World(monkeypatch, Destination("up.test", 443, tls("up.test") if tunnelled else None, via), addresses=["192.0.2.99"])
    transport = world.attempts[0].connect()
    assert isinstance(world.attempts[0].protocol, TlsClient)
    assert b"proxy.test" in transport.value()
    assert b"up.test" not in transport.value()
    world.attempts[0].protocol.dataReceived(b"no TLS here, sorry")
    assert isinstance(world.result, UpstreamError)
    assert world.result.flag == "TLP"
    world.attempts[0].protocol.connectionLost(Failure(error.ConnectionDone()))


def test_a_proxys_failure_after_the_time_is_told_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Late news."""
    via = Via(PROXY._replace(scheme="https"), tls("proxy.test"), tunnelled=True)
    world = World(monkeypatch, Destination("up.test", 443, tls("up.test"), via), addresses=["192.0.2.99"])
    world.attempts[0].connect()
    world.clock.advance(6.0)
    assert isinstance(world.result, UpstreamError)
    world.attempts[0].protocol.connectionLost(Failure(error.ConnectionDone()))
    assert world.result.flag == "UCT"


def test_a_tunnel_refuses_for_the_whole_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the next address of the proxy is tried."""
    world = World(
        monkeypatch, Destination("up.test", 443, tls("up.test"), Via(PROXY, None, tunnelled=True)), addresses=["192.0.2.98", "192.0.2.99"]
    )
    for attempt in (0, 1):
        world.attempts[attempt].connect()
        assert isinstance(world.attempts[attempt].protocol, Tunnel)
        world.attempts[attempt].protocol.dataReceived(b"HTTP/1.1 403 Forbidden\r\n\r\n")
    assert isinstance(world.result, UpstreamError)
    assert "403" in world.result.reason


def test_the_pool_opens_for_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it opens belongs to the destination, and is counted."""
    destination = Destination("2001:db8::1", 443)
    world = World(monkeypatch, Destination("up.test", 80), addresses=["2001:db8::1"])
    opened: list[UpstreamConnection] = []
    work = Deferred.fromCoroutine(world.pool.open(destination, 5.0))
    work.addCallback(opened.append)
    world.attempts[1].connect()
    assert opened[0].key == destination.key
    assert world.pool.open_count == 1


def test_ways_are_part_of_the_key() -> None:
    """Issue, section 6: nothing that makes two connections different is left out."""
    keys = {
        Destination("up.test", 80).key,
        Destination("up.test", 81).key,
        Destination("up.test", 80, tls("up.test")).key,
        Destination("up.test", 80, None, Via(PROXY, None, tunnelled=False)).key,
        Destination("up.test", 80, None, Via(PROXY, None, tunnelled=True)).key,
        Destination("up.test", 80, None, Via(PROXY._replace(authorization=b"x"), None, tunnelled=False)).key,
        Destination("up.test", 80, tls("up.test"), Via(PROXY, None, tunnelled=True)).key,
    }
    assert len(keys) == 7
    again = Destination("up.test", 80, tls("up.test"), Via(ProxyAddress(*PROXY), None, tunnelled=True)).key
    assert again in keys
    assert again != "text"
