"""The server side of the TLS edge: reads the ClientHello, lets the gateway choose, hands the chosen context to OpenSSL; knows no API.

Order of events and why: bytes are buffered (bounded in size and time) until ``wire.clienthello`` gives the name; the policy of that name
decides the context; only then OpenSSL gets a connection. Afterwards the name that OpenSSL reports must lead to the same policy, and on a
fresh handshake be the same name (a second hello after a HelloRetryRequest may name another host). Source: decisions 1.6; RFC 8446 4.1.4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from OpenSSL import SSL, crypto

from tlsgate.errors import TlsgateError, WireError
from tlsgate.tls.peer import PeerMemory, take_facts
from tlsgate.tls.stream import Application, TlsStream
from tlsgate.tls.verify import HandshakeState
from tlsgate.wire.clienthello import ClientHelloReader, PlainHttpOnTls
from tlsgate.wire.names import normalise_host

if TYPE_CHECKING:
    from tlsgate.clock import Clock
    from tlsgate.model.exchange import Connection
    from tlsgate.model.tls import PeerIdentity, TlsFacts, TlsPolicy
    from tlsgate.pki.acl import AllowList
    from tlsgate.tls.deadlines import Deadlines

__all__ = ["Choice", "Edge", "TlsServer"]

_PLAIN_ANSWER = (
    b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
    b"Client sent an HTTP request to an HTTPS server."
)


class Choice(NamedTuple):
    """What the gateway chose for a name on a port."""

    policy: TlsPolicy
    context: SSL.Context
    allow_list: AllowList | None
    """The list that a REQUIRE policy enforces."""


class Edge(Protocol):
    """What a listener asks the gateway; answers come from the generation of the moment."""

    deadlines: Deadlines
    clock: Clock
    memory: PeerMemory
    handshake_timeout_s: float
    close_timeout_s: float
    max_client_chain: int

    def choose(self, port: int, name: str | None) -> Choice | None:
        """Return the policy and context of a name, None to refuse it."""

    def policy_of(self, port: int, name: str | None) -> TlsPolicy | None:
        """Return the policy that a name has now."""

    def start_handshake(self, server: TlsServer) -> bool:
        """Count a handshake; False refuses it (too many under way)."""

    def end_handshake(self, server: TlsServer, refused: str | None) -> None:
        """Count the end of a handshake and log a refusal."""

    def connection_lingers(self, server: TlsServer) -> None:
        """Count a connection that only waits for its peer's close."""

    def connection_closed(self, server: TlsServer) -> None:
        """Forget a connection."""

    def build_application(self, server: TlsServer, facts: TlsFacts) -> Application:
        """Return what runs over the stream."""


_take_records = TlsStream.dataReceived


class TlsServer(TlsStream):
    """One accepted connection on a TLS listener."""

    __slots__ = (
        "_choice",
        "_discarded",
        "_edge",
        "_facts",
        "_failed",
        "_name",
        "_reader",
        "armed_at",
        "deadline",
        "peer_connection",
        "refused_peer",
    )

    def __init__(self, edge: Edge, connection: Connection) -> None:
        super().__init__()
        self._edge = edge
        self.peer_connection = connection
        self._reader: ClientHelloReader | None = ClientHelloReader()
        self._choice: Choice | None = None
        self._name: str | None = None
        self._facts: TlsFacts | None = None
        self.refused_peer: PeerIdentity | None = None
        """The certificate that a refused handshake showed, for the log."""
        self._failed = False
        self._discarded = 0
        self.deadline = float("inf")
        self.armed_at = float("inf")

    def connectionMade(self) -> None:
        """Start the handshake deadline."""
        if not self._edge.start_handshake(self):
            self._failed = True
            self._reader = None
            self.transport.abortConnection()
            return
        self._edge.deadlines.set(self, self._edge.handshake_timeout_s)

    def give_way(self) -> None:
        """End this handshake in favour of newer ones."""
        self.handshake_failed("gave way to newer handshakes at the limit")
        self.abortConnection()

    def deadline_passed(self) -> None:
        """The handshake, or the peer's close after a failed one, took too long."""
        self.handshake_failed("handshake deadline passed")
        self.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        """Take bytes from the network: the ClientHello first, TLS records afterwards."""
        if self._open and not self._failed:
            _take_records(self, data)
            return
        reader = self._reader
        if reader is None:
            if self._failed:
                self._discard(len(data))
                return
            if self._ssl is not None:
                self._ssl.get_app_data().received += len(data)
            super().dataReceived(data)
            return
        try:
            hello = reader.feed(data)
        except PlainHttpOnTls:
            self._reader = None
            self.handshake_failed("plain HTTP on a TLS port")
            self.transport.write(_PLAIN_ANSWER)
            self._drop()
            return
        except WireError as problem:
            self._reader = None
            self.handshake_failed(f"unreadable ClientHello: {problem.reason}")
            self.transport.loseConnection()
            return
        if hello is None:
            return
        self._reader = None
        self._name = hello.server_name
        try:
            choice = self._edge.choose(self.peer_connection.listener_port, hello.server_name)
        except (TlsgateError, ValueError) as problem:
            self.handshake_failed(f"no context for {hello.server_name!r}: {problem}")
            self.transport.loseConnection()
            return
        if choice is None:
            self.handshake_failed("no policy or certificate for this name")
            # Alert 112 unrecognized_name (RFC 6066 3), in the record version that every client reads.
            self.transport.write(b"\x15\x03\x01\x00\x02\x02\x70")
            self._drop()
            return
        self._choice = choice
        ssl = SSL.Connection(choice.context, None)
        ssl.set_accept_state()
        ssl.set_app_data(HandshakeState())
        self._ssl = ssl
        super().dataReceived(reader.buffered)

    def connectionLost(self, reason: Any) -> None:
        """The TCP connection is gone."""
        super().connectionLost(reason)
        self._edge.deadlines.clear(self)
        self._edge.connection_closed(self)

    def handshake_finished(self, ssl: SSL.Connection) -> str | None:
        """Compare names, take the facts, judge the leaf where the policy requires one."""
        choice, edge = self._choice, self._edge
        assert choice is not None
        state = ssl.get_app_data()
        resumed = not state.called
        reported = ssl.get_servername()
        name = self._name
        if reported is not None or name is not None:
            try:
                other = normalise_host(reported.decode("ascii")) if reported is not None else None
            except (WireError, UnicodeDecodeError):
                return "OpenSSL reports an unreadable server name"
            if other != name:
                if not resumed or ssl.get_protocol_version() >= SSL.TLS1_3_VERSION or other is None:
                    return f"server name changed within the handshake from {name!r} to {other!r}"
                if edge.policy_of(self.peer_connection.listener_port, other) != choice.policy:
                    return f"session of {other!r}, whose policy is another one, resumed under {name!r}"
        try:
            facts = take_facts(
                ssl,
                server_name=name,
                policy=choice.policy,
                resumed=resumed and choice.policy.client_auth > 0,
                memory=edge.memory,
                max_chain=edge.max_client_chain,
            )
        except crypto.Error as problem:
            return f"client certificate cannot be read: {problem}"
        allow_list = choice.allow_list
        if allow_list is not None:
            if facts.peer is None:
                return "no client certificate in the session"
            self.refused_peer = facts.peer
            verdict = state.verdict or allow_list.judge(facts.peer, edge.clock.now())
            if verdict.refusal is not None:
                return f"client certificate {facts.peer.fingerprint} ({facts.peer.subject}): {verdict.rule}"
        ssl.set_app_data(None)
        if facts.peer is not None and not facts.resumed:
            if allow_list is not None:
                edge.memory.remember(facts.peer)
            else:
                self.peer_connection.on_accepted = edge.memory.remember
        self.refused_peer = None
        self._facts = facts
        self.peer_connection.tls = facts
        edge.end_handshake(self, None)
        edge.deadlines.clear(self)
        return None

    def handshake_failed(self, reason: str) -> None:
        """Note the reason once."""
        if not self._failed:
            self._failed = True
            state = self._ssl.get_app_data() if self._ssl is not None else None
            if state is not None:
                self.refused_peer = state.identity
                if state.refusal:
                    reason = state.refusal
            self._edge.end_handshake(self, reason)

    def build_application(self) -> Application:
        """Ask the gateway what runs over this stream."""
        facts = self._facts
        assert facts is not None
        return self._edge.build_application(self, facts)

    @property
    def server_name(self) -> str | None:
        """The name that the client asked for."""
        return self._name

    def _drop(self) -> None:
        """Half-close, so that the alert is read before a reset can overtake it, and wait a bounded time for the peer."""
        self._shut = True
        self._failed = True
        if not self._lost:
            self._edge.connection_lingers(self)
            self._edge.deadlines.set(self, self._edge.close_timeout_s)
            self.transport.loseWriteConnection()

    def _discard(self, size: int) -> None:
        self._discarded += size
        if self._discarded > 262144:
            self.abortConnection()

    def readConnectionLost(self) -> None:
        """FIN: nothing more comes."""
        if self._failed:
            self.transport.loseConnection()
            return
        super().readConnectionLost()
