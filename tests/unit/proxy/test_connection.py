"""Tests of `tlsgate.proxy.connection`: answers of every shape, in one piece and byte by byte (RFC 9112, sections 6 to 8)."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from twisted.internet.error import ConnectionAborted
from twisted.python.failure import Failure

from tests.support.memory_channel import MemoryTransport
from tests.support.memory_upstream import DONE, LOST, AnswerLog, FakeBody, MemoryUpstream
from tlsgate.errors import Refusal, UpstreamError
from tlsgate.proxy.connection import UpstreamConnection
from tlsgate.tls.stream import TlsBroken

HEAD = b"HTTP/1.1 200 OK\r\n"


def feed(world: MemoryUpstream, data: bytes, way: str) -> None:
    pieces = [data] if way == "whole" else [data[i : i + 1] for i in range(len(data))]
    for piece in pieces:
        world.connection.dataReceived(piece)


@pytest.mark.parametrize("way", ["whole", "bytes"])
@pytest.mark.parametrize(
    ("raw", "body", "reusable"),
    [
        (HEAD + b"Content-Length: 5\r\n\r\nhello", b"hello", True),
        (HEAD + b"Content-Length: 0\r\n\r\n", b"", True),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n", b"hello", True),
        (HEAD + b"Content-Length: 5\r\nConnection: close\r\n\r\nhello", b"hello", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello", False),
        (b"HTTP/1.1 204 No\r\n\r\n", b"", True),
        (b"HTTP/1.1 304 Not\r\nContent-Length: 99\r\n\r\n", b"", True),
        (b"HTTP/1.1 103 Early\r\nLink: a\r\n\r\nHTTP/1.1 100 Go\r\n\r\n" + HEAD + b"Content-Length: 1\r\n\r\nx", b"x", True),
    ],
)
def test_complete_answers_are_read_and_free_the_connection(raw: bytes, body: bytes, reusable: bool, way: str) -> None:
    """Interim answers are not the answer; the connection goes back only when it may be used again."""
    world, log = MemoryUpstream(), AnswerLog()
    asked = world.request()
    pieces = [raw] if way == "whole" else [raw[i : i + 1] for i in range(len(raw))]
    streaming = False
    got = b""
    for piece in pieces:
        world.connection.dataReceived(piece)
        if asked.answer is not None and not streaming:
            streaming = True
            got = b"".join(asked.answer.chunks)
            if not asked.answer.complete:
                world.connection.stream_to(log, 30.0)
    assert asked.answer is not None
    assert got + log.body == body
    assert asked.answer.complete or log.trailers == []
    assert world.pool.idle_count == (1 if reusable else 0)
    assert world.transport.disconnecting == (not reusable)


def test_a_body_until_the_end_of_the_connection_needs_a_clean_end() -> None:
    """A FIN (or close_notify) completes it, a cut breaks it: never passed off as complete."""
    for clean in (True, False):
        world, log = MemoryUpstream(), AnswerLog()
        asked = world.request()
        world.connection.dataReceived(HEAD + b"\r\nhel")
        assert asked.answer is not None and asked.answer.length is None and not asked.answer.complete
        world.connection.stream_to(log, 30.0)
        world.connection.dataReceived(b"lo")
        if clean:
            world.connection.readConnectionLost()
        world.connection.connectionLost(DONE if clean else LOST)
        assert log.body == b"lo"
        assert (log.trailers == []) == clean
        assert (log.broken is None) == clean


@pytest.mark.parametrize("raw", [HEAD + b"Content-Length: 9\r\n\r\nhalf", HEAD + b"Transfer-Encoding: chunked\r\n\r\n9\r\nhalf"])
def test_half_a_body_breaks_off(raw: bytes) -> None:
    world, log = MemoryUpstream(), AnswerLog()
    asked = world.request()
    world.connection.dataReceived(raw)
    assert asked.answer is not None
    world.connection.stream_to(log, 30.0)
    world.connection.readConnectionLost()
    assert log.broken is not None
    assert world.pool.idle_count == 0


@pytest.mark.parametrize(
    "raw",
    [
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 1\n\nx",
        b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 501 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000,
    ],
)
@pytest.mark.parametrize("way", ["whole", "bytes"])
def test_malformed_heads_are_upstream_errors(raw: bytes, way: str) -> None:
    """UPE, and the connection is cut."""
    world = MemoryUpstream()
    asked = world.request()
    feed(world, raw, way)
    assert isinstance(asked.error, UpstreamError)
    assert asked.error.flag == "UPE"
    assert world.transport.disconnected


def test_bytes_that_nobody_asked_for_end_the_connection() -> None:
    """Before a request, behind an answer in one read, behind an answer to HEAD: none of it is an answer to the next request."""
    idle = MemoryUpstream()
    idle.connection.dataReceived(HEAD + b"Content-Length: 0\r\n\r\n")
    assert idle.transport.disconnected
    for is_head in (False, True):
        world = MemoryUpstream()
        asked = world.request(is_head=is_head)
        world.connection.dataReceived(HEAD + b"Content-Length: 1\r\n\r\nx" + HEAD + b"Content-Length: 6\r\n\r\npoison")
        assert asked.answer is not None and asked.answer.complete
        assert world.pool.idle_count == 0
        assert world.transport.disconnecting or world.transport.disconnected


def test_head_answers_have_no_body_and_keep_the_connection() -> None:
    world = MemoryUpstream()
    for _ in range(2):
        asked = world.request(is_head=True)
        world.connection.dataReceived(HEAD + b"Content-Length: 999\r\n\r\n")
        assert asked.answer is not None and asked.answer.complete and asked.answer.length == 999
        assert world.pool.take(world.destination.key) is world.connection


def test_time_runs_out() -> None:
    """No head in time; no more of a body in time; the whole exchange's own limit."""
    world = MemoryUpstream()
    asked = world.request()
    world.wait(29)
    assert asked.error is None
    world.wait(2)
    assert isinstance(asked.error, UpstreamError) and asked.error.refusal == "upstream.timeout"
    world, log = MemoryUpstream(), AnswerLog()
    world.request()
    world.connection.dataReceived(HEAD + b"Content-Length: 9\r\n\r\nha")
    world.connection.stream_to(log, 10.0)
    world.wait(8)
    world.connection.dataReceived(b"l")
    world.wait(8)
    assert log.broken is None
    world.wait(4)
    assert log.broken is not None
    world = MemoryUpstream()
    asked = world.request(expires=world.clock.seconds() + 5)
    world.wait(6)
    assert isinstance(asked.error, UpstreamError)


def test_a_paused_answer_is_not_late() -> None:
    """The client's slowness is not the upstream's."""
    world, log = MemoryUpstream(), AnswerLog()
    world.request()
    world.connection.dataReceived(HEAD + b"Content-Length: 9\r\n\r\nha")
    world.connection.stream_to(log, 10.0)
    world.connection.pause_answer()
    assert world.transport.producerState == "paused"
    world.wait(60)
    assert log.broken is None
    world.connection.resume_answer()
    world.wait(12)
    assert log.broken is not None


@pytest.mark.parametrize("chunked", [True, False])
def test_bodies_go_up_with_the_head_and_behind_it(chunked: bool) -> None:
    world, body = MemoryUpstream(), FakeBody(None if chunked else 6)
    asked = world.request(body, chunked=chunked, first=b"ab")
    assert body.sink is world.connection
    world.connection.body_chunk(b"cdef")
    world.connection.body_end([(b"X-Sum", b"1"), (b"Authorization", b"stolen")] if chunked else [])
    sent = world.transport.value().partition(b"\r\n\r\n")[2]
    assert sent == (b"2\r\nab\r\n4\r\ncdef\r\n0\r\nX-Sum: 1\r\n\r\n" if chunked else b"abcdef")
    world.connection.dataReceived(HEAD + b"Content-Length: 0\r\n\r\n")
    assert asked.answer is not None
    assert world.pool.idle_count == 1


def test_a_slow_upstream_pauses_the_client() -> None:
    world, body = MemoryUpstream(), FakeBody(None)
    world.request(body, chunked=True)
    world.transport.slow()
    assert body.paused
    world.transport.fast()
    assert not body.paused


def test_a_body_that_breaks_off_cuts_the_upstream() -> None:
    """It must not take half a body for a whole one; the refusal is the client's answer."""
    world, body = MemoryUpstream(), FakeBody(10)
    asked = world.request(body)
    refusal = Refusal("wire.timeout", "stalled")
    world.connection.body_failed(refusal)
    assert asked.error is refusal
    assert world.transport.disconnected


def test_an_early_answer_ends_the_connection_with_the_rest_of_the_body_unsent() -> None:
    world, body = MemoryUpstream(), FakeBody(10)
    asked = world.request(body)
    world.connection.dataReceived(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n")
    assert asked.answer is not None and asked.answer.status == 413
    assert world.transport.disconnected
    assert world.pool.idle_count == 0
    world.connection.body_chunk(b"late")
    assert b"late" not in world.transport.value()


def test_an_upgrade_hands_over_what_came_with_it() -> None:
    world = MemoryUpstream()
    asked = world.request()
    world.connection.dataReceived(b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst")
    assert asked.answer is not None and asked.answer.upgrade

    class Upgraded:
        def __init__(self) -> None:
            self.seen: list[object] = []

        def upstream_data(self, data: bytes) -> None:
            self.seen.append(data)

        def upstream_ended(self) -> None:
            self.seen.append("end")

        def upstream_lost(self) -> None:
            self.seen.append("lost")

    upgraded = Upgraded()
    assert world.connection.upgrade_to(upgraded) == b"first"
    world.connection.dataReceived(b"more")
    world.connection.readConnectionLost()
    world.connection.connectionLost(DONE)
    assert upgraded.seen == [b"more", "end", "lost"]


def test_cancelled_requests_cut_the_connection() -> None:
    """Its answer would come to whoever uses the connection next."""
    world = MemoryUpstream()
    asked = world.request()
    asked.cancel()
    assert world.transport.disconnected
    assert world.pool.idle_count == 0


def test_a_loss_before_the_first_byte_is_told_apart() -> None:
    """Decisions 2.12: only then a request may be tried again."""
    world = MemoryUpstream()
    world.request()
    world.connection.connectionLost(LOST)
    assert world.connection.untouched
    world = MemoryUpstream()
    world.request()
    world.connection.dataReceived(b"HTTP/1.1 2")
    world.connection.connectionLost(LOST)
    assert not world.connection.untouched


@pytest.mark.parametrize("surplus", [b"H", b"HTTP/1.1 302 Found\r\nLocation: http://evil.test/", b"\r\nHTTP/1.1 2", b"x", b"\0"])
@pytest.mark.parametrize(
    "answer",
    [
        HEAD + b"Content-Length: 2\r\n\r\nok",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 204 No\r\n\r\n",
        b"HTTP/1.1 304 Not\r\n\r\n",
    ],
)
@pytest.mark.parametrize("is_head", [False, True])
def test_no_byte_behind_an_answer_reaches_the_next_one(answer: bytes, surplus: bytes, is_head: bool) -> None:
    """The beginning of a further answer in the same read would otherwise wait in the parser for the next client's request."""
    world = MemoryUpstream()
    asked = world.request(is_head=is_head)
    world.connection.dataReceived(answer + surplus)
    assert asked.answer is not None
    assert world.pool.idle_count == 0
    assert world.transport.disconnecting or world.transport.disconnected


@pytest.mark.parametrize(
    ("reason", "flag", "words"),
    [
        (DONE, "UPE", "closed"),
        (LOST, "URR", "reset"),
        (Failure(ConnectionAborted()), "UPE", "without a TLS close_notify"),
        (Failure(TlsBroken("tlsv13 alert certificate required")), "TLH", "certificate required"),
        (Failure(TlsBroken("tlsv1 alert unknown ca")), "TLA", "unknown ca"),
        (Failure(TlsBroken("bad record mac")), "TLH", "bad record mac"),
    ],
)
@pytest.mark.parametrize("begun", [False, True])
def test_how_a_connection_ended_is_told(reason: Failure, flag: str, words: str, begun: bool) -> None:
    """Tyk's flags; with TLS 1.3 an upstream refuses a client certificate when the handshake is over for us."""
    world, log = MemoryUpstream(), AnswerLog()
    asked = world.request()
    if begun:
        world.connection.dataReceived(HEAD + b"Content-Length: 9\r\n\r\nhalf")
        world.connection.stream_to(log, 30.0)
    world.connection.connectionLost(reason)
    world.connection.connectionLost(reason)
    error = log.broken if begun else asked.error
    assert isinstance(error, UpstreamError)
    assert (error.refusal, error.flag) == ("upstream.failed", flag)
    assert words in error.reason


def test_an_end_before_the_answer_fails_at_once() -> None:
    """Nothing more can come: nobody waits for a time-out, or for an upload that cannot be read."""
    world, body = MemoryUpstream(), FakeBody(100)
    asked = world.request(body)
    world.connection.readConnectionLost()
    assert isinstance(asked.error, UpstreamError)
    assert asked.error.flag == "UPE"
    assert world.transport.disconnected
    assert body.sink is None


def test_an_idle_connection_whose_peer_ends_is_taken_out_at_once() -> None:
    """B23: not only when the socket is closed."""
    world = MemoryUpstream()
    world.pool.released(world.connection)
    world.connection.readConnectionLost()
    assert world.pool.idle_count == world.pool.open_count == 0
    assert world.transport.disconnecting
    world.connection.writeConnectionLost()


@pytest.mark.parametrize("tail", [b"EVIL", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL", b"H"])
@pytest.mark.parametrize(
    "answer",
    [
        HEAD + b"Content-Length: 2\r\n\r\nok",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 204 No\r\n\r\n",
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_bytes_behind_an_answer_belong_to_nobody(answer: bytes, tail: bytes, streamed: bool) -> None:
    """RFC 9112 section 6.3: the answer is complete by its own account, the connection is not used again."""
    world, log = MemoryUpstream(), AnswerLog()
    asked = world.request()
    if streamed and b"ok" in answer:
        first, second = answer.split(b"ok")
        world.connection.dataReceived(first + b"o")
        assert asked.answer is not None
        world.connection.stream_to(log, 30.0)
        world.connection.dataReceived(b"k" + second + tail)
        assert log.trailers == []
        assert b"".join(asked.answer.chunks) + log.body == b"ok"
    else:
        world.connection.dataReceived(answer + tail)
        assert asked.answer is not None
        assert asked.answer.complete
        assert b"".join(asked.answer.chunks) in (b"ok", b"")
    assert world.pool.idle_count == 0
    assert world.transport.disconnecting or world.transport.disconnected


def test_an_answer_to_head_that_brings_a_body_ends_the_connection() -> None:
    """Trailers of it, too."""
    for tail in (b"2\r\nok\r\n0\r\n\r\n", b"0\r\nX: y\r\n\r\n"):
        world = MemoryUpstream()
        asked = world.request(is_head=True)
        world.connection.dataReceived(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + tail)
        assert asked.answer is not None
        assert asked.answer.complete
        assert asked.answer.trailers == []
        assert world.pool.idle_count == 0


def test_an_upload_that_is_not_read_is_an_upstream_that_does_not_answer() -> None:
    """A queue that stands still over a whole time-out ends it; one that moves, and a client that is slow, do not."""
    world, body = MemoryUpstream(), FakeBody(1000)
    asked = world.request(body)
    world.wait(100)
    assert asked.error is None
    world.transport.slow(500)
    for queued in (400, 300, 200):
        world.wait(31)
        world.transport.queued_bytes = queued
    assert asked.error is None
    world.transport.fast()
    world.wait(100)
    assert asked.error is None
    world.transport.slow(500)
    world.wait(61)
    assert isinstance(asked.error, UpstreamError)
    assert (asked.error.refusal, asked.error.flag) == ("upstream.timeout", "URT")
    assert world.transport.disconnected


def test_a_connection_below_tls_is_found_for_a_look_at_its_socket() -> None:
    """TLS, and TLS to a proxy below it."""
    world = MemoryUpstream()
    inner: Any = MemoryTransport()
    inner.socket, theirs = socket.socketpair()
    looks = []
    for depth in range(3):
        outer = inner
        for _ in range(depth):
            layer: Any = MemoryTransport()
            layer.transport = outer
            outer = layer
        connection = UpstreamConnection(world.pool, world.deadlines)
        connection.makeConnection(outer)
        looks.append(connection.look)
    assert [look and look(0) for look in looks] == [[], [], []]
    theirs.close()
    assert all(look is not None and look(0) for look in looks)
    inner.socket.close()


def test_what_comes_too_late_changes_nothing() -> None:
    """A body that goes on, a producer that is told, ends: after the connection has gone."""
    world, body = MemoryUpstream(), FakeBody(None)
    world.request(body, chunked=True)
    world.connection.connectionLost(LOST)
    world.transport.clear()
    world.connection.body_chunk(b"late")
    world.connection.body_end([])
    world.connection.pauseProducing()
    world.connection.resumeProducing()
    world.connection.stopProducing()
    world.connection.pause_answer()
    world.connection.resume_answer()
    world.connection.close()
    world.connection.retire()
    assert world.transport.value() == b""


def test_answers_below_100_are_no_answers() -> None:
    """llhttp lets them through."""
    world = MemoryUpstream()
    asked = world.request()
    world.connection.dataReceived(b"HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n")
    assert isinstance(asked.error, UpstreamError)


_ANSWERS = {
    "length": (HEAD + b"Content-Length: 5\r\n\r\nhello", False),
    "empty": (HEAD + b"Content-Length: 0\r\n\r\n", False),
    "chunked": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\nX-T: 1\r\n\r\n", False),
    "none": (b"HTTP/1.1 204 No\r\nContent-Length: 3\r\n\r\n", False),
    "unchanged": (b"HTTP/1.1 304 Not\r\nContent-Length: 99\r\n\r\n", False),
    "interim": (b"HTTP/1.1 103 Early\r\n\r\n" + HEAD + b"Content-Length: 1\r\n\r\nx", False),
    "head": (HEAD + b"Content-Length: 7\r\n\r\n", True),
    "head, chunked": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", True),
    "head, empty": (HEAD + b"Content-Length: 0\r\n\r\n", True),
}


@pytest.mark.parametrize("way", ["whole", "bytes"])
@pytest.mark.parametrize("before", _ANSWERS)
def test_an_answer_is_read_alike_whatever_the_one_before_it_was(before: str, way: str) -> None:
    """The parser is kept from one answer to the next only where it has seen the end of the first itself."""
    for name in _ANSWERS:
        read = []
        for pair in ((before, name), (name,)):
            world, log = MemoryUpstream(), AnswerLog()
            for number, one in enumerate(pair):
                asked = world.request(is_head=_ANSWERS[one][1])
                log = AnswerLog()
                streaming = False
                data, whole = _ANSWERS[one]
                # The end of an answer to HEAD must lie in one read.
                for piece in [data] if whole or way == "whole" else [data[i : i + 1] for i in range(len(data))]:
                    world.connection.dataReceived(piece)
                    if asked.answer is not None and not streaming and not asked.answer.complete:
                        streaming = True
                        world.connection.stream_to(log, 30.0)
                assert world.pool.idle_count == 1, (pair, number)
                if number + 1 < len(pair):
                    assert world.pool.take(world.destination.key) is world.connection
            assert asked.answer is not None
            read.append((asked.answer.status, asked.answer.headers, b"".join(asked.answer.chunks) + log.body, asked.answer.trailers))
        assert read[0] == read[1], (before, name)


def test_an_answer_that_offers_another_protocol_leaves_a_parser_that_goes_on() -> None:
    """An offer that nobody asked for (RFC 9110 section 7.8) changes nothing."""
    world = MemoryUpstream()
    asked = world.request()
    world.connection.dataReceived(HEAD + b"Connection: keep-alive, Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nok")
    assert asked.answer is not None and asked.answer.chunks == [b"ok"]
    assert world.pool.take(world.destination.key) is world.connection
    asked = world.request()
    world.connection.dataReceived(_ANSWERS["length"][0])
    assert asked.answer is not None and asked.answer.chunks == [b"hello"]
