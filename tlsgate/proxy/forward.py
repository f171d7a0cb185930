"""Sends a checked request to its upstream and the answer back; knows nothing of why the request was let in.

Bodies stream both ways by producers and never pass through the coroutine. Source: API definitions reference, sections 9 to 11;
decisions 2.8 and 2.12.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from tlsgate.errors import UpstreamError
from tlsgate.ids import request_id
from tlsgate.proxy.upgrade import UpgradedStream
from tlsgate.proxy.waiter import Waiter
from tlsgate.routing.paths import raw_length
from tlsgate.wire.forwarding import build_request_headers, filter_response_headers, filter_trailers, validate_headers

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlsgate.model.exchange import Exchange, HeaderList
    from tlsgate.proxy.connection import UpstreamAnswer, UpstreamConnection
    from tlsgate.proxy.pool import Pool
    from tlsgate.proxy.upstreams import UpstreamPlan, UpstreamTarget
    from tlsgate.transform.request_signing import RequestSigner

__all__ = ["Forwarder"]

_log = Logger()
_NEVER = float("inf")
_RETRYABLE = frozenset({b"GET", b"HEAD", b"OPTIONS"})
_BODY_METHODS = frozenset({b"POST", b"PUT", b"PATCH"})
_SSE_BROKEN = b"event: error\ndata: upstream connection terminated unexpectedly\n\n"


class Forwarder:
    """The proxy step of one API, compiled on load.

    :param plan: targets and how they are reached.
    :param pool: shared by all APIs.
    :param request_headers: applied to the headers for the upstream, after the hop-by-hop ones are gone.
    :param response_headers: applied to the answer's headers.
    :param limit_headers: ``X-RateLimit-*`` of an answer whose request no limit has spoken of.
    :param signer: signs what is about to be sent; None for requests that go unsigned.
    :param override: may replace an upstream's error answer (``error_overrides``); None when nothing is configured.
    """

    def __init__(
        self,
        plan: UpstreamPlan,
        pool: Pool,
        *,
        request_headers: Callable[[Exchange, HeaderList], HeaderList] | None,
        response_headers: Callable[[Exchange, HeaderList], HeaderList] | None,
        timeout_of: Callable[[Exchange], float] | None,
        default_timeout_s: float,
        answer_idle_s: float,
        stream_idle_s: float,
        connect_timeout_s: float,
        strip_listen_path: bool,
        keep_client_certificate_headers: bool,
        remove_xff: bool,
        websockets: bool,
        protected: frozenset[bytes],
        extra_response_headers: HeaderList,
        limit_headers: HeaderList,
        signer: RequestSigner | None = None,
        override: Callable[[Exchange, UpstreamAnswer], tuple[int, HeaderList, bytes] | None] | None = None,
    ) -> None:
        self._plan = plan
        self._pool = pool
        self._request_headers = request_headers
        self._response_headers = response_headers
        self._timeout_of = timeout_of
        self._default_timeout_s = default_timeout_s
        self._answer_idle_s = answer_idle_s
        self._stream_idle_s = stream_idle_s
        self._connect_timeout_s = connect_timeout_s
        self._strip = strip_listen_path
        self._keep_identity = keep_client_certificate_headers
        self._remove_xff = remove_xff
        self._websockets = websockets
        self._protected = protected
        self._extra = extra_response_headers
        self._limit_headers = limit_headers
        self._override = override
        self._signer = signer

    async def __call__(self, request: Any) -> None:
        """Proxy one request; returns when the answer has been sent.

        :param request: ``gateway.request.GateRequest``.
        :raises UpstreamError: no answer could be had; nothing has been sent to the client yet.
        :raises Refusal: the request's body cannot be read to its end.
        """
        target = self._plan.next_target()
        request.upstream = target.address
        # WebSocket is the one protocol that is tunnelled; what else a client may want to speak next is for nobody to check.
        upgrade = request.upgrade if self._websockets and request.upgrade == b"websocket" else b""
        if upgrade:
            target = target.for_upgrade
        digest = b"" if self._signer is None else await self._signer.prepare(request)
        head, body, chunked = self._build_head(request, target, upgrade, digest)
        expires = _NEVER
        if self._timeout_of is not None:
            limit = self._timeout_of(request)
            if limit:
                expires = request.entered_at + limit
        connection = self._pool.take(target.destination().key) if body is None else None
        answer = None
        reused = connection is not None
        if connection is not None:
            # The usual request: no body, and a kept connection.
            try:
                answer = await connection.request(
                    head,
                    None,
                    chunked=False,
                    is_head=request.method == b"HEAD",
                    head_timeout_s=self._default_timeout_s,
                    expires=expires,
                    client=request,
                )
            except UpstreamError as problem:
                if not _may_repeat(request, connection, problem):
                    raise
        if connection is None or answer is None:
            connection, answer = await self._exchange(request, target, head, body, chunked, expires, anew=reused)
        try:
            rest = self._answer(request, connection, answer, upgrade)
            if rest is not None:
                await rest
        except BaseException:
            if not answer.complete:
                connection.close()
            raise

    def _answer(self, request: Any, connection: UpstreamConnection, answer: UpstreamAnswer, upgrade: bytes) -> Waiter[None] | None:
        """Send an answer on; returns what fires when it has been sent, None when it has been."""
        if answer.status == 101:
            if not upgrade or not _switches_to(upgrade, answer):
                connection.close()
                raise UpstreamError("upstream.failed", "UPE", "101 that nobody asked for")
            self._take_over(request, connection, answer)
            return None
        headers = filter_response_headers(answer.headers)
        channel = request.channel
        if request.response_headers:
            headers = _replace(headers, request.response_headers)
        limits = request.limit_headers
        headers.extend(self._limit_headers if limits is None else limits)
        headers.extend(self._extra)
        if self._response_headers is not None:
            headers = self._response_headers(request, headers)
            validate_headers(headers)
        chunks = answer.chunks
        first = b"" if not chunks else chunks[0] if len(chunks) == 1 else b"".join(chunks)
        if answer.status >= 400 and self._override is not None:
            overridden = self._override(request, answer)
            if overridden is not None:
                if not answer.complete:
                    connection.close()
                status, headers, first = overridden
                channel.respond(request, status, headers, first)
                return None
        if answer.complete:
            if request.method == b"HEAD" or answer.status in (204, 304):
                channel.begin(request, answer.status, headers, answer.length)
                channel.finish(request)
            elif answer.trailers:
                channel.begin(request, answer.status, headers, None, first)
                channel.finish(request, filter_trailers(answer.trailers))
            else:
                channel.respond(request, answer.status, headers, first)
            return None
        done: Waiter[None] = Waiter(connection.close)
        events = _is_event_stream(headers)
        stream = _AnswerStream(request, connection, done, events)
        channel.begin(request, answer.status, headers, answer.length, first)
        channel.register_producer(stream)
        connection.stream_to(stream, self._stream_idle_s if events else self._answer_idle_s)
        return done

    async def _exchange(
        self, request: Any, target: UpstreamTarget, head: bytes, body: Any, chunked: bool, expires: float, *, anew: bool
    ) -> tuple[UpstreamConnection, UpstreamAnswer]:
        """Send a request and return the connection with the answer's head.

        :param anew: on a new connection: a kept one has failed already.
        """
        pool = self._pool
        first = b""
        if body is not None:
            if body.failed:
                raise body.failed
            first = body.take_buffered() if not body.wants_continue else b""
        destination = target.destination()
        connection = None if anew else pool.take(destination.key)
        if connection is None:
            timeout_s = self._connect_timeout_s
            if expires != _NEVER:
                timeout_s = min(timeout_s, max(expires - pool.seconds(), 0.001))
            connection = await pool.open(destination, timeout_s)
        answer = await connection.request(
            head,
            body,
            chunked=chunked,
            is_head=request.method == b"HEAD",
            head_timeout_s=self._default_timeout_s,
            expires=expires,
            first=first,
            protected=self._protected,
            client=request,
        )
        return connection, answer

    def _build_head(self, request: Any, target: UpstreamTarget, upgrade: bytes, digest: bytes) -> tuple[bytes, Any, bool]:
        """Return request line and headers, the body to attach (None for none) and whether it goes out chunked."""
        path = request.path
        if self._strip:
            path = _strip(request)
        wanted = target.join(path)
        query = request.query
        if target.query:
            wanted += b"?" + target.query + (b"&" + query if query else b"")
        elif query is not None:
            wanted += b"?" + query
        host = target.host_header
        if self._plan.preserve_host:
            host = request.index.get(b"host", host)
        headers = build_request_headers(
            request,
            host=host,
            peer=request.connection.peer_address,
            protected=self._protected,
            keep_client_certificate_headers=self._keep_identity,
            remove_xff=self._remove_xff,
        )
        if self._request_headers is not None:
            before = headers
            headers = self._request_headers(request, headers)
            if headers is not before:
                validate_headers(headers)
        body = request.held or request.body
        length = body.length
        chunked = False
        if upgrade:
            headers.append((b"Connection", b"Upgrade"))
            headers.append((b"Upgrade", request.index[b"upgrade"]))
            body = None
        elif length == 0:
            if request.method in _BODY_METHODS or b"content-length" in request.index:
                headers.append((b"Content-Length", b"0"))
            body = None
        elif length is None:
            headers.append((b"Transfer-Encoding", b"chunked"))
            chunked = True
        else:
            headers.append((b"Content-Length", b"%d" % length))
        if not self._plan.keep_alive and not upgrade:
            headers.append((b"Connection", b"close"))
        if target.proxy_authorization:
            headers = [line for line in headers if line[0].lower() != b"proxy-authorization"]
            headers.append((b"Proxy-Authorization", target.proxy_authorization))
        if self._signer is not None:
            # The last word on headers: what is signed is what is sent, and once more by a second try.
            headers = self._signer.sign(request, target.scheme, wanted[target.prefix_length :], headers, digest)
        lines = [request.method + b" " + wanted + b" HTTP/1.1"]
        lines += [name + b": " + value for name, value in headers]
        count = len(lines)
        lines.append(b"\r\n")
        head = b"\r\n".join(lines)
        # The parser let no line break through and the transforms were checked; this is the writer's own look (reliability reference, 2b).
        if head.count(b"\n") != count + 1 or head.count(b"\r") != count + 1:
            raise ValueError("a line break in a request header")
        return head, body, chunked

    def _take_over(self, request: Any, connection: UpstreamConnection, answer: UpstreamAnswer) -> None:
        headers = filter_response_headers(answer.headers)
        if self._response_headers is not None:
            headers = self._response_headers(request, headers)
        validate_headers(headers)
        protocol = next((value for name, value in answer.headers if name.lower() == b"upgrade"), request.upgrade)
        lines = [b"HTTP/1.1 101 Switching Protocols\r\n", b"Connection: Upgrade\r\nUpgrade: %b\r\n" % protocol]
        lines += [b"%b: %b\r\n" % line for line in headers]
        lines.append(b"\r\n")
        request.status = 101
        UpgradedStream(request, connection, self._stream_idle_s).start(b"".join(lines))


class _AnswerStream:
    """An answer's body on its way: sink of the upstream, producer for the client's queue."""

    __slots__ = ("_channel", "_connection", "_done", "_events", "_request")

    def __init__(self, request: Any, connection: UpstreamConnection, done: Waiter[None], events: bool) -> None:
        self._request = request
        self._channel = request.channel
        self._connection = connection
        self._done = done
        self._events = events

    def answer_chunk(self, data: bytes) -> None:
        self._channel.chunk(self._request, data)

    def answer_end(self, trailers: HeaderList) -> None:
        self._channel.finish(self._request, filter_trailers(trailers) if trailers else None)
        self._done.callback(None)

    def answer_broken(self, error: UpstreamError) -> None:
        request = self._request
        if self._channel.lost:
            # The client went first: that is what ended the answer.
            self._done.callback(None)
            return
        request.flag = error.flag
        request.detail = f"answer broke off: {error.reason}"
        _log.warn(
            "request {request}: answer of {upstream} broke off: {reason}",
            event="http.answer_broken",
            request=request_id(request.connection.id, request.number),
            conn=request.connection.id,
            api=request.api.api_id if request.api is not None else "",
            upstream=request.upstream,
            flag=error.flag,
            reason=error.reason,
        )
        if self._events and self._channel.is_chunked:
            # Within a declared length the text would pass for the missing part.
            self._channel.chunk(request, _SSE_BROKEN)
        self._channel.break_off(request, error.reason)
        self._done.callback(None)

    def pauseProducing(self) -> None:
        self._connection.pause_answer()

    def resumeProducing(self) -> None:
        self._connection.resume_answer()


def _may_repeat(request: Any, connection: UpstreamConnection, problem: UpstreamError) -> bool:
    """Whether a kept connection had ended before it was used, by what can be seen: once more on a new one (decisions 2.12)."""
    return connection.untouched and problem.refusal == "upstream.failed" and request.method in _RETRYABLE


def _switches_to(protocol: bytes, answer: UpstreamAnswer) -> bool:
    """Whether a 101 names the protocol that was asked for (RFC 9110 section 7.8)."""
    return answer.upgrade and any(name.lower() == b"upgrade" and value.strip().lower() == protocol for name, value in answer.headers)


def _is_event_stream(headers: HeaderList) -> bool:
    return any(name.lower() == b"content-type" and value.lower().startswith(b"text/event-stream") for name, value in headers)


def _replace(headers: HeaderList, ours: HeaderList) -> HeaderList:
    """Headers that the gateway sets (CORS) replace the upstream's; ``Vary`` adds up."""
    names = {name.lower() for name, _ in ours if name.lower() != b"vary"}
    return [line for line in headers if line[0].lower() not in names] + ours


def _strip(request: Any) -> bytes:
    """Return the path as sent without the part that the listen path matched, with a leading slash."""
    path: bytes = request.path
    canonical = request.canonical
    length = len(request.matched)
    rest = path[length if path == canonical else raw_length(path, canonical, length) :]
    return rest if rest[:1] == b"/" else b"/" + rest
