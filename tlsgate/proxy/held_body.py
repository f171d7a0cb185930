"""A request body that is read to its end before anybody upstream sees a byte of it; knows nothing of what it is looked at for.

Steps that judge a body (credentials in it, a digest of it) hold it: a refused request then leaves the upstream silent. It goes on exactly
as it came, trailers included.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any, BinaryIO

from twisted.logger import Logger

from tlsgate.errors import Refusal
from tlsgate.model.exchange import BodySink, Exchange, HeaderList
from tlsgate.proxy.waiter import Waiter

__all__ = ["BodyCollector", "HeldBody", "Spool", "has_body", "hold_body", "too_large"]

_log = Logger()
_MEMORY_BYTES = 100_000
"""A body of this size or more goes to a temporary file."""
_PIECE = 65536


class BodyCollector:
    """Collects a body: a sink, and what all of them share; where the bytes go is a subclass's (``keep``).

    Whoever waits is woken in a turn of its own: the last bytes come in the middle of the parser's work, and an answer given there would
    change the channel's state under it.

    :param limit: bytes.
    :param reactor: provides ``callLater``.
    :param what: for whom, in the log.
    """

    __slots__ = ("_limit", "_reactor", "_waiting", "_what", "over", "refusal", "size", "trailers")

    def __init__(self, limit: int, reactor: Any, what: str) -> None:
        self.size = 0
        self.over = False
        """Complete or failed."""
        self.refusal: Refusal | None = None
        self.trailers: HeaderList = []
        self._limit = limit
        self._reactor = reactor
        self._what = what
        self._waiting: Waiter[None] | None = None

    def keep(self, data: bytes) -> None:
        """Take bytes that are within the limit."""
        raise NotImplementedError

    async def wait(self) -> None:
        """Return when the body is complete or has failed; at once when it has."""
        if not self.over:
            self._waiting = Waiter(_nothing)
            await self._waiting

    def body_chunk(self, data: bytes) -> None:
        """Take the next bytes."""
        if self.over:
            return
        self.size += len(data)
        if self.size > self._limit:
            self.end(too_large(self._limit, self._what))
        else:
            self.keep(data)

    def body_end(self, trailers: HeaderList) -> None:
        """The body is complete."""
        self.trailers = trailers
        self.end(None)

    def body_failed(self, refusal: Refusal) -> None:
        """The body breaks off."""
        self.end(refusal)

    def end(self, refusal: Refusal | None) -> None:
        """Take nothing more, and wake whoever waits."""
        if not self.over:
            self.over = True
            self.refusal = refusal
            if self._waiting is not None:
                self._reactor.callLater(0, self._wake)

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)


class Spool(BodyCollector):
    """Collects a body in memory, a large one in a temporary file.

    :param limit: bytes.
    :param reactor: provides ``callLater``.
    :param what: for whom, in the log.
    :param watch: is given each piece as it arrives.
    """

    __slots__ = ("_watch", "file")

    def __init__(self, limit: int, reactor: Any, what: str, watch: Callable[[bytes], None] | None = None) -> None:
        super().__init__(limit, reactor, what)
        self.file: BinaryIO = BytesIO()
        self._watch = watch

    async def collect(self, body: Any) -> None:
        """Take a whole body; the file stands at its beginning then.

        :param body: a ``model.exchange.RequestBody`` that can be detached.
        :raises Refusal: ``size.too_large``; what the body failed with; ``internal``.
        """
        if body.length is not None and body.length > self._limit:
            # Known at once: a client that waits for ``100 Continue`` is never invited.
            raise too_large(self._limit, self._what)
        if body.length != 0:
            try:
                body.attach(self)
                await self.wait()
                if self.refusal is not None:
                    raise self.refusal
            except BaseException:
                body.detach()
                self.file.close()
                raise
        self.file.seek(0)

    def keep(self, data: bytes) -> None:
        """Write to memory or file."""
        if self._watch is not None:
            self._watch(data)
        try:
            if self.size >= _MEMORY_BYTES and isinstance(self.file, BytesIO):
                gathered = self.file.getvalue()
                self.file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by whoever serves the request
                self.file.write(gathered)
            self.file.write(data)
        except OSError:
            _log.failure("cannot spool a request body", event="body.spool")
            self.end(Refusal("internal", "cannot spool the request body", close=True))


class HeldBody:
    """Takes the place of the body for the leaf (``Exchange.held``): ``model.exchange.RequestBody`` from a file.

    :param length: as the client declared it: None for chunked.
    """

    __slots__ = ("_file", "_paused", "_sink", "_trailers", "failed", "length", "size", "wants_continue")

    def __init__(self, file: BinaryIO, size: int, length: int | None, trailers: HeaderList) -> None:
        self._file = file
        self.size = size
        """Bytes."""
        self.length = length
        self._trailers = trailers
        self._sink: BodySink | None = None
        self._paused = False
        self.failed: Refusal | None = None
        self.wants_continue = False

    def pieces(self) -> Iterator[bytes]:
        """Return the whole body from its beginning, piece by piece; it can be read and sent as often as needed."""
        self._file.seek(0)
        while piece := self._file.read(_PIECE):
            yield piece
        self._file.seek(0)

    def attach(self, sink: BodySink) -> None:
        """Send the body from where it stands; pauses are kept."""
        self._sink = sink
        self._paused = False
        self._flow()

    def take_buffered(self) -> bytes:
        """Return what can travel with a head; the rest follows when a sink is attached."""
        self._file.seek(0)
        return self._file.read(_PIECE)

    def detach(self) -> None:
        """Stop the flow."""
        self._sink = None

    def pause(self) -> None:
        """Stop for a while."""
        self._paused = True

    def resume(self) -> None:
        """Go on."""
        if self._paused:
            self._paused = False
            self._flow()

    def close(self) -> None:
        """Free the file: the request is over."""
        self._sink = None
        self._file.close()

    def _flow(self) -> None:
        while self._sink is not None and not self._paused:
            piece = self._file.read(_PIECE)
            if not piece:
                sink, self._sink = self._sink, None
                sink.body_end(self._trailers)
                return
            self._sink.body_chunk(piece)


async def hold_body(exchange: Exchange, limit: int, reactor: Any, what: str, watch: Callable[[bytes], None] | None = None) -> HeldBody:
    """Return the whole body of a request, which its leaf will send from there; a body that is held already is read again.

    :param limit: bytes.
    :param reactor: provides ``callLater``.
    :param what: for whom, in the log.
    :param watch: is given each piece, in order.
    :raises Refusal: ``size.too_large`` and what a body can fail with.
    """
    held: HeldBody | None = exchange.held
    if held is not None:
        if held.size > limit:
            raise too_large(limit, what)
        if watch is not None:
            for piece in held.pieces():
                watch(piece)
        return held
    body = exchange.body
    assert body is not None
    spool = Spool(limit, reactor, what, watch)
    await spool.collect(body)
    exchange.held = held = HeldBody(spool.file, spool.size, body.length, spool.trailers)
    return held


def has_body(exchange: Exchange) -> bool:
    """Tell whether a request has a body, an empty chunked one too."""
    body = exchange.body
    return body is not None and body.length != 0


def too_large(limit: int, what: str) -> Refusal:
    """Return the refusal of a body.

    :param limit: bytes.
    :param what: for whom, in the log.
    """
    return Refusal("size.too_large", f"more than {limit} bytes for {what}", close=True)


def _nothing() -> None:
    """Nothing to undo when the client goes: whoever waits closes the file."""
