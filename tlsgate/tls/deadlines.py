"""One coarse timer for all connections; knows nothing of what is late.

A ``callLater`` per connection and state costs microseconds per request (performance reference); here moving a deadline is two
attribute writes. Deadlines fire up to one tick late, never early.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from twisted.logger import Logger

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Deadlines", "Timed"]

NEVER = float("inf")
_LEAST_WAIT_S = 0.001
_log = Logger()


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
        self._stopped = False
        self._last = 0
        """The last bucket that was emptied; all up to it are gone."""
        self.now: float = self._seconds()
        """Monotonic time, of the last call of ``set`` or tick: near enough for time-outs."""

    def read(self) -> float:
        """Return monotonic time, now."""
        self.now = now = self._seconds()
        return now

    def set(self, timed: Timed, seconds: float) -> None:
        """Let ``timed`` be late in ``seconds`` from now."""
        now = self.now = self._seconds()
        deadline = timed.deadline = now + seconds
        if deadline < timed.armed_at:
            self._arm(timed, deadline)

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
        self._stopped = True
        self._buckets.clear()
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _bucket_of(self, deadline: float) -> int:
        """Return the tick at whose end a deadline has passed."""
        return int(deadline / self._tick_s) + 1

    def _arm(self, timed: Timed, deadline: float) -> None:
        if timed.armed_at != NEVER:
            old = self._buckets.get(self._bucket_of(timed.armed_at))
            if old is not None:
                old.discard(timed)
        if self._stopped:
            return
        if self._call is None:
            now = self._seconds()
            if not self._buckets:
                # The last look may be long ago.
                self._last = int(now / self._tick_s)
            self._schedule(now)
        timed.armed_at = deadline
        number = self._bucket_of(deadline)
        if number <= self._last:
            number = self._last + 1
            timed.armed_at = (number - 0.5) * self._tick_s
        self._buckets.setdefault(number, set()).add(timed)

    def _schedule(self, now: float) -> None:
        """Look again at the end of the tick that has begun: on the grid, so that nothing waits for two."""
        wait = self._bucket_of(now) * self._tick_s - now
        self._call = self._reactor.callLater(wait if wait > _LEAST_WAIT_S else _LEAST_WAIT_S, self._tick)

    def _tick(self) -> None:
        self._call = None
        now = self.now = self._seconds()
        current = int(now / self._tick_s)
        due: list[Timed] = []
        if current - self._last > len(self._buckets):
            for number in [number for number in self._buckets if number <= current]:
                due.extend(self._buckets.pop(number))
        else:
            for number in range(self._last + 1, current + 1):
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
                try:
                    timed.deadline_passed()
                except Exception:
                    # One fault must not end the time-outs of everybody.
                    _log.failure("a passed deadline could not be told", event="deadlines.failed")
        if self._buckets and self._call is None:
            self._schedule(now)
