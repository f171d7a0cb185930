"""Tests of `tlsgate.proxy.waiter` (design note 0007)."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import LogEvent, globalLogPublisher

from tlsgate.proxy.waiter import Waiter, Work


def record(awaited: list[Any], seen: list[object]) -> Any:
    async def run() -> None:
        for one in awaited:
            try:
                seen.append(await one)
            except BaseException as error:
                seen.append(error)

    return run()


def test_work_runs_to_the_first_wait_at_once_and_goes_on_within_the_callback() -> None:
    """No reactor turn lies between a result and what follows it."""
    waiter: Waiter[str] = Waiter(lambda: None)
    seen: list[object] = []
    work = Work(record([waiter], seen))
    assert not work.done and not seen
    waiter.callback("result")
    assert work.done and seen == ["result"]


def test_a_result_that_is_there_is_not_waited_for() -> None:
    waiter: Waiter[int] = Waiter(lambda: None)
    waiter.callback(7)
    seen: list[object] = []
    assert Work(record([waiter], seen)).done
    assert seen == [7]


def test_errors_are_raised_where_they_are_awaited() -> None:
    waiter: Waiter[int] = Waiter(lambda: None)
    seen: list[object] = []
    work = Work(record([waiter], seen))
    error = ValueError("x")
    waiter.errback(error)
    assert work.done and seen == [error]


@pytest.mark.parametrize("first", ["callback", "errback"])
def test_only_the_first_result_counts(first: str) -> None:
    waiter: Waiter[Any] = Waiter(lambda: None)
    seen: list[object] = []
    Work(record([waiter], seen))
    error = ValueError("late")
    waiter.callback(1) if first == "callback" else waiter.errback(error)
    waiter.callback(2)
    waiter.errback(ValueError("later"))
    waiter.cancel()
    assert seen == [1 if first == "callback" else error]


def test_cancelling_tells_the_source_and_the_coroutine() -> None:
    told: list[bool] = []
    waiter: Waiter[int] = Waiter(lambda: told.append(True))
    seen: list[object] = []
    work = Work(record([waiter], seen))
    work.cancel()
    work.cancel()
    assert told == [True] and work.done
    assert isinstance(seen[0], CancelledError)


def test_deferreds_can_be_awaited_with_results_and_failures() -> None:
    """The pool awaits look-ups and connections, which Twisted hands over as Deferreds."""
    good: Deferred[int] = Deferred()
    bad: Deferred[int] = Deferred()
    fired: Deferred[int] = Deferred()
    fired.callback(3)
    seen: list[object] = []
    work = Work(record([good, bad, fired], seen))
    good.callback(1)
    error = ValueError("y")
    bad.errback(error)
    assert work.done and seen == [1, error, 3]


def test_what_escapes_a_coroutine_is_logged() -> None:
    """An error that nobody handles must not vanish, and must not reach the one who gave the result."""
    events: list[LogEvent] = []

    async def fail() -> None:
        raise RuntimeError("escaped")

    globalLogPublisher.addObserver(events.append)
    try:
        assert Work(fail()).done
    finally:
        globalLogPublisher.removeObserver(events.append)
    assert [event["event"] for event in events if event.get("event")] == ["work.failed"]
