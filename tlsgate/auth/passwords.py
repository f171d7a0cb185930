"""Hashes of new passwords: bcrypt, or argon2id where the configuration asks for it; knows nothing of keys or stores.

Slow on purpose: call it in a thread. Tyk's murmur and plain sha256 are never written. Source: token reference, section 6; decisions 3.4
and 3.9.
"""

from __future__ import annotations

import os

import bcrypt
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from tlsgate.errors import TlsgateError

__all__ = ["ARGON2ID", "BCRYPT", "UnusablePassword", "choose_password_hash", "hash_password"]

BCRYPT, ARGON2ID = "bcrypt", "argon2id"
_BCRYPT_COST = 10
_BCRYPT_BYTES = 72
_ARGON_BYTES = 4096
_ARGON_MEMORY_KIB = 19456
_ARGON_PASSES = 2


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
    :raises UnusablePassword: longer than what the algorithm takes whole.
    """
    data = password.encode()
    limit = _ARGON_BYTES if kind == ARGON2ID else _BCRYPT_BYTES
    if len(data) > limit:
        raise UnusablePassword(f"the password is longer than the {limit} bytes that {kind} takes")
    if kind == ARGON2ID:
        made = Argon2id(salt=os.urandom(16), length=32, iterations=_ARGON_PASSES, lanes=1, memory_cost=_ARGON_MEMORY_KIB)
        return made.derive_phc_encoded(data)
    return bcrypt.hashpw(data, bcrypt.gensalt(_BCRYPT_COST)).decode("ascii")
