"""Tests of `tlsgate.service`: what can be seen without a process (the rest is in `tests/loopback`)."""

from __future__ import annotations

import io
import json
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.application.service import IService
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock

from tests.support.certs import SERVER, make_authority, make_self_signed
from tests.support.gateway import classic
from tests.support.keys import begin, run
from tests.support.logged import logged_events
from tests.support.memory_channel import MemoryTransport, make_connection
from tlsgate import hosting
from tlsgate import service as service_module
from tlsgate.errors import ConfigError, Problem
from tlsgate.gateway import listener as listener_module
from tlsgate.gateway.channel import HttpChannel
from tlsgate.service import GatewayService, make_service
from tlsgate.systemd import InheritedSocket


def write(folder: Path, **config: Any) -> str:
    path = folder / "tyk.conf.json"
    own = {"development": True, "api_definitions": [classic("one", 9, "/one/")], **config.pop("tlsgate", {})}
    path.write_text(json.dumps({"listen_port": 0, "secret": "s" * 32, "app_path": str(folder), "tlsgate": own, **config}))
    return str(path)


def test_it_is_a_service_and_reads_nothing_before_it_starts() -> None:
    """`twistd` makes services before it changes user and folder."""
    made = make_service("/no/such/file", 1)
    assert IService.providedBy(made)
    assert isinstance(made, GatewayService)
    assert made.stopService() is None


def test_the_port_of_the_command_line_wins(tmp_path: Path) -> None:
    gateway = GatewayService(write(tmp_path, listen_port=8080), 9999)
    assert gateway._read_config()[0].listen_port == 9999
    assert GatewayService(write(tmp_path, listen_port=8080))._read_config()[0].listen_port == 8080


@pytest.mark.parametrize("config", [{"listen_port": "x"}, {"tlsgate": {"developmemt": True}}, {"http_server_options": {"min_version": 9}}])
def test_every_problem_of_the_configuration_is_carried(tmp_path: Path, config: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        GatewayService(write(tmp_path, **config))._read_config()
    assert caught.value.problems


def test_what_cannot_change_while_running_is_kept(tmp_path: Path) -> None:
    """Ports, address and TLS of the main listeners need a restart; everything else is taken (decisions 4.5)."""
    gateway = GatewayService(write(tmp_path, listen_port=8080))
    gateway.config = gateway._read_config()[0]
    changed = GatewayService(write(tmp_path, listen_port=8081, hide_generator_header=True, control_api_port=7000))._read_config()[0]
    kept = gateway._keep_fixed(changed)
    assert (kept.listen_port, kept.control.port, kept.hide_generator_header) == (8080, 0, True)
    same = GatewayService(write(tmp_path, listen_port=8080))._read_config()[0]
    assert gateway._keep_fixed(same) is same


# The life of a service, with a clock for a reactor and ports that are only noted.


class FakePort:
    """A port that is open until it is not."""

    def __init__(self, number: int, interface: str) -> None:
        self.number = number
        self.interface = interface
        self.open = True
        self.held = False

    def stopReading(self) -> None:
        self.held = True

    def startReading(self) -> None:
        self.held = False

    def getHost(self) -> Any:
        return SimpleNamespace(port=self.number)

    def stopListening(self) -> Deferred[None]:
        self.open = False
        return succeed(None)


class Life:
    """A service from its start to its end."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        (folder / "apps").mkdir()
        self.reactor = Clock()
        self.reactor.callFromThread = lambda call, *arguments: call(*arguments)  # type: ignore[attr-defined]
        self.when_running: list[Any] = []
        self.reactor.callWhenRunning = self.when_running.append  # type: ignore[attr-defined]
        self.ports: list[FakePort] = []
        self.taken: set[int] = set()
        self.signals: dict[int, Any] = {signal.SIGTERM: lambda *_: self.stops.append("stop"), signal.SIGINT: signal.SIG_DFL}
        self.stops: list[str] = []
        self.output = io.StringIO()
        self.later: list[Deferred[None]] | None = None
        """When a list: work of threads waits in it."""
        monkeypatch.setattr("twisted.internet.reactor", self.reactor, raising=False)
        monkeypatch.setitem(sys.modules, "twisted.internet.reactor", self.reactor)
        monkeypatch.setattr(listener_module, "listen_prompt", self._listen)
        monkeypatch.setattr(
            listener_module, "adopt_prompt", lambda reactor, fd, factory: self._listen(reactor, fd, factory, backlog=0, interface="fd")
        )
        monkeypatch.setattr(service_module, "deferToThread", self._in_thread)
        monkeypatch.setattr(service_module, "settle_memory", lambda: None)
        monkeypatch.setattr(service_module, "raise_descriptor_limit", lambda config: None)
        monkeypatch.setattr(signal, "signal", self.signals.__setitem__)
        monkeypatch.setattr(signal, "getsignal", self.signals.get)
        monkeypatch.setattr(sys, "__stdout__", self.output)

    def _listen(self, reactor: Any, number: int, factory: Any, *, backlog: int, interface: str) -> FakePort:
        if number in self.taken:
            raise CannotListenError(interface, number, OSError(98, "in use"))
        port = FakePort(number or 40_000, interface)
        self.ports.append(port)
        return port

    def _in_thread(self, call: Any, *arguments: Any) -> Deferred[Any]:
        if self.later is None:
            return maybeDeferred(call, *arguments)
        waiting: Deferred[None] = Deferred()
        self.later.append(waiting)
        return waiting.addCallback(lambda _: call(*arguments))

    def write(self, *apis: dict[str, Any], **config: Any) -> None:
        """Write the configuration."""
        own = {"development": True, "api_definitions": list(apis), **config.pop("tlsgate", {})}
        tree = {
            "listen_port": 8080,
            "listen_address": "127.0.0.1",
            "secret": "s" * 32,
            "app_path": str(self.folder / "apps"),
            "storage": {"type": "memory"},
            "tlsgate": own,
            **config,
        }
        (self.folder / "tyk.conf.json").write_text(json.dumps(tree))

    def start(self, *apis: dict[str, Any], **config: Any) -> GatewayService:
        """Start with this configuration."""
        self.write(*apis, **config)
        gateway = GatewayService(str(self.folder / "tyk.conf.json"))
        gateway.startService()
        self.begin()
        return gateway

    def begin(self) -> None:
        """The reactor runs: the store opens and clients are let in."""
        assert all(port.held for port in self.ports)
        self.when_running.pop()()
        assert not any(port.held for port in self.ports)

    @property
    def open_ports(self) -> list[int]:
        return [port.number for port in self.ports if port.open]


@pytest.fixture
def life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Life]:
    yield Life(tmp_path, monkeypatch)


def connect(gateway: GatewayService, data: bytes = b"") -> MemoryTransport:
    """A client's connection."""
    transport = MemoryTransport()
    channel = HttpChannel(gateway.site, make_connection())  # type: ignore[arg-type]
    channel.makeConnection(transport)
    if data:
        channel.dataReceived(data)
    transport.channel = channel  # type: ignore[attr-defined]
    return transport


def names(events: list[dict[str, Any]]) -> list[str]:
    return [str(event["event"]) for event in events if event.get("event")]


def test_ports_open_when_everything_is_loaded_and_are_announced(life: Life) -> None:
    """Decisions 4.5: one line per listener; APIs with ports of their own too."""
    extra = classic("two", 9, "/", listen_port=8081, protocol="http")
    with logged_events() as events:
        gateway = life.start(
            classic("one", 9, "/one/"), extra, control_api_port=7000, disable_ports_whitelist=True, tlsgate={"log": {"access": True}}
        )
    assert life.output.getvalue().splitlines() == [
        "listening role=gateway address=127.0.0.1 port=8080 tls=no",
        "listening role=control address=127.0.0.1 port=7000 tls=no",
        "listening role=api address=127.0.0.1 port=8081 tls=no",
    ]
    assert "service.started" in names(events)
    assert gateway.site is not None
    assert gateway.site.access_log is not None
    assert set(gateway.site.generation.apis) == {"one", "two"}


def test_a_port_that_cannot_be_had_stops_the_start(life: Life) -> None:
    """Nothing stays open."""
    life.taken = {7000}
    with pytest.raises(ConfigError) as caught:
        life.start(control_api_port=7000)
    assert (caught.value.problems[0].path, caught.value.problems[0].value) == ("listen_port", "7000")
    assert life.open_ports == []


def test_problems_of_definitions_are_logged(life: Life) -> None:
    """The others are served."""
    with logged_events() as events:
        gateway = life.start(classic("one", 9, "/one/"), classic("closed", 9, "/c/", use_keyless=False, use_oauth2=True))
    (problem,) = [str(event["problem"]) for event in events if event.get("event") == "load.problem"]
    assert "use_oauth2" in problem
    assert gateway.site is not None
    assert set(gateway.site.generation.apis) == {"one"}


def test_a_reload_swaps_everything_that_can_change(life: Life) -> None:
    """Definitions, ports of APIs, settings; SIGHUP asks for it."""
    gateway = life.start(classic("one", 9, "/one/"), classic("port", 9, "/", listen_port=8081), disable_ports_whitelist=True)
    assert gateway.site is not None
    before = gateway.site.generation
    life.write(
        classic("two", 9, "/two/"),
        classic("port", 9, "/", listen_port=8082),
        disable_ports_whitelist=True,
        close_connections=True,
        tlsgate={"log": {"access": True}},
    )
    with logged_events() as events:
        life.signals[signal.SIGHUP](signal.SIGHUP, None)
    assert "reload.done" in names(events)
    assert set(gateway.site.generation.apis) == {"two", "port"}
    assert gateway.site.generation is not before
    assert gateway.site.close_connections
    assert gateway.site.access_log is not None
    assert life.open_ports == [8080, 8082]
    assert gateway.site.counters["reloads"] == 1


def test_a_port_that_speaks_something_else_stays_open(life: Life, tmp_path: Path) -> None:
    """A second socket could not be bound beside it."""
    (tmp_path / "server.pem").write_text(make_authority("CA").issue("s", names=["a.test"], usages=SERVER).full_pem)
    config = {"disable_ports_whitelist": True, "http_server_options": {"ssl_certificates": [str(tmp_path / "server.pem")]}}
    gateway = life.start(classic("port", 9, "/", listen_port=8081, protocol="http"), **config)
    life.write(classic("port", 9, "/", listen_port=8081, protocol="https"), **config)
    gateway.reload()
    assert life.open_ports == [8080, 8081]
    assert life.output.getvalue().splitlines()[-1] == "listening role=api address=127.0.0.1 port=8081 tls=yes"


@pytest.mark.parametrize("how", ["configuration", "text", "port"])
def test_a_reload_that_cannot_be_is_refused_whole(life: Life, how: str) -> None:
    """The state before it keeps serving, and the log says why."""
    gateway = life.start(classic("one", 9, "/one/"), disable_ports_whitelist=True)
    assert gateway.site is not None
    before = gateway.site.generation
    if how == "configuration":
        life.write(classic("two", 9, "/two/"), listen_port="x")
    elif how == "text":
        (life.folder / "tyk.conf.json").write_text("{")
    else:
        life.taken = {8082}
        life.write(classic("a", 9, "/", listen_port=8081), classic("b", 9, "/", listen_port=8082), disable_ports_whitelist=True)
    with logged_events() as events:
        gateway.reload()
    assert "reload.refused" in names(events)
    assert gateway.site.generation is before
    assert gateway.site.counters["reloads_refused"] == 1
    assert life.open_ports == [8080]
    life.write(classic("two", 9, "/two/"))
    gateway.reload()
    assert set(gateway.site.generation.apis) == {"two"}


def test_a_reload_that_fails_unexpectedly_is_logged(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the next one works."""
    gateway = life.start(classic("one", 9, "/one/"))
    assert gateway.site is not None
    build = gateway._build

    def fail(*_: Any) -> Any:
        raise RuntimeError("ours")

    monkeypatch.setattr(gateway, "_build", fail)
    with logged_events() as events:
        gateway.reload()
    assert "reload.failed" in names(events)
    monkeypatch.setattr(gateway, "_build", build)
    life.write(classic("two", 9, "/two/"))
    gateway.reload()
    assert set(gateway.site.generation.apis) == {"two"}


def test_reloads_that_come_together_are_one_more(life: Life) -> None:
    """What was written while one ran is read by the next, however many asked."""
    gateway = life.start(classic("one", 9, "/one/"))
    assert gateway.site is not None
    life.later = []
    for _ in range(5):
        gateway.reload()
    assert len(life.later) == 1
    waiting, life.later = life.later, None
    life.write(classic("two", 9, "/two/"))
    waiting[0].callback(None)
    assert gateway.site.counters["reloads"] == 2
    assert set(gateway.site.generation.apis) == {"two"}


def test_no_reload_ends_a_drain(life: Life) -> None:
    """One that was under way is given up."""
    gateway = life.start(classic("one", 9, "/one/"))
    assert gateway.site is not None
    before = gateway.site.generation
    life.later = []
    gateway.reload()
    connect(gateway, b"GET / HT")
    gateway.stopService()
    gateway.reload()
    assert len(life.later) == 1
    first = life.later.pop()
    first.callback(None)
    life.later.pop().callback(None)
    assert gateway.site.generation is before
    assert life.open_ports == []


def test_who_waits_for_a_reload_behind_another_one_is_answered_in_a_drain(life: Life) -> None:
    """Or the call would hang until the drain cuts it off; those who wait for a certificate likewise."""
    gateway = life.start(classic("one", 9, "/one/"))
    life.later = []
    _, first = begin(gateway.reload_here())
    _, second = begin(gateway.reload_here())
    _, third = begin(gateway._settle())
    connect(gateway, b"GET / HT")
    gateway.stopService()
    while life.later:
        life.later.pop(0).callback(None)
    assert first and second == ["the gateway shuts down"] and third


def test_an_idle_service_stops_at_once(life: Life) -> None:
    """Ports first, then idle connections, then the rest; twice is once."""
    gateway = life.start(classic("one", 9, "/one/"))
    done = gateway.stopService()
    assert done is not None
    assert life.open_ports == []
    assert done.called
    assert gateway.stopService() is None
    assert not [call for call in life.reactor.getDelayedCalls() if call.getTime() < 3600]


def test_requests_in_flight_get_their_time(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    """``graceful_shutdown_timeout_duration``; then they are cut, and the service ends all the same."""
    gateway = life.start(classic("one", 9, "/one/"), graceful_shutdown_timeout_duration=10)
    now = [100.0]
    monkeypatch.setattr(gateway, "_clock", SimpleNamespace(monotonic=lambda: now[0], now=lambda: 1e9))
    busy = connect(gateway, b"GET / HT")
    idle = connect(gateway)
    with logged_events() as events:
        done = gateway.stopService()
        assert done is not None
        assert idle.disconnecting
        idle.channel.connectionLost(None)  # type: ignore[attr-defined]
        for _ in range(50):
            life.reactor.advance(0.1)
            now[0] += 0.1
        assert not done.called
        assert not busy.disconnected
        for _ in range(60):
            life.reactor.advance(0.1)
            now[0] += 0.1
    assert busy.disconnected
    assert done.called
    assert "service.drain_cut" in names(events)


def test_the_second_signal_ends_the_drain(life: Life) -> None:
    """The first one is the reactor's; a default action stays what it is."""
    gateway = life.start(classic("one", 9, "/one/"), graceful_shutdown_timeout_duration=1000)
    for call in life.when_running:
        call()
    assert life.signals[signal.SIGINT] is signal.SIG_DFL
    stop = life.signals[signal.SIGTERM]
    stop(signal.SIGTERM, None)
    assert life.stops == ["stop"]
    busy = connect(gateway, b"GET / HT")
    done = gateway.stopService()
    assert done is not None
    life.reactor.pump([0.1] * 10)
    assert not done.called
    stop(signal.SIGTERM, None)
    assert life.stops == ["stop"]
    life.reactor.pump([0.1] * 10)
    assert busy.disconnected
    assert done.called


def test_a_parents_word_ends_it_once(life: Life) -> None:
    """As a signal does; another word of it ends the drain."""
    gateway = life.start(classic("one", 9, "/one/"), graceful_shutdown_timeout_duration=1000)
    life.reactor.stop = lambda: life.stops.append("reactor")  # type: ignore[attr-defined]
    gateway.end()
    gateway.end()
    assert life.stops == ["reactor"]
    busy = connect(gateway, b"GET / HT")
    done = gateway.stopService()
    assert done is not None
    life.reactor.pump([0.1] * 10)
    assert not done.called
    gateway.hurry()
    life.reactor.pump([0.1] * 10)
    assert busy.disconnected
    assert done.called


def test_workers_are_for_the_command_line(life: Life, tmp_path: Path) -> None:
    """Under ``twistd`` one process serves, and says so; a changed number needs a restart."""
    storage = {"type": "sqlite", "path": str(tmp_path / "store.db")}
    with logged_events() as events:
        gateway = GatewayService(write(tmp_path, storage=storage, tlsgate={"workers": 4}))
        gateway.startService()
    assert "service.one_process" in names(events)
    assert gateway.state.limiters.nodes == 1
    with logged_events() as events:
        kept = gateway._keep_fixed(GatewayService(write(tmp_path, storage=storage, tlsgate={"workers": 5}))._read_config()[0])
    assert kept.own.workers == 4
    assert [event["field"] for event in events] == ["tlsgate.workers"]


def test_a_service_outside_of_the_main_thread_has_no_signals(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so and serves."""

    def refuse(*_: Any) -> None:
        raise ValueError("signal only works in main thread")

    monkeypatch.setattr(signal, "signal", refuse)
    with logged_events() as events:
        life.start(classic("one", 9, "/one/"))
    assert "service.no_signals" in names(events)
    assert life.when_running == []


def test_the_watchdog_is_fed_until_the_end(life: Life, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Half of what the service manager allows; states are told in order."""
    path = str(tmp_path / "notify")
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.bind(path)
    receiver.setblocking(False)
    monkeypatch.setenv("NOTIFY_SOCKET", path)
    monkeypatch.setenv("WATCHDOG_USEC", "2000000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    gateway = life.start(classic("one", 9, "/one/"))
    life.reactor.pump([0.5] * 6)
    gateway.reload()
    gateway.stopService()
    life.reactor.pump([0.5] * 6)
    told = []
    while True:
        try:
            told.append(receiver.recv(1000).decode().partition("\n")[0])
        except BlockingIOError:
            break
    receiver.close()
    assert told == ["WATCHDOG=1", "READY=1", *["WATCHDOG=1"] * 3, "RELOADING=1", "READY=1", "STOPPING=1"]


def test_certificates_that_end_soon_are_named_each_day(life: Life, tmp_path: Path) -> None:
    """Also when nobody reloads; not after the drain."""
    soon = make_authority("CA").issue("s", names=["a.test"], usages=SERVER, not_after=GatewayService(None)._clock.now() + 86400)
    (tmp_path / "server.pem").write_text(soon.full_pem)
    gateway = life.start(
        classic("one", 9, "/one/"), http_server_options={"use_ssl": True, "ssl_certificates": [str(tmp_path / "server.pem")]}
    )
    for day in range(2):
        with logged_events() as events:
            life.reactor.advance(86400)
        assert any(soon.fingerprint in str(event.get("reason")) for event in events if event.get("event") == "tls.certificate_expires"), day
    gateway.stopService()
    with logged_events() as events:
        gateway._look_at_expiry()
    assert events == []


def test_inherited_sockets_are_used_and_others_are_named(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    """Socket activation: matched by address and port."""
    given = (
        InheritedSocket(3, "http", socket.AF_INET, "127.0.0.1", 8080),
        InheritedSocket(4, "stray", socket.AF_INET, "127.0.0.1", 9999),
    )
    monkeypatch.setattr(hosting, "load_inherited_sockets", lambda environ, pid: given)
    with logged_events() as events:
        life.start(classic("one", 9, "/one/"))
    assert [(port.number, port.interface) for port in life.ports] == [(3, "fd")]
    assert [event["name"] for event in events if event.get("event") == "service.unused_socket"] == ["stray"]


# The certificate store.

STORED, OTHER = make_self_signed("stored"), make_self_signed("other")
STORED_ID = "org" + STORED.fingerprint


def strict_api() -> dict[str, Any]:
    return classic("strict", 9, "/s/", use_mutual_tls_auth=True, client_certificates=[STORED_ID, OTHER.pem])


def pins(gateway: GatewayService) -> frozenset[str]:
    assert gateway.site is not None
    allow_list = gateway.site.generation.apis["strict"].allow_list
    assert allow_list is not None
    return allow_list.pins


def test_a_change_in_the_certificate_store_counts_when_it_is_made(life: Life) -> None:
    """What is named here is built anew, what nobody names is not; nothing is read again for it."""
    gateway = life.start(strict_api())
    assert gateway.site is not None
    library = gateway.state.certificates
    assert pins(gateway) == {OTHER.fingerprint}
    life.write(classic("not yet", 9, "/"))
    with logged_events() as events:
        run(library.add("org", STORED.pem.encode()))
        assert pins(gateway) == {OTHER.fingerprint, STORED.fingerprint}
        served = gateway.site.generation
        run(library.add("another", STORED.pem.encode()))
        assert gateway.site.generation is served
        run(library.remove(STORED_ID))
        assert pins(gateway) == {OTHER.fingerprint}
        served = gateway.site.generation
        run(library.remove(STORED_ID))
        assert gateway.site.generation is served
    assert names(events).count("certs.refreshed") == 2
    assert gateway.site.counters["reloads"] == 0


def test_whoever_changes_a_certificate_waits_for_the_build(life: Life) -> None:
    """Also while a reload is under way, which may have asked the store before the change."""
    gateway = life.start(strict_api())
    life.later = []
    gateway.reload()
    run(gateway.state.certificates.add("org", STORED.pem.encode()))
    settle = gateway.state.settle_certificates
    assert settle is not None
    run(settle("nobody names it"))
    _, done = begin(settle(STORED_ID))
    while not done:
        assert life.later, "nothing is under way"
        life.later.pop(0).callback(None)
    assert pins(gateway) == {OTHER.fingerprint, STORED.fingerprint}


def test_a_build_that_is_refused_keeps_what_is_served_and_says_so(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    """And whoever waits is told, not left."""
    gateway = life.start(strict_api())

    def refuse(*_: Any) -> Any:
        raise ConfigError([Problem("f", "", "", "cannot be")])

    monkeypatch.setattr(gateway, "_build", refuse)
    settle = gateway.state.settle_certificates
    assert settle is not None
    with logged_events() as events:
        run(gateway.state.certificates.add("org", STORED.pem.encode()))
        run(settle(STORED_ID))
    assert {"certs.refresh_refused", "reload.problem"} <= set(names(events))
    assert pins(gateway) == {OTHER.fingerprint}


def test_certificates_that_the_store_did_not_answer_for_are_asked_for_again(life: Life) -> None:
    """Every second; and the end of the process ends that."""
    life.write(strict_api())
    gateway = GatewayService(str(life.folder / "tyk.conf.json"))
    gateway.startService()
    store: Any = gateway.state.store
    run(store.put(f"cert-raw-{STORED_ID}", STORED.pem.encode()))
    store.available = False
    life.when_running.pop()()
    assert all(port.held for port in life.ports), "a moment for the store to connect"
    life.reactor.pump([0.05] * 60)
    assert not any(port.held for port in life.ports), "nobody is kept out for it"
    assert pins(gateway) == {OTHER.fingerprint}
    store._available = True
    life.reactor.pump([0.5] * 3)
    assert pins(gateway) == {OTHER.fingerprint, STORED.fingerprint}


def test_a_reload_takes_another_secret_of_stored_keys(life: Life) -> None:
    """What is uploaded from then on is sealed with it."""
    gateway = life.start(strict_api())
    before = gateway.state.certificates
    gateway.reload()
    assert gateway.state.certificates is before
    life.write(strict_api(), security={"private_certificate_encoding_secret": "x" * 32})
    gateway.reload()
    assert gateway.state.certificates is not before


@pytest.mark.parametrize("how", ["the port is taken", "the file is broken"])
def test_a_refused_reload_swallows_no_removal(life: Life, how: str) -> None:
    """It may have fetched what changed, or taken the place of the refresh; who was removed gets in no more (decisions 1.8)."""
    gateway = life.start(strict_api())
    life.later = []
    run(gateway.state.certificates.add("org", STORED.pem.encode()))
    assert life.later, "a refresh is under way"
    if how == "the port is taken":
        life.taken.add(9000)
        life.write(strict_api(), classic("more", 9, "/m/", listen_port=9000), disable_ports_whitelist=True)
    else:
        (life.folder / "tyk.conf.json").write_text("{")
    gateway.reload()
    run(gateway.state.certificates.remove(STORED_ID))
    settle = gateway.state.settle_certificates
    assert settle is not None
    _, done = begin(settle(STORED_ID))
    with logged_events() as events:
        while life.later:
            life.later.pop(0).callback(None)
    assert "reload.refused" in names(events)
    assert done and pins(gateway) == {OTHER.fingerprint}


def test_a_refused_reload_leaves_the_secret_of_stored_keys(life: Life) -> None:
    """The next look at the store would find no private key that it can open."""
    gateway = life.start(strict_api())
    before = gateway.state._secret
    life.taken.add(9000)
    more = classic("more", 9, "/m/", listen_port=9000)
    life.write(strict_api(), more, disable_ports_whitelist=True, security={"private_certificate_encoding_secret": "x" * 32})
    gateway.reload()
    assert gateway.state._secret == before
