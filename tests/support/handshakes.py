"""TLS dialogues in memory: pyOpenSSL servers against pyOpenSSL or ``ssl`` clients, no sockets, no real waiting."""

from __future__ import annotations

import ssl
import time
from typing import TYPE_CHECKING, NamedTuple

from cryptography import x509
from OpenSSL import SSL

from tests.support.certs import Issued
from tlsgate.pki.pem import PemBundle, parse_pem
from tlsgate.tls.verify import HandshakeState

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "TLS12",
    "TLS13",
    "VERSIONS",
    "Dialogue",
    "StandardClient",
    "StepClock",
    "bundle_of",
    "client_context",
    "real_now",
    "shake",
    "talk",
]

TLS12 = SSL.TLS1_2_VERSION
TLS13 = SSL.TLS1_3_VERSION
VERSIONS = (TLS12, TLS13)


class StepClock:
    """A clock that moves when told; its wall time starts at the real one, because OpenSSL reads the machine's."""

    def __init__(self) -> None:
        self.wall = time.time()
        self.seconds = 1000.0

    def now(self) -> float:
        """Return the wall time."""
        return self.wall

    def monotonic(self) -> float:
        """Return monotonic time."""
        return self.seconds


def real_now() -> float:
    """Return the machine's time, which OpenSSL judges validity by."""
    return time.time()


def bundle_of(issued: Issued, *, chain: bool = True, key: bool = True) -> PemBundle:
    """Return what a file with this certificate holds."""
    text = issued.pem if not chain else issued.full_pem.replace(issued.key_pem, "")
    return parse_pem(text + issued.key_pem if key else text)


class Dialogue(NamedTuple):
    """How a handshake ended."""

    client: SSL.Connection
    server: SSL.Connection
    state: HandshakeState
    client_error: str
    """OpenSSL's reason at the client, which names the server's alert; empty when it succeeded."""
    server_error: str

    @property
    def refused(self) -> bool:
        """Whether the handshake failed."""
        return bool(self.client_error or self.server_error)

    @property
    def alert(self) -> str:
        """The alert that the client got, in the words of RFC 8446, empty for none."""
        return self.client_error.rpartition("alert ")[2].replace(" ", "_")


def client_context(
    version: int | None = None,
    issued: Issued | None = None,
    *,
    chain: Sequence[bytes] | None = None,
    alpn: Sequence[bytes] = (),
    ciphers: bytes = b"ALL:@SECLEVEL=0",
) -> SSL.Context:
    """Return a context of a client that verifies nothing.

    :param issued: its certificate; the chain below its root is sent unless ``chain`` says otherwise.
    """
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_cipher_list(ciphers)
    if version is not None:
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)
    if issued is not None:
        context.use_certificate(issued.certificate)
        context.use_privatekey(issued.key)
        for der in issued.chain if chain is None else chain:
            context.add_extra_chain_cert(x509.load_der_x509_certificate(der))
    if alpn:
        context.set_alpn_protos(list(alpn))
    return context


def shake(server: SSL.Context, client: SSL.Context, *, name: bytes | None = b"a.test", session: SSL.Session | None = None) -> Dialogue:
    """Run one handshake to its end, tickets and alerts delivered.

    :param session: of an earlier dialogue over the same client context, which must still be referenced.
    """
    there = SSL.Connection(server, None)
    there.set_accept_state()
    state = HandshakeState()
    there.set_app_data(state)
    here = SSL.Connection(client, None)
    here.set_connect_state()
    if name is not None:
        here.set_tlsext_host_name(name)
    if session is not None:
        here.set_session(session)
    here_error, there_error = talk(here, there)
    return Dialogue(here, there, state, here_error, there_error)


def talk(here: SSL.Connection, there: SSL.Connection) -> tuple[str, str]:
    """Move bytes between two connections until both are silent; returns the reasons of failure of both."""
    failed = {}
    ends = (here, there)
    for _ in range(50):
        for end in ends:
            if end not in failed:
                failed.update(_step(end, end.do_handshake))
        moved = [_carry(here, there), _carry(there, here)]
        if not any(moved):
            break
    for end in ends:
        if end not in failed:
            failed.update(_step(end, lambda end=end: end.recv(1)))
    return failed.get(here, ""), failed.get(there, "")


def _step(end: SSL.Connection, action: object) -> dict[SSL.Connection, str]:
    try:
        action()  # type: ignore[operator]
    except SSL.WantReadError:
        pass
    except SSL.ZeroReturnError:
        return {end: "closed"}
    except SSL.Error as problem:
        reasons = problem.args[0] if problem.args else []
        return {end: "; ".join(entry[2] for entry in reasons) or type(problem).__name__}
    return {}


def _carry(source: SSL.Connection, target: SSL.Connection) -> bool:
    try:
        data = source.bio_read(1 << 20)
    except SSL.WantReadError:
        return False
    target.bio_write(data)
    return True


class StandardClient:
    """A client of the standard library (another OpenSSL) against a pyOpenSSL server; knows whether its session was resumed.

    :param version: the only version that it speaks.
    """

    def __init__(self, version: int) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE
        self.context.minimum_version = self.context.maximum_version = ssl.TLSVersion(version)

    def run(
        self, server: SSL.Context, *, name: str | None = "a.test", session: ssl.SSLSession | None = None
    ) -> tuple[ssl.SSLObject, SSL.Connection]:
        """Run a handshake and one byte from the server, which brings the tickets of TLS 1.3 along.

        :raises ssl.SSLError: the server refused.
        """
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = self.context.wrap_bio(incoming, outgoing, server_hostname=name, session=session)
        there = SSL.Connection(server, None)
        there.set_accept_state()
        there.set_app_data(HandshakeState())
        done, alive = [False, False], True
        for _ in range(20):
            if not done[0]:
                try:
                    client.do_handshake()
                    done[0] = True
                except ssl.SSLWantReadError:
                    pass
            if outgoing.pending:
                there.bio_write(outgoing.read())
            if not done[1]:
                try:
                    there.do_handshake()
                    done[1] = True
                except SSL.WantReadError:
                    pass
                except SSL.Error:
                    done[1], alive = True, False
            try:
                incoming.write(there.bio_read(1 << 20))
            except SSL.WantReadError:
                pass
            if all(done):
                break
        if alive:
            there.send(b"x")
            incoming.write(there.bio_read(1 << 20))
        assert client.read(1) == b"x"
        return client, there
