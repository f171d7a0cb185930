"""Whether a client's certificate is in the store, remembered so that a request need not ask; knows no certificate's content.

Only what is there is remembered, and only until the store tells of a change of it, changes may have been missed, or the time of the
sessions' cache is over. Source: mTLS reference, section 7; decisions 1.8.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tlsgate.bounded import put
from tlsgate.certs.library import TOPIC
from tlsgate.clock import Clock
from tlsgate.store.interface import GAP

__all__ = ["CertificatePresence"]


class CertificatePresence:
    """One per process.

    :param ask: asks the store whether it has an id; raises ``StoreUnavailable``.
    :param keep_s: how long an answer counts, seconds; 0 keeps none.
    :param limit: certificates that are remembered.
    """

    __slots__ = ("_ask", "_changes", "_clock", "_keep_s", "_limit", "_until")

    def __init__(self, ask: Callable[[str], Awaitable[bool]], clock: Clock, keep_s: float, limit: int = 65536) -> None:
        self._ask = ask
        self._clock = clock
        self._keep_s = keep_s
        self._limit = max(1, limit)
        self._until: dict[str, float] = {}
        self._changes = 0

    def knows(self, id: str, now: float) -> bool:
        """Tell whether an id is known to be there; False means that the store has to be asked.

        :param now: monotonic seconds.
        """
        return self._until.get(id, 0.0) > now

    async def find(self, id: str) -> bool:
        """Ask the store.

        :raises StoreUnavailable: no answer.
        """
        before = self._changes
        found = await self._ask(id)
        # What was told of while we waited may be this one.
        if found and self._changes == before and self._keep_s > 0:
            put(self._until, id, self._clock.monotonic() + self._keep_s, self._limit)
        return found

    def on_change(self, topic: str, payload: str) -> None:
        """Listen to the store's changes (``ChangeFeed.subscribe``)."""
        if topic == TOPIC:
            self._changes += 1
            self._until.pop(payload, None)
        elif topic == GAP:
            self._changes += 1
            self._until.clear()
