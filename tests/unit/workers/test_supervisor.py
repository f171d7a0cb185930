"""Tests of `tlsgate.workers.supervisor`: what can be seen without processes (the rest is in `tests/loopback/test_workers.py`)."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.logged import logged_events
from tlsgate.systemd import Notifier
from tlsgate.workers import supervisor as supervisor_module
from tlsgate.workers.channel import Channel, make_pair
from tlsgate.workers.shelf import SocketShelf
from tlsgate.workers.supervisor import Born, Supervisor


class FakeLoop:
    """Time that stands still, signals and deaths as told."""

    def __init__(self) -> None:
        self.time = 100.0
        self.script: list[Any] = []
        """Done one by one, each time the parent waits."""
        self.ended: dict[int, int] = {}
        self.killed: list[tuple[int, int]] = []

    def now(self) -> float:
        return self.time

    def wait(self, until: float) -> list[int]:
        if not self.script:
            assert until != float("inf") or self.ended, "it would wait for ever"
            self.time = max(self.time, until if until != float("inf") else 0)
            return []
        step = self.script.pop(0)
        found = step()
        return found if isinstance(found, list) else []

    def add(self, channel: Channel) -> None: ...

    def remove(self, channel: Channel) -> None: ...

    def leave(self) -> None: ...

    def find_ended(self, pid: int) -> tuple[int, int]:
        return (pid, self.ended[pid]) if pid in self.ended else (0, 0)

    def kill(self, pid: int, number: int) -> None:
        self.killed.append((pid, number))
        self.ended[pid] = number

    @contextmanager
    def signals_held(self) -> Iterator[None]:
        yield


class FakeNotifier(Notifier):
    """Notes what it is told."""

    def __init__(self) -> None:
        super().__init__(None)
        self.told: list[str] = []

    def _send(self, state: str, status: str) -> bool:
        self.told.append(f"{state.partition('=')[0]} {status}".strip())
        return True


class World:
    """A parent and the other ends of its channels."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, count: int = 2, **options: Any) -> None:
        self.loop = FakeLoop()
        self.notifier = FakeNotifier()
        self.ends: dict[int, Channel] = {}
        self.pid = 1000
        self.shelf = SocketShelf()

        def pair() -> tuple[Channel, Channel]:
            own, theirs = make_pair()
            if self.pid + 1 in self.ends:
                self.ends[self.pid + 1].close()
            self.ends[self.pid + 1] = Channel(socket.socket(fileno=os.dup(theirs.fileno())))
            return own, theirs

        monkeypatch.setattr(supervisor_module, "make_pair", pair)
        loop: Any = self.loop
        self.parent = Supervisor(count, loop, self.shelf, self.notifier, fork=self.fork, **options)

    def fork(self) -> int:
        self.pid += 1
        return self.pid

    def do(self, *steps: Any) -> World:
        """Let these things happen, one for each time the parent waits."""
        self.loop.script += steps
        return self

    def run(self) -> Any:
        """Run to the end."""
        try:
            return self.parent.run()
        finally:
            for end in self.ends.values():
                end.close()

    def say(self, pid: int, **tree: Any) -> Any:
        """A worker says something."""
        return lambda: self.ends[pid].send(tree)

    def ready(self, pid: int, *lines: str, status: str = "1 APIs") -> Any:
        """A worker serves."""
        return self.say(pid, do="ready", status=status, drain_s=30.0, lines=list(lines))

    def dies(self, pid: int, status: int) -> Any:
        """A worker ends."""
        return lambda: self.loop.ended.__setitem__(pid, status)

    def signal(self, number: int) -> Any:
        """The parent gets a signal."""
        return lambda: [number]

    def heard(self, pid: int) -> list[dict[str, Any]]:
        """What the parent has said to a worker."""
        found = []
        while True:
            try:
                message = self.ends[pid].receive()
            except EOFError:
                return found
            if message is None:
                return found
            found.append(message.tree)


LINE = "listening role=gateway address=127.0.0.1 port=8443 tls=yes"


def test_the_first_worker_alone_then_the_others(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A fault of the configuration is found once; lines and READY come when all serve; the end waits for all."""
    world = World(monkeypatch, 3)
    born: list[int] = []
    world.do(
        lambda: born.append(world.pid),
        world.ready(1001, LINE),
        lambda: born.append(world.pid),
        world.ready(1002, LINE),
        lambda: born.append(len(world.notifier.told)),
        world.ready(1003, LINE),
        world.signal(signal.SIGTERM),
        world.dies(1001, 0),
        world.dies(1002, 0),
        world.dies(1003, 0),
    )
    assert world.run() == 0
    assert born == [1001, 1003, 0]
    assert world.notifier.told == ["READY 3 workers, 1 APIs", "STOPPING"]
    assert capsys.readouterr().out == LINE + "\n"


def test_a_first_worker_that_finds_a_fault_ends_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its status, at once: the next one would find the same."""
    world = World(monkeypatch)
    world.do(world.dies(1001, 3 << 8))
    assert world.run() == 3
    assert world.pid == 1001


def test_a_crash_at_the_start_is_tried_again_and_given_up(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Later and later."""
    world = World(monkeypatch)
    times: list[float] = []
    for pid in range(1001, 1006):
        world.do(lambda: times.append(world.loop.time), world.dies(pid, signal.SIGSEGV))
        if pid < 1005:
            world.do(lambda: setattr(world.loop, "time", world.loop.time + 10))
    with logged_events() as events:
        assert world.run() == 1
    assert world.pid == 1005
    assert "giving up: 5 workers in a row died at their start, the last one: killed by signal 11 (SIGSEGV" in capsys.readouterr().err
    assert [event["event"] for event in events].count("workers.worker_ended") == 5


def test_while_somebody_serves_nobody_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service manager sees how many there are."""
    world = World(monkeypatch)
    world.do(world.ready(1001), world.ready(1002))
    for pid in range(1002, 1010):
        world.do(world.dies(pid, signal.SIGKILL), lambda: setattr(world.loop, "time", world.loop.time + 20))
    world.do(world.signal(signal.SIGTERM), world.dies(1001, 0), world.dies(1010, signal.SIGTERM))
    assert world.run() == 0
    assert "1 of 2 workers, 1 APIs" in world.notifier.told


def test_who_has_lived_is_replaced_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its number."""
    world = World(monkeypatch)
    seen: list[int] = []
    world.do(world.ready(1001), world.ready(1002), lambda: setattr(world.loop, "time", world.loop.time + 100))
    world.do(world.dies(1002, signal.SIGKILL), lambda: seen.append(world.pid), world.ready(1003))
    world.do(world.signal(signal.SIGINT), world.dies(1001, 0), world.dies(1003, 1 << 8))
    with logged_events() as events:
        assert world.run() == 1, "the drain of one was not clean"
    assert seen == [1003]
    assert [event["worker"] for event in events if event.get("event") == "workers.worker_ended"] == [2, 2]


def test_a_reload_of_one_is_a_reload_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that asked is told what became of it."""
    world = World(monkeypatch)
    heard: list[Any] = []
    state = {"drain_s": 30.0, "lines": [LINE]}
    world.do(world.ready(1001, LINE), world.ready(1002, LINE), lambda: [world.heard(pid) for pid in (1001, 1002)])
    world.do(world.say(1002, do="reload", id=7), lambda: heard.extend(world.heard(1001)))
    world.do(world.say(1001, do="reloaded", number=1, fault="", status="2 APIs", **state))
    world.do(world.say(1002, do="reloaded", number=1, fault="no such file", status="1 APIs", **state))
    world.do(lambda: heard.extend(world.heard(1002)))
    world.do(world.signal(signal.SIGTERM), world.dies(1001, 0), world.dies(1002, 0))
    with logged_events() as events:
        assert world.run() == 0
    assert heard == [
        {"do": "reload", "number": 1},
        {"do": "reload", "number": 1},
        {"do": "answer", "id": 7, "fault": "worker 1: reloaded; worker 2: no such file"},
    ]
    assert world.notifier.told == ["READY 2 workers, 1 APIs", "RELOADING", "READY 2 workers, 2 APIs", "STOPPING"]
    assert [event["event"] for event in events if "differ" in str(event.get("event"))] == ["workers.differ"]


def test_a_reload_during_the_end_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by signal nor by a worker."""
    world = World(monkeypatch, 2)
    heard: list[Any] = []
    world.do(world.ready(1001), world.ready(1002), world.signal(signal.SIGTERM), world.signal(signal.SIGHUP))
    world.do(world.say(1001, do="reload", id=1), lambda: heard.extend(world.heard(1001)))
    world.do(world.dies(1001, 0), world.dies(1002, 0))
    assert world.run() == 0
    assert heard == [{"do": "stop"}, {"do": "answer", "id": 1, "fault": "the gateway shuts down"}]
    assert "RELOADING" not in world.notifier.told


def test_sockets_are_given_kept_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """One for all; closed when the last worker has released it; a port that cannot be had is refused with its reason."""
    world = World(monkeypatch, 2)
    found: list[Any] = []
    with socket.create_server(("127.0.0.1", 0)) as taken:
        busy = taken.getsockname()[1]
        for pid in (1001, 1002):
            world.do(world.say(pid, do="socket", address="127.0.0.1", port=0, backlog=10), world.ready(pid))
        world.do(lambda: found.append(world.shelf.number(("127.0.0.1", 0))))
        world.do(world.say(1001, do="socket", address="127.0.0.1", port=busy, backlog=10))
        for pid in (1001, 1002):
            world.do(world.say(pid, do="release", address="127.0.0.1", port=0), lambda: found.append(world.shelf.number(("127.0.0.1", 0))))
        world.do(lambda: found.extend(tree for tree in world.heard(1001) if tree["do"] == "refused"))
        world.do(world.signal(signal.SIGTERM), world.dies(1001, 0), world.dies(1002, 0))
        assert world.run() == 0
    port, after_first, after_second, refused = found
    assert port == after_first > 0
    assert after_second == 0
    assert refused == {"do": "refused", "errno": 98, "text": "Address already in use"}


def test_counters_are_collected_and_those_of_the_dead_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Number 0; a silent worker counts as last heard."""
    world = World(monkeypatch, 2)
    found: list[Any] = []
    world.do(world.ready(1001), world.ready(1002), lambda: setattr(world.loop, "time", world.loop.time + 100))
    world.do(world.say(1002, do="beat", counters={"requests": 5}), world.dies(1002, signal.SIGKILL), world.ready(1003))
    world.do(world.say(1003, do="beat", counters={"requests": 2}), world.say(1001, do="collect", id=4))
    world.do(world.say(1001, do="counted", counters={"requests": 1}, gauges={"connections": 3}, more=False))
    world.do(lambda: setattr(world.loop, "time", world.loop.time + 2), lambda: found.extend(world.heard(1001)))
    world.do(world.signal(signal.SIGTERM), world.dies(1001, 0), world.dies(1003, 0))
    assert world.run() == 0
    sums = [tree for tree in found if tree["do"] == "sum"]
    assert [tree["more"] for tree in sums] == [True] * (len(sums) - 1) + [False]
    counted = {tree["part"]["worker"]: tree["part"]["counters"] for tree in sums if "counters" in tree["part"]}
    assert counted == {0: {"requests": 5}, 1: {"requests": 1}, 2: {"requests": 2}}


def test_what_was_collected_once_stays_when_its_worker_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only the totals that it tells every second: a sum never shrinks."""
    world = World(monkeypatch, 2)
    found: list[Any] = []
    world.do(world.ready(1001), world.ready(1002), lambda: setattr(world.loop, "time", world.loop.time + 100))
    world.do(world.say(1001, do="collect", id=1))
    world.do(world.say(1001, do="counted", counters={}, gauges={}, more=False))
    world.do(world.say(1002, do="counted", counters={"http:2:one": 7}, gauges={"connections": 3}, more=True))
    world.do(world.say(1002, do="counted", counters={}, gauges={}, more=False))
    world.do(world.say(1002, do="beat", counters={"requests": 9}), world.dies(1002, signal.SIGKILL), lambda: world.heard(1001))
    world.do(world.say(1001, do="collect", id=2), world.say(1001, do="counted", counters={}, gauges={}, more=False))
    world.do(lambda: found.extend(world.heard(1001)), world.signal(signal.SIGTERM), world.dies(1001, 0), world.dies(1003, signal.SIGTERM))
    assert world.run() == 0
    gone = [tree["part"] for tree in found if tree["do"] == "sum" and tree["part"]["worker"] == 0]
    assert {"worker": 0, "counters": {"http:2:one": 7, "requests": 9}} in gone


def test_whoever_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some time after its drain should be over; sooner for somebody in a hurry."""
    for hurried in (False, True):
        world = World(monkeypatch, 1)
        heard: list[Any] = []
        world.do(world.ready(1001), world.signal(signal.SIGTERM))
        if hurried:
            world.do(world.signal(signal.SIGTERM), lambda heard=heard, world=world: heard.extend(world.heard(1001)))
        assert world.run() == 1
        assert world.loop.killed == [(1001, signal.SIGKILL)]
        assert world.loop.time == pytest.approx(100 + (10 if hurried else 40))
        assert heard == ([{"do": "stop"}, {"do": "hurry"}] if hurried else [])


def test_a_hung_worker_is_ended_by_abort_then_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parent goes on to feed the watchdog."""
    world = World(monkeypatch, 1, watchdog_s=4.0)
    world.loop.kill = lambda pid, number: world.loop.killed.append((pid, number))  # type: ignore[method-assign]
    world.do(world.ready(1001), *[lambda: setattr(world.loop, "time", world.loop.time + 2)] * 5)
    world.do(world.dies(1001, signal.SIGKILL), lambda: None, world.ready(1002), world.signal(signal.SIGTERM), world.dies(1002, 0))
    with logged_events() as events:
        assert world.run() == 0
    assert world.loop.killed[:2] == [(1001, signal.SIGABRT), (1001, signal.SIGKILL)]
    assert "WATCHDOG" in world.notifier.told
    ended = [event for event in events if event.get("event") == "workers.worker_ended"]
    assert ended[0]["cause"].startswith("it hung: killed by signal 9")


def test_a_process_that_cannot_be_made_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many processes: not the end of those that there are."""
    world = World(monkeypatch, 1)
    fork = world.fork
    failures = [OSError(11, "no more processes")]

    def sometimes() -> int:
        if failures:
            raise failures.pop()
        return fork()

    world.parent._fork = sometimes
    world.do(lambda: setattr(world.loop, "time", world.loop.time + 10), world.ready(1001))
    world.do(world.signal(signal.SIGTERM), world.dies(1001, 0))
    with logged_events() as events:
        assert world.run() == 0
    assert "workers.no_fork" in [event.get("event") for event in events]


def test_processes_that_cannot_be_made_at_all_end_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """As workers that die at once."""
    world = World(monkeypatch, 1)

    def never() -> int:
        raise OSError(11, "no more processes")

    world.parent._fork = never
    assert world.run() == 1
    assert "giving up" in capsys.readouterr().err


def test_in_the_new_process_it_returns_what_a_worker_starts_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """And has let go of everything of the parent's."""
    world = World(monkeypatch, 2)

    def first_serves() -> None:
        world.parent._fork = lambda: 0
        world.ready(1001)()

    world.do(first_serves)
    world.shelf.find(("127.0.0.1", 0), 10)
    born = world.run()
    assert isinstance(born, Born)
    assert born.number == 2
    assert world.shelf.number(("127.0.0.1", 0)) == 0
    assert world.parent._crew == {}
    born.channel.close()
    born.words.close()


def test_a_message_that_makes_no_sense_ends_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is logged."""
    world = World(monkeypatch, 1)
    world.do(world.say(1001, do="socket"), world.ready(1001), world.signal(signal.SIGTERM), world.dies(1001, 0))
    with logged_events() as events:
        assert world.run() == 0
    assert "workers.bad_message" in [event.get("event") for event in events]
