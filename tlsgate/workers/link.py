"""A worker's side of the channel: where its sockets come from, who is told of its states, what the parent asks of it.

Knows messages and the service's few doors; must not know what the gateway serves.
"""

from __future__ import annotations

import faulthandler
import os
import select
import time
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeadlinePassed
from twisted.internet.error import CannotListenError
from twisted.logger import Logger

from tlsgate.workers.channel import Message, pieces_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping

    from twisted.python.failure import Failure

    from tlsgate.gateway.shared_counters import Snapshot
    from tlsgate.logs import LineLog
    from tlsgate.workers.supervisor import Born

__all__ = ["WorkerLink"]

_log = Logger()
_SOCKET_S = 10.0
_BEAT_S = 1.0
_PARENT_S = 3.0
"""How long a question to all workers waits for the parent."""
_MAX_FAULT = 4000
"""Characters of what went wrong."""


class WorkerLink:
    """Fulfils ``hosting.Host`` and ``hosting.States``; a descriptor for the reactor.

    :param workers: how many there are.
    """

    def __init__(self, born: Born, workers: int, line_log: LineLog | None) -> None:
        self.number = born.number
        self.workers = workers
        self.line_log = line_log
        self.notifier = self
        self.reload_everywhere: Callable[[], Awaitable[str]] = self._reload_everywhere
        self._channel = born.channel
        self._words = born.words
        self._early: list[dict[str, Any]] = []
        self._fds: list[int] = []
        self._lines: dict[str, str] = {}
        self._answers: dict[int, Deferred[Any]] = {}
        self._found: dict[int, dict[int, dict[str, Any]]] = {}
        self._told: dict[int, dict[int, list[Any]]] = {}
        self._last_id = 0
        self._status = ""
        self._ready = False
        self._gone = False
        self._gateway: Any = None
        self._reactor: Any = None
        # Where it stood when it died of a signal of its own making, or of the parent's SIGABRT.
        faulthandler.enable(self._words)

    def leave_words(self, problem: BaseException) -> None:
        """Say for the parent's log what this process ends of."""
        text = f"{type(problem).__name__}: {problem}"[:_MAX_FAULT]
        os.write(self._words.fileno(), text.encode("utf-8", "replace") + b"\n")

    # As a host.

    def attach(self, gateway: Any) -> None:
        """Listen to the parent from now on."""
        self._gateway = gateway
        self._reactor = gateway.reactor
        gateway.site.shared_counters.worker = self.number
        gateway.site.shared_counters.ask = self._collect_all
        gateway.site.questions.worker = self.number
        gateway.site.questions.ask = self._ask_all
        self._reactor.addReader(self)
        self._reactor.callLater(0, self._take_early)
        self._beat()

    def take_socket(self, address: str, port: int, backlog: int) -> int:
        """Return a socket that the parent bound."""
        self._channel.send({"do": "socket", "address": address, "port": port, "backlog": backlog})
        try:
            message = self._wait_for("given", "refused")
        except (EOFError, TimeoutError) as problem:
            raise CannotListenError(address, port, OSError(str(problem))) from problem
        if message.tree["do"] == "refused":
            raise CannotListenError(address, port, OSError(message.tree["errno"], message.tree["text"]))
        self._fds.extend(message.fds)
        return message.fds[0]

    def settled(self) -> None:
        """Close what has been copied."""
        for fd in self._fds:
            os.close(fd)
        self._fds.clear()

    def released(self, address: str, port: int) -> None:
        """Tell the parent, which closes its own when nobody uses it."""
        self._lines.pop(str(port), None)
        self._send({"do": "release", "address": address, "port": port})

    def announce(self, line: str) -> None:
        """Leave the printing to the parent: once for all workers."""
        self._lines[line.rpartition("port=")[2].split()[0]] = line

    def watchdog_interval(self) -> None:
        """The parent hears of this loop by its beats."""

    # As who is told of states.

    def ready(self, status: str = "") -> None:
        """Tell the parent; after a reload the answer to it does."""
        self._status = status
        if not self._ready:
            self._ready = True
            self._channel.send({"do": "ready", **self._state()})
            self._take_early()

    def reloading(self, monotonic_s: float, status: str = "") -> None:
        """The parent knows."""

    def stopping(self, status: str = "") -> None:
        """The parent sees the end."""

    def watchdog(self) -> None:
        """Never called."""

    def _state(self) -> dict[str, Any]:
        drain_s = self._gateway.config.graceful_shutdown_timeout_s
        return {"status": self._status[:_MAX_FAULT], "drain_s": drain_s, "lines": list(self._lines.values())}

    # As a descriptor.

    def fileno(self) -> int:
        """Return the channel's."""
        return self._channel.fileno()

    def logPrefix(self) -> str:
        """Return a name."""
        return "WorkerLink"

    def doRead(self) -> None:
        """Take what the parent says."""
        try:
            while (message := self._channel.receive()) is not None:
                self._take(message.tree)
        except EOFError:
            self._orphaned()

    def doWrite(self) -> None:
        """Send what was kept."""
        self._channel.flush()
        if not self._channel.waiting:
            self._reactor.removeWriter(self)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor ends."""

    def _send(self, tree: dict[str, Any]) -> None:
        self._channel.send(tree)
        if self._channel.waiting:
            self._reactor.addWriter(self)

    def _wait_for(self, *kinds: str) -> Message:
        """Return the answer to what was just asked; what comes before it has its turn later."""
        until = time.monotonic() + _SOCKET_S
        while (left := until - time.monotonic()) > 0:
            select.select([self], [self] if self._channel.waiting else [], [], left)
            self._channel.flush()
            message = self._channel.receive()
            if message is None:
                continue
            if message.tree["do"] in kinds:
                return message
            self._early.append(message.tree)
            if self._reactor is not None:
                self._reactor.callLater(0, self._take_early)
        raise TimeoutError("the parent process does not answer")

    # What the parent says.

    def _take_early(self) -> None:
        early, self._early = self._early, []
        for tree in early:
            self._take(tree)

    def _take(self, tree: dict[str, Any]) -> None:
        kind = tree["do"]
        if kind == "reload":
            if not self._ready:
                self._early.append(tree)
                return
            self._carry(self._reload(tree["number"]))
        elif kind == "stop":
            self._gateway.end()
        elif kind == "hurry":
            self._gateway.hurry()
        elif kind == "count":
            self._count()
        elif kind == "answer":
            self._answer(tree["id"], tree["fault"])
        elif kind == "sum":
            self._sum(tree)
        elif kind == "question":
            self._tell(tree)
        elif kind == "heard" and tree["id"] in self._told:
            self._told[tree["id"]].setdefault(tree["worker"], []).append(tree["entry"])
        elif kind == "heard_all":
            self._answer(tree["id"], self._told.get(tree["id"], {}))

    async def _reload(self, number: int) -> None:
        fault = await self._gateway.reload_here()
        self._send({"do": "reloaded", "number": number, "fault": fault[:_MAX_FAULT], **self._state()})

    def _count(self) -> None:
        snapshot = self._gateway.site.shared_counters.read()
        nothing: dict[str, float] = {}
        for piece in pieces_of(snapshot["counters"]):
            self._send({"do": "counted", "counters": piece, "gauges": nothing, "more": True})
        for piece in pieces_of(snapshot["gauges"]):
            self._send({"do": "counted", "counters": nothing, "gauges": piece, "more": True})
        self._send({"do": "counted", "counters": nothing, "gauges": nothing, "more": False})

    def _tell(self, tree: dict[str, Any]) -> None:
        for entry in self._gateway.site.questions.answer(tree["topic"], tree["question"]):
            self._send({"do": "told", "token": tree["token"], "entry": entry})
        self._send({"do": "told", "token": tree["token"]})

    def _beat(self) -> None:
        if not self._gone:
            self._send({"do": "beat", "counters": dict(self._gateway.site.counters)})
            self._reactor.callLater(_BEAT_S, self._beat)

    def _orphaned(self) -> None:
        self._gone = True
        self._reactor.removeReader(self)
        for id in tuple(self._answers):
            self._answers.pop(id).errback(EOFError("the parent process is gone"))
        if not self._gateway.site.draining:
            _log.error("the parent process is gone: this worker drains and ends", event="workers.orphaned", worker=self.number)
        self._gateway.end()

    def _carry(self, work: Coroutine[Any, Any, None]) -> None:
        Deferred.fromCoroutine(work).addErrback(
            lambda failure: _log.failure("what the parent asked for failed", failure, event="workers.request_failed")
        )

    # What is asked of the parent.

    def _ask(self, kind: str, **more: Any) -> tuple[int, Deferred[Any]]:
        self._last_id += 1
        waiting = self._answers[self._last_id] = Deferred(lambda _: None)
        self._send({"do": kind, "id": self._last_id, **more})
        return self._last_id, waiting

    def _answer(self, id: int, result: Any) -> None:
        waiting = self._answers.pop(id, None)
        if waiting is not None and not waiting.called:
            waiting.callback(result)

    async def _reload_everywhere(self) -> str:
        if self._gone:
            return "the gateway shuts down"
        try:
            return str(await self._ask("reload")[1])
        except EOFError as problem:
            return str(problem)

    async def _collect_all(self) -> list[Snapshot]:
        alone = self._gateway.site.shared_counters.read
        if self._gone:
            return [alone()]
        id, waiting = self._ask("collect")
        self._found[id] = {}
        try:
            found: list[Snapshot] = await waiting
        except EOFError:
            return [alone()]
        finally:
            self._found.pop(id, None)
        return found

    async def _ask_all(self, topic: str, question: Mapping[str, Any]) -> list[tuple[int, list[Any]]]:
        if self._gone:
            return [(self.number, self._gateway.site.questions.answer(topic, question))]
        id, waiting = self._ask("ask", topic=topic, question=dict(question))
        told = self._told[id] = {}
        try:
            await waiting.addTimeout(_PARENT_S, self._reactor)
        except EOFError:
            return [(self.number, self._gateway.site.questions.answer(topic, question))]
        except DeadlinePassed:
            # The parent gives a worker a second; it is itself that stands still.
            _log.warn("the parent does not answer", event="workers.parent_silent")
            return sorted({self.number: self._gateway.site.questions.answer(topic, question), **told}.items())
        finally:
            self._told.pop(id, None)
            self._answers.pop(id, None)
        return sorted(told.items())

    def _sum(self, tree: dict[str, Any]) -> None:
        found = self._found.get(tree["id"])
        if found is None:
            return
        part = tree["part"]
        entry = found.setdefault(part["worker"], {"worker": part["worker"], "counters": {}, "gauges": {}})
        entry["counters"].update(part.get("counters", {}))
        entry["gauges"].update(part.get("gauges", {}))
        if not tree["more"]:
            self._answer(tree["id"], [found[number] for number in sorted(found)])
