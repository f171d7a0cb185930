"""Slow, silent and vanishing clients: every state of a connection ends in time, and whoever leaves frees what worked for him.

The limits are small, so that the tests are quick; deadlines fire up to a quarter of a second late (``tls.deadlines``).
Source: decisions 2.5, 2.13; reliability reference 2d and 4; field report B25.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.certs import make_authority
from tests.support.forms import Rule, define
from tests.support.gateway import Client, Gateway, ScriptedUpstream, StrictUpstream, free_port, read_head, running_gateway, wait_until
from tests.support.scale import FULL

HEAD_S = 1.0
IDLE_S = 1.2
READ_S = 1.0
WRITE_S = 1.0
LATE_S = 6.0
"""How much later than its limit something may end on a busy machine."""
MIB = 1024 * 1024
BOTH = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])


class _Ticker:
    """Upstream: sends a chunk each 100 ms for ever; remembers when its connections ended."""

    def __init__(self) -> None:
        self.open = 0
        self.started = 0
        self._lock = threading.Lock()

    def __call__(self, connection: socket.socket, number: int) -> None:
        head = read_head(connection)
        with self._lock:
            self.open += 1
            self.started += 1
        try:
            if b"/silent" not in head:
                connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                if b"/silent" not in head:
                    connection.sendall(b"400\r\n" + b"x" * 1024 + b"\r\n")
                connection.settimeout(0.1)
                try:
                    if not connection.recv(1):
                        return
                except TimeoutError:
                    pass
                connection.settimeout(10)
        except OSError:
            pass
        finally:
            with self._lock:
                self.open -= 1


def flood(connection: socket.socket, number: int) -> None:
    """Upstream: 200 MiB as fast as it is taken."""
    read_head(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (200 * MIB))
    block = b"x" * MIB
    for _ in range(200):
        connection.sendall(block)


class _Gate:
    def __init__(self, gateway: Gateway, upstream: StrictUpstream, ticker: _Ticker) -> None:
        self.gateway = gateway
        self.upstream = upstream
        self.ticker = ticker
        self.ports = {True: gateway.port, False: gateway.port_of("api")}

    def connect(self, *, tls: bool = True, small_buffer: bool = False) -> Client:
        """Open a connection."""
        client = Client(self.ports[tls], tls=tls, sni="a.test" if tls else None)
        if small_buffer:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        return client


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Gate]:
    """A gateway that loses patience early."""
    server = make_authority("servers").issue("localhost", names=["localhost"])
    ticker = _Ticker()
    with ExitStack() as stack:
        upstream = stack.enter_context(StrictUpstream())
        ticking = stack.enter_context(ScriptedUpstream(ticker))
        flooding = stack.enter_context(ScriptedUpstream(flood))
        port = free_port()
        big = (Rule("mock_response", "/big", "GET", {"code": 200, "body": "y" * 20000}),)
        apis = []
        for suffix in ("", "-plain"):
            of = [
                define("classic", f"echo{suffix}", upstream.port, "/echo/", rules=big),
                define("classic", f"tick{suffix}", ticking.port, "/tick/"),
                define("classic", f"flood{suffix}", flooding.port, "/flood/"),
            ]
            for api in of if suffix else ():
                api.update(protocol="http", listen_port=port)
            apis += of
        gateway = stack.enter_context(
            running_gateway(
                tmp_path_factory.mktemp("deadlines"),
                *apis,
                server=server,
                disable_ports_whitelist=True,
                http_server_options={"read_timeout": int(READ_S), "write_timeout": int(WRITE_S), "enable_websockets": True},
                tlsgate={
                    "limits": {"head_timeout_s": HEAD_S, "idle_timeout_s": IDLE_S, "close_timeout_s": 1, "body_min_rate": 500},
                    "log": {"access": True},
                },
            )
        )
        yield _Gate(gateway, upstream, ticker)


# Heads.


@BOTH
def test_slow_head_is_refused_in_time(gate: _Gate, tls: bool) -> None:
    """Decisions 2.5: counted from the start of the connection, however steadily bytes drip. Sleeps: the client is slow on purpose."""
    with gate.connect(tls=tls) as client:
        started = time.monotonic()
        try:
            for byte in b"GET /echo/ HTTP/1.1\r\nHost: a.test\r\nX-Slow: " + b"z" * 100:
                client.send(bytes((byte,)))
                time.sleep(0.05)
                if time.monotonic() - started > HEAD_S + LATE_S:
                    break
        except OSError:
            pass
        assert client.read_response().status == 408
        assert client.recv() == b""
        assert HEAD_S * 0.9 <= time.monotonic() - started < HEAD_S + LATE_S + 0.5


@BOTH
def test_slow_head_of_a_later_request_is_refused_in_time(gate: _Gate, tls: bool) -> None:
    """Decisions 2.5: counted from the first byte of the later request."""
    with gate.connect(tls=tls) as client:
        assert client.request(target="/echo/").status == 200
        time.sleep(IDLE_S / 2)
        started = time.monotonic()
        client.send(b"GET /echo/ HT")
        assert client.read_response().status == 408
        assert HEAD_S * 0.9 <= time.monotonic() - started < HEAD_S + LATE_S


@BOTH
@pytest.mark.parametrize("junk", [b"", b"\r\n\r\n"], ids=["nothing", "empty lines"])
def test_connection_without_a_request_ends(gate: _Gate, junk: bytes, tls: bool) -> None:
    """A client that sends nothing gets no answer, only the end; the limit for heads holds."""
    with gate.connect(tls=tls) as client:
        started = time.monotonic()
        if junk:
            client.send(junk)
        while client.recv():
            pass
        assert time.monotonic() - started < HEAD_S + LATE_S


@BOTH
def test_idle_connection_ends(gate: _Gate, tls: bool) -> None:
    """From the end of an answer to the first byte of the next request; a clean end."""
    with gate.connect(tls=tls) as client:
        assert client.request(target="/echo/").status == 200
        started = time.monotonic()
        assert client.recv() == b""
        assert not client.truncated
        assert IDLE_S * 0.9 <= time.monotonic() - started < IDLE_S + LATE_S


# Bodies.


@BOTH
@pytest.mark.parametrize("framing", [b"Content-Length: 1000", b"Transfer-Encoding: chunked"], ids=["sized", "chunked"])
def test_stalled_body_is_refused_in_time(gate: _Gate, framing: bytes, tls: bool) -> None:
    """Decisions 2.5: ``read_timeout`` counts the time without progress; the upstream never sees a complete request."""
    before = len(gate.upstream.requests)
    with gate.connect(tls=tls) as client:
        client.send(b"POST /echo/ HTTP/1.1\r\nHost: a.test\r\n" + framing + b"\r\n\r\n1\r\na\r\n")
        started = time.monotonic()
        response = client.read_response("POST")
        assert response.status == 408
        assert response.headers["connection"] == "close"
        assert READ_S * 0.9 <= time.monotonic() - started < READ_S + LATE_S
        assert client.recv() == b""
    assert len(gate.upstream.requests) == before


@BOTH
def test_slow_but_living_body_goes_through(gate: _Gate, tls: bool) -> None:
    """Decisions 2.5: each byte starts the time anew, also beyond ``read_timeout`` in all. Sleeps: the client is slow on purpose."""
    with gate.connect(tls=tls) as client:
        client.send(b"POST /echo/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 6\r\n\r\n")
        for byte in b"abcdef":
            time.sleep(READ_S / 4)
            client.send(bytes((byte,)))
        response = client.read_response("POST")
        assert response.status == 200 and b'"body": "abcdef"' in response.body


@pytest.mark.acceptance
@pytest.mark.skipif(not FULL, reason="full size, because it takes twelve seconds: make acceptance")
def test_trickling_body_is_refused(gate: _Gate) -> None:
    """Decisions 2.5: a minimum rate of 500 B/s after the first ten seconds."""
    with gate.connect() as client:
        client.send(b"POST /echo/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000\r\n\r\n")
        started = time.monotonic()
        client.socket.settimeout(0.2)
        while time.monotonic() - started < 20:
            client.send(b"x")
            try:
                assert client.read_response("POST").status == 408
                break
            except TimeoutError:
                continue
        assert 10 <= time.monotonic() - started < 15


# Clients that do not read.


@BOTH
def test_client_that_does_not_read_is_cut(gate: _Gate, tls: bool) -> None:
    """Reliability reference 2d: a standstill longer than ``write_timeout`` ends the connection, upstream included, in bounded memory."""
    before = gate.gateway.rss_kib()
    with gate.connect(tls=tls, small_buffer=True) as client:
        mark = len(gate.gateway.events)
        client.send(b"GET /flood/ HTTP/1.1\r\nHost: a.test\r\n\r\n")
        event = gate.gateway.wait_event("http.access", WRITE_S + WRITE_S + 3, after=mark, match=lambda found: found["path"] == "/flood/")
        assert event["detail"] == "client does not read"
        assert gate.gateway.rss_kib() - before < 16 * 1024


@BOTH
def test_slow_reader_is_served(gate: _Gate, tls: bool) -> None:
    """Progress keeps the connection, even while the kernel's queue hides it from the gateway's. Sleeps: the client is slow on purpose."""
    with gate.connect(tls=tls) as client:
        client.send(b"GET /flood/ HTTP/1.1\r\nHost: a.test\r\n\r\n")
        for _ in range(14):
            time.sleep(WRITE_S / 4)
            assert client.read_exactly(200_000)


@pytest.mark.parametrize(
    ("target", "tls"),
    [(b"/echo/big", False), (b"/echo/big", True), (b"/nowhere", True), (b"/echo/" + b"z" * 4000, False)],
    ids=["mock-plain", "mock-tls", "refusal-tls", "proxied-plain"],
)
def test_pipelined_answers_that_nobody_reads_stay_in_bounded_memory(gate: _Gate, target: bytes, tls: bool) -> None:
    """Reliability reference 2d, slow read: requests are not taken on while their answers pile up; the connection is cut in time."""
    before = gate.gateway.rss_kib()
    requests = b"GET %b HTTP/1.1\r\nHost: a.test\r\n\r\n" % target * 200
    with gate.connect(tls=tls, small_buffer=True) as client:
        client.socket.settimeout(0.5)
        sent = 0
        try:
            while sent < 64 * MIB:
                client.send(requests)
                sent += len(requests)
        except OSError:
            pass
        grown = gate.gateway.rss_kib() - before
        assert grown < 24 * 1024, grown
        client.socket.settimeout(10)
        cut = time.monotonic()
        with pytest.raises((OSError, EOFError)):
            while True:
                time.sleep(0.2)
                client.send(b"x")
        assert time.monotonic() - cut < 2 * WRITE_S + LATE_S + 2


# Clients that leave (B25).


@BOTH
@pytest.mark.parametrize("how", ["close", "reset", "before the head"])
def test_upstream_work_ends_when_the_client_leaves(gate: _Gate, how: str, tls: bool) -> None:
    """Field report B25: 50 times; the upstream sees it within two seconds, nothing stays open, one access line per request."""
    count = 50
    gateway, ticker = gate.gateway, gate.ticker
    assert wait_until(lambda: ticker.open == 0)
    files = gateway.open_files()
    mark = len(gateway.events)
    started = ticker.started
    clients = [gate.connect(tls=tls) for _ in range(count)]
    for client in clients:
        client.send(b"GET /tick/%b HTTP/1.1\r\nHost: a.test\r\n\r\n" % (b"silent" if how == "before the head" else b"x"))
    assert wait_until(lambda: ticker.started == started + count)
    for client in clients:
        if how != "before the head":
            client.read_until(b"\r\n\r\n")
            for _ in range(3):
                client.read_until(b"x\r\n")
        if how == "reset":
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    left = time.monotonic()
    assert wait_until(lambda: ticker.open == 0, 2.0 + LATE_S), ticker.open
    assert time.monotonic() - left < 2.0 + LATE_S
    assert wait_until(lambda: gateway.open_files() <= files + 2), (files, gateway.open_files())
    assert wait_until(lambda: len(_requests(gateway, mark)) >= count)
    assert len(_requests(gateway, mark)) == len(set(_requests(gateway, mark))) == count
    assert not gateway.tracebacks()


def _requests(gateway: Gateway, mark: int) -> list[str]:
    return [event["request"] for event in gateway.events[mark:] if event.get("event") == "http.access"]


@BOTH
def test_connections_of_stubborn_clients_end(gate: _Gate, tls: bool) -> None:
    """Decisions 2.13: after a refusal the gateway waits a bounded time for the peer to close, then lets go of the descriptor."""
    files = gate.gateway.open_files()
    clients = [gate.connect(tls=tls) for _ in range(10)]
    for number, client in enumerate(clients):
        client.send(b"GARBAGE\r\n\r\n" if number % 2 else b"GET /nowhere HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
        assert client.read_response().status in (400, 404, 501)
    assert wait_until(lambda: gate.gateway.open_files() <= files + 1, 5.0), (files, gate.gateway.open_files())
    for client in clients:
        client.close()


@BOTH
def test_endless_talk_after_a_refusal_is_cut(gate: _Gate, tls: bool) -> None:
    """Decisions 2.13: at most 256 KiB are read away."""
    with gate.connect(tls=tls) as client:
        client.send(b"GET /x HTTP/1.1\r\nX: " + b"a" * 20000)
        assert client.read_response().status == 431
        with pytest.raises(OSError):
            for _ in range(200):
                client.send(b"a" * 16384)
                time.sleep(0.001)


def test_nothing_stays_open(gate: _Gate, tmp_path: Path) -> None:
    """After all of this the gateway serves, and holds no client connection."""
    with gate.connect() as client:
        assert client.request(target="/echo/").status == 200
    assert wait_until(lambda: gate.ticker.open == 0)
