"""JSON Web Keys and sets of them: each key is judged alone, a bad one never spoils its set; knows nothing of where a set was read.

Differs from Tyk: ``alg``, ``use`` and ``key_ops`` count, ``oct`` keys of a public set are no keys, ``x5c`` has to agree with its key. As in
Tyk a private key verifies nothing: whoever reads the set could sign; and what the serializers of providers make of a key is read, empty
members, padding and line breaks included.
Source: RFC 7517 sections 4 and 5; RFC 7518 section 6; RFC 8037; JWT reference, section 5; decisions 3.12.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tlsgate.config.json_text import parse_json
from tlsgate.jose.compact import TokenFault, decode_base64url
from tlsgate.jose.keys import ALGORITHMS, KeyFault, VerificationKey, build_hmac_key, build_public_key

__all__ = ["KeySet", "parse_jwk", "parse_key_set"]

_CURVES: dict[str, ec.EllipticCurve] = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
_EDWARDS: dict[str, Callable[[bytes], Any]] = {
    "Ed25519": ed25519.Ed25519PublicKey.from_public_bytes,
    "Ed448": ed448.Ed448PublicKey.from_public_bytes,
}
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth"})
_MAX_KEYS = 256
_MAX_MODULUS = 2048
"""Bytes: 16384 bits."""


class KeySet(NamedTuple):
    """The usable keys of a set, in its order, and what was wrong with the others."""

    keys: tuple[VerificationKey, ...]
    problems: tuple[str, ...]

    def find(self, key_id: str | None) -> tuple[VerificationKey, ...]:
        """Return the keys of an id, in order; several only where a set repeats it."""
        return tuple(key for key in self.keys if key.key_id == key_id)


def parse_key_set(data: bytes, *, secrets: bool = False, weak_rsa: bool = False) -> KeySet:
    """Return the keys of a set.

    :param data: ``{"keys": [...]}``.
    :param secrets: let ``oct`` keys be keys.
    :raises KeyFault: no such object.
    """
    try:
        tree = parse_json(data.decode("utf-8-sig"))
    except ValueError as error:
        raise KeyFault(f"the key set is not JSON: {type(error).__name__}") from None
    members = tree.get("keys") if isinstance(tree, dict) else None
    if not isinstance(members, list):
        raise KeyFault('the key set has no list "keys"')
    if len(members) > _MAX_KEYS:
        raise KeyFault(f"the key set has over {_MAX_KEYS} keys")
    keys: list[VerificationKey] = []
    problems: list[str] = []
    for number, member in enumerate(members):
        try:
            keys.append(parse_jwk(member, secrets=secrets, weak_rsa=weak_rsa))
        except KeyFault as fault:
            problems.append(f"keys[{number}]: {fault}")
    return KeySet(tuple(keys), tuple(problems))


def parse_jwk(member: object, *, secrets: bool = False, weak_rsa: bool = False) -> VerificationKey:
    """Return one key.

    :raises KeyFault: it cannot or must not verify signatures.
    """
    if not isinstance(member, dict):
        raise KeyFault("not an object")
    # Some serializers write each member that they know, also where there is nothing to say; an empty id is an id.
    member = {name: value for name, value in member.items() if value not in (None, "", []) or name == "kid"}
    if member.get("use", "sig") != "sig":
        raise KeyFault("not for signatures (use)")
    operations = member.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise KeyFault("not for signatures (key_ops)")
    algorithm = member.get("alg", "")
    if not isinstance(algorithm, str) or (algorithm and algorithm not in ALGORITHMS):
        raise KeyFault("its algorithm is not one for signatures")
    key_id = member.get("kid")
    key_id = key_id if isinstance(key_id, str) else None
    try:
        kind = member.get("kty")
        if kind == "oct":
            if not secrets:
                raise KeyFault("a secret in a public place (oct)")
            return build_hmac_key(_bytes(member, "k"), algorithm=algorithm, key_id=key_id, strict=True)
        if not _PRIVATE.isdisjoint(member):
            raise KeyFault("a private key in a public place")
        key = _public_key(kind, member)
        _check_chain(member, key)
    except TokenFault as fault:
        raise KeyFault(str(fault)) from None
    except ValueError:
        raise KeyFault("its numbers are no key") from None
    return build_public_key(key, algorithm=algorithm, key_id=key_id, weak_rsa=weak_rsa)


def _public_key(kind: object, member: dict[str, Any]) -> Any:
    if kind == "RSA":
        if "n" not in member and "e" not in member and "x5c" in member:
            return _leaf(member).public_key()
        modulus = _bytes(member, "n")
        if len(modulus) > _MAX_MODULUS + 1:
            raise KeyFault("too large a modulus")
        return rsa.RSAPublicNumbers(int.from_bytes(_bytes(member, "e"), "big"), int.from_bytes(modulus, "big")).public_key()
    if kind == "EC":
        if "x" not in member and "y" not in member and "x5c" in member:
            return _leaf(member).public_key()
        curve = _CURVES.get(member.get("crv", "")) if isinstance(member.get("crv"), str) else None
        if curve is None:
            raise KeyFault("an unknown curve")
        size = (curve.key_size + 7) // 8
        x, y = _bytes(member, "x"), _bytes(member, "y")
        if len(x) != size or len(y) != size:
            raise KeyFault("coordinates of the wrong length")
        return ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), curve).public_key()
    if kind == "OKP":
        build = _EDWARDS.get(member.get("crv", "")) if isinstance(member.get("crv"), str) else None
        if build is None:
            raise KeyFault("an unknown curve")
        return build(_bytes(member, "x"))
    raise KeyFault("an unknown type of key")


def _bytes(member: dict[str, Any], name: str) -> bytes:
    value = member.get(name)
    if not isinstance(value, str) or not value:
        raise KeyFault(f"{name} is missing")
    # Signatures are read strictly; of a public key nobody gains anything by the alphabet that its provider writes it in.
    return decode_base64url("".join(value.split()).rstrip("=").replace("+", "-").replace("/", "_").encode())


def _check_chain(member: dict[str, Any], key: Any) -> None:
    """Refuse a key whose certificate is of another one; the certificate by itself proves nothing here."""
    if "x5c" in member:
        leaf = _leaf(member)
        if _spki(leaf.public_key()) != _spki(key):
            raise KeyFault("x5c is the certificate of another key")
        for name, kind in (("x5t", hashes.SHA1()), ("x5t#S256", hashes.SHA256())):  # noqa: S303 - RFC 7517 section 4.8
            digest = leaf.fingerprint(kind)
            # Older keys of Auth0 write the digest in hexadecimal before base64url.
            if name in member and (given := _bytes(member, name)) != digest and given.lower() != digest.hex().encode():
                raise KeyFault(f"{name} is of another certificate")


def _leaf(member: dict[str, Any]) -> x509.Certificate:
    """Return the first certificate of ``x5c``: base64 of DER, or of PEM as some of Tyk's users write it."""
    chain = member["x5c"]
    first = chain[0] if isinstance(chain, list) and chain else None
    if not isinstance(first, str):
        raise KeyFault("x5c holds no certificate")
    try:
        data = base64.b64decode("".join(first.split()), validate=True)
        return x509.load_pem_x509_certificate(data) if data.startswith(b"-----BEGIN") else x509.load_der_x509_certificate(data)
    except (binascii.Error, ValueError):
        raise KeyFault("x5c holds no certificate") from None


def _spki(key: Any) -> bytes:
    data: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return data
