"""The hub: who is told, and that nobody is ever held up."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock as FakeReactor

from tests.support.apis import FixedClock, make_api, make_config, make_exchange
from tests.support.logged import logged_events
from tlsgate.config.model import KeySettings
from tlsgate.events.hub import EventHub
from tlsgate.events.table import build_event_table
from tlsgate.events.webhook import Hook
from tlsgate.model.events import EventHandlers, LogHandler, WebhookHandler
from tlsgate.model.exchange import Exchange
from tlsgate.store.memory import MemoryStore

LOG = LogHandler(prefix="p")
HOOK = WebhookHandler(url="http://hook.test/")


class Bench:
    """A hub whose deliveries are kept."""

    def __init__(self, handlers: EventHandlers, gateway: EventHandlers | None = None) -> None:
        clock = FixedClock(1700000000.0)
        self.reactor = FakeReactor()
        self.hub = EventHub(self.reactor, clock, MemoryStore(clock), KeySettings())
        self.api = make_api(org_id="org", event_handlers=handlers)
        self.hub.table = build_event_table(make_config(event_handlers=gateway or {}), [self.api], lambda: None, [])  # type: ignore[arg-type,return-value]
        self.offered: list[tuple[Hook, bytes]] = []
        self.hub.deliveries.offer = lambda hook, body: self.offered.append((hook, body))  # type: ignore[method-assign]

    def request(self) -> Exchange:
        exchange = make_exchange(headers={"Authorization": "secret", "X-A": "1"})
        exchange.api = self.api
        exchange.credential = b"0123456789abcdef"
        return exchange

    def bodies(self) -> list[Mapping[str, Any]]:
        return [json.loads(body) for _, body in self.offered]


def test_an_event_of_a_request_is_told_to_its_api() -> None:
    bench = Bench({"AuthFailure": (LOG, HOOK)})
    with logged_events() as events:
        bench.hub.notify("AuthFailure", bench.request(), {"message": "Auth Failure"})
        bench.hub.notify("KeyExpired", bench.request(), {"message": "x"})
    assert [event["event"] for event in events] == ["events.logged"]
    assert bench.bodies() == [
        {"event": "AuthFailure", "message": "Auth Failure", "path": "/test/", "origin": "192.0.2.1", "key": "****cdef"}
    ]


def test_an_event_without_a_request_names_its_api_or_none() -> None:
    """Smoothing and certificates concern an API, tokens none."""
    bench = Bench({"RateLimitSmoothingUp": (HOOK,)}, {"TokenCreated": (HOOK,)})
    bench.hub.notify("RateLimitSmoothingUp", None, {"api_id": "api", "key": "****1234"})
    bench.hub.notify("TokenCreated", None, {"org": "o", "key": "****5678"})
    bench.hub.notify("RateLimitSmoothingUp", None, {"api_id": "other", "key": "x"})
    assert [(body["event"], body["key"]) for body in bench.bodies()] == [("RateLimitSmoothingUp", "****1234"), ("TokenCreated", "****5678")]


def test_the_request_is_described_only_where_a_template_wants_it(tmp_path: Path) -> None:
    """And then as it was when the event happened."""
    file = tmp_path / "t.json"
    file.write_text('{"request": "{{.Meta.OriginatingRequest}}"}')
    bench = Bench({"AuthFailure": (WebhookHandler(url="http://hook.test/", template_path=str(file)),)})
    exchange = bench.request()
    bench.hub.notify("AuthFailure", exchange, {})
    exchange.headers.clear()
    (body,) = bench.bodies()
    assert base64.b64decode(body["request"]) == b"GET /test/ HTTP/1.1\r\nX-A: 1\r\n\r\n"


def test_it_never_raises() -> None:
    """A request is answered whatever becomes of the event."""
    bench = Bench({"AuthFailure": (HOOK,)})
    broken: Any = object()
    with logged_events() as events:
        bench.hub.notify("AuthFailure", broken, {})
    assert [event["event"] for event in events] == ["events.failed"]


def test_without_handlers_nothing_is_made() -> None:
    """The sender, and all that it imports, comes with the first delivery."""
    bench = Bench({})
    bench.hub.notify("AuthFailure", bench.request(), {})
    assert bench.offered == [] and bench.hub._senders == {} and bench.reactor.getDelayedCalls() == []


def test_a_reload_with_other_cas_makes_another_sender() -> None:
    """The old one's idle connections close."""
    bench = Bench({})
    first = bench.hub._sender()
    assert bench.hub._sender() is first
    table = bench.hub.table

    class Trust:
        key = "other"

    bench.hub.table = type(table)({}, {}, None, Trust(), table.settings)  # type: ignore[arg-type]
    assert bench.hub._sender() is not first
    assert len(bench.hub._senders) == 1
