"""The log of the last seconds: exact, and hammering keeps a client out."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from tests.support.apis import FixedClock
from tests.support.keys import run
from tlsgate.config.model import LimitSettings
from tlsgate.limits.base import Rate
from tlsgate.limits.registry import LimiterPool
from tlsgate.limits.sliding_log import SlidingLog
from tlsgate.store.memory import MemoryStore


def test_a_trace() -> None:
    """A mark that is as old as the period is out; refused requests count."""
    log = SlidingLog(Rate(2, 10.0))
    assert log.state(0.0) == (2, 10.0)
    assert [log.take(now) for now in (0.0, 1.0, 9.999)] == [True, True, False]
    assert log.state(9.999) == (0, 11.0 - 9.999)
    assert not log.take(10.0), "1.0 and the refused 9.999 are still there"
    assert log.take(20.0)
    assert log.state(20.0) == (1, 10.0)
    assert not log.is_idle(29.999) and log.is_idle(30.0)
    assert SlidingLog(Rate(1, 1.0)).is_idle(0.0)


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, 4.0, 10.0]), max_size=120), st.integers(1, 4))
def test_bounded_marks_decide_like_all_marks(gaps: list[float], limit: int) -> None:
    """Against the definition, with every mark kept."""
    log, now, marks = SlidingLog(Rate(limit, 10.0)), 0.0, []  # type: ignore[var-annotated]
    for gap in gaps:
        now += gap
        marks = [mark for mark in marks if mark > now - 10.0]
        assert log.take(now) == (len(marks) < limit)
        marks.append(now)
    assert len(log._marks) <= 2 * limit


def test_the_store_decides_alike() -> None:
    """One trace, both ways of counting."""
    clock = FixedClock(1_000_000.0)
    rate = Rate(5, 7.0)
    local = LimiterPool(MemoryStore(clock), clock, LimitSettings(rolling=True, local=True)).limit("n", rate, "")
    shared = LimiterPool(MemoryStore(clock), clock, LimitSettings(rolling=True)).limit("n", rate, "")
    rng = random.Random(7)
    for _ in range(1000):
        clock.time += rng.choice([0.0, 0.25, 0.5, 3.0, 7.0])
        one, other = run(shared.take(clock.time)), run(local.take(clock.time))
        assert (one.admitted, one.remaining) == (other.admitted, other.remaining)
