"""Changes that a call makes are known to all workers of this node before the call is answered; knows no topic's meaning.

The store's feed tells everybody within a second, of changes of other nodes too. A client's next request may reach another worker sooner,
with a key that its owner has just revoked. Only calls of the control API wait for the others: no request waits for a worker that hangs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping
from typing import Any

import msgspec
from twisted.internet.defer import CancelledError

from tlsgate.gateway.questions import Questions
from tlsgate.store.interface import ChangeFeed

__all__ = ["Changes"]

TOPIC = "changes"
"""Of ``gateway.questions``."""
_TOLD = frozenset({"key", "org", "certificate"})
"""What decides about clients. A reload has a way of its own to all workers, and would be one more for each that hears of it."""
_MAX_BYTES = 30_000
"""Of one question, which travels in one message of the workers' channel; a longer change is left to the feed."""


class Changes:
    """What is heard of the store while calls are under way.

    :param feed: of this process.
    :param questions: reach the other workers.
    """

    def __init__(self, feed: ChangeFeed, questions: Questions) -> None:
        self._feed = feed
        self._questions = questions
        self._calls: list[dict[tuple[str, str], None]] = []
        self._is_told = False
        """Another worker is telling us: all others hear it from that one, and calls under way here would tell it on and on."""
        feed.subscribe(self._note)
        questions.set_answerer(TOPIC, self._hear)

    async def tell_of(self, work: Awaitable[Any]) -> Any:
        """Return what a call returns, when all workers know what has changed meanwhile.

        One that is silent for a second is not waited for any longer.
        """
        if self._questions.ask is None:
            return await work
        heard: dict[tuple[str, str], None] = {}
        self._calls.append(heard)
        try:
            result = await work
        except CancelledError:
            # Nobody waits for an answer; what goes on of the work is told by the feed.
            raise
        except Exception:
            # The change may have been made all the same, and where the feed cannot be written nobody else hears of it.
            await self._tell(heard)
            raise
        finally:
            # Not ``remove``, which takes the first that is equal: two calls have often heard the same.
            self._calls = [other for other in self._calls if other is not heard]
        await self._tell(heard)
        return result

    async def _tell(self, heard: Iterable[tuple[str, str]]) -> None:
        for changes in _pieces(heard):
            await self._questions.ask_all(TOPIC, {"changes": changes})

    def _note(self, topic: str, payload: str) -> None:
        if topic in _TOLD and not self._is_told:
            for heard in self._calls:
                heard[topic, payload] = None

    def _hear(self, question: Mapping[str, Any]) -> list[Any]:
        self._is_told = True
        try:
            for topic, payload in question["changes"]:
                self._feed.tell_here(topic, payload)
        finally:
            self._is_told = False
        return []


def _pieces(changes: Iterable[tuple[str, str]]) -> list[list[tuple[str, str]]]:
    """Return changes in parts that fit into messages."""
    pieces: list[list[tuple[str, str]]] = []
    room = 0
    for change in changes:
        size = len(msgspec.json.encode(change)) + 1
        if size > _MAX_BYTES:
            continue
        if size > room:
            pieces.append([])
            room = _MAX_BYTES
        pieces[-1].append(change)
        room -= size
    return pieces
