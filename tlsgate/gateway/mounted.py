"""Lets a Twisted Web resource (static files, a WSGI application) answer in place of an upstream; knows nothing of its content.

The resource gets a complete body of bounded size and the request interface of ``twisted.web``; gates, certificates and header
operations of the API apply as for an upstream. Source: decisions 2.6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import getChildForRequest

from tlsgate.errors import Refusal
from tlsgate.proxy.held_body import Spool
from tlsgate.wire.forwarding import build_request_headers

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlsgate.config.model import GatewayConfig
    from tlsgate.gateway.request import GateRequest
    from tlsgate.model.exchange import Exchange, HeaderList

__all__ = ["MountedLeaf"]

_log = Logger()

_DEFAULT_BODY_BYTES = 10 * 1024 * 1024


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
        spool = Spool(self._limit, self.reactor, "a mounted resource")
        await spool.collect(request.held or request.body)
        return spool.file, spool.size
