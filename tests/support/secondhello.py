"""A TLS 1.3 client whose second ClientHello, after a HelloRetryRequest, may differ from its first; its transcript stays right."""

from __future__ import annotations

import socket
import warnings
from collections.abc import Callable
from typing import Any

from tests.support.certs import Issued

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it imports asyncore
    from tlslite.api import X509, HandshakeSettings, TLSConnection, X509CertChain, parsePEMKey
    from tlslite.constants import ExtensionType
    from tlslite.errors import TLSError, TLSRemoteAlert
    from tlslite.extensions import SNIExtension
    from tlslite.handshakehelpers import HandshakeHelpers
    from tlslite.messages import ClientHello

__all__ = ["SecondHelloClient", "TLSError", "TLSRemoteAlert", "set_name"]


def set_name(name: str | None) -> Callable[[ClientHello], None]:
    """Return a change of a ClientHello: another server name, or none."""

    def change(hello: ClientHello) -> None:
        kept = [extension for extension in hello.extensions if extension.extType != ExtensionType.server_name]
        if name is not None:
            kept.insert(0, SNIExtension().create(bytearray(name.encode())))
        hello.extensions = kept

    return change


class SecondHelloClient(TLSConnection):  # type: ignore[misc]
    """Connects without key shares, so that the server must ask again.

    :param change: applied to the second ClientHello before it is hashed and sent; None sends it as it should be.
    :param retry: False sends key shares at once, as other clients do.
    :param version: 772, or 771 without retry.
    :param der: sent as the leaf in place of the identity's certificate, however odd.
    :param session: of an earlier client; its binder is computed over what is really sent.
    """

    def __init__(
        self,
        port: int,
        sni: str | None,
        identity: Issued | None = None,
        *,
        change: Callable[[ClientHello], None] | None = None,
        session: Any = None,
        retry: bool = True,
        version: int = 772,
        der: bytes | None = None,
    ) -> None:
        self.plain = socket.create_connection(("127.0.0.1", port), timeout=10)
        super().__init__(self.plain)
        self._change = change
        self._resumes = session
        self.hellos = 0
        settings = HandshakeSettings()
        settings.minVersion = settings.maxVersion = (3, version - 768)
        settings.versions = [settings.maxVersion]
        settings.eccCurves = ["secp256r1", "x25519"]
        settings.certificate_compression_send = settings.certificate_compression_receive = []
        settings.keyShares = [] if retry else ["secp256r1"]
        chain = key = None
        if identity is not None:
            certificate = X509()
            certificate.parse(identity.pem)
            if der is not None:
                certificate.bytes = bytearray(der)
            chain = X509CertChain([certificate])
            key = parsePEMKey(identity.key_pem, private=True)
        try:
            self.handshakeClientCert(chain, key, session=session, settings=settings, serverName=sni)
        except BaseException:
            self.plain.close()
            raise

    def __enter__(self) -> SecondHelloClient:
        return self

    def __exit__(self, *exception: object) -> None:
        self.plain.close()

    def _sendMsgs(self, msgs: Any) -> Any:
        for message in msgs:
            if isinstance(message, ClientHello):
                self.hellos += 1
                if self._change is not None:
                    self._change(message)
                    if message.getExtension(ExtensionType.pre_shared_key) is not None:
                        HandshakeHelpers.update_binders(
                            message, self._handshake_hash, [], self._resumes.tickets, self._resumes.resumptionMasterSecret
                        )
        return super()._sendMsgs(msgs)

    def get(self, host: str, target: str = "/") -> int:
        """Ask for a page and return the status; raises ConnectionError when the connection ends instead."""
        self.write(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        data = bytes(self.read(min=1, max=65536))
        if not data:
            raise ConnectionError("no answer")
        return int(data.split(b" ", 2)[1])
