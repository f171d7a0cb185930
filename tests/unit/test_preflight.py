"""Tests of `tlsgate.preflight`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.support.certs import make_authority
from tests.support.gateway import classic
from tlsgate.preflight import check_everything


def write(folder: Path, *apis: dict[str, Any], **config: Any) -> str:
    (folder / "apps").mkdir(exist_ok=True)
    for api in apis:
        (folder / "apps" / f"{api['api_id']}.json").write_text(json.dumps(api))
    path = folder / "tyk.conf.json"
    path.write_text(json.dumps({"app_path": str(folder / "apps"), "tlsgate": {"development": True}, "secret": "x" * 32, **config}))
    return str(path)


def test_a_good_set_has_no_errors(tmp_path: Path) -> None:
    """`check` exits 0 for what `run` serves."""
    server = make_authority("s").issue("localhost", names=["localhost"], usages=[ExtendedKeyUsageOID.SERVER_AUTH])
    (tmp_path / "server.pem").write_text(server.full_pem)
    path = write(tmp_path, classic("one", 9), http_server_options={"use_ssl": True, "ssl_certificates": [str(tmp_path / "server.pem")]})
    assert [problem for problem in check_everything(path, {}) if problem.severity == "error"] == []


def test_what_only_the_whole_shows_is_found(tmp_path: Path) -> None:
    """Strict APIs on the port of the control API are only demanded per request: no single file says so (decisions 1.4)."""
    one = classic("one", 9, use_mutual_tls_auth=True, client_certificates=[make_authority().pem])
    found = check_everything(write(tmp_path, one), {})
    assert any(problem.path == "control_api_hostname" and problem.severity == "warning" for problem in found), found


def test_a_problem_is_told_once(tmp_path: Path) -> None:
    """Both looks see an unreadable server certificate."""
    path = write(tmp_path, http_server_options={"use_ssl": True, "ssl_certificates": [str(tmp_path / "missing.pem")]})
    errors = [problem for problem in check_everything(path, {}) if problem.severity == "error"]
    assert len([problem for problem in errors if problem.path.endswith("ssl_certificates[0]")]) == 1


def test_a_broken_configuration_is_reported_alone(tmp_path: Path) -> None:
    """Nothing is built from it."""
    path = tmp_path / "tyk.conf.json"
    path.write_text("{")
    assert len(check_everything(str(path), {})) == 1


def test_policies_are_compared_with_the_apis(tmp_path: Path) -> None:
    """A right on a keyless API means nothing (decisions 3.7); a policy file that cannot be used is named."""
    (tmp_path / "policies").mkdir()
    right = {"open": {"api_id": "open"}, "gone": {"api_id": "gone"}}
    (tmp_path / "policies" / "gold.json").write_text(json.dumps({"id": "gold", "org_id": "org", "access_rights": right}))
    (tmp_path / "policies" / "odd.json").write_text(json.dumps({"id": "odd", "rate": "x"}))
    found = check_everything(write(tmp_path, classic("open", 9, org_id="org"), policies={"policy_path": str(tmp_path / "policies")}), {})
    messages = {problem.path: problem.message for problem in found if "policies" in problem.file}
    assert "keyless" in messages["gold: access_rights.open"]
    assert "no such API" in messages["gold: access_rights.gone"]
    assert "rate" in messages
