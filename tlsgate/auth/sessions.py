"""Sessions by the text that a client presents: look-up, cache, writes; knows nothing of HTTP or of what a session allows.

The cache is indexed by what is stored, never by what was presented: a change evicts exactly the key that it concerns, under every
spelling of it, before the call that made it returns. Unknown keys are not remembered. Differs from Tyk, whose cache can serve a revoked key
for ten seconds (keys reference, section 13). Source: keys reference, sections 3, 6 and 13; decisions 3.3, 3.5.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from tlsgate.auth.certificate_keys import find_candidates
from tlsgate.auth.go_json import UnusableRecord
from tlsgate.auth.key_ids import CHECK_PREFIX, KEY_PREFIX, Candidate, KeyNaming
from tlsgate.auth.lifetime import ApiLifetime, compute_lifetime
from tlsgate.auth.policies import PolicyBook, PolicyFault, PolicyTable, apply_policies
from tlsgate.auth.purposes import PURPOSES, USERS
from tlsgate.auth.session_codec import encode_stored, read_session
from tlsgate.clock import Clock
from tlsgate.config.model import KeySettings
from tlsgate.errors import StoreUnavailable
from tlsgate.model.session import Session
from tlsgate.store.interface import GAP, Entry, Store
from tlsgate.turns import TooMany, Turns

__all__ = ["KeyReader", "KeyView", "Sessions"]

_log = Logger()
_MAX_ALIASES = 16
_MAX_MEMOS = 64
_MEMOS_OF_AN_API = 4
_MAX_VIEWS = 16
_MAX_ROUNDS = 4
_CHANGES_TRIED = 50
_MAX_CHANGING = 1000
"""Calls that wait to change the same session."""


class KeyView:
    """A session with its policies applied, and what steps have compiled from it; shared by all requests that use the key.

    ``memo`` keeps what a step compiled, by the step: a later request pays one look-up.
    """

    __slots__ = ("fault", "id", "is_stored", "memo", "name", "session", "stale")

    def __init__(self, id: str, name: str, session: Session, fault: str, *, is_stored: bool = True) -> None:
        self.id = id
        """The stored id."""
        self.name = name
        """What its counters are called by: the id, or its hash."""
        self.session = session
        self.fault = fault
        """Why the policies of the key cannot be applied; empty when they are."""
        self.is_stored = is_stored
        """False for a session that a method makes for each request of somebody who has none."""
        self.memo: dict[Any, Any] = {}
        self.stale = False
        """This is no longer in the cache, so the key may have changed: whoever has waited meanwhile asks again."""

    def remember(self, step: object, value: Any) -> None:
        """Keep what a step compiled; steps of generations long gone are dropped, those of all the APIs that the key opens have room."""
        if len(self.memo) >= max(_MAX_MEMOS, _MEMOS_OF_AN_API * len(self.session.access_rights)):
            self.memo.clear()
        self.memo[step] = value


class _Cached:
    """A stored session in the cache."""

    __slots__ = ("aliases", "candidate", "names", "raw", "session", "table", "valid_until", "views")

    def __init__(self, candidate: Candidate, raw: bytes, session: Session) -> None:
        self.candidate = candidate
        self.raw = raw
        self.session = session
        self.valid_until = 0.0
        self.aliases: list[tuple[KeyReader, bytes]] = []
        self.names: set[str] = set()
        """What ``Sessions._by_name`` lists it under."""
        self.views: dict[str, KeyView] = {}
        """By organisation of the API: a key that opens APIs of several is compiled once for each."""
        self.table: PolicyTable | None = None

    def make_stale(self) -> None:
        """Tell the requests that are under way with it: nobody hears of its changes from here on."""
        for view in self.views.values():
            view.stale = True

    def view(self, table: PolicyTable, org: str) -> KeyView:
        if self.table is not table or len(self.views) > _MAX_VIEWS:
            self.make_stale()
            self.views = {}
            self.table = table
        view = self.views.get(org)
        if view is None:
            candidate = self.candidate
            try:
                view = KeyView(candidate.id, candidate.name, apply_policies(self.session, table, org), "")
            except PolicyFault as fault:
                view = KeyView(candidate.id, candidate.name, self.session, str(fault))
            self.views[org] = view
        return view


class _Flight:
    """A look-up under way, and who waits for it."""

    __slots__ = ("done", "error", "names", "stale", "view", "waiting")

    def __init__(self, names: frozenset[str]) -> None:
        self.names = names
        self.stale = False
        """One of the names has changed since the store was asked."""
        self.done = False
        self.view: KeyView | None = None
        self.error: StoreUnavailable | None = None
        self.waiting: list[Deferred[None]] = []


class Sessions:
    """All sessions of a store.

    :param store: keeps them.
    :param naming: rules of ids.
    :param settings: of keys.
    :param policies: the current ones.
    :param clock: for lifetimes; the cache runs on monotonic time.
    """

    def __init__(self, store: Store, naming: KeyNaming, settings: KeySettings, policies: PolicyBook, clock: Clock) -> None:
        self.naming = naming
        self.policies = policies
        self._store = store
        self._settings = settings
        self._clock = clock
        self._entries: dict[str, _Cached] = {}
        self._by_name: dict[str, set[str]] = {}
        """Ids of cached sessions by each stored name whose change may concern them: their own, and those that would have come first."""
        self._readers: dict[tuple[str, str], KeyReader] = {}
        self._flights: dict[tuple[str, str, bytes], _Flight] = {}
        self._changing: dict[str, Turns] = {}
        """By stored name: of those who change a session one at a time, since all but one would have to begin anew."""

    def reader(self, org: str, purpose: str = "token") -> KeyReader:
        """Return the look-up of one organisation.

        :param purpose: ``token`` finds only what was issued as a key (decisions 3.3), ``certificate`` the key of a certificate by the
            certificate's id, ``any`` every session; others are in ``auth.purposes``.
        """
        key = (org, purpose)
        reader = self._readers.get(key)
        if reader is None:
            reader = self._readers[key] = KeyReader(self, org, purpose)
        return reader

    def cached_session(self, key: str) -> Session | None:
        """Return the session of a stored id if the cache has it, without policies; never waits."""
        entry = self._entries.get(key)
        return None if entry is None or entry.valid_until <= self._clock.monotonic() else entry.session

    async def load(self, id: str) -> Session | None:
        """Return the session of a stored id from the store, None when there is none; the cache is not asked.

        :raises StoreUnavailable: no answer.
        :raises UnusableRecord: what is stored is no session.
        """
        candidate = self.naming.find_candidate(id)
        return None if candidate is None else await self.load_name(candidate.name)

    async def load_name(self, name: str) -> Session | None:
        """Return the session that is stored under a name: an id, or its hash.

        :raises StoreUnavailable: no answer.
        :raises UnusableRecord: what is stored is no session.
        """
        value = await self._store.get(KEY_PREFIX + name)
        return None if value is None else read_session(value)

    async def save(
        self, id: str, session: Session, *, apis: Iterable[ApiLifetime] = (), keep_lifetime: bool = False, only_if: str = ""
    ) -> bool:
        """Write a session under its id; nobody in this process is served the old one once this returns.

        :param apis: what the loaded APIs of the key say of its lifetime; the lifetime starts anew.
        :param keep_lifetime: what is left of the old lifetime stays.
        :param only_if: ``present``, ``absent``, or empty for always.
        :returns: whether it was written.
        :raises StoreUnavailable: it may or may not have been written.
        :raises ValueError: the id names a hash function that is not configured.
        """
        candidate = self.naming.place(id)
        return await self._write(candidate.name, candidate, session, apis, keep_lifetime, only_if)

    async def save_name(
        self, name: str, session: Session, *, apis: Iterable[ApiLifetime] = (), keep_lifetime: bool = False, only_if: str = "present"
    ) -> bool:
        """Write a session under a stored name, for calls that know only the hash; as :meth:`save`."""
        return await self._write(name, None, session, apis, keep_lifetime, only_if)

    async def change(self, id: str, edit: Callable[[Session | None], Session], *, apis: Iterable[ApiLifetime] = ()) -> Session:
        """Write what a function makes of the stored session, so that nothing is lost that others write at the same time.

        :param edit: given None where nothing is stored; called again when somebody else was quicker. What it raises is passed on.
        :param apis: as of :meth:`save`; the lifetime starts anew.
        :returns: what was written.
        :raises StoreUnavailable: it may or may not have been written.
        :raises UnusableRecord: what is stored is no session.
        :raises ValueError: the id names a hash function that is not configured.
        """
        candidate = self.naming.place(id)
        turns = self._changing.setdefault(candidate.name, Turns(1, _MAX_CHANGING))
        try:
            await turns.take("")
        except TooMany:
            raise StoreUnavailable("too many wait to write this session") from None
        try:
            return await self._change(candidate, edit, apis)
        finally:
            turns.end()
            if turns.is_idle and self._changing.get(candidate.name) is turns:
                del self._changing[candidate.name]

    async def _change(self, candidate: Candidate, edit: Callable[[Session | None], Session], apis: Iterable[ApiLifetime]) -> Session:
        for _ in range(_CHANGES_TRIED):
            old = await self._store.get(candidate.key)
            session = edit(None if old is None else read_session(old))
            ttl = compute_lifetime(session, self._settings, apis, self._clock.now())
            writing = self._store.replace(candidate.key, old, encode_stored(session), ttl_s=ttl)
            if await self._finish_write(candidate.name, candidate, ttl, False, writing):
                return session
        raise StoreUnavailable("others write this session all the time")

    async def delete(self, id: str) -> bool:
        """Remove a key; it is refused in this process from now on.

        :returns: whether there was one.
        :raises StoreUnavailable: it may or may not have been removed.
        """
        candidate = self.naming.find_candidate(id)
        return False if candidate is None else await self.delete_name(candidate.name)

    async def delete_name(self, name: str) -> bool:
        """Remove what is stored under a name: an id, or its hash; as :meth:`delete`."""
        try:
            removed = await self._store.delete(KEY_PREFIX + name)
        finally:
            self.forget(name)
        # Others hear of it first: the check value alone opens nothing.
        await self._store.publish("key", name)
        if self.naming.hashes:
            await self._store.delete(CHECK_PREFIX + name)
        return removed > 0

    async def find_again(self, reader: KeyReader, view: KeyView) -> KeyView | None:
        """Return what is stored now under the name of a key (:meth:`KeyReader.find_again`)."""
        return await self._fetch(reader, None, (Candidate(view.id, view.name, self.naming.is_weak(view.name)),))

    async def pin(self, view: KeyView) -> bool:
        """Note the id of a user who has proven the password, where only a weak hash of it is known; from then on it is the only one.

        :returns: False when another id of the same hash was noted before.
        :raises StoreUnavailable: no answer.
        """
        if not self.naming.is_weak(view.name):
            return True
        candidate = Candidate(view.id, view.name, True)
        stored, check = await self._store.get_entries([candidate.key, candidate.check_key])
        return stored is not None and await self._confirm(candidate, stored, check)

    def forget(self, name: str) -> None:
        """Drop what the cache has from a stored name, and keep look-ups under way from putting the old value back."""
        for flight in self._flights.values():
            if name in flight.names:
                flight.stale = True
        for id in tuple(self._by_name.get(name, ())):
            self._drop(self._entries[id])

    def forget_all(self) -> None:
        """Drop everything: changes may have been missed."""
        for flight in self._flights.values():
            flight.stale = True
        for entry in tuple(self._entries.values()):
            self._drop(entry)

    def on_change(self, topic: str, payload: str) -> None:
        """Listen to the store's changes (``ChangeFeed.subscribe``)."""
        if topic == "key":
            # A list, or one name that has a comma itself.
            for name in {payload, *payload.split(",")}:
                self.forget(name)
        elif topic == GAP:
            self.forget_all()

    async def _write(
        self, name: str, candidate: Candidate | None, session: Session, apis: Iterable[ApiLifetime], keep: bool, only_if: str
    ) -> bool:
        ttl = compute_lifetime(session, self._settings, apis, self._clock.now())
        writing = self._store.put(KEY_PREFIX + name, encode_stored(session), ttl_s=ttl, keep_ttl=keep, only_if=only_if)
        return await self._finish_write(name, candidate, ttl, keep, writing)

    async def _finish_write(self, name: str, candidate: Candidate | None, ttl: int | None, keep: bool, writing: Awaitable[bool]) -> bool:
        try:
            written = await writing
            if written and candidate is not None and candidate.weak:
                await self._store.put(candidate.check_key, candidate.check, ttl_s=ttl, keep_ttl=keep)
        finally:
            self.forget(name)
        if written:
            await self._store.publish("key", name)
        return written

    async def _find(self, reader: KeyReader, raw: bytes) -> KeyView | None:
        """Look a presented text up; several at once for the same text cost one round trip."""
        try:
            if reader.purpose == "certificate":
                candidates = await find_candidates(self._store, self.naming, reader.org, raw.decode())
            else:
                find = self.naming.user_candidates if reader.purpose == USERS else self.naming.candidates
                candidates = find(reader.org, raw.decode())
        except UnicodeDecodeError:
            return None
        return await self._fetch(reader, raw, candidates) if candidates else None

    async def _fetch(self, reader: KeyReader, raw: bytes | None, candidates: tuple[Candidate, ...]) -> KeyView | None:
        """Ask for candidates.

        :param raw: what was presented; None for nothing, and nothing is learnt then.
        """
        key = (reader.org, "", candidates[0].name.encode()) if raw is None else (reader.org, reader.purpose, raw)
        while (flight := self._flights.get(key)) is not None:
            waiter: Deferred[None] = Deferred()
            flight.waiting.append(waiter)
            await waiter
            if flight.error is not None:
                raise StoreUnavailable(str(flight.error)) from flight.error
            if flight.done:
                return flight.view
            # The one who asked went away before there was an answer: somebody else asks.
        flight = self._flights[key] = _Flight(frozenset([candidate.name for candidate in candidates]))
        try:
            flight.view = await self._look_up(reader, raw, candidates, flight)
            flight.done = True
            return flight.view
        except StoreUnavailable as error:
            flight.error = error
            raise
        finally:
            del self._flights[key]
            for waiter in flight.waiting:
                waiter.callback(None)

    async def _look_up(self, reader: KeyReader, raw: bytes | None, candidates: tuple[Candidate, ...], flight: _Flight) -> KeyView | None:
        for _ in range(_MAX_ROUNDS):
            flight.stale = False
            found = await self._read(reader, candidates)
            if not flight.stale:
                break
        if found is None:
            return None
        index, stored, session = found
        candidate = candidates[index]
        entry = self._entries.get(candidate.id)
        if entry is None or entry.raw != stored.value:
            if entry is not None:
                self._drop(entry)
            entry = _Cached(candidate, stored.value, session)
        if not flight.stale and self._settings.cache_sessions:
            entry.valid_until = self._clock.monotonic() + min(
                self._settings.cache_s, self._settings.cache_s if stored.ttl_s is None else stored.ttl_s
            )
            self._keep(entry, reader, raw, candidates[: index + 1])
        return entry.view(self.policies.table, reader.org)

    async def _read(self, reader: KeyReader, candidates: tuple[Candidate, ...]) -> tuple[int, Entry, Session] | None:
        """Ask the store for all candidates in one round trip; the first that is a key counts."""
        weak = [candidate for candidate in candidates if candidate.weak]
        names = [candidate.key for candidate in candidates]
        found = await self._store.get_entries(names + [candidate.check_key for candidate in weak])
        for index, candidate in enumerate(candidates):
            stored = found[index]
            if stored is None:
                continue
            try:
                session = self._parse(candidate, stored.value)
            except UnusableRecord as fault:
                _log.error("a stored key cannot be read: {reason}", event="keys.unreadable", reason=str(fault))
                continue
            if not reader.accepts(session, candidate, self.naming.hashes):
                continue
            if candidate.weak:
                check = found[len(names) + weak.index(candidate)]
                # A user's password decides, and the check value is written after it (pin): else a name of the same hash locks the user out.
                if (check is not None or reader.purpose != USERS) and not await self._confirm(candidate, stored, check):
                    continue
            return index, stored, session
        return None

    def _parse(self, candidate: Candidate, value: bytes) -> Session:
        """Return a session; one that is as the cache has it is not read again, so that known users take no longer than unknown ones."""
        entry = self._entries.get(candidate.id)
        return entry.session if entry is not None and entry.raw == value else read_session(value)

    async def _confirm(self, candidate: Candidate, stored: Entry, check: Entry | None) -> bool:
        """Compare the id with the strong check value beside a weak hash; an imported key gets its check value on first use."""
        if check is not None:
            return check.value == candidate.check
        ttl = None if stored.ttl_s is None else int(stored.ttl_s) + 1
        if await self._store.put(candidate.check_key, candidate.check, ttl_s=ttl, only_if="absent"):
            return True
        return await self._store.get(candidate.check_key) == candidate.check

    def _keep(self, entry: _Cached, reader: KeyReader, raw: bytes | None, before: tuple[Candidate, ...]) -> None:
        id = entry.candidate.id
        self._entries.pop(id, None)
        while len(self._entries) >= max(1, self._settings.cache_size):
            self._drop(next(iter(self._entries.values())))
        self._entries[id] = entry
        for candidate in before:
            entry.names.add(candidate.name)
            self._by_name.setdefault(candidate.name, set()).add(id)
        if raw is not None:
            reader.learn(raw, entry)

    def _drop(self, entry: _Cached) -> None:
        entry.make_stale()
        id = entry.candidate.id
        self._entries.pop(id, None)
        entry.valid_until = 0.0
        for reader, raw in entry.aliases:
            reader.unlearn(raw, entry)
        entry.aliases.clear()
        for name in entry.names:
            ids = self._by_name[name]
            ids.discard(id)
            if not ids:
                del self._by_name[name]
        entry.names.clear()


class KeyReader:
    """The look-up of one organisation and purpose."""

    __slots__ = ("_aliases", "_policies", "_sessions", "accepts", "org", "purpose")

    def __init__(self, sessions: Sessions, org: str, purpose: str) -> None:
        self._sessions = sessions
        self._policies = sessions.policies
        self._aliases: dict[bytes, _Cached] = {}
        self.org = org
        self.purpose = purpose
        self.accepts = PURPOSES[purpose]

    def peek(self, presented: bytes, now: float) -> KeyView | None:
        """Return what a presented text stands for if the cache knows; never waits, costs about 0.2 us.

        :param now: monotonic seconds.
        """
        entry = self._aliases.get(presented)
        if entry is None or entry.valid_until <= now:
            return None
        if entry.table is self._policies.table:
            view = entry.views.get(self.org)
            if view is not None:
                return view
        return entry.view(self._policies.table, self.org)

    async def find(self, presented: bytes) -> KeyView | None:
        """Return what a presented text stands for, None for an unknown key.

        :raises StoreUnavailable: no answer; never taken for an unknown key.
        """
        return await self._sessions._find(self, presented)

    async def find_again(self, view: KeyView) -> KeyView | None:
        """Return what is stored now where a key was found, whatever spelling or rule had found it; None when it is gone.

        :raises StoreUnavailable: no answer.
        """
        return await self._sessions.find_again(self, view)

    async def pin(self, view: KeyView) -> bool:
        """Note that a user has proven the password (:meth:`Sessions.pin`)."""
        return await self._sessions.pin(view)

    def learn(self, presented: bytes, entry: _Cached) -> None:
        """Remember a spelling of a cached key; a key has a handful, so that nobody fills the cache with spellings."""
        if self._aliases.get(presented) is entry:
            return
        if len(entry.aliases) >= _MAX_ALIASES:
            reader, oldest = entry.aliases.pop(0)
            reader.unlearn(oldest, entry)
        self._aliases[presented] = entry
        entry.aliases.append((self, presented))

    def unlearn(self, presented: bytes, entry: _Cached) -> None:
        """Forget a spelling."""
        if self._aliases.get(presented) is entry:
            del self._aliases[presented]
