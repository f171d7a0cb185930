"""Tests of `tlsgate.gateway.changes`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred

from tests.support.apis import FixedClock
from tests.support.keys import begin, run
from tlsgate.errors import StoreUnavailable
from tlsgate.gateway.changes import TOPIC, Changes
from tlsgate.gateway.questions import Questions
from tlsgate.store.memory import MemoryStore


class World:
    """A worker: its feed, and what it has asked the others."""

    def __init__(self) -> None:
        self.store = MemoryStore(FixedClock())
        self.questions = Questions()
        self.changes = Changes(self.store, self.questions)
        self.asked: list[list[tuple[str, str]]] = []
        self.questions.ask = self._ask

    async def _ask(self, topic: str, question: Mapping[str, Any]) -> list[tuple[int, list[Any]]]:
        assert topic == TOPIC
        self.asked.append(list(question["changes"]))
        return [(1, self.questions.answer(topic, question)), (2, [])]

    async def publish(self, *changes: tuple[str, str]) -> str:
        for topic, payload in changes:
            await self.store.publish(topic, payload)
        return "done"


def test_what_a_call_changes_is_told_before_it_is_answered() -> None:
    """Once each, and nothing that has its own way to all workers; a call that changes nothing asks nobody."""
    world = World()
    call = world.publish(("key", "a"), ("reload", ""), ("org", "o"), ("key", "a"), ("certificate", "c"))
    assert run(world.changes.tell_of(call)) == "done"
    assert world.asked == [[("key", "a"), ("org", "o"), ("certificate", "c")]]
    assert run(world.changes.tell_of(world.publish())) == "done" and len(world.asked) == 1
    run(world.publish(("key", "b")))
    assert len(world.asked) == 1, "no call: a request waits for nobody"


def test_who_is_told_tells_its_own_listeners() -> None:
    """As the feed does later."""
    world = World()
    told: list[tuple[str, str]] = []
    world.store.subscribe(lambda topic, payload: told.append((topic, payload)))
    assert world.questions.answer(TOPIC, {"changes": [["key", "a"], ["org", "o"]]}) == []
    assert told == [("key", "a"), ("org", "o")]


def test_each_of_two_calls_waits_for_what_it_has_changed() -> None:
    """One that ends first takes nothing from the other."""
    world = World()
    gate: Deferred[None] = Deferred()

    async def slow() -> str:
        await world.publish(("key", "a"))
        await gate
        return "slow"

    _, results = begin(world.changes.tell_of(slow()))
    assert run(world.changes.tell_of(world.publish(("key", "b")))) == "done"
    assert world.asked == [[("key", "b")]] and results == []
    gate.callback(None)
    assert results == ["slow"] and ("key", "a") in world.asked[1]


def test_what_another_worker_tells_is_not_told_on() -> None:
    """Calls that overlap would tell each other the same changes for ever, more of them each time."""
    world = World()
    gate: Deferred[None] = Deferred()

    async def slow() -> str:
        await gate
        await world.publish(("key", "own"))
        return "slow"

    _, results = begin(world.changes.tell_of(slow()))
    world.questions.answer(TOPIC, {"changes": [["key", "told"]]})
    gate.callback(None)
    assert results == ["slow"] and world.asked == [[("key", "own")]]


def test_a_call_that_fails_may_have_changed_something() -> None:
    """The store broke off: the others know of it; not when nobody waits any longer, for then the feed tells them."""
    world = World()
    for problem, asked in ((StoreUnavailable("away"), [[("key", "a")]]), (CancelledError(), [])):
        world.asked.clear()

        async def fail(problem: Exception = problem) -> None:
            await world.publish(("key", "a"))
            raise problem

        with pytest.raises(type(problem)):
            run(world.changes.tell_of(fail()))
        assert world.asked == asked


def test_questions_fit_into_messages() -> None:
    """Many changes are several questions; one that is too long for any is left to the feed."""
    world = World()
    names = [("key", "\x01" * 1000 + str(number)) for number in range(12)]
    run(world.changes.tell_of(world.publish(*names[:6], ("certificate", "\x01" * 20_000), *names[6:])))
    assert [len(part) for part in world.asked] == [4, 4, 4]
    assert [change for part in world.asked for change in part] == names


def test_a_process_alone_asks_nobody() -> None:
    """Its own listeners have heard."""
    world = World()
    world.questions.ask = None
    assert run(world.changes.tell_of(world.publish(("key", "a")))) == "done"
    assert world.asked == []
