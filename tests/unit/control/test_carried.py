"""Tests of `tlsgate.control.carried`: a change goes on when its client is gone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred

from tests.support.control import MemoryControl, rights
from tests.support.keys import begin, run
from tests.support.logged import logged_events
from tests.support.loop import running_loop
from tlsgate.control.calls import Answer, CallFailed, fail
from tlsgate.control.carried import carried, in_thread, parse_aside
from tlsgate.errors import Refusal, StoreUnavailable


def test_a_change_is_carried_through() -> None:
    """The one who asked is cancelled at once; the work ends in its own time, once."""
    gate: Deferred[None] = Deferred()
    done: list[str] = []

    async def change(call: Any) -> Answer:
        await gate
        done.append("changed")
        return Answer(200, {})

    asked, results = begin(carried(change)(None))  # type: ignore[arg-type]
    asked.cancel()
    assert results[0].check(CancelledError) and done == []
    gate.callback(None)
    assert done == ["changed"]


@pytest.mark.parametrize("problem", [fail(400, "no"), StoreUnavailable("away")])
def test_answers_and_faults_come_through(problem: Exception) -> None:
    """As if nothing stood between."""

    async def good(call: Any) -> Answer:
        return Answer(200, "x")

    async def bad(call: Any) -> Answer:
        raise problem

    assert run(carried(good)(None)).body == "x"  # type: ignore[arg-type]
    with pytest.raises((CallFailed, StoreUnavailable)):
        run(carried(bad)(None))  # type: ignore[arg-type]


@pytest.mark.parametrize(("problem", "logged"), [(ValueError("ours"), 1), (fail(400, "theirs"), 0), (StoreUnavailable("away"), 0)])
def test_a_fault_nobody_waits_for_is_logged_when_it_is_ours(problem: Exception, logged: int) -> None:
    """What would have been an answer is nobody's any more."""
    gate: Deferred[None] = Deferred()

    async def change(call: Any) -> Answer:
        await gate
        raise problem

    asked, _ = begin(carried(change)(None))  # type: ignore[arg-type]
    asked.cancel()
    with logged_events() as events:
        gate.callback(None)
    assert sum(event.get("event") == "control.carried_failed" for event in events) == logged


def test_a_client_that_leaves_in_the_middle_revokes_all_the_same() -> None:
    """DELETE, then the connection is gone before the store has answered: the key is gone, and the others are told."""
    control = MemoryControl()
    key = control.call("POST", "/tyk/keys/the-key", {"org_id": "org", "access_rights": rights()}).key
    told: list[tuple[str, str]] = []
    control.state.store.subscribe(lambda topic, payload: told.append((topic, payload)))
    gate: Deferred[None] = Deferred()
    delete = control.state.store.delete

    async def slow(*names: str) -> int:
        await gate
        return await delete(*names)

    control.state.store.delete = slow  # type: ignore[method-assign]
    channel, _ = control.gateway.connect()
    secret = control.gateway.config.control.secret
    channel.dataReceived(f"DELETE /tyk/keys/{key} HTTP/1.1\r\nHost: a\r\nX-Tyk-Authorization: {secret}\r\n\r\n".encode())
    from twisted.internet.error import ConnectionLost
    from twisted.python.failure import Failure

    control.gateway.reactor.advance(0)
    channel.connectionLost(Failure(ConnectionLost()))
    gate.callback(None)
    assert told == [("key", key)]
    assert control.call("GET", f"/tyk/keys/{key}").status == 404


def test_blocking_work_leaves_the_reactor_free() -> None:
    """It runs in another thread, and its faults come back."""
    import threading

    with running_loop() as loop:
        assert loop.run(in_thread(loop.reactor, threading.get_ident)) != threading.get_ident()
        with pytest.raises(ZeroDivisionError):
            loop.run(in_thread(loop.reactor, divmod, 1, 0))


def test_a_long_body_is_parsed_aside_and_one_that_is_too_long_not_at_all() -> None:
    """A short one needs no thread."""
    aside: list[int] = []

    async def thread(parse: Any, call: Any, *arguments: Any) -> Any:
        aside.append(len(call.body))
        return parse(call, *arguments)

    def parse(call: Any, more: int) -> int:
        return len(call.body) + more

    def ask(size: int, most: int = 0) -> int:
        made: int = run(parse_aside(thread, parse, SimpleNamespace(body=b"x" * size), 1, most=most))  # type: ignore[arg-type]
        return made

    assert ask(100) == 101 and aside == []
    assert ask(1 << 20) == (1 << 20) + 1 and aside == [1 << 20]
    assert ask(2000, most=2000) == 2001
    with pytest.raises(Refusal) as caught:
        ask(2001, most=2000)
    assert caught.value.id == "size.too_large"


@pytest.mark.parametrize("path", ["/tyk/keys", "/tyk/keys/create", "/tyk/keys/preview", "/tyk/org/keys/org", "/tyk/policies"])
def test_sessions_and_policies_of_megabytes_are_refused(path: str) -> None:
    """Each request of such a key would carry it about; 300 KB of rights are fine."""
    control = MemoryControl(policies_={"policy_path": "/nowhere"})
    body = {"id": "p", "org_id": "org", "access_rights": rights(), "meta_data": {"x": ["y" * 100] * 12_000}}
    assert control.call("POST", path, body).status == 413
    body["meta_data"] = {"x": ["y" * 100] * 3_000}
    assert control.call("POST", path, body).status in (200, 500 if path == "/tyk/policies" else 200)
