"""The limiter that counts behind the request's back."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from tests.support.apis import FixedClock
from tests.support.keys import CountingStore, run
from tlsgate.config.model import LimitSettings
from tlsgate.limits.base import Rate
from tlsgate.limits.registry import LimiterPool
from tlsgate.limits.sentinel import Sentinel
from tlsgate.limits.smoothing import UP, Smoothing

NAME = "rate-limit-k"


def make(limit: int = 3, **fields: Any) -> tuple[Sentinel, CountingStore, FixedClock]:
    clock = FixedClock()
    store = CountingStore(clock)
    return Sentinel(Rate(limit, 10.0), name=NAME, store=store, clock=clock, **fields), store, clock


def test_the_flag_goes_up_when_the_log_is_full() -> None:
    """Everything is refused for the period; the flag stands in the store too."""
    sentinel, store, clock = make()
    assert [sentinel.take(clock.time) for _ in range(4)] == [True, True, True, False]
    assert run(store.get(NAME + ".BLOCKED")) == b"1"
    assert sentinel.state(clock.time) == (0, 10.0)
    clock.time += 9.999
    assert not sentinel.take(clock.time) and not sentinel.is_idle(clock.time)
    clock.time += 0.001
    assert sentinel.is_idle(clock.time)
    assert sentinel.take(clock.time)


def test_no_request_waits() -> None:
    """What is not counted yet is bounded."""
    sentinel, store, clock = make(1000)
    waiting: list[Deferred[None]] = []
    count = store.count_sliding

    async def slow(*args: Any, **named: Any) -> Any:
        waiter: Deferred[None] = Deferred()
        waiting.append(waiter)
        await waiter
        return await count(*args, **named)

    store.count_sliding = slow  # type: ignore[method-assign]
    assert [sentinel.take(clock.time) for _ in range(101)] == [True] * 100 + [False]
    assert not sentinel.is_idle(clock.time)
    for waiter in waiting:
        waiter.callback(None)
    assert sentinel.take(clock.time)


def test_a_store_that_is_away_lets_requests_pass() -> None:
    """As in Tyk."""
    sentinel, store, clock = make(1)
    store._available = False
    assert [sentinel.take(clock.time) for _ in range(3)] == [True] * 3
    assert sentinel.is_idle(clock.time)


def test_smoothing() -> None:
    """The flag goes up at the allowance, which grows."""
    events: list[str] = []
    sentinel, _, clock = make(20, smoothing=Smoothing(2, 0.5, 2, 5.0), report=events.append)
    assert [sentinel.take(clock.time) for _ in range(3)] == [True, True, False]
    clock.time += 10
    for _ in range(2):
        sentinel.take(clock.time)
    assert events == [UP]


def test_the_pool_makes_it() -> None:
    """``enable_sentinel_rate_limiter``."""
    clock = FixedClock()
    limit = LimiterPool(CountingStore(clock), clock, LimitSettings(sentinel=True)).limit(NAME, Rate(1, 1.0), "")
    assert limit.is_local
    assert [limit.take_now(clock.time) for _ in range(2)] == [True, False]
