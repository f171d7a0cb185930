"""One coarse timer for all connections; knows nothing of what is late.

A ``callLater`` per connection and state costs microseconds per request (performance reference); here moving a deadline is two
attribute writes. Deadlines fire up to one tick late, never early.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Deadlines", "Timed"]

NEVER = float("inf")


class Timed(Protocol):
    """Something with a deadline."""

    deadline: float
    """Monotonic seconds; infinity for none."""
    armed_at: float
    """Owned by :class:`Deadlines`: the earliest tick at which it looks; infinity at first."""

    def deadline_passed(self) -> None:
        """Called once for a deadline that passed; it is then infinity."""


class Deadlines:
    """Buckets of :class:`Timed` objects, looked at each tick.

    :param reactor: provides ``callLater``.
    :param seconds: monotonic time.
    :param tick_s: granularity in seconds.
    """

    def __init__(self, reactor: Any, seconds: Callable[[], float], tick_s: float = 0.25) -> None:
        self._reactor = reactor
        self._seconds = seconds
        self._tick_s = tick_s
        self._buckets: dict[int, set[Timed]] = {}
        self._call: Any = None
        self._last = self._bucket_of(self._seconds())
        self.now: float = self._seconds()
        """Monotonic time, of the last call of ``set`` or tick: near enough for time-outs."""

    def read(self) -> float:
        """Return monotonic time, now."""
        self.now = now = self._seconds()
        return now

    def set(self, timed: Timed, seconds: float) -> None:
        """Let ``timed`` be late in ``seconds`` from now."""
        now = self.now = self._seconds()
        self.set_at(timed, now + seconds)

    def set_at(self, timed: Timed, deadline: float) -> None:
        """Let ``timed`` be late at ``deadline`` (monotonic)."""
        timed.deadline = deadline
        if deadline < timed.armed_at:
            self._arm(timed, deadline)

    def clear(self, timed: Timed) -> None:
        """Forget ``timed``: for objects that end (others set ``deadline`` to infinity)."""
        timed.deadline = NEVER
        if timed.armed_at != NEVER:
            bucket = self._buckets.get(self._bucket_of(timed.armed_at))
            if bucket is not None:
                bucket.discard(timed)
            timed.armed_at = NEVER

    def stop(self) -> None:
        """End the timer; nothing fires any more."""
        self._buckets.clear()
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _bucket_of(self, deadline: float) -> int:
        return int(deadline / self._tick_s) + 1

    def _arm(self, timed: Timed, deadline: float) -> None:
        if timed.armed_at != NEVER:
            old = self._buckets.get(self._bucket_of(timed.armed_at))
            if old is not None:
                old.discard(timed)
        timed.armed_at = deadline
        number = self._bucket_of(deadline)
        if number <= self._last:
            number = self._last + 1
            timed.armed_at = (number - 0.5) * self._tick_s
            number = self._bucket_of(timed.armed_at)
        self._buckets.setdefault(number, set()).add(timed)
        if self._call is None:
            self._last = self._bucket_of(self._seconds()) - 1
            self._call = self._reactor.callLater(self._tick_s, self._tick)

    def _tick(self) -> None:
        self._call = None
        now = self.now = self._seconds()
        current = self._bucket_of(now) - 1
        due: list[Timed] = []
        if current - self._last > len(self._buckets) + 1:
            for number in [number for number in self._buckets if number <= current]:
                due.extend(self._buckets.pop(number))
        else:
            for number in range(self._last, current + 1):
                bucket = self._buckets.pop(number, None)
                if bucket:
                    due.extend(bucket)
        self._last = current
        for timed in due:
            timed.armed_at = NEVER
        for timed in due:
            deadline = timed.deadline
            if deadline == NEVER:
                continue
            if deadline > now:
                if timed.armed_at == NEVER:
                    self._arm(timed, deadline)
            else:
                timed.deadline = NEVER
                timed.deadline_passed()
        if self._buckets and self._call is None:
            self._call = self._reactor.callLater(self._tick_s, self._tick)
