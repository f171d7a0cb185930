"""The listening ports of a process: opened, kept over reloads, and closed; knows nothing of why a port is wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tlsgate.gateway.listener import Listener

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tlsgate.gateway.listener import ListenerSpec
    from tlsgate.gateway.site import Site
    from tlsgate.hosting import Host

__all__ = ["OpenPorts"]


class OpenPorts:
    """Those that are open.

    :param host: gives sockets that others have opened, and is told what listens.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._listeners: dict[ListenerSpec, Listener] = {}

    def open(self, specs: Iterable[ListenerSpec], site: Site, reactor: Any, backlog: int, *, held: bool = False) -> None:
        """Listen on what is new, and say so on standard output.

        :param backlog: connections that wait to be accepted.
        :param held: bind only; who comes waits for :meth:`release`.
        :raises twisted.internet.error.CannotListenError: a port cannot be had; those before it are open.
        """
        changed: list[tuple[ListenerSpec, ListenerSpec]] = []
        for spec in specs:
            if spec in self._listeners:
                continue
            stale = next((other for other in self._listeners if other.key == spec.key and other.address == spec.address), None)
            if stale is not None:
                changed.append((stale, spec))
                continue
            listener = Listener(site, spec)
            listener.start(reactor, backlog, self._host.take_socket(spec.address, spec.key, backlog))
            self._listeners[spec] = listener
            if held:
                listener.hold()
            else:
                self._announce(listener)
        self._host.settled()
        for stale, spec in changed:
            # A port that speaks something else from now on stays open: a second socket could not be bound beside it.
            listener = self._listeners[spec] = self._listeners.pop(stale)
            listener.spec = spec
            self._announce(listener)

    def release(self) -> None:
        """Let those in who wait at held ports."""
        for listener in self._listeners.values():
            listener.release()
            self._announce(listener)

    def keep(self, specs: Iterable[ListenerSpec]) -> None:
        """Close all others."""
        wanted = frozenset(specs)
        for spec in [spec for spec in self._listeners if spec not in wanted]:
            self._listeners.pop(spec).stop()
            self._host.released(spec.address, spec.key)

    def close(self) -> list[Any]:
        """Close all.

        :returns: Deferreds that fire when the sockets are closed.
        """
        closing = [listener.stop() for listener in self._listeners.values()]
        self._listeners.clear()
        return [entry for entry in closing if entry is not None]

    def _announce(self, listener: Listener) -> None:
        self._host.announce(listener.describe())
