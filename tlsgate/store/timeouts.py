"""The deadline that every call of a store has: equal for all, hence one queue and one timer; knows nothing of what is late."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from tlsgate.errors import StoreUnavailable

__all__ = ["Timeouts"]

T = TypeVar("T")


class Timeouts(Generic[T]):
    """Fails calls that have no answer in time; watching one costs an append (a ``callLater`` of its own would cost some 5 us).

    :param reactor: provides ``callLater`` and ``seconds``.
    :param timeout_s: for every call.
    :param late: told the subject of each call that was too late, before its waiter is.
    """

    def __init__(self, reactor: IReactorTime, timeout_s: float, late: Callable[[T], None] | None = None) -> None:
        self._reactor = reactor
        self._timeout_s = timeout_s
        self._late = late
        self._waiting: deque[tuple[float, Deferred[Any], T]] = deque()
        self._timer: Any = None

    def watch(self, call: Deferred[Any], subject: T) -> None:
        """Let a call fail with ``StoreUnavailable`` when it has no result in time."""
        waiting = self._waiting
        while waiting and waiting[0][1].called:
            waiting.popleft()
        waiting.append((self._reactor.seconds() + self._timeout_s, call, subject))
        if self._timer is None:
            self._timer = self._reactor.callLater(self._timeout_s, self._look)

    def stop(self) -> None:
        """Fail whatever still waits, and end the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, deque()
        for _, call, _ in waiting:
            if not call.called:
                call.errback(StoreUnavailable("the store was closed"))

    def _look(self) -> None:
        self._timer = None
        now = self._reactor.seconds()
        waiting = self._waiting
        while waiting and (waiting[0][1].called or waiting[0][0] <= now):
            # Taken out first: whoever is told may watch the next call at once.
            _, call, subject = waiting.popleft()
            if not call.called and self._late is not None:
                self._late(subject)
            if not call.called:
                call.errback(StoreUnavailable(f"no answer within {self._timeout_s:g} s"))
        if self._waiting and self._timer is None:
            self._timer = self._reactor.callLater(max(0.0, self._waiting[0][0] - now), self._look)
