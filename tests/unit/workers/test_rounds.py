"""Tests of `tlsgate.workers.rounds`."""

from __future__ import annotations

from typing import Any

from tlsgate.workers.rounds import ROUND_LIMIT_S, SILENT_S, Collection, Inquiry, ReloadRounds, combine


class Rounds:
    """Rounds over two workers, with what happened."""

    def __init__(self, *workers: int) -> None:
        self.begun: list[int] = []
        self.ended: list[dict[int, str]] = []
        self.told: list[str] = []
        self.workers = workers
        self.rounds = ReloadRounds(self._begin, self.ended.append)

    def _begin(self, number: int) -> tuple[int, ...]:
        self.begun.append(number)
        return self.workers


def test_a_round_ends_when_all_have_answered() -> None:
    """Whoever asked is told once."""
    world = Rounds(1, 2)
    world.rounds.want(0.0, world.told.append)
    world.rounds.answered(1, 1, "", 1.0)
    assert world.told == []
    assert world.rounds.until == ROUND_LIMIT_S
    world.rounds.answered(1, 1, "twice", 1.0)
    world.rounds.answered(2, 1, "", 2.0)
    assert world.told == [""]
    assert world.ended == [{1: "", 2: ""}]
    assert world.rounds.until is None
    world.rounds.answered(2, 1, "late", 2.0)
    assert len(world.ended) == 1


def test_what_is_asked_for_meanwhile_is_one_further_round() -> None:
    """It begins after the question, so that files which were written before it count."""
    world = Rounds(1)
    world.rounds.want(0.0, world.told.append)
    first: list[str] = []
    for _ in range(3):
        world.rounds.want(0.0, first.append)
    assert world.begun == [1]
    world.rounds.answered(1, 1, "", 1.0)
    assert (world.begun, world.told, first) == ([1, 2], [""], [])
    world.rounds.answered(1, 1, "of the round before", 1.0)
    assert first == []
    world.rounds.answered(1, 2, "", 1.0)
    assert first == [""] * 3
    assert world.begun == [1, 2]


def test_a_worker_that_refuses_while_others_take_it_is_named() -> None:
    """What all say is said once."""
    world = Rounds(1, 2, 3)
    world.rounds.want(0.0, world.told.append)
    for number, fault in ((1, ""), (2, "no such file"), (3, "")):
        world.rounds.answered(number, 1, fault, 1.0)
    assert world.told == ["worker 1: reloaded; worker 2: no such file; worker 3: reloaded"]
    assert combine({1: "no such file", 2: "no such file"}) == "no such file"
    assert combine({1: "", 2: ""}) == ""
    assert "no worker is running" in combine({})


def test_the_dead_and_the_silent_hold_nobody_up() -> None:
    """They are named."""
    world = Rounds(1, 2)
    world.rounds.want(0.0, world.told.append)
    world.rounds.lost(3, 1.0)
    world.rounds.lost(1, 1.0)
    world.rounds.look(ROUND_LIMIT_S - 1, {})
    assert world.told == []
    world.rounds.look(ROUND_LIMIT_S, {})
    assert "worker 1: it died" in world.told[0]
    assert "worker 2: no answer within 120 s" in world.told[0]
    world.rounds.look(ROUND_LIMIT_S * 2, {})
    assert len(world.ended) == 1


def test_without_workers_a_round_is_over_at_once() -> None:
    """They have all died: the next ones read everything anew."""
    world = Rounds()
    world.rounds.want(0.0, world.told.append)
    assert "no worker is running" in world.told[0]


def test_counters_come_together() -> None:
    """In parts; somebody who does not answer counts as last heard, somebody unknown not at all."""
    found: list[list[dict[str, Any]]] = []
    collection = Collection([1, 2], 1.0, found.append)
    collection.add(2, {"requests": 5}, {}, more=True)
    collection.add(2, {}, {"connections": 1}, more=False)
    collection.add(3, {"requests": 100}, {}, more=False)
    assert collection.missing == (1,)
    assert not collection.done
    collection.give_up(1, {"requests": 2})
    collection.give_up(1, {"requests": 7})
    assert collection.done
    assert found == [
        [
            {"worker": 1, "counters": {"requests": 2}, "gauges": {}},
            {"worker": 2, "counters": {"requests": 5}, "gauges": {"connections": 1}},
        ]
    ]


def test_a_silent_worker_holds_up_nobody() -> None:
    """One that was stopped: the others' next round begins, and ends without it; one that only takes long is waited for."""
    world = Rounds(1, 2)
    second: list[str] = []
    world.rounds.want(0.0, world.told.append)
    world.rounds.want(0.0, second.append)
    assert world.rounds.find_next({1: 1.0, 2: 0.0}) == SILENT_S
    world.rounds.look(SILENT_S - 1, {1: SILENT_S - 1, 2: 0.0})
    assert world.ended == []
    world.rounds.look(SILENT_S, {1: SILENT_S, 2: 0.0})
    assert world.ended == [] and world.rounds.find_next({1: SILENT_S, 2: 0.0}) == 2 * SILENT_S
    world.rounds.answered(1, 1, "", SILENT_S)
    assert "has not been heard of" in world.told[0] and world.begun == [1, 2]
    world.rounds.look(SILENT_S, {1: SILENT_S, 2: 0.0})
    world.rounds.answered(1, 2, "", SILENT_S + 1)
    assert second == world.told
    assert world.rounds.find_next({1: 0.0}) == float("inf")


def test_a_question_is_over_when_all_have_said_everything() -> None:
    """Entries come one by one; who was not asked has no say."""
    told: list[Any] = []
    inquiry = Inquiry(7, [1, 2], 1.0, told.append)
    inquiry.add(2, "b")
    inquiry.add(3, "stranger")
    inquiry.end(2)
    inquiry.add(2, "late")
    inquiry.end(3)
    assert told == []
    inquiry.add(1, "a")
    inquiry.add(1, "aa")
    inquiry.end(1)
    inquiry.end(1)
    assert told == [{1: ["a", "aa"], 2: ["b"]}]
    assert inquiry.done


def test_who_does_not_answer_a_question_is_missing() -> None:
    """Half an answer is none; of a worker that is gone what it said counts."""
    told: list[Any] = []
    inquiry = Inquiry(7, [1, 2, 3], 1.0, told.append)
    inquiry.add(1, "half")
    inquiry.add(2, "whole")
    inquiry.end(2)
    inquiry.give_up()
    assert told == [{2: ["whole"]}]
