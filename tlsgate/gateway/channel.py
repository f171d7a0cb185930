"""One HTTP/1.1 client connection: llhttp's events become requests, answers become bytes; knows nothing of APIs or upstreams.

The parser is fed one head or body at a time, never past the end of a message: a pipelined request waits as bytes while the one before is
answered (RFC 9112 9.3.2). All that llhttp lets through and a gateway must not is refused by ``wire.framing``; after a framing error the
connection closes.
Source: RFC 9112; decisions, section 2.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

import httptools
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from zope.interface import implementer

from tlsgate.errors import Refusal, WireError
from tlsgate.gateway.body import BodyStream
from tlsgate.gateway.request import GateRequest
from tlsgate.wire.framing import FramingLimits, examine

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from tlsgate.config.model import ConnectionLimits
    from tlsgate.gateway.explain import Explainer
    from tlsgate.model.exchange import Connection, HeaderList
    from tlsgate.tls.deadlines import Deadlines

__all__ = ["HttpChannel", "HttpSite", "ResponseLength"]

_NEVER = float("inf")
_HELD_LIMIT = 16384
_CHUNKED_SLICE = 16384
_DRAIN_LIMIT = 262144
_LINGER_LIMIT = 262144
_LINGER_S = 2.0
_GRACE_S = 10.0
_QUEUE_LIMIT = 65536
_PARTING_S = 1.0

_WIRE_IDS = {
    405: "wire.connect",
    413: "size.too_large",
    414: "wire.target_too_long",
    417: "wire.expectation",
    431: "wire.head_too_large",
    501: "wire.not_implemented",
    505: "wire.version",
}
_VERSIONS = {b"1\r\n": "1.1", b"0\r\n": "1.0"}
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}".encode() for status in HTTPStatus}

ResponseLength = int | None
"""Length of an answer's body in bytes; None when it is not known beforehand."""


class HttpSite(Protocol):
    """What a channel asks of the gateway."""

    deadlines: Deadlines
    limits: ConnectionLimits
    framing: FramingLimits
    head_timeout_s: float
    read_timeout_s: float
    write_timeout_s: float
    close_connections: bool
    underscore_headers: str
    max_body_bytes: int
    draining: bool
    explain: Explainer | None

    def handle(self, request: GateRequest) -> None:
        """Serve a request; the answer comes through the request's channel."""

    def judge_again(self, request: GateRequest) -> str | None:
        """Return why a long-lived exchange may not go on after a reload, None when it may."""

    def date(self) -> bytes:
        """Return the current Date header value."""

    def render_wire_refusal(self, refusal: Refusal, content_type: bytes) -> tuple[int, HeaderList, bytes]:
        """Return the answer for a request that has no route yet."""

    def wire_refused(self, channel: HttpChannel, refusal: Refusal) -> None:
        """Log a request that could not be read."""

    def channel_opened(self, channel: HttpChannel) -> None:
        """Count a connection."""

    def channel_closed(self, channel: HttpChannel) -> None:
        """Forget a connection."""


class _Head:
    """What the parser collected of one request."""

    __slots__ = ("body", "complete", "headers", "keep_alive", "method", "target", "trailers", "upgrade", "version")

    def __init__(self) -> None:
        self.method = b""
        self.target = b""
        self.headers: HeaderList = []
        self.trailers: HeaderList = []
        self.version = ""
        self.keep_alive = False
        self.upgrade = False
        self.complete = False
        self.body: BodyStream | None = None


@implementer(IHalfCloseableProtocol, IPushProducer)
class HttpChannel:
    """Runs over a TCP transport or a ``tls.stream.TlsStream``."""

    __slots__ = (
        "_advancing",
        "_begun",
        "_body_paused_at",
        "_body_started",
        "_broken",
        "_choked",
        "_chunked",
        "_closing",
        "_count",
        "_early",
        "_gathered",
        "_head",
        "_head_bytes",
        "_held",
        "_left_over",
        "_lingered",
        "_lost",
        "_no_body",
        "_parser",
        "_parsing",
        "_pausers",
        "_producer",
        "_read_closed",
        "_request",
        "_tail",
        "_unnoticed",
        "_until_close",
        "_upgraded",
        "_write_mark",
        "armed_at",
        "connection",
        "deadline",
        "site",
        "transport",
    )

    def __init__(self, site: HttpSite, connection: Connection) -> None:
        self.transport: Any = None
        self.site = site
        self.connection = connection
        self.deadline = _NEVER
        self.armed_at = _NEVER
        self._parser: Any = httptools.HttpRequestParser(self)
        self._parsing: _Head | None = None
        self._head: _Head | None = None
        self._held = b""
        self._left_over = b""
        self._tail = b""
        self._early: list[bytes] = []
        self._gathered: list[bytes] = []
        self._head_bytes = 0
        self._unnoticed = 0
        self._advancing = False
        self._count = 0
        self._request: GateRequest | None = None
        self._upgraded: Any = None
        self._closing = False
        self._broken = False
        self._read_closed = False
        self._lost = False
        self._lingered = 0
        self._pausers = 0
        self._choked = False
        # The answer under way.
        self._begun = False
        self._chunked = False
        self._until_close = False
        self._no_body = False
        self._write_mark = -1
        self._producer: Any = None
        # The body under way.
        self._body_started = 0.0
        self._body_paused_at = 0.0

    # Transport side.

    def makeConnection(self, transport: Any) -> None:
        """Start reading requests."""
        self.transport = transport
        self.site.channel_opened(self)
        self.site.deadlines.set(self, self.site.head_timeout_s)

    def dataReceived(self, data: bytes) -> None:
        """Take bytes from the client."""
        if self._upgraded is not None:
            self._upgraded.client_data(data)
        elif self._closing or self._broken:
            self._lingered += len(data)
            if self._lingered > _LINGER_LIMIT:
                self.transport.abortConnection()
        elif self._held or self._advancing:
            # A TLS stream delivers what it has decrypted within ``resumeProducing``, which the loop itself may call.
            self._hold(data)
        else:
            self._advance(data)

    def readConnectionLost(self) -> None:
        """The client sends nothing more: nearly always it is gone, so that what it asked for has a moment to be answered, no more."""
        self._read_closed = True
        if self._upgraded is not None:
            self._upgraded.client_ended()
        elif self._closing:
            self.transport.loseConnection()
        elif self._request is None:
            self._close()
        elif not self._body_complete():
            # In the middle of a body: nothing can complete it.
            self.abort("client closed in the middle of the body")
        else:
            self.site.deadlines.set(self, _PARTING_S)

    def writeConnectionLost(self) -> None:
        """Our half is closed."""

    def connectionLost(self, reason: Failure) -> None:
        """The connection is gone: whoever works for it is told."""
        if self._lost:
            return
        self._lost = True
        self.site.deadlines.clear(self)
        self.site.channel_closed(self)
        upgraded, self._upgraded = self._upgraded, None
        if upgraded is not None:
            upgraded.client_lost()
        request, self._request = self._request, None
        if request is not None:
            request.client_gone()
        self._held = b""
        self._parser = self._parsing = self._head = None

    def deadline_passed(self) -> None:
        """Something took too long; what depends on the state."""
        if self._lost or self._upgraded is not None:
            return
        site = self.site
        if self._read_closed and self._request is not None:
            self.abort("client closed the connection")
            return
        queued = self.transport.queued()
        undelivered = self.transport.undelivered() if queued else 0
        if queued and undelivered != self._write_mark:
            # The client reads slowly: only a standstill ends the connection.
            self._write_mark = undelivered
            site.deadlines.set(self, site.limits.close_timeout_s if self._closing else site.write_timeout_s)
        elif self._closing:
            self.transport.abortConnection()
        elif queued:
            self.abort("client does not read")
        elif self._request is not None:
            if not self._body_complete():
                self._break_body(Refusal("wire.timeout", "request body stalled", close=True))
        elif self._head_bytes:
            self._refuse(Refusal("wire.timeout", "request head took too long", close=True))
        else:
            self._close()

    # Parser callbacks.

    def on_message_begin(self) -> None:
        self._parsing = _Head()

    def on_url(self, url: bytes) -> None:
        self._parsing.target += url  # type: ignore[union-attr]

    def on_header(self, name: bytes, value: bytes) -> None:
        parsing = self._parsing
        assert parsing is not None
        if parsing.body is None:
            parsing.headers.append((name, value))
        else:
            parsing.trailers.append((name, value))

    def on_headers_complete(self) -> None:
        parsing = self._parsing
        assert parsing is not None
        parsing.method = self._parser.get_method()
        parsing.body = BodyStream(self)
        self._head = parsing

    def on_chunk_header(self) -> None:
        self._unnoticed = 0

    def on_chunk_complete(self) -> None:
        self._unnoticed = 0

    def on_body(self, data: bytes) -> None:
        parsing = self._parsing
        assert parsing is not None and parsing.body is not None
        body = parsing.body
        if body.length is None:
            # Many small chunks become one piece, which costs one write.
            self._unnoticed = 0
            self._gathered.append(data)
        else:
            body.deliver(data)

    def on_message_complete(self) -> None:
        parsing = self._parsing
        assert parsing is not None and parsing.body is not None
        if parsing.trailers:
            parsing.trailers = _checked_trailers(parsing.trailers, self.site.framing.max_fields, self.site.underscore_headers)
        parsing.complete = True
        # llhttp knows only here whether the connection can go on.
        parsing.keep_alive = self._parser.should_keep_alive()
        if self._gathered:
            self._deliver_gathered(parsing.body)
        body = parsing.body
        if 0 < self.site.max_body_bytes < body.received and body.length is None and self._request is not None:
            self._break_body(Refusal("size.too_large", "chunked body over the limit", close=True))
        else:
            body.end(parsing.trailers)

    # Reading.

    def _body_complete(self) -> bool:
        """Whether the request under way has been read to its end."""
        request = self._request
        return request is None or request.body.ended or bool(request.body.failed)

    def _hold(self, data: bytes) -> None:
        self._held += data
        if len(self._held) > _HELD_LIMIT and not self._pausers & 1:
            self.pause_reading(1)

    def _advance(self, data: bytes = b"") -> None:
        """Drive the connection: parse up to the end of one head, serve it, go on while nothing is under way.

        The only place that starts requests, and never re-entered: an answer given within it is noticed by the loop.
        """
        self._advancing = True
        try:
            while not (self._closing or self._lost or self._broken) and self._upgraded is None:
                parsing = self._parsing
                in_body = parsing is not None and parsing.body is not None and not parsing.complete
                if not data and self._held and (in_body or self._request is None):
                    data, self._held = self._held, b""
                    self.resume_reading(1)
                if not data:
                    break
                if in_body:
                    data = self._feed_body(data)
                elif self._request is None:
                    if self._count and self.transport.queued() > _QUEUE_LIMIT:
                        self._choke(data)
                        break
                    data = self._feed_head(data)
                else:
                    # What came in meanwhile is younger.
                    self._held, held = b"", self._held
                    self._hold(data + held)
                    break
        except WireError as problem:
            self._wire_error(problem)
        finally:
            self._advancing = False
        if self._request is None and not self._closing and not self._lost and not self._broken and self._upgraded is None:
            if self._choked:
                return
            if self._read_closed:
                self._close()
            elif not self._head_bytes and (self._parsing is None or self._parsing.complete):
                self.site.deadlines.set(self, self.site.limits.idle_timeout_s if self._count else self.site.head_timeout_s)

    def _choke(self, data: bytes) -> None:
        """Take no further request before the client has read the answers to those before."""
        self._held, held = b"", self._held
        self._hold(data + held)
        if not self._choked:
            self._choked = True
            self._write_mark = self.transport.undelivered()
            self.site.deadlines.set(self, self.site.write_timeout_s)
            # A pull producer is asked each time when the queue is empty, and once now.
            self.transport.registerProducer(self, False)

    def _unchoke(self) -> None:
        if self._choked:
            self._choked = False
            if not self._lost:
                self.transport.unregisterProducer()

    def _feed_head(self, data: bytes) -> bytes:
        if self._tail:
            size = _find_end(self._tail, data)
        else:
            end = data.find(b"\r\n\r\n")
            size = end + 4 if end >= 0 else 0
        if not size:
            size = len(data)
        if self._head_bytes + size > self.site.limits.max_head_bytes:
            raise WireError("request head too large", 431)
        piece = data if size == len(data) else data[:size]
        self._head_bytes += size
        self._parse(piece)
        head = self._head
        if head is None:
            if self._count and not self._early:
                # First bytes of a later request: its head has its own deadline.
                self.site.deadlines.set(self, self.site.head_timeout_s)
            self._tail = (self._tail + piece)[-3:]
            self._early.append(piece)
            return data[size:]
        if self._early:
            self._early.append(piece)
            piece = b"".join(self._early)
            self._early.clear()
        # llhttp takes RTSP and ICE for HTTP, and any number of blanks between the parts.
        line = b"%b %b HTTP/1." % (head.method, head.target)
        version = ""
        if piece.startswith(line):
            version = _VERSIONS.get(piece[len(line) : len(line) + 3], "")
        else:
            _check_request_line(piece, head)
        # The parser puts this text together anew each time.
        head.version = version or self._parser.get_http_version()
        self._head = None
        self._head_bytes = 0
        self._tail = b""
        return self._start(head, data[size:])

    def _feed_body(self, data: bytes) -> bytes:
        parsing = self._parsing
        assert parsing is not None and parsing.body is not None
        body = parsing.body
        if body.length is not None:
            size = min(len(data), body.length - body.received)
            self._parse(data if size == len(data) else data[:size])
        else:
            size = self._feed_chunks(data[:_CHUNKED_SLICE], parsing)
            if len(parsing.trailers) > self.site.framing.max_fields:
                raise WireError("too many trailer fields", 431)
            if 0 < self.site.max_body_bytes < body.received and self._request is not None:
                self._break_body(Refusal("size.too_large", "chunked body over the limit", close=True))
                return b""
        if parsing.complete:
            self.deadline = _NEVER
            if not parsing.keep_alive and self._request is not None:
                # A trailer can say so, too: the parser takes no further request.
                self._request.keep_alive = False
        elif not self._pausers and self._request is not None:
            self._body_progress(body)
        return data[size:]

    def _feed_chunks(self, data: bytes, parsing: _Head) -> int:
        """Feed at most ``data``, and nothing behind the end of the body.

        :returns: how many bytes were fed.
        """
        # llhttp calls nobody during one endless trailer or chunk extension: count what passes unnoticed.
        if self._unnoticed >= self.site.limits.max_head_bytes:
            raise WireError("chunk line or trailers too large", 431)
        self._unnoticed += len(data)
        position = 0
        while position < len(data) and not parsing.complete and not self._lost:
            # The last chunk, or the last trailer, ends with an empty line; most empty lines are somewhere in the data.
            rest = data[position:] if position else data
            size = _find_end(self._tail, rest) or len(rest)
            piece = rest if size == len(rest) else rest[:size]
            self._tail = (self._tail + piece[-3:])[-3:]
            self._parse(piece)
            position += size
        if parsing.complete:
            self._unnoticed = 0
            self._tail = b""
        elif self._gathered:
            assert parsing.body is not None
            self._deliver_gathered(parsing.body)
        return position

    def _deliver_gathered(self, body: BodyStream) -> None:
        gathered = self._gathered
        data = gathered[0] if len(gathered) == 1 else b"".join(gathered)
        gathered.clear()
        body.deliver(data)

    def _parse(self, piece: bytes) -> None:
        try:
            self._parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            head = self._head
            if head is None:
                raise WireError("upgrade outside of a head")
            head.upgrade = True
        except httptools.HttpParserInvalidMethodError as problem:
            raise WireError(f"method: {problem}", 501 if _looks_like_request(piece) else 400) from problem
        except httptools.HttpParserCallbackError as problem:
            cause = problem.__context__
            if isinstance(cause, WireError):
                raise cause from problem
            raise
        except httptools.HttpParserError as problem:
            raise WireError(f"{type(problem).__name__}: {problem}") from problem

    def _start(self, head: _Head, rest: bytes) -> bytes:
        """Build the request of a parsed head and serve it.

        :param rest: bytes behind the head.
        :returns: those not consumed.
        """
        site = self.site
        self._count += 1
        request = GateRequest(self.connection, self._count, head.method, head.target, head.headers, self)
        body = head.body
        assert body is not None
        request.body = body
        request.entered_at = site.deadlines.read()
        framing = examine(request, site.framing, head.version, underscore=site.underscore_headers)
        if head.upgrade and framing.content_length != 0:
            # llhttp listens to Proxy-Connection, too. It has stopped, so that nobody could tell this body from what follows.
            raise WireError("Upgrade with a body")
        body.length = framing.content_length
        body.expects_continue = framing.expect_continue
        if site.close_connections or site.draining or (head.complete and not head.keep_alive):
            request.keep_alive = False
        self.deadline = _NEVER
        if self._read_closed:
            site.deadlines.set(self, _PARTING_S)
        self._begun = False
        self._request = request
        if head.upgrade:
            # The parser has stopped for good: left-over bytes belong to the new protocol or to nobody, never to a second request.
            head.complete = True
            if not request.upgrade:
                request.keep_alive = False
            body.end([])
            self._left_over, rest = rest, b""
        elif not head.complete:
            self._body_started = request.entered_at
            self._unnoticed = 0
            if rest:
                # What is here already travels in one write with the head.
                try:
                    rest = self._feed_body(rest)
                except WireError:
                    # Nobody has the request yet: it is refused like one whose head cannot be read.
                    self._request = None
                    raise
            else:
                self._body_progress(body)
        site.handle(request)
        return rest

    # Body time-outs.

    def _body_progress(self, body: BodyStream) -> None:
        deadlines = self.site.deadlines
        rate = self.site.limits.body_min_rate
        deadline = deadlines.read() + self.site.read_timeout_s
        if rate:
            deadline = min(deadline, self._body_started + _GRACE_S + body.received / rate + 1.0)
        deadlines.set_at(self, deadline)

    def _break_body(self, refusal: Refusal) -> None:
        """The body under way cannot be completed: its consumer is told, who answers while that is possible."""
        request = self._request
        assert request is not None
        self._broken = True
        request.keep_alive = False
        if self._begun:
            self.abort(refusal.detail)
        else:
            request.body.fail(refusal)

    # Back-pressure.

    def pause_reading(self, who: int) -> None:
        """Stop reading from the client.

        :param who: bit of the one that asks (1 pipelining, 2 a body's reader, 4 a body's full buffer); reading goes on when nobody asks
            any more.
        """
        if not self._pausers and not self._lost:
            self.transport.pauseProducing()
            if who != 1:
                self._body_paused_at = self.site.deadlines.read()
                self.deadline = _NEVER
        self._pausers |= who

    def resume_reading(self, who: int) -> None:
        """Undo :meth:`pause_reading`."""
        if not self._pausers & who:
            return
        self._pausers &= ~who
        if not self._pausers and not self._lost:
            if who != 1 and not self._body_complete():
                # Time during which nobody read does not count as the client's.
                self._body_started += self.site.deadlines.read() - self._body_paused_at
                self._body_progress(self._request.body)  # type: ignore[union-attr]
            self.transport.resumeProducing()

    def send_continue(self) -> None:
        """Invite the body (RFC 9110 10.1.1)."""
        if not self._lost and not self._begun:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    # Writing.

    def interim(self, request: GateRequest, status: int, headers: HeaderList) -> None:
        """Send an interim answer (RFC 9110 15.2), which HTTP/1.0 does not know.

        :param headers: without hop-by-hop ones.
        """
        if self._lost or self._begun or request is not self._request or request.version < 11:
            return
        lines = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d " % status]
        lines += [name + b": " + value for name, value in headers]
        lines.append(b"\r\n")
        self.transport.write(b"\r\n".join(lines))

    def respond(self, request: GateRequest, status: int, headers: HeaderList, body: bytes) -> None:
        """Send a whole answer.

        :param headers: without framing headers; a Date is added when there is none.
        """
        self.begin(request, status, headers, len(body), body)
        if not self._lost and request is self._request:
            self._answered(request)

    def begin(self, request: GateRequest, status: int, headers: HeaderList, length: ResponseLength, first: bytes = b"") -> None:
        """Send the head of an answer together with the first bytes of its body.

        :param length: of the whole body; None streams it, chunked where the client can read that.
        """
        if self._lost or request is not self._request:
            return
        request.status = status
        request.response_bytes = 0
        self._no_body = no_body = request.method == b"HEAD" or status in (204, 304) or status < 200
        explain = self.site.explain
        if explain is not None:
            headers = explain.mark(request, headers)
        lines = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d " % status]
        lines += [name + b": " + value for name, value in headers]
        self._chunked = self._until_close = False
        if length is not None:
            if status >= 200 and status != 204:
                lines.append(b"Content-Length: %d" % length)
        elif no_body:
            pass
        elif request.version >= 11:
            self._chunked = True
            lines.append(b"Transfer-Encoding: chunked")
        else:
            self._until_close = True
            request.keep_alive = False
        if request.keep_alive and not request.body.ended and not self._body_can_end(request):
            request.keep_alive = False
        if not request.keep_alive:
            lines.append(b"Connection: close")
        elif request.version == 10:
            lines.append(b"Connection: keep-alive")
        count = len(lines)
        head = b"\r\n".join(lines)
        if b"\r\nDate: " not in head and b"\r\ndate: " not in head:
            head += b"\r\nDate: " + self.site.date()
            count += 1
        # Whatever a step put into a value, a line stays one line (reliability reference, 2b).
        if head.count(b"\n") != count - 1 or head.count(b"\r") != count - 1:
            raise ValueError("a line break in a response header")
        self._begun = True
        if not first or no_body:
            self.transport.write(head + b"\r\n\r\n")
            return
        request.response_bytes = len(first)
        if self._chunked:
            self.transport.write(b"%b\r\n\r\n%x\r\n%b\r\n" % (head, len(first), first))
        else:
            self.transport.write(head + b"\r\n\r\n" + first)

    def chunk(self, request: GateRequest, data: bytes) -> None:
        """Send more of a body."""
        if self._lost or request is not self._request or self._no_body or not data:
            return
        request.response_bytes += len(data)
        if self._chunked:
            self.transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        else:
            self.transport.write(data)

    def finish(self, request: GateRequest, trailers: HeaderList | None = None, last: bytes = b"") -> None:
        """End an answer."""
        if self._lost or request is not self._request:
            return
        if last and not self._no_body:
            request.response_bytes += len(last)
        if self._chunked:
            end = b"0\r\n\r\n"
            if trailers:
                end = b"0\r\n" + b"".join(b"%b: %b\r\n" % line for line in trailers) + b"\r\n"
            if last:
                end = b"%x\r\n%b\r\n%b" % (len(last), last, end)
            self.transport.write(end)
        elif last and not self._no_body:
            self.transport.write(last)
        self._answered(request)

    def break_off(self, request: GateRequest, reason: str) -> None:
        """End an answer that cannot be completed so that the client sees that it is not complete."""
        if self._lost or request is not self._request:
            return
        request.detail = request.detail or reason
        self.unregister_producer()
        self._request = None
        self._end_within(self.site.limits.close_timeout_s)
        if self._until_close:
            self.transport.abortConnection()
        elif hasattr(self.transport, "truncateConnection"):
            self.transport.truncateConnection()
        else:
            self.transport.loseConnection()

    def take_over(self, request: GateRequest, upgraded: Any, head: bytes) -> None:
        """Switch to another protocol: ``head`` is the 101 answer, bytes go to ``upgraded`` from now on."""
        self.site.deadlines.clear(self)
        self._begun = True
        self._upgraded = upgraded
        explain = self.site.explain
        self.transport.write(head if explain is None else explain.mark_head(request, head))
        held, self._held = self._left_over + self._held, b""
        self._left_over = b""
        if held:
            upgraded.client_data(held)
        if self._pausers:
            self._pausers = 0
            self.transport.resumeProducing()

    def register_producer(self, producer: Any) -> None:
        """Let the client's reading speed steer ``producer`` (a push producer)."""
        self._producer = producer
        if not self._lost:
            self.transport.registerProducer(self, True)

    def unregister_producer(self) -> None:
        """Undo :meth:`register_producer`."""
        if self._producer is not None:
            self._producer = None
            if not self._lost:
                self.transport.unregisterProducer()

    def pauseProducing(self) -> None:
        """The client reads too slowly."""
        if self._producer is not None:
            self._producer.pauseProducing()
            if self._body_complete():
                self._write_mark = self.transport.undelivered()
                self.site.deadlines.set(self, self.site.write_timeout_s)

    def resumeProducing(self) -> None:
        """The client has caught up."""
        if self._producer is not None:
            if self._body_complete():
                self.deadline = _NEVER
                if self._read_closed:
                    self.site.deadlines.set(self, _PARTING_S)
            self._producer.resumeProducing()
        elif self._choked and not self.transport.queued():
            self._unchoke()
            self._advance()

    def stopProducing(self) -> None:
        """The transport is gone; ``connectionLost`` tells."""

    # Ends.

    @property
    def is_chunked(self) -> bool:
        """Whether the answer under way is sent in chunks."""
        return self._chunked

    @property
    def lost(self) -> bool:
        """Whether the connection is gone."""
        return self._lost

    def begun(self, request: GateRequest) -> bool:
        """Whether an answer to ``request`` has begun, or can no longer be given."""
        return self._begun or request is not self._request

    def cut_upgraded(self, request: GateRequest, reason: str) -> None:
        """End an upgraded connection that still belongs to a request."""
        upgraded = self._upgraded
        if upgraded is not None and upgraded.request is request:
            upgraded.cut(reason)

    def recheck(self) -> None:
        """After a reload: an upgraded stream ends when its API is gone or no longer lets its client in."""
        upgraded = self._upgraded
        if upgraded is not None:
            reason = self.site.judge_again(upgraded.request)
            if reason is not None:
                upgraded.cut(reason)

    def drain(self) -> None:
        """Shut down: an idle connection closes, a busy one after its answer."""
        if self._upgraded is not None:
            self._upgraded.drain()
        elif self._request is None and not self._head_bytes and not self._closing:
            self._close()
        elif self._request is not None:
            self._request.keep_alive = False

    def abort(self, detail: str = "") -> None:
        """Cut the connection."""
        if self._request is not None and detail:
            self._request.detail = self._request.detail or detail
        if not self._lost:
            self.transport.abortConnection()

    def _body_can_end(self, request: GateRequest) -> bool:
        """Whether the rest of the request body may be read away so that the connection can live on."""
        body = request.body
        if self._broken or body.wants_continue or body.length is None:
            return False
        return bool(body.length - body.received <= _DRAIN_LIMIT)

    def _answered(self, request: GateRequest) -> None:
        if self._producer is not None:
            self.unregister_producer()
        self._request = None
        body = request.body
        if body.ended:
            self._parsing = None
            if not request.keep_alive:
                if self._held or self._left_over:
                    # More was sent than is answered: closing at once could reset the answer away (RFC 9112 9.6).
                    self._linger()
                else:
                    self._close()
                return
            if self._pausers & 6:
                # A body that nobody asked for may have filled its buffer.
                self.resume_reading(6)
        elif request.keep_alive and self._body_can_end(request):
            # The rest of the body is read away, for a bounded time.
            self.site.deadlines.set(self, self.site.limits.close_timeout_s)
            body.discard()
            return
        else:
            self._linger()
            return
        if self._advancing:
            return
        if self._held or self._choked or self._read_closed or self._closing or self._broken or self._upgraded is not None:
            self._advance()
        else:
            self.site.deadlines.set(self, self.site.limits.idle_timeout_s)

    def _wire_error(self, problem: WireError) -> None:
        self._refuse(Refusal(_WIRE_IDS.get(problem.status_hint, "wire.bad_request"), problem.reason, close=True))

    def _refuse(self, refusal: Refusal) -> None:
        """Answer what could not be read and close; an exchange under way breaks off."""
        self.site.wire_refused(self, refusal)
        self._broken = True
        if self._lost:
            return
        if self._request is not None:
            self._break_body(refusal)
            return
        parsing = self._parsing
        content_type = b""
        if parsing is not None:
            for name, value in parsing.headers:
                if name.lower() == b"content-type":
                    content_type = value
                    break
        status, headers, body = self.site.render_wire_refusal(refusal, content_type)
        explain = self.site.explain
        if explain is not None:
            # Whether or not a head was read before: a number that nobody has had.
            self._count += 1
            method, target = (parsing.method, parsing.target) if parsing is not None else (b"", b"")
            headers = explain.refuse_unreadable(self.connection, self._count, method, target, refusal, status, headers)
        lines = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d " % status, b"\r\n"]
        lines.extend(b"%b: %b\r\n" % line for line in headers)
        lines.append(b"Date: %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (self.site.date(), len(body)))
        if parsing is None or parsing.method != b"HEAD":
            lines.append(body)
        self.transport.write(b"".join(lines))
        self._linger()

    def _linger(self) -> None:
        """Half-close and read away for a bounded time and size, so that the client can read the answer before a reset."""
        if self._closing or self._lost:
            return
        self._end_within(_LINGER_S)
        self._held = b""
        if self._pausers:
            self._pausers = 0
            self.transport.resumeProducing()
        self.transport.loseWriteConnection()

    def _close(self) -> None:
        if self._closing or self._lost:
            return
        self._end_within(self.site.limits.close_timeout_s)
        self.transport.loseConnection()

    def _end_within(self, seconds: float) -> None:
        """Begin to close; the peer gets ``seconds`` for its part, anew as long as it takes what is queued for it."""
        self._unchoke()
        self._closing = True
        self._write_mark = self.transport.undelivered()
        self.site.deadlines.set(self, seconds)


def _find_end(tail: bytes, data: bytes) -> int:
    """Return how many bytes of ``data`` reach up to the end of the first empty line, 0 when there is none.

    :param tail: the last bytes before, at most three: the end may be split over reads.
    """
    if tail:
        end = (tail + data[:3]).find(b"\r\n\r\n")
        if end >= 0:
            return end + 4 - len(tail)
    end = data.find(b"\r\n\r\n")
    return end + 4 if end >= 0 else 0


def _check_request_line(piece: bytes, head: _Head) -> None:
    """Take a request line behind empty lines (RFC 9112 2.2), refuse any other that differs from what the parser made of it."""
    start = 0
    while piece.startswith(b"\r\n", start):
        start += 2
    if not piece.startswith(b"%b %b HTTP/" % (head.method, head.target), start):
        raise WireError("request line of another protocol, or not with single blanks")


def _checked_trailers(trailers: HeaderList, max_fields: int, underscore: str) -> HeaderList:
    """Apply to trailers what holds for the fields of a head: their number, and names with an underscore."""
    if len(trailers) > max_fields:
        raise WireError("too many trailer fields", 431)
    if underscore == "allow" or not any(b"_" in name for name, _ in trailers):
        return trailers
    if underscore == "refuse":
        raise WireError("underscore in a trailer name")
    return [line for line in trailers if b"_" not in line[0]]


def _looks_like_request(piece: bytes) -> bool:
    method, _, rest = piece.lstrip(b"\r\n").partition(b" ")
    return method.isalpha() and method.isupper() and b" HTTP/1." in rest[:65536]
