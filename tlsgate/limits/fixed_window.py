"""Windows of the clock: so many requests between two multiples of the period. Pure arithmetic, and the names of windows in the store.

Source: keys reference, section 8.
"""

from __future__ import annotations

from tlsgate.limits.base import Rate

__all__ = ["FixedWindow", "window_at"]


def window_at(now: float, per_s: float) -> tuple[int, float]:
    """Return the number of the window that a moment lies in, and the seconds until it ends.

    :param now: epoch seconds.
    """
    number = int(now // per_s)
    return number, (number + 1) * per_s - now


class FixedWindow:
    """The windows of one counter in this process; times are wall time, so that all gateways' windows end together."""

    __slots__ = ("_count", "_limit", "_number", "_per_s", "dropped")

    def __init__(self, rate: Rate) -> None:
        self._limit = rate.limit
        self._per_s = rate.per_s
        self._number = -1
        self._count = 0
        self.dropped = False

    def take(self, now: float) -> bool:
        """Count a request in the window of ``now``."""
        number, _ = window_at(now, self._per_s)
        if number != self._number:
            self._number, self._count = number, 0
        if self._count >= self._limit:
            return False
        self._count += 1
        return True

    def state(self, now: float) -> tuple[int, float]:
        """Return what is left of the window, and the seconds until it ends."""
        number, left = window_at(now, self._per_s)
        return (self._limit - self._count if number == self._number else self._limit), left

    def is_idle(self, now: float) -> bool:
        """Tell whether its window is over."""
        return window_at(now, self._per_s)[0] != self._number
