"""What all connections of this process share: the current generation, clocks, pools, counters; wires the data path's parts together.

Everything that a request or handshake decides by comes from ``generation``, one reference that a reload swaps.
"""

from __future__ import annotations

from collections import Counter
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from tlsgate.auth.shown import show_key, show_path
from tlsgate.errors import CATALOGUE, Refusal
from tlsgate.gateway.channel import HttpChannel
from tlsgate.gateway.explain import TOPIC, Explainer, Records, build_explainer, find_node
from tlsgate.gateway.meter import Meter
from tlsgate.gateway.questions import Questions
from tlsgate.gateway.raw import RawService
from tlsgate.gateway.shared_counters import SharedCounters
from tlsgate.gateway.streams import Streams
from tlsgate.gateway.tree import RootResource
from tlsgate.ids import request_id
from tlsgate.tls.server import Choice
from tlsgate.wire.forwarding import build_address_set, client_address
from tlsgate.wire.framing import FramingLimits

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlsgate.auth.sessions import Sessions
    from tlsgate.clock import Clock
    from tlsgate.config.model import GatewayConfig
    from tlsgate.errors import CatalogueEntry
    from tlsgate.gateway.changes import Changes
    from tlsgate.gateway.generation import Generation
    from tlsgate.gateway.request import GateRequest
    from tlsgate.model.exchange import HeaderList
    from tlsgate.model.tls import TlsFacts, TlsPolicy
    from tlsgate.tls.deadlines import Deadlines
    from tlsgate.tls.peer import PeerMemory
    from tlsgate.tls.server import TlsServer
    from tlsgate.tls.stream import Application

__all__ = ["Site"]

_log = Logger()
_HANDSHAKE_GRACE_S = 1.0


class Site:
    """Fulfils ``gateway.channel.HttpSite`` and ``tls.server.Edge``.

    :param generation: the first one; replaced by assignment on reload.
    """

    def __init__(
        self,
        reactor: Any,
        clock: Clock,
        config: GatewayConfig,
        generation: Generation,
        control: Any,
        deadlines: Deadlines,
        memory: PeerMemory,
    ) -> None:
        self.reactor = reactor
        self.clock = clock
        self.deadlines = deadlines
        self.generation = generation
        self.control = control
        self.memory = memory
        self.counters: Counter[str] = Counter()
        """Totals kept in memory: ``requests``, ``refused:<id>``, ``handshakes``, ``handshakes_refused`` ..."""
        self.shared_counters = SharedCounters(self)
        self.meter = Meter(deadlines.read, config.own.metrics.max_apis)
        self.shared_counters.set_source("meter", self.meter.read)
        self.questions = Questions()
        self._records = Records(find_node())
        self.questions.set_answerer(TOPIC, self._records.answer)
        self.explain: Explainer | None = None
        """Makes ids and records; None where that is switched off."""
        self.root = RootResource(self)
        self.draining = False
        self._channels: set[Any] = set()
        self._servers: set[TlsServer] = set()
        self._handshaking: dict[TlsServer, float] = {}
        self._date = (0, b"")
        self.streams = Streams(self)
        self.changes: Changes | None = None
        """Told of by calls of the control API; None where there is no store."""
        self.sessions: Sessions | None = None
        """Set when the process has a state."""
        self.access_log: Callable[[GateRequest], None] | None = None
        self.samples: Any = None
        """Counts finished requests per API (``control.api_health.ApiSamples``); None counts nothing."""
        self.configure(config)

    def configure(self, config: GatewayConfig) -> None:
        """Take over what can change while running."""
        limits = self.limits = config.own.limits
        self.framing = FramingLimits(max_fields=limits.max_fields, max_target_bytes=limits.max_target_bytes)
        self.read_timeout_s = config.http.read_timeout_s
        self.write_timeout_s = config.http.write_timeout_s
        self.head_timeout_s = min(limits.head_timeout_s, config.http.read_timeout_s)
        self.close_connections = config.close_connections
        self.underscore_headers = config.own.underscore_headers
        self._trusted = build_address_set(config.own.trusted_proxies)
        self._has_trusted = bool(self._trusted)
        self._xff_depth = config.http.xff_depth
        self.max_body_bytes = config.http.max_request_body_size
        self.handshake_timeout_s = limits.handshake_timeout_s
        self.close_timeout_s = limits.close_timeout_s
        self.max_client_chain = limits.max_client_chain
        self.show_keys = config.keys.show_in_logs
        self.meter.limit = config.own.metrics.max_apis
        self.explain = build_explainer(self, config.own.explain, self.generation.definitions, self._records)

    @property
    def errors(self) -> Any:
        """The renderer for requests without a route."""
        return self.generation.errors

    @property
    def connection_count(self) -> int:
        """Open client connections, handshakes included."""
        return len(self._channels) + len(self._servers)

    @property
    def handshaking_count(self) -> int:
        """Handshakes under way."""
        return len(self._handshaking)

    # HTTP.

    def handle(self, request: GateRequest) -> None:
        """Serve a request through the resource tree."""
        self.counters["requests"] += 1
        if self._has_trusted:
            request.client_address = client_address(request.index, request.connection.peer_address, self._xff_depth, self._trusted)
        self.root.getChildWithDefault(b"", request).render(request)

    def date(self) -> bytes:
        """Return the Date header's value, rendered once per second."""
        now = int(self.clock.now())
        if self._date[0] != now:
            self._date = (now, formatdate(now, usegmt=True).encode("ascii"))
        return self._date[1]

    def render_wire_refusal(self, refusal: Refusal, content_type: bytes) -> tuple[int, HeaderList, bytes]:
        """Return the answer for a request that could not be read."""
        status, headers, body = self.errors.render_plain(refusal, content_type)[:3]
        return status, headers, body

    def wire_refused(self, channel: HttpChannel, refusal: Refusal) -> None:
        """Log a request that could not be read."""
        self.counters[f"refused:{refusal.id}"] += 1
        connection = channel.connection
        _log.info(
            "connection {conn}: request refused: {reason}",
            event="http.unreadable",
            conn=connection.id,
            peer=connection.peer_address,
            refusal=refusal.id,
            reason=refusal.detail,
        )

    def channel_opened(self, channel: HttpChannel) -> None:
        """Count a connection."""
        self._channels.add(channel)

    def channel_closed(self, channel: HttpChannel) -> None:
        """Forget a connection."""
        self._channels.discard(channel)

    def request_id(self, request: GateRequest) -> str:
        """Return the id of a request for logs."""
        return request_id(request.connection.id, request.number)

    def finished(self, request: GateRequest) -> None:
        """Record a request that is over: exactly once, for success and refusal."""
        self.meter.record(request)
        refusal = request.refusal
        if refusal:
            self.counters[f"refused:{refusal}"] += 1
            if request.flag and refusal.startswith("upstream."):
                self.counters[f"upstream_failed:{request.flag}"] += 1
            self._log_refusal(request, CATALOGUE.get(refusal))
        if self.samples is not None:
            self.samples.note(request)
        if self.access_log is not None:
            self.access_log(request)
        if self.explain is not None:
            self.explain.note(request)

    def _log_refusal(self, request: GateRequest, entry: CatalogueEntry | None) -> None:
        connection = request.connection
        tls = connection.tls
        peer = tls.peer if tls is not None else None
        api = request.api
        _log.info(
            "request {request} refused with {status}: {refusal} {detail}",
            event="http.refused",
            request=self.request_id(request),
            conn=connection.id,
            api=api.api_id if api is not None else "",
            org=api.org_id if api is not None else "",
            peer=connection.peer_address,
            client=request.client_address,
            method=request.method.decode("latin-1"),
            host=request.host,
            path=show_path(request.path, request.canonical, whole=self.show_keys),
            key_name=show_key(request.session_id, whole=self.show_keys),
            status=request.status,
            refusal=request.refusal,
            flag=request.flag or (entry.flag if entry is not None else ""),
            detail=request.detail,
            upstream=request.upstream,
            sni=tls.server_name if tls is not None else None,
            subject=peer.subject if peer is not None else None,
            fingerprint=peer.fingerprint if peer is not None else None,
        )

    def upgraded(self, request: GateRequest) -> None:
        """Take note of a request whose connection speaks another protocol from now on; it is finished when that ends."""
        self.streams.opened(request)

    def judge_again(self, request: GateRequest) -> str | None:
        """Return why an upgraded exchange may not go on under the present generation and at this time, None when it may."""
        api = request.api
        compiled = self.generation.apis.get(api.api_id) if api is not None else None
        if compiled is None:
            return "its API is gone after a reload"
        if not compiled.api.use_mutual_tls or request.ignored:
            return None
        tls = request.connection.tls
        if tls is None or tls.peer is None or compiled.allow_list is None:
            return "its API demands a client certificate after a reload"
        verdict = compiled.allow_list.judge(tls.peer, self.clock.now())
        return f"its certificate is not let in any more: {verdict.rule}" if verdict.refusal is not None else None

    # TLS.

    def choose(self, port: int, name: str | None) -> Choice | None:
        """Return policy and context for a name."""
        return self.generation.choose(port, name)

    def policy_of(self, port: int, name: str | None) -> TlsPolicy | None:
        """Return the policy that a name has now."""
        return self.generation.policy_of(port, name)

    def start_handshake(self, server: TlsServer) -> bool:
        """Count a handshake under way; at the limit the oldest gives way, so that silent sockets cannot hold all places."""
        self._servers.add(server)
        if len(self._handshaking) >= self.limits.max_handshakes:
            self.counters["handshakes_over_limit"] += 1
            if not self.make_room():
                return False
        self._handshaking[server] = self.deadlines.read()
        self.counters["handshakes"] += 1
        return True

    def make_room(self) -> bool:
        """End the oldest handshake under way, if a good client would have finished it by now.

        :returns: whether one was ended.
        """
        oldest = next(iter(self._handshaking), None)
        if oldest is None or self.deadlines.read() - self._handshaking[oldest] < _HANDSHAKE_GRACE_S:
            return False
        oldest.give_way()
        return True

    def end_handshake(self, server: TlsServer, refused: str | None) -> None:
        """Count the end of a handshake and log a refusal with its reason."""
        self._handshaking.pop(server, None)
        if refused is not None:
            self.counters["handshakes_refused"] += 1
            if self.explain is not None:
                self.explain.note_handshake(server, refused)
            connection = server.peer_connection
            shown = server.refused_peer
            _log.info(
                "TLS handshake of {peer} on {port} refused: {reason}",
                event="tls.handshake_refused",
                conn=connection.id,
                peer=connection.peer_address,
                port=connection.listener_port,
                sni=server.server_name,
                reason=refused,
                subject=shown.subject if shown is not None else None,
                fingerprint=shown.fingerprint if shown is not None else None,
            )

    def connection_lingers(self, server: TlsServer) -> None:
        """Count a connection whose application is gone until its peer has closed: it still has its descriptor."""
        self._servers.add(server)

    def connection_closed(self, server: TlsServer) -> None:
        """Forget a connection."""
        self._servers.discard(server)

    def build_application(self, server: TlsServer, facts: TlsFacts) -> Application:
        """Return what runs over a TLS stream: HTTP, or the raw service that its policy names."""
        scope = facts.policy.scope
        self._servers.discard(server)
        self.counters["handshakes_done"] += 1
        if facts.resumed:
            self.counters["handshakes_resumed"] += 1
        if scope.startswith("raw:"):
            return RawService(
                self.generation.find_service(server.peer_connection.listener_port, facts.server_name), self, server.peer_connection
            )
        return HttpChannel(self, server.peer_connection)

    def believes_balancer(self, address: str) -> bool:
        """Return whether a peer may announce its client's address: whoever is listed, or anybody when nobody is."""
        return not self._trusted or address in self._trusted

    # Ends.

    def adopt(self, application: Any) -> None:
        """Count an application that is not an HTTP channel (raw services) for the drain."""
        self._channels.add(application)

    def forget(self, application: Any) -> None:
        """Undo :meth:`adopt`."""
        self._channels.discard(application)

    def recheck(self) -> None:
        """After a reload: judge long-lived streams again (raw services, upgraded connections)."""
        for channel in list(self._channels):
            channel.recheck()
        self.streams.key_changed("gap", "")

    def drain(self) -> None:
        """Stop serving: idle connections close now, busy ones after their answer."""
        self.draining = True
        for server in list(self._servers):
            server.abortConnection()
        for channel in list(self._channels):
            channel.drain()

    def abort_all(self) -> None:
        """Cut what is left."""
        for channel in list(self._channels):
            channel.abort("shut down")
