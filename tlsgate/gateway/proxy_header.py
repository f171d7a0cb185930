"""A listener behind a load balancer: reads who the client is (PROXY protocol), then puts the real protocol in its place.

Knows connections, not what runs over them. The header comes before the ClientHello and before the HTTP head, and is demanded: a
connection without one is closed, since nobody can tell a forgetful balancer from a client that goes around it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from tlsgate.errors import WireError
from tlsgate.wire.proxyheader import ProxyHeaderReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.python.failure import Failure

    from tlsgate.model.exchange import Connection

__all__ = ["ProxyHeaderGate"]

_log = Logger()
_NEVER = float("inf")


class ProxyHeaderGate:
    """The protocol of a connection until its header has been read.

    :param site: ``gateway.site.Site``.
    :param connection: gets the announced address.
    :param build: returns what runs over the connection then, None to close it.
    """

    __slots__ = ("_build", "_reader", "_site", "armed_at", "connection", "deadline", "transport")

    def __init__(self, site: Any, connection: Connection, build: Callable[[Connection], Any]) -> None:
        self._site = site
        self.connection = connection
        self._build = build
        self._reader = ProxyHeaderReader()
        self.transport: Any = None
        self.deadline = _NEVER
        self.armed_at = _NEVER

    def makeConnection(self, transport: Any) -> None:
        """Wait for the header, for as long as a handshake may take."""
        self.transport = transport
        site = self._site
        site.adopt(self)
        if not site.believes_balancer(self.connection.peer_address):
            self._refuse("the peer is not among tlsgate.trusted_proxies")
            return
        site.deadlines.set(self, site.handshake_timeout_s)

    def dataReceived(self, data: bytes) -> None:
        """Take bytes: the header, then the connection is somebody else's."""
        try:
            header = self._reader.feed(data)
        except WireError as problem:
            self._refuse(problem.reason)
            return
        if header is None:
            return
        connection = self.connection
        if header.source is not None:
            connection.peer_address = header.source
            connection.peer_port = header.source_port
        self._forget()
        transport = self.transport
        application = self._build(connection)
        if application is None:
            transport.abortConnection()
            return
        transport.protocol = application
        application.makeConnection(transport)
        rest = self._reader.rest
        if rest:
            application.dataReceived(rest)

    def connectionLost(self, reason: Failure) -> None:
        """The connection is gone before its header was complete."""
        self._forget()

    def deadline_passed(self) -> None:
        """The header took too long."""
        self._refuse("no PROXY header in time")

    # What a site asks of everything that is connected.

    def recheck(self) -> None:
        """After a reload: nothing has been decided yet."""

    def drain(self) -> None:
        """Shut down."""
        self.transport.abortConnection()

    def abort(self, detail: str) -> None:
        """Cut the connection."""
        self.transport.abortConnection()

    def _forget(self) -> None:
        self._site.deadlines.clear(self)
        self._site.forget(self)

    def _refuse(self, reason: str) -> None:
        self._site.counters["proxy_headers_refused"] += 1
        connection = self.connection
        _log.info(
            "connection of {peer} on {port} refused: {reason}",
            event="proxy_header.refused",
            conn=connection.id,
            peer=connection.peer_address,
            port=connection.listener_port,
            reason=reason,
        )
        self.transport.abortConnection()
