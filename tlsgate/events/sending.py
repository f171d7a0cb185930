"""One attempt to deliver: a request to a web address, over verified TLS, redirects not followed, the answer read away within bounds.

Knows treq; must not know events, queues or retries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from treq.client import HTTPClient
from twisted.internet._sslverify import IOpenSSLTrustRoot  # its place; twisted.internet.ssl takes what provides it
from twisted.internet.defer import Deferred, succeed
from twisted.internet.defer import TimeoutError as DeadlinePassed
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.internet.ssl import TLSVersion, optionsForClientTLS
from twisted.python.failure import Failure
from twisted.web._newclient import HTTP11ClientProtocol
from twisted.web.client import Agent, HTTPConnectionPool, ResponseDone, _HTTP11ClientFactory
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer, IPolicyForHTTPS
from zope.interface import implementer

if TYPE_CHECKING:
    from tlsgate.events.webhook import Hook
    from tlsgate.tls.trust import TrustSet

__all__ = ["NoTrust", "Sender"]

_MAX_ANSWER_BYTES = 65536
_MAX_EXCHANGE_BYTES = 4 * _MAX_ANSWER_BYTES
"""Head, interim answers and all: Twisted itself bounds a line, but not how many there are."""
_IDLE_S = 10
_MAX_TARGETS = 64


class NoTrust(Exception):
    """There are no CAs by which an address could be verified."""


class Sender:
    """Connections to web addresses.

    :param trust: CAs; None sends nothing over TLS.
    """

    def __init__(self, reactor: Any, trust: TrustSet | None, *, connect_timeout_s: float = 5.0) -> None:
        self._reactor = reactor
        self._trust = trust
        self._pool = _Pool(reactor, persistent=True)
        self._pool.cachedConnectionTimeout = _IDLE_S
        # A delivery that may have arrived is repeated by us, knowingly, or not at all.
        self._pool.retryAutomatically = False
        agent = Agent(reactor, _Policy(trust), connectTimeout=connect_timeout_s, pool=self._pool)
        self._client = HTTPClient(agent)

    async def send(self, hook: Hook, body: bytes, timeout_s: float) -> int:
        """Make one attempt, and return the status of the answer.

        :param timeout_s: from the connection to the end of the answer.
        :raises Exception: there was no answer; ``twisted.internet.defer.TimeoutError``: not in time; :class:`NoTrust`.
        """
        handler = hook.handler
        if self._trust is None and hook.target.startswith("https:"):
            raise NoTrust("no CAs are configured, and the system has none")
        headers = Headers()
        for name, value in hook.headers:
            headers.addRawHeader(name.encode("latin-1"), value.encode("latin-1"))
        work = Deferred.fromCoroutine(self._exchange(handler.method, handler.url, headers, body))
        work.addTimeout(timeout_s, self._reactor, onTimeoutCancel=_too_late)
        return await work

    async def _exchange(self, method: str, url: str, headers: Headers, body: bytes) -> int:
        response = await self._client.request(method, url, headers=headers, data=_Body(body), allow_redirects=False, unbuffered=True)
        await _read_away(response)
        return int(response.code)

    def close(self) -> Deferred[Any]:
        """Close idle connections."""
        closed: Deferred[Any] = self._pool.closeCachedConnections()
        return closed


def _too_late(result: Any, timeout_s: float) -> Any:
    """Say what happened in one way, wherever the attempt was when its time was up."""
    if isinstance(result, Failure):
        raise DeadlinePassed(f"no whole answer within {timeout_s:g} s")
    return result


@implementer(IBodyProducer)
class _Body:
    """A body that is written at once."""

    def __init__(self, data: bytes) -> None:
        self.length = len(data)
        self._data = data

    def startProducing(self, consumer: Any) -> Deferred[None]:
        consumer.write(self._data)
        return succeed(None)

    def pauseProducing(self) -> None:
        """There is nothing to pause."""

    def resumeProducing(self) -> None:
        """There is nothing to resume."""

    def stopProducing(self) -> None:
        """There is nothing to stop."""


class _Bounded(HTTP11ClientProtocol):
    """A connection that is cut when an answer is larger than any web hook's."""

    transport: Any
    _room = 0

    def request(self, request: Any) -> Deferred[Any]:
        self._room = _MAX_EXCHANGE_BYTES
        made: Deferred[Any] = super().request(request)
        return made

    def dataReceived(self, bytes: bytes) -> None:
        self._room -= len(bytes)
        if self._room < 0:
            self.transport.abortConnection()
        else:
            super().dataReceived(bytes)


class _QuietFactory(_HTTP11ClientFactory):
    noisy = False

    def buildProtocol(self, addr: Any) -> HTTP11ClientProtocol:
        return _Bounded(self._quiescentCallback)


class _Pool(HTTPConnectionPool):
    """Connections come and go without a word in the log."""

    _factory = _QuietFactory


def _read_away(response: Any) -> Deferred[None]:
    """Read an answer to its end, or as much of it as anybody would send to a web hook."""
    drain = _Drain()
    response.deliverBody(drain)
    return drain.done


class _Drain(Protocol):
    def __init__(self) -> None:
        self.done: Deferred[None] = Deferred(lambda deferred: self._cut())
        self._room = _MAX_ANSWER_BYTES

    def dataReceived(self, data: bytes) -> None:
        self._room -= len(data)
        if self._room < 0:
            self._cut()

    def connectionLost(self, reason: Failure | None = None) -> None:
        if self.done.called:
            return
        if self._room < 0 or reason is None or reason.check(ResponseDone, PotentialDataLoss, ConnectionDone):
            self.done.callback(None)
        else:
            self.done.errback(reason)

    def _cut(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()


@implementer(IPolicyForHTTPS)
class _Policy:
    """TLS 1.2 at least, chain and name verified by our CAs."""

    def __init__(self, trust: TrustSet | None) -> None:
        self._root = _TrustRoot(trust)
        self._creators: dict[bytes, Any] = {}

    def creatorForNetloc(self, hostname: bytes, port: int) -> Any:
        found = self._creators.get(hostname)
        if found is None:
            if len(self._creators) >= _MAX_TARGETS:
                self._creators.clear()
            options = {"raiseMinimumTo": TLSVersion.TLSv1_2}
            found = optionsForClientTLS(hostname.decode("ascii"), trustRoot=self._root, extraCertificateOptions=options)
            self._creators[hostname] = found
        return found


@implementer(IOpenSSLTrustRoot)
class _TrustRoot:
    def __init__(self, trust: TrustSet | None) -> None:
        self._trust = trust

    def _addCACertsToContext(self, context: Any) -> None:
        if self._trust is not None:
            self._trust.fill(context.get_cert_store())
