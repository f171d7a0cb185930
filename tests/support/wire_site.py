"""A channel with nothing behind it: requests are kept for the test, or answered with what was read of them."""

from __future__ import annotations

from typing import Any

from tests.support.memory_channel import Answer, MemoryConnection, MemoryTransport, make_connection, parse_answer
from tlsgate.gateway.channel import HttpChannel
from tlsgate.gateway.request import GateRequest
from tlsgate.model.exchange import HeaderList

__all__ = ["Collector", "EagerTransport", "Wire", "parse_answers"]


class EagerTransport(MemoryTransport):
    """Delivers what it holds within ``resumeProducing``, as a TLS stream does with what it has decrypted already."""

    def __init__(self) -> None:
        super().__init__()
        self.receiver: Any = None
        self.held: list[bytes] = []

    def arrive(self, *pieces: bytes) -> None:
        """The stream has these pieces; they are delivered while nobody pauses it."""
        self.held.extend(pieces)
        if self.producerState == "producing":
            self._deliver()

    def resumeProducing(self) -> None:
        """Deliver at once."""
        super().resumeProducing()
        self._deliver()

    def _deliver(self) -> None:
        while self.held and self.producerState == "producing":
            self.receiver.dataReceived(self.held.pop(0))


class Collector:
    """A sink that keeps a request body, and answers with it when told so."""

    def __init__(self, request: GateRequest, answer: bool = True) -> None:
        self.request = request
        self.chunks: list[bytes] = []
        self.trailers: HeaderList | None = None
        """Set at the clean end."""
        self.failed: Any = None
        self._answer = answer

    @property
    def body(self) -> bytes:
        """What arrived."""
        return b"".join(self.chunks)

    def body_chunk(self, data: bytes) -> None:
        assert self.trailers is None and self.failed is None
        self.chunks.append(data)

    def body_end(self, trailers: HeaderList) -> None:
        assert self.trailers is None and self.failed is None
        self.trailers = trailers
        if self._answer:
            request = self.request
            text = b"%b %b %b" % (request.method, request.target, self.body)
            request.channel.respond(request, 200, [], text)

    def body_failed(self, refusal: Any) -> None:
        assert self.trailers is None and self.failed is None
        self.failed = refusal
        if self._answer:
            request = self.request
            request.channel.respond(request, 408 if refusal.id == "wire.timeout" else 400, [], refusal.id.encode())


class Wire(MemoryConnection):
    """A connection whose requests stay with the test.

    :param answering: answer each request with method, target and body once the body is complete.
    :param settings: attributes of the site; those of ``ConnectionLimits`` go into ``limits``.
    """

    def __init__(self, *, answering: bool = False, transport: MemoryTransport | None = None, **settings: Any) -> None:
        super().__init__(object())
        self.answering = answering
        self.handled = []
        self.sinks: list[Collector] = []
        self.refused: list[Any] = []
        self.open = 0
        self.judgement: str | None = None
        limits = {name: settings.pop(name) for name in self.limits.__struct_fields__ if name in settings}
        if limits:
            self.limits = type(self.limits)(**limits)
        for name, value in settings.items():
            assert hasattr(self, name), name
            setattr(self, name, value)
        self.channel.connectionLost(None)  # type: ignore[arg-type]
        self.transport = transport or MemoryTransport()
        self.open = 0
        self.channel = HttpChannel(self, make_connection())
        if isinstance(self.transport, EagerTransport):
            self.transport.receiver = self.channel
        self.channel.makeConnection(self.transport)

    @property
    def request(self) -> GateRequest:
        """The last request."""
        assert self.handled
        return self.handled[-1]

    @property
    def written(self) -> bytes:
        """What the client got so far."""
        return self.transport.value()

    def answers(self) -> list[Answer]:
        """Everything that was written, as answers."""
        return parse_answers(self.written)

    def pass_time(self, seconds: float) -> None:
        """Let time pass in steps of a tick."""
        self.reactor.pump([0.05] * round(seconds / 0.05))

    def collect(self, answer: bool = False) -> Collector:
        """Attach a sink to the last request."""
        sink = Collector(self.request, answer)
        self.request.body.attach(sink)
        return sink

    # The gateway's side.

    def handle(self, request: GateRequest) -> None:
        """Keep the request."""
        assert self.handled is not None
        self.handled.append(request)
        if self.answering:
            sink = Collector(request)
            self.sinks.append(sink)
            request.body.attach(sink)

    def wire_refused(self, channel: HttpChannel, refusal: Any) -> None:
        self.refused.append(refusal)

    def judge_again(self, request: GateRequest) -> str | None:
        return self.judgement

    def channel_opened(self, channel: HttpChannel) -> None:
        self.open = getattr(self, "open", 0) + 1

    def channel_closed(self, channel: HttpChannel) -> None:
        self.open -= 1


def parse_answers(data: bytes) -> list[Answer]:
    """Read answers strictly until nothing is left."""
    found = []
    while data:
        answer = parse_answer(data)
        found.append(answer)
        data = answer.rest
    return found
