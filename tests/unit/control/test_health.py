"""Tests of `tlsgate.control.health` (API definitions reference, section 13)."""

from __future__ import annotations

import json

import msgspec
import pytest

from tests.support.gateway import classic
from tests.support.memory_gateway import MemoryGateway
from tlsgate import __version__
from tlsgate.control.routes import ControlRoutes


@pytest.fixture
def gateway() -> MemoryGateway:
    return MemoryGateway(classic("one", 9, "/one/"))


@pytest.mark.parametrize(("path", "description"), [(b"/hello", "Tyk GW"), (b"/ready", "Tyk GW Ready")])
def test_health_answers_without_a_secret(gateway: MemoryGateway, path: bytes, description: str) -> None:
    """200 with Tyk's form, on any host."""
    answer = gateway.ask(b"GET %b HTTP/1.1\r\nHost: whatever.test\r\n\r\n" % path)
    body = json.loads(answer.body)
    assert answer.status == 200
    assert answer.header(b"content-type") == b"application/json"
    assert answer.body.endswith(b"}\n")
    assert (body["status"], body["version"], body["description"]) == ("pass", __version__, description)
    assert body["details"]["definitions"]["time"].endswith("Z")


def test_only_get_and_head_are_taken(gateway: MemoryGateway) -> None:
    """405 with Tyk's body; HEAD has none."""
    answer = gateway.ask(b"POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
    assert (answer.status, json.loads(answer.body)) == (405, {"status": "error", "message": "Method Not Allowed"})


def test_readiness_ends_with_the_drain(gateway: MemoryGateway) -> None:
    """503 `Gateway is shutting down`, while /hello still answers."""
    gateway.site.draining = True
    ready = gateway.ask(b"GET /ready HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (ready.status, json.loads(ready.body)["message"]) == (503, "Gateway is shutting down")
    assert gateway.ask(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n").status == 200


def test_problems_of_the_load_show() -> None:
    """A definition that was refused makes the health `warn`, not less available."""
    gateway = MemoryGateway(classic("one", 9, "/one/"), classic("two", 9, "/two/", use_keyless=False, use_oauth2=True))
    body = json.loads(gateway.ask(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n").body)
    assert body["status"] == "warn"
    assert "problem" in body["details"]["definitions"]["output"]


@pytest.mark.parametrize(
    ("kind", "reason"), [("memory", "Store not available"), ("redis", "Redis connection not available"), ("sqlite", "Store not available")]
)
def test_the_store_is_shown_and_needed_to_be_ready(gateway: MemoryGateway, kind: str, reason: str) -> None:
    """Redis under Tyk's name, the embedded store under its own; /hello answers 200 in any case."""
    config = msgspec.structs.replace(gateway.config, storage=msgspec.structs.replace(gateway.config.storage, type=kind))
    gateway.site.control = ControlRoutes(gateway.site, config, store=gateway.state.store)
    details = json.loads(gateway.ask(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n").body)["details"]
    assert details[kind]["status"] == "pass"
    assert details[kind]["componentType"] == "datastore"
    assert gateway.ask(b"GET /ready HTTP/1.1\r\nHost: a\r\n\r\n").status == 200
    gateway.state.store.available = False
    hello = gateway.ask(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
    body = json.loads(hello.body)
    assert (hello.status, body["status"], body["details"][kind]["status"]) == (200, "fail", "fail")
    assert body["details"][kind]["output"]
    ready = gateway.ask(b"GET /ready HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (ready.status, json.loads(ready.body)) == (503, {"status": "error", "message": reason})


def test_a_load_that_left_nothing_is_not_ready() -> None:
    """Everything was refused; one good API, or none that was asked for, is ready."""
    bad = classic("two", 9, "/two/", use_keyless=False, use_oauth2=True)
    ready = MemoryGateway(bad).ask(b"GET /ready HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (ready.status, json.loads(ready.body)["message"]) == (503, "A successful API reload did not happen")
    assert MemoryGateway(bad, classic("one", 9, "/one/")).ask(b"GET /ready HTTP/1.1\r\nHost: a\r\n\r\n").status == 200
    assert MemoryGateway().ask(b"GET /ready HTTP/1.1\r\nHost: a\r\n\r\n").status == 200
