"""``tlsgate certs list|get|add|delete``; `certs dev` has its own tests."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.certs import make_authority
from tests.support.cli import Cli
from tests.support.fake_control import FINGERPRINT, running_control


def test_a_certificate_s_life(tmp_path: Path) -> None:
    """Added, listed, shown, removed; PEM goes up as it is."""
    pem = make_authority("Acme").issue("alice").pem.encode()
    with running_control(tmp_path) as control:
        cli = Cli(control, tmp_path)
        added = cli.good("certs", "add", "-", "--org", "acme", stdin=pem)
        id = f"acme{FINGERPRINT}"
        assert added.splitlines()[0] == f"id    {id}"
        assert control.calls[0] == ("POST", "certs", {"org_id": "acme"}, pem)
        table = cli.good("certs", "list", "--org", "acme").splitlines()
        assert table[0].split() == ["ID", "SUBJECT", "ISSUER", "ENDS", "CA", "KEY"]
        assert table[1].split() == [id, "alice", "CA", "2027-01-01T00:00:00Z", "no", "no"]
        shown = cli.good("certs", "get", id)
        assert "subject      CN=alice, C=DE\n" in shown
        assert "issuer       CN=CA, O=Acme\n" in shown
        assert json.loads(cli.good("certs", "get", id, "--json"))["fingerprint"] == FINGERPRINT
        assert json.loads(cli.good("certs", "list", "--json"))["certs"][0]["id"] == id
        control.headers["X-Tlsgate-Used-By"] = "API orders"
        done = cli("certs", "delete", id)
        assert done.status == 0
        assert "API orders" in done.err
        assert "no certificates" in cli("certs", "list").err


def test_several_at_once(tmp_path: Path) -> None:
    """Those that are missing are named, and the status says so."""
    with running_control(tmp_path) as control:
        cli = Cli(control, tmp_path)
        cli.good("certs", "add", "-", stdin=make_authority("Acme").pem.encode())
        done = cli("certs", "get", FINGERPRINT, "0" * 64)
        assert done.status == 1
        assert FINGERPRINT in done.out
        assert "0" * 64 in done.err
        assert cli("certs", "get", "0" * 64).status == 1


def test_what_is_refused_says_what_is_taken(tmp_path: Path) -> None:
    """403 is the store's word for bad uploads: it is not about the secret."""
    with running_control(tmp_path) as control:
        cli = Cli(control, tmp_path)
        key_only = b"-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----\n"
        done = cli("certs", "add", "-", stdin=key_only)
        assert done.status == 1
        assert "Failed to decode certificate" in done.err
        assert "PEM with one certificate" in done.err
        assert "compare the secret" not in done.err
        done = cli("certs", "add", "-", stdin=b"\x30\x82")
        assert done.status == 2
        assert "openssl x509" in done.err


def test_force_is_passed_on(tmp_path: Path) -> None:
    """For gateways that keep what is in use."""
    with running_control(tmp_path) as control:
        Cli(control, tmp_path).good("certs", "delete", "x", "--org", "acme", "--force")
        assert control.calls == [("DELETE", "certs/x", {"org_id": "acme", "force": "1"}, None)]


def test_an_entry_that_cannot_be_read_is_listed_with_its_fault(tmp_path: Path) -> None:
    """Its other columns are empty."""
    with running_control(tmp_path) as control:
        control.certs["x"] = {"id": "x", "error": "cannot be read: wrong secret"}
        assert "cannot be read: wrong secret" in Cli(control, tmp_path).good("certs", "list")
