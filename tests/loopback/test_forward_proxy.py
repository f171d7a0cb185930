"""Upstreams behind a forward proxy: of the definition, or of the environment (API definitions reference, section 10.7).

The targets' names are known to the proxy alone: a request that reached its upstream went through it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import websockets.sync.server
from websockets.sync.client import connect

from tests.support.certs import SERVER, make_authority, pem_of
from tests.support.connect_proxy import Asked, ConnectProxy
from tests.support.gateway import (
    Client,
    Gateway,
    Received,
    Response,
    ScriptedUpstream,
    StrictUpstream,
    classic,
    free_port,
    oas,
    running_gateway,
    wait_until,
)
from tests.support.tls_upstream import TlsUpstream, server_context

PROBLEM = b'{\n    "error": "There was a problem proxying the request"\n}'
TIMEOUT = b'{\n    "error": "Upstream service reached hard timeout."\n}'
CA = make_authority("Upstream CA")
CLIENT_CA = make_authority("Client CA")
LEAF = CA.issue("target", usages=SERVER, names=["target.test", "*.target.test"])
PROXY_LEAF = CA.issue("proxy", usages=SERVER, names=["localhost"])
TRUST = {"upstream_ca": [CA.pem]}


def through(port: int, *, scheme: str = "http", user: str = "") -> dict[str, Any]:
    """``proxy`` fields of a Classic definition."""
    return {"transport": {"proxy_url": f"{scheme}://{user}{'@' if user else ''}localhost:{port}"}}


def ask(gateway: Gateway, path: str, method: str = "GET", **options: Any) -> Response:
    with Client(gateway.port, tls=False) as client:
        return client.request(method, path, **options)


def refused(gateway: Gateway, path: str, body: bytes = PROBLEM) -> dict[str, Any]:
    """Check that a request fails as an upstream failure does; returns its log line."""
    mark = len(gateway.events)
    response = ask(gateway, path)
    assert response.body == body, response
    return gateway.wait_event("http.refused", after=mark, match=lambda event: event["path"] == path)


def test_http_requests_go_to_the_proxy_in_absolute_form(tmp_path: Path) -> None:
    """RFC 9112 section 3.2.2; the connection is kept; the credentials are for the proxy, and a client cannot set them."""
    with StrictUpstream() as upstream, ConnectProxy({"target.test:8080": upstream.port}) as proxy:
        apis = [
            classic("a", "http://target.test:8080/base?k=1", "/a/", proxy=through(proxy.port, user="us%40er:p%3Aw%2f")),
            oas(
                "o",
                "http://target.test:8080",
                "/o/",
                upstream_settings={"proxy": {"enabled": True, "url": f"http://localhost:{proxy.port}"}},
            ),
        ]
        with running_gateway(tmp_path, *apis) as gateway:
            with Client(gateway.port, tls=False) as client:
                for number in range(3):
                    response = client.request("POST", f"/a/x{number}?q=2", headers=[("Proxy-Authorization", "Basic evil")], body=b"hello")
                    assert json.loads(response.body)["body"] == "hello"
                assert client.request("HEAD", "/a/").status == 200
                assert client.request("GET", "/o/y").status == 200
            lines = "\n".join(gateway.lines)
        assert [(asked.method, asked.target) for asked in proxy.asked] == [
            *(("POST", f"http://target.test:8080/base/x{number}?k=1&q=2") for number in range(3)),
            ("HEAD", "http://target.test:8080/base?k=1"),
            ("GET", "http://target.test:8080/y"),
        ]
        assert {asked.connection for asked in proxy.asked[:4]} == {0}
        assert {asked.headers["host"] for asked in proxy.asked} == {"target.test:8080"}
        login = "Basic " + base64.b64encode(b"us@er:p:w/").decode()
        assert [asked.headers.get("proxy-authorization") for asked in proxy.asked] == [login] * 4 + [None]
        assert all(request.header("x-forwarded-for") == "127.0.0.1" for request in upstream.requests)
        assert upstream.violations == []
        assert "p%3Aw" not in lines
        assert login not in lines


@pytest.mark.parametrize("version", [771, 772])
@pytest.mark.parametrize("outer", ["http", "https"])
def test_https_targets_are_reached_through_a_tunnel(tmp_path: Path, version: int, outer: str) -> None:
    """RFC 9110 section 9.3.6: CONNECT, then TLS to the target: its name, its client certificate, its pins; the proxy sees no request."""
    alice = CLIENT_CA.issue("alice")
    context = server_context(PROXY_LEAF, version=version) if outer == "https" else None
    with TlsUpstream(server_context(LEAF, version=version, clients=[CLIENT_CA])) as upstream, ExitStack() as stack:
        proxy = stack.enter_context(ConnectProxy({"target.test:443": upstream.port, "a.target.test:8443": upstream.port}, context=context))
        way = through(proxy.port, scheme=outer, user="user:word")
        pin = {"target.test": pem_of(LEAF.spki, "PUBLIC KEY"), "localhost": pem_of(CA.spki, "PUBLIC KEY")}
        mapping = [{"domain": "*.target.test:8443", "certificate": alice.full_pem}]
        apis = [
            classic(
                "a",
                "https://target.test",
                "/a/",
                proxy={**way, "preserve_host_header": True},
                upstream_certificates={"target.test": alice.full_pem},
                pinned_public_keys=pin,
            ),
            oas(
                "o",
                "https://a.target.test:8443",
                "/o/",
                upstream_settings={
                    "proxy": {"enabled": True, "url": f"{outer}://localhost:{proxy.port}"},
                    "mutualTLS": {"enabled": True, "domainToCertificateMapping": mapping},
                },
            ),
        ]
        with running_gateway(tmp_path, *apis, tlsgate=TRUST) as gateway, Client(gateway.port, tls=False) as client:
            for _ in range(3):
                assert client.request("POST", "/a/x", host="client.test", body=b"b" * 100_000).status == 200
            assert client.request("GET", "/o/x").status == 200
        assert [(asked.method, asked.target) for asked in proxy.asked] == [
            ("CONNECT", "target.test:443"),
            ("CONNECT", "a.target.test:8443"),
        ]
        assert proxy.asked[0].headers == {"host": "target.test:443", "proxy-authorization": "Basic dXNlcjp3b3Jk"}
        assert proxy.asked[1].headers == {"host": "a.target.test:8443"}
        assert upstream.names == ["target.test", "a.target.test"]
        assert [request.header("host") for request in upstream.requests] == ["client.test"] * 3 + ["a.target.test:8443"]
        assert all(request.header("proxy-authorization") is None for request in upstream.requests)
        assert set(upstream.shown.values()) == {alice.der}
        assert proxy.names == (["localhost"] * 2 if outer == "https" else [])


def test_checks_are_made_against_the_target(tmp_path: Path) -> None:
    """mTLS reference, section 9, BETTER: name and pins are the target's, whatever the proxy is; no request goes to who fails."""
    foreign = make_authority("Foreign CA").issue("x", usages=SERVER, names=["target.test", "localhost"])
    cases = {
        "other-name": (CA.issue("x", usages=SERVER, names=["localhost"]), {}, "TLM"),
        "untrusted": (foreign, {}, "TLI"),
        "expired": (CA.issue("x", usages=SERVER, names=["target.test"], not_after=1_600_000_000), {}, "TLE"),
        "pin": (LEAF, {"target.test": foreign.pem}, "TLI"),
        "pin-of-the-proxy": (foreign, {"localhost": foreign.pem}, "TLI"),
        "star": (LEAF, {"*": foreign.pem}, "TLI"),
    }
    with ExitStack() as stack:
        upstreams = {name: stack.enter_context(TlsUpstream(server_context(case[0]))) for name, case in cases.items()}
        proxies = {name: stack.enter_context(ConnectProxy({"target.test:443": upstream.port})) for name, upstream in upstreams.items()}
        apis = [
            classic(name, "https://target.test", f"/{name}/", proxy=through(proxies[name].port), pinned_public_keys=case[1])
            for name, case in cases.items()
        ]
        gateway = stack.enter_context(running_gateway(tmp_path, *apis, tlsgate=TRUST))
        for name, (_, _, flag) in cases.items():
            assert refused(gateway, f"/{name}/x")["flag"] == flag, name
            assert upstreams[name].requests == []


def test_a_proxy_behind_tls_is_verified(tmp_path: Path) -> None:
    """It gets credentials: its certificate must be for its name, also where the upstream's is not looked at."""
    bad = {
        "other-name": CA.issue("x", usages=SERVER, names=["elsewhere.test"]),
        "untrusted": make_authority("Foreign CA").issue("x", usages=SERVER, names=["localhost"]),
    }
    with ExitStack() as stack:
        upstream = stack.enter_context(StrictUpstream())
        proxies = {
            name: stack.enter_context(ConnectProxy({"target.test:80": upstream.port}, context=server_context(issued)))
            for name, issued in {**bad, "good": PROXY_LEAF}.items()
        }
        apis = [
            classic(name, "http://target.test", f"/{name}/", proxy=through(proxy.port, scheme="https", user="u:secret"))
            for name, proxy in proxies.items()
        ]
        for api in apis:
            api["proxy"]["transport"]["ssl_insecure_skip_verify"] = True
        gateway = stack.enter_context(running_gateway(tmp_path, *apis, tlsgate=TRUST))
        for name, proxy in proxies.items():
            if name == "good":
                assert ask(gateway, "/good/x").status == 200
                assert proxy.asked[0].target == "http://target.test/x"
            else:
                assert refused(gateway, f"/{name}/x")["flag"] in ("TLM", "TLI")
                assert proxy.asked == []


class Trouble(NamedTuple):
    """A proxy that does not open the way."""

    name: str
    answer: bytes
    detail: str
    flag: str = "UCF"
    body: bytes = PROBLEM


TROUBLE = [
    Trouble("forbidden", b"HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nno!", "refused CONNECT with 403"),
    Trouble("wants-a-login", b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=x\r\n\r\n", "with 407"),
    Trouble("bad-gateway", b"HTTP/1.0 502 Bad Gateway\r\n\r\n", "with 502"),
    Trouble("redirect", b"HTTP/1.1 302 Found\r\nLocation: http://evil.test/\r\n\r\n", "with 302"),
    Trouble("garbage", b"\x05\x00\r\n\r\n", "not HTTP"),
    Trouble("no-status", b"HTTP/1.1 OK\r\n\r\n", "not HTTP"),
    Trouble("half-a-head", b"HTTP/1.1 200 OK\r\nVia:", "closed the connection"),
    Trouble("closes", b"", "closed the connection"),
    Trouble("long-head", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000, "too long a head"),
]


@pytest.mark.parametrize("outer", ["http", "https"])
def test_a_proxy_that_refuses_is_an_upstream_that_fails(tmp_path: Path, outer: str) -> None:
    """500 with the reason in the log; nothing goes around the proxy."""
    context = server_context(PROXY_LEAF) if outer == "https" else None
    with ExitStack() as stack:
        upstream = stack.enter_context(TlsUpstream(server_context(LEAF)))
        apis = []
        for trouble in TROUBLE:
            proxy = stack.enter_context(ConnectProxy({}, context=context, answer=lambda asked, trouble=trouble: trouble.answer))
            apis.append(
                classic(trouble.name, f"https://localhost:{upstream.port}", f"/{trouble.name}/", proxy=through(proxy.port, scheme=outer))
            )
        silent = stack.enter_context(ScriptedUpstream(lambda connection, _: time.sleep(4)))
        apis.append(classic("silent", "https://target.test", "/silent/", proxy=through(silent.port)))
        apis.append(classic("dead", "https://target.test", "/dead/", proxy=through(free_port())))
        nowhere = {"transport": {"proxy_url": "http://no-such-proxy.invalid:3128"}}
        apis.append(classic("nowhere", "https://target.test", "/nowhere/", proxy=nowhere))
        gateway = stack.enter_context(running_gateway(tmp_path, *apis, tlsgate=TRUST, proxy_default_timeout=1))
        for trouble in TROUBLE:
            event = refused(gateway, f"/{trouble.name}/x")
            assert trouble.detail in event["detail"]
            assert event["flag"] == trouble.flag
        assert refused(gateway, "/silent/x", TIMEOUT)["flag"] == "UCT"
        assert refused(gateway, "/dead/x")["flag"] == "UCF"
        assert refused(gateway, "/nowhere/x", PROBLEM.replace(b"There was a problem proxying the request", b"Upstream host lookup failed"))
        assert upstream.connections == 0


def test_interim_answers_and_early_bytes_are_no_trouble(tmp_path: Path) -> None:
    """A proxy may say 100 first; what follows its 200 in one piece is the upstream's."""

    def early(connection: socket.socket, _: int) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        connection.recv(1)

    port = free_port()
    with ScriptedUpstream(early) as proxy:
        api = classic("raw", "tcp://target.test:9", "/", protocol="tcp", listen_port=port, proxy=through(proxy.port))
        with running_gateway(tmp_path, api, disable_ports_whitelist=True), Client(port, tls=False) as client:
            assert client.read_exactly(5) == b"hello"


@contextmanager
def in_environment(tmp_path: Path, apis: list[dict[str, Any]], **environ: str) -> Iterator[Gateway]:
    with running_gateway(tmp_path, *apis, environ=environ, tlsgate=TRUST) as gateway:
        yield gateway


def test_the_environment_names_proxies(tmp_path: Path) -> None:
    """HTTP_PROXY, HTTPS_PROXY, NO_PROXY; loopback goes straight; the definition's own proxy goes first and has no exceptions."""
    with ExitStack() as stack:
        plain = stack.enter_context(StrictUpstream())
        secure = stack.enter_context(
            TlsUpstream(server_context(CA.issue("x", usages=SERVER, names=["target.test", "localhost", "no.test"])))
        )
        routes = {"target.test:80": plain.port, "target.test:443": secure.port, "no.test:80": plain.port}
        one, two, own = (stack.enter_context(ConnectProxy(dict(routes))) for _ in range(3))
        apis = [
            classic("plain", "http://target.test", "/plain/"),
            classic("secure", "https://target.test", "/secure/"),
            classic("loopback", f"http://127.0.0.1:{plain.port}", "/loopback/"),
            classic("loopback-s", f"https://localhost:{secure.port}", "/loopback-s/"),
            classic("excepted", "http://no.test:1", "/excepted/"),
            classic("own", "http://no.test", "/own/", proxy=through(own.port)),
            oas(
                "own-o",
                "https://target.test",
                "/own-o/",
                upstream_settings={"proxy": {"enabled": True, "url": f"http://localhost:{own.port}"}},
            ),
            oas(
                "off",
                "https://target.test",
                "/off/",
                upstream_settings={"proxy": {"enabled": False, "url": f"http://localhost:{own.port}"}},
            ),
        ]
        environ = {
            "HTTP_PROXY": f"http://localhost:{one.port}",
            "https_proxy": f"localhost:{two.port}",
            "NO_PROXY": "other.test, .no.test, no.test",
        }
        with in_environment(tmp_path, apis, **environ) as gateway:
            for path in ("/plain/", "/secure/", "/loopback/", "/loopback-s/", "/own/", "/own-o/", "/off/"):
                assert ask(gateway, path).status == 200, path
            assert ask(gateway, "/excepted/").status == 500
        assert [asked.target for asked in one.asked] == ["http://target.test/"]
        assert [asked.target for asked in two.asked] == ["target.test:443"]
        assert [asked.target for asked in own.asked] == ["http://no.test/", "target.test:443"]


def test_a_proxy_of_the_environment_that_cannot_be_used_is_not_passed_by(tmp_path: Path) -> None:
    """Requests that would need it are refused, with the variable's name and without its password."""
    with StrictUpstream() as upstream:
        apis = [classic("a", "http://target.test", "/a/"), classic("b", upstream.port, "/b/")]
        with in_environment(tmp_path, apis, HTTP_PROXY="socks5://user:hunter2@localhost:1080") as gateway:
            event = refused(gateway, "/a/")
            assert event["flag"] == "TLN"
            assert "HTTP_PROXY" in event["detail"]
            assert ask(gateway, "/b/").status == 200
            assert "hunter2" not in "\n".join(gateway.lines)


def test_connections_through_different_proxies_are_kept_apart(tmp_path: Path) -> None:
    """The key of the pool holds the way: straight, through one proxy, through another, with another login."""
    with ExitStack() as stack:
        upstream = stack.enter_context(StrictUpstream())
        routes = {f"localhost:{upstream.port}": upstream.port}
        one, two = (stack.enter_context(ConnectProxy(dict(routes))) for _ in range(2))
        ways: dict[str, dict[str, Any]] = {
            "straight": {},
            "one": through(one.port),
            "two": through(two.port),
            "login": through(one.port, user="a:b"),
        }
        apis = [classic(name, f"http://localhost:{upstream.port}", f"/{name}/", proxy=way) for name, way in ways.items()]
        gateway = stack.enter_context(running_gateway(tmp_path, *apis))
        for _ in range(3):
            for name in ways:
                assert ask(gateway, f"/{name}/{name}").status == 200
        by_connection: dict[int, set[str]] = {}
        for request in upstream.requests:
            by_connection.setdefault(request.connection, set()).add(request.target)
        assert sorted(by_connection.values(), key=str) == [{"/login"}, {"/one"}, {"/straight"}, {"/two"}]
        assert {asked.headers.get("proxy-authorization") for asked in one.asked} == {None, "Basic YTpi"}


def test_a_kept_connection_that_the_proxy_ended_is_replaced(tmp_path: Path) -> None:
    """B23 through a tunnel and in absolute-form, POST included."""
    with ExitStack() as stack:
        plain = stack.enter_context(StrictUpstream())
        secure = stack.enter_context(TlsUpstream(server_context(LEAF)))
        proxy = stack.enter_context(ConnectProxy({"target.test:80": plain.port, "target.test:443": secure.port}))
        inner = stack.enter_context(ConnectProxy({"target.test:443": secure.port}, context=server_context(PROXY_LEAF)))
        apis = [
            classic("plain", "http://target.test", "/plain/", proxy=through(proxy.port)),
            classic("secure", "https://target.test", "/secure/", proxy=through(proxy.port)),
            classic("inner", "https://target.test", "/inner/", proxy=through(inner.port, scheme="https")),
        ]
        gateway = stack.enter_context(running_gateway(tmp_path, *apis, tlsgate=TRUST))
        for number in range(5):
            for path in ("/plain/", "/secure/", "/inner/"):
                assert ask(gateway, path, "POST", body=b"%d" % number).status == 200
            for one in (proxy, inner):
                one.cut()
            time.sleep(0.05)  # the ends must arrive, or a POST on such a connection may fail rightly
        assert [request.body for request in plain.requests] == [b"0", b"1", b"2", b"3", b"4"]
        assert len(secure.requests) == 10


def test_websockets_go_through_a_tunnel(tmp_path: Path) -> None:
    """RFC 6455 section 4.1: CONNECT for ws:// too, and for an http:// target whose client asks for the upgrade."""

    def echo(connection: websockets.sync.server.ServerConnection) -> None:
        for message in connection:
            connection.send(message)

    with websockets.sync.server.serve(echo, "127.0.0.1", 0) as sockets:
        threading.Thread(target=sockets.serve_forever, daemon=True).start()
        port = sockets.socket.getsockname()[1]
        with ConnectProxy({"target.test:80": port, "target.test:443": port}) as proxy:
            apis = [
                classic("ws", "ws://target.test", "/ws/", proxy=through(proxy.port, user="u:p")),
                classic("http", "http://target.test", "/http/", proxy=through(proxy.port)),
            ]
            with running_gateway(tmp_path, *apis, http_server_options={"enable_websockets": True}) as gateway:
                for path in ("ws", "http"):
                    with connect(f"ws://127.0.0.1:{gateway.port}/{path}/", compression=None) as client:
                        for number in range(20):
                            client.send(str(number))
                            assert client.recv(timeout=5) == str(number)
            assert [(asked.method, asked.target) for asked in proxy.asked] == [("CONNECT", "target.test:80")] * 2
            assert [asked.headers.get("proxy-authorization") for asked in proxy.asked] == ["Basic dTpw", None]


def test_big_bodies_pass_through_tls_in_tls(tmp_path: Path) -> None:
    """8 MiB each way, the readers slow at first (hence the sleep): nothing lost, memory bounded."""
    size = 8 * 1024 * 1024
    block = bytes(range(256)) * 4096

    def respond(received: Received) -> bytes:
        time.sleep(0.3)
        digest = hashlib.sha256(received.body).hexdigest().encode()
        body = digest + block * 8
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    with (
        TlsUpstream(server_context(LEAF), respond) as upstream,
        ConnectProxy({"target.test:443": upstream.port}, context=server_context(PROXY_LEAF)) as proxy,
    ):
        api = classic("a", "https://target.test", "/", proxy=through(proxy.port, scheme="https"))
        with running_gateway(tmp_path, api, tlsgate=TRUST) as gateway:
            ask(gateway, "/warm", "POST", body=block)
            before = gateway.rss_kib()
            with Client(gateway.port, tls=False, timeout_s=30) as client:
                body = block * 8
                client.send(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
                client.send(body)
                time.sleep(0.5)
                response = client.read_response("POST")
            assert response.body[:64].decode() == hashlib.sha256(body).hexdigest()
            assert response.body[64:] == body
            assert gateway.rss_kib() - before < 16 * 1024


@pytest.mark.parametrize("outer", ["http", "https"])
def test_raw_services_use_the_proxy_of_their_definition(tmp_path: Path, outer: str) -> None:
    """``tls://`` and ``tcp://`` targets through CONNECT, half-close included; the environment is for HTTP only."""

    def echo(connection: socket.socket, _: int) -> None:
        while data := connection.recv(65536):
            connection.sendall(data)
        connection.sendall(b"bye")

    context = server_context(PROXY_LEAF) if outer == "https" else None
    ports = [free_port() for _ in range(3)]
    with (
        ScriptedUpstream(echo) as plain,
        ScriptedUpstream(echo, server_context(LEAF)) as secure,
        ConnectProxy({"target.test:7": plain.port, "target.test:8": secure.port}, context=context) as proxy,
    ):
        way = through(proxy.port, scheme=outer)
        apis = [
            classic("tcp", "tcp://target.test:7", "/", protocol="tcp", listen_port=ports[0], proxy=way),
            classic("tls", "tls://target.test:8", "/", protocol="tcp", listen_port=ports[1], proxy=way),
            classic("env", f"tcp://localhost:{plain.port}", "/", protocol="tcp", listen_port=ports[2]),
        ]
        environ = {"HTTP_PROXY": "http://localhost:1", "HTTPS_PROXY": "http://localhost:1"}
        with running_gateway(tmp_path, *apis, environ=environ, tlsgate=TRUST, disable_ports_whitelist=True):
            for port in ports:
                with Client(port, tls=False) as client:
                    client.send(b"hello")
                    assert client.read_exactly(5) == b"hello"
                    if port == ports[2] or (port == ports[0] and outer == "http"):  # Python's TLS knows no half-close
                        client.socket.shutdown(socket.SHUT_WR)
                        assert client.read_exactly(3) == b"bye"
        assert [asked.target for asked in proxy.asked] == ["target.test:7", "target.test:8"]


def test_preserving_host_is_said_to_be_without_effect(tmp_path: Path) -> None:
    """RFC 9112 section 3.2.2: in absolute-form Host is the target's authority; a client must not choose where the proxy goes."""
    with StrictUpstream() as upstream, ConnectProxy({"target.test:80": upstream.port}) as proxy:
        api = classic("a", "http://target.test", "/", proxy={**through(proxy.port), "preserve_host_header": True})
        with running_gateway(tmp_path, api) as gateway:
            assert ask(gateway, "/x", host="internal.test").status == 200
            warning = gateway.wait_event("load.problem", match=lambda event: "preserve_host_header" in event["problem"])
            assert warning["level"] == "warn"
        assert (proxy.asked[0].target, proxy.asked[0].headers["host"]) == ("http://target.test/x", "target.test")


@pytest.mark.parametrize("opens", [False, True], ids=["thinking", "open"])
def test_clients_that_leave_close_the_tunnel(tmp_path: Path, opens: bool) -> None:
    """Nothing stays open while the proxy thinks, nor when the upstream does (both sleep on purpose)."""

    def answer(asked: Asked) -> bytes | None:
        if opens:
            return None
        time.sleep(1)
        return b""

    with (
        ScriptedUpstream(lambda connection, _: time.sleep(1)) as upstream,
        ConnectProxy({"target.test:443": upstream.port}, answer=answer) as proxy,
        running_gateway(tmp_path, classic("a", "https://target.test", "/a/", proxy=through(proxy.port))) as gateway,
    ):
        assert ask(gateway, "/").status == 404
        start = gateway.open_files()
        with Client(gateway.port, tls=False) as client:
            client.send(b"GET /a/ HTTP/1.1\r\nHost: a\r\n\r\n")
            assert wait_until(lambda: proxy.connections == 1)
        assert wait_until(lambda: gateway.open_files() <= start)
