"""The body between channel and reader."""

from __future__ import annotations

from typing import Any

from tests.support.wire_site import Collector
from tlsgate.errors import Refusal
from tlsgate.gateway.body import BodyStream


class Channel:
    """Notes what a body asks of its channel."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def pause_reading(self, who: int) -> None:
        self.calls.append(("pause", who))

    def resume_reading(self, who: int) -> None:
        self.calls.append(("resume", who))

    def send_continue(self) -> None:
        self.calls.append("continue")


def make() -> tuple[BodyStream, Channel]:
    channel = Channel()
    return BodyStream(channel), channel  # type: ignore[arg-type]


def sink() -> Collector:
    return Collector(None, answer=False)  # type: ignore[arg-type]


def test_what_comes_early_is_kept_and_comes_first() -> None:
    """In one piece."""
    body, _ = make()
    body.deliver(b"a")
    body.deliver(b"b")
    reader = sink()
    body.attach(reader)
    body.deliver(b"c")
    body.end([(b"X", b"1")])
    assert reader.chunks == [b"ab", b"c"]
    assert reader.trailers == [(b"X", b"1")]
    assert body.received == 3


def test_a_single_early_piece_is_not_copied() -> None:
    """The usual case."""
    body, _ = make()
    piece = b"abc"
    body.deliver(piece)
    reader = sink()
    body.attach(reader)
    assert reader.chunks[0] is piece


def test_the_end_before_the_reader() -> None:
    """Clean, or not."""
    body, _ = make()
    body.deliver(b"abc")
    body.end([])
    reader = sink()
    body.attach(reader)
    assert (reader.body, reader.trailers) == (b"abc", [])
    body, _ = make()
    body.fail(Refusal("wire.timeout"))
    reader = sink()
    body.attach(reader)
    assert reader.failed.id == "wire.timeout"


def test_a_complete_body_does_not_fail_and_a_failed_one_stays_so() -> None:
    """The first word counts; the reader hears one of them."""
    body, _ = make()
    reader = sink()
    body.attach(reader)
    body.end([])
    body.fail(Refusal("wire.timeout"))
    assert body.failed is None
    body, _ = make()
    reader = sink()
    body.attach(reader)
    body.fail(Refusal("wire.timeout"))
    body.fail(Refusal("wire.bad_request"))
    assert reader.failed.id == "wire.timeout"


def test_the_buffer_is_bounded() -> None:
    """64 KiB, then the client is not read; a reader makes room."""
    body, channel = make()
    body.deliver(b"x" * 65535)
    assert not channel.calls
    body.deliver(b"x")
    assert channel.calls == [("pause", 4)]
    body.attach(sink())
    assert channel.calls[1:] == [("resume", 4)]
    body.deliver(b"x" * 100_000)
    assert len(channel.calls) == 2


def test_the_reader_steers_the_client() -> None:
    """By a bit of its own."""
    body, channel = make()
    body.pause()
    body.resume()
    assert channel.calls == [("pause", 2), ("resume", 2)]


def test_what_is_buffered_can_be_taken_once() -> None:
    """To travel with the head of a request."""
    body, _ = make()
    assert body.take_buffered() == b""
    body.deliver(b"a")
    body.deliver(b"b")
    assert body.take_buffered() == b"ab"
    assert body.take_buffered() == b""
    body.deliver(b"c")
    assert body.take_buffered() == b"c"
    reader = sink()
    body.attach(reader)
    assert reader.chunks == []


def test_a_reader_can_leave() -> None:
    """What comes is buffered again, for another one."""
    body, _ = make()
    first, second = sink(), sink()
    body.attach(first)
    body.deliver(b"a")
    body.detach()
    body.deliver(b"b")
    body.attach(second)
    assert (first.body, second.body) == (b"a", b"b")


def test_the_rest_can_be_thrown_away() -> None:
    """Nothing is kept, reading goes on whoever paused it."""
    body, channel = make()
    body.deliver(b"a")
    body.discard()
    assert channel.calls == [("resume", 6)]
    body.deliver(b"b" * 100_000)
    body.end([])
    assert len(channel.calls) == 1
    assert body.take_buffered() == b""
    assert body.received == 100_001
    assert body.ended


def test_the_invitation_is_for_bodies_that_wait_for_it() -> None:
    """Only when nothing has come, and once."""
    body, channel = make()
    assert not body.wants_continue
    body.expects_continue = True
    assert body.wants_continue
    body.attach(sink())
    body.attach(sink())
    assert channel.calls.count("continue") == 1
    for spoil in (lambda body: body.deliver(b"x"), lambda body: body.end([])):
        body, channel = make()
        body.expects_continue = True
        spoil(body)
        assert not body.wants_continue
        body.attach(sink())
        assert "continue" not in channel.calls
