"""Every command of docs/jwt-keycloak.md is run, against a real Keycloak and the gateway of `make run`, and prints what the page says."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.support.doc_commands import demonstration, needs_programs, read_blocks, run_blocks
from tests.support.keycloak import ADMIN, Keycloak, needs_keycloak

PAGE = Path(__file__).parents[3] / "docs" / "jwt-keycloak.md"
_MISSING = needs_programs() or ("jq" if shutil.which("jq") is None else "")

pytestmark = [*needs_keycloak, pytest.mark.skipif(bool(_MISSING), reason=f"not installed: {_MISSING}")]


def test_the_page_of_keycloak(keycloak: Keycloak, tmp_path: Path) -> None:
    """From the first to the last, with the page's own configuration, and the certificates that it says are there."""
    blocks = read_blocks(PAGE.read_text(encoding="utf-8"))
    (settings,) = [json.loads(block.text) for block in blocks if block.name == "settings.json"]
    (tmp_path / "keycloak-ca.pem").write_text(keycloak.authority.pem)
    for name in ("gateway", "orders"):
        identity = keycloak.issue(name)
        (tmp_path / f"{name}.pem").write_text(identity.pem)
        (tmp_path / f"{name}.key").write_text(identity.key_pem)
    environ = {"KC_CLI_PASSWORD": ADMIN[1], "KC_OPTS": f"-Duser.home={tmp_path} -Xmx128m"}
    with demonstration(tmp_path, settings) as ports:
        programs = tmp_path / ".venv" / "bin"
        programs.mkdir(parents=True, exist_ok=True)
        os.symlink(keycloak.home / "bin" / "kcadm.sh", programs / "kcadm.sh")
        run_blocks(blocks, tmp_path, {**ports, "keycloak.example": f"localhost:{keycloak.port}"}, environ, timeout_s=300)
