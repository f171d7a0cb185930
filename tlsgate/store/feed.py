"""The listeners of a change feed, told one after the other; knows nothing of how changes travel."""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from tlsgate.store.interface import GAP

__all__ = ["Listeners"]

_log = Logger()


class Listeners:
    """Whoever subscribed, in that order."""

    __slots__ = ("_listeners",)

    def __init__(self) -> None:
        self._listeners: list[Callable[[str, str], None]] = []

    def add(self, listener: Callable[[str, str], None]) -> None:
        """Tell a listener of every change from now on."""
        self._listeners.append(listener)

    def tell(self, topic: str, payload: str) -> None:
        """Tell all; one that fails is logged and keeps nobody else from knowing."""
        for listener in tuple(self._listeners):
            try:
                listener(topic, payload)
            except Exception:
                _log.failure("a listener of the change feed failed on {topic}", event="store.listener_failed", topic=topic)

    def tell_gap(self) -> None:
        """Tell all that changes may have been missed."""
        self.tell(GAP, "")
