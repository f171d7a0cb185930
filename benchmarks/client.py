"""Own load client, run as a process: handshakes, resumption, idle connections, a fixed rate, large bodies; standard library only.

``ab`` neither resumes sessions, nor holds a rate, nor keeps idle connections. Dialogue with the parent over standard input and output,
a JSON object per line: the client prepares itself and prints ``{"ready": true}``; a line on its input starts the measured part; it
prints the result. The idle client then holds its connections until its input ends. It talks to 127.0.0.1 only and ends by itself.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import gc
import json
import select
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

HOST = "127.0.0.1"
NAME = "localhost"
BODY_BYTES = 10 << 20
_CHUNK_BYTES = 256 << 10
_CIPHERS = "ECDHE-ECDSA-AES128-GCM-SHA256"
_TIMEOUT_S = 20.0


def main() -> None:
    """Run one mode."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mode", choices=sorted(_MODES))
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--certificate", default="", help="client certificate and key, PEM; empty: none")
    parser.add_argument("--tls", choices=("1.2", "1.3"), default="1.3")
    parser.add_argument("--path", default="/")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--tokens", default="", help="file of tokens, one per line")
    parser.add_argument("--rate", type=float, default=1000.0, help="requests per second")
    options = parser.parse_args()
    _say(_MODES[options.mode](options))


def run_check(options: argparse.Namespace) -> dict[str, Any]:
    """Make one connection and one request; say what was agreed, or that the proxy refused."""
    try:
        with _connect(_context(options), options.port) as connection:
            head, body = _exchange(connection, _request(options.path, close=True))
            cipher = connection.cipher()
            return {
                "status": int(head.split(b" ", 2)[1]),
                "bytes": len(body),
                "protocol": connection.version(),
                "cipher": cipher[0] if cipher else "",
            }
    except (ssl.SSLError, OSError) as error:
        return {"status": 0, "error": str(error)}


def run_fresh(options: argparse.Namespace) -> dict[str, Any]:
    """Open connections with a full handshake each, one request per connection, until the time is over."""
    return _run_connections(options, resume=False)


def run_resume(options: argparse.Namespace) -> dict[str, Any]:
    """Open connections that resume the session of the connection before, one request each, until the time is over."""
    return _run_connections(options, resume=True)


def run_idle(options: argparse.Namespace) -> dict[str, Any]:
    """Open connections, make one request on each, say so, and keep them open until the input ends."""
    context = _context(options)
    request = _request(options.path)
    for _ in range(64):  # so that what the proxy allocates once is there before the first reading
        with _connect(context, options.port) as connection:
            _exchange(connection, request)
    _await_start()
    held = []
    for _ in range(options.connections):
        held.append(_connect(context, options.port))
        _exchange(held[-1], request)
    _say({"count": len(held)})
    sys.stdin.readline()
    return {"released": len(held)}


def run_rate(options: argparse.Namespace) -> dict[str, Any]:
    """Send requests at a fixed rate over kept-alive connections; a latency counts from the moment its request was due.

    An answer that comes late therefore makes those behind it late too (no coordinated omission). The loop sleeps in ``select``, which
    waits for fractions of a millisecond (``epoll`` as Python wraps it does not).
    """
    context = _context(options)
    request = _request(options.path)
    connections = [_connect(context, options.port) for _ in range(options.connections)]
    for connection in connections:
        body = _exchange(connection, request)[1]
        connection.setblocking(False)
    gc.disable()
    _await_start()
    idle = collections.deque(connections)
    busy: dict[ssl.SSLSocket, tuple[float, bytes]] = {}
    total, sent = int(options.rate * options.seconds), 0
    latencies: list[float] = []
    start = time.perf_counter()
    while len(latencies) < total:
        now = time.perf_counter()
        while sent < total and idle and start + sent / options.rate <= now:
            connection = idle.popleft()
            connection.send(request)
            busy[connection] = (start + sent / options.rate, b"")
            sent += 1
        if now - start > options.seconds + _TIMEOUT_S:
            raise TimeoutError("the proxy does not keep up with the rate")
        wait_s = max(0.0, start + sent / options.rate - time.perf_counter()) if sent < total and idle else 1.0
        for connection in select.select(busy, (), (), wait_s)[0]:
            due, got = busy[connection]
            got += _receive_available(connection)
            if not got.endswith(body):
                busy[connection] = (due, got)
                continue
            latencies.append(time.perf_counter() - due)
            del busy[connection]
            idle.append(connection)
    latencies.sort()
    return {
        "count": total,
        "seconds": time.perf_counter() - start,
        "p50_ms": 1000 * latencies[total // 2],
        "p99_ms": 1000 * latencies[int(total * 0.99)],
        "max_ms": 1000 * latencies[-1],
    }


def run_down(options: argparse.Namespace) -> dict[str, Any]:
    """Fetch a large body again and again on kept-alive connections; count the bytes."""
    buffers = [bytearray(_CHUNK_BYTES) for _ in range(options.connections)]
    request = _request(options.path)

    def transfer(connection: ssl.SSLSocket, number: int) -> None:
        connection.sendall(request)
        head, rest = _read_head(connection)
        missing = _content_length(head) - len(rest)
        while missing:
            got = connection.recv_into(buffers[number])
            if not got:
                raise ConnectionError("the body ended early")
            missing -= got

    return _run_transfers(options, transfer)


def run_up(options: argparse.Namespace) -> dict[str, Any]:
    """Send a large body again and again on kept-alive connections; count the bytes."""
    chunk = bytes(_CHUNK_BYTES)

    def transfer(connection: ssl.SSLSocket, number: int) -> None:
        head = f"PUT {options.path}{number} HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: {BODY_BYTES}\r\n\r\n"
        connection.sendall(head.encode("ascii"))
        for _ in range(BODY_BYTES // _CHUNK_BYTES):
            connection.sendall(chunk)
        _read_body(connection, *_read_head(connection))

    return _run_transfers(options, transfer)


def run_tokens(options: argparse.Namespace) -> dict[str, Any]:
    """Make requests on kept-alive connections, each with a bearer token of its own, until the time is over or there are no more tokens."""
    with open(options.tokens, encoding="ascii") as file:
        tokens = file.read().split()
    context = _context(options)
    connections = [_connect(context, options.port) for _ in range(options.connections)]
    requests = [_request(options.path, f"Authorization: Bearer {token}\r\n") for token in tokens]
    for connection in connections:
        _expect_success(_exchange(connection, requests.pop())[0])
    counts = [0] * options.connections

    def work(number: int, end: float) -> None:
        connection = connections[number]
        for request in requests[number :: options.connections]:
            if time.perf_counter() >= end:
                break
            _expect_success(_exchange(connection, request)[0])
            counts[number] += 1

    seconds = _run_threads(options, work)
    return {"count": sum(counts), "seconds": seconds}


_MODES: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "check": run_check,
    "down": run_down,
    "fresh": run_fresh,
    "idle": run_idle,
    "rate": run_rate,
    "resume": run_resume,
    "tokens": run_tokens,
    "up": run_up,
}


def _run_connections(options: argparse.Namespace, *, resume: bool) -> dict[str, Any]:
    """Open and close connections in several threads."""
    context = _context(options)
    request = _request(options.path, close=True)
    sessions: list[ssl.SSLSession | None] = [None] * options.connections
    if resume:
        for number in range(options.connections):
            with _connect(context, options.port) as connection:
                _exchange(connection, request)
                sessions[number] = connection.session
    counts, reused = [0] * options.connections, [0] * options.connections

    def work(number: int, end: float) -> None:
        while time.perf_counter() < end:
            with _connect(context, options.port, sessions[number]) as connection:
                _exchange(connection, request)
                counts[number] += 1
                reused[number] += bool(connection.session_reused)
                if resume:
                    sessions[number] = connection.session

    seconds = _run_threads(options, work)
    return {"count": sum(counts), "reused": sum(reused), "seconds": seconds}


def _run_transfers(options: argparse.Namespace, transfer: Callable[[ssl.SSLSocket, int], None]) -> dict[str, Any]:
    """Repeat whole transfers on kept-alive connections until the time is over."""
    context = _context(options)
    connections = [_connect(context, options.port) for _ in range(options.connections)]
    for number, connection in enumerate(connections):
        transfer(connection, number)
    counts = [0] * options.connections

    def work(number: int, end: float) -> None:
        while time.perf_counter() < end:
            transfer(connections[number], number)
            counts[number] += 1

    seconds = _run_threads(options, work)
    return {"count": sum(counts), "bytes": sum(counts) * BODY_BYTES, "seconds": seconds}


def _run_threads(options: argparse.Namespace, work: Callable[[int, float], None]) -> float:
    """Start the measured part in as many threads as connections; return how long it took.

    :raises Exception: the first error of a thread.
    """
    errors: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number, end)
        except Exception as error:
            errors.append(error)

    _await_start()
    start = time.perf_counter()
    end = start + options.seconds
    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(options.connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return time.perf_counter() - start


def _context(options: argparse.Namespace) -> ssl.SSLContext:
    """Build a client context; the server is not verified, that would only cost the load's own core."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    version = ssl.TLSVersion.TLSv1_2 if options.tls == "1.2" else ssl.TLSVersion.TLSv1_3
    context.minimum_version = context.maximum_version = version
    context.set_ciphers(_CIPHERS)
    if options.certificate:
        context.load_cert_chain(options.certificate)
    return context


def _connect(context: ssl.SSLContext, port: int, session: ssl.SSLSession | None = None) -> ssl.SSLSocket:
    raw = socket.create_connection((HOST, port), _TIMEOUT_S)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(raw, server_hostname=NAME, session=session)


def _request(path: str, lines: str = "", *, close: bool = False) -> bytes:
    end = "Connection: close\r\n\r\n" if close else "\r\n"
    return f"GET {path} HTTP/1.1\r\nHost: {NAME}\r\nAccept: */*\r\n{lines}{end}".encode("ascii")


def _expect_success(head: bytes) -> None:
    if head[9:10] != b"2":
        raise ConnectionError(f"unexpected answer: {head[:60]!r}")


def _exchange(connection: ssl.SSLSocket, request: bytes) -> tuple[bytes, bytes]:
    """Send a request and read its whole answer: head (with the blank line) and body."""
    connection.sendall(request)
    head, rest = _read_head(connection)
    body = _read_body(connection, head, rest)
    if b"\r\nconnection: close" in head.lower():
        with contextlib.suppress(ssl.SSLError, OSError):
            connection.recv(1)
    return head, body


def _read_head(connection: ssl.SSLSocket) -> tuple[bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionError("the connection ended before the answer")
        data += piece
    head, _, rest = data.partition(b"\r\n\r\n")
    if head[9:10] != b"2" and head[9:12] != b"403":
        raise ConnectionError(f"unexpected answer: {head[:60]!r}")
    return head + b"\r\n\r\n", rest


def _read_body(connection: ssl.SSLSocket, head: bytes, rest: bytes) -> bytes:
    missing = _content_length(head) - len(rest)
    while missing > 0:
        piece = connection.recv(min(missing, _CHUNK_BYTES))
        if not piece:
            raise ConnectionError("the body ended early")
        rest += piece
        missing -= len(piece)
    return rest


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line[15:])
    return 0


def _receive_available(connection: ssl.SSLSocket) -> bytes:
    """Read what is there on a non-blocking connection."""
    got = b""
    while True:
        try:
            piece = connection.recv(65536)
        except ssl.SSLWantReadError:
            return got
        if not piece:
            raise ConnectionError("the proxy closed a kept-alive connection")
        got += piece


def _await_start() -> None:
    _say({"ready": True})
    sys.stdin.readline()


def _say(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
