"""``jwt_source`` to what it stands for: the address of a key set, a secret, or a public key; knows nothing of fetching.

Differs from Tyk: a source that cannot be what its method needs is a fault when it is read, not a refusal of every request; PKCS#1 public
keys are read; an address works in plain text as well as in base64. Source: JWT reference, section 4.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

from tlsgate.jose.keys import FAMILIES, KeyFault, VerificationKey, build_hmac_key, build_public_key

__all__ = ["KeySource", "find_family", "parse_secret_text", "parse_source"]

_ADDRESS = re.compile(r"https?://", re.IGNORECASE)
_SHORT_SECRET = 32
_PEM = b"-----BEGIN"
_PRIVATE = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_BY_PREFIX = {"hs": "hmac", "rs": "rsa", "ps": "rsa", "es": "ecdsa", "eddsa": "eddsa"}


class KeySource(NamedTuple):
    """What verifies: an address, or a key."""

    url: str = ""
    key: VerificationKey | None = None
    warnings: tuple[str, ...] = ()


def find_family(method: str) -> str:
    """Return the family of a signing method: ``hmac``, ``rsa``, ``ecdsa`` or ``eddsa``; empty for an empty method.

    The names of algorithms stand for their family, and letter case does not matter: in Tyk both end up as ``hmac`` with a public key as its
    secret.

    :raises KeyFault: it is neither.
    """
    name = method.strip().lower()
    if not name or name in FAMILIES:
        return name
    if name == "eddsa" or re.fullmatch(r"(hs|rs|ps|es)(256|384|512)", name):
        return _BY_PREFIX[name if name == "eddsa" else name[:2]]
    raise KeyFault("is not a signing method: hmac, rsa, ecdsa or eddsa")


def parse_source(text: str, family: str, *, weak_rsa: bool = False) -> KeySource:
    """Return what a source stands for.

    :param text: an address, or base64 of an address, a secret, or a public key or certificate in PEM or DER.
    :param family: of :data:`tlsgate.jose.keys.FAMILIES`.
    :raises KeyFault: it cannot be what the family needs; the words never quote it.
    """
    text = text.strip()
    if _ADDRESS.match(text):
        return KeySource(url=text)
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise KeyFault("is neither an address nor base64; write the secret or key in base64") from None
    try:
        decoded = data.decode("ascii").strip()
    except UnicodeDecodeError:
        decoded = ""
    if _ADDRESS.match(decoded):
        return KeySource(url=decoded)
    if family == "hmac":
        key = build_hmac_key(data)
        warnings = [f"is a secret of {len(data)} bytes: {_SHORT_SECRET} random ones are needed"] if len(data) < _SHORT_SECRET else []
        if len(data) < _SHORT_SECRET and not (decoded and decoded.isprintable()):
            warnings.append("decodes to bytes that are no text; if the secret was written as it is, write it in base64")
        return KeySource(key=key, warnings=tuple(warnings))
    return KeySource(key=_bind(_read_public_key(data), family, weak_rsa))


def parse_secret_text(text: str, family: str, *, weak_rsa: bool = False) -> VerificationKey:
    """Return the key of a session's own secret (``jwt_data.secret``): text for HMAC, PEM otherwise.

    :param family: empty is found out by the secret itself, never by the token.
    :raises KeyFault: empty, or no such key.
    """
    data = text.encode()
    if not family:
        if _PEM not in data:
            family = "hmac"
        else:
            return build_public_key(_read_public_key(data), weak_rsa=weak_rsa)
    return build_hmac_key(data) if family == "hmac" else _bind(_read_public_key(data), family, weak_rsa)


def _bind(key: object, family: str, weak_rsa: bool) -> VerificationKey:
    made = build_public_key(key, weak_rsa=weak_rsa)
    if not made.algorithms <= FAMILIES[family]:
        raise KeyFault(f"is a key of another kind than {family}")
    return made


def _read_public_key(data: bytes) -> object:
    if _PRIVATE.search(data):
        raise KeyFault("is a private key; give the public key, and make a new pair since this one is written down")
    try:
        if _PEM in data:  # OpenSSL writes text before it
            if b"-----BEGIN CERTIFICATE-----" in data:
                return x509.load_pem_x509_certificate(data).public_key()
            return load_pem_public_key(data)
        try:
            return load_der_public_key(data)
        except ValueError:
            return x509.load_der_x509_certificate(data).public_key()
    except Exception:  # whatever the reader says of foreign bytes: they are no key
        raise KeyFault("holds neither a public key nor a certificate, in PEM or DER") from None
