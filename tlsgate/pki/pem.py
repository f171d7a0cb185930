"""PEM text to certificates and keys, tolerant of how people paste and edit it; knows neither files nor what the result is for.

Tolerated: byte order marks, CRLF, blank lines, blanks at line ends, a body whose line breaks became blanks (or a literal ``\\n``),
blocks of other types, text between blocks. Not tolerated: anything that could mean another certificate than the one that was meant.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TypeAlias

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from tlsgate.errors import PkiError
from tlsgate.pki.der import check_structure, open_certificate

__all__ = ["PemBundle", "PrivateKey", "find_labels", "key_matches", "parse_pem"]

PrivateKey: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
"""Kinds of private key that TLS can sign with."""

_BEGIN = b"-----BEGIN "
_END = b"-----END "
_DASHES = b"-----"
_LABEL = re.compile(rb"-----BEGIN ([ -,.-~]{1,64})-----")
_WHITE = b" \t\r\n\v\f"
_UTF8_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")


class PemBundle(msgspec.Struct, frozen=True, kw_only=True):
    """What one PEM text holds, in its order."""

    certificates: tuple[bytes, ...] = ()
    """DER; the first is the leaf, or the one that the reference means."""
    private_key: PrivateKey | None = None
    public_keys: tuple[bytes, ...] = ()
    """DER SubjectPublicKeyInfo of bare ``PUBLIC KEY`` blocks."""
    key_fault: str = ""
    """Why there is no private key although one was stored, for messages; empty when there is nothing to say."""

    @property
    def leaf(self) -> bytes | None:
        """The first certificate, None when there is none."""
        return self.certificates[0] if self.certificates else None


def parse_pem(text: bytes | str) -> PemBundle:
    """Read all certificates, at most one private key and bare public keys.

    :param text: PEM; linear time in its length.
    :returns: the bundle, with at least one member.
    :raises PkiError: no usable block, a block that is broken or has no end, a second or an encrypted private key.
    Source: RFC 7468; mTLS reference sections 1 and 2; field reports B7, B9.
    """
    data = _plain_bytes(text)
    certificates: list[bytes] = []
    public_keys: list[bytes] = []
    private_key: PrivateKey | None = None
    at = data.find(_BEGIN)
    while at >= 0:
        label, body_at, body_end, next_at = _block(data, at)
        if label == b"CERTIFICATE":
            certificates.append(_certificate(data, at, body_at, body_end))
        elif label.endswith(b"PRIVATE KEY"):
            if private_key is not None:
                raise PkiError(f"Found multiple private keys (line {_line(data, at)})")
            private_key = _private_key(data, at, body_at, body_end, label)
        elif label == b"PUBLIC KEY":
            public_keys.append(_public_key(data, at, body_at, body_end))
        at = data.find(_BEGIN, next_at)
    if not certificates and not public_keys and private_key is None:
        raise PkiError(_nothing_found(data))
    return PemBundle(certificates=tuple(certificates), private_key=private_key, public_keys=tuple(public_keys))


def find_labels(text: bytes | str) -> list[str]:
    """Return what the blocks of a text call themselves, in order, readable or not."""
    return [label.decode("ascii").strip() for label in _LABEL.findall(_plain_bytes(text))]


def key_matches(certificate_der: bytes, key: PrivateKey) -> bool:
    """Tell whether a private key belongs to a certificate.

    :param certificate_der: the certificate.
    :param key: the key.
    :returns: True when the certificate holds the key's public half.
    :raises PkiError: the certificate, or its key, cannot be read.
    """
    certificate = open_certificate(certificate_der)
    try:
        public_key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise PkiError(f"public key of the certificate cannot be read: {error}") from error
    return public_key == key.public_key()


def _plain_bytes(text: bytes | str) -> bytes:
    if isinstance(text, str):
        return text.encode("utf-8", "surrogateescape")
    if text[:2] in _UTF16_BOMS:  # what PowerShell's redirection writes
        try:
            return text.decode("utf-16").encode()
        except UnicodeDecodeError as error:
            raise PkiError("text begins like UTF-16 but is not") from error
    return text


def _block(data: bytes, begin: int) -> tuple[bytes, int, int, int]:
    """Find the block that begins at ``begin``: label, start and end of the body, end of the block."""
    label_at = begin + len(_BEGIN)
    label_end = data.find(_DASHES, label_at, label_at + 64)
    if label_end < 0:
        raise PkiError(f"unreadable BEGIN line (line {_line(data, begin)})")
    label = data[label_at:label_end].strip(_WHITE)
    body_at = label_end + len(_DASHES)
    body_end = data.find(_DASHES, body_at)
    end_line = _END + label + _DASHES
    if body_end < 0 or not data.startswith(end_line, body_end):
        raise PkiError(f"block {label.decode('ascii', 'replace')!r} (line {_line(data, begin)}) has no END line of its own")
    return label, body_at, body_end, body_end + len(end_line)


def _body(data: bytes, begin: int, body_at: int, body_end: int, what: str) -> bytes:
    body = data[body_at:body_end]
    if b":" in body:
        body = _without_headers(body, what)
    if b"\\" in body:
        body = body.replace(b"\\r", b"").replace(b"\\n", b"")
    try:
        # strict: a stray character or data after the padding is an error, never a shortened certificate
        return binascii.a2b_base64(body.translate(None, _WHITE), strict_mode=True)
    except binascii.Error as error:
        raise PkiError(f"{what} (line {_line(data, begin)}) is not base64: {error}") from error


def _without_headers(body: bytes, what: str) -> bytes:
    """Drop RFC 1421 headers (``Name: value`` lines before a blank line)."""
    if b"ENCRYPTED" in body:
        raise PkiError(f"{what} is encrypted; store it without a passphrase")
    lines = body.split(b"\n")
    last = max(number for number, line in enumerate(lines) if b":" in line)
    return b"\n".join(lines[last + 1 :])


def _certificate(data: bytes, begin: int, body_at: int, body_end: int) -> bytes:
    der = _body(data, begin, body_at, body_end, "certificate")
    try:
        check_structure(der)
    except PkiError as error:
        raise PkiError(f"line {_line(data, begin)}: {error}") from error
    return der


def _private_key(data: bytes, begin: int, body_at: int, body_end: int, label: bytes) -> PrivateKey:
    if label.startswith(b"ENCRYPTED"):
        raise PkiError(f"private key (line {_line(data, begin)}) is encrypted; store it without a passphrase")
    der = _body(data, begin, body_at, body_end, "private key")
    clean = _BEGIN + label + b"-----\n" + base64.encodebytes(der) + _END + label + b"-----\n"
    try:
        key = serialization.load_pem_private_key(clean, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        # The library's text names structure, never content of the key.
        raise PkiError(f"private key (line {_line(data, begin)}) cannot be read: {error}") from None
    if not isinstance(key, PrivateKey):
        raise PkiError(f"private key (line {_line(data, begin)}) is of a kind that TLS cannot use")
    return key


def _public_key(data: bytes, begin: int, body_at: int, body_end: int) -> bytes:
    der = _body(data, begin, body_at, body_end, "public key")
    try:
        serialization.load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise PkiError(f"public key (line {_line(data, begin)}) cannot be read: {error}") from error
    return der


def _nothing_found(data: bytes) -> str:
    if data[:1] == b"\x30":
        return "no PEM text; it looks like DER, convert it (openssl x509 -inform der)"
    return "no certificate and no key in PEM form"


def _line(data: bytes, at: int) -> int:
    return data.count(b"\n", 0, at) + 1
