"""Tests of :mod:`tlsgate.tls.announce`."""

from __future__ import annotations

import pytest
from cryptography import x509
from OpenSSL import SSL

from tests.support.certs import SERVER, Issued, der_element, distinguished_name, make_authority
from tests.support.handshakes import VERSIONS, client_context, shake
from tlsgate.tls.announce import ANNOUNCE_LIMIT_BYTES, announce_names, fits_announcement

SERVER_CERTIFICATE = make_authority().issue("s", names=["a.test"], usages=SERVER)


def name_of(size: int) -> bytes:
    """A DER name of exactly so many bytes (over 300)."""
    parts = []
    left = size - 4
    while left > 0:
        take = min(left, 80) if left - min(left, 80) == 0 or left - min(left, 80) >= 12 else left - 12
        value = der_element(0x0C, b"x" * (take - 11))
        parts.append(der_element(0x31, der_element(0x30, b"\x06\x03\x55\x04\x0a" + value)))
        left -= len(parts[-1])
    name = der_element(0x30, b"".join(parts))
    assert len(name) == size, (len(name), size)
    return name


def announced(names: list[bytes], version: int, issued: Issued = SERVER_CERTIFICATE) -> list[bytes]:
    """What a client is told."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate(issued.certificate)
    context.use_privatekey(issued.key)
    context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
    announce_names(context, names)
    dialogue = shake(context, client_context(version))
    assert not dialogue.refused
    return [name.der() for name in dialogue.client.get_client_ca_list()]


@pytest.mark.parametrize("version", VERSIONS)
def test_names_arrive_as_the_bytes_that_were_signed(version: int) -> None:
    """No re-encoding: a T61String, an empty name, upper case and blanks stay."""
    names = [
        make_authority(distinguished_name("CA One", organization_name="Ünïcode")).certificate.subject.public_bytes(),
        der_element(0x30, der_element(0x31, der_element(0x30, b"\x06\x03\x55\x04\x0a" + der_element(0x14, b"T61  Name")))),
        b"\x30\x00",
    ]
    assert announced(names, version) == names


@pytest.mark.parametrize("version", VERSIONS)
def test_the_largest_list_that_fits_can_be_sent(version: int) -> None:
    """B2's border: 16,384 bytes with two bytes of length each."""
    names = [name_of(510 if number < 31 else 512 - 2) for number in range(32)]
    assert sum(len(name) + 2 for name in names) == ANNOUNCE_LIMIT_BYTES
    assert fits_announcement(names)
    assert announced(names, version) == names


def test_one_byte_more_does_not_fit() -> None:
    """n-1, n, n+1."""
    names = [bytes(ANNOUNCE_LIMIT_BYTES - 2)]
    assert fits_announcement(names)
    assert fits_announcement([names[0][1:]])
    assert not fits_announcement([names[0] + b"x"])
    assert not fits_announcement([*names, b""])
    assert fits_announcement([])


@pytest.mark.parametrize("odd", [b"", b"\x30\x02\x01", b"\x04\x00", b"\x30\x03\x31\x01\x00"])
def test_a_name_that_cannot_be_read_is_left_out(odd: bytes) -> None:
    """The list is a hint: one odd name fails no listener."""
    good = x509.Name.from_rfc4514_string("CN=good").public_bytes()
    assert announced([odd, good], VERSIONS[1]) == [good]
