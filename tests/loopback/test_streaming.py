"""Bodies of any size in bounded memory, WebSockets and event streams, through a real gateway (issue: acceptance 6)."""

from __future__ import annotations

import hashlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import websockets.sync.server
from cryptography.x509.oid import ExtendedKeyUsageOID
from websockets.sync.client import connect

from tests.support.certs import Issued, make_authority
from tests.support.gateway import Client, Gateway, ScriptedUpstream, StrictUpstream, classic, read_head, running_gateway, wait_until
from tests.support.scale import FULL, scaled

MIB = 1024 * 1024
BODY = scaled(96, 1024) * MIB
GROWTH_KIB = 16 * 1024


def serve_big(connection: socket.socket, number: int) -> None:
    """Upstream: ``GET /down`` gives BODY bytes, ``POST /up`` counts what comes, slowly at first."""
    head = read_head(connection)
    first, _, rest = head.partition(b"\r\n\r\n")
    if first.startswith(b"GET"):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % BODY)
        block = bytes(range(256)) * 4096
        sent = 0
        while sent < BODY:
            connection.sendall(block[: BODY - sent])
            sent += len(block)
        return
    digest = hashlib.sha256(rest)
    got = len(rest)
    time.sleep(1.0)
    while got < BODY:
        data = connection.recv(MIB)
        if not data:
            return
        digest.update(data)
        got += len(data)
    answer = digest.hexdigest().encode()
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(answer), answer))


def ws_echo(connection: websockets.sync.server.ServerConnection) -> None:
    for message in connection:
        connection.send(message)


@pytest.fixture(scope="module")
def alice() -> Issued:
    return make_authority("clients").issue("alice")


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory, alice: Issued) -> Iterator[tuple[Gateway, dict[str, list[float]]]]:
    """A gateway with a big upstream, a WebSocket echo and an event stream behind static mTLS."""
    folder = tmp_path_factory.mktemp("streaming")
    server = make_authority("servers").issue("localhost", names=["localhost", "mtls.test"], usages=[ExtendedKeyUsageOID.SERVER_AUTH])
    times: dict[str, list[float]] = {"sent": []}

    def serve_events(connection: socket.socket, number: int) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        for count in range(scaled(6, 100)):
            time.sleep(scaled(1, 3) if count == 0 else 0.3)
            times["sent"].append(time.monotonic())
            connection.sendall(b"data: %012d\n\n" % count)

    with (
        ScriptedUpstream(serve_big) as big,
        ScriptedUpstream(serve_events) as events,
        StrictUpstream() as plain,
        websockets.sync.server.serve(ws_echo, "127.0.0.1", 0) as sockets,
    ):
        threading.Thread(target=sockets.serve_forever, daemon=True).start()
        mtls = {"use_mutual_tls_auth": True, "client_certificates": [alice.pem], "domain": "mtls.test"}
        ws_port = sockets.socket.getsockname()[1]
        apis = [
            classic("big", big.port, "/big/", **mtls),
            classic("events", events.port, "/events/", **mtls),
            classic("plain", plain.port, "/plain/", **mtls),
            classic("sock", ws_port, "/sock/", **mtls),
            classic("sock-open", ws_port, "/sock/"),
        ]
        with running_gateway(folder, *apis, server=server, http_server_options={"enable_websockets": True}) as gateway:
            yield gateway, times
        sockets.shutdown()


@pytest.mark.parametrize("version", [771, 772])
def test_big_answer_through_a_slow_reader_stays_in_bounded_memory(
    gate: tuple[Gateway, dict[str, list[float]]], alice: Issued, version: int
) -> None:
    """Back-pressure reaches the upstream: RSS grows by at most 16 MiB. Sleeps: the reader is slow on purpose."""
    gateway, _ = gate
    with Client(gateway.port, sni="mtls.test", identity=alice, version=version, timeout_s=60) as client:
        client.request(target="/plain/", host="mtls.test")
        before = gateway.rss_kib()
        client.send(b"GET /big/down HTTP/1.1\r\nHost: mtls.test\r\n\r\n")
        assert b" 200 " in client.read_until(b"\r\n\r\n")
        time.sleep(2.0)
        peak = gateway.rss_kib()
        digest = hashlib.sha256()
        got = 0
        while got < BODY:
            data = client.recv()
            assert data
            digest.update(data)
            got += len(data)
            if got % (32 * MIB) < 65536:
                peak = max(peak, gateway.rss_kib())
        expected = hashlib.sha256()
        block = bytes(range(256)) * 4096
        for _ in range(BODY // len(block)):
            expected.update(block)
        assert digest.digest() == expected.digest()
    if FULL:
        print(f"1 GiB down: RSS +{peak - before} KiB")
    assert peak - before < GROWTH_KIB


@pytest.mark.parametrize("chunked", [False, True])
def test_big_upload_to_a_slow_upstream_stays_in_bounded_memory(
    gate: tuple[Gateway, dict[str, list[float]]], alice: Issued, chunked: bool
) -> None:
    """Back-pressure reaches the client: RSS grows by at most 16 MiB; nothing is lost."""
    gateway, _ = gate
    with Client(gateway.port, sni="mtls.test", identity=alice, timeout_s=120) as client:
        client.request(target="/plain/", host="mtls.test")
        before = peak = gateway.rss_kib()
        framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % BODY
        client.send(b"POST /big/up HTTP/1.1\r\nHost: mtls.test\r\n" + framing + b"\r\n\r\n")
        digest = hashlib.sha256()
        block = b"0123456789abcdef" * 16384
        sent = 0
        if chunked:
            # This upstream hashes raw bytes, so only memory is compared here; ``test_http`` compares chunked bodies.
            for _ in range(BODY // len(block) - 16):
                client.send(b"%x\r\n%b\r\n" % (len(block), block))
                peak = max(peak, gateway.rss_kib())
            assert peak - before < GROWTH_KIB
            return
        while sent < BODY:
            client.send(block)
            digest.update(block)
            sent += len(block)
            if sent % (16 * MIB) == 0:
                peak = max(peak, gateway.rss_kib())
        assert client.read_response().body == digest.hexdigest().encode()
    if FULL:
        print(f"1 GiB up: RSS +{peak - before} KiB")
    assert peak - before < GROWTH_KIB


def test_websocket_messages_pass_both_ways(gate: tuple[Gateway, dict[str, list[float]]], alice: Issued, tmp_path: Path) -> None:
    """1,000 messages each way through static mTLS, sizes from empty to beyond the buffers."""
    gateway, _ = gate
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    path = tmp_path / "alice.pem"
    path.write_text(alice.full_pem)
    context.load_cert_chain(path)
    sock = socket.create_connection(("127.0.0.1", gateway.port))
    uri = f"wss://mtls.test:{gateway.port}/sock/x"
    with connect(uri, ssl=context, sock=sock, server_hostname="mtls.test", max_size=None) as client:
        for number in range(1000):
            message = b"x" * (number * 37 % 5000 if number % 250 else 300_000)
            client.send(message)
            assert client.recv() == message


def test_websockets_and_plain_requests_live_side_by_side(gate: tuple[Gateway, dict[str, list[float]]]) -> None:
    """An upgrade leaves nothing behind for later requests (field report B28)."""
    gateway, _ = gate
    for _ in range(20):
        with Client(gateway.port, sni="open.test") as client:
            client.send(
                b"GET /sock/ HTTP/1.1\r\nHost: open.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )
            response = client.read_response()
            assert response.status == 101
            assert response.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
            # A masked text frame "hi", and its echo.
            client.send(b"\x81\x82\x00\x00\x00\x00hi")
            assert client.read_exactly(4) == b"\x81\x02hi"
            with Client(gateway.port, sni="open.test") as other:
                assert other.request(target="/sock/", host="open.test").status in (400, 426)


def test_events_arrive_one_by_one(gate: tuple[Gateway, dict[str, list[float]]], alice: Issued) -> None:
    """The head comes at once, each event within 300 ms of its sending (field report B30)."""
    gateway, times = gate
    with Client(gateway.port, sni="mtls.test", identity=alice, timeout_s=30) as client:
        started = time.monotonic()
        client.send(b"GET /events/ HTTP/1.1\r\nHost: mtls.test\r\nAccept: text/event-stream\r\n\r\n")
        assert b"text/event-stream" in client.read_until(b"\r\n\r\n")
        assert time.monotonic() - started < 0.8
        for count in range(scaled(6, 100)):
            client.read_until(b"data: %012d\n\n" % count)
            assert time.monotonic() - times["sent"][count] < 0.3


def test_vanished_websocket_clients_free_everything(gate: tuple[Gateway, dict[str, list[float]]]) -> None:
    """The gateway's own end of an upgraded stream frees the upstream connection when the client disappears."""
    gateway, _ = gate
    files = gateway.open_files()
    clients = []
    for _ in range(10):
        client = Client(gateway.port, sni="open.test")
        client.send(
            b"GET /sock/ HTTP/1.1\r\nHost: open.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert client.read_response().status == 101
        clients.append(client)
    for client in clients:
        client.close()
    assert wait_until(lambda: gateway.open_files() <= files + 2), (files, gateway.open_files())
