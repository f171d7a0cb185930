"""One connection to an upstream: sends a request, reads the answer, tells whether it may be used again; knows nothing of APIs.

Answers are parsed by llhttp in its strict mode; a body that ends early is never passed off as complete (RFC 9112 8).
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Any, Protocol

import httptools
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from zope.interface import implementer

from tlsgate.errors import UpstreamError
from tlsgate.proxy.waiter import Waiter
from tlsgate.tls.reasons import find_handshake_flag
from tlsgate.tls.stream import TlsBroken
from tlsgate.wire.forwarding import filter_response_headers, filter_trailers

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.python.failure import Failure

    from tlsgate.errors import Refusal
    from tlsgate.model.exchange import HeaderList, RequestBody
    from tlsgate.tls.deadlines import Deadlines

__all__ = ["AnswerSink", "InterimSink", "UpstreamAnswer", "UpstreamConnection"]

_NEVER = float("inf")
_HEAD_LIMIT = 65536
_UNMEASURED = 1 << 62


class InterimSink(Protocol):
    """Whom interim answers (1xx) concern."""

    def interim_answer(self, status: int, headers: HeaderList) -> None:
        """One has come; the answer itself follows."""


class AnswerSink(Protocol):
    """Where the body of an answer goes once its head was handed over."""

    def answer_chunk(self, data: bytes) -> None:
        """More of the body."""

    def answer_end(self, trailers: HeaderList) -> None:
        """The body is complete."""

    def answer_broken(self, error: UpstreamError) -> None:
        """The body breaks off."""


class UpstreamAnswer:
    """The head of an answer, with the body as far as it arrived with it."""

    __slots__ = ("chunks", "complete", "headers", "length", "status", "trailers", "upgrade")

    def __init__(self, status: int, headers: HeaderList) -> None:
        self.status = status
        self.headers = headers
        self.chunks: list[bytes] = []
        self.trailers: HeaderList = []
        self.length: int | None = None
        """Declared length; None when it is not known."""
        self.complete = False
        self.upgrade = False


@implementer(IHalfCloseableProtocol, IPushProducer)
class UpstreamConnection:
    """Application protocol over a TCP transport or a ``tls.stream.TlsStream``.

    :param pool: told when the connection is free (``released``) or gone (``lost``).
    """

    __slots__ = (
        "_answer",
        "_answer_paused",
        "_body",
        "_body_chunked",
        "_body_done",
        "_client",
        "_deadlines",
        "_expires",
        "_got_bytes",
        "_head_bytes",
        "_head_done",
        "_head_ready",
        "_head_request",
        "_headers",
        "_idle_timeout_s",
        "_keep_alive",
        "_left_over",
        "_message_done",
        "_parsed",
        "_parser",
        "_pool",
        "_protected",
        "_registered",
        "_sink",
        "_stalled_at",
        "_until_close",
        "_upgraded",
        "_waiting",
        "address",
        "armed_at",
        "deadline",
        "key",
        "look",
        "lost",
        "transport",
        "used",
    )

    def __init__(self, pool: Any, deadlines: Deadlines) -> None:
        self.transport: Any = None
        self.look: Callable[[int], list[tuple[int, int]]] | None = None
        """Says whether the socket of the TCP connection below is readable (``select.poll``); None without a socket."""
        self._left_over = b""
        self._pool = pool
        self._deadlines = deadlines
        self.deadline = _NEVER
        self.armed_at = _NEVER
        self.key: Any = None
        self.address = ""
        self.used = 0
        """Requests sent so far."""
        self._parser: Any = httptools.HttpResponseParser(self)
        self._waiting: Waiter[UpstreamAnswer] | None = None
        self._answer: UpstreamAnswer | None = None
        self._answer_paused = False
        self._headers: HeaderList = []
        self._head_done = False
        self._head_ready = False
        self._sink: AnswerSink | None = None
        self._body: RequestBody | None = None
        self._body_done = True
        self._client: InterimSink | None = None
        self._body_chunked = False
        self._protected: frozenset[bytes] = frozenset()
        self._registered = False
        self._head_request = False
        self._keep_alive = False
        self._until_close = False
        self._message_done = False
        self._parsed = False
        """The parser itself has seen the end of the answer."""
        self._got_bytes = False
        self._upgraded: Any = None
        self._stalled_at = -1
        self._head_bytes = 0
        self._idle_timeout_s = 0.0
        self._expires = _NEVER
        self.lost = False

    # Using it.

    def request(
        self,
        head: bytes,
        body: RequestBody | None,
        *,
        chunked: bool,
        is_head: bool,
        head_timeout_s: float,
        expires: float,
        first: bytes = b"",
        protected: frozenset[bytes] = frozenset(),
        client: InterimSink | None = None,
    ) -> Waiter[UpstreamAnswer]:
        """Send a request.

        :param head: request line and headers, with the final empty line.
        :param body: attached at once when there is one.
        :param chunked: the body goes out chunked.
        :param is_head: the answer has no body.
        :param head_timeout_s: seconds until the answer's head must be there, counted anew while a body is still going up.
        :param expires: monotonic time at which the whole exchange ends.
        :param first: bytes of the body that are here already.
        :param protected: lower-case names that no trailer may have, beside those that none ever has.
        :param client: is told of interim answers.
        :returns: fires with the answer's head; fails with :class:`UpstreamError` or with the body's :class:`Refusal`.
        """
        self.used += 1
        waiting: Waiter[UpstreamAnswer] = Waiter(self._cancelled)
        self._waiting = waiting
        self._headers = []
        self._answer = None
        self._answer_paused = False
        self._sink = None
        self._head_done = self._head_ready = self._message_done = self._parsed = self._got_bytes = False
        self._until_close = False
        self._head_bytes = 0
        self._client = client
        self._head_request = is_head
        self._body_chunked = chunked
        self._expires = expires
        self._idle_timeout_s = head_timeout_s
        now = self._deadlines.read()
        deadline = now + head_timeout_s
        self._deadlines.set_at(self, deadline if deadline < expires else expires)
        if body is None:
            self._body_done = True
            self.transport.write(head)
        else:
            if first:
                head += b"%x\r\n%b\r\n" % (len(first), first) if chunked else first
            self._body = body
            self._body_done = False
            self._stalled_at = -1
            self._protected = protected
            self.transport.write(head)
            self.transport.registerProducer(self, True)
            self._registered = True
            body.attach(self)
        return waiting

    def stream_to(self, sink: AnswerSink, idle_timeout_s: float) -> None:
        """Send the rest of the body to ``sink``; the caller has taken what the answer already held.

        :param idle_timeout_s: seconds without a byte after which the answer counts as broken.
        """
        self._sink = sink
        self._idle_timeout_s = idle_timeout_s
        deadline = self._deadlines.read() + self._idle_timeout_s
        self._deadlines.set_at(self, min(deadline, self._expires))

    def pause_answer(self) -> None:
        """Stop reading from the upstream: the client is slower."""
        if not self.lost:
            self._answer_paused = True
            self.transport.pauseProducing()
            self.deadline = self._expires

    def resume_answer(self) -> None:
        """Read on."""
        if not self.lost:
            self._answer_paused = False
            self._deadlines.set_at(self, min(self._deadlines.read() + self._idle_timeout_s, self._expires))
            self.transport.resumeProducing()

    def upgrade_to(self, upgraded: Any) -> bytes:
        """Hand the byte stream over to ``upgraded`` after a 101.

        :returns: bytes that arrived behind the head.
        """
        self._upgraded = upgraded
        self.deadline = _NEVER
        self._waiting = None
        left, self._left_over = self._left_over, b""
        return left

    def close(self) -> None:
        """End the connection now, whatever is under way; nobody may take it any more."""
        if not self.lost:
            self._pool.lost(self)
            self._finish_body()
            self.transport.abortConnection()

    def retire(self) -> None:
        """End an idle connection, with a TLS goodbye; nobody may take it any more."""
        if not self.lost:
            self._pool.lost(self)
            self.transport.loseConnection()

    # Protocol.

    def makeConnection(self, transport: Any) -> None:
        """Take the transport."""
        self.transport = transport
        while hasattr(transport, "transport"):  # TLS, and TLS to a proxy below it
            transport = transport.transport
        self.look = _build_look(transport)
        self._pool.connected(self)

    def dataReceived(self, data: bytes) -> None:
        """Take bytes from the upstream."""
        if self._upgraded is not None:
            self._upgraded.upstream_data(data)
            return
        if self._waiting is None and self._answer is None:
            # Bytes that nobody asked for: whatever they are, this connection is not to be trusted any more.
            self.close()
            return
        self._got_bytes = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._left_over = data[upgrade.args[0] :]
            self._parsed = False
        except httptools.HttpParserError as problem:
            if not self._message_done:
                self._failed(UpstreamError("upstream.failed", "UPE", f"malformed answer: {problem}"))
                return
            # The answer is complete by its own account; what follows belongs to nobody (RFC 9112 section 6.3).
            self._keep_alive = False
        if not self._head_done:
            self._head_bytes += len(data)
            if self._head_bytes > _HEAD_LIMIT:
                self._failed(UpstreamError("upstream.failed", "UPE", "answer head too large"))
            return
        if self._head_ready:
            self._head_ready = False
            if self._head_request and not data.endswith(b"\r\n\r\n"):
                self._keep_alive = False
            waiting, self._waiting = self._waiting, None
            answer = self._answer
            if waiting is not None and answer is not None:
                answer.complete = self._message_done
                if answer.complete:
                    self._release()
                waiting.callback(answer)
        elif self._message_done and self._sink is not None:
            sink = self._sink
            trailers = self._answer.trailers if self._answer is not None else []
            self._release()
            sink.answer_end(trailers)
        elif self._sink is not None and not self._answer_paused:
            deadline = self._deadlines.read() + self._idle_timeout_s
            self.deadline = deadline if deadline < self._expires else self._expires

    def readConnectionLost(self) -> None:
        """The upstream sends nothing more, and said so."""
        if self._upgraded is not None:
            self._upgraded.upstream_ended()
        elif self._waiting is None and self._answer is None:
            # Idle: from now on nobody may take it.
            self._pool.lost(self)
            self.transport.loseConnection()
        elif self._until_close and self._sink is not None:
            sink = self._sink
            self._answer = self._sink = None
            self._finish_body()
            self.transport.loseConnection()
            sink.answer_end([])
        else:
            self._failed(UpstreamError("upstream.failed", "UPE", f"upstream closed before {self._what_is_missing()} was complete"))

    def writeConnectionLost(self) -> None:
        """Our half is closed."""

    def connectionLost(self, reason: Failure) -> None:
        """The connection is gone."""
        if self.lost:
            return
        self.lost = True
        self._deadlines.clear(self)
        self._pool.lost(self)
        if self._upgraded is not None:
            self._upgraded.upstream_lost()
            return
        self._failed(_describe_loss(reason))
        self._parser = self.look = None

    def deadline_passed(self) -> None:
        """The upstream took too long."""
        if self._waiting is None and self._answer is None:
            self.retire()
            return
        if not self._body_done and self._deadlines.read() < self._expires and self._takes_the_body():
            self._deadlines.set_at(self, min(self._deadlines.now + self._idle_timeout_s, self._expires))
            return
        self._failed(UpstreamError("upstream.timeout", "URT", f"{self._what_is_missing()} did not come in time"))

    # The request body: we are its sink, and a producer for our transport's queue.

    def body_chunk(self, data: bytes) -> None:
        if self._body_done or self.lost:
            return
        self.transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._body_chunked else data)

    def body_end(self, trailers: HeaderList) -> None:
        if self._body_done or self.lost:
            return
        if self._body_chunked:
            lines = [b"%b: %b\r\n" % line for line in filter_trailers(trailers, self._protected)] if trailers else ()
            self.transport.write(b"0\r\n%b\r\n" % b"".join(lines))
        self._finish_body()
        if self._waiting is not None:
            self._deadlines.set_at(self, min(self._deadlines.read() + self._idle_timeout_s, self._expires))

    def body_failed(self, refusal: Refusal) -> None:
        self._failed(refusal)

    def pauseProducing(self) -> None:
        # Measured when the next deadline passes: a standstill counts over a whole time-out only.
        self._stalled_at = _UNMEASURED
        if self._body is not None:
            self._body.pause()

    def resumeProducing(self) -> None:
        self._stalled_at = -1
        if self._body is not None:
            self._body.resume()

    def _takes_the_body(self) -> bool:
        """Whether the upload goes on: a slow one is the client's pace, which the channel watches; the upstream's time starts when it has
        the request, or stops reading it."""
        if self._stalled_at < 0:
            return True
        queued: int = self.transport.queued()
        moved = queued != self._stalled_at
        self._stalled_at = queued
        return moved

    def stopProducing(self) -> None:
        """The transport is gone; ``connectionLost`` tells."""

    # Parser callbacks.

    def on_message_begin(self) -> None:
        if self._head_done:
            # The first byte behind an answer: left in the parser it would become the beginning of the next one.
            raise ValueError("bytes after the answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._answer is not None:
            if self._message_done:
                raise ValueError("bytes after the answer")
            self._answer.trailers.append((name, value))
        else:
            self._headers.append((name, value))
            if len(self._headers) > 500:
                raise ValueError("too many fields")

    def on_headers_complete(self) -> None:
        parser = self._parser
        status = parser.get_status_code()
        if status < 200 and status != 101:
            if status < 100:
                raise ValueError("status")
            headers, self._headers = self._headers, []
            # 100 concerns our own connection only (RFC 9110 15.2).
            if status > 100 and self._client is not None and self._waiting is not None:
                self._client.interim_answer(status, filter_response_headers(headers))
            return
        answer = UpstreamAnswer(status, self._headers)
        chunked = False
        for name, value in self._headers:
            size = len(name)
            if size == 14 and name.lower() == b"content-length":
                if not value.isdigit() or len(value) > 18:
                    raise ValueError("content length")
                answer.length = int(value)
            elif size == 17 and name.lower() == b"transfer-encoding":
                if value.lower() != b"chunked" or chunked:
                    raise ValueError("transfer coding")
                chunked = True
        if status == 101:
            answer.upgrade = any(name.lower() == b"upgrade" for name, _ in self._headers)
        elif self._head_request or status in (204, 304):
            self._message_done = True
        elif answer.length is None and not chunked:
            self._until_close = True
        self._answer = answer
        self._head_done = self._head_ready = True
        self._keep_alive = parser.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        if self._head_request:
            raise ValueError("body of an answer to HEAD")
        if self._sink is not None:
            self._sink.answer_chunk(data)
        elif self._answer is not None:
            self._answer.chunks.append(data)

    def on_message_complete(self) -> None:
        if self._answer is not None:
            self._message_done = self._parsed = True
            self._keep_alive = self._parser.should_keep_alive() and not self._until_close

    # Ends.

    def _release(self) -> None:
        """The answer is complete: the connection goes back, or closes when it may not be used again."""
        reusable = self._keep_alive and self._body_done and not self._until_close and not self.lost
        if self._answer is not None and self._answer.upgrade:
            return
        self._answer = self._sink = None
        self._message_done = False
        self.deadline = _NEVER
        if not self._body_done:
            # It did not want the rest of the body, and may not read it either.
            self.close()
            return
        if reusable:
            if not self._parsed:
                # Nothing of one answer may reach into the next, and llhttp does not know that the answer to HEAD has no body: a parser
                # that has not come to the end of the answer itself is not used again.
                self._parser = httptools.HttpResponseParser(self)
            self._pool.released(self)
        else:
            self.transport.loseConnection()

    def _finish_body(self) -> None:
        self._body_done = True
        if self._registered:
            self._registered = False
            if not self.lost:
                self.transport.unregisterProducer()
        body, self._body = self._body, None
        if body is not None:
            body.resume()

    def _failed(self, error: UpstreamError | Refusal) -> None:
        """The exchange cannot be completed."""
        waiting, self._waiting = self._waiting, None
        sink, self._sink = self._sink, None
        self._answer = None
        body = self._body
        if body is not None:
            detach = getattr(body, "detach", None)
            if detach is not None:
                detach()
        self._finish_body()
        self.deadline = _NEVER
        if not self.lost:
            self.transport.abortConnection()
        if sink is not None:
            sink.answer_broken(error if isinstance(error, UpstreamError) else UpstreamError("upstream.failed", "URR", error.detail))
        elif waiting is not None:
            waiting.errback(error)

    def _what_is_missing(self) -> str:
        return "the answer's head" if self._sink is None else "the answer's body"

    def _cancelled(self) -> None:
        self._waiting = None
        self.close()

    @property
    def untouched(self) -> bool:
        """Whether no byte of an answer has arrived since the last request was sent."""
        return not self._got_bytes


def _build_look(transport: Any) -> Callable[[int], list[tuple[int, int]]] | None:
    """Return what tells whether a transport's socket is readable; None for one without a socket."""
    socket = getattr(transport, "socket", None)
    if socket is None:
        return None
    poller = select.poll()
    poller.register(socket, select.POLLIN)
    return poller.poll


def _describe_loss(reason: Failure) -> UpstreamError:
    """Say how a connection ended, with Tyk's flag: URR reset, UPE closed, TL? an alert (TLS 1.3 refuses a client certificate so late)."""
    if reason.check(TlsBroken):
        text = reason.getErrorMessage()
        return UpstreamError("upstream.failed", find_handshake_flag(text), f"TLS ended the connection: {text}")
    if reason.check(ConnectionAborted):
        return UpstreamError("upstream.failed", "UPE", "upstream closed the connection without a TLS close_notify")
    if reason.check(ConnectionDone):
        return UpstreamError("upstream.failed", "UPE", "upstream closed the connection")
    return UpstreamError("upstream.failed", "URR", "upstream reset the connection")
