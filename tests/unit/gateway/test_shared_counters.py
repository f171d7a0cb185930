"""Tests of `tlsgate.gateway.shared_counters`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any

from tlsgate.gateway.shared_counters import SharedCounters, Snapshot


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run what does not wait."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits")


def site() -> Any:
    return SimpleNamespace(counters=Counter(requests=3), connection_count=2)


def test_a_process_alone_answers_for_itself() -> None:
    """Counters and connections of the site, and what further sources count."""
    shared = SharedCounters(site())
    shared.set_source("more", lambda: ({"events": 7}, {"queue": 1.5}))
    assert run(shared.collect_all()) == [
        {"worker": 1, "counters": {"requests": 3, "events": 7}, "gauges": {"connections": 2, "queue": 1.5}},
    ]
    assert run(shared.total()) == ({"requests": 3, "events": 7}, {"connections": 2, "queue": 1.5})
    shared.set_source("more", lambda: ({"events": 8}, {}))
    assert run(shared.total()) == ({"requests": 3, "events": 8}, {"connections": 2})
    shared.set_source("more", None)
    shared.set_source("more", None)
    assert run(shared.total()) == ({"requests": 3}, {"connections": 2})


def test_among_workers_all_are_asked() -> None:
    """And summed up, those that are gone too."""
    shared = SharedCounters(site())

    async def ask() -> list[Snapshot]:
        return [
            Snapshot(worker=0, counters={"requests": 10}, gauges={}),
            Snapshot(worker=1, counters={"requests": 1}, gauges={"connections": 2}),
            Snapshot(worker=2, counters={"requests": 2, "reloads": 1}, gauges={"connections": 3}),
        ]

    shared.ask = ask
    assert [entry["worker"] for entry in run(shared.collect_all())] == [0, 1, 2]
    assert run(shared.total()) == ({"requests": 13, "reloads": 1}, {"connections": 5})
