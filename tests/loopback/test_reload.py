"""Reloads under load, broken reloads, shutdown: nothing is lost, nothing opens by accident (issue: acceptance 7)."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.support.certs import Authority, Issued, make_authority
from tests.support.gateway import (
    Client,
    Gateway,
    HandshakeRefused,
    Received,
    ScriptedUpstream,
    StrictUpstream,
    classic,
    oas,
    read_head,
    running_gateway,
    wait_until,
)
from tests.support.scale import FULL, scaled


@dataclass
class World:
    """Who is who in these tests."""

    authority: Authority
    alice: Issued
    other: Authority
    bob: Issued
    server: Issued
    folder: Path
    extra: dict[str, Path] = field(default_factory=dict)


@pytest.fixture
def world(tmp_path: Path) -> World:
    authority, other = make_authority("clients"), make_authority("others")
    server = make_authority("servers").issue(
        "localhost", names=["localhost", "mtls.test", "open.test"], usages=[ExtendedKeyUsageOID.SERVER_AUTH]
    )
    world = World(authority, authority.issue("alice"), other, other.issue("bob"), server, tmp_path)
    world.extra["ca"] = tmp_path / "clients.pem"
    world.extra["ca"].write_text(authority.pem)
    return world


class Load:
    """Clients that send one request after the other until told to stop; each answer must be right."""

    def __init__(self, gateway: Gateway, world: World, count: int = 4) -> None:
        self.failures: list[str] = []
        self.done = 0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(gateway, world, number), daemon=True) for number in range(count)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(20)

    def _run(self, gateway: Gateway, world: World, number: int) -> None:
        client: Client | None = None
        count = 0
        while not self._stop.is_set():
            try:
                if client is None:
                    client = Client(gateway.port, sni="mtls.test", identity=world.alice)
                body = b"x" * (count * 97 % 3000)
                response = client.request("POST", f"/s/{number}/{count}", host="mtls.test", body=body)
                if response.status != 200 or f"/{number}/{count}".encode() not in response.body:
                    self.failures.append(f"{response.status} {response.body[:100]!r}")
                count += 1
                self.done += 1
                if count % 50 == 0:
                    client.close()
                    client = None
            except Exception as error:
                self.failures.append(f"{type(error).__name__}: {error}")
                if client is not None:
                    client.close()
                    client = None
        if client is not None:
            client.close()


def mtls_api(world: World, upstream: int, api_id: str = "strict", ca: str | None = None) -> dict[str, object]:
    references = [ca if ca is not None else str(world.extra["ca"])]
    return classic(api_id, upstream, "/s/", domain="mtls.test", use_mutual_tls_auth=True, client_certificates=references)


def test_many_reloads_under_load_lose_no_request_and_no_memory(world: World) -> None:
    """100 reloads (fewer in a usual run): every request answered, RSS within 5 % of the level after the first ten."""
    with StrictUpstream() as upstream, running_gateway(world.folder, mtls_api(world, upstream.port), server=world.server) as gateway:
        levels: list[int] = []
        with Load(gateway, world) as load:
            for number in range(scaled(30, 100)):
                # Each reload really changes something: another API comes or goes.
                apis = [mtls_api(world, upstream.port), *(classic(f"extra{n}", upstream.port, f"/extra{n}/") for n in range(number % 3))]
                gateway.write_apis(*apis)
                assert gateway.reload()["event"] == "reload.done"
                upstream.requests.clear()
                levels.append(gateway.rss_kib())
        assert not load.failures, load.failures[:5]
        assert load.done > 100
        assert not upstream.violations
        base = max(levels[9:13])
        if FULL:
            print(f"{load.done} requests, RSS after 10 reloads {base} KiB, at the end {levels[-1]} KiB")
        assert levels[-1] <= base * 1.05, levels


@dataclass(frozen=True)
class Broken:
    """A way in which a reload can fail."""

    name: str
    file: str
    text: str


BROKEN = [
    Broken("configuration is no JSON", "tyk.conf.json", "{"),
    Broken("configuration half written", "tyk.conf.json", '{"listen_port": 0, "app_'),
    Broken("server certificate half written", "server.pem", "-----BEGIN CERTIFICATE-----\nMIIB"),
    Broken("client CA file half written", "clients.pem", "-----BEGIN CERTIFICATE-----\nMIIB"),
    Broken("client CA file empty", "clients.pem", ""),
]


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.name)
def test_broken_reload_keeps_the_old_generation(world: World, broken: Broken) -> None:
    """Nobody new gets in, nobody is locked out, the log says which file; a repaired file works (decisions 1.8)."""
    with StrictUpstream() as upstream, running_gateway(world.folder, mtls_api(world, upstream.port), server=world.server) as gateway:
        path = world.folder / broken.file
        good = path.read_text()
        path.write_text(broken.text)
        assert gateway.reload()["event"] == "reload.refused"
        assert any(broken.file in line for line in gateway.lines if "reload." in line), gateway.tail()
        with Client(gateway.port, sni="mtls.test", identity=world.alice) as client:
            assert client.request(target="/s/", host="mtls.test").status == 200
        for intruder in (None, world.bob):
            with pytest.raises(HandshakeRefused):
                Client(gateway.port, sni="mtls.test", identity=intruder)
        path.write_text(good)
        assert gateway.reload()["event"] == "reload.done"


@pytest.mark.parametrize("version", [771, 772])
def test_removed_trust_ends_on_open_connections_and_in_sessions(world: World, version: int) -> None:
    """A CA taken out of the list is out for requests on kept connections, for resumption and for new handshakes."""
    both = world.folder / "both.pem"
    both.write_text(world.other.pem)
    with StrictUpstream() as upstream:
        api = mtls_api(world, upstream.port)
        api["client_certificates"] = [str(world.extra["ca"]), str(both)]
        with running_gateway(world.folder, api, server=world.server) as gateway:
            kept = Client(gateway.port, sni="mtls.test", identity=world.bob, version=version)
            assert kept.request(target="/s/", host="mtls.test").status == 200
            gateway.write_apis(mtls_api(world, upstream.port))
            assert gateway.reload()["event"] == "reload.done"
            response = kept.request(target="/s/", host="mtls.test")
            assert response.status == 403
            assert f"Certificate with SHA256 {world.bob.fingerprint} not allowed".encode() in response.body
            seen = len(upstream.requests)
            with pytest.raises(HandshakeRefused):
                assert kept.ssl is not None
                Client(gateway.port, sni="mtls.test", context=kept.ssl.get_context(), session=kept.session)
            assert len(upstream.requests) == seen == 1
            kept.close()


def test_server_certificate_is_replaced_without_restart(world: World) -> None:
    """New handshakes get the new certificate, kept connections go on."""
    with StrictUpstream() as upstream, running_gateway(world.folder, classic("open", upstream.port, "/s/"), server=world.server) as gateway:
        kept = Client(gateway.port, sni="localhost")
        assert kept.request(target="/s/").status == 200
        renewed = make_authority("servers 2").issue("localhost", names=["localhost"], usages=[ExtendedKeyUsageOID.SERVER_AUTH])
        (world.folder / "server.pem").write_text(renewed.full_pem)
        assert gateway.reload()["event"] == "reload.done"
        with Client(gateway.port, sni="localhost") as fresh:
            assert fresh.ssl is not None
            shown = fresh.ssl.get_peer_certificate(as_cryptography=True)
            assert shown == renewed.certificate
        assert kept.request(target="/s/").status == 200
        kept.close()


@pytest.mark.parametrize("form", ["classic", "oas"])
def test_bad_definition_does_not_take_the_others_down(world: World, form: str) -> None:
    """The file is named in the log; the other APIs appear and go as written (Tyk's rule)."""
    build = classic if form == "classic" else oas
    with StrictUpstream() as upstream, running_gateway(world.folder, build("one", upstream.port, "/one/"), server=world.server) as gateway:
        gateway.write_apis(build("one", upstream.port, "/one/"), build("two", upstream.port, "/two/"))
        (gateway.apps / "bad.json").write_text("{ not json")
        assert gateway.reload()["event"] == "reload.done"
        assert any("bad.json" in line for line in gateway.lines), gateway.tail()
        with Client(gateway.port) as client:
            assert client.request(target="/one/").status == 200
            assert client.request(target="/two/").status == 200
        (gateway.apps / "bad.json").unlink()
        gateway.write_apis(build("two", upstream.port, "/two/"))
        assert gateway.reload()["event"] == "reload.done"
        with Client(gateway.port) as client:
            assert client.request(target="/one/").status == 404
            assert client.request(target="/two/").status == 200


def test_second_api_on_an_occupied_path_leaves_the_first_alone(world: World) -> None:
    """The newcomer is refused by name, the first by api_id keeps the path (field report B60, decisions 4.7)."""
    with (
        StrictUpstream() as upstream,
        running_gateway(world.folder, classic("aaa", upstream.port, "/foo/"), server=world.server) as gateway,
        Client(gateway.port) as client,
    ):
        for path in ("/foo/", "/foo"):
            gateway.write_apis(classic("aaa", upstream.port, "/foo/"), classic("bbb", upstream.port, path))
            assert gateway.reload()["event"] == "reload.done"
            assert client.request(target="/foo/").status == 200
        assert any("bbb" in line for line in gateway.lines), gateway.tail()
        gateway.write_apis(classic("aaa", upstream.port, "/foo/"))
        gateway.reload()
        assert client.request(target="/foo/").status == 200
        gateway.write_apis()
        gateway.reload()
        assert client.request(target="/foo/").status == 404


def test_listeners_of_definitions_come_and_go(world: World) -> None:
    """A new ``listen_port`` opens at a reload, one that nobody names any more closes."""
    from tests.support.gateway import free_port

    port = free_port()
    with (
        StrictUpstream() as upstream,
        running_gateway(world.folder, classic("one", upstream.port), server=world.server, disable_ports_whitelist=True) as gateway,
    ):
        gateway.write_apis(classic("one", upstream.port), classic("two", upstream.port, listen_port=port))
        gateway.reload()
        with Client(port) as client:
            assert client.request().status == 200
        gateway.write_apis(classic("one", upstream.port))
        gateway.reload()
        # The socket closes in the turn after the reload: what came before is reset.
        with pytest.raises((OSError, HandshakeRefused)):
            Client(port)


def test_shutdown_finishes_requests_in_flight(world: World) -> None:
    """SIGTERM: listeners close, the answer under way is finished, idle connections close, exit 0. Sleeps: a slow upstream."""

    def respond(received: Received) -> bytes:
        time.sleep(1.0)
        return b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone"

    with StrictUpstream(respond) as upstream, running_gateway(world.folder, classic("one", upstream.port), server=world.server) as gateway:
        idle, busy = Client(gateway.port), Client(gateway.port)
        busy.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert wait_until(lambda: bool(upstream.requests) or upstream.connections > 0)
        time.sleep(0.2)
        assert gateway.process is not None
        gateway.process.send_signal(signal.SIGTERM)
        assert idle.recv() == b""
        response = busy.read_response()
        assert response.body == b"done"
        assert response.headers["connection"] == "close"
        with pytest.raises(OSError, match="refused"):
            Client(gateway.port)
        assert gateway.process.wait(10) == 0
        idle.close()
        busy.close()


def test_shutdown_cuts_what_does_not_end(world: World) -> None:
    """After ``graceful_shutdown_timeout_duration`` what is left is cut; the exit status is still 0."""

    def never(connection: object, number: int) -> None:
        read_head(connection)  # type: ignore[arg-type]
        time.sleep(20)

    with (
        ScriptedUpstream(never) as upstream,
        running_gateway(world.folder, classic("one", upstream.port), server=world.server, graceful_shutdown_timeout_duration=1) as gateway,
    ):
        client = Client(gateway.port)
        client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert wait_until(lambda: upstream.connections > 0)
        started = time.monotonic()
        assert gateway.stop() == 0
        assert time.monotonic() - started < 6
        client.close()


def test_connection_churn_leaves_nothing_behind(world: World) -> None:
    """Descriptors return to the level of the start after connections of every kind."""
    with StrictUpstream() as upstream, running_gateway(world.folder, mtls_api(world, upstream.port), server=world.server) as gateway:
        with Client(gateway.port, sni="mtls.test", identity=world.alice) as client:
            client.request(target="/s/", host="mtls.test")
        files = gateway.open_files()
        for number in range(scaled(60, 1000)):
            if number % 3 == 0:
                with Client(gateway.port, sni="mtls.test", identity=world.alice) as client:
                    client.request(target="/s/", host="mtls.test")
            elif number % 3 == 1:
                with pytest.raises(HandshakeRefused):
                    Client(gateway.port, sni="mtls.test")
            else:
                Client(gateway.port, tls=False).close()
        assert wait_until(lambda: gateway.open_files() <= files + 2, 8), (files, gateway.open_files())


@pytest.fixture(autouse=True)
def _no_left_over_threads() -> Iterator[None]:
    yield
    assert wait_until(lambda: threading.active_count() < 60)
