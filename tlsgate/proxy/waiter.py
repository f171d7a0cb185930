"""The two ends of waiting on the hot path: a result that is awaited once, and what drives a coroutine; knows nothing of requests.

A fired Deferred costs some 2 us and ``Deferred.fromCoroutine`` another 4 (``benchmarks/micro_request.py``), most of it for chains of
callbacks and context copies that a proxied request has no use for. Deferreds can be awaited here all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.python.failure import Failure

__all__ = ["Waiter", "Work"]

T = TypeVar("T")
_log = Logger()


class Waiter(Generic[T]):
    """A result that exactly one coroutine awaits.

    :param canceller: called when the waiting coroutine is cancelled before there is a result.
    """

    __slots__ = ("_canceller", "_error", "_result", "_resume", "fired")

    def __init__(self, canceller: Callable[[], None]) -> None:
        self.fired = False
        self._canceller = canceller
        self._resume: Callable[[Any], None] | None = None
        self._result: T | None = None
        self._error: BaseException | None = None

    def __await__(self) -> Generator[Any, None, T]:
        if not self.fired:
            yield self
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]

    def addBoth(self, resume: Callable[[Any], None]) -> None:
        """Be told of the result (the name that Deferreds have for it)."""
        self._resume = resume

    def callback(self, result: T) -> None:
        """Give the result; the coroutine goes on within this call."""
        if not self.fired:
            self.fired = True
            self._result = result
            if self._resume is not None:
                self._resume(None)

    def errback(self, error: BaseException) -> None:
        """Give an error; the coroutine goes on within this call."""
        if not self.fired:
            self.fired = True
            self._error = error
            if self._resume is not None:
                self._resume(None)

    def cancel(self) -> None:
        """Give up: the coroutine gets ``CancelledError``."""
        if not self.fired:
            self._canceller()
            self.errback(CancelledError())


class Work:
    """A coroutine on its way: runs until it awaits something, goes on when that is there.

    :param coroutine: must handle its own errors; what escapes is logged.
    """

    __slots__ = ("_coroutine", "_waiting", "done")

    def __init__(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._coroutine = coroutine
        self._waiting: Any = None
        self.done = False
        self._step(None)

    def cancel(self) -> None:
        """Cancel what is awaited: the coroutine gets ``CancelledError``."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.cancel()

    def _step(self, result: Any) -> None:
        """Run up to the next await. A Deferred's result is kept by it for the awaiting coroutine, its failure is thrown in here."""
        try:
            if isinstance(result, Failure):
                waiting = result.throwExceptionIntoGenerator(self._coroutine)
            else:
                waiting = self._coroutine.send(None)
        except StopIteration:
            self.done = True
            self._waiting = None
        except BaseException:
            self.done = True
            self._waiting = None
            _log.failure("a coroutine failed", event="work.failed")
        else:
            self._waiting = waiting
            waiting.addBoth(self._step)
