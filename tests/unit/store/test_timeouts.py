"""Deadlines of calls: one queue, one timer."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from tlsgate.errors import StoreUnavailable
from tlsgate.store.timeouts import Timeouts


def watched(timeouts: Timeouts[str], subject: str = "") -> tuple[Deferred[Any], list[Any]]:
    """A call that is watched, and how it ends."""
    call: Deferred[Any] = Deferred()
    timeouts.watch(call, subject)
    ended: list[Any] = []
    call.addBoth(ended.append)
    return call, ended


def test_a_late_call_fails_and_an_answered_one_does_not() -> None:
    """At the deadline, not before."""
    clock = Clock()
    late: list[str] = []
    timeouts = Timeouts(clock, 2.0, late.append)
    first, ended = watched(timeouts, "first")
    clock.advance(1.0)
    second, answered = watched(timeouts, "second")
    second.callback(5)
    clock.advance(0.99)
    assert ended == [] and not first.called
    clock.advance(0.01)
    assert isinstance(ended[0].value, StoreUnavailable) and "2 s" in str(ended[0].value)
    clock.advance(5.0)
    assert answered == [5] and late == ["first"]
    assert clock.getDelayedCalls() == []


def test_the_timer_follows_the_oldest_call() -> None:
    """One timer, however many calls."""
    clock = Clock()
    timeouts: Timeouts[str] = Timeouts(clock, 2.0)
    ends = []
    for _ in range(5):
        ends.append(watched(timeouts)[1])
        clock.advance(0.5)
        assert len(clock.getDelayedCalls()) == 1
    assert [len(ended) for ended in ends] == [1, 1, 0, 0, 0]
    clock.advance(2.0)
    assert [len(ended) for ended in ends] == [1, 1, 1, 1, 1]


def test_answered_calls_do_not_pile_up() -> None:
    """The queue is as long as what is pending."""
    timeouts: Timeouts[str] = Timeouts(Clock(), 2.0)
    for _ in range(1000):
        watched(timeouts)[0].callback(None)
    assert len(timeouts._waiting) <= 1


def test_stopping_fails_what_waits() -> None:
    """And leaves no timer."""
    clock = Clock()
    timeouts: Timeouts[str] = Timeouts(clock, 2.0)
    _, ended = watched(timeouts)
    timeouts.stop()
    assert isinstance(ended[0].value, StoreUnavailable)
    assert clock.getDelayedCalls() == []
    timeouts.stop()


def test_whoever_is_told_may_make_the_next_call() -> None:
    """Its deadline is its own."""
    clock = Clock()
    timeouts: Timeouts[str] = Timeouts(clock, 1.0)
    call, _ = watched(timeouts)
    again: list[list[Any]] = []
    call.addBoth(lambda _: again.append(watched(timeouts)[1]))
    clock.advance(1.0)
    assert again == [[]]
    clock.advance(1.0)
    assert len(again[0]) == 1
