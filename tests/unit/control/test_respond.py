"""Tests of `tlsgate.control.respond`."""

from __future__ import annotations

import json

from tests.support.memory_gateway import MemoryGateway
from tlsgate.control.respond import ControlRefusal
from tlsgate.errors import Refusal


def test_refusals_have_the_control_form() -> None:
    """`{"status": "error", "message": ...}` with placeholders filled, and one record of the request."""
    gateway = MemoryGateway()
    refusal = ControlRefusal(Refusal("cert.not_allowed", "why", fields={"fingerprint": "ab12"}), gateway.site)
    gateway.site.control = type("Routes", (), {"find": lambda self, port, request: refusal})()
    answer = gateway.ask(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
    assert answer.status == 403
    assert json.loads(answer.body) == {"status": "error", "message": "Certificate with SHA256 ab12 not allowed"}
    assert gateway.site.counters["refused:cert.not_allowed"] == 1
