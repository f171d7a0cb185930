"""The command line and the twistd plugin as real processes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.programs import make_sample_folder, python_module, running
from tlsgate import __version__


def curl_status(folder: Path, url: str) -> str:
    """The status of a request that trusts the development CA."""
    command = [
        "curl",
        "-sS",
        "--max-time",
        "20",
        "--noproxy",
        "*",
        "--cacert",
        "certs/dev/ca.pem",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        url,
    ]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False).stdout


def installed(name: str) -> str:
    """A program beside the tests' own Python."""
    return str(Path(sys.executable).parent / name)


@pytest.mark.parametrize("conf", ["--config", "--conf"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_serves_until_a_signal(tmp_path: Path, conf: str, number: int) -> None:
    """One line per listener, /hello at once, exit status 0."""
    folder = make_sample_folder(tmp_path)
    with running([installed("tlsgate"), "run", conf, "conf/tlsgate.json", "--port", "0"], folder) as gateway:
        line = gateway.wait_for("^listening role=gateway").string
        port = gateway.lines and int(line.rsplit("port=", 1)[1].split()[0])
        assert line == f"listening role=gateway address=127.0.0.1 port={port} tls=yes"
        assert curl_status(folder, f"https://localhost:{port}/hello") == "200"
        assert gateway.stop(number) == 0, "\n".join(gateway.lines)


def test_twistd_runs_the_same_service(tmp_path: Path) -> None:
    """`twistd -n tlsgate`, found by name from any working directory."""
    folder = make_sample_folder(tmp_path)
    command = [installed("twistd"), "-n", "--pidfile=", "tlsgate", "--config", "conf/tlsgate.json", "--port", "0"]
    with running(command, folder) as gateway:
        port = gateway.wait_for_port()
        assert curl_status(folder, f"https://localhost:{port}/hello") == "200"
        # twistd shuts down in order and then ends by the signal that it got, as it does for every service.
        assert gateway.stop() == -signal.SIGTERM
        gateway.wait_for("Server Shut Down")
    assert not any("Traceback" in line for line in gateway.lines)


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    """Exit status 1 and one line, no traceback."""
    folder = make_sample_folder(tmp_path)
    with running(python_module("tlsgate", "run", "--config", "conf/tlsgate.json", "--port", "0"), folder) as first:
        port = first.wait_for_port()
        command = python_module("tlsgate", "run", "--config", "conf/tlsgate.json", "--port", str(port))
        second = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
        assert second.returncode == 1
        assert str(port) in second.stderr
        assert "Traceback" not in second.stderr


def test_the_samples_pass_their_own_check(tmp_path: Path) -> None:
    """No errors; development mode may warn."""
    folder = make_sample_folder(tmp_path)
    command = python_module("tlsgate", "check", "--config", "conf/tlsgate.json")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "0 errors" in done.stdout


def test_check_reports_everything_at_once(tmp_path: Path) -> None:
    """Configuration, definition and certificate: three kinds of mistakes in one run, each with its file."""
    folder = make_sample_folder(tmp_path)
    config = json.loads((folder / "conf/tlsgate.json").read_text())
    config["listen_port"] = "often"
    config["tlsgate"]["developmnet"] = True
    (folder / "conf/tlsgate.json").write_text(json.dumps(config))
    (folder / "conf/apis/open.json").write_text("{")
    (folder / "certs/dev/alice.pem").unlink()
    command = python_module("tlsgate", "check", "--config", "conf/tlsgate.json")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    for part in ("listen_port", "developmnet", "development", "open.json", "alice.pem"):
        assert part in done.stderr
    assert "Traceback" not in done.stderr


def test_version() -> None:
    """Both ways to call it."""
    for command in ([installed("tlsgate"), "version"], python_module("tlsgate", "version")):
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == f"tlsgate {__version__}\n"
