"""Proofs that were used, so that none is good twice; knows digests and times, not what a proof is.

Bounded: where more come than there is room for, the ones that end first are forgotten, and whatever would end no later than they is refused
from then on. So a flood makes the time shorter in which a proof is good, and never makes one good twice. Source: RFC 9449 section 11.1.
"""

from __future__ import annotations

import heapq

__all__ = ["UsedProofs"]

_MAX = 100_000


class UsedProofs:
    """The proofs that one process has taken.

    :param room: how many are kept; 100,000 take some 15 MB.
    """

    __slots__ = ("_ends", "_horizon", "_room", "_seconds", "_used")

    def __init__(self, room: int = _MAX) -> None:
        self._room = room
        self._used: dict[bytes, int] = {}
        self._ends: dict[int, list[bytes]] = {}
        self._seconds: list[int] = []
        """A heap of the keys of ``_ends``."""
        self._horizon = 0

    def __len__(self) -> int:
        return len(self._used)

    def use(self, digest: bytes, end: float, now: float) -> bool:
        """Take a proof for the first time; False when it was taken before, or cannot be told from one that was.

        :param digest: what makes it the same proof.
        :param end: epoch seconds from which on it is refused anyway.
        :param now: epoch seconds.
        """
        second = int(end) + 1
        if second <= self._horizon or digest in self._used:
            return False
        if len(self._used) >= self._room:
            self._make_room(now)
            if second <= self._horizon:
                return False
        self._used[digest] = second
        ends = self._ends.get(second)
        if ends is None:
            ends = self._ends[second] = []
            heapq.heappush(self._seconds, second)
        ends.append(digest)
        return True

    def _make_room(self, now: float) -> None:
        while self._seconds and self._seconds[0] < now:
            self._forget()
        if len(self._used) >= self._room:
            self._forget()

    def _forget(self) -> None:
        """Forget what ends first; refused from now on also if it has ended, since a clock may be set back."""
        self._horizon = heapq.heappop(self._seconds)
        for digest in self._ends.pop(self._horizon):
            del self._used[digest]
