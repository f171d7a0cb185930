"""One connection to a Redis server, ready for commands: found (Sentinel), opened, verified (TLS), logged in, and known to be the master.

txredisapi's protocols speak; its connection handlers are not used, because calls wait in them for ever (see
``docs/design/0008-stores.md``). Must not know what is asked of the server afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import txredisapi
from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred, FirstError, TimeoutError, gatherResults
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError
from twisted.internet.interfaces import IHandshakeListener, IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Factory
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from tlsgate.errors import StoreUnavailable
from tlsgate.tls.client import UpstreamIdentity, check_upstream, find_verify_fault
from tlsgate.wire.names import is_ip_literal

__all__ = ["CommandConnection", "Connector", "RedisAccess", "RedisTls", "SubscriberConnection"]

MAX_REPLY_BYTES = 1 << 28
"""Of one answer; a set of a million names is some 100 MiB. Whoever can write to Redis must not be able to fill our memory."""
_FAULTS = (ConnectError, ConnectionClosed, DNSLookupError, SSL.Error, TimeoutError, txredisapi.RedisError)


@implementer(IOpenSSLClientConnectionCreator)
class RedisTls:
    """How servers are verified and what we show them.

    :param identity: of whatever server; host, port and name are replaced.
    :param context: of :func:`tlsgate.tls.client.build_client_context`.
    """

    __slots__ = ("context", "identity")

    def __init__(self, identity: UpstreamIdentity, context: SSL.Context) -> None:
        self.identity = identity
        self.context = context

    def at(self, host: str, port: int) -> RedisTls:
        """Return the same for a server."""
        name = "" if is_ip_literal(host) else host
        return RedisTls(self.identity._replace(host=host, port=port, server_name=name), self.context)

    def clientConnectionForTLS(self, tlsProtocol: object) -> SSL.Connection:
        """Return a connection that names the server."""
        connection = SSL.Connection(self.context, None)
        if self.identity.server_name:
            connection.set_tlsext_host_name(self.identity.server_name.encode("ascii"))
        return connection


class RedisAccess(NamedTuple):
    """Where Redis is and how one gets in."""

    addresses: tuple[tuple[str, int], ...]
    """Of the server, or of the Sentinels."""
    master_name: str = ""
    """Asks Sentinels for this master; empty is a single server."""
    username: str = ""
    password: str = ""
    sentinel_username: str = ""
    sentinel_password: str = ""
    database: int = 0
    tls: RedisTls | None = None


@implementer(IHandshakeListener)
class _Opening:
    """What our protocols add to txredisapi's: when they are open, who is there, when something was heard, why they ended."""

    transport: Any

    def __init__(self, reactor: Any, tls: RedisTls | None) -> None:
        # Bytes in, bytes out; log-in is ours, see Connector.
        super().__init__(charset=None, convertNumbers=False)  # type: ignore[call-arg]
        self.callLater = reactor.callLater
        self.opened: Deferred[None] = Deferred()
        self.lost = False
        self._unfinished = 0
        self.heard_at: float = reactor.seconds()
        self._seconds: Callable[[], float] = reactor.seconds
        self._losing: list[Deferred[None]] = []
        self._tls = tls
        self._ssl: Any = None

    def connectionMade(self) -> None:
        """A connection without TLS is open."""
        if self._tls is None:
            self.opened.callback(None)
        else:
            self._ssl = self.transport.getHandle()

    def handshakeCompleted(self) -> None:
        """Look who answered, before anything is sent."""
        assert self._tls is not None
        if not self.opened.called:
            fault = check_upstream(self._ssl, self._tls.identity)
            if fault is None:
                self.opened.callback(None)
            else:
                self.opened.errback(StoreUnavailable(f"TLS: {fault}"))

    def dataReceived(self, data: bytes, unpause: bool = False) -> None:
        """Parse; a server that speaks something else is cut off."""
        self.heard_at = self._seconds()
        self._unfinished += len(data)
        if self._unfinished > MAX_REPLY_BYTES:
            self.transport.abortConnection()
            return
        try:
            super().dataReceived(data, unpause)  # type: ignore[misc]
        except txredisapi.RedisError:
            self.transport.abortConnection()

    def connectionLost(self, reason: Any) -> None:
        """Tell those who use the connection, then fail whatever waits on it."""
        self.lost = True
        losing, self._losing = self._losing, []
        for waiter in losing:
            if not waiter.called:
                waiter.callback(None)
        super().connectionLost(reason)  # type: ignore[misc]
        if not self.opened.called:
            fault = find_verify_fault(self._ssl) if self._ssl is not None else None
            self.opened.errback(StoreUnavailable(f"TLS: {fault}") if fault is not None else reason)

    def when_lost(self) -> Deferred[None]:
        """Return what fires when the connection is gone."""
        waiter: Deferred[None] = Deferred()
        if self.lost:
            waiter.callback(None)
        else:
            self._losing.append(waiter)
        return waiter

    async def abort(self) -> None:
        """Cut the connection; returns when it is gone."""
        self.transport.abortConnection()
        await self.when_lost()


class CommandConnection(_Opening, txredisapi.RedisProtocol):  # type: ignore[misc]
    """Commands and replies, pipelined."""

    _due = 0

    def dataReceived(self, data: bytes, unpause: bool = False) -> None:
        """Parse answers to what was asked before: none of these bytes answers what their own answers lead to."""
        self._due = len(self.replyQueue.waiting)
        super().dataReceived(data, unpause)

    def replyReceived(self, reply: Any) -> None:
        """Give an answer to its call; one that nobody waits for cuts the connection, or each after it would go to the wrong call.

        A session for another key, for instance.
        """
        self._unfinished = 0
        self._due -= 1
        if self._due >= 0 or self.lost:  # the loss itself is told as an answer to all who wait
            super().replyReceived(reply)
        else:
            self.transport.abortConnection()


class SubscriberConnection(_Opening, txredisapi.SubscriberProtocol):  # type: ignore[misc]
    """Messages of channels."""

    def replyReceived(self, reply: Any) -> None:
        """Tell of a message, or that a channel is heard."""
        self._unfinished = 0
        super().replyReceived(reply)

    def messageReceived(self, pattern: bytes | None, channel: bytes, message: bytes) -> None:
        """Set by whoever subscribes."""


C = TypeVar("C", CommandConnection, SubscriberConnection)


class Connector:
    """Opens connections to the server that counts at the moment.

    :param reactor: for sockets and time.
    :param timeout_s: for everything together, from the look-up to the answer of the last greeting.
    """

    def __init__(self, reactor: Any, access: RedisAccess, timeout_s: float) -> None:
        self._reactor = reactor
        self._access = access
        self._timeout_s = timeout_s
        self._sentinel = 0

    async def open(self, kind: type[C]) -> C:
        """Return a connection on which commands are answered.

        :raises StoreUnavailable: with the reason for the log.
        """
        access = self._access
        host, port = await self._find_master() if access.master_name else access.addresses[0]
        sentinel = self._sentinel
        greeting = _greeting(access.username, access.password)
        if access.database:
            greeting.append(("SELECT", access.database))
        if access.master_name:
            greeting.append(("ROLE",))
        # The last one: a server that still loads its data, or wants a password, answers with an error.
        greeting.append(("PING",))
        connection: C
        try:
            connection, answers = await self._within(self._greet(kind, host, port, greeting, access.tls), self._timeout_s, f"{host}:{port}")
            if access.master_name and answers[-2][0] != b"master":
                await connection.abort()
                raise StoreUnavailable(f"{host}:{port}: Sentinel says that it is the master, the server itself does not")
        except StoreUnavailable:
            # A Sentinel that is cut off from the others goes on naming the old master: another one is asked first next time.
            if self._sentinel == sentinel:
                self._sentinel = (sentinel + 1) % len(access.addresses)
            raise
        return connection

    async def _find_master(self) -> tuple[str, int]:
        """Ask one Sentinel after the other, beginning with the one that answered last."""
        access = self._access
        faults = []
        # Several connections are opened at once: each goes through all of them by itself.
        first = self._sentinel
        for step in range(len(access.addresses)):
            number = (first + step) % len(access.addresses)
            host, port = access.addresses[number]
            commands = [
                *_greeting(access.sentinel_username, access.sentinel_password),
                ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", access.master_name),
            ]
            try:
                connection, answers = await self._within(
                    self._greet(CommandConnection, host, port, commands, access.tls),
                    self._timeout_s / len(access.addresses),
                    f"Sentinel {host}:{port}",
                )
            except StoreUnavailable as error:
                faults.append(str(error))
            else:
                await connection.abort()
                if answers[-1] is not None:
                    self._sentinel = number
                    master, master_port = answers[-1]
                    return master.decode(), int(master_port)
                faults.append(f"Sentinel {host}:{port}: knows no master {access.master_name}")
        raise StoreUnavailable("; ".join(faults))

    async def _greet(
        self, kind: type[C], host: str, port: int, commands: Sequence[tuple[Any, ...]], tls: RedisTls | None
    ) -> tuple[C, list[Any]]:
        """Connect and send the first commands at once; none of them is refused."""
        tls = None if tls is None else tls.at(host, port)
        factory: Any = Factory.forProtocol(lambda: kind(self._reactor, tls))
        factory.noisy = False
        if tls is not None:
            # Not wrapClientTLS: it gathers small writes on the global reactor, whichever we were given.
            factory = TLSMemoryBIOFactory(tls, True, factory, self._reactor)
            factory.noisy = False
        opened = await _connect(HostnameEndpoint(self._reactor, host, port), factory)
        connection: C = opened if tls is None else opened.wrappedProtocol
        try:
            await connection.opened
            answers = await gatherResults([connection.execute_command(*command) for command in commands], consumeErrors=True)
        except FirstError as error:
            await connection.abort()
            raise error.subFailure.value or error
        except Exception:
            await connection.abort()
            raise
        return connection, answers

    async def _within(self, work: Any, timeout_s: float, name: str) -> Any:
        try:
            return await Deferred.fromCoroutine(work).addTimeout(timeout_s, self._reactor)
        except StoreUnavailable as error:
            raise StoreUnavailable(f"{name}: {error}") from error
        except TimeoutError as error:
            raise StoreUnavailable(f"{name}: no connection within {timeout_s:g} s") from error
        except _FAULTS as error:
            raise StoreUnavailable(f"{name}: {type(error).__name__}: {error}") from error


async def _connect(endpoint: HostnameEndpoint, factory: Any) -> Any:
    """Return the protocol of a new connection.

    A cancelled attempt says so, whatever it was doing: that of a look-up says that there is no such host, and another one would be tried.
    """
    cancelled = False

    def cancel(waiter: Deferred[Any]) -> None:
        nonlocal cancelled
        cancelled = True
        connecting.cancel()

    connecting = endpoint.connect(factory)
    waiter: Deferred[Any] = Deferred(cancel)
    connecting.chainDeferred(waiter)
    try:
        return await waiter
    except Exception as error:
        if cancelled:
            raise CancelledError from error
        raise


def _greeting(username: str, password: str) -> list[tuple[Any, ...]]:
    if not password:
        return []
    return [("AUTH", username, password) if username else ("AUTH", password)]
