"""Raw services (``protocol: tls`` and ``tcp``): any byte stream behind the same certificates and client-certificate rules.

There is no HTTP-level check behind them, so leaf, path and list are judged here on every connection, resumed ones too, before the first
byte goes up, and again after each reload (decisions 1.9).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.logger import Logger
from zope.interface import implementer

from tlsgate.errors import UpstreamError
from tlsgate.proxy.bridge import Bridge
from tlsgate.proxy.pool import open_transport

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from tlsgate.gateway.compile import CompiledRaw
    from tlsgate.model.exchange import Connection

__all__ = ["RawService"]

_log = Logger()
_DRAIN_S = 5.0


@implementer(IHalfCloseableProtocol)
class _Upstream:
    """The upstream's side of a raw service."""

    transport: Any = None

    def __init__(self, service: RawService) -> None:
        self._service = service

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport
        self._service.upstream_connected(transport)

    def dataReceived(self, data: bytes) -> None:
        bridge = self._service.bridge
        if bridge is not None:
            bridge.upstream_data(data)

    def readConnectionLost(self) -> None:
        if self._service.bridge is not None:
            self._service.bridge.upstream_ended()

    def writeConnectionLost(self) -> None:
        """Our half is closed."""

    def connectionLost(self, reason: Failure) -> None:
        if self._service.bridge is not None:
            self._service.bridge.upstream_lost()


@implementer(IHalfCloseableProtocol)
class RawService:
    """The client's side: judged, connected, joined.

    :param compiled: the service as compiled by the current generation, None when no service answers to the name; a reload
        replaces it through :meth:`recheck`.
    """

    transport: Any = None

    def __init__(self, compiled: CompiledRaw | None, site: Any, connection: Connection) -> None:
        self._compiled = compiled
        self._site = site
        self.connection = connection
        self.bridge: Bridge | None = None
        self._work: Deferred[None] | None = None
        self._early = b""
        self._early_end = False
        self._over = False

    def makeConnection(self, transport: Any) -> None:
        """Judge the client, then connect to the upstream; nothing is read before."""
        self.transport = transport
        self._site.adopt(self)
        self._site.counters["raw_connections"] += 1
        transport.pauseProducing()
        compiled = self._compiled
        refused = "no service of this port has the name" if compiled is None else compiled.judge(self.connection, self._site.clock.now())
        if compiled is None or refused is not None:
            self._refuse(refused or "")
            return
        work: Deferred[None] = Deferred.fromCoroutine(self._connect(compiled))
        if not work.called:
            self._work = work

    async def _connect(self, compiled: CompiledRaw) -> None:
        target = compiled.plan.next_target()
        try:
            await open_transport(self._site.reactor, compiled.lookups, target.destination(), _Upstream(self), compiled.connect_timeout_s)
        except UpstreamError as problem:
            self._site.counters["raw_upstream_failed"] += 1
            _log.warn(
                "raw service {api}: upstream {upstream}: {reason}",
                event="raw.upstream_failed",
                api=compiled.api.api_id,
                conn=self.connection.id,
                peer=self.connection.peer_address,
                upstream=target.address,
                flag=problem.flag,
                reason=problem.reason,
            )
            if not self._over:
                self.transport.abortConnection()
        except CancelledError:
            pass
        except Exception:
            _log.failure("raw service {api} failed", event="raw.error", api=compiled.api.api_id)
            if not self._over:
                self.transport.abortConnection()
        finally:
            self._work = None

    def upstream_connected(self, transport: Any) -> None:
        """Join the streams."""
        if self._over:
            transport.abortConnection()
            return
        assert self._compiled is not None
        self.bridge = bridge = Bridge(self.transport, transport, self._site.deadlines, self._compiled.idle_s, self._ended)
        bridge.start()
        if self._early:
            bridge.client_data(self._early)
            self._early = b""
        if self._early_end:
            bridge.client_ended()
        self.transport.resumeProducing()

    def dataReceived(self, data: bytes) -> None:
        """Bytes from the client."""
        if self.bridge is not None:
            self.bridge.client_data(data)
        else:
            # Nothing is read before the upstream is there: this came in one piece with a PROXY header.
            self._early += data

    def readConnectionLost(self) -> None:
        """The client sends nothing more."""
        if self.bridge is not None:
            self.bridge.client_ended()
        else:
            self._early_end = True

    def writeConnectionLost(self) -> None:
        """Our half is closed."""

    def connectionLost(self, reason: Failure) -> None:
        """The client is gone."""
        self._over = True
        self._site.forget(self)
        work, self._work = self._work, None
        if work is not None:
            work.cancel()
        if self.bridge is not None:
            self.bridge.client_lost()

    def recheck(self) -> None:
        """After a reload: leave the stream alone unless its trust, or its service, went away."""
        if self._compiled is None:
            return
        compiled = self._site.generation.find_raw(self._compiled.api.api_id)
        if compiled is None:
            self._cut("its service is gone after a reload")
            return
        refused = compiled.judge(self.connection, self._site.clock.now())
        if refused is not None:
            self._cut(f"after a reload: {refused}")
        else:
            self._compiled = compiled

    def drain(self) -> None:
        """Shut down: half-close at once, cut after five seconds."""
        if self.bridge is not None:
            self.bridge.drain(b"", _DRAIN_S)
        else:
            self.transport.abortConnection()

    def abort(self, detail: str) -> None:
        """Cut the connection."""
        self.transport.abortConnection()

    def _cut(self, reason: str) -> None:
        self._log_refusal(reason)
        if self.bridge is not None:
            self.bridge.cut(reason)
        else:
            self.transport.abortConnection()

    def _refuse(self, reason: str) -> None:
        self._log_refusal(reason)
        self.transport.abortConnection()

    def _log_refusal(self, reason: str) -> None:
        self._site.counters["raw_refused"] += 1
        if self._site.explain is not None:
            self._site.explain.note_raw(self.connection, self._compiled.api if self._compiled is not None else None, reason)
        tls = self.connection.tls
        peer = tls.peer if tls is not None else None
        _log.info(
            "raw service {api} refused {peer}: {reason}",
            event="raw.refused",
            api=self._compiled.api.api_id if self._compiled is not None else "",
            conn=self.connection.id,
            peer=self.connection.peer_address,
            reason=reason,
            subject=peer.subject if peer is not None else None,
            fingerprint=peer.fingerprint if peer is not None else None,
        )

    def _ended(self, reason: str) -> None:
        """The bridge is over; the transports close by themselves."""
