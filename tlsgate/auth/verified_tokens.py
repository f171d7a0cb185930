"""Tokens that were verified, by their SHA-256, so that the next request with one costs a look-up; knows nothing of what was verified.

Bounded in number and in time; a token itself is never kept. Source: decisions 3.12.
"""

from __future__ import annotations

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

    :param now: epoch seconds.
    :param most: how many are kept; the oldest goes.
    """

    __slots__ = ("_kept", "_most", "_now")

    def __init__(self, now: Callable[[], float], most: int = _MOST) -> None:
        self._now = now
        self._most = most
        self._kept: dict[bytes, tuple[T, float]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, digest: bytes) -> T | None:
        """Return what was verified, None when it is not there or has ended."""
        found = self._kept.get(digest)
        if found is None:
            return None
        if found[1] <= self._now():
            del self._kept[digest]
            return None
        return found[0]

    def keep(self, digest: bytes, value: T, until: float) -> None:
        """Remember.

        :param until: epoch seconds; at most :data:`LONGEST_S` from now count.
        """
        now = self._now()
        if until <= now:
            return
        put(self._kept, digest, (value, min(until, now + LONGEST_S)), self._most)

    def drop(self, digest: bytes) -> None:
        """Forget one."""
        self._kept.pop(digest, None)
