"""``tlsgate keys``."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.support.cli import Cli
from tests.support.fake_control import running_control

OPTIONS = ("--org", "acme", "--api", "orders", "--rate", "5", "--per", "60", "--quota", "100", "--quota-renewal", "1h")
KEY = "acme" + "0" * 32


def test_a_key_s_life(tmp_path: Path) -> None:
    """Created, listed, shown, changed, deleted."""
    with running_control(tmp_path) as control:
        cli = Cli(control, tmp_path)
        created = cli.good("keys", "create", *OPTIONS, "--alias", "first", "--tag", "a", "--tag", "b")
        assert created.splitlines() == ["action  added", f"key     {KEY}", "hash    hash-of-it"]
        assert control.calls[0][:3] == ("POST", "keys/create", {"org_id": "acme"})
        assert control.keys[KEY] == {
            "org_id": "acme",
            "rate": 5,
            "per": 60,
            "quota_max": 100,
            "quota_renewal_rate": 3600,
            "alias": "first",
            "tags": ["a", "b"],
            "access_rights": {"orders": {"api_id": "orders", "api_name": "orders", "versions": ["Default"]}},
        }
        assert cli.good("keys", "list") == f"KEY\n{KEY}\n"
        control.keys[KEY] |= {"quota_remaining": 99, "quota_renews": 1_800_000_000, "hmac_string": "of the key"}
        shown = cli.good("keys", "get", KEY)
        for line in ("alias         first", "expires       never", "rate          5 per 60 s", "quota         99 of 100 left"):
            assert line in shown.splitlines()
        assert "quota renews  2027-01-15T08:00:00Z, every 3600 s" in shown
        assert "of the key" not in shown
        assert "of the key" in cli.good("keys", "get", KEY, "--show-secrets")
        assert json.loads(cli.good("keys", "get", "--json", KEY))["quota_remaining"] == 99
        cli.good("keys", "update", KEY, "--inactive", "yes", "--keep-quota")
        assert control.calls[-1][:3] == ("PUT", f"keys/{KEY}", {"suppress_reset": "1"})
        assert control.keys[KEY]["is_inactive"] is True
        assert control.keys[KEY]["alias"] == "first"
        assert control.keys[KEY]["hmac_string"] == "********"
        assert cli.good("keys", "delete", KEY).splitlines() == ["action  deleted", f"key     {KEY}"]
        done = cli("keys", "delete", KEY)
        assert done.status == 1
        assert "404: There is no such key found" in done.err
        assert "no keys" in cli("keys", "list").err


@pytest.mark.parametrize("way", ["argument", "standard input", "file"])
def test_a_key_is_named_without_the_shell_s_history(tmp_path: Path, way: str) -> None:
    """It is a credential."""
    file = tmp_path / "key"
    file.write_text(KEY + "\n")
    named = {"argument": [KEY], "standard input": ["-"], "file": ["--id-file", str(file)]}[way]
    with running_control(tmp_path) as control:
        control.keys[KEY] = {}
        cli = Cli(control, tmp_path)
        assert "deleted" in cli.good("keys", "delete", *named, stdin=file.read_bytes())
        assert control.keys == {}


def test_hashes_and_users(tmp_path: Path) -> None:
    """Each with its mark for the gateway."""
    with running_control(tmp_path) as control:
        cli = Cli(control, tmp_path)
        control.keys = {"5c1f": {}, "acmealice": {}}
        cli.good("keys", "get", "--hash", "5c1f")
        cli.good("keys", "get", "--user", "alice", "--org", "acme")
        assert [(path, query) for _, path, query, _ in control.calls] == [
            ("keys/5c1f", {"hashed": "1", "mask_secrets": "1"}),
            ("keys/alice", {"org_id": "acme", "username": "true", "mask_secrets": "1"}),
        ]


def test_a_user_gets_a_password_from_a_file(tmp_path: Path) -> None:
    """Posted under the name; the password is shown nowhere."""
    file = tmp_path / "password"
    file.write_text("hunter2 and more\n")
    with running_control(tmp_path) as control:
        cli = Cli(control, tmp_path)
        done = cli("keys", "create", "--org", "acme", "--api", "orders", "--user", "alice", "--password-file", str(file))
        assert done.status == 0
        assert control.calls[0][:2] == ("POST", "keys/alice")
        assert control.keys["acmealice"]["basic_auth_data"] == {"password": "hunter2 and more"}
        assert "hunter2" not in done.out + done.err
        done = cli("keys", "create", "--org", "acme", "--api", "orders", "--user", "bob")
        assert done.status == 2
        assert "--password-file" in done.err


def test_a_session_object_and_options_on_top_of_it(tmp_path: Path) -> None:
    """Options win; what they do not speak of stays."""
    file = tmp_path / "session.json"
    file.write_text(json.dumps({"org_id": "acme", "apply_policies": ["gold"], "rate": 1, "per": 1, "meta_data": {"a": 1}}))
    with running_control(tmp_path) as control:
        cli = Cli(control, tmp_path)
        cli.good("keys", "create", "--from", str(file), "--rate", "7", "--policy", "silver")
        assert control.keys[KEY] == {"org_id": "acme", "apply_policies": ["silver"], "rate": 7, "per": 1, "meta_data": {"a": 1}}
        cli.good("keys", "update", KEY, "--from", "-", stdin=b'{"org_id": "acme", "apply_policies": ["gold"]}')
        assert control.keys[KEY] == {"org_id": "acme", "apply_policies": ["gold"]}


def test_a_new_quota_starts_whole(tmp_path: Path) -> None:
    """What was left of the old one is not sent back."""
    with running_control(tmp_path) as control:
        control.keys[KEY] = {"quota_max": 10, "quota_remaining": 1}
        Cli(control, tmp_path).good("keys", "update", KEY, "--quota", "20")
        assert control.keys[KEY] == {"quota_max": 20}


def test_the_key_can_go_to_a_file_instead_of_the_screen(tmp_path: Path) -> None:
    """Readable by its owner alone; a file that is there is left alone, and then no key is made."""
    target = tmp_path / "key.txt"
    with running_control(tmp_path) as control:
        cli = Cli(control, tmp_path)
        out = cli.good("keys", "create", *OPTIONS, "--out", str(target))
        assert KEY not in out and "hash-of-it" in out
        assert target.read_text() == KEY + "\n"
        assert target.stat().st_mode & 0o777 == 0o600
        control.calls.clear()
        done = cli("keys", "create", *OPTIONS, "--out", str(target))
        assert done.status == 2
        assert control.calls == []


def test_a_file_that_cannot_be_written_does_not_lose_the_key(tmp_path: Path) -> None:
    """A folder that is not there is found out before a key is made."""
    with running_control(tmp_path) as control:
        done = Cli(control, tmp_path)("keys", "create", *OPTIONS, "--out", str(tmp_path / "none" / "key"))
        assert done.status == 2
        assert control.calls == []
        assert not os.path.exists(tmp_path / "none")


def test_lists_of_an_organisation_and_of_an_api(tmp_path: Path) -> None:
    """As the gateway's own filters."""
    with running_control(tmp_path) as control:
        Cli(control, tmp_path)("keys", "list", "--org", "acme", "--api", "orders")
        assert control.calls[0][2] == {"filter": "acme", "api_id": "orders"}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["get"], "no key is named"),
        (["get", "k", "--hash", "h"], "named once"),
        (["get", ""], "empty"),
        (["update", "k"], "nothing is to be changed"),
        (["update", "k", "--rate", "5"], "go together"),
        (["update", "k", "--password-file", "/dev/null"], "for a user"),
        (["create"], "what the key may do"),
        (["create", "--org", "acme"], "what the key may do"),
    ],
)
def test_wrong_usage_asks_nobody(tmp_path: Path, arguments: list[str], reason: str) -> None:
    """2, with the reason."""
    with running_control(tmp_path) as control:
        done = Cli(control, tmp_path)("keys", *arguments)
        assert (done.status, control.calls) == (2, [])
        assert reason in done.err


def test_what_the_gateway_refuses_is_1(tmp_path: Path) -> None:
    """With its own words."""
    with running_control(tmp_path) as control:
        done = Cli(control, tmp_path)("keys", "create", "--rate", "1", "--per", "1")
        assert done.status == 1
        assert "at least one Access Rights record" in done.err
