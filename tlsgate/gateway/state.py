"""What outlives a generation: store, sessions, policies, counters, events; built once per process, wires the lower floors together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from tlsgate.auth.absent_sessions import AbsentSessions
from tlsgate.auth.base import AuthTools
from tlsgate.auth.key_ids import KeyNaming
from tlsgate.auth.policies import PolicyBook
from tlsgate.auth.proofs import PasswordProofs
from tlsgate.auth.replays import UsedProofs
from tlsgate.auth.sessions import Sessions
from tlsgate.certs.library import Library, build_runner
from tlsgate.certs.presence import CertificatePresence
from tlsgate.certs.shelf import CertificateShelf
from tlsgate.errors import ConfigError, PkiError, Problem
from tlsgate.events.hub import EventHub
from tlsgate.idp.client import IdpClient
from tlsgate.idp.discovery import Discovery
from tlsgate.idp.introspection import Introspection
from tlsgate.idp.key_sets import KeySets
from tlsgate.limits.organisations import Organisations
from tlsgate.limits.registry import LimiterPool
from tlsgate.pki.sealed import Sealer
from tlsgate.store.presence import Presence
from tlsgate.store.registry import build_store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from tlsgate.auth.base import Notify
    from tlsgate.clock import Clock
    from tlsgate.config.model import GatewayConfig
    from tlsgate.gateway.generation import Generation
    from tlsgate.model.exchange import Exchange
    from tlsgate.store.interface import Store

__all__ = ["State", "build_state"]

_log = Logger()


class State:
    """The parts; attributes are public and never replaced while the process runs."""

    def __init__(self, store: Store, config: GatewayConfig, reactor: Any, clock: Clock, *, nodes: int = 1) -> None:
        self.store = store
        self.clock = clock
        self.naming = KeyNaming(config.keys)
        self.policies = PolicyBook()
        self.sessions = Sessions(store, self.naming, config.keys, self.policies, clock)
        self.limiters = LimiterPool(store, clock, config.rate_limits, nodes=nodes)
        self.presence = Presence(store, reactor, self._count_nodes)
        self.organisations = Organisations(store, clock, config.keys)
        self._reactor = reactor
        self._secret = config.security.encoding_secret or config.control.secret
        run_aside = build_runner(reactor)
        self.certificates = Library(store, Sealer(self._secret), clock, run_aside)
        self.shelf = CertificateShelf(self.certificates)
        self.idp = IdpClient(reactor)
        self.key_sets = KeySets(
            self.idp.fetch,
            clock,
            default_s=config.jwks_cache_s,
            stale_s=config.own.identity_providers.stale_s,
            weak_rsa=config.own.identity_providers.weak_rsa,
        )
        self.discovery = Discovery(self.idp.fetch, clock, self.key_sets, stale_s=config.own.identity_providers.stale_s)
        self.introspection = Introspection(self.idp.exchange, self.idp.sign, store, clock)
        keep_s = config.keys.cache_s if config.keys.cache_sessions else 0
        self.certificate_presence = CertificatePresence(lambda id: self.certificates.has(id), clock, keep_s, config.keys.cache_size)
        self.absent_sessions = AbsentSessions(clock.monotonic, keep_s)
        self.auth = AuthTools(
            self.sessions,
            clock,
            self.notify,
            lambda seconds: deferLater(reactor, seconds, lambda: None),
            reactor,
            self.shelf,
            key_sets=self.key_sets,
            certificate_presence=self.certificate_presence,
            proofs=PasswordProofs(run_aside, clock),
            store=store,
            discovery=self.discovery,
            introspection=self.introspection,
            absent_sessions=self.absent_sessions,
            used_proofs=UsedProofs(),
        )
        self.settle_certificates: Callable[[str], Awaitable[None]] | None = None
        """Waits until the change of a certificate counts in this process; None where nothing serves (tests)."""
        self.events = EventHub(reactor, clock, store, config.keys)
        """Its table is replaced by each load."""
        self.on_event: Notify | None = self.events.notify
        """Told of events; None tells nobody."""
        store.subscribe(self.sessions.on_change)
        store.subscribe(self.certificate_presence.on_change)
        store.subscribe(self.organisations.on_change)
        store.subscribe(self.absent_sessions.on_change)
        store.subscribe(self.key_sets.on_change)
        store.subscribe(self.discovery.on_change)
        store.subscribe(self.shelf.on_change)

    def use_certificate_secret(self, config: GatewayConfig) -> None:
        """Seal and open private keys of the certificate store with the secret of this configuration from now on."""
        secret = config.security.encoding_secret or config.control.secret
        if secret != self._secret:
            self._secret = secret
            self.certificates = Library(self.store, Sealer(secret), self.clock, build_runner(self._reactor))
            self.shelf.use_library(self.certificates)

    def take_over(self, generation: Generation) -> None:
        """Work by a generation from now on: its event handlers, its way to identity providers, whose keys are asked for at once."""
        self.events.table = generation.events
        self.idp.use(generation.config, generation.provider_access)
        self.key_sets.keep_only(self.idp.allows)
        self.discovery.keep_only(self.idp.allows)
        for compiled in generation.apis.values():
            for step in compiled.steps:
                prefetch = getattr(step, "prefetch", None)
                if prefetch is not None:
                    prefetch()

    def notify(self, event: str, exchange: Exchange | None, fields: Mapping[str, Any]) -> None:
        """Tell of an event (``auth.base.Notify``)."""
        if self.on_event is not None:
            self.on_event(event, exchange, fields)

    async def start(self) -> None:
        """Open the store; one that is away does not fail the start."""
        await self.store.start()
        self.presence.start()

    def _count_nodes(self, nodes: int) -> None:
        """Share the rates that are counted in each process among all of them."""
        self.limiters.nodes = nodes

    def stop(self) -> Deferred[None]:
        """Deliver what events wait to tell, for a bounded time, then close the store; acknowledged writes are safe."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        try:
            await self.events.stop()
            await self.presence.stop()
        finally:
            self.idp.close()
            await self.store.stop()


def build_state(config: GatewayConfig, reactor: Any, clock: Clock, *, nodes: int = 1) -> State:
    """Return the state of a process, its store not started yet.

    :param nodes: processes that share the traffic.
    :raises ConfigError: the store's settings cannot be used.
    """
    try:
        store = build_store(config.storage, reactor, clock)
    except (PkiError, OSError, ValueError) as problem:
        raise ConfigError([Problem(config.source, "storage", "", str(problem), "mend the settings of the store")]) from problem
    state = State(store, config, reactor, clock, nodes=nodes)
    for text in state.naming.problems:
        _log.warn("{reason}", event="keys.naming", reason=text)
    return state
