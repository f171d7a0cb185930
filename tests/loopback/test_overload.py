"""Too many, too slow, too greedy: good clients are served all the same, bad ones end within the limits, nothing is left behind.

Source: reliability reference, 2d and 4 (promises 5, 6, 10); decisions 2.5.
"""

from __future__ import annotations

import resource
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.certs import SERVER, Issued, make_authority
from tests.support.gateway import (
    Client,
    Gateway,
    HandshakeRefused,
    Received,
    ScriptedUpstream,
    StrictUpstream,
    classic,
    echo,
    free_port,
    oas,
    running_gateway,
    wait_until,
)
from tests.support.oddhello import connect, idle_descriptors
from tests.support.scale import FULL, scaled

HEAD_S, READ_S, WRITE_S, IDLE_S, STREAM_S = 2.0, 3, 2, 2.0, 1.5
LIMITS = {"head_timeout_s": HEAD_S, "idle_timeout_s": IDLE_S, "close_timeout_s": 1.0, "handshake_timeout_s": 3.0, "stream_idle_s": STREAM_S}
BIG = 16 << 20
_BIG_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG + bytes(BIG)


class World(NamedTuple):
    """A gateway with short time-outs, TLS on its main port and plain HTTP on another."""

    gateway: Gateway
    upstream: StrictUpstream
    alice: Issued
    level: int

    def connect(self, *, tls: bool, timeout_s: float = 10.0) -> Client:
        """Connect a client that the strict host knows."""
        if tls:
            return Client(self.gateway.port, sni="strict.test", identity=self.alice, timeout_s=timeout_s)
        return Client(self.gateway.port_of("api"), tls=False, timeout_s=timeout_s)

    def descriptors(self) -> int:
        """Return how many descriptors there are beside those of the idle gateway and of its connections to the upstream."""
        return self.gateway.open_files() - self.upstream.open_connections - self.level

    def settle(self, timeout_s: float = 5.0) -> None:
        """Wait until nothing is left of earlier clients."""
        assert wait_until(lambda: self.descriptors() <= 0, timeout_s), f"{self.descriptors()} descriptors too many"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Both forms of definitions; ``/big`` answers with 16 MiB, more than the kernel keeps."""
    folder: Path = tmp_path_factory.mktemp("overload")
    authority = make_authority("clients")
    server = make_authority("servers").issue("gateway", usages=SERVER, names=["strict.test"])

    def respond(received: Received) -> bytes:
        if received.target == "/big":
            return _BIG_ANSWER
        return echo(received)

    with StrictUpstream(respond) as upstream, ScriptedUpstream(lambda connection, number: connection.sendall(_BIG_ANSWER)) as pouring:
        target = f"tcp://127.0.0.1:{pouring.port}"
        apis = [
            classic("strict", upstream.port, domain="strict.test", use_mutual_tls_auth=True, client_certificates=[authority.pem]),
            classic("plain", upstream.port, domain="strict.test", protocol="http", listen_port=free_port()),
            classic("raw-tcp", target, "", protocol="tcp", listen_port=free_port()),
            classic("raw-tls", target, "", protocol="tls", listen_port=free_port()),
        ]
        options = {"read_timeout": READ_S, "write_timeout": WRITE_S}
        with running_gateway(
            folder, *apis, server=server, disable_ports_whitelist=True, http_server_options=options, tlsgate={"limits": LIMITS}
        ) as gateway:
            found = World(gateway, upstream, authority.issue("alice"), idle_descriptors(gateway))
            yield found
            found.settle()
        assert not upstream.violations


class GoodTraffic:
    """Clients that ask all the time, on kept and on new connections; each answer must be right and quick.

    :param worst_s: no answer takes longer (generous: the machine may be busy).
    """

    def __init__(self, world: World, worst_s: float = 1.5) -> None:
        self._world = world
        self._worst_s = worst_s
        self.times: list[float] = []
        self.failures: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(tls,), daemon=True) for tls in (True, False)]

    def __enter__(self) -> GoodTraffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(20)
        if kind is None:
            assert not self.failures, self.failures[:5]
            assert len(self.times) > 20
            assert max(self.times) < self._worst_s

    def _run(self, tls: bool) -> None:
        while not self._stop.is_set():
            try:
                started = time.monotonic()
                with self._world.connect(tls=tls) as client:
                    for number in range(5):
                        response = client.request("POST", f"/{number}", host="strict.test", body=b"x" * 1000)
                        assert response.status == 200 and f'"target": "/{number}"'.encode() in response.body, response
                        self.times.append(time.monotonic() - started)
                        started = time.monotonic()
                        self._stop.wait(0.02)  # good clients are not the load here
            except Exception as problem:
                self.failures.append(repr(problem))


# Slow heads.

_START = b"GET /slow HTTP/1.1\r\nHost: strict.test\r\n"
_CRAWL: dict[str, tuple[bytes, bytes]] = {
    "silence": (b"", b""),
    "half a method": (b"GE", b""),
    "no end": (_START, b""),
    "one byte at a time": (_START + b"X-Slow: ", b"x"),
    "one field at a time": (_START, b"X-Slow: x\r\n"),
    "empty lines": (b"\r\n", b"\r\n"),
    "a target without end": (b"GET /", b"x"),
}
"""What is sent at once, and what follows ten times a second."""


class Crawler:
    """A client that sends a little ten times a second, and notes how long the gateway bears it."""

    def __init__(self, client: Client, first: bytes, then: bytes) -> None:
        self.client = client
        self.then = then
        self.started = time.monotonic()
        self.data = b""
        self.seconds = 0.0
        client.socket.settimeout(0.001)
        if first:
            client.send(first)

    def step(self) -> bool:
        """Go on; returns whether the gateway has ended it."""
        try:
            if self.then:
                self.client.send(self.then)
            self.data += (piece := self.client.recv())
        except TimeoutError:
            return False
        except Exception:
            piece = b""
        if piece:
            return False
        self.seconds = time.monotonic() - self.started
        self.client.close()
        return True


def crawl(crawlers: Sequence[Crawler], limit_s: float) -> list[Crawler]:
    """Drive crawlers until all have ended; the pause between two steps is the attack. Returns those that the gateway did not end."""
    left = list(crawlers)
    deadline = time.monotonic() + limit_s
    while left and time.monotonic() < deadline:
        left = [crawler for crawler in left if not crawler.step()]
        time.sleep(0.1)
    for crawler in left:
        crawler.client.close()
    return left


def test_slow_heads_end_by_their_deadline(world: World) -> None:
    """Slowloris of each kind, on new connections and after a served request, beside good traffic: an absolute deadline ends them."""
    world.settle()
    crawlers: list[Crawler] = []
    with GoodTraffic(world):
        for number in range(scaled(70, 700)):
            first, then = list(_CRAWL.values())[number % len(_CRAWL)]
            client = world.connect(tls=number % 4 < 2)
            if number % 2:
                # Between requests silence is idleness, which has a limit of its own.
                assert client.request(host="strict.test").status == 200
            crawlers.append(Crawler(client, first, then))
        left = crawl(crawlers, max(HEAD_S, IDLE_S) + 3)
    assert not left, f"{len(left)} not ended"
    for crawler in crawlers:
        assert HEAD_S * 0.9 < crawler.seconds < HEAD_S + 2, crawler.seconds
        assert crawler.data == b"" or crawler.data.startswith(b"HTTP/1.1 408 ")
    world.settle()


# Slow bodies.


def test_slow_bodies_end_and_living_uploads_do_not(world: World) -> None:
    """Decisions 2.5: a body without progress for ``read_timeout``, or below 500 B/s after ten seconds; 2 kB/s go through."""
    world.settle()
    sized = b"POST /slow HTTP/1.1\r\nHost: strict.test\r\nContent-Length: 30000\r\n\r\n"
    chunked = b"POST /slow HTTP/1.1\r\nHost: strict.test\r\nTransfer-Encoding: chunked\r\n\r\n"
    kinds = {
        "stalled": (sized + b"x" * 100, b""),
        "never begun": (sized, b""),
        "stalled in a chunk": (chunked + b"ff\r\nxxx", b""),
        "stalled in a chunk line": (chunked + b"f", b""),
        "stalled in trailers": (chunked + b"1\r\nx\r\n0\r\nX-Trailer: ", b""),
        "trickle": (sized, b"x"),
        "trickle of chunks": (chunked, b"1\r\nx\r\n"),
        "trickle of an extension": (chunked + b"1;", b"x"),
    }
    crawlers: dict[str, list[Crawler]] = {}
    with GoodTraffic(world):
        for name, (first, then) in kinds.items():
            crawlers[name] = [Crawler(world.connect(tls=number % 2 == 0), first, then) for number in range(scaled(4, 60))]
        alive = world.connect(tls=True)
        alive.send(b"POST /alive HTTP/1.1\r\nHost: strict.test\r\nContent-Length: 26000\r\n\r\n")
        answers: list[int] = []

        def upload() -> None:
            for _ in range(130):
                alive.send(b"y" * 200)
                time.sleep(0.1)
            answers.append(alive.read_response().status)

        living = threading.Thread(target=upload)
        living.start()
        left = crawl([crawler for group in crawlers.values() for crawler in group], 10 + READ_S + 4)
        living.join(20)
        alive.close()
    assert not left, f"{len(left)} not ended"
    assert answers == [200]
    for name, group in crawlers.items():
        slow = name.startswith("trickle")
        for crawler in group:
            low, high = (READ_S * 0.9, 10 + READ_S + 2) if slow else (READ_S * 0.9, READ_S + 2)
            assert low < crawler.seconds < high, (name, crawler.seconds)
            assert crawler.data == b"" or crawler.data.startswith((b"HTTP/1.1 408 ", b"HTTP/1.1 4")), (name, crawler.data[:200])
    world.settle()


# Slow readers.


def test_readers_that_stand_still_are_cut_and_cost_little_memory(world: World) -> None:
    """Many ask for 16 MiB and do not read: cut after ``write_timeout`` without progress; what the gateway holds for each stays small."""
    world.settle()
    before = world.gateway.rss_kib()
    clients = []
    with GoodTraffic(world):
        for number in range(count := scaled(40, 400)):
            client = world.connect(tls=number % 2 == 0)
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)  # the kernel is not what is tested
            client.send(b"GET /big HTTP/1.1\r\nHost: strict.test\r\n\r\n")
            clients.append(client)
        time.sleep(WRITE_S / 2)  # the kernel's buffers fill
        grown = world.gateway.rss_kib() - before
        # Good traffic has a few descriptors at any time.
        assert wait_until(lambda: world.descriptors() < 10, 3 * WRITE_S + 3)
    for client in clients:
        client.close()
    assert grown < count * 512
    if FULL:
        print(f"\n{count} readers that stand still: {grown / count:.0f} KiB each")
    world.settle()


def test_readers_of_raw_streams_that_stand_still_are_cut(world: World) -> None:
    """Decisions 2.13: the idle time of a stream, then five seconds for its close, whatever is left in the queue."""
    world.settle()

    clients = []
    for number in range(scaled(10, 200)):
        tls = number % 2 == 0
        client = Client(world.gateway.port_of("api", 1 + tls), tls=tls, sni="strict.test" if tls else None, settle=False)
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        clients.append(client)
    assert wait_until(lambda: world.descriptors() >= len(clients), 1.0)
    world.settle(STREAM_S + 5 + 3)
    for client in clients:
        client.close()


@pytest.mark.parametrize("tls", [True, False], ids=["tls", "plain"])
def test_a_slow_reader_that_reads_gets_everything(world: World, tls: bool) -> None:
    """Slow is no fault: 16 MiB in pieces, with pauses shorter than ``write_timeout``."""
    with world.connect(tls=tls) as client:
        client.send(b"GET /big HTTP/1.1\r\nHost: strict.test\r\n\r\n")
        received = 0
        while received < BIG:
            received += len(piece := client.recv(65536))
            assert piece
            if received % (6 << 20) < len(piece):
                time.sleep(WRITE_S * 0.5)  # the slowness that is tested


@pytest.mark.parametrize(
    ("tls", "target"),
    [(True, "/nowhere"), (False, "/nowhere"), (True, "/")],
    ids=["tls, answered by the gateway", "plain, answered by the gateway", "tls, answered by the upstream"],
)
def test_pipelining_without_reading_does_not_fill_the_memory(world: World, tls: bool, target: str) -> None:
    """Requests by the ten thousand, no answer read: the gateway stops reading, holds a bounded queue, cuts, and serves others."""
    world.settle()
    host = "nobody.test" if target == "/nowhere" else "strict.test"
    request = f"GET {target} HTTP/1.1\r\nHost: {host}\r\nX-Fill: {'x' * 20}\r\n\r\n".encode()
    before = world.gateway.rss_kib()
    limit = scaled(24 << 20, 256 << 20)
    with GoodTraffic(world), world.connect(tls=tls) as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sent = 0
        try:
            while sent < limit:
                client.send(request * 500)
                sent += 500 * len(request)
        except OSError:
            pass  # cut
        grown = world.gateway.rss_kib() - before
        assert sent < limit, "everything was taken"
    assert wait_until(lambda: world.descriptors() <= 0, 3 * WRITE_S + IDLE_S + 3)
    assert grown < 16 << 10, f"{grown} KiB for {sent >> 20} MiB of requests"
    world.settle()


def test_pipelining_with_a_late_reader_loses_nothing(world: World) -> None:
    """Back-pressure is no loss: 20,000 pipelined refusals all arrive once the client reads."""
    count = 20_000
    with world.connect(tls=False) as client:
        sender = threading.Thread(target=client.send, args=(b"GET /nowhere HTTP/1.1\r\nHost: nobody.test\r\n\r\n" * count,))
        sender.start()
        time.sleep(0.5)  # the queue fills and the gateway stops reading
        for _ in range(count):
            assert client.read_response().status == 404
        sender.join(5)
        assert not sender.is_alive()


# Idle and many.


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A gateway with the default limits; OAS definitions."""
    folder: Path = tmp_path_factory.mktemp("patient")
    authority = make_authority("clients")
    server = make_authority("servers").issue("gateway", usages=SERVER, names=["strict.test"])
    strict = {
        "customDomain": {"enabled": True, "name": "strict.test"},
        "clientCertificates": {"enabled": True, "allowlist": [authority.pem]},
    }
    with StrictUpstream() as upstream:
        apis = [
            oas("strict", upstream.port, server=strict),
            classic("plain", upstream.port, domain="strict.test", protocol="http", listen_port=free_port()),
        ]
        with running_gateway(folder, *apis, server=server, disable_ports_whitelist=True) as gateway:
            found = World(gateway, upstream, authority.issue("alice"), idle_descriptors(gateway))
            yield found
            found.settle()
        assert not upstream.violations


@pytest.mark.parametrize("tls", [True, False], ids=["tls", "plain"])
def test_many_kept_connections_are_served_and_cost_bounded_memory(patient: World, tls: bool) -> None:
    """Promise 6: a stated bound per kept connection; all ask at the same moment, twice, and all are answered."""
    patient.settle()
    count = scaled(300, 3000)
    before, cpu = patient.gateway.rss_kib(), patient.gateway.cpu_s()
    clients: list[Client] = []
    try:
        for _ in range(count):
            clients.append(patient.connect(tls=tls))
            assert clients[-1].request(host="strict.test").status == 200
        grown = patient.gateway.rss_kib() - before
        for _ in range(2):
            for client in clients:
                client.send(b"GET /x HTTP/1.1\r\nHost: strict.test\r\n\r\n")
            assert {client.read_response().status for client in clients} == {200}
    finally:
        for client in clients:
            client.close()
    assert grown < count * (100 if tls else 40)
    if FULL:
        spent = (patient.gateway.cpu_s() - cpu) / count * 1e3
        print(
            f"\n{count} kept {'TLS' if tls else 'plain'} connections: {grown / count:.1f} KiB each, {spent:.2f} ms CPU for 3 requests each"
        )
    patient.settle()


def come_and_go(world: World, number: int) -> None:
    """One connection that ends in one of several ways."""
    way = number % 7
    if way == 0:
        connect(world.gateway.port).close()
    elif way == 1:
        with connect(world.gateway.port) as plain:
            plain.sendall(b"\x16\x03\x01")
    elif way == 2:
        with connect(world.gateway.port) as plain:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    elif way == 3:
        with world.connect(tls=True) as client:
            client.send(b"GET / HT")
    elif way == 4:
        with world.connect(tls=True) as client:
            client.send(b"POST / HTTP/1.1\r\nHost: strict.test\r\nContent-Length: 10\r\n\r\nhalf")
    elif way == 5:
        with world.connect(tls=True) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: strict.test\r\n\r\n")  # and does not wait for the answer
    else:
        with world.connect(tls=False) as client:
            assert client.request(host="strict.test").status == 200


def test_connections_that_come_and_go_leave_nothing(patient: World) -> None:
    """Churn of every kind: descriptors back at the start, memory flat after the first round."""
    patient.settle()
    count = scaled(300, 5000)
    levels = []
    started = time.monotonic()
    for _ in range(4):
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number: come_and_go(patient, number), range(count)))
        patient.settle()
        levels.append(patient.gateway.rss_kib())
    if FULL:
        print(f"\n{4 * count} connections, {4 * count / (time.monotonic() - started):.0f}/s: RSS {levels} KiB")
    assert levels[-1] - levels[0] < 2048, levels


# Descriptors.


@contextmanager
def few_descriptors(folder: Path, count: int) -> Iterator[World]:
    """A running gateway that may have no more than ``count`` descriptors, and stays within its connection limit otherwise."""
    authority = make_authority("clients")
    server = make_authority("servers").issue("gateway", usages=SERVER, names=["strict.test"])
    with StrictUpstream() as upstream:
        apis = [
            classic("strict", upstream.port, domain="strict.test", use_mutual_tls_auth=True, client_certificates=[authority.pem]),
            classic("plain", upstream.port, domain="strict.test", protocol="http", listen_port=free_port()),
        ]
        with running_gateway(
            folder, *apis, server=server, disable_ports_whitelist=True, tlsgate={"limits": {"handshake_timeout_s": 30.0}}
        ) as gateway:
            found = World(gateway, upstream, authority.issue("alice"), idle_descriptors(gateway))
            resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE, (count, count))
            yield found
        assert not upstream.violations


def test_running_out_of_descriptors_is_survived(tmp_path: Path) -> None:
    """ghostunnel's test: a limit of 64, a flood of 100: kept connections go on, new ones are refused quickly, then all is as before."""
    with few_descriptors(tmp_path, 64) as world:
        kept = [world.connect(tls=tls) for tls in (True, False)]
        for client in kept:
            assert client.request(host="strict.test").status == 200
        flood = [connect(world.gateway.port) for _ in range(scaled(100, 1000))]
        try:
            assert wait_until(lambda: world.gateway.open_files() >= 60, 3.0)
            for client in kept:
                for _ in range(3):
                    assert client.request(host="strict.test").status == 200
            started = time.monotonic()
            with pytest.raises((HandshakeRefused, OSError)):
                world.connect(tls=True)
            assert time.monotonic() - started < 1.0
            spent = world.gateway.cpu_s()
            time.sleep(1.0)  # the time in which a gateway that spins would be seen
            assert world.gateway.cpu_s() - spent < 0.5
            for client in kept:
                assert client.request(host="strict.test").status == 200
        finally:
            for plain in flood:
                plain.close()
        for tls in (True, False):
            assert wait_until(lambda tls=tls: _serves(world, tls), 2.0)
        for client in kept:
            assert client.request(host="strict.test").status == 200
            client.close()
        world.settle()


def _serves(world: World, tls: bool) -> bool:
    """Whether a new client is served."""
    try:
        with world.connect(tls=tls) as client:
            return client.request(host="strict.test").status == 200
    except (HandshakeRefused, EOFError, OSError):
        return False


def test_no_descriptor_for_the_upstream_is_an_error_to_the_client(tmp_path: Path) -> None:
    """An accepted client whose request cannot go up gets an answer, and is served as soon as there is room."""
    with few_descriptors(tmp_path, 64) as world, world.connect(tls=True) as client:
        flood: list[socket.socket] = []
        try:
            while world.gateway.open_files() < 64 and len(flood) < 100:
                flood.append(connect(world.gateway.port))
                time.sleep(0.01)  # accepted before the next one comes
            response = client.request(host="strict.test")
            assert response.status in (500, 502, 503), response
            assert b"descriptor" not in response.body and b"Errno" not in response.body
        finally:
            for plain in flood:
                plain.close()
        assert wait_until(lambda: world.descriptors() <= 1, 5.0)  # the client's
        assert wait_until(lambda: client.request(host="strict.test").status == 200, 3.0)


def test_a_reload_without_descriptors_keeps_what_serves(tmp_path: Path) -> None:
    """Files that cannot be opened for want of descriptors are no reason to drop their APIs (promise 3)."""
    with few_descriptors(tmp_path, 64) as world, world.connect(tls=True) as client:
        assert client.request(host="strict.test").status == 200
        flood: list[socket.socket] = []
        try:
            while world.gateway.open_files() < 64 and len(flood) < 100:
                flood.append(connect(world.gateway.port))
                time.sleep(0.01)  # accepted before the next one comes
            world.gateway.reload()
            assert client.request(host="strict.test").status == 200
        finally:
            for plain in flood:
                plain.close()
        assert wait_until(lambda: world.descriptors() <= 1, 5.0)  # the client's
        with world.connect(tls=True) as other:
            assert other.request(host="strict.test").status == 200
        assert world.gateway.reload()["event"] == "reload.done"
        with world.connect(tls=True) as other:
            assert other.request(host="strict.test").status == 200
