"""The link to Redis: a few pipelined connections that are kept open, and calls that end in time.

A call is refused at once while there is no connection or too much is pending; one that is not answered in time fails, and if nothing at all
was heard meanwhile its connection is dropped, so that the next calls are refused at once until a new one greets. Nothing is sent twice.
Knows connections, deadlines and errors of servers; must not know keys or scripts.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from txredisapi import RedisError, ResponseError

from tlsgate.errors import StoreUnavailable
from tlsgate.store.redis_connect import CommandConnection, Connector
from tlsgate.store.timeouts import Timeouts

__all__ = ["BEAT_S", "FIRST_PAUSE_S", "LAST_PAUSE_S", "Attempts", "RedisLink", "UnknownScript", "find_code"]

FIRST_PAUSE_S = 0.1
LAST_PAUSE_S = 1.0
"""Between attempts: recovery is promised within 5 s, an attempt takes up to the deadline."""
BEAT_S = 1.0
CONNECTIONS = 2
"""Two, so that a large answer does not hold up all others."""
MAX_PENDING = 4000
"""Calls on one connection without an answer."""

_MOVED = frozenset({"READONLY", "MASTERDOWN", "LOADING", "NOAUTH", "WRONGPASS", "UNBLOCKED"})
"""Answers after which the connection is no good: a failover, a restart, another password."""
_COMPLAIN_S = 60.0
_LOOK = "look into its log"
_REMEDIES = {
    "OOM": "give it more memory, or use a Redis of its own (maxmemory is reached)",
    "MISCONF": "its disk is full or broken: it cannot save",
    "NOPERM": "give its user the rights that docs/stores.md lists",
    "NOREPLICAS": "too few replicas are connected (min-replicas-to-write)",
    "BUSY": "a script of somebody else blocks it",
    "CLUSTERDOWN": "it runs in cluster mode, which is not supported",
    "MOVED": "it runs in cluster mode, which is not supported",
    "CROSSSLOT": "it runs in cluster mode, which is not supported",
}
_CODE = re.compile(r"-?([A-Z][A-Z0-9_]+)\b")
_log = Logger()


class UnknownScript(Exception):
    """The server does not have a script, or has it no more."""


class Attempts:
    """Something that is tried again for ever, with growing pauses after failures.

    :param attempt: raises ``StoreUnavailable``, or returns after a connection that worked is lost.
    """

    def __init__(self, reactor: Any, attempt: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._reactor = reactor
        self._attempt = attempt
        self._going = True
        self._loop = Deferred.fromCoroutine(self._run())

    async def stop(self) -> None:
        """End, also in the midst of an attempt; returns when nothing of it is left."""
        self._going = False
        self._loop.cancel()
        await self._loop

    async def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        try:
            while self._going:
                try:
                    await self._attempt()
                    pause_s = FIRST_PAUSE_S
                except StoreUnavailable:
                    pause_s = min(2 * pause_s, LAST_PAUSE_S)
                if self._going:
                    # Not all nodes at the same moment.
                    await deferLater(self._reactor, pause_s * random.uniform(0.5, 1.0))  # noqa: S311 (no secret)
        except CancelledError:
            pass


class RedisLink:
    """Calls to one Redis.

    :param connector: opens connections.
    :param timeout_s: deadline of every call.
    """

    def __init__(self, reactor: Any, connector: Connector, timeout_s: float) -> None:
        self._reactor = reactor
        self._connector = connector
        self._timeouts: Timeouts[CommandConnection] = Timeouts(reactor, timeout_s, self._note_late)
        self._timeout_s = timeout_s
        self._ready: list[CommandConnection] = []
        self._loops: list[Attempts] = []
        self._beating = LoopingCall(self._beat)
        self._beating.clock = reactor
        self._fault = "not started"
        self._complain_at: dict[str, float] = {}
        self._tried: Deferred[None] = Deferred()
        self.on_ready: Callable[[], None] = _nothing
        """Called when calls are answered again after all connections were gone."""
        self.losses = 0
        """How often all connections were gone: what spans several calls sees that it was interrupted."""

    @property
    def healthy(self) -> bool:
        """Whether there is a connection; idle ones are asked each second."""
        return bool(self._ready)

    async def start(self) -> None:
        """Begin to connect; returns after the first success or failure."""
        self._fault = "not connected yet"
        self._beating.start(BEAT_S, now=False)
        self._loops = [Attempts(self._reactor, self._connect) for _ in range(CONNECTIONS)]
        if not self._tried.called:
            await self._tried

    async def stop(self) -> None:
        """Close all connections."""
        self._fault = "closed"
        connections, self._ready = self._ready, []
        if self._beating.running:
            self._beating.stop()
        self._timeouts.stop()
        for loop in self._loops:
            await loop.stop()
        for connection in connections:
            await connection.abort()

    async def call(self, *command: Any) -> Any:
        """Return the answer to a command.

        :raises StoreUnavailable: no connection, no answer in time, or an answer that says so.
        :raises UnknownScript: of ``EVALSHA``.
        :raises ValueError: the name holds something of another kind.
        """
        ready = self._ready
        if not ready:
            raise StoreUnavailable(self._fault)
        connection = ready[0] if len(ready) == 1 else min(ready, key=_pending)
        if _pending(connection) >= MAX_PENDING:
            raise StoreUnavailable("too many calls without an answer")
        try:
            waiter = connection.execute_command(*command)
            self._timeouts.watch(waiter, connection)
            return await waiter
        except ResponseError as error:
            raise self._judge(connection, str(error)) from error
        except RedisError as error:
            # Whether it was done is not known: it is not sent again.
            raise StoreUnavailable(f"{type(error).__name__}: {error}") from error

    def _judge(self, connection: CommandConnection, text: str) -> Exception:
        code = find_code(text)
        if code == "NOSCRIPT":
            return UnknownScript()
        if code in ("WRONGTYPE", "NOTCOUNTER"):
            return ValueError("the name holds something of another kind")
        fault = f"Redis answers {code}"
        if code in _MOVED:
            self._drop(connection, fault)
        elif self._reactor.seconds() >= self._complain_at.get(code, 0.0):
            # Not by the loss of a connection: nothing else tells the operator.
            self._complain_at[code] = self._reactor.seconds() + _COMPLAIN_S
            _log.error("Redis refuses calls with {code}: {remedy}", event="store.refused", code=code, remedy=_REMEDIES.get(code, _LOOK))
        return StoreUnavailable(fault)

    def _note_late(self, connection: CommandConnection) -> None:
        if self._reactor.seconds() - connection.heard_at >= self._timeout_s:
            self._drop(connection, f"nothing was heard for {self._timeout_s:g} s")

    def _drop(self, connection: CommandConnection, fault: str) -> None:
        """Use a connection no more; what waits on it fails."""
        if connection in self._ready:
            self._remove(connection, fault)
            connection.transport.abortConnection()

    def _remove(self, connection: CommandConnection, fault: str) -> None:
        self._ready.remove(connection)
        if not self._ready:
            self.losses += 1
            self._note(fault)

    async def _connect(self) -> None:
        """Open a connection and return when it is lost."""
        try:
            connection = await self._connector.open(CommandConnection)
        except StoreUnavailable as error:
            self._note(str(error))
            self._end_start()
            raise
        self._ready.append(connection)
        self._end_start()
        if self._fault:
            self._fault = ""
            _log.info("store there", event="store.back")
            self.on_ready()
        try:
            await connection.when_lost()
        finally:
            if connection in self._ready:
                self._remove(connection, "the server closed the connection")

    def _end_start(self) -> None:
        """Let ``start`` return, in a turn of its own: what follows it may stop this very attempt, which is under way."""
        if not self._tried.called:
            self._reactor.callLater(0, self._note_tried)

    def _note_tried(self) -> None:
        if not self._tried.called:
            self._tried.callback(None)

    def _note(self, fault: str) -> None:
        """Keep why there is no connection, and log it once."""
        if not self._ready:
            if not self._fault or self._fault == "not connected yet":
                _log.error("store away: {fault}", event="store.away", fault=fault)
            self._fault = fault

    def _beat(self) -> None:
        """Ask connections on which nothing waits, so that a loss is noticed before somebody needs them."""
        for connection in tuple(self._ready):
            if not _pending(connection):
                waiter = connection.execute_command("PING")
                self._timeouts.watch(waiter, connection)
                waiter.addErrback(_forget)


def find_code(text: str) -> str:
    """Return the first word of an error, that of the command that failed within a script; the rest may repeat names of keys."""
    if text.startswith("ERR Error running script"):
        # Redis 6: "... @user_script:3: -READONLY You can't ..."
        text = text.rpartition(": -")[2]
    found = _CODE.match(text)
    return "an error" if found is None else found[1]


def _pending(connection: CommandConnection) -> int:
    return len(connection.replyQueue.waiting)


def _nothing() -> None:
    """Nobody wants to know."""


def _forget(failure: object) -> None:
    """The connection's loss tells all that is to be known."""
