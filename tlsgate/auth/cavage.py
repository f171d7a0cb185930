"""Request signatures of draft-cavage, both ways: what is signed, by which algorithms, how a signature is spelled.

Knows no request and no key. Verifying (``auth.hmac_signature``) and signing towards upstreams share it.
Source: draft-cavage-http-signatures-12, section 2.3; token reference, sections 7 and 8.
"""

from __future__ import annotations

import binascii
import hmac
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from urllib.parse import unquote_to_bytes

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

__all__ = [
    "ALGORITHMS",
    "AUX_DATE",
    "HMAC_DIGESTS",
    "REQUEST_TARGET",
    "RSA_SHA256",
    "build_signing_string",
    "encode_signature",
    "escape_base64",
    "find_targets",
    "is_same_signature",
    "read_rsa_signature",
    "sign_hmac",
    "verify_rsa",
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
# Escapes of what separates parts of a target, and of control characters: decoded, one target could be taken for another, or for two lines.
_TELLING_ESCAPE = re.compile(rb"%(?:2[35Ff]|3[BbFf]|5[Cc]|[01][0-9A-Fa-f]|7[Ff])")
_CONTROL_ESCAPE = re.compile(rb"%(?:[01][0-9A-Fa-f]|7[Ff])")


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


def find_targets(target: bytes, form: str) -> tuple[bytes, ...]:
    """Return what ``(request-target)`` may name in an incoming request, the likeliest first; none of it can mean another request.

    ``either`` takes the decoded path of Tyk and the target as sent of the draft, except where the path has escapes that would make the two
    ambiguous: then the target as sent alone. ``path`` has nothing to offer for a path with control characters.
    Source: docs/design/0018.

    :param target: in origin form, as sent.
    :param form: ``either``, ``path`` or ``full``.
    """
    if form == "full":
        return (target,)
    path, mark, _ = target.partition(b"?")
    if b"%" in path:
        if form == "path":
            return () if _CONTROL_ESCAPE.search(path) is not None else (unquote_to_bytes(path),)
        return (target,) if _TELLING_ESCAPE.search(path) is not None else (unquote_to_bytes(path), target)
    return (path, target) if mark and form == "either" else (path,)


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


def read_rsa_signature(sent: bytes) -> bytes | None:
    """Return an RSA signature from its one spelling, base64 with padding; None for any other."""
    try:
        signature = binascii.a2b_base64(sent, strict_mode=True)
    except ValueError:
        return None
    return signature if b64encode(signature) == sent else None


def verify_rsa(key: rsa.RSAPublicKey, signature: bytes, text: bytes) -> bool:
    """Tell whether a text was signed with the private half of a key: ``rsa-sha256``."""
    try:
        key.verify(signature, text, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True


def _upper(found: re.Match[bytes]) -> bytes:
    return found[0].upper()
