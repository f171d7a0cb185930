"""From an OpenSSL connection to frozen facts, taken once per connection; knows nothing of who is allowed.

A resumed session brings the leaf back, but not the certificates that were sent with it, so those are remembered per leaf: they are
untrusted path material, and forgetting them costs a client at most one full handshake.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from OpenSSL import SSL, crypto

from tlsgate.model.tls import PeerIdentity, TlsFacts, TlsPolicy
from tlsgate.pki.identity import build_identity

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PeerMemory", "take_facts"]


class PeerMemory:
    """Remembers which certificates a leaf was sent with; bounded, oldest use out first.

    :param identify: makes an identity from leaf and chain; a pure cache may stand in.
    :param limit: number of leaves (about 150 bytes each; equal chains are one).
    """

    def __init__(self, identify: Callable[[bytes, tuple[bytes, ...]], PeerIdentity] = build_identity, limit: int = 65536) -> None:
        self._identify = identify
        self._limit = limit
        self._chains: OrderedDict[bytes, tuple[bytes, ...]] = OrderedDict()
        self._interned: dict[tuple[bytes, ...], tuple[bytes, ...]] = {}

    def identity(self, leaf: bytes, chain: tuple[bytes, ...] | None) -> PeerIdentity:
        """Return the identity of a leaf whose key the peer has proved.

        :param chain: what was sent after the leaf, None for a resumed session.
        """
        if chain is None:
            chain = self._chains.get(leaf, ())
        elif chain:
            chain = self._remember(leaf, chain)
        return self._identify(leaf, chain)

    def _remember(self, leaf: bytes, chain: tuple[bytes, ...]) -> tuple[bytes, ...]:
        interned = self._interned.get(chain)
        if interned is None:
            if len(self._interned) >= 1024:
                self._interned.clear()
            interned = self._interned.setdefault(chain, chain)
        self._chains[leaf] = interned
        self._chains.move_to_end(leaf)
        if len(self._chains) > self._limit:
            self._chains.popitem(last=False)
        return interned


def take_facts(
    ssl: SSL.Connection, *, server_name: str | None, policy: TlsPolicy, resumed: bool, memory: PeerMemory, max_chain: int
) -> TlsFacts:
    """Read what a finished handshake says.

    :param max_chain: certificates after the leaf that are looked at; further ones are ignored.
    :raises OpenSSL.crypto.Error: a certificate cannot be encoded again (never seen; the caller refuses).
    """
    peer: PeerIdentity | None = None
    if policy.client_auth:
        leaf = ssl.get_peer_certificate()
        if leaf is not None:
            chain: tuple[bytes, ...] | None = None
            if not resumed:
                chain = tuple(_der(certificate) for certificate in (ssl.get_peer_cert_chain() or ())[:max_chain])
            peer = memory.identity(_der(leaf), chain)
    return TlsFacts(
        version=ssl.get_protocol_version(),
        cipher=ssl.get_cipher_name() or "",
        server_name=server_name,
        policy=policy,
        resumed=resumed,
        peer=peer,
    )


def _der(certificate: crypto.X509) -> bytes:
    # Not through ``cryptography``'s parser, which warns about odd certificates: that is for ``pki.identity`` to judge.
    return crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)
