"""The parent: starts workers, hands them sockets, passes reloads and ends on, replaces who dies; serves nobody and knows no definition.

A plain loop over signals, channels and times: no event loop of Twisted's, no threads, so that it can fork at any time. What a worker asks
for is answered at once; nothing here waits for a worker. Design note 0014.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Callable
from typing import Any, NamedTuple

from twisted.logger import Logger

from tlsgate.hosting import name_unused
from tlsgate.systemd import Notifier
from tlsgate.workers.channel import Channel, Message, make_pair, pieces_of
from tlsgate.workers.events import Loop
from tlsgate.workers.roster import Restarts, Worker, describe_end, sum_counters
from tlsgate.workers.rounds import COLLECT_LIMIT_S, Collection, ReloadRounds, combine
from tlsgate.workers.shelf import SocketShelf

__all__ = ["Born", "Supervisor"]

_log = Logger()
_KILL_AFTER_S = 15.0
"""Beyond the drain's own time."""
_HURRY_S = 10.0


class Born(NamedTuple):
    """What a new worker starts with."""

    number: int
    channel: Channel
    words: Any
    """File for last words."""


class Supervisor:
    """The parent's state.

    :param count: workers.
    :param watchdog_s: how long the service manager waits for a sign of life; None does not watch.
    :param reopen: opens the log file anew.
    :param fork: makes a process.
    """

    def __init__(
        self,
        count: int,
        loop: Loop,
        shelf: SocketShelf,
        notifier: Notifier,
        *,
        watchdog_s: float | None = None,
        reopen: Callable[[], object] = lambda: None,
        fork: Callable[[], int] = os.fork,
    ) -> None:
        self._count = count
        self._loop = loop
        self._shelf = shelf
        self._notifier = notifier
        self._watchdog_s = watchdog_s
        self._reopen = reopen
        self._fork = fork
        self._crew: dict[int, Worker] = {}
        self._due: dict[int, float] = {1: 0.0}
        self._restarts = Restarts()
        self._rounds = ReloadRounds(self._begin_round, self._end_round)
        self._collections: list[Collection] = []
        self._retired: list[dict[str, float]] = []
        self._lines: dict[int, str] = {}
        self._first = True
        """Until the first worker serves: a fault of the configuration ends the start."""
        self._started = False
        self._stopping = False
        self._kill_at: float | None = None
        self._beat_at = 0.0
        self._status = 0

    def run(self) -> int | Born:
        """Supervise until the end.

        :returns: exit status; in a new worker's process what it starts with.
        """
        while self._crew or self._due:
            for number in sorted(self._due):
                if self._due[number] <= self._loop.now():
                    del self._due[number]
                    born = self._spawn(number)
                    if born is not None:
                        return born
            for number in self._loop.wait(self._next_time()):
                self._signalled(number)
            for worker in tuple(self._crew.values()):
                self._listen(worker)
            self._reap()
            self._look_at_time()
        self._shelf.close()
        _log.info("all workers have ended", event="workers.stopped", status=self._status)
        return self._status

    # Life and death.

    def _spawn(self, number: int) -> Born | None:
        own, theirs = make_pair()
        words = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - lives as long as the worker
        sys.stdout.flush()
        sys.stderr.flush()
        with self._loop.signals_held():
            try:
                pid = self._fork()
            except OSError as problem:
                for thing in (own, theirs, words):
                    thing.close()
                delay = self._restarts.note_end(0.0, ready=False)
                self._due[number] = self._loop.now() + delay
                _log.error("no worker can be started: {reason}", event="workers.no_fork", reason=str(problem), worker=number)
                return None
            if pid == 0:
                self._leave(own)
                return Born(number, theirs, words)
        theirs.close()
        self._crew[number] = Worker(number, pid, own, words, self._loop.now())
        self._loop.add(own)
        _log.info("worker {worker} is process {pid}", event="workers.worker_started", worker=number, pid=pid)
        return None

    def _leave(self, own: Channel) -> None:
        """In a new worker: let go of everything that is the parent's, its colleagues' ends above all."""
        own.close()
        for worker in self._crew.values():
            worker.channel.close()
            worker.words.close()
        self._crew.clear()
        self._shelf.close()
        self._loop.leave()

    def _reap(self) -> None:
        for worker in tuple(self._crew.values()):
            pid, status = self._loop.find_ended(worker.pid)
            if pid:
                self._listen(worker)
                self._ended(worker, status)

    def _ended(self, worker: Worker, status: int) -> None:
        now = self._loop.now()
        words = worker.read_words()
        worker.words.close()
        self._loop.remove(worker.channel)
        worker.channel.close()
        del self._crew[worker.number]
        self._retired = [sum_counters([*self._retired, worker.counters])]
        for collection in self._collections:
            collection.give_up(worker.number, {})
        if self._stopping:
            if worker.ready and status:
                self._status = 1
                self._tell_end(worker, status, words)
            self._rounds.lost(worker.number, now)
            return
        if self._first and os.WIFEXITED(status) and os.WEXITSTATUS(status):
            # It has named its problems; the next one would find the same.
            self._give_up(os.WEXITSTATUS(status))
            return
        self._tell_end(worker, status, words)
        delay = self._restarts.note_end(now - worker.started_at, ready=worker.ready)
        self._rounds.lost(worker.number, now)
        if self._restarts.hopeless(self._serving()):
            reason = f"{self._restarts.early} workers in a row died at their start, the last one {describe_end(status)}"
            _log.error("giving up: {reason}", event="workers.gave_up", reason=reason, words=words)
            sys.stderr.write(f"tlsgate: giving up: {reason}{': ' + words.splitlines()[-1] if words else ''}\n")
            self._give_up(1)
            return
        self._due[worker.number] = now + delay
        self._notifier.status(self._describe())

    def _tell_end(self, worker: Worker, status: int, words: str) -> None:
        _log.error(
            "worker {worker}, process {pid}, {cause}",
            event="workers.worker_ended",
            worker=worker.number,
            pid=worker.pid,
            cause=("it hung: " if worker.hung else "") + describe_end(status),
            words=words.splitlines(),
        )

    def _serving(self) -> int:
        return sum(worker.ready for worker in self._crew.values())

    def _give_up(self, status: int) -> None:
        self._status = status
        self._stop()

    # Messages.

    def _listen(self, worker: Worker) -> None:
        try:
            while (message := worker.channel.receive()) is not None:
                self._take(worker, message)
        except EOFError:
            # Its exit status follows.
            self._loop.remove(worker.channel)
        except Exception:
            _log.failure("a message of worker {worker} cannot be used", event="workers.bad_message", worker=worker.number)

    def _take(self, worker: Worker, message: Message) -> None:
        for fd in message.fds:
            os.close(fd)
        tree = message.tree
        kind = tree["do"]
        worker.heard_at = self._loop.now()
        if kind == "socket":
            self._give_socket(worker, tree)
        elif kind == "release":
            worker.places.discard((tree["address"], tree["port"]))
            self._prune()
        elif kind == "ready":
            self._ready(worker, tree)
        elif kind == "reload":
            self._want_reload(worker, tree["id"])
        elif kind == "reloaded":
            self._note(worker, tree)
            self._rounds.answered(worker.number, tree["number"], tree["fault"], self._loop.now())
        elif kind == "beat":
            worker.counters = tree["counters"]
        elif kind == "collect":
            self._collect(worker, tree["id"])
        elif kind == "counted":
            for collection in self._collections:
                collection.add(worker.number, tree["counters"], tree["gauges"], more=tree["more"])
            self._collections = [collection for collection in self._collections if not collection.done]

    def _give_socket(self, worker: Worker, tree: dict[str, Any]) -> None:
        place = (tree["address"], tree["port"])
        try:
            fd = self._shelf.find(place, tree["backlog"])
        except OSError as problem:
            worker.channel.send({"do": "refused", "errno": problem.errno or 0, "text": problem.strerror or str(problem)})
            return
        worker.places.add(place)
        worker.channel.send({"do": "given"}, (fd,))

    def _note(self, worker: Worker, tree: dict[str, Any]) -> None:
        worker.status = tree["status"]
        worker.drain_s = tree["drain_s"]
        worker.lines = {int(line.rpartition("port=")[2].split()[0]): line for line in tree["lines"]}

    def _ready(self, worker: Worker, tree: dict[str, Any]) -> None:
        worker.ready = True
        self._note(worker, tree)
        now = self._loop.now()
        if self._first:
            self._first = False
            for number in range(1, self._count + 1):
                if number not in self._crew:
                    self._due.setdefault(number, now)
        if self._started:
            self._announce()
            self._notifier.status(self._describe())
        elif self._serving() == self._count and not self._stopping:
            self._started = True
            self._announce()
            for entry in self._shelf.take_unused():
                name_unused(entry)
            self._notifier.ready(self._describe())
            _log.info("{count} workers serve", event="workers.started", count=self._count)

    def _announce(self) -> None:
        """Print the lines of listeners that are new (decisions 4.5)."""
        current = {port: line for worker in self._crew.values() for port, line in worker.lines.items()}
        for port, line in current.items():
            if self._lines.get(port) != line:
                sys.stdout.write(line + "\n")
        sys.stdout.flush()
        self._lines = current

    def _describe(self) -> str:
        status = next((worker.status for worker in self._crew.values() if worker.status), "")
        serving = self._serving()
        crew = f"{serving} workers" if serving == self._count else f"{serving} of {self._count} workers"
        return f"{crew}, {status}" if status else crew

    def _prune(self) -> None:
        """Close sockets that no worker uses, unless nobody serves: then they keep clients for the next one."""
        if self._serving():
            self._shelf.prune(set().union(*(worker.places for worker in self._crew.values())))

    # Reload, counters.

    def _want_reload(self, worker: Worker, id: int) -> None:
        def tell(fault: str) -> None:
            worker.channel.send({"do": "answer", "id": id, "fault": fault})

        if self._stopping:
            tell("the gateway shuts down")
        else:
            self._rounds.want(self._loop.now(), tell)

    def _begin_round(self, number: int) -> list[int]:
        self._notifier.reloading(self._loop.now())
        self._reopen()
        for worker in self._crew.values():
            worker.channel.send({"do": "reload", "number": number})
        return list(self._crew)

    def _end_round(self, faults: dict[int, str]) -> None:
        self._prune()
        self._announce()
        fault = combine(faults)
        if len(set(faults.values())) > 1:
            _log.error("the workers do not serve the same: {reason}", event="workers.differ", reason=fault)
        _log.info("all workers have answered: {fault}", event="workers.reloaded", count=len(faults), fault=fault)
        if not self._stopping and self._started:
            self._notifier.ready(self._describe())

    def _collect(self, worker: Worker, id: int) -> None:
        def tell(found: list[dict[str, Any]]) -> None:
            gone = {"worker": 0, "counters": sum_counters([*self._retired]), "gauges": {}}
            parts = [
                {"worker": entry["worker"], kind: piece}
                for entry in (gone, *found)
                for kind in ("counters", "gauges")
                for piece in pieces_of(entry[kind])
            ]
            for position, part in enumerate(parts):
                worker.channel.send({"do": "sum", "id": id, "part": part, "more": position + 1 < len(parts)})

        asked = [other for other in self._crew.values() if other.ready]
        self._collections.append(Collection([other.number for other in asked], self._loop.now() + COLLECT_LIMIT_S, tell))
        for other in asked:
            other.channel.send({"do": "count"})

    # Signals and times.

    def _signalled(self, number: int) -> None:
        if number == signal.SIGHUP:
            if not self._stopping:
                self._rounds.want(self._loop.now())
        elif number in (signal.SIGTERM, signal.SIGINT):
            if not self._stopping:
                self._stop()
            else:
                self._hurry()

    def _stop(self) -> None:
        self._stopping = True
        self._notifier.stopping()
        self._due.clear()
        self._shelf.close()
        self._kill_at = self._loop.now() + max((worker.drain_s for worker in self._crew.values()), default=0.0) + _KILL_AFTER_S
        for worker in self._crew.values():
            if worker.ready:
                worker.channel.send({"do": "stop"})
            else:
                self._loop.kill(worker.pid, signal.SIGTERM)

    def _hurry(self) -> None:
        self._kill_at = min(self._kill_at or 0.0, self._loop.now() + _HURRY_S)
        for worker in self._crew.values():
            worker.channel.send({"do": "hurry"})

    def _next_time(self) -> float:
        times = [*self._due.values(), *(collection.until for collection in self._collections)]
        times += [moment for moment in (self._rounds.until, self._kill_at) if moment is not None]
        if self._watchdog_s is not None:
            times.append(self._beat_at)
        return min(times, default=float("inf"))

    def _look_at_time(self) -> None:
        now = self._loop.now()
        self._rounds.look(now)
        for collection in self._collections:
            if now >= collection.until:
                for number in collection.missing:
                    collection.give_up(number, self._crew[number].counters if number in self._crew else {})
        self._collections = [collection for collection in self._collections if not collection.done]
        if self._kill_at is not None and now >= self._kill_at:
            self._kill_at = None
            for worker in self._crew.values():
                _log.error("worker {worker} does not end and is killed", event="workers.killed", worker=worker.number, pid=worker.pid)
                self._loop.kill(worker.pid, signal.SIGKILL)
        if self._watchdog_s is not None and now >= self._beat_at:
            self._beat_at = now + self._watchdog_s / 2
            self._notifier.watchdog()
            self._look_for_hung(now, self._watchdog_s)

    def _look_for_hung(self, now: float, limit_s: float) -> None:
        """A worker whose event loop stands still is replaced; SIGABRT makes it say where it stands."""
        for worker in self._crew.values():
            if not worker.ready or now - worker.heard_at <= limit_s:
                continue
            if worker.hung:
                # Stopped, or stuck in the kernel.
                self._loop.kill(worker.pid, signal.SIGKILL)
                continue
            worker.hung = True
            _log.error(
                "worker {worker} has not been heard of for {seconds} s and is replaced",
                event="workers.worker_hung",
                worker=worker.number,
                pid=worker.pid,
                seconds=round(now - worker.heard_at),
            )
            self._loop.kill(worker.pid, signal.SIGABRT)
