"""What a gateway process stands in: alone under a service manager, or one worker of several (``workers.link``).

Knows where sockets come from and who is told of states; nothing of what is served. Source: sd_notify(3), sd_listen_fds(3).
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Protocol

from twisted.logger import Logger

from tlsgate.systemd import InheritedSocket, build_notifier, find_watchdog_interval, load_inherited_sockets

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from tlsgate.logs import LineLog

__all__ = ["Alone", "Host", "States", "name_unused"]

_log = Logger()


class States(Protocol):
    """Who is told how the gateway is (``systemd.Notifier``)."""

    def ready(self, status: str = "") -> object:
        """It serves, or has ended a reload."""

    def reloading(self, monotonic_s: float, status: str = "") -> object:
        """A reload begins."""

    def stopping(self, status: str = "") -> object:
        """It drains."""

    def watchdog(self) -> object:
        """Its event loop turns."""


class Host(Protocol):
    """The process around a gateway."""

    @property
    def workers(self) -> int:
        """Processes that share the traffic of this machine."""

    @property
    def notifier(self) -> States:
        """Who is told of states."""

    @property
    def line_log(self) -> LineLog | None:
        """The log, when the host has begun it."""

    @property
    def reload_everywhere(self) -> Callable[[], Awaitable[str]] | None:
        """Reloads all workers, as ``GatewayService.reload_now`` does; None where there is one process."""

    def attach(self, gateway: Any) -> None:
        """Know the gateway, whose site is built and whose ports are open but hold clients back."""

    def take_socket(self, address: str, port: int, backlog: int) -> int | None:
        """Return the descriptor of a listening socket, to be copied before :meth:`settled`; None leaves binding to the caller.

        :raises twisted.internet.error.CannotListenError: the port cannot be had.
        """

    def settled(self) -> None:
        """All listeners that are wanted now have their sockets."""

    def released(self, address: str, port: int) -> None:
        """A socket is not used any more."""

    def announce(self, line: str) -> None:
        """Print the line of a listener (decisions 4.5)."""

    def watchdog_interval(self) -> float | None:
        """Return how often the notifier's ``watchdog`` wants to be called, in seconds; None for never."""


class Alone:
    """One process, told of by ``NOTIFY_SOCKET`` and given sockets by ``LISTEN_FDS``."""

    workers = 1
    line_log = None
    reload_everywhere = None

    def __init__(self, environ: Mapping[str, str]) -> None:
        # As it is now: Twisted's endpoints take the sockets out of the environment as soon as somebody imports them.
        self._environ = dict(environ)
        self._inherited: list[InheritedSocket] | None = None
        self.notifier: States = build_notifier(environ)

    def attach(self, gateway: Any) -> None:
        """Need nothing of it."""

    def take_socket(self, address: str, port: int, backlog: int) -> int | None:
        """Return what the service manager opened for this place."""
        if self._inherited is None:
            # Not before: twistd has another process id once it is a daemon.
            self._inherited = list(load_inherited_sockets(self._environ, os.getpid()))
        given = next((entry for entry in self._inherited if entry.serves(address, port)), None)
        if given is None:
            return None
        self._inherited.remove(given)
        return given.fd

    def settled(self) -> None:
        """Name inherited sockets that fit no listener: their connections would wait for ever."""
        unused, self._inherited = self._inherited or [], []
        for entry in unused:
            name_unused(entry)

    def released(self, address: str, port: int) -> None:
        """The socket is closed with its listener."""

    def announce(self, line: str) -> None:
        """Print."""
        # twistd puts its log in the place of standard output: the line is for whoever started the process.
        output = sys.__stdout__ or sys.stdout
        output.write(line + "\n")
        output.flush()

    def watchdog_interval(self) -> float | None:
        """As the service manager wishes."""
        return find_watchdog_interval(self._environ, os.getpid())


def name_unused(entry: InheritedSocket) -> None:
    """Log an inherited socket that fits no listener: a unit and a configuration that do not fit together."""
    _log.warn(
        "the inherited socket {name} at {address}:{port} fits no listener and is not used",
        event="service.unused_socket",
        name=entry.name,
        address=entry.address,
        port=entry.port,
    )
