"""Gateways that are forked from a process which has imported the product already: most of a start's time is imports.

What is forked is the same program with the same arguments, environment, folder and pipes as a fresh interpreter would have. It is for
tests that are not about the start: `make acceptance` starts interpreters, and so does whoever wants an environment of its own.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["CAN_FORK", "Forked", "fork_tlsgate"]

CAN_FORK = hasattr(os, "pidfd_open")
"""Linux."""

_MODULES = ("tlsgate.workers.run", "tlsgate.service", "tlsgate.store.sqlite")
_ORDER_BYTES = 1 << 20


class Forked:
    """A running program, with those methods of :class:`subprocess.Popen` that tests use."""

    def __init__(self, channel: socket.socket, stdout: io.TextIOWrapper, stderr: io.TextIOWrapper) -> None:
        self._channel = channel
        self._said = channel.makefile("r")
        self._lock = threading.Lock()
        self.stdout = stdout
        self.stderr = stderr
        self.stdin = None
        self.returncode: int | None = None
        self.pid = int(self._said.readline())

    def poll(self) -> int | None:
        """Return the exit status, None while it runs."""
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status.

        :raises subprocess.TimeoutExpired: it still runs.
        """
        status = self._look(timeout)
        if status is None:
            raise subprocess.TimeoutExpired(["tlsgate", str(self.pid)], timeout or 0)
        return status

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(9)

    def _look(self, timeout: float | None) -> int | None:
        with self._lock:
            if self.returncode is None and select.select([self._channel], [], [], timeout)[0]:
                self.returncode = int(self._said.readline() or 255)
                self._said.close()
                self._channel.close()
            return self.returncode


def fork_tlsgate(arguments: Sequence[str], folder: Path, environ: Mapping[str, str]) -> Forked:
    """Run ``tlsgate`` in a folder; what it prints is in ``stdout`` and ``stderr``.

    :param environ: the whole environment.
    """
    order = json.dumps({"arguments": list(arguments), "folder": str(folder), "environ": dict(environ)}).encode()
    own, other = socket.socketpair()
    ends = [os.pipe(), os.pipe()]
    with other:
        try:
            socket.send_fds(_find_nursery(), [order], [other.fileno(), ends[0][1], ends[1][1]])
        finally:
            for _, write_end in ends:
                os.close(write_end)
    out, err = (os.fdopen(read_end, encoding="utf-8", errors="replace") for read_end, _ in ends)
    return Forked(own, out, err)


_nurseries: dict[int, socket.socket] = {}


def _find_nursery() -> socket.socket:
    """Return the channel to the nursery of this process."""
    found = _nurseries.get(os.getpid())
    if found is None:
        found, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _ORDER_BYTES)
        with other:
            command = [sys.executable, "-u", "-m", __name__, str(other.fileno())]
            root = Path(__file__).parents[2]
            nursery = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[other.fileno()], cwd=root)
        _nurseries[os.getpid()] = found
        atexit.register(_close, found, nursery)
    return found


def _close(channel: socket.socket, nursery: subprocess.Popen[bytes]) -> None:
    channel.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        nursery.wait(10)


def _serve(orders: socket.socket) -> None:
    """Fork a program for each order until nobody can give any; say its process id, and later its exit status."""
    for name in _MODULES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    poller = select.poll()
    poller.register(orders, select.POLLIN)
    children: dict[int, tuple[int, socket.socket]] = {}
    while True:
        for descriptor, _ in poller.poll():
            if descriptor != orders.fileno():
                poller.unregister(descriptor)
                pid, channel = children.pop(descriptor)
                os.close(descriptor)
                with channel, contextlib.suppress(OSError):
                    channel.sendall(b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
                continue
            order, descriptors, _, _ = socket.recv_fds(orders, _ORDER_BYTES, 3)
            if not order:
                return
            pid = os.fork()
            if pid == 0:
                _become(json.loads(order), descriptors)
            channel = socket.socket(fileno=descriptors[0])
            for each in descriptors[1:]:
                os.close(each)
            with contextlib.suppress(OSError):
                channel.sendall(b"%d\n" % pid)
            watched = os.pidfd_open(pid)
            children[watched] = pid, channel
            poller.register(watched, select.POLLIN)


def _become(order: dict[str, object], descriptors: list[int]) -> None:
    """Be the program: nothing of the nursery is left open. Does not return."""
    status = 70
    try:
        os.dup2(descriptors[1], 1)
        os.dup2(descriptors[2], 2)
        os.closerange(3, 1 << 16)
        os.environ.clear()
        os.environ.update(order["environ"])  # type: ignore[call-overload]
        time.tzset()
        os.chdir(str(order["folder"]))
        arguments = [str(argument) for argument in order["arguments"]]  # type: ignore[attr-defined]
        sys.argv = ["tlsgate", *arguments]
        from tlsgate.__main__ import main

        status = main(arguments)
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        status = 1
    finally:
        with contextlib.suppress(Exception):
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
