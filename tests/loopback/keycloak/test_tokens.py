"""Access tokens of a real Keycloak with the JWT method: grants, policies, scopes, algorithms, and keys that change under load."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jwt
import pytest

from tests.loopback.test_external_oauth import api as external_api
from tests.loopback.test_openid import api as openid_api
from tests.support.credentials import EACH_FORM
from tests.support.gateway import Client, StrictUpstream, wait_until
from tests.support.jwt_world import JwtWorld, jwt_api, jwt_world
from tests.support.keycloak import SECRET, Keycloak, Realm, needs_keycloak
from tests.support.provider import b64

pytestmark = needs_keycloak

NOT_AUTHORIZED = (403, "Key not authorized")
ROTATE_EVERY_S = 3.0
"""Less than the ten seconds for which an invented key id may not be asked for again."""


def claims_of(token: str) -> dict[str, Any]:
    """What a token says, unverified."""
    found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return found


@contextmanager
def world_of(realm: Realm, folder: Path, form: str, **scheme: Any) -> Iterator[JwtWorld]:
    """A gateway that takes the tokens of a realm; members of a document's scheme, or other words for its defaults."""
    given = {"source": realm.keys_url, "signingMethod": "rsa", "policyFieldName": "pol", **scheme}
    with StrictUpstream() as upstream:
        apis = [jwt_api(form, "api", upstream.port, given)]
        with jwt_world(folder, "sqlite", apis, upstream, own={"upstream_ca": [str(realm.keycloak.ca_file)]}) as world:
            yield world


@EACH_FORM
@pytest.mark.parametrize("plain", [True, False], ids=["plain", "base64"])
def test_the_set_up_that_people_make(keycloak: Keycloak, realm: Realm, tmp_path: Path, form: str, plain: bool) -> None:
    """A realm, a client with a secret, both grants, the realm's certificates as source, ``sub`` and ``pol``."""
    realm.add_client("orders", claims={"pol": "gold"})
    realm.add_client("nobody")
    realm.add_user("alice")
    other = keycloak.add_realm()
    other.add_client("orders", claims={"pol": "gold"})
    with world_of(realm, tmp_path, form, source=realm.keys_url if plain else b64(realm.keys_url), identityBaseField="sub") as world:
        own = realm.token("orders")
        users = realm.token("orders", "alice", scope="openid")
        assert world.ask("api", own) == world.ask("api", users) == (200, "")
        sessions = world.sessions()
        assert set(sessions) == {claims_of(own)["sub"], claims_of(users)["sub"]}
        for token in (own, users):
            session = sessions[claims_of(token)["sub"]]
            assert session["apply_policies"] == ["gold"] and session["expires"] == claims_of(token)["exp"]
        count = len(world.upstream.requests)
        assert world.ask("api", realm.token("nobody")) == (403, "key not authorized: no matching policy found")
        assert world.ask("api", other.token("orders")) == NOT_AUTHORIZED
        head, body, signature = own.split(".")
        assert world.ask("api", f"{head}.{body}.{signature[:-8]}AAAAAAAA") == NOT_AUTHORIZED
        # A refresh token is signed by a secret of Keycloak's own, and no access token.
        refresh = realm.tokens("orders", "alice")["refresh_token"]
        assert world.ask("api", refresh) == (403, "Key not authorized: Unexpected signing method")
        assert len(world.upstream.requests) == count
        # The realm's key for encryption is in the same set: said once, and harmless.
        said = [event for event in world.gateway.events if event.get("event") == "jwks.bad_key"]
        assert len(said) == 1, said


@EACH_FORM
def test_issuer_and_audience(keycloak: Keycloak, realm: Realm, tmp_path: Path, form: str) -> None:
    """The issuer is the address that the client has asked, the audience what a mapper adds."""
    mapper = {
        "name": "orders",
        "protocol": "openid-connect",
        "protocolMapper": "oidc-audience-mapper",
        "config": {"included.custom.audience": "orders", "access.token.claim": "true"},
    }
    realm.add_client("aimed", protocolMappers=[mapper])
    realm.add_client("aimless")
    allowed = {"allowedIssuers": [realm.url], "allowedAudiences": ["orders"], "defaultPolicies": ["gold"]}
    with world_of(realm, tmp_path, form, **allowed) as world:
        token = realm.token("aimed")
        assert claims_of(token)["iss"] == realm.url
        assert world.ask("api", token) == (200, "")
        status, message = world.ask("api", realm.token("aimless"))
        assert status == 401 and "audience" in message
        form_fields = {"grant_type": "client_credentials", "client_id": "aimed", "client_secret": SECRET}
        path = f"/realms/{realm.name}/protocol/openid-connect/token"
        elsewhere = keycloak.ask("POST", path, form=form_fields, headers={"Host": f"127.0.0.1:{keycloak.port}"}).json["access_token"]
        assert claims_of(elsewhere)["iss"] != realm.url
        status, message = world.ask("api", elsewhere)
        assert status == 401 and "issuer" in message
        assert len(world.upstream.requests) == 1


@EACH_FORM
def test_scopes_choose_policies(realm: Realm, tmp_path: Path, form: str) -> None:
    """An optional scope that the client asks for; the scopes that every token has are mapped to nothing, and open nothing."""
    scope = realm.add("client-scopes", name="orders:write", protocol="openid-connect", attributes={"include.in.token.scope": "true"})
    for client in (realm.add_client("orders"), realm.add_client("readers", claims={"pol": "silver"})):
        realm.admin("PUT", f"/clients/{client}/optional-client-scopes/{scope}")
    mapping = {"claimName": "scope", "scopeToPolicyMapping": [{"scope": "orders:write", "policyId": "gold"}]}
    with world_of(realm, tmp_path, form, scopes=mapping, defaultPolicies=["silver"]) as world:

        def policies(client: str, **options: str) -> Any:
            token = realm.token(client, **options)
            assert world.ask("api", token) == (200, "")
            return sorted(world.sessions()[claims_of(token)["sub"]]["apply_policies"])

        plain = realm.token("orders")
        assert claims_of(plain)["scope"]
        assert world.ask("api", plain) == (403, "key not authorized: no matching policy found in scope claim")
        assert world.upstream.requests == []
        assert policies("orders", scope="orders:write") == ["gold"]
        assert policies("readers") == ["silver"]
        assert policies("readers", scope="orders:write") == ["gold", "silver"]


@EACH_FORM
def test_tokens_without_a_subject(realm: Realm, tmp_path: Path, form: str) -> None:
    """``sub`` of users comes with the client scope ``basic``: without it a token is nobody's, unless another claim names its bearer."""
    client = realm.add_client("orders", claims={"pol": "gold"})
    (basic,) = [scope["id"] for scope in realm.admin("GET", f"/clients/{client}/default-client-scopes").json if scope["name"] == "basic"]
    realm.admin("DELETE", f"/clients/{client}/default-client-scopes/{basic}")
    realm.add_user("alice")
    token = realm.token("orders", "alice")
    assert "sub" not in claims_of(token) and claims_of(token)["azp"] == "orders"
    for field, expected in (("sub", (403, "no suitable claims for user ID were found")), ("azp", (200, ""))):
        folder = tmp_path / field
        folder.mkdir()
        with world_of(realm, folder, form, identityBaseField=field) as world:
            assert world.ask("api", token) == expected


@EACH_FORM
def test_roles_choose_policies(realm: Realm, tmp_path: Path, form: str) -> None:
    """``realm_access.roles``, a list within an object."""
    realm.admin("POST", "/roles", {"name": "writer"})
    role = realm.admin("GET", "/roles/writer").json
    realm.add_client("orders")
    for name in ("alice", "bob"):
        user = realm.add_user(name)
        if name == "alice":
            realm.admin("POST", f"/users/{user}/role-mappings/realm", [role])
    mapping = {"claimName": "realm_access.roles", "scopeToPolicyMapping": [{"scope": "writer", "policyId": "gold"}]}
    with world_of(realm, tmp_path, form, scopes=mapping) as world:
        assert world.ask("api", realm.token("orders", "alice")) == (200, "")
        assert world.ask("api", realm.token("orders", "bob"))[0] == 403


@EACH_FORM
@pytest.mark.parametrize(
    ("algorithm", "method", "key"),
    [
        ("RS512", "rsa", "rsa-generated"),
        ("PS256", "rsa", "rsa-generated"),
        ("ES256", "ecdsa", "ecdsa-generated"),
        ("ES512", "ecdsa", "ecdsa-generated"),
        ("EdDSA", "eddsa", "eddsa-generated"),
    ],
)
def test_the_algorithm_of_a_client(realm: Realm, tmp_path: Path, form: str, algorithm: str, method: str, key: str) -> None:
    """Chosen for the client; the family is the definition's."""
    config = {"ecdsaEllipticCurveKey": {"ES512": "P-521"}.get(algorithm, "P-256")} if method == "ecdsa" else {}
    if method == "rsa":
        config["algorithm"] = algorithm
    realm.add_key(key, **config)
    realm.add_client("orders", attributes={"access.token.signed.response.alg": algorithm}, claims={"pol": "gold"})
    realm.add_client("usual", claims={"pol": "gold"}, attributes={"access.token.signed.response.alg": "RS256"})
    with world_of(realm, tmp_path, form, signingMethod=method) as world:
        token = realm.token("orders")
        assert jwt.get_unverified_header(token)["alg"] == algorithm
        assert world.ask("api", token) == (200, "")
        expected = (200, "") if method == "rsa" else (403, "Key not authorized: Unexpected signing method")
        assert world.ask("api", realm.token("usual")) == expected


class Load:
    """Clients that renew their tokens and call the gateway as fast as they can, each on a connection that stays open.

    :param apis: APIs, and which token of Keycloak's answer each of them takes.
    """

    def __init__(self, world: JwtWorld, realm: Realm, apis: dict[str, str], clients: int = 3) -> None:
        self.world = world
        self.realm = realm
        self.apis = apis
        self.failures: list[Any] = []
        self.served = 0
        self.key_ids: set[str] = set()
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(30)

    def _run(self) -> None:
        try:
            first = given = self.realm.tokens("orders", "alice", scope="openid")
            with Client(self.world.gateway.port, sni="localhost", timeout_s=30) as client:
                while not self._ended.is_set():
                    given = self.realm.tokens("orders", grant_type="refresh_token", refresh_token=given["refresh_token"])
                    for api, kind in self.apis.items():
                        for token in (given[kind], first[kind], given[kind]):
                            answer = client.request("GET", f"/{api}/x", headers=[("Authorization", f"Bearer {token}")])
                            if answer.status != 200:
                                self.failures.append((api, jwt.get_unverified_header(token), answer.status, answer.body))
                            self.served += 1
                    self.key_ids.add(jwt.get_unverified_header(given["access_token"])["kid"])
        except BaseException as error:
            self.failures.append(error)
            raise

    def wait_for_key(self, known: set[str]) -> set[str]:
        """Wait until tokens of a key that is not among the known ones were used."""
        assert wait_until(lambda: bool(self.key_ids - known) or bool(self.failures), 30)
        return set(self.key_ids)


def test_keys_that_change_under_load(realm: Realm, tmp_path: Path) -> None:
    """New keys of a higher priority, each one signing at once, while clients go on: not one request fails, with any method, on two workers.

    The first key goes on verifying while it is published, also when it signs no more; its tokens end when it is taken away.
    """
    realm.add_client("orders", claims={"pol": "gold"})
    realm.add_user("alice")
    held = realm.tokens("orders", "alice", scope="openid")
    scheme = {"signingMethod": "rsa", "policyFieldName": "pol"}
    cached = [{"url": realm.keys_url, "cacheTimeout": "300s"}]
    signed = {"jwt": {"enabled": True, "source": realm.keys_url, "signingMethod": "rsa"}}
    apis = {"one": "access_token", "two": "access_token", "external": "access_token", "api": "id_token"}
    with StrictUpstream() as upstream:
        made = [
            jwt_api("classic", "one", upstream.port, {**scheme, "source": realm.keys_url}),
            jwt_api("oas", "two", upstream.port, {**scheme, "jwksURIs": cached}),
            external_api("oas", upstream.port, [signed], "external", rate=1_000_000, per=1),
            openid_api("classic", upstream.port, {realm.url: {"orders": "gold"}}),
        ]
        own = {"upstream_ca": [str(realm.keycloak.ca_file)], "workers": 2}
        with jwt_world(tmp_path, "sqlite", made, upstream, own=own) as world:
            with Load(world, realm, apis) as load:
                known = load.wait_for_key(set())
                (original,) = known
                for number in range(2):
                    time.sleep(ROTATE_EVERY_S)
                    realm.add_key(priority=200 + number)
                    known = load.wait_for_key(known)
                old = next(key for key in realm.admin("GET", "/keys").json["keys"] if key["kid"] == original)
                realm.set_key(old["providerId"], active="false")
                served = load.served
                assert wait_until(lambda: load.served > served + 100 or bool(load.failures), 60)
            assert load.failures == []
            assert len(load.key_ids) == 3
            print(json.dumps({"requests": load.served, "keys": len(load.key_ids), "failed": len(load.failures)}))
            realm.set_key(old["providerId"], enabled="false")
            assert world.control("DELETE", "/tyk/cache/jwks")[0] == 200
            last = realm.tokens("orders", "alice", scope="openid")
            for api, kind in apis.items():
                assert wait_until(lambda api=api, kind=kind: world.ask(api, held[kind])[0] in (401, 403), 20)
                assert world.ask(api, last[kind]) == (200, "")
