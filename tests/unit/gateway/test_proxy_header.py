"""Tests of :mod:`tlsgate.gateway.proxy_header`: a connection of a load balancer, from its header to what runs over it."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.error import ConnectionDone
from twisted.logger import LogEvent, globalLogPublisher
from twisted.python.failure import Failure

from tests.support.gateway import classic
from tests.support.memory_channel import MemoryTransport
from tests.support.memory_gateway import MemoryGateway
from tlsgate.gateway.proxy_header import ProxyHeaderGate
from tlsgate.model.exchange import Connection

DONE = Failure(ConnectionDone())
LINE = b"PROXY TCP4 203.0.113.9 192.0.2.1 40001 443\r\n"


class Application:
    """What runs over the connection: keeps what it is told."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.data = b""

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport

    def dataReceived(self, data: bytes) -> None:
        self.data += data


class World:
    """A gate whose connection is there."""

    def __init__(self, *, peer: str = "192.0.2.50", application: Application | None = None, **own: Any) -> None:
        self.gateway = MemoryGateway(classic("api", 9, "/"), tlsgate=own)
        self.site = self.gateway.site
        self.connection = Connection("c-1", peer, 4711, 8080, False)
        self.application = application
        self.built: list[tuple[str, int]] = []
        self.transport: Any = MemoryTransport()
        self.gate = ProxyHeaderGate(self.site, self.connection, self._build)
        self.transport.protocol = self.gate
        self.gate.makeConnection(self.transport)

    def _build(self, connection: Connection) -> Application | None:
        self.built.append((connection.peer_address, connection.peer_port))
        return self.application


@pytest.fixture
def events() -> Any:
    found: list[LogEvent] = []
    globalLogPublisher.addObserver(found.append)
    yield found
    globalLogPublisher.removeObserver(found.append)


@pytest.mark.parametrize(
    "pieces", [[LINE], [LINE + b"GET /"], [LINE[:10], LINE[10:] + b"GET /"], [LINE[at : at + 1] for at in range(len(LINE))]]
)
def test_the_application_takes_over_behind_the_header(pieces: list[bytes]) -> None:
    """It knows the announced client from the first moment; what came with the header is its own."""
    world = World(application=Application())
    for piece in pieces:
        assert world.site.connection_count == 1
        world.gate.dataReceived(piece)
    assert world.built == [("203.0.113.9", 40001)]
    assert world.transport.protocol is world.application
    assert world.application is not None
    assert world.application.transport is world.transport
    assert world.application.data == (b"GET /" if pieces[-1].endswith(b"GET /") else b"")
    assert world.site.connection_count == 0
    world.gateway.reactor.advance(100)
    assert not world.transport.disconnected


def test_a_header_without_an_address_leaves_the_peer() -> None:
    """LOCAL and UNKNOWN."""
    world = World(application=Application())
    world.gate.dataReceived(b"PROXY UNKNOWN\r\n")
    assert world.built == [("192.0.2.50", 4711)]


def test_garbage_is_cut_and_logged(events: list[LogEvent]) -> None:
    """With the peer's own address."""
    world = World(application=Application())
    world.gate.dataReceived(b"GET / HTTP/1.1\r\n\r\n")
    assert world.transport.disconnected
    assert world.built == []
    assert world.transport.value() == b""
    refused = [event for event in events if event.get("event") == "proxy_header.refused"]
    assert [(event["peer"], event["port"], event["reason"]) for event in refused] == [("192.0.2.50", 8080, "no PROXY header")]
    assert world.site.counters["proxy_headers_refused"] == 1
    world.gate.connectionLost(DONE)
    assert world.site.connection_count == 0


def test_silence_ends_at_the_deadline(events: list[LogEvent]) -> None:
    """As long as a handshake may take."""
    world = World(application=Application(), limits={"handshake_timeout_s": 2.0})
    world.gate.dataReceived(LINE[:20])
    for _ in range(7):
        world.gateway.reactor.advance(0.25)
    assert not world.transport.disconnected
    for _ in range(3):
        world.gateway.reactor.advance(0.25)
    assert world.transport.disconnected
    assert [event["reason"] for event in events if event.get("event") == "proxy_header.refused"] == ["no PROXY header in time"]


@pytest.mark.parametrize(("listed", "believed"), [([], True), (["192.0.2.0/24"], True), (["192.0.2.50"], True), (["10.0.0.0/8"], False)])
def test_only_listed_balancers_are_heard(listed: list[str], believed: bool) -> None:
    """``tlsgate.trusted_proxies``; an empty list is anybody, which ``check`` warns about."""
    world = World(application=Application(), trusted_proxies=listed)
    assert world.transport.disconnected == (not believed)


def test_a_service_that_is_gone_closes() -> None:
    """A reload took the API away while the header was on its way."""
    world = World(application=None)
    world.gate.dataReceived(LINE)
    assert world.transport.disconnected


def test_a_client_that_goes_is_forgotten() -> None:
    """Nothing waits for it any more."""
    world = World(application=Application())
    world.gate.connectionLost(DONE)
    assert world.site.connection_count == 0
    assert not [call for call in world.gateway.reactor.getDelayedCalls() if call.func == world.gate.deadline_passed]


@pytest.mark.parametrize("how", ["drain", "abort"])
def test_a_stop_cuts_it(how: str) -> None:
    """Nothing is under way; a reload leaves it alone."""
    world = World(application=Application())
    world.gate.recheck()
    assert not world.transport.disconnected
    world.gate.drain() if how == "drain" else world.gate.abort("shut down")
    assert world.transport.disconnected
