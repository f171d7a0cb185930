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

from tlsgate.systemd import Notifier
from tlsgate.workers.channel import Channel, make_pair
from tlsgate.workers.desk import Desk
from tlsgate.workers.events import Loop
from tlsgate.workers.roster import Restarts, Worker, describe_end
from tlsgate.workers.shelf import SocketShelf

__all__ = ["Born", "Supervisor"]

_log = Logger()
_KILL_AFTER_S = 10.0
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
        self._fork = fork
        self._due: dict[int, float] = {1: 0.0}
        self._restarts = Restarts()
        self._desk = Desk(count, shelf, notifier, now=loop.now, reopen=reopen, first_serves=self._start_others)
        self._crew = self._desk.crew
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

    def _start_others(self) -> None:
        for number in range(1, self._count + 1):
            if number not in self._crew:
                self._due.setdefault(number, self._loop.now())

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
                _log.error("no worker can be started: {reason}", event="workers.no_fork", reason=str(problem), worker=number)
                self._start_later(number, self._restarts.note_end(0.0, ready=False), str(problem), "")
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
        self._desk.lost(worker)
        if self._desk.stopping:
            if worker.ready and status:
                self._status = 1
                self._tell_end(worker, status, words)
            return
        if self._desk.first and os.WIFEXITED(status) and os.WEXITSTATUS(status):
            # It has named its problems; the next one would find the same.
            self._give_up(os.WEXITSTATUS(status))
            return
        self._tell_end(worker, status, words)
        delay = self._restarts.note_end(now - worker.started_at, ready=worker.ready)
        self._start_later(worker.number, delay, describe_end(status), words)

    def _start_later(self, number: int, delay_s: float, cause: str, words: str) -> None:
        if self._restarts.hopeless(self._desk.serving):
            reason = f"{self._restarts.early} workers in a row died at their start, the last one: {cause}"
            _log.error("giving up: {reason}", event="workers.gave_up", reason=reason, words=words.splitlines())
            sys.stderr.write(f"tlsgate: giving up: {reason}{'; ' + words.splitlines()[-1] if words else ''}\n")
            self._give_up(1)
            return
        self._due[number] = self._loop.now() + delay_s
        self._notifier.status(self._desk.describe())

    def _tell_end(self, worker: Worker, status: int, words: str) -> None:
        _log.error(
            "worker {worker}, process {pid}, {cause}",
            event="workers.worker_ended",
            worker=worker.number,
            pid=worker.pid,
            cause=("it hung: " if worker.hung else "") + describe_end(status),
            words=words.splitlines(),
        )

    def _give_up(self, status: int) -> None:
        self._status = status
        self._stop()

    def _listen(self, worker: Worker) -> None:
        try:
            while (message := worker.channel.receive()) is not None:
                self._desk.take(worker, message)
        except EOFError:
            # Its exit status follows.
            self._loop.remove(worker.channel)
        except Exception:
            _log.failure("a message of worker {worker} cannot be used", event="workers.bad_message", worker=worker.number)

    # Signals and times.

    def _signalled(self, number: int) -> None:
        if number == signal.SIGHUP:
            if not self._desk.stopping:
                self._desk.reload()
        elif number in (signal.SIGTERM, signal.SIGINT):
            if not self._desk.stopping:
                self._stop()
            else:
                self._hurry()

    def _stop(self) -> None:
        self._desk.stopping = True
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
        times = [*self._due.values(), self._desk.next_time]
        if self._kill_at is not None:
            times.append(self._kill_at)
        if self._watchdog_s is not None:
            times.append(self._beat_at)
        return min(times, default=float("inf"))

    def _look_at_time(self) -> None:
        now = self._loop.now()
        self._desk.look()
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
