"""Every command of docs/jwt-auth0.md is run, against the gateway of `make run` and ``oidc-provider`` in the shape of an Auth0 tenant."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path
from typing import Any

import pytest
from jwt.algorithms import RSAAlgorithm

from tests.support.certs import key, make_self_signed
from tests.support.doc_commands import demonstration, needs_programs, read_blocks, run_blocks
from tests.support.jwt_world import AUTHORITY, OWN
from tests.support.npm import needs_node_20
from tests.support.peers import auth0_shape

PAGE = Path(__file__).parents[2] / "docs" / "jwt-auth0.md"
_MISSING = needs_programs() or ("jq" if shutil.which("jq") is None else "")

pytestmark = [needs_node_20, pytest.mark.skipif(bool(_MISSING), reason=f"not installed: {_MISSING}")]

API = "https://orders.acme.example"
APPLICATIONS: list[dict[str, Any]] = [
    {"id": "READER_ID", "secret": "READER_SECRET", "grants": {API: []}},
    {
        "id": "WRITER_ID",
        "secret": "WRITER_SECRET",
        "grants": {API: ["orders:write"], "https://billing.acme.example": ["orders:write"]},
    },
    {"id": "PARTNER_ID", "secret": "PARTNER_SECRET", "grants": {API: []}, "policy": "partners"},
    {"id": "MANAGER_ID", "secret": "MANAGER_SECRET", "grants": {"management": ["create:signing_keys", "update:signing_keys"]}},
]
"""As the page has them."""


def signing_key(kid: str) -> dict[str, Any]:
    """Return a private JWK with its certificate."""
    own = key("rsa-2048", kid)
    certificate = base64.b64encode(make_self_signed("acme.eu.auth0.com", private_key=own).der).decode()
    made = {**RSAAlgorithm.to_jwk(own, as_dict=True), "kid": kid, "use": "sig", "alg": "RS256", "x5c": [certificate]}
    # As Auth0 does; the server would publish what the private key is for.
    del made["key_ops"]
    return made


def test_the_page_of_auth0(tmp_path: Path) -> None:
    """From the first to the last; a new key needs no new set, as the page says.

    Where the page trusts the system's CAs, curl and the gateway are told of another one.
    """
    (tmp_path / "public-ca.pem").write_text(AUTHORITY.pem)
    settings = {"tlsgate": {"upstream_ca": ["public-ca.pem"]}}
    keys = [signing_key(f"key{number}") for number in range(3)]
    with auth0_shape(OWN, keys, APPLICATIONS) as tenant, demonstration(tmp_path, settings) as ports:
        places = {**ports, "acme.eu.auth0.com": f"localhost:{tenant.port}"}
        run_blocks(read_blocks(PAGE.read_text(encoding="utf-8")), tmp_path, places, {"CURL_CA_BUNDLE": str(tmp_path / "public-ca.pem")})
        told = [line for line in tenant.lines if line in ("gives its keys", "rotated", "revoked")]
        assert told[:3] == ["gives its keys", "rotated", "revoked"] and set(told[3:]) == {"gives its keys"}
