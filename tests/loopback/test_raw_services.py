"""Raw services: any byte stream behind client certificates, as people use ghostunnel and stunnel (issue: acceptance 11)."""

from __future__ import annotations

import hashlib
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.support.certs import Authority, Issued, make_authority
from tests.support.gateway import Client, Gateway, HandshakeRefused, ScriptedUpstream, classic, free_port, oas, running_gateway, wait_until
from tests.support.scale import FULL, scaled

MIB = 1024 * 1024
BODY = scaled(64, 1024) * MIB
GROWTH_KIB = 16 * 1024
BLOCK = bytes(range(256)) * 256


@dataclass
class World:
    """A gateway with raw services on ports of their own."""

    gateway: Gateway
    authority: Authority
    alice: Issued
    mallory: Issued
    ports: dict[str, int]
    script: ScriptedUpstream
    apis: list[dict[str, object]]


def serve(connection: socket.socket, number: int) -> None:
    """Upstream: the first line says what to do."""
    line = b""
    while not line.endswith(b"\n"):
        piece = connection.recv(1)
        if not piece:
            return
        line += piece
    command = line.strip()
    if command == b"echo":
        while data := connection.recv(65536):
            connection.sendall(data)
    elif command == b"down":
        sent = 0
        while sent < BODY:
            connection.sendall(BLOCK)
            sent += len(BLOCK)
    elif command == b"up":
        time.sleep(1.0)
        digest = hashlib.sha256()
        while data := connection.recv(MIB):
            digest.update(data)
        connection.sendall(digest.hexdigest().encode())
    elif command == b"half":
        # Says its piece, closes its half, then still reads what the client sends.
        connection.sendall(b"said")
        connection.shutdown(socket.SHUT_WR)
        got = b""
        while data := connection.recv(65536):
            got += data
        HEARD.append(got)
    elif command == b"hold":
        connection.recv(1)


HEARD: list[bytes] = []


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("raw")
    authority = make_authority("clients")
    server = make_authority("servers").issue(
        "localhost", names=["localhost", "db.test", "open.test"], usages=[ExtendedKeyUsageOID.SERVER_AUTH]
    )
    ports = {name: free_port() for name in ("strict", "oasis", "open", "tcp", "down")}
    mtls = {"use_mutual_tls_auth": True, "client_certificates": [authority.pem]}
    with ScriptedUpstream(serve) as script:
        target = f"tcp://127.0.0.1:{script.port}"
        oas_api = oas(
            "oasis",
            target,
            "/",
            server={"protocol": "tls", "port": ports["oasis"], "clientCertificates": {"enabled": True, "allowlist": [authority.pem]}},
        )
        apis = [
            classic("strict", target, protocol="tls", listen_port=ports["strict"], **mtls),
            oas_api,
            classic("open", target, protocol="tls", listen_port=ports["open"]),
            classic("plain", target, protocol="tcp", listen_port=ports["tcp"]),
            classic("down", f"tcp://127.0.0.1:{free_port()}", protocol="tls", listen_port=ports["down"], **mtls),
            classic("web", "http://127.0.0.1:9", "/web/"),
        ]
        with running_gateway(folder, *apis, server=server, disable_ports_whitelist=True) as gateway:
            mallory = make_authority("foreign").issue("mallory")
            yield World(gateway, authority, authority.issue("alice"), mallory, ports, script, apis)


@pytest.mark.parametrize("version", [771, 772])
@pytest.mark.parametrize("service", ["strict", "oasis"])
def test_only_listed_certificates_reach_the_service(world: World, version: int, service: str) -> None:
    """None and a foreign one fail in the handshake, the upstream sees no connection; a listed one is joined to it."""
    seen = world.script.connections
    for identity in (None, world.mallory):
        with pytest.raises(HandshakeRefused):
            Client(world.ports[service], identity=identity, version=version)
    assert world.script.connections == seen
    with Client(world.ports[service], identity=world.alice, version=version) as client:
        client.send(b"echo\nhello")
        assert client.read_exactly(5) == b"hello"


@pytest.mark.parametrize("version", [771, 772])
def test_resumed_sessions_are_judged_too(world: World, version: int) -> None:
    """A session resumed under the service's own policy works, and is judged by its leaf again (decisions 1.9)."""
    with Client(world.ports["strict"], identity=world.alice, version=version) as first:
        first.send(b"echo\nx")
        assert first.read_exactly(1) == b"x"
        assert first.ssl is not None
        with Client(world.ports["strict"], context=first.ssl.get_context(), session=first.session) as second:
            second.send(b"echo\ny")
            assert second.read_exactly(1) == b"y"


def test_open_and_plain_services_carry_bytes(world: World) -> None:
    """TLS without client certificates, and plain TCP."""
    with Client(world.ports["open"]) as client:
        client.send(b"echo\nopen")
        assert client.read_exactly(4) == b"open"
    with Client(world.ports["tcp"], tls=False) as client:
        client.send(b"echo\nplain")
        assert client.read_exactly(5) == b"plain"


@pytest.mark.parametrize("service", ["strict", "tcp"])
def test_big_streams_stay_in_bounded_memory(world: World, service: str) -> None:
    """Both ways, the reader slow at first (sleeps on purpose): RSS grows by at most 16 MiB, nothing is lost."""
    tls = service != "tcp"
    before = world.gateway.rss_kib()
    with Client(world.ports[service], tls=tls, identity=world.alice if tls else None, timeout_s=60) as client:
        client.send(b"down\n")
        time.sleep(1.5)
        peak = world.gateway.rss_kib()
        digest, got = hashlib.sha256(), 0
        while got < BODY:
            data = client.recv()
            assert data
            digest.update(data)
            got += len(data)
        expected = hashlib.sha256()
        for _ in range(BODY // len(BLOCK)):
            expected.update(BLOCK)
        assert digest.digest() == expected.digest()
        assert client.recv() == b""
        assert not client.truncated
    with Client(world.ports[service], tls=tls, identity=world.alice if tls else None, timeout_s=60) as client:
        client.send(b"up\n")
        for _ in range(BODY // len(BLOCK)):
            client.send(BLOCK)
        peak = max(peak, world.gateway.rss_kib())
        half_close(client)
        assert client.read_exactly(64) == expected.hexdigest().encode()
    if FULL:
        print(f"raw {service}: {BODY // MIB} MiB each way, RSS +{peak - before} KiB")
    assert peak - before < GROWTH_KIB


def half_close(client: Client) -> None:
    """Say that nothing more comes: close_notify, or FIN on plain TCP."""
    if client.ssl is None:
        client.socket.shutdown(socket.SHUT_WR)
        return
    client.ssl.shutdown()
    client.socket.sendall(client.ssl.bio_read(65536))


@pytest.mark.parametrize("service", ["strict", "tcp"])
def test_half_close_passes_both_ways(world: World, service: str) -> None:
    """The upstream's end reaches the client while the client still sends, and the other way round."""
    tls = service != "tcp"
    identity = world.alice if tls else None
    HEARD.clear()
    with Client(world.ports[service], tls=tls, identity=identity) as client:
        client.send(b"half\n")
        assert client.read_exactly(4) == b"said"
        assert client.recv() == b""
        assert not client.truncated
        client.send(b"still here")
        half_close(client)
        assert wait_until(lambda: HEARD == [b"still here"])
    with Client(world.ports[service], tls=tls, identity=identity) as client:
        client.send(b"echo\nlast words")
        half_close(client)
        assert client.read_exactly(10) == b"last words"
        assert client.recv() == b""


def test_unreachable_upstream_ends_the_connection(world: World) -> None:
    """The client sees the end soon, the log names the upstream."""
    mark = len(world.gateway.events)
    with pytest.raises((HandshakeRefused, OSError)), Client(world.ports["down"], identity=world.alice) as client:
        client.send(b"x")
        data = client.recv()
        if not data:
            raise OSError("closed")
    event = world.gateway.wait_event("raw.upstream_failed", after=mark)
    assert event["flag"] == "UCF"


def test_idle_connections_are_held_and_freed(world: World) -> None:
    """Many idle connections are served beside others; all descriptors come back."""
    files = world.gateway.open_files()
    count = scaled(150, 2000)
    clients = []
    for _ in range(count):
        client = Client(world.ports["strict"], identity=world.alice)
        client.send(b"hold\n")
        clients.append(client)
    with Client(world.ports["strict"], identity=world.alice) as client:
        client.send(b"echo\nalive")
        assert client.read_exactly(5) == b"alive"
    if FULL:
        print(f"{count} idle raw connections: RSS {world.gateway.rss_kib()} KiB")
    for client in clients:
        client.close()
    assert wait_until(lambda: world.gateway.open_files() <= files + 4, 15), (files, world.gateway.open_files())


def test_reload_leaves_streams_alone_unless_their_trust_went_away(world: World) -> None:
    """Ten reloads beside a running stream lose no byte; taking the CA out of the list ends it, others go on."""
    gateway = world.gateway
    with Client(world.ports["strict"], identity=world.alice) as kept, Client(world.ports["open"]) as other:
        for client in (kept, other):
            client.send(b"echo\n")
        for number in range(10):
            if number % 3 == 0:
                gateway.write_apis(*world.apis[: 5 + number % 2])
            assert gateway.reload()["event"] == "reload.done"
            for client in (kept, other):
                client.send(b"%04d" % number)
                assert client.read_exactly(4) == b"%04d" % number
        changed = [dict(api) for api in world.apis]
        changed[0]["client_certificates"] = [world.mallory.pem]
        gateway.write_apis(*changed)
        mark = len(gateway.events)
        assert gateway.reload()["event"] == "reload.done"
        event = gateway.wait_event("raw.refused", after=mark)
        assert event["fingerprint"] == world.alice.fingerprint
        with pytest.raises((OSError, EOFError)):
            kept.send(b"gone?")
            kept.read_exactly(5)
        other.send(b"still")
        assert other.read_exactly(5) == b"still"
        gateway.write_apis(*world.apis)
        assert gateway.reload()["event"] == "reload.done"


def test_services_of_one_port_are_told_apart_by_name(tmp_path: Path) -> None:
    """Raw services of one port by SNI, each with its own list (decisions 1.12)."""
    port = free_port()
    authority, other = make_authority("one"), make_authority("two")
    server = make_authority("servers").issue("localhost", names=["a.test", "b.test"], usages=[ExtendedKeyUsageOID.SERVER_AUTH])
    alice, bob = authority.issue("alice"), other.issue("bob")

    def say(word: bytes) -> ScriptedUpstream:
        # It stays until the client has gone: an end that came with the word could be read before it.
        return ScriptedUpstream(lambda connection, number: (connection.sendall(word), connection.recv(1))[0])

    with say(b"AAAA") as first, say(b"BBBB") as second:
        apis = [
            classic(
                name,
                f"tcp://127.0.0.1:{up.port}",
                protocol="tls",
                listen_port=port,
                domain=f"{name}.test",
                use_mutual_tls_auth=True,
                client_certificates=[ca.pem],
            )
            for name, up, ca in (("a", first, authority), ("b", second, other))
        ]
        with running_gateway(tmp_path, *apis, server=server, disable_ports_whitelist=True):
            for name, good, bad, word in (("a", alice, bob, b"AAAA"), ("b", bob, alice, b"BBBB")):
                with Client(port, sni=f"{name}.test", identity=good) as client:
                    assert client.read_exactly(4) == word
                with pytest.raises(HandshakeRefused):
                    Client(port, sni=f"{name}.test", identity=bad)
            for name in ("c.test", None):
                for identity in (None, make_authority("x").issue("x")):
                    with pytest.raises((HandshakeRefused, EOFError, OSError)), Client(port, sni=name, identity=identity) as client:
                        client.read_exactly(4)


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed; `make test` installs it")
def test_real_redis_behind_client_certificates(tmp_path: Path) -> None:
    """A real redis-server, used by redis-cli over TLS with and without a certificate."""
    redis_port, port = free_port(), free_port()
    authority = make_authority("clients")
    alice = authority.issue("alice")
    server_ca = make_authority("servers")
    server = server_ca.issue("localhost", names=["localhost"], usages=[ExtendedKeyUsageOID.SERVER_AUTH])
    process = subprocess.Popen(
        ["redis-server", "--port", str(redis_port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)], stdout=subprocess.DEVNULL
    )
    try:
        assert wait_until(lambda: _accepts(redis_port))
        api = classic(
            "redis",
            f"tcp://127.0.0.1:{redis_port}",
            protocol="tls",
            listen_port=port,
            use_mutual_tls_auth=True,
            client_certificates=[authority.pem],
        )
        files = {"ca": server_ca.pem, "cert": alice.pem, "key": alice.key_pem}
        for name, text in files.items():
            (tmp_path / f"{name}.pem").write_text(text)
        with running_gateway(tmp_path, api, server=server, disable_ports_whitelist=True):
            base = ["redis-cli", "-h", "127.0.0.1", "-p", str(port), "--tls", "--sni", "localhost", "--cacert", str(tmp_path / "ca.pem")]
            with_certificate = [*base, "--cert", str(tmp_path / "cert.pem"), "--key", str(tmp_path / "key.pem")]
            assert subprocess.run([*with_certificate, "SET", "k", "v"], capture_output=True, text=True, timeout=10).stdout.strip() == "OK"
            assert subprocess.run([*with_certificate, "GET", "k"], capture_output=True, text=True, timeout=10).stdout.strip() == "v"
            refused = subprocess.run([*base, "GET", "k"], capture_output=True, text=True, timeout=10)
            assert "v" not in refused.stdout.split()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def test_reload_under_streaming_load_corrupts_nothing(world: World) -> None:
    """Streams pump data while the gateway reloads: every byte arrives, in order."""
    failures: list[str] = []

    def pump(number: int) -> None:
        try:
            with Client(world.ports["strict"], identity=world.alice, timeout_s=30) as client:
                client.send(b"echo\n")
                for count in range(scaled(60, 600)):
                    block = bytes([number, count % 256]) * 8192
                    client.send(block)
                    if client.read_exactly(len(block)) != block:
                        failures.append(f"stream {number} differs at block {count}")
        except Exception as error:
            failures.append(f"stream {number}: {type(error).__name__}: {error}")

    threads = [threading.Thread(target=pump, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        world.gateway.reload()
    for thread in threads:
        thread.join()
    assert not failures
