"""Which limiter counts a rate, and the counters of this process; knows no key and no request.

Tyk's selection: fixed window, sentinel, rolling, in this order, by their switches; without any the bucket of one gateway, and with several
gateways the rolling limiter for rates that are too small to be shared. Source: keys reference, section 8.

The pool outlives reloads: an unchanged key or API keeps its counter.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any
from weakref import WeakSet

from tlsgate.clock import Clock
from tlsgate.config.model import LimitSettings
from tlsgate.limits.base import LocalLimiter, Rate, RateLimit, Verdict
from tlsgate.limits.fixed_window import FixedWindow, window_at
from tlsgate.limits.sentinel import Sentinel
from tlsgate.limits.sliding_log import SlidingLog
from tlsgate.limits.smoothing import Allowance, Smoothing, adjust
from tlsgate.limits.token_bucket import TokenBucket
from tlsgate.store.interface import Store

__all__ = ["LimiterPool", "choose_limiter"]

BUCKET, FIXED_WINDOW, ROLLING, SENTINEL = "bucket", "fixed_window", "rolling", "sentinel"
_SWEEP_AT = 10_000


def choose_limiter(settings: LimitSettings, rate: Rate, nodes: int) -> str:
    """Return which limiter counts a rate.

    :param nodes: processes that share the traffic.
    """
    if settings.fixed_window:
        return FIXED_WINDOW
    if settings.sentinel:
        return SENTINEL
    if settings.rolling:
        return ROLLING
    if nodes > 1 and rate.limit / rate.per_s <= nodes * settings.drl_threshold and not settings.local:
        return ROLLING
    return BUCKET


class LimiterPool:
    """Makes rate limits, and keeps the counters of this process.

    :param nodes: processes that share the traffic, workers included.
    """

    def __init__(self, store: Store, clock: Clock, settings: LimitSettings, *, nodes: int = 1) -> None:
        self.store = store
        self.clock = clock
        self.settings = settings
        self._nodes = nodes
        self._shared: WeakSet[_SharedRate] = WeakSet()
        self._local: dict[Hashable, LocalLimiter] = {}
        self._sweep_at = _SWEEP_AT

    @property
    def nodes(self) -> int:
        """Processes that share the traffic; may be set while requests are counted: what was used of a bucket stays used."""
        return self._nodes

    @nodes.setter
    def nodes(self, nodes: int) -> None:
        if nodes != self._nodes:
            self._nodes = nodes
            for limiter in self._local.values():
                if isinstance(limiter, TokenBucket):
                    limiter.share_among(nodes)
            for shared in tuple(self._shared):
                shared.choose()

    def limit(
        self,
        name: str,
        rate: Rate,
        stamp: object,
        *,
        smoothing: Smoothing | None = None,
        report: Callable[[str], None] | None = None,
    ) -> RateLimit:
        """Return a rate limit.

        :param name: of its counter: equal names share one.
        :param stamp: another one starts a fresh counter in this process (a new version of the key).
        :param report: told of the events of smoothing.
        """
        smoothing = smoothing if self.settings.smoothing else None
        kind = choose_limiter(self.settings, rate, 1)
        # Everything that makes two counters different is in the key: limits that disagree never start each other's counter anew.
        key = (kind, name, rate, stamp)
        if kind == BUCKET:
            shared = _SharedRate(self, key, rate, _StoreLog(self, name, rate, smoothing, report))
            self._shared.add(shared)
            return shared
        if kind == SENTINEL and not self.settings.local:

            def make() -> LocalLimiter:
                return Sentinel(rate, name=name, store=self.store, clock=self.clock, smoothing=smoothing, report=report)

            return _LocalRate(self, key, rate, make)
        if self.settings.local:
            if kind == FIXED_WINDOW:
                return _LocalRate(self, key, rate, lambda: FixedWindow(rate), wall=True)
            return _LocalRate(self, key, rate, lambda: SlidingLog(rate))
        if kind == FIXED_WINDOW:
            return _StoreWindow(self, name, rate)
        return _StoreLog(self, name, rate, smoothing, report)

    def counter(self, key: Hashable, make: Callable[[], LocalLimiter]) -> LocalLimiter:
        """Return the counter of a key in this process, a fresh one when there is none."""
        found = self._local.get(key)
        if found is None:
            if len(self._local) >= self._sweep_at:
                self._sweep()
            found = self._local[key] = make()
        return found

    def _sweep(self) -> None:
        """Drop counters that a fresh one would replace unnoticed; the next sweep comes when as many again have been made."""
        monotonic, wall = self.clock.monotonic(), self.clock.now()
        for key, limiter in tuple(self._local.items()):
            if limiter.is_idle(wall if isinstance(limiter, FixedWindow) else monotonic):
                limiter.dropped = True
                del self._local[key]
        self._sweep_at = max(_SWEEP_AT, 2 * len(self._local))


class _LocalRate:
    """A rate that is counted in this process."""

    __slots__ = ("_key", "_limiter", "_make", "_pool", "_wall", "rate")

    is_local = True

    def __init__(self, pool: LimiterPool, key: Hashable, rate: Rate, make: Callable[[], LocalLimiter], *, wall: bool = False) -> None:
        self.rate = rate
        self._pool = pool
        self._key = key
        self._make = make
        self._wall = wall
        self._limiter = pool.counter(key, make)

    def take_now(self, now: float) -> bool:
        """Count a request."""
        limiter = self._limiter
        if limiter.dropped:
            limiter = self._limiter = self._pool.counter(self._key, self._make)
        return limiter.take(self._pool.clock.now() if self._wall else now)

    async def take(self, now: float) -> Verdict:
        """Count a request."""
        return self.verdict(self.take_now(now), now)

    def verdict(self, admitted: bool, now: float) -> Verdict:
        """Return the verdict."""
        return Verdict(admitted, *self._limiter.state(self._pool.clock.now() if self._wall else now))


class _SharedRate(_LocalRate):
    """A rate that each process counts its share of, or all of them in the store: what the number of processes decides."""

    __slots__ = ("__weakref__", "_log", "is_local")

    def __init__(self, pool: LimiterPool, key: Hashable, rate: Rate, log: _StoreLog) -> None:
        super().__init__(pool, key, rate, lambda: TokenBucket(rate, pool.nodes))
        self._log = log
        self.choose()

    def choose(self) -> None:
        """Decide anew where to count."""
        self.is_local = choose_limiter(self._pool.settings, self.rate, self._pool.nodes) == BUCKET

    async def take(self, now: float) -> Verdict:
        """Count a request where it is to be counted now."""
        return await (super().take(now) if self.is_local else self._log.take(now))


class _StoreRate:
    """A rate that is counted in the store."""

    __slots__ = ("_name", "_pool", "rate")

    is_local = False

    def __init__(self, pool: LimiterPool, name: str, rate: Rate) -> None:
        self.rate = rate
        self._pool = pool
        self._name = name

    def take_now(self, now: float) -> bool:
        """Never: the store is needed."""
        raise NotImplementedError

    def verdict(self, admitted: bool, now: float) -> Verdict:
        """Never: :meth:`take` returns it."""
        raise NotImplementedError


class _StoreWindow(_StoreRate):
    """Windows of the clock, over all gateways."""

    __slots__ = ()

    async def take(self, now: float) -> Verdict:
        """Count a request in the current window."""
        number, left = window_at(self._pool.clock.now(), self.rate.per_s)
        admitted, count = await self._pool.store.count_window(f"{self._name}-{number}", self.rate.per_s, self.rate.limit)
        return Verdict(admitted, max(0, self.rate.limit - count.value), left)


class _StoreLog(_StoreRate):
    """The sliding log, over all gateways, perhaps smoothed."""

    __slots__ = ("_allowance", "_report", "_smoothing")

    def __init__(self, pool: LimiterPool, name: str, rate: Rate, smoothing: Smoothing | None, report: Callable[[str], None] | None) -> None:
        super().__init__(pool, name, rate)
        self._smoothing = smoothing
        self._report = report
        self._allowance: Allowance | None = None

    async def take(self, now: float) -> Verdict:
        """Log a request."""
        pool, moment = self._pool, self._pool.clock.now()
        limit = self.rate.limit
        if self._smoothing is not None:
            if self._allowance is None or moment >= self._allowance.next_update_at:
                # Another gateway may have changed it meanwhile.
                self._allowance = Allowance.find(await pool.store.get(self._name + "-smoothing"))
            limit = min(limit, self._smoothing.threshold if self._allowance is None else self._allowance.current)
        admitted, count = await pool.store.count_sliding(self._name, self.rate.per_s, limit, moment)
        if self._smoothing is not None:
            await self._adjust(count.value, moment)
        return Verdict(admitted, max(0, limit - count.value), count.expires_in_s or self.rate.per_s)

    async def _adjust(self, count: int, now: float) -> None:
        smoothing: Any = self._smoothing
        changed, event = adjust(self._allowance, count, self.rate.limit, smoothing, now)
        if changed is not self._allowance:
            self._allowance = changed
            life = int(2 * smoothing.delay_s + self.rate.per_s) + 1
            await self._pool.store.put(self._name + "-smoothing", changed.encode(), ttl_s=life)
        if event and self._report is not None:
            self._report(event)
