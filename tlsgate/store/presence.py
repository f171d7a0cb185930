"""How many gateway processes share a store: each says every few seconds that it is there, and counts those that did.

What is told is an id that says nothing, in ``tlsgate-node-<id>`` with a life of a few rounds, and in the set ``tlsgate-nodes``.
While the store is away the number stays what it was. Knows the protocols of ``store.interface``; must not know what the number is for.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from tlsgate.errors import StoreUnavailable
from tlsgate.store.interface import Store

__all__ = ["LIFE_S", "ROUND_S", "TOPIC", "Presence"]

ROUND_S = 3.0
LIFE_S = 10
"""Seconds after which a process that was killed, or hangs, no longer counts."""
TOPIC = "node"
"""Of the change feed: somebody came or went."""
_SET = "tlsgate-nodes"
_NODE = "tlsgate-node-"
_log = Logger()


class Presence:
    """This process among the others.

    :param store: started.
    :param reactor: provides ``callLater``.
    :param on_change: told the new number whenever it changes; before the first count it is 1.
    """

    def __init__(self, store: Store, reactor: Any, on_change: Callable[[int], None]) -> None:
        self._store = store
        self._reactor = reactor
        self._on_change = on_change
        self._id = os.urandom(8).hex()
        self._loop: Deferred[None] | None = None
        self._rest: Deferred[None] | None = None
        self._early = False
        self.nodes = 1
        """Processes at the last count, this one among them."""
        store.subscribe(self._on_topic)

    def start(self) -> None:
        """Begin to announce and count; the first round is under way when this returns."""
        self._loop = Deferred.fromCoroutine(self._run())

    async def stop(self) -> None:
        """Count no more, and be counted no more where the store answers."""
        loop, self._loop = self._loop, None
        if loop is None:
            return
        loop.cancel()
        await loop
        try:
            await self._store.remove_from_set(_SET, self._id)
            await self._store.delete(_NODE + self._id)
            await self._store.publish(TOPIC, "")
        except (StoreUnavailable, ValueError):
            # The others notice by the end of its life.
            pass

    async def look(self) -> int:
        """Announce this process, count all, and return the number.

        :raises StoreUnavailable: no answer; the number stays.
        """
        await self._store.put(_NODE + self._id, b"1", ttl_s=LIFE_S)
        known = await self._store.members(_SET)
        joined = self._id not in known
        if joined:
            await self._store.add_to_set(_SET, self._id)
        others = [id for id in known if id != self._id]
        there = await self._store.get_many([_NODE + id for id in others])
        gone = [id for id, value in zip(others, there, strict=True) if value is None]
        if gone:
            # One that comes back after a long pause enters itself again.
            await self._store.remove_from_set(_SET, *gone)
        self._note(1 + len(others) - len(gone))
        if joined:
            await self._store.publish(TOPIC, "")
        return self.nodes

    def _note(self, nodes: int) -> None:
        if nodes != self.nodes:
            self.nodes = nodes
            _log.info("{count} gateway processes share the store", event="store.nodes", count=nodes)
            self._on_change(nodes)

    def _on_topic(self, topic: str, payload: str) -> None:
        """Look at once when somebody came or went."""
        if topic == TOPIC:
            if self._rest is not None and not self._rest.called:
                self._rest.callback(None)
            else:
                self._early = True

    async def _run(self) -> None:
        try:
            while True:
                self._early = False
                try:
                    await self.look()
                except StoreUnavailable:
                    # The store logs it; the number stays what it was.
                    pass
                except ValueError:
                    _log.error("{name} in the store holds something that is not ours: remove it", event="store.nodes_unusable", name=_SET)
                if not self._early:
                    await self._wait()
        except CancelledError:
            pass

    async def _wait(self) -> None:
        rest = self._rest = Deferred()
        timer = self._reactor.callLater(ROUND_S, rest.callback, None)
        try:
            await rest
        finally:
            self._rest = None
            if timer.active():
                timer.cancel()
