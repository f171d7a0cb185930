"""A held body: read whole, sent exactly as it came, as often as asked; bounded, and gone with its request."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.task import Clock

from tests.support.keys import Keys
from tlsgate.errors import Refusal
from tlsgate.model.exchange import Exchange, HeaderList
from tlsgate.proxy.held_body import HeldBody, hold_body
from tlsgate.proxy.waiter import Work


class Body:
    """A body that the test feeds."""

    def __init__(self, length: int | None) -> None:
        self.length = length
        self.sink: Any = None
        self.attached = 0

    def attach(self, sink: Any) -> None:
        self.sink = sink
        self.attached += 1

    def detach(self) -> None:
        self.sink = None


class Sink:
    """Collects; pauses its source after each piece when told to."""

    def __init__(self, source: HeldBody | None = None) -> None:
        self.source = source
        self.pieces: list[bytes] = []
        self.trailers: HeaderList | None = None

    def body_chunk(self, data: bytes) -> None:
        self.pieces.append(data)
        if self.source is not None:
            self.source.pause()

    def body_end(self, trailers: HeaderList) -> None:
        self.trailers = trailers

    def body_failed(self, refusal: Refusal) -> None:
        raise AssertionError("a held body cannot fail")


class World:
    def __init__(self, length: int | None = None, limit: int = 1000) -> None:
        self.exchange: Exchange = Keys().request(None)
        self.body = Body(length)
        self.exchange.body = self.body  # type: ignore[assignment]
        self.clock = Clock()
        self.seen: list[bytes] = []
        self.result: HeldBody | Refusal | None = None
        self.work = Work(self._hold(limit))

    async def _hold(self, limit: int) -> None:
        try:
            self.result = await hold_body(self.exchange, limit, self.clock, "a test", self.seen.append)
        except Refusal as refusal:
            self.result = refusal

    def feed(self, *pieces: bytes, trailers: HeaderList | None = None) -> HeldBody:
        for piece in pieces:
            self.body.sink.body_chunk(piece)
        self.body.sink.body_end(trailers or [])
        assert self.result is None  # never within the parser's turn
        self.clock.advance(0)
        assert isinstance(self.result, HeldBody)
        return self.result


@pytest.mark.parametrize("size", [1, 99_999, 100_000, 300_000])
def test_it_goes_on_as_it_came(size: int) -> None:
    """In memory or in a file; trailers and the client's framing stay; with a pause after each piece too."""
    world = World(limit=1_000_000)
    data = bytes(range(256)) * (size // 256 + 1)
    held = world.feed(data[: size // 2], data[size // 2 : size], trailers=[(b"x", b"y")])
    assert world.exchange.held is held and held.length is None and held.size == size
    assert b"".join(world.seen) == data[:size] == b"".join(held.pieces())
    sink = Sink(held)
    first = held.take_buffered()
    held.attach(sink)
    for _ in range(20):
        held.resume()
    assert first + b"".join(sink.pieces) == data[:size] and sink.trailers == [(b"x", b"y")]
    held.close()


def test_nothing_is_read_of_a_body_that_is_too_long() -> None:
    """Declared: refused at once, so that nobody is told to go on. Chunked: at the byte that is too much."""
    world = World(length=1001)
    assert isinstance(world.result, Refusal) and world.result.id == "size.too_large" and world.body.attached == 0
    world = World()
    sink = world.body.sink
    sink.body_chunk(b"x" * 1000)
    sink.body_chunk(b"x")
    world.clock.advance(0)
    assert isinstance(world.result, Refusal) and world.result.id == "size.too_large" and world.exchange.held is None


def test_a_request_without_a_body() -> None:
    """Length 0: nothing to wait for."""
    world = World(length=0)
    assert isinstance(world.result, HeldBody) and world.result.size == 0 and list(world.result.pieces()) == []


def test_a_body_that_breaks_off_is_refused() -> None:
    """With its own refusal, and nothing is held."""
    world = World()
    world.body.sink.body_chunk(b"half")
    world.body.sink.body_failed(Refusal("request.incomplete"))
    world.clock.advance(0)
    assert isinstance(world.result, Refusal) and world.result.id == "request.incomplete" and world.exchange.held is None


def test_two_steps_read_the_same_body() -> None:
    """The second one gets all of it again; its own bound holds."""
    world = World()
    held = world.feed(b"all of it")
    world.result = None
    Work(world._hold(9))
    assert world.result is held and world.seen == [b"all of it"] * 2 and world.body.attached == 1
    Work(world._hold(8))
    assert isinstance(world.result, Refusal) and world.result.id == "size.too_large"


def test_a_client_that_goes_ends_the_wait() -> None:
    """Cancelled: the body is detached."""
    world = World()
    world.work.cancel()
    assert world.body.sink is None and world.exchange.held is None
