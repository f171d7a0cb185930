"""Facts of one certificate."""

from __future__ import annotations

import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from tests.support.certs import (
    CLIENT,
    MD5_RSA,
    NOW,
    SERVER,
    der_element,
    key,
    key_usage,
    make_authority,
    make_self_signed,
    resign,
    sha1_signed,
    swap_element,
    with_algorithm,
)
from tlsgate.errors import PkiError
from tlsgate.pki.certificate import MAX_RSA_BITS, MIN_RSA_BITS, read_certificate, read_roles
from tlsgate.pki.der import open_certificate

ROOT = make_authority("Root")
RSA_ROOT = make_authority("Root RSA", kind="rsa-2048")


@pytest.mark.parametrize(
    ("options", "is_ca", "unmarked"),
    [
        ({"ca": True, "usage": key_usage("key_cert_sign")}, True, False),
        ({"ca": True, "usage": key_usage("key_cert_sign", "digital_signature")}, True, False),
        ({"ca": True, "usage": key_usage("digital_signature")}, False, False),
        ({"ca": True}, False, True),
        ({"ca": False, "usage": key_usage("key_cert_sign")}, False, False),
        ({"ca": False}, False, False),
        ({"usage": key_usage("key_cert_sign")}, False, False),
        ({}, False, False),
    ],
)
def test_a_ca_needs_both_marks(options: dict[str, object], is_ca: bool, unmarked: bool) -> None:
    """mTLS reference section 5: CA:TRUE with keyCertSign."""
    roles = read_certificate(make_self_signed("x", **options).der).roles
    assert (roles.is_ca, roles.unmarked_ca) == (is_ca, unmarked)


def test_path_length_only_of_a_ca() -> None:
    """RFC 5280 4.2.1.9."""
    assert read_certificate(ROOT.subordinate(path_length=0).der).roles.path_length == 0
    assert read_certificate(ROOT.subordinate(path_length=3).der).roles.path_length == 3
    assert read_certificate(ROOT.der).roles.path_length is None
    assert read_certificate(ROOT.issue().der).roles.path_length is None


@pytest.mark.parametrize(
    ("usages", "serves"),
    [
        (CLIENT, True),
        (SERVER, False),
        ((*SERVER, *CLIENT), True),
        ((ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,), True),
        ((ExtendedKeyUsageOID.EMAIL_PROTECTION,), False),
        (None, True),
    ],
)
def test_client_usage(usages: tuple[ObjectIdentifier, ...] | None, serves: bool) -> None:
    """clientAuth, anyExtendedKeyUsage, or no extension."""
    assert read_certificate(ROOT.issue(usages=usages).der).roles.client_usage is serves


@pytest.mark.parametrize(
    ("usage", "may"),
    [(None, True), ("digital_signature", True), ("key_agreement", True), ("key_encipherment", False), ("key_cert_sign", False)],
)
def test_usage_for_handshakes(usage: str | None, may: bool) -> None:
    """OpenSSL's rule for TLS clients: digitalSignature or keyAgreement."""
    issued = ROOT.issue(usage=key_usage(usage) if usage else None)
    roles = read_certificate(issued.der).roles
    assert roles.may_sign_handshake is may
    assert read_roles(open_certificate(issued.der)) == roles


@pytest.mark.parametrize(
    ("kind", "weak"),
    [
        ("p224", False),
        ("p256", False),
        ("p384", False),
        ("p521", False),
        ("secp192", True),
        ("ed25519", False),
        ("ed448", False),
        ("rsa-1024", True),
        (f"rsa-{MIN_RSA_BITS - 8}", True),
        (f"rsa-{MIN_RSA_BITS}", False),
    ],
)
def test_weak_keys(kind: str, weak: bool) -> None:
    """mTLS reference section 14: tiny keys are refused."""
    found = read_certificate(ROOT.issue(private_key=key(kind, "leaf")).der)
    assert bool(found.weak_key) is weak
    assert not found.weak_signature


@pytest.mark.parametrize("bits", [MAX_RSA_BITS, MAX_RSA_BITS + 8])
def test_huge_keys_are_refused(bits: int) -> None:
    """The work of one signature check is bounded."""
    integer = der_element(0x02, b"\x00" + (1 << (bits - 1) | 1).to_bytes((bits + 7) // 8, "big"))
    modulus = der_element(0x30, integer + b"\x02\x03\x01\x00\x01")
    spki = der_element(0x30, bytes.fromhex("300d06092a864886f70d0101010500") + der_element(0x03, b"\x00" + modulus))
    found = read_certificate(resign(ROOT.issue().der, swap_element(6, spki), ROOT.key))
    assert bool(found.weak_key) is (bits > MAX_RSA_BITS)


@pytest.mark.parametrize(
    ("exponent", "weak"), [(3, False), (65537, False), (2**32 - 1, False), (1, True), (2, True), (65536, True), (2**32 + 1, True)]
)
def test_unusual_exponents_are_refused(exponent: int, weak: bool) -> None:
    """1 verifies anything, even ones are no keys, huge ones make a check cost a thousand times as much."""
    integer = der_element(0x02, b"\x00" + (1 << (MIN_RSA_BITS - 1) | 1).to_bytes(MIN_RSA_BITS // 8, "big"))
    size = exponent.bit_length() // 8 + 1
    numbers = der_element(0x30, integer + der_element(0x02, exponent.to_bytes(size, "big")))
    spki = der_element(0x30, bytes.fromhex("300d06092a864886f70d0101010500") + der_element(0x03, b"\x00" + numbers))
    assert bool(read_certificate(resign(ROOT.issue().der, swap_element(6, spki), ROOT.key)).weak_key) is weak


def test_keys_that_cannot_sign_a_handshake_are_refused() -> None:
    """DSA, an unknown algorithm, and a key that does not parse."""
    der = make_self_signed("x", private_key=dsa.generate_private_key(1024)).der
    assert read_certificate(der).weak_key.startswith("public key of kind 1.2.840.10040")
    for spki in ("300c300506032a03040303000001", "300c300506032b657003030000ff"):
        der = resign(ROOT.issue().der, swap_element(6, bytes.fromhex(spki)), ROOT.key)
        assert read_certificate(der).weak_key == "public key of an unknown kind"


def test_weak_signatures() -> None:
    """SHA-1 and MD5 prove nothing; a signature of unknown kind neither."""
    issued = ROOT.issue()
    rsa_issued = RSA_ROOT.issue()
    assert read_certificate(sha1_signed(issued, ROOT.key)).weak_signature == "signature over sha1"
    assert read_certificate(sha1_signed(rsa_issued, RSA_ROOT.key)).weak_signature == "signature over sha1"
    assert read_certificate(with_algorithm(rsa_issued, MD5_RSA)).weak_signature == "signature over md5"
    assert "unknown kind 1.2.3.4" in read_certificate(with_algorithm(issued, bytes.fromhex("300506032a0304"))).weak_signature
    assert not read_certificate(RSA_ROOT.issue(digest=hashes.SHA512()).der).weak_signature
    assert not read_certificate(RSA_ROOT.issue(pss=True).der).weak_signature


def test_pss_without_parameters_is_sha1() -> None:
    """RFC 4055 3.1: the defaults of RSASSA-PSS are SHA-1."""
    assert read_certificate(with_algorithm(RSA_ROOT.issue(), bytes.fromhex("300d06092a864886f70d01010a3000"))).weak_signature


def test_unknown_critical_extension_is_named() -> None:
    """RFC 5280 4.2."""
    unknown = x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    assert read_certificate(ROOT.issue(extensions=[(unknown, True)]).der).unknown_critical == "1.2.3.4"
    assert read_certificate(ROOT.issue(extensions=[(unknown, False)]).der).unknown_critical == ""
    constraint = x509.PolicyConstraints(require_explicit_policy=0, inhibit_policy_mapping=None)
    assert read_certificate(ROOT.subordinate(extensions=[(constraint, True)]).der).unknown_critical == "2.5.29.36"
    policies = x509.CertificatePolicies([x509.PolicyInformation(ObjectIdentifier("1.2.3"), None)])
    handled = [(policies, True), (x509.InhibitAnyPolicy(0), True)]
    assert read_certificate(ROOT.subordinate(extensions=handled).der).unknown_critical == ""


def test_hints_names_and_times() -> None:
    """Key identifiers, names and validity as encoded."""
    issued = ROOT.issue("x", not_before=NOW - 10, not_after=NOW + 10, names=["a.test"])
    found = read_certificate(issued.der)
    root = read_certificate(ROOT.der)
    assert found.issuer_key_id == root.key_id is not None
    assert (found.not_before, found.not_after) == (NOW - 10, NOW + 10)
    assert (root.self_issued, found.self_issued) == (True, False)
    assert found.alternative_names is not None
    assert found.spki == issued.spki
    assert read_certificate(make_self_signed("x", key_ids=False).der).key_id is None


def test_validity_outside_of_the_calendar_is_an_error() -> None:
    """Year 0 exists in GeneralizedTime only."""
    validity = der_element(0x30, der_element(0x18, b"00000101000000Z") + der_element(0x18, b"20450101000000Z"))
    with pytest.raises(PkiError):
        read_certificate(resign(ROOT.issue().der, swap_element(4, validity), ROOT.key))


def test_the_end_of_time_is_a_time() -> None:
    """RFC 5280 4.1.2.5: 99991231235959Z means no well-defined end."""
    validity = der_element(0x30, der_element(0x17, b"500101000000Z") + der_element(0x18, b"99991231235959Z"))
    found = read_certificate(resign(ROOT.issue().der, swap_element(4, validity), ROOT.key))
    assert found.not_after == 253402300799.0
    assert found.not_before == -631152000.0


def test_curves_by_explicit_parameters_are_refused() -> None:
    """CVE-2020-0601: a curve spelled out may have a generator of the attacker's choice."""
    command = ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-param_enc", "explicit"]
    private = subprocess.run(command, check=True, capture_output=True, timeout=30).stdout
    command = ["openssl", "ec", "-pubout", "-outform", "DER", "-param_enc", "explicit"]
    spki = subprocess.run(command, input=private, check=True, capture_output=True, timeout=30).stdout
    assert len(spki) > 200
    # Swapped for one with another generator would be the attack; the library takes the spelled-out named curve as that curve.
    changed = spki.replace(bytes.fromhex("6b17d1f2e12c4247"), bytes.fromhex("6b17d1f2e12c4248"))
    assert changed != spki
    try:
        assert read_certificate(resign(ROOT.issue().der, swap_element(6, changed), ROOT.key)).weak_key
    except PkiError:
        pass
