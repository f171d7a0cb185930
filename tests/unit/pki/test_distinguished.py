"""Distinguished names as log text."""

from __future__ import annotations

import time

import pytest
from cryptography import x509
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from tests.support.certs import der_element, distinguished_name
from tlsgate.pki.distinguished import MAX_NAME, format_der_name, parse_der_name

COMMON_NAME = bytes.fromhex("0603550403")


def _name(*pairs: bytes) -> bytes:
    return der_element(0x30, b"".join(der_element(0x31, der_element(0x30, pair)) for pair in pairs))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("client", "client"),
        ("Käse", "Käse"),
        ("a, b+c", r"a\, b\+c"),
        ('"<;>\\', r"\"\<\;\>\\"),
        ("#1", r"\#1"),
        ("a#1", "a#1"),
        (" x ", r"\ x\ "),
        (" ", r"\ "),
        ("", ""),
        ("line\nbreak", r"line\0Abreak"),
        ("nul\x00", r"nul\00"),
        ("\x1b[31m", r"\1B[31m"),
        ("\u202ertl", r"\E2\80\AErtl"),
    ],
)
def test_values(value: str, text: str) -> None:
    """RFC 4514 2.4; everything unprintable as its UTF-8 octets, since logs are read on terminals."""
    shown = format_der_name(_name(COMMON_NAME + der_element(0x0C, value.encode())))
    assert shown == f"CN={text}"
    assert shown.isprintable()


@pytest.mark.parametrize(
    ("tag", "content", "text"),
    [
        (0x12, b"123", "123"),
        (0x13, b"abc", "abc"),
        (0x14, b"caf\xe9", "café"),
        (0x16, b"a@b", "a@b"),
        (0x1A, b"abc", "abc"),
        (0x1C, "x€".encode("utf-32-be"), "x€"),
        (0x1E, "x€".encode("utf-16-be"), "x€"),
        (0x1E, b"\xd8\x00", "#1e02d800"),
        (0x13, b"\xe9", "#1301e9"),
        (0x0C, b"\xff", "#0c01ff"),
        (0x02, b"\x01", "#020101"),
    ],
)
def test_types_of_strings(tag: int, content: bytes, text: str) -> None:
    """X.520 DirectoryString and IA5String; anything else in hexadecimal."""
    assert format_der_name(_name(COMMON_NAME + der_element(tag, content))) == f"CN={text}"


def test_order_and_short_names() -> None:
    """RFC 4514 2.1: the last part first; names of section 3, numbers for the rest."""
    name = distinguished_name("c", country_name="DE", domain_component="dc", email_address="a@b")
    assert format_der_name(name.public_bytes()) == "CN=c,1.2.840.113549.1.9.1=a@b,DC=dc,C=DE"
    assert format_der_name(x509.Name([]).public_bytes()) == ""
    pair = x509.RelativeDistinguishedName(
        [x509.NameAttribute(NameOID.COMMON_NAME, "a"), x509.NameAttribute(NameOID.USER_ID, "b", _ASN1Type.UTF8String)]
    )
    assert sorted(format_der_name(x509.Name([pair]).public_bytes()).split("+")) == ["CN=a", "UID=b"]


def test_agreement_with_the_library() -> None:
    """On ordinary names of all short attributes."""
    name = distinguished_name(
        "c d", country_name="DE", state_or_province_name="x, y", locality_name="é", organization_name="#o", street_address="s+t"
    )
    assert format_der_name(name.public_bytes()) == name.rfc4514_string()


@pytest.mark.parametrize("oid", ["2.999.3", "0.39.1", "1.0.1", "1.39.16384.1", "2.48.1.127.128"])
def test_object_identifiers(oid: str) -> None:
    """X.690 8.19."""
    attribute = x509.NameAttribute(x509.ObjectIdentifier(oid), "v", _ASN1Type.UTF8String)
    assert format_der_name(x509.Name([attribute]).public_bytes()) == f"{oid}=v"


@pytest.mark.parametrize(
    "der",
    [
        b"",
        b"\x30",
        b"\x31\x00",
        b"\x30\x00\x30\x00",
        _name(b""),
        _name(COMMON_NAME),
        _name(COMMON_NAME + b"\x05\x00" * 2),
        _name(b"\x06\x00\x05\x00"),
        _name(b"\x06\x02\x55\x84\x05\x00"),
        _name(b"\x05\x00\x05\x00"),
        _name(der_element(0x06, b"\x55" * 65) + b"\x05\x00"),
        der_element(0x30, der_element(0x30, b"")),
    ],
)
def test_broken_names(der: bytes) -> None:
    """One text for all of them."""
    assert format_der_name(der) == "(unreadable name)"


def test_long_names_are_cut() -> None:
    """n-1, n, n+1 characters."""
    for length in (16, 17, 18):
        shown = format_der_name(distinguished_name("x" * length).public_bytes(), 20)
        assert shown == ("CN=" + "x" * length if length < 18 else "CN=" + "x" * 16 + "…")


def test_huge_names_cost_little() -> None:
    """64 KiB of control characters, and of tiny parts."""
    started = time.perf_counter()
    for name in (_name(COMMON_NAME + der_element(0x0C, b"\n" * 65000)), _name(*[COMMON_NAME + b"\x0c\x01x"] * 5000)):
        assert len(format_der_name(name)) == MAX_NAME
    assert time.perf_counter() - started < 1


@given(st.binary(max_size=80), st.integers(0, 80))
def test_garbage_gives_text(junk: bytes, at: int) -> None:
    """Never an exception, always printable."""
    good = distinguished_name("client", country_name="DE").public_bytes()
    for der in (junk, good[:at] + junk, good[:at] + junk[:1] + good[at + 1 :]):
        assert format_der_name(der).isprintable()


def test_attributes_are_split_in_their_order() -> None:
    """For the control API; what is no text is hex, a broken name has none."""
    name = x509.Name([x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"), x509.NameAttribute(NameOID.COMMON_NAME, "ä, b")])
    assert parse_der_name(name.public_bytes()) == [((2, 5, 4, 6), "DE"), ((2, 5, 4, 3), "ä, b")]
    for value in ("0303000102", "0c02ff41"):
        assert parse_der_name(_name(COMMON_NAME + bytes.fromhex(value))) == [((2, 5, 4, 3), f"#{value}")]
    assert parse_der_name(b"\x30\x01") == []
