"""What the parent waits for: signals, channels, moments; and what it asks the system about its children. Knows no worker.

Signals wake the loop through a pair of sockets; their handlers do nothing themselves.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tlsgate.workers.channel import Channel

__all__ = ["Loop"]

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


class Loop:
    """One per process, in its main thread; from its making on signals are its."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._woken, self._waker = socket.socketpair()
        for end in (self._woken, self._waker):
            end.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._channels: dict[int, Channel] = {}
        self._before = {number: signal.signal(number, _ignore) for number in _SIGNALS}
        self._waker_before = signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)

    def now(self) -> float:
        """Return monotonic time in seconds."""
        return time.monotonic()

    def add(self, channel: Channel) -> None:
        """Wait for a channel too."""
        self._channels[channel.fileno()] = channel
        self._selector.register(channel.fileno(), selectors.EVENT_READ)

    def remove(self, channel: Channel) -> None:
        """Wait for it no longer."""
        if self._channels.pop(channel.fileno(), None) is not None:
            self._selector.unregister(channel.fileno())

    def wait(self, until: float) -> list[int]:
        """Wait for a signal, a message, or a moment; sends what channels keep meanwhile.

        :returns: the numbers of signals.
        """
        for fd, channel in self._channels.items():
            self._selector.modify(fd, selectors.EVENT_READ | (selectors.EVENT_WRITE if channel.waiting else 0))
        left = None if until == float("inf") else max(0.0, until - self.now())
        signals: list[int] = []
        for key, _ in self._selector.select(left):
            found = self._channels.get(key.fd)
            if found is not None:
                found.flush()
                continue
            try:
                signals += self._woken.recv(4096)
            except BlockingIOError:
                pass
        return signals

    def find_ended(self, pid: int) -> tuple[int, int]:
        """Return process id and wait status of a child that has ended; zeros while it lives."""
        try:
            return os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            # Somebody else took its status.
            return pid, 0

    def kill(self, pid: int, number: int) -> None:
        """Send a signal to a child."""
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass

    @contextmanager
    def signals_held(self) -> Iterator[None]:
        """Let no signal in: one that comes now is seen afterwards, by parent and child each for itself."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def leave(self) -> None:
        """Let go of everything; signals do what they did before."""
        signal.set_wakeup_fd(self._waker_before)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._selector.close()
        self._woken.close()
        self._waker.close()


def _ignore(number: int, frame: object) -> None:
    """The loop reads the number."""
