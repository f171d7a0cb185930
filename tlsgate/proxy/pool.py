"""Idle connections to upstreams, kept apart by everything that makes two of them not interchangeable; knows nothing of requests.

The key of a pool entry holds the whole TLS identity (server name, client certificate, trust, pins ...), so that a connection made with
the client certificate of one API or host is never used for another.
"""

from __future__ import annotations

import errno
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from twisted.internet import error
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.protocol import ClientFactory
from zope.interface import implementer

from tlsgate.errors import UpstreamError
from tlsgate.proxy.connection import UpstreamConnection
from tlsgate.proxy.lookups import Lookups
from tlsgate.proxy.tunnel import Tunnel, Via
from tlsgate.tls.transport import connect_prompt
from tlsgate.tls.upstream import TlsClient

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from twisted.python.failure import Failure

    from tlsgate.tls.deadlines import Deadlines

__all__ = ["Destination", "Pool", "open_transport"]


class Destination:
    """Where a connection goes and as whom.

    :param tls: ``tls.upstream.UpstreamTls`` or None for plain TCP.
    :param via: the forward proxy on the way, None to go straight there.
    """

    __slots__ = ("host", "key", "port", "tls", "via")

    def __init__(self, host: str, port: int, tls: Any = None, via: Via | None = None) -> None:
        self.host = host
        self.port = port
        self.tls = tls
        self.via = via
        self.key: Hashable = _find_key((host, port, tls.identity if tls is not None else None, via.key if via is not None else None))
        """All that makes two connections not interchangeable."""


class _Key:
    """Stands for a tuple, of which there is one at a time: it is looked up for each request, by identity."""

    __slots__ = ("__weakref__", "_content")

    def __init__(self, content: tuple[Any, ...]) -> None:
        self._content = content


_keys: WeakValueDictionary[tuple[Any, ...], _Key] = WeakValueDictionary()


def _find_key(content: tuple[Any, ...]) -> _Key:
    """Return the key of these contents, the same object as long as anybody has it."""
    found = _keys.get(content)
    if found is None:
        # Reloads compile in a thread: whoever comes second takes what is there.
        found = _keys.setdefault(content, _Key(content))
    return found


class Pool:
    """Connections to all upstreams of this process.

    :param max_idle: idle connections kept in all; 0 is no limit.
    :param max_idle_per_key: idle connections kept per destination; 0 keeps none.
    :param idle_s: seconds after which an idle connection is closed.
    """

    def __init__(self, reactor: Any, deadlines: Deadlines, *, max_idle: int, max_idle_per_key: int, idle_s: float) -> None:
        self.reactor = reactor
        self.lookups = Lookups(reactor, deadlines.read)
        self._deadlines = deadlines
        self._idle: dict[Hashable, deque[UpstreamConnection]] = {}
        self._all: set[UpstreamConnection] = set()
        self.idle_count = 0
        self.configure(max_idle=max_idle, max_idle_per_key=max_idle_per_key, idle_s=idle_s)

    def configure(self, *, max_idle: int, max_idle_per_key: int, idle_s: float) -> None:
        """Take over other bounds; connections that are idle by now go only where none are to be kept."""
        self._max_idle = max_idle
        self._max_idle_per_key = max_idle_per_key
        self._idle_s = idle_s
        if not max_idle_per_key:
            self.close_idle()

    def seconds(self) -> float:
        """Return monotonic time."""
        return self._deadlines.read()

    @property
    def open_count(self) -> int:
        """Connections that are open, idle or not."""
        return len(self._all)

    def take(self, key: Hashable) -> UpstreamConnection | None:
        """Return an idle connection, the one used last, or None.

        The socket is looked at first (1 us): one whose peer has closed is of no use, and one that has bytes waiting, which nobody asked
        for, would answer the request with them.
        """
        idle = self._idle.get(key)
        while idle:
            connection = idle.pop()
            self.idle_count -= 1
            connection.deadline = float("inf")
            if not idle:
                del self._idle[key]
            if _is_alive(connection):
                return connection
            connection.close()
        return None

    async def open(self, destination: Destination, timeout_s: float) -> UpstreamConnection:
        """Open a new connection.

        :param timeout_s: for look-up, TCP and TLS together.
        :raises UpstreamError: it cannot be had.
        """
        connection = UpstreamConnection(self, self._deadlines)
        connection.key = destination.key
        connection.address = f"{destination.host}:{destination.port}"
        await open_transport(self.reactor, self.lookups, destination, connection, timeout_s)
        return connection

    def close_idle(self, keep: Callable[[Hashable], bool] | None = None) -> None:
        """Close idle connections.

        :param keep: says for which keys not; None closes all.
        """
        for key in list(self._idle):
            if keep is None or not keep(key):
                for connection in list(self._idle.get(key, ())):
                    connection.retire()

    # Connections tell.

    def connected(self, connection: UpstreamConnection) -> None:
        """A connection is ready."""
        self._all.add(connection)

    def released(self, connection: UpstreamConnection) -> None:
        """A connection is free."""
        key = connection.key
        idle = self._idle.get(key)
        if idle is None:
            idle = self._idle[key] = deque()
        if len(idle) >= self._max_idle_per_key or (self._max_idle and self.idle_count >= self._max_idle):
            connection.retire()
            if not idle:
                del self._idle[key]
            return
        idle.append(connection)
        self.idle_count += 1
        self._deadlines.set_at(connection, self._deadlines.now + self._idle_s)

    def lost(self, connection: UpstreamConnection) -> None:
        """A connection is gone."""
        self._all.discard(connection)
        idle = self._idle.get(connection.key)
        if idle is not None:
            try:
                idle.remove(connection)
            except ValueError:
                return
            self.idle_count -= 1
            if not idle:
                del self._idle[connection.key]


def _is_alive(connection: UpstreamConnection) -> bool:
    """Whether the peer has neither closed nor sent anything since."""
    look = connection.look
    # Bytes, FIN and errors all make a socket readable; asking so costs a fifth of a recv that raises.
    return not connection.lost if look is None else not look(0)


@implementer(IProtocolFactory)
class _Opener(ClientFactory):
    noisy = False

    def __init__(self, protocol: Any, done: Deferred[None]) -> None:
        self._protocol = protocol
        self._done = done

    def buildProtocol(self, addr: Any) -> Any:
        return self._protocol

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        if not self._done.called:
            self._done.errback(reason)


class _Plain:
    """Tells when the TCP connection is there, then steps aside."""

    def __init__(self, application: Any, done: Deferred[None]) -> None:
        self._application = application
        self._done = done

    def makeConnection(self, transport: Any) -> None:
        transport.protocol = self._application
        self._application.makeConnection(transport)
        _succeed(self._done)


async def open_transport(reactor: Any, lookups: Lookups, destination: Destination, application: Any, timeout_s: float) -> None:
    """Connect ``application`` to a destination, through proxy and TLS where it says so; returns when it is connected.

    :param timeout_s: for look-up, TCP, proxy and TLS together; what is left is split evenly over the addresses not tried yet.
    :raises UpstreamError: with Tyk's flags: DNS, UCF (refused), NRH (no route), UCT (too slow), TL? (TLS).
    """
    via = destination.via
    host, port = (destination.host, destination.port) if via is None else (via.host, via.port)
    deadline = reactor.seconds() + timeout_s
    addresses = await lookups.find(host, timeout_s)
    last: UpstreamError | None = None
    for number, address in enumerate(addresses):
        share = max(deadline - reactor.seconds(), 0.001) / (len(addresses) - number)
        done: Deferred[None] = Deferred()
        opener = _Opener(_build_protocol(destination, application, done), done)
        connector = connect_prompt(reactor, address, port, opener, timeout_s=share)
        timer = reactor.callLater(share, _expire, done)
        try:
            await done
            return
        except UpstreamError as problem:
            last = problem
            connector.disconnect()
        except error.ConnectError as problem:
            last = _describe(f"connect to {'proxy ' if via is not None else ''}{address} port {port}: {problem}", problem)
        except BaseException:
            # Cancelled: nobody waits any more.
            connector.disconnect()
            raise
        finally:
            if timer.active():
                timer.cancel()
    assert last is not None
    raise last


def _build_protocol(destination: Destination, application: Any, done: Deferred[None]) -> Any:
    """Return what runs over the TCP connection: from the outside in TLS to the proxy, CONNECT, TLS to the upstream."""
    tls, via = destination.tls, destination.via
    if via is not None and via.tunnelled:
        inside, opened = application, partial(_succeed, done)
        if tls is not None:
            inside, opened = TlsClient(tls, application, done), partial(_succeed, Deferred())
        tunnel = Tunnel(via.build_request(destination.host, destination.port), inside, opened, done)
        return TlsClient(via.tls, tunnel, _first_step(done)) if via.tls is not None else tunnel
    if via is not None:
        tls = via.tls
    return TlsClient(tls, application, done) if tls is not None else _Plain(application, done)


def _first_step(done: Deferred[None]) -> Deferred[None]:
    """Return a Deferred whose failure is that of ``done``, and whose success says nothing yet."""
    step: Deferred[None] = Deferred()
    step.addErrback(lambda failure: None if done.called else done.errback(failure))
    return step


def _succeed(done: Deferred[None]) -> None:
    if not done.called:
        done.callback(None)


def _describe(text: str, problem: error.ConnectError) -> UpstreamError:
    if isinstance(problem, error.UserError | error.TCPTimedOutError):
        return UpstreamError("upstream.timeout", "UCT", text)
    if problem.osError in (errno.ENETUNREACH, errno.EHOSTUNREACH):
        return UpstreamError("upstream.failed", "NRH", text)
    return UpstreamError("upstream.failed", "UCF", text)


def _expire(done: Deferred[None]) -> None:
    if not done.called:
        done.errback(UpstreamError("upstream.timeout", "UCT", "connect and TLS handshake took too long"))
