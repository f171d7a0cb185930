"""The limiter that counts behind the request's back: a flag is looked at, the count goes on after the request was let through.

Here the flag lives in each process, set by the process's own counting in the shared log, so that no request waits for the store (Tyk asks
it for the flag). A store that is away lets requests pass, as in Tyk. Source: keys reference, section 8 (sentinel).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred

from tlsgate.clock import Clock
from tlsgate.errors import StoreUnavailable
from tlsgate.limits.base import Rate
from tlsgate.limits.smoothing import Allowance, Smoothing, adjust
from tlsgate.store.interface import Store

__all__ = ["Sentinel"]

_MAX_UNDER_WAY = 100


class Sentinel:
    """The flag of one counter; times are monotonic.

    :param name: of the log in the store; the flag is kept there too, for gateways of the other kind.
    :param report: told of the events of smoothing.
    """

    __slots__ = (
        "_allowance",
        "_blocked_until",
        "_clock",
        "_name",
        "_rate",
        "_report",
        "_smoothing",
        "_store",
        "_under_way",
        "dropped",
    )

    def __init__(
        self,
        rate: Rate,
        *,
        name: str,
        store: Store,
        clock: Clock,
        smoothing: Smoothing | None = None,
        report: Callable[[str], None] | None = None,
    ) -> None:
        self._rate = rate
        self._name = name
        self._store = store
        self._clock = clock
        self._smoothing = smoothing
        self._report = report
        self._allowance: Allowance | None = None
        self._blocked_until = 0.0
        self._under_way = 0
        self.dropped = False

    def take(self, now: float) -> bool:
        """Let a request pass unless the flag is up; it is counted afterwards.

        What is not counted yet is bounded: behind a slow store a client does not get ahead by more than that.
        """
        if now < self._blocked_until or self._under_way >= _MAX_UNDER_WAY:
            return False
        self._under_way += 1
        _start(self._count())
        return True

    def state(self, now: float) -> tuple[int, float]:
        """Return 0 (it is not known) and the seconds until the flag goes down."""
        return 0, max(0.0, self._blocked_until - now)

    def is_idle(self, now: float) -> bool:
        """Tell whether the flag is down and nothing is being counted."""
        return now >= self._blocked_until and self._under_way == 0

    async def _count(self) -> None:
        limit = self._rate.limit if self._allowance is None else self._allowance.current
        now = self._clock.now()
        try:
            _, count = await self._store.count_sliding(self._name, self._rate.per_s, limit, now)
            if self._smoothing is not None:
                self._allowance, event = adjust(self._allowance, count.value, self._rate.limit, self._smoothing, now)
                if event and self._report is not None:
                    self._report(event)
            if count.value >= limit:
                self._blocked_until = self._clock.monotonic() + self._rate.per_s
                await self._store.put(self._name + ".BLOCKED", b"1", ttl_s=max(1, round(self._rate.per_s)))
        except StoreUnavailable:
            pass
        finally:
            self._under_way -= 1


def _start(work: Coroutine[Any, Any, None]) -> None:
    Deferred.fromCoroutine(work)
