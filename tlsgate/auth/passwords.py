"""Hashes of passwords: new ones are bcrypt, or argon2id where the configuration asks for it; all that Tyk has written are read.

Slow on purpose: call it in a thread. Knows nothing of keys or stores. Tyk's murmur and plain sha256 are read, never written. Source: token
reference, section 6; decisions 3.4 and 3.9.
"""

from __future__ import annotations

import hmac
import os
import re

import bcrypt
from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from tlsgate.auth.key_ids import ALGORITHMS
from tlsgate.errors import TlsgateError

__all__ = ["ARGON2ID", "BCRYPT", "UnusablePassword", "choose_password_hash", "hash_password", "judge_password"]

BCRYPT, ARGON2ID = "bcrypt", "argon2id"
_BCRYPT_COST = 10
_BCRYPT_BYTES = 72
_ARGON_BYTES = 4096
_ARGON_MEMORY_KIB = 19456
_ARGON_PASSES = 2
_BCRYPT_FORM = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")
_ARGON_FORM = re.compile(r"\$argon2id\$v=19\$m=(\d{1,7}),t=(\d{1,2}),p=(\d{1,2})\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+")
_MOST_COST = 15
_MOST_MEMORY_KIB = 1 << 18
_MOST_WORK = 1 << 20
"""KiB times passes. Beyond these a login would take seconds and hundreds of megabytes: such a hash verifies nothing."""
_NOBODY = {
    BCRYPT: "$2b$10$pKRSbuo8yRmeGhDKsdsmIOG0wii/wy9tt5fWaqsPYoxeupp7UY1G6",
    ARGON2ID: f"$argon2id$v=19$m={_ARGON_MEMORY_KIB},t={_ARGON_PASSES},p=1"
    "$UvudCUSPUDq9TVrqLgavLg$J31r2j5I1xFXoew1NMcgOpd2NBIMZYJ2suAYWtGraXg",
}
"""Hashes of nothing known, as expensive as new ones: what is spent on users that do not exist."""


class UnusablePassword(TlsgateError):
    """No hash can be made of a password; the words never quote it."""


def choose_password_hash(setting: str) -> str:
    """Return how new passwords are hashed.

    :param setting: ``basic_auth_hash_key_function``; whatever is neither of ours is bcrypt.
    """
    return ARGON2ID if setting == ARGON2ID else BCRYPT


def hash_password(password: str, kind: str) -> str:
    """Return the hash of a password as text with its salt and cost.

    :param kind: :data:`BCRYPT` or :data:`ARGON2ID`.
    :raises UnusablePassword: longer than what the algorithm takes whole; bcrypt: with a zero byte, around which texts are alike to it.
    """
    data = password.encode()
    limit = _ARGON_BYTES if kind == ARGON2ID else _BCRYPT_BYTES
    if len(data) > limit:
        raise UnusablePassword(f"the password is longer than the {limit} bytes that {kind} takes")
    if kind == ARGON2ID:
        made = Argon2id(salt=os.urandom(16), length=32, iterations=_ARGON_PASSES, lanes=1, memory_cost=_ARGON_MEMORY_KIB)
        return made.derive_phc_encoded(data)
    if b"\0" in data:
        raise UnusablePassword(f"the password holds a zero byte, which {kind} does not take")
    return bcrypt.hashpw(data, bcrypt.gensalt(_BCRYPT_COST)).decode("ascii")


def judge_password(password: bytes, stored: str, kind: str, usual: str) -> bool:
    """Tell whether a password is the one that is stored; a refusal always takes the time of a slow hash.

    :param password: as sent.
    :param stored: ``password`` of ``basic_auth_data``; empty is a user without one, or no user at all, whom nothing verifies.
    :param kind: ``hash_type`` beside it: empty is plain text, an unknown one bcrypt.
    :param usual: :data:`BCRYPT` or :data:`ARGON2ID`: what is spent where there is nothing slow to verify.
    """
    slow = _slow_kind(stored, kind)
    if slow:
        return _verify(password, stored, slow)
    fits = bool(stored) and bool(password) and _fits(password, stored, kind)
    if not fits:
        _verify(password, _NOBODY[usual], usual)
    return fits


def _slow_kind(stored: str, kind: str) -> str:
    """Return how a stored password is verified, empty for what is compared or cannot be read.

    Differs from Tyk, where a hash without ``hash_type`` is a plain text: whoever reads the store could log in with it.
    """
    if kind in ALGORITHMS:
        return ""
    if (form := _BCRYPT_FORM.fullmatch(stored)) is not None:
        return BCRYPT if int(form[1]) <= _MOST_COST else ""
    if (form := _ARGON_FORM.fullmatch(stored)) is not None:
        memory = int(form[1])
        return ARGON2ID if memory <= _MOST_MEMORY_KIB and memory * int(form[2]) <= _MOST_WORK else ""
    return ""


def _fits(password: bytes, stored: str, kind: str) -> bool:
    """Compare with a plain text or one of Tyk's quick hashes, in constant time."""
    if kind in ALGORITHMS:
        return hmac.compare_digest(ALGORITHMS[kind](password).encode(), stored.lower().encode())
    looks_slow = _BCRYPT_FORM.fullmatch(stored) is not None or _ARGON_FORM.fullmatch(stored) is not None
    return kind == "" and not looks_slow and hmac.compare_digest(password, stored.encode())


def _verify(password: bytes, stored: str, kind: str) -> bool:
    """Verify with a slow hash; what the algorithm would cut or confuse costs the same and never fits."""
    try:
        if kind == ARGON2ID:
            Argon2id.verify_phc_encoded(password, stored)
            return 0 < len(password) <= _ARGON_BYTES
        whole = 0 < len(password) <= _BCRYPT_BYTES and b"\0" not in password
        return bcrypt.checkpw(password[:_BCRYPT_BYTES], stored.encode()) and whole
    except (InvalidKey, ValueError):
        return False
