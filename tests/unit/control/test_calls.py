"""Tests of `tlsgate.control.calls`: bodies, answers, streamed lists."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from tests.support.gateway import classic
from tests.support.logged import logged_events
from tests.support.memory_channel import Answer as Answered
from tests.support.memory_channel import parse_answer
from tests.support.memory_gateway import MemoryGateway
from tlsgate.control.calls import Answer, Call, Endpoint, error, fail, read_query, success
from tlsgate.control.routes import ControlRoutes
from tlsgate.errors import StoreUnavailable

SECRET = "a-secret-of-32-characters-0123456"


class Calls:
    """A gateway with one endpoint, and what it was called with."""

    def __init__(self, handle: Any, method: str = "POST", **config: Any) -> None:
        self.gateway = MemoryGateway(classic("one", 9, "/one/"), secret=SECRET, **config)
        self.gateway.site.control = ControlRoutes(
            self.gateway.site, self.gateway.config, [Endpoint(method, "/tyk/things/{id}", self._note(handle))]
        )
        self.calls: list[Call] = []

    def _note(self, handle: Any) -> Any:
        async def noting(call: Call) -> Answer:
            self.calls.append(call)
            answer: Answer = await handle(call)
            return answer

        return noting

    def send(self, target: str, body: bytes = b"", method: str = "POST") -> Answered:
        head = f"{method} {target} HTTP/1.1\r\nHost: a\r\nX-Tyk-Authorization: {SECRET}\r\nContent-Length: {len(body)}\r\n\r\n"
        channel, transport = self.gateway.connect()
        channel.dataReceived(head.encode())
        if body:
            channel.dataReceived(body)
        self.gateway.reactor.advance(0)
        return parse_answer(transport.value())


async def echo(call: Call) -> Answer:
    return Answer(200, {"id": call.names["id"], "query": dict(call.query), "size": len(call.body)})


def test_a_call_carries_names_query_and_body() -> None:
    """``%2F`` in a name is data (decisions 2.11); the first of two parameters counts."""
    calls = Calls(echo)
    answer = calls.send("/tyk/things/a%2Fb?x=1&x=2&y=%C3%A9", b"hello")
    assert answer.status == 200
    assert json.loads(answer.body) == {"id": "a/b", "query": {"x": "1", "y": "é"}, "size": 5}
    assert answer.body.endswith(b"\n")
    assert (b"content-type", b"application/json") in answer.headers
    assert calls.calls[0].method == "POST"


def test_wrong_methods_and_paths() -> None:
    """Keys reference, section 11: 405 on a known path, 404 as plain text on an unknown one."""
    calls = Calls(echo)
    answer = calls.send("/tyk/things/a", method="DELETE")
    assert (answer.status, json.loads(answer.body)) == (405, {"status": "error", "message": "Method not supported"})
    assert calls.send("/tyk/nothing").status == 404
    assert not calls.calls


def test_a_body_that_is_too_long_is_refused() -> None:
    calls = Calls(echo, tlsgate={"limits": {"control_body_bytes": 10}})
    answer = calls.send("/tyk/things/a", b"x" * 11)
    assert (answer.status, json.loads(answer.body)["message"]) == (413, "Request Entity Too Large")
    assert not calls.calls
    assert calls.send("/tyk/things/a", b"x" * 10).status == 200


def test_a_handler_fails_in_the_form_of_the_api() -> None:
    async def handle(call: Call) -> Answer:
        raise fail(404, "Key not found")

    answer = Calls(handle).send("/tyk/things/a")
    assert (answer.status, json.loads(answer.body)) == (404, {"status": "error", "message": "Key not found"})


def test_the_store_away_is_503() -> None:
    """Decisions 3.5."""

    async def handle(call: Call) -> Answer:
        raise StoreUnavailable("no answer in time")

    assert Calls(handle).send("/tyk/things/a").status == 503


def test_an_unexpected_error_is_500_logged_and_tells_nothing() -> None:
    async def handle(call: Call) -> Answer:
        raise RuntimeError("secret detail")

    with logged_events() as events:
        answer = Calls(handle).send("/tyk/things/a")
    assert answer.status == 500
    assert b"secret detail" not in answer.body
    assert [event["event"] for event in events if event.get("event") == "control.error"] == ["control.error"]
    [failure.trap(RuntimeError) for failure in [event["log_failure"] for event in events if "log_failure" in event]]


def test_a_client_that_goes_cancels_the_call() -> None:
    waiting: Deferred[None] = Deferred()

    async def handle(call: Call) -> Answer:
        await waiting
        raise AssertionError("went on")

    calls = Calls(handle)
    channel, _ = calls.gateway.connect()
    channel.dataReceived(f"POST /tyk/things/a HTTP/1.1\r\nHost: a\r\nX-Tyk-Authorization: {SECRET}\r\nContent-Length: 0\r\n\r\n".encode())
    calls.gateway.reactor.advance(0)
    assert calls.calls
    channel.connectionLost(Failure(ConnectionLost()))
    assert waiting.called


def test_a_list_streams_at_the_pace_of_its_reader() -> None:
    """Nothing is asked of the store while the client does not read."""
    asked = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal asked
        for number in range(5):
            asked += 1
            yield b"%d" % number

    async def handle(call: Call) -> Answer:
        return Answer(200, pieces())

    calls = Calls(handle)
    channel, transport = calls.gateway.connect()
    transport.queued_bytes = 100_000
    original = transport.registerProducer

    def register(producer: Any, streaming: bool) -> None:
        original(producer, streaming)
        producer.pauseProducing()

    transport.registerProducer = register  # type: ignore[method-assign]
    channel.dataReceived(f"POST /tyk/things/a HTTP/1.1\r\nHost: a\r\nX-Tyk-Authorization: {SECRET}\r\nContent-Length: 0\r\n\r\n".encode())
    calls.gateway.reactor.advance(0)
    assert asked < 5
    transport.fast()
    assert asked == 5
    answer = parse_answer(transport.value())
    assert (answer.status, answer.body, answer.complete) == (200, b"01234", True)


def test_an_empty_list_is_an_answer() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        return
        yield b""

    async def handle(call: Call) -> Answer:
        return Answer(200, pieces(), ((b"Content-Type", b"text/plain"),))

    answer = Calls(handle).send("/tyk/things/a")
    assert (answer.status, answer.body) == (200, b"")
    assert (b"content-type", b"text/plain") in answer.headers


def test_a_list_that_breaks_off_is_no_complete_answer() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"a"
        raise StoreUnavailable("gone")

    async def handle(call: Call) -> Answer:
        return Answer(200, pieces())

    calls = Calls(handle)
    channel, transport = calls.gateway.connect()
    channel.dataReceived(f"POST /tyk/things/a HTTP/1.1\r\nHost: a\r\nX-Tyk-Authorization: {SECRET}\r\nContent-Length: 0\r\n\r\n".encode())
    calls.gateway.reactor.advance(0)
    assert b"200 OK" in transport.value()
    assert not transport.value().endswith(b"0\r\n\r\n")


@pytest.mark.parametrize(("text", "yes"), [("1", True), ("true", True), ("TRUE", True), ("false", False), ("0", False), ("", False)])
def test_flags_of_a_query(text: str, yes: bool) -> None:
    """Differs from Tyk, where any text says yes."""
    call = Call("GET", {}, {"hashed": text}, b"", "", None)  # type: ignore[arg-type]
    assert call.flag("hashed") is yes
    assert not call.flag("absent")


def test_forms_of_answers() -> None:
    assert error(400, "Request malformed") == Answer(400, {"status": "error", "message": "Request malformed"})
    assert success("k", "added", key_hash="h").body == {"key": "k", "status": "ok", "action": "added", "key_hash": "h"}


def test_queries_are_read_leniently() -> None:
    assert read_query(None) == {}
    assert read_query(b"a=%FF&b&c=1+2") == {"a": "\ufffd", "b": "", "c": "1 2"}
