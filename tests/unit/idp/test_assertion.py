"""Assertions in place of a secret: signed as the key says, short-lived, each one new."""

from __future__ import annotations

from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tlsgate.idp.assertion import LIFE_S, AssertionKey
from tlsgate.jose.keys import KeyFault

NOW = 1_700_000_000.7
AUDIENCE = "https://as.test/introspect"
KEYS: dict[str, Any] = {
    "RS256": rsa.generate_private_key(65537, 2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}


@pytest.mark.parametrize("algorithm", sorted(KEYS))
def test_an_assertion(algorithm: str) -> None:
    """RFC 7523 section 3: who, to whom, until when, and once."""
    key: Any = KEYS[algorithm]
    made = AssertionKey(key, "k1", lambda: NOW)
    assert made.algorithm == algorithm
    texts = [made.sign("client", AUDIENCE) for _ in range(2)]
    options: Any = {"verify_exp": False, "verify_iat": False}
    claims = [jwt.decode(text, key.public_key(), [algorithm], audience=AUDIENCE, options=options) for text in texts]
    assert claims[0]["jti"] != claims[1].pop("jti")
    assert claims[1] == {"iss": "client", "sub": "client", "aud": AUDIENCE, "iat": int(NOW), "exp": int(NOW) + LIFE_S}
    assert jwt.get_unverified_header(texts[0]) == {"alg": algorithm, "typ": "JWT", "kid": "k1"}


def test_a_key_without_a_name() -> None:
    """No ``kid`` then."""
    assert "kid" not in jwt.get_unverified_header(AssertionKey(KEYS["ES256"], "", lambda: NOW).sign("c", "a"))


def test_a_weak_key_signs_nothing() -> None:
    """What would not be believed of others is not done here."""
    with pytest.raises(KeyFault):
        AssertionKey(rsa.generate_private_key(65537, 1024), "", lambda: NOW)
    with pytest.raises(KeyFault):
        AssertionKey(ec.generate_private_key(ec.SECP256K1()), "", lambda: NOW)
