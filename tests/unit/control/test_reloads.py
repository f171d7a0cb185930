"""Tests of `tlsgate.control.reloads` (keys reference, section 11; decisions 4.6)."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from tests.support.logged import logged_events
from tests.support.memory_gateway import MemoryGateway
from tlsgate.control.calls import Answer, Call
from tlsgate.control.endpoints import ControlTools
from tlsgate.control.reloads import ReloadBell, Reloads
from tlsgate.errors import StoreUnavailable


class Desk:
    """A gateway that counts its reloads."""

    def __init__(self, interval: int = 1, *, own_bell: bool = False) -> None:
        self.gateway = MemoryGateway(reload_interval=interval)
        self.count = 0
        self.fault = ""
        self.bell = ReloadBell(self.gateway.reactor, self.reload, self.gateway.config.control.reload_interval_s)
        self.gateway.state.store.subscribe(self.bell.on_change)
        gateway = self.gateway
        tools = ControlTools(gateway.config, gateway.site, gateway.state, gateway.clock, self.reload, None if own_bell else self.bell)
        self.endpoints = {endpoint.path: endpoint.handle for endpoint in Reloads(tools).endpoints()}

    async def reload(self) -> str:
        self.count += 1
        return self.fault

    def ask(self, path: str, **query: str) -> Any:
        answers: list[Answer] = []
        call = Call("GET", {}, query, b"", "", None)  # type: ignore[arg-type]
        done = Deferred.fromCoroutine(self.endpoints[path](call))
        done.addCallback(answers.append)
        done.addErrback(answers.append)
        return answers[0]


def test_calls_within_the_interval_are_one_reload() -> None:
    """Answered at once; the work follows."""
    desk = Desk(interval=3)
    for _ in range(5):
        assert desk.ask("/tyk/reload") == Answer(200, {"status": "ok", "message": ""})
    assert desk.count == 0
    desk.gateway.reactor.advance(2.9)
    assert desk.count == 0
    desk.gateway.reactor.advance(0.1)
    assert desk.count == 1
    desk.ask("/tyk/reload")
    desk.gateway.reactor.advance(3)
    assert desk.count == 2


@pytest.mark.parametrize("fault", ["", "apps/bad.json: not valid JSON"])
def test_block_waits_and_says_what_went_wrong(fault: str) -> None:
    """200 also then (decisions 4.6)."""
    desk = Desk()
    desk.fault = fault
    assert desk.ask("/tyk/reload", block="true") == Answer(200, {"status": "ok", "message": fault})
    assert desk.count == 1


@pytest.mark.parametrize("own_bell", [False, True])
def test_a_group_reload_goes_through_the_store(own_bell: bool) -> None:
    """Every node that hears it reloads, this one too, once."""
    desk = Desk(own_bell=own_bell)
    heard: list[tuple[str, str]] = []
    desk.gateway.state.store.subscribe(lambda topic, payload: heard.append((topic, payload)))
    assert desk.ask("/tyk/reload/group").status == 200
    assert heard == [("reload", "")]
    desk.gateway.reactor.advance(1)
    assert desk.count >= 1


def test_with_the_store_away_the_caller_learns_that_others_may_not_have_heard() -> None:
    """Decisions 3.5: 503; this node reloads all the same."""
    desk = Desk()

    async def away(topic: str, payload: str) -> None:
        desk.bell.on_change(topic, payload)
        raise StoreUnavailable("no answer in time")

    desk.gateway.state.store.publish = away  # type: ignore[method-assign]
    desk.ask("/tyk/reload/group").trap(StoreUnavailable)
    desk.gateway.reactor.advance(1)
    assert desk.count == 1


def test_other_changes_and_gaps_ring_nothing() -> None:
    """A connection that broke makes nothing live that somebody is still at work on."""
    desk = Desk()
    for topic in ("gap", "key", "api", "policy"):
        desk.bell.on_change(topic, "")
    desk.gateway.reactor.advance(10)
    assert desk.count == 0


def test_a_bell_can_be_stopped_and_outlives_a_fault() -> None:
    reactor: Any = Clock()
    calls: list[str] = []

    async def fails() -> str:
        calls.append("called")
        await succeed(None)
        raise RuntimeError("no")

    bell = ReloadBell(reactor, fails, 1.0)
    bell.ring()
    bell.stop()
    bell.stop()
    reactor.advance(2)
    assert calls == []
    bell.ring()
    with logged_events() as events:
        reactor.advance(1)
    assert [event["event"] for event in events if event.get("event")] == ["reload.failed"]
    bell.ring()
    with logged_events():
        reactor.advance(1)
    assert len(calls) == 2
