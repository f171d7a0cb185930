"""Tests of `tlsgate.gateway.streams`."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.apis import FixedClock, make_api, make_connection, make_exchange, make_peer, make_tls
from tests.support.gateway import classic
from tests.support.memory_gateway import MemoryGateway
from tlsgate.auth.sessions import KeyView
from tlsgate.gateway.streams import Streams
from tlsgate.model.session import Session
from tlsgate.model.tls import PeerIdentity

NOW = 1_000_000.0


class Channel:
    """Notes why a stream was cut."""

    def __init__(self) -> None:
        self.cut: list[str] = []

    def cut_upgraded(self, request: Any, reason: str) -> None:
        self.cut.append(reason)


def opened_by(*views: KeyView, peer: PeerIdentity | None = None, token_ends: float = 0.0) -> Any:
    """A request that keys, a certificate and a token have let in."""
    request: Any = make_exchange(connection=make_connection(tls=make_tls(peer)))
    fields = {"key": views[0] if views else None, "others": views[1:], "token_ends": token_ends, "connection": request.connection}
    return type("Request", (), {**fields, "channel": Channel(), "api": None})()


def until(expires: float) -> KeyView:
    return KeyView("k", "k", Session(expires=int(expires)), "")


class World:
    """Streams over a clock; what is judged, and what is said of exchanges."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = FixedClock(NOW)
        self.gateway = MemoryGateway(clock=self.clock)
        self.streams: Streams = self.gateway.site.streams
        self.judged: list[Any] = []
        self.verdict: str | None = None

        async def judge(request: Any) -> None:
            self.judged.append(request)

        monkeypatch.setattr(self.streams, "_judge_key", judge)
        monkeypatch.setattr(self.gateway.site, "judge_again", lambda request: self.verdict)
        monkeypatch.setattr(self.gateway.site, "finished", lambda request: None)

    def pass_time(self, seconds: float) -> None:
        self.clock.time += seconds
        self.gateway.reactor.advance(seconds)


def test_a_stream_ends_with_its_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """At its ``exp``, whatever the session says; one that has ended before that is left alone."""
    world = World(monkeypatch)
    request, gone = opened_by(until(NOW + 99), token_ends=NOW + 10), opened_by(token_ends=NOW + 10)
    for each in (request, gone):
        world.streams.opened(each)
    gone.on_end(gone)
    world.pass_time(9.9)
    assert request.channel.cut == []
    world.pass_time(0.7)
    assert request.channel.cut == ["its token has ended"] and gone.channel.cut == [] and world.judged == []


def test_a_stream_is_judged_when_a_key_of_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of several, then the next; one whose end was moved is judged at the old end, and again at the new one."""
    world = World(monkeypatch)
    request = opened_by(until(NOW + 30), until(NOW + 10), until(0))
    world.streams.opened(request)
    world.pass_time(10.6)
    assert world.judged == [request]
    request.key = until(NOW + 50)
    world.pass_time(20)
    assert world.judged == [request] * 2
    world.pass_time(20)
    assert world.judged == [request] * 3
    world.pass_time(1000)
    assert world.judged == [request] * 3 and request.channel.cut == []


def test_a_stream_ends_by_what_its_key_says_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator gave an endless key an end, or another one, while the stream went on; nothing is kept of streams that are over."""
    world = World(monkeypatch)
    request, gone = opened_by(until(0)), opened_by(until(0))
    for each in (request, gone):
        world.streams.opened(each)
    for seconds in (60, 40):
        request.key = gone.key = until(NOW + seconds)
        world.streams.key_changed("key", "k")
    assert world.judged.count(request) == 2
    gone.on_end(gone)
    world.pass_time(40.6)
    assert world.judged.count(request) == 3 and world.judged.count(gone) == 2
    request.on_end(request)
    assert world.gateway.reactor.getDelayedCalls() == [] and world.streams._looked == world.streams._due == {}


def test_what_ended_before_the_stream_began_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token or a key that was good when the request came, and not any more when the upstream had made up its mind."""
    world = World(monkeypatch)
    by_token, by_key = opened_by(token_ends=NOW - 1), opened_by(until(NOW - 1))
    for each in (by_token, by_key):
        world.streams.opened(each)
    world.pass_time(0)
    assert by_token.channel.cut == ["its token has ended"] and world.judged == [by_key]
    world.pass_time(100)
    assert world.judged == [by_key]


def test_a_stream_is_judged_when_its_clients_certificate_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a certificate matters the list says so; where it does not, nothing happens."""
    world = World(monkeypatch)
    requests = [opened_by(peer=make_peer(not_after=NOW + 10)) for _ in range(2)]
    for request in requests:
        world.streams.opened(request)
    requests[1].on_end(requests[1])
    world.verdict = "after a reload: expired"
    world.pass_time(10.6)
    assert [request.channel.cut for request in requests] == [["after a reload: expired"], []]
    world.verdict = None
    kept = opened_by(peer=make_peer(not_after=NOW + 20))
    world.streams.opened(kept)
    world.pass_time(100)
    assert kept.channel.cut == []


def test_a_stream_ends_with_its_key_whatever_the_key_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """The change feed tells lists of names, and a name may have commas itself."""
    world = World(monkeypatch)
    streams, judged = world.streams, world.judged
    streams._by_key = {"orga,b": {"commas"}, "orgc": {"plain"}, "other": {"other"}}
    streams.key_changed("key", "orga,b")
    assert judged == ["commas"]
    streams.key_changed("key", "orgc,orgd")
    assert judged == ["commas", "plain"]
    streams.key_changed("org", "other")
    streams.key_changed("gap", "")
    assert sorted(judged[2:]) == ["commas", "other", "plain"]


def test_streams_of_a_certificate_are_judged_when_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of other clients, and those without a certificate, are not."""
    world = World(monkeypatch)
    streams, judged = world.streams, world.judged
    streams.key_changed("certificate", "org" + "ab" * 32)
    facts = [make_tls(make_peer("ab" * 32)), make_tls(make_peer("cd" * 32)), make_tls(None), None]
    requests: list[Any] = [make_exchange(connection=make_connection(tls=tls)) for tls in facts]
    streams._by_key = {"one": set(requests[:2]), "two": set(requests[2:])}
    streams.key_changed("certificate", "org" + "ab" * 32)
    assert judged == requests[:1]


def test_a_stream_whose_key_changed_before_it_began_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look-up and the upstream's 101 a key may be revoked, of which no stream heard."""
    world = World(monkeypatch)
    streams, judged = world.streams, world.judged
    for stale, others in ((False, ()), (True, ()), (False, (True,))):
        views = [KeyView("k", "k", Session(), "") for _ in range(1 + len(others))]
        for view, is_stale in zip(views, (stale, *others), strict=True):
            view.stale = is_stale
        streams.opened(opened_by(*views))
    assert len(judged) == 2


def test_a_stream_whose_api_changed_before_it_began_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reload looks at the streams that are open: one that the upstream opens after it is looked at then."""
    world = World(monkeypatch)
    world.gateway = MemoryGateway(classic("one", 9, "/one/"), clock=world.clock)
    site = world.gateway.site
    monkeypatch.setattr(site.streams, "_judge_key", world.streams._judge_key)
    compiled = site.generation.apis["one"]
    for route, api, cut, judged in (
        (compiled, compiled.api, [], 0),
        (object(), compiled.api, [], 1),
        (object(), make_api(), ["its API is gone after a reload"], 1),
    ):
        request = opened_by()
        request.route, request.api = route, api
        site.streams.opened(request)
        assert (request.channel.cut, len(world.judged)) == (cut, judged)


def test_a_stream_hears_of_each_key_that_let_it_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for each change, until it ends."""
    world = World(monkeypatch)
    streams, judged = world.streams, world.judged
    views = [KeyView(name, name, Session(), "") for name in ("counts", "other", "other")]
    request = opened_by(*views)
    streams.opened(request)
    for name in ("counts", "other", "else"):
        streams.key_changed("key", name)
    assert judged == [request] * 2
    streams.key_changed("key", "counts,other")
    streams.key_changed("gap", "")
    assert judged == [request] * 4
    request.on_end(request)
    streams.key_changed("gap", "")
    assert len(judged) == 4 and streams._by_key == {}
