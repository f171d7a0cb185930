"""Records of the TLS edge: what a policy demands, what a connection proved; knows nothing of OpenSSL."""

from __future__ import annotations

import enum

import msgspec

__all__ = ["ClientAuth", "PeerIdentity", "TlsFacts", "TlsPolicy", "VersionRange"]


class ClientAuth(enum.IntEnum):
    """What a handshake asks of the client (decisions 1, ordered by strictness)."""

    NONE = 0
    REQUEST = 1
    REQUIRE = 2


class VersionRange(msgspec.Struct, frozen=True, kw_only=True):
    """Accepted protocol versions as wire numbers: 771 is TLS 1.2, 772 is TLS 1.3."""

    lowest: int = 771
    highest: int = 772


class TlsPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """All that makes two TLS policies different; equal policies may share one OpenSSL context per server certificate.

    Hashable and compared by content, never by the name that it serves.
    """

    client_auth: ClientAuth = ClientAuth.NONE
    allow_list: str = ""
    """Key of the allow list (``pki.acl.AllowList.key``) that a REQUIRE handshake enforces; empty otherwise."""
    announce: bool = True
    """Announce CA names in the CertificateRequest."""
    versions: VersionRange = VersionRange()
    ciphers: tuple[str, ...] = ()
    """Tyk (Go) suite names for TLS 1.2; empty is our default list."""
    alpn: tuple[str, ...] = ("http/1.1",)
    """Empty for raw services: no ALPN is answered."""
    scope: str = ""
    """Separates policies that are equal by content but must not share sessions: ``gateway``, ``control``, ``raw:<api_id>``."""


class PeerIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """The leaf certificate whose private key the peer proved, with what else it sent as untrusted path material.

    ``chain`` is only material for building a path: it proves nothing (mTLS reference, section 14).
    """

    der: bytes
    fingerprint: str
    """Lower-case hex SHA-256 of ``der``."""
    subject: str
    """RFC 4514 text, cut and escaped for logs."""
    not_before: float
    """Epoch seconds, UTC."""
    not_after: float
    is_ca: bool
    """CA:TRUE together with keyCertSign."""
    client_usage: bool
    """EKU has clientAuth or anyExtendedKeyUsage, or there is no EKU extension."""
    readable: bool = True
    """False when the certificate could not be parsed beyond its fingerprint: then it matches no list."""
    serial: str = ""
    """Hexadecimal, for logs and forwarding."""
    chain: tuple[bytes, ...] = ()
    """DER of the certificates sent after the leaf, in order, bounded in number and size."""
    weakness: str = ""
    """Why the leaf's key or signature is too weak to be believed (RSA under 2048 bits, SHA-1); empty when it is fine."""


class TlsFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a TLS connection once its handshake is over; taken once per connection."""

    version: int
    """Wire number, 771 or 772."""
    cipher: str
    server_name: str | None
    """Normalised name of the SNI, None when there was none."""
    policy: TlsPolicy
    resumed: bool
    peer: PeerIdentity | None
