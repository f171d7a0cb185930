"""A TLS client as a set of settings with its sessions, and what it can tell of a connection: resumed or not, names announced."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cryptography import x509
from OpenSSL import SSL

from tests.support.certs import Issued
from tests.support.gateway import Client

__all__ = ["ClientSide"]


class ClientSide:
    """Connections that share one OpenSSL context, so that one can resume what another began (OpenSSL ties sessions to contexts).

    :param identity: client certificate, with its chain.
    :param extra: further DER certificates sent after the leaf and its chain.
    :param version: 771 or 772.
    :param tickets: False resumes TLS 1.2 by session id.
    :param hook: last changes to the context.
    """

    def __init__(
        self,
        identity: Issued | None = None,
        *,
        version: int,
        extra: Sequence[bytes] = (),
        tickets: bool = True,
        alpn: Sequence[bytes] = (b"http/1.1",),
        hook: Callable[[SSL.Context], None] | None = None,
    ) -> None:
        self.identity = identity
        self.version = version
        self.full_handshakes = 0
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_cipher_list(b"ALL:@SECLEVEL=0")
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)
        if alpn:
            context.set_alpn_protos(list(alpn))
        if not tickets:
            context.set_options(SSL.OP_NO_TICKET)
        # The server's certificate is looked at in full handshakes only: that tells them from resumed ones.
        context.set_verify(SSL.VERIFY_PEER, self._count)
        if identity is not None:
            context.use_certificate(identity.certificate)
            context.use_privatekey(identity.key)
            for der in (*identity.chain, *extra):
                context.add_extra_chain_cert(x509.load_der_x509_certificate(der))
        if hook is not None:
            hook(context)
        self.context = context

    def _count(self, connection: SSL.Connection, certificate: object, error: int, depth: int, ok: int) -> bool:
        if depth == 0:
            self.full_handshakes += 1
        return True

    def connect(
        self, port: int, sni: str | None = None, *, session: SSL.Session | None = None, identity: Issued | None = None, settle: bool = True
    ) -> Client:
        """Connect.

        :param identity: shown on this connection only, without a chain.
        :raises HandshakeRefused: the gateway refused.
        """
        before = self.full_handshakes
        client = Client(port, sni=sni, session=session, context=self.context, identity=identity, settle=settle)
        self.last_resumed = self.full_handshakes == before
        return client

    last_resumed = False
    """Whether the last connection resumed a session."""


def announced(client: Client) -> int:
    """Return how many CA names the gateway announced in a full handshake."""
    assert client.ssl is not None
    return len(client.ssl.get_client_ca_list())
