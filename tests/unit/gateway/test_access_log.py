"""Tests of `tlsgate.gateway.access_log`."""

from __future__ import annotations

from twisted.logger import LogEvent, globalLogPublisher

from tests.support.gateway import classic
from tests.support.memory_gateway import MemoryGateway
from tlsgate.gateway.access_log import AccessLog


def test_one_line_per_finished_request_with_what_an_auditor_asks_for() -> None:
    """Status, API, client, refusal and certificate; nothing of headers or bodies."""
    gateway = MemoryGateway(classic("strict", 9, "/s/", use_mutual_tls_auth=True, client_certificates=["nothing"], org_id="o1"))
    gateway.site.access_log = AccessLog(gateway.site)
    events: list[LogEvent] = []
    globalLogPublisher.addObserver(events.append)
    try:
        gateway.ask(b"GET /s/x?token=secret HTTP/1.1\r\nHost: A.test\r\nAuthorization: Bearer secret\r\n\r\n")
        gateway.ask(b"GET /nowhere HTTP/1.1\r\nHost: A.test\r\n\r\n")
    finally:
        globalLogPublisher.removeObserver(events.append)
    lines = [event for event in events if event.get("event") == "http.access"]
    assert [(line["status"], line["api"], line["refusal"]) for line in lines] == [
        (403, "strict", "tls.not_enabled"),
        (404, "", "route.not_found"),
    ]
    first = lines[0]
    assert (first["method"], first["host"], first["path"], first["peer"], first["org"]) == ("GET", "a.test", "/s/x", "192.0.2.7", "o1")
    assert first["elapsed_ms"] >= 0
    assert "secret" not in repr(lines)
