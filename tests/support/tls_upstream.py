"""Upstreams behind TLS for loopback tests: a strict HTTP server, and contexts for scripted ones; each tells what clients showed."""

from __future__ import annotations

import socket
import ssl
import tempfile
from collections.abc import Callable, Sequence

from tests.support.certs import Issued, pem_of
from tests.support.gateway import Received, StrictUpstream

__all__ = ["TlsUpstream", "server_context"]


def server_context(
    issued: Issued,
    *,
    version: int | None = None,
    clients: Sequence[Issued] = (),
    optional: bool = False,
    chain: Sequence[bytes] | None = None,
) -> ssl.SSLContext:
    """Return a context of a TLS server.

    :param version: 771 or 772 pins the protocol version.
    :param clients: CAs of which a client must show a certificate.
    :param optional: it may also show none.
    :param chain: sent after the leaf instead of the certificate's own chain.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if version is not None:
        context.minimum_version = context.maximum_version = ssl.TLSVersion(version)
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(issued.pem + "".join(pem_of(der) for der in (issued.chain if chain is None else chain)) + issued.key_pem)
        file.flush()
        context.load_cert_chain(file.name)
    if clients:
        context.verify_mode = ssl.CERT_OPTIONAL if optional else ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(cadata="".join(client.pem for client in clients))
    return context


class TlsUpstream(StrictUpstream):
    """A strict upstream that speaks TLS.

    :param context: of :func:`server_context`.
    """

    def __init__(self, context: ssl.SSLContext, respond: Callable[[Received], bytes] | None = None) -> None:
        self._context = context
        self.names: list[str | None] = []
        """Server names that clients asked for, handshakes that failed included."""
        self.shown: dict[int, bytes | None] = {}
        """Client certificate (DER) by the number of the connection."""
        self.versions: list[str | None] = []
        self.ciphers: list[str] = []
        self.failures: list[str] = []
        """Why handshakes failed."""
        context.sni_callback = lambda _socket, name, _context: self.names.append(name)  # type: ignore[assignment]
        super().__init__(respond)

    def _serve(self, connection: socket.socket, number: int) -> None:
        try:
            connection.settimeout(10)
            wrapped = self._context.wrap_socket(connection, server_side=True)
        except OSError as error:
            self.failures.append(str(error))
            self._open.discard(connection)
            connection.close()
            return
        wrapped.settimeout(None)
        self._open.discard(connection)
        self._open.add(wrapped)
        self.shown[number] = wrapped.getpeercert(binary_form=True)
        self.versions.append(wrapped.version())
        self.ciphers.append((wrapped.cipher() or ("",))[0])
        super()._serve(wrapped, number)
