"""Ids that the store holds no session of: asked once, and again when somebody writes one; knows nothing of who asks.

For methods whose users need no stored session: without this each of their requests would wait for the store. As old as cached keys may
become. Source: keys reference, section 13; JWT reference, section 13.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol
from weakref import WeakSet

from tlsgate.bounded import put
from tlsgate.store.interface import GAP

__all__ = ["AbsentSessions", "Watcher"]

_MOST = 20_000


class Watcher(Protocol):
    """Holds what it has made for ids without a session."""

    def forget(self, name: str) -> None:
        """Hear that a stored name was written or removed."""
        ...

    def forget_all(self) -> None:
        """Hear that changes may have been missed."""
        ...


class AbsentSessions:
    """One per process.

    :param monotonic: seconds.
    :param keep_s: how long an answer is used; 0 remembers nothing.
    """

    def __init__(self, monotonic: Callable[[], float], keep_s: float) -> None:
        self._monotonic = monotonic
        self._keep_s = keep_s
        self._until: dict[str, float] = {}
        self._watchers: WeakSet[Watcher] = WeakSet()
        self.changes = 0
        """Grows with each change of a key: an answer that was asked for before is not to be kept after."""

    def __contains__(self, name: str) -> bool:
        until = self._until.get(name)
        return until is not None and self._monotonic() < until

    def watch(self, watcher: Watcher) -> None:
        """Tell somebody of changes, as long as it lives."""
        self._watchers.add(watcher)

    def add(self, name: str, changes: int) -> None:
        """Remember that a stored name holds no session.

        :param changes: ``changes`` as it was before the store was asked.
        """
        if changes != self.changes or self._keep_s <= 0:
            return
        put(self._until, name, self._monotonic() + self._keep_s, _MOST)

    def on_change(self, topic: str, payload: str) -> None:
        """Listen to the store's changes (``ChangeFeed.subscribe``)."""
        if topic == "key":
            self.changes += 1
            for name in {payload, *payload.split(",")}:
                self._until.pop(name, None)
                for watcher in self._watchers:
                    watcher.forget(name)
        elif topic == GAP:
            self.changes += 1
            self._until.clear()
            for watcher in self._watchers:
                watcher.forget_all()
