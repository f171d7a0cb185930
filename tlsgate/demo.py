"""The demonstration of `make run`: starts the sample upstream and the gateway, prints curl lines; knows them only as processes.

With `--check` it runs each line that it prints and compares what comes back with what it promised. Ctrl-C and SIGTERM end both processes.
"""

from __future__ import annotations

import argparse
import http.client
import os
import queue
import re
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tlsgate.clock import SystemClock
from tlsgate.config.load import load_config
from tlsgate.demo_lines import Example, build_examples
from tlsgate.errors import ConfigError

__all__ = ["main", "write_definitions"]

_UPSTREAM_PORT = 9080
"""Where the sample definitions expect the upstream."""
_START_S = 30.0
_STOP_S = 10.0
_REFUSED = (35, 55, 56)
"""curl's exit codes for a handshake that the peer ended: while it ran, or (TLS 1.3) at the first write or read after it."""


def write_definitions(source: Path, target: Path, upstream_port: int) -> None:
    """Copy the sample definitions for an upstream on another port.

    :param source: folder of ``*.json``.
    :param target: existing folder for the copies.
    :param upstream_port: the port.
    """
    for path in sorted(source.glob("*.json")):
        text = path.read_text(encoding="utf-8")
        (target / path.name).write_text(text.replace(f"127.0.0.1:{_UPSTREAM_PORT}/", f"127.0.0.1:{upstream_port}/"), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demonstration until Ctrl-C or SIGTERM, or once with ``--check``.

    :param arguments: command line without the program's name; None takes the process's own.
    :returns: exit status: 1 when something did not start, ended by itself, or answered other than promised.
    """
    options = _parse(arguments)
    for interrupt in (signal.SIGINT, signal.SIGTERM):
        signal.signal(interrupt, _stop)
    try:
        with tempfile.TemporaryDirectory(prefix="tlsgate-demo-") as folder, _running(options, Path(folder)) as (port, children):
            examples = build_examples(port, options.certs)
            if options.check:
                return _check(examples, Path(folder))
            _say(f"\nThe gateway serves on https://localhost:{port}; Ctrl-C ends it. Paste these lines into another terminal, here:\n")
            for number, example in enumerate(examples, 1):
                _say(f"# {number}. {example.title} -> {example.expectation}\n{example.line}\n")
            return _watch(children)
    except _Stopped:
        return 0
    except _Broken as error:
        sys.stderr.write(f"demo: {error}\n")
        return 1


class _Stopped(BaseException):
    """Somebody asked for the end."""


class _Broken(Exception):
    """The demonstration cannot go on."""


def _stop(number: int, frame: object) -> None:
    # A second Ctrl-C must not interrupt the clearing up.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise _Stopped


class _Child:
    """A program of ours whose standard output is read line by line and passed on."""

    def __init__(self, role: str, arguments: Sequence[str], *, environ: Mapping[str, str], stderr: IO[str] | None) -> None:
        self.role = role
        # Sessions of their own: Ctrl-C reaches this process alone, which then ends them in order.
        self.process = subprocess.Popen(  # noqa: S603 - our own modules, fixed arguments
            [sys.executable, "-m", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=dict(environ),
            text=True,
            start_new_session=True,
        )
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def wait_for_port(self) -> int:
        """Return the port of the line `listening role=...`.

        :raises _Broken: when the process ends, or says nothing in time.
        """
        deadline = SystemClock().monotonic() + _START_S
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - SystemClock().monotonic()))
            except queue.Empty:
                raise _Broken(f"the {self.role} did not start within {_START_S:.0f} s") from None
            if line is None:
                raise _Broken(f"the {self.role} ended with status {self.process.wait()}")
            fields = dict(part.split("=", 1) for part in line.split() if "=" in part)
            if line.startswith("listening ") and fields.get("role") == self.role and fields.get("port", "").isdigit():
                return int(fields["port"])

    def stop(self) -> None:
        """End the process: politely, then not."""
        self.process.terminate()
        try:
            self.process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stream:
            for line in stream:
                _say(f"{self.role}: {line.rstrip()}")
                self._lines.put(line)
        self._lines.put(None)


@contextmanager
def _running(options: argparse.Namespace, folder: Path) -> Iterator[tuple[int, list[_Child]]]:
    children: list[_Child] = []
    environ = dict(os.environ)
    log = (folder / "stderr").open("w+", encoding="utf-8") if options.check else None
    try:
        upstream = ["tlsgate.sample_upstream", "--port", str(options.upstream_port)]
        children.append(_Child("upstream", upstream, environ=environ, stderr=log))
        upstream_port = children[0].wait_for_port()
        if upstream_port != _UPSTREAM_PORT:
            (folder / "apis").mkdir()
            write_definitions(Path(options.config).parent / "apis", folder / "apis", upstream_port)
            environ["TYK_GW_APPPATH"] = str(folder / "apis")
        _make_store_folder(options.config, environ)
        gateway = ["tlsgate", "run", "--config", options.config]
        if options.port is not None:
            gateway += ["--port", str(options.port)]
        children.append(_Child("gateway", gateway, environ=environ, stderr=log))
        port = children[1].wait_for_port()
        _wait_for_hello(port, options.certs)
        yield port, children
    except _Broken:
        if log is not None:
            log.seek(0)
            sys.stderr.write(log.read()[-4000:])
        raise
    finally:
        for child in reversed(children):
            child.stop()
        if log is not None:
            log.close()


def _make_store_folder(config: str, environ: Mapping[str, str]) -> None:
    """Make the folder of the embedded store, for its owner only; a configuration that cannot be read is the gateway's to name."""
    try:
        storage = load_config(config, environ).config.storage
    except ConfigError:
        return
    if storage.type == "sqlite":
        Path(storage.path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)


def _wait_for_hello(port: int, certs: str) -> None:
    deadline = SystemClock().monotonic() + _START_S
    context = ssl.create_default_context(cafile=f"{certs}/ca.pem")
    pause = threading.Event()
    reason = ""
    while SystemClock().monotonic() < deadline:
        connection = http.client.HTTPSConnection("localhost", port, timeout=5, context=context)
        try:
            connection.request("GET", "/hello")
            answer = connection.getresponse()
            if answer.status == 200:
                return
            reason = f"HTTP {answer.status}"
        except (OSError, http.client.HTTPException) as error:
            reason = str(error)
        finally:
            connection.close()
        pause.wait(0.1)
    raise _Broken(f"https://localhost:{port}/hello did not answer: {reason}")


def _watch(children: Sequence[_Child]) -> int:
    pause = threading.Event()
    while not pause.wait(0.5):
        for child in children:
            status = child.process.poll()
            if status is not None:
                raise _Broken(f"the {child.role} ended with status {status}")
    return 0


def _check(examples: Sequence[Example], folder: Path) -> int:
    # A proxy of the environment would answer in the gateway's place. The lines run as they are printed: what tells their status stands
    # in curl's own configuration.
    environ = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    (folder / ".curlrc").write_text('silent\nshow-error\nmax-time = 20\nwrite-out = "%{stderr}%{http_code}\\n"\n', encoding="ascii")
    environ["CURL_HOME"] = str(folder)
    failed = 0
    for example in examples:
        done = subprocess.run(["sh", "-c", example.line], env=environ, capture_output=True, text=True, check=False)  # noqa: S603, S607
        codes = re.findall(r"^[0-9]{3}$", done.stderr, re.MULTILINE)
        status = codes[-1] if codes else "none"
        if example.keeps:
            environ["KEY"] = done.stdout.strip()
        refused = done.returncode in _REFUSED and status == "000"
        good = refused if example.status == 0 else done.returncode == 0 and status == str(example.status)
        good = good and re.search(example.shows, done.stdout) is not None
        failed += not good
        _say(f"{'ok    ' if good else 'FAILED'} {example.expectation:<24} {example.title}")
        if not good:
            _say(f"       {example.line}\n       curl: status {status}, exit {done.returncode} {done.stderr.strip()}\n{done.stdout}")
    _say(f"{len(examples) - failed} of {len(examples)} lines did what they say")
    return 1 if failed else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tlsgate.demo", description="Run the sample upstream and the gateway, and print curl lines."
    )
    parser.add_argument("--config", default="conf/tlsgate.json", help="configuration (default: %(default)s)")
    parser.add_argument("--certs", default="certs/dev", help="folder of the development certificates (default: %(default)s)")
    parser.add_argument("--port", type=int, help="the gateway's port instead of the file's; 0 for any free one")
    parser.add_argument("--upstream-port", type=int, default=_UPSTREAM_PORT, help="the upstream's port (default: %(default)s)")
    parser.add_argument("--check", action="store_true", help="run the lines instead of printing them, compare, and end")
    return parser.parse_args(arguments)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
