"""Keys and what they may verify."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.certs import make_authority
from tlsgate.jose.keys import FAMILIES, KeyFault, build_hmac_key, build_public_key

RSA = rsa.generate_private_key(65537, 2048)
P256 = ec.generate_private_key(ec.SECP256R1())


def test_a_key_verifies_what_it_is_for() -> None:
    """Each family; nothing by the name of another algorithm."""
    key = build_hmac_key(b"secret")
    good = hmac.digest(b"secret", b"x", hashlib.sha256)
    assert key.verify("HS256", b"x", good)
    assert not any(key.verify(name, b"x", good) for name in ("HS384", "HS512", "RS256", "none", "None", "", "hs256"))
    public = build_public_key(RSA.public_key())
    signature = RSA.sign(b"x", padding.PKCS1v15(), hashes.SHA256())
    assert public.algorithms == FAMILIES["rsa"]
    assert public.verify("RS256", b"x", signature) and not public.verify("RS256", b"y", signature)
    assert not public.verify("PS256", b"x", signature) and not public.verify("HS256", b"x", signature)
    edwards = ed25519.Ed25519PrivateKey.generate()
    assert build_public_key(edwards.public_key()).verify("EdDSA", b"x", edwards.sign(b"x"))


def test_the_curve_chooses_the_algorithm() -> None:
    """P-256 is ES256 and nothing else (RFC 7518 section 3.4)."""
    for curve, name in ((ec.SECP256R1(), "ES256"), (ec.SECP384R1(), "ES384"), (ec.SECP521R1(), "ES512")):
        assert build_public_key(ec.generate_private_key(curve).public_key()).algorithms == {name}
    with pytest.raises(KeyFault):
        build_public_key(ec.generate_private_key(ec.SECP256K1()).public_key())


def test_the_algorithm_of_a_key_binds() -> None:
    """Of its family, no other; one that does not fit makes the key unusable."""
    key = build_public_key(RSA.public_key(), algorithm="PS256")
    assert key.algorithms == {"PS256"}
    assert not key.verify("RS256", b"x", RSA.sign(b"x", padding.PKCS1v15(), hashes.SHA256()))
    for public, name in ((RSA.public_key(), "ES256"), (P256.public_key(), "ES384"), (P256.public_key(), "RS256")):
        with pytest.raises(KeyFault):
            build_public_key(public, algorithm=name)


@pytest.mark.parametrize("form", [Encoding.PEM, Encoding.DER])
def test_what_everybody_may_know_is_no_secret(form: Encoding) -> None:
    """Public keys and certificates in either form: the confusion of HMAC with RSA cannot even be configured."""
    for key in (RSA, P256):
        with pytest.raises(KeyFault):
            build_hmac_key(key.public_key().public_bytes(form, PublicFormat.SubjectPublicKeyInfo))
        with pytest.raises(KeyFault):
            build_hmac_key(key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH))
    with pytest.raises(KeyFault):
        build_hmac_key(RSA.public_key().public_bytes(form, PublicFormat.PKCS1))
    for text in ('{"kty":"RSA","n":"AQAB"}', ' {\n "use": "sig",\n "kty" : "EC"}', '{"keys": []}', "ssh-ed25519 AAAAC3Nza"):
        with pytest.raises(KeyFault):
            build_hmac_key(text.encode())
    authority = make_authority()
    with pytest.raises(KeyFault):
        build_hmac_key(authority.pem.encode() if form is Encoding.PEM else authority.der)
    for text in ("ssh is a program", '{"a": "text with kty and keys in it, 32 bytes"}', "kty"):
        assert build_hmac_key(text.encode()).algorithms == FAMILIES["hmac"]


@pytest.mark.parametrize("form", [PublicFormat.SubjectPublicKeyInfo, PublicFormat.PKCS1])
def test_a_public_key_without_its_frame_is_no_secret(form: PublicFormat) -> None:
    """Keycloak's console shows the key of a realm like that: whoever pastes it as a secret lets everybody sign."""
    lines = RSA.public_key().public_bytes(Encoding.PEM, form).splitlines()[1:-1]
    for text in (b"".join(lines), b"\r\n".join(lines), b" " + b"".join(lines) + b"\n"):
        with pytest.raises(KeyFault):
            build_hmac_key(text)
    for text in (
        b"M",
        b"MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKC",
        b"Many a secret begins like that",
        b"MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=",
    ):
        assert build_hmac_key(text).algorithms == FAMILIES["hmac"]


def test_secrets() -> None:
    """Never empty; as long as the hash where that is asked for."""
    with pytest.raises(KeyFault):
        build_hmac_key(b"")
    assert build_hmac_key(b"tyk123").algorithms == FAMILIES["hmac"]
    assert build_hmac_key(b"\x30" + b"x" * 40).algorithms == FAMILIES["hmac"]
    assert build_hmac_key(b"x" * 48, strict=True).algorithms == {"HS256", "HS384"}
    for secret, name in ((b"x" * 31, ""), (b"x" * 40, "HS384"), (b"x" * 64, "RS256")):
        with pytest.raises(KeyFault):
            build_hmac_key(secret, algorithm=name, strict=True)


def test_weak_keys_are_refused() -> None:
    """RSA under 2048 bits, unless that is asked for; key agreement keys always."""
    weak = rsa.generate_private_key(65537, 1024).public_key()
    with pytest.raises(KeyFault):
        build_public_key(weak)
    assert build_public_key(weak, weak_rsa=True).algorithms == FAMILIES["rsa"]
    with pytest.raises(KeyFault):
        build_public_key(x25519.X25519PrivateKey.generate().public_key())
    with pytest.raises(KeyFault):
        build_public_key("no key")
