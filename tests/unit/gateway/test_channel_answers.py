"""Answers on the wire: their framing, their ends, and what takes the connection over."""

from __future__ import annotations

import pytest

from tests.support.memory_channel import DATE, MemoryTransport, parse_answer
from tests.support.wire_site import Wire

HOST = b"Host: a.test\r\n"


def asked(method: bytes = b"GET", version: bytes = b"1.1", *lines: bytes, transport: MemoryTransport | None = None) -> Wire:
    """A connection with a request under way."""
    wire = Wire(transport=transport)
    wire.send(b"%b /x HTTP/%b\r\n%b%b\r\n" % (method, version, HOST, b"".join(lines)))
    return wire


def test_an_answer_as_a_whole() -> None:
    """One write: status line, headers in order, length, date."""
    wire = asked()
    wire.channel.respond(wire.request, 200, [(b"B", b"2"), (b"A", b"1"), (b"B", b"3")], b"hello")
    assert wire.written == (b"HTTP/1.1 200 OK\r\nB: 2\r\nA: 1\r\nB: 3\r\nContent-Length: 5\r\nDate: " + DATE + b"\r\n\r\nhello")
    assert wire.request.status == 200
    assert wire.request.response_bytes == 5


@pytest.mark.parametrize("name", [b"Date", b"date"])
def test_a_date_that_is_there_stays(name: bytes) -> None:
    """Only one."""
    wire = asked()
    wire.channel.respond(wire.request, 200, [(name, b"yesterday")], b"")
    assert wire.written.lower().count(b"\r\ndate: ") == 1
    assert wire.answers()[0].header(b"date") == b"yesterday"


def test_a_status_without_a_name() -> None:
    """RFC 9112 4: the reason may be empty, its blank stays."""
    wire = asked()
    wire.channel.respond(wire.request, 299, [], b"")
    assert wire.written.startswith(b"HTTP/1.1 299 \r\n")


@pytest.mark.parametrize(("version", "lines", "connection"), [
    (b"1.1", (), None),
    (b"1.1", (b"Connection: close\r\n",), b"close"),
    (b"1.1", (b"Connection: keep-alive\r\n",), None),
    (b"1.0", (), b"close"),
    (b"1.0", (b"Connection: keep-alive\r\n",), b"keep-alive"),
])  # fmt: skip
def test_the_answer_says_whether_the_connection_lives(version: bytes, lines: tuple[bytes, ...], connection: bytes | None) -> None:
    """RFC 9112 9.3."""
    wire = asked(b"GET", version, *lines)
    wire.channel.respond(wire.request, 200, [], b"")
    assert wire.answers()[0].header(b"connection") == connection
    assert wire.transport.disconnecting == (connection == b"close")


def test_every_connection_closes_when_told_so() -> None:
    """``close_connections``."""
    wire = Wire(close_connections=True)
    wire.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
    wire.channel.respond(wire.request, 200, [], b"")
    assert wire.answers()[0].header(b"connection") == b"close"
    assert wire.transport.disconnecting


def test_a_body_of_known_length_streams_as_it_is() -> None:
    """Content-Length, pieces as they come."""
    wire = asked()
    wire.channel.begin(wire.request, 200, [], 6, b"ab")
    wire.channel.chunk(wire.request, b"cd")
    wire.channel.chunk(wire.request, b"")
    wire.channel.finish(wire.request, last=b"ef")
    answer = wire.answers()[0]
    assert answer.header(b"content-length") == b"6"
    assert answer.body == b"abcdef"
    assert wire.request.response_bytes == 6


def test_a_body_of_unknown_length_is_chunked() -> None:
    """RFC 9112 7.1, trailers too; an empty piece never ends it."""
    wire = asked()
    wire.channel.begin(wire.request, 200, [], None, b"ab")
    wire.channel.chunk(wire.request, b"c" * 20)
    wire.channel.chunk(wire.request, b"")
    wire.channel.finish(wire.request, [(b"X-Sum", b"1"), (b"Y", b"2")], b"ef")
    head, _, rest = wire.written.partition(b"\r\n\r\n")
    assert b"Transfer-Encoding: chunked" in head
    assert b"Content-Length" not in head
    assert rest == b"2\r\nab\r\n14\r\n" + b"c" * 20 + b"\r\n2\r\nef\r\n0\r\nX-Sum: 1\r\nY: 2\r\n\r\n"
    assert wire.request.response_bytes == 24
    wire = asked()
    wire.channel.begin(wire.request, 200, [], None)
    wire.channel.finish(wire.request)
    assert wire.answers()[0].complete
    assert wire.written.endswith(b"\r\n\r\n0\r\n\r\n")


def test_http_1_0_gets_a_body_until_the_close() -> None:
    """It cannot read chunks (RFC 9112 6.1)."""
    wire = asked(b"GET", b"1.0", b"Connection: keep-alive\r\n")
    wire.channel.begin(wire.request, 200, [], None, b"ab")
    wire.channel.chunk(wire.request, b"cd")
    wire.channel.finish(wire.request, last=b"ef")
    answer = parse_answer(wire.written)
    assert answer.header(b"connection") == b"close"
    assert answer.header(b"transfer-encoding") is None
    assert answer.body == b"abcdef"
    assert wire.transport.disconnecting


@pytest.mark.parametrize(("method", "status", "length", "wanted"), [
    (b"HEAD", 200, 5, b"5"),
    (b"HEAD", 200, None, None),
    (b"HEAD", 404, 5, b"5"),
    (b"GET", 204, None, None),
    (b"GET", 204, 0, None),
    (b"GET", 304, 5, b"5"),
    (b"GET", 304, None, None),
])  # fmt: skip
def test_some_answers_have_no_body(method: bytes, status: int, length: int | None, wanted: bytes | None) -> None:
    """RFC 9110 6.4.1, 9.3.2, 15.3.5, 15.4.5: whatever is written into them, and the connection goes on."""
    wire = asked(method)
    wire.channel.begin(wire.request, status, [], length, b"hello")
    wire.channel.chunk(wire.request, b"more")
    wire.channel.finish(wire.request, [(b"X", b"1")], b"last")
    answer = parse_answer(wire.written, is_head=True)
    assert answer.header(b"content-length") == wanted
    assert answer.header(b"transfer-encoding") is None
    assert not answer.rest
    assert wire.request.response_bytes == 0
    assert not wire.transport.disconnecting


@pytest.mark.parametrize(
    "line", [(b"X", b"a\r\nSet-Cookie: b"), (b"X", b"a\nb"), (b"X", b"a\rb"), (b"X\r\nY", b"a"), (b"X", b"a\r\n\r\nb")]
)
def test_a_line_break_never_leaves_in_a_header(line: tuple[bytes, bytes]) -> None:
    """Whatever a step put there; nothing is sent then (reliability reference, 2b)."""
    wire = asked()
    with pytest.raises(ValueError, match="line break"):
        wire.channel.respond(wire.request, 200, [line], b"")
    assert not wire.written
    assert not wire.channel.begun(wire.request)
    wire.channel.respond(wire.request, 500, [], b"")
    assert wire.answers()[0].status == 500


def test_an_answer_has_begun_when_it_has_or_cannot_any_more() -> None:
    """Who refuses late asks first."""
    wire = asked()
    request = wire.request
    assert not wire.channel.begun(request)
    wire.channel.begin(request, 200, [], None)
    assert wire.channel.begun(request)
    wire.channel.finish(request)
    assert wire.channel.begun(request)
    wire = asked()
    request = wire.request
    wire.leave()
    assert wire.channel.begun(request)


def test_nobody_answers_for_another_request() -> None:
    """Late calls of an older request touch nothing."""
    wire = asked()
    old = wire.request
    wire.channel.respond(old, 200, [], b"one")
    wire.send(b"GET /y HTTP/1.1\r\n" + HOST + b"\r\n")
    before = wire.written
    wire.channel.respond(old, 200, [], b"again")
    wire.channel.begin(old, 200, [], None)
    wire.channel.chunk(old, b"again")
    wire.channel.finish(old)
    wire.channel.break_off(old, "late")
    assert wire.written == before
    wire.channel.respond(wire.request, 200, [], b"two")
    assert [answer.body for answer in wire.answers()] == [b"one", b"two"]


class PlainTransport(MemoryTransport):
    """A TCP connection: it cannot be truncated other than by its end."""

    truncateConnection = property()  # type: ignore[assignment]


def test_a_chunked_answer_breaks_off_visibly() -> None:
    """Never a last chunk (decisions 2.8); over TLS without a close_notify, over TCP by the end itself."""
    for transport in (MemoryTransport(), PlainTransport()):
        wire = asked(transport=transport)
        wire.channel.begin(wire.request, 200, [], None, b"ab")
        wire.channel.break_off(wire.request, "upstream reset")
        assert wire.request.detail == "upstream reset"
        assert not wire.answers()[0].complete
        assert wire.transport.disconnecting
        assert wire.transport.truncated == (type(transport) is MemoryTransport)
        wire.channel.chunk(wire.request, b"late")
        wire.channel.finish(wire.request)
        assert not wire.written.endswith(b"0\r\n\r\n")
        wire.pass_time(5.3)
        assert wire.transport.disconnected


def test_an_answer_until_the_close_breaks_off_with_a_cut() -> None:
    """Its clean end would be a whole answer."""
    wire = asked(b"GET", b"1.0")
    wire.request.detail = "known before"
    wire.channel.begin(wire.request, 200, [], None, b"ab")
    wire.channel.break_off(wire.request, "upstream reset")
    assert wire.transport.disconnected
    assert wire.request.detail == "known before"


def test_breaking_off_lets_the_producer_go() -> None:
    """It is told nothing more."""

    class Silent:
        def pauseProducing(self) -> None:
            raise AssertionError

        resumeProducing = pauseProducing

    wire = asked()
    wire.channel.begin(wire.request, 200, [], None)
    wire.channel.register_producer(Silent())
    wire.channel.break_off(wire.request, "")
    assert wire.transport.producer is None
    wire.channel.pauseProducing()


def test_100_continue_is_sent_when_the_body_is_wanted() -> None:
    """Not before, once, and not when the body came without waiting (RFC 9110 10.1.1)."""
    lines = b"Content-Length: 5\r\nExpect: 100-continue\r\n"
    wire = asked(b"POST", b"1.1", lines)
    wire.pass_time(1)
    assert not wire.written
    sink = wire.collect()
    assert wire.written == b"HTTP/1.1 100 Continue\r\n\r\n"
    wire.send(b"hello")
    assert sink.body == b"hello"
    wire.transport.clear()
    wire.channel.respond(wire.request, 200, [], b"")
    assert wire.answers()[0].header(b"connection") is None
    wire = asked(b"POST", b"1.1", lines)
    wire.send(b"he")
    wire.collect()
    assert not wire.written
    wire = asked(b"POST", b"1.0", lines)
    wire.collect()
    assert not wire.written


def test_no_invitation_behind_the_head_of_an_answer() -> None:
    """The final answer has begun: 100 would be read as its body."""
    wire = asked(b"POST", b"1.1", b"Content-Length: 5\r\nExpect: 100-continue\r\n")
    wire.channel.begin(wire.request, 200, [], None)
    before = wire.written
    wire.collect()
    assert wire.written == before


def test_interim_answers_come_before_the_final_one() -> None:
    """RFC 9110 15.2: any number, not to HTTP/1.0, not once the answer has begun."""
    wire = asked()
    wire.channel.interim(wire.request, 103, [(b"Link", b"</a>")])
    wire.channel.interim(wire.request, 199, [])
    assert wire.written == b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 199 \r\n\r\n"
    wire.channel.begin(wire.request, 200, [], None)
    before = wire.written
    wire.channel.interim(wire.request, 103, [])
    assert wire.written == before
    old = asked(b"GET", b"1.0")
    old.channel.interim(old.request, 103, [])
    assert not old.written


class Stream:
    """Stands for an upgraded stream."""

    def __init__(self, wire: Wire) -> None:
        self.request = wire.request
        self.calls: list[object] = []

    def client_data(self, data: bytes) -> None:
        self.calls.append(data)

    def client_ended(self) -> None:
        self.calls.append("ended")

    def client_lost(self) -> None:
        self.calls.append("lost")

    def drain(self) -> None:
        self.calls.append("drain")

    def cut(self, reason: str) -> None:
        self.calls.append(("cut", reason))


def upgraded() -> tuple[Wire, Stream]:
    """A connection that speaks another protocol now."""
    wire = asked(b"GET", b"1.1", b"Connection: Upgrade\r\nUpgrade: websocket\r\n")
    stream = Stream(wire)
    wire.channel.take_over(wire.request, stream, b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
    return wire, stream


def test_an_upgraded_stream_gets_everything() -> None:
    """Bytes, the half-close, the end; the channel's deadlines are off."""
    wire, stream = upgraded()
    assert wire.written == b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
    assert wire.channel.begun(wire.request)
    wire.pass_time(1000)
    assert not wire.transport.disconnecting
    wire.send(b"GET / HTTP/1.1\r\n\r\n")
    wire.channel.readConnectionLost()
    wire.channel.drain()
    wire.channel.deadline_passed()
    wire.channel.recheck()
    wire.leave()
    assert stream.calls == [b"GET / HTTP/1.1\r\n\r\n", "ended", "drain", "lost"]
    assert len(wire.handled or ()) == 1


def test_a_reload_ends_a_stream_that_is_no_longer_allowed() -> None:
    """With the reason; nobody else is asked."""
    wire, stream = upgraded()
    wire.judgement = "after a reload: not listed"
    wire.channel.recheck()
    assert stream.calls == [("cut", "after a reload: not listed")]
    plain = asked()
    plain.judgement = "never asked"
    plain.channel.recheck()
    assert not plain.transport.disconnecting


def test_reading_goes_on_for_a_stream_that_was_held_up() -> None:
    """Bytes of an eager client waited while the upstream answered the upgrade."""
    wire = asked(b"GET", b"1.1", b"Connection: Upgrade\r\nUpgrade: websocket\r\n")
    wire.send(b"x" * 20_000)
    assert wire.transport.producerState == "paused"
    stream = Stream(wire)
    wire.channel.take_over(wire.request, stream, b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
    assert wire.transport.producerState == "producing"
    assert b"".join(call for call in stream.calls if isinstance(call, bytes)) == b"x" * 20_000
