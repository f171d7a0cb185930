"""Tests of `tlsgate.service`: what can be seen without a process (the rest is in `tests/loopback`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from twisted.application.service import IService

from tests.support.gateway import classic
from tlsgate.errors import ConfigError
from tlsgate.service import GatewayService, make_service


def write(folder: Path, **config: Any) -> str:
    path = folder / "tyk.conf.json"
    own = {"development": True, "api_definitions": [classic("one", 9, "/one/")], **config.pop("tlsgate", {})}
    path.write_text(json.dumps({"listen_port": 0, "secret": "s" * 32, "app_path": str(folder), "tlsgate": own, **config}))
    return str(path)


def test_it_is_a_service_and_reads_nothing_before_it_starts() -> None:
    """`twistd` makes services before it changes user and folder."""
    made = make_service("/no/such/file", 1)
    assert IService.providedBy(made)
    assert isinstance(made, GatewayService)
    assert made.stopService() is None


def test_the_port_of_the_command_line_wins(tmp_path: Path) -> None:
    gateway = GatewayService(write(tmp_path, listen_port=8080), 9999)
    assert gateway._read_config()[0].listen_port == 9999
    assert GatewayService(write(tmp_path, listen_port=8080))._read_config()[0].listen_port == 8080


@pytest.mark.parametrize("config", [{"listen_port": "x"}, {"tlsgate": {"developmemt": True}}, {"http_server_options": {"min_version": 9}}])
def test_every_problem_of_the_configuration_is_carried(tmp_path: Path, config: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        GatewayService(write(tmp_path, **config))._read_config()
    assert caught.value.problems


def test_what_cannot_change_while_running_is_kept(tmp_path: Path) -> None:
    """Ports, address and TLS of the main listeners need a restart; everything else is taken (decisions 4.5)."""
    gateway = GatewayService(write(tmp_path, listen_port=8080))
    gateway.config = gateway._read_config()[0]
    changed = GatewayService(write(tmp_path, listen_port=8081, hide_generator_header=True, control_api_port=7000))._read_config()[0]
    kept = gateway._keep_fixed(changed)
    assert (kept.listen_port, kept.control.port, kept.hide_generator_header) == (8080, 0, True)
    same = GatewayService(write(tmp_path, listen_port=8080))._read_config()[0]
    assert gateway._keep_fixed(same) is same
