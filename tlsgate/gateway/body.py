"""The request body between the channel and whoever consumes it, with back-pressure; knows nothing of parsing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tlsgate.errors import Refusal
    from tlsgate.gateway.channel import HttpChannel
    from tlsgate.model.exchange import BodySink, HeaderList

__all__ = ["BodyStream"]

_BUFFER_BYTES = 65536


class BodyStream:
    """Fulfils ``model.exchange.RequestBody``: nothing flows before a sink is attached, beyond one bounded buffer."""

    __slots__ = (
        "_buffer",
        "_buffered",
        "_channel",
        "_sink",
        "discarding",
        "ended",
        "expects_continue",
        "failed",
        "length",
        "received",
        "trailers",
    )

    def __init__(self, channel: HttpChannel) -> None:
        self._channel = channel
        self._sink: BodySink | None = None
        self._buffer: list[bytes] | None = None
        self._buffered = 0
        self.length: int | None = None
        self.received = 0
        self.expects_continue = False
        self.ended = False
        self.failed: Refusal | None = None
        self.discarding = False
        self.trailers: HeaderList = []

    @property
    def wants_continue(self) -> bool:
        """Whether the client still waits for ``100 Continue`` and has sent nothing of the body."""
        return self.expects_continue and not self.received and not self.ended

    def attach(self, sink: BodySink) -> None:
        """Start the flow to ``sink``, what is buffered first."""
        if self.wants_continue:
            self.expects_continue = False
            self._channel.send_continue()
        self._sink = sink
        buffer, self._buffer = self._buffer, None
        if buffer:
            self._buffered = 0
            sink.body_chunk(buffer[0] if len(buffer) == 1 else b"".join(buffer))
        if self.failed:
            sink.body_failed(self.failed)
        elif self.ended:
            sink.body_end(self.trailers)
        self._channel.resume_reading(4)

    def take_buffered(self) -> bytes:
        """Return and forget what arrived before a sink was attached, so that it can travel with a head."""
        buffer, self._buffer = self._buffer, None
        if not buffer:
            return b""
        self._buffered = 0
        return buffer[0] if len(buffer) == 1 else b"".join(buffer)

    def detach(self) -> None:
        """Stop the flow to the sink; further bytes are buffered again."""
        self._sink = None

    def pause(self) -> None:
        """Stop reading from the client."""
        self._channel.pause_reading(2)

    def resume(self) -> None:
        """Read on."""
        self._channel.resume_reading(2)

    def discard(self) -> None:
        """Drop the rest."""
        self.discarding = True
        self._sink = None
        self._buffer = None
        self._channel.resume_reading(6)

    # The channel's side.

    def deliver(self, data: bytes) -> None:
        """Take bytes from the parser."""
        self.received += len(data)
        if self._sink is not None:
            self._sink.body_chunk(data)
        elif not self.discarding:
            if self._buffer is None:
                self._buffer = []
            self._buffer.append(data)
            self._buffered += len(data)
            if self._buffered >= _BUFFER_BYTES:
                self._channel.pause_reading(4)

    def end(self, trailers: HeaderList) -> None:
        """The body is complete."""
        self.ended = True
        self.trailers = trailers
        if self._sink is not None:
            sink, self._sink = self._sink, None
            sink.body_end(trailers)

    def fail(self, refusal: Refusal) -> None:
        """The body breaks off."""
        if self.ended or self.failed:
            return
        self.failed = refusal
        if self._sink is not None:
            sink, self._sink = self._sink, None
            sink.body_failed(refusal)
