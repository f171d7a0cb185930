"""Says who this gateway is with its own key instead of a secret (``private_key_jwt``); knows nothing of who is told.

An assertion is good for a minute, for one audience, and is never made twice. Source: RFC 7521 section 4.2, RFC 7523 sections 2.2 and 3;
OpenID Connect Core 1.0, section 9.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from tlsgate.jose.keys import build_public_key

__all__ = ["LIFE_S", "AssertionKey"]

LIFE_S = 60
_BY_CURVE = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}


class AssertionKey:
    """A private key that signs assertions.

    :param key: of ``cryptography``.
    :param key_id: its ``kid``; empty is none.
    :param now: epoch seconds.
    :raises KeyFault: it is too weak, or of a kind that signs no tokens.
    """

    def __init__(
        self,
        key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey,
        key_id: str,
        now: Callable[[], float],
    ) -> None:
        build_public_key(key.public_key())
        self._key = key
        self._now = now
        self._header = {"kid": key_id} if key_id else None
        if isinstance(key, rsa.RSAPrivateKey):
            self.algorithm = "RS256"
        elif isinstance(key, ec.EllipticCurvePrivateKey):
            self.algorithm = _BY_CURVE[key.curve.name]
        else:
            self.algorithm = "EdDSA"

    def sign(self, client_id: str, audience: str) -> str:
        """Return an assertion of a client for an audience."""
        now = int(self._now())
        claims = {"iss": client_id, "sub": client_id, "aud": audience, "jti": uuid.uuid4().hex, "iat": now, "exp": now + LIFE_S}
        return jwt.encode(claims, self._key, algorithm=self.algorithm, headers=self._header)
