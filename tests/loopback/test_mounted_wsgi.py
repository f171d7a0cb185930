"""Resources in the gateway's own process behind mutual TLS: a real gateway, the example, a WSGI application, files."""

from __future__ import annotations

import json
import socket
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.certs import CLIENT, SERVER, Issued, make_authority
from tests.support.gateway import Client, Gateway, HandshakeRefused, classic, running_gateway, wait_until

EXAMPLES = Path(__file__).parents[2] / "examples"
LARGE = 24 * 1024 * 1024

APPLICATION = """
import json, time
from twisted.internet import reactor
from twisted.web.static import File
from twisted.web.wsgi import WSGIResource

def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/fail":
        raise ValueError("secret")
    start_response("200 OK", [("Content-Type", "application/json")])
    if path == "/stream":
        return (b"%d\\n" % number for number in range(1000))
    if path == "/endless":
        return endless()
    body = environ["wsgi.input"].read()
    names = ("REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "CONTENT_LENGTH", "wsgi.url_scheme", "REMOTE_ADDR")
    answer = {name: environ[name] for name in names}
    return [json.dumps({**answer, "size": len(body), "sum": sum(body)}).encode()]

def endless():
    while True:
        time.sleep(0.01)
        yield b"x" * 1000

def wsgi():
    return WSGIResource(reactor, reactor.getThreadPool(), application)

def files():
    return File("files")
"""


@pytest.fixture(scope="module")
def client() -> Issued:
    """Whose certificate is listed."""
    return make_authority("Clients").issue("alice", usages=CLIENT)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, client: Issued) -> Iterator[Gateway]:
    """The example and two more resources, each behind the same certificate."""
    folder = tmp_path_factory.mktemp("mounted")
    (folder / "mounted_here.py").write_text(textwrap.dedent(APPLICATION))
    (folder / "files").mkdir()
    (folder / "files" / "large.bin").write_bytes(bytes(range(256)) * (LARGE // 256))
    (folder / "client.pem").write_text(client.pem)
    strict = {"use_mutual_tls_auth": True, "client_certificates": [str(folder / "client.pem")]}
    names = {"example": "wsgi_behind_mtls:resource", "app": "mounted_here:wsgi", "files": "mounted_here:files"}
    apis = [
        classic(name, "http://mounted.invalid/", f"/{name}/", **strict, **{"x-tlsgate": {"resource": path}}) for name, path in names.items()
    ]
    server = make_authority("Server CA").issue("gateway", usages=SERVER, names=["localhost"])
    environ = {"PYTHONPATH": f"{EXAMPLES}:{folder}"}
    own = {"resources": ["wsgi_behind_mtls", "mounted_here"]}
    with running_gateway(folder, *apis, server=server, environ=environ, tlsgate=own) as running:
        yield running


@pytest.mark.parametrize("version", [771, 772])
def test_the_example_names_the_certificate(gateway: Gateway, client: Issued, version: int) -> None:
    """The one that the connection proved, whatever the client writes into headers."""
    lie = [("SSL-Client-Subject", "CN=root"), ("Ssl_Client_Fingerprint", "00"), ("X-SSL-Client-Subject", "CN=root")]
    with Client(gateway.port, sni="localhost", identity=client, version=version) as connection:
        for headers in ([], lie):
            answer = connection.request("GET", "/example/", headers=headers)
            assert answer.status == 200
            assert answer.body.decode() == f"CN=alice {client.fingerprint}\n"


def test_no_other_certificate_gets_there(gateway: Gateway) -> None:
    """All APIs of the name demand a listed one, so the handshake refuses."""
    stranger = make_authority("Clients").issue("alice", usages=CLIENT)
    for identity in (None, stranger):
        with pytest.raises(HandshakeRefused):
            Client(gateway.port, sni="localhost", identity=identity)


@pytest.mark.parametrize("size", [0, 1, 99_999, 100_000, 3_000_000])
def test_bodies_arrive_whole(gateway: Gateway, client: Issued, size: int) -> None:
    """Whatever their size, on one connection with what follows."""
    body = (bytes(range(256)) * (size // 256 + 1))[:size]
    with Client(gateway.port, sni="localhost", identity=client) as connection:
        for _ in range(2):
            answer = json.loads(connection.request("POST", "/app/x%2Fy?a=1", body=body).body)
            assert answer == {
                "REQUEST_METHOD": "POST",
                "SCRIPT_NAME": "/app",
                "PATH_INFO": "/x/y",
                "QUERY_STRING": "a=1",
                "CONTENT_LENGTH": str(size),
                "wsgi.url_scheme": "https",
                "REMOTE_ADDR": "127.0.0.1",
                "size": size,
                "sum": sum(body),
            }


def test_too_large_a_body_is_refused_readably(gateway: Gateway, client: Issued) -> None:
    """Before it is sent, and in the middle of a chunked one."""
    with Client(gateway.port, sni="localhost", identity=client) as connection:
        connection.send(b"POST /app/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10485761\r\n\r\n")
        assert connection.read_response().status == 413
    with Client(gateway.port, sni="localhost", identity=client) as connection:
        connection.send(b"POST /app/ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        piece = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        for _ in range(161):
            connection.send(piece)
        assert connection.read_response().status == 413


def test_a_generator_is_streamed(gateway: Gateway, client: Issued) -> None:
    """Chunked, in order, on a connection that lives on."""
    with Client(gateway.port, sni="localhost", identity=client) as connection:
        answer = connection.request("GET", "/app/stream")
        assert answer.headers["transfer-encoding"] == "chunked"
        assert answer.body == b"".join(b"%d\n" % number for number in range(1000))
        assert connection.request("HEAD", "/app/stream").body == b""
        assert connection.request("GET", "/app/").status == 200


def test_a_failing_application_is_a_500(gateway: Gateway, client: Issued) -> None:
    """Its error is in the log only."""
    mark = len(gateway.lines)
    with Client(gateway.port, sni="localhost", identity=client) as connection:
        answer = connection.request("GET", "/app/fail")
    assert answer.status == 500
    assert b"secret" not in answer.body
    assert wait_until(lambda: any("secret" in line for line in gateway.lines[mark:]))
    # Expected here; whoever stops the gateway looks for unexpected ones.
    gateway.lines[mark:] = [line for line in gateway.lines[mark:] if "secret" not in line]


def test_files_follow_a_slow_client(gateway: Gateway, client: Issued) -> None:
    """24 MiB to a client that does not read yet: they stay on the disk."""
    before = gateway.rss_kib()
    with Client(gateway.port, sni="localhost", identity=client) as connection:
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.send(b"GET /files/large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n")
        connection.read_until(b"\r\n")
        wait_until(lambda: False, 1.0)
        assert gateway.rss_kib() - before < 12 * 1024
        head = connection.read_until(b"\r\n\r\n")
        assert f"content-length: {LARGE}".encode() in head.lower()
        assert connection.read_exactly(LARGE) == bytes(range(256)) * (LARGE // 256)
        assert connection.request("GET", "/files/nothing").status == 404


def test_nothing_is_left_of_clients_that_go(gateway: Gateway, client: Issued) -> None:
    """In the middle of a body, of a stream, of a file: files, threads and connections come back."""
    with Client(gateway.port, sni="localhost", identity=client) as connection:
        assert connection.request("GET", "/app/").status == 200
    wait_until(lambda: False, 0.3)
    before = gateway.open_files()
    for _ in range(15):
        for start in (
            b"POST /app/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300000\r\n\r\n" + b"x" * 200_000,
            b"GET /app/endless HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"GET /files/large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n",
        ):
            with Client(gateway.port, sni="localhost", identity=client) as connection:
                connection.send(start)
                if start.startswith(b"GET"):
                    connection.read_exactly(2000)
    assert wait_until(lambda: gateway.open_files() <= before, 10.0), (before, gateway.open_files())
    with Client(gateway.port, sni="localhost", identity=client) as connection:
        assert connection.request("GET", "/app/").status == 200, "all threads of the pool are free again"
