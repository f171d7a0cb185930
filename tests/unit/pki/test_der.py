"""Slices of certificates and opening them quietly."""

from __future__ import annotations

import warnings

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from tests.support.certs import der_element, der_parts, make_authority, make_self_signed, resign, swap_element, with_serial
from tlsgate.errors import PkiError
from tlsgate.pki.der import check_structure, open_certificate, read_slices, split_elements

ROOT = make_authority("Root")
LEAF = ROOT.issue("leaf", serial=0x1234)


def test_slices_are_the_bytes_of_the_certificate() -> None:
    """RFC 5280 4.1: names and key as encoded."""
    slices = read_slices(LEAF.der)
    assert slices.serial == b"\x12\x34"
    assert slices.issuer == ROOT.certificate.subject.public_bytes()
    assert slices.subject == LEAF.certificate.subject.public_bytes()
    assert slices.spki == LEAF.spki


def test_version_1_has_no_version_element() -> None:
    """RFC 5280 4.1.2.1: version is absent in version 1."""
    der = resign(LEAF.der, lambda parts: parts[1:-1], ROOT.key)
    assert read_slices(der) == read_slices(LEAF.der)
    assert open_certificate(der).version is x509.Version.v1


def test_every_cut_is_an_error_and_nothing_else() -> None:
    """A shortened certificate is never read as a shorter one."""
    for length in range(len(LEAF.der)):
        with pytest.raises(PkiError):
            read_slices(LEAF.der[:length])
        with pytest.raises(PkiError):
            check_structure(LEAF.der[:length])
    for reader in (read_slices, check_structure, open_certificate):
        with pytest.raises(PkiError):
            reader(LEAF.der + b"\x00")


@pytest.mark.parametrize("length", ["80", "85", "8500000001", "84ffffffff", "82ff"])
def test_bad_lengths_are_errors(length: str) -> None:
    """Indefinite, over-long and over-large lengths."""
    with pytest.raises(PkiError):
        read_slices(b"\x30" + bytes.fromhex(length))


@given(st.binary(max_size=64), st.integers(0, len(LEAF.der)))
def test_garbage_gives_slices_or_pki_error(junk: bytes, at: int) -> None:
    """Nothing else escapes, whatever the peer sent."""
    for data in (junk, LEAF.der[:at] + junk + LEAF.der[at + len(junk) :]):
        for reader in (read_slices, open_certificate):
            try:
                reader(data)
            except PkiError:
                pass


@pytest.mark.parametrize("content", [b"\xff", b"\x00", b"\x80" + bytes(20), b"\x00\x80" + bytes(19), b"\x01" * 300])
def test_odd_serials_open_without_warning(content: bytes) -> None:
    """B12: negative, zero and very long serial numbers, with warnings as errors."""
    der = with_serial(LEAF, ROOT.key, content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_certificate(der)
        check_structure(der)
    assert read_slices(der).serial == content


def test_policy_text_of_the_wrong_type_opens_without_warning() -> None:
    """The library warns about UTF-8 in a VisibleString of certificate policies."""
    text = der_element(0x1A, "ü".encode())
    qualifier = der_element(0x30, bytes.fromhex("06082b06010505070202") + der_element(0x30, text))
    policies = der_element(0x30, der_element(0x30, bytes.fromhex("06022a03") + der_element(0x30, qualifier)))
    extension = der_element(0x30, bytes.fromhex("0603551d20") + der_element(0x04, policies))
    der = resign(LEAF.der, swap_element(7, der_element(0xA3, der_element(0x30, extension))), ROOT.key)
    with pytest.warns(Warning, match="VisibleString"):
        _ = x509.load_der_x509_certificate(der).extensions
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_certificate(der)


def test_odd_serial_in_a_key_identifier_opens_without_warning() -> None:
    """authorityKeyIdentifier may name its issuer by name and serial, here 0."""
    name = der_element(0xA1, der_element(0xA4, ROOT.certificate.subject.public_bytes()))
    identifier = der_element(0x30, name + b"\x82\x01\x00")
    extension = der_element(0x30, bytes.fromhex("0603551d23") + der_element(0x04, identifier))
    der = resign(LEAF.der, swap_element(7, der_element(0xA3, der_element(0x30, extension))), ROOT.key)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_certificate(der).issuer == ROOT.certificate.subject


def test_odd_name_in_an_extension_opens_without_warning() -> None:
    """A subjectAltName directory name with a country of one letter."""
    attribute = der_element(0x30, bytes.fromhex("0603550406") + der_element(0x0C, b"D"))
    name = der_element(0x30, der_element(0x31, attribute))
    names = der_element(0x30, der_element(0xA4, name))
    extension = der_element(0x30, bytes.fromhex("0603551d11") + der_element(0x04, names))
    der = resign(LEAF.der, swap_element(7, der_element(0xA3, der_element(0x30, extension))), ROOT.key)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_certificate(der)


def test_what_only_the_fallback_catches_opens_without_warning() -> None:
    """The same with an attribute outside of 2.5.4, where the quick look finds nothing."""
    kind = bytes.fromhex("060b2b0601040182373c020103")  # jurisdictionCountryName
    name = der_element(0x30, der_element(0x31, der_element(0x30, kind + der_element(0x0C, b"D"))))
    names = der_element(0x30, der_element(0xA4, name))
    extension = der_element(0x30, bytes.fromhex("0603551d11") + der_element(0x04, names))
    der = resign(LEAF.der, swap_element(7, der_element(0xA3, der_element(0x30, extension))), ROOT.key)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_certificate(der)


def test_elements_are_split() -> None:
    """Any tags; nothing may be left over."""
    parts = [der_element(0x05, b""), der_element(0x30, b"x" * 200), der_element(0xA1, b"y")]
    assert split_elements(b"".join(parts)) == parts
    assert split_elements(b"") == []
    for broken in (b"\x05", b"\x05\x01", b"\x05\x00\x30", b"\x05\x80"):
        with pytest.raises(ValueError, match="not a certificate"):
            split_elements(broken)


def test_broken_extension_is_told_apart_from_broken_structure() -> None:
    """A certificate with an extension that cannot be decoded is one, but cannot be used."""
    extension = der_element(0x30, bytes.fromhex("0603551d13") + der_element(0x04, b"\x05\x00"))
    for extensions in (extension, extension + extension):
        der = resign(LEAF.der, swap_element(7, der_element(0xA3, der_element(0x30, extensions))), ROOT.key)
        check_structure(der)
        with pytest.raises(PkiError, match="cannot be read"):
            open_certificate(der)


def test_parts_of_the_test_builder_agree_with_the_reader() -> None:
    """The builder that patches DER splits it as the reader does."""
    own = make_self_signed("x")
    tbs = der_parts(der_parts(own.der)[0][4:])[0]
    assert read_slices(own.der).subject in tbs
