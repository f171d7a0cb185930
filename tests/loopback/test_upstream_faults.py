"""Upstreams that fail in every way: status, message, flag, log line; nothing is passed off as complete (issue: acceptance 8; section 6).

Source: API definitions reference, sections 10 and 11; decisions 2.8, 2.9 and 2.12; field report B23. Flags are Tyk's
(TykTechnologies/tyk, ``internal/errors``).
"""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import pytest

from tests.support.certs import SERVER, Authority, Issued, make_authority
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
    read_head,
    running_gateway,
    wait_until,
)
from tests.support.scale import scaled
from tests.support.tls_upstream import TlsUpstream, server_context

PROBLEM = "There was a problem proxying the request"
LOOKUP = "Upstream host lookup failed"
TIMEOUT = "Upstream service reached hard timeout."
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LEGS = ("plain", "tls12", "tls13")
VERSIONS = {"plain": None, "tls12": 771, "tls13": 772}


# Ways to fail.


def reset(connection: socket.socket) -> None:
    """End with a TCP reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def end_cleanly(connection: socket.socket) -> None:
    """End with FIN, over TLS after a close_notify."""
    if isinstance(connection, ssl.SSLSocket):
        connection.settimeout(2)
        try:
            connection.unwrap()
        except (OSError, ValueError):
            pass


def answer(data: bytes) -> Callable[[socket.socket], None]:
    """Answer with bytes, then FIN (over TLS without a close_notify)."""
    return lambda connection: connection.sendall(data)


def answer_then_reset(data: bytes) -> Callable[[socket.socket], None]:
    """Answer with bytes; once they have been read, reset (a reset at once would overtake them)."""

    def script(connection: socket.socket) -> None:
        connection.sendall(data)
        time.sleep(0.1)
        reset(connection)

    return script


def answer_and_wait(data: bytes) -> Callable[[socket.socket], None]:
    """Answer with bytes, then nothing until the other side goes."""

    def script(connection: socket.socket) -> None:
        connection.sendall(data)
        _wait(connection)

    return script


def drip(data: bytes) -> Callable[[socket.socket], None]:
    """Send a byte each 50 ms: progress that is none."""

    def script(connection: socket.socket) -> None:
        for at in range(len(data)):
            connection.sendall(data[at : at + 1])
            time.sleep(0.05)

    return script


def endless(data: bytes) -> Callable[[socket.socket], None]:
    """Send the same bytes until the other side goes."""

    def script(connection: socket.socket) -> None:
        while True:
            connection.sendall(data)

    return script


class Fault(NamedTuple):
    """An upstream that gives no answer."""

    name: str
    script: Callable[[socket.socket], None]
    flag: str = "UPE"
    status: int = 500
    message: str = PROBLEM


HEAD = b"HTTP/1.1 200 OK\r\n"
FAULTS = [
    Fault("reset", reset, "URR"),
    Fault("closes", lambda connection: None),
    Fault("closes-politely", end_cleanly),
    Fault("half-a-status-line", answer(b"HTTP/1.1 2")),
    Fault("half-a-head", answer(HEAD + b"Content-Le")),
    Fault("reset-in-the-head", answer_then_reset(HEAD + b"Content-Le"), "URR"),
    Fault("garbage", answer(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")),
    Fault("binary", answer(bytes(range(256)) * 4)),
    Fault("http-0.9", answer(b"<html>old</html>")),
    Fault("http-2", answer(b"HTTP/2 200 OK\r\nContent-Length: 2\r\n\r\nok")),
    Fault("http-2-preface", answer(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64")),
    Fault("request-line", answer(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")),
    Fault("status-of-two-digits", answer(b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok")),
    Fault("head-of-200-kib", answer_and_wait(HEAD + b"X: " + b"x" * 200_000 + b"\r\n\r\n")),
    Fault("endless-field", endless(HEAD + b"X: " + b"x" * 10_000)),
    Fault("endless-fields", endless(b"X: x\r\n" * 1000)),
    Fault("endless-1xx", endless(b"HTTP/1.1 102 Processing\r\n\r\n")),
    Fault("600-fields", answer_and_wait(HEAD + b"X: x\r\n" * 600 + b"Content-Length: 2\r\n\r\nok")),
    Fault("both-lengths", answer_and_wait(HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")),
    Fault("both-lengths-turned", answer_and_wait(HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n")),
    Fault("two-lengths", answer_and_wait(HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok!")),
    Fault("list-of-lengths", answer_and_wait(HEAD + b"Content-Length: 2, 3\r\n\r\nok!")),
    Fault("negative-length", answer_and_wait(HEAD + b"Content-Length: -2\r\n\r\nok")),
    Fault("length-with-a-sign", answer_and_wait(HEAD + b"Content-Length: +2\r\n\r\nok")),
    Fault("length-in-hex", answer_and_wait(HEAD + b"Content-Length: 0x2\r\n\r\nok")),
    Fault("empty-length", answer_and_wait(HEAD + b"Content-Length: \r\n\r\nok")),
    Fault("enormous-length", answer_and_wait(HEAD + b"Content-Length: 99999999999999999999\r\n\r\nok")),
    Fault("unknown-coding", answer_and_wait(HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")),
    Fault("chunked-twice", answer_and_wait(HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")),
    Fault("chunked-not-last", answer_and_wait(HEAD + b"Transfer-Encoding: chunked, gzip\r\n\r\n2\r\nok\r\n0\r\n\r\n")),
    Fault("blank-before-the-colon", answer_and_wait(HEAD + b"Content-Length : 2\r\n\r\nok")),
    Fault("no-colon", answer_and_wait(HEAD + b"Content-Length\r\n\r\nok")),
    Fault("folded-field", answer_and_wait(HEAD + b"X: a\r\n b\r\nContent-Length: 2\r\n\r\nok")),
    Fault("nul-in-a-field", answer_and_wait(HEAD + b"X: a\0b\r\nContent-Length: 2\r\n\r\nok")),
    Fault("bare-cr-in-a-field", answer_and_wait(HEAD + b"X: a\rSet-Cookie: b\r\nContent-Length: 2\r\n\r\nok")),
    Fault("101-unasked", answer_and_wait(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x00")),
    Fault("101-without-upgrade", answer_and_wait(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")),
    Fault("bad-chunk-at-once", answer_and_wait(HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n")),
    Fault("never-answers", lambda connection: _wait(connection), "URT", 504, TIMEOUT),
    Fault("slow-head", drip(HEAD + b"X: " + b"x" * 60 + b"\r\n\r\n"), "URT", 504, TIMEOUT),
]


def _wait(connection: socket.socket) -> None:
    """Until the other side goes."""
    connection.settimeout(20)
    while connection.recv(65536):
        pass


class Broken(NamedTuple):
    """An upstream whose answer begins well."""

    name: str
    script: Callable[[socket.socket], None]
    flag: str = "UPE"
    only_tls: bool = False


LENGTH = HEAD + b"Content-Length: 1000\r\n\r\n" + b"x" * 500
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n1f4\r\n" + b"x" * 500 + b"\r\n"
CLOSE = HEAD + b"Content-Type: text/plain\r\n\r\n" + b"x" * 500
EVENTS = HEAD + b"Content-Type: text/event-stream\r\n\r\ndata: 1\n\n"
BROKEN = [
    Broken("length-closes", answer(LENGTH)),
    Broken("length-reset", answer_then_reset(LENGTH), "URR"),
    Broken("length-stalls", answer_and_wait(LENGTH), "URT"),
    Broken("length-only-head", answer(HEAD + b"Content-Length: 1000\r\n\r\n")),
    Broken("chunked-closes", answer(CHUNKED)),
    Broken("chunked-closes-in-a-chunk", answer(CHUNKED + b"64\r\n" + b"y" * 50)),
    Broken("chunked-closes-before-the-last-line", answer(CHUNKED + b"0\r\n")),
    Broken("chunked-reset", answer_then_reset(CHUNKED), "URR"),
    Broken("chunked-stalls", answer_and_wait(CHUNKED), "URT"),
    Broken("chunked-turns-to-garbage", lambda connection: _in_two(connection, CHUNKED, b"garbage\r\n")),
    Broken("chunked-wrong-end-of-chunk", lambda connection: _in_two(connection, CHUNKED, b"2\r\nokXX0\r\n\r\n")),
    Broken("until-close-reset", answer_then_reset(CLOSE), "URR"),
    Broken("until-close-without-goodbye", answer(CLOSE), only_tls=True),
    Broken("events-reset", answer_then_reset(EVENTS), "URR"),
]


def _in_two(connection: socket.socket, first: bytes, second: bytes) -> None:
    """Give the gateway time to pass the first part on."""
    connection.sendall(first)
    time.sleep(0.1)
    connection.sendall(second)
    _wait(connection)


GOOD: dict[str, tuple[Callable[[socket.socket], None], bytes]] = {
    "until-close": (lambda connection: (connection.sendall(CLOSE), end_cleanly(connection))[0], b"x" * 500),
    "until-close-1.0": (lambda connection: (connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nok"), end_cleanly(connection))[0], b"ok"),
    "interim": (answer(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK), b"ok"),
    "more-than-declared": (answer(HEAD + b"Content-Length: 2\r\n\r\nokEVIL"), b"ok"),
    "two-answers": (answer_and_wait(OK + b"HTTP/1.1 200 OK\r\nX-Evil: 1\r\nContent-Length: 4\r\n\r\nEVIL"), b"ok"),
    "two-answers-second-broken": (answer_and_wait(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\nEVIL"), b"ok"),
    "chunked-and-more": (answer(HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nEVIL"), b"ok"),
    "no-content-with-a-body": (answer_and_wait(b"HTTP/1.1 204 No Content\r\n\r\nEVIL"), b""),
    "one-byte-at-a-time": (lambda connection: _bytewise(connection, OK), b"ok"),
    "hop-by-hop": (answer(HEAD + b"Connection: X-Hop, keep-alive\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nContent-Length: 2\r\n\r\nok"), b"ok"),
    "odd-status": (answer(b"HTTP/1.1 299 Whatever\r\nContent-Length: 2\r\n\r\nok"), b"ok"),
}


def _bytewise(connection: socket.socket, data: bytes) -> None:
    for at in range(len(data)):
        connection.sendall(data[at : at + 1])


SCRIPTS: dict[str, Callable[[socket.socket], None]] = {
    **{fault.name: fault.script for fault in FAULTS},
    **{broken.name: broken.script for broken in BROKEN},
    **{name: script for name, (script, _) in GOOD.items()},
    "fine": answer(OK),
}


def play(connection: socket.socket, number: int) -> None:
    """Run the script that the request names."""
    head = read_head(connection)
    if head:
        SCRIPTS[head.split(b" ")[1].rpartition(b"/")[2].decode()](connection)


class World(NamedTuple):
    """A gateway with an API for each leg."""

    gateway: Gateway
    ports: dict[str, int]

    def client(self, leg: str = "plain") -> Client:
        """Connect, with the TLS version that matches the leg."""
        return Client(self.gateway.port, sni="localhost", version=VERSIONS[leg] or 772)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return make_authority("Upstream CA")


@pytest.fixture(scope="module")
def localhost(authority: Authority) -> Issued:
    return authority.issue("localhost", usages=SERVER, names=["localhost", "127.0.0.1"])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, authority: Authority, localhost: Issued) -> Iterator[World]:
    with ExitStack() as stack:
        ports = {leg: stack.enter_context(ScriptedUpstream(play, context_of(localhost, VERSIONS[leg]))).port for leg in LEGS}
        apis = [
            classic("plain", ports["plain"], "/plain/"),
            classic("tls12", f"https://localhost:{ports['tls12']}", "/tls12/"),
            oas("tls13", f"https://localhost:{ports['tls13']}", "/tls13/"),
        ]
        apis += special_apis(stack, authority, localhost)
        gateway = stack.enter_context(
            running_gateway(
                tmp_path_factory.mktemp("faults"),
                *apis,
                server=localhost,
                proxy_default_timeout=1,
                http_server_options={"write_timeout": 1, "enable_websockets": True},
                tlsgate={"upstream_ca": [authority.pem], "log": {"access": True}},
            )
        )
        yield World(gateway, ports)


def context_of(issued: Issued, version: int | None) -> ssl.SSLContext | None:
    return server_context(issued, version=version) if version is not None else None


def expect_refusal(response: Response, status: int, message: str) -> None:
    """The exact body of the reference, section 12.1."""
    assert response.status == status, response
    assert response.body == b'{\n    "error": "%b"\n}' % message.encode()
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-generator"] == "tyk.io"


def logged(gateway: Gateway, path: str, mark: int, event: str = "http.refused") -> dict[str, Any]:
    """The log line of a request."""
    if event == "http.answer_broken":
        return gateway.wait_event(event, after=mark)
    return gateway.wait_event(event, after=mark, match=lambda entry: entry["path"] == path)


@pytest.mark.parametrize("leg", LEGS)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_an_upstream_without_an_answer_is_a_500_or_504(world: World, leg: str, fault: Fault) -> None:
    """Reference, section 11: status and exact message; one log line with flag, reason and address; the client's connection lives on."""
    mark = len(world.gateway.events)
    path = f"/{leg}/{fault.name}"
    with world.client(leg) as client:
        began = time.monotonic()
        response = client.request("GET", path)
        elapsed = time.monotonic() - began
        expect_refusal(response, fault.status, fault.message)
        assert client.request("GET", f"/{leg}/fine").body == b"ok"
    assert (1.0 <= elapsed < 2.5) if fault.status == 504 else elapsed < 1.0, elapsed
    event = logged(world.gateway, path, mark)
    assert (event["status"], event["flag"], event["api"]) == (fault.status, fault.flag, leg), event
    assert event["detail"]
    assert str(world.ports[leg]) in event["upstream"]


@pytest.mark.parametrize(
    ("leg", "broken"),
    # Over plain TCP a FIN is a clean end of some bodies.
    [(leg, broken) for broken in BROKEN for leg in LEGS if leg != "plain" or not broken.only_tls],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_broken_body_is_never_passed_off_as_complete(world: World, leg: str, broken: Broken) -> None:
    """Decisions 2.8: what came is passed on, then the client sees a cut: no last chunk, a length not reached, no close_notify."""
    mark = len(world.gateway.events)
    with world.client(leg) as client:
        client.send(f"GET /{leg}/{broken.name} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = client.read_until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        rest = b""
        while piece := client.recv():
            rest += piece
        assert client.truncated, "a close_notify says that everything was there"
    if b"Content-Length: 1000" in head:
        assert b"Transfer-Encoding" not in head
        assert len(rest) < 1000
    else:
        assert b"Transfer-Encoding: chunked" in head
        assert b"0\r\n\r\n" not in rest[-7:]
    if broken.name.startswith("events"):
        assert b"event: error\ndata: upstream connection terminated unexpectedly\n\n" in rest
    elif broken.name != "length-only-head":
        assert b"x" * 500 in rest
    event = logged(world.gateway, "", mark, "http.answer_broken")
    assert (event["flag"], event["api"]) == (broken.flag, leg), event
    assert event["reason"]


@pytest.mark.parametrize("leg", LEGS)
def test_an_http_1_0_client_sees_a_cut_as_a_reset(world: World, leg: str) -> None:
    """Without chunks only a reset tells: no FIN, no close_notify."""
    mark = len(world.gateway.events)
    with world.client(leg) as client:
        client.send(f"GET /{leg}/chunked-closes HTTP/1.0\r\n\r\n".encode())
        head = client.read_until(b"\r\n\r\n")
        assert b"Content-Length" not in head
        assert b"chunked" not in head
        try:
            while client.recv():
                pass
            assert client.truncated
        except OSError:
            pass
    logged(world.gateway, "", mark, "http.answer_broken")


@pytest.mark.parametrize("leg", LEGS)
@pytest.mark.parametrize("name", GOOD)
def test_odd_but_complete_answers_pass(world: World, leg: str, name: str) -> None:
    """RFC 9112 sections 6.3 and 9.6, RFC 9110 section 15.2: what the framing says is the answer, nothing of what follows it."""
    mark = len(world.gateway.events)
    with world.client(leg) as client:
        response = client.request("GET", f"/{leg}/{name}")
        assert 200 <= response.status < 300
        assert response.body == GOOD[name][1]
        assert "x-evil" not in response.headers
        assert "link" not in response.headers
        assert not {"x-hop", "keep-alive", "connection"} & set(response.headers)
        # Left-over bytes never become somebody's answer.
        for _ in range(3):
            assert client.request("GET", f"/{leg}/fine").body == b"ok"
    since = world.gateway.events[mark:]
    assert not [event for event in since if event.get("event") == "http.answer_broken"]
    assert not [event for event in since if event.get("event") == "http.refused" and event["path"].startswith(f"/{leg}/{name}")]


@pytest.mark.parametrize("leg", LEGS)
def test_an_upgrade_to_something_else_is_a_fault(world: World, leg: str) -> None:
    """RFC 9110 section 7.8: the server may only choose what was offered; a 101 that names nothing chose nothing."""
    SCRIPTS["other-protocol"] = answer_and_wait(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n")
    for name in ("other-protocol", "101-without-upgrade"):
        with world.client(leg) as client:
            headers = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", "eA==")]
            expect_refusal(client.request("GET", f"/{leg}/{name}", headers=headers), 500, PROBLEM)


def test_xml_requests_get_the_fault_in_xml(world: World) -> None:
    """Reference, section 12.1; decisions 2.16."""
    with world.client() as client:
        response = client.request("POST", "/plain/reset", headers=[("Content-Type", "text/xml; charset=utf-8")], body=b"<a/>")
    assert response.body == f'<?xml version = "1.0" encoding = "UTF-8"?>\n<error>{PROBLEM}</error>\n'.encode()
    assert response.headers["content-type"] == "text/xml"


# Upstreams that cannot even be talked to.


class Special(NamedTuple):
    """A target of its own."""

    name: str
    flag: str
    status: int = 500
    message: str = PROBLEM


SPECIAL = [
    Special("refused", "UCF"),
    Special("unknown-host", "DNS", message=LOOKUP),
    Special("accepts-nobody", "UCT", 504, TIMEOUT),
    Special("never-speaks-tls", "UCT", 504, TIMEOUT),
    Special("plain-on-tls", "TLP"),
    Special("resets-tls", "TLH"),
    Special("alert", "TLA"),
    Special("old-tls", "TLP"),
    Special("other-name", "TLM"),
    Special("common-name-only", "TLM"),
    Special("untrusted", "TLI"),
    Special("self-signed", "TLI"),
    Special("expired", "TLE"),
    Special("not-yet-valid", "TLE"),
    Special("client-usage", "TLI"),
    Special("no-intermediate", "TLI"),
    Special("pin-mismatch", "TLI"),
    Special("wants-a-certificate-12", "TLH"),
    Special("wants-a-certificate-13", "TLH"),
    Special("wants-another-certificate-12", "TLA"),
    Special("wants-another-certificate-13", "TLA"),
]
UPSTREAMS: dict[str, TlsUpstream] = {}
DAY = 86400.0


def special_apis(stack: ExitStack, authority: Authority, localhost: Issued) -> list[dict[str, Any]]:
    """Definitions for SPECIAL, their upstreams running."""
    apis: list[dict[str, Any]] = []

    def add(name: str, target: str, **fields: Any) -> None:
        apis.append(classic(name, target, f"/{name}/", **fields))

    def serve(name: str, issued: Issued, context: dict[str, Any] | None = None, **fields: Any) -> None:
        upstream = TlsUpstream(server_context(issued, **(context or {})))
        UPSTREAMS[name] = stack.enter_context(upstream)
        add(name, f"https://localhost:{upstream.port}", **fields)

    add("refused", f"http://127.0.0.1:{free_port()}")
    add("unknown-host", "http://no-such-name.invalid:80")
    full = socket.socket()
    stack.callback(full.close)
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    for _ in range(2):  # the queue is full now: the kernel answers no further SYN
        waiting = socket.socket()
        waiting.setblocking(False)
        waiting.connect_ex(full.getsockname())
        stack.callback(waiting.close)
    add("accepts-nobody", f"http://127.0.0.1:{full.getsockname()[1]}")

    def tcp(name: str, script: Callable[[socket.socket, int], None]) -> None:
        add(name, f"https://localhost:{stack.enter_context(ScriptedUpstream(script)).port}")

    tcp("never-speaks-tls", lambda connection, _: _wait(connection))
    tcp("plain-on-tls", lambda connection, _: (read_some(connection), connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"))[1])
    tcp("resets-tls", lambda connection, _: (read_some(connection), reset(connection))[1])
    tcp("alert", lambda connection, _: (read_some(connection), connection.sendall(b"\x15\x03\x03\x00\x02\x02\x70"), _wait(connection))[1])
    tcp("old-tls", lambda connection, _: (read_some(connection), connection.sendall(b"\x15\x03\x01\x00\x02\x02\x46"), _wait(connection))[1])
    names = ["localhost"]
    now = time.time()
    serve("other-name", authority.issue("x", usages=SERVER, names=["other.test", "localhost.test"]))
    serve("common-name-only", authority.issue("localhost", usages=SERVER))
    serve("untrusted", make_authority("Foreign CA").issue("x", usages=SERVER, names=names))
    serve("self-signed", make_authority("localhost", names=names, usages=SERVER))
    serve("expired", authority.issue("x", usages=SERVER, names=names, not_after=now - DAY))
    serve("not-yet-valid", authority.issue("x", usages=SERVER, names=names, not_before=now + DAY))
    serve("client-usage", authority.issue("x", names=names))
    serve("no-intermediate", authority.subordinate("Middle").issue("x", usages=SERVER, names=names), {"chain": ()})
    serve("pin-mismatch", localhost, pinned_public_keys={"localhost": authority.issue("other").pem})
    clients = make_authority("Client CA")
    wrong = {"upstream_certificates": {"*": make_authority("Wrong CA").issue("wrong").full_pem}}
    for version, suffix in ((771, "12"), (772, "13")):
        serve(f"wants-a-certificate-{suffix}", localhost, {"version": version, "clients": [clients]})
        serve(f"wants-another-certificate-{suffix}", localhost, {"version": version, "clients": [clients]}, **wrong)
    return apis


def read_some(connection: socket.socket) -> bytes:
    """Read what is there."""
    connection.settimeout(5)
    return connection.recv(65536)


@pytest.mark.parametrize(
    ("special", "method"),
    # What takes its second is tried once.
    [(special, method) for special in SPECIAL for method in ("GET", "POST") if method == "GET" or special.status != 504],
    ids=lambda value: getattr(value, "name", value),
)
def test_an_upstream_that_cannot_be_talked_to(world: World, special: Special, method: str) -> None:
    """Reference, section 11; mTLS reference, sections 8 to 10; B22: refused with its flag, and no request has reached anybody."""
    mark = len(world.gateway.events)
    path = f"/{special.name}/x"
    with world.client() as client:
        began = time.monotonic()
        expect_refusal(client.request(method, path, body=b"secret" if method == "POST" else b""), special.status, special.message)
        assert (1.0 <= time.monotonic() - began < 2.5) == (special.status == 504)
        assert client.request("GET", "/plain/fine").body == b"ok"
    event = logged(world.gateway, path, mark)
    assert (event["status"], event["flag"]) == (special.status, special.flag), event
    assert event["detail"]
    assert "secret" not in json.dumps(event)
    if special.name in UPSTREAMS:
        assert UPSTREAMS[special.name].requests == []


# Kept connections.


class Counting:
    """An upstream of kept connections that counts; a path says what to do.

    ``/die``: as the second or later request of its connection it gets no answer, as the first one it does. ``/always-die`` never gets one.
    """

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.connections = 0
        self.first = threading.Event()
        self.linger_s = 20.0

    def __call__(self, connection: socket.socket, number: int) -> None:
        self.connections += 1
        connection.settimeout(self.linger_s)
        stream = connection.makefile("rb")
        count = 0
        while True:
            try:
                line = stream.readline()
            except OSError:
                return
            if not line:
                return
            method, target, _ = line.decode().split(" ")
            length = 0
            while (field := stream.readline()) not in (b"\r\n", b""):
                if field.lower().startswith(b"content-length:"):
                    length = int(field.partition(b":")[2])
            body = stream.read(length)
            count += 1
            self.requests[f"{method} {target} {body.decode()}".strip()] += 1
            if target == "/always-die" or (target in ("/die", "/die-later") and count > 1):
                if target == "/die-later":
                    connection.sendall(b"HTTP/1.1 200 OK\r\n")
                return
            connection.sendall(OK)


@contextmanager
def counting(world_folder: Any, authority: Authority, localhost: Issued, **config: Any) -> Iterator[tuple[Gateway, dict[str, Counting]]]:
    """A gateway with counting upstreams on each leg."""
    with ExitStack() as stack:
        counters = {leg: Counting() for leg in LEGS}
        apis = []
        for leg, counter in counters.items():
            upstream = stack.enter_context(ScriptedUpstream(counter, context_of(localhost, VERSIONS[leg])))
            scheme = "http" if leg == "plain" else "https"
            apis.append(classic(leg, f"{scheme}://localhost:{upstream.port}", f"/{leg}/"))
        own = {"upstream_ca": [authority.pem], **config.pop("tlsgate", {})}
        yield stack.enter_context(running_gateway(world_folder, *apis, tlsgate=own, **config)), counters


@pytest.fixture(scope="module")
def kept(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority, localhost: Issued
) -> Iterator[tuple[Gateway, dict[str, Counting]]]:
    with counting(tmp_path_factory.mktemp("kept"), authority, localhost) as made:
        yield made


@pytest.mark.parametrize("leg", LEGS)
def test_a_connection_is_used_again(kept: tuple[Gateway, dict[str, Counting]], leg: str) -> None:
    """Twenty requests of two clients, one after the other: one connection."""
    gateway, counters = kept
    before = counters[leg].connections
    for _ in range(2):
        with Client(gateway.port, tls=False) as client:
            for number in range(10):
                method = ("GET", "POST", "PUT", "DELETE", "OPTIONS")[number % 5]
                assert client.request(method, f"/{leg}/again", body=b"b" if method in ("POST", "PUT") else b"").body == b"ok"
    assert counters[leg].connections - before <= 1


@pytest.mark.parametrize("leg", LEGS)
@pytest.mark.parametrize(
    ("method", "body", "again"),
    [
        ("GET", b"", True),
        ("HEAD", b"", True),
        ("OPTIONS", b"", True),
        ("GET", b"b", False),
        ("POST", b"b", False),
        ("POST", b"", False),
        ("PUT", b"b", False),
        ("PATCH", b"b", False),
        ("DELETE", b"", False),
    ],
)
def test_only_what_may_be_repeated_is_repeated_once(
    kept: tuple[Gateway, dict[str, Counting]], leg: str, method: str, body: bytes, again: bool
) -> None:
    """Decisions 2.12: a reused connection that dies before the first byte: GET, HEAD and OPTIONS without a body once more, others never."""
    gateway, counters = kept
    counter = counters[leg]
    with Client(gateway.port, tls=False) as client:
        assert client.request("GET", f"/{leg}/warm").status == 200
        counter.requests.clear()
        response = client.request(method, f"/{leg}/die", body=body)
        name = f"{method} /die {body.decode()}".strip()
        assert (response.status, counter.requests[name]) == ((200, 2) if again else (500, 1))
        assert client.request("GET", f"/{leg}/warm").status == 200


@pytest.mark.parametrize("leg", LEGS)
def test_a_repetition_is_not_repeated(kept: tuple[Gateway, dict[str, Counting]], leg: str) -> None:
    """Once more is once; on a fresh connection nothing is repeated; nothing either once a byte of the answer has come."""
    gateway, counters = kept
    counter = counters[leg]
    with Client(gateway.port, tls=False) as client:
        assert client.request("GET", f"/{leg}/warm").status == 200
        counter.requests.clear()
        assert client.request("GET", f"/{leg}/always-die").status == 500
        assert counter.requests["GET /always-die"] == 2
        assert client.request("GET", f"/{leg}/always-die").status == 500
        assert counter.requests["GET /always-die"] == 3
        assert client.request("GET", f"/{leg}/warm").status == 200
        assert client.request("GET", f"/{leg}/die-later").status == 500
        assert counter.requests["GET /die-later"] == 1


@pytest.mark.parametrize("leg", LEGS)
def test_connections_that_the_upstream_ended_long_ago_are_not_used(kept: tuple[Gateway, dict[str, Counting]], leg: str) -> None:
    """B23: the upstream ends idle connections without a word; the client waits longer than that between its POSTs (hence the sleeps)."""
    gateway, counters = kept
    counter = counters[leg]
    rounds, keep_s, wait_s = scaled((12, 0.1, 0.2), (50, 1.0, 1.5))
    counter.linger_s = keep_s
    counter.requests.clear()
    with Client(gateway.port, tls=False) as client:
        for number in range(rounds):
            assert client.request("POST", f"/{leg}/round", body=b"%d" % number).status == 200, number
            time.sleep(wait_s)
    counter.linger_s = 20.0
    assert counter.requests == Counter({f"POST /round {number}": 1 for number in range(rounds)})


def ask_at_once(gateway: Gateway, path: str, count: int) -> None:
    """Several requests under way together."""

    def ask() -> None:
        with Client(gateway.port, tls=False) as client:
            assert client.request("GET", path).status == 200

    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)


def slow_echo(received: Received) -> bytes:
    time.sleep(0.2)
    return OK


def test_idle_connections_are_bounded_per_host_and_in_all(tmp_path_factory: pytest.TempPathFactory) -> None:
    """``max_idle_connections_per_host`` and ``max_idle_connections``; after ``upstream_idle_s`` none is left; a reload changes them."""
    with StrictUpstream(slow_echo) as one, StrictUpstream(slow_echo) as two, StrictUpstream(slow_echo) as three:
        apis = [classic(name, upstream.port, f"/{name}/") for name, upstream in (("one", one), ("two", two), ("three", three))]
        folder = tmp_path_factory.mktemp("bounds")
        limits = {"limits": {"upstream_idle_s": 1.0}}
        with running_gateway(folder, *apis, max_idle_connections_per_host=2, max_idle_connections=3, tlsgate=limits) as gateway:
            ask_at_once(gateway, "/one/x", 6)
            assert one.connections == 6
            assert wait_until(lambda: one.open_connections == 2)
            ask_at_once(gateway, "/two/x", 6)
            assert wait_until(lambda: two.open_connections == 1)
            ask_at_once(gateway, "/three/x", 2)
            assert wait_until(lambda: three.open_connections == 0)
            assert wait_until(lambda: one.open_connections + two.open_connections == 0, 3)
            gateway.config["proxy_close_connections"] = True
            gateway.write_config()
            assert gateway.reload()["event"] == "reload.done"
            for count in (1, 2):
                with Client(gateway.port, tls=False) as client:
                    client.request("GET", "/two/x")
                assert two.connections == 6 + count
                assert two.requests[-1].header("connection") == "close"
                assert wait_until(lambda: two.open_connections == 0)


def test_close_connections_holds_even_if_the_upstream_keeps_its_side_open(tmp_path_factory: pytest.TempPathFactory) -> None:
    """``proxy_close_connections``: one connection for each request, closed by the gateway."""
    counter = Counting()
    with ScriptedUpstream(counter) as upstream:
        api = classic("a", upstream.port, "/")
        folder = tmp_path_factory.mktemp("close")
        with running_gateway(folder, api, proxy_close_connections=True) as gateway, Client(gateway.port, tls=False) as client:
            for _ in range(5):
                assert client.request("GET", "/x").status == 200
    assert counter.connections == 5


def test_an_upload_that_the_upstream_does_not_read_ends(world: World) -> None:
    """Issue, section 4 (deadlines for body progress): an upstream that stops reading is one that never answers."""
    SCRIPTS["deaf"] = lambda connection: time.sleep(8)  # reads nothing: that is its fault
    with world.client() as client:
        client.send(b"POST /plain/deaf HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n")
        client.socket.settimeout(15)
        sender = threading.Thread(target=_send_all, args=(client,), daemon=True)
        sender.start()
        expect_refusal(client.read_response("POST"), 504, TIMEOUT)


def _send_all(client: Client) -> None:
    try:
        for _ in range(1000):
            client.send(b"x" * 100_000)
    except OSError:  # the test has what it wants and closes the connection under our hands
        pass


def stream_forever(connection: socket.socket, number: int) -> None:
    """A chunk each 50 ms, until the other side goes."""
    read_head(connection)
    connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"400\r\n" + b"x" * 1024 + b"\r\n")
        time.sleep(0.05)


@pytest.mark.parametrize("version", [None, 771, 772])
def test_a_client_that_goes_takes_the_upstream_connection_along(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority, localhost: Issued, version: int | None
) -> None:
    """B25: leaving in the middle, by reset, and before the head: upstream sees it within 2 s, nothing stays open, one log line each."""
    rounds = scaled(8, 50)
    begun: list[int] = []
    ended: list[float] = []

    def play_until_end(connection: socket.socket, number: int) -> None:
        begun.append(number)
        try:
            if number % 4 == 2:
                _wait(connection)
            else:
                stream_forever(connection, number)
        except OSError:
            pass
        ended.append(time.monotonic())

    with ScriptedUpstream(play_until_end, context_of(localhost, version)) as upstream:
        scheme = "http" if version is None else "https"
        own = {"upstream_ca": [authority.pem], "log": {"access": True}}
        api = classic("a", f"{scheme}://127.0.0.1:{upstream.port}", "/")
        with running_gateway(tmp_path_factory.mktemp("gone"), api, server=localhost, tlsgate=own) as gateway:
            Client(gateway.port, version=version).close()
            start = gateway.open_files()
            for number in range(rounds):
                client = Client(gateway.port, version=version)
                client.send(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
                if number % 4 in (0, 1):
                    client.read_until(b"x" * 1024)
                elif number % 4 == 2:
                    assert wait_until(lambda: number in begun)  # noqa: B023 - called at once
                else:  # while the gateway connects
                    assert wait_until(lambda: upstream.connections == number + 1)  # noqa: B023 - called at once
                if number % 4 == 1:
                    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.close()
            left = time.monotonic()
            assert wait_until(lambda: len(ended) + upstream.errors.qsize() == rounds)
            assert max(ended) - left < 2
            assert wait_until(lambda: gateway.open_files() <= start)
            assert wait_until(lambda: len([e for e in gateway.events if e.get("event") == "http.access"]) == rounds)
            assert not [event for event in gateway.events if event.get("event") == "http.answer_broken"]


def test_the_connections_of_two_client_certificates_are_kept_apart(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority, localhost: Issued
) -> None:
    """Issue, section 6: one pool per TLS identity; the certificate that an upstream sees is that of the API, whatever was idle."""
    clients = make_authority("Client CA")
    alice, bob = clients.issue("alice"), clients.issue("bob")
    for version in (771, 772):
        with TlsUpstream(server_context(localhost, version=version, clients=[clients])) as upstream:
            url = f"https://localhost:{upstream.port}"
            apis = [
                classic("a", url, "/a/", upstream_certificates={"localhost": alice.full_pem}),
                oas(
                    "b",
                    url,
                    "/b/",
                    upstream_settings={
                        "mutualTLS": {"enabled": True, "domainToCertificateMapping": [{"domain": "localhost", "certificate": bob.full_pem}]}
                    },
                ),
                classic("a2", url, "/a2/", upstream_certificates={"*": alice.full_pem}),
                classic(
                    "lax",
                    url,
                    "/lax/",
                    upstream_certificates={"*": alice.full_pem},
                    proxy={"transport": {"ssl_insecure_skip_verify": True}},
                ),
            ]
            folder = tmp_path_factory.mktemp("identity")
            own = {"upstream_ca": [authority.pem]}
            with running_gateway(folder, *apis, tlsgate=own) as gateway, Client(gateway.port, tls=False) as client:
                for path in ("/a/", "/b/", "/a2/", "/lax/") * 5:
                    assert client.request("GET", path).status == 200
            seen = [(request.raw_head, upstream.shown[request.connection]) for request in upstream.requests]
            assert [shown for _, shown in seen] == [alice.der, bob.der, alice.der, alice.der] * 5
            # Equal identities share, others do not.
            assert upstream.connections == 3


# Several targets.


def test_targets_take_turns_by_weight(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Reference, sections 4.3 and 10.6: each entry of the list is one turn, its own path and query count; weight 0 is left out."""
    with StrictUpstream() as one, StrictUpstream() as two, StrictUpstream() as three:
        apis = [
            classic(
                "classic",
                "http://unused.invalid/unused?unused",
                "/classic/",
                proxy={
                    "enable_load_balancing": True,
                    "target_list": [f"127.0.0.1:{one.port}/one?k=1", f"http://127.0.0.1:{two.port}", f"http://127.0.0.1:{one.port}/again/"],
                },
            ),
            oas(
                "oas",
                "http://unused.invalid/",
                "/oas/",
                upstream_settings={
                    "loadBalancing": {
                        "enabled": True,
                        "targets": [
                            {"url": f"http://127.0.0.1:{one.port}", "weight": 2},
                            {"url": f"http://127.0.0.1:{two.port}", "weight": 1},
                            {"url": f"http://127.0.0.1:{three.port}", "weight": 0},
                        ],
                    }
                },
            ),
        ]
        with running_gateway(tmp_path_factory.mktemp("turns"), *apis) as gateway, Client(gateway.port, tls=False) as client:
            seen = [json.loads(client.request("GET", "/classic/x?q").body) for _ in range(6)]
            assert [entry["target"] for entry in seen] == ["/one/x?k=1&q", "/x?q", "/again/x?q"] * 2
            assert [dict(entry["headers"])["Host"] for entry in seen[:2]] == [f"127.0.0.1:{one.port}", f"127.0.0.1:{two.port}"]
            one.requests.clear()
            two.requests.clear()
            for _ in range(9):
                assert client.request("GET", "/oas/x").status == 200
            assert (len(one.requests), len(two.requests), len(three.requests)) == (6, 3, 0)


def test_a_target_that_fails_keeps_its_turn_and_takes_nobody_with_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Without uptime tests a dead target is asked in its turn."""
    with StrictUpstream() as alive:
        targets = [f"http://127.0.0.1:{alive.port}", f"http://127.0.0.1:{free_port()}"]
        api = classic("a", "", "/", proxy={"enable_load_balancing": True, "target_list": targets})
        with running_gateway(tmp_path_factory.mktemp("dead"), api) as gateway, Client(gateway.port, tls=False) as client:
            assert [client.request("GET", "/").status for _ in range(6)] == [200, 500] * 3


class _V6(StrictUpstream):
    def __init__(self) -> None:
        super().__init__()
        self._listening.close()
        self._listening = socket.create_server(("::1", 0), family=socket.AF_INET6)
        self.port = int(self._listening.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()


def test_an_ipv6_target(tmp_path_factory: pytest.TempPathFactory) -> None:
    """``[::1]`` in the address and in Host; an upstream that listens on IPv6 only is found behind a name, too."""
    try:
        upstream = _V6()
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    with upstream:
        apis = [
            classic("six", f"http://[::1]:{upstream.port}/six", "/six/"),
            classic("name", f"http://localhost:{upstream.port}", "/name/"),
        ]
        with running_gateway(tmp_path_factory.mktemp("six"), *apis) as gateway, Client(gateway.port, tls=False) as client:
            echoed = json.loads(client.request("GET", "/six/x").body)
            assert echoed["target"] == "/six/x"
            assert dict(echoed["headers"])["Host"] == f"[::1]:{upstream.port}"
            if "::1" in {entry[4][0] for entry in socket.getaddrinfo("localhost", None)}:
                assert client.request("GET", "/name/x").status == 200


def test_a_user_name_in_the_target_is_not_sent(tmp_path_factory: pytest.TempPathFactory) -> None:
    """As in Tyk, whose transport does not use it; ``check`` says so. It is in no log."""
    with StrictUpstream() as upstream:
        api = classic("a", f"http://user:hunter2@127.0.0.1:{upstream.port}/base", "/")
        with running_gateway(tmp_path_factory.mktemp("user"), api) as gateway, Client(gateway.port, tls=False) as client:
            assert json.loads(client.request("GET", "/x").body)["target"] == "/base/x"
            assert "hunter2" not in "\n".join(gateway.lines)
        assert upstream.requests[0].header("authorization") is None
        assert upstream.requests[0].header("host") == f"127.0.0.1:{upstream.port}"


def test_an_enforced_timeout_counts_from_the_request_on(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Reference, section 11: ``global_enforce_timeout`` limits the whole exchange: connecting, waiting, and a body that only trickles."""
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    waiting = [socket.socket() for _ in range(2)]
    for one in waiting:
        one.setblocking(False)
        one.connect_ex(full.getsockname())

    def trickle(connection: socket.socket, _: int) -> None:
        read_head(connection)
        connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\n")
        for _ in range(100):
            connection.sendall(b"x")
            time.sleep(0.05)

    limited = {"version": {"global_enforce_timeout": 1}}
    with ScriptedUpstream(trickle) as slow, ScriptedUpstream(lambda connection, _: _wait(connection)) as silent:
        apis = [
            classic("full", full.getsockname()[1], "/full/", **limited),
            classic("silent", silent.port, "/silent/", **limited),
            classic("slow", slow.port, "/slow/", **limited),
        ]
        with running_gateway(tmp_path_factory.mktemp("enforced"), *apis) as gateway:
            for path in ("/full/", "/silent/"):
                with Client(gateway.port, tls=False) as client:
                    began = time.monotonic()
                    expect_refusal(client.request("GET", path), 504, TIMEOUT)
                    assert 1.0 <= time.monotonic() - began < 2.0, path
            with Client(gateway.port, tls=False) as client:
                began = time.monotonic()
                with pytest.raises(EOFError):
                    client.request("GET", "/slow/")
                assert 1.0 <= time.monotonic() - began < 2.0
    for one in (full, *waiting):
        one.close()


def test_failures_can_be_502(tmp_path_factory: pytest.TempPathFactory, localhost: Issued) -> None:
    """``tlsgate.upstream_error_status: 502``: connect, look-up, TLS and reset failures; a time-out stays 504, our own fault stays 500."""
    scripts: dict[bytes, Callable[[socket.socket], None]] = {b"/reset": reset, b"/garbage": answer(b"?\r\n\r\n"), b"/never": _wait}

    def play_one(connection: socket.socket, _: int) -> None:
        scripts[read_head(connection).split(b" ")[1]](connection)

    with ScriptedUpstream(play_one) as upstream, TlsUpstream(server_context(localhost)) as untrusted:
        apis = [
            classic("up", upstream.port, "/up/"),
            classic("tls", f"https://localhost:{untrusted.port}", "/tls/"),
            classic("refused", free_port(), "/refused/"),
            classic("lookup", "http://no-such-name.invalid", "/lookup/"),
            oas("missing", f"https://localhost:{untrusted.port}", "/missing/"),
        ]
        apis[-1]["x-tyk-api-gateway"]["upstream"]["mutualTLS"] = {
            "enabled": True,
            "domainToCertificateMapping": [{"domain": "*", "certificate": "/no/such/file.pem"}],
        }
        own = {"upstream_error_status": 502, "upstream_ca": [make_authority("Nobody's CA").pem]}
        folder = tmp_path_factory.mktemp("status")
        overrides = {"502": [{"match": {"flag": "DNS"}, "response": {"status_code": 503, "message": "later"}}]}
        settings = {"tlsgate": own, "proxy_default_timeout": 1, "error_overrides": overrides}
        with running_gateway(folder, *apis, **settings) as gateway, Client(gateway.port, tls=False) as client:
            for path in ("/up/reset", "/up/garbage", "/refused/", "/tls/"):
                expect_refusal(client.request("GET", path), 502, PROBLEM)
            expect_refusal(client.request("GET", "/lookup/"), 503, "later")
            expect_refusal(client.request("GET", "/up/never"), 504, TIMEOUT)
            expect_refusal(client.request("GET", "/missing/"), 500, PROBLEM)
