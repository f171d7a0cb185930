"""ID tokens of a real Keycloak: discovery, clients, policies, a key that changes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jwt

from tests.loopback.test_openid import DENIED, api
from tests.support.credentials import EACH_FORM
from tests.support.gateway import StrictUpstream
from tests.support.jwt_world import JwtWorld, jwt_world
from tests.support.keycloak import Keycloak, Realm, needs_keycloak

pytestmark = needs_keycloak


@contextmanager
def world_of(realm: Realm, folder: Path, form: str, scopes: dict[str, str] | None = None) -> Iterator[JwtWorld]:
    """A gateway that takes the ID tokens of a realm for two clients."""
    own = {"upstream_ca": [str(realm.keycloak.ca_file)]}
    with StrictUpstream() as upstream:
        definition = api(form, upstream.port, {realm.url: {"web": "gold", "cli": "silver"}}, scopes=scopes)
        if scopes:
            given = definition["x-tyk-api-gateway"]["server"]["authentication"]["oidc"] if form == "oas" else definition["scopes"]["oidc"]
            (given["scopes"] if form == "oas" else given)["claimName" if form == "oas" else "scope_claim_name"] = "realm_access.roles"
        with jwt_world(folder, "sqlite", [definition], upstream, own=own) as world:
            yield world


def id_token(realm: Realm, client: str, user: str) -> str:
    return str(realm.tokens(client, user, scope="openid")["id_token"])


@EACH_FORM
def test_id_tokens_of_listed_clients(keycloak: Keycloak, realm: Realm, tmp_path: Path, form: str) -> None:
    """By the realm's own discovery document; access tokens, other clients and other realms are refused; a new key is found at once."""
    other = keycloak.add_realm()
    for each in (realm, other):
        for client in ("web", "cli", "unlisted"):
            each.add_client(client)
        each.add_user("alice")
    with world_of(realm, tmp_path, form) as world:
        token = id_token(realm, "web", "alice")
        subject = jwt.decode(token, options={"verify_signature": False})["sub"]
        assert world.ask("api", token) == (200, "")
        (session,) = world.sessions().values()
        assert session["alias"] == f"web:{subject}" and session["apply_policies"] == ["gold"] and session["meta_data"]["ClientID"] == "web"
        assert world.ask("api", id_token(realm, "cli", "alice")) == (200, "")
        assert world.sessions()[f"cli:{subject}"]["apply_policies"] == ["silver"]
        realm.add_key()
        rotated = id_token(realm, "web", "alice")
        assert jwt.get_unverified_header(rotated)["kid"] != jwt.get_unverified_header(token)["kid"]
        assert world.ask("api", rotated) == world.ask("api", token) == (200, "")
        count = len(world.upstream.requests)
        refused = [realm.token("web", "alice", scope="openid"), id_token(realm, "unlisted", "alice"), id_token(other, "web", "alice")]
        for bad in (*refused, realm.tokens("web", "alice")["refresh_token"], None):
            assert world.ask("api", bad) == DENIED
        assert len(world.upstream.requests) == count


@EACH_FORM
def test_roles_choose_policies(realm: Realm, tmp_path: Path, form: str) -> None:
    """A mapper puts roles into ID tokens; with a mapping the client's own policy does not count."""
    mapper = {
        "name": "roles",
        "protocol": "openid-connect",
        "protocolMapper": "oidc-usermodel-realm-role-mapper",
        "config": {"claim.name": "realm_access.roles", "jsonType.label": "String", "multivalued": "true", "id.token.claim": "true"},
    }
    realm.admin("POST", "/roles", {"name": "writer"})
    role = realm.admin("GET", "/roles/writer").json
    realm.add_client("web", protocolMappers=[mapper])
    writer = realm.add_user("alice")
    realm.add_user("bob")
    realm.admin("POST", f"/users/{writer}/role-mappings/realm", [role])
    with world_of(realm, tmp_path, form, {"writer": "silver"}) as world:
        assert world.ask("api", id_token(realm, "web", "alice")) == (200, "")
        (session,) = world.sessions().values()
        assert session["apply_policies"] == ["silver"]
        assert world.ask("api", id_token(realm, "web", "bob")) == (403, "Key not authorized: no matching policy")
