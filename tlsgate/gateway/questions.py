"""Questions that are put to all processes of this node: each answers for itself; knows no topic, and not how processes talk.

A process alone answers alone; among workers the one that is asked asks the others through :attr:`Questions.ask`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

__all__ = ["Heard", "Questions"]

Answerer = Callable[[Mapping[str, Any]], list[Any]]
"""Given a question (a JSON object), returns entries: trees of JSON, each of some 40 KB at most."""


class Heard(NamedTuple):
    """What one worker says."""

    worker: int
    """From 1."""
    entries: list[Any]


class Questions:
    """Topics, and who answers them in this process."""

    def __init__(self) -> None:
        self._answerers: dict[str, Answerer] = {}
        self.worker = 1
        self.ask: Callable[[str, Mapping[str, Any]], Awaitable[list[tuple[int, list[Any]]]]] | None = None
        """Asks all workers, this one too, and returns number and entries of each; None where there is one process."""

    def set_answerer(self, topic: str, answerer: Answerer) -> None:
        """Answer a topic from now on; another one takes its place."""
        self._answerers[topic] = answerer

    def answer(self, topic: str, question: Mapping[str, Any]) -> list[Any]:
        """Return what this process says; nothing to a topic that it does not know."""
        answerer = self._answerers.get(topic)
        return answerer(question) if answerer is not None else []

    async def ask_all(self, topic: str, question: Mapping[str, Any]) -> list[Heard]:
        """Return what each worker says; one that does not answer in a second is missing."""
        if self.ask is None:
            return [Heard(self.worker, self.answer(topic, question))]
        return [Heard(worker, entries) for worker, entries in await self.ask(topic, question)]
