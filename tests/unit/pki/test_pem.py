"""PEM texts as people paste them."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, x25519
from hypothesis import given
from hypothesis import strategies as st

from tests.support.certs import key, key_pem, make_authority, make_self_signed, pem_of, resign, swap_element, with_serial
from tlsgate.errors import PkiError
from tlsgate.pki.pem import PemBundle, find_labels, key_matches, parse_pem

ROOT = make_authority("Root")
LEAF = ROOT.issue("leaf")
TRADITIONAL = serialization.PrivateFormat.TraditionalOpenSSL
EC_PARAMETERS = "-----BEGIN EC PARAMETERS-----\nBgUrgQQAIg==\n-----END EC PARAMETERS-----\n"


def test_order_of_blocks_does_not_matter() -> None:
    """Key first, last or in the middle; the first certificate is the leaf."""
    for text in (LEAF.key_pem + LEAF.pem + ROOT.pem, LEAF.pem + LEAF.key_pem + ROOT.pem, LEAF.pem + ROOT.pem + LEAF.key_pem):
        bundle = parse_pem(text)
        assert bundle.certificates == (LEAF.der, ROOT.der)
        assert bundle.leaf == LEAF.der
        assert bundle.private_key is not None
        assert key_matches(LEAF.der, bundle.private_key)
        assert not key_matches(ROOT.der, bundle.private_key)


def _lines(change: str, at: int) -> str:
    lines = LEAF.pem.splitlines()
    return "\n".join([*lines[:at], change, *lines[at:]])


@pytest.mark.parametrize(
    "text",
    [
        LEAF.pem.replace("\n", "\r\n"),
        LEAF.pem.replace("\n", "\r"),
        "\ufeff" + LEAF.pem,
        "\ufeff".encode() + LEAF.pem.encode(),
        LEAF.pem.encode("utf-16"),
        b"\xfe\xff" + LEAF.pem.encode("utf-16-be"),
        _lines("", 1),
        _lines("", 3),
        _lines("\t ", 3),
        LEAF.pem.replace("\n", " \n"),
        LEAF.pem.replace("\n", "\t\r\n"),
        LEAF.pem.rstrip(),
        "\n\n  " + LEAF.pem + "  \n\n",
        LEAF.pem.replace("\n", " "),
        LEAF.pem.replace("\n", "\\n"),
        LEAF.pem.replace("\n", "\\r\\n"),
        LEAF.pem.replace("\n", ""),
        "Bag Attributes\n    friendlyName: café\nsubject=/CN=x\n" + LEAF.pem + "trailing words",
        LEAF.pem.replace("-----\nMI", "-----\nX-Note: a: b\nX-More: c\n\nMI", 1),
    ],
    ids=range(19),
)
def test_edited_text_gives_the_same_certificate(text: str | bytes) -> None:
    """B7: byte order marks, CRLF, blank lines, trailing blanks, one-line pastes; never a shortened certificate."""
    assert parse_pem(text).certificates == (LEAF.der,)


def test_only_a_body_of_its_own_counts() -> None:
    """A missing or foreign END line never joins two blocks."""
    broken = (
        LEAF.pem.replace("-----END CERTIFICATE-----\n", "") + ROOT.pem,
        LEAF.pem.replace("-----END CERTIFICATE-----", "-----END PRIVATE KEY-----"),
        LEAF.pem.replace("-----END CERTIFICATE-----", "-----END CERTIFICATE----"),
        LEAF.pem[:-40],
        "x\n-----BEGIN CERTIFICATE\n" + "A" * 80,
    )
    for text in broken:
        with pytest.raises(PkiError, match=r"line [12]\)"):
            parse_pem(text)


@pytest.mark.parametrize("junk", ["*", "=", "====", "\u00fc", "A", "AAAA", "-", "\x00"])
def test_stray_characters_are_named_not_skipped(junk: str) -> None:
    """B7: never a shortened certificate; the text names the line."""
    lines = LEAF.pem.splitlines()
    lines[2] = lines[2][:10] + junk + lines[2][10:]
    with pytest.raises(PkiError, match=r"line 3"):
        parse_pem("\n".join(["", "", *lines]))


def test_data_after_the_padding_is_an_error() -> None:
    """Two bodies in one block are not cut to the first."""
    body = LEAF.pem.split("-----")[2]
    with pytest.raises(PkiError):
        parse_pem(f"-----BEGIN CERTIFICATE-----{body}{body}-----END CERTIFICATE-----")


def test_broken_der_names_the_line() -> None:
    """Good base64 of something else."""
    with pytest.raises(PkiError, match=r"line 1: certificate cannot be read"):
        parse_pem(pem_of(b"\x30\x03\x02\x01\x01"))


def test_certificate_with_broken_extension_does_not_spoil_a_bundle() -> None:
    """Whoever uses it decides; the others of a CA file must load."""
    der = resign(LEAF.der, swap_element(7, bytes.fromhex("a30d300b30090603551d1304020500")), ROOT.key)
    assert parse_pem(pem_of(der) + ROOT.pem).certificates == (der, ROOT.der)


@pytest.mark.parametrize("content", [b"\xff", b"\x00", b"\x00\x80" + bytes(19), b"\x01" * 26])
def test_odd_serials_are_read(content: bytes) -> None:
    """B12."""
    der = with_serial(LEAF, ROOT.key, content)
    assert parse_pem(pem_of(der)).leaf == der


@pytest.mark.parametrize("kind", ["p256", "p384", "p521", "rsa-2048", "ed25519", "ed448"])
def test_kinds_of_private_key(kind: str) -> None:
    """PKCS#8 of every kind; PKCS#1 and SEC1 where they exist."""
    private_key = key(kind, "leaf")
    forms = [serialization.PrivateFormat.PKCS8]
    if not kind.startswith("ed"):
        forms.append(TRADITIONAL)
    issued = ROOT.issue("x", private_key=private_key)
    for form in forms:
        bundle = parse_pem(issued.pem + key_pem(private_key, form))
        assert bundle.private_key is not None
        assert key_matches(issued.der, bundle.private_key)


@pytest.mark.parametrize("first", [True, False])
def test_ec_parameters_block_is_ignored(first: bool) -> None:
    """B9: openssl ecparam -genkey writes two blocks."""
    issued = ROOT.issue("x", kind="p384")
    text = EC_PARAMETERS + key_pem(issued.key, TRADITIONAL)
    bundle = parse_pem(text + issued.pem if first else issued.pem + text)
    assert bundle.private_key is not None
    assert key_matches(issued.der, bundle.private_key)
    assert parse_pem(EC_PARAMETERS + issued.pem).private_key is None
    with pytest.raises(PkiError, match="no certificate and no key"):
        parse_pem(EC_PARAMETERS)


def test_output_of_openssl_ecparam() -> None:
    """B9 with the real tool."""
    command = ["openssl", "ecparam", "-name", "secp384r1", "-genkey"]
    text = subprocess.run(command, check=True, capture_output=True, timeout=30).stdout
    assert b"EC PARAMETERS" in text
    assert parse_pem(text).private_key is not None


def test_second_private_key_is_refused() -> None:
    """mTLS reference section 2."""
    with pytest.raises(PkiError, match="Found multiple private keys"):
        parse_pem(LEAF.key_pem + LEAF.pem + ROOT.key_pem)


def test_encrypted_keys_are_named_as_such() -> None:
    """PKCS#8 and the legacy header form."""
    secret = serialization.BestAvailableEncryption(b"x")
    modern = LEAF.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret).decode()
    legacy = LEAF.key.private_bytes(serialization.Encoding.PEM, TRADITIONAL, secret).decode()
    assert "Proc-Type: 4,ENCRYPTED" in legacy
    for text in (modern, legacy):
        with pytest.raises(PkiError, match="is encrypted"):
            parse_pem(LEAF.pem + text)


def test_keys_that_tls_cannot_use_are_refused() -> None:
    """DSA and X25519 parse, but sign no handshake."""
    for private_key in (dsa.generate_private_key(1024), x25519.X25519PrivateKey.generate()):
        with pytest.raises(PkiError, match="of a kind that TLS cannot use"):
            parse_pem(key_pem(private_key))


def test_broken_private_key_never_shows_its_content() -> None:
    """The text goes to logs."""
    body = LEAF.key_pem.splitlines()[1]
    text = pem_of(b"\x30\x03\x02\x01\x01", "PRIVATE KEY")
    for broken in (text, LEAF.key_pem.replace(body, body[:-9]), LEAF.key_pem.replace(body, body[:-9] + "*")):
        with pytest.raises(PkiError, match="private key") as caught:
            parse_pem(broken)
        assert body[:16] not in str(caught.value)


def test_bare_public_keys() -> None:
    """mTLS reference section 9: pins by PUBLIC KEY blocks."""
    text = pem_of(LEAF.spki, "PUBLIC KEY")
    assert parse_pem(text + pem_of(ROOT.spki, "PUBLIC KEY")) == PemBundle(public_keys=(LEAF.spki, ROOT.spki))
    assert parse_pem(text).leaf is None
    with pytest.raises(PkiError, match="public key"):
        parse_pem(pem_of(LEAF.der, "PUBLIC KEY"))


@pytest.mark.parametrize("text", ["", "   ", "hello", "-----BEGIN X-----\nAAAA\n-----END X-----", b"\xff\x00\x9f"])
def test_text_without_anything_usable(text: str | bytes) -> None:
    """Empty, garbage, other blocks only."""
    with pytest.raises(PkiError, match="no certificate and no key"):
        parse_pem(text)


def test_der_and_half_utf16_get_a_hint() -> None:
    """What the operator did shows in the text."""
    with pytest.raises(PkiError, match="looks like DER"):
        parse_pem(LEAF.der)
    with pytest.raises(PkiError, match="UTF-16"):
        parse_pem(b"\xff\xfea")


def test_key_of_an_unknown_kind_in_the_certificate() -> None:
    """key_matches refuses what it cannot compare."""
    spki = bytes.fromhex("300c300506032a03040303000001")
    der = resign(LEAF.der, swap_element(6, spki), ROOT.key)
    with pytest.raises(PkiError, match="public key of the certificate"):
        key_matches(der, LEAF.key)


@given(st.text(max_size=200), st.integers(0, 400))
def test_garbage_gives_a_bundle_or_pki_error(junk: str, at: int) -> None:
    """Nothing else escapes; a certificate that comes out is the one that was meant."""
    for text in (junk, LEAF.pem[:at] + junk + LEAF.pem[at:], "-----BEGIN CERTIFICATE-----" + junk + "-----END CERTIFICATE-----"):
        try:
            bundle = parse_pem(text)
        except PkiError:
            continue
        assert set(bundle.certificates) <= {LEAF.der}


def test_many_begin_lines_cost_linear_time() -> None:
    """One megabyte of BEGIN lines, or of one endless block, is refused at once."""
    started = time.perf_counter()
    for text in ("-----BEGIN X-----" * 60000, "-----BEGIN X-----" + "A" * 1_000_000, "-----BEGIN " * 90000):
        with pytest.raises(PkiError):
            parse_pem(text)
    assert time.perf_counter() - started < 5


def test_file_of_ten_thousand_certificates(tmp_path: Path) -> None:
    """A tenth of the full size: some 7 us each."""
    text = make_self_signed("x").pem * 10_000
    started = time.perf_counter()
    assert len(parse_pem(text).certificates) == 10_000
    assert time.perf_counter() - started < 10


def test_labels_are_listed_in_order() -> None:
    """Whether the blocks can be read or not; a line that only looks like one is none."""
    text = "-----BEGIN CERTIFICATE-----\nx\n-----BEGIN EC PRIVATE KEY-----\n-----BEGIN -----\n---- BEGIN X ----\n-----BEGIN PUBLIC KEY----"
    assert find_labels(text) == ["CERTIFICATE", "EC PRIVATE KEY"]
    assert find_labels(b"") == []
