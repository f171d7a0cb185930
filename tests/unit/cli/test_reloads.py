"""``tlsgate reload``."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.cli import Cli
from tests.support.fake_control import running_control


def test_it_waits_by_default(tmp_path: Path) -> None:
    """And says when it is done; --no-wait and --group only ask."""
    with running_control(tmp_path) as control:
        cli = Cli(control, tmp_path)
        assert cli.good("reload") == "reloaded\n"
        assert cli.good("reload", "--no-wait") == "reload asked for\n"
        assert cli.good("reload", "--group") == "reload asked for\n"
        assert json.loads(cli.good("reload", "--json")) == {"status": "ok", "message": ""}
        assert [(path, query) for _, path, query, _ in control.calls] == [
            ("reload", {"block": "true"}),
            ("reload", {}),
            ("reload/group", {}),
            ("reload", {"block": "true"}),
        ]


def test_what_could_not_be_used_is_told_and_exits_with_1(tmp_path: Path) -> None:
    """The gateway itself answers 200 (decisions 4.6)."""
    with running_control(tmp_path) as control:
        cli = Cli(control, tmp_path)
        control.reload_message = "error: apps/bad.json: not JSON"
        done = cli("reload")
        assert (done.status, done.out) == (1, "")
        assert "apps/bad.json" in done.err and "log" in done.err
        done = cli("reload", "--json")
        assert done.status == 1
        assert json.loads(done.out)["message"] == control.reload_message
