"""Tests of `tlsgate.gateway.pipeline`: the one way of a request, and each way in which it can end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.error import ConnectionDone
from twisted.logger import LogEvent, globalLogPublisher
from twisted.python.failure import Failure

from tests.support.gateway import classic
from tests.support.memory_channel import parse_answer
from tests.support.memory_gateway import MemoryGateway
from tlsgate.errors import Refusal, UpstreamError
from tlsgate.gates.base import Reply
from tlsgate.proxy.waiter import Waiter

Leaf = Callable[[Any], Any]
GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"


class World:
    """An API whose gates and leaf the test gives."""

    def __init__(self, leaf: Leaf, *gates: Callable[[Any], None], misdirected: Callable[[Any], None] | None = None) -> None:
        self.gateway = MemoryGateway(classic("one", 9, "/"))
        compiled = self.gateway.generation.apis["one"]
        compiled.leaf, compiled.gates, compiled.misdirected = leaf, gates, misdirected
        self.finished: list[Any] = []
        self.gateway.site.access_log = self.finished.append
        self.channel, self.transport = self.gateway.connect()

    def ask(self, request: bytes = GET) -> Any:
        self.channel.dataReceived(request)
        return parse_answer(self.transport.value())


async def answer(request: Any) -> None:
    request.channel.respond(request, 200, [], b"fine")


def raising(error: BaseException) -> Callable[[Any], None]:
    def step(request: Any) -> None:
        raise error

    return step


def leaf_raising(error: BaseException) -> Leaf:
    async def leaf(request: Any) -> None:
        raise error

    return leaf


def test_steps_run_in_order_and_the_leaf_answers() -> None:
    order: list[str] = []
    world = World(answer, lambda r: order.append("gate 1"), lambda r: order.append("gate 2"), misdirected=lambda r: order.append("host"))
    assert world.ask().body == b"fine"
    assert order == ["host", "gate 1", "gate 2"]
    assert [request.status for request in world.finished] == [200]


@pytest.mark.parametrize("where", ["host", "gate", "leaf"])
def test_a_refusal_ends_the_way_wherever_it_comes_from(where: str) -> None:
    """The catalogue's answer with the headers that steps have added, and one record."""
    refusal = Refusal("address.forbidden", "because")

    def add(request: Any) -> None:
        request.response_headers.append((b"X-Added", b"1"))

    if where == "host":
        world = World(answer, misdirected=raising(refusal))
    elif where == "gate":
        world = World(answer, add, raising(refusal), raising(AssertionError("never reached")))
    else:
        world = World(leaf_raising(refusal), add)
    got = world.ask()
    assert got.status == 403
    assert b"access from this IP has been disallowed" in got.body
    assert got.header(b"x-added") == (None if where == "host" else b"1")
    (request,) = world.finished
    assert (request.refusal, request.detail, request.flag) == ("address.forbidden", "because", "EAD")


def test_a_reply_is_an_answer_and_no_refusal() -> None:
    world = World(answer, raising(Reply(204, ((b"X-A", b"b"),))))
    got = world.ask()
    assert (got.status, got.header(b"x-a")) == (204, b"b")
    assert [request.refusal for request in world.finished] == [""]


def test_upstream_errors_carry_their_flag() -> None:
    world = World(leaf_raising(UpstreamError("upstream.timeout", "URT", "too slow")))
    assert world.ask().status == 504
    (request,) = world.finished
    assert (request.refusal, request.flag, request.detail) == ("upstream.timeout", "URT", "too slow")


def test_the_unexpected_is_an_opaque_500_and_a_logged_failure() -> None:
    """Nothing of it reaches the client; the connection closes, since nobody knows what state it left."""
    events: list[LogEvent] = []
    world = World(leaf_raising(ValueError("inner secret")))
    globalLogPublisher.addObserver(events.append)
    try:
        got = world.ask()
    finally:
        globalLogPublisher.removeObserver(events.append)
    assert got.status == 500
    assert b"secret" not in world.transport.value()
    assert got.header(b"connection") == b"close"
    assert any(event.get("event") == "pipeline.error" for event in events)
    assert len(world.finished) == 1


def test_an_error_after_the_answer_began_breaks_it_off() -> None:
    """Never a second answer behind half of one."""

    async def half(request: Any) -> None:
        request.channel.begin(request, 200, [], 100, b"half")
        raise UpstreamError("upstream.failed", "URR", "gone")

    world = World(half)
    world.ask()
    assert world.transport.value().endswith(b"half")
    assert world.transport.truncated
    assert len(world.finished) == 1


def test_a_client_that_goes_cancels_what_works_for_it() -> None:
    """499 in the record only."""
    told: list[bool] = []

    async def wait(request: Any) -> None:
        await Waiter(lambda: told.append(True))

    world = World(wait)
    world.channel.dataReceived(GET)
    assert not world.finished
    world.channel.connectionLost(Failure(ConnectionDone()))
    assert told == [True]
    (request,) = world.finished
    assert (request.status, request.refusal, request.flag) == (499, "client.gone", "CDC")


def test_an_upgraded_exchange_is_recorded_when_it_ends() -> None:
    async def switch(request: Any) -> None:
        request.status = 101

    world = World(switch)
    world.channel.dataReceived(GET)
    assert not world.finished
    request = world.channel._request
    assert request is not None
    request.ended()
    request.ended()
    assert [entry.status for entry in world.finished] == [101]


def broken_line(request: Any) -> None:
    request.response_headers.append((b"X-Broken", b"a\r\nb"))


@pytest.mark.parametrize("where", ["reply", "refusal", "upstream"])
def test_an_answer_that_cannot_be_sent_becomes_a_500(where: str) -> None:
    """A step put a line break into a header: nothing of it is sent, the client is answered all the same."""
    error = {"reply": Reply(200), "refusal": Refusal("address.forbidden"), "upstream": UpstreamError("upstream.failed", "UCF", "x")}[where]
    events: list[LogEvent] = []
    world = World(leaf_raising(error), broken_line)
    globalLogPublisher.addObserver(events.append)
    try:
        got = world.ask()
    finally:
        globalLogPublisher.removeObserver(events.append)
    assert got.status == 500
    assert got.header(b"connection") == b"close"
    assert [event["event"] for event in events if "log_failure" in event] == ["pipeline.error"]
    assert len(world.finished) == 1


def test_a_connection_whose_errors_cannot_be_rendered_is_cut() -> None:
    """Better than a client that waits for ever."""
    world = World(leaf_raising(ValueError("x")))

    class NoErrors:
        def render(self, *_: Any) -> Any:
            raise KeyError("template")

    world.gateway.generation.apis["one"].errors = NoErrors()  # type: ignore[assignment]
    world.channel.dataReceived(GET)
    assert world.transport.disconnected
    assert not world.transport.value()
    assert len(world.finished) == 1
