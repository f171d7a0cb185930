"""Talking to the service manager: readiness, reloads, watchdog, inherited sockets; knows nothing of the gateway or of Twisted.

The environment is an argument, so that nothing here reads it behind anybody's back.
Source: sd_notify(3), sd_listen_fds(3), sd_watchdog_enabled(3).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import NamedTuple

from tlsgate.errors import ConfigError, Problem

__all__ = ["InheritedSocket", "Notifier", "build_notifier", "find_watchdog_interval", "load_inherited_sockets"]

_FIRST_FD = 3
"""SD_LISTEN_FDS_START."""
_MAX_FDS = 1024


class Notifier:
    """Sends state to the service manager; without one every method does nothing.

    A message that cannot be sent is dropped: the service manager's trouble must not become the gateway's.
    """

    __slots__ = ("_address",)

    def __init__(self, address: str | None) -> None:
        """
        :param address: path of a datagram socket, ``@name`` in the abstract name space, or None for no service manager.
        """
        self._address = address

    @property
    def enabled(self) -> bool:
        """Whether anybody listens."""
        return self._address is not None

    def ready(self, status: str = "") -> bool:
        """Say that the gateway serves: after the start, and at the end of each reload.

        :param status: one line for ``systemctl status``.
        :returns: whether the message went out.
        """
        return self._send("READY=1", status)

    def reloading(self, monotonic_s: float, status: str = "") -> bool:
        """Say that a reload begins; :meth:`ready` ends it, whatever became of the reload.

        :param monotonic_s: monotonic time of the machine, in seconds.
        :param status: one line for ``systemctl status``.
        :returns: whether the message went out.
        """
        return self._send(f"RELOADING=1\nMONOTONIC_USEC={int(monotonic_s * 1_000_000)}", status)

    def stopping(self, status: str = "") -> bool:
        """Say that the gateway drains and ends.

        :param status: one line for ``systemctl status``.
        :returns: whether the message went out.
        """
        return self._send("STOPPING=1", status)

    def watchdog(self) -> bool:
        """Say that the event loop still turns.

        :returns: whether the message went out.
        """
        return self._send("WATCHDOG=1", "")

    def status(self, text: str) -> bool:
        """Change the line of ``systemctl status`` alone.

        :param text: one line.
        :returns: whether the message went out.
        """
        return self._send("", text)

    def _send(self, state: str, status: str) -> bool:
        if self._address is None:
            return False
        # A line break inside the text would start a further assignment.
        lines = [state] if state else []
        if status:
            lines.append("STATUS=" + " ".join(status.split()))
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
                sender.connect(address)
                sender.send("\n".join(lines).encode())
        except OSError:
            return False
        return True


def build_notifier(environ: Mapping[str, str]) -> Notifier:
    """Return the notifier for ``NOTIFY_SOCKET``.

    :param environ: environment.
    :returns: a notifier that does nothing when there is no socket, or one of a kind other than a path or an abstract name.
    """
    address = environ.get("NOTIFY_SOCKET", "")
    return Notifier(address if len(address) > 1 and address[0] in "/@" else None)


def find_watchdog_interval(environ: Mapping[str, str], pid: int) -> float | None:
    """Return how often :meth:`Notifier.watchdog` has to be called.

    :param environ: environment.
    :param pid: this process.
    :returns: seconds, half of what the service manager allows; None when it watches nobody, or another process.
    """
    microseconds = _number(environ.get("WATCHDOG_USEC", ""))
    if not microseconds or environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    return microseconds / 2_000_000


class InheritedSocket(NamedTuple):
    """A listening socket that the service manager opened."""

    fd: int
    name: str
    """``FileDescriptorName=`` of the socket unit; ``unknown`` when there is none."""
    family: int
    """``socket.AF_INET``, ``AF_INET6`` or ``AF_UNIX``: what ``adoptStreamPort`` wants to know."""
    address: str
    """Textual IP address or path."""
    port: int
    """0 for a path."""

    def serves(self, address: str, port: int) -> bool:
        """Tell whether this socket stands for a configured listener.

        :param address: configured address; empty means all addresses.
        :param port: configured port.
        :returns: True for the same port and the same address, all addresses counting as one whatever the family.
        """
        return self.port == port and (self.address == address or (_is_any(self.address) and _is_any(address)))


def load_inherited_sockets(environ: Mapping[str, str], pid: int) -> tuple[InheritedSocket, ...]:
    """Read which sockets were handed over, make them non-blocking, and keep them from leaking into child processes.

    :param environ: environment (``LISTEN_PID``, ``LISTEN_FDS``, ``LISTEN_FDNAMES``).
    :param pid: this process; sockets meant for another one are left alone.
    :returns: the sockets in order; empty without socket activation.
    :raises ConfigError: when a descriptor is no listening stream socket: better no start than a port that answers nobody.
    """
    count = _number(environ.get("LISTEN_FDS", ""))
    if not count or environ.get("LISTEN_PID") != str(pid):
        return ()
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    found: list[InheritedSocket] = []
    problems: list[Problem] = []
    for offset in range(min(count, _MAX_FDS)):
        fd = _FIRST_FD + offset
        name = names[offset] if offset < len(names) and names[offset] else "unknown"
        try:
            found.append(_describe(fd, name))
        except (OSError, ValueError) as error:
            problems.append(
                Problem(
                    file="environment",
                    path="LISTEN_FDS",
                    value=f"{fd} ({name})",
                    message=f"the inherited descriptor cannot be used: {error}",
                    remedy="let the socket unit name stream sockets only (ListenStream=, Accept=no)",
                )
            )
    if problems:
        raise ConfigError(problems)
    return tuple(found)


def _describe(fd: int, name: str) -> InheritedSocket:
    os.set_inheritable(fd, False)
    # systemd hands blocking sockets over unless NonBlocking= is set; the reactor would stop in the second accept().
    os.set_blocking(fd, False)
    borrowed = socket.socket(fileno=fd)
    try:
        if borrowed.type != socket.SOCK_STREAM or not borrowed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise ValueError("not a listening stream socket")
        bound = borrowed.getsockname()
        family = int(borrowed.family)
    finally:
        borrowed.detach()
    if isinstance(bound, tuple):
        return InheritedSocket(fd, name, family, str(bound[0]), int(bound[1]))
    return InheritedSocket(fd, name, family, os.fsdecode(bound), 0)


def _is_any(address: str) -> bool:
    return address in ("", "0.0.0.0", "::")  # noqa: S104 - compared, not bound


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0
