"""The TLS edge in memory: a server connection over a transport that keeps what is written, and an OpenSSL client."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from OpenSSL import SSL
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from tests.support.certs import SERVER, Issued, make_authority
from tests.support.handshakes import StepClock, bundle_of
from tests.support.memory_channel import MemoryTransport, make_connection
from tlsgate.model.tls import ClientAuth, TlsFacts, TlsPolicy
from tlsgate.pki.acl import AllowList, build_allow_list
from tlsgate.tls.certificates import CertificateSource, build_certificate_table
from tlsgate.tls.context import ContextSettings, build_server_context
from tlsgate.tls.deadlines import Deadlines
from tlsgate.tls.peer import PeerMemory
from tlsgate.tls.server import Choice, TlsServer

__all__ = ["EdgeConnection", "MemoryEdge", "RecordingApplication", "allow", "choice", "take"]

SERVER_CERTIFICATE = make_authority("Server CA").issue("server", names=["a.test", "b.test"], usages=SERVER)


class RecordingApplication:
    """Notes what a stream tells it."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.pieces: list[bytes] = []
        self.ended = 0
        self.lost: list[Any] = []
        self.on_data: Any = None
        """Called with each piece, after it was noted."""

    @property
    def data(self) -> bytes:
        """Everything that arrived."""
        return b"".join(self.pieces)

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport

    def dataReceived(self, data: bytes) -> None:
        self.pieces.append(data)
        if self.on_data is not None:
            self.on_data(data)

    def readConnectionLost(self) -> None:
        self.ended += 1

    def connectionLost(self, reason: Any) -> None:
        self.lost.append(reason)


def allow(*issued: Issued) -> AllowList:
    """A list of these certificates."""
    return build_allow_list([bundle_of(one, chain=False, key=False) for one in issued])


def choice(
    client_auth: ClientAuth = ClientAuth.NONE,
    allow_list: AllowList | None = None,
    *,
    clock: StepClock | None = None,
    enforce: bool | None = None,
    **policy: Any,
) -> Choice:
    """What a gateway would choose.

    :param enforce: judge the leaf after the handshake; None does so under REQUIRE.
    """
    clock = clock or StepClock()
    require = client_auth is ClientAuth.REQUIRE
    made = TlsPolicy(client_auth=client_auth, allow_list=allow_list.key if allow_list is not None and require else "", **policy)
    table, _ = build_certificate_table([CertificateSource(bundle_of(SERVER_CERTIFICATE))], clock.now())
    certificates = table.find("a.test")
    assert certificates is not None
    context = build_server_context(made, certificates, allow_list, ContextSettings(clock))
    return Choice(made, context, allow_list if enforce or (enforce is None and require) else None)


class MemoryEdge:
    """Fulfils ``tls.server.Edge``: chooses from a table by name, counts, and keeps what was refused.

    :param choices: by server name; None under a name refuses it, an exception is raised; ``default`` for all others.
    """

    handshake_timeout_s = 10.0
    close_timeout_s = 5.0
    max_client_chain = 8

    def __init__(self, default: Any = None, choices: dict[str | None, Any] | None = None, *, clock: StepClock | None = None) -> None:
        self.reactor = Clock()
        self.deadlines = Deadlines(self.reactor, self.reactor.seconds)
        self.clock: Any = clock or StepClock()
        self.memory = PeerMemory()
        self.default = default
        self.choices = choices or {}
        self.asked: list[tuple[int, str | None]] = []
        self.under_way = 0
        self.refused: list[str] = []
        self.closed = 0
        self.lingering = 0
        self.full = False
        self.facts: list[TlsFacts] = []
        self.application: Any = None

    def choose(self, port: int, name: str | None) -> Choice | None:
        self.asked.append((port, name))
        found = self.choices.get(name, self.default)
        if isinstance(found, Exception):
            raise found
        chosen: Choice | None = found
        return chosen

    def policy_of(self, port: int, name: str | None) -> TlsPolicy | None:
        found = self.choices.get(name, self.default)
        return found.policy if isinstance(found, Choice) else None

    def start_handshake(self, server: TlsServer) -> bool:
        if self.full:
            return False
        self.under_way += 1
        return True

    def end_handshake(self, server: TlsServer, refused: str | None) -> None:
        self.under_way -= 1
        if refused is not None:
            self.refused.append(refused)

    def connection_lingers(self, server: TlsServer) -> None:
        self.lingering += 1

    def connection_closed(self, server: TlsServer) -> None:
        self.closed += 1

    def build_application(self, server: TlsServer, facts: TlsFacts) -> Any:
        self.facts.append(facts)
        self.application = self.application or RecordingApplication()
        return self.application

    def pass_time(self, seconds: float) -> None:
        """Let time pass in small steps."""
        self.reactor.pump([0.05] * round(seconds / 0.05))


class EdgeConnection:
    """One connection: a :class:`TlsServer` and an OpenSSL client.

    :param client: context of the client; None has no client, the test sends bytes itself.
    """

    def __init__(
        self,
        edge: MemoryEdge,
        client: SSL.Context | None = None,
        name: bytes | None = b"a.test",
        *,
        session: SSL.Session | None = None,
        transport: MemoryTransport | None = None,
    ) -> None:
        self.edge = edge
        self.transport = transport or MemoryTransport()
        self.server = TlsServer(edge, make_connection())
        self.server.makeConnection(self.transport)
        self.client_error = ""
        self.client: Any = None
        self.received = b""
        self.client_ended = False
        if client is not None:
            self.client = SSL.Connection(client, None)
            self.client.set_connect_state()
            if name is not None:
                self.client.set_tlsext_host_name(name)
            if session is not None:
                self.client.set_session(session)

    @property
    def application(self) -> Any:
        """What runs over the stream."""
        return self.edge.application

    def shake(self) -> EdgeConnection:
        """Run the handshake to its end, whatever that is."""
        for _ in range(20):
            try:
                self.client.do_handshake()
            except SSL.WantReadError:
                pass
            except SSL.Error as problem:
                self.client_error = "; ".join(entry[2] for entry in problem.args[0]) if problem.args else "error"
                self.to_server()
                break
            if not self.to_server() and not self.to_client():
                break
            self.to_client()
        self.read()
        return self

    def to_server(self) -> bool:
        """Carry what the client has written."""
        data = take(self.client)
        if data:
            self.server.dataReceived(data)
        return bool(data)

    def to_client(self) -> bool:
        """Carry what the server has written."""
        data = self.transport.value()
        self.transport.clear()
        if data:
            self.client.bio_write(data)
        return bool(data)

    def send(self, data: bytes, *, pieces: Sequence[int] | None = None) -> None:
        """The client sends; ``pieces`` are the sizes of the reads at the server, the last for the rest."""
        self.client.sendall(data)
        wire = take(self.client)
        for size in pieces or ():
            self.server.dataReceived(wire[:size])
            wire = wire[size:]
        if wire:
            self.server.dataReceived(wire)

    def read(self) -> bytes:
        """Read at the client what is there; notes the end and errors."""
        self.to_client()
        while True:
            try:
                self.received += self.client.recv(65536)
            except SSL.WantReadError:
                break
            except SSL.ZeroReturnError:
                self.client_ended = True
                break
            except SSL.Error as problem:
                if not self.client_error:
                    self.client_error = "; ".join(entry[2] for entry in problem.args[0]) if problem.args else "error"
                break
        return self.received

    def lose(self) -> None:
        """The TCP connection ends."""
        self.server.connectionLost(Failure(ConnectionDone()))


def take(connection: SSL.Connection) -> bytes:
    """Return what a connection wants to send."""
    pieces = []
    while True:
        try:
            pieces.append(connection.bio_read(1 << 20))
        except SSL.Error:
            return b"".join(pieces)
