"""``tlsgate policies``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.cli import Cli
from tests.support.fake_control import running_control

GOLD = {
    "id": "gold",
    "name": "Gold",
    "org_id": "acme",
    "rate": 100,
    "per": 60,
    "quota_max": 5000,
    "quota_renewal_rate": 3600,
    "access_rights": {"orders": {}, "stock": {}},
    "partitions": {"quota": True, "acl": False},
    "active": True,
}


def test_a_policy_s_life(tmp_path: Path) -> None:
    """Written, shown, written anew, deleted; each change says that a reload makes it live."""
    with running_control(tmp_path) as control:
        cli = Cli(control, tmp_path)
        done = cli("policies", "create", "-", stdin=json.dumps(GOLD).encode())
        assert done.status == 0
        assert done.out.splitlines() == ["action  added", "policy  gold"]
        assert "tlsgate reload" in done.err
        table = cli.good("policies", "list").splitlines()
        assert table[0].split() == ["ID", "NAME", "ORGANISATION", "ACTIVE", "RATE", "QUOTA", "APIS"]
        assert table[1].split() == ["gold", "Gold", "acme", "yes", "100/60s", "5000", "orders,stock"]
        shown = cli.good("policies", "get", "gold")
        assert "sets only      quota\n" in shown
        assert json.loads(cli.good("policies", "get", "gold", "--json")) == GOLD
        assert json.loads(cli.good("policies", "list", "--json")) == [GOLD]
        file = tmp_path / "gold.json"
        file.write_text(json.dumps({**GOLD, "is_inactive": True}))
        done = cli("policies", "update", str(file), "--reload")
        assert (done.status, done.err) == (0, "")
        assert control.calls[-1][1:3] == ("reload", {"block": "true"})
        assert cli.good("policies", "list").splitlines()[1].split()[3] == "no"
        assert "deleted" in cli.good("policies", "delete", "gold")
        assert "no policies" in cli("policies", "list").err
        gone = cli("policies", "get", "gold")
        assert (gone.status, gone.out) == (1, "")
        assert "404: Policy not found" in gone.err


def test_an_id_beside_the_file(tmp_path: Path) -> None:
    """It is put in; two that differ are a mistake; none at all is one for update."""
    file = tmp_path / "policy.json"
    file.write_text('{"name": "nameless"}')
    with running_control(tmp_path) as control:
        cli = Cli(control, tmp_path)
        cli.good("policies", "create", str(file), "--id", "silver")
        assert control.policies["silver"] == {"name": "nameless", "id": "silver"}
        cli.good("policies", "update", str(file), "--id", "silver")
        assert cli("policies", "update", str(file)).status == 2
        assert cli("policies", "create", str(file)).status == 1
        file.write_text('{"id": "bronze"}')
        done = cli("policies", "update", str(file), "--id", "silver")
        assert done.status == 2
        assert "bronze" in done.err


@pytest.mark.parametrize("action", ["create", "update"])
def test_a_reload_that_finds_faults_fails_the_command(tmp_path: Path, action: str) -> None:
    """The change itself was made: standard output says so."""
    with running_control(tmp_path) as control:
        control.policies["gold"] = GOLD
        control.reload_message = "error: policies/other.json: not JSON"
        done = Cli(control, tmp_path)("policies", action, "-", "--reload", stdin=json.dumps(GOLD).encode())
        assert done.status == 1
        assert "gold" in done.out
        assert "other.json" in done.err
