"""Tokens that a real Keycloak binds to a client certificate or to a proof key."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jwt
import pytest

from tests.support.certs import Issued
from tests.support.credentials import EACH_FORM, told
from tests.support.gateway import Client, StrictUpstream
from tests.support.jwt_world import JwtWorld, jwt_api, jwt_world
from tests.support.keycloak import Realm, needs_keycloak
from tests.support.proofs import Prover, hash_token

pytestmark = needs_keycloak


@contextmanager
def world_of(realm: Realm, folder: Path, form: str, own: dict[str, Any]) -> Iterator[JwtWorld]:
    """A gateway that takes the tokens of a realm, with these members of ``x-tlsgate``."""
    scheme = {"source": realm.keys_url, "signingMethod": "rsa", "policyFieldName": "pol"}
    with StrictUpstream() as upstream:
        apis = [jwt_api(form, "api", upstream.port, scheme, own=own)]
        with jwt_world(folder, "sqlite", apis, upstream, own={"upstream_ca": [str(realm.keycloak.ca_file)]}) as world:
            yield world


def send(
    world: JwtWorld, token: str, *proofs: str, scheme: str = "Bearer", identity: Issued | None = None, path: str = "x"
) -> tuple[int, str]:
    """Status and message that a client gets, nothing with 200."""
    lines = [("Authorization", f"{scheme} {token}"), *(("DPoP", proof) for proof in proofs)]
    with Client(world.gateway.port, sni="localhost", identity=identity) as client:
        answer = client.request("GET", f"/api/{path}", host=f"localhost:{world.gateway.port}", headers=lines)
    return (200, "") if answer.status == 200 else told(answer)


def binding_of(token: str) -> Any:
    return jwt.decode(token, options={"verify_signature": False}).get("cnf")


@EACH_FORM
@pytest.mark.parametrize("required", [True, False])
def test_the_certificate_of_a_token(realm: Realm, tmp_path: Path, form: str, required: bool) -> None:
    """RFC 8705: the certificate that Keycloak saw when it gave the token, no other one, not none; a token without counts where it may."""
    realm.add_client("bound", claims={"pol": "gold"}, attributes={"tls.client.certificate.bound.access.tokens": "true"})
    realm.add_client("free", claims={"pol": "gold"})
    holder, other = realm.keycloak.issue("holder"), realm.keycloak.issue("other")
    assert realm.ask("bound").status == 400, "Keycloak gives no such token without a certificate"
    own = {"jwt": {"require_certificate_binding": True}} if required else {"client_certificates": {"ask_for_bound_keys": True}}
    with world_of(realm, tmp_path, form, own) as world:
        token = realm.token("bound", identity=holder)
        assert binding_of(token) == {"x5t#S256": base64.urlsafe_b64encode(bytes.fromhex(holder.fingerprint)).rstrip(b"=").decode()}
        for _ in range(2):
            assert send(world, token, identity=other) == (401, "Key not authorized: the token is bound to another client certificate")
            assert send(world, token) == (401, "Key not authorized: the token needs its client certificate")
            assert send(world, token, identity=holder) == (200, "")
        free = (401, "Key not authorized: the token is not bound to a certificate") if required else (200, "")
        assert send(world, realm.token("free"), identity=holder) == free
        assert len(world.upstream.requests) == (2 if required else 3)


@EACH_FORM
@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "EdDSA"])
def test_the_proof_key_of_a_token(realm: Realm, tmp_path: Path, form: str, algorithm: str) -> None:
    """RFC 9449: one key proves to Keycloak and to the gateway; no proof, a used one, one of another key or path: 401."""
    realm.add_client("orders", claims={"pol": "gold"}, attributes={"dpop.bound.access.tokens": "true"})
    prover, stranger = Prover(algorithm), Prover()

    def proof(of: Prover, method: str, address: str, **claims: Any) -> str:
        return of.sign({"htm": method, "htu": address, "iat": int(time.time()), **claims})

    assert realm.ask("orders").status == 400, "Keycloak gives no such token without a proof"
    answer = realm.tokens("orders", headers={"DPoP": proof(prover, "POST", realm.token_url)})
    token = answer["access_token"]
    assert answer["token_type"] == "DPoP" and binding_of(token) == {"jkt": prover.thumbprint}
    with world_of(realm, tmp_path, form, {"dpop": {"required": True}}) as world:
        address = f"https://localhost:{world.gateway.port}/api/x"

        def made(of: Prover = prover, address: str = address, method: str = "GET") -> str:
            return proof(of, method, address, ath=hash_token(token))

        good = made()
        assert send(world, token, good, scheme="DPoP") == (200, "")
        assert send(world, token, good, scheme="DPoP") == (401, "Key not authorized: the DPoP proof has been used")
        assert send(world, token, scheme="DPoP") == (401, "Key not authorized: the request has no DPoP proof")
        assert send(world, token, made())[0] == send(world, token)[0] == 401
        for bad in (made(stranger), made(address=address + "y"), made(method="POST"), proof(prover, "GET", address)):
            assert send(world, token, bad, scheme="DPoP")[0] == 401
        assert send(world, token, made(), scheme="DPoP") == (200, "")
        assert len(world.upstream.requests) == 2
        assert all(request.header("DPoP") is None for request in world.upstream.requests)
