"""The sessions of organisations, cached: limits that all keys of an organisation share; knows no request.

A missing one is remembered as well, so that organisations without limits cost nothing; the change feed (topic ``org``) and the cache's
end make it be looked at again. Differs from Tyk, which remembers a missing one until the API reloads. Source: keys reference, section 9.
"""

from __future__ import annotations

from typing import Any

from tlsgate.auth.go_json import UnusableRecord
from tlsgate.auth.session_codec import read_session
from tlsgate.bounded import put
from tlsgate.clock import Clock
from tlsgate.config.model import KeySettings
from tlsgate.model.session import Session
from tlsgate.store.interface import GAP, Store

__all__ = ["ORG_PREFIX", "Organisation", "Organisations"]

ORG_PREFIX = "orgkey."
_CACHE_SIZE = 10_000


class Organisation:
    """What is known of one organisation; ``session`` is None when it has none.

    ``memo`` keeps the limits that were compiled from it.
    """

    __slots__ = ("id", "memo", "session", "unreadable", "valid_until")

    def __init__(self, id: str, session: Session | None, unreadable: bool, valid_until: float) -> None:
        self.id = id
        self.session = session
        self.unreadable = unreadable
        """What is stored is no session: nobody can tell its limits."""
        self.valid_until = valid_until
        self.memo: Any = None


class Organisations:
    """All organisations of a store.

    :param settings: of keys; how long something is cached.
    """

    def __init__(self, store: Store, clock: Clock, settings: KeySettings) -> None:
        self._store = store
        self._clock = clock
        self._cache_s = settings.cache_s if settings.cache_sessions else 0.0
        self._known: dict[str, Organisation] = {}
        self._changes = 0

    def peek(self, id: str, now: float) -> Organisation | None:
        """Return what is cached, None for nothing; never waits.

        :param now: monotonic seconds.
        """
        found = self._known.get(id)
        return found if found is not None and found.valid_until > now else None

    async def find(self, id: str) -> Organisation:
        """Return an organisation.

        :raises StoreUnavailable: no answer; never taken for one without limits.
        """
        changes = self._changes
        value = await self._store.get(ORG_PREFIX + id)
        session, unreadable = None, False
        if value is not None:
            try:
                session = read_session(value)
            except UnusableRecord:
                unreadable = True
        found = Organisation(id, session, unreadable, self._clock.monotonic() + self._cache_s)
        if changes == self._changes:
            put(self._known, id, found, _CACHE_SIZE)
        return found

    def on_change(self, topic: str, payload: str) -> None:
        """Listen to the store's changes (``ChangeFeed.subscribe``)."""
        if topic == "org":
            self._changes += 1
            self._known.pop(payload, None)
        elif topic == GAP:
            self._changes += 1
            self._known.clear()
