"""A client that proves possession of a key (DPoP), written beside the gateway's own reader: nothing of ``tlsgate.jose`` is used."""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

__all__ = ["Prover", "b64url", "hash_token"]

_RSA = rsa.generate_private_key(65537, 2048)


class Prover:
    """A key, and the proofs that it signs.

    :param algorithm: ``ES256``, ``RS256``, ``PS256`` ... ``EdDSA``, ``Ed25519`` or ``Ed448``.
    """

    def __init__(self, algorithm: str = "ES256") -> None:
        self.algorithm = algorithm
        self.key: Any
        if algorithm[:2] == "Ed":
            self.key = ed448.Ed448PrivateKey.generate() if algorithm == "Ed448" else ed25519.Ed25519PrivateKey.generate()
            made: dict[str, Any] = OKPAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        elif algorithm[:2] in ("RS", "PS"):
            self.key = _RSA
            made = RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        else:
            self.key = ec.generate_private_key({"256": ec.SECP256R1(), "384": ec.SECP384R1(), "512": ec.SECP521R1()}[algorithm[2:]])
            made = ECAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        made.pop("key_ops", None)
        self.jwk = made
        names = {"EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n"), "OKP": ("crv", "kty", "x")}[made["kty"]]
        text = "{" + ",".join(f'"{name}":"{made[name]}"' for name in names) + "}"
        self.thumbprint = b64url(hashlib.sha256(text.encode()).digest())

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        """Return a proof with a ``jti`` of its own; a claim or header member that is None is left out."""
        claims = {name: value for name, value in {"jti": str(uuid.uuid4()), **claims}.items() if value is not None}
        members = {name: value for name, value in {"typ": "dpop+jwt", "jwk": self.jwk, **header}.items() if value is not None}
        head = b64url(json.dumps({"alg": self.algorithm, **members}).encode())
        text = f"{head}.{b64url(json.dumps(claims).encode())}".encode()
        algorithm = jwt.get_algorithm_by_name("EdDSA" if self.algorithm[:2] == "Ed" else self.algorithm)
        return text.decode() + "." + b64url(algorithm.sign(text, self.key))


def hash_token(token: str | bytes) -> str:
    """Return ``ath`` of a token."""
    return b64url(hashlib.sha256(token.encode() if isinstance(token, str) else token).digest())


def b64url(data: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
