"""A whole gateway with its upstream in memory: client bytes in, what a strict upstream read and what the client got out; no sockets."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.python.failure import Failure

from tests.support.gateway import Received, StrictUpstream, _Cut, _Violation, classic
from tests.support.memory_channel import Answer, MemoryTransport, parse_answer
from tests.support.memory_gateway import MemoryGateway
from tlsgate.proxy.connection import UpstreamConnection
from tlsgate.proxy.pool import Destination

__all__ = ["Exchange", "MemoryUpstream", "MemoryWorld", "echo"]

END = b""
"""Among the pieces of an answer: the upstream ends its side here."""


def echo(received: Received) -> list[bytes]:
    """Answer 200 with what was read."""
    body = f"{received.method} {received.target} {len(received.body)}".encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    return [head if received.method == "HEAD" else head + body]


class _UpstreamTransport(MemoryTransport):
    """What the gateway writes to the upstream is read in a later turn; ends are told in a later turn, too."""

    def __init__(self, upstream: MemoryUpstream, connection: UpstreamConnection) -> None:
        super().__init__()
        self._upstream = upstream
        self._connection = connection
        self._unread = b""
        self._over = False
        self._switched = False
        """Another protocol is spoken: nothing is read any more."""

    def write(self, data: bytes) -> None:
        super().write(data)
        self._unread += data
        self._upstream.later(self._read)

    def loseConnection(self) -> None:
        if not self.disconnecting:
            super().loseConnection()
            self._upstream.later(self._end, ConnectionDone())

    def abortConnection(self) -> None:
        if not self.disconnected:
            super().abortConnection()
            self._upstream.later(self._end, ConnectionAborted())

    def _end(self, reason: Exception) -> None:
        if not self._over:
            self._over = True
            self._connection.connectionLost(Failure(reason))

    def _read(self) -> None:
        """Read by the letter as many requests as are whole."""
        while self._unread and not self._over and not self._switched:
            stream = io.BytesIO(self._unread)
            try:
                received = StrictUpstream._read(stream, 0)
            except _Cut:
                return
            except _Violation as violation:
                self._upstream.violations.append(str(violation))
                return
            assert received is not None
            self._unread = self._unread[stream.tell() :]
            self._upstream.requests.append(received)
            for piece in self._upstream.respond(received):
                self._upstream.later(self._answer, piece)

    def _answer(self, piece: bytes) -> None:
        if self._over or self.disconnected:
            return
        self._switched = self._switched or b"HTTP/1.1 101 " in piece
        if piece == END:
            self._connection.readConnectionLost()
        else:
            self._connection.dataReceived(piece)


class MemoryUpstream:
    """Takes the place of the pool's ``open``.

    :param respond: the answer of a request in pieces; an empty piece ends the upstream's side.
    """

    def __init__(self, gateway: MemoryGateway, respond: Callable[[Received], Iterable[bytes]] = echo) -> None:
        self.respond = respond
        self.requests: list[Received] = []
        self.violations: list[str] = []
        self._gateway = gateway
        gateway.pool.open = self._open  # type: ignore[method-assign]

    def later(self, call: Callable[..., None], *arguments: Any) -> None:
        """In a later turn of the reactor."""
        self._gateway.reactor.callLater(0, call, *arguments)

    async def _open(self, destination: Destination, timeout_s: float) -> UpstreamConnection:
        connection = UpstreamConnection(self._gateway.pool, self._gateway.deadlines)
        connection.key = destination.key
        connection.address = "up.test:80"
        connection.makeConnection(_UpstreamTransport(self, connection))
        return connection


class Exchange(NamedTuple):
    """What became of the bytes of one client connection."""

    requests: list[Received]
    """Whole requests that the upstream read."""
    methods: list[bytes]
    """Of the requests that the gateway served, in order."""
    written: bytes
    closed: bool
    """The gateway ended the connection, or its half."""
    truncated: bool
    """It did so in a way that tells of a broken answer."""

    def answers(self) -> list[Answer]:
        """What the client reads; final answers only. Fails where a strict client would."""
        found: list[Answer] = []
        rest = self.written
        while rest:
            number = len(found)
            is_head = number < len(self.methods) and self.methods[number] == b"HEAD"
            if number >= len(self.methods):
                # The answer to what could not be read: it is the last one.
                is_head = rest.endswith(b"\r\n\r\n")
            answer = parse_answer(rest, is_head=is_head)
            rest = answer.rest
            if answer.status >= 200:
                found.append(answer)
            if not answer.complete:
                break
        return found


class MemoryWorld:
    """One gateway with one API on ``/``, used for any number of client connections after one another."""

    def __init__(self, respond: Callable[[Received], Iterable[bytes]] = echo, **config: Any) -> None:
        self.gateway = MemoryGateway(classic("api", "http://up.test", "/"), **config)
        self.upstream = MemoryUpstream(self.gateway, respond)
        self.methods: list[bytes] = []
        handle = self.gateway.site.handle

        def note(request: Any) -> None:
            self.methods.append(request.method)
            handle(request)

        self.gateway.site.handle = note  # type: ignore[method-assign]

    def settle(self) -> None:
        """Run what is due until nothing is."""
        reactor = self.gateway.reactor
        for _ in range(100_000):
            calls = reactor.getDelayedCalls()
            if not calls or min(call.getTime() for call in calls) > reactor.seconds():
                return
            reactor.advance(0)
        raise AssertionError("the reactor never rests")

    def run(self, pieces: Iterable[bytes], *, end: bool = False) -> Exchange:
        """Send bytes on a new connection, let everything happen, and take the connection away.

        :param end: the client ends its side before everything happened.
        """
        self.upstream.requests, self.upstream.violations = [], []
        self.methods = []
        channel, transport = self.gateway.connect()
        for piece in pieces:
            if transport.disconnecting or transport.disconnected:
                break
            if piece:
                channel.dataReceived(piece)
                self.settle()
        if end and not (transport.disconnecting or transport.disconnected):
            channel.readConnectionLost()
        self.settle()
        closed = transport.disconnecting or transport.disconnected or transport.half_closed
        truncated = transport.truncated or transport.disconnected
        written = transport.value()
        channel.connectionLost(Failure(ConnectionDone()))
        self.settle()
        self.gateway.pool.close_idle()
        self.settle()
        assert not self.upstream.violations, self.upstream.violations
        return Exchange(self.upstream.requests, self.methods, written, closed, truncated)
