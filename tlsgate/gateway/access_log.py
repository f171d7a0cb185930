"""One log line per finished request, when ``tlsgate.log.access`` is on; knows no transport."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from tlsgate.auth.shown import show_key, show_path

if TYPE_CHECKING:
    from tlsgate.gateway.request import GateRequest

__all__ = ["AccessLog"]

_log = Logger()


class AccessLog:
    """Called with each finished request."""

    def __init__(self, site: Any) -> None:
        self._site = site

    def __call__(self, request: GateRequest) -> None:
        """Write the line."""
        tls = request.connection.tls
        peer = tls.peer if tls is not None else None
        api = request.api
        _log.info(
            "{method} {host}{path} {status}",
            event="http.access",
            request=self._site.request_id(request),
            conn=request.connection.id,
            api=api.api_id if api is not None else "",
            org=api.org_id if api is not None else "",
            peer=request.connection.peer_address,
            client=request.client_address,
            method=request.method.decode("latin-1"),
            host=request.host,
            path=show_path(request.path, request.canonical, whole=self._site.show_keys),
            key_name=show_key(request.session_id, whole=self._site.show_keys),
            alias=request.session.alias if request.session is not None else "",
            status=request.status,
            bytes=request.response_bytes,
            elapsed_ms=round((self._site.clock.monotonic() - request.entered_at) * 1000, 2),
            upstream=request.upstream,
            refusal=request.refusal,
            flag=request.flag,
            detail=request.detail,
            fingerprint=peer.fingerprint if peer is not None else None,
            subject=peer.subject if peer is not None else None,
        )
