"""Counters of all processes of this node: one look at them, wherever the question arrives; knows nothing of how processes talk.

A process alone answers for itself; among workers the one that is asked asks the others through :attr:`SharedCounters.ask`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypedDict

__all__ = ["SharedCounters", "Snapshot", "Source"]


class Snapshot(TypedDict):
    """The numbers of one worker."""

    worker: int
    """From 1; 0 holds the counters of workers that are gone."""
    counters: dict[str, float]
    """Only ever grow: a worker that died keeps its place in the sum."""
    gauges: dict[str, float]
    """As they are now."""


Source = Callable[[], tuple[Mapping[str, float], Mapping[str, float]]]
"""Returns counters and gauges; names are the source's own, with labels if need be."""


class SharedCounters:
    """The numbers of this process, and of all.

    :param site: its ``counters`` and ``connection_count`` are always part of the numbers (gauge ``connections``).
    """

    def __init__(self, site: Any) -> None:
        self._site = site
        self._sources: dict[str, Source] = {}
        self.worker = 1
        self.ask: Callable[[], Awaitable[list[Snapshot]]] | None = None
        """Asks all workers, this one too; None where there is one process."""

    def set_source(self, name: str, source: Source | None) -> None:
        """Count more than the site does, from now on.

        :param name: of the source: another one of this name takes its place.
        :param source: None takes it away.
        """
        if source is None:
            self._sources.pop(name, None)
        else:
            self._sources[name] = source

    def read(self) -> Snapshot:
        """Return the numbers of this process."""
        counters: dict[str, float] = dict(self._site.counters)
        gauges: dict[str, float] = {"connections": self._site.connection_count}
        for source in self._sources.values():
            more, now = source()
            counters.update(more)
            gauges.update(now)
        return Snapshot(worker=self.worker, counters=counters, gauges=gauges)

    async def collect_all(self) -> list[Snapshot]:
        """Return the numbers of each worker; one that does not answer in a second counts as last heard."""
        return [self.read()] if self.ask is None else await self.ask()

    async def total(self) -> tuple[dict[str, float], dict[str, float]]:
        """Return the sums of counters and gauges over all workers."""
        counters: dict[str, float] = {}
        gauges: dict[str, float] = {}
        for entry in await self.collect_all():
            for total, part in ((counters, entry["counters"]), (gauges, entry["gauges"])):
                for name, value in part.items():
                    total[name] = total.get(name, 0) + value
        return counters, gauges
