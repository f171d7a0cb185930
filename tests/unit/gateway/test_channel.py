"""Requests from bytes: however the bytes are cut, the same requests in the same order, or the same refusal."""

from __future__ import annotations

from typing import NamedTuple

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from tests.support.memory_channel import MemoryTransport
from tests.support.wire_site import EagerTransport, Wire
from tlsgate.gateway.channel import HttpChannel

HOST = b"Host: a.test\r\n"
GET = b"GET /1 HTTP/1.1\r\n" + HOST + b"\r\n"
AFTER = b"GET /after HTTP/1.1\r\n" + HOST + b"\r\n"


def post(body: bytes, *lines: bytes, target: bytes = b"/post") -> bytes:
    return b"POST %b HTTP/1.1\r\n%bContent-Length: %d\r\n%b\r\n%b" % (target, HOST, len(body), b"".join(lines), body)


def chunked(*chunks: bytes, lines: bytes = b"", trailers: bytes = b"", target: bytes = b"/chunked") -> bytes:
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return b"POST %b HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\n%b\r\n%b0\r\n%b\r\n" % (target, HOST, lines, body, trailers)


class Case(NamedTuple):
    """Bytes of a client and what must come of them."""

    name: str
    data: bytes
    texts: tuple[bytes, ...] = ()
    """Bodies of the good answers: method, target and body as they were read."""
    status: int = 0
    """Of the refusal at the end; 0 when the connection lives on, or just closes."""
    closes: bool = False
    """Whether the connection ends after the last answer."""


GOOD = [
    Case("get", GET, (b"GET /1 ",)),
    Case("two", GET + GET.replace(b"/1 ", b"/2 "), (b"GET /1 ", b"GET /2 ")),
    Case("three", GET * 3, (b"GET /1 ",) * 3),
    Case("empty lines before a request", b"\r\n\r\n" + GET + b"\r\n" + GET, (b"GET /1 ",) * 2),
    Case("body", post(b"hello"), (b"POST /post hello",)),
    Case("body of nothing", post(b""), (b"POST /post ",)),
    Case("body that looks like a request", post(GET), (b"POST /post " + GET,)),
    Case("body, then a request", post(b"hello") + GET, (b"POST /post hello", b"GET /1 ")),
    Case("two bodies", post(b"a") + post(b"bc"), (b"POST /post a", b"POST /post bc")),
    Case("chunks", chunked(b"hel", b"lo"), (b"POST /chunked hello",)),
    Case("no chunks", chunked(), (b"POST /chunked ",)),
    Case("chunks, then a request", chunked(b"x" * 20) + GET, (b"POST /chunked " + b"x" * 20, b"GET /1 ")),
    Case("chunks, then three requests", chunked(b"x") + GET * 3, (b"POST /chunked x", *(b"GET /1 ",) * 3)),
    Case("chunks, then a body", chunked(b"x") + post(b"body") + GET, (b"POST /chunked x", b"POST /post body", b"GET /1 ")),
    Case("chunks twice", chunked(b"x") + chunked(b"y", b"z"), (b"POST /chunked x", b"POST /chunked yz")),
    Case("chunks, then empty lines", chunked(b"x") + b"\r\n\r\n" + GET, (b"POST /chunked x", b"GET /1 ")),
    Case("chunk that holds an end of head", chunked(b"a\r\n\r\nb") + GET, (b"POST /chunked a\r\n\r\nb", b"GET /1 ")),
    Case("chunk extension", chunked(b"x").replace(b"1\r\nx", b"1;a=b\r\nx"), (b"POST /chunked x",)),
    Case("trailers", chunked(b"x", trailers=b"X-Sum: 1\r\n") + GET, (b"POST /chunked x", b"GET /1 ")),
    Case("http/1.0", b"GET /1 HTTP/1.0\r\n\r\n", (b"GET /1 ",), closes=True),
    Case("http/1.0 that stays", b"GET /1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + GET, (b"GET /1 ",) * 2),
    Case("close", b"GET /1 HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n", (b"GET /1 ",), closes=True),
    Case("body and close", post(b"hello", b"Connection: close\r\n"), (b"POST /post hello",), closes=True),
    Case("chunks and close", chunked(b"x", lines=b"Connection: close\r\n"), (b"POST /chunked x",), closes=True),
    Case(
        "upgrade to h2c is a plain request, the last one",
        b"GET /1 HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        (b"GET /1 ",),
        closes=True,
    ),
]
BAD = [
    Case("no host", b"GET / HTTP/1.1\r\n\r\n", status=400, closes=True),
    Case("two hosts", b"GET / HTTP/1.1\r\n" + HOST * 2 + b"\r\n", status=400, closes=True),
    Case("junk", b"\x00\x01\x02\x03\r\n\r\n", status=400, closes=True),
    Case("a ClientHello", b"\x16\x03\x01\x00\x05hello", status=400, closes=True),
    Case("bare LF", b"GET / HTTP/1.1\nHost: a.test\n\n", status=400, closes=True),
    Case("space before the colon", b"GET / HTTP/1.1\r\nHost : a.test\r\n\r\n", status=400, closes=True),
    Case(
        "both lengths", b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", status=400, closes=True
    ),
    Case("unknown coding", b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip\r\n\r\n", status=400, closes=True),
    Case("connect", b"CONNECT a.test:443 HTTP/1.1\r\n" + HOST + b"\r\n", status=405, closes=True),
    Case("preface of http/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", status=400, closes=True),
    Case("http/2.0", b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", status=505, closes=True),
    Case("http/0.9", b"GET /\r\n\r\n", status=400, closes=True),
    Case("expectation", b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nExpect: miracle\r\n\r\n", status=417, closes=True),
    Case("fields", b"GET / HTTP/1.1\r\n" + HOST + b"A: b\r\n" * 100 + b"\r\n", status=431, closes=True),
    Case("long target", b"GET /" + b"a" * 8192 + b" HTTP/1.1\r\n" + HOST + b"\r\n", status=414, closes=True),
    Case("junk after a request", GET + b"\x00\x01\x02\x03", (b"GET /1 ",), 400, True),
    Case("junk after a body", post(b"hello") + b"\x00\x01\x02\x03", (b"POST /post hello",), 400, True),
]
"""The refusal is sent, and nothing after it is read."""


class Outcome(NamedTuple):
    """What a client saw."""

    texts: tuple[bytes, ...]
    status: int
    closed: bool


def outcome(wire: Wire) -> Outcome:
    answers = wire.answers()
    good = tuple(answer.body for answer in answers if answer.status == 200)
    others = [answer.status for answer in answers if answer.status != 200]
    assert len(others) <= 1
    assert all(answer.status == 200 for answer in answers[: len(good)]), "a refusal is the last answer"
    assert all(answer.complete for answer in answers)
    closed = wire.transport.disconnecting or wire.transport.half_closed
    return Outcome(good, others[0] if others else 0, closed)


def feed(pieces: list[bytes]) -> Wire:
    wire = Wire(answering=True)
    for piece in pieces:
        if wire.transport.disconnecting:
            break
        wire.send(piece)
    return wire


def check(case: Case, pieces: list[bytes]) -> None:
    assert outcome(feed(pieces)) == Outcome(case.texts, case.status, case.closes)


def names(case: Case) -> str:
    return case.name.replace(" ", "-")


@pytest.mark.parametrize("case", GOOD + BAD, ids=names)
def test_all_at_once(case: Case) -> None:
    """One read."""
    check(case, [case.data])


@pytest.mark.parametrize("case", GOOD + BAD, ids=names)
def test_byte_by_byte(case: Case) -> None:
    """One byte per read."""
    check(case, [case.data[at : at + 1] for at in range(len(case.data))])


@pytest.mark.parametrize("case", [case for case in GOOD if not case.closes], ids=names)
def test_with_trailing_bytes(case: Case) -> None:
    """The next request, or a part of it, in the same read."""
    for end in (1, 5, 20, len(AFTER) - 3, len(AFTER) - 1, len(AFTER)):
        wire = feed([case.data + AFTER[:end], AFTER[end:]])
        assert outcome(wire) == Outcome((*case.texts, b"GET /after "), 0, False)


@pytest.mark.parametrize("case", [case for case in GOOD + BAD if case.closes], ids=names)
def test_nothing_is_read_behind_the_end(case: Case) -> None:
    """Bytes behind the last request, or behind a framing error, are no request."""
    check(case, [case.data + AFTER])


@pytest.mark.parametrize("case", GOOD + BAD, ids=names)
def test_two_reads(case: Case) -> None:
    """Cut at each place once."""
    step = 1 if len(case.data) < 600 else 97
    for at in range(1, len(case.data), step):
        check(case, [case.data[:at], case.data[at:]])


@given(cases=st.lists(st.sampled_from([case for case in GOOD if not case.closes]), min_size=1, max_size=5), data=st.data())
def test_any_cut_of_any_sequence(cases: list[Case], data: st.DataObject) -> None:
    """Requests in order, each with its own body."""
    stream = b"".join(case.data for case in cases)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    texts = tuple(text for case in cases for text in case.texts)
    assert outcome(feed([piece for piece in pieces if piece])) == Outcome(texts, 0, False)


@pytest.mark.parametrize("transport", [None, "eager"])
def test_requests_wait_for_the_answer_before(transport: str | None) -> None:
    """RFC 9112 9.3.2: one at a time, in order, whatever arrives meanwhile."""
    wire = Wire(transport=EagerTransport() if transport else None)
    targets = [b"/%d" % number for number in range(30)]
    stream = b"".join(b"GET %b HTTP/1.1\r\n" % target + HOST + b"\r\n" for target in targets)
    for at in range(0, len(stream), 50):
        wire.send(stream[at : at + 50])
    for number, target in enumerate(targets):
        assert len(wire.handled) == number + 1
        assert wire.request.target == target
        assert wire.request.number == number + 1
        wire.channel.respond(wire.request, 200, [], target)
    assert [answer.body for answer in wire.answers()] == targets


def big(number: int, size: int = 900) -> bytes:
    return b"GET /%d HTTP/1.1\r\n" % number + HOST + b"X: " + b"x" * size + b"\r\n\r\n"


def test_what_waits_is_bounded() -> None:
    """Above 16 KiB of later requests reading stops, and goes on when they are read."""
    wire = Wire()
    wire.send(big(0))
    sent = 1
    while wire.transport.producerState == "producing" and sent < 100:
        wire.send(big(sent))
        sent += 1
    assert 16384 < sum(len(big(number)) for number in range(1, sent)) < 16384 + 2000
    wire.channel.respond(wire.request, 200, [], b"")
    assert wire.transport.producerState == "producing"
    for _ in range(sent):
        wire.channel.respond(wire.request, 200, [], b"")
    assert [request.target for request in wire.handled] == [b"/%d" % number for number in range(sent)]


def test_nothing_is_lost_that_arrives_while_reading_goes_on() -> None:
    """A TLS stream delivers what it has decrypted within ``resumeProducing``: behind what waits, never dropped or before it."""
    transport = EagerTransport()
    wire = Wire(transport=transport)
    stream = b"".join(big(number) for number in range(100))
    transport.arrive(*(stream[at : at + 7000] for at in range(0, len(stream), 7000)))
    assert transport.held
    for _ in range(100):
        wire.channel.respond(wire.request, 200, [], b"")
    assert [request.target for request in wire.handled] == [b"/%d" % number for number in range(100)]
    assert not transport.held


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("attach_within", [True, False])
def test_no_byte_of_a_body_is_lost_when_its_reader_comes(framing: str, attach_within: bool) -> None:
    """The same for a body that filled its buffer before anybody wanted it."""
    transport = EagerTransport()
    body = bytes(range(256)) * 1024
    wire = Wire(transport=transport, answering=attach_within)
    stream = (post(body) if framing == "length" else chunked(body[:100_000], body[100_000:])) + GET
    transport.arrive(stream[:70_000], *(stream[at : at + 5000] for at in range(70_000, len(stream), 5000)))
    if not attach_within:
        assert transport.held
        wire.answering = True
        wire.collect(answer=True)
    texts = [answer.body for answer in wire.answers()]
    assert texts == [b"POST %b %b" % (b"/post" if framing == "length" else b"/chunked", body), b"GET /1 "]
    assert not transport.held


def test_a_reader_that_is_full_at_once_stays_paused() -> None:
    """The buffered part alone may be more than the reader takes now."""
    wire = Wire()
    body = b"x" * 200_000
    wire.send(post(body)[:100_000])
    assert wire.transport.producerState == "paused"

    class Full:
        got = 0

        def body_chunk(self, data: bytes) -> None:
            self.got += len(data)
            wire.request.body.pause()

        def body_end(self, trailers: object) -> None:
            """Not reached."""

        body_failed = body_end

    sink = Full()
    wire.request.body.attach(sink)
    assert sink.got > 65536
    assert wire.transport.producerState == "paused"
    wire.request.body.resume()
    assert wire.transport.producerState == "producing"


def test_a_head_is_limited_in_bytes() -> None:
    """431 one byte above the limit, in one read or many; the answer is sent, then the connection half-closes."""
    for size, status in ((16384, 200), (16385, 431)):
        head = b"GET /1 HTTP/1.1\r\n" + HOST + b"X: "
        head += b"x" * (size - len(head) - 4) + b"\r\n\r\n"
        assert len(head) == size
        for cut in (size, 1000, 16383, 16381, 16382):
            wire = feed([head[at : at + cut] for at in range(0, size, cut)])
            assert [answer.status for answer in wire.answers()] == [status], cut
            assert wire.transport.half_closed == (status == 431)


def test_the_limit_of_a_head_does_not_count_the_body() -> None:
    """The last bytes of a head may come with a large piece of its body."""
    body = b"b" * 60_000
    for cut in range(1, 5):
        data = post(body)
        end = data.index(b"\r\n\r\n") + 4 - cut
        wire = feed([data[:end], data[end:]])
        assert [answer.body for answer in wire.answers()] == [b"POST /post " + body]


def test_a_head_without_end_is_refused() -> None:
    """One endless field, an endless target, endless empty lines: nobody is called meanwhile, the bytes are counted."""
    for start in (b"GET / HTTP/1.1\r\nX: ", b"GET /", b"\r\n"):
        wire = Wire(answering=True)
        wire.send(start)
        for _ in range(40):
            wire.send(start if start == b"\r\n" else b"a" * 500)
            if start == b"\r\n":
                wire.send(b"\r\n" * 250)
        assert [answer.status for answer in wire.answers()] == [431]


def test_pieces_of_a_body_are_limited() -> None:
    """Decisions 2.4: a chunk extension, a chunk line, a trailer without end, too many trailers."""
    start = b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
    for endless in (b"1;a=", b"1\r\nx\r\n0\r\nX: ", b"1\r\nx\r\n1;"):
        wire = Wire()
        wire.send(start)
        sink = wire.collect(answer=True)
        wire.send(endless)
        for _ in range(40):
            wire.send(b"a" * 500)
        assert sink.failed.id == "wire.head_too_large"
        assert wire.refused[0].id == "wire.head_too_large"
    for count, end, failed in ((100, b"\r\n", False), (101, b"\r\n", True), (102, b"", True)):
        wire = Wire()
        wire.send(start + b"0\r\n")
        sink = wire.collect(answer=True)
        wire.send(b"A: b\r\n" * count + end)
        assert (sink.failed is not None) == failed, count
        assert (sink.trailers == [(b"A", b"b")] * 100) != failed


@pytest.mark.parametrize(("setting", "wanted"), [("drop", [(b"A", b"1")]), ("allow", [(b"A", b"1"), (b"B_c", b"2")]), ("refuse", None)])
def test_trailers_obey_the_rules_of_names(setting: str, wanted: list[tuple[bytes, bytes]] | None) -> None:
    """Names with an underscore, as in a head."""
    wire = Wire(underscore_headers=setting)
    wire.send(b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n")
    sink = wire.collect()
    wire.send(b"0\r\nA: 1\r\nB_c: 2\r\n\r\n")
    assert sink.trailers == wanted
    assert (sink.failed is not None) == (wanted is None)


def test_long_chunks_are_not_taken_for_chunk_lines() -> None:
    """The count begins anew with each chunk and each piece of data."""
    wire = Wire(answering=True)
    wire.send(chunked(b"x" * 100_000, *[b"y"] * 8000))
    assert wire.answers()[0].body == b"POST /chunked " + b"x" * 100_000 + b"y" * 8000


BROKEN_BODIES = [b"ZZ\r\n", b"5\r\nhelloX", b"-1\r\n", b"1\r\nxx\r\n", b"0\r\nX Y: z\r\n\r\n", b"1 \nx\r\n"]


@pytest.mark.parametrize("body", BROKEN_BODIES)
def test_a_broken_body_that_comes_with_its_head_is_answered(body: bytes) -> None:
    """Nobody serves the request, 400 is sent, nothing hangs."""
    wire = Wire()
    wire.send(b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + body)
    assert [answer.status for answer in wire.answers()] == [400]
    assert not wire.handled
    assert wire.transport.half_closed
    assert [refusal.id for refusal in wire.refused] == ["wire.bad_request"]


@pytest.mark.parametrize("body", BROKEN_BODIES)
def test_a_broken_body_tells_its_reader(body: bytes) -> None:
    """Who reads it answers; the connection closes after that, and later bytes are no request."""
    wire = Wire()
    wire.send(b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n")
    sink = wire.collect()
    wire.send(body)
    assert sink.failed.id == "wire.bad_request"
    assert wire.refused
    wire.send(AFTER)
    wire.channel.respond(wire.request, 400, [], b"broken")
    assert [answer.body for answer in wire.answers()] == [b"broken"]
    assert wire.answers()[0].header(b"connection") == b"close"
    assert len(wire.handled) == 1
    assert wire.transport.half_closed


def test_a_broken_body_cuts_an_answer_under_way() -> None:
    """An answer that has begun is never ended cleanly over a request that was not whole."""
    wire = Wire()
    wire.send(b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n")
    wire.collect()
    wire.channel.begin(wire.request, 200, [], None)
    wire.send(b"ZZ\r\n")
    assert wire.transport.disconnected
    assert wire.request.detail


def test_a_reader_that_comes_late_hears_of_the_failure() -> None:
    """First what arrived, then that it breaks off."""
    wire = Wire()
    wire.send(b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n")
    wire.send(b"5\r\nhello\r\n")
    wire.send(b"ZZ\r\n")
    sink = wire.collect()
    assert sink.body == b"hello"
    assert sink.failed.id == "wire.bad_request"


def test_a_fault_behind_a_request_lets_it_be_answered() -> None:
    """What follows a chunked body in the same read is junk: the request before is good."""
    wire = Wire()
    wire.send(b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n")
    sink = wire.collect()
    wire.send(b"5\r\nhello\r\n0\r\n\r\n\x00\x01\x02")
    assert sink.body == b"hello"
    assert sink.trailers == []
    wire.channel.respond(wire.request, 200, [], b"fine")
    assert [answer.status for answer in wire.answers()] == [200, 400]
    assert wire.transport.half_closed


def test_the_body_of_a_later_request_does_not_flow_before_its_turn() -> None:
    """It is held with everything behind it; a limit on it does not touch the request under way."""
    wire = Wire(max_body_bytes=1000)
    later = chunked(b"y" * 3000, target=b"/later")
    wire.send(chunked(b"x", target=b"/first")[: -len(b"\r\n")])
    sink = wire.collect()
    wire.send(b"\r\n" + later[:200])
    assert sink.trailers == []
    wire.channel.begin(wire.request, 200, [], 4)
    wire.send(later[200:])
    assert not wire.transport.disconnected
    wire.channel.finish(wire.request, last=b"fine")
    assert wire.request.target == b"/later"
    sink = wire.collect(answer=True)
    assert sink.failed.id == "size.too_large"
    assert [answer.status for answer in wire.answers()] == [200, 400]


def test_chunked_bodies_are_limited() -> None:
    """413 for the one byte more (``max_request_body_size``); with a length it is refused before."""
    for size, failed in ((1000, False), (1001, True)):
        for cut in (10, 400, 5000):
            data = chunked(*[b"x"] * size)
            wire = Wire(max_body_bytes=1000, answering=True)
            for at in range(0, len(data), cut):
                wire.send(data[at : at + cut])
            assert (wire.sinks[0].failed is not None) == failed
            if failed:
                assert wire.sinks[0].failed.id == "size.too_large"
                assert wire.transport.half_closed


def test_an_unknown_method_is_not_implemented() -> None:
    """501 where it can be told from junk (RFC 9110 15.6.2), else 400; closed in both cases."""
    for data, status in (
        (b"FROB / HTTP/1.1\r\n", 501),
        (b"frob / HTTP/1.1\r\n", 400),
        (b"FROB", 400),
        (b"\r\n\r\nFROB / HTTP/1.0\r\n\r\n", 501),
    ):
        wire = feed([data])
        assert outcome(wire) == Outcome((), status, True)


def test_error_answers_have_the_form_that_the_request_asks_for() -> None:
    """As all errors: by the request's content type; none for HEAD."""
    wire = feed([b"POST / HTTP/1.1\r\nA: b\r\nContent-Type: application/xml\r\nHost: a b\r\n\r\n"])
    answer = wire.answers()[0]
    assert answer.status == 400
    assert answer.header(b"content-type") == b"application/xml"
    assert b"<error>Bad Request</error>" in answer.body
    wire = feed([b"HEAD / HTTP/1.1\r\n\r\n"])
    head, _, rest = wire.written.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"Content-Length: " in head
    assert not rest


def test_an_upgrade_by_another_name_brings_no_body() -> None:
    """llhttp listens to Proxy-Connection, too, and stops: nobody could tell the body from what follows."""
    for lines, status in ((b"Content-Length: 5\r\n", 400), (b"", 200)):
        wire = Wire(answering=True)
        wire.send(b"GET / HTTP/1.1\r\n" + HOST + b"Proxy-Connection: upgrade\r\nUpgrade: x\r\n" + lines + b"\r\nhello" + AFTER)
        assert [answer.status for answer in wire.answers()] == [status]
        assert wire.transport.half_closed or wire.transport.disconnecting


def test_a_fault_of_our_own_is_not_taken_for_the_clients() -> None:
    """Whatever a reader raises reaches the reactor, which ends the connection and logs it."""

    class Faulty:
        def body_chunk(self, data: bytes) -> None:
            raise KeyError("ours")

    wire = Wire()
    wire.send(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\n")
    wire.request.body.attach(Faulty())  # type: ignore[arg-type]
    with pytest.raises(httptools.HttpParserCallbackError) as caught:
        wire.send(b"hello")
    assert isinstance(caught.value.__context__, KeyError)
    assert not wire.written


class Fragile(MemoryTransport):
    """A transport that is lost within a write, as a TLS stream whose OpenSSL fails."""

    channel: HttpChannel

    def write(self, data: bytes) -> None:
        super().write(data)
        self.channel.connectionLost(Failure(ConnectionDone()))


def test_a_connection_that_is_lost_within_a_write() -> None:
    """In a refusal, in an answer, in the middle of a body: nothing more happens to it."""
    for data in (b"\x00\x01", GET * 2, chunked(b"a" * 20, b"b\r\n\r\n" * 10, b"c") + GET):
        transport = Fragile()
        wire = Wire(transport=transport)
        transport.channel = wire.channel
        wire.answering = True
        if data.startswith(b"POST"):
            wire.answering = False
            wire.send(data[:70])
            request = wire.request
            request.body.attach(Echoing(wire))
            wire.send(data[70:])
        else:
            wire.send(data)
        assert wire.channel.lost
        assert len(wire.handled or ()) <= 1
        assert not transport.half_closed


class Echoing:
    """Answers with the first piece of the body."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire

    def body_chunk(self, data: bytes) -> None:
        self.wire.channel.begin(self.wire.request, 200, [], None, data)

    def body_end(self, trailers: object) -> None:
        """Too late."""

    body_failed = body_end


def test_an_upgrade_request_keeps_what_follows_for_the_new_protocol() -> None:
    """However the end of the head is cut (decisions 2.3)."""
    data = b"GET /ws HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + b"GET /evil HTTP/1.1\r\n\r\n"
    for at in range(1, len(data)):
        wire = Wire()
        wire.send(data[:at])
        wire.send(data[at:])
        assert len(wire.handled) == 1, at
        assert wire.request.upgrade == b"websocket"
        taken: list[bytes] = []
        stream = Taken(taken)
        wire.channel.take_over(wire.request, stream, b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        assert b"".join(taken) == b"GET /evil HTTP/1.1\r\n\r\n", at


def test_what_an_upgrade_brought_is_never_a_request() -> None:
    """An upgrade that is not taken ends the connection after the answer (decisions 2.3)."""
    wire = Wire()
    wire.send(b"GET /ws HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + AFTER)
    wire.send(AFTER)
    wire.channel.respond(wire.request, 404, [], b"")
    assert [answer.status for answer in wire.answers()] == [404]
    assert len(wire.handled) == 1
    assert wire.transport.disconnecting or wire.transport.half_closed
    assert wire.answers()[0].header(b"connection") == b"close"


class Taken:
    """Stands for an upgraded stream."""

    def __init__(self, data: list[bytes]) -> None:
        self.data = data
        self.calls: list[str] = []
        self.request = None

    def client_data(self, data: bytes) -> None:
        self.data.append(data)

    def client_ended(self) -> None:
        self.calls.append("ended")

    def client_lost(self) -> None:
        self.calls.append("lost")

    def drain(self) -> None:
        self.calls.append("drain")

    def cut(self, reason: str) -> None:
        self.calls.append(reason)


def test_bytes_stay_in_order_when_the_stream_changes_hands() -> None:
    """First what was left over, then what waited, then what a resumed TLS stream delivers at once."""
    transport = EagerTransport()
    wire = Wire(transport=transport)
    head = b"GET /ws HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    pieces = [bytes([number]) * 6000 for number in range(1, 8)]
    transport.arrive(head + b"left", *pieces)
    assert transport.held
    taken: list[bytes] = []
    wire.channel.take_over(wire.request, Taken(taken), b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
    assert b"".join(taken) == b"left" + b"".join(pieces)
    transport.arrive(b"more")
    assert taken[-1] == b"more"


def test_the_connection_is_over_when_it_is_lost() -> None:
    """Whoever works for the client is told; nothing is read or written afterwards."""
    wire = Wire()
    assert wire.open == 1
    wire.send(GET + GET)
    request = wire.request
    calls: list[str] = []
    request.client_gone = lambda: calls.append("gone")  # type: ignore[method-assign]
    wire.leave()
    wire.leave()
    assert calls == ["gone"]
    assert wire.open == 0
    wire.channel.respond(request, 200, [], b"late")
    wire.channel.chunk(request, b"late")
    wire.channel.break_off(request, "late")
    wire.channel.send_continue()
    wire.channel.register_producer(object())
    wire.channel.unregister_producer()
    wire.channel.pause_reading(2)
    wire.channel.resume_reading(2)
    wire.channel.abort("late")
    wire.channel.drain()
    wire.channel.deadline_passed()
    assert not wire.written
    assert wire.channel.lost
    wire.pass_time(61)
    assert not wire.reactor.getDelayedCalls()
