"""What is told of stored certificates (mTLS reference, section 2)."""

from __future__ import annotations

import hashlib
import json

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from tests.support.certs import distinguished_name, make_authority, make_self_signed, with_serial
from tlsgate.errors import PkiError
from tlsgate.pki.describe import common_name, describe_basic, describe_full, describe_unreadable
from tlsgate.pki.pem import PemBundle, parse_pem

CA = make_authority(distinguished_name("The CA", organization_name="Org", country_name="NZ"))
SUBJECT = x509.Name(
    [
        x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "One"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Zwei äöü"),
        x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "Unit"),
        x509.NameAttribute(NameOID.LOCALITY_NAME, "Town"),
        x509.NameAttribute(NameOID.STATE_OR_PROVINCE_NAME, "State"),
        x509.NameAttribute(NameOID.STREET_ADDRESS, "Street 1"),
        x509.NameAttribute(NameOID.POSTAL_CODE, "12345"),
        x509.NameAttribute(NameOID.SERIAL_NUMBER, "S-1"),
        x509.NameAttribute(NameOID.EMAIL_ADDRESS, "a@b.test"),
        x509.NameAttribute(NameOID.COMMON_NAME, "leaf"),
    ]
)
LEAF = CA.issue(SUBJECT, names=["a.test", "*.b.test", "192.0.2.1"])
ID = "org" + LEAF.fingerprint


def test_the_meta_object() -> None:
    """Go's fields in Go's order, ``has_private_key`` at the end; names as objects, times in UTC."""
    told = describe_full(ID, parse_pem(LEAF.full_pem))
    assert list(told) == [
        *("id", "fingerprint", "has_private", "issuer", "subject", "not_before", "not_after", "dns_names", "is_ca", "has_private_key"),
    ]
    assert (told["id"], told["fingerprint"], told["has_private"], told["has_private_key"]) == (ID, LEAF.fingerprint, True, True)
    assert (told["not_before"], told["not_after"]) == ("2020-01-01T00:00:00Z", "2045-01-01T00:00:00Z")
    assert (told["dns_names"], told["is_ca"]) == (["a.test", "*.b.test"], False)
    assert told["subject"] == {
        "Country": ["DE"],
        "Organization": ["One", "Zwei äöü"],
        "OrganizationalUnit": ["Unit"],
        "Locality": ["Town"],
        "Province": ["State"],
        "StreetAddress": ["Street 1"],
        "PostalCode": ["12345"],
        "SerialNumber": "S-1",
        "CommonName": "leaf",
        "Names": [
            {"Type": [2, 5, 4, 6], "Value": "DE"},
            {"Type": [2, 5, 4, 10], "Value": "One"},
            {"Type": [2, 5, 4, 10], "Value": "Zwei äöü"},
            {"Type": [2, 5, 4, 11], "Value": "Unit"},
            {"Type": [2, 5, 4, 7], "Value": "Town"},
            {"Type": [2, 5, 4, 8], "Value": "State"},
            {"Type": [2, 5, 4, 9], "Value": "Street 1"},
            {"Type": [2, 5, 4, 17], "Value": "12345"},
            {"Type": [2, 5, 4, 5], "Value": "S-1"},
            {"Type": [1, 2, 840, 113549, 1, 9, 1], "Value": "a@b.test"},
            {"Type": [2, 5, 4, 3], "Value": "leaf"},
        ],
        "ExtraNames": None,
    }
    assert told["issuer"]["CommonName"] == "The CA"
    assert told["issuer"]["Locality"] is None


def test_the_basic_object() -> None:
    """What a detailed list holds."""
    assert describe_basic(ID, parse_pem(LEAF.pem)) == {
        "id": ID,
        "issuer_cn": "The CA",
        "subject_cn": "leaf",
        "dns_names": ["a.test", "*.b.test"],
        "has_private": False,
        "not_before": "2020-01-01T00:00:00Z",
        "not_after": "2045-01-01T00:00:00Z",
        "is_ca": False,
        "has_private_key": False,
    }
    assert describe_basic("x", parse_pem(CA.pem))["is_ca"] is True
    assert describe_basic("x", parse_pem(CA.pem))["dns_names"] is None


def test_a_bare_public_key() -> None:
    """A name of its own, no fingerprint, no dates."""
    digest = hashlib.sha256(LEAF.spki).hexdigest()
    told = describe_full("org" + digest, PemBundle(public_keys=(LEAF.spki,)))
    assert (told["fingerprint"], told["not_before"], told["not_after"]) == ("", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z")
    assert told["subject"]["CommonName"] == f"Public Key: {digest}"
    assert (told["subject"]["Names"], told["has_private"], told["dns_names"], told["is_ca"]) == (None, False, None, False)


def test_a_key_that_cannot_be_opened_is_said() -> None:
    """It is there all the same."""
    bundle = PemBundle(certificates=(LEAF.der,), key_fault="private key cannot be decrypted")
    for told in (describe_full(ID, bundle), describe_basic(ID, bundle)):
        assert (told["has_private"], told["error"]) == (True, "private key cannot be decrypted")


def test_an_unreadable_entry_has_the_same_members() -> None:
    """Tools that read dates find dates."""
    told = describe_unreadable("x", "broken")
    assert set(told) == {*describe_basic(ID, parse_pem(LEAF.pem)), "error"}
    assert told["not_after"] == "0001-01-01T00:00:00Z"
    assert set(describe_unreadable("x", "broken", full=True)) == {*describe_full(ID, parse_pem(LEAF.pem)), "error"}


@pytest.mark.parametrize("content", [b"\xff", b"\x00", b"\x01" + b"\x00" * 25])
def test_odd_certificates_are_described(content: bytes) -> None:
    """Field report B12."""
    der = with_serial(LEAF, CA.key, content)
    assert describe_full("x", PemBundle(certificates=(der,)))["subject"]["CommonName"] == "leaf"
    json.dumps(describe_basic("x", PemBundle(certificates=(der,))))


def test_what_is_no_certificate_is_an_error() -> None:
    """The caller flags it."""
    with pytest.raises(PkiError):
        describe_full("x", PemBundle(certificates=(b"\x30\x00",)))


def test_common_names() -> None:
    """The last one counts, as in Go; none is empty."""
    twice = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "one"), x509.NameAttribute(NameOID.COMMON_NAME, "two")])
    assert common_name(make_self_signed(twice).der) == "two"
    assert common_name(make_self_signed(distinguished_name(organization_name="o")).der) == ""
    assert common_name(b"") == ""
