"""Name constraints."""

from __future__ import annotations

import ipaddress
import time

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID, ObjectIdentifier

from tests.support.certs import der_element, distinguished_name, make_authority, resign, swap_element
from tlsgate.pki.certificate import Certificate, read_certificate
from tlsgate.pki.names import MAX_COMPARISONS, find_violation

ROOT = make_authority("Root")


def _leaf(*alternative: x509.GeneralName, subject: x509.Name | str = "client") -> Certificate:
    return read_certificate(ROOT.issue(subject, alternative=alternative).der)


def _permit(*subtrees: x509.GeneralName) -> x509.NameConstraints:
    return x509.NameConstraints(subtrees, None)


def _exclude(*subtrees: x509.GeneralName) -> x509.NameConstraints:
    return x509.NameConstraints(None, subtrees)


@pytest.mark.parametrize(
    ("constraint", "name", "within"),
    [
        ("example.test", "example.test", True),
        ("example.test", "a.example.test", True),
        ("example.test", "a.b.example.test", True),
        ("EXAMPLE.test", "A.example.TEST", True),
        ("example.test", "example.test.", True),
        ("example.test.", "a.example.test", True),
        ("example.test", "badexample.test", False),
        ("example.test", "example.test.evil", False),
        ("example.test", "test", False),
        (".example.test", "a.example.test", True),
        (".example.test", "example.test", False),
        (".example.test", ".example.test", False),
        ("", "anything.test", True),
        ("example.test", "*.example.test", True),
        ("a.example.test", "*.example.test", False),
    ],
)
def test_dns_subtrees(constraint: str, name: str, within: bool) -> None:
    """RFC 5280 4.2.1.10: whole labels, without case."""
    leaf = _leaf(x509.DNSName(name))
    assert (find_violation(_permit(x509.DNSName(constraint)), leaf) is None) is within


@pytest.mark.parametrize(
    ("constraint", "name", "hit"),
    [
        ("example.test", "a.example.test", True),
        ("example.test", "b.other.test", False),
        ("a.example.test", "*.example.test", True),
        ("deep.a.example.test", "*.example.test", True),
        ("example.test", "*.example.test", True),
        (".example.test", "*.example.test", True),
        ("", "*.example.test", True),
        ("other.test", "*.example.test", False),
        ("badexample.test", "*.example.test", False),
    ],
)
def test_excluded_dns_subtrees(constraint: str, name: str, hit: bool) -> None:
    """A wildcard is excluded as soon as one host of it is (CVE-2025-61727)."""
    leaf = _leaf(x509.DNSName(name))
    assert (find_violation(_exclude(x509.DNSName(constraint)), leaf) is not None) is hit


@pytest.mark.parametrize("name", ["", ".", "a b.test", "a\x00.test", "a\x7f\n.test"])
def test_dns_names_that_cannot_be_compared_are_refused(name: str) -> None:
    """Fails closed, for permitted and excluded alike."""
    leaf = _leaf(x509.DNSName(name))
    assert find_violation(_permit(x509.DNSName("test")), leaf) is not None
    assert find_violation(_exclude(x509.DNSName("other")), leaf) is not None


@pytest.mark.parametrize(
    ("constraint", "name", "within"),
    [
        ("example.test", "a@example.test", True),
        ("example.test", "a@EXAMPLE.test", True),
        ("example.test", "a@b.example.test", False),
        (".example.test", "a@b.example.test", True),
        (".example.test", "a@example.test", False),
        ("a@example.test", "a@example.test", True),
        ("a@example.test", "A@example.test", False),
        ("a@example.test", "b@example.test", False),
        ("a@example.test", "a@other.test", False),
        ("", "a@example.test", True),
        ("example.test", "no-at-sign", False),
        ("example.test", "@example.test", False),
    ],
)
def test_mail_subtrees(constraint: str, name: str, within: bool) -> None:
    """RFC 5280 4.2.1.10: a mailbox, a host, or a domain with a leading dot."""
    leaf = _leaf(x509.RFC822Name._init_without_validation(name))
    assert (find_violation(_permit(x509.RFC822Name._init_without_validation(constraint)), leaf) is None) is within


def test_excluded_mailbox_is_compared_without_case() -> None:
    """Most systems deliver Root and root to one person."""
    rule = _exclude(x509.RFC822Name("root@example.test"))
    assert find_violation(rule, _leaf(x509.RFC822Name("Root@example.test")))
    assert find_violation(rule, _leaf(x509.RFC822Name("toor@example.test"))) is None


@pytest.mark.parametrize(
    ("constraint", "name", "within"),
    [
        ("example.test", "https://example.test/x", True),
        ("example.test", "spiffe://Example.Test/workload", True),
        ("example.test", "https://a.example.test/", False),
        (".example.test", "https://a.example.test:8443/", True),
        (".example.test", "https://example.test/", False),
        ("", "https://example.test/", True),
        ("example.test", "https://example.test@evil.test/", False),
        ("example.test", "urn:example.test", False),
        ("", "https://192.0.2.1/", False),
        ("", "https://[2001:db8::1]/", False),
        ("", "https://[::1/", False),
        ("", "mailto:a@example.test", False),
    ],
)
def test_uri_subtrees(constraint: str, name: str, within: bool) -> None:
    """RFC 5280 4.2.1.10: the host part; a URI without one is refused."""
    leaf = _leaf(x509.UniformResourceIdentifier(name))
    assert (find_violation(_permit(x509.UniformResourceIdentifier(constraint)), leaf) is None) is within


@pytest.mark.parametrize(
    ("network", "address", "within"),
    [
        ("192.0.2.0/24", "192.0.2.255", True),
        ("192.0.2.0/24", "192.0.3.0", False),
        ("2001:db8::/32", "2001:db8:ffff::1", True),
        ("2001:db8::/32", "2001:db9::", False),
        ("192.0.2.0/24", "2001:db8::1", False),
        ("0.0.0.0/0", "203.0.113.9", True),
    ],
)
def test_address_subtrees(network: str, address: str, within: bool) -> None:
    """RFC 5280 4.2.1.10: address and mask."""
    leaf = _leaf(x509.IPAddress(ipaddress.ip_address(address)))
    assert (find_violation(_permit(x509.IPAddress(ipaddress.ip_network(network))), leaf) is None) is within


def test_network_as_a_name_is_refused() -> None:
    """An iPAddress of eight octets names no host."""
    leaf = _leaf(x509.IPAddress(ipaddress.ip_network("192.0.2.0/25")))
    assert find_violation(_permit(x509.IPAddress(ipaddress.ip_network("192.0.2.0/24"))), leaf)


@pytest.mark.parametrize(
    ("constraint", "subject", "within"),
    [
        ({"country_name": "DE"}, {"country_name": "DE", "organization_name": "A"}, True),
        ({"country_name": "DE", "organization_name": "A  b"}, {"country_name": "de", "organization_name": "a B"}, True),
        ({"country_name": "DE", "organization_name": "A"}, {"country_name": "DE", "organization_name": "B"}, False),
        ({"country_name": "DE", "organization_name": "A"}, {"country_name": "DE"}, False),
        ({"organization_name": "A"}, {"country_name": "DE", "organization_name": "A"}, False),
        ({}, {"country_name": "DE"}, True),
    ],
)
def test_directory_subtrees(constraint: dict[str, str], subject: dict[str, str], within: bool) -> None:
    """RFC 5280 4.2.1.10 and 7.1: the constraint is a prefix of the subject, compared without case and spacing."""
    rule = _permit(x509.DirectoryName(distinguished_name(**constraint)))
    assert (find_violation(rule, _leaf(subject=distinguished_name("client", **subject))) is None) is within
    alternative = _leaf(x509.DirectoryName(distinguished_name(**subject)), subject=x509.Name([]))
    assert (find_violation(rule, alternative) is None) is within


def test_multi_valued_attributes_and_bit_strings_are_compared_as_sets() -> None:
    """RFC 5280 7.1."""
    unique = x509.NameAttribute(NameOID.X500_UNIQUE_IDENTIFIER, b"\x00\x01", x509.name._ASN1Type.BitString)
    common = x509.NameAttribute(NameOID.COMMON_NAME, "a")
    one = x509.Name([x509.RelativeDistinguishedName([common, unique])])
    other = x509.Name([x509.RelativeDistinguishedName([unique, common])])
    assert find_violation(_permit(x509.DirectoryName(one)), _leaf(subject=other)) is None
    assert find_violation(_permit(x509.DirectoryName(one)), _leaf(subject="a")) is not None


def test_empty_subject_is_no_directory_name() -> None:
    """RFC 5280 6.1.3 (b): only a non-empty subject is compared."""
    rule = _permit(x509.DirectoryName(distinguished_name("other")), x509.DNSName("test"))
    assert find_violation(rule, _leaf(x509.DNSName("a.test"), subject=x509.Name([]))) is None


def test_mail_addresses_in_the_subject_count() -> None:
    """RFC 5280 4.2.1.10: emailAddress attributes are mail names."""
    rule = _permit(x509.RFC822Name("example.test"))
    assert find_violation(rule, _leaf(subject=distinguished_name("x", email_address="a@example.test"))) is None
    assert find_violation(rule, _leaf(subject=distinguished_name("x", email_address="a@evil.test")))


@pytest.mark.parametrize(
    ("common_name", "alternative", "within"),
    [
        ("a.example.test", (), True),
        ("a.evil.test", (), False),
        ("*.evil.test", (), False),
        ("Client Number 1.5", (), True),
        ("client", (), True),
        ("a.evil.test", (x509.DNSName("b.example.test"),), True),
        ("a.evil.test", (x509.RFC822Name("a@example.test"),), False),
    ],
)
def test_common_names_that_look_like_hosts_count(common_name: str, alternative: tuple[x509.GeneralName, ...], within: bool) -> None:
    """As in OpenSSL: only without a dNSName."""
    leaf = _leaf(*alternative, subject=common_name)
    assert (find_violation(_permit(x509.DNSName("example.test")), leaf) is None) is within


def test_forms_without_constraint_are_free() -> None:
    """RFC 5280 4.2.1.10: constraints bind only names of their form."""
    leaf = _leaf(x509.UniformResourceIdentifier("spiffe://x/y"), x509.RFC822Name("a@b.test"))
    assert find_violation(_permit(x509.DNSName("example.test")), leaf) is None


def test_forms_that_cannot_be_compared_are_refused_when_present() -> None:
    """RFC 5280 4.2.1.10: process or reject."""
    other = x509.OtherName(ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), b"\x0c\x01a")
    registered = x509.RegisteredID(ObjectIdentifier("1.2.3"))
    for name in (other, registered):
        for rule in (_permit(name), _exclude(name)):
            assert "not supported" in (find_violation(rule, _leaf(name)) or "")
            assert find_violation(rule, _leaf(x509.DNSName("a.test"))) is None


def test_excluded_beats_permitted() -> None:
    """RFC 5280 4.2.1.10."""
    rule = x509.NameConstraints([x509.DNSName("example.test")], [x509.DNSName("bad.example.test")])
    assert find_violation(rule, _leaf(x509.DNSName("a.example.test"))) is None
    assert find_violation(rule, _leaf(x509.DNSName("a.bad.example.test")))


def test_every_name_counts() -> None:
    """One bad name among good ones is enough."""
    leaf = _leaf(x509.DNSName("a.example.test"), x509.DNSName("a.evil.test"), x509.DNSName("b.example.test"))
    assert "a.evil.test" in (find_violation(_permit(x509.DNSName("example.test")), leaf) or "")


@pytest.mark.parametrize("value", [der_element(0x0C, b"\xff\xfe"), der_element(0x03, b"\x00\x01")])
def test_names_that_cannot_be_read_are_refused(value: bytes) -> None:
    """A subject with broken UTF-8, or with a value of another type."""
    subject = der_element(0x30, der_element(0x31, der_element(0x30, bytes.fromhex("0603550403") + value)))
    leaf = read_certificate(resign(ROOT.issue().der, swap_element(5, subject), ROOT.key))
    assert "cannot be read" in (find_violation(_permit(x509.DNSName("test")), leaf) or "")


def test_names_of_odd_length_are_compared_without_warning() -> None:
    """A country of one letter."""
    attribute = der_element(0x30, bytes.fromhex("0603550406") + der_element(0x0C, b"D"))
    subject = der_element(0x30, der_element(0x31, attribute))
    leaf = read_certificate(resign(ROOT.issue().der, swap_element(5, subject), ROOT.key))
    assert find_violation(_permit(x509.DirectoryName(distinguished_name(organization_name="A"))), leaf)
    assert find_violation(_permit(x509.DirectoryName(x509.Name([]))), leaf) is None


@pytest.mark.parametrize("extra", [0, 1])
def test_work_is_bounded(extra: int) -> None:
    """Names times constraints: at the limit and one above."""
    constraints = 100
    names = MAX_COMPARISONS // constraints - 1 + extra  # the subject is a name, too
    rule = _exclude(*(x509.DNSName(f"x{number}.test") for number in range(constraints)))
    leaf = _leaf(*(x509.DNSName(f"n{number}.test") for number in range(names)))
    started = time.perf_counter()
    assert (find_violation(rule, leaf) is not None) is bool(extra)
    assert time.perf_counter() - started < 1
