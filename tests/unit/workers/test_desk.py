"""Tests of `tlsgate.workers.desk`: what it says of the whole; single questions are in `test_supervisor.py`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest

from tlsgate.systemd import Notifier
from tlsgate.workers.channel import Channel, Message, make_pair
from tlsgate.workers.desk import Desk
from tlsgate.workers.roster import Worker
from tlsgate.workers.shelf import SocketShelf

LINE = "listening role=gateway address=127.0.0.1 port=8443 tls=yes"
EXTRA = "listening role=api address=127.0.0.1 port=7000 tls=no"


class Told(Notifier):
    """Notes what the service manager would be told."""

    def __init__(self) -> None:
        super().__init__(None)
        self.told: list[str] = []

    def _send(self, state: str, status: str) -> bool:
        self.told.append(f"{state.partition('=')[0]} {status}".strip())
        return True


class World:
    """A desk with workers whose ends nobody reads, or somebody does."""

    def __init__(self, count: int) -> None:
        self.notifier = Told()
        self.shelf = SocketShelf()
        self.time = 0.0
        self.reopened = 0
        self.firsts = 0
        self.open: list[Any] = []
        self.ends: dict[int, Channel] = {}
        self.desk = Desk(count, self.shelf, self.notifier, now=lambda: self.time, reopen=self._reopen, first_serves=self._first)

    def _reopen(self) -> None:
        self.reopened += 1

    def _first(self) -> None:
        self.firsts += 1

    def enter(self, number: int) -> Worker:
        """A worker begins."""
        own, theirs = make_pair()
        words = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed by close()
        self.open += [own, theirs, words]
        self.ends[number] = theirs
        worker = self.desk.crew[number] = Worker(number, os.getpid(), own, words, self.time)
        return worker

    def say(self, worker: Worker, **tree: Any) -> None:
        """It says something."""
        self.desk.take(worker, Message(tree))

    def ready(self, number: int, *lines: str) -> Worker:
        """It serves."""
        worker = self.enter(number)
        self.say(worker, do="ready", status="1 APIs", drain_s=30.0, lines=list(lines))
        return worker

    def close(self) -> None:
        for thing in self.open:
            thing.close()
        self.shelf.close()


@pytest.fixture
def world() -> Iterator[World]:
    made = World(2)
    yield made
    made.close()


def test_the_start_is_over_when_all_serve(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Then the lines are printed; a replacement later prints nothing."""
    world.ready(1, LINE)
    assert (world.firsts, world.desk.first, world.desk.serving) == (1, False, 1)
    assert (capsys.readouterr().out, world.notifier.told) == ("", [])
    second = world.ready(2, LINE)
    assert capsys.readouterr().out == LINE + "\n"
    assert world.notifier.told == ["READY 2 workers, 1 APIs"]
    world.desk.lost(second)
    assert world.desk.describe() == "1 of 2 workers, 1 APIs"
    world.ready(2, LINE)
    assert capsys.readouterr().out == ""
    assert world.notifier.told[-1] == "2 workers, 1 APIs"
    assert world.firsts == 1


def test_lines_of_a_reload_are_printed_when_it_is_over(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """New ports and ports that speak something else; one that went and comes again too."""
    workers = [world.ready(number, LINE) for number in (1, 2)]
    capsys.readouterr()

    def reload(number: int, *lines: str) -> str:
        world.desk.reload()
        for worker in workers:
            world.say(worker, do="reloaded", number=number, fault="", status="1 APIs", drain_s=30.0, lines=list(lines))
        return capsys.readouterr().out

    plain = LINE.replace("yes", "no")
    assert reload(1, LINE, EXTRA) == EXTRA + "\n"
    assert reload(2, plain, EXTRA) == plain + "\n"
    assert reload(3, plain) == ""
    assert reload(4, plain, EXTRA) == EXTRA + "\n"
    assert world.reopened == 4


def test_a_reload_before_all_serve_is_no_state_of_the_service(world: World) -> None:
    """READY comes when the start is over, not when a reload is."""
    first = world.ready(1)
    world.desk.reload()
    world.say(first, do="reloaded", number=1, fault="", status="2 APIs", drain_s=30.0, lines=[])
    assert world.notifier.told == []
    assert world.desk.next_time == float("inf")
    world.ready(2)
    assert world.notifier.told == ["READY 2 workers, 2 APIs"]


def test_sockets_wait_for_the_next_worker_while_nobody_serves(world: World) -> None:
    """One that was used by the dead only is not closed before somebody serves and does not want it."""
    place = ("127.0.0.1", 0)
    workers = [world.ready(number) for number in (1, 2)]
    for worker in workers:
        world.say(worker, do="socket", address=place[0], port=place[1], backlog=10)
    for worker in workers:
        world.desk.lost(worker)
    third = world.enter(1)
    world.say(third, do="release", address="127.0.0.1", port=1)
    assert world.shelf.number(place)
    world.say(third, do="ready", status="", drain_s=30.0, lines=[])
    world.say(third, do="release", address="127.0.0.1", port=1)
    assert not world.shelf.number(place)


def test_time_ends_what_is_not_answered(world: World) -> None:
    """A round after two minutes, or after 15 s of silence, a collection after a second; what somebody counted last is taken."""
    workers = [world.ready(number) for number in (1, 2)]
    world.say(workers[1], do="beat", counters={"requests": 4})
    world.desk.reload()
    world.say(workers[0], do="collect", id=1)
    assert world.desk.next_time == 1.0
    world.time = 1.0
    world.desk.look()
    assert world.desk.next_time == 15.0
    world.time = 14.0
    for worker in workers:
        world.say(worker, do="beat", counters={})
    assert world.desk.next_time == 29.0
    for world.time in range(24, 121, 10):
        for worker in workers:
            world.say(worker, do="beat", counters={})
        world.desk.look()
    assert world.desk.next_time == 120.0
    world.time = 120.0
    world.desk.look()
    assert world.desk.next_time == float("inf")
    said = []
    while (message := world.ends[1].receive()) is not None:
        said.append(message.tree)
    counted = {tree["part"]["worker"]: tree["part"].get("counters") for tree in said if tree["do"] == "sum" and "counters" in tree["part"]}
    assert counted == {0: {}, 1: {}, 2: {"requests": 4}}


def heard(world: World, number: int) -> list[dict[str, Any]]:
    """What the parent said to a worker since it was asked last."""
    found = []
    while (message := world.ends[number].receive()) is not None:
        found.append(message.tree)
    return found


def test_a_question_goes_to_all_who_serve_and_the_answers_to_who_asked(world: World) -> None:
    """With the topic as it is; answers to another question are told apart by their token."""
    one, two = world.ready(1), world.ready(2)
    world.enter(3)
    world.say(one, do="ask", id=5, topic="explain", question={"id": "x"})
    asked = {number: heard(world, number) for number in (1, 2, 3)}
    assert asked[3] == []
    assert asked[1] == asked[2] == [{"do": "question", "token": 1, "topic": "explain", "question": {"id": "x"}}]
    world.say(two, do="told", token=1, entry={"b": 1})
    world.say(two, do="told", token=9, entry="of another question")
    world.say(two, do="told", token=1)
    assert heard(world, 1) == []
    world.say(one, do="told", token=1)
    assert heard(world, 1) == [{"do": "heard", "id": 5, "worker": 2, "entry": {"b": 1}}, {"do": "heard_all", "id": 5}]
    assert world.desk.next_time == float("inf")


def test_a_silent_worker_holds_no_question_up(world: World) -> None:
    """A second, then the others' answers go; one that died is not waited for."""
    one, two = world.ready(1), world.ready(2)
    world.say(one, do="ask", id=1, topic="t", question={})
    world.say(one, do="told", token=1, entry="mine")
    world.say(one, do="told", token=1)
    assert world.desk.next_time == 1.0
    world.time = 1.5
    world.desk.look()
    assert [tree["do"] for tree in heard(world, 1)] == ["question", "heard", "heard_all"]
    world.say(one, do="ask", id=2, topic="t", question={})
    world.say(one, do="told", token=2)
    world.desk.lost(two)
    assert heard(world, 1)[-1] == {"do": "heard_all", "id": 2}
