"""From an OpenSSL connection to frozen facts, taken once per connection; knows nothing of who is allowed.

A resumed session brings the leaf back, but not the certificates that were sent with it, so those are remembered per leaf: they are
untrusted path material, and forgetting them costs a client at most one full handshake.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache

from OpenSSL import SSL, crypto

from tlsgate.model.tls import PeerIdentity, TlsFacts, TlsPolicy
from tlsgate.pki.identity import build_identity

__all__ = ["PeerMemory", "take_facts"]

_CACHED_IDENTITIES = 2048
_CACHED_BYTES = 8192
"""Leaf and chain of a usual client are 1 to 4 KiB."""
_CHAIN_BYTES = 24576
_CHAINS = 1024


class PeerMemory:
    """Remembers which certificates an accepted leaf was sent with, and parses returning ones once; bounded in number and bytes.

    Only leaves that some list let in are remembered: what strangers send must neither fill the memory nor push the clients' out of it.

    :param limit: number of leaves (about 150 bytes each; equal chains are one).
    """

    def __init__(self, limit: int = 65536) -> None:
        self._limit = limit
        self._chains: OrderedDict[bytes, tuple[bytes, ...]] = OrderedDict()
        self._interned: dict[tuple[bytes, ...], tuple[bytes, ...]] = {}
        self._build = lru_cache(maxsize=_CACHED_IDENTITIES)(build_identity)

    def identity(self, leaf: bytes, chain: tuple[bytes, ...] | None) -> PeerIdentity:
        """Return the identity of a leaf whose key the peer has proved.

        :param chain: what was sent after the leaf, None for a resumed session.
        """
        if chain is None:
            chain = self._chains.get(leaf, ())
        return self.identify(leaf, chain)

    def identify(self, leaf: bytes, chain: tuple[bytes, ...]) -> PeerIdentity:
        """Return what ``pki.identity.build_identity`` says, from a cache where that is small enough to keep."""
        size = len(leaf)
        for certificate in chain:
            size += len(certificate)
        return self._build(leaf, chain) if size <= _CACHED_BYTES else build_identity(leaf, chain)

    def remember(self, peer: PeerIdentity) -> None:
        """Keep what an accepted leaf was sent with, for its resumed sessions."""
        chain = peer.chain
        if not chain or sum(map(len, chain)) > _CHAIN_BYTES:
            return
        interned = self._interned.get(chain)
        if interned is None:
            if len(self._interned) >= _CHAINS:
                self._interned.clear()
            interned = self._interned.setdefault(chain, chain)
        self._chains[peer.der] = interned
        self._chains.move_to_end(peer.der)
        if len(self._chains) > self._limit:
            self._chains.popitem(last=False)


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
                chain = _sent_chain(ssl, max_chain)
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


def _sent_chain(ssl: SSL.Connection, max_chain: int) -> tuple[bytes, ...]:
    """Return what was sent after the leaf, up to the first certificate that goes beyond number or bytes."""
    chain: list[bytes] = []
    room = _CHAIN_BYTES
    for certificate in (ssl.get_peer_cert_chain() or ())[:max_chain]:
        der = _der(certificate)
        room -= len(der)
        if room < 0:
            break
        chain.append(der)
    return tuple(chain)
