"""One command: faults become text and status."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import run_cli
from tests.support.fake_control import SECRET, running_control
from tlsgate.cli.faults import RefusedByGateway
from tlsgate.cli.run import run


def options(act: Any, **more: Any) -> argparse.Namespace:
    """Options of a command that asks nobody."""
    names = ("config", "ca", "cert", "key", "server_name", "secret_file")
    given = {**dict.fromkeys(names), "url": "http://127.0.0.1:1", "plain": False, "timeout": 1.0, **more}
    return argparse.Namespace(act=act, **given)


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """One in the environment."""
    monkeypatch.setenv("TLSGATE_SECRET", SECRET)


@pytest.mark.usefixtures("secret")
def test_the_command_s_own_status_is_returned() -> None:
    """Whatever it is."""
    assert run(options(lambda client, given: 7)) == 7


@pytest.mark.usefixtures("secret")
def test_faults_are_two_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """What happened, and what to do, neither of which steers the terminal."""

    def act(client: Any, given: Any) -> int:
        raise RefusedByGateway("no \x1b[1m", "ask\nagain")

    assert run(options(act)) == 1
    assert capsys.readouterr().err == "tlsgate: no \\x1b[1m\n  ask\\nagain\n"


@pytest.mark.usefixtures("secret")
def test_ctrl_c_is_130() -> None:
    """As shells have it, without a traceback."""

    def act(client: Any, given: Any) -> int:
        raise KeyboardInterrupt

    assert run(options(act)) == 130


def test_a_configuration_that_is_no_json_is_wrong_usage(tmp_path: Path) -> None:
    """2, naming the file."""
    path = tmp_path / "tyk.conf.json"
    path.write_text("{")
    done = run_cli("keys", "list", "--config", str(path))
    assert done.status == 2
    assert str(path) in done.err


def test_a_reader_that_goes_away_is_no_fault(tmp_path: Path) -> None:
    """``tlsgate keys list | head -1``."""
    with running_control(tmp_path) as control:
        control.keys = {f"key-{number:06}": {} for number in range(20000)}
        command = [sys.executable, "-m", "tlsgate", "keys", "list", "--url", f"http://127.0.0.1:{control.port}"]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "TLSGATE_SECRET": SECRET}, text=True
        )
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "KEY\n"
        process.stdout.close()
        errors = process.stderr.read()
        process.stderr.close()
        assert process.wait(30) == 0
        assert errors == ""
