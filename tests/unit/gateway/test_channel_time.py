"""Time on a connection: heads, bodies, idleness, clients that do not read, ends; and who may pause whom."""

from __future__ import annotations

import pytest

from tests.support.wire_site import Wire
from tlsgate.errors import Refusal

HOST = b"Host: a.test\r\n"
GET = b"GET /1 HTTP/1.1\r\n" + HOST + b"\r\n"
TICK = 0.3


def posting(length: int = 100_000) -> Wire:
    """A connection whose request has a body under way and a reader."""
    wire = Wire()
    wire.send(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % length)
    return wire


def over(wire: Wire) -> bool:
    """Whether the connection was cut."""
    return bool(wire.transport.disconnected)


@pytest.mark.parametrize("start", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: a.test\r\n"])
def test_the_first_head_has_its_time(start: bytes) -> None:
    """Decisions 2.5: ten seconds from the connection; a silent client is closed without an answer, a half head gets 408."""
    wire = Wire()
    if start:
        wire.send(start)
    wire.pass_time(9.9)
    assert not wire.written and not wire.transport.disconnecting
    wire.pass_time(0.1 + TICK)
    if start:
        assert [answer.status for answer in wire.answers()] == [408]
        assert wire.transport.half_closed
    else:
        assert not wire.written
        assert wire.transport.disconnecting


def test_dripping_a_head_does_not_buy_time() -> None:
    """The deadline counts from the beginning, not from the last byte."""
    wire = Wire()
    for _ in range(12):
        wire.send(b"\r\n")
        wire.pass_time(0.9)
    assert [answer.status for answer in wire.answers()] == [408]


def test_a_later_head_has_its_time_from_its_first_byte() -> None:
    """Idle before that: 60 s, then the connection closes without a word."""
    wire = Wire(answering=True)
    wire.send(GET)
    wire.pass_time(50)
    wire.send(b"GET")
    wire.pass_time(9.9)
    assert not wire.transport.half_closed
    wire.pass_time(0.1 + TICK)
    assert [answer.status for answer in wire.answers()] == [200, 408]
    wire = Wire(answering=True)
    wire.send(GET)
    wire.pass_time(59.9)
    assert not wire.transport.disconnecting
    wire.pass_time(0.1 + TICK)
    assert wire.transport.disconnecting
    assert len(wire.answers()) == 1


def test_idle_time_begins_anew_with_each_answer() -> None:
    """Also for one that came within another's time."""
    wire = Wire(answering=True, idle_timeout_s=5.0)
    for _ in range(5):
        wire.send(GET)
        wire.pass_time(4.9)
    assert not wire.transport.disconnecting
    wire.pass_time(0.1 + TICK)
    assert wire.transport.disconnecting


def test_a_request_under_way_has_no_deadline_of_the_channel() -> None:
    """The upstream's time-outs end it, or nothing does."""
    wire = Wire()
    wire.send(GET)
    wire.pass_time(1000)
    wire.channel.deadline_passed()
    assert not wire.transport.disconnecting
    wire.channel.respond(wire.request, 200, [], b"late")
    assert wire.answers()[0].body == b"late"


def test_a_body_without_progress_breaks_off() -> None:
    """Decisions 2.5: ``read_timeout`` is the time without a byte."""
    wire = posting()
    sink = wire.collect()
    wire.pass_time(9)
    wire.send(b"x" * 30_000)
    wire.pass_time(9.9)
    assert sink.failed is None
    wire.pass_time(0.1 + TICK)
    assert sink.failed.id == "wire.timeout"
    wire.channel.respond(wire.request, 408, [], b"")
    assert wire.answers()[0].header(b"connection") == b"close"
    assert wire.transport.half_closed


def test_a_body_that_never_begins_breaks_off() -> None:
    """A head with a promise, then silence; a reader that comes later hears of it at once."""
    wire = posting()
    wire.pass_time(10 + TICK)
    assert wire.request.body.failed is not None
    assert wire.collect().failed.id == "wire.timeout"


def test_a_stalled_body_cuts_an_answer_under_way() -> None:
    """Nothing can be said any more."""
    wire = posting()
    wire.channel.begin(wire.request, 200, [], None)
    wire.pass_time(10 + TICK)
    assert over(wire)


def test_a_body_has_a_minimum_rate() -> None:
    """500 bytes per second after the first ten seconds; at the edge on both sides."""
    for rate, failed in ((520, False), (400, True)):
        wire = posting()
        sink = wire.collect()
        for _ in range(120):
            wire.pass_time(1)
            wire.send(b"x" * rate)
        assert (sink.failed is not None) == failed, rate


def test_a_drip_is_tolerated_for_ten_seconds() -> None:
    """The grace is for slow starts; then one byte per second is too little."""
    wire = posting()
    sink = wire.collect()
    seconds = 0
    while sink.failed is None and seconds < 30:
        wire.pass_time(1)
        wire.send(b"x")
        seconds += 1
    assert 10 <= seconds <= 13


def test_chunk_lines_are_no_progress() -> None:
    """The rate counts bytes of the body."""
    wire = Wire()
    wire.send(b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n")
    sink = wire.collect()
    for _ in range(20):
        wire.pass_time(1)
        wire.send(b"1;" + b"e" * 1000 + b"\r\nx\r\n")
    assert sink.failed.id == "wire.timeout"


def test_no_rate_is_asked_for_when_it_is_switched_off() -> None:
    """``body_min_rate`` 0."""
    wire = Wire(body_min_rate=0)
    wire.send(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 100000\r\n\r\n")
    sink = wire.collect()
    for _ in range(60):
        wire.pass_time(9)
        wire.send(b"x")
    assert sink.failed is None


@pytest.mark.parametrize("bit", ["reader", "buffer"])
def test_time_during_which_nobody_reads_is_not_the_clients(bit: str) -> None:
    """Back-pressure stops the clock, and the rate does not count the pause."""
    wire = posting(200_000)
    if bit == "reader":
        wire.collect()
        wire.send(b"x" * 1000)
        wire.request.body.pause()
    else:
        wire.send(b"x" * 70_000)
    assert wire.transport.producerState == "paused"
    wire.pass_time(500)
    if bit == "reader":
        wire.request.body.resume()
    else:
        wire.collect()
    assert wire.transport.producerState == "producing"
    wire.pass_time(9)
    assert wire.request.body.failed is None
    wire.send(b"x" * 1000)
    wire.pass_time(5)
    assert wire.request.body.failed is None
    wire.pass_time(5 + TICK)
    assert wire.request.body.failed is not None


def test_a_complete_body_has_no_deadline() -> None:
    """Whatever was armed for it."""
    wire = posting(10)
    sink = wire.collect()
    wire.send(b"0123456789")
    wire.pass_time(100)
    assert sink.failed is None
    assert sink.trailers == []


def test_reading_stays_paused_until_nobody_asks_for_it() -> None:
    """Pipelining, the reader and the buffer ask independently."""
    wire = Wire()
    wire.send(GET)
    channel, transport = wire.channel, wire.transport
    for who in (1, 2, 4):
        channel.pause_reading(who)
        channel.pause_reading(who)
    for who in (2, 2, 1):
        channel.resume_reading(who)
        assert transport.producerState == "paused"
    channel.resume_reading(4)
    assert transport.producerState == "producing"
    channel.resume_reading(4)


class Producer:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def pauseProducing(self) -> None:
        self.calls.append("pause")

    def resumeProducing(self) -> None:
        self.calls.append("resume")


def streaming() -> tuple[Wire, Producer]:
    """An answer under way."""
    wire = Wire()
    wire.send(GET)
    producer = Producer()
    wire.channel.begin(wire.request, 200, [], None)
    wire.channel.register_producer(producer)
    return wire, producer


def test_the_clients_speed_steers_the_producer() -> None:
    """Until the answer ends."""
    wire, producer = streaming()
    wire.transport.slow()
    wire.transport.fast()
    assert producer.calls == ["pause", "resume"]
    wire.channel.finish(wire.request)
    assert wire.transport.producer is None
    wire.channel.pauseProducing()
    wire.channel.resumeProducing()
    wire.channel.stopProducing()
    assert producer.calls == ["pause", "resume"]


def test_a_client_that_does_not_read_is_cut_at_a_standstill() -> None:
    """``write_timeout`` without a byte taken; progress, however slow, keeps it."""
    wire, _ = streaming()
    wire.transport.slow(100_000)
    for queued in range(99_999, 99_980, -1):
        wire.transport.queued_bytes = queued
        wire.pass_time(10 + TICK)
        assert not over(wire)
    wire.pass_time(10 + TICK)
    assert over(wire)
    assert wire.request.detail == "client does not read"


def test_a_client_that_reads_again_has_no_deadline() -> None:
    """A pause that ended does not count later."""
    wire, _ = streaming()
    wire.transport.slow()
    wire.pass_time(9)
    wire.transport.fast()
    wire.pass_time(100)
    assert not over(wire)
    wire.transport.slow()
    wire.pass_time(9)
    assert not over(wire)


def test_a_slow_reader_while_its_body_still_comes() -> None:
    """Both directions at once: the body's deadline stays, the answer's does not overwrite it."""
    wire = posting()
    wire.collect()
    producer = Producer()
    wire.channel.begin(wire.request, 200, [], None)
    wire.channel.register_producer(producer)
    wire.transport.slow()
    wire.transport.fast()
    assert producer.calls == ["pause", "resume"]
    wire.pass_time(10 + TICK)
    assert over(wire)


def test_an_idle_client_that_left_its_answer_unread_is_cut() -> None:
    """Idle time, then a standstill."""
    wire = Wire(answering=True)
    wire.send(GET)
    wire.transport.queued_bytes = 500
    wire.pass_time(60 + TICK)
    assert not over(wire)
    wire.pass_time(10 + TICK)
    assert over(wire)


def test_a_close_that_the_client_does_not_answer_ends_in_a_cut() -> None:
    """Decisions 2.13: five seconds."""
    wire = Wire(answering=True)
    wire.send(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert wire.transport.disconnecting
    wire.pass_time(4.9)
    assert not over(wire)
    wire.pass_time(0.1 + TICK)
    assert over(wire)


def test_a_slow_reader_gets_the_whole_of_its_last_answer() -> None:
    """A close waits for a client that makes progress; a standstill ends it."""
    wire = Wire(answering=True)
    wire.send(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    for queued in range(60_000, 10_000, -5_000):
        wire.transport.queued_bytes = queued
        wire.pass_time(5 + TICK)
        assert not over(wire)
    wire.pass_time(5 + TICK)
    assert over(wire)


def test_the_rest_of_a_body_is_read_away_for_a_bounded_time() -> None:
    """A refusal is sent at once (decisions 2.8); the connection lives when the rest is small and comes."""
    wire = posting(100_000)
    wire.channel.respond(wire.request, 403, [], b"no")
    assert wire.answers()[0].header(b"connection") is None
    wire.send(b"x" * 99_999)
    assert not wire.transport.disconnecting
    wire.answering = True
    wire.send(b"x" + GET)
    assert [answer.status for answer in wire.answers()] == [403, 200]
    wire.pass_time(20)
    assert not wire.transport.disconnecting
    wire = posting(100_000)
    wire.channel.respond(wire.request, 403, [], b"no")
    for _ in range(5):
        wire.pass_time(1)
        wire.send(b"x" * 1000)
    wire.pass_time(TICK)
    assert wire.transport.disconnecting


def test_a_body_too_large_to_read_away_ends_the_connection() -> None:
    """Above 256 KiB: the answer says so, and lingers so that it can be read."""
    for length, closes in ((262_144, False), (262_145, True)):
        wire = posting(length)
        wire.channel.respond(wire.request, 403, [], b"no")
        assert (wire.answers()[0].header(b"connection") == b"close") == closes
        assert wire.transport.half_closed == closes


def test_a_body_that_waits_for_an_invitation_ends_the_connection() -> None:
    """Without ``100 Continue`` nobody knows whether it will come (RFC 9110 10.1.1)."""
    wire = Wire()
    wire.send(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n")
    wire.channel.respond(wire.request, 403, [], b"no")
    assert wire.answers()[0].header(b"connection") == b"close"
    assert wire.transport.half_closed


def test_lingering_is_bounded_in_time() -> None:
    """Two seconds."""
    wire = Wire()
    wire.send(b"\x00junk\r\n\r\n")
    assert wire.transport.half_closed
    wire.send(b"x" * 1000)
    wire.pass_time(1.9)
    assert not over(wire)
    wire.pass_time(0.1 + TICK)
    assert over(wire)


def test_lingering_is_bounded_in_size() -> None:
    """256 KiB, not a byte more."""
    wire = Wire()
    wire.send(b"\x00junk\r\n\r\n")
    for _ in range(4):
        wire.send(b"x" * 65536)
    assert not over(wire)
    wire.send(b"x")
    assert over(wire)


def test_lingering_ends_with_the_client() -> None:
    """A FIN is answered at once."""
    wire = Wire()
    wire.send(b"\x00junk\r\n\r\n")
    wire.channel.readConnectionLost()
    assert wire.transport.disconnecting
    wire.channel.writeConnectionLost()


def test_lingering_reads_although_reading_was_paused() -> None:
    """Who was paused by the request's reader is read away after its answer."""
    wire = posting(10_000_000)
    wire.collect()
    wire.request.body.pause()
    wire.channel.respond(wire.request, 413, [], b"")
    assert wire.transport.producerState == "producing"


def test_a_body_that_filled_its_buffer_unread_does_not_stop_the_next_request() -> None:
    """Refused before anybody read it."""
    wire = Wire()
    wire.send(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 70000\r\n\r\n" + b"x" * 70_000)
    assert wire.transport.producerState == "paused"
    wire.channel.respond(wire.request, 403, [], b"no")
    assert wire.transport.producerState == "producing"
    wire.send(GET)
    assert len(wire.handled or ()) == 2


def test_a_client_that_ends_its_side_is_still_answered() -> None:
    """RFC 9112 9.6: also what was pipelined; then the connection closes."""
    wire = Wire()
    wire.send(GET * 2)
    wire.channel.readConnectionLost()
    assert not wire.transport.disconnecting
    wire.channel.respond(wire.request, 200, [], b"one")
    assert not wire.transport.disconnecting
    wire.channel.respond(wire.request, 200, [], b"two")
    assert [answer.body for answer in wire.answers()] == [b"one", b"two"]
    assert wire.transport.disconnecting


def test_a_client_that_ends_between_requests_is_closed() -> None:
    """Also in the middle of a head."""
    for start in (b"", GET, b"GET / HT"):
        wire = Wire(answering=True)
        if start:
            wire.send(start)
        wire.channel.readConnectionLost()
        assert wire.transport.disconnecting


def test_a_client_that_ends_in_the_middle_of_a_body_is_cut() -> None:
    """Nothing can complete it; never a clean end for its reader."""
    wire = posting()
    sink = wire.collect()
    wire.send(b"x")
    wire.channel.readConnectionLost()
    assert over(wire)
    assert sink.trailers is None
    assert wire.request.detail == "client closed in the middle of the body"


def test_draining_closes_what_is_idle_and_lets_the_rest_finish() -> None:
    """Shut down (decisions 2.14)."""
    idle = Wire(answering=True)
    idle.send(GET)
    busy = Wire()
    busy.send(GET * 2)
    begun = Wire()
    begun.send(GET)
    begun.channel.begin(begun.request, 200, [], None)
    half = Wire(answering=True)
    half.send(GET[:10])
    for wire in (idle, busy, begun, half):
        wire.draining = True
        wire.channel.drain()
        wire.channel.drain()
    assert idle.transport.disconnecting
    assert not busy.transport.disconnecting
    busy.channel.respond(busy.request, 200, [], b"last")
    answers = busy.answers()
    assert [answer.body for answer in answers] == [b"last"]
    assert answers[0].header(b"connection") == b"close"
    begun.channel.finish(begun.request)
    half.send(GET[10:])
    assert half.answers()[0].header(b"connection") == b"close"
    for wire in (busy, begun, half):
        assert wire.transport.disconnecting or wire.transport.half_closed


def test_a_cut_is_noted_on_the_request_once() -> None:
    """The first reason stays."""
    wire = Wire()
    wire.channel.abort("nobody to tell")
    assert over(wire)
    wire = Wire()
    wire.send(GET)
    wire.channel.abort("shut down")
    wire.channel.abort("again")
    wire.channel.abort()
    assert wire.request.detail == "shut down"


def test_a_refusal_has_priority_over_a_stalled_answer() -> None:
    """A broken body's refusal is kept for the reader, whoever asks first."""
    wire = posting()
    wire.request.body.fail(Refusal("wire.timeout"))
    wire.request.body.fail(Refusal("wire.bad_request"))
    assert wire.collect().failed.id == "wire.timeout"
