"""Changes that are carried through once begun, and work in threads; knows no area of the control API.

A client that goes away cancels whoever works for it. A change that was half done by then would be one that other processes never hear of.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from tlsgate.control.calls import Answer, Call, CallFailed, Handler
from tlsgate.errors import Refusal, StoreUnavailable

__all__ = ["carried", "in_thread", "parse_aside"]

T = TypeVar("T")
_AT_ONCE_BYTES = 16 << 10
"""What is parsed within a turn of the reactor: at worst 4 ms."""
_log = Logger()


def carried(handle: Callable[[Call], Coroutine[Any, Any, Answer]]) -> Handler:
    """Return a handler that goes on to its end when its client is gone."""

    async def run(call: Call) -> Answer:
        waiter: Deferred[Answer] = Deferred()

        def tell(result: Answer | Failure) -> None:
            if not waiter.called:
                waiter.callback(result)
            elif isinstance(result, Failure) and result.check(CallFailed, Refusal, StoreUnavailable) is None:
                _log.failure("control call failed after its client was gone", result, event="control.carried_failed")

        Deferred.fromCoroutine(handle(call)).addBoth(tell)
        return await waiter

    return run


async def in_thread(reactor: Any, work: Callable[..., T], *arguments: Any) -> T:
    """Return what blocking work returns, done in the reactor's thread pool."""
    return await deferToThreadPool(reactor, reactor.getThreadPool(), work, *arguments)


async def parse_aside(aside: Callable[..., Awaitable[T]], parse: Callable[..., T], call: Call, *arguments: Any, most: int = 0) -> T:
    """Return what ``parse`` makes of a call; a long body is parsed in a thread, so that no request waits for it.

    :param aside: runs blocking work in a thread (:func:`in_thread`).
    :param most: bytes of a body; 0 leaves it to the bound of all calls.
    :raises Refusal: ``size.too_large``.
    """
    size = len(call.body)
    if most and size > most:
        raise Refusal("size.too_large", f"more than {most} bytes for such a control call")
    if size <= _AT_ONCE_BYTES:
        return parse(call, *arguments)
    return await aside(parse, call, *arguments)
