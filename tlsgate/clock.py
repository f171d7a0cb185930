"""The clock protocol, so that no other module reads the time on its own; knows nothing of reactors."""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """Wall and monotonic time."""

    def now(self) -> float:
        """Return the wall time in seconds since the epoch (UTC)."""
        ...

    def monotonic(self) -> float:
        """Return monotonic time in seconds, for time-outs."""
        ...


class SystemClock:
    """The machine's own clock."""

    __slots__ = ()

    now = staticmethod(time.time)
    """Wall time in seconds since the epoch (UTC)."""
    monotonic = staticmethod(time.monotonic)
    """Monotonic time in seconds, for time-outs."""
