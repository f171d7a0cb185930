"""Tests of `tlsgate.auth.passwords` (decisions 3.4, 3.9)."""

from __future__ import annotations

import bcrypt
import pytest
from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from tlsgate.auth.passwords import ARGON2ID, BCRYPT, UnusablePassword, choose_password_hash, hash_password


@pytest.mark.parametrize(
    ("setting", "kind"), [("", BCRYPT), ("bcrypt", BCRYPT), ("argon2id", ARGON2ID), ("sha256", BCRYPT), ("murmur32", BCRYPT), ("x", BCRYPT)]
)
def test_only_slow_hashes_are_written(setting: str, kind: str) -> None:
    """Whatever Tyk wrote."""
    assert choose_password_hash(setting) == kind


@pytest.mark.parametrize("password", ["a", "pässwörd", "with\0nul", "x" * 72])
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
