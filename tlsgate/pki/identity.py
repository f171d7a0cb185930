"""What a peer proved with its leaf certificate, as a record; knows no list and takes no decision."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from cryptography import x509

from tlsgate.errors import PkiError
from tlsgate.model.tls import PeerIdentity
from tlsgate.pki.certificate import Certificate, read_certificate
from tlsgate.pki.der import read_slices

__all__ = ["MAX_CHAIN", "MAX_CHAIN_BYTES", "build_identity", "format_name", "spki_sha256"]

MAX_CHAIN = 8
"""Certificates kept of what a peer sent after its leaf."""
MAX_CHAIN_BYTES = 65536
"""DER bytes kept of them, all together."""
_MAX_NAME = 512
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
        subject=_subject(leaf),
        not_before=leaf.not_before,
        not_after=leaf.not_after,
        is_ca=leaf.roles.is_ca,
        client_usage=leaf.roles.client_usage,
        serial=_serial(leaf.serial),
        chain=kept,
        weakness=leaf.weak_key or leaf.weak_signature,
    )


def format_name(name: x509.Name, limit: int = _MAX_NAME) -> str:
    """Write a distinguished name for logs: RFC 4514, unprintable characters escaped, cut.

    :param name: the name.
    :param limit: characters.
    :returns: one line of printable text.
    Source: RFC 4514.
    """
    text = name.rfc4514_string()
    if not text.isprintable():
        text = "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text[:limit])
    return text if len(text) <= limit else text[: limit - 1] + "…"


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


def _subject(leaf: Certificate) -> str:
    try:
        return format_name(leaf.opened.subject)
    except (ValueError, TypeError):  # names of types or encodings that the library does not know
        return "(unreadable name)"


def _serial(content: bytes) -> str:
    number = int.from_bytes(content, "big", signed=True)
    return f"{number:x}"[:_MAX_SERIAL]
