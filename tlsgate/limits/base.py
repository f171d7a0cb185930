"""What all limiters share: a rate in whole requests, the answer of a limiter, and the protocol of those that count in this process.

Knows no algorithm and no store.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

__all__ = ["LONGEST_S", "LocalLimiter", "Rate", "RateLimit", "Verdict", "normalise_rate", "tell_rate"]

LONGEST_S = 10**10
"""Longest period of a counter, some 300 years: clocks, stores and headers take it."""
_SHORTEST_S = 1e-6
_MOST = 2**53
"""More requests than any window sees; numbers up to here are exact in every store."""


class Rate(NamedTuple):
    """So many requests in so many seconds."""

    limit: int
    """At least 1."""
    per_s: float


class Verdict(NamedTuple):
    """What a limiter says of a request."""

    admitted: bool
    remaining: int
    """Requests left in the window."""
    resets_in_s: float
    """Until there is room again (refused), or until the window is as new."""


class LocalLimiter(Protocol):
    """Counts in this process; the state of one counter."""

    dropped: bool
    """No longer in the pool; whoever still holds it asks for a new one."""

    def take(self, now: float) -> bool:
        """Count a request; tells whether it is admitted.

        :param now: on the limiter's clock (monotonic, or wall time for windows of the clock).
        """
        ...

    def state(self, now: float) -> tuple[int, float]:
        """Return what is left, and the seconds until there is room again or the window is as new."""
        ...

    def is_idle(self, now: float) -> bool:
        """Tell whether a fresh one would decide alike."""
        ...


class RateLimit(Protocol):
    """One rate of one counter, ready to be asked."""

    rate: Rate
    is_local: bool
    """Whether :meth:`take_now` decides; else :meth:`take` has to be awaited."""

    def take_now(self, now: float) -> bool:
        """Count a request without waiting.

        :param now: monotonic seconds.
        """
        ...

    async def take(self, now: float) -> Verdict:
        """Count a request, asking the store where the counter lives there.

        :param now: monotonic seconds.
        :raises StoreUnavailable: no answer.
        """
        ...

    def verdict(self, admitted: bool, now: float) -> Verdict:
        """Return the verdict after :meth:`take_now`."""
        ...


def normalise_rate(rate: float, per: float) -> Rate | None:
    """Return a rate in whole requests, None for no limit.

    Fractions are kept by stretching or shrinking the time: half a request a second is one in two seconds (Tyk cuts both to whole numbers,
    so that ``per`` 0.5 does not limit at all). What no clock or store can hold is cut to what they can.

    :param rate: requests; 0 or less is no limit.
    :param per: seconds; 0 or less is no limit.
    """
    if rate <= 0 or per <= 0:
        return None
    rate = min(rate, _MOST)
    whole = max(1, math.floor(rate))
    return Rate(whole, min(max(per * whole / rate, _SHORTEST_S), LONGEST_S))


def tell_rate(limit: RateLimit, now: float) -> dict[str, int | float | None]:
    """Return a rate and what is left of it, for a report; nothing is counted.

    :param now: monotonic seconds.
    :returns: ``remaining`` is None where it is counted in the store.
    """
    remaining = limit.verdict(True, now).remaining if limit.is_local else None
    return {"limit": limit.rate.limit, "per_s": limit.rate.per_s, "remaining": remaining}
