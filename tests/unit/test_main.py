"""The command line: what each command calls, what it prints, how it exits."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tlsgate import __version__
from tlsgate.__main__ import main
from tlsgate.errors import ConfigError, PkiError, Problem
from tlsgate.store.transfer import Moved

ERROR = Problem("gate.json", "listen_port", "x", "must be a number", "write 8080")
WARNING = Problem("gate.json", "listen_prot", "8080", "unknown member", "did you mean listen_port?", severity="warning")


def stand_in(monkeypatch: pytest.MonkeyPatch, module: str, **functions: Any) -> None:
    """Put a module with these functions in the place of a real one."""
    double = ModuleType(module)
    for name, function in functions.items():
        setattr(double, name, function)
    monkeypatch.setitem(sys.modules, module, double)


@pytest.mark.parametrize("spelling", ["--config", "--conf"])
@pytest.mark.parametrize(("port", "expected"), [([], None), (["--port", "0"], 0), (["--port", "65535"], 65535)])
def test_run_serves_a_file(monkeypatch: pytest.MonkeyPatch, spelling: str, port: list[str], expected: int | None) -> None:
    """Tyk's `--conf` too; the exit status is that of the service."""
    calls: list[tuple[str, int | None]] = []
    stand_in(monkeypatch, "tlsgate.workers.run", run=lambda config, port, workers: calls.append((config, port)) or 7)
    assert main(["run", spelling, "gate.json", *port]) == 7
    assert calls == [("gate.json", expected)]


def test_run_without_a_file_needs_the_environment_to_say_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """TYK_GW_OMITCONFIGFILE: configuration from the environment alone."""
    stand_in(monkeypatch, "tlsgate.workers.run", run=lambda config, port, workers: 0 if config is None else 1)
    with pytest.raises(SystemExit) as ended:
        main(["run"])
    assert ended.value.code == 2
    assert "--config" in capsys.readouterr().err
    monkeypatch.setenv("TYK_GW_OMITCONFIGFILE", "true")
    assert main(["run"]) == 0


@pytest.mark.parametrize("port", ["-1", "65536", "http", "", "99999999999999999999", "\u0661"])
def test_a_port_that_is_none_is_wrong_usage(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Told before anything starts."""
    with pytest.raises(SystemExit) as ended:
        main(["run", "--config", "gate.json", f"--port={port}"])
    assert ended.value.code == 2
    assert "from 0 to 65535" in capsys.readouterr().err


@pytest.mark.parametrize(("given", "expected"), [([], None), (["--workers", "0"], 0), (["--workers", "256"], 256)])
def test_the_number_of_workers_is_passed_on(monkeypatch: pytest.MonkeyPatch, given: list[str], expected: int | None) -> None:
    """Without it the configuration decides."""
    calls: list[int | None] = []
    stand_in(monkeypatch, "tlsgate.workers.run", run=lambda config, port, workers: calls.append(workers) or 0)
    assert main(["run", "--config", "gate.json", *given]) == 0
    assert calls == [expected]


@pytest.mark.parametrize("number", ["-1", "257", "two", "", "9999"])
def test_a_number_of_workers_that_is_none_is_wrong_usage(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Told before anything starts."""
    with pytest.raises(SystemExit) as ended:
        main(["run", "--config", "gate.json", f"--workers={number}"])
    assert ended.value.code == 2
    assert "from 0 to 256" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConfigError([WARNING, ERROR]), f"{ERROR}\n{WARNING}\n"),
        (PkiError("no key"), "tlsgate: no key\n"),
        (FileNotFoundError(2, "No such file or directory", "gate.json"), "tlsgate: [Errno 2] No such file or directory: 'gate.json'\n"),
    ],
)
def test_what_stops_the_start_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, text: str
) -> None:
    """Every problem, errors first; no traceback."""

    def run(config: str, port: int | None, workers: int | None) -> int:
        raise error

    stand_in(monkeypatch, "tlsgate.workers.run", run=run)
    assert main(["run", "--config", "gate.json"]) == 1
    assert capsys.readouterr().err == text


@pytest.mark.parametrize(
    ("problems", "arguments", "status", "summary"),
    [
        ([], [], 0, "gate.json: 0 errors, 0 warnings\n"),
        ([WARNING], [], 0, "gate.json: 0 errors, 1 warning\n"),
        ([WARNING], ["--strict"], 1, "gate.json: 0 errors, 1 warning\n"),
        ([WARNING, ERROR, ERROR], [], 1, "gate.json: 2 errors, 1 warning\n"),
        ([], ["--strict"], 0, "gate.json: 0 errors, 0 warnings\n"),
    ],
)
def test_check_reports_all_problems(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    problems: list[Problem],
    arguments: list[str],
    status: int,
    summary: str,
) -> None:
    """Warnings do not fail, unless asked to; each problem has file, path, value and remedy."""
    stand_in(monkeypatch, "tlsgate.preflight", check_everything=lambda config, environ: problems)
    assert main(["check", "--config", "gate.json", *arguments]) == status
    printed = capsys.readouterr()
    assert printed.out == summary
    assert sorted(printed.err.splitlines()) == sorted(str(problem) for problem in problems)
    if ERROR in problems:
        assert "error: gate.json: listen_port: must be a number (value: x); write 8080" in printed.err


def test_certs_dev_makes_a_set_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A second call leaves a good set alone; --force and a new host do not."""
    out = tmp_path / "dev"
    command = ["certs", "dev", "--out", str(out)]
    assert main(command) == 0
    assert "server.pem  (private)" in capsys.readouterr().out
    first = (out / "ca.pem").read_bytes()
    assert main(command) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert (out / "ca.pem").read_bytes() == first
    assert main([*command, "--force"]) == 0
    second = (out / "ca.pem").read_bytes()
    assert second != first
    assert main([*command, "--host", "api.example.test"]) == 0
    assert "server.pem lacks api.example.test" in capsys.readouterr().out
    assert (out / "ca.pem").read_bytes() != second


@pytest.mark.parametrize(("extra", "text"), [(["--host", "a b"], "neither a DNS name"), (["--days", "826"], "days must be")])
def test_certs_dev_refuses_odd_wishes(tmp_path: Path, capsys: pytest.CaptureFixture[str], extra: list[str], text: str) -> None:
    """Before a file is written."""
    assert main(["certs", "dev", "--out", str(tmp_path / "dev"), *extra]) == 1
    assert text in capsys.readouterr().err
    assert not (tmp_path / "dev").exists()


def test_certs_dev_names_a_folder_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file in the way of the folder."""
    (tmp_path / "file").touch()
    assert main(["certs", "dev", "--out", str(tmp_path / "file" / "dev")]) == 1
    assert capsys.readouterr().err.startswith("tlsgate: ")


@pytest.mark.parametrize("command", [["version"], ["--version"]])
def test_version(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Both spellings."""
    try:
        assert main(command) == 0
    except SystemExit as ended:
        assert ended.code == 0
    assert capsys.readouterr().out == f"tlsgate {__version__}\n"


@pytest.mark.parametrize("command", [[], ["run"], ["check"], ["certs"], ["certs", "dev"]])
def test_help_is_worth_reading(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Each command explains itself in more than its usage line, within an ordinary terminal."""
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert len(text.splitlines()) > 5
    assert max(len(line) for line in text.splitlines()) <= 120


@pytest.mark.parametrize("command", [[], ["certs"], ["certs", "dev"], ["start"]])
def test_wrong_usage(command: list[str]) -> None:
    """Exit status 2, argparse's own."""
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 2


def test_the_store_is_exported_and_imported(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output stays free for the lines; what was moved is told beside it."""
    calls: list[tuple[str, str]] = []

    def move(config: str, place: str, environ: Any) -> Moved:
        calls.append((config, place))
        return Moved(2, 1, 1, True)

    stand_in(monkeypatch, "tlsgate.store.command", export_store=move, import_store=move)
    assert main(["store", "export", "--config", "gate.json"]) == 0
    assert main(["store", "import", "--config", "gate.json", "--in", "lines"]) == 0
    assert calls == [("gate.json", "-"), ("gate.json", "lines")]
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.splitlines()[0].startswith("exported 2 values and 1 set; 1 name passed over")
    assert output.err.splitlines()[1] == "imported 2 values and 1 set"
