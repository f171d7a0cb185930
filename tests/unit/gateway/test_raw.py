"""Tests of `tlsgate.gateway.raw` (decisions 1.9; the loopback tests use real sockets)."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.logger import LogEvent, globalLogPublisher
from twisted.python.failure import Failure

from tests.support.certs import make_authority
from tests.support.gateway import classic
from tests.support.memory_channel import MemoryTransport
from tests.support.memory_gateway import MemoryGateway
from tlsgate.errors import UpstreamError
from tlsgate.gateway import raw
from tlsgate.gateway.raw import RawService
from tlsgate.model.exchange import Connection

CLIENTS = make_authority("clients")
SERVER = make_authority("s").issue("localhost", names=["localhost"], usages=None)
DONE = Failure(ConnectionDone())


class World:
    """A raw service between two memory transports; the upstream connects when the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, strict: bool = False) -> None:
        fields: dict[str, Any] = {"use_mutual_tls_auth": True, "client_certificates": [CLIENTS.pem]} if strict else {}
        self.api = classic("raw", "tcp://127.0.0.1:9", protocol="tls" if strict else "tcp", listen_port=7001, **fields)
        self.gateway = self.make(self.api)
        self.connecting: Deferred[None] = Deferred()
        self.upstream_side: Any = None
        self.asked = 0

        async def open_transport(reactor: Any, lookups: Any, destination: Any, application: Any, timeout_s: float) -> None:
            self.asked += 1
            self.upstream_side = application
            await self.connecting

        monkeypatch.setattr(raw, "open_transport", open_transport)
        self.client, self.upstream = MemoryTransport(), MemoryTransport()
        connection = Connection("c", "192.0.2.1", 1, 7001, strict)
        self.service = RawService(self.gateway.generation.find_raw("raw"), self.gateway.site, connection)

    @staticmethod
    def make(*apis: dict[str, Any]) -> MemoryGateway:
        return MemoryGateway(*apis, disable_ports_whitelist=True, http_server_options={"ssl_certificates": [SERVER.full_pem]})

    def connect(self) -> None:
        """The upstream is there."""
        self.upstream_side.makeConnection(self.upstream)
        self.connecting.callback(None)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def test_nothing_is_read_before_the_upstream_is_there(world: World) -> None:
    world.service.makeConnection(world.client)
    assert world.client.producerState == "paused"
    world.connect()
    assert world.client.producerState == "producing"
    world.service.dataReceived(b"up")
    world.upstream_side.dataReceived(b"down")
    assert (world.upstream.value(), world.client.value()) == (b"up", b"down")


def test_a_refused_client_never_makes_an_upstream_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """No certificate on a strict service: cut, logged with the reason, counted."""
    world = World(monkeypatch, strict=True)
    events: list[LogEvent] = []
    globalLogPublisher.addObserver(events.append)
    try:
        world.service.makeConnection(world.client)
    finally:
        globalLogPublisher.removeObserver(events.append)
    assert world.client.disconnected and not world.asked
    assert [event["api"] for event in events if event.get("event") == "raw.refused"] == ["raw"]
    assert world.gateway.site.counters["raw_refused"] == 1


def test_a_name_without_a_service_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    service = RawService(None, world.gateway.site, world.service.connection)
    service.makeConnection(world.client)
    assert world.client.disconnected and not world.asked
    service.recheck()


def test_an_unreachable_upstream_ends_the_client(world: World) -> None:
    events: list[LogEvent] = []
    world.service.makeConnection(world.client)
    globalLogPublisher.addObserver(events.append)
    try:
        world.connecting.errback(UpstreamError("upstream.failed", "UCF", "refused"))
    finally:
        globalLogPublisher.removeObserver(events.append)
    assert world.client.disconnected
    assert [event["flag"] for event in events if event.get("event") == "raw.upstream_failed"] == ["UCF"]


def test_half_closes_pass_and_the_second_ends_both(world: World) -> None:
    world.service.makeConnection(world.client)
    world.connect()
    world.upstream_side.readConnectionLost()
    assert world.client.half_closed and not world.client.disconnecting
    world.service.dataReceived(b"more")
    assert world.upstream.value() == b"more"
    world.service.readConnectionLost()
    assert world.client.disconnecting and world.upstream.disconnecting


def test_an_end_before_the_upstream_is_there_is_passed_on(world: World) -> None:
    world.service.makeConnection(world.client)
    world.service.readConnectionLost()
    world.connect()
    assert world.upstream.half_closed


def test_a_client_that_goes_while_we_connect_cancels_it(world: World) -> None:
    world.service.makeConnection(world.client)
    world.service.connectionLost(DONE)
    assert world.connecting.called
    late = MemoryTransport()
    world.upstream_side.makeConnection(late)
    assert late.disconnected


def test_idle_streams_end(world: World) -> None:
    """`tlsgate.limits.stream_idle_s` without a byte either way."""
    world.service.makeConnection(world.client)
    world.connect()
    limit = world.gateway.config.own.limits.stream_idle_s
    world.gateway.reactor.pump([1.0] * 10)
    world.gateway.reactor.advance(limit - 20)
    assert not world.client.disconnected
    world.gateway.reactor.pump([1.0] * 20)
    assert world.client.disconnected and world.upstream.disconnected


def test_reloads_judge_again(world: World) -> None:
    """The service stays: nothing happens; it is gone: the stream is cut."""
    world.service.makeConnection(world.client)
    world.connect()
    world.service.recheck()
    assert not world.client.disconnected
    world.gateway.site.generation = World.make().generation
    world.service.recheck()
    assert world.client.disconnected and world.upstream.disconnected


def test_drain_half_closes_and_cuts_after_five_seconds(world: World) -> None:
    """Decisions 2.14."""
    world.service.makeConnection(world.client)
    world.connect()
    world.gateway.site.drain()
    assert world.client.half_closed and not world.client.disconnected
    world.gateway.reactor.pump([0.25] * 24)
    assert world.client.disconnected


def test_an_unexpected_failure_ends_the_client(world: World) -> None:
    """Logged, and nobody is left waiting."""
    events: list[LogEvent] = []
    world.service.makeConnection(world.client)
    globalLogPublisher.addObserver(events.append)
    try:
        world.connecting.errback(RuntimeError("ours"))
    finally:
        globalLogPublisher.removeObserver(events.append)
    assert world.client.disconnected
    assert [event["event"] for event in events if "log_failure" in event] == ["raw.error"]


def test_a_service_without_a_bridge_has_only_the_client_to_end(world: World) -> None:
    """Drained, cut, or its client gone before the upstream is there: an upstream that comes late is closed."""
    for end in ("drain", "abort", "lost"):
        service = RawService(world.gateway.generation.find_raw("raw"), world.gateway.site, world.service.connection)
        client, upstream = MemoryTransport(), MemoryTransport()
        world.connecting = Deferred()
        service.makeConnection(client)
        side = world.upstream_side
        side.dataReceived(b"nobody")
        side.readConnectionLost()
        side.writeConnectionLost()
        side.connectionLost(DONE)
        service.writeConnectionLost()
        if end == "drain":
            service.drain()
        elif end == "abort":
            service.abort("shut down")
        assert client.disconnected == (end != "lost")
        service.connectionLost(DONE)
        side.makeConnection(upstream)
        assert upstream.disconnected
        assert service.bridge is None


def test_a_reload_before_the_upstream_is_there_cuts_as_well(world: World) -> None:
    """The service is gone: so is whoever waits for it."""
    world.service.makeConnection(world.client)
    world.gateway.site.generation = MemoryGateway().generation
    world.service.recheck()
    assert world.client.disconnected


def test_bytes_and_the_end_that_came_early_go_up_first(world: World) -> None:
    """Behind a PROXY header, in one piece with it."""
    world.service.makeConnection(world.client)
    world.service.dataReceived(b"early ")
    world.service.dataReceived(b"bytes")
    world.service.readConnectionLost()
    world.connect()
    assert world.upstream.value() == b"early bytes"
    assert world.upstream.half_closed


def test_who_is_turned_away_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the id of the connection, with the service and the reason; not where the service wants none of it."""
    api = {**World(monkeypatch, strict=True).api}
    for own, count in (({}, 1), ({"explain": {"enabled": False}}, 0)):
        gateway = MemoryGateway(
            {**api, "x-tlsgate": own},
            disable_ports_whitelist=True,
            http_server_options={"ssl_certificates": [SERVER.full_pem]},
            tlsgate={"explain": {"enabled": True}},
        )
        service = RawService(gateway.generation.find_raw("raw"), gateway.site, Connection("c", "192.0.2.1", 1, 7001, True))
        service.makeConnection(MemoryTransport())
        RawService(None, gateway.site, Connection("d", "192.0.2.1", 1, 7001, False)).makeConnection(MemoryTransport())
        records = gateway.site.questions.answer("explain", {"api_id": "", "status": 0, "limit": 10})[1:]
        assert [(record["id"], record["kind"], record["route"] and record["route"]["api_id"]) for record in records] == [
            ("d", "connection", None),
            ("c", "connection", "raw"),
        ][: 1 + count]
        assert len(gateway.site.questions.answer("explain", {"api_id": "raw", "status": 0, "limit": 10})) == 1 + count
        assert records[0]["rule"] == "no service of this port has the name"
