"""Python's share of a proxied request: channel, pipeline and upstream connection without sockets and TLS; prints one JSON line.

``python -m benchmarks.micro_request``: what the kernel and OpenSSL cost is left out, so that a change of 1 us is seen on a busy machine.
"""

from __future__ import annotations

import json
import platform
import time
from typing import Any

from twisted.internet.task import Clock as FakeReactor

from tlsgate.clock import SystemClock
from tlsgate.config.model import GatewayConfig
from tlsgate.control.routes import ControlRoutes
from tlsgate.gateway.channel import HttpChannel
from tlsgate.gateway.generation import attach_resources, build_generation
from tlsgate.gateway.site import Site
from tlsgate.gateway.state import State
from tlsgate.model.api import ApiDefinition, ProxySettings
from tlsgate.model.exchange import Connection
from tlsgate.proxy.connection import UpstreamConnection
from tlsgate.proxy.pool import Destination, Pool
from tlsgate.store.memory import MemoryStore
from tlsgate.tls.deadlines import Deadlines
from tlsgate.tls.peer import PeerMemory

REQUEST = (
    b"GET /api/things/7?full=1 HTTP/1.1\r\nHost: api.example.test\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n"
    b"Accept-Encoding: gzip\r\nX-Request-Id: 0123456789abcdef\r\n\r\n"
)
ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Wed, 25 Nov 2026 20:00:00 GMT\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 41\r\nConnection: keep-alive\r\n\r\n" + b"x" * 41
)


class _Transport:
    """Takes bytes and drops them."""

    socket: Any = None

    def __init__(self) -> None:
        self.written = 0

    def write(self, data: bytes) -> None:
        self.written += 1

    def queued(self) -> int:
        return 0

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Never pauses."""

    def unregisterProducer(self) -> None:
        """Never paused."""

    def pauseProducing(self) -> None:
        """Nothing to pause."""

    def resumeProducing(self) -> None:
        """Nothing to resume."""

    def loseConnection(self) -> None:
        raise AssertionError("the connection was closed")

    abortConnection = loseWriteConnection = loseConnection


def build(state: State | None = None, **fields: Any) -> tuple[HttpChannel, UpstreamConnection, _Transport, _Transport]:
    """Return a channel whose one API leads to an idle upstream connection.

    :param state: a memory store by default.
    :param fields: of the API; it is keyless by default.
    """
    reactor: Any = FakeReactor()
    clock = SystemClock()
    deadlines = Deadlines(reactor, clock.monotonic)
    pool = Pool(reactor, deadlines, max_idle=0, max_idle_per_key=10, idle_s=90)
    config = GatewayConfig()
    proxy = ProxySettings(listen_path="/api/", target_url="http://127.0.0.1:9/", strip_listen_path=True)
    api = ApiDefinition(**{"api_id": "a", "raw": {}, "keyless": True, "proxy": proxy, **fields})
    state = state or State(MemoryStore(clock, reactor), config, reactor, clock)
    generation = build_generation(config, [api], [], clock=clock, pool=pool, reactor=reactor, environ={}, state=state)
    site = Site(reactor, clock, config, generation, None, deadlines, PeerMemory())
    site.control = ControlRoutes(site, config)
    attach_resources(generation, site)
    connection = UpstreamConnection(pool, deadlines)
    connection.key = Destination("127.0.0.1", 9).key
    upstream, client = _Transport(), _Transport()
    connection.makeConnection(upstream)
    pool.released(connection)
    channel = HttpChannel(site, Connection("c", "192.0.2.1", 1, config.listen_port, False))
    channel.makeConnection(client)
    return channel, connection, client, upstream


def main(rounds: int = 15, count: int = 4000) -> None:
    """Measure and print."""
    channel, connection, client, upstream = build()
    best = float("inf")
    for _ in range(rounds):
        started = time.process_time()
        for _ in range(count):
            channel.dataReceived(REQUEST)
            connection.dataReceived(ANSWER)
        best = min(best, (time.process_time() - started) / count)
    assert client.written == upstream.written == rounds * count
    print(json.dumps({"benchmark": "micro_request", "us_per_request": round(best * 1e6, 2), "python": platform.python_version()}))


if __name__ == "__main__":
    main()
