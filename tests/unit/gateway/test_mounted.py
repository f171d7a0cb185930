"""A mounted resource from the request's bytes to the answer's: bodies, traversal, methods, failures, time."""

from __future__ import annotations

import gzip
import tempfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import capturedLogs
from twisted.web.error import UnsupportedMethod
from twisted.web.resource import EncodingResourceWrapper, Resource
from twisted.web.server import NOT_DONE_YET, GzipEncoderFactory
from twisted.web.static import Data, File
from twisted.web.wsgi import WSGIResource

from tests.support.memory_channel import MemoryConnection, parse_answer
from tlsgate.config.model import GatewayConfig, HttpServerOptions
from tlsgate.errors import Refusal
from tlsgate.gateway.request import GateRequest

LIMIT = 10 * 1024 * 1024


class Echo(Resource):
    """Answers with the body and tells how it was kept."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.contents: list[Any] = []

    def render_POST(self, request: GateRequest) -> bytes:
        """Echo."""
        self.contents.append(request.content)
        request.setHeader(b"x-length", request.getHeader(b"content-length") or b"none")
        request.setHeader(b"x-kept", b"memory" if isinstance(request.content, BytesIO) else b"file")
        return request.content.read()


def post(body: bytes, *lines: bytes) -> bytes:
    """A request with a length."""
    extra = b"".join(line + b"\r\n" for line in lines)
    return b"POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: %d\r\n%b\r\n%b" % (len(body), extra, body)


def chunked(*pieces: bytes) -> bytes:
    """A chunked request."""
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (*pieces, b""))
    return b"POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n" + body


def limited(size: int) -> GatewayConfig:
    """A configuration with a limit on bodies."""
    return GatewayConfig(http=HttpServerOptions(max_request_body_size=size))


# Bodies.


@pytest.mark.parametrize("size", [1, 99_999, 100_000, 100_001, 300_000])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_body_is_complete_before_the_resource_is_asked(size: int, framing: str) -> None:
    """Below 100,000 bytes in memory, else in a file; a chunked one gets its length."""
    echo = Echo()
    connection = MemoryConnection(echo)
    body = bytes(range(256)) * (size // 256 + 1)
    body = body[:size]
    raw = post(body) if framing == "length" else chunked(*[body[at : at + 8000] for at in range(0, size, 8000)])
    for at in range(0, len(raw), 60_000):
        assert connection.transport.value() == b""
        connection.send(raw[at : at + 60_000])
    connection.settle()
    answer = parse_answer(connection.transport.value())
    assert answer.body == body
    assert answer.header(b"x-length") == b"%d" % size
    assert answer.header(b"x-kept") == (b"memory" if size < 100_000 else b"file")
    assert echo.contents[0].closed


def test_a_request_without_a_body() -> None:
    """No length for a GET; an empty one where the client sent it."""

    class Lengths(Resource):
        isLeaf = True

        def render_GET(self, request: GateRequest) -> bytes:
            return repr((request.getHeader(b"content-length"), request.content.read())).encode()

    connection = MemoryConnection(Lengths())
    assert connection.get().body == b"(None, b'')"
    assert connection.get(b"/", b"Content-Length: 0").body == b"(b'0', b'')"
    assert connection.ask(b"GET / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").body == b"(b'0', b'')"


@pytest.mark.parametrize(
    ("size", "limit", "fits"), [(99, 100, True), (100, 100, True), (101, 100, False), (LIMIT, 0, True), (LIMIT + 1, 0, False)]
)
def test_a_declared_length_over_the_limit_is_refused_at_once(size: int, limit: int, fits: bool) -> None:
    """10 MiB where nothing is configured; no byte of the body is waited for."""
    connection = MemoryConnection(Echo(), config=limited(limit))
    connection.send(post(b"")[:-4].replace(b"Content-Length: 0", b"Content-Length: %d" % size) + b"\r\n\r\n")
    connection.settle()
    if fits:
        assert connection.transport.value() == b""
        return
    answer = parse_answer(connection.transport.value())
    assert (answer.status, answer.body, answer.header(b"connection")) == (413, b"Request Entity Too Large\n", b"close")
    assert connection.ended == connection.requests


@pytest.mark.parametrize(
    ("sizes", "fits"), [((50, 49), True), ((50, 50), True), ((50, 51), False), ((101,), False), ((50, 51, 5000), False)]
)
@pytest.mark.parametrize("arrival", ["at once", "byte by byte", "in one turn"])
def test_a_chunked_body_over_the_limit_is_refused_when_it_gets_there(sizes: tuple[int, ...], fits: bool, arrival: str) -> None:
    """The client can read the answer, then the connection closes."""
    connection = MemoryConnection(Echo(), config=limited(100))
    raw = chunked(*[b"x" * size for size in sizes])
    if arrival == "at once":
        connection.send(raw)
    for at in range(len(raw) if arrival != "at once" else 0):
        connection.send(raw[at : at + 1])
        if arrival == "byte by byte":
            connection.settle()
    connection.settle()
    answer = parse_answer(connection.transport.value())
    assert answer.status == (200 if fits else 413)
    assert len(connection.ended) == 1
    assert answer.header(b"connection") == (None if fits else b"close")
    assert (connection.transport.half_closed or connection.transport.disconnecting) != fits


def test_a_client_that_waits_is_invited() -> None:
    """100 Continue, then the body; not before the length is known to fit."""
    connection = MemoryConnection(Echo(), config=limited(100))
    connection.send(post(b"x" * 5, b"Expect: 100-continue")[:-5])
    assert connection.transport.value() == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.transport.clear()
    connection.send(b"12345")
    connection.settle()
    assert parse_answer(connection.transport.value()).body == b"12345"
    connection.transport.clear()
    connection.send(post(b"x" * 101, b"Expect: 100-continue")[:-101])
    assert parse_answer(connection.transport.value()).status == 413


def test_a_client_that_goes_in_the_middle_of_the_body() -> None:
    """The file is closed, the resource never asked."""
    echo = Echo()
    connection = MemoryConnection(echo)
    connection.send(post(b"x" * 200_000)[:150_000])
    connection.leave()
    assert echo.contents == []
    assert [request.refusal for request in connection.ended] == ["client.gone"]


def test_a_client_that_goes_right_after_the_body() -> None:
    """The turn in between finds nobody."""
    echo = Echo()
    connection = MemoryConnection(echo)
    connection.send(post(b"12345")[:-1])
    connection.send(b"5")
    connection.leave()
    assert echo.contents == []
    assert [request.refusal for request in connection.ended] == ["client.gone"]


def test_a_body_that_stalls_is_refused() -> None:
    """The channel's time-out comes through the sink."""
    connection = MemoryConnection(Echo())
    connection.send(post(b"x" * 5)[:-1])
    for _ in range(10):
        connection.turn(2.0)
    answer = parse_answer(connection.transport.value())
    assert (answer.status, answer.header(b"connection")) == (408, b"close")


def test_a_full_disk_is_a_500(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logged; no part of a body reaches the resource."""

    def full() -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    connection = MemoryConnection(Echo())
    with capturedLogs() as logs:
        answer = connection.ask(post(b"x" * 100_000))
    assert answer.status == 500
    assert [event for event in logs if event.get("event") == "body.spool"]


def test_requests_follow_each_other() -> None:
    """Keep-alive through bodies of each kind, pipelined too."""
    connection = MemoryConnection(Echo())
    for _ in range(2):
        assert connection.ask(post(b"one")).body == b"one"
        assert connection.ask(chunked(b"tw", b"o")).body == b"two"
    connection.transport.clear()
    connection.send(post(b"a") + chunked(b"b") + post(b"c"))
    connection.settle()
    data, bodies = connection.transport.value(), []
    while data:
        answer = parse_answer(data)
        bodies.append(answer.body)
        data = answer.rest
    assert bodies == [b"a", b"b", b"c"]
    assert not connection.transport.disconnecting


# Traversal and methods.


class Tree(Resource):
    """Answers with its place."""

    def getChild(self, path: bytes, request: Any) -> Resource:
        """Each path leads deeper."""
        return Tree()

    def render_GET(self, request: GateRequest) -> bytes:
        """The place."""
        return b"%b of %b" % (request.prePathURL(), request.sitepath[0])


def test_children_are_found_below_the_listen_path() -> None:
    """Segments below it lead through the tree."""
    connection = MemoryConnection(Tree(), listen_path=b"/app/")
    assert connection.get(b"/app/").body == b"https://app.test/app/ of app"
    assert connection.get(b"/app/a%20b/c").body == b"https://app.test/app/a%20b/c of app"
    assert connection.leaf.getResourceFor(connection.requests[0]) is connection.leaf.resource


def test_head_is_answered_without_a_body() -> None:
    """Whether the resource knows HEAD or not."""

    class OnlyGet(Resource):
        isLeaf = True

        def render(self, request: GateRequest) -> Any:
            if request.method != b"GET":
                raise UnsupportedMethod([b"GET"])
            if request.args:
                request.write(b"x" * 70_000)
                request.finish()
                return NOT_DONE_YET
            return b"12345"

    for resource in (OnlyGet(), Data(b"12345", "text/plain")):
        answer = MemoryConnection(resource, listen_path=b"/data").get(b"/data", method=b"HEAD")
        assert (answer.status, answer.header(b"content-length"), answer.rest) == (200, b"5", b"")
    connection = MemoryConnection(OnlyGet())
    answer = connection.get(b"/?stream=1", method=b"HEAD")
    assert (answer.status, answer.rest, answer.header(b"transfer-encoding")) == (200, b"", None)
    assert connection.get(b"/").body == b"12345"


def test_methods_that_the_resource_does_not_know() -> None:
    """405 with Allow for usual ones, 501 for others."""
    connection = MemoryConnection(Echo())
    answer = connection.get(b"/", method=b"DELETE")
    assert (answer.status, answer.header(b"allow")) == (405, b"HEAD, POST")
    assert connection.get(b"/", method=b"PURGE").status == 501


def test_an_answer_that_is_no_body_is_a_500() -> None:
    """render returns bytes or NOT_DONE_YET."""

    class Text(Resource):
        isLeaf = True

        def render_GET(self, request: GateRequest) -> str:
            return "text"

    connection = MemoryConnection(Text())
    assert connection.get().status == 500
    assert "returned str" in connection.ended[0].detail


# Failures.


@pytest.mark.parametrize("where", ["child", "render"])
def test_exceptions_are_opaque(where: str) -> None:
    """The log has them, the client has a 500, and the connection lives on."""

    class Broken(Resource):
        def getChild(self, path: bytes, request: Any) -> Any:
            if path == b"child":
                raise ValueError("secret")
            return self

        def render_GET(self, request: GateRequest) -> bytes:
            raise ValueError("secret")

    connection = MemoryConnection(Broken())
    with capturedLogs() as logs:
        answer = connection.get(b"/" + where.encode())
    assert (answer.status, b"secret" in answer.body, answer.header(b"connection")) == (500, False, None)
    assert [event for event in logs if event.get("event") == "mounted.error"]
    assert connection.ended[0].refusal == "internal"


def test_a_resource_may_refuse() -> None:
    """With an entry of the catalogue."""

    class Refusing(Resource):
        isLeaf = True

        def render_GET(self, request: GateRequest) -> bytes:
            raise Refusal("endpoint.forbidden")

    answer = MemoryConnection(Refusing()).get()
    assert (answer.status, b"Requested endpoint is forbidden" in answer.body) == (403, True)


def test_a_form_that_is_too_large_is_refused() -> None:
    """When the resource asks for its fields."""

    class Form(Resource):
        isLeaf = True

        def render_POST(self, request: GateRequest) -> bytes:
            return request.args[b"a"][0]

    connection = MemoryConnection(Form())
    kind = b"Content-Type: application/x-www-form-urlencoded"
    assert connection.ask(post(b"a=%41b", kind)).body == b"Ab"
    assert connection.ask(post(b"a=1&" * 1001, kind)).status == 413


@pytest.mark.parametrize("begun", [False, True])
def test_a_resource_that_takes_too_long(begun: bool) -> None:
    """The API's time limit: 504, or the answer breaks off."""

    class Hanging(Resource):
        isLeaf = True

        def render_GET(self, request: GateRequest) -> int:
            if begun:
                request.write(b"part")
            return NOT_DONE_YET

    connection = MemoryConnection(Hanging(), timeout_of=lambda request: 5.0)
    connection.send(b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")
    connection.turn(4.9)
    assert connection.ended == []
    connection.turn(0.2)
    answer = parse_answer(connection.transport.value())
    assert (answer.status, answer.complete) == ((200, False) if begun else (504, True))
    assert connection.ended[0].refusal == "upstream.timeout"


def test_a_time_limit_leaves_nothing_behind() -> None:
    """Its timer ends with the request; 0 is no limit."""
    for limit in (5.0, 0.0):
        connection = MemoryConnection(Data(b"x", "text/plain"), listen_path=b"/data", timeout_of=lambda request, limit=limit: limit)
        assert connection.get(b"/data").body == b"x"
        assert all(call.getTime() < 1.0 for call in connection.reactor.getDelayedCalls())


@pytest.mark.parametrize("finishes", [False, True])
@pytest.mark.parametrize("raw", [b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n", post(b"late")])
def test_a_client_that_goes_while_the_resource_is_at_work(raw: bytes, finishes: bool) -> None:
    """A failing write can end the connection from within render."""

    class Leaving(Resource):
        isLeaf = True
        told: list[Any] = []

        def render(self, request: GateRequest) -> Any:
            request.notifyFinish().addErrback(self.told.append)
            connection.leave()
            return b"nobody" if finishes else NOT_DONE_YET

    resource = Leaving()
    connection = MemoryConnection(resource)
    connection.send(raw[:-1])
    connection.send(raw[-1:])
    connection.settle()
    assert len(resource.told) == 1
    assert [(request.refusal, request.status) for request in connection.ended] == [("client.gone", 499)]


# Twisted's own resources.


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Some files."""
    (tmp_path / "small.txt").write_bytes(b"0123456789")
    (tmp_path / "large.bin").write_bytes(bytes(range(256)) * 1000)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "index.html").write_text("<p>index</p>")
    return tmp_path


def test_static_files(folder: Path) -> None:
    """static.File: pull producers, ranges, dates, directories."""
    connection = MemoryConnection(File(str(folder)), listen_path=b"/files/")
    answer = connection.get(b"/files/small.txt")
    assert (answer.status, answer.body, answer.header(b"content-type")) == (200, b"0123456789", b"text/plain")
    modified = answer.header(b"last-modified")
    assert modified is not None
    assert connection.get(b"/files/large.bin").body == bytes(range(256)) * 1000
    answer = connection.get(b"/files/small.txt", b"Range: bytes=2-4")
    assert (answer.status, answer.body, answer.header(b"content-range")) == (206, b"234", b"bytes 2-4/10")
    answer = connection.get(b"/files/small.txt", b"Range: bytes=0-1,8-9")
    assert answer.status == 206
    assert b"\r\n01\r\n" in answer.body
    assert connection.get(b"/files/small.txt", b"Range: bytes=20-30").status == 416
    answer = connection.get(b"/files/small.txt", b"If-Modified-Since: " + modified)
    assert (answer.status, answer.header(b"content-length"), answer.rest) == (304, None, b"")
    answer = connection.get(b"/files/small.txt", method=b"HEAD")
    assert (answer.status, answer.header(b"content-length"), answer.rest) == (200, b"10", b"")
    answer = connection.get(b"/files/sub")
    assert answer.status == 302
    assert str(answer.header(b"location")).endswith("/files/sub/'")
    assert connection.get(b"/files/sub/").body == b"<p>index</p>"
    assert connection.get(b"/files/nothing").status == 404
    assert connection.get(b"/files/..%2Fsecret").status == 404
    assert not connection.transport.disconnecting


def test_a_large_file_follows_a_slow_client(folder: Path) -> None:
    """No more than the queue holds is read from the disk."""
    connection = MemoryConnection(File(str(folder)))
    write = connection.transport.write

    def write_slowly(data: bytes) -> None:
        write(data)
        if len(connection.transport.value()) > 70_000 and not connection.transport.queued_bytes:
            connection.transport.slow()

    connection.transport.write = write_slowly  # type: ignore[method-assign]
    connection.send(b"GET /large.bin HTTP/1.1\r\nHost: app.test\r\n\r\n")
    connection.settle()
    assert len(connection.transport.value()) < 140_000
    while connection.transport.queued_bytes:
        connection.transport.clear()
        connection.transport.fast()
        connection.settle()
    assert connection.ended == connection.requests


def test_a_client_that_goes_closes_the_file(folder: Path) -> None:
    """The producer is stopped."""
    opened: list[Any] = []

    class Watched(File):
        def openForReading(self) -> Any:
            opened.append(super().openForReading())
            return opened[-1]

    connection = MemoryConnection(Watched(str(folder)))
    connection.send(b"GET /large.bin HTTP/1.1\r\nHost: app.test\r\n\r\n")
    connection.leave()
    assert opened[0].closed


def test_compressed_answers() -> None:
    """resource.EncodingResourceWrapper, for whole and for streamed answers; not for a HEAD."""

    class Streaming(Resource):
        isLeaf = True

        def render_GET(self, request: GateRequest) -> int:
            request.setHeader(b"content-length", b"7")
            request.write(b"abc")
            connection.reactor.callLater(0, self.end, request)
            return NOT_DONE_YET

        def end(self, request: GateRequest) -> None:
            request.write(b"defg")
            request.finish()

    for resource, body in ((Data(b"12345" * 100, "text/plain"), b"12345" * 100), (Streaming(), b"abcdefg")):
        connection = MemoryConnection(EncodingResourceWrapper(resource, [GzipEncoderFactory()]), listen_path=b"/data")
        answer = connection.get(b"/data", b"Accept-Encoding: gzip")
        assert answer.header(b"content-encoding") == b"gzip"
        assert gzip.decompress(answer.body) == body
        assert connection.get(b"/data").body == body
        answer = connection.get(b"/data", b"Accept-Encoding: gzip", method=b"HEAD")
        assert (answer.header(b"content-length"), answer.rest) == (None, b"")


class NowReactor:
    """Runs what threads ask for at once: a WSGI application in one thread with the test."""

    def callFromThread(self, function: Any, *arguments: Any) -> None:
        """Call it."""
        function(*arguments)


class LaterPool:
    """A pool without threads: the application runs in a turn of its own."""

    connection: MemoryConnection

    def callInThread(self, function: Any) -> None:
        """Call it soon."""
        self.connection.reactor.callLater(0, function)


def serve(application: Any, **options: Any) -> MemoryConnection:
    """A WSGI application behind the gateway."""
    pool = LaterPool()
    pool.connection = MemoryConnection(WSGIResource(NowReactor(), pool, application), **options)
    return pool.connection


def test_wsgi_applications() -> None:
    """The environment is that of the gateway's connection; a list of one piece has a length."""

    def application(environ: Any, start_response: Any) -> Any:
        start_response(
            "201 Created", [("Content-Type", "text/plain"), ("Connection", "close"), ("Set-Cookie", "a=b"), ("Set-Cookie", "c=d")]
        )
        names = (
            "REQUEST_METHOD",
            "SCRIPT_NAME",
            "PATH_INFO",
            "QUERY_STRING",
            "REMOTE_ADDR",
            "SERVER_NAME",
            "SERVER_PORT",
            "SERVER_PROTOCOL",
        )
        values = [environ[name] for name in (*names, "CONTENT_LENGTH", "wsgi.url_scheme", "HTTP_X_A")]
        return ["|".join([*values, str("HTTP_X_SSL_CLIENT_DN" in environ)]).encode(), b"|" + environ["wsgi.input"].read()]

    connection = serve(application, listen_path=b"/app/")
    answer = connection.ask(
        b"POST /app/x%2Fy?q=1 HTTP/1.1\r\nHost: app.test:8443\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\nX_SSL_Client_DN: CN=admin\r\n\r\n"
        b"3\r\nabc\r\n0\r\n\r\n"
    )
    assert answer.status == 201
    assert answer.body == b"POST|/app|/x/y|q=1|192.0.2.7|app.test|12345|HTTP/1.1|3|https|1|False|abc"
    assert answer.header(b"content-length") == b"%d" % len(answer.body)
    assert [value for name, value in answer.headers if name == b"set-cookie"] == [b"a=b", b"c=d"]
    assert answer.header(b"connection") is None
    assert not connection.transport.disconnecting


def test_a_wsgi_application_that_fails() -> None:
    """Before its answer a 500, within it the connection breaks off."""

    def early(environ: Any, start_response: Any) -> Any:
        raise ValueError("secret")

    def late(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Length", "10")])
        yield b"part"
        connection.turn()
        raise ValueError("secret")

    with capturedLogs():
        assert serve(early).get().status == 500
        connection = serve(late)
        answer = connection.get()
    assert (answer.status, answer.complete, connection.transport.truncated) == (200, False, True)


def test_a_wsgi_application_hears_that_the_client_has_gone() -> None:
    """It is not asked for more."""
    asked: list[int] = []

    def endless(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        for number in range(5):
            asked.append(number)
            yield b"x"
            connection.leave()

    connection = serve(endless)
    connection.send(b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")
    connection.settle()
    assert asked == [0, 1]
    assert connection.ended == connection.requests
