"""`make run`: the whole demonstration as a newcomer sees it."""

from __future__ import annotations

import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.support.programs import ROOT, make_sample_folder, python_module, running
from tlsgate.demo_lines import build_examples

FREE_PORTS = ("--port", "0", "--upstream-port", "0")


def test_every_printed_line_does_what_it_says(tmp_path: Path) -> None:
    """`make demo-check`: each curl line is run, and its status compared with the promise."""
    folder = make_sample_folder(tmp_path)
    done = subprocess.run(
        python_module("tlsgate.demo", "--check", *FREE_PORTS), cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    count = len(build_examples(1))
    assert f"{count} of {count} lines did what they say" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_lines_are_printed_and_a_signal_ends_everything(tmp_path: Path, number: int) -> None:
    """Ctrl-C or SIGTERM: exit status 0, and both ports are free again."""
    folder = make_sample_folder(tmp_path)
    with running(python_module("tlsgate.demo", *FREE_PORTS), folder) as demo:
        ports = [demo.wait_for_port("upstream"), demo.wait_for_port("gateway")]
        examples = build_examples(ports[1])
        for example in examples:
            demo.wait_for("^# .* -> ")
            assert demo.wait_for("^(KEY=.*)?curl ").string == example.line
        for port in ports:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        assert demo.stop(number) == 0, "\n".join(demo.lines)
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)


@pytest.mark.parametrize(("target", "expected"), [("run", ["tlsgate.demo"]), ("demo-check", ["tlsgate.demo", "--check", "--port 0"])])
def test_make_calls_the_demonstration(target: str, expected: list[str]) -> None:
    """The two targets, without running them."""
    plan = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "certs dev --out certs/dev" in plan
    assert all(part in plan for part in expected)
