"""What workers ask of the parent, and what all of them are asked: sockets, reloads, counters, the word that all serve.

Knows messages and who is there; must not know how processes begin and end.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from twisted.logger import Logger

from tlsgate.hosting import name_unused
from tlsgate.systemd import Notifier
from tlsgate.workers.channel import Message, pieces_of
from tlsgate.workers.roster import Worker, sum_counters
from tlsgate.workers.rounds import COLLECT_LIMIT_S, Collection, Inquiry, ReloadRounds, combine
from tlsgate.workers.shelf import SocketShelf

__all__ = ["Desk"]

_log = Logger()


class Desk:
    """The parent's side of all channels.

    :param count: workers that there are to be.
    :param now: monotonic time.
    :param reopen: opens the log file anew.
    :param first_serves: called once, when the first worker serves.
    """

    def __init__(
        self,
        count: int,
        shelf: SocketShelf,
        notifier: Notifier,
        *,
        now: Callable[[], float],
        reopen: Callable[[], object],
        first_serves: Callable[[], None],
    ) -> None:
        self.crew: dict[int, Worker] = {}
        self.first = True
        """Until the first worker serves: a fault of the configuration ends the start."""
        self.stopping = False
        self._count = count
        self._shelf = shelf
        self._notifier = notifier
        self._now = now
        self._reopen = reopen
        self._first_serves = first_serves
        self._rounds = ReloadRounds(self._begin_round, self._end_round)
        self._collections: list[Collection] = []
        self._inquiries: list[Inquiry] = []
        self._last_token = 0
        self._retired: dict[str, float] = {}
        self._lines: dict[int, str] = {}
        self._started = False

    @property
    def serving(self) -> int:
        """How many serve."""
        return sum(worker.ready for worker in self.crew.values())

    @property
    def next_time(self) -> float:
        """When :meth:`look` is wanted."""
        return min([self._rounds.find_next(self._heard()), *self._limits()])

    def _limits(self) -> list[float]:
        return [*(collection.until for collection in self._collections), *(inquiry.until for inquiry in self._inquiries)]

    def look(self) -> None:
        """Wait no longer for those whose time is over."""
        now = self._now()
        self._rounds.look(now, self._heard())
        for collection in self._collections:
            if now >= collection.until:
                for number in collection.missing:
                    collection.give_up(number, self.crew[number].counters if number in self.crew else {})
        for inquiry in self._inquiries:
            if now >= inquiry.until:
                inquiry.give_up()
        self._drop_done()

    def _heard(self) -> dict[int, float]:
        """Return when those were heard of who serve: who has only begun sends no beats yet."""
        return {worker.number: worker.heard_at for worker in self.crew.values() if worker.ready}

    def reload(self) -> None:
        """Reload everybody."""
        self._rounds.want(self._now())

    def lost(self, worker: Worker) -> None:
        """Somebody is gone: what it counted stays, nobody waits for its answers."""
        del self.crew[worker.number]
        self._retired = sum_counters([self._retired, worker.counters])
        for collection in self._collections:
            collection.give_up(worker.number, {})
        for inquiry in self._inquiries:
            inquiry.end(worker.number)
        self._drop_done()
        self._rounds.lost(worker.number, self._now())

    def describe(self) -> str:
        """Return the line for the service manager."""
        status = next((worker.status for worker in self.crew.values() if worker.status), "")
        serving = self.serving
        crew = f"{serving} workers" if serving == self._count else f"{serving} of {self._count} workers"
        return f"{crew}, {status}" if status else crew

    def take(self, worker: Worker, message: Message) -> None:
        """Take what a worker says."""
        for fd in message.fds:
            os.close(fd)
        tree = message.tree
        kind = tree["do"]
        worker.heard_at = self._now()
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
            self._rounds.answered(worker.number, tree["number"], tree["fault"], self._now())
        elif kind == "beat":
            worker.counters.update(tree["counters"])
        elif kind == "collect":
            self._collect(worker, tree["id"])
        elif kind == "counted":
            # Kept too: nobody who has read a sum sees it shrink because a worker died.
            worker.counters.update(tree["counters"])
            for collection in self._collections:
                collection.add(worker.number, tree["counters"], tree["gauges"], more=tree["more"])
            self._drop_done()
        elif kind == "ask":
            self._inquire(worker, tree)
        elif kind == "told":
            self._told(worker, tree)

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
        if self.first:
            self.first = False
            self._first_serves()
        if self._started:
            self._announce()
            self._notifier.status(self.describe())
        elif self.serving == self._count and not self.stopping:
            self._started = True
            self._announce()
            for entry in self._shelf.take_unused():
                name_unused(entry)
            self._notifier.ready(self.describe())
            _log.info("{count} workers serve", event="workers.started", count=self._count)

    def _announce(self) -> None:
        """Print the lines of listeners that are new (decisions 4.5)."""
        current = {port: line for worker in self.crew.values() for port, line in worker.lines.items()}
        for port, line in current.items():
            if self._lines.get(port) != line:
                sys.stdout.write(line + "\n")
        sys.stdout.flush()
        self._lines = current

    def _prune(self) -> None:
        """Close sockets that no worker uses, unless nobody serves: then they keep clients for the next one."""
        if self.serving:
            self._shelf.prune(set().union(*(worker.places for worker in self.crew.values())))

    # Reload, counters.

    def _want_reload(self, worker: Worker, id: int) -> None:
        def tell(fault: str) -> None:
            worker.channel.send({"do": "answer", "id": id, "fault": fault})

        if self.stopping:
            tell("the gateway shuts down")
        else:
            self._rounds.want(self._now(), tell)

    def _begin_round(self, number: int) -> list[int]:
        if self._started:
            self._notifier.reloading(self._now())
        self._reopen()
        for worker in self.crew.values():
            worker.channel.send({"do": "reload", "number": number})
        return list(self.crew)

    def _end_round(self, faults: dict[int, str]) -> None:
        self._prune()
        self._announce()
        fault = combine(faults)
        if len(set(faults.values())) > 1:
            _log.error("the workers do not serve the same: {reason}", event="workers.differ", reason=fault)
        _log.info("all workers have answered: {fault}", event="workers.reloaded", count=len(faults), fault=fault)
        if not self.stopping and self._started:
            self._notifier.ready(self.describe())

    def _collect(self, worker: Worker, id: int) -> None:
        def tell(found: list[dict[str, Any]]) -> None:
            gone = {"worker": 0, "counters": self._retired, "gauges": {}}
            parts = [
                {"worker": entry["worker"], kind: piece}
                for entry in (gone, *found)
                for kind in ("counters", "gauges")
                for piece in pieces_of(entry[kind])
            ]
            for position, part in enumerate(parts):
                worker.channel.send({"do": "sum", "id": id, "part": part, "more": position + 1 < len(parts)})

        asked = [other for other in self.crew.values() if other.ready]
        self._collections.append(Collection([other.number for other in asked], self._now() + COLLECT_LIMIT_S, tell))
        for other in asked:
            other.channel.send({"do": "count"})

    def _inquire(self, worker: Worker, tree: dict[str, Any]) -> None:
        """Ask everybody who serves; the answers go to who asked, entry by entry."""
        id = tree["id"]

        def tell(found: dict[int, list[Any]]) -> None:
            for number, entries in found.items():
                for entry in entries:
                    worker.channel.send({"do": "heard", "id": id, "worker": number, "entry": entry})
            worker.channel.send({"do": "heard_all", "id": id})

        self._last_token += 1
        asked = [other for other in self.crew.values() if other.ready]
        inquiry = Inquiry(self._last_token, [other.number for other in asked], self._now() + COLLECT_LIMIT_S, tell)
        self._inquiries.append(inquiry)
        for other in asked:
            other.channel.send({"do": "question", "token": inquiry.token, "topic": tree["topic"], "question": tree["question"]})

    def _told(self, worker: Worker, tree: dict[str, Any]) -> None:
        for inquiry in self._inquiries:
            if inquiry.token == tree["token"]:
                if "entry" in tree:
                    inquiry.add(worker.number, tree["entry"])
                else:
                    inquiry.end(worker.number)
        self._drop_done()

    def _drop_done(self) -> None:
        self._inquiries = [inquiry for inquiry in self._inquiries if not inquiry.done]
        self._collections = [collection for collection in self._collections if not collection.done]
