"""What a peer proved with its leaf certificate, as a record; knows no list and takes no decision."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from cryptography import x509

from tlsgate.errors import PkiError
from tlsgate.model.tls import PeerIdentity
from tlsgate.pki.certificate import read_certificate
from tlsgate.pki.der import read_slices
from tlsgate.pki.distinguished import MAX_NAME, format_der_name

__all__ = ["MAX_CHAIN", "MAX_CHAIN_BYTES", "build_identity", "format_issuer", "format_name", "format_subject", "spki_sha256"]

MAX_CHAIN = 8
"""Certificates kept of what a peer sent after its leaf."""
MAX_CHAIN_BYTES = 65536
"""DER bytes kept of them, all together."""
_MAX_SERIAL = 128
_INFINITY = float("inf")


def build_identity(leaf_der: bytes, chain: Sequence[bytes], *, max_chain: int = MAX_CHAIN) -> PeerIdentity:
    """Describe the peer; about 40 us, once per connection. Never raises: what cannot be read is not ``readable``.

    :param leaf_der: the certificate whose key the handshake proved.
    :param chain: what else was sent, in order; the leaf itself may be among it and is left out.
    :param max_chain: certificates of ``chain`` that are kept, at most :data:`MAX_CHAIN_BYTES` in all.
    :returns: the record.
    """
    fingerprint = hashlib.sha256(leaf_der).hexdigest()
    kept = _bounded(leaf_der, chain, max_chain)
    try:
        leaf = read_certificate(leaf_der)
    except PkiError:
        return PeerIdentity(
            der=leaf_der,
            fingerprint=fingerprint,
            subject="",
            not_before=_INFINITY,
            not_after=-_INFINITY,
            is_ca=False,
            client_usage=False,
            readable=False,
            chain=kept,
        )
    return PeerIdentity(
        der=leaf_der,
        fingerprint=fingerprint,
        subject=format_der_name(leaf.subject),
        not_before=leaf.not_before,
        not_after=leaf.not_after,
        is_ca=leaf.roles.is_ca,
        client_usage=leaf.roles.client_usage,
        serial=_serial(leaf.serial),
        chain=kept,
        weakness=leaf.weak_key or leaf.weak_signature,
    )


def format_name(name: x509.Name, limit: int = MAX_NAME) -> str:
    """Write a distinguished name for logs: RFC 4514, unprintable characters escaped, cut.

    :param name: the name; for a peer's certificate :func:`format_subject` is safer, since the library may refuse to decode it.
    :param limit: characters.
    :returns: one line of printable text.
    Source: RFC 4514.
    """
    return format_der_name(name.public_bytes(), limit)


def format_subject(certificate_der: bytes, limit: int = MAX_NAME) -> str:
    """Write the subject of a certificate for logs; never raises.

    :param certificate_der: the certificate, or anything.
    :param limit: characters.
    :returns: one line of printable text.
    """
    try:
        return format_der_name(read_slices(certificate_der).subject, limit)
    except PkiError:
        return "(unreadable certificate)"


def format_issuer(certificate_der: bytes, limit: int = MAX_NAME) -> str:
    """Write the issuer of a certificate for logs; as :func:`format_subject`."""
    try:
        return format_der_name(read_slices(certificate_der).issuer, limit)
    except PkiError:
        return "(unreadable certificate)"


def spki_sha256(certificate_der: bytes) -> bytes:
    """Return the digest of a certificate's public key, as pins compare it.

    :param certificate_der: the certificate.
    :returns: SHA-256 of the DER SubjectPublicKeyInfo, 32 bytes.
    :raises PkiError: no certificate.
    Source: RFC 7469 section 2.4; mTLS reference section 9.
    """
    return hashlib.sha256(read_slices(certificate_der).spki).digest()


def _bounded(leaf: bytes, chain: Sequence[bytes], max_chain: int) -> tuple[bytes, ...]:
    kept: list[bytes] = []
    size = 0
    for der in chain:
        if der == leaf:
            continue
        size += len(der)
        if len(kept) >= max_chain or size > MAX_CHAIN_BYTES:
            break
        kept.append(der)
    return tuple(kept)


def _serial(content: bytes) -> str:
    number = int.from_bytes(content, "big", signed=True)
    return f"{number:x}"[:_MAX_SERIAL]
