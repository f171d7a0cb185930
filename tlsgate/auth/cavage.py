"""Request signatures of draft-cavage, both ways: what is signed, by which algorithms, how a signature is spelled.

Knows no request and no key. Verifying (``auth.hmac_signature``) and signing towards upstreams share it.
Source: draft-cavage-http-signatures-12, section 2.3; token reference, sections 7 and 8.
"""

from __future__ import annotations

import hmac
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

__all__ = [
    "ALGORITHMS",
    "AUX_DATE",
    "HMAC_DIGESTS",
    "REQUEST_TARGET",
    "RSA_SHA256",
    "build_signing_string",
    "encode_signature",
    "escape_base64",
    "is_same_signature",
    "sign_hmac",
]

HMAC_DIGESTS: Mapping[str, str] = MappingProxyType(
    {"hmac-sha1": "sha1", "hmac-sha256": "sha256", "hmac-sha384": "sha384", "hmac-sha512": "sha512"}
)
"""Name of the hash function by algorithm, for those with a secret."""
RSA_SHA256 = "rsa-sha256"
"""PKCS#1 v1.5 with SHA-256: the one algorithm with a key pair."""
ALGORITHMS: tuple[str, ...] = (*HMAC_DIGESTS, RSA_SHA256)
"""All that there are; letter case counts."""
REQUEST_TARGET = b"(request-target)"
AUX_DATE = b"x-aux-date"
"""Stands in for ``date`` where a client cannot set that one."""

_LOWER_ESCAPE = re.compile(rb"%[0-9a-f]{2}")
_DATE = b"date"


def build_signing_string(names: Iterable[bytes], method: bytes, target: bytes, find_header: Callable[[bytes], bytes | None]) -> bytes:
    """Return the text that is signed: a line for each name, joined by newlines.

    :param names: lower-case, in order; ``date`` becomes ``x-aux-date`` where the request has a non-empty one.
    :param method: as sent, in any letter case.
    :param target: what ``(request-target)`` names: a path, or path and query.
    :param find_header: value by lower-case name, several lines joined by ``, ``; None or empty for an absent one, whose line stays.
    """
    lines = []
    for name in names:
        if name == REQUEST_TARGET:
            lines.append(b"(request-target): %b %b" % (method.lower(), target))
            continue
        if name == _DATE and find_header(AUX_DATE):
            name = AUX_DATE
        lines.append(b"%b: %b" % (name, (find_header(name) or b"").strip()))
    return b"\n".join(lines)


def sign_hmac(algorithm: str, secret: bytes, text: bytes) -> bytes:
    """Return the signature of a text.

    :param algorithm: one of ``HMAC_DIGESTS``.
    :param secret: its raw bytes.
    """
    return hmac.digest(secret, text, HMAC_DIGESTS[algorithm])


def encode_signature(algorithm: str, signature: bytes) -> bytes:
    """Spell a signature as Tyk does: base64, for HMAC with its three special characters escaped."""
    text = b64encode(signature)
    return text if algorithm == RSA_SHA256 else escape_base64(text)


def escape_base64(text: bytes) -> bytes:
    """Return base64 with ``+``, ``/`` and ``=`` escaped, upper-case digits."""
    return text.replace(b"+", b"%2B").replace(b"/", b"%2F").replace(b"=", b"%3D")


def is_same_signature(signature: bytes, sent: bytes) -> bool:
    """Compare an HMAC with what a client wrote; takes the same time wherever they differ.

    Three spellings count and no other: base64, base64 with its special characters escaped, the same with lower-case digits.

    :param signature: the right one.
    :param sent: as written by the client.
    """
    right = b64encode(signature)
    if b"%" in sent:
        right = escape_base64(right)
        sent = _LOWER_ESCAPE.sub(_upper, sent)
    return hmac.compare_digest(right, sent)


def _upper(found: re.Match[bytes]) -> bytes:
    return found[0].upper()
