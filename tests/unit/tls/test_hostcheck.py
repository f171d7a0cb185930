"""Tests of :mod:`tlsgate.tls.hostcheck`."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID, ObjectIdentifier

from tests.support.certs import SERVER, der_element, distinguished_name, make_authority, resign, swap_element
from tlsgate.pki.der import open_certificate
from tlsgate.tls.hostcheck import find_common_name, find_name_fault

ROOT = make_authority()


def certificate(*names: str, common_name: str = "cn.test", alternative: tuple[x509.GeneralName, ...] = ()) -> x509.Certificate:
    """A server certificate."""
    return ROOT.issue(common_name, usages=SERVER, names=names, alternative=alternative).certificate


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("my_svc.up.test", "my_svc.up.test"),
        ("*.up.test", "my_svc.up.test"),
        ("*.up.test", "ab--cd.up.test"),
        ("ab--cd.up.test", "ab--cd.up.test"),
        ("xn--bcher-kva.up.test", "xn--bcher-kva.up.test"),
        ("*.up.test", "xn--bcher-kva.up.test"),
        ("*.xn--bcher-kva.test", "a.xn--bcher-kva.test"),
        ("Upper.TEST", "upper.test"),
        ("*.UP.test", "a.up.test"),
        ("localhost", "localhost"),
        ("a", "a"),
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8::7", "2001:db8::7"),
    ],
)
def test_names_that_dns_and_certificates_allow_match(name: str, host: str) -> None:
    """B21; RFC 9525 section 6.3."""
    assert find_name_fault(certificate(name), host) is None
    assert find_name_fault(certificate("other.test", name), host) is None


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("other.test", "up.test"),
        ("*.up.test", "up.test"),
        ("*.up.test", "a.b.up.test"),
        ("*.test", "xn--bcher-kva.test"),
        ("a*.up.test", "ab.up.test"),
        ("a.*.test", "a.b.test"),
        ("*", "up"),
        ("*.*.test", "a.b.test"),
        ("xn--*.up.test", "xn--bcher-kva.up.test"),
        ("a-label.up.test", "xn--bcher-kva.up.test"),
        ("192.0.2.7", "192.0.2.8"),
        ("*.0.2.7", "192.0.2.7"),
        ("up.test", "192.0.2.7"),
        ("192.0.2.7", "up.test"),
        ("2001:db8::7", "2001:db8::8"),
    ],
)
def test_other_names_do_not_match(name: str, host: str) -> None:
    """One whole label, leftmost, two labels behind it; addresses only as addresses."""
    fault = find_name_fault(certificate(name), host)
    assert fault is not None and host in fault


def test_an_address_as_dns_name_does_not_count() -> None:
    """RFC 9525 section 6.5: an IP address needs its own type of name."""
    odd = certificate(alternative=(x509.DNSName("192.0.2.7"),))
    assert find_name_fault(odd, "192.0.2.7") is not None


@pytest.mark.parametrize(
    "alternative",
    [(), (x509.DNSName("other.test"),), (x509.RFC822Name("a@cn.test"),), (x509.UniformResourceIdentifier("https://cn.test"),)],
)
def test_the_common_name_never_counts(alternative: tuple[x509.GeneralName, ...]) -> None:
    """B22: not with a SAN, not without one; other types of name are no host names either."""
    assert find_name_fault(certificate(alternative=alternative), "cn.test") is not None


def test_a_name_that_nobody_could_ask_for_spoils_no_other() -> None:
    """Name by name: one malformed entry is passed over."""
    mixed = certificate("good.test", alternative=(x509.DNSName("*.*.bad"), x509.DNSName(""), x509.DNSName("1.2.3.4")))
    assert find_name_fault(mixed, "good.test") is None


@pytest.mark.parametrize("host", ["", ".up.test", "a b", "1234", "a\x00.test"])
def test_a_host_that_is_no_name_matches_nothing(host: str) -> None:
    """Fail closed instead of raising."""
    assert "cannot be the name" in (find_name_fault(certificate("*.up.test"), host) or "")


def test_an_unreadable_extension_matches_nothing() -> None:
    """A SAN that cannot be decoded is no SAN."""
    extension = x509.UnrecognizedExtension(ObjectIdentifier("2.5.29.17"), b"\x04\x00")
    broken = ROOT.issue("cn.test", usages=SERVER, extensions=[(extension, False)]).certificate
    assert "no subject alternative name" in (find_name_fault(broken, "cn.test") or "")


def test_the_fault_names_what_the_certificate_is_for() -> None:
    """An operator sees the mistake; long lists are cut."""
    fault = find_name_fault(certificate(*(f"n{number}.test" for number in range(8))), "up.test")
    assert fault == "certificate is for 'n0.test', 'n1.test', 'n2.test', 'n3.test', 'n4.test' and 3 more, not for up.test"


def test_common_name_is_the_last_one() -> None:
    """As Go's parser leaves it."""
    two = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "first"), x509.NameAttribute(NameOID.COMMON_NAME, "last")])
    assert find_common_name(ROOT.issue(two).certificate) == "last"
    assert find_common_name(ROOT.issue(distinguished_name(organization_name="x")).certificate) is None
    odd = der_element(0x30, der_element(0x31, der_element(0x30, b"\x06\x03\x55\x04\x03" + der_element(0x0C, b"\xff\xfe"))))
    assert find_common_name(open_certificate(resign(ROOT.issue().der, swap_element(5, odd), ROOT.key))) is None
