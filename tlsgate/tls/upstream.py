"""The client side: a TLS connection to an upstream, usable only after its identity was checked; knows nothing of HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from OpenSSL import SSL

from tlsgate.errors import UpstreamError
from tlsgate.tls.client import Fault, UpstreamIdentity, check_upstream, find_verify_fault
from tlsgate.tls.reasons import find_handshake_flag
from tlsgate.tls.stream import Application, TlsStream

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

__all__ = ["TlsClient", "UpstreamTls"]


class UpstreamTls(NamedTuple):
    """A prepared context together with the identity that it stands for."""

    identity: UpstreamIdentity
    context: SSL.Context


class TlsClient(TlsStream):
    """One connection to an upstream.

    :param application: gets its transport once the peer is who it should be.
    :param done: fires then, or fails with :class:`UpstreamError` (flags TL?).
    """

    def __init__(self, tls: UpstreamTls, application: Application, done: Deferred[None]) -> None:
        super().__init__()
        self._tls = tls
        self._waiting: Deferred[None] | None = done
        self._built = application

    def connectionMade(self) -> None:
        """Send the ClientHello."""
        ssl = SSL.Connection(self._tls.context, None)
        ssl.set_connect_state()
        name = self._tls.identity.server_name
        if name:
            ssl.set_tlsext_host_name(name.encode("ascii"))
        self._ssl = ssl
        self._handshake()
        self._flush()

    def handshake_finished(self, ssl: SSL.Connection) -> str | None:
        """Check who answered."""
        return check_upstream(ssl, self._tls.identity)

    def handshake_failed(self, reason: str) -> None:
        """Tell the one who waits."""
        if self._ssl is not None:
            reason = find_verify_fault(self._ssl) or reason
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.called:
            flag = reason.flag if isinstance(reason, Fault) else find_handshake_flag(reason)
            waiting.errback(UpstreamError("upstream.failed", flag, f"TLS to {self._tls.identity.host}: {reason}"))

    def build_application(self) -> Application:
        """Return the waiting application."""
        return self._built

    def application_connected(self) -> None:
        """Tell the one who waits that the upstream is who it should be."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.called:
            waiting.callback(None)

    def _drop(self) -> None:
        self._shut = True
        if not self._lost:
            self.transport.abortConnection() if self._ssl is None else self.transport.loseConnection()

    def getPeerCertificate(self) -> Any:
        """Return the peer's leaf for logs."""
        return self._ssl.get_peer_certificate(as_cryptography=True) if self._ssl is not None else None
