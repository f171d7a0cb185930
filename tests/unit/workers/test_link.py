"""Tests of `tlsgate.workers.link`: a worker's side, with a parent that the test plays."""

from __future__ import annotations

import faulthandler
import os
import socket
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock

from tests.support.logged import logged_events
from tlsgate.gateway.questions import Questions
from tlsgate.gateway.shared_counters import SharedCounters
from tlsgate.workers.channel import make_pair
from tlsgate.workers.link import WorkerLink
from tlsgate.workers.supervisor import Born

LINE = "listening role=gateway address=127.0.0.1 port=8443 tls=yes"


class FakeReactor(Clock):
    """Time, and who reads."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[Any] = []
        self.writers: list[Any] = []

    def addReader(self, reader: Any) -> None:
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        self.readers.remove(reader)

    def addWriter(self, writer: Any) -> None:
        self.writers.append(writer)

    def removeWriter(self, writer: Any) -> None:
        self.writers.remove(writer)


class FakeGateway:
    """What a worker is asked to do."""

    def __init__(self) -> None:
        self.reactor = FakeReactor()
        self.config = SimpleNamespace(graceful_shutdown_timeout_s=12.0)
        self.site: Any = SimpleNamespace(counters=Counter(requests=3), connection_count=2, draining=False)
        self.site.shared_counters = SharedCounters(self.site)
        self.site.questions = Questions()
        self.done: list[str] = []
        self.fault = ""

    async def reload_here(self) -> str:
        self.done.append("reload")
        return self.fault

    def end(self) -> None:
        self.done.append("end")

    def hurry(self) -> None:
        self.done.append("hurry")


class World:
    """A link and its parent's end."""

    def __init__(self) -> None:
        self.parent, theirs = make_pair()
        self.words = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed by close()
        self.link = WorkerLink(Born(2, theirs, self.words), 3, None)
        self.gateway = FakeGateway()

    def attach(self, *, ready: bool = True) -> World:
        """Start the worker."""
        self.link.attach(self.gateway)
        if ready:
            self.link.announce(LINE)
            self.link.ready("1 APIs")
            self.heard()
        return self

    def heard(self) -> list[dict[str, Any]]:
        """What the worker said."""
        found = []
        while (message := self.parent.receive()) is not None:
            found.append(message.tree)
        return found

    def say(self, **tree: Any) -> None:
        """The parent says something, and the worker reads it."""
        self.parent.send(tree)
        self.link.doRead()

    def close(self) -> None:
        self.parent.close()
        self.link._channel.close()
        faulthandler.disable()
        faulthandler.enable()
        self.words.close()


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


def result(work: Any) -> list[Any]:
    """Begin a coroutine; its result is in the list when it has one."""
    found: list[Any] = []
    Deferred.fromCoroutine(work).addBoth(found.append)
    return found


def test_sockets_come_from_the_parent(world: World) -> None:
    """Copied by the listener, closed here afterwards; what the parent said meanwhile has its turn later."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        world.parent.send({"do": "stop"})
        world.parent.send({"do": "given"}, (listening.fileno(),))
        fd = world.link.take_socket("127.0.0.1", 8443, 10)
        assert world.heard() == [{"do": "socket", "address": "127.0.0.1", "port": 8443, "backlog": 10}]
        borrowed = socket.socket(fileno=fd)
        assert borrowed.getsockname() == listening.getsockname()
        borrowed.detach()
    world.link.settled()
    with pytest.raises(OSError):
        os.fstat(fd)
    world.attach()
    assert world.gateway.done == ["end"]


def test_a_socket_while_it_serves(world: World) -> None:
    """What comes before the answer is taken in the next turn."""
    world.attach()

    def answer() -> None:
        world.parent.send({"do": "hurry"})
        world.parent.send({"do": "refused", "errno": 98, "text": "busy"})

    timer = threading.Timer(0.05, answer)
    timer.start()
    with pytest.raises(CannotListenError) as caught:
        world.link.take_socket("127.0.0.1", 8443, 10)
    timer.join()  # its end of the channel is closed next
    assert (caught.value.port, caught.value.socketError.errno) == (8443, 98)
    assert world.gateway.done == []
    world.gateway.reactor.advance(0)
    assert world.gateway.done == ["hurry"]


def test_without_a_parent_no_socket_can_be_had(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gone, or silent."""
    monkeypatch.setattr("tlsgate.workers.link._SOCKET_S", 0.05)
    with pytest.raises(CannotListenError, match="does not answer"):
        world.link.take_socket("127.0.0.1", 1, 10)
    world.parent.close()
    with pytest.raises(CannotListenError, match="is gone"):
        world.link.take_socket("127.0.0.1", 1, 10)


def test_it_says_when_it_serves_and_once_only(world: World) -> None:
    """With its lines, its status, and the time that its drain takes."""
    world.attach(ready=False)
    world.heard()
    world.link.announce(LINE)
    world.link.reloading(0.0)
    world.link.ready("1 APIs")
    world.link.ready("2 APIs")
    world.link.stopping()
    world.link.watchdog()
    assert world.heard() == [{"do": "ready", "status": "1 APIs", "drain_s": 12.0, "lines": [LINE]}]
    assert world.link.watchdog_interval() is None
    assert (world.link.workers, world.link.notifier) == (3, world.link)


def test_a_reload_is_answered_with_what_became_of_it(world: World) -> None:
    """One that comes before it serves waits until then."""
    world.attach(ready=False)
    world.heard()
    world.say(do="reload", number=1)
    assert world.gateway.done == []
    world.gateway.fault = "no such file" * 1000
    world.link.ready("1 APIs")
    ready, answer = world.heard()
    assert ready["do"] == "ready"
    assert (answer["do"], answer["number"], answer["status"]) == ("reloaded", 1, "1 APIs")
    assert answer["fault"].startswith("no such file") and len(answer["fault"]) < 5000
    world.link.announce(LINE)
    world.link.released("127.0.0.1", 8443)
    world.gateway.fault = ""
    world.say(do="reload", number=2)
    release, answer = world.heard()
    assert release == {"do": "release", "address": "127.0.0.1", "port": 8443}
    assert (answer["fault"], answer["lines"]) == ("", [])


def test_a_reload_that_fails_is_logged(world: World) -> None:
    """An error of ours; the parent's time for it runs out."""

    async def fail() -> str:
        raise RuntimeError("no")

    world.attach()
    world.gateway.reload_here = fail  # type: ignore[method-assign]
    with logged_events() as events:
        world.say(do="reload", number=1)
    assert "workers.request_failed" in [event.get("event") for event in events]


def test_the_end_comes_from_the_parent(world: World) -> None:
    """As an order, or because there is no parent any more."""
    world.attach()
    world.say(do="stop")
    world.say(do="hurry")
    assert world.gateway.done == ["end", "hurry"]
    world.parent.close()
    with logged_events() as events:
        world.link.doRead()
    assert [event.get("event") for event in events] == ["workers.orphaned"]
    assert world.gateway.done[-1] == "end"
    assert world.gateway.reactor.readers == []
    beats = len(world.gateway.reactor.getDelayedCalls())
    world.gateway.reactor.advance(2)
    assert len(world.gateway.reactor.getDelayedCalls()) < beats


def test_it_is_heard_of_every_second(world: World) -> None:
    """With its counters, so that they survive it."""
    world.attach()
    world.gateway.reactor.advance(1)
    world.gateway.site.counters["requests"] += 1
    world.gateway.reactor.advance(1)
    assert world.heard() == [{"do": "beat", "counters": {"requests": 3}}, {"do": "beat", "counters": {"requests": 4}}]


def test_a_reload_everywhere_waits_for_the_parents_word(world: World) -> None:
    """Several are told apart; one after the parent's end says so."""
    world.attach()
    first, second = result(world.link.reload_everywhere()), result(world.link.reload_everywhere())
    ids = [tree["id"] for tree in world.heard()]
    world.say(do="answer", id=ids[1], fault="no such file")
    world.say(do="answer", id=ids[1], fault="twice")
    world.say(do="answer", id=999, fault="")
    assert (first, second) == ([], ["no such file"])
    world.parent.close()
    world.link.doRead()
    assert first == ["the parent process is gone"]
    assert result(world.link.reload_everywhere()) == ["the gateway shuts down"]


def test_counters_of_all_come_from_the_parent(world: World) -> None:
    """In parts; without a parent its own are all there are."""
    world.attach()
    shared = world.gateway.site.shared_counters
    found = result(shared.collect_all())
    (question,) = world.heard()
    world.say(do="sum", id=question["id"], part={"worker": 2, "counters": {"requests": 3}}, more=True)
    world.say(do="sum", id=question["id"], part={"worker": 0, "counters": {"requests": 9}}, more=True)
    world.say(do="sum", id=question["id"], part={"worker": 2, "gauges": {"connections": 2}}, more=False)
    world.say(do="sum", id=999, part={"worker": 2}, more=False)
    assert found == [
        [
            {"worker": 0, "counters": {"requests": 9}, "gauges": {}},
            {"worker": 2, "counters": {"requests": 3}, "gauges": {"connections": 2}},
        ]
    ]
    orphan = result(shared.collect_all())
    world.parent.close()
    world.link.doRead()
    own = [{"worker": 2, "counters": {"requests": 3}, "gauges": {"connections": 2}}]
    assert orphan == [own]
    assert result(shared.collect_all()) == [own]


def test_its_own_counters_are_told_when_asked(world: World) -> None:
    """All of them, however many; the last part says that it is the last."""
    world.attach()
    many = {f"source-{number}": float(number) for number in range(1000)}
    world.gateway.site.shared_counters.set_source("more", lambda: (many, {"queue": 1}))
    world.say(do="count")
    parts = world.heard()
    assert [part["more"] for part in parts] == [True] * (len(parts) - 1) + [False]
    counters = {name: value for part in parts for name, value in part["counters"].items()}
    gauges = {name: value for part in parts for name, value in part["gauges"].items()}
    assert counters == {"requests": 3, **many}
    assert gauges == {"connections": 2, "queue": 1}


def test_what_the_parent_does_not_take_is_sent_later(world: World) -> None:
    """By the reactor, when there is room."""
    world.attach()
    many = {f"source-{number}-{'x' * 80}": float(number) for number in range(20_000)}
    world.gateway.site.shared_counters.set_source("more", lambda: (many, {}))
    world.say(do="count")
    reactor = world.gateway.reactor
    assert reactor.writers
    parts: list[Any] = []
    while reactor.writers:
        parts += world.heard()
        world.link.doWrite()
        del reactor.writers[1:]
    parts += world.heard()
    assert len({name for part in parts for name in part["counters"]}) == 20_001


def test_last_words_are_left_in_the_file(world: World) -> None:
    """Bounded; the interpreter's own go there too."""
    world.link.leave_words(RuntimeError("x" * 10_000))
    world.words.seek(0)
    assert world.words.read().startswith(b"RuntimeError: xxx")
    assert faulthandler.is_enabled()
    assert world.link.logPrefix() == "WorkerLink"
    assert world.link.fileno() >= 0
    assert world.link.connectionLost(None) is None  # type: ignore[arg-type, func-returns-value]


def test_questions_of_the_parent_are_answered_entry_by_entry(world: World) -> None:
    """By whoever knows the topic."""
    world.attach()
    world.gateway.site.questions.set_answerer("t", lambda question: [question["a"], {"b": 2}])
    world.say(do="question", token=3, topic="t", question={"a": 1})
    assert world.heard() == [
        {"do": "told", "token": 3, "entry": 1},
        {"do": "told", "token": 3, "entry": {"b": 2}},
        {"do": "told", "token": 3},
    ]
    world.say(do="question", token=4, topic="unknown", question={})
    assert world.heard() == [{"do": "told", "token": 4}]


def test_a_question_to_all_waits_for_the_parents_word(world: World) -> None:
    """Answers come by worker; without a parent this one answers alone."""
    world.attach()
    questions = world.gateway.site.questions
    questions.set_answerer("t", lambda question: ["alone"])
    assert questions.worker == 2
    found = result(questions.ask_all("t", {"a": 1}))
    (asked,) = world.heard()
    assert (asked["do"], asked["topic"], asked["question"]) == ("ask", "t", {"a": 1})
    world.say(do="heard", id=asked["id"], worker=3, entry="c")
    world.say(do="heard", id=asked["id"], worker=1, entry="a")
    world.say(do="heard", id=999, worker=1, entry="of another")
    world.say(do="heard", id=asked["id"], worker=1, entry="aa")
    assert found == []
    world.say(do="heard_all", id=asked["id"])
    assert found == [[(1, ["a", "aa"]), (3, ["c"])]]
    world.say(do="heard_all", id=asked["id"])
    waiting = result(questions.ask_all("t", {}))
    world.parent.close()
    world.link.doRead()
    assert waiting == [[(2, ["alone"])]]
    assert result(questions.ask_all("t", {})) == [[(2, ["alone"])]]


def test_a_parent_that_stands_still_holds_no_question_up(world: World) -> None:
    """What was heard until then counts, and what this worker says; a late word changes nothing."""
    world.attach()
    questions = world.gateway.site.questions
    questions.set_answerer("t", lambda question: ["own"])
    found = result(questions.ask_all("t", {}))
    (asked,) = world.heard()
    world.say(do="heard", id=asked["id"], worker=1, entry="a")
    world.gateway.reactor.advance(2.9)
    assert found == []
    world.gateway.reactor.advance(0.2)
    assert found == [[(1, ["a"]), (2, ["own"])]]
    world.say(do="heard_all", id=asked["id"])
    assert world.link._answers == {}
