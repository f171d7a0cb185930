"""Slices of a DER certificate (serial, names, public key) exactly as encoded, and certificates opened without noise; judges nothing.

Names are compared and announced as the bytes that were signed; a decoder that re-encodes them could change them.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from tlsgate.errors import PkiError

__all__ = ["CertificateSlices", "check_structure", "open_certificate", "read_slices", "split_elements"]

_SEQUENCE = 0x30
_INTEGER = 0x02
_VERSION = 0xA0
_DECODING = (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, x509.InvalidVersion)
_X520_OID = b"\x06\x03\x55\x04"
_POLICIES_OID = b"\x06\x03\x55\x1d\x20"


class CertificateSlices(NamedTuple):
    """Parts of a certificate, each the whole DER element except ``serial`` (content only)."""

    serial: bytes
    """Content of the INTEGER: two's complement, big endian; may be negative, zero or over 20 octets."""
    issuer: bytes
    subject: bytes
    spki: bytes
    """SubjectPublicKeyInfo."""


def read_slices(der: bytes) -> CertificateSlices:
    """Cut a certificate into its parts; about 4 us.

    :param der: one certificate and nothing after it.
    :returns: the parts.
    :raises PkiError: the bytes are no certificate.
    Source: RFC 5280 section 4.1.
    """
    start, end = _content(der, 0, len(der), _SEQUENCE)
    if end != len(der):
        raise PkiError("bytes after the certificate")
    at, end = _content(der, start, end, _SEQUENCE)
    if at < end and der[at] == _VERSION:
        at = _content(der, at, end, _VERSION)[1]
    serial, at = _content(der, at, end, _INTEGER)
    serial_octets = der[serial:at]
    at = _content(der, at, end, _SEQUENCE)[1]
    issuer = at
    at = _content(der, at, end, _SEQUENCE)[1]
    issuer_octets = der[issuer:at]
    at = _content(der, at, end, _SEQUENCE)[1]
    subject = at
    at = _content(der, at, end, _SEQUENCE)[1]
    subject_octets = der[subject:at]
    spki = at
    at = _content(der, at, end, _SEQUENCE)[1]
    return CertificateSlices(serial_octets, issuer_octets, subject_octets, der[spki:at])


def open_certificate(der: bytes) -> x509.Certificate:
    """Load a certificate with its extensions decoded, without an exception for what the library only warns about.

    :param der: one certificate.
    :returns: the certificate; reading ``extensions`` of it cannot fail any more.
    :raises PkiError: the certificate or one of its extensions cannot be decoded.
    """
    return _load(der, True)


def check_structure(der: bytes) -> None:
    """Make sure that bytes are one certificate, whatever its extensions hold; about 2 us.

    :raises PkiError: they are not.
    """
    _load(der, False)


def split_elements(data: bytes) -> list[bytes]:
    """Split bytes into the DER elements that follow each other, of whatever tag.

    :param data: elements and nothing else; empty gives none.
    :returns: each whole element.
    :raises ValueError: the last one is cut short, or a length is malformed.
    """
    elements: list[bytes] = []
    at = 0
    while at < len(data):
        try:
            end = _content(data, at, len(data), data[at])[1]
        except PkiError as error:
            raise ValueError(str(error)) from error
        elements.append(data[at:end])
        at = end
    return elements


def _load(der: bytes, extensions: bool) -> x509.Certificate:
    if not _may_warn(der):
        try:
            return _decode(der, extensions)
        except Warning:  # rarer cases, where warnings are errors
            pass
    # The library warns about serials below 1 (also inside authorityKeyIdentifier), text of certificate policies and lengths of
    # names: all the peer's to choose, so a warning is noise in the log, or an exception. Not thread-safe, hence only where needed.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _decode(der, extensions)


def _decode(der: bytes, extensions: bool) -> x509.Certificate:
    try:
        certificate = x509.load_der_x509_certificate(der)
        if extensions:
            _ = certificate.extensions
    except _DECODING as error:
        raise PkiError(f"certificate cannot be read: {error}") from error
    return certificate


def _may_warn(der: bytes) -> bool:
    try:
        serial, _, _, spki = read_slices(der)
    except PkiError:
        return True
    if not serial or serial[0] & 0x80 or serial == b"\x00":
        return True
    # Names inside extensions, which come after the key: the library warns about some lengths.
    return _POLICIES_OID in der or der.find(_X520_OID, der.index(spki) + len(spki)) >= 0


def _content(der: bytes, at: int, limit: int, tag: int) -> tuple[int, int]:
    """Return start and end of the content of the element at ``at``, which has to be of that tag and end by ``limit``."""
    if at + 2 > limit or der[at] != tag:
        raise PkiError("not a certificate: element missing or of another type")
    length = der[at + 1]
    at += 2
    if length & 0x80:
        octets = length & 0x7F
        if not 1 <= octets <= 4 or at + octets > limit:
            raise PkiError("not a certificate: bad length")
        length = int.from_bytes(der[at : at + octets], "big")
        at += octets
    if at + length > limit:
        raise PkiError("not a certificate: cut short")
    return at, at + length
