"""Sources of keys: each form, and that a wrong one is found when it is read."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.support.certs import make_self_signed
from tlsgate.jose.keys import FAMILIES, KeyFault
from tlsgate.jose.source import find_family, parse_secret_text, parse_source

RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
SPKI = PublicFormat.SubjectPublicKeyInfo
URL = "https://idp.test/keys"


def b64(data: bytes | str) -> str:
    return base64.b64encode(data if isinstance(data, bytes) else data.encode()).decode()


@pytest.mark.parametrize("family", list(FAMILIES))
@pytest.mark.parametrize("text", [URL, b64(URL), f" {URL}\n", b64(URL + "\n")])
def test_an_address_in_plain_text_or_base64(family: str, text: str) -> None:
    """Both, always: in Tyk the plain one works once."""
    assert parse_source(text, family) == (URL, None, ())


@pytest.mark.parametrize(("private", "family"), [(RSA, "rsa"), (EC, "ecdsa"), (ED, "eddsa")])
def test_public_keys(private: object, family: str) -> None:
    """PEM and DER of the key; with line breaks in the base64."""
    public = private.public_key()  # type: ignore[attr-defined]
    for form in (Encoding.PEM, Encoding.DER):
        text = b64(public.public_bytes(form, SPKI))
        for spelling in (text, "\n".join(text[n : n + 64] for n in range(0, len(text), 64))):
            key = parse_source(spelling, family).key
            assert key is not None and key.material == public and key.algorithms <= FAMILIES[family]


def test_certificates_and_pkcs1() -> None:
    """A certificate stands for its key, in either form; so does the old form of RSA keys."""
    leaf = make_self_signed("signer")
    for data in (leaf.pem, leaf.der):
        key = parse_source(b64(data), "ecdsa").key
        assert key is not None and key.material == leaf.certificate.public_key()
    for before in (b"", b"Bag Attributes\n    friendlyName: signer\n"):  # as openssl pkcs12 writes it
        key = parse_source(b64(before + RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1)), "rsa").key
        assert key is not None and key.material == RSA.public_key()
    assert parse_source(b64(b"Bag Attributes\n" + leaf.pem.encode()), "ecdsa").key is not None


@pytest.mark.parametrize(
    ("text", "family"),
    [
        ("tyk123", "hmac"),
        ("", "hmac"),
        ("", "rsa"),
        (b64("tyk123"), "rsa"),
        (b64(RSA.public_key().public_bytes(Encoding.PEM, SPKI)), "hmac"),
        (b64(RSA.public_key().public_bytes(Encoding.DER, SPKI)), "hmac"),
        (b64(RSA.public_key().public_bytes(Encoding.PEM, SPKI)), "ecdsa"),
        (b64(EC.public_key().public_bytes(Encoding.PEM, SPKI)), "rsa"),
        (b64(RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())), "rsa"),
        (b64(RSA.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())), "rsa"),
        (b64(b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"), "rsa"),
        ("ftp://idp.test/keys", "rsa"),
    ],
)
def test_a_source_that_cannot_be_what_its_method_needs(text: str, family: str) -> None:
    """A fault in words that do not quote it."""
    with pytest.raises(KeyFault) as caught:
        parse_source(text, family)
    assert not text or text not in str(caught.value)


def test_short_secrets_draw_a_warning() -> None:
    """The seed uses six bytes: they work."""
    made = parse_source("dHlrMTIz", "hmac")
    assert made.key is not None and made.key.material == b"tyk123" and len(made.warnings) == 1
    assert len(parse_source("mysecret", "hmac").warnings) == 2
    assert parse_source(b64("x" * 32), "hmac").warnings == ()


@pytest.mark.parametrize(
    ("method", "family"),
    [
        ("", ""),
        ("hmac", "hmac"),
        ("RSA", "rsa"),
        ("RS256", "rsa"),
        ("ps512", "rsa"),
        ("ES384", "ecdsa"),
        ("HS256", "hmac"),
        ("EdDSA", "eddsa"),
    ],
)
def test_methods(method: str, family: str) -> None:
    """Tyk takes every one of these for hmac, with the text of the public key as the secret."""
    assert find_family(method) == family


@pytest.mark.parametrize("method", ["none", "RS1", "HMAC256", "ES521", "x", "rsa,hmac"])
def test_unknown_methods_are_faults(method: str) -> None:
    """Refused at load."""
    with pytest.raises(KeyFault):
        find_family(method)


def test_own_secrets_of_sessions() -> None:
    """Raw text, or PEM; an empty method goes by the secret, never by the token; an empty secret is none."""
    pem = RSA.public_key().public_bytes(Encoding.PEM, SPKI).decode()
    assert parse_secret_text("short", "hmac").material == b"short"
    assert parse_secret_text("short", "").algorithms == FAMILIES["hmac"]
    assert parse_secret_text(pem, "rsa").algorithms == parse_secret_text(pem, "").algorithms == FAMILIES["rsa"]
    for text, family in (("", "hmac"), ("", ""), (pem, "hmac"), (pem, "ecdsa"), ("short", "rsa")):
        with pytest.raises(KeyFault):
            parse_secret_text(text, family)
