"""Builders for tests of keys, policies and limits: a store that counts its round trips and can be made to wait."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from twisted.internet.defer import Deferred

from tests.support.apis import FixedClock, make_config, make_exchange
from tlsgate.auth.base import AuthTools
from tlsgate.auth.key_ids import KeyNaming
from tlsgate.auth.policies import PolicyBook, PolicyTable
from tlsgate.auth.proofs import PasswordProofs
from tlsgate.auth.sessions import Sessions
from tlsgate.certs.presence import CertificatePresence
from tlsgate.config.model import GatewayConfig, KeySettings
from tlsgate.model.exchange import Exchange
from tlsgate.model.policy import Policy
from tlsgate.model.session import AccessRight, Session
from tlsgate.store.interface import Entry
from tlsgate.store.memory import MemoryStore

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that has all it waits for."""
    results: list[Any] = []
    Deferred.fromCoroutine(work).addBoth(results.append)
    assert results, "still waiting"
    if hasattr(results[0], "raiseException"):
        results[0].raiseException()
    return results[0]


def begin(work: Coroutine[Any, Any, T]) -> tuple[Deferred[T], list[Any]]:
    """A coroutine under way, and the list that its result is put into."""
    results: list[Any] = []
    deferred = Deferred.fromCoroutine(work)
    deferred.addBoth(results.append)
    return deferred, results


class CountingStore(MemoryStore):
    """Counts look-ups; ``hold`` makes each wait until it is called back."""

    def __init__(self, clock: FixedClock) -> None:
        super().__init__(clock)
        self.reads = 0
        self.counts = 0
        self.held: list[Deferred[None]] | None = None
        self.before_replacing: list[Coroutine[Any, Any, Any]] = []
        """What somebody else does after a value was read and before it is replaced; one with each time."""

    async def replace(self, name: str, old: bytes | None, value: bytes, *, ttl_s: int | None = None) -> bool:
        if self.before_replacing:
            await self.before_replacing.pop(0)
        return await super().replace(name, old, value, ttl_s=ttl_s)

    async def get_entries(self, names: Sequence[str]) -> list[Entry | None]:
        self.reads += 1
        found = await super().get_entries(names)
        if self.held is not None:
            waiter: Deferred[None] = Deferred()
            self.held.append(waiter)
            await waiter
        return found

    async def count_window(self, name: str, window_s: float, limit: int, cost: int = 1) -> Any:
        self.counts += 1
        return await super().count_window(name, window_s, limit, cost)

    async def count_sliding(self, name: str, per_s: float, limit: int, now: float, *, log_refused: bool = True) -> Any:
        self.counts += 1
        return await super().count_sliding(name, per_s, limit, now, log_refused=log_refused)


class Keys:
    """Sessions over a memory store, and everything around them."""

    def __init__(
        self, policies: Sequence[Policy] = (), *, now: float = 1_000_000.0, config: GatewayConfig | None = None, **keys: Any
    ) -> None:
        self.clock = FixedClock(now)
        self.store = CountingStore(self.clock)
        self.settings = KeySettings(**keys)
        self.config = msgspec.structs.replace(config or make_config(), keys=self.settings)
        self.naming = KeyNaming(self.settings)
        self.book = PolicyBook(PolicyTable(policies))
        self.sessions = Sessions(self.store, self.naming, self.settings, self.book, self.clock)
        self.store.subscribe(self.sessions.on_change)
        self.events: list[tuple[str, Mapping[str, Any]]] = []
        self.slept: list[float] = []
        self.present: set[str] = set()
        """Ids of the certificates that the store of certificates has."""
        self.asked = 0
        keep_s = self.settings.cache_s if self.settings.cache_sessions else 0
        self.presence = CertificatePresence(self._has, self.clock, keep_s)
        self.store.subscribe(self.presence.on_change)
        self.jobs = 0
        """Slow jobs that a thread would have done."""
        self.held: list[Deferred[None]] | None = None
        """Where slow jobs wait to be called back; None does them at once."""
        self.proofs = PasswordProofs(self._aside, self.clock, at_once=1)
        self.tools = AuthTools(self.sessions, self.clock, self._notify, self._sleep, certificate_presence=self.presence, proofs=self.proofs)

    async def _has(self, id: str) -> bool:
        self.asked += 1
        return id in self.present

    def _notify(self, event: str, exchange: Exchange | None, fields: Mapping[str, Any]) -> None:
        self.events.append((event, fields))

    async def _aside(self, work: Callable[[], Any]) -> Any:
        self.jobs += 1
        if self.held is not None:
            waiter: Deferred[None] = Deferred()
            self.held.append(waiter)
            await waiter
        return work()

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock.time += seconds

    def add(self, custom: str = "", *, org: str = "org", id: str = "", **fields: Any) -> str:
        """Store a key and return its id; without rights it opens the API called ``api``."""
        fields.setdefault("access_rights", {"api": AccessRight()})
        id = id or self.naming.generate(org, custom)
        assert run(self.sessions.save(id, Session(org_id=org, **fields)))
        return id

    def request(self, key: str | None = None, method: str = "GET", path: str = "/test/", **fields: Any) -> Exchange:
        """A request with a key in ``Authorization``."""
        headers = fields.pop("headers", [])
        if key is not None:
            headers = [*headers, ("Authorization", key)]
        exchange = make_exchange(method, path, headers=headers, **fields)
        exchange.entered_at = self.clock.monotonic()
        return exchange
