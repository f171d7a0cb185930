"""Tokens that were verified, by their SHA-256, so that the next request with one costs a look-up; knows nothing of what was verified.

Bounded in number and in time; a token itself is never kept. Source: decisions 3.12.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Generic, TypeVar

from tlsgate.bounded import put

__all__ = ["LONGEST_S", "VerifiedTokens"]

T = TypeVar("T")
LONGEST_S = 3600.0
"""What was verified is verified anew after this time, however long it is good for."""
_MOST = 10_000


class VerifiedTokens(Generic[T]):
    """Those of one step.

    :param is_current: whether what verified a token would still verify it: its keys are neither replaced, nor too old, nor dropped.
    :param now: epoch seconds.
    :param most: how many are kept; the oldest goes.
    """

    __slots__ = ("_is_current", "_kept", "_most", "_now")

    def __init__(self, is_current: Callable[[T], bool], now: Callable[[], float], most: int = _MOST) -> None:
        self._is_current = is_current
        self._now = now
        self._most = most
        self._kept: dict[bytes, tuple[T, float]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, token: bytes) -> T | None:
        """Return what a token was verified to say, None when it is not there, has ended, or is no longer current."""
        digest = hashlib.sha256(token).digest()
        found = self._kept.get(digest)
        if found is None:
            return None
        value, until = found
        if until > self._now() and self._is_current(value):
            return value
        del self._kept[digest]
        return None

    def keep(self, token: bytes, value: T, until: float) -> None:
        """Remember.

        :param until: epoch seconds; at most :data:`LONGEST_S` from now count.
        """
        now = self._now()
        if until <= now:
            return
        put(self._kept, hashlib.sha256(token).digest(), (value, min(until, now + LONGEST_S)), self._most)
