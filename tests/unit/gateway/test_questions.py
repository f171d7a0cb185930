"""Tests of `tlsgate.gateway.questions`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.support.keys import run
from tlsgate.gateway.questions import Heard, Questions


def test_a_process_alone_answers_alone() -> None:
    """A topic that nobody knows has no entries."""
    questions = Questions()
    questions.set_answerer("count", lambda question: list(range(question["up_to"])))
    assert run(questions.ask_all("count", {"up_to": 2})) == [Heard(1, [0, 1])]
    assert run(questions.ask_all("other", {})) == [Heard(1, [])]


def test_among_workers_all_are_asked() -> None:
    """By whoever knows how."""
    questions = Questions()
    questions.worker = 2

    async def ask(topic: str, question: Mapping[str, Any]) -> list[tuple[int, list[Any]]]:
        return [(1, [topic]), (2, [dict(question)])]

    questions.ask = ask
    assert run(questions.ask_all("count", {"a": 1})) == [Heard(1, ["count"]), Heard(2, [{"a": 1}])]
