"""Changes that are carried through once begun, and work in threads; knows no area of the control API.

A client that goes away cancels whoever works for it. A change that was half done by then would be one that other processes never hear of.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from tlsgate.control.calls import Answer, Call, CallFailed, Handler
from tlsgate.errors import StoreUnavailable

__all__ = ["carried", "in_thread"]

T = TypeVar("T")
_log = Logger()


def carried(handle: Callable[[Call], Coroutine[Any, Any, Answer]]) -> Handler:
    """Return a handler that goes on to its end when its client is gone."""

    async def run(call: Call) -> Answer:
        waiter: Deferred[Answer] = Deferred()

        def tell(result: Answer | Failure) -> None:
            if not waiter.called:
                waiter.callback(result)
            elif isinstance(result, Failure) and result.check(CallFailed, StoreUnavailable) is None:
                _log.failure("control call failed after its client was gone", result, event="control.carried_failed")

        Deferred.fromCoroutine(handle(call)).addBoth(tell)
        return await waiter

    return run


async def in_thread(reactor: Any, work: Callable[..., T], *arguments: Any) -> T:
    """Return what blocking work returns, done in the reactor's thread pool."""
    return await deferToThreadPool(reactor, reactor.getThreadPool(), work, *arguments)
