"""Two byte streams joined, with back-pressure, half-close and an idle deadline; knows nothing of what they carry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlsgate.tls.deadlines import Deadlines

__all__ = ["Bridge"]

_NEVER = float("inf")
_CLOSE_S = 5.0
"""A side that takes nothing of what is left for it is cut after so long (decisions 2.13)."""


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
        self._over = self._client_parts = False
        self._left = 0
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
        self._forget()

    def upstream_lost(self) -> None:
        """The upstream's connection is gone: a cut is passed on as a cut."""
        self._upstream_lost = True
        self._end("upstream closed", abort=not self._upstream_ended)
        self._forget()

    def deadline_passed(self) -> None:
        """Nothing moved for too long, the drain took too long, or a side that is being closed takes what is left too slowly."""
        if not self._over:
            self._end("nothing moved in time", abort=True)
            return
        left = self._undelivered()
        if left != self._left:
            self._left = left
            self._deadlines.set(self, _CLOSE_S)
            return
        for transport in self._open_sides():
            transport.abortConnection()

    def drain(self, farewell: bytes, limit_s: float) -> None:
        """Shut down: say goodbye, half-close towards the client, end within ``limit_s`` seconds."""
        if self._over:
            return
        if farewell:
            self._client.write(farewell)
        self._half_close(self._client)
        self._idle_s = limit_s
        self._deadlines.set(self, limit_s)

    def cut(self, reason: str, farewell: bytes = b"") -> None:
        """End at once: nothing passes any more.

        :param farewell: what the client still gets, with a clean end behind it.
        """
        if farewell and not (self._over or self._client_lost):
            self._client.write(farewell)
            self._client_parts = True
        self._end(reason, abort=True)

    @staticmethod
    def _half_close(transport: Any) -> None:
        transport.loseWriteConnection()

    def _end(self, reason: str, *, abort: bool = False) -> None:
        if self._over:
            return
        self._over = True
        for transport in self._open_sides():
            transport.unregisterProducer()
            if self._client_parts and transport is self._client:
                transport.loseConnection()
            elif abort and not transport.queued():
                transport.abortConnection()
            elif abort and hasattr(transport, "truncateConnection"):
                transport.truncateConnection()
            else:
                transport.loseConnection()
        # A close ends by itself only when the peer takes what is queued for it.
        self._left = self._undelivered()
        self._deadlines.set(self, _CLOSE_S)
        self._on_end(reason)

    def _open_sides(self) -> list[Any]:
        return [side for side, lost in ((self._client, self._client_lost), (self._upstream, self._upstream_lost)) if not lost]

    def _undelivered(self) -> int:
        return sum(transport.undelivered() for transport in self._open_sides())

    def _forget(self) -> None:
        if self._client_lost and self._upstream_lost:
            self._deadlines.clear(self)
