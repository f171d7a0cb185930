"""An upstream connection over a memory transport, with whom it reports to."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from tests.support.memory_channel import MemoryTransport
from tlsgate.errors import Refusal, UpstreamError
from tlsgate.model.exchange import BodySink, HeaderList
from tlsgate.proxy.connection import UpstreamAnswer, UpstreamConnection
from tlsgate.proxy.pool import Destination, Pool
from tlsgate.tls.deadlines import Deadlines

__all__ = ["AnswerLog", "FakeBody", "MemoryUpstream"]

DONE, LOST = Failure(ConnectionDone()), Failure(ConnectionLost())


class AnswerLog:
    """A sink that keeps an answer's body."""

    def __init__(self) -> None:
        self.body = b""
        self.trailers: HeaderList | None = None
        self.broken: UpstreamError | None = None

    def answer_chunk(self, data: bytes) -> None:
        self.body += data

    def answer_end(self, trailers: HeaderList) -> None:
        assert self.trailers is None and self.broken is None
        self.trailers = trailers

    def answer_broken(self, error: UpstreamError) -> None:
        assert self.trailers is None and self.broken is None
        self.broken = error


class FakeBody:
    """A request body that the test feeds."""

    def __init__(self, length: int | None) -> None:
        self.length = length
        self.sink: BodySink | None = None
        self.paused = False
        self.failed: Refusal | None = None

    def attach(self, sink: BodySink) -> None:
        self.sink = sink

    def detach(self) -> None:
        self.sink = None

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False


class MemoryUpstream:
    """One connected :class:`UpstreamConnection` and its pool."""

    def __init__(self, *, max_idle: int = 0, max_idle_per_key: int = 2) -> None:
        self.clock: Any = Clock()
        self.clock.advance(100)
        self.deadlines = Deadlines(self.clock, self.clock.seconds)
        self.pool = Pool(self.clock, self.deadlines, max_idle=max_idle, max_idle_per_key=max_idle_per_key, idle_s=90.0)
        self.destination = Destination("127.0.0.1", 9)
        self.connection, self.transport = self.connect()

    def connect(self, destination: Destination | None = None) -> tuple[UpstreamConnection, MemoryTransport]:
        """Return a further connection."""
        connection, transport = UpstreamConnection(self.pool, self.deadlines), MemoryTransport()
        connection.key = (destination or self.destination).key
        connection.makeConnection(transport)
        return connection, transport

    def request(
        self,
        body: FakeBody | None = None,
        *,
        is_head: bool = False,
        expires: float = float("inf"),
        chunked: bool = False,
        first: bytes = b"",
    ) -> Asked:
        """Send a request."""
        head = b"GET / HTTP/1.1\r\nHost: up\r\n\r\n"
        return Asked(
            self.connection.request(
                head,
                body,
                chunked=chunked,
                is_head=is_head,
                head_timeout_s=30.0,
                expires=expires,
                first=first,  # type: ignore[arg-type]
            )
        )

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        for _ in range(int(seconds * 4)):
            self.clock.advance(0.25)


class Asked:
    """What became of a request."""

    def __init__(self, waiter: Any) -> None:
        self.answer: UpstreamAnswer | None = None
        self.error: BaseException | None = None
        self._waiter = waiter
        waiter.addBoth(self._resume)
        if waiter.fired:
            self._resume(None)

    def _resume(self, result: object) -> None:
        try:
            self._waiter.__await__().send(None)
        except StopIteration as done:
            self.answer = done.value
        except Exception as error:
            self.error = error

    def cancel(self) -> None:
        """Nobody wants it any more."""
        self._waiter.cancel()
