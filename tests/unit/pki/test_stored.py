"""Uploads and stored texts (mTLS reference, section 2; field reports B7, B9, B11, B12)."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.serialization import PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from tests.support.certs import NOW, Issued, key_pem, make_authority, make_self_signed, pem_of, with_serial
from tests.support.legacy import legacy_pem
from tlsgate.errors import PkiError
from tlsgate.pki.sealed import Sealer
from tlsgate.pki.stored import UploadRefused, is_store_id, open_stored, org_of, read_upload, stored_text

ROOT = make_authority("Root")
ISSUING = ROOT.subordinate("Issuing")
LEAF = ISSUING.issue("leaf")
OTHER = ROOT.issue("other")
SEALER = Sealer("secret")
SALT = b"0" * 16
PUBLIC = pem_of(LEAF.spki, "PUBLIC KEY")
NOT_PEM = "Failed to decode certificate. It should be PEM encoded."


def refused(text: str | bytes) -> str:
    with pytest.raises(UploadRefused) as caught:
        read_upload(text if isinstance(text, bytes) else text.encode(), "org", NOW)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", NOT_PEM),
        ("garbage", NOT_PEM),
        (LEAF.key_pem, NOT_PEM),
        (LEAF.der, NOT_PEM),
        (b"\xff\xfe\x00", NOT_PEM),
        (LEAF.pem[:200], NOT_PEM),
        (LEAF.pem.replace("MII", "!II"), NOT_PEM),
        (LEAF.pem + LEAF.key_pem + OTHER.key_pem, "Found multiple private keys"),
        (LEAF.key_pem * 2, "Found multiple private keys"),
        (LEAF.pem + PUBLIC, "Public keys can't be combined with certificates"),
        (PUBLIC * 2, "Found multiple public keys"),
        (make_self_signed("old", not_after=NOW - 1).pem, "certificate is expired"),
        (LEAF.pem + make_self_signed("old", not_after=NOW - 1).pem, "certificate is expired"),
        (LEAF.pem + OTHER.key_pem, "tls: private key does not match public key"),
        (LEAF.pem + pem_of(b"\x30\x03\x02\x01\x01", "PRIVATE KEY"), "tls: failed to parse private key"),
        (
            LEAF.pem + legacy_pem(LEAF.key, "x").replace("ENCRYPTED PRIVATE", "EC PRIVATE"),
            "tls: failed to parse private key: it is encrypted, upload it without a passphrase",
        ),
        (pem_of(b"\x30\x03\x02\x01\x01"), "x509: malformed certificate"),
        (LEAF.pem + pem_of(LEAF.der[:-1]), "x509: malformed certificate"),
        (pem_of(b"\x30\x03\x02\x01\x01", "PUBLIC KEY"), "x509: malformed public key"),
    ],
)
def test_what_is_not_taken(text: str | bytes, message: str) -> None:
    """The messages that Tyk's users know."""
    assert refused(text) == message


def test_what_has_not_ended_is_taken() -> None:
    """To the second; what is not valid yet is taken as well."""
    for issued in (make_self_signed("now", not_after=NOW), make_self_signed("later", not_before=NOW + 3600)):
        assert read_upload(issued.pem.encode(), "org", NOW).id == "org" + issued.fingerprint


@pytest.mark.parametrize("org", ["", "org", "5e9d9544a1dcd60001d0ed20", "with/slash and blank"])
def test_ids(org: str) -> None:
    """Organisation first, then the fingerprint of the leaf (field report B11)."""
    chain = LEAF.pem + ISSUING.pem + ROOT.pem
    for text in (chain, chain + LEAF.key_pem, LEAF.key_pem + chain):
        upload = read_upload(text.encode(), org, NOW)
        assert upload.id == org + LEAF.fingerprint
        assert org_of(upload.id) == org
        assert is_store_id(upload.id)
        assert upload.bundle.certificates == (LEAF.der, ISSUING.der, ROOT.der)
    upload = read_upload((PUBLIC + LEAF.key_pem).encode(), org, NOW)
    assert upload.id == org + hashlib.sha256(LEAF.spki).hexdigest()
    assert upload.bundle.private_key is None


@pytest.mark.parametrize("reference", ["", "a", "/etc/x.pem", "a" * 63, "A" * 64, "a" * 64 + "\n", "\x00" + "a" * 64, "x" * 257 + "a" * 64])
def test_what_is_no_id(reference: str) -> None:
    """Everything else may be the name of a file."""
    assert not is_store_id(reference)


PARAMETERS = pem_of(bytes.fromhex("06052b81040022"), "EC PARAMETERS")


@pytest.mark.parametrize(
    "text",
    [
        LEAF.pem.replace("\n", "\r\n"),
        "\ufeff" + LEAF.pem,
        LEAF.pem.replace("-----\n", "-----\n\n", 1),
        LEAF.pem.replace("\n", "\n\n", 3),
        LEAF.pem.replace("\n", " \n"),
        LEAF.pem.rstrip(),
        LEAF.pem.replace("\n", " "),
        f"Bag Attributes\n  friendlyName: x\n{LEAF.pem}",
        PARAMETERS + LEAF.pem,
    ],
)
def test_text_that_was_edited_is_the_same_certificate(text: str) -> None:
    """Field report B7: never another one, never a shortened one."""
    upload = read_upload(text.encode(), "org", NOW)
    assert upload.id == "org" + LEAF.fingerprint
    assert upload.bundle.certificates == (LEAF.der,)


@pytest.mark.parametrize("kind", ["p384", "rsa-2048", "ed25519"])
@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_every_form_of_key_comes_back(kind: str, form: PrivateFormat) -> None:
    """Field report B9: parameters before the key; Ed25519 is settled here and not when it is used."""
    if kind == "ed25519" and form is PrivateFormat.TraditionalOpenSSL:
        pytest.skip("there is no such form")
    issued = make_self_signed("k", kind=kind)
    text = key_pem(issued.key, form)
    for whole in (PARAMETERS + text + issued.pem, issued.pem + PARAMETERS + text):
        upload = read_upload(whole.encode(), "org", NOW)
        bundle = open_stored(stored_text(upload, SEALER, SALT).encode(), SEALER)
        assert bundle.certificates == (issued.der,)
        assert bundle.private_key is not None
        assert bundle.private_key.public_key() == issued.key.public_key()
    assert read_upload((issued.pem + PARAMETERS).encode(), "org", NOW).bundle.private_key is None


def test_stored_texts_keep_the_chain_and_show_no_key() -> None:
    """The key is sealed and last."""
    text = stored_text(read_upload(LEAF.full_pem.encode(), "org", NOW), SEALER, SALT)
    assert text.startswith(LEAF.pem + ISSUING.pem + "-----BEGIN SEALED PRIVATE KEY-----\n")
    assert "BEGIN PRIVATE KEY" not in text
    assert stored_text(read_upload(PUBLIC.encode(), "org", NOW), SEALER, SALT) == PUBLIC


def test_a_key_that_cannot_be_opened_leaves_the_certificate() -> None:
    """Another secret: lists of clients go on, who needs the key is told why there is none."""
    text = stored_text(read_upload(LEAF.full_pem.encode(), "org", NOW), SEALER, SALT).encode()
    bundle = open_stored(text, Sealer("other"))
    assert bundle.leaf == LEAF.der
    assert bundle.private_key is None
    assert "cannot be decrypted" in bundle.key_fault


def test_a_sealed_key_beside_another_certificate_is_not_used() -> None:
    """Somebody who can write to the store cannot move keys about; in Tyk's form the halves are compared."""
    text = stored_text(read_upload(LEAF.full_pem.encode(), "org", NOW), SEALER, SALT)
    moved = open_stored(text.replace(LEAF.pem, OTHER.pem).encode(), SEALER)
    assert (moved.leaf, moved.private_key) == (OTHER.der, None)
    moved = open_stored((OTHER.pem + legacy_pem(LEAF.key, "secret")).encode(), SEALER)
    assert (moved.private_key, moved.key_fault) == (None, "stored private key belongs to another certificate")


@pytest.mark.parametrize("text", [b"", b"\xff\xfe\x00\x01", b"nonsense", LEAF.pem[:100].encode()], ids=["empty", "binary", "text", "cut"])
def test_what_cannot_be_read_is_an_error(text: bytes) -> None:
    """Whoever lists the others goes on."""
    with pytest.raises(PkiError):
        open_stored(text, SEALER)


def test_plain_keys_of_others_are_read() -> None:
    """A store that somebody filled by hand."""
    assert open_stored(LEAF.full_pem.encode(), SEALER).private_key is not None
    assert open_stored((PUBLIC + legacy_pem(LEAF.key, "secret")).encode(), SEALER).public_keys == (LEAF.spki,)


@pytest.mark.parametrize("content", [b"\xff", b"\x00", b"\x01" + b"\x00" * 19, b"\x01" + b"\x00" * 25])
def test_odd_serial_numbers_are_taken(content: bytes) -> None:
    """Field report B12: -1, 0, 2^152 and 2^200."""
    der = with_serial(LEAF, ISSUING.key, content)
    upload = read_upload(pem_of(der).encode(), "org", NOW)
    assert upload.id == "org" + hashlib.sha256(der).hexdigest()


def test_weak_ones_are_taken_with_a_warning() -> None:
    """As Tyk takes them; handshakes refuse them (decisions: the table of the upload decides)."""
    weak = read_upload(make_self_signed("weak", kind="rsa-1024").pem.encode(), "org", NOW)
    assert "weak" in weak.warnings[0]
    plain = read_upload(make_self_signed("openssl req", usages=None, ca=True).pem.encode(), "org", NOW)
    assert "trust_unmarked_ca" in plain.warnings[0]
    assert not read_upload(LEAF.pem.encode(), "org", NOW).warnings


@pytest.mark.parametrize("zone", ["UTC", "America/Los_Angeles", "Pacific/Auckland"])
def test_validity_is_judged_in_utc(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Field report B17: five minutes before and after, whatever the clock on the wall shows."""
    import time

    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        now = datetime.now(UTC).timestamp()
        good: list[Issued] = [make_self_signed("a", not_before=now - 300), make_self_signed("b", not_after=now + 300)]
        for issued in good:
            read_upload(issued.pem.encode(), "org", now)
        with pytest.raises(UploadRefused, match="expired"):
            read_upload(make_self_signed("c", not_after=now - 300).pem.encode(), "org", now)
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("text", ["-----BEGIN CERTIFICATE-----", "-----BEGIN CERTIFICATE-----\n-----END X-----\n", LEAF.pem[:-30] + "\n"])
def test_refusals_cost_linear_time(text: str) -> None:
    """A body of megabytes that looks like PEM over and over holds nobody up."""
    import time

    begun = time.process_time()
    refused(text * (4_000_000 // len(text)))
    assert time.process_time() - begun < 5


@given(st.lists(st.sampled_from([*LEAF.full_pem.splitlines(True), PUBLIC, "x", "\n", "-----", "-----END CERTIFICATE-----\n"]), max_size=40))
def test_any_order_of_lines_is_taken_or_refused(lines: list[str]) -> None:
    """Never another error; what is taken has the id of a certificate that is in it, and comes back from the store."""
    try:
        upload = read_upload("".join(lines).encode(), "org", NOW)
    except UploadRefused as refusal:
        assert str(refusal)
        return
    bundle = open_stored(stored_text(upload, SEALER, SALT).encode(), SEALER)
    assert (bundle.certificates, bundle.public_keys) == (upload.bundle.certificates, upload.bundle.public_keys)
    assert (bundle.private_key is None) == (upload.bundle.private_key is None)


@given(st.binary(max_size=300))
def test_garbage_is_refused(junk: bytes) -> None:
    """As an upload, and as what somebody put into the store."""
    with pytest.raises(UploadRefused):
        read_upload(junk, "org", NOW)
    with pytest.raises(PkiError):
        open_stored(LEAF.pem[:60].encode() + junk, SEALER)
