"""Tokens that were verified, by their SHA-256, so that the next request with one costs a look-up; knows nothing of what was verified.

Bounded in number, size and time; a token itself is never kept. Source: decisions 3.12.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["LONGEST_S", "VerifiedTokens"]

T = TypeVar("T")
LONGEST_S = 3600.0
"""What was verified is verified anew after this time, however long it is good for."""
_MOST = 10_000
_MOST_BYTES = 32 << 20
"""Of the tokens together: what is kept of one, its claims for instance, grows with it to some three times as much."""


class VerifiedTokens(Generic[T]):
    """Those of one step.

    :param is_current: whether what verified a token would still verify it: its keys are neither replaced, nor too old, nor dropped.
    :param now: epoch seconds.
    :param most: how many are kept; the oldest goes.
    :param most_bytes: how long they may be together; the oldest go.
    """

    __slots__ = ("_bytes", "_is_current", "_kept", "_most", "_most_bytes", "_now")

    def __init__(self, is_current: Callable[[T], bool], now: Callable[[], float], most: int = _MOST, most_bytes: int = _MOST_BYTES) -> None:
        self._is_current = is_current
        self._now = now
        self._most = most
        self._most_bytes = most_bytes
        self._kept: dict[bytes, tuple[T, float, int]] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, token: bytes) -> T | None:
        """Return what a token was verified to say, None when it is not there, has ended, or is no longer current."""
        digest = hashlib.sha256(token).digest()
        found = self._kept.get(digest)
        if found is None:
            return None
        if found[1] > self._now() and self._is_current(found[0]):
            return found[0]
        self._drop(digest)
        return None

    def keep(self, token: bytes, value: T, ends: float) -> None:
        """Remember.

        :param ends: epoch seconds, 0 is never; at most :data:`LONGEST_S` from now count.
        """
        now = self._now()
        until = min(ends or now + LONGEST_S, now + LONGEST_S)
        if until <= now:
            return
        digest, size = hashlib.sha256(token).digest(), len(token)
        self._drop(digest)
        while self._kept and (len(self._kept) >= self._most or self._bytes + size > self._most_bytes):
            self._drop(next(iter(self._kept)))
        self._kept[digest] = (value, until, size)
        self._bytes += size

    def _drop(self, digest: bytes) -> None:
        found = self._kept.pop(digest, None)
        if found is not None:
            self._bytes -= found[2]
