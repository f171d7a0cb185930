"""Ids of keys: how they are made, whose they are, under which names they are stored, and what a client may mean by one.

Knows hashing and spelling; must not know stores or sessions. Source: keys reference, section 3; token reference, section 3; decisions 3.4.

Differs from Tyk: with ``hash_keys`` the default function is sha256; a client cannot choose the algorithm by the ``h`` of the id that it
presents, only the configured function and ``hash_key_function_fallback`` count; ``disable_key_actions_by_username`` does not change how
requests find their key.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import uuid
from typing import NamedTuple

import msgspec

from tlsgate.config.model import KeySettings

__all__ = [
    "ALGORITHMS",
    "CHECK_PREFIX",
    "KEY_PREFIX",
    "WEAK",
    "Candidate",
    "KeyNaming",
    "find_id_parts",
    "find_owner",
    "hash_key",
    "looks_like_hash",
    "murmur32",
    "murmur64",
    "murmur128",
]

_MASK32 = 0xFFFFFFFF
_MASK64 = 0xFFFFFFFFFFFFFFFF
_C1, _C2 = 0x87C37B91114253D5, 0x4CF5AD432745937F
_HEX24 = re.compile(r"[0-9a-fA-F]{24}")
_HASH = re.compile(r"[0-9a-f]{8}|[0-9a-f]{16}|[0-9a-f]{32}|[0-9a-f]{64}")
_DEFAULT_MIN_LENGTH = 3
_STRONG = 64
"""Digits of a hash that nobody can forge."""
CHECK_PREFIX = "key-check-"
KEY_PREFIX = "apikey-"


class IdParts(NamedTuple):
    """What stands in an id of the base64 form."""

    org: str
    id: str
    algorithm: str


class Candidate(NamedTuple):
    """A key that a presented text may stand for."""

    id: str
    """The stored id."""
    name: str
    """What it is stored under, without prefix: the id, or its hash."""
    weak: bool
    """The hash alone proves nothing: a check value beside it has to agree."""
    fingerprint: str = ""
    """Of the certificate that the session has to name; empty where the id alone decides."""

    @property
    def key(self) -> str:
        """Return the name of the session in the store."""
        return KEY_PREFIX + self.name

    @property
    def check_key(self) -> str:
        """Return the name of the check value in the store."""
        return CHECK_PREFIX + self.name

    @property
    def check(self) -> bytes:
        """Return the check value of the id."""
        return hashlib.sha256(b"tlsgate key check\0" + self.id.encode()).hexdigest().encode()


class KeyNaming:
    """The rules of one configuration.

    :param settings: of keys.
    """

    __slots__ = ("_accepted", "_fallbacks", "_minimum", "function", "hashes", "problems")

    def __init__(self, settings: KeySettings) -> None:
        self.hashes = settings.hash_keys
        self.problems: list[str] = []
        """What an operator should read at start."""
        function = self._known(settings.hash_key_function)
        if self.hashes and not function:
            function = "sha256"
        self.function = function
        """Algorithm of new ids; empty for plain ids."""
        self._fallbacks = tuple(dict.fromkeys(self._known(name) for name in settings.hash_key_function_fallback if name))
        self._accepted = frozenset((function, *self._fallbacks)) - {""}
        self._minimum = settings.min_token_length if settings.min_token_length > 0 else _DEFAULT_MIN_LENGTH
        if self.hashes:
            weak = sorted(self._accepted & WEAK)
            if weak:
                self.problems.append(f"hash_keys with {', '.join(weak)}: such hashes can be forged; a check value is kept beside each key")
            if "murmur32" not in self._accepted and not settings.hash_key_function:
                self.problems.append(
                    "hash_keys uses sha256; keys that Tyk stored without hash_key_function need murmur32 in hash_key_function_fallback"
                )

    def _known(self, name: str) -> str:
        if name and name not in ALGORITHMS:
            self.problems.append(f"there is no hash function {name!r}, murmur64 is used in its place")
            return "murmur64"
        return name

    @property
    def minimum(self) -> int:
        """Return the shortest usable custom id."""
        return self._minimum

    def generate(self, org: str, custom: str = "") -> str:
        """Return the id of a new key.

        :param org: owner.
        :param custom: chosen by the operator, with or without the owner before it; empty makes a random one.
        """
        return _generate(org, custom or uuid.uuid4().hex, self.function)

    def candidates(self, org: str, presented: str) -> tuple[Candidate, ...]:
        """Return what a presented text may stand for, in the order in which it counts; all are asked for in one round trip.

        :param org: of the API.
        :param presented: by the client; too short a text stands for nothing.
        """
        if len(presented) < self._minimum:
            return ()
        ids = [presented]
        if not org or find_owner(presented) != org:
            ids = [_generate(org, presented, self.function), presented]
            ids += [_generate(org, presented, name) for name in self._fallbacks]
            if self.function and (not self.hashes or "murmur32" in self._accepted):
                ids.append(_generate(org, presented, ""))  # made before there was a hash_key_function
        return tuple(candidate for id in dict.fromkeys(ids) if (candidate := self.find_candidate(id)) is not None)

    def derived(self, org: str, fingerprint: str) -> tuple[Candidate, ...]:
        """Return the keys that may have been made from a certificate, in the order in which they count.

        :param org: of the API, or of the key.
        :param fingerprint: lower-case hexadecimal.
        """
        ids = dict.fromkeys(_generate(org, fingerprint, name) for name in (self.function, *self._fallbacks, ""))
        found = (self.find_candidate(id) for id in ids)
        return tuple(candidate._replace(fingerprint=fingerprint) for candidate in found if candidate is not None)

    def user_candidates(self, org: str, name: str) -> tuple[Candidate, ...]:
        """Return what the name of a basic user may stand for: :meth:`candidates`, then what Tyk made without ``hash_key_function``.

        There the id was hashed with murmur32, of which 2^32 guesses find a key; a user still needs the password.
        """
        found = self.candidates(org, name)
        if found and self.hashes and "murmur32" not in self._accepted:
            id = _generate(org, name, "")
            found = (*found, Candidate(id, murmur32(id.encode()), True))
        return found

    def is_weak(self, name: str) -> bool:
        """Tell whether a stored name is a hash that proves nothing by itself."""
        return self.hashes and len(name) < _STRONG

    def find_candidate(self, id: str) -> Candidate | None:
        """Return where a stored id is kept, None when the id names an algorithm that is not accepted."""
        if not self.hashes:
            return Candidate(id, id, False)
        parts = find_id_parts(id)
        # Tyk hashes a plain id with murmur32, of which 2^32 guesses find a key: only who lists it reads such keys.
        algorithm = parts.algorithm if parts is not None else "murmur32"
        if parts is None and "murmur32" not in self._accepted:
            algorithm = "sha256"
        elif algorithm not in self._accepted:
            return None
        return Candidate(id, hash_key(id, algorithm), algorithm in WEAK)

    def place(self, id: str) -> Candidate:
        """Return where a key of ours is kept.

        :raises ValueError: the id names an algorithm that is not accepted.
        """
        candidate = self.find_candidate(id)
        if candidate is None:
            raise ValueError("the id names a hash function that is not configured")
        return candidate


def find_id_parts(id: str) -> IdParts | None:
    """Return the parts of an id of the base64 form, None for any other text."""
    if not id.startswith("ey"):
        return None
    try:
        return _read_parts(base64.b64decode(id, validate=True))
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        return None


def find_owner(id: str) -> str:
    """Return the organisation that an id names, empty when it names none."""
    parts = find_id_parts(id)
    if parts is not None and parts.org:
        return parts.org
    return id[:24] if len(id) > 24 and _HEX24.match(id) else ""


def looks_like_hash(name: str) -> bool:
    """Tell whether a name has the form of a hash of a key."""
    return _HASH.fullmatch(name) is not None


def hash_key(id: str, algorithm: str) -> str:
    """Return the hash of an id, lower-case hexadecimal.

    :param algorithm: one of :data:`ALGORITHMS`.
    """
    return ALGORITHMS[algorithm](id.encode())


def murmur32(data: bytes) -> str:
    """Return Tyk's ``murmur32``: the body loop of MurmurHash3 alone; tail, length and final mixing are left out.

    Kept to read imported keys. Source: keys reference, section 3.
    """
    h = 0
    for start in range(0, len(data) - 3, 4):
        k = int.from_bytes(data[start : start + 4], "little") * 0xCC9E2D51 & _MASK32
        k = (k << 15 | k >> 17) & _MASK32
        h ^= k * 0x1B873593 & _MASK32
        h = (h << 13 | h >> 19) & _MASK32
        h = (h * 5 + 0xE6546B64) & _MASK32
    return f"{h:08x}"


def murmur64(data: bytes) -> str:
    """Return the first half of MurmurHash3 x64_128 with seed 0."""
    return f"{_murmur(data)[0]:016x}"


def murmur128(data: bytes) -> str:
    """Return MurmurHash3 x64_128 with seed 0."""
    first, second = _murmur(data)
    return f"{first:016x}{second:016x}"


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


ALGORITHMS = {"murmur32": murmur32, "murmur64": murmur64, "murmur128": murmur128, "sha256": _sha256}
"""By the names of ``hash_key_function``."""
WEAK = frozenset({"murmur32", "murmur64", "murmur128"})
"""Without a key anybody can make two texts of one hash."""


def _generate(org: str, custom: str, function: str) -> str:
    own = custom.removeprefix(org)
    if not function:
        return org + own
    text = '{"org":%s,"id":%s,"h":"%s"}' % (_quote(org), _quote(own), function)  # noqa: UP031 (the bytes are a stored name)
    return base64.b64encode(text.encode()).decode("ascii")


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


class _Written(msgspec.Struct):
    org: str = ""
    id: str = ""
    h: str = ""


_WRITTEN = msgspec.json.Decoder(_Written)


def _read_parts(data: bytes) -> IdParts:
    written = _WRITTEN.decode(data)
    return IdParts(written.org, written.id, written.h)


def _rotate(value: int, bits: int) -> int:
    return (value << bits | value >> (64 - bits)) & _MASK64


def _finish(value: int) -> int:
    value = (value ^ value >> 33) * 0xFF51AFD7ED558CCD & _MASK64
    value = (value ^ value >> 33) * 0xC4CEB9FE1A85EC53 & _MASK64
    return value ^ value >> 33


def _murmur(data: bytes) -> tuple[int, int]:
    """MurmurHash3 x64_128, seed 0."""
    h1 = h2 = 0
    whole = len(data) & ~15
    for start in range(0, whole, 16):
        k1 = int.from_bytes(data[start : start + 8], "little")
        k2 = int.from_bytes(data[start + 8 : start + 16], "little")
        h1 ^= _rotate(k1 * _C1 & _MASK64, 31) * _C2 & _MASK64
        h1 = (_rotate(h1, 27) + h2) * 5 + 0x52DCE729 & _MASK64
        h2 ^= _rotate(k2 * _C2 & _MASK64, 33) * _C1 & _MASK64
        h2 = (_rotate(h2, 31) + h1) * 5 + 0x38495AB5 & _MASK64
    tail = data[whole:]
    k1 = int.from_bytes(tail[:8], "little")
    k2 = int.from_bytes(tail[8:], "little")
    h2 ^= _rotate(k2 * _C2 & _MASK64, 33) * _C1 & _MASK64
    h1 ^= _rotate(k1 * _C1 & _MASK64, 31) * _C2 & _MASK64
    h1 ^= len(data)
    h2 ^= len(data)
    h1 = h1 + h2 & _MASK64
    h2 = h2 + h1 & _MASK64
    h1, h2 = _finish(h1), _finish(h2)
    h1 = h1 + h2 & _MASK64
    return h1, h2 + h1 & _MASK64
