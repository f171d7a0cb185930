"""Programs of the project as real processes, for loopback tests: started in a folder with samples, read line by line, always ended."""

from __future__ import annotations

import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tlsgate.devcerts import build_development_certificates, write_certificates

ROOT = Path(__file__).parents[2]


def make_sample_folder(folder: Path) -> Path:
    """Copy the samples of ``conf/`` and make certificates beside them, as in a clone after ``make certs``.

    :returns: the folder: the working directory for whatever uses the samples.
    """
    shutil.copytree(ROOT / "conf", folder / "conf")
    write_certificates(folder / "certs" / "dev", build_development_certificates(now=time.time()))
    return folder


class Program:
    """A running program; its standard output and error, line by line, in ``lines``."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def wait_for(self, pattern: str, timeout_s: float = 30.0) -> re.Match[str]:
        """Return the match of the next line that holds a pattern; fails with all output when none comes."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                line = self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                line = None
            assert line is not None, f"no line with {pattern!r} in:\n" + "\n".join(self.lines)
            found = re.search(pattern, line)
            if found:
                return found

    def wait_for_port(self, role: str = "gateway") -> int:
        """Return the port of the line ``listening role=...``."""
        return int(self.wait_for(rf"listening role={role} .*port=(\d+)").group(1))

    def stop(self, number: int = signal.SIGTERM, timeout_s: float = 30.0) -> int:
        """Send a signal and return the exit status."""
        self.process.send_signal(number)
        status = self.process.wait(timeout_s)
        return status

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stream:
            for line in stream:
                self.lines.append(line.rstrip("\n"))
                self._queue.put(self.lines[-1])
        self._queue.put(None)


@contextmanager
def running(
    arguments: Sequence[str], folder: Path, environ: Mapping[str, str] | None = None, pass_fds: Sequence[int] = ()
) -> Iterator[Program]:
    """Run a program in a folder; whatever happens, it has ended afterwards.

    :param arguments: the program and its arguments.
    :param environ: variables beside those of the test run.
    :param pass_fds: descriptors that it inherits.
    """
    process = subprocess.Popen(
        arguments,
        cwd=folder,
        env={**os.environ, **(environ or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        pass_fds=pass_fds,
        start_new_session=True,
    )
    try:
        yield Program(process)
    finally:
        # A test that failed has not let it end its own programs; those of its group end in any case.
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def python_module(*arguments: str) -> list[str]:
    """The command that runs a module with the tests' own Python."""
    return [sys.executable, "-m", *arguments]
