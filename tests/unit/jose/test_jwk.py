"""Key sets: what is a key, what is not, and that one bad key harms no other."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from tests.support.certs import make_self_signed
from tlsgate.jose.jwk import parse_jwk, parse_key_set
from tlsgate.jose.keys import KeyFault

RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
RSA_JWK: dict[str, Any] = RSAAlgorithm.to_jwk(RSA.public_key(), as_dict=True)
EC_JWK: dict[str, Any] = ECAlgorithm.to_jwk(EC.public_key(), as_dict=True)
for jwk in (RSA_JWK, EC_JWK):
    jwk.pop("key_ops", None)
ED_JWK = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
"""RFC 8037, appendix A.2."""


def test_each_type_of_key() -> None:
    """RSA, EC and Ed25519 with their algorithms; the id is taken along."""
    assert parse_jwk({**RSA_JWK, "kid": "a"}).key_id == "a"
    assert parse_jwk(EC_JWK).algorithms == {"ES256"}
    assert parse_jwk(ED_JWK).algorithms == {"EdDSA", "Ed25519"}
    assert parse_jwk({**RSA_JWK, "alg": "PS512", "use": "sig", "key_ops": ["verify"]}).algorithms == {"PS512"}


@pytest.mark.parametrize(
    "member",
    [
        None,
        [],
        {},
        {"kty": "XX"},
        {"kty": ["RSA"]},
        {"kty": "RSA"},
        {**RSA_JWK, "n": 7},
        {**RSA_JWK, "n": ""},
        {**RSA_JWK, "n": "!!"},
        {**RSA_JWK, "e": "AQ"},
        {**RSA_JWK, "n": "A" * 4000},
        {**RSA_JWK, "use": "enc"},
        {**RSA_JWK, "use": 7},
        {**RSA_JWK, "key_ops": ["encrypt"]},
        {**RSA_JWK, "key_ops": ["sign"]},
        {**RSA_JWK, "key_ops": "verify"},
        {**RSA_JWK, "alg": "RSA1_5"},
        {**RSA_JWK, "alg": "ES256"},
        {**RSA_JWK, "alg": 7},
        {**EC_JWK, "crv": "P-384"},
        {**EC_JWK, "crv": ["P-256"]},
        {**EC_JWK, "x": EC_JWK["y"]},
        {**EC_JWK, "x": EC_JWK["x"] + "AA"},
        {**ED_JWK, "crv": "X25519"},
        {**ED_JWK, "x": "AA"},
        {"kty": "oct", "k": "AAAA"},
        {**RSA_JWK, "x5c": [[]]},
        {**RSA_JWK, "x5c": ["AAAA"]},
        {**RSA_JWK, "x5c": [7]},
    ],
)
def test_what_is_no_key_spoils_nothing(member: Any) -> None:
    """A problem in words, never an exception of another kind; the key beside it serves."""
    with pytest.raises(KeyFault):
        parse_jwk(member)
    found = parse_key_set(json.dumps({"keys": [member, {**EC_JWK, "kid": "good"}]}).encode())
    assert len(found.keys) == 1 and found.find("good") == found.keys and len(found.problems) == 1


def test_what_providers_make_of_a_key() -> None:
    """Nothing is said by ``null``, empty texts and lists; padding, the other alphabet of base64 and line breaks change no number."""
    nothing = {"alg": None, "use": "", "key_ops": [], "x5c": [], "x5t": "", "x5t#S256": None, "x5u": None, "d": None}
    assert parse_jwk({**RSA_JWK, **nothing}) == parse_jwk(RSA_JWK)
    for jwk in (RSA_JWK, EC_JWK, ED_JWK):
        spelled = {
            name: base64.b64encode(base64.urlsafe_b64decode(jwk[name] + "==")).decode() if len(jwk[name]) > 10 else jwk[name] + "=="
            for name in ("n", "e", "x", "y")
            if name in jwk
        }
        assert spelled != {name: jwk[name] for name in spelled}
        assert parse_jwk({**jwk, **spelled}) == parse_jwk(jwk)
        broken = {name: f"{text[:4]}\r\n{text[4:]}\n" for name, text in spelled.items()}
        assert parse_jwk({**jwk, **broken}) == parse_jwk(jwk)
    leaf = make_self_signed("signer", kind="rsa-2048")
    wrapped = base64.encodebytes(leaf.der).decode()
    assert "\n" in wrapped[:-1] and parse_jwk({"kty": "RSA", "x5c": [wrapped]}).material == leaf.certificate.public_key()


@pytest.mark.parametrize("kind", ["p256", "rsa-2048"])
def test_certificates_have_to_agree(kind: str) -> None:
    """``x5c`` alone gives the key (DER, or PEM within base64); beside numbers it must be theirs, and so must its thumbprints."""
    leaf = make_self_signed("signer", kind=kind)
    der = base64.b64encode(leaf.der).decode()
    pem = base64.b64encode(leaf.pem.encode()).decode()
    name = "RSA" if kind == "rsa-2048" else "EC"
    key = parse_jwk({"kty": name, "x5c": [der]})
    assert key.material == parse_jwk({"kty": name, "x5c": [pem]}).material == leaf.certificate.public_key()
    with pytest.raises(KeyFault):
        parse_jwk({**RSA_JWK, "x5c": [der]})
    with pytest.raises(KeyFault):
        parse_jwk({"kty": name, "x5c": [der], "x5t#S256": "AAAA"})
    for member, kind_of_hash in (("x5t", hashes.SHA1()), ("x5t#S256", hashes.SHA256())):
        digest = leaf.certificate.fingerprint(kind_of_hash)
        # Bytes, as the RFC means it, and their hexadecimal text, as Auth0's older keys have it.
        for data in (digest, digest.hex().encode(), digest.hex().upper().encode()):
            thumbprint = base64.urlsafe_b64encode(data).rstrip(b"=").decode()
            assert parse_jwk({"kty": name, "x5c": [der], member: thumbprint}).material == key.material
        for data in (digest[:-1], digest.lower()[:-1] + b"x", digest.hex().encode()[:-1]):
            with pytest.raises(KeyFault):
                parse_jwk({"kty": name, "x5c": [der], member: base64.urlsafe_b64encode(data).rstrip(b"=").decode()})


def test_ids() -> None:
    """B50: keys without an id, with ``null`` or a number, are found by None alone."""
    keys = [EC_JWK, {**EC_JWK, "kid": None}, {**EC_JWK, "kid": 7}, {**EC_JWK, "kid": "a"}, {**RSA_JWK, "kid": "a"}]
    found = parse_key_set(json.dumps({"keys": keys}).encode())
    assert (len(found.find(None)), len(found.find("a")), len(found.find("b"))) == (3, 2, 0)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"keys":{}}', '{"keys":[],"keys":[]}', "nonsense", '{"keys":' + json.dumps([{}] * 300) + "}"]
)
def test_what_is_no_set(text: str) -> None:
    """Refused as a whole: what is there already stays."""
    with pytest.raises(KeyFault):
        parse_key_set(text.encode())
