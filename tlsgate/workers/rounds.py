"""Questions that all workers answer: a reload, the counters of all, any topic; knows who is still to answer, not how they are asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

__all__ = ["Collection", "Inquiry", "ReloadRounds", "combine"]

ROUND_LIMIT_S = 120.0
"""Somebody who has not reloaded by then is named, and nobody waits for it any longer."""
SILENT_S = 15.0
"""Nor for somebody who was not heard of for so long: workers send beats each second, also while they reload."""
COLLECT_LIMIT_S = 1.0

Teller = Callable[[str], None]


class ReloadRounds:
    """One reload of everybody at a time; what is asked for meanwhile is one further round.

    :param begin: tells the workers, given the number of the round; returns the numbers of those who were told.
    :param end: told of the outcome: faults by worker, empty ones too.
    """

    def __init__(self, begin: Callable[[int], Iterable[int]], end: Callable[[dict[int, str]], None]) -> None:
        self._begin = begin
        self._end = end
        self._asked: list[Teller] = []
        self._wanted = False
        self._told: list[Teller] = []
        self._number = 0
        self._missing: set[int] = set()
        self._faults: dict[int, str] = {}
        self._until: float | None = None

    @property
    def until(self) -> float | None:
        """The end of the present round, None without one."""
        return self._until

    def want(self, now: float, tell: Teller | None = None) -> None:
        """Ask for a round that begins from now on.

        :param tell: told what went wrong, empty for nothing.
        """
        self._wanted = True
        if tell is not None:
            self._asked.append(tell)
        if self._until is None:
            self._start(now)

    def answered(self, worker: int, number: int, fault: str, now: float) -> None:
        """Take a worker's answer; one to an earlier round counts for nothing."""
        if self._until is not None and number == self._number and worker in self._missing:
            self._missing.discard(worker)
            self._faults[worker] = fault
            self._settle(now)

    def lost(self, worker: int, now: float) -> None:
        """Do not wait for a worker that is gone; its replacement reads everything anyway."""
        if worker in self._missing:
            self._missing.discard(worker)
            self._faults[worker] = "it died during the reload; its replacement reads everything anew"
            self._settle(now)

    def find_next(self, heard: Mapping[int, float]) -> float:
        """Return when :meth:`look` is wanted.

        :param heard: when each worker was heard of.
        """
        if self._until is None:
            return float("inf")
        return min(self._until, *(heard.get(worker, float("inf")) + SILENT_S for worker in self._missing))

    def look(self, now: float, heard: Mapping[int, float]) -> None:
        """End a round whose time is over, and wait no more for those who are silent: a stopped worker must not hold up the others.

        :param heard: as for :meth:`find_next`.
        """
        if self._until is None:
            return
        silent = [worker for worker in self._missing if now >= heard.get(worker, now) + SILENT_S]
        for worker in silent:
            self._missing.discard(worker)
            self._faults[worker] = f"it has not been heard of for {SILENT_S:.0f} s; it reloads when it goes on"
        if silent:
            self._settle(now)
        elif now >= self._until:
            for worker in self._missing:
                self._faults[worker] = f"no answer within {ROUND_LIMIT_S:.0f} s"
            self._missing.clear()
            self._settle(now)

    def _start(self, now: float) -> None:
        self._wanted = False
        self._told, self._asked = self._asked, []
        self._number += 1
        self._faults = {}
        self._until = now + ROUND_LIMIT_S
        self._missing = set(self._begin(self._number))
        self._settle(now)

    def _settle(self, now: float) -> None:
        if self._missing:
            return
        self._until = None
        told, self._told = self._told, []
        faults = self._faults
        self._end(faults)
        fault = combine(faults)
        for tell in told:
            tell(fault)
        if self._wanted:
            self._start(now)


def combine(faults: dict[int, str]) -> str:
    """Return one text: what all say once, what only some say with their numbers."""
    if not faults:
        return "no worker is running; the next one reads everything anew"
    texts = set(faults.values())
    if len(texts) == 1:
        return texts.pop()
    return "; ".join(f"worker {number}: {text or 'reloaded'}" for number, text in sorted(faults.items()))


class Collection:
    """One look at the counters of everybody.

    :param workers: who was asked.
    :param tell: told the snapshots: ``worker``, ``counters``, ``gauges``.
    """

    def __init__(self, workers: Iterable[int], until: float, tell: Callable[[list[dict[str, Any]]], None]) -> None:
        self.until = until
        self._tell = tell
        self._missing = set(workers)
        self._found: dict[int, dict[str, Any]] = {}
        self.done = False

    def add(self, worker: int, counters: dict[str, float], gauges: dict[str, float], *, more: bool) -> None:
        """Take a part of a worker's answer."""
        if worker in self._missing:
            entry = self._found.setdefault(worker, {"worker": worker, "counters": {}, "gauges": {}})
            entry["counters"].update(counters)
            entry["gauges"].update(gauges)
            if not more:
                self._missing.discard(worker)
                self._settle()

    def give_up(self, worker: int, last: dict[str, float]) -> None:
        """Take a worker's last known counters: it is gone, or does not answer."""
        if worker in self._missing:
            self._missing.discard(worker)
            self._found[worker] = {"worker": worker, "counters": dict(last), "gauges": {}}
            self._settle()

    @property
    def missing(self) -> tuple[int, ...]:
        """Who has not answered."""
        return tuple(self._missing)

    def _settle(self) -> None:
        if not self._missing and not self.done:
            self.done = True
            self._tell([self._found[worker] for worker in sorted(self._found)])


class Inquiry:
    """One question of a topic that everybody is asked.

    :param token: tells answers to this question from others.
    :param workers: who was asked.
    :param tell: told the answers by worker; those who did not answer are missing.
    """

    def __init__(self, token: int, workers: Iterable[int], until: float, tell: Callable[[dict[int, list[Any]]], None]) -> None:
        self.token = token
        self.until = until
        self._tell = tell
        self._missing = set(workers)
        self._found: dict[int, list[Any]] = {}
        self.done = False

    def add(self, worker: int, entry: Any) -> None:
        """Take an entry of a worker's answer."""
        if worker in self._missing:
            self._found.setdefault(worker, []).append(entry)

    def end(self, worker: int) -> None:
        """A worker has said everything, is gone, or does not answer."""
        self._missing.discard(worker)
        if not self._missing and not self.done:
            self.done = True
            self._tell({worker: self._found[worker] for worker in sorted(self._found)})

    def give_up(self) -> None:
        """Wait for nobody any longer; half an answer is none."""
        for worker in tuple(self._missing):
            self._found.pop(worker, None)
            self.end(worker)
