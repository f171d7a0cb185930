"""HTTP/1.1 messages on a client's connection: keep-alive, pipelining, Expect, HEAD, trailers, interim answers, uploads, early answers.

Source: RFC 9110, RFC 9112; decisions 2; API definitions reference, sections 9 to 11.
"""

from __future__ import annotations

import hashlib
import random
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.certs import make_authority
from tests.support.forms import FORMS, Rule, define
from tests.support.gateway import (
    Client,
    Gateway,
    Received,
    ScriptedUpstream,
    StrictUpstream,
    echo,
    free_port,
    read_head,
    running_gateway,
    wait_until,
)

LIMIT = 1024
GENERATOR = "tyk.io"
BOTH = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
EACH_FORM = pytest.mark.parametrize("form", FORMS)


def answer(received: Received) -> bytes:
    """Answer by the last segment of the path."""
    kind = received.target.rpartition("/")[2]
    if kind == "chunked":
        return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
    if kind == "trailers":
        return (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Announced\r\n\r\n5\r\nhello\r\n0\r\n"
            b"X-Announced: 1\r\nGrpc-Status: 0\r\nContent-Length: 7\r\nSet-Cookie: a=b\r\nConnection: close\r\n\r\n"
            if received.header("X-Closing")
            else b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Announced\r\n\r\n5\r\nhello\r\n0\r\n"
            b"X-Announced: 1\r\nGrpc-Status: 0\r\nSet-Cookie: a=b\r\n\r\n"
        )
    if kind == "hints":
        return b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\n" * 2 + echo(received)
    if kind == "100":
        return b"HTTP/1.1 100 Continue\r\n\r\n" + echo(received)
    if kind == "204":
        return b"HTTP/1.1 204 No Content\r\nX-Kind: 204\r\n\r\n"
    if kind == "304":
        return b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\nContent-Length: 99\r\n\r\n'
    if kind == "sized" and received.method == "HEAD":
        return b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n"
    if kind == "unsized" and received.method == "HEAD":
        return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return echo(received)


def read_then_hash(connection: socket.socket, number: int) -> None:
    """Upstream: read a chunked or sized body slowly at first, answer with its hash."""
    head, _, rest = read_head(connection).partition(b"\r\n\r\n")
    time.sleep(0.5)
    stream = connection.makefile("rb")
    digest = hashlib.sha256()
    data = rest

    def read(size: int) -> bytes:
        nonlocal data
        while len(data) < size:
            data += connection.recv(65536)
        taken, data = data[:size], data[size:]
        return taken

    def line() -> bytes:
        nonlocal data
        while b"\r\n" not in data:
            data += connection.recv(65536)
        found, _, data = data.partition(b"\r\n")
        return found

    assert b"Transfer-Encoding: chunked" in head
    while size := int(line(), 16):
        digest.update(read(size))
        assert read(2) == b"\r\n"
    assert line() == b""
    stream.close()
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 64\r\nConnection: close\r\n\r\n" + digest.hexdigest().encode())


def answer_early(connection: socket.socket, number: int) -> None:
    """Upstream: answer as soon as the head is there, then read on until the other side closes."""
    read_head(connection)
    connection.sendall(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 7\r\n\r\nno way\n")
    while connection.recv(65536):
        pass


def answer_until_close(connection: socket.socket, number: int) -> None:
    """Upstream: an answer that only the end of the connection delimits."""
    read_head(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Kind: unlimited\r\n\r\npart one, ")
    time.sleep(0.2)
    connection.sendall(b"part two")


def sock_or_plain(connection: socket.socket, number: int) -> None:
    """Upstream: 101 and an echo of bytes for an upgrade, 200 for anything else, on the same connections."""
    while head := read_head(connection):
        head, _, rest = head.partition(b"\r\n\r\n")
        if b"Upgrade: websocket" not in head:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain")
            continue
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + rest)
        while data := connection.recv(65536):
            connection.sendall(data)
        return


class _Gate:
    def __init__(self, gateway: Gateway, upstream: StrictUpstream) -> None:
        self.gateway = gateway
        self.upstream = upstream
        self.ports = {True: gateway.port, False: gateway.port_of("api")}

    def connect(self, *, tls: bool = True, timeout_s: float = 10) -> Client:
        """Open a connection."""
        return Client(self.ports[tls], tls=tls, sni="a.test" if tls else None, timeout_s=timeout_s)


def _apis(form: str, strict: int, hashing: int, early: int, until_close: int, sock: int, **plain: int) -> list[dict[str, object]]:
    base = f"/{form}"
    kind = form if not plain else f"{form}-plain"
    found = [
        define(form, f"{kind}-echo", strict, f"{base}/echo/"),
        define(form, f"{kind}-limited", strict, f"{base}/limited/", rules=(Rule("size_limits", "/up", "POST", {"size_limit": 10}),)),
        define(form, f"{kind}-closed", strict, f"{base}/closed/", block=("127.0.0.1",)),
        define(form, f"{kind}-hash", hashing, f"{base}/hash/"),
        define(form, f"{kind}-early", early, f"{base}/early/"),
        define(form, f"{kind}-until-close", until_close, f"{base}/until-close/"),
        define(form, f"{kind}-down", free_port(), f"{base}/down/"),
        define(form, f"{kind}-sock", sock, f"{base}/sock/"),
    ]
    for api in found if plain else ():
        if form == "classic":
            api.update(protocol="http", listen_port=plain["port"])
        else:
            api["x-tyk-api-gateway"]["server"].update(protocol="http", port=plain["port"])
    return found


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Gate]:
    """TLS on the main listener, plain HTTP on one of its own, the same APIs in both forms on both."""
    server = make_authority("servers").issue("localhost", names=["localhost"])
    with ExitStack() as stack:
        upstream = stack.enter_context(StrictUpstream(answer))
        scripts = (read_then_hash, answer_early, answer_until_close, sock_or_plain)
        ports = [stack.enter_context(ScriptedUpstream(script)).port for script in scripts]
        port = free_port()
        apis = [api for form in FORMS for api in (*_apis(form, upstream.port, *ports), *_apis(form, upstream.port, *ports, port=port))]
        gateway = stack.enter_context(
            running_gateway(
                tmp_path_factory.mktemp("http"),
                *apis,
                server=server,
                disable_ports_whitelist=True,
                http_server_options={"enable_websockets": True},
            )
        )
        yield _Gate(gateway, upstream)
        assert not upstream.violations


# Keep-alive.


@BOTH
def test_one_connection_serves_many_requests(gate: _Gate, tls: bool) -> None:
    """RFC 9112 9.3; the upstream connection is kept, too."""
    with gate.connect(tls=tls) as client:
        client.request(target="/classic/echo/first")
        before = gate.upstream.connections
        for number in range(20):
            response = client.request("POST", f"/classic/echo/{number}", body=b"x" * number)
            assert response.status == 200
            assert "connection" not in response.headers
            assert f'"/{number}"'.encode() in response.body
        assert gate.upstream.connections == before


@BOTH
def test_http_1_0_keeps_alive_when_asked(gate: _Gate, tls: bool) -> None:
    """RFC 9112 9.3: ``Connection: keep-alive`` is answered with the same; without it the connection closes."""
    with gate.connect(tls=tls) as client:
        for _ in range(3):
            client.send(b"GET /classic/echo/ HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")
            response = client.read_response()
            assert response.status == 200
            assert response.headers["connection"] == "keep-alive"
            assert "content-length" in response.headers
        client.send(b"GET /classic/echo/ HTTP/1.0\r\n\r\n")
        assert client.read_response().headers["connection"] == "close"
        assert client.recv() == b""


@BOTH
def test_http_1_0_client_gets_no_chunks(gate: _Gate, tls: bool) -> None:
    """RFC 9112 6.1: an answer of unknown length ends with the connection; its trailers are dropped."""
    for path, body in (("echo/chunked", b"hello world"), ("echo/trailers", b"hello"), ("until-close/", b"part one, part two")):
        with gate.connect(tls=tls) as client:
            client.send(b"GET /oas/%b HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" % path.encode())
            response = client.read_response()
            assert response.body == body
            assert "transfer-encoding" not in response.headers
            if "content-length" not in response.headers:
                assert response.headers["connection"] == "close"


@BOTH
def test_close_is_honoured_and_said(gate: _Gate, tls: bool) -> None:
    """RFC 9112 9.6."""
    with gate.connect(tls=tls) as client:
        response = client.request(target="/classic/echo/", headers=[("Connection", "close")])
        assert response.headers["connection"] == "close"
        assert client.recv() == b""
        assert not client.truncated


@BOTH
def test_answer_that_the_end_delimits_becomes_chunked(gate: _Gate, tls: bool) -> None:
    """The client's connection goes on."""
    with gate.connect(tls=tls) as client:
        for _ in range(2):
            response = client.request(target="/classic/until-close/")
            assert response.body == b"part one, part two"
            assert response.headers["transfer-encoding"] == "chunked"


# Pipelining.


@BOTH
@EACH_FORM
def test_pipelined_requests_are_answered_in_order(gate: _Gate, form: str, tls: bool) -> None:
    """RFC 9112 9.3.2: 100 requests, chunked and sized POSTs among them, sent at once and in odd pieces."""
    requests = b""
    expected = []
    for number in range(100):
        body = b"%d\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n" % number
        head = b"%b /%b/echo/%d HTTP/1.1\r\nHost: a.test\r\n" % (b"POST" if number % 3 else b"GET", form.encode(), number)
        if number % 3 == 0:
            requests += head + b"\r\n"
            body = b""
        elif number % 3 == 1:
            half = len(body) // 2
            requests += head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (
                half,
                body[:half],
                len(body) - half,
                body[half:],
            )
        else:
            requests += head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        expected.append((f"/{number}", body))
    pieces = random.Random(7)
    for cut in (False, True):
        with gate.connect(tls=tls) as client:
            rest = requests
            while rest:
                size = pieces.randint(1, 700) if cut else len(rest)
                client.send(rest[:size])
                rest = rest[size:]
            for target, body in expected:
                response = client.read_response()
                assert response.status == 200
                assert f'"target": "{target}"'.encode() in response.body
                assert body.decode().encode("unicode_escape")[:2] in response.body
    seen = [(received.target, received.body) for received in gate.upstream.requests[-200:]]
    assert seen == expected * 2


@BOTH
def test_pipelined_refusals_keep_the_order(gate: _Gate, tls: bool) -> None:
    """Answers of the gateway itself wait for those of the upstream before them."""
    kinds = ["/oas/echo/1", "/nowhere", "/oas/closed/", "/oas/echo/2", "/oas//echo/", "/oas/down/", "/oas/echo/3"]
    with gate.connect(tls=tls) as client:
        client.send(b"".join(b"GET %b HTTP/1.1\r\nHost: a.test\r\n\r\n" % kind.encode() for kind in kinds))
        assert [client.read_response().status for _ in kinds] == [200, 404, 403, 200, 301, 500, 200]


@BOTH
def test_request_behind_garbage_is_not_served(gate: _Gate, tls: bool) -> None:
    """What came before a framing error is answered, what follows it never is (reliability reference 2b)."""
    good = b"GET /classic/echo/before HTTP/1.1\r\nHost: a.test\r\n\r\n"
    bad = b"GET /classic/echo/bad HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"
    with gate.connect(tls=tls) as client:
        client.send(good + bad + good.replace(b"before", b"after"))
        assert client.read_response().status == 200
        assert client.read_response().status == 400
        assert client.recv() == b""
    assert gate.upstream.requests[-1].target == "/before"


# Expect.


@BOTH
@EACH_FORM
def test_continue_comes_after_the_checks(gate: _Gate, form: str, tls: bool) -> None:
    """RFC 9110 10.1.1: the body is invited, and the upstream hears nothing of the expectation."""
    with gate.connect(tls=tls) as client:
        for framing, body in ((b"Content-Length: 5", b"hello"), (b"Transfer-Encoding: chunked", b"5\r\nhello\r\n0\r\n\r\n")):
            client.send(b"POST /%b/echo/ HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\n%b\r\n\r\n" % (form.encode(), framing))
            assert client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            client.send(body)
            response = client.read_response()
            assert response.status == 200 and b'"body": "hello"' in response.body
            assert gate.upstream.requests[-1].header("Expect") is None


@BOTH
@EACH_FORM
@pytest.mark.parametrize(("path", "status"), [("limited/up", 400), ("closed/", 403), ("nowhere", 404), ("down/", 500)])
def test_refused_request_is_never_invited_to_send(gate: _Gate, form: str, path: str, status: int, tls: bool) -> None:
    """Decisions 2.8: the refusal is the first thing that comes; the connection ends, since nobody knows whether the body will come."""
    with gate.connect(tls=tls) as client:
        client.send(
            b"POST /%b/%b HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 11\r\n\r\n" % (form.encode(), path.encode())
        )
        first = client.read_until(b"\r\n")
        assert first.startswith(b"HTTP/1.1 %d " % status), first
        assert b"\r\nConnection: close\r\n" in client.read_until(b"\r\n\r\n")


def test_body_without_invitation_is_taken(gate: _Gate) -> None:
    """RFC 9110 10.1.1: a client need not wait for 100; the connection stays in step."""
    with gate.connect() as client:
        client.send(b"POST /classic/echo/ HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello")
        assert b'"body": "hello"' in client.read_response().body
        assert client.request(target="/classic/echo/next").status == 200


# HEAD, bodiless answers, interim answers, trailers.


@BOTH
def test_head_answers_have_no_body(gate: _Gate, tls: bool) -> None:
    """RFC 9110 9.3.2: the length is the upstream's; errors of the gateway have no body either."""
    with gate.connect(tls=tls) as client:
        assert client.request("HEAD", "/classic/echo/sized").headers["content-length"] == "12345"
        assert client.request("HEAD", "/classic/echo/unsized").status == 200
        assert client.request("HEAD", "/nowhere").status == 404
        assert client.request("HEAD", "/classic/closed/").status == 403
        assert client.request("HEAD", "/classic/down/").status == 500
        assert client.request("HEAD", "/classic//echo/").status == 301
        assert client.request(target="/classic/echo/in-step").status == 200


@BOTH
def test_answers_without_body(gate: _Gate, tls: bool) -> None:
    """RFC 9110 8.6: 204 has no length, 304 may name that of the 200."""
    with gate.connect(tls=tls) as client:
        response = client.request(target="/oas/echo/204")
        assert (response.status, response.headers["x-kind"]) == (204, "204")
        assert not {"content-length", "transfer-encoding"} & set(response.headers)
        response = client.request(target="/oas/echo/304")
        assert (response.status, response.headers["etag"]) == (304, '"1"')
        assert response.headers.get("content-length", "99") == "99"
        assert client.request(target="/oas/echo/in-step").status == 200


@BOTH
def test_interim_answers_reach_the_client(gate: _Gate, tls: bool) -> None:
    """RFC 9110 15.2: a proxy forwards 1xx, but not one that only concerns its own connection, and none to HTTP/1.0."""
    with gate.connect(tls=tls) as client:
        client.send(b"GET /classic/echo/hints HTTP/1.1\r\nHost: a.test\r\n\r\n")
        for _ in range(2):
            head = client.read_until(b"\r\n\r\n")
            assert head == b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
        assert client.read_response().status == 200
        client.send(b"GET /classic/echo/100 HTTP/1.1\r\nHost: a.test\r\n\r\n")
        assert client.read_until(b"\r\n").startswith(b"HTTP/1.1 200")
        client.read_until(b"}")
    with gate.connect(tls=tls) as client:
        client.send(b"GET /classic/echo/hints HTTP/1.0\r\n\r\n")
        assert client.read_until(b"\r\n").startswith(b"HTTP/1.1 200")


@BOTH
@EACH_FORM
def test_trailers_pass_both_ways(gate: _Gate, form: str, tls: bool) -> None:
    """API definitions reference 9.6: announced and unannounced ones; framing and credentials never (decisions 2.7)."""
    with gate.connect(tls=tls) as client:
        client.send(
            b"POST /%b/echo/trailers HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n\r\n"
            b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nAuthorization: Basic eA==\r\n\r\n" % form.encode()
        )
        response = client.read_response("POST")
        assert response.body == b"hello"
        assert response.trailers == {"x-announced": "1", "grpc-status": "0"}
        received = gate.upstream.requests[-1]
        assert received.trailers == (("X-Sum", "1"),)
        assert received.header("TE") == "trailers"
        assert client.request(target=f"/{form}/echo/in-step").status == 200


# Upgrades.


@BOTH
@EACH_FORM
def test_upgrades_and_plain_requests_share_an_api(gate: _Gate, form: str, tls: bool) -> None:
    """Field report B28: 20 rounds of an upgraded connection with 20 plain requests beside it, and again after it."""
    upgrade = b"GET /%b/sock/x HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n" % form.encode()
    with gate.connect(tls=tls) as plain:
        for number in range(20):
            with gate.connect(tls=tls) as upgraded:
                upgraded.send(upgrade)
                assert upgraded.read_response().status == 101
                for count in range(20):
                    response = plain.request(target=f"/{form}/sock/plain")
                    assert (response.status, response.body) == (200, b"plain")
                    message = b"%d-%d" % (number, count)
                    upgraded.send(message)
                    assert upgraded.read_exactly(len(message)) == message
            assert plain.request(target=f"/{form}/sock/plain").status == 200


@BOTH
def test_bytes_behind_an_upgrade_belong_to_the_new_protocol(gate: _Gate, tls: bool) -> None:
    """Decisions 2.3: sent at once or one by one, in order, and never read as a request."""
    hidden = b"GET /classic/echo/smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n"
    before = len(gate.upstream.requests)
    for step in (1, 7, 1000):
        with gate.connect(tls=tls) as client:
            raw = b"GET /classic/sock/ HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + hidden * 3
            for start in range(0, len(raw), step):
                client.send(raw[start : start + step])
            assert client.read_response().status == 101
            assert client.read_exactly(3 * len(hidden)) == hidden * 3
    assert len(gate.upstream.requests) == before


# Uploads.


@pytest.mark.parametrize("form", FORMS)
def test_chunked_upload_arrives_whole(gate: _Gate, form: str) -> None:
    """Chunks of any size through back-pressure: the upstream is slow at first, nothing is lost or changed."""
    sizes = random.Random(3)
    block = sizes.randbytes(70000)
    digest = hashlib.sha256()
    with gate.connect(timeout_s=30) as client:
        client.send(b"POST /%b/hash/ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n" % form.encode())
        sent = 0
        while sent < 8_000_000:
            piece = block[: sizes.choice((1, 2, 100, 4095, 16384, 16385, 70000))]
            digest.update(piece)
            client.send(b"%x;n=%d\r\n%b\r\n" % (len(piece), sent, piece))
            sent += len(piece)
        client.send(b"0\r\n\r\n")
        assert client.read_response("POST").body == digest.hexdigest().encode()


@BOTH
def test_tiny_chunks_are_cheap(gate: _Gate, tls: bool) -> None:
    """One-byte chunks are joined on their way: 100,000 of them take no more than two seconds, and the upstream reads the same body."""
    count = 100_000
    with gate.connect(tls=tls, timeout_s=30) as client:
        before = gate.gateway.cpu_s()
        client.send(
            b"POST /classic/echo/ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * count + b"0\r\n\r\n"
        )
        assert client.read_response("POST").status == 200
        assert gate.gateway.cpu_s() - before < 2.0
    assert gate.upstream.requests[-1].body == b"a" * count


@BOTH
@pytest.mark.parametrize("path", ["early/", "closed/", "nowhere"])
def test_early_answer_is_read_while_the_body_is_still_coming(gate: _Gate, path: str, tls: bool) -> None:
    """Decisions 2.8: the answer comes at once and whole; then the connection ends, without waiting for 50 MB."""
    status = {"early/": 401, "closed/": 403, "nowhere": 404}[path]
    with gate.connect(tls=tls) as client:
        client.send(b"POST /oas/%b HTTP/1.1\r\nHost: a.test\r\nContent-Length: 50000000\r\n\r\n" % path.encode() + b"x" * 100_000)
        response = client.read_response("POST")
        assert response.status == status
        assert response.headers["connection"] == "close"
        if status == 401:
            assert response.body == b"no way\n"
        assert client.recv() == b""


@BOTH
def test_small_rest_of_a_refused_body_is_read_away(gate: _Gate, tls: bool) -> None:
    """Decisions 2.8: a bounded rest does not cost the connection."""
    with gate.connect(tls=tls) as client:
        for _ in range(3):
            client.send(b"POST /classic/closed/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5000\r\n\r\n")
            response = client.read_response("POST")
            assert response.status == 403 and "connection" not in response.headers
            client.send(b"GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n".ljust(5000, b"x"))
        assert client.request(target="/classic/echo/in-step").status == 200


def test_upload_that_breaks_off_is_no_request(gate: _Gate) -> None:
    """A client that leaves in the middle of its body: the upstream sees a cut request, never a complete one."""
    before, still_open = len(gate.upstream.requests), gate.upstream.open_connections
    for framing, body in ((b"Content-Length: 10", b"hello"), (b"Transfer-Encoding: chunked", b"5\r\nhello\r\n")):
        with gate.connect() as client:
            client.send(b"POST /classic/echo/ HTTP/1.1\r\nHost: a.test\r\n%b\r\n\r\n%b" % (framing, body))
            time.sleep(0.1)
    assert wait_until(lambda: gate.upstream.open_connections <= still_open)
    assert len(gate.upstream.requests) == before


# The limit for bodies.


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, StrictUpstream]]:
    """A gateway with ``max_request_body_size``."""
    with (
        StrictUpstream() as upstream,
        running_gateway(
            tmp_path_factory.mktemp("limited"),
            *(define(form, form, upstream.port, f"/{form}/") for form in FORMS),
            http_server_options={"max_request_body_size": LIMIT},
        ) as gateway,
    ):
        yield gateway, upstream
        assert not upstream.violations


@EACH_FORM
@pytest.mark.parametrize("chunked", [False, True], ids=["sized", "chunked"])
@pytest.mark.parametrize("size", [0, LIMIT - 1, LIMIT, LIMIT + 1, 3 * LIMIT, 300 * LIMIT])
@pytest.mark.parametrize("at_once", [True, False], ids=["one write", "two writes"])
def test_bodies_over_the_limit_are_refused(
    limited: tuple[Gateway, StrictUpstream], form: str, chunked: bool, size: int, at_once: bool
) -> None:
    """Reference 11: equal size passes, one byte more is 413 in plain text, declared or counted."""
    gateway, upstream = limited
    before = len(upstream.requests)
    body = b"x" * size
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % size
    if chunked:
        body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[start : start + 500] for start in range(0, size, 500)))
        body += b"0\r\n\r\n"
    head = b"POST /%b/ HTTP/1.1\r\nHost: a.test\r\n%b\r\n\r\n" % (form.encode(), framing)
    with Client(gateway.port, tls=False) as client:
        if at_once:
            client.send(head + body)
        else:
            client.send(head + body[: len(body) // 2])
            client.send(body[len(body) // 2 :])
        response = client.read_response("POST")
        if size <= LIMIT:
            assert response.status == 200
            assert upstream.requests[-1].body == b"x" * size
            assert client.request(target=f"/{form}/").status == 200
            return
        assert response.status == 413
        assert response.body == b"Request Entity Too Large\n"
        assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert len(upstream.requests) == before


def test_declared_size_over_the_limit_is_refused_before_the_body(limited: tuple[Gateway, StrictUpstream]) -> None:
    """No invitation, no byte read."""
    gateway, _ = limited
    with Client(gateway.port, tls=False) as client:
        client.send(b"POST /oas/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1025\r\nExpect: 100-continue\r\n\r\n")
        assert client.read_response("POST").status == 413


@EACH_FORM
def test_upgrades_are_plain_requests_where_they_are_off(limited: tuple[Gateway, StrictUpstream], form: str) -> None:
    """Reference 10.3 and decisions 2.3: forwarded without ``Upgrade``, then the connection ends; what follows is never a request."""
    gateway, upstream = limited
    hidden = b"GET /%b/smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n" % form.encode()
    with Client(gateway.port, tls=False) as client:
        client.send(
            b"GET /%b/x HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n" % form.encode() + hidden
        )
        response = client.read_response()
        assert (response.status, response.headers["connection"]) == (200, "close")
        assert client.recv() == b""
    received = upstream.requests[-1]
    assert received.target == "/x"
    assert received.header("Upgrade") is None and received.header("Connection") is None


@BOTH
def test_connections_close_after_each_answer_when_configured(tmp_path: Path, tls: bool) -> None:
    """``close_connections``: every answer says so and the connection ends (reference 1.3)."""
    server = make_authority("servers").issue("localhost", names=["localhost"])
    with (
        StrictUpstream() as upstream,
        running_gateway(tmp_path, define("oas", "a", upstream.port), server=server if tls else None, close_connections=True) as gateway,
    ):
        for target in ("/x", "//x"):
            with Client(gateway.port, tls=tls, sni="a.test" if tls else None) as client:
                response = client.request(target=target)
                assert response.headers["connection"] == "close"
                assert client.recv() == b""
