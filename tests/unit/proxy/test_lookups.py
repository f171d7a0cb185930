"""Tests of `tlsgate.proxy.lookups`."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from tlsgate.errors import UpstreamError
from tlsgate.proxy import lookups
from tlsgate.proxy.lookups import Lookups, is_address


class World:
    """Lookups whose threads are the test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock: Any = Clock()
        self.clock.addSystemEventTrigger = lambda *arguments: None
        self.asked: list[tuple[str, Deferred[list[str]]]] = []
        monkeypatch.setattr(lookups, "deferToThreadPool", self._defer)
        self.lookups = Lookups(self.clock, self.clock.seconds)

    def _defer(self, reactor: Any, pool: Any, function: Any, host: str) -> Deferred[list[str]]:
        answer: Deferred[list[str]] = Deferred()
        self.asked.append((host, answer))
        return answer

    def find(self, host: str, timeout_s: float = 5.0) -> tuple[Deferred[Any], list[Any]]:
        work: Deferred[Any] = Deferred.fromCoroutine(self.lookups.find(host, timeout_s))
        outcome: list[Any] = []
        work.addCallbacks(outcome.append, lambda failure: outcome.append(failure.value))
        return work, outcome


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Any:
    made = World(monkeypatch)
    yield made
    made.lookups.stop()


@pytest.mark.parametrize(("host", "literal"), [("127.0.0.1", True), ("::1", True), ("1.test", False), ("a.test", False), ("1:2", False)])
def test_addresses_need_no_look_up(world: World, host: str, literal: bool) -> None:
    assert is_address(host) == literal
    _, outcome = world.find(host)
    assert outcome == ([[host]] if literal else [])
    assert len(world.asked) == (0 if literal else 1)


def test_one_look_up_serves_all_who_ask_meanwhile_and_soon_after(world: World) -> None:
    outcomes = [world.find("a.test")[1] for _ in range(50)]
    assert len(world.asked) == 1
    world.asked[0][1].callback(["192.0.2.1"])
    assert outcomes == [[["192.0.2.1"]]] * 50
    assert world.find("a.test")[1] == [["192.0.2.1"]]
    world.clock.advance(6)
    world.find("a.test")
    assert len(world.asked) == 2


def test_a_failure_is_told_to_all_and_not_kept(world: World) -> None:
    outcomes = [world.find("a.test")[1] for _ in range(3)]
    world.asked[0][1].errback(socket.gaierror("unknown"))
    assert all(isinstance(outcome[0], UpstreamError) and outcome[0].refusal == "upstream.lookup" for outcome in outcomes)
    world.find("a.test")
    assert len(world.asked) == 2


def test_a_slow_resolver_holds_each_caller_for_its_own_time_only(world: World) -> None:
    _, quick = world.find("a.test", 1.0)
    _, patient = world.find("a.test", 10.0)
    world.clock.advance(2)
    assert isinstance(quick[0], UpstreamError) and not patient
    world.asked[0][1].callback(["192.0.2.1"])
    assert patient == [["192.0.2.1"]]


def test_cancelled_callers_leave_no_further_look_up_behind(world: World) -> None:
    for _ in range(100):
        work, outcome = world.find("a.test")
        work.cancel()
        assert isinstance(outcome[0], CancelledError)
    assert len(world.asked) == 1
    world.asked[0][1].callback([])


def test_names_under_way_are_bounded(world: World) -> None:
    for number in range(256):
        world.find(f"{number}x.test")
    _, outcome = world.find("one-more.test")
    assert isinstance(outcome[0], UpstreamError)
    for host, answer in world.asked:
        answer.callback([host])
    world.find("one-more.test")
    world.asked[-1][1].callback(["192.0.2.9"])


def test_the_system_is_asked_for_both_families(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each address once, in order; none is an error."""
    found = [(2, 1, 6, "", ("192.0.2.1", 0)), (10, 1, 6, "", ("2001:db8::1", 0, 0, 0)), (2, 1, 6, "", ("192.0.2.1", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments: found)
    assert lookups._look_up("a.test") == ["192.0.2.1", "2001:db8::1"]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments: [])
    with pytest.raises(OSError, match="no address"):
        lookups._look_up("a.test")
