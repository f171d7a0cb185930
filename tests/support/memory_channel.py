"""One HTTP connection in memory: a channel over Twisted's ``StringTransport``, a site around one API, a clock instead of a reactor."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NamedTuple

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from tlsgate.config.model import ConnectionLimits, GatewayConfig
from tlsgate.gateway import pipeline
from tlsgate.gateway.channel import HttpChannel
from tlsgate.gateway.mounted import MountedLeaf
from tlsgate.gateway.request import GateRequest
from tlsgate.model.exchange import Connection
from tlsgate.tls.deadlines import Deadlines
from tlsgate.transform.error_body import build_error_renderer
from tlsgate.wire.framing import FramingLimits

__all__ = ["Answer", "MemoryConnection", "MemoryTransport", "make_request", "parse_answer"]

DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"


class MemoryTransport(StringTransport):
    """A transport that never sends: the test reads what was written, and says when the peer is slow."""

    queued_bytes = 0
    half_closed = False
    truncated = False

    def queued(self) -> int:
        """Bytes that wait for the peer."""
        return self.queued_bytes

    def undelivered(self) -> int:
        """The same: there is no kernel."""
        return self.queued_bytes

    def loseWriteConnection(self) -> None:
        """Our half is closed."""
        self.half_closed = True

    def truncateConnection(self) -> None:
        """Closed without a clean end."""
        self.truncated = True
        self.loseConnection()

    def resumeProducing(self) -> None:
        """Lenient after the end, as the real one."""
        if not self.disconnecting:
            super().resumeProducing()

    def slow(self, queued_bytes: int = 100_000) -> None:
        """The peer reads too slowly."""
        self.queued_bytes = queued_bytes
        if self.producer is not None:
            self.producer.pauseProducing()

    def fast(self) -> None:
        """The peer has caught up."""
        self.queued_bytes = 0
        if self.producer is not None:
            self.producer.resumeProducing()


class Answer(NamedTuple):
    """An answer on the wire."""

    status: int
    headers: list[tuple[bytes, bytes]]
    """Lower-case names."""
    body: bytes
    chunks: int
    """How many chunks carried the body, 0 when it was not chunked."""
    complete: bool
    rest: bytes
    """What follows the answer."""

    def header(self, name: bytes) -> bytes | None:
        """The only value of a header, None when it is absent."""
        values = [value for known, value in self.headers if known == name]
        assert len(values) <= 1, values
        return values[0] if values else None


def parse_answer(data: bytes, *, is_head: bool = False) -> Answer:
    """Read one answer strictly."""
    head, end, rest = data.partition(b"\r\n\r\n")
    assert end, data
    status_line, *lines = head.split(b"\r\n")
    version, code, _ = status_line.split(b" ", 2)
    assert version == b"HTTP/1.1"
    status = int(code)
    headers = [(name.lower(), value) for name, _, value in (line.partition(b": ") for line in lines)]
    named = dict(headers)
    if is_head or status in (204, 304) or status < 200:
        return Answer(status, headers, b"", 0, True, rest)
    if b"transfer-encoding" in named:
        assert named[b"transfer-encoding"] == b"chunked"
        assert b"content-length" not in named
        pieces: list[bytes] = []
        while True:
            size_line, end, after = rest.partition(b"\r\n")
            if not end:
                return Answer(status, headers, b"".join(pieces), len(pieces), False, rest)
            size = int(size_line, 16)
            piece, rest = after[:size], after[size + 2 :]
            if not size:
                return Answer(status, headers, b"".join(pieces), len(pieces), True, rest)
            pieces.append(piece)
    if b"content-length" in named:
        size = int(named[b"content-length"])
        return Answer(status, headers, rest[:size], 0, len(rest) >= size, rest[size:])
    return Answer(status, headers, rest, 0, True, b"")


def make_connection(*, is_tls: bool = True, peer: str = "192.0.2.7") -> Connection:
    """What is known of the client."""
    return Connection("c1", peer, 40000, 8443, is_tls)


def make_request(
    target: bytes = b"/",
    headers: list[tuple[bytes, bytes]] | None = None,
    *,
    method: bytes = b"GET",
    is_tls: bool = True,
    peer: str = "192.0.2.7",
) -> GateRequest:
    """A request that came to its end, outside of any pipeline; its channel's answer is in ``request.channel.transport``."""
    connection = MemoryConnection(object(), is_tls=is_tls, peer=peer)
    connection.handled = []
    lines = [(b"Host", b"app.test"), *(headers or [])] if not any(name == b"Host" for name, _ in headers or ()) else list(headers or ())
    head = b"%b %b HTTP/1.1\r\n" % (method, target) + b"".join(b"%b: %b\r\n" % line for line in lines if line[1])
    connection.send(head + b"\r\n")
    assert connection.handled, connection.transport.value()
    return connection.handled[0]


class MemoryConnection:
    """A client's connection to an API that has ``resource`` mounted at ``listen_path``; fulfils ``gateway.channel.HttpSite``.

    :param leaf: further arguments of :class:`MountedLeaf`.
    """

    close_connections = False
    underscore_headers = "allow"
    draining = False
    head_timeout_s = read_timeout_s = write_timeout_s = 10.0
    max_body_bytes = 0
    explain: Any = None

    def __init__(
        self,
        resource: Any,
        *,
        listen_path: bytes = b"/",
        config: GatewayConfig | None = None,
        is_tls: bool = True,
        peer: str = "192.0.2.7",
        **leaf: Any,
    ) -> None:
        config = config or GatewayConfig()
        self.reactor = Clock()
        self.deadlines = Deadlines(self.reactor, self.reactor.seconds)
        self.limits = ConnectionLimits()
        self.framing = FramingLimits()
        self.listen_path = listen_path
        self.leaf = MountedLeaf(resource, self.reactor, config, **leaf)
        self.compiled: Any = SimpleNamespace(
            misdirected=None,
            gates=(),
            steps=(),
            mock=None,
            leaf=self.leaf,
            errors=build_error_renderer(config, None),
            api=SimpleNamespace(api_id="mounted"),
        )
        self.handled: list[GateRequest] | None = None
        """When a list: requests are put there instead of being served."""
        self.requests: list[GateRequest] = []
        self.ended: list[GateRequest] = []
        self.transport = MemoryTransport()
        self.channel = HttpChannel(self, make_connection(is_tls=is_tls, peer=peer))
        self.channel.makeConnection(self.transport)

    # The client's side.

    def send(self, data: bytes) -> None:
        """Bytes arrive."""
        self.channel.dataReceived(data)

    def turn(self, seconds: float = 0.0) -> None:
        """Let the reactor run what is due."""
        self.reactor.advance(seconds)

    def settle(self) -> None:
        """Let the reactor run until nothing is due now."""
        for _ in range(1000):
            due = [call for call in self.reactor.getDelayedCalls() if call.getTime() <= self.reactor.seconds()]
            if not due:
                return
            self.reactor.advance(0)
        raise AssertionError("the reactor never rests")

    def ask(self, data: bytes) -> Answer:
        """Send a whole request, let everything run, return the answer."""
        self.transport.clear()
        self.send(data)
        self.settle()
        return parse_answer(self.transport.value(), is_head=data.startswith(b"HEAD "))

    def get(self, target: bytes = b"/", *lines: bytes, method: bytes = b"GET") -> Answer:
        """Ask for a target; ``lines`` are header lines."""
        return self.ask(b"%b %b HTTP/1.1\r\nHost: app.test\r\n%b\r\n" % (method, target, b"".join(line + b"\r\n" for line in lines)))

    def leave(self) -> None:
        """The client goes."""
        self.channel.connectionLost(Failure(ConnectionDone()))
        self.settle()

    # The gateway's side.

    def handle(self, request: GateRequest) -> None:
        """Route and serve."""
        if self.handled is not None:
            self.handled.append(request)
            return
        self.requests.append(request)
        assert request.canonical.startswith(self.listen_path), request.canonical
        request.matched = self.listen_path
        rest = request.canonical[len(self.listen_path) :]
        request.remaining_path = rest if rest[:1] == b"/" else b"/" + rest
        pipeline.start(request, self.compiled, self)

    def finished(self, request: GateRequest) -> None:
        """Each request, once."""
        assert request not in self.ended
        self.ended.append(request)

    def request_id(self, request: GateRequest) -> str:
        """For logs."""
        return f"c1-{request.number}"

    def judge_again(self, request: GateRequest) -> str | None:
        """Nothing is reloaded here."""
        return None

    def date(self) -> bytes:
        """A fixed one."""
        return DATE

    def render_wire_refusal(self, refusal: Any, content_type: bytes) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """As the real site."""
        status, headers, body, _ = self.compiled.errors.render_plain(refusal, content_type)
        return status, headers, body

    def wire_refused(self, channel: HttpChannel, refusal: Any) -> None:
        """Not counted."""

    def channel_opened(self, channel: HttpChannel) -> None:
        """Not counted."""

    def channel_closed(self, channel: HttpChannel) -> None:
        """Not counted."""
