"""Tests of `tlsgate.gateway.site`."""

from __future__ import annotations

import msgspec
from twisted.logger import LogEvent, globalLogPublisher

from tests.support.certs import make_authority
from tests.support.gateway import classic
from tests.support.memory_gateway import MemoryGateway
from tlsgate.errors import Refusal
from tlsgate.gateway.generation import attach_resources
from tlsgate.model.tls import TlsFacts, TlsPolicy
from tlsgate.pki.identity import build_identity

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
