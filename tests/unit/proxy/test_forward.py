"""Tests of :mod:`tlsgate.proxy.forward`: a real gateway in memory between a client's bytes and a strict upstream (reference, 9 to 11)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.logger import LogEvent, globalLogPublisher
from twisted.python.failure import Failure

from tests.support.gateway import Received, classic
from tests.support.memory_channel import Answer, MemoryTransport, parse_answer
from tests.support.memory_gateway import MemoryGateway
from tests.support.memory_world import END, MemoryUpstream
from tlsgate.errors import UpstreamError
from tlsgate.gateway.channel import HttpChannel
from tlsgate.proxy.connection import UpstreamConnection
from tlsgate.proxy.upstreams import ProxiedTarget, parse_target_url

OK = [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"]
HEAD = b"HTTP/1.1 200 OK\r\n"
UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Accept: x\r\n\r\n"


class World:
    """One API before one upstream.

    :param api: fields of the Classic definition; ``target`` is its target URL.
    :param config: fields of the configuration.
    """

    def __init__(
        self,
        respond: Callable[[Received], Iterable[bytes]] | list[bytes] = OK,
        *,
        path: str = "/",
        target: str = "http://up.test",
        config: dict[str, Any] | None = None,
        **api: Any,
    ) -> None:
        self.gateway = MemoryGateway(classic("api", target, path, **api), **(config or {}))
        self.upstream = MemoryUpstream(self.gateway, (lambda received: respond) if isinstance(respond, list) else respond)
        self.opened: list[float] = []
        open_one = self.gateway.pool.open

        async def note(destination: Any, timeout_s: float) -> UpstreamConnection:
            self.opened.append(timeout_s)
            return await open_one(destination, timeout_s)

        self.gateway.pool.open = note  # type: ignore[method-assign]
        self.channel: HttpChannel
        self.transport: MemoryTransport
        self.channel, self.transport = self.gateway.connect()

    def settle(self) -> None:
        """Run what is due until nothing is."""
        reactor = self.gateway.reactor
        while (calls := reactor.getDelayedCalls()) and min(call.getTime() for call in calls) <= reactor.seconds():
            reactor.advance(0)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        for _ in range(int(seconds * 4)):
            self.gateway.reactor.advance(0.25)

    def send(self, data: bytes) -> None:
        """Bytes from the client."""
        self.transport.clear()
        self.channel.dataReceived(data)
        self.settle()

    def ask(self, line: bytes = b"GET / HTTP/1.1", *fields: bytes, body: bytes = b"", host: bytes = b"app.test") -> Answer:
        """Send a request and read the answer."""
        self.send(line + b"\r\nHost: " + host + b"".join(b"\r\n" + field for field in fields) + b"\r\n\r\n" + body)
        return parse_answer(self.transport.value(), is_head=line.startswith(b"HEAD"))

    @property
    def seen(self) -> Received:
        """The last request that the upstream read."""
        return self.upstream.requests[-1]


def header(received: Received, name: str) -> str | None:
    return received.header(name)


@pytest.fixture
def events() -> Any:
    found: list[LogEvent] = []
    globalLogPublisher.addObserver(found.append)
    yield found
    globalLogPublisher.removeObserver(found.append)


# The way up.


@pytest.mark.parametrize(
    ("path", "target", "asked", "expected"),
    [
        ("/", "http://up.test", "/a/b?x=1", "/a/b?x=1"),
        ("/app/", "http://up.test", "/app/b?x", "/b?x"),
        ("/app/", "http://up.test/base/", "/app/", "/base"),
        ("/app", "http://up.test/base?k=v", "/app/b?x=1", "/base/b?k=v&x=1"),
        ("/app", "http://up.test/base?k=v", "/app/b?", "/base/b?k=v"),
        ("/app", "http://up.test?k=v", "/app", "/?k=v"),
        ("/app/", "http://up.test", "/app/b%2Fc%20d", "/b%2Fc%20d"),
        ("/app/", "http://up.test", "/%61pp/b", "/b"),
        ("/app/", "http://up.test", "/api/b", "/b"),
        ("/app/", "http://up.test", "/app/?", "/?"),
    ],
)
def test_the_target(path: str, target: str, asked: str, expected: str) -> None:
    """Reference, sections 9.1 and 9.2; the alias goes by its own name and never goes up (decisions 2.15)."""
    world = World(path=path, target=target)
    assert world.ask(f"GET {asked} HTTP/1.1".encode()).status == 200
    assert world.seen.target == expected


def test_the_listen_path_stays_where_it_is_not_to_be_stripped() -> None:
    """``strip_listen_path: false``."""
    world = World(path="/app/", proxy={"strip_listen_path": False})
    world.ask(b"GET /app/x HTTP/1.1")
    assert world.seen.target == "/app/x"


def test_headers_for_the_upstream() -> None:
    """Reference, sections 9.3 to 9.5."""
    world = World(target="http://up.test:81")
    world.ask(b"GET / HTTP/1.1", b"X-A: 1", b"Connection: X-Hop", b"X-Hop: 1", b"Proxy-Authorization: x", b"X-Forwarded-For: 1.1.1.1")
    assert world.seen.headers == [
        ("Host", "up.test:81"),
        ("X-A", "1"),
        ("User-Agent", next(value for name, value in world.seen.headers if name == "User-Agent")),
        ("X-Forwarded-For", "1.1.1.1, 192.0.2.7"),
    ]
    preserving = World(proxy={"preserve_host_header": True})
    preserving.ask(host=b"Client.test:8443")
    assert header(preserving.seen, "host") == "Client.test:8443"


@pytest.mark.parametrize(
    ("line", "fields", "body", "length", "chunked"),
    [
        (b"GET / HTTP/1.1", [], b"", None, False),
        (b"DELETE / HTTP/1.1", [], b"", None, False),
        (b"GET / HTTP/1.1", [b"Content-Length: 0"], b"", "0", False),
        (b"POST / HTTP/1.1", [], b"", "0", False),
        (b"PATCH / HTTP/1.1", [], b"", "0", False),
        (b"POST / HTTP/1.1", [b"Content-Length: 3"], b"abc", "3", False),
        (b"GET / HTTP/1.1", [b"Content-Length: 3"], b"abc", "3", False),
        (b"POST / HTTP/1.1", [b"Transfer-Encoding: chunked"], b"3\r\nabc\r\n0\r\n\r\n", None, True),
    ],
)
def test_the_framing_is_our_own(line: bytes, fields: list[bytes], body: bytes, length: str | None, chunked: bool) -> None:
    """RFC 9110 section 8.6: a length where a body is expected, chunks where there is none, never both."""
    world = World()
    assert world.ask(line, *fields, body=body).status == 200
    assert header(world.seen, "content-length") == length
    assert header(world.seen, "transfer-encoding") == ("chunked" if chunked else None)
    assert world.seen.body == (b"abc" if body else b"")


def test_a_body_that_is_invited_goes_up() -> None:
    """``Expect: 100-continue`` is answered when the upstream is there; Expect itself stays here."""
    world = World()
    world.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
    assert world.transport.value() == b"HTTP/1.1 100 Continue\r\n\r\n"
    world.send(b"abc")
    assert parse_answer(world.transport.value()).status == 200
    assert world.seen.body == b"abc"


def test_without_keep_alive_the_upstream_is_told() -> None:
    """``proxy_close_connections``."""
    world = World(config={"proxy_close_connections": True})
    world.ask()
    assert header(world.seen, "connection") == "close"


def test_header_operations_are_applied_and_checked() -> None:
    """Reference, section 12.4."""
    world = World(version={"global_headers": {"X-Set": "here"}, "global_headers_remove": ["X-Gone", "X-Forwarded-For"]})
    world.ask(b"GET / HTTP/1.1", b"X-Gone: 1", b"X-Set: there", b"Connection: X-Set")
    assert header(world.seen, "x-set") == "here"
    assert header(world.seen, "x-gone") is None
    assert header(world.seen, "x-forwarded-for") is None


# The way down.


@pytest.mark.parametrize(
    ("pieces", "body"),
    [
        (OK, b"ok"),
        ([HEAD + b"Content-Length: 4\r\n\r\nab", b"cd"], b"abcd"),
        ([HEAD + b"Content-Length: 4\r\n\r\n", b"a", b"bc", b"d"], b"abcd"),
        ([HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", b"2\r\ncd\r\n0\r\n\r\n"], b"abcd"),
        ([HEAD + b"\r\nab", b"cd", END], b"abcd"),
        ([b"HTTP/1.1 204 No Content\r\n\r\n"], b""),
        ([b"HTTP/1.1 404 Not Found\r\nContent-Length: 1\r\n\r\nx"], b"x"),
    ],
)
def test_answers_pass(pieces: list[bytes], body: bytes) -> None:
    """Status and body unchanged (reference, section 10.1); the connection is free for the next request."""
    world = World(pieces)
    for _ in range(2):
        answer = world.ask()
        assert answer.complete
        assert answer.body == body
        assert answer.status == int(pieces[0].split(b" ")[1])
        assert answer.header(b"x-ratelimit-limit") == b"0"
    assert len(world.opened) == (2 if END in pieces else 1)


def test_trailers_pass_without_credentials() -> None:
    """Reference, section 9.6; decisions 2.7 in the other direction: framing and routing names never."""
    end = b"0\r\nX-Sum: 1\r\nAuthorization: x\r\nHost: evil\r\n\r\n"
    for pieces in (
        [HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n" + end],
        [HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n", end],
    ):
        world = World(pieces)
        world.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert world.transport.value().endswith(b"1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n")


@pytest.mark.parametrize("length", [b"Content-Length: 7\r\n", b""])
def test_an_answer_to_head_keeps_its_length_and_has_no_body(length: bytes) -> None:
    """RFC 9110 section 9.3.2."""
    world = World([HEAD + length + b"\r\n"])
    answer = world.ask(b"HEAD / HTTP/1.1")
    assert answer.header(b"content-length") == (b"7" if length else None)
    assert answer.rest == b""


def test_headers_of_the_gateway_replace_the_upstreams() -> None:
    """Reference, section 10.1: CORS; ``Vary`` adds up; response operations come last."""
    world = World(
        [HEAD + b"Access-Control-Allow-Origin: evil\r\nVary: Accept\r\nX-Up: 1\r\nContent-Length: 0\r\n\r\n"],
        CORS={"enable": True, "allowed_origins": ["https://app.test"]},
        version={"global_response_headers": {"X-Added": "1"}, "global_response_headers_remove": ["X-Up"]},
    )
    answer = world.ask(b"GET / HTTP/1.1", b"Origin: https://app.test")
    assert answer.header(b"access-control-allow-origin") == b"https://app.test"
    assert next(value for name, value in answer.headers if name == b"vary") == b"Accept"
    assert answer.header(b"x-added") == b"1"
    assert answer.header(b"x-up") is None


@pytest.mark.parametrize("rest", [[b"x" * 10], []])
def test_an_overridden_error_answer_ends_the_upstream(rest: list[bytes]) -> None:
    """Reference, section 12.3; what is left of the answer is nobody's."""
    rules = {"503": [{"response": {"status_code": 500, "message": "later"}}]}
    world = World([b"HTTP/1.1 503 Busy\r\nContent-Length: 20\r\n\r\n" + b"x" * 10, *rest], error_overrides=rules)
    answer = world.ask()
    assert (answer.status, json.loads(answer.body)) == (500, {"error": "later"})
    world.ask()
    assert len(world.opened) == 2
    untouched = World([b"HTTP/1.1 404 No\r\nContent-Length: 1\r\n\r\nx"], error_overrides=rules)
    assert untouched.ask().body == b"x"


@pytest.mark.parametrize(
    ("pieces", "error"),
    [
        ([HEAD + b"Content-Length: 9\r\n\r\nabc", END], "UPE"),
        ([HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", b"zz\r\n"], "UPE"),
    ],
)
def test_a_broken_answer_breaks_off_and_is_logged(events: list[LogEvent], pieces: list[bytes], error: str) -> None:
    """Decisions 2.8."""
    world = World(pieces)
    answer = world.ask()
    assert not answer.complete
    assert world.transport.truncated
    broken = [event for event in events if event.get("event") == "http.answer_broken"]
    assert [(event["flag"], event["api"], event["upstream"]) for event in broken] == [(error, "api", "up.test:80")]


def test_a_broken_event_stream_says_so() -> None:
    """Reference, section 10.4."""
    world = World([HEAD + b"Content-Type: Text/Event-Stream;charset=utf-8\r\n\r\ndata: 1\n\n"])
    world.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    next(iter(world.gateway.pool._all)).connectionLost(Failure(ConnectionLost()))
    assert not parse_answer(world.transport.value()).complete
    assert b"event: error\ndata: upstream connection terminated unexpectedly\n\n" in world.transport.value()


def test_a_client_that_goes_ends_the_upstream_without_a_word(events: list[LogEvent]) -> None:
    """It is no broken answer."""
    world = World([HEAD + b"Content-Length: 9\r\n\r\nabc"])
    world.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert world.gateway.pool.open_count == 1
    world.channel.connectionLost(Failure(ConnectionDone()))
    world.settle()
    assert world.gateway.pool.open_count == 0
    assert not [event for event in events if event.get("event") == "http.answer_broken"]
    assert [event["status"] for event in events if event.get("event") == "http.refused"] == [499]


def test_a_slow_client_stops_the_reading_from_the_upstream() -> None:
    """Back-pressure."""
    world = World([HEAD + b"Content-Length: 9\r\n\r\nabc"])
    world.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    upstream = next(iter(world.gateway.pool._all)).transport
    world.transport.slow()
    assert upstream.producerState == "paused"
    world.transport.fast()
    assert upstream.producerState == "producing"


# Kept connections.


def dying(number: int) -> Callable[[Received], list[bytes]]:
    """Answers ``/warm``; the first ``number`` other requests get an end instead."""
    left = [number]

    def respond(received: Received) -> list[bytes]:
        if received.target == "/warm":
            return OK
        left[0] -= 1
        return [END] if left[0] >= 0 else OK

    return respond


@pytest.mark.parametrize(
    ("line", "body", "warm", "deaths", "status", "tries"),
    [
        (b"GET / HTTP/1.1", b"", True, 1, 200, 2),
        (b"HEAD / HTTP/1.1", b"", True, 1, 200, 2),
        (b"OPTIONS / HTTP/1.1", b"", True, 1, 200, 2),
        (b"GET / HTTP/1.1", b"", True, 2, 500, 2),
        (b"GET / HTTP/1.1", b"", False, 1, 500, 1),
        (b"GET / HTTP/1.1", b"abc", True, 1, 500, 1),
        (b"DELETE / HTTP/1.1", b"", True, 1, 500, 1),
        (b"PUT / HTTP/1.1", b"", True, 1, 500, 1),
    ],
)
def test_what_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, line: bytes, body: bytes, warm: bool, deaths: int, status: int, tries: int
) -> None:
    """Decisions 2.12."""
    monkeypatch.setattr("tlsgate.proxy.pool._is_alive", lambda connection: True)
    world = World(dying(deaths))
    if warm:
        assert world.ask(b"GET /warm HTTP/1.1").status == 200
    fields = [b"Content-Length: %d" % len(body)] if body else []
    answer = world.ask(line, *fields, body=body)
    assert answer.status == status
    assert len([request for request in world.upstream.requests if request.target == "/"]) == tries


def test_a_late_answer_is_not_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A time-out is no dead connection."""
    world = World(lambda received: OK if received.target == "/warm" else [], config={"proxy_default_timeout": 2})
    world.ask(b"GET /warm HTTP/1.1")
    world.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    world.wait(3)
    assert parse_answer(world.transport.value()).status == 504
    assert len(world.upstream.requests) == 2


# Time.


def test_connecting_may_take_no_longer_than_the_whole_exchange() -> None:
    """Reference, section 11: enforced timeouts limit the whole exchange."""
    world = World(config={"tlsgate": {"limits": {"upstream_connect_timeout_s": 4.0}}})
    world.ask()
    assert world.opened == [4.0]
    limited = World(version={"global_enforce_timeout": 1})
    limited.ask()
    assert limited.opened == [1.0]


def test_an_enforced_timeout_ends_an_answer() -> None:
    """Before its head 504, behind it a cut."""
    world = World([], version={"global_enforce_timeout": 1})
    world.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    world.wait(2)
    assert parse_answer(world.transport.value()).status == 504
    streaming = World([HEAD + b"Content-Length: 9\r\n\r\nabc"], version={"global_enforce_timeout": 1})
    streaming.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    streaming.wait(2)
    assert streaming.transport.truncated


# Other protocols.


@pytest.mark.parametrize(
    ("fields", "answer", "enabled", "status"),
    [
        (UPGRADE, SWITCH, True, 101),
        (UPGRADE, SWITCH, False, 500),
        (b"", SWITCH, True, 500),
        (UPGRADE, b"HTTP/1.1 101 X\r\n\r\n", True, 500),
        (UPGRADE, b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", True, 500),
        (UPGRADE, OK[0], True, 200),
    ],
)
def test_upgrades(fields: bytes, answer: bytes, enabled: bool, status: int) -> None:
    """Reference, section 10.3; decisions 2.3 and 2.9; RFC 9110 section 7.8."""
    world = World([answer], config={"http_server_options": {"enable_websockets": enabled}})
    world.send(b"GET / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n")
    assert world.transport.value().startswith(b"HTTP/1.1 %d " % status)
    asked = bool(fields) and enabled
    assert header(world.seen, "upgrade") == ("websocket" if asked else None)
    assert header(world.seen, "connection") == ("Upgrade" if asked else None)
    if status == 101:
        head = world.transport.value()
        assert b"\r\nUpgrade: WebSocket\r\n" in head
        assert b"\r\nSec-WebSocket-Accept: x\r\n" in head


def test_an_upgraded_answer_has_the_operations_of_its_api() -> None:
    """Response headers apply to a 101, too."""
    version = {"global_response_headers": {"X-Added": "1"}}
    world = World([SWITCH], config={"http_server_options": {"enable_websockets": True}}, version=version)
    world.send(b"GET / HTTP/1.1\r\nHost: a\r\n" + UPGRADE + b"\r\n")
    assert b"\r\nX-Added: 1\r\n" in world.transport.value()


# Forward proxies.


def test_a_request_to_a_forward_proxy() -> None:
    """RFC 9112 section 3.2.2; the credentials of the definition, nobody else's; an upgrade takes the tunnel."""
    proxy = {"transport": {"proxy_url": "http://u:p@proxy.test"}}
    headers = {"global_headers": {"Proxy-Authorization": "other"}}
    world = World(path="/app/", target="http://up.test/b?k", proxy=proxy, version=headers)
    seen: list[bytes] = []
    request = UpstreamConnection.request

    def note(self: UpstreamConnection, head: bytes, *arguments: Any, **options: Any) -> Any:
        seen.append(head)
        raise UpstreamError("upstream.failed", "UCF", "only the head was wanted")

    UpstreamConnection.request = note  # type: ignore[assignment, method-assign]
    try:
        world.ask(b"GET /app/x?y HTTP/1.1")
    finally:
        UpstreamConnection.request = request  # type: ignore[method-assign]
    lines = seen[0].split(b"\r\n")
    assert lines[0] == b"GET http://up.test/b/x?k&y HTTP/1.1"
    assert [line for line in lines if line.lower().startswith(b"proxy-")] == [b"Proxy-Authorization: Basic dTpw"]
    compiled: Any = world.gateway.generation.apis["api"].leaf
    target = compiled._plan.next_target()
    assert isinstance(target, ProxiedTarget)
    assert target.for_upgrade.join(b"/x") == b"/b/x"
    assert target.destination().key != target.for_upgrade.destination().key
    assert not target.destination().via.tunnelled
    assert target.for_upgrade.destination().via.tunnelled
    assert parse_target_url("http://up.test/b?k").query == b"k"
