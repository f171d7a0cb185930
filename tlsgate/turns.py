"""Who waits for one of a few places: turns go round by who asks, so that one who asks a thousand times keeps nobody else from it.

Knows neither what is asked nor by whom.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict, deque

from twisted.internet.defer import Deferred

from tlsgate.errors import TlsgateError

__all__ = ["TooMany", "Turns", "name_asker"]


class TooMany(TlsgateError):
    """There is no place to wait, or no longer."""

    def __init__(self) -> None:
        super().__init__("too many wait already")


class Turns:
    """Places, and those who wait for one.

    :param places: taken at once while they last.
    :param most: how many wait; whoever has most of them waiting makes room for the others, with what it asked last.
    """

    __slots__ = ("_free", "_is_passing", "_most", "_places", "_waiting", "_waiting_now")

    def __init__(self, places: int, most: int) -> None:
        self._free = self._places = places
        self._is_passing = False
        self._most = most
        self._waiting: OrderedDict[str, deque[Deferred[None]]] = OrderedDict()
        self._waiting_now = 0

    def __len__(self) -> int:
        return self._waiting_now

    @property
    def is_idle(self) -> bool:
        """Whether nobody has a place or waits for one."""
        return self._free == self._places and not self._waiting

    async def take(self, who: str) -> None:
        """Take a place, perhaps after a wait.

        :param who: turns go round by this name.
        :raises TooMany: nothing was taken.
        """
        if self._free > 0:
            self._free -= 1
            return
        if self._waiting_now >= self._most:
            self._make_room(who)
        turn: Deferred[None] = Deferred()
        self._waiting.setdefault(who, deque()).append(turn)
        self._waiting_now += 1
        await turn  # whoever ends takes us into its place

    def end(self) -> None:
        """Give a place back; those who wait take what is free.

        In a loop: each may end at once, and a thousand would be nested in each other.
        """
        self._free += 1
        if self._is_passing:
            return
        self._is_passing = True
        try:
            while self._waiting and self._free > 0:
                turn = self._next()
                if not turn.called:  # else who waited has gone away
                    self._free -= 1
                    turn.callback(None)
        finally:
            self._is_passing = False

    def _next(self) -> Deferred[None]:
        who, turns = self._waiting.popitem(last=False)
        turn = turns.popleft()
        if turns:
            self._waiting[who] = turns
        self._waiting_now -= 1
        return turn

    def _make_room(self, who: str) -> None:
        own = len(self._waiting.get(who, ()))
        if own * len(self._waiting) >= self._waiting_now:
            raise TooMany  # as many as the others have, or more
        greediest = max(self._waiting, key=lambda name: len(self._waiting[name]))
        turns = self._waiting[greediest]
        if len(turns) <= own + 1:
            raise TooMany
        turn = turns.pop()
        self._waiting_now -= 1
        turn.errback(TooMany())


def name_asker(address: str) -> str:
    """Return by which name turns go round for a client: its address, of IPv6 the network, which one host may have whole.

    :param address: textual; what is none is its own name.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    return str(parsed.ipv4_mapped or ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))
