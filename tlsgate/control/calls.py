"""One call of the control API: the request read to its end, the answer in Tyk's forms; knows no endpoint.

A handler is a coroutine that gets a :class:`Call` and returns an :class:`Answer`. A long list is an async iterator of pieces, which the
channel's back-pressure paces. Source: keys reference, section 11.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl

import msgspec
from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.web.server import NOT_DONE_YET

from tlsgate.errors import CATALOGUE, Refusal, StoreUnavailable
from tlsgate.gateway.tree import LeafResource
from tlsgate.proxy.held_body import BodyCollector
from tlsgate.proxy.waiter import Waiter, Work

if TYPE_CHECKING:
    from tlsgate.gateway.request import GateRequest
    from tlsgate.model.exchange import HeaderList

__all__ = ["Answer", "Call", "CallResource", "Endpoint", "Handler", "error", "fail", "success"]

_log = Logger()
_CHANGING = frozenset({b"POST", b"PUT", b"PATCH", b"DELETE"})
_JSON = (b"Content-Type", b"application/json")
_TEXT = (b"Content-Type", b"text/plain; charset=utf-8")


class Call(NamedTuple):
    """What a handler gets."""

    method: str
    names: Mapping[str, str]
    """What the path's ``{name}`` parts stand for, percent-decoded (``%2F`` is data, decisions 2.11)."""
    query: Mapping[str, str]
    """The first value of each parameter."""
    body: bytes
    content_type: str
    request: GateRequest
    """For addresses and certificates of the caller; never for the answer."""

    def flag(self, name: str) -> bool:
        """Return whether a parameter says yes: ``1`` or ``true`` (Tyk takes any text for yes, also ``false``)."""
        return self.query.get(name, "").lower() in ("1", "true")


class Answer(NamedTuple):
    """What a handler returns."""

    status: int
    body: Any
    """A tree for JSON, bytes as they are, or an async iterator of bytes."""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    """A ``Content-Type`` here replaces ``application/json``."""


Handler = Callable[[Call], Awaitable[Answer]]


class Endpoint(NamedTuple):
    """One method of one path."""

    method: str
    path: str
    """``/tyk/keys/{id}``; a part in braces is any one segment."""
    handle: Handler


class CallFailed(Exception):
    """Ends a call from within (:func:`fail`)."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def error(status: int, message: str) -> Answer:
    """Return ``{"status": "error", "message": ...}``."""
    return Answer(status, {"status": "error", "message": message})


def fail(status: int, message: str) -> CallFailed:
    """Return what a handler raises to end with :func:`error`."""
    return CallFailed(error(status, message))


def success(key: str, action: str, **more: Any) -> Answer:
    """Return the answer of a change: ``key``, ``status``, ``action`` and further members."""
    return Answer(200, {"key": key, "status": "ok", "action": action, **more})


class CallResource(LeafResource):
    """Answers one call: reads the body, asks the handler, sends the answer.

    :param max_body_bytes: of a request; more is 413.
    """

    def __init__(self, endpoint: Endpoint, names: Mapping[str, str], site: Any, max_body_bytes: int) -> None:
        self._endpoint = endpoint
        self._names = names
        self._site = site
        self._max = max_body_bytes

    def render(self, request: GateRequest) -> int:
        """Serve; the answer comes later."""
        work = Work(self._serve(request))
        if not work.done:
            request.work = work
        return NOT_DONE_YET

    async def _serve(self, request: GateRequest) -> None:
        try:
            answer = await self._ask(request)
            await self._send(request, answer)
        except Refusal as refusal:
            if request.channel.begun(request):
                request.channel.break_off(request, refusal.detail)
            else:
                self._refuse(request, refusal)
        except StoreUnavailable as problem:
            if request.channel.begun(request):
                request.channel.break_off(request, str(problem))
            else:
                self._refuse(request, Refusal("store.unavailable", str(problem)))
        except CancelledError:
            request.refusal, request.flag, request.status = "client.gone", "CDC", 499
        except Exception:
            _log.failure("control call {path} failed", event="control.error", path=self._endpoint.path)
            if request.channel.begun(request):
                request.channel.break_off(request, "unexpected error")
            else:
                self._refuse(request, Refusal("internal", "unexpected error", close=True))
        finally:
            request.work = None
            self._site.finished(request)

    async def _ask(self, request: GateRequest) -> Answer:
        body = _Body(self._max, self._site.reactor)
        request.body.attach(body)
        await body.wait()
        if body.refusal is not None:
            raise body.refusal
        call = Call(
            request.method.decode("latin-1"),
            self._names,
            read_query(request.query),
            b"".join(body.pieces),
            request.index.get(b"content-type", b"").decode("latin-1"),
            request,
        )
        if request.method not in _CHANGING or self._site.changes is None:
            return await self._handle(call)
        answer: Answer = await self._site.changes.tell_of(self._handle(call))
        return answer

    async def _handle(self, call: Call) -> Answer:
        try:
            return await self._endpoint.handle(call)
        except CallFailed as failed:
            return failed.answer

    def _refuse(self, request: GateRequest, refusal: Refusal) -> None:
        entry = CATALOGUE[refusal.id]
        request.refusal, request.detail, request.flag = refusal.id, refusal.detail, entry.flag
        if refusal.close:
            request.keep_alive = False
        body = {"status": "error", "message": entry.message.strip()}
        request.channel.respond(request, entry.status, [_JSON], msgspec.json.encode(body) + b"\n")

    async def _send(self, request: GateRequest, answer: Answer) -> None:
        headers: HeaderList = list(answer.headers)
        if not any(name.lower() == b"content-type" for name, _ in headers):
            headers.append(_TEXT if isinstance(answer.body, bytes) else _JSON)
        if isinstance(answer.body, AsyncIterator):
            await self._stream(request, answer.status, headers, answer.body)
            return
        body = answer.body if isinstance(answer.body, bytes) else msgspec.json.encode(answer.body) + b"\n"
        request.channel.respond(request, answer.status, headers, body)

    async def _stream(self, request: GateRequest, status: int, headers: HeaderList, pieces: AsyncIterator[bytes]) -> None:
        channel = request.channel
        pace = _Pace()
        begun = False
        try:
            async for piece in pieces:
                if not begun:
                    begun = True
                    channel.begin(request, status, headers, None, piece)
                    channel.register_producer(pace)
                elif piece:
                    channel.chunk(request, piece)
                if pace.paused:
                    await pace.wait()
        finally:
            if begun and not channel.lost:
                channel.unregister_producer()
        if not begun:
            channel.begin(request, status, headers, None, b"")
        channel.finish(request)


def read_query(query: bytes | None) -> dict[str, str]:
    """Return the first value of each parameter; what is no UTF-8 is replaced."""
    found: dict[str, str] = {}
    for name, value in parse_qsl((query or b"").decode("latin-1"), keep_blank_values=True, encoding="utf-8", errors="replace"):
        found.setdefault(name, value)
    return found


class _Pace:
    """Producer side of a streamed list: the channel pauses it while the client does not read."""

    def __init__(self) -> None:
        self.paused = False
        self._waiting: Waiter[None] | None = None

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    def stopProducing(self) -> None:
        """The client is gone: whoever works for it is cancelled by the channel."""

    async def wait(self) -> None:
        self._waiting = Waiter(lambda: None)
        await self._waiting


class _Body(BodyCollector):
    """Collects the body of a call in memory."""

    __slots__ = ("pieces",)

    def __init__(self, limit: int, reactor: Any) -> None:
        super().__init__(limit, reactor, "a control call")
        self.pieces: list[bytes] = []

    def keep(self, data: bytes) -> None:
        self.pieces.append(data)
