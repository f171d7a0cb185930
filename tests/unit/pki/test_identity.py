"""What a peer proved."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from tests.support.certs import (
    NOW,
    SERVER,
    der_element,
    distinguished_name,
    make_authority,
    make_self_signed,
    pem_of,
    resign,
    sha1_signed,
    swap_element,
    with_serial,
)
from tlsgate.errors import PkiError
from tlsgate.pki.acl import build_allow_list
from tlsgate.pki.identity import MAX_CHAIN, MAX_CHAIN_BYTES, build_identity, format_issuer, format_name, format_subject, spki_sha256
from tlsgate.pki.pem import parse_pem

ROOT = make_authority("Root")


def test_facts_of_the_leaf() -> None:
    """Fingerprint, subject, validity, roles, serial."""
    issued = ROOT.issue(distinguished_name("client, 1", organization_name="A+B"), not_before=NOW - 5, not_after=NOW + 5, serial=0xAB12)
    peer = build_identity(issued.der, (ROOT.der,))
    assert peer.fingerprint == issued.fingerprint
    assert peer.subject == r"CN=client\, 1,O=A\+B"
    assert (peer.not_before, peer.not_after) == (NOW - 5, NOW + 5)
    assert (peer.is_ca, peer.client_usage, peer.readable, peer.serial, peer.weakness) == (False, True, True, "ab12", "")
    assert peer.chain == (ROOT.der,)
    assert build_identity(ROOT.der, ()).is_ca
    assert not build_identity(ROOT.issue(usages=SERVER).der, ()).client_usage


def test_weakness_is_told() -> None:
    """RSA-1024, SHA-1."""
    assert build_identity(ROOT.issue(kind="rsa-1024").der, ()).weakness == "RSA key of 1024 bits"
    assert build_identity(sha1_signed(ROOT.issue(), ROOT.key), ()).weakness == "signature over sha1"


@pytest.mark.parametrize(
    ("content", "serial"),
    [
        (b"\xff", "-1"),
        (b"\x00", "0"),
        (b"\x00" + (1 << 159).to_bytes(20, "big"), "8" + 39 * "0"),
        (b"\x01" + bytes(25), "1" + 50 * "0"),
        (b"\x7f" * 400, "7f" * 64),
    ],
)
def test_odd_serials(content: bytes, serial: str) -> None:
    """B12: shown with their sign, cut, no warning and no exception."""
    peer = build_identity(with_serial(ROOT.issue(), ROOT.key, content), ())
    assert peer.readable
    assert peer.serial == serial


@given(st.binary(max_size=100), st.lists(st.binary(max_size=20), max_size=20))
def test_nothing_raises(leaf: bytes, chain: list[bytes]) -> None:
    """What cannot be read is not readable and valid at no time."""
    peer = build_identity(leaf, chain)
    assert not peer.readable
    assert peer.fingerprint == hashlib.sha256(leaf).hexdigest()
    assert not peer.not_before <= NOW <= peer.not_after
    assert len(peer.chain) <= MAX_CHAIN


@given(st.data())
def test_changed_octets_never_raise(data: st.DataObject) -> None:
    """A certificate with up to three octets changed."""
    der = bytearray(_ORDINARY)
    for _ in range(3):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    peer = build_identity(bytes(der), (bytes(der), _ORDINARY))
    _LIST.judge(peer, NOW)


_ORDINARY = ROOT.issue("client", names=["a.test"]).der
_LIST = build_allow_list([parse_pem(ROOT.pem)])


def test_chain_is_bounded_in_number() -> None:
    """n-1, n, n+1 certificates."""
    certificates = [bytes([number]) * 10 for number in range(MAX_CHAIN + 1)]
    for number in (0, MAX_CHAIN - 1, MAX_CHAIN, MAX_CHAIN + 1):
        assert build_identity(_ORDINARY, certificates[:number]).chain == tuple(certificates[: min(number, MAX_CHAIN)])
    assert build_identity(_ORDINARY, certificates, max_chain=2).chain == tuple(certificates[:2])
    assert build_identity(_ORDINARY, certificates, max_chain=0).chain == ()


def test_chain_is_bounded_in_bytes() -> None:
    """n-1, n, n+1 bytes."""
    half = MAX_CHAIN_BYTES // 2
    for size, kept in ((half - 1, 2), (half, 2), (half + 1, 1)):
        assert len(build_identity(_ORDINARY, (bytes(half), b"\x01" * size)).chain) == kept


def test_the_leaf_is_not_part_of_its_chain() -> None:
    """Some libraries return it in front."""
    assert build_identity(_ORDINARY, (_ORDINARY, ROOT.der, _ORDINARY)).chain == (ROOT.der,)


def test_names_of_both_forms_read_alike() -> None:
    """A library name, and the subject of a certificate; anything else is named as such."""
    name = distinguished_name("a\nb", country_name="DE")
    issued = ROOT.issue(name)
    assert format_name(name) == format_subject(issued.der) == build_identity(issued.der, ()).subject == r"CN=a\0Ab,C=DE"
    assert len(format_name(name, 5)) == len(format_subject(issued.der, 5)) == 5
    assert format_subject(b"junk") == format_issuer(b"junk") == "(unreadable certificate)"
    assert format_issuer(issued.der) == format_subject(ROOT.der)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (der_element(0x0C, b"\xff\xfe"), "CN=#0c02fffe"),
        (der_element(0x03, b"\x00\x01"), "CN=#03020001"),
        (b"\x05\x00", "CN=#0500"),
        (der_element(0x0C, b""), "CN="),
        (der_element(0x0C, b"x" * 65), "CN=" + "x" * 65),
    ],
)
def test_odd_subject_is_still_a_certificate(value: bytes, text: str) -> None:
    """The library raises or warns; a connection is described all the same."""
    subject = der_element(0x30, der_element(0x31, der_element(0x30, bytes.fromhex("0603550403") + value)))
    peer = build_identity(resign(ROOT.issue().der, swap_element(5, subject), ROOT.key), ())
    assert (peer.readable, peer.subject) == (True, text)


def test_empty_subject() -> None:
    """RFC 5280 4.1.2.6 allows it beside a critical subjectAltName."""
    assert build_identity(ROOT.issue(x509.Name([]), names=["a.test"]).der, ()).subject == ""


@pytest.fixture(params=["UTC", "America/Los_Angeles", "Pacific/Auckland"])
def _zone(request: pytest.FixtureRequest) -> Iterator[str]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = request.param
    time.tzset()
    yield request.param
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


@pytest.mark.usefixtures("_zone")
@pytest.mark.parametrize(
    ("begins", "ends", "refusal"),
    [(-300, 86400, None), (-86400, -300, "cert.expired"), (300, 86400, "cert.not_allowed"), (-86400, 300, None)],
)
def test_time_zone_of_the_host_does_not_matter(begins: float, ends: float, refusal: str | None) -> None:
    """B17: validity is UTC."""
    issued = make_self_signed("x", not_before=NOW + begins, not_after=NOW + ends)
    peer = build_identity(issued.der, ())
    assert (peer.not_before, peer.not_after) == (NOW + begins, NOW + ends)
    assert build_allow_list([parse_pem(issued.pem)]).judge(peer, NOW).refusal == refusal


def test_spki_digest_is_that_of_the_public_key() -> None:
    """RFC 7469 2.4, over the bytes as encoded."""
    issued = ROOT.issue()
    assert spki_sha256(issued.der) == hashlib.sha256(issued.spki).digest()
    assert parse_pem(pem_of(issued.spki, "PUBLIC KEY")).public_keys == (issued.spki,)
    with pytest.raises(PkiError):
        spki_sha256(b"junk")
