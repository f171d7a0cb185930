"""The listening sockets of the parent: bound once, handed to every worker that asks; knows addresses and ports, not what is served on them.

A socket lives as long as a worker uses it, and stays when all workers are dead: whoever connects meanwhile waits for the next worker.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable

from tlsgate.systemd import InheritedSocket

__all__ = ["Place", "SocketShelf"]

Place = tuple[str, int]
"""Configured address and port; port 0 stands for any free one."""


class SocketShelf:
    """Sockets by place.

    :param inherited: from the service manager; taken instead of binding.
    """

    def __init__(self, inherited: Iterable[InheritedSocket] = ()) -> None:
        self._inherited = list(inherited)
        self._sockets: dict[Place, socket.socket] = {}

    def find(self, place: Place, backlog: int) -> int:
        """Return the descriptor of a listening socket, bound now if need be.

        :raises OSError: the port cannot be had.
        """
        found = self._sockets.get(place)
        if found is None:
            entry = next((entry for entry in self._inherited if entry.serves(*place)), None)
            if entry is not None:
                self._inherited.remove(entry)
                found = socket.socket(fileno=entry.fd)
            else:
                found = _bind(*place, backlog)
            self._sockets[place] = found
        return found.fileno()

    def number(self, place: Place) -> int:
        """Return the port that a place is bound to, 0 for none."""
        found = self._sockets.get(place)
        return int(found.getsockname()[1]) if found is not None else 0

    def prune(self, used: set[Place]) -> list[int]:
        """Close what nobody uses.

        :returns: the ports that were closed.
        """
        closed = []
        for place in [place for place in self._sockets if place not in used]:
            closed.append(self.number(place))
            self._sockets.pop(place).close()
        return closed

    def take_unused(self) -> list[InheritedSocket]:
        """Return inherited sockets that fit no listener, once."""
        unused, self._inherited = self._inherited, []
        return unused

    def close(self) -> None:
        """Close all."""
        for found in self._sockets.values():
            found.close()
        self._sockets.clear()


def _bind(address: str, port: int, backlog: int) -> socket.socket:
    """Return a listening socket; an empty address is all of them, IPv6 and IPv4, or IPv4 only where the host has no IPv6."""
    if not address and socket.has_ipv6:
        try:
            return _listen(socket.AF_INET6, "::", port, backlog)
        except OSError as problem:
            if problem.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                raise
    return _listen(socket.AF_INET6 if ":" in address else socket.AF_INET, address, port, backlog)


def _listen(family: int, address: str, port: int, backlog: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted sockets inherit it (Linux).
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.bind((address, port))
        made.listen(backlog)
    except OSError:
        made.close()
        raise
    return made
