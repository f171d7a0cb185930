"""Tests of `tlsgate.workers.run`: how many there are to be; what they then do is in `tests/loopback/test_workers.py`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

from tlsgate.config.model import GatewayConfig, OwnSettings, StorageSettings
from tlsgate.errors import ConfigError
from tlsgate.workers.run import plan, run


@pytest.mark.parametrize(("setting", "given", "count"), [(0, None, 0), (3, None, 3), (3, 1, 1), (3, 0, 0), (0, 4, 4)])
def test_the_command_line_wins(setting: int, given: int | None, count: int) -> None:
    """Over the file; without either it is one process."""
    assert plan(GatewayConfig(own=OwnSettings(workers=setting)), given) == count


def test_a_memory_of_each_is_refused() -> None:
    """A key made in one worker would be unknown in the others."""
    config = GatewayConfig(source="tyk.conf", storage=StorageSettings(type="memory"))
    assert plan(config, 1) == 1
    with pytest.raises(ConfigError, match="each of several workers"):
        plan(config, 2)
    assert plan(msgspec.structs.replace(config, storage=StorageSettings(type="redis")), 2) == 2


@pytest.mark.parametrize("workers", [None, 0, 1])
def test_one_process_needs_no_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int | None) -> None:
    """It is what runs."""
    calls: list[Any] = []
    double: Any = ModuleType("tlsgate.service")
    double.run = lambda *arguments: calls.append(arguments) or 7
    monkeypatch.setitem(sys.modules, "tlsgate.service", double)
    path = tmp_path / "tyk.conf"
    path.write_text(json.dumps({"secret": "s" * 32, "app_path": str(tmp_path)}))
    assert run(str(path), 8443, workers) == 7
    assert calls == [(str(path), 8443)]


def test_a_file_that_cannot_be_used_is_told_before_anything_starts(tmp_path: Path) -> None:
    """With every problem."""
    path = tmp_path / "tyk.conf"
    path.write_text(json.dumps({"listen_port": "x", "secret": ""}))
    with pytest.raises(ConfigError) as caught:
        run(str(path), None, 2)
    assert len([problem for problem in caught.value.problems if problem.severity == "error"]) == 2


def test_the_parent_knows_no_gateway() -> None:
    """Forked processes share what was imported before: no reactor, no prefix of connection ids, no TLS stream."""
    code = (
        "import sys, tlsgate.__main__, tlsgate.workers.run; "
        "print([n for n in ('twisted.internet.reactor', 'tlsgate.ids', 'tlsgate.service', 'tlsgate.gateway', 'tlsgate.tls', 'OpenSSL') "
        "if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
