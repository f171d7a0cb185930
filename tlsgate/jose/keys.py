"""Keys that verify, bound to the algorithms that they are for; knows nothing of where keys come from.

The algorithm is a matter of configuration and key: the token only says which of those it used. ``none`` is not among them. Source: RFC 7518
section 3, RFC 8037, RFC 9864; RFC 8725 section 3.1; decisions 3.12.
"""

from __future__ import annotations

import base64
import re
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from jwt.algorithms import Algorithm, get_default_algorithms

from tlsgate.errors import TlsgateError

__all__ = ["ALGORITHMS", "FAMILIES", "KNOWN", "KeyFault", "VerificationKey", "build_hmac_key", "build_public_key"]

_DEFAULT = get_default_algorithms()
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_HMAC = {"HS256": 32, "HS384": 48, "HS512": 64}
"""With the bytes of the hash: RFC 7518 section 3.2 asks for keys as long."""
_PUBLIC_TEXT = re.compile(rb"\s*(?:(?:ssh|ecdsa|sk)-[a-z0-9@.-]+ AAAA|\{.*\"(?:kty|keys)\"\s*:)", re.DOTALL)
"""A key as OpenSSH writes it, a JSON Web Key, a set of them."""
_EDWARDS = ("Ed25519", "Ed448")
_MIN_RSA_BITS = 2048
_MAX_RSA_BITS = 16384

FAMILIES: dict[str, frozenset[str]] = {
    "hmac": frozenset(_HMAC),
    "rsa": frozenset(_RSA),
    "ecdsa": frozenset(_CURVES.values()),
    "eddsa": frozenset({"EdDSA", "Ed25519", "Ed448"}),
}
"""Algorithms by ``jwt_signing_method``."""
# RFC 9864 gives each curve a name of its own; the arithmetic is that of the old name, which stands for both.
ALGORITHMS: dict[str, Algorithm] = {name: _DEFAULT["EdDSA" if name in _EDWARDS else name] for names in FAMILIES.values() for name in names}
KNOWN = frozenset(ALGORITHMS) | {"none"}
"""Names that stand for something: a token with another one is malformed, rather than of the wrong family."""

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey


class KeyFault(TlsgateError):
    """A key that must not verify anything; the words never quote it."""


class VerificationKey(NamedTuple):
    """One key."""

    algorithms: frozenset[str]
    """What it may verify."""
    material: bytes | PublicKey
    key_id: str | None = None

    def verify(self, algorithm: str, signed: bytes, signature: bytes) -> bool:
        """Tell whether a signature is of this key; False for an algorithm that the key is not for."""
        return algorithm in self.algorithms and ALGORITHMS[algorithm].verify(signed, self.material, signature)


def build_hmac_key(secret: bytes, *, algorithm: str = "", key_id: str | None = None, strict: bool = False) -> VerificationKey:
    """Return a shared secret as a key.

    :param algorithm: the one that it is for; empty is any of the family.
    :param strict: refuse secrets shorter than the hash (RFC 7518 section 3.2).
    :raises KeyFault: empty, too short, or in truth a public key: what everybody may know is no secret.
    """
    if not secret:
        raise KeyFault("an empty secret")
    if b"-----BEGIN" in secret or _PUBLIC_TEXT.match(secret) or _is_public_der(secret) or _is_public_base64(secret):
        raise KeyFault("a public key or certificate is no secret")
    algorithms = frozenset({algorithm}) if algorithm else FAMILIES["hmac"]
    if not algorithms <= FAMILIES["hmac"]:
        raise KeyFault("not an HMAC algorithm")
    if strict:
        algorithms = frozenset(name for name in algorithms if len(secret) >= _HMAC[name])
        if not algorithms:
            raise KeyFault("a secret shorter than its hash")
    return VerificationKey(algorithms, secret, key_id)


def build_public_key(key: object, *, algorithm: str = "", key_id: str | None = None, weak_rsa: bool = False) -> VerificationKey:
    """Return a public key with what its type, size and curve allow.

    :param key: of ``cryptography``.
    :param algorithm: the one that it is for; empty is any that fits.
    :param weak_rsa: let RSA under 2048 bits verify.
    :raises KeyFault: of another type, too weak, or not for this algorithm.
    """
    if isinstance(key, rsa.RSAPublicKey):
        _check_rsa(key, weak_rsa)
        fits = frozenset(_RSA)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        name = _CURVES.get(key.curve.name)
        if name is None:
            raise KeyFault(f"no signatures with the curve {key.curve.name}")
        fits = frozenset({name})
    elif isinstance(key, ed25519.Ed25519PublicKey):
        fits = frozenset({"EdDSA", "Ed25519"})
    elif isinstance(key, ed448.Ed448PublicKey):
        fits = frozenset({"EdDSA", "Ed448"})
    else:
        raise KeyFault(f"no signatures with keys of type {type(key).__name__}")
    if algorithm:
        fits &= {algorithm}
        if not fits:
            raise KeyFault("its algorithm does not fit the key")
    return VerificationKey(fits, key, key_id)


def _check_rsa(key: rsa.RSAPublicKey, weak: bool) -> None:
    if key.key_size < _MIN_RSA_BITS and not weak:
        raise KeyFault(f"an RSA key of {key.key_size} bits: {_MIN_RSA_BITS} are the least")
    if key.key_size > _MAX_RSA_BITS:
        raise KeyFault(f"an RSA key of {key.key_size} bits: {_MAX_RSA_BITS} are the most")
    exponent = key.public_numbers().e
    if exponent < 3 or exponent % 2 == 0:
        raise KeyFault("an RSA key with an unusable exponent")


def _is_public_base64(text: bytes) -> bool:
    """Tell whether it is what stands between the lines of a PEM, as consoles of providers show their keys."""
    try:
        return text.lstrip()[:1] == b"M" and _is_public_der(base64.b64decode(b"".join(text.split()), validate=True))
    except ValueError:
        return False


def _is_public_der(data: bytes) -> bool:
    from cryptography.hazmat.primitives.serialization import load_der_public_key
    from cryptography.x509 import load_der_x509_certificate

    if data[:1] != b"\x30":
        return False
    for load in (load_der_public_key, load_der_x509_certificate):
        try:
            load(data)
        except Exception:  # noqa: S112 - whatever stops the reader: then it is no such key
            continue
        return True
    return False
