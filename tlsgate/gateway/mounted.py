"""Lets a Twisted Web resource (static files, a WSGI application) answer in place of an upstream; knows nothing of its content.

The resource gets a complete body of bounded size and the request interface of ``twisted.web``; gates, certificates and header
operations of the API apply as for an upstream. Source: decisions 2.6.
"""

from __future__ import annotations

import tempfile
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO

from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import getChildForRequest

from tlsgate.errors import Refusal
from tlsgate.proxy.waiter import Waiter
from tlsgate.wire.forwarding import build_request_headers

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlsgate.config.model import GatewayConfig
    from tlsgate.gateway.request import GateRequest
    from tlsgate.model.exchange import Exchange, HeaderList

__all__ = ["MountedLeaf"]

_log = Logger()

_DEFAULT_BODY_BYTES = 10 * 1024 * 1024
_MEMORY_BYTES = 100_000
"""A body of this size or more goes to a temporary file."""


class MountedLeaf:
    """The last step of an API with a mounted resource; resources see it as ``request.site``.

    :param resource: a ``twisted.web.resource.IResource``.
    :param reactor: provides ``callLater``.
    :param config: ``http_server_options.max_request_body_size`` bounds bodies, 10 MiB when it is 0.
    :param request_headers: applied to the headers that the resource reads, after the hop-by-hop ones are gone.
    :param response_headers: applied to the answer's headers.
    :param timeout_of: seconds that the resource may take from request to the end of its answer, 0 for any.
    :param protected: lower-case names that a client's ``Connection`` cannot list away.
    :param remove_xff: the resource gets no ``X-Forwarded-For``.
    """

    displayTracebacks = False

    def __init__(
        self,
        resource: Any,
        reactor: Any,
        config: GatewayConfig,
        *,
        request_headers: Callable[[Exchange, HeaderList], HeaderList] | None = None,
        response_headers: Callable[[Exchange, HeaderList], HeaderList] | None = None,
        timeout_of: Callable[[Exchange], float] | None = None,
        protected: frozenset[bytes] = frozenset(),
        remove_xff: bool = False,
        extra_response_headers: HeaderList | None = None,
    ) -> None:
        self.resource = resource
        self.reactor = reactor
        self._limit = config.http.max_request_body_size or _DEFAULT_BODY_BYTES
        self._keep_identity = config.own.keep_client_certificate_headers
        self._request_headers = request_headers
        self._response_headers = response_headers
        self._timeout_of = timeout_of
        self._protected = protected
        self._remove_xff = remove_xff
        self._extra = extra_response_headers or []

    async def __call__(self, request: GateRequest) -> None:
        """Serve one request; returns when the answer has been sent.

        :raises Refusal: ``size.too_large`` for the body; ``method.not_supported``; ``internal`` for a resource that fails; whatever the
            resource itself raises.
        """
        content, size = await self._read_body(request)
        timer: Any = None
        try:
            has_body = size > 0 or request.body.length != 0 or b"content-length" in request.index
            output = request.open_web(self, content, size if has_body else None).output
            limit = self._timeout_of(request) if self._timeout_of is not None else 0.0
            if limit > 0:
                timer = self.reactor.callLater(limit, output.fail, Refusal("upstream.timeout", f"mounted resource took over {limit:g} s"))
            try:
                self._render(request)
            except Exception:
                request.processingFailed(Failure())
            try:
                if request.channel.lost and not output.ended:
                    # The client went while the resource was at work: nobody was there to be cancelled.
                    raise CancelledError
                await output.done
            except CancelledError:
                output.client_gone()
                raise
        finally:
            if timer is not None and timer.active():
                timer.cancel()
            content.close()

    def getResourceFor(self, request: Any) -> Any:
        """Return the resource below the mounted one that a request means (``twisted.web.server.Site`` has the same)."""
        return getChildForRequest(self.resource, request)

    def build_request_headers(self, request: Exchange) -> HeaderList:
        """Return the headers that the resource reads: those that an upstream would get, and the client's Host."""
        headers = build_request_headers(
            request,
            host=request.index.get(b"host", b""),
            peer=request.connection.peer_address,
            protected=self._protected,
            keep_client_certificate_headers=self._keep_identity,
            remove_xff=self._remove_xff,
        )
        return headers if self._request_headers is None else self._request_headers(request, headers)

    def shape_answer(self, request: Exchange, headers: HeaderList) -> HeaderList:
        """Return the headers that the client gets; those that gates set replace the resource's, but for ``Vary``."""
        ours = request.response_headers
        if ours:
            names = {name.lower() for name, _ in ours if name.lower() != b"vary"}
            headers = [line for line in headers if line[0].lower() not in names] + ours
        headers = headers + self._extra
        return headers if self._response_headers is None else self._response_headers(request, headers)

    def _render(self, request: GateRequest) -> None:
        found = self.getResourceFor(request)
        # ``twisted.web.resource.EncodingResourceWrapper``: the only resource that has this.
        get_encoder = getattr(found, "getEncoder", None)
        if get_encoder is not None and request.web is not None:
            request.web.encoder = get_encoder(request)
        request.render(found)

    async def _read_body(self, request: GateRequest) -> tuple[BinaryIO, int]:
        """Return the whole body, at its start, and its size in bytes."""
        body = request.body
        if body.length is not None and body.length > self._limit:
            # Known at once: a client that waits for ``100 Continue`` is never invited.
            raise _too_large(self._limit)
        if body.length == 0:
            return BytesIO(), 0
        spool = _Spool(self._limit, self.reactor)
        try:
            body.attach(spool)
            if not spool.over:
                await spool.wait()
            if spool.refusal is not None:
                raise spool.refusal
        except BaseException:
            body.detach()
            spool.file.close()
            raise
        spool.file.seek(0)
        return spool.file, spool.size


class _Spool:
    """Collects a body.

    Whoever waits is woken in a turn of its own: the last bytes come in the middle of the parser's work, and an answer given there would
    change the channel's state under it.
    """

    __slots__ = ("_limit", "_reactor", "_waiting", "file", "over", "refusal", "size")

    def __init__(self, limit: int, reactor: Any) -> None:
        self.file: BinaryIO = BytesIO()
        self.size = 0
        self.over = False
        """Complete or failed."""
        self.refusal: Refusal | None = None
        self._limit = limit
        self._reactor = reactor
        self._waiting: Waiter[None] | None = None

    async def wait(self) -> None:
        """Return when the body is complete or has failed."""
        self._waiting = Waiter(_nothing)
        await self._waiting

    def body_chunk(self, data: bytes) -> None:
        if self.over:
            return
        self.size += len(data)
        if self.size > self._limit:
            self._end(_too_large(self._limit))
            return
        try:
            if self.size >= _MEMORY_BYTES and isinstance(self.file, BytesIO):
                gathered = self.file.getvalue()
                self.file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by whoever serves the request
                self.file.write(gathered)
            self.file.write(data)
        except OSError:
            _log.failure("cannot spool a request body", event="mounted.spool")
            self._end(Refusal("internal", "cannot spool the request body", close=True))

    def body_end(self, trailers: HeaderList) -> None:
        self._end(None)

    def body_failed(self, refusal: Refusal) -> None:
        self._end(refusal)

    def _end(self, refusal: Refusal | None) -> None:
        if not self.over:
            self.over = True
            self.refusal = refusal
            if self._waiting is not None:
                self._reactor.callLater(0, self._wake)

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)


def _too_large(limit: int) -> Refusal:
    return Refusal("size.too_large", f"more than {limit} bytes for a mounted resource", close=True)


def _nothing() -> None:
    """Nothing to undo when the client goes: whoever waits closes the file."""
