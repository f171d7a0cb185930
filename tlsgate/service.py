"""Wires the gateway into a Twisted service: load, listen, reload, drain; the only module that touches the global reactor."""

from __future__ import annotations

import os
import select
import signal
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.application import service
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import CannotListenError
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from tlsgate import __version__
from tlsgate.auth.policy_files import LoadedPolicies, load_policies
from tlsgate.auth.policy_review import review_policies
from tlsgate.certs.expiry import ExpiryMonitor
from tlsgate.certs.library import TOPIC, build_runner
from tlsgate.certs.uses import store_ids
from tlsgate.clock import SystemClock
from tlsgate.config.load import load_config
from tlsgate.control.definition_check import describe_all
from tlsgate.control.endpoints import ControlTools, build_endpoints
from tlsgate.control.reloads import ReloadBell
from tlsgate.control.routes import ControlRoutes
from tlsgate.definitions.loader import LoadedDefinitions, load_definitions
from tlsgate.errors import ConfigError, Problem
from tlsgate.gateway.access_log import AccessLog
from tlsgate.gateway.changes import Changes
from tlsgate.gateway.generation import Generation, attach_resources, build_generation
from tlsgate.gateway.site import Site
from tlsgate.gateway.state import State, build_state
from tlsgate.gateway.vitals import Vitals
from tlsgate.hosting import Alone
from tlsgate.ids import process_id
from tlsgate.logs import start_logging
from tlsgate.ports import OpenPorts
from tlsgate.process import raise_descriptor_limit, settle_memory
from tlsgate.proxy.pool import Pool
from tlsgate.store.interface import GAP
from tlsgate.tls.deadlines import Deadlines
from tlsgate.tls.peer import PeerMemory

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.python.failure import Failure

    from tlsgate.config.model import GatewayConfig
    from tlsgate.hosting import Host

__all__ = ["GatewayService", "make_service", "run"]

_log = Logger()
_DAY_S = 86400.0
_RETRY_S = 1.0
_CONNECTING_S = 0.05


class GatewayService(service.Service):
    """The gateway as a service: ``startService`` loads and listens, ``stopService`` drains.

    :param config_path: None takes everything from the environment.
    :param port: overrides ``listen_port``.
    :param own_logging: start the JSON log (False under ``twistd``, which has its own).
    :param host: the process around it; None is one that is alone.
    """

    name = "tlsgate"

    def __init__(self, config_path: str | None, port: int | None = None, *, own_logging: bool = False, host: Host | None = None) -> None:
        self._path = config_path
        self._port = port
        self._own_logging = own_logging
        self._line_log: Any = None
        self._clock = SystemClock()
        self._memory = PeerMemory()
        self._host: Host = host or Alone(os.environ)
        self._notifier = self._host.notifier
        self._ports = OpenPorts(self._host)
        self._reloading = False
        self._reload_again = False
        self._again_full = False
        self._shelf_ahead = False
        self._settling: list[Deferred[None]] = []
        self._settled: list[Deferred[None]] = []
        self._retry: Any = None
        self._loaded: LoadedDefinitions
        self._problems: list[Problem] = []
        self._waiting: list[Deferred[str]] = []
        self._told: list[Deferred[str]] = []
        self._reload_fault = ""
        self._watchdog: Any = None
        self._expiry: Any = None
        self._status = ""
        self._stopping = False
        self._drain_until = float("inf")
        self.state: State
        self._policies: LoadedPolicies
        self._bell: ReloadBell
        self.site: Site | None = None
        self.config: GatewayConfig | None = None

    def startService(self) -> None:
        """Load everything, then open the ports.

        :raises ConfigError: with every problem; nothing is open then.
        """
        from twisted.internet import reactor

        super().startService()
        self._reactor: Any = reactor
        config, problems = self._read_config()
        self.config = config
        self._line_log = start_logging(config.own.log) if self._own_logging else self._host.line_log
        if config.own.workers > 1 and not self._own_logging and self._host.workers == 1:
            _log.warn("tlsgate.workers is for `tlsgate run`: here one process serves", event="service.one_process")
        raise_descriptor_limit(config)
        self._deadlines = Deadlines(reactor, self._clock.monotonic)
        self._pool = Pool(reactor, self._deadlines, **_pool_bounds(config))
        state = self.state = build_state(config, reactor, self._clock, nodes=self._host.workers)
        self._monitor = ExpiryMonitor(state.notify, state.store, state.shelf, self._clock, build_runner(reactor), reactor)
        policies = self._policies = load_policies(config)
        loaded = self._loaded = self._load(config, None)
        self._problems = _all_problems(problems, policies, loaded)
        state.shelf.expect(_named_ids(config, loaded))
        generation = self._build(config, self._problems, loaded, None)
        state.policies.table = policies.table
        state.take_over(generation)
        bell = self._bell = ReloadBell(reactor, self.reload_now, config.control.reload_interval_s)
        state.store.subscribe(bell.on_change)
        site = self.site = Site(reactor, self._clock, config, generation, None, self._deadlines, self._memory)
        site.sessions = state.sessions
        site.changes = Changes(state.store, site.questions)
        site.shared_counters.set_source("vitals", Vitals(site, state, self._pool).read)
        state.store.subscribe(site.streams.key_changed)
        state.store.subscribe(self._certificate_changed)
        state.settle_certificates = self._settle_certificate
        site.control = self._build_control(site, config)
        attach_resources(generation, site)
        settle_memory()
        if config.own.log.access:
            site.access_log = AccessLog(site)
        if not state.shelf.wanted:
            self._report(generation)
        try:
            self._ports.open(generation.listeners, site, reactor, config.own.limits.backlog, held=True)
        except CannotListenError as problem:
            self._ports.close()
            raise ConfigError(
                [
                    Problem(
                        config.source,
                        "listen_port",
                        str(problem.port),
                        f"cannot listen: {problem.socketError}",
                        "free the port or choose another",
                    )
                ]
            ) from problem
        self._install_signals()
        self._host.attach(self)
        self._start_watchdog()
        self._expiry = reactor.callLater(_DAY_S, self._look_at_expiry)
        reactor.callWhenRunning(self._begin)

    def _begin(self) -> None:
        """Open the store, then let clients in; a store that is away does not keep the others out (decisions 3.5)."""
        started = Deferred.fromCoroutine(self.state.start())
        started.addErrback(lambda failure: _log.failure("the store cannot be opened", failure, event="store.start_failed"))
        started.addCallback(lambda _: Deferred.fromCoroutine(self._first_certificates()) if self.state.shelf.wanted else None)
        started.addErrback(lambda failure: _log.failure("stored certificates cannot be read", failure, event="certs.start_failed"))
        started.addCallback(self._serve)

    def _serve(self, result: Any) -> None:
        site = self.site
        assert site is not None
        if site.draining:
            return
        self._ports.release()
        generation = site.generation
        self._watch_expiry(generation)
        self._status = _count_apis(generation)
        self._notifier.ready(self._status)
        _log.info(
            "serving {count} APIs",
            event="service.started",
            count=len(generation.apis) + len(generation.raws),
            version=__version__,
            ids=process_id(),
        )

    def stopService(self) -> Deferred[Any] | None:
        """Accept nothing more, let requests in flight finish, then cut what is left."""
        super().stopService()
        site = self.site
        if site is None or site.draining:
            return None
        assert self.config is not None
        self._notifier.stopping()
        self._bell.stop()
        for timer in (self._watchdog, self._expiry, self._retry):
            if timer is not None and timer.active():
                timer.cancel()
        self._monitor.stop()
        closed = self._ports.close()
        site.drain()
        done: Deferred[Any] = Deferred()
        self._drain_until = min(self._drain_until, self._clock.monotonic() + self.config.graceful_shutdown_timeout_s)
        self._wait_drained(site, done)
        return DeferredList([done, *closed])

    @property
    def reactor(self) -> Any:
        """The reactor, once started."""
        return self._reactor

    async def reload_now(self) -> str:
        """Reload all workers of this node, and return what went wrong when it is done: empty for nothing (decisions 4.6).

        One that comes while another is under way waits for one that begins after it.
        """
        everywhere = self._host.reload_everywhere
        return await (self.reload_here() if everywhere is None else everywhere())

    async def reload_here(self) -> str:
        """Reload this process; as :meth:`reload_now`."""
        done: Deferred[str] = Deferred()
        self._waiting.append(done)
        self.reload()
        return await done

    def reload(self, *, full: bool = True) -> None:
        """Read everything again and swap the generation; the old one stays when that fails.

        :param full: False asks the certificate store only.
        """
        if self.site is None or self.site.draining:
            self._tell_waiting(self._take_waiting(), "the gateway shuts down")
            self._tell_settled(self._take_settling())
            return
        if self._reloading:
            self._reload_again = True
            self._again_full = self._again_full or full
            return
        self._reloading = True
        self._settled = self._take_settling()
        if not full:
            work = Deferred.fromCoroutine(self._refresh())
            work.addErrback(lambda failure: _log.failure("certificates cannot be taken over", failure, event="certs.refresh_failed"))
            work.addBoth(self._refresh_done)
            return
        self._reload_fault = ""
        self._told = self._take_waiting()
        self._notifier.reloading(self._clock.monotonic())
        if self._line_log is not None:
            self._line_log.reopen()
        work = Deferred.fromCoroutine(self._reload())
        work.addErrback(self._reload_failed)
        work.addBoth(self._reload_done)

    async def _reload(self) -> None:
        site = self.site
        assert site is not None and self.config is not None
        try:
            config, problems = await deferToThread(self._read_config)
            config = self._keep_fixed(config)
            policies = await deferToThread(load_policies, config, self._policies.by_file)
            loaded = await deferToThread(self._load, config, site.generation)
            self.state.use_certificate_secret(config)
            self._shelf_ahead = await self.state.shelf.fill(_named_ids(config, loaded)) or self._shelf_ahead
            found = _all_problems(problems, policies, loaded)
            generation = await deferToThread(self._build, config, found, loaded, site.generation)
        except ConfigError as problem:
            for entry in problem.problems:
                _log.error("{problem}", event="reload.problem", problem=str(entry))
            self._refused(str(problem.problems[0]))
            return
        if site.draining:
            return
        attach_resources(generation, site)
        try:
            self._ports.open(generation.listeners, site, self._reactor, self.config.own.limits.backlog)
        except CannotListenError as problem:
            self._ports.keep(site.generation.listeners)
            self._refused(f"cannot listen on {problem.port}: {problem.socketError}")
            return
        self.config = config
        self._loaded, self._problems = loaded, found
        self._policies = policies
        self.state.policies.table = policies.table
        site.generation = generation
        self._shelf_ahead = False
        self.state.take_over(generation)
        site.configure(config)
        raise_descriptor_limit(config)
        self._pool.configure(**_pool_bounds(config))
        site.control = self._build_control(site, config)
        site.access_log = AccessLog(site) if config.own.log.access else None
        self._ports.keep(generation.listeners)
        site.recheck()
        settle_memory()
        self._retry_when_waiting()
        self._watch_expiry(generation)
        site.counters["reloads"] += 1
        site.meter.keep({api.api_id for api in generation.definitions})
        self._report(generation)
        self._status = _count_apis(generation)
        _log.info("reloaded: {count} APIs", event="reload.done", count=len(generation.apis) + len(generation.raws))

    async def _first_certificates(self) -> None:
        """Take what the store holds before anybody is let in; a store that does not answer in its time is not waited for any longer."""
        site, config = self.site, self.config
        assert site is not None and config is not None
        first = site.generation
        end = self._reactor.seconds() + config.storage.timeout_s
        await self._settle()
        while self.state.shelf.waiting and self._reactor.seconds() < end and not site.draining:
            await deferLater(self._reactor, _CONNECTING_S, lambda: None)
            await self._settle()
        if site.generation is first:
            self._report(first)

    async def _refresh(self) -> None:
        """Take over what changed in the certificate store: the same definitions, the same files, another generation."""
        site, config = self.site, self.config
        assert site is not None and config is not None
        # Also what an attempt that came to nothing has fetched: it is on the shelf, but not in what is served.
        self._shelf_ahead = await self.state.shelf.fill(_named_ids(config, self._loaded)) or self._shelf_ahead
        if self._shelf_ahead and not site.draining:
            try:
                generation = await deferToThread(self._build, config, self._problems, self._loaded, site.generation, True)
            except ConfigError as problem:
                for entry in problem.problems:
                    _log.error("{problem}", event="reload.problem", problem=str(entry))
                _log.error(
                    "a change in the certificate store cannot be taken over: {reason}",
                    event="certs.refresh_refused",
                    reason=str(problem.problems[0]),
                )
                return
            attach_resources(generation, site)
            site.generation = generation
            self._shelf_ahead = False
            self.state.take_over(generation)
            site.recheck()
            settle_memory()
            self._report(generation)
            self._watch_expiry(generation)
            _log.info("certificates of the store taken over", event="certs.refreshed")
        self._retry_when_waiting()

    def _refresh_done(self, result: Any) -> None:
        self._reloading = False
        settled, self._settled = self._settled, []
        self._tell_settled(settled)
        self._reload_if_asked()

    def _reload_if_asked(self) -> None:
        if self._reload_again:
            full, self._reload_again, self._again_full = self._again_full, False, False
            self.reload(full=full)

    def _certificate_changed(self, topic: str, payload: str) -> None:
        """Somebody changed the store: whoever is named here counts otherwise from now on."""
        wanted = self.state.shelf.wanted
        if (topic == TOPIC and payload in wanted) or (topic == GAP and wanted):
            self.reload(full=False)

    async def _settle_certificate(self, id: str) -> None:
        if id in self.state.shelf.wanted:
            await self._settle()

    async def _settle(self) -> None:
        """Wait until the certificates are as the store has them now."""
        done: Deferred[None] = Deferred()
        self._settling.append(done)
        self.reload(full=False)
        await done

    def _retry_when_waiting(self) -> None:
        """Ask again for certificates of a store that is away (decisions 1.8)."""
        if self.state.shelf.waiting and not (self._retry is not None and self._retry.active()):
            self._retry = self._reactor.callLater(_RETRY_S, self.reload, full=False)

    def _take_settling(self) -> list[Deferred[None]]:
        settling, self._settling = self._settling, []
        return settling

    @staticmethod
    def _tell_settled(settled: list[Deferred[None]]) -> None:
        for done in settled:
            if not done.called:
                done.callback(None)

    def _take_waiting(self) -> list[Deferred[str]]:
        waiting, self._waiting = self._waiting, []
        return waiting

    @staticmethod
    def _tell_waiting(waiting: list[Deferred[str]], result: str) -> None:
        for done in waiting:
            if not done.called:
                done.callback(result)

    def _refused(self, reason: str) -> None:
        assert self.site is not None
        self._reload_fault = reason
        self.site.counters["reloads_refused"] += 1
        self._status = f"{_count_apis(self.site.generation)}; the last reload was refused: {reason}"
        _log.error("reload refused, the state before it keeps serving: {reason}", event="reload.refused", reason=reason)

    def _reload_failed(self, failure: Failure) -> None:
        self._reload_fault = self._status = "the last reload failed, see the log"
        if self.site is not None:
            self.site.counters["reloads_failed"] += 1
        _log.failure("reload failed", failure, event="reload.failed")

    def _reload_done(self, result: Any) -> None:
        self._reloading = False
        assert self.site is not None
        told, self._told = self._told, []
        fault = self._reload_fault or describe_all(self.site.generation.notes)
        if not self.site.draining:
            self._notifier.ready(self._status)
        self._tell_waiting(told, fault)
        settled, self._settled = self._settled, []
        if self._reload_fault:
            # A certificate that was removed grants nothing at once, whatever keeps the definitions from being read (decisions 1.8).
            assert self.config is not None
            self.state.use_certificate_secret(self.config)
            self._settling = settled + self._settling
            self._reload_again = True
        else:
            self._tell_settled(settled)
        # Also in a drain: who waits for another one hears that there will be none.
        self._reload_if_asked()

    def _read_config(self) -> tuple[GatewayConfig, list[Problem]]:
        loaded = load_config(self._path, os.environ)
        errors = [problem for problem in loaded.problems if problem.severity == "error"]
        if errors:
            raise ConfigError(loaded.problems)
        config = loaded.config
        if self._port is not None:
            import msgspec

            config = msgspec.structs.replace(config, listen_port=self._port)
        return config, list(loaded.problems)

    @staticmethod
    def _load(config: GatewayConfig, previous: Generation | None) -> LoadedDefinitions:
        before = (*previous.definitions, *previous.reserved) if previous is not None else None
        return load_definitions(config, os.environ, before)

    def _build(
        self,
        config: GatewayConfig,
        problems: list[Problem],
        loaded: LoadedDefinitions,
        previous: Generation | None,
        same_files: bool = False,
    ) -> Generation:
        return build_generation(
            config,
            loaded.apis,
            [*problems, *loaded.problems],
            reserved=loaded.reserved,
            clock=self._clock,
            pool=self._pool,
            reactor=self._reactor,
            environ=os.environ,
            state=self.state,
            identify=self._memory.identify,
            previous=previous,
            same_files=same_files,
        )

    def _build_control(self, site: Site, config: GatewayConfig) -> ControlRoutes:
        self._bell.interval_s = config.control.reload_interval_s
        tools = ControlTools(config, site, self.state, self._clock, self.reload_now, self._bell)
        return ControlRoutes(site, config, build_endpoints(tools), self.state.store)

    def _keep_fixed(self, config: GatewayConfig) -> GatewayConfig:
        """Return ``config`` with what cannot change while running taken from the one that runs, named in a warning."""
        import msgspec

        running = self.config
        assert running is not None
        fixed: dict[str, Any] = {}
        for name in ("listen_address", "listen_port"):
            if getattr(config, name) != getattr(running, name):
                fixed[name] = getattr(running, name)
        if config.http.use_ssl != running.http.use_ssl:
            fixed["http"] = msgspec.structs.replace(config.http, use_ssl=running.http.use_ssl)
        for name in ("storage", "keys", "rate_limits"):
            if getattr(config, name) != getattr(running, name):
                fixed[name] = getattr(running, name)
        if config.own.workers != running.own.workers:
            fixed["own"] = msgspec.structs.replace(config.own, workers=running.own.workers)
        if config.control.port != running.control.port:
            fixed["control"] = msgspec.structs.replace(config.control, port=running.control.port)
        for name in fixed:
            name = "tlsgate.workers" if name == "own" else name
            _log.warn("{field} cannot change while running; restart for it", event="reload.fixed_field", field=name)
        return msgspec.structs.replace(config, **fixed) if fixed else config

    def _report(self, generation: Generation) -> None:
        for problem in generation.notes:
            level = _log.warn if problem.severity == "warning" else _log.error
            level("{problem}", event="load.problem", problem=str(problem), file=problem.file)

    def _wait_drained(self, site: Site, done: Deferred[Any]) -> None:
        if not site.connection_count:
            self._finish(site, done)
        elif self._clock.monotonic() >= self._drain_until:
            _log.warn("{count} connections cut after the drain", event="service.drain_cut", count=site.connection_count)
            site.abort_all()
            self._reactor.callLater(0.1, self._finish, site, done)
        else:
            self._reactor.callLater(0.05, self._wait_drained, site, done)

    def _finish(self, site: Site, done: Deferred[Any]) -> None:
        self._pool.close_idle()
        self._deadlines.stop()
        self.state.stop().addErrback(lambda failure: _log.failure("closing the store failed", failure)).addBoth(self._stopped, done)

    @staticmethod
    def _stopped(result: Any, done: Deferred[Any]) -> None:
        _log.info("stopped", event="service.stopped")
        if not done.called:
            done.callback(None)

    def _install_signals(self) -> None:
        reactor = self._reactor
        try:
            signal.signal(signal.SIGHUP, lambda number, frame: reactor.callFromThread(self.reload))
        except ValueError:
            _log.warn("not in the main thread: SIGHUP does not reload", event="service.no_signals")
            return
        # The reactor installs its own handlers when it starts; at a second signal they fail with a traceback.
        reactor.callWhenRunning(self._guard_stop_signals)

    def _guard_stop_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            before = signal.getsignal(number)
            if callable(before):
                signal.signal(number, partial(self._stop_signal, before))

    def _stop_signal(self, before: Callable[[int, Any], Any], number: int, frame: Any) -> None:
        """The first signal stops the reactor, which drains; a second one comes from somebody in a hurry: the drain ends at once."""
        if self._stopping:
            self._drain_until = 0.0
        else:
            self._stopping = True
            before(number, frame)

    def end(self) -> None:
        """Stop the reactor, which drains; once."""
        if not self._stopping:
            self._stopping = True
            self._reactor.stop()

    def hurry(self) -> None:
        """End the drain at once."""
        self._drain_until = 0.0

    def _watch_expiry(self, generation: Generation) -> None:
        self._monitor.take(generation.config, generation.definitions)

    def _look_at_expiry(self) -> None:
        """Once a day: a certificate that ends soon is named in the log even when nobody reloads."""
        if self.site is not None and not self.site.draining:
            for text in self.site.generation.find_expiring(self._clock.now()):
                _log.warn("{reason}", event="tls.certificate_expires", reason=text)
            self._expiry = self._reactor.callLater(_DAY_S, self._look_at_expiry)

    def _start_watchdog(self) -> None:
        interval = self._host.watchdog_interval()
        if interval is not None:
            self._beat(interval)

    def _beat(self, interval_s: float) -> None:
        self._notifier.watchdog()
        self._watchdog = self._reactor.callLater(interval_s, self._beat, interval_s)


def _named_ids(config: GatewayConfig, loaded: LoadedDefinitions) -> set[str]:
    return store_ids(config, (*(api for api in loaded.apis if api.active), *loaded.reserved))


def _all_problems(problems: list[Problem], policies: LoadedPolicies, loaded: LoadedDefinitions) -> list[Problem]:
    """Return what is wrong with configuration and policies, and with what policies and APIs say of each other."""
    return [*problems, *policies.problems, *review_policies(policies.by_file, (*loaded.apis, *loaded.reserved))]


def _pool_bounds(config: GatewayConfig) -> Any:
    proxy = config.proxy
    per_host = 0 if proxy.close_connections else proxy.max_idle_connections_per_host
    return {"max_idle": proxy.max_idle_connections, "max_idle_per_key": per_host, "idle_s": config.own.limits.upstream_idle_s}


def _count_apis(generation: Generation) -> str:
    return f"{len(generation.apis) + len(generation.raws)} APIs"


def make_service(config_path: str | None, port: int | None = None) -> service.IService:
    """Return the gateway as a service for an application (``twistd``).

    :param config_path: file in tyk.conf's shape; None takes everything from the environment.
    :param port: overrides ``listen_port``.
    """
    return GatewayService(config_path, port)


def run(config_path: str | None, port: int | None = None, host: Host | None = None) -> int:
    """Run the gateway in this process, in the foreground, until SIGTERM or SIGINT.

    :param host: the process around it; None is one that is alone.
    :returns: exit status; 0 after an orderly shutdown.
    :raises ConfigError: nothing could be started.
    """
    if hasattr(select, "epoll"):
        from tlsgate.lean_reactor import install

        install()
    from twisted.internet import reactor

    gateway = GatewayService(config_path, port, own_logging=host is None, host=host)
    running: Any = reactor
    failures: list[BaseException] = []

    def start() -> None:
        try:
            gateway.startService()
        except BaseException as problem:
            failures.append(problem)
            running.stop()

    # Within the loop, so that SIGTERM ends it in good order from the first moment on.
    running.callWhenRunning(start)
    running.addSystemEventTrigger("before", "shutdown", gateway.stopService)
    running.run()
    if failures:
        raise failures[0]
    return 0
