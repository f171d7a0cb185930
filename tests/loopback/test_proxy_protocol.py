"""Ports behind a load balancer that announces its clients (PROXY protocol, ``enable_proxy_protocol``).

The header comes before the ClientHello and before the HTTP head; whoever does not send one is closed. Source: API definitions reference,
section 4.1; reliability reference, section 1 (only from listed sources).
"""

from __future__ import annotations

import ipaddress
import json
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.certs import SERVER, Authority, Issued, make_authority
from tests.support.gateway import (
    Client,
    Gateway,
    HandshakeRefused,
    ScriptedUpstream,
    StrictUpstream,
    classic,
    free_port,
    running_gateway,
    wait_until,
)

SIGNATURE = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a"
KINDS = ("http", "https12", "https13", "tcp", "tls12", "tls13")


def version1(address: str, port: int = 40001) -> bytes:
    """A header in text."""
    other = "::1" if ":" in address else "192.0.2.1"
    return f"PROXY TCP{6 if ':' in address else 4} {address} {other} {port} 443\r\n".encode()


def version2(address: str, port: int = 40001, *, command: int = 0x21, extra: bytes = b"") -> bytes:
    """A binary header."""
    six = ":" in address
    other = ipaddress.ip_address("::1" if six else "192.0.2.1").packed
    content = ipaddress.ip_address(address).packed + other + struct.pack("!HH", port, 443) + extra
    return SIGNATURE + bytes((command, 0x21 if six else 0x11)) + struct.pack("!H", len(content)) + content


class World(NamedTuple):
    """A gateway with services behind a balancer."""

    gateway: Gateway
    ports: dict[str, int]
    http: StrictUpstream
    raw: ScriptedUpstream
    alice: Issued
    heard: list[bytes]


@pytest.fixture(scope="module")
def authority() -> Authority:
    return make_authority("Clients")


@pytest.fixture(scope="module")
def server() -> Issued:
    return make_authority("Servers").issue("localhost", usages=SERVER, names=["localhost"])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, authority: Authority, server: Issued) -> Iterator[World]:
    ports = {name: free_port() for name in ("http", "https", "tcp", "tls", "mtls", "listed")}
    heard: list[bytes] = []

    def echo(connection: socket.socket, _: int) -> None:
        while data := connection.recv(65536):
            heard.append(data)
            connection.sendall(data)

    with StrictUpstream() as http, ScriptedUpstream(echo) as raw:
        on = {"enable_proxy_protocol": True}
        mtls = {"use_mutual_tls_auth": True, "client_certificates": [authority.pem]}
        apis = [
            classic("http", http.port, "/", protocol="http", listen_port=ports["http"], **on),
            classic("https", http.port, "/", protocol="https", listen_port=ports["https"], **on),
            classic("tcp", f"tcp://127.0.0.1:{raw.port}", "/", protocol="tcp", listen_port=ports["tcp"], **on),
            classic("tls", f"tcp://127.0.0.1:{raw.port}", "/", protocol="tls", listen_port=ports["tls"], **on),
            classic("mtls", http.port, "/", protocol="https", listen_port=ports["mtls"], **on, **mtls),
            classic(
                "listed",
                http.port,
                "/",
                protocol="http",
                listen_port=ports["listed"],
                enable_ip_whitelisting=True,
                allowed_ips=["203.0.113.0/24"],
                **on,
            ),
            classic("main", http.port, "/main/", **on),
        ]
        own = {"limits": {"handshake_timeout_s": 1.0}, "log": {"access": True}}
        folder = tmp_path_factory.mktemp("behind")
        with running_gateway(folder, *apis, server=server, disable_ports_whitelist=True, tlsgate=own) as gateway:
            yield World(gateway, ports, http, raw, authority.issue("alice"), heard)


def behind(port: int, header: bytes, *, bytewise: bool = False, **options: Any) -> Client:
    """A client behind a balancer; the header travels with the first bytes of the client, or byte by byte."""
    pieces = [header[at : at + 1] for at in range(len(header))] if bytewise else [header]
    return Client(port, prelude=pieces if header else (), **options)


def connect(world: World, kind: str, header: bytes, **options: Any) -> Client:
    """Connect to a service; the kind names protocol and TLS version."""
    name = kind.rstrip("123")
    version = {"12": 771, "13": 772}.get(kind[-2:])
    return behind(world.ports[name], header, tls=version is not None, version=version, **options)


def exchange(world: World, client: Client, kind: str) -> dict[str, str]:
    """Use a service once; returns the headers that an HTTP upstream saw."""
    if kind.startswith("t"):
        client.send(b"hello")
        assert client.read_exactly(5) == b"hello"
        return {}
    response = client.request("GET", "/x")
    assert response.status == 200
    return dict(json.loads(response.body)["headers"])


@pytest.mark.parametrize("bytewise", [False, True], ids=["at-once", "bytewise"])
@pytest.mark.parametrize("form", [version1, version2])
@pytest.mark.parametrize("kind", KINDS)
def test_the_announced_client_is_the_client(world: World, kind: str, form: Any, bytewise: bool) -> None:
    """HTTP, TLS and raw; header and first bytes in one segment or one by one; over keep-alive too."""
    for address in ("203.0.113.9", "2001:db8::7"):
        mark = len(world.gateway.events)
        with connect(world, kind, form(address), bytewise=bytewise) as client:
            for _ in range(2):
                headers = exchange(world, client, kind)
                if headers:
                    assert headers["X-Forwarded-For"] == address
        if kind.startswith("h"):
            event = world.gateway.wait_event("http.access", after=mark, match=lambda entry: entry["peer"] == address)  # noqa: B023
            assert event["client"] == address


@pytest.mark.parametrize(
    "header",
    [
        SIGNATURE + b"\x20\x00\x00\x00",
        version2("203.0.113.9", command=0x20),
        b"PROXY UNKNOWN\r\n",
        SIGNATURE + b"\x21\x00\x00\x00",
        SIGNATURE + b"\x21\x31\x00\xd8" + bytes(216),
    ],
    ids=["local", "local-with-addresses", "unknown", "unspecified", "unix"],
)
@pytest.mark.parametrize("kind", ["http", "https13", "tcp"])
def test_a_balancer_that_speaks_for_itself_keeps_its_address(world: World, kind: str, header: bytes) -> None:
    """Version 2 LOCAL (health checks) and families without addresses: the connection's own end counts."""
    with connect(world, kind, header) as client:
        headers = exchange(world, client, kind)
        if headers:
            assert headers["X-Forwarded-For"] == "127.0.0.1"


def test_extensions_are_read_over(world: World) -> None:
    """TLVs as AWS and HAProxy send them, up to the limit of 4096 bytes in all."""
    tlv = b"\xea\x00\x07\x01vpce-1" + b"\x04\x00\x10" + bytes(16)
    with connect(world, "https13", version2("203.0.113.9", extra=tlv)) as client:
        assert exchange(world, client, "https13")["X-Forwarded-For"] == "203.0.113.9"
    with connect(world, "http", version2("203.0.113.9", extra=b"\x04" + struct.pack("!H", 4065) + bytes(4065))) as client:
        assert exchange(world, client, "http")["X-Forwarded-For"] == "203.0.113.9"


BAD = {
    "none": b"",
    "wrong-command": version2("203.0.113.9", command=0x22),
    "wrong-version": version2("203.0.113.9", command=0x11),
    "unknown-family": SIGNATURE + b"\x21\x41\x00\x00",
    "too-short": SIGNATURE + b"\x21\x11\x00\x04abcd",
    "too-long": SIGNATURE + b"\x21\x11\xff\xff",
    "broken-extension": version2("203.0.113.9", extra=b"\x04\x00"),
    "bad-address": b"PROXY TCP4 203.0.113.999 192.0.2.1 1 2\r\n",
    "bad-line": b"PROXY TCP4 203.0.113.9\r\n",
    "bare-lf": b"PROXY TCP4 203.0.113.9 192.0.2.1 1 2\n",
    "endless-line": b"PROXY UNKNOWN " + b"x" * 200,
    "two-headers": version1("203.0.113.9") + version1("198.51.100.1"),
}


@pytest.mark.parametrize(
    ("kind", "bad"),
    # To a plain byte stream a second header is data.
    [(kind, bad) for kind in ("http", "https13", "tcp", "tls12") for bad in BAD if (kind, bad) != ("tcp", "two-headers")],
)
def test_a_connection_without_a_readable_header_is_closed(world: World, kind: str, bad: str) -> None:
    """Nothing is answered, nothing reaches the upstream; the log says why. A second header is data of the connection."""
    mark = len(world.gateway.events)
    seen = len(world.http.requests), world.raw.connections
    with pytest.raises((HandshakeRefused, EOFError, OSError, AssertionError)), connect(world, kind, BAD[bad]) as client:
        exchange(world, client, kind)
    assert (len(world.http.requests), world.raw.connections) == seen
    if bad != "two-headers":
        event = world.gateway.wait_event("proxy_header.refused", after=mark)
        assert event["peer"] == "127.0.0.1"
        assert event["reason"]


@pytest.mark.parametrize("kind", ["http", "https", "tcp"])
@pytest.mark.parametrize("begin", [b"", b"PROXY TCP4 203.0", SIGNATURE + b"\x21\x11\x00\x0c"])
def test_a_header_that_never_ends_is_waited_for_as_long_as_a_handshake(world: World, kind: str, begin: bytes) -> None:
    """Closed by the deadline, one second here; others are served meanwhile."""
    with socket.create_connection(("127.0.0.1", world.ports[kind]), timeout=5) as silent:
        silent.sendall(begin)
        began = time.monotonic()
        with connect(world, "http", version1("203.0.113.9")) as client:
            exchange(world, client, "http")
        try:
            assert silent.recv(1) == b""
        except ConnectionResetError:
            pass
        assert 0.9 <= time.monotonic() - began < 2


@pytest.mark.parametrize("version", ["12", "13"])
def test_client_certificates_are_demanded_behind_a_balancer_too(world: World, version: str) -> None:
    """The handshake is the client's, end to end; a refusal names the announced address."""
    mark = len(world.gateway.events)
    with pytest.raises(HandshakeRefused):
        behind(world.ports["mtls"], version2("203.0.113.9"), version={"12": 771, "13": 772}[version])
    assert world.gateway.wait_event("tls.handshake_refused", after=mark)["peer"] == "203.0.113.9"
    with behind(world.ports["mtls"], version2("203.0.113.9"), version={"12": 771, "13": 772}[version], identity=world.alice) as client:
        assert client.request("GET", "/").status == 200


def test_address_lists_look_at_the_announced_client(world: World) -> None:
    """API definitions reference, section 4.2: the list is for clients, not for the balancer; forwarding headers do not help."""
    for form in (version1, version2):
        with behind(world.ports["listed"], form("203.0.113.77"), tls=False) as client:
            assert client.request("GET", "/").status == 200
        with behind(world.ports["listed"], form("198.51.100.7"), tls=False) as client:
            response = client.request("GET", "/", headers=[("X-Forwarded-For", "203.0.113.77"), ("X-Real-IP", "203.0.113.77")])
            assert response.status == 403
    with behind(world.ports["listed"], b"PROXY UNKNOWN\r\n", tls=False) as client:
        assert client.request("GET", "/").status == 403


def test_the_main_port_takes_no_header(world: World) -> None:
    """Others are served there as well: the setting is named in a warning, and a header is no request."""
    warning = world.gateway.wait_event("load.problem", match=lambda event: "main.json" in event["problem"])
    assert "without effect" in warning["problem"]
    with Client(world.gateway.port) as client:
        assert client.request("GET", "/main/").status == 200
        client.send(version1("203.0.113.9") + b"GET /main/ HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.read_response().status in (400, 501)
        assert client.recv() == b""


def test_only_listed_balancers_are_believed(tmp_path: Path) -> None:
    """``tlsgate.trusted_proxies``: whoever is not in it is closed; the announced client's own headers are not believed by that."""
    port = free_port()
    with StrictUpstream() as upstream:
        api = classic("a", upstream.port, "/", protocol="http", listen_port=port, enable_proxy_protocol=True, allowed_ips=["203.0.113.9"])
        own = {"trusted_proxies": ["10.0.0.0/8"]}
        with running_gateway(tmp_path, api, disable_ports_whitelist=True, tlsgate=own) as gateway:
            with pytest.raises((EOFError, OSError)), behind(port, version1("203.0.113.9"), tls=False) as client:
                client.request("GET", "/")
            assert "trusted_proxies" in gateway.wait_event("proxy_header.refused")["reason"]
            gateway.config["tlsgate"]["trusted_proxies"] = ["127.0.0.1"]
            gateway.write_config()
            assert gateway.reload()["event"] == "reload.done"
            with behind(port, version1("203.0.113.9"), tls=False) as client:
                assert client.request("GET", "/").status == 200
            with behind(port, version1("198.51.100.7"), tls=False) as client:
                assert client.request("GET", "/", headers=[("X-Forwarded-For", "203.0.113.9")]).status == 403
            assert not [event for event in gateway.events if "whoever reaches the port" in str(event.get("problem"))]


def test_a_reload_switches_the_header_on_and_off_without_losing_the_port(tmp_path: Path, server: Issued) -> None:
    """The socket stays; connections under way stay too."""
    ports = free_port(), free_port()
    with StrictUpstream() as upstream, ScriptedUpstream(lambda connection, _: connection.sendall(connection.recv(10))) as raw:

        def apis(on: bool) -> list[dict[str, Any]]:
            return [
                classic("a", upstream.port, "/", protocol="https", listen_port=ports[0], enable_proxy_protocol=on),
                classic("b", f"tcp://127.0.0.1:{raw.port}", "/", protocol="tcp", listen_port=ports[1], enable_proxy_protocol=on),
            ]

        settings: dict[str, Any] = {"server": server, "disable_ports_whitelist": True}
        with running_gateway(tmp_path, *apis(False), **settings) as gateway, Client(ports[0]) as old:
            assert old.request("GET", "/").status == 200
            for on in (True, False, True):
                gateway.write_apis(*apis(on))
                assert gateway.reload()["event"] == "reload.done"
                header = version2("203.0.113.9") if on else b""
                with behind(ports[0], header) as client:
                    assert client.request("GET", "/").status == 200
                with behind(ports[1], header, tls=False) as client:
                    client.send(b"x")
                    assert client.read_exactly(1) == b"x"
                assert old.request("GET", "/").status == 200


def test_one_port_is_behind_a_balancer_or_not(tmp_path: Path) -> None:
    """Two definitions that disagree: the first by id keeps the port, the other is refused by name."""
    port = free_port()
    with StrictUpstream() as upstream:
        apis = [
            classic("a", upstream.port, "/a/", protocol="http", listen_port=port, enable_proxy_protocol=True),
            classic("b", upstream.port, "/b/", protocol="http", listen_port=port),
        ]
        with running_gateway(tmp_path, *apis, disable_ports_whitelist=True) as gateway:
            problem = gateway.wait_event("load.problem", match=lambda event: "b.json" in event["problem"])
            assert "PROXY" in problem["problem"]
            with behind(port, version1("203.0.113.9"), tls=False) as client:
                assert client.request("GET", "/a/").status == 200
                assert client.request("GET", "/b/").status == 503


def test_a_stop_does_not_wait_for_headers(tmp_path: Path) -> None:
    """Drain: a connection that has said nothing has nothing under way."""
    port = free_port()
    api = classic("a", free_port(), "/", protocol="http", listen_port=port, enable_proxy_protocol=True)
    with running_gateway(tmp_path, api, disable_ports_whitelist=True) as gateway:
        silent = socket.create_connection(("127.0.0.1", port))
        assert wait_until(lambda: gateway.open_files() > 0)
        began = time.monotonic()
        assert gateway.stop() == 0
        assert time.monotonic() - began < 3
        silent.close()


HAPROXY = """
defaults
    mode tcp
    timeout connect 5s
    timeout client 5s
    timeout server 5s
frontend one
    bind 127.0.0.1:{one}
    default_backend v1
backend v1
    server s 127.0.0.1:{target} send-proxy
frontend two
    bind 127.0.0.1:{two}
    default_backend v2
backend v2
    server s 127.0.0.1:{target} send-proxy-v2 proxy-v2-options unique-id,crc32c check
"""


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed")
def test_haproxy_in_front(world: World, tmp_path: Path) -> None:
    """The real thing: ``send-proxy``, ``send-proxy-v2`` with a checksum, and its health checks (LOCAL)."""
    ports = {"one": free_port(), "two": free_port(), "target": world.ports["https"]}
    config = tmp_path / "haproxy.cfg"
    config.write_text(HAPROXY.format(**ports))
    process = subprocess.Popen(["haproxy", "-db", "-f", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for name in ("one", "two"):
            assert wait_until(lambda: _listens(ports[name]))  # noqa: B023 - called at once
            with Client(ports[name]) as client:
                port = client.socket.getsockname()[1]
                response = client.request("GET", "/x")
                assert response.status == 200
                assert dict(json.loads(response.body)["headers"])["X-Forwarded-For"] == "127.0.0.1"
                assert port
        assert not [event for event in world.gateway.events if event.get("reason") == "PROXY header with a wrong checksum"]
    finally:
        process.terminate()
        process.wait(10)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
