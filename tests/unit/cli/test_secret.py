"""Secrets: from a file, the environment or standard input; never from the command line, never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.cli import run_cli
from tests.support.fake_control import SECRET, running_control
from tlsgate.cli import secret as secrets_module
from tlsgate.cli.faults import UsageFault
from tlsgate.cli.secret import read_line, read_secret


@pytest.mark.parametrize("spelling", [["--secret", SECRET], [f"--secret={SECRET}"], ["--secret"]])
@pytest.mark.parametrize("command", [["keys", "list"], ["certs", "delete", "x"], ["reload"], ["apis", "list"], ["policies", "list"]])
def test_a_secret_on_the_command_line_is_refused_with_the_reason(command: list[str], spelling: list[str]) -> None:
    """In every command; and it is not shown once more."""
    done = run_cli(*command, *spelling, "--url", "http://127.0.0.1:1")
    assert done.status == 2
    assert "shell's history" in done.err
    assert "--secret-file" in done.err
    assert SECRET not in done.out + done.err


@pytest.mark.parametrize("spelling", [["--password", "hunter2"], ["--password=hunter2"]])
def test_a_password_on_the_command_line_is_refused_as_well(spelling: list[str]) -> None:
    """Of a user of Basic authentication."""
    done = run_cli("keys", "create", "--user", "alice", *spelling)
    assert done.status == 2
    assert "--password-file" in done.err
    assert "hunter2" not in done.err


def test_names_of_options_are_not_completed() -> None:
    """``--secr VALUE`` must not become ``--secret-file VALUE``."""
    done = run_cli("keys", "list", "--secret-fil", "x")
    assert done.status == 2
    assert "unrecognized arguments" in done.err


@pytest.mark.parametrize("way", ["file", "environment", "standard input"])
def test_each_way_reaches_the_gateway(tmp_path: Path, way: str) -> None:
    """One line; what ends it is no part of it."""
    file = tmp_path / "secret"
    file.write_bytes(SECRET.encode() + b"\r\nanother line\n")
    arguments = {"file": ["--secret-file", str(file)], "environment": [], "standard input": ["--secret-file", "-"]}[way]
    environ = {"TLSGATE_SECRET": SECRET} if way == "environment" else {}
    with running_control(tmp_path) as control:
        done = run_cli("keys", "list", "--url", f"http://127.0.0.1:{control.port}", *arguments, stdin=file.read_bytes(), environ=environ)
        assert done.status == 0, done
        assert control.heads[0]["x-tyk-authorization"] == SECRET


def test_the_file_goes_before_the_environment_before_the_configuration(tmp_path: Path) -> None:
    """The nearer word counts."""
    file = tmp_path / "secret"
    file.write_text("of the file")
    environ = {"TLSGATE_SECRET": "of the environment"}
    assert read_secret(str(file), environ, "of the configuration") == "of the file"
    assert read_secret(None, environ, "of the configuration") == "of the environment"
    assert read_secret(None, {}, "of the configuration") == "of the configuration"


def test_whoever_sits_at_a_terminal_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without echo; elsewhere it is told what to give."""
    monkeypatch.setattr(secrets_module, "ask", lambda prompt: "typed")
    assert read_secret(None, {}, "") == "typed"
    monkeypatch.setattr(secrets_module, "ask", lambda prompt: "")
    with pytest.raises(UsageFault) as fault:
        read_secret(None, {}, "")
    assert "TLSGATE_SECRET" in fault.value.remedy


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", "is empty"), (b"\nsecret\n", "is empty"), (b"a\tb\n", "control characters"), (b"\xff\xfe", "no UTF-8"), (None, "No such file")],
)
def test_an_unusable_secret_is_named_by_its_source(tmp_path: Path, data: bytes | None, reason: str) -> None:
    """And not by its value."""
    file = tmp_path / "secret"
    if data is not None:
        file.write_bytes(data)
    with pytest.raises(UsageFault) as fault:
        read_line(str(file), "the secret")
    assert reason in str(fault.value)
    assert str(file) in str(fault.value)


def test_standard_input_is_one_thing_at_a_time() -> None:
    """Secret and body cannot both come from it."""
    done = run_cli("policies", "create", "-", "--secret-file", "-", "--url", "http://127.0.0.1:1", stdin=b"{}")
    assert done.status == 2
    assert "two things" in done.err
