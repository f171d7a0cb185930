"""The result of a coroutine that has nothing to wait for."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

__all__ = ["finished"]

T = TypeVar("T")


def finished(work: Coroutine[Any, Any, T]) -> T:
    """Return or raise at once what a coroutine ends with; fails when it waits."""
    results: list[Any] = []
    Deferred.fromCoroutine(work).addBoth(results.append)
    assert results, "it waits for something"
    if isinstance(results[0], Failure):
        results[0].raiseException()
    return results[0]  # type: ignore[no-any-return]
