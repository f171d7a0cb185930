"""Private keys at rest (mTLS reference, section 2)."""

from __future__ import annotations

import time

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.support.certs import key
from tests.support.legacy import legacy_pem
from tlsgate.errors import PkiError
from tlsgate.pki.pem import parse_pem
from tlsgate.pki.sealed import LABEL, SALT_BYTES, CannotDecrypt, KeyBlock, Sealer, find_key_block

SALT = b"s" * SALT_BYTES
PRINT = "ab" * 32
SEALER = Sealer("a passphrase")


def der(private_key: object) -> bytes:
    return private_key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())  # type: ignore[attr-defined, no-any-return]


def block_of(text: str) -> KeyBlock:
    rest, block = find_key_block(text)
    assert rest == ""
    assert block is not None
    return block


@pytest.mark.parametrize("kind", ["p256", "p384", "rsa-2048", "ed25519", "ed448"])
def test_a_sealed_key_opens_again(kind: str) -> None:
    """Every kind that TLS can sign with; the text is PEM, says how it was made, and shows nothing of the key."""
    text = SEALER.seal(key(kind), PRINT, SALT)
    assert text.startswith(f"-----BEGIN {LABEL}-----\nSeal: 1,scrypt,32768,8,1,{SALT.hex()},")
    assert der(SEALER.unseal(block_of(text), PRINT)) == der(key(kind))
    assert max(map(len, text.splitlines()[3:])) <= 64


def test_each_entry_has_a_key_of_its_own() -> None:
    """Twice the same key gives two texts with nothing in common."""
    one, two = (block_of(SEALER.seal(key(), PRINT, SALT)) for _ in range(2))
    assert one.headers != two.headers
    assert one.body != two.body


def test_another_passphrase_or_certificate_opens_nothing() -> None:
    """And a changed octet is noticed wherever it is: authenticated, not merely hidden."""
    block = block_of(SEALER.seal(key(), PRINT, SALT))
    with pytest.raises(CannotDecrypt, match="another secret"):
        Sealer("another passphrase").unseal(block, PRINT)
    with pytest.raises(CannotDecrypt):
        SEALER.unseal(block, "cd" * 32)
    for at in range(0, len(block.body), 7):
        changed = bytes(octet ^ (number == at) for number, octet in enumerate(block.body))
        with pytest.raises(CannotDecrypt):
            SEALER.unseal(block._replace(body=changed), PRINT)
    for size in (0, 11, 12, 27, len(block.body) - 1):
        with pytest.raises(CannotDecrypt):
            SEALER.unseal(block._replace(body=block.body[:size]), PRINT)


def test_what_an_entry_may_ask_for_is_bounded() -> None:
    """Whoever can write to the store must not be able to stop the process by a costly derivation."""
    block = block_of(SEALER.seal(key(), PRINT, SALT))
    seal = block.headers["Seal"]
    for changed in (
        seal.replace("32768", str(2**30)),
        seal.replace(",8,1,", ",4096,1,"),
        seal.replace(",8,1,", ",8,4096,"),
        seal.replace("scrypt", "none"),
        seal.replace("1,scrypt", "2,scrypt"),
        seal.replace("32768", "0"),
        seal.replace("32768", "x"),
        "",
    ):
        begun = time.monotonic()
        with pytest.raises(PkiError):
            SEALER.unseal(block._replace(headers={"Seal": changed}), PRINT)
        assert time.monotonic() - begun < 1
    with pytest.raises(CannotDecrypt):
        SEALER.unseal(block._replace(headers={"Seal": seal.replace("32768", "32767")}), PRINT)


def test_the_slow_step_is_done_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand entries of one installation cost one derivation."""
    from tlsgate.pki import sealed

    made: list[bytes] = []
    real = sealed.hashlib.scrypt
    monkeypatch.setattr(sealed.hashlib, "scrypt", lambda secret, **options: made.append(options["salt"]) or real(secret, **options))
    sealer = Sealer("p")
    blocks = [block_of(sealer.seal(key(), PRINT, SALT)) for _ in range(20)]
    for block in blocks:
        sealer.unseal(block, PRINT)
    assert made == [SALT]
    for number in range(40):
        sealer.seal(key(), PRINT, number.to_bytes(SALT_BYTES, "big"))
        break
    assert len(made) == 2


@pytest.mark.parametrize("kind", ["p256", "rsa-2048"])
def test_the_old_form_of_tyk_is_read(kind: str) -> None:
    """Made by the openssl program; never written by us."""
    block = block_of(legacy_pem(key(kind), "old secret"))
    assert der(Sealer("old secret").unseal(block, PRINT)) == der(key(kind))


def test_a_pkcs8_key_in_the_old_form_is_read() -> None:
    """What Go writes there is what was uploaded: PKCS#8 as well."""
    import hashlib

    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    iv = bytes(range(16))
    derived = step = b""
    while len(derived) < 32:
        step = hashlib.md5(step + b"go" + iv[:8], usedforsecurity=False).digest()
        derived += step
    plain = der(key())
    padding = 16 - len(plain) % 16
    encryptor = Cipher(algorithms.AES(derived), modes.CBC(iv)).encryptor()
    body = encryptor.update(plain + bytes([padding]) * padding)
    block = KeyBlock("ENCRYPTED PRIVATE KEY", {"Proc-Type": "4,ENCRYPTED", "DEK-Info": f"AES-256-CBC,{iv.hex()}"}, body)
    assert der(Sealer("go").unseal(block, PRINT)) == plain


def test_a_wrong_secret_for_the_old_form_is_said() -> None:
    """The old form has no check of its own: 300 wrong passphrases, some of which give a padding that looks right."""
    block = block_of(legacy_pem(key(), "right"))
    for number in range(300):
        with pytest.raises(CannotDecrypt):
            Sealer(f"wrong {number}").unseal(block, PRINT)
    with pytest.raises(CannotDecrypt):
        Sealer("right").unseal(block._replace(body=block.body[:-1]), PRINT)
    with pytest.raises(CannotDecrypt):
        Sealer("right").unseal(block._replace(body=b""), PRINT)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Proc-Type": "4,ENCRYPTED", "DEK-Info": "DES-EDE3-CBC,0011223344556677"},
        {"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,xx"},
        {"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00"},
        {"DEK-Info": f"AES-256-CBC,{'00' * 16}"},
    ],
)
def test_other_forms_are_named(headers: dict[str, str]) -> None:
    """PKCS#8 encryption and old ciphers: not a traceback, and not a wrong secret."""
    with pytest.raises(PkiError, match="not known"):
        SEALER.unseal(KeyBlock("ENCRYPTED PRIVATE KEY", headers, b"x" * 16), PRINT)


def test_blocks_are_found_beside_certificates() -> None:
    """What is left is PEM as before; two keys are one too many."""
    sealed = SEALER.seal(key(), PRINT, SALT)
    assert find_key_block("nothing") == ("nothing", None)
    rest, block = find_key_block(f"before\n{sealed.replace(chr(10), chr(13) + chr(10))}after\n")
    assert rest == "before\nafter\n"
    assert block is not None
    SEALER.unseal(block, PRINT)
    with pytest.raises(PkiError, match="several"):
        find_key_block(sealed + sealed)
    with pytest.raises(PkiError, match="base64"):
        find_key_block(sealed.replace("\n\n", "\n\n!"))
    with pytest.raises(PkiError):
        parse_pem(sealed)
