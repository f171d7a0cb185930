"""Proofs of possession (DPoP): their strict reading, and the thumbprint of their key; knows nothing of requests, tokens or time.

Source: RFC 9449 sections 4.2 and 4.3; RFC 7638.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any, NamedTuple

from tlsgate.bounded import put
from tlsgate.jose.compact import TokenFault, decode_base64url, parse_claims, parse_compact
from tlsgate.jose.jwk import parse_jwk
from tlsgate.jose.keys import KeyFault, VerificationKey

__all__ = ["MAX_PROOF_BYTES", "Proof", "ProofReader", "find_thumbprint"]

MAX_PROOF_BYTES = 8192
_TYPE = "dpop+jwt"
_REQUIRED = {"EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n"), "OKP": ("crv", "kty", "x")}
"""Members of a key that its thumbprint is over, in lexicographic order."""
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_MAX_KNOWN, _MAX_KNOWN_BYTES = 2000, 2048
"""Headers that are remembered, and how long each may be: one with an RSA key of 8192 bits is."""


class _Head(NamedTuple):
    """What a header says; a client sends the same one with each proof."""

    algorithm: str
    key: VerificationKey
    thumbprint: str


class Proof(NamedTuple):
    """A proof that is well formed; its signature is not verified before :meth:`verify` says so."""

    head: _Head
    claims: dict[str, Any]
    signed: bytes
    signature: bytes

    @property
    def thumbprint(self) -> str:
        """Of its key, as in ``cnf.jkt``."""
        return self.head.thumbprint

    def verify(self) -> bool:
        """Tell whether its own key has signed it."""
        return self.head.key.verify(self.head.algorithm, self.signed, self.signature)


class ProofReader:
    """Reads proofs; remembers the keys of headers that it has read, at most 2000 of them, none over 2 KiB.

    :param algorithms: by which proofs may be signed, none of them symmetric.
    """

    __slots__ = ("_algorithms", "_known")

    def __init__(self, algorithms: frozenset[str]) -> None:
        self._algorithms = algorithms
        self._known: dict[bytes, _Head] = {}

    def read(self, text: bytes) -> Proof:
        """Return a proof.

        :raises TokenFault: it is not one, or of a key or algorithm that is not allowed.
        """
        if len(text) > MAX_PROOF_BYTES:
            raise TokenFault(f"longer than {MAX_PROOF_BYTES} bytes")
        parts = text.split(b".")
        head = self._known.get(parts[0])
        if head is None or len(parts) != 3:
            token = parse_compact(text)
            head = self._read_head(token.header, token.algorithm)
            if len(parts[0]) <= _MAX_KNOWN_BYTES:
                put(self._known, parts[0], head, _MAX_KNOWN)
            return Proof(head, parse_claims(token.payload), token.signed, token.signature)
        signed = text[: len(parts[0]) + 1 + len(parts[1])]
        return Proof(head, parse_claims(decode_base64url(parts[1])), signed, decode_base64url(parts[2]))

    def _read_head(self, header: dict[str, Any], algorithm: str) -> _Head:
        if header.get("typ") != _TYPE:
            raise TokenFault(f"its typ is not {_TYPE}")
        if algorithm not in self._algorithms:
            raise TokenFault("its algorithm is not allowed")
        member = header.get("jwk")
        if not isinstance(member, dict):
            raise TokenFault("its header has no jwk")
        if not _PRIVATE.isdisjoint(member):
            raise TokenFault("its jwk is not public")
        try:
            thumbprint = find_thumbprint(member)
            key = parse_jwk(member)
        except KeyFault as fault:
            raise TokenFault(f"its jwk is not usable: {fault}") from None
        if algorithm not in key.algorithms:
            raise TokenFault("its algorithm is not one of its key")
        return _Head(algorithm, key, thumbprint)


def find_thumbprint(member: dict[str, Any]) -> str:
    """Return the SHA-256 thumbprint of a public key, in base64url.

    Source: RFC 7638 section 3.

    :param member: a JWK.
    :raises KeyFault: no public key, or one of its members is missing or no text.
    """
    kind = member.get("kty")
    names = _REQUIRED.get(kind) if isinstance(kind, str) else None
    if names is None:
        raise KeyFault("an unknown type of key")
    values = {name: member.get(name) for name in names}
    if not all(isinstance(value, str) and value.isascii() for value in values.values()):
        raise KeyFault("a member of the key is missing")
    text = json.dumps(values, separators=(",", ":"), sort_keys=True)
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
