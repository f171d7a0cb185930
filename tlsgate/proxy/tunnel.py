"""A way through a forward proxy: the ``CONNECT`` dialogue, then bytes as if the proxy were not there; knows nothing of what follows.

Whatever checks belong to the upstream (name, pins, client certificate) are made by the protocol inside the tunnel, against the upstream.
Source: RFC 9110 section 9.3.6.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IHalfCloseableProtocol
from zope.interface import implementer

from tlsgate.errors import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

    from tlsgate.proxy.proxies import ProxyAddress
    from tlsgate.tls.upstream import UpstreamTls

__all__ = ["Tunnel", "Via"]

_HEAD_LIMIT = 16384
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: |\r\n)")


class Via:
    """A proxy on the way to an upstream.

    :param address: of it.
    :param tls: identity and context where the proxy itself is reached through TLS, else None.
    :param tunnelled: whether the upstream is reached through ``CONNECT``; else the request itself goes to the proxy.
    """

    __slots__ = ("_address", "authorization", "host", "key", "port", "tls", "tunnelled")

    def __init__(self, address: ProxyAddress, tls: UpstreamTls | None, *, tunnelled: bool) -> None:
        self._address = address
        self.host = address.host
        self.port = address.port
        self.authorization = address.authorization
        self.tls = tls
        self.tunnelled = tunnelled
        self.key: Hashable = (address, tls.identity if tls is not None else None, tunnelled)

    def as_tunnel(self) -> Via:
        """Return the way through ``CONNECT``."""
        return Via(self._address, self.tls, tunnelled=True)

    def build_request(self, host: str, port: int) -> bytes:
        """Return the ``CONNECT`` request for an upstream.

        :param host: normalised; IPv6 without brackets.
        """
        where = (f"[{host}]:{port}" if ":" in host else f"{host}:{port}").encode("ascii")
        lines = [b"CONNECT %b HTTP/1.1" % where, b"Host: " + where]
        if self.authorization:
            lines.append(b"Proxy-Authorization: " + self.authorization)
        return b"\r\n".join([*lines, b"", b""])


@implementer(IHalfCloseableProtocol)
class Tunnel:
    """The protocol of a connection to a proxy.

    :param request: of :meth:`Via.build_request`.
    :param inside: the protocol that gets the connection once the proxy has opened it.
    :param opened: called then.
    :param done: fails with :class:`UpstreamError` when the proxy does not.
    """

    def __init__(self, request: bytes, inside: Any, opened: Callable[[], None], done: Deferred[None]) -> None:
        self._request = request
        self._inside = inside
        self._opened = opened
        self._done = done
        self._head = b""
        self._open = False
        self._over = False
        self.transport: Any = None

    def makeConnection(self, transport: Any) -> None:
        """Ask for the way."""
        self.transport = transport
        transport.write(self._request)

    def dataReceived(self, data: bytes) -> None:
        """Take bytes: the proxy's answer, then the upstream's."""
        if self._open:
            self._inside.dataReceived(data)
            return
        if self._over:
            return
        self._head += data
        while True:
            head, end, rest = self._head.partition(b"\r\n\r\n")
            if not end:
                if len(self._head) > _HEAD_LIMIT:
                    self._fail("answered CONNECT with too long a head")
                return
            found = _STATUS.match(head + end)
            if found is None:
                self._fail("answered CONNECT with something that is not HTTP")
                return
            status = int(found[1])
            self._head = rest
            if status >= 200:
                break
        if status >= 300:
            self._fail(f"refused CONNECT with {status}")
            return
        self._open = True
        self._head = b""
        self._inside.makeConnection(self.transport)
        self._opened()
        if rest:
            self._inside.dataReceived(rest)

    def readConnectionLost(self) -> None:
        """Nothing more comes."""
        if self._open:
            self._inside.readConnectionLost()
        else:
            self._fail("closed the connection instead of answering CONNECT")

    def writeConnectionLost(self) -> None:
        """Our half is closed."""

    def connectionLost(self, reason: Failure) -> None:
        """The connection is gone."""
        if self._open:
            self._inside.connectionLost(reason)
        else:
            self._fail("closed the connection instead of answering CONNECT")

    def _fail(self, what: str) -> None:
        if self._over:
            return
        self._over = True
        self.transport.abortConnection()
        if not self._done.called:
            self._done.errback(UpstreamError("upstream.failed", "UCF", f"the proxy {what}"))
