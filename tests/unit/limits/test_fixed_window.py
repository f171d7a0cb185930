"""Windows of the clock."""

from __future__ import annotations

import random

from tests.support.apis import FixedClock
from tests.support.keys import run
from tlsgate.config.model import LimitSettings
from tlsgate.limits.base import Rate
from tlsgate.limits.fixed_window import FixedWindow, window_at
from tlsgate.limits.registry import LimiterPool
from tlsgate.store.memory import MemoryStore


def test_windows_start_at_multiples_of_the_period() -> None:
    """To the instant."""
    assert window_at(59.0, 60.0) == (0, 1.0)
    assert window_at(60.0, 60.0) == (1, 60.0)


def test_a_trace() -> None:
    """n-1, n, n+1; a new window starts empty."""
    window = FixedWindow(Rate(2, 60.0))
    assert [window.take(now) for now in (50.0, 58.0, 59.0)] == [True, True, False]
    assert window.state(59.0) == (0, 1.0)
    assert not window.is_idle(59.0) and window.is_idle(60.0)
    assert window.state(60.0) == (2, 60.0)
    assert [window.take(now) for now in (60.0, 61.0, 119.0, 120.0)] == [True, True, False, True]


def test_the_store_decides_alike() -> None:
    """One trace, both ways of counting."""
    clock = FixedClock(1_000_000.0)
    rate = Rate(5, 7.0)
    local = LimiterPool(MemoryStore(clock), clock, LimitSettings(fixed_window=True, local=True)).limit("n", rate, "")
    shared = LimiterPool(MemoryStore(clock), clock, LimitSettings(fixed_window=True)).limit("n", rate, "")
    assert local.is_local and not shared.is_local
    rng = random.Random(7)
    for _ in range(500):
        clock.time += rng.choice([0.0, 0.25, 0.5, 3.0, 7.0])
        assert run(shared.take(clock.time)) == run(local.take(clock.time))
