"""The command line against a real gateway: keys, policies, definitions, certificates, reloads; over TLS with a client certificate."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.certs import SERVER, make_authority
from tests.support.cli import Done, run_cli
from tests.support.control import SECRET, Api, token_api
from tests.support.gateway import Gateway, classic, oas, running_gateway


class Operator:
    """Commands with the gateway's own configuration; the secret never comes out."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    def __call__(self, *arguments: str, stdin: bytes = b"") -> Done:
        done = run_cli(*arguments, "--config", str(self.gateway.config_path), stdin=stdin)
        assert SECRET not in done.out + done.err
        assert "Traceback" not in done.err
        return done

    def good(self, *arguments: str, stdin: bytes = b"") -> str:
        done = self(*arguments, stdin=stdin)
        assert done.status == 0, done
        return done.out

    def tree(self, *arguments: str, stdin: bytes = b"") -> dict[str, object]:
        found: dict[str, object] = json.loads(self.good(*arguments, "--json", stdin=stdin))
        return found


@contextmanager
def operated(folder: Path, **config: object) -> Iterator[tuple[Operator, Api]]:
    """A gateway with one API that wants a key."""
    policies = folder / "policies"
    policies.mkdir()
    own = {"policies": {"policy_source": "file", "policy_path": str(policies)}, "storage": {"type": "sqlite", "path": str(folder / "s.db")}}
    with running_gateway(folder, token_api(), **{**own, **config}) as gateway:
        yield Operator(gateway), Api(gateway)


@pytest.mark.parametrize("hashes", [False, True])
def test_a_key_is_created_used_limited_changed_and_deleted(tmp_path: Path, hashes: bool) -> None:
    """What the commands say is what clients see."""
    with operated(tmp_path, hash_keys=hashes, enable_hashed_keys_listing=True) as (cli, api):
        made = cli.tree("keys", "create", "--org", "org", "--api", "api", "--rate", "2", "--per", "600", "--quota", "50")
        key, hash = str(made["key"]), str(made.get("key_hash", ""))
        assert [api.ask(key)[0] for _ in range(3)] == [200, 200, 429]
        assert (hash or key) in cli.good("keys", "list")
        named = ["--hash", hash] if hashes else [key]
        assert "rate          2 per 600 s" in cli.good("keys", "get", *named)
        cli.good("keys", "update", *named, "--rate", "1000", "--per", "1")
        assert api.ask(key)[0] == 200
        cli.good("keys", "update", *named, "--inactive", "yes")
        assert api.ask(key) == (403, "Key is inactive, please renew")
        cli.good("keys", "update", *named, "--inactive", "no", "--expires-in", "1h")
        assert api.ask(key)[0] == 200
        assert "deleted" in cli.good("keys", "delete", "-", stdin=key.encode())
        assert api.ask(key)[0] == 403
        done = cli("keys", "get", *named)
        assert (done.status, done.out) == (1, "")
        assert "404: Key not found" in done.err


def test_a_user_of_basic_authentication(tmp_path: Path) -> None:
    """The password goes in by a file and comes out nowhere."""
    password = tmp_path / "password"
    password.write_text("correct horse\n")
    with operated(tmp_path) as (cli, _):
        user = ("--org", "org", "--user", "alice")
        done = cli("keys", "create", *user, "--api", "api", "--password-file", str(password))
        assert done.status == 0, done
        shown = cli.good("keys", "get", *user)
        assert "password      set" in shown
        assert "correct horse" not in shown + cli.good("keys", "get", *user, "--json") + done.out
        cli.good("keys", "delete", *user)
        assert cli("keys", "delete", *user).status == 1


def test_policies_are_live_after_a_reload(tmp_path: Path) -> None:
    """--reload, and the command that does it alone."""
    policy = {"id": "gold", "org_id": "org", "rate": 5, "per": 60, "active": True, "access_rights": {"api": {"versions": ["Default"]}}}
    with operated(tmp_path) as (cli, api):
        cli.good("policies", "create", "-", stdin=json.dumps(policy).encode())
        assert cli("policies", "get", "gold").status == 1
        assert cli.good("reload") == "reloaded\n"
        assert cli.tree("policies", "get", "gold")["rate"] == 5
        key = str(cli.tree("keys", "create", "--org", "org", "--policy", "gold")["key"])
        assert api.ask(key)[0] == 200
        cli.good("policies", "update", "-", "--reload", stdin=json.dumps({**policy, "is_inactive": True}).encode())
        assert api.ask(key)[0] == 403
        cli.good("policies", "delete", "gold", "--reload")
        assert "no policies" in cli("policies", "list").err


def test_definitions_are_live_after_a_reload(tmp_path: Path) -> None:
    """Classic and OAS; one that is refused says why; a broken file makes the reload fail."""
    with operated(tmp_path) as (cli, _):
        cli.good("apis", "create", "-", stdin=json.dumps(classic("new", 9, "/new/")).encode())
        cli.good("apis", "create", "-", "--reload", stdin=json.dumps(oas("doc", 9, "/doc/")).encode())
        ids = [line.split()[0] for line in cli.good("apis", "list").splitlines()[1:]]
        assert ids == ["api", "doc", "new"]
        assert cli.tree("apis", "get", "doc", "--oas")["openapi"] == "3.0.3"
        refused = cli("apis", "create", "-", stdin=json.dumps(classic("clash", 9, "/new/")).encode())
        assert refused.status == 1
        assert "listen path already used by new" in refused.err
        cli.good("apis", "update", "-", "--reload", stdin=json.dumps(classic("new", 9, "/newer/")).encode())
        assert "/newer/" in cli.good("apis", "get", "new")
        cli.good("apis", "delete", "doc", "--reload")
        assert cli("apis", "get", "doc").status == 1
        (cli.gateway.apps / "broken.json").write_text("{")
        done = cli("reload")
        assert done.status == 1
        assert "broken.json" in done.err


def test_certificates_of_the_store(tmp_path: Path) -> None:
    """Added, shown, in use, removed."""
    alice = make_authority("Acme").issue("alice")
    with operated(tmp_path) as (cli, _):
        id = str(cli.tree("certs", "add", "-", "--org", "org", stdin=alice.full_pem.encode())["id"])
        assert id == f"org{alice.fingerprint}"
        assert alice.fingerprint in cli.good("certs", "list", "--org", "org")
        assert "subject      CN=alice" in cli.good("certs", "get", id)
        again = cli("certs", "add", "-", "--org", "org", stdin=alice.pem.encode())
        assert again.status == 1
        assert "already exists" in again.err
        cli.good("certs", "delete", id)
        assert cli("certs", "get", id).status == 1


def test_a_control_api_behind_tls_and_a_client_certificate(tmp_path: Path) -> None:
    """By its configuration alone as far as trust goes, or by --url, --ca and the name; without the certificate nobody gets in."""
    root, clients = make_authority("Gate"), make_authority("Admins")
    server = root.issue("gate", usages=SERVER, names=("admin.test",))
    admin = clients.issue("admin")
    for name, text in (("ca.pem", root.pem), ("admin.pem", admin.full_pem), ("admins.pem", clients.pem)):
        (tmp_path / name).write_text(text)
    security = {"control_api_use_mutual_tls": True, "certificates": {"control_api": [str(tmp_path / "admins.pem")]}}
    with operated(tmp_path, server=server, security=security, control_api_hostname="admin.test") as (cli, _):
        own = ("--cert", str(tmp_path / "admin.pem"))
        assert "no keys" in cli("keys", "list", *own).err
        done = cli("keys", "list")
        assert done.status in (1, 3)
        assert "certificate" in done.err.lower()
        secret = tmp_path / "secret"
        secret.write_text(SECRET)
        port = cli.gateway.config["control_api_port"]
        url = ("--url", f"https://127.0.0.1:{port}", "--ca", str(tmp_path / "ca.pem"), "--secret-file", str(secret), *own)
        assert run_cli("keys", "list", *url).status == 3
        assert run_cli("keys", "list", *url, "--server-name", "admin.test").status == 0


def test_the_process_itself_exits_as_documented(tmp_path: Path) -> None:
    """0, 1, 2 and 3, as shells see them; the secret from standard input."""
    with operated(tmp_path) as (cli, _):
        port = cli.gateway.config["control_api_port"]
        where = ["--url", f"http://127.0.0.1:{port}", "--secret-file", "-"]

        def run(*arguments: str, secret: str = SECRET) -> int:
            environ = {name: value for name, value in os.environ.items() if not name.startswith("TLSGATE_")}
            command = [sys.executable, "-m", "tlsgate", *arguments]
            return subprocess.run(command, input=secret + "\n", text=True, env=environ, capture_output=True, check=False).returncode

        assert run("apis", "list", *where) == 0
        assert run("apis", "get", "nothing", *where) == 1
        assert run("apis", "list", *where, secret="wrong") == 1
        assert run("apis", "list", "--secret", SECRET, *where) == 2
        assert run("apis", "list", "--url", "http://127.0.0.1:1", "--secret-file", "-") == 3
