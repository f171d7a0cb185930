"""Real redis-server processes for tests: plain, with a password, with TLS, as replica or Sentinel."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.gateway import free_port

__all__ = ["RedisServer", "needs_redis", "redis_server"]


def _in_memory(folder: Path) -> Path:
    """Return a folder whose writes wait for no disk, as the disk of tests is busy; it outlives the server, not the tests."""
    memory = Path("/dev/shm")
    try:
        room = shutil.disk_usage(memory).free
        made = tempfile.mkdtemp(prefix="tlsgate-redis-", dir=memory) if room > _ROOM_BYTES else ""
    except OSError:
        return folder
    if not made:
        return folder
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return Path(made)


_ROOM_BYTES = 64 << 20
needs_redis = pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed; `make test` installs it")


class RedisServer:
    """A redis-server on a port of its own, which can be stopped, paused and started again on the same port.

    :param folder: for its files.
    :param lines: of its configuration, beside address and port.
    :param sentinel: runs as Sentinel.
    :param tls: the port is for TLS.
    :param cli: how redis-cli gets in.
    """

    def __init__(self, folder: Path, *lines: str, sentinel: bool = False, tls: bool = False, cli: tuple[str, ...] = ()) -> None:
        self.port = free_port()
        self.folder = folder
        self._sentinel = sentinel
        self._cli = cli
        self._process: subprocess.Popen[bytes] | None = None
        port = f"port 0\ntls-port {self.port}" if tls else f"port {self.port}"
        folder.mkdir(exist_ok=True)
        self._file = folder / f"redis-{self.port}.conf"
        self._data = _in_memory(folder)
        common = f"{port}\nbind 127.0.0.1\ndir {self._data}\nlogfile {folder}/redis-{self.port}.log\n"
        kept = "" if sentinel else f'save ""\nappendonly yes\nappenddirname aof-{self.port}\nappendfsync no\n'
        self._file.write_text(common + kept + "\n".join(lines) + "\n")

    def start(self) -> None:
        """Start it and wait until it accepts."""
        command = ["redis-server", str(self._file), *(["--sentinel"] if self._sentinel else [])]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, cwd=self.folder)
        end = time.monotonic() + 20
        while not self._accepts():
            assert time.monotonic() < end, "redis-server does not start"
            time.sleep(0.02)

    def stop(self) -> None:
        """End it, paused or not."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGKILL)
            process.wait()

    def pause(self) -> None:
        """Let it hang: the kernel still accepts connections."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def cli(self, *arguments: str) -> str:
        """Return what redis-cli prints."""
        command = ["redis-cli", "-p", str(self.port), *self._cli, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    def _accepts(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True


@contextmanager
def redis_server(folder: Path, *lines: str, sentinel: bool = False, tls: bool = False) -> Iterator[RedisServer]:
    """A running server."""
    server = RedisServer(folder, *lines, sentinel=sentinel, tls=tls)
    server.start()
    try:
        yield server
    finally:
        server.stop()
