"""Any bytes from an upstream: the client gets an answer that a strict reader takes, or sees that something is missing."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from hypothesis import given
from hypothesis import strategies as st

from tests.support.fuzzing import fuzzed
from tests.support.gateway import Received
from tests.support.logged import logged_events
from tests.support.memory_world import Exchange, MemoryWorld

REQUESTS = [
    b"GET /g HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"HEAD /h HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"POST /p HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello",
    b"GET /old HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n",
    b"GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
]
TOKENS = [
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.0 200 OK\r\n",
    b"HTTP/1.1 204 No Content\r\n",
    b"HTTP/1.1 304 Not Modified\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"HTTP/1.1 500 \r\n",
    b"HTTP/2 200\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: 5, 5\r\n",
    b"Content-Length: 6\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive, X-Secret\r\n",
    b"X-Secret: 1\r\n",
    b"X: \x00\r\n",
    b" folded\r\n",
    b"Content-Type: text/event-stream\r\n",
    b"\r\n",
    b"\n",
    b"hello",
    b"5\r\nhello\r\n",
    b"0\r\n\r\n",
    b"0\r\nX-Sum: 1\r\n\r\n",
    b"ZZ\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled",
    b"\x15\x03\x01\x00\x02",
    b"",
]
"""The empty one ends the upstream's side."""

ANSWERS: list[list[bytes]] = []
"""What the upstream says to the next requests."""


def respond(received: Received) -> Iterable[bytes]:
    return ANSWERS.pop(0) if ANSWERS else [b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlast", b""]


@cache
def world() -> MemoryWorld:
    """One gateway for all examples."""
    return MemoryWorld(respond, http_server_options={"enable_websockets": True})


def run(requests: list[bytes], answers: list[list[bytes]]) -> Exchange:
    """Run a connection; nothing may fail, and every answer must be one that a strict client reads."""
    ANSWERS[:] = answers
    with logged_events() as events:
        exchange = world().run(requests)
    failures = [event for event in events if "log_failure" in event or event.get("isError")]
    assert not failures, failures
    return exchange


@fuzzed(1000)
@given(
    requests=st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=3),
    answers=st.lists(st.lists(st.one_of(st.sampled_from(TOKENS), st.binary(max_size=20)), max_size=10), max_size=3),
    ends=st.booleans(),
)
def test_any_bytes_of_an_upstream(requests: list[bytes], answers: list[list[bytes]], ends: bool) -> None:
    """At most one final answer per request, each whole, or the connection ends; what is left over is nobody's answer."""
    exchange = run(requests, [[*answer, b""] if ends else answer for answer in answers])
    if b"HTTP/1.1 101 " in exchange.written:
        return  # what follows is not HTTP
    found = exchange.answers()
    assert len(found) <= len(exchange.methods)
    for answer in found[:-1]:
        assert answer.complete
    if ends and found and not found[-1].complete:
        assert exchange.closed
    for answer in found:
        assert answer.header(b"x-secret") is None


@fuzzed(500)
@given(
    framing=st.sampled_from(["length", "chunked", "close"]),
    body=st.binary(min_size=1, max_size=200),
    cut=st.integers(0, 400),
    end=st.booleans(),
    pieces=st.lists(st.integers(1, 100), max_size=6),
    old=st.booleans(),
)
def test_a_broken_body_is_never_passed_off_as_a_whole_one(
    framing: str, body: bytes, cut: int, end: bool, pieces: list[int], old: bool
) -> None:
    """Cut anywhere, by an end or a reset: the client has the whole body with a clean end, or sees that it has not."""
    if framing == "length":
        raw = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    elif framing == "chunked":
        raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    else:
        raw = b"HTTP/1.1 200 OK\r\n\r\n" + body
    sent = raw[:cut]
    is_whole = len(sent) == len(raw)
    answer: list[bytes] = []
    rest = sent
    for size in pieces:
        if rest[:size]:
            answer.append(rest[:size])
        rest = rest[size:]
    if rest:
        answer.append(rest)
    if end or not is_whole or framing == "close":
        answer.append(b"")
    exchange = run([REQUESTS[3 if old else 0]], [answer])
    head_is_whole = b"\r\n\r\n" in sent
    (found,) = exchange.answers()
    if not head_is_whole:
        assert found.status == 500
        return
    if framing == "close":
        assert (found.status, found.body) == (200, sent.partition(b"\r\n\r\n")[2])
    elif is_whole:
        assert (found.status, found.body, found.complete) == (200, body, True)
    else:
        # Without a length of its own (HTTP/1.0) the client only has the cut to tell by.
        assert found.status == 500 or not found.complete or exchange.truncated
        assert found.status == 500 or body.startswith(found.body)
