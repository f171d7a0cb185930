"""One coarse timer for everything: never early, at most one tick late, whatever is re-armed or forgotten in between."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from tests.support.logged import logged_events
from tlsgate.tls.deadlines import NEVER, Deadlines

TICK = 0.25


class Late:
    """Something with a deadline; notes when it was told."""

    def __init__(self, clock: Clock, then: Callable[[Late], None] | None = None) -> None:
        self.deadline = NEVER
        self.armed_at = NEVER
        self.told: list[float] = []
        self._clock = clock
        self._then = then

    def deadline_passed(self) -> None:
        self.told.append(self._clock.seconds())
        assert self.deadline == NEVER
        if self._then is not None:
            self._then(self)


class Timer:
    """A clock with deadlines on it."""

    def __init__(self, start: float = 1000.0, tick_s: float = TICK) -> None:
        self.clock = Clock()
        self.clock.advance(start)
        self.deadlines = Deadlines(self.clock, self.clock.seconds, tick_s)

    def late(self, then: Callable[[Late], None] | None = None) -> Late:
        return Late(self.clock, then)

    def run(self, seconds: float, step: float = 0.01) -> None:
        """Let time pass in small steps, so that each call happens when it is due."""
        self.clock.pump([step] * round(seconds / step))


@pytest.mark.parametrize("phase", [0.0, 0.1, 0.24, 0.2499])
@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.249, 0.25, 0.251, 1.0, 10.0])
def test_a_deadline_fires_once_in_time(phase: float, seconds: float) -> None:
    """Never early, at most one tick late, at any phase of the tick."""
    timer = Timer(1000.0 + phase)
    late = timer.late()
    start = timer.clock.seconds()
    timer.deadlines.set(late, seconds)
    timer.run(seconds + 2)
    assert len(late.told) == 1
    assert seconds <= late.told[0] - start <= seconds + TICK + 0.011
    assert late.armed_at == NEVER
    assert not timer.clock.getDelayedCalls()


def test_a_deadline_in_the_past_fires_at_the_next_tick() -> None:
    """A slow body can be late at once; also when no timer runs and the last tick is long ago."""
    for idle in (0.0, 100.0):
        timer = Timer()
        timer.clock.advance(idle)
        late = timer.late()
        timer.deadlines.set_at(late, timer.clock.seconds() - 5)
        timer.run(0.5)
        assert len(late.told) == 1


def test_a_later_deadline_costs_no_call() -> None:
    """Moving a deadline away is two attribute writes: the object stays where it is and is looked at again."""
    timer = Timer()
    late = timer.late()
    timer.deadlines.set(late, 1)
    armed = late.armed_at
    timer.deadlines.set(late, 5)
    assert late.armed_at == armed
    timer.run(4.9)
    assert not late.told
    timer.run(0.5)
    assert len(late.told) == 1


def test_an_earlier_deadline_is_kept() -> None:
    """The object moves to an earlier tick."""
    timer = Timer()
    late = timer.late()
    timer.deadlines.set(late, 60)
    timer.deadlines.set(late, 1)
    timer.run(1.3)
    assert len(late.told) == 1
    timer.run(70, 0.1)
    assert len(late.told) == 1


def test_infinity_written_over_a_deadline_takes_it_away() -> None:
    """What hot paths do instead of a call."""
    timer = Timer()
    late = timer.late()
    timer.deadlines.set(late, 1)
    late.deadline = NEVER
    timer.run(3)
    assert not late.told
    timer.deadlines.set(late, 1)
    timer.run(1.3)
    assert len(late.told) == 1


def test_what_is_cleared_is_forgotten() -> None:
    """No reference to an ended object stays, and clearing twice, or before anything was set, does nothing."""
    timer = Timer()
    late = timer.late()
    timer.deadlines.clear(late)
    timer.deadlines.set(late, 1)
    timer.deadlines.clear(late)
    timer.deadlines.clear(late)
    assert late.armed_at == late.deadline == NEVER
    assert not any(late in bucket for bucket in timer.deadlines._buckets.values())
    timer.run(2)
    assert not late.told
    assert not timer.clock.getDelayedCalls()


def test_clearing_what_fires_in_the_same_tick() -> None:
    """One object's end is another's: the second is not told any more."""
    timer = Timer()
    objects: list[Late] = []

    def clear_all(_: Late) -> None:
        for other in objects:
            timer.deadlines.clear(other)

    objects += [timer.late(clear_all) for _ in range(5)]
    for one in objects:
        timer.deadlines.set(one, 1)
    timer.run(3)
    assert sum(len(one.told) for one in objects) == 1


def test_an_object_may_set_its_next_deadline_when_told() -> None:
    """Standstill checks do."""
    timer = Timer()
    late = timer.late(lambda self: timer.deadlines.set(self, 1) if len(self.told) < 3 else None)
    timer.deadlines.set(late, 1)
    timer.run(6)
    assert len(late.told) == 3
    assert all(second - first >= 1 for first, second in zip(late.told, late.told[1:], strict=False))


def test_an_object_moved_by_another_in_the_same_tick() -> None:
    """Moved away by whoever is told first: it fires at its new time, or it had fired already."""
    timer = Timer()
    pair: list[Late] = []

    def move_other(self: Late) -> None:
        other = pair[1 - pair.index(self)]
        if not other.told:
            timer.deadlines.set(other, 2)

    pair += [timer.late(move_other), timer.late(move_other)]
    for one in pair:
        timer.deadlines.set(one, 1)
    timer.run(5)
    first, second = sorted(one.told[0] for one in pair)
    assert second - first >= 2
    assert all(len(one.told) == 1 for one in pair)


def test_a_failure_of_one_does_not_stop_the_others() -> None:
    """The only timer of the process must survive a fault in what it calls."""
    timer = Timer()

    def fail(_: Late) -> None:
        raise RuntimeError("out of order")

    bad, good, later = timer.late(fail), timer.late(), timer.late()
    with logged_events() as events:
        for one in (bad, good):
            timer.deadlines.set(one, 1)
        timer.deadlines.set(later, 2)
        timer.run(3)
    assert len(bad.told) == len(good.told) == len(later.told) == 1
    assert [event["event"] for event in events] == ["deadlines.failed"]


def test_a_long_pause_of_the_process_fires_everything_that_is_due() -> None:
    """A suspended process or one long call: many ticks are missed, no deadline is."""
    timer = Timer()
    near, far, farther = timer.late(), timer.late(), timer.late()
    timer.deadlines.set(near, 1)
    timer.deadlines.set(far, 3600)
    timer.deadlines.set(farther, 9000)
    timer.clock.advance(5000)
    assert len(near.told) == len(far.told) == 1
    assert not farther.told
    timer.run(4001, 1.0)
    assert len(farther.told) == 1


def test_ticks_that_pass_while_somebody_is_told_are_not_skipped() -> None:
    """A call that takes longer than a tick and sets its next deadline."""
    clock = Clock()
    lost = [0.0]
    deadlines = Deadlines(clock, lambda: clock.seconds() + lost[0], TICK)

    def dawdle(self: Late) -> None:
        lost[0] += 1.0
        deadlines.set(self, 5)

    slow, other = Late(clock, dawdle), Late(clock)
    deadlines.set(slow, 0.5)
    deadlines.set(other, 1.2)
    clock.pump([0.01] * 200)
    assert len(slow.told) == len(other.told) == 1


def test_nothing_fires_after_the_end() -> None:
    """Shut down: no timer stays, and none begins."""
    timer = Timer()
    late, other = timer.late(), timer.late()
    timer.deadlines.set(late, 1)
    timer.deadlines.stop()
    timer.deadlines.stop()
    timer.deadlines.set(other, 1)
    timer.deadlines.set(late, 0.5)
    assert not timer.clock.getDelayedCalls()
    timer.run(3)
    assert not late.told
    assert not other.told
    timer.deadlines.clear(other)
    timer.deadlines.clear(late)


def test_the_time_of_the_last_look_is_kept() -> None:
    """``now`` saves callers a clock read."""
    timer = Timer()
    timer.clock.advance(3)
    assert timer.deadlines.read() == timer.deadlines.now == timer.clock.seconds()
    timer.clock.advance(1)
    timer.deadlines.set(timer.late(), 1)
    assert timer.deadlines.now == timer.clock.seconds()


@given(
    start=st.floats(0, 1e6),
    tick_s=st.sampled_from([0.25, 0.1, 1 / 3, 0.05]),
    steps=st.lists(
        st.tuples(
            st.integers(0, 3),
            st.one_of(st.floats(-2, 30), st.none(), st.just(math.inf)),
            st.floats(0, 3),
        ),
        max_size=40,
    ),
)
def test_any_sequence_keeps_the_promise(start: float, tick_s: float, steps: list[tuple[int, float | None, float]]) -> None:
    """Sets (earlier, later, past), clears and silent resets over several objects: each deadline that stands fires once, in time."""
    timer = Timer(start, tick_s)
    clock = timer.clock
    wanted: dict[int, float] = {}
    objects = [timer.late() for _ in range(4)]
    slack = tick_s + 0.002  # a tick that comes a rounding error too early is repeated after a millisecond

    def pass_time(seconds: float) -> None:
        """Each delayed call runs when it is due, as in a reactor; what fires is compared with what was wanted."""
        end = clock.seconds() + seconds
        while True:
            calls = [call.getTime() for call in clock.getDelayedCalls()]
            due = min(calls, default=math.inf)
            clock.advance(max(0.0, min(due, end) - clock.seconds()))
            for number, late in enumerate(objects):
                for moment in late.told:
                    deadline, set_at = wanted.pop(number)
                    assert deadline <= moment <= max(deadline, set_at) + slack
                late.told.clear()
            for number, (deadline, set_at) in wanted.items():
                assert clock.seconds() <= max(deadline, set_at) + slack, number
            if due > end:
                return

    for number, seconds, pause in steps:
        late = objects[number]
        if seconds is None:
            timer.deadlines.clear(late)
            wanted.pop(number, None)
        elif seconds == math.inf:
            late.deadline = NEVER
            wanted.pop(number, None)
        else:
            timer.deadlines.set(late, seconds)
            wanted[number] = (late.deadline, clock.seconds())
        pass_time(pause)
    pass_time(40)
    assert not wanted
    assert not clock.getDelayedCalls()
