"""Two byte streams joined, with back-pressure, half-close and an idle deadline; knows nothing of what they carry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlsgate.tls.deadlines import Deadlines

__all__ = ["Bridge"]

_NEVER = float("inf")


class _Steered:
    """Steers the reading of one side by the queue of the other."""

    __slots__ = ("_transport",)

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def pauseProducing(self) -> None:
        self._transport.pauseProducing()

    def resumeProducing(self) -> None:
        self._transport.resumeProducing()

    def stopProducing(self) -> None:
        """The consumer is gone; ``connectionLost`` tells."""


class Bridge:
    """Copies bytes both ways until both sides are done or nothing moves for too long.

    :param client: transport towards the client.
    :param upstream: transport towards the upstream.
    :param idle_s: seconds without a byte either way.
    :param on_end: called once, with a reason for the log.
    """

    def __init__(self, client: Any, upstream: Any, deadlines: Deadlines, idle_s: float, on_end: Callable[[str], None]) -> None:
        self._client = client
        self._upstream = upstream
        self._deadlines = deadlines
        self._idle_s = idle_s
        self._on_end = on_end
        self._client_ended = self._upstream_ended = False
        self._client_lost = self._upstream_lost = False
        self._over = False
        self.bytes_up = 0
        self.bytes_down = 0
        self.deadline = _NEVER
        self.armed_at = _NEVER

    def start(self) -> None:
        """Join the streams; bytes may be fed from now on."""
        self._client.registerProducer(_Steered(self._upstream), True)
        self._upstream.registerProducer(_Steered(self._client), True)
        self._deadlines.set(self, self._idle_s)

    def client_data(self, data: bytes) -> None:
        """Bytes from the client."""
        if not self._over:
            self.deadline = self._deadlines.read() + self._idle_s
            self.bytes_up += len(data)
            self._upstream.write(data)

    def upstream_data(self, data: bytes) -> None:
        """Bytes from the upstream."""
        if not self._over:
            self.deadline = self._deadlines.read() + self._idle_s
            self.bytes_down += len(data)
            self._client.write(data)

    def client_ended(self) -> None:
        """The client sends nothing more; the upstream may still."""
        self._client_ended = True
        if self._upstream_ended:
            self._end("both sides closed")
        elif not self._over:
            self._half_close(self._upstream)

    def upstream_ended(self) -> None:
        """The upstream sends nothing more; the client may still."""
        self._upstream_ended = True
        if self._client_ended:
            self._end("both sides closed")
        elif not self._over:
            self._half_close(self._client)

    def client_lost(self) -> None:
        """The client's connection is gone."""
        self._client_lost = True
        self._end("client closed", abort=not self._client_ended)

    def upstream_lost(self) -> None:
        """The upstream's connection is gone: a cut is passed on as a cut."""
        self._upstream_lost = True
        self._end("upstream closed", abort=not self._upstream_ended)

    def deadline_passed(self) -> None:
        """Nothing moved for too long, or the drain took too long."""
        self._end("nothing moved in time", abort=True)

    def drain(self, farewell: bytes, limit_s: float) -> None:
        """Shut down: say goodbye, half-close towards the client, end within ``limit_s`` seconds."""
        if self._over:
            return
        if farewell:
            self._client.write(farewell)
        self._half_close(self._client)
        self._idle_s = limit_s
        self._deadlines.set(self, limit_s)

    def cut(self, reason: str) -> None:
        """End at once."""
        self._end(reason, abort=True)

    @staticmethod
    def _half_close(transport: Any) -> None:
        transport.loseWriteConnection()

    def _end(self, reason: str, *, abort: bool = False) -> None:
        if self._over:
            return
        self._over = True
        self._deadlines.clear(self)
        for transport, lost in ((self._client, self._client_lost), (self._upstream, self._upstream_lost)):
            if lost:
                continue
            transport.unregisterProducer()
            if abort and not transport.queued():
                transport.abortConnection()
            elif abort and hasattr(transport, "truncateConnection"):
                transport.truncateConnection()
            else:
                transport.loseConnection()
        self._on_end(reason)
