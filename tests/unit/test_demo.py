"""What the demonstration does when one of its processes fails; the whole runs in tests/loopback."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from pathlib import Path

import pytest

from tlsgate import demo
from tlsgate.demo import main, write_definitions

ROOT = Path(__file__).parents[2]


def test_definitions_follow_the_upstream(tmp_path: Path) -> None:
    """With another port for the upstream, all samples point to it, and are still JSON."""
    source = ROOT / "conf" / "apis"
    write_definitions(source, tmp_path, 12345)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in source.glob("*.json"))
    for path in tmp_path.iterdir():
        text = path.read_text()
        json.loads(text)
        assert "http://127.0.0.1:12345/" in text
        assert ":9080" not in text


def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, upstream: str, gateway: str = "") -> None:
    """Put small programs into the places of the upstream and the gateway."""
    (tmp_path / "apis").mkdir()
    launcher = tmp_path / "python"
    launcher.write_text(
        f"#!{sys.executable}\n"
        + textwrap.dedent("""\
        import sys, time
        role = "upstream" if sys.argv[2] == "tlsgate.sample_upstream" else "gateway"
        def say(role, port):
            print(f"listening role={role} address=127.0.0.1 port={port} tls=no", flush=True)
        """)
        + f"exec({upstream!r} if role == 'upstream' else {gateway!r})\n"
    )
    launcher.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(launcher))
    monkeypatch.setattr(demo, "_START_S", 5.0)
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> int:
    """The demonstration, its signal handlers taken back afterwards."""
    before = [(number, demo.signal.getsignal(number)) for number in (demo.signal.SIGINT, demo.signal.SIGTERM)]
    try:
        return main(["--config", "gate.json", *arguments])
    finally:
        for number, handler in before:
            demo.signal.signal(number, handler)


def test_an_upstream_that_ends_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With its status; its own message stands above."""
    programs(tmp_path, monkeypatch, upstream="sys.exit(3)")
    assert run() == 1
    assert "demo: the upstream ended with status 3" in capsys.readouterr().err


def test_a_gateway_that_stays_silent_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With --check its log is shown, which is hidden otherwise; the upstream is ended too."""
    pid_file = tmp_path / "pid"
    programs(
        tmp_path,
        monkeypatch,
        upstream=f"import os; open({str(pid_file)!r}, 'w').write(str(os.getpid())); say('upstream', 9080); time.sleep(60)",
        gateway="print('why', file=sys.stderr, flush=True); say('control', 1); print('other line', flush=True); time.sleep(60)",
    )
    assert run("--check") == 1
    printed = capsys.readouterr()
    assert "demo: the gateway did not start within 5 s" in printed.err
    assert "why" in printed.err
    assert "gateway: other line" in printed.out
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


def test_a_gateway_that_does_not_answer_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says that it listens, and nobody is there."""
    from tlsgate.devcerts import build_development_certificates, write_certificates

    write_certificates(tmp_path, build_development_certificates(now=demo.SystemClock().now()))
    programs(tmp_path, monkeypatch, upstream="say('upstream', 9081); time.sleep(60)", gateway="say('gateway', 1); time.sleep(60)")
    monkeypatch.setattr(demo, "_START_S", 1.0)
    assert run("--certs", str(tmp_path)) == 1
    assert "https://localhost:1/hello did not answer" in capsys.readouterr().err


def test_the_folder_of_the_store_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For its owner only; it is there before the gateway starts."""
    (tmp_path / "gate.json").write_text('{"storage": {"type": "sqlite", "path": "var/state/gate.db"}}')
    programs(
        tmp_path, monkeypatch, upstream="say('upstream', 9080); time.sleep(60)", gateway="sys.exit(len(__import__('os').listdir('var')))"
    )
    assert run() == 1
    assert (tmp_path / "var" / "state").stat().st_mode & 0o077 == 0
