"""A reactor of a test's own, run by hand: for what needs real sockets or threads without a process around it."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.epollreactor import EPollReactor

__all__ = ["Loop", "running_loop"]

T = TypeVar("T")


class Loop:
    """An epoll reactor that turns only while a test waits for something."""

    def __init__(self) -> None:
        self.reactor = EPollReactor()
        self.reactor.startRunning(installSignalHandlers=False)

    def run(self, work: Coroutine[Any, Any, T], timeout_s: float = 20.0) -> T:
        """Return the result of a coroutine."""
        results: list[Any] = []
        deferred = Deferred.fromCoroutine(work)
        deferred.addBoth(results.append)
        try:
            self.until(lambda: bool(results), timeout_s)
        except AssertionError:
            deferred.cancel()
            raise
        if hasattr(results[0], "raiseException"):
            results[0].raiseException()
        return results[0]

    def begin(self, work: Coroutine[Any, Any, T]) -> Deferred[T]:
        """Start a coroutine, which goes on while the test waits for others."""
        return Deferred.fromCoroutine(work)

    def until(self, condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
        """Turn until something is so."""
        end = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < end, "waited in vain"
            self.reactor.iterate(0.01)

    def turn(self, seconds: float) -> None:
        """Turn for some time: for what must not happen, or takes real time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.reactor.iterate(0.01)

    async def sleep(self, seconds: float) -> None:
        """Wait in a coroutine."""
        waiter: Deferred[None] = Deferred()
        self.reactor.callLater(seconds, waiter.callback, None)
        await waiter

    def close(self) -> None:
        """End the reactor's threads and descriptors; fails when timers or connections were left behind."""
        calls = [call for call in self.reactor.getDelayedCalls() if call.active()]
        kept = [reader for reader in self.reactor.getReaders() if type(reader).__name__ != "_UnixWaker"]
        self.reactor.fireSystemEvent("shutdown")
        for _ in range(20):
            self.reactor.iterate(0)
        # The waker is none of those that removeAll knows: its descriptors would stay open for all tests to come.
        for reader in (*self.reactor.removeAll(), *self.reactor._internalReaders):
            reader.connectionLost(None)
        self.reactor._poller.close()
        assert (calls, kept) == ([], []), "timers or connections were left behind"


@contextmanager
def running_loop() -> Iterator[Loop]:
    """A loop for the time of a test."""
    loop = Loop()
    try:
        yield loop
    except BaseException:
        with suppress(AssertionError):  # the test's own fault is what counts
            loop.close()
        raise
    loop.close()
