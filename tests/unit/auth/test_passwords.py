"""Tests of `tlsgate.auth.passwords` (decisions 3.4, 3.9)."""

from __future__ import annotations

from typing import Any

import bcrypt
import pytest
from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from tlsgate.auth import passwords
from tlsgate.auth.key_ids import ALGORITHMS
from tlsgate.auth.passwords import ARGON2ID, BCRYPT, UnusablePassword, choose_password_hash, hash_password, judge_password


@pytest.mark.parametrize(
    ("setting", "kind"), [("", BCRYPT), ("bcrypt", BCRYPT), ("argon2id", ARGON2ID), ("sha256", BCRYPT), ("murmur32", BCRYPT), ("x", BCRYPT)]
)
def test_only_slow_hashes_are_written(setting: str, kind: str) -> None:
    """Whatever Tyk wrote."""
    assert choose_password_hash(setting) == kind


@pytest.mark.parametrize("password", ["a", "pässwörd", "x" * 72])
def test_hashes_verify_that_password_and_no_other(password: str) -> None:
    """Salted: twice the same password gives two texts."""
    first, second = hash_password(password, BCRYPT), hash_password(password, BCRYPT)
    assert first != second and first.startswith("$2b$10$")
    assert bcrypt.checkpw(password.encode(), first.encode())
    assert not bcrypt.checkpw(password.encode()[:-1] + b"?", first.encode())
    made = hash_password(password, ARGON2ID)
    Argon2id.verify_phc_encoded(password.encode(), made)
    with pytest.raises(InvalidKey):
        Argon2id.verify_phc_encoded(password.encode() + b"?", made)


@pytest.mark.parametrize(("kind", "limit"), [(BCRYPT, 72), (ARGON2ID, 4096)])
def test_what_would_be_cut_is_refused(kind: str, limit: int) -> None:
    """By bytes; the words do not quote the password."""
    assert hash_password("x" * limit, kind)
    with pytest.raises(UnusablePassword) as caught:
        hash_password("x" * (limit - 1) + "é", kind)
    assert "xx" not in str(caught.value)


def test_bcrypt_takes_no_zero_byte() -> None:
    """It reads ``a`` and ``a``, zero, ``a`` as one password."""
    assert bcrypt.checkpw(b"a\0a", bcrypt.hashpw(b"a", bcrypt.gensalt(4)))
    with pytest.raises(UnusablePassword):
        hash_password("a\0a", BCRYPT)
    assert hash_password("a\0a", ARGON2ID)


def quick(password: str) -> str:
    """A hash of bcrypt that takes no time, always the same (names of tests have to be)."""
    return bcrypt.hashpw(password.encode(), b"$2b$04$" + b"a" * 21 + b"u").decode()


CHEAP = Argon2id(salt=b"0" * 16, length=32, iterations=1, lanes=1, memory_cost=64).derive_phc_encoded("pässwörd".encode())
STORED = [
    (quick("pässwörd"), BCRYPT),
    (quick("pässwörd").replace("$2b$", "$2a$"), BCRYPT),
    (quick("pässwörd").replace("$2b$", "$2y$"), BCRYPT),
    (quick("pässwörd"), "unheard of"),
    (quick("pässwörd"), ""),
    (CHEAP, ARGON2ID),
    (CHEAP, "unheard of"),
    ("pässwörd", ""),
    *[(ALGORITHMS[name]("pässwörd".encode()), name) for name in ALGORITHMS],
    (ALGORITHMS["sha256"]("pässwörd".encode()).upper(), "sha256"),
]


@pytest.mark.parametrize(("stored", "kind"), STORED, ids=lambda value: value[:12])
def test_each_form_that_is_stored_is_read(stored: str, kind: str) -> None:
    """Those of Tyk, with all prefixes of bcrypt, and our own; characters more or less are another password, except to Tyk's murmur32."""
    password = "pässwörd".encode()
    assert judge_password(password, stored, kind, BCRYPT)
    wrong = [b"", b"x" + password, password.upper(), b"x" * 100]
    if kind != "murmur32":
        wrong += [password[:-1], password + b"x"]
    if stored != "pässwörd":
        wrong.append(stored.encode())
    assert not any(judge_password(text, stored, kind, BCRYPT) for text in wrong)


@pytest.mark.parametrize(
    ("password", "stored", "kind"),
    [
        (b"", "", ""),
        (b"", quick(""), BCRYPT),
        (b"x" * 73, quick("x" * 72), BCRYPT),
        (b"a\0a", quick("a"), BCRYPT),
        (b"plain", "plain", BCRYPT),
        (b"plain", "plain", "unheard of"),
        (b"plain", "plain", ARGON2ID),
        (b"a", "", "murmur32"),
        (b"abc", "", "sha256"),
        (b"a", quick("a").replace("$04$", "$16$"), BCRYPT),
        (b"a", "$argon2id$v=19$m=9999999,t=1,p=1$c29tZXNhbHQ$YWJj", ARGON2ID),
        (b"a", "$argon2id$v=19$m=262144,t=99,p=1$c29tZXNhbHQ$YWJj", ARGON2ID),
        (b"a", "$argon2id$v=19$m=64,t=1,p=99$c29tZXNhbHQ$YWJj", ARGON2ID),
        (b"\xff\xfe", "\ufffd\ufffd", ""),
    ],
)
def test_what_verifies_nothing(password: bytes, stored: str, kind: str) -> None:
    """Empty ones, those that bcrypt would cut or confuse, texts that are no hash, hashes that would take the machine."""
    assert not judge_password(password, stored, kind, BCRYPT)


def test_a_hash_without_its_type_is_no_password() -> None:
    """Tyk takes it for a plain text: whoever reads the store logs in with the hash itself."""
    stored = quick("secret")
    assert not judge_password(stored.encode(), stored, "", BCRYPT)
    assert judge_password(b"secret", stored, "", BCRYPT)
    assert not judge_password(CHEAP.encode(), CHEAP, "", BCRYPT)
    expensive = stored.replace("$04$", "$31$")
    assert not judge_password(expensive.encode(), expensive, "", BCRYPT)


@pytest.mark.parametrize("usual", [BCRYPT, ARGON2ID])
def test_a_refusal_without_a_slow_hash_spends_one(monkeypatch: pytest.MonkeyPatch, usual: str) -> None:
    """Unknown users, quick hashes, plain texts, hashes that cannot be read: always one, and never two."""
    spent: list[tuple[str, str]] = []
    verify: Any = passwords._verify

    def watch(password: bytes, stored: str, kind: str) -> bool:
        spent.append((stored, kind))
        return bool(verify(password, stored, kind))

    monkeypatch.setattr(passwords, "_verify", watch)
    cases = [
        ("", ""),
        ("plain", ""),
        (ALGORITHMS["sha256"](b"a"), "sha256"),
        ("no hash", BCRYPT),
        (quick("a").replace("$04$", "$31$"), BCRYPT),
    ]
    for stored, kind in cases:
        assert not judge_password(b"wrong", stored, kind, usual)
    assert len(spent) == len(cases) and {kind for _, kind in spent} == {usual}
    assert not judge_password(b"wrong", quick("a"), BCRYPT, usual)
    assert len(spent) == len(cases) + 1
    # What is spent is what a new password costs.
    made = hash_password("x", usual)
    nobody = spent[0][0]
    assert nobody.split("$")[:-2] == made.split("$")[:-2] if usual == ARGON2ID else nobody[:7] == made[:7]
    if usual == BCRYPT:
        assert bcrypt.checkpw(b"x", nobody.encode()) is False
    else:
        with pytest.raises(InvalidKey):
            Argon2id.verify_phc_encoded(b"x", nobody)
