"""Tests of `tlsgate.gateway.site`."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
from OpenSSL import SSL
from twisted.internet.error import ConnectionDone
from twisted.logger import LogEvent, globalLogPublisher
from twisted.python.failure import Failure

from tests.support.certs import SERVER, Issued, make_authority
from tests.support.gateway import classic
from tests.support.handshakes import client_context
from tests.support.logged import logged_events
from tests.support.memory_channel import MemoryTransport
from tests.support.memory_edge import take
from tests.support.memory_gateway import MemoryGateway
from tlsgate.errors import Refusal
from tlsgate.gateway.channel import HttpChannel
from tlsgate.gateway.generation import attach_resources
from tlsgate.gateway.raw import RawService
from tlsgate.model.exchange import Connection
from tlsgate.model.tls import TlsFacts, TlsPolicy
from tlsgate.pki.identity import build_identity
from tlsgate.tls.server import TlsServer

CLIENTS = make_authority("clients")
ALICE = CLIENTS.issue("alice")


def test_refusals_are_logged_with_who_and_why_and_without_secrets() -> None:
    """Subject, fingerprint, rule and flag for the auditor; one event per refused request, none for others."""
    gateway = MemoryGateway(classic("strict", 9, "/s/", use_mutual_tls_auth=True, client_certificates=[ALICE.pem]))
    peer = build_identity(CLIENTS.issue("bob").der, ())
    facts = TlsFacts(version=772, cipher="", server_name=None, policy=TlsPolicy(), resumed=False, peer=peer)
    events: list[LogEvent] = []
    globalLogPublisher.addObserver(events.append)
    try:
        answer = gateway.ask(b"GET /s/?key=secret HTTP/1.1\r\nHost: a.test\r\nCookie: secret\r\n\r\n", tls=facts)
    finally:
        globalLogPublisher.removeObserver(events.append)
    assert answer.status == 403
    (event,) = [event for event in events if event.get("event") == "http.refused"]
    assert (event["refusal"], event["flag"], event["api"]) == ("cert.not_allowed", "CMM", "strict")
    assert (event["subject"], event["fingerprint"]) == (peer.subject, peer.fingerprint)
    assert "not listed" in event["detail"]
    assert "secret" not in repr({key: value for key, value in event.items() if key != "log_logger"})
    assert gateway.site.counters["requests"] == 1
    assert gateway.site.counters["refused:cert.not_allowed"] == 1


def test_date_is_rendered_once_per_second() -> None:
    gateway = MemoryGateway()
    assert gateway.site.date() is gateway.site.date()
    assert gateway.site.date().endswith(b"GMT")


def test_forwarding_headers_count_only_from_trusted_proxies() -> None:
    """Reference 9.5, BETTER line."""
    seen: list[str] = []
    for trusted in ([], ["192.0.2.0/24"]):
        gateway = MemoryGateway(tlsgate={"trusted_proxies": trusted})
        gateway.site.access_log = lambda request: seen.append(request.client_address)
        gateway.ask(b"GET /x HTTP/1.1\r\nHost: a\r\nX-Real-IP: 198.51.100.9\r\n\r\n")
    assert seen == ["192.0.2.7", "198.51.100.9"]


def test_what_cannot_be_read_is_answered_in_the_gateways_form() -> None:
    gateway = MemoryGateway()
    status, headers, body = gateway.site.render_wire_refusal(Refusal("wire.head_too_large"), b"text/xml")
    assert status == 431
    assert b"<error>" in body
    assert (b"Content-Type", b"text/xml") in headers


def test_drain_closes_idle_connections_and_marks_busy_ones() -> None:
    gateway = MemoryGateway(classic("one", 9, "/"))
    _, idle = gateway.connect()
    busy_channel, busy = gateway.connect()
    busy_channel.dataReceived(b"GET / HTTP/1.1\r\n")
    assert gateway.site.connection_count == 2
    gateway.site.drain()
    assert idle.disconnecting and not busy.disconnecting


def test_long_lived_streams_are_judged_by_the_new_generation() -> None:
    """Gone API, demanded certificate, certificate no longer listed: each is a reason to end; anything else is none."""
    api = classic("ws", 9, "/", use_mutual_tls_auth=True, client_certificates=[ALICE.pem])
    gateway = MemoryGateway(api)
    channel, _ = gateway.connect()
    seen = []
    gateway.site.access_log = seen.append
    peer = build_identity(ALICE.der, ())
    channel.connection.tls = TlsFacts(version=772, cipher="", server_name=None, policy=TlsPolicy(), resumed=False, peer=peer)
    request = type("Request", (), {"api": gateway.generation.apis["ws"].api, "connection": channel.connection, "ignored": False})()
    assert gateway.site.judge_again(request) is None
    other = MemoryGateway({**api, "client_certificates": [CLIENTS.issue("bob").pem]})
    gateway.site.generation = other.generation
    assert "not listed" in (gateway.site.judge_again(request) or "")
    gateway.site.generation = MemoryGateway(classic("ws", 9, "/")).generation
    assert gateway.site.judge_again(request) is None
    gateway.site.generation = MemoryGateway().generation
    assert "gone" in (gateway.site.judge_again(request) or "")


def test_a_reload_swaps_one_reference() -> None:
    """The next request sees the new generation, on a kept connection too."""
    gateway = MemoryGateway(classic("one", 9, "/one/"))
    channel, transport = gateway.connect()
    channel.dataReceived(b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n")
    assert transport.value().startswith(b"HTTP/1.1 404")
    other = MemoryGateway(
        classic("two", 9, "/nowhere", version={"extended_paths": {}}, use_mutual_tls_auth=True, client_certificates=["x"])
    )
    attach_resources(other.generation, gateway.site)
    gateway.site.generation = other.generation
    transport.clear()
    channel.dataReceived(b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n")
    assert transport.value().startswith(b"HTTP/1.1 403")
    gateway.site.configure(msgspec.structs.replace(gateway.config, close_connections=True))
    transport.clear()
    channel.dataReceived(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
    assert b"Connection: close" in transport.value()


def secure(folder: Path, *apis: dict[str, Any]) -> MemoryGateway:
    """A gateway with TLS on its main listener."""
    (folder / "server.pem").write_text(make_authority("servers").issue("s", names=["a.test"], usages=SERVER).full_pem)
    http = {"use_ssl": True, "ssl_certificates": [str(folder / "server.pem")]}
    return MemoryGateway(*apis, http_server_options=http, control_api_port=7000, enable_custom_domains=True, disable_ports_whitelist=True)


def shake(gateway: MemoryGateway, certificate: Issued | None = None, *, port: int = 8080) -> tuple[TlsServer, MemoryTransport, Any]:
    """A TLS client of the site, its handshake done as far as it goes."""
    server, transport = TlsServer(gateway.site, Connection("c", "192.0.2.9", 1, port, True)), MemoryTransport()
    server.makeConnection(transport)
    client = SSL.Connection(client_context(issued=certificate), None)
    client.set_connect_state()
    client.set_tlsext_host_name(b"a.test")
    for _ in range(6):
        try:
            client.do_handshake()
        except SSL.Error:
            pass
        data = take(client)
        if data:
            server.dataReceived(data)
        if transport.value():
            client.bio_write(transport.value())
            transport.clear()
    return server, transport, client


def test_a_tls_client_gets_http_over_its_connection(tmp_path: Path) -> None:
    """Counted as one connection from its first byte to its end; its channel has the facts."""
    gateway = secure(tmp_path, classic("one", 9, "/", use_mutual_tls_auth=True, client_certificates=[ALICE.pem]))
    server, _, client = shake(gateway, ALICE)
    assert isinstance(server.application, HttpChannel)
    assert gateway.site.connection_count == 1
    assert gateway.site.counters["handshakes"] == 1
    assert server.peer_connection.tls is not None
    assert server.peer_connection.tls.peer is not None
    server.connectionLost(Failure(ConnectionDone()))
    assert gateway.site.connection_count == 0
    assert client is not None


def test_a_refused_handshake_is_logged_with_its_certificate(tmp_path: Path) -> None:
    """Who, where, why; the connection counts until it is gone."""
    gateway = secure(tmp_path, classic("one", 9, "/", domain="a.test", use_mutual_tls_auth=True, client_certificates=[ALICE.pem]))
    stranger = make_authority("other").issue("stranger")
    with logged_events() as events:
        server, _, _ = shake(gateway, stranger)
    (event,) = [event for event in events if event.get("event") == "tls.handshake_refused"]
    assert (event["peer"], event["port"], event["sni"]) == ("192.0.2.9", 8080, "a.test")
    assert event["fingerprint"] == stranger.fingerprint
    assert gateway.site.counters["handshakes_refused"] == 1
    assert gateway.site.connection_count == 1
    server.connectionLost(Failure(ConnectionDone()))
    assert gateway.site.connection_count == 0


def test_a_raw_service_is_found_by_its_policy(tmp_path: Path) -> None:
    """On a port of its own."""
    gateway = secure(tmp_path, classic("raw", "tcp://127.0.0.1:9", protocol="tls", listen_port=7001))
    built = gateway.site.build_application(
        TlsServer(gateway.site, Connection("c", "192.0.2.9", 1, 7001, True)),
        TlsFacts(version=772, cipher="", server_name=None, policy=TlsPolicy(scope="raw:raw"), resumed=False, peer=None),
    )
    assert isinstance(built, RawService)


def test_names_have_the_policy_of_the_moment(tmp_path: Path) -> None:
    """Of the present generation; a port that is gone has none."""
    gateway = secure(tmp_path, classic("one", 9, "/"))
    assert gateway.site.policy_of(1, "a.test") is None
    assert gateway.site.choose(1, "a.test") is None
    chosen = gateway.site.choose(8080, "a.test")
    assert chosen is not None
    assert chosen.policy == gateway.site.policy_of(8080, "a.test")


def test_the_oldest_handshake_gives_way_at_the_limit(tmp_path: Path) -> None:
    """Silent sockets cannot hold all places; a handshake that began just now is no such socket."""
    gateway = secure(tmp_path, classic("one", 9, "/"))
    site = gateway.site
    site.configure(site_config(gateway, max_handshakes=2))
    servers = []
    for _ in range(2):
        server, transport = TlsServer(site, Connection("c", "192.0.2.9", 1, 8080, True)), MemoryTransport()
        server.makeConnection(transport)
        servers.append((server, transport))
    late, late_transport = TlsServer(site, Connection("c", "192.0.2.9", 1, 8080, True)), MemoryTransport()
    late.makeConnection(late_transport)
    assert late_transport.disconnected
    assert site.counters["handshakes_over_limit"] == 1
    gateway.reactor.pump([0.1] * 90)
    last, last_transport = TlsServer(site, Connection("c", "192.0.2.9", 1, 8080, True)), MemoryTransport()
    last.makeConnection(last_transport)
    assert servers[0][1].disconnected
    assert not servers[1][1].disconnected
    assert not last_transport.disconnected


def site_config(gateway: MemoryGateway, **limits: Any) -> Any:
    """The configuration with other limits."""
    own = gateway.config.own
    return msgspec.structs.replace(gateway.config, own=msgspec.structs.replace(own, limits=msgspec.structs.replace(own.limits, **limits)))


def test_draining_and_cutting_reach_every_connection(tmp_path: Path) -> None:
    """Handshakes under way are cut at once, applications are told; whatever is left is cut at the end."""
    gateway = secure(tmp_path, classic("one", 9, "/"))
    calls: list[str] = []

    class Application:
        def recheck(self) -> None:
            calls.append("recheck")

        def drain(self) -> None:
            calls.append("drain")

        def abort(self, detail: str) -> None:
            calls.append(detail)

    application = Application()
    gateway.site.adopt(application)
    server, transport = TlsServer(gateway.site, Connection("c", "192.0.2.9", 1, 8080, True)), MemoryTransport()
    server.makeConnection(transport)
    assert gateway.site.connection_count == 2
    gateway.site.recheck()
    gateway.site.drain()
    assert transport.disconnected
    gateway.site.abort_all()
    assert calls == ["recheck", "drain", "shut down"]
    gateway.site.forget(application)
    server.connectionLost(Failure(ConnectionDone()))
    assert gateway.site.connection_count == 0


def test_a_balancer_is_believed_when_it_is_listed_or_nobody_is() -> None:
    """PROXY headers."""
    assert MemoryGateway().site.believes_balancer("198.51.100.1")
    listed = MemoryGateway(tlsgate={"trusted_proxies": ["192.0.2.0/24"]}).site
    assert listed.believes_balancer("192.0.2.1")
    assert not listed.believes_balancer("198.51.100.1")


def test_a_demanded_certificate_ends_a_stream_without_one() -> None:
    """After a reload that made the API strict; an ignored path stays open."""
    api = classic("ws", 9, "/", use_mutual_tls_auth=True, client_certificates=[ALICE.pem])
    gateway = MemoryGateway(api)
    channel, _ = gateway.connect()
    for ignored, wanted in ((False, "its API demands a client certificate after a reload"), (True, None)):
        request: Any = SimpleNamespace(api=gateway.generation.apis["ws"].api, connection=channel.connection, ignored=ignored)
        assert gateway.site.judge_again(request) == wanted


def test_an_unreadable_request_is_logged_and_counted() -> None:
    """Who sent it, and what was wrong; nothing of it."""
    gateway = MemoryGateway()
    channel, transport = gateway.connect()
    with logged_events() as events:
        channel.dataReceived(b"\x00secret\r\n\r\n")
    (event,) = [event for event in events if event.get("event") == "http.unreadable"]
    assert event["refusal"] == "wire.bad_request"
    assert "secret" not in repr(event["reason"])
    assert gateway.site.counters["refused:wire.bad_request"] == 1
    assert transport.half_closed
