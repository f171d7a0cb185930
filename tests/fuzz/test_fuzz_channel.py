"""Any bytes on a client connection: answers or an end, never a failure, and a strict upstream never sees anything odd."""

from __future__ import annotations

from functools import cache

from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.ambiguous import CASES
from tests.support.fuzzing import fuzzed
from tests.support.gateway import Received
from tests.support.logged import logged_events
from tests.support.memory_world import Exchange, MemoryWorld

TOKENS = [
    b"GET",
    b"POST",
    b"HEAD",
    b"OPTIONS",
    b"CONNECT",
    b"PRI",
    b"FROB",
    b" ",
    b"  ",
    b"\t",
    b"/",
    b"/a/../b",
    b"/%2e%2e/x",
    b"/x;y",
    b"/a%2Fb",
    b"//x",
    b"*",
    b"http://a.test/x",
    b"?q#f",
    b" HTTP/1.1\r\n",
    b" HTTP/1.0\r\n",
    b" HTTP/2.0\r\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"\r",
    b"\0",
    b":",
    b"Host: a.test\r\n",
    b"Host: b.test\r\n",
    b"Host:\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: +5\r\n",
    b"Content_Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Transfer-Encoding : chunked\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"Connection: Upgrade, X\r\n",
    b"Upgrade: websocket\r\n",
    b"Upgrade: h2c\r\n",
    b"Expect: 100-continue\r\n",
    b"Trailer: X\r\n",
    b"Te: trailers\r\n",
    b"X-Forwarded-For: 1.2.3.4\r\n",
    b" folded\r\n",
    b"X: \xff\x80\r\n",
    b"hello",
    b"5\r\nhello\r\n",
    b"5;ext=1\r\nhello\r\n",
    b"0\r\n\r\n",
    b"0\r\nX: 1\r\n\r\n",
    b"0\r\nContent-Length: 5\r\n\r\n",
    b"ffffffffffffffff\r\n",
    b"GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"POST /p HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /c HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HEAD /h HTTP/1.1\r\nHost: a.test\r\n\r\n",
]

streams = st.one_of(
    st.lists(st.sampled_from(TOKENS), min_size=1, max_size=25).map(b"".join),
    st.lists(st.sampled_from([case.raw for case in CASES if len(case.raw) < 5000]), min_size=1, max_size=3).map(b"".join),
    st.binary(max_size=300),
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A stream with some bytes changed, taken out or put in."""
    data = bytearray(draw(streams))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        kind = draw(st.sampled_from(["change", "remove", "insert"]))
        if kind == "change" and at < len(data):
            data[at] = draw(st.integers(0, 255))
        elif kind == "remove":
            del data[at : at + draw(st.integers(1, 5))]
        else:
            data[at:at] = draw(st.sampled_from([b"\r\n", b"\n", b" ", b"\0", b"\r\n\r\n", b"\x7f", b"0"]))
    return bytes(data)


@cache
def world() -> MemoryWorld:
    """One gateway for all examples."""
    return MemoryWorld()


def run(pieces: list[bytes], *, end: bool = False) -> Exchange:
    """Run a connection and check what holds for each."""
    with logged_events() as events:
        exchange = world().run(pieces, end=end)
    failures = [event for event in events if "log_failure" in event or event.get("isError")]
    assert not failures, failures
    answers = exchange.answers()
    assert len(answers) <= len(exchange.methods) + 1
    assert len(exchange.requests) <= len(exchange.methods)
    if len(answers) > len(exchange.methods):
        assert answers[-1].status >= 400
        assert exchange.closed
    for answer in answers[:-1]:
        assert answer.complete
        assert answer.header(b"connection") != b"close", "answers behind the last one"
    if answers and not answers[-1].complete:
        assert exchange.closed
    return exchange


def content(requests: list[Received]) -> list[tuple[str, str, tuple[tuple[str, str], ...], bytes, tuple[tuple[str, str], ...]]]:
    """What must not depend on how the bytes were cut."""
    return [
        (request.method, request.target, tuple(line for line in request.headers if line[0] not in FRAMING), request.body, request.trailers)
        for request in requests
    ]


FRAMING = ("Content-Length", "Transfer-Encoding")


@fuzzed(1000)
@given(data=damaged(), cuts=st.lists(st.integers(0, 2000), max_size=8), end=st.booleans())
@example(data=b"POST /c HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n", cuts=[], end=False)
@example(data=b"POST /c HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x HT", cuts=[67], end=True)
def test_any_bytes_in_any_pieces(data: bytes, cuts: list[int], end: bool) -> None:
    """Only answers or an end; and the upstream reads the same requests however the bytes were cut."""
    whole = run([data], end=end)
    bounds = sorted({min(cut, len(data)) for cut in cuts})
    pieces = [data[start:stop] for start, stop in zip([0, *bounds], [*bounds, len(data)], strict=True)]
    cut = run(pieces, end=end)
    assert content(whole.requests) == content(cut.requests)


@fuzzed(300)
@given(data=damaged())
def test_any_bytes_one_by_one(data: bytes) -> None:
    """The smallest pieces that there are."""
    assert content(run([data]).requests) == content(run([data[at : at + 1] for at in range(len(data))]).requests)


GOOD = [
    (b"GET /g HTTP/1.1\r\nHost: a.test\r\n\r\n", ("GET", "/g", b"")),
    (b"POST /p HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello", ("POST", "/p", b"hello")),
    (b"POST /c HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", ("POST", "/c", b"hello!")),
    (b"POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 1\r\n\r\n", ("POST", "/t", b"")),
    (b"HEAD /h HTTP/1.1\r\nHost: a.test\r\n\r\n", ("HEAD", "/h", b"")),
    (b"PUT /e HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n", ("PUT", "/e", b"")),
]


@fuzzed(500)
@given(chosen=st.lists(st.sampled_from(GOOD), min_size=1, max_size=6), cuts=st.lists(st.integers(0, 800), max_size=10))
def test_good_requests_arrive_whole_and_in_order(chosen: list[tuple[bytes, tuple[str, str, bytes]]], cuts: list[int]) -> None:
    """Any sequence, any pieces: each is answered."""
    data = b"".join(raw for raw, _ in chosen)
    bounds = sorted({min(cut, len(data)) for cut in cuts})
    exchange = run([data[start:stop] for start, stop in zip([0, *bounds], [*bounds, len(data)], strict=True)])
    assert [(request.method, request.target, request.body) for request in exchange.requests] == [wanted for _, wanted in chosen]
    assert [answer.status for answer in exchange.answers()] == [200] * len(chosen)
    assert not exchange.closed
