"""Which limiter counts, and counters that outlive reloads."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.apis import FixedClock
from tests.support.keys import CountingStore, run
from tlsgate.config.model import LimitSettings
from tlsgate.limits import registry
from tlsgate.limits.base import Rate
from tlsgate.limits.registry import LimiterPool, choose_limiter
from tlsgate.limits.smoothing import UP, Smoothing


def make(nodes: int = 1, **settings: Any) -> tuple[LimiterPool, CountingStore, FixedClock]:
    clock = FixedClock()
    store = CountingStore(clock)
    return LimiterPool(store, clock, LimitSettings(**settings), nodes=nodes), store, clock


@pytest.mark.parametrize(
    ("settings", "rate", "nodes", "kind"),
    [
        ({"fixed_window": True, "sentinel": True, "rolling": True}, Rate(1, 1.0), 1, "fixed_window"),
        ({"sentinel": True, "rolling": True}, Rate(1, 1.0), 1, "sentinel"),
        ({"rolling": True}, Rate(1000, 1.0), 1, "rolling"),
        ({}, Rate(1, 1.0), 1, "bucket"),
        ({}, Rate(10, 1.0), 2, "rolling"),
        ({}, Rate(11, 1.0), 2, "bucket"),
        ({}, Rate(1000, 3600.0), 2, "rolling"),
        ({"drl_threshold": 1.0}, Rate(3, 1.0), 2, "bucket"),
        ({"local": True}, Rate(1, 1.0), 2, "bucket"),
    ],
)
def test_tyks_selection(settings: dict[str, Any], rate: Rate, nodes: int, kind: str) -> None:
    """Source: keys reference, section 8."""
    assert choose_limiter(LimitSettings(**settings), rate, nodes) == kind


def test_a_local_limit_costs_no_round_trip() -> None:
    """And waits for nothing."""
    pool, store, clock = make()
    limit = pool.limit("n", Rate(2, 10.0), "")
    assert limit.is_local
    assert [limit.take_now(clock.time) for _ in range(3)] == [True, True, False]
    assert run(limit.take(clock.time)) == (False, 0, 10.0)
    assert store.counts == 0


def test_equal_names_share_a_counter_and_versions_do_not() -> None:
    """A reload makes new limits over the old counters; limits that differ never start each other's anew."""
    pool, _, clock = make()
    one, same = pool.limit("n", Rate(2, 10.0), "v1"), pool.limit("n", Rate(2, 10.0), "v1")
    assert [one.take_now(clock.time), same.take_now(clock.time), one.take_now(clock.time)] == [True, True, False]
    assert pool.limit("n", Rate(2, 10.0), "v2").take_now(clock.time)
    assert pool.limit("n", Rate(3, 10.0), "v1").take_now(clock.time)
    assert not same.take_now(clock.time) and not one.take_now(clock.time)


def test_several_gateways_share_a_rate() -> None:
    """An equal part each."""
    pool, _, clock = make(nodes=2)
    limit = pool.limit("n", Rate(100, 1.0), "")
    assert limit.is_local and limit.rate == Rate(100, 1.0)
    assert sum(limit.take_now(clock.time) for _ in range(100)) == 50


def test_idle_counters_are_swept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever holds one that was dropped gets a new one, the same as everybody else."""
    monkeypatch.setattr(registry, "_SWEEP_AT", 4)
    pool, _, clock = make()
    held = pool.limit("held", Rate(1, 10.0), "")
    assert held.take_now(clock.time)
    for number in range(20):
        pool.limit(f"n{number}", Rate(1, 10.0), "")
    assert len(pool._local) < 10
    assert not held.take_now(clock.time), "in use: kept"
    clock.time += 10
    for number in range(20):
        pool.limit(f"m{number}", Rate(1, 10.0), "")
    assert held.take_now(clock.time)
    assert not pool.limit("held", Rate(1, 10.0), "").take_now(clock.time), "one counter, not two"


def test_local_windows_are_swept_by_the_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """They run on wall time."""
    monkeypatch.setattr(registry, "_SWEEP_AT", 2)
    pool, _, _clock = make(fixed_window=True, local=True)
    held = pool.limit("held", Rate(1, 10.0), "")
    assert held.take_now(0.0) and not held.take_now(0.0)
    assert held.verdict(False, 0.0).remaining == 0
    for number in range(6):
        pool.limit(f"n{number}", Rate(1, 10.0), "")
    assert not held.take_now(0.0)


def test_exact_over_gateways() -> None:
    """Two pools on one store: the sum is the rate, windows and log alike."""
    for settings in ({"rolling": True}, {"fixed_window": True}):
        clock = FixedClock()
        store = CountingStore(clock)
        limits = [LimiterPool(store, clock, LimitSettings(**settings), nodes=2).limit("n", Rate(1000, 3600.0), "") for _ in range(2)]
        admitted = sum(run(limits[number % 2].take(clock.time)).admitted for number in range(10_000))
        assert admitted == 1000


def test_limits_in_the_store_are_never_asked_at_once() -> None:
    """``is_local`` says so."""
    pool, _, _ = make(rolling=True)
    limit = pool.limit("n", Rate(1, 1.0), "")
    for ask in (lambda: limit.take_now(0.0), lambda: limit.verdict(True, 0.0)):
        with pytest.raises(NotImplementedError):
            ask()


def test_smoothing_of_the_rolling_limiter() -> None:
    """It starts at the threshold, grows, and another gateway sees it."""
    pool, store, clock = make(rolling=True, smoothing=True)
    events: list[str] = []
    smoothing = Smoothing(2, 0.5, 2, 5.0)
    limit = pool.limit("n", Rate(20, 10.0), "", smoothing=smoothing, report=events.append)
    assert [run(limit.take(clock.time)).admitted for _ in range(3)] == [True, True, False]
    clock.time += 11
    assert run(limit.take(clock.time)).remaining == 1
    assert run(limit.take(clock.time)).admitted
    assert events == [UP]
    other = LimiterPool(store, clock, pool.settings).limit("n", Rate(20, 10.0), "", smoothing=smoothing)
    assert run(other.take(clock.time)).admitted, "4 are allowed now"
    off = LimiterPool(store, clock, LimitSettings(rolling=True)).limit("n", Rate(20, 10.0), "", smoothing=smoothing)
    assert run(off.take(clock.time)).remaining > 10


def test_the_number_of_gateways_may_change_at_run_time() -> None:
    """What was used of a bucket stays used; a rate that is too small to be shared moves to the store, and back."""
    pool, store, clock = make()
    large, small = pool.limit("large", Rate(200, 10.0), ""), pool.limit("small", Rate(4, 10.0), "")
    assert sum(large.take_now(clock.time) for _ in range(30)) == 30
    assert small.is_local and small.take_now(clock.time)
    pool.nodes = 2
    assert large.is_local and sum(large.take_now(clock.time) for _ in range(200)) == 70
    assert not small.is_local
    assert [run(small.take(clock.time)).admitted for _ in range(5)] == [True] * 4 + [False]
    assert store.counts == 5
    clock.time += 10.0
    assert sum(large.take_now(clock.time) for _ in range(200)) == 100
    pool.nodes = 1
    assert small.is_local and sum(large.take_now(clock.time) for _ in range(200)) == 100
    assert not large.take_now(clock.time)
