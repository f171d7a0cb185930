"""CA names in the CertificateRequest: which fit, and how they get into a context as the bytes that were signed; knows no policy.

pyOpenSSL takes names only inside certificates (its list of ``X509Name`` is deprecated and re-encodes). So each name travels in a
certificate made of nothing but that name: OpenSSL copies the subject and drops the rest.
Source: RFC 8446 section 4.2.4 and RFC 5246 section 7.4.4 (the list is optional and holds less than 64 KiB); field report B2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509
from OpenSSL import SSL, crypto

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ANNOUNCE_LIMIT_BYTES", "announce_names", "fits_announcement"]

ANNOUNCE_LIMIT_BYTES = 16384
"""Names with their lengths: the request stays within two records, and below what clients and proxies are known to take."""

# AlgorithmIdentifier of Ed25519 and a key of zeros: never used for anything.
_ALGORITHM = bytes.fromhex("300506032b6570")
_SPKI = bytes.fromhex("302a300506032b6570032100") + bytes(32)
_VALIDITY = b"\x30\x1e" + b"\x17\x0d200101000000Z" * 2
_SIGNATURE = b"\x03\x41\x00" + bytes(64)
_EMPTY_NAME = b"\x30\x00"


def fits_announcement(names: Sequence[bytes]) -> bool:
    """Tell whether names can be announced: :data:`ANNOUNCE_LIMIT_BYTES` in all, two bytes of length each included.

    :param names: DER of each.
    """
    total = 0
    for name in names:
        total += len(name) + 2
        if total > ANNOUNCE_LIMIT_BYTES:
            return False
    return True


def announce_names(context: SSL.Context, names: Sequence[bytes]) -> None:
    """Set the names that a CertificateRequest carries, in order; about 30 us each.

    A name that a library cannot read is left out: the list is a hint to clients, and one odd name must not fail a listener.

    :param names: DER of each, distinct.
    """
    for name in names:
        try:
            context.add_client_ca(x509.load_der_x509_certificate(_wrap(name)))
        except (ValueError, SSL.Error, crypto.Error):
            continue


def _wrap(name: bytes) -> bytes:
    body = b"\xa0\x03\x02\x01\x02" + b"\x02\x01\x01" + _ALGORITHM + _EMPTY_NAME + _VALIDITY + name + _SPKI
    return _sequence(_sequence(body) + _ALGORITHM + _SIGNATURE)


def _sequence(content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return b"\x30" + bytes((size,)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return b"\x30" + bytes((0x80 | len(octets),)) + octets + content
