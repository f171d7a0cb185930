"""From an OpenSSL connection to frozen facts, taken once per connection; knows nothing of who is allowed.

A resumed session brings the leaf back, but not the certificates that were sent with it, so those are remembered per leaf: they are
untrusted path material, and forgetting them costs a client at most one full handshake.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from tlsgate.model.tls import PeerIdentity, TlsFacts, TlsPolicy
from tlsgate.pki.identity import build_identity

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["PeerMemory", "take_facts"]


class PeerMemory:
    """Identities by leaf and chain, so that a returning client is parsed once; bounded, oldest out first.

    :param limit: number of identities kept (about 3 KiB each).
    """

    def __init__(self, limit: int = 4096, chain_limit: int = 65536) -> None:
        self._limit = limit
        self._chain_limit = chain_limit
        self._identities: OrderedDict[tuple[bytes, tuple[bytes, ...]], PeerIdentity] = OrderedDict()
        self._chains: OrderedDict[bytes, tuple[bytes, ...]] = OrderedDict()
        self._interned: dict[tuple[bytes, ...], tuple[bytes, ...]] = {}

    def identity(self, leaf: bytes, chain: tuple[bytes, ...] | None) -> PeerIdentity:
        """Return the identity of a leaf.

        :param chain: what was sent after the leaf, None for a resumed session.
        """
        if chain is None:
            chain = self._chains.get(leaf, ())
        elif chain:
            self._remember(leaf, chain)
        key = (leaf, chain)
        found = self._identities.get(key)
        if found is not None:
            self._identities.move_to_end(key)
            return found
        built = build_identity(leaf, chain)
        self._identities[key] = built
        if len(self._identities) > self._limit:
            self._identities.popitem(last=False)
        return built

    def _remember(self, leaf: bytes, chain: tuple[bytes, ...]) -> None:
        interned = self._interned.get(chain)
        if interned is None:
            if len(self._interned) >= 1024:
                self._interned.clear()
            interned = self._interned.setdefault(chain, chain)
        self._chains[leaf] = interned
        self._chains.move_to_end(leaf)
        if len(self._chains) > self._chain_limit:
            self._chains.popitem(last=False)


def take_facts(
    ssl: SSL.Connection, *, server_name: str | None, policy: TlsPolicy, resumed: bool, memory: PeerMemory, max_chain: int
) -> TlsFacts:
    """Read what a finished handshake says.

    :param max_chain: certificates after the leaf that are looked at; further ones are ignored.
    :raises ValueError: the leaf is not a certificate that can be encoded again (never seen, refused by the caller).
    """
    peer: PeerIdentity | None = None
    if policy.client_auth:
        leaf = ssl.get_peer_certificate(as_cryptography=True)
        if leaf is not None:
            sent: Sequence[x509.Certificate] | None = None if resumed else ssl.get_peer_cert_chain(as_cryptography=True)
            chain = None if resumed else tuple(certificate.public_bytes(Encoding.DER) for certificate in (sent or ())[:max_chain])
            peer = memory.identity(leaf.public_bytes(Encoding.DER), chain)
    return TlsFacts(
        version=ssl.get_protocol_version(),
        cipher=ssl.get_cipher_name() or "",
        server_name=server_name,
        policy=policy,
        resumed=resumed,
        peer=peer,
    )
