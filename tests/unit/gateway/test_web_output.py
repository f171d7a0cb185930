"""When and how the answer of a mounted resource is sent: framing, back-pressure, ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IPushProducer
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface.verify import verifyObject

from tests.support.memory_channel import MemoryConnection, parse_answer
from tlsgate.errors import Refusal
from tlsgate.gateway.request import GateRequest

GET = b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n"


class Scripted(Resource):
    """Does what a test says, and hands its request out."""

    isLeaf = True

    def __init__(self, script: Callable[[GateRequest], Any] | None = None) -> None:
        super().__init__()
        self.script = script
        self.request: GateRequest | None = None

    def render_GET(self, request: GateRequest) -> Any:
        """Answer, or not yet."""
        self.request = request
        result = self.script(request) if self.script is not None else None
        return NOT_DONE_YET if result is None else result


def open_request(
    method: bytes = b"GET", script: Callable[[GateRequest], Any] | None = None, version: bytes = b"1.1"
) -> tuple[MemoryConnection, GateRequest]:
    """A request that its resource has not finished yet."""
    resource = Scripted(script)
    connection = MemoryConnection(resource)
    connection.send(b"%b / HTTP/%b\r\nHost: app.test\r\n\r\n" % (method, version))
    assert resource.request is not None
    return connection, resource.request


class Push:
    """A push producer that keeps count."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def pauseProducing(self) -> None:
        """Noted."""
        self.calls.append("pause")

    def resumeProducing(self) -> None:
        """Noted."""
        self.calls.append("resume")

    def stopProducing(self) -> None:
        """Noted."""
        self.calls.append("stop")


class Pull(Push):
    """A pull producer that writes pieces, then finishes."""

    def __init__(self, request: GateRequest, pieces: list[bytes]) -> None:
        super().__init__()
        self.request = request
        self.pieces = pieces

    def resumeProducing(self) -> None:
        """Write one piece."""
        self.calls.append("resume")
        if self.pieces:
            self.request.write(self.pieces.pop(0))
        else:
            self.request.unregisterProducer()
            self.request.finish()


# Framing.


def test_what_is_complete_within_a_turn_has_a_length() -> None:
    """One record, one length, however many pieces a template writes."""
    connection, request = open_request()
    for piece in (b"a", b"b", b"", b"c"):
        request.write(piece)
    request.finish()
    answer = parse_answer(connection.transport.value())
    assert (answer.body, answer.chunks, answer.header(b"content-length")) == (b"abc", 0, b"3")
    assert request.sentLength == 3
    assert connection.ended == [request]


def test_what_goes_on_is_chunked() -> None:
    """The pieces of one turn are one chunk; the last one travels with the end."""
    connection, request = open_request()
    request.write(b"a")
    request.write(b"b")
    assert connection.transport.value() == b""
    assert request.startedWriting
    connection.turn()
    assert connection.transport.value().endswith(b"\r\n\r\n2\r\nab\r\n")
    request.write(b"c")
    connection.turn()
    request.write(b"d")
    request.finish()
    answer = parse_answer(connection.transport.value())
    assert (answer.body, answer.chunks, answer.complete) == (b"abcd", 3, True)
    assert request.sentLength == 4
    assert request.finished


def test_the_head_goes_out_with_an_empty_write() -> None:
    """A stream may open before it has anything to say (server-sent events)."""
    connection, request = open_request()
    request.setHeader(b"content-type", b"text/event-stream")
    request.write(b"")
    connection.turn()
    assert parse_answer(connection.transport.value()).header(b"transfer-encoding") == b"chunked"
    request.finish()
    assert parse_answer(connection.transport.value()).complete


@pytest.mark.parametrize(("size", "sent"), [(65535, False), (65536, True), (65537, True)])
def test_much_data_does_not_wait_for_the_end_of_the_turn(size: int, sent: bool) -> None:
    """Memory is bounded."""
    connection, request = open_request()
    request.write(b"x" * size)
    assert bool(connection.transport.value()) == sent


def test_http_1_0_reads_until_the_close() -> None:
    """No chunks for a client that does not know them."""
    connection, request = open_request(version=b"1.0")
    request.write(b"a")
    connection.turn()
    request.write(b"b")
    request.finish()
    answer = parse_answer(connection.transport.value())
    assert (answer.body, answer.header(b"connection"), answer.chunks) == (b"ab", b"close", 0)
    assert connection.transport.disconnecting


def test_a_declared_length_is_kept() -> None:
    """No chunks then."""
    connection, request = open_request()
    request.setHeader(b"content-length", b"4")
    request.write(b"ab")
    connection.turn()
    request.write(b"cd")
    connection.turn()
    request.finish()
    answer = parse_answer(connection.transport.value())
    assert (answer.body, answer.header(b"content-length"), answer.rest) == (b"abcd", b"4", b"")
    assert not connection.transport.disconnecting


@pytest.mark.parametrize("pieces", [[b"abc", b"de"], [b"abcde"], [b"abcd", b"", b"e"]])
def test_more_than_declared_never_reaches_the_client(pieces: list[bytes]) -> None:
    """It would be taken for the next answer; a head that is not out yet becomes a 500."""
    connection, request = open_request()
    request.setHeader(b"content-length", b"4")
    told: list[Failure] = []
    request.notifyFinish().addErrback(told.append)
    for piece in pieces:
        request.write(piece)
        connection.turn()
    answer = parse_answer(connection.transport.value())
    assert answer.rest == b""
    if len(pieces) == 1:
        assert answer.status == 500
    else:
        assert (answer.status, answer.complete, connection.transport.truncated) == (200, len(pieces) == 3, True)
    assert told[0].check(Refusal)
    request.finish()
    assert connection.ended == [request]
    assert "declared 4 bytes" in request.detail


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("body", [b"abc", b"abcde"])
def test_an_answer_that_breaks_its_own_length(late: bool, body: bytes) -> None:
    """Found at the end: a 500 while that is possible, else the connection breaks off."""
    connection, request = open_request()
    request.setHeader(b"content-length", b"4")
    request.write(body[:2])
    if late:
        connection.turn()
    request.write(body[2:])
    request.finish()
    answer = parse_answer(connection.transport.value())
    if late:
        assert (answer.status, answer.body, answer.complete) == (200, b"ab", False)
        assert connection.transport.truncated
    else:
        assert (answer.status, answer.complete) == (500, True)


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("late", [False, True])
def test_statuses_without_a_body(status: int, late: bool) -> None:
    """Whatever the resource writes, and whatever length it names."""
    connection, request = open_request()
    request.setResponseCode(status)
    request.setHeader(b"content-length", b"2")
    request.write(b"abc")
    if late:
        connection.turn()
        request.write(b"def")
    request.finish()
    answer = parse_answer(connection.transport.value())
    assert (answer.status, answer.rest, answer.header(b"content-length"), answer.header(b"transfer-encoding")) == (status, b"", None, None)
    assert request.sentLength == 0
    assert not connection.transport.disconnecting


@pytest.mark.parametrize(
    ("declared", "pieces", "late", "length"),
    [
        (b"7", [], False, b"7"),
        (b"7", [b"abc"], True, b"7"),
        (None, [b"abc"], False, b"3"),
        (None, [b"abc"], True, None),
        (None, [], False, None),
        (None, [b"x" * 70000], False, None),
    ],
)
def test_head_requests(declared: bytes | None, pieces: list[bytes], late: bool, length: bytes | None) -> None:
    """The length is that of a GET if it is known; no byte of a body."""
    connection, request = open_request(b"HEAD")
    if declared:
        request.setHeader(b"content-length", declared)
    for piece in pieces:
        request.write(piece)
    if late:
        connection.turn()
    request.finish()
    answer = parse_answer(connection.transport.value(), is_head=True)
    assert (answer.header(b"content-length"), answer.rest, answer.header(b"transfer-encoding")) == (length, b"", None)


@given(
    method=st.sampled_from([b"GET", b"HEAD"]),
    version=st.sampled_from([b"1.1", b"1.0"]),
    status=st.sampled_from([200, 204, 304, 404]),
    declared=st.none() | st.integers(0, 12),
    pieces=st.lists(st.tuples(st.binary(max_size=5), st.booleans()), max_size=5),
    producer=st.booleans(),
)
def test_whatever_a_resource_does_the_framing_holds(
    method: bytes, version: bytes, status: int, declared: int | None, pieces: list[tuple[bytes, bool]], producer: bool
) -> None:
    """The client gets the body, or sees that it did not; never a byte more than it was told."""
    connection, request = open_request(method, version=version)
    body = b"".join(piece for piece, _ in pieces)
    request.setResponseCode(status)
    if declared is not None:
        request.setHeader(b"content-length", b"%d" % declared)
    if producer:
        request.registerProducer(Push(), True)
    for piece, turn in pieces:
        request.write(piece)
        if turn:
            connection.turn()
    request.finish()
    connection.settle()
    assert connection.ended == [request]
    answer = parse_answer(connection.transport.value(), is_head=method == b"HEAD")
    assert answer.rest == b""
    if method == b"HEAD" or status in (204, 304):
        assert answer.status == status
    elif declared is None or declared == len(body):
        assert (answer.status, answer.body, answer.complete) == (status, body, True)
    else:
        assert answer.status == 500 or (not answer.complete or len(answer.body) == declared)
        assert answer.status == 500 or connection.transport.truncated
    if version == b"1.1" and not connection.transport.disconnecting:
        connection.transport.clear()
        connection.send(GET)
        assert connection.requests[1:], "the connection goes on"


# Misuse.


def test_bodies_are_bytes() -> None:
    """Text has no length before it is encoded."""
    _, request = open_request()
    with pytest.raises(TypeError, match="not str"):
        request.write("text")  # type: ignore[arg-type]


def test_writing_after_the_end_is_an_error() -> None:
    """As in twisted.web."""
    _, request = open_request()
    request.finish()
    with pytest.raises(RuntimeError, match="write after"):
        request.write(b"x")
    with pytest.raises(RuntimeError, match="twice"):
        request.finish()


@pytest.mark.parametrize("value", [b"a\0b"])
@pytest.mark.parametrize("late", [False, True])
def test_a_head_that_cannot_be_sent_becomes_a_500(value: bytes, late: bool) -> None:
    """Logged; the writer is told by notifyFinish."""
    connection, request = open_request()
    request.setHeader(b"x-a", value)
    told: list[Failure] = []
    request.notifyFinish().addErrback(told.append)
    with capturedLogs() as logs:
        request.write(b"a")
        if late:
            connection.turn()
            request.write(b"b")
        request.finish()
    assert parse_answer(connection.transport.value()).status == 500
    assert len(told) == 1
    assert [event["what"] for event in logs if event.get("event") == "mounted.error"] == ["head"]


def test_a_status_that_cannot_be_sent_becomes_a_500() -> None:
    """Final statuses only."""
    connection, request = open_request()
    request.setResponseCode(101)
    request.finish()
    assert parse_answer(connection.transport.value()).status == 500
    assert "status 101" in request.detail


def test_a_status_that_is_no_number_becomes_a_500() -> None:
    """A mistake of the resource is never a crash of the channel."""
    connection, request = open_request()
    request.setResponseCode("200")  # type: ignore[arg-type]
    with capturedLogs():
        request.finish()
    assert parse_answer(connection.transport.value()).status == 500


# Ends.


def test_everybody_is_told_of_the_end() -> None:
    """Before and after it."""
    _, request = open_request()
    told: list[Any] = []
    request.notifyFinish().addCallback(told.append)
    request.notifyFinish().addCallback(told.append)
    assert told == []
    request.finish()
    request.notifyFinish().addCallback(told.append)
    assert told == [None, None, None]


def test_giving_up_after_the_end_changes_nothing() -> None:
    """What is complete stays complete."""
    connection, request = open_request()
    request.finish()
    request.loseConnection()
    assert request.web is not None
    request.web.output.client_gone()
    assert not connection.transport.disconnecting
    assert request.refusal == ""


def test_everybody_is_told_that_the_client_has_gone() -> None:
    """What is written then is dropped, and finish is no error."""
    connection, request = open_request()
    told: list[Failure] = []
    request.notifyFinish().addErrback(told.append)
    request.write(b"a")
    connection.leave()
    assert told[0].check(ConnectionLost)
    request.notifyFinish().addErrback(told.append)
    assert len(told) == 2
    request.write(b"b")
    request.finish()
    assert connection.transport.value() == b""
    assert (request.status, request.refusal) == (499, "client.gone")
    assert connection.ended == [request]
    assert not [call for call in connection.reactor.getDelayedCalls() if call.getTime() <= connection.reactor.seconds()]


def test_a_pipelined_request_is_served_after_the_first() -> None:
    """The next request starts within finish; what ends there is the first one only."""
    requests: list[GateRequest] = []
    connection = MemoryConnection(Scripted(requests.append))
    connection.send(GET + GET)
    assert len(requests) == 1
    requests[0].write(b"1")
    connection.turn()
    requests[0].finish()
    assert len(requests) == 2
    producer = Push()
    requests[1].registerProducer(producer, True)
    connection.transport.slow()
    assert producer.calls == ["pause"]
    requests[1].write(b"2")
    requests[1].finish()
    first = parse_answer(connection.transport.value())
    assert (first.body, parse_answer(first.rest).body) == (b"1", b"2")


# Back-pressure.


def test_the_output_is_a_push_producer() -> None:
    """For the channel."""
    _, request = open_request()
    assert request.web is not None
    assert verifyObject(IPushProducer, request.web.output)
    request.web.output.stopProducing()


def test_a_push_producer_follows_the_client() -> None:
    """Paused and resumed with the transport's queue."""
    connection, request = open_request()
    producer = Push()
    request.registerProducer(producer, True)
    assert request.producer is producer
    request.write(b"a")
    assert connection.transport.value().endswith(b"1\r\na\r\n"), "with a producer nothing waits: the queue must tell the truth"
    connection.transport.slow()
    connection.transport.fast()
    assert producer.calls == ["pause", "resume"]
    request.unregisterProducer()
    assert request.producer is None
    connection.transport.slow()
    connection.transport.fast()
    assert producer.calls == ["pause", "resume"]
    request.finish()
    assert connection.transport.producer is None
    assert "stop" not in producer.calls


def test_a_producer_that_comes_late_is_paused_at_once() -> None:
    """The client may be slow already."""
    connection, request = open_request()
    request.write(b"a")
    connection.turn()
    connection.transport.slow()
    producer = Push()
    request.registerProducer(producer, True)
    assert producer.calls == ["pause"]


def test_two_producers_are_an_error() -> None:
    """As in twisted.web."""
    _, request = open_request()
    request.registerProducer(Push(), True)
    with pytest.raises(ValueError, match="was not unregistered"):
        request.registerProducer(Push(), True)


def test_a_pull_producer_is_asked_while_the_client_reads() -> None:
    """Never from within registerProducer, not at all while the client is slow."""
    connection, request = open_request()

    class Filling(Pull):
        def resumeProducing(self) -> None:
            super().resumeProducing()
            if self.pieces == [b"c"]:
                connection.transport.slow()

    producer = Filling(request, [b"a", b"b", b"c"])
    request.registerProducer(producer, False)
    assert producer.calls == []
    connection.settle()
    assert producer.calls == ["resume"] * 2
    connection.transport.fast()
    connection.settle()
    assert producer.calls == ["resume"] * 4
    answer = parse_answer(connection.transport.value())
    assert (answer.body, answer.chunks, answer.complete) == (b"abc", 3, True)


def test_a_pull_producer_that_comes_late_waits_for_the_client() -> None:
    """No question while the client is slow."""
    connection, request = open_request()
    request.write(b"")
    connection.turn()
    connection.transport.slow()
    producer = Pull(request, [b"a"])
    request.registerProducer(producer, False)
    connection.settle()
    assert producer.calls == []
    connection.transport.fast()
    connection.settle()
    assert parse_answer(connection.transport.value()).body == b"a"


def test_a_pull_producer_without_data_is_not_asked_in_circles() -> None:
    """It writes when it has something, then the next question comes."""
    connection, request = open_request()

    class Lazy(Push):
        pass

    producer = Lazy()
    request.registerProducer(producer, False)
    connection.settle()
    connection.settle()
    assert producer.calls == ["resume"]
    request.write(b"late")
    connection.settle()
    assert producer.calls == ["resume", "resume"]


def test_a_pull_producer_that_fails_breaks_the_answer_off() -> None:
    """Logged, stopped, not a clean end."""
    connection, request = open_request()

    class Broken(Push):
        def resumeProducing(self) -> None:
            raise OSError("disk")

    producer = Broken()
    request.write(b"a")
    connection.turn()
    request.registerProducer(producer, False)
    with capturedLogs() as logs:
        connection.settle()
    assert producer.calls == ["stop"]
    assert connection.transport.truncated
    assert not parse_answer(connection.transport.value()).complete
    assert [event["what"] for event in logs if event.get("event") == "mounted.error"] == ["producer"]


@pytest.mark.parametrize("streaming", [True, False])
def test_a_producer_is_stopped_when_the_client_goes(streaming: bool) -> None:
    """It holds files or connections."""
    connection, request = open_request()
    producer = Push()
    request.registerProducer(producer, streaming)
    connection.leave()
    assert producer.calls == ["stop"]
    late = Push()
    request.registerProducer(late, streaming)
    assert late.calls == ["stop"]


def test_a_producer_that_cannot_be_stopped_is_logged() -> None:
    """The rest of the end still happens."""
    connection, request = open_request()

    class Broken(Push):
        def stopProducing(self) -> None:
            raise ValueError

    request.registerProducer(Broken(), True)
    with capturedLogs() as logs:
        connection.leave()
    assert [event for event in logs if event.get("event") == "mounted.error"]
    assert connection.ended == [request]


def test_a_forgotten_producer_does_not_keep_the_connection() -> None:
    """finish without unregisterProducer."""
    connection, request = open_request()
    producer = Push()
    request.registerProducer(producer, True)
    request.finish()
    assert connection.transport.producer is None
    assert producer.calls == []


@pytest.mark.parametrize(("queued", "cut"), [(64 * 1024 * 1024, False), (64 * 1024 * 1024 + 1, True)])
def test_a_resource_without_a_producer_fills_no_memory(queued: int, cut: bool) -> None:
    """WSGI applications cannot be paused: what waits for a slow client has a bound."""
    connection, request = open_request()
    request.write(b"a")
    connection.turn()
    connection.transport.slow(queued)
    request.write(b"b")
    connection.turn()
    assert connection.transport.truncated == cut


def test_a_client_that_reads_nothing_is_cut() -> None:
    """Even when the resource has no producer: the channel's deadline for a standstill."""
    connection, request = open_request()
    request.write(b"a")
    connection.turn()
    connection.transport.slow(1000)
    for _ in range(10):
        connection.turn(3.0)
    assert connection.transport.disconnected
    assert request.detail == "client does not read"
