"""A log of the requests of the last seconds: the exact limiter, refused requests counted too. Pure arithmetic.

The store has the same algorithm over all gateways (``CounterStore.count_sliding``). Source: keys reference, section 8 (rolling limiter).
"""

from __future__ import annotations

from collections import deque

from tlsgate.limits.base import Rate

__all__ = ["SlidingLog"]


class SlidingLog:
    """The log of one counter in this process; times are monotonic. Holds at most twice the limit of marks."""

    __slots__ = ("_limit", "_marks", "_per_s", "dropped")

    def __init__(self, rate: Rate) -> None:
        self._limit = rate.limit
        self._per_s = rate.per_s
        # The newest marks decide: a client that hammers fills no memory.
        self._marks: deque[float] = deque(maxlen=2 * rate.limit)
        self.dropped = False

    def take(self, now: float) -> bool:
        """Log a request; admitted when fewer than the limit lie within the period before it."""
        self._forget(now)
        admitted = len(self._marks) < self._limit
        self._marks.append(now)
        return admitted

    def state(self, now: float) -> tuple[int, float]:
        """Return what is left, and the seconds until there is room again."""
        self._forget(now)
        marks = self._marks
        if not marks:
            return self._limit, self._per_s
        over = len(marks) - self._limit
        leaving = marks[over] if over >= 0 else marks[0]
        return max(0, -over), leaving + self._per_s - now

    def is_idle(self, now: float) -> bool:
        """Tell whether nothing lies within the period."""
        return not self._marks or self._marks[-1] + self._per_s <= now

    def _forget(self, now: float) -> None:
        marks, out = self._marks, now - self._per_s
        while marks and marks[0] <= out:
            marks.popleft()
