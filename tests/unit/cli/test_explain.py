"""``tlsgate explain``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.cli import Cli
from tests.support.fake_control import running_control
from tests.unit.cli.test_explain_text import RECORD


def test_an_id_gives_a_report_or_json(tmp_path: Path) -> None:
    """The same record."""
    with running_control(tmp_path) as control:
        cli = Cli(control, tmp_path)
        control.decisions = {RECORD["id"]: RECORD}
        assert cli.good("explain", RECORD["id"]).startswith(f"Request {RECORD['id']} was refused with 403 (cert.not_allowed).\n")
        assert json.loads(cli.good("explain", f" {RECORD['id']} ", "--json")) == RECORD
        done = cli("explain", "no-such")
        assert (done.status, done.out) == (1, "")
        assert "no record" in done.err


def test_the_latest_are_a_table(tmp_path: Path) -> None:
    """One line for each; what chooses is passed on."""
    with running_control(tmp_path) as control:
        cli = Cli(control, tmp_path)
        done = cli("explain", "--last", "5")
        assert (done.status, done.out) == (0, "")
        assert "no refusals" in done.err
        control.decisions = {RECORD["id"]: RECORD}
        head, line = cli.good("explain", "--last", "5", "--api", "orders", "--status", "403").splitlines()
        assert head.split() == ["WHEN", "ID", "STATUS", "REFUSAL", "API", "REQUEST", "CLIENT", "CERTIFICATE"]
        for text in (RECORD["id"], "403", "cert.not_allowed", "orders", "GET a.test/orders/1", "192.0.2.7", "CN=mallory"):
            assert text in line, text
        assert json.loads(cli.good("explain", "--last", "1", "--json")) == {"records": [RECORD]}
        assert control.calls[1][2] == {"limit": "5", "api_id": "orders", "status": "403"}


def test_handshakes_are_in_the_table(tmp_path: Path) -> None:
    """They have neither API nor status."""
    shake = {
        "id": "1-2",
        "kind": "handshake",
        "at": 1.0,
        "status": 0,
        "refusal": "tls.handshake",
        "connection": {"client": "192.0.2.7"},
        "tls": {"server_name": "a.test"},
    }
    with running_control(tmp_path) as control:
        cli = Cli(control, tmp_path)
        control.decisions = {"1-2": shake}
        assert "TLS handshake a.test" in cli.good("explain", "--last", "5")


@pytest.mark.parametrize(
    "arguments",
    [(), ("1-2.3", "--last", "5"), ("1-2.3", "--api", "a"), ("--last", "0"), ("--last", "101"), ("--last", "x"), ("--api", "a")],
)
def test_wrong_usage(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Status 2, and no call."""
    with running_control(tmp_path) as control:
        done = Cli(control, tmp_path)("explain", *arguments)
        assert (done.status, done.out, control.calls) == (2, "", [])
