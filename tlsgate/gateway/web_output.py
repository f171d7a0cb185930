"""The answer of a mounted resource on its way to the channel: when its head goes out, its framing, back-pressure and ends.

Knows channels and Twisted's producers; nothing of resources, paths or headers (``build_head`` gives those). What a resource writes
in one turn of the reactor travels together: an answer that is complete by then gets a length, any other is streamed. A resource
that breaks its own ``Content-Length`` can never shift what the client takes for the next answer: too many bytes are not sent, too few
break the connection off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from tlsgate.errors import Refusal
from tlsgate.proxy.waiter import Waiter

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlsgate.model.exchange import HeaderList

__all__ = ["AnswerHead", "WebOutput"]

_log = Logger()

_TURN_BYTES = 65536
"""What is gathered within one turn before it is sent at once."""
_UNPACED_BYTES = 64 * 1024 * 1024
"""Bytes that may wait for a slow client of a resource that registered no producer."""


class AnswerHead(NamedTuple):
    """Status, header lines without framing, and the length that the resource declared."""

    status: int
    headers: HeaderList
    declared: int | None


@implementer(IPushProducer)
class WebOutput:
    """One answer.

    :param request: ``gateway.request.GateRequest``.
    :param reactor: provides ``callLater``; None sends each write at once.
    :param build_head: called once, when the head goes out, with the size of the body in bytes if that is known by then.
    """

    __slots__ = (
        "_begun",
        "_bodiless",
        "_declared",
        "_flush_call",
        "_held",
        "_held_bytes",
        "_notifications",
        "_paused",
        "_pull_call",
        "_reason",
        "_registered",
        "build_head",
        "done",
        "ended",
        "finished",
        "is_head",
        "producer",
        "reactor",
        "request",
        "sent",
        "started",
        "streaming",
    )

    def __init__(self, request: Any, reactor: Any, build_head: Callable[[int | None], AnswerHead]) -> None:
        self.request = request
        self.reactor = reactor
        self.build_head = build_head
        self.done: Waiter[None] = Waiter(_nothing)
        """Fires when the answer is complete; fails with ``Refusal`` when it cannot be completed; awaited by the pipeline."""
        self.started = False
        """The resource has written something."""
        self.finished = False
        """The resource has called ``finish``."""
        self.ended = False
        """Nothing more is sent: complete, failed or nobody there."""
        self.sent = 0
        self.producer: Any = None
        self.streaming = False
        self._reason: Failure | None = None
        self._notifications: list[Deferred[None]] = []
        self._begun = False
        self._bodiless = False
        self._declared: int | None = None
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._flush_call: Any = None
        self._pull_call: Any = None
        self._paused = False
        self._registered = False
        self.is_head = request.method == b"HEAD"
        """The client asked for the head only, whatever ``request.method`` says meanwhile."""

    def write(self, data: bytes) -> None:
        """Send more of the body; the first call fixes the head.

        :raises RuntimeError: the answer has been finished.
        :raises TypeError: ``data`` is not bytes.
        """
        if self.finished:
            raise RuntimeError("write after finish")
        if not isinstance(data, bytes):
            raise TypeError(f"a body is bytes, not {type(data).__name__}")
        if self.ended:
            return
        self.started = True
        self._held.append(data)
        self._held_bytes += len(data)
        if self.producer is not None:
            if not self.streaming:
                self._schedule_pull()
            self._flush()
        elif self._held_bytes >= _TURN_BYTES or self.reactor is None:
            self._flush()
        elif self._flush_call is None:
            self._flush_call = self.reactor.callLater(0, self._flush_turn)

    def finish(self, last: bytes = b"") -> None:
        """End the answer, with the last bytes of its body; does nothing when the client has gone.

        :raises RuntimeError: it has been finished before.
        """
        if self.finished:
            raise RuntimeError("finish was called twice")
        self.finished = True
        channel = self.request.channel
        if self.ended or channel.lost:
            return
        data = self._take_held() + last
        if not self._begun:
            head = self._fix_head(len(data))
            if head is None:
                return
            if self._bodiless:
                channel.begin(self.request, head.status, head.headers, self._length_of(head, len(data)))
                channel.finish(self.request)
            elif head.declared is not None and head.declared != len(data):
                self.fail(_broken_length(head.declared, len(data)))
                return
            else:
                channel.respond(self.request, head.status, head.headers, data)
        elif self._declared is not None and self.sent + len(data) != self._declared and not self._bodiless:
            self.fail(_broken_length(self._declared, self.sent + len(data)))
            return
        else:
            channel.finish(self.request, last=data)
        self._count(data)
        self._end(None)

    def fail(self, refusal: Refusal) -> None:
        """Give the answer up: refused if nothing has been sent, else broken off (``done`` tells the pipeline)."""
        if self.ended:
            return
        if self._registered:
            self.request.channel.unregister_producer()
        self._end(refusal)

    def client_gone(self) -> None:
        """Nobody is there any more: the resource is told through ``notify``."""
        if not self.ended:
            self._end(ConnectionLost("the client has gone"))

    def notify(self) -> Deferred[None]:
        """Return a Deferred that fires at the end of the answer, with a failure if it could not be completed."""
        if self.ended:
            return succeed(None) if self._reason is None else fail(self._reason)
        waiting: Deferred[None] = Deferred()
        self._notifications.append(waiting)
        return waiting

    # Producers: the channel steers us, we steer the resource's producer.

    def register(self, producer: Any, streaming: bool) -> None:
        """Let the client's reading speed steer ``producer``.

        :param streaming: a push producer; else it is asked for each piece.
        :raises ValueError: there is one already.
        :raises RuntimeError: a pull producer outside of a mount.
        """
        if self.producer is not None:
            raise ValueError(f"cannot register {producer!r}: {self.producer!r} was not unregistered")
        if not streaming and self.reactor is None:
            raise RuntimeError("pull producers need a mounted resource")
        if self.ended:
            producer.stopProducing()
            return
        self.producer = producer
        self.streaming = streaming
        self._register()
        if not streaming:
            self._schedule_pull()
        elif self._paused:
            producer.pauseProducing()

    def unregister(self) -> None:
        """Undo :meth:`register`."""
        self.producer = None
        self._pull_call = _cancel(self._pull_call)

    def pauseProducing(self) -> None:
        """The client reads too slowly."""
        self._paused = True
        self._pull_call = _cancel(self._pull_call)
        if self.producer is not None and self.streaming:
            self.producer.pauseProducing()

    def resumeProducing(self) -> None:
        """The client has caught up."""
        self._paused = False
        if self.producer is not None:
            if self.streaming:
                self.producer.resumeProducing()
            else:
                self._schedule_pull()

    def stopProducing(self) -> None:
        """The transport is gone; the pipeline's cancellation tells."""

    def _register(self) -> None:
        if not self._registered:
            self._registered = True
            self.request.channel.register_producer(self)

    def _schedule_pull(self) -> None:
        if self._pull_call is None and not self._paused:
            self._pull_call = self.reactor.callLater(0, self._pull)

    def _pull(self) -> None:
        """Ask once; a piece that comes leads to the next question (a producer that has nothing yet is not asked in circles)."""
        self._pull_call = None
        try:
            self.producer.resumeProducing()
        except Exception as problem:
            self._fail_unexpected("producer", problem)

    # Sending.

    def _flush_turn(self) -> None:
        self._flush_call = None
        self._flush()

    def _flush(self) -> None:
        """Send what is held; the head before it."""
        data = self._take_held()
        channel = self.request.channel
        if not self._begun:
            head = self._fix_head(None)
            if head is None or not self._fits(len(data)):
                return
            self._begun = True
            self._count(data)
            channel.begin(self.request, head.status, head.headers, self._length_of(head, 0), data)
            # Even without a producer of the resource: a client that reads nothing at all is cut by the channel.
            self._register()
        elif self._fits(len(data)):
            self._count(data)
            channel.chunk(self.request, data)

    def _fits(self, size: int) -> bool:
        """Check a piece before it is sent."""
        if self._bodiless:
            return True
        if self._declared is not None and self.sent + size > self._declared:
            self.fail(_broken_length(self._declared, self.sent + size))
        elif self._paused and self.producer is None and self.request.channel.transport.queued() > _UNPACED_BYTES:
            self.fail(Refusal("internal", "the client reads too slowly for a mounted resource without a producer"))
        return not self.ended

    def _count(self, data: bytes) -> None:
        if not self._bodiless:
            self.sent += len(data)

    def _take_held(self) -> bytes:
        self._flush_call = _cancel(self._flush_call)
        held, self._held = self._held, []
        self._held_bytes = 0
        return held[0] if len(held) == 1 else b"".join(held)

    def _fix_head(self, size: int | None) -> AnswerHead | None:
        """Return the head, None when it cannot be sent: then the answer has failed."""
        if self.is_head:
            # A resource without HEAD believes that it serves a GET; the channel must not.
            self.request.method = b"HEAD"
        try:
            head = self.build_head(size)
        except Refusal as refusal:
            self.fail(refusal)
            return None
        except Exception as problem:
            self._fail_unexpected("head", problem)
            return None
        self._declared = head.declared
        self._bodiless = self.is_head or head.status in (204, 304)
        return head

    def _length_of(self, head: AnswerHead, size: int) -> int | None:
        """Return the length for the head: without a body that of the body that a GET would have had, if known (RFC 9110 8.6)."""
        if head.status == 304:
            return None
        if head.declared is not None or not self._bodiless:
            return head.declared
        return size or None

    def _fail_unexpected(self, what: str, problem: Exception) -> None:
        _log.failure("{what} of a mounted resource failed", event="mounted.error", what=what)
        self.fail(Refusal("internal", f"{what} of a mounted resource: {type(problem).__name__}"))

    def _end(self, problem: Exception | None) -> None:
        self.ended = True
        self._reason = reason = None if problem is None else Failure(problem)
        self._flush_call = _cancel(self._flush_call)
        self._pull_call = _cancel(self._pull_call)
        self._held = []
        producer, self.producer = self.producer, None
        if producer is not None and reason is not None:
            try:
                producer.stopProducing()
            except Exception:
                _log.failure("producer of a mounted resource failed", event="mounted.error")
        waiting, self._notifications = self._notifications, []
        for deferred in waiting:
            if reason is None:
                deferred.callback(None)
            else:
                deferred.errback(reason)
        if problem is None:
            self.done.callback(None)
        else:
            self.done.errback(problem)


def _broken_length(declared: int, written: int) -> Refusal:
    return Refusal("internal", f"a mounted resource declared {declared} bytes and wrote {written}", close=True)


def _cancel(call: Any) -> Any:
    """Cancel a delayed call if there is one; returns None, to be put in its place."""
    if call is not None:
        call.cancel()
    return None


def _nothing() -> None:
    """The pipeline's cancellation is handled where it awaits."""
