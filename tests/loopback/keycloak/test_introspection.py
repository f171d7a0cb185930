"""A real Keycloak asked about tokens: each way to say who asks, sessions that end, and tokens that are bound to a certificate."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from tests.loopback.test_external_oauth import FAILED, NOT_VALID, api
from tests.support.certs import key_pem
from tests.support.credentials import EACH_FORM, told
from tests.support.gateway import Client, StrictUpstream
from tests.support.jwt_world import JwtWorld, jwt_world
from tests.support.keycloak import SECRET, Keycloak, Realm, needs_keycloak
from tests.support.proofs import Prover, hash_token

pytestmark = needs_keycloak

CACHE_S = 3
EACH_WAY = pytest.mark.parametrize("way", ["form", "basic", "private_key_jwt", "tls"])


@contextmanager
def world_of(
    realm: Realm,
    folder: Path,
    form: str,
    *,
    cache: int | None = None,
    own: Mapping[str, Any] | None = None,
    settings: dict[str, Any] | None = None,
    certificate: bool = False,
    **fields: Any,
) -> Iterator[JwtWorld]:
    """A gateway that asks a realm about tokens, as the client ``gateway``.

    :param cache: seconds for which an answer is remembered; None is not at all.
    :param own: ``x-tlsgate.external_oauth``.
    :param settings: ``tlsgate.identity_providers``.
    :param certificate: whether it shows the certificate ``CN=gateway``.
    """
    asked = {
        "enabled": True,
        "url": realm.introspection_url,
        "clientId": "gateway",
        "clientSecret": SECRET,
        "identityBaseField": "sub",
    }
    if cache is not None:
        asked["cache"] = {"enabled": True, "timeout": cache}
    config: dict[str, Any] = {}
    if certificate:
        identity = realm.keycloak.issue("gateway")
        (folder / "gateway.pem").write_text(identity.pem)
        (folder / "gateway.key").write_text(identity.key_pem)
        paths = {"cert_file": str(folder / "gateway.pem"), "key_file": str(folder / "gateway.key")}
        config["external_services"] = {"oauth": {"enabled": True, "mtls": {"enabled": True, **paths}}}
    tlsgate = {"upstream_ca": [str(realm.keycloak.ca_file)], "identity_providers": settings or {}}
    with StrictUpstream() as upstream:
        definition = api(form, upstream.port, [{"introspection": {**asked, **fields}}], **(own or {}))
        definition.setdefault("x-tlsgate", {})["client_certificates"] = {"ask_for_bound_keys": True}
        definition["x-tlsgate"]["jwt"] = {"forward_claims": {"X-User": "username"}}
        with jwt_world(folder, "sqlite", [definition], upstream, own=tlsgate, **config) as world:
            yield world


def add_gateway(realm: Realm, folder: Path, way: str) -> dict[str, Any]:
    """Make the client ``gateway``, which may ask about tokens in one way only, and return options of its world."""
    if way == "tls":
        attributes = {"x509.subjectdn": "CN=gateway", "x509.allow.regex.pattern.comparison": "false"}
        realm.add_client("gateway", clientAuthenticatorType="client-x509", attributes=attributes)
        return {"own": {"client_authentication": "tls"}, "certificate": True, "clientSecret": ""}
    if way == "private_key_jwt":
        key = ec.generate_private_key(ec.SECP256R1())
        (folder / "assertions.pem").write_text(key_pem(key))
        public = {**ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": "gateway", "use": "sig", "alg": "ES256"}
        public.pop("key_ops", None)
        attributes = {"use.jwks.string": "true", "jwks.string": json.dumps({"keys": [public]}), "token.endpoint.auth.signing.alg": "ES256"}
        realm.add_client("gateway", clientAuthenticatorType="client-jwt", attributes=attributes)
        settings = {"assertion_key": str(folder / "assertions.pem"), "assertion_key_id": "gateway"}
        return {"own": {"client_authentication": way}, "settings": settings, "clientSecret": ""}
    realm.add_client("gateway")
    return {"own": {"client_authentication": way}}


@EACH_FORM
@EACH_WAY
def test_who_asks(keycloak: Keycloak, realm: Realm, tmp_path: Path, form: str, way: str) -> None:
    """A secret in the form or as HTTP Basic, an assertion, a certificate alone; tokens of other realms and invented ones are refused."""
    options = add_gateway(realm, tmp_path, way)
    realm.add_client("web")
    realm.add_user("alice")
    other = keycloak.add_realm()
    other.add_client("web")
    with world_of(realm, tmp_path, form, **options) as world:
        tokens = realm.tokens("web", "alice")
        assert world.ask("api", tokens["access_token"]) == (200, "") and world.seen("X-User") == "alice"
        assert world.ask("api", realm.token("web")) == (200, "") and world.seen("X-User") == "service-account-web"
        for bad in ("invented", other.token("web"), tokens["access_token"][:-8] + "AAAAAAAA"):
            assert world.ask("api", bad) == NOT_VALID
        assert len(world.upstream.requests) == 2


@EACH_FORM
@pytest.mark.parametrize("wrong", ["secret", "certificate", "none"])
def test_who_may_not_ask(realm: Realm, tmp_path: Path, form: str, wrong: str) -> None:
    """A secret that is not the client's, another subject than the one that is listed, no certificate at all: 500, never an open door."""
    realm.add_client("web")
    options: dict[str, Any] = {"clientSecret": "wrong"}
    if wrong == "secret":
        realm.add_client("gateway")
    else:
        attributes = {"x509.subjectdn": "CN=somebody else" if wrong == "certificate" else "CN=gateway"}
        realm.add_client("gateway", clientAuthenticatorType="client-x509", attributes=attributes)
        options |= {"own": {"client_authentication": "tls"}, "certificate": wrong == "certificate"}
    with world_of(realm, tmp_path, form, **options) as world:
        assert world.ask("api", realm.token("web")) == FAILED
        assert world.upstream.requests == []


@EACH_FORM
def test_a_certificate_and_a_secret(realm: Realm, tmp_path: Path, form: str) -> None:
    """Mutual TLS below, the secret above, as Tyk has it."""
    realm.add_client("gateway")
    realm.add_client("web")
    with world_of(realm, tmp_path, form, certificate=True) as world:
        assert world.ask("api", realm.token("web")) == (200, "")


@EACH_FORM
@pytest.mark.parametrize("how", ["logout", "session", "user", "client"])
def test_what_ended_is_refused_at_once_without_a_cache(realm: Realm, tmp_path: Path, form: str, how: str) -> None:
    """A user logs out, an administrator ends the session, switches the user or the client off."""
    realm.add_client("gateway")
    client = realm.add_client("web")
    user = realm.add_user("alice")
    with world_of(realm, tmp_path, form) as world:
        tokens = realm.tokens("web", "alice")
        assert world.ask("api", tokens["access_token"]) == (200, "")
        end(realm, how, tokens, client, user)
        assert world.ask("api", tokens["access_token"]) == NOT_VALID
        assert len(world.upstream.requests) == 1


@EACH_FORM
def test_what_ended_is_refused_when_the_cache_has_passed(realm: Realm, tmp_path: Path, form: str) -> None:
    """``cache.timeout`` seconds after the last question at the latest, as the page says; until then the answer is remembered."""
    realm.add_client("gateway")
    client = realm.add_client("web")
    user = realm.add_user("alice")
    with world_of(realm, tmp_path, form, cache=CACHE_S) as world:
        tokens = realm.tokens("web", "alice")
        assert world.ask("api", tokens["access_token"]) == (200, "")
        asked_at = time.monotonic()
        end(realm, "session", tokens, client, user)
        while time.monotonic() < asked_at + CACHE_S:
            world.ask("api", tokens["access_token"])
        assert world.ask("api", tokens["access_token"]) == NOT_VALID
        count = len(world.upstream.requests)
        assert world.ask("api", realm.token("web", "alice")) == (200, "")
        assert len(world.upstream.requests) == count + 1


def end(realm: Realm, how: str, tokens: dict[str, Any], client: str, user: str) -> None:
    """End a session in one of the ways that there are."""
    if how == "logout":
        fields = {"client_id": "web", "client_secret": SECRET, "refresh_token": tokens["refresh_token"]}
        answer = realm.keycloak.ask("POST", f"/realms/{realm.name}/protocol/openid-connect/logout", form=fields)
        assert answer.status == 204, answer
    elif how == "session":
        realm.admin("DELETE", f"/sessions/{tokens['session_state']}")
    elif how == "user":
        realm.admin("PUT", f"/users/{user}", {**realm.admin("GET", f"/users/{user}").json, "enabled": False})
    else:
        realm.admin("PUT", f"/clients/{client}", {**realm.admin("GET", f"/clients/{client}").json, "enabled": False})


@EACH_FORM
def test_a_bound_token(realm: Realm, tmp_path: Path, form: str) -> None:
    """RFC 8705, section 3.2: the answer says to which certificate, remembered or not."""
    realm.add_client("gateway")
    realm.add_client("web", attributes={"tls.client.certificate.bound.access.tokens": "true"})
    holder, other = realm.keycloak.issue("holder"), realm.keycloak.issue("other")
    with world_of(realm, tmp_path, form, cache=60) as world:
        token = realm.token("web", identity=holder)
        said = realm.keycloak.ask(
            "POST",
            realm.introspection_url.removeprefix(realm.keycloak.url),
            form={"client_id": "gateway", "client_secret": SECRET, "token": token},
        ).json
        thumbprint = base64.urlsafe_b64encode(bytes.fromhex(holder.fingerprint)).rstrip(b"=").decode()
        assert said["active"] is True and said["cnf"]["x5t#S256"] == thumbprint

        def ask_as(identity: Any) -> tuple[int, str]:
            with Client(world.gateway.port, sni="localhost", identity=identity) as client:
                return told(client.request("GET", "/api/x", headers=[("Authorization", f"Bearer {token}")]))

        for _ in range(2):
            assert ask_as(other) == (401, "Key not authorized: the token is bound to another client certificate")
            assert ask_as(None) == (401, "Key not authorized: the token needs its client certificate")
            assert ask_as(holder)[0] == 200
        assert len(world.upstream.requests) == 2


@EACH_FORM
def test_a_token_of_a_proof_key(realm: Realm, tmp_path: Path, form: str) -> None:
    """RFC 9449, section 6.2: the answer says to which key, remembered or not."""
    realm.add_client("gateway")
    realm.add_client("web", attributes={"dpop.bound.access.tokens": "true"})
    prover = Prover()
    first = prover.sign({"htm": "POST", "htu": realm.token_url, "iat": int(time.time())})
    token = realm.token("web", headers={"DPoP": first})
    with world_of(realm, tmp_path, form, cache=60) as world:
        address = f"https://localhost:{world.gateway.port}/api/x"

        def ask(of: Prover | None, scheme: str = "DPoP") -> tuple[int, str]:
            lines = [("Authorization", f"{scheme} {token}")]
            if of is not None:
                claims = {"htm": "GET", "htu": address, "iat": int(time.time()), "ath": hash_token(token)}
                lines.append(("DPoP", of.sign(claims)))
            with Client(world.gateway.port, sni="localhost") as client:
                return told(client.request("GET", "/api/x", host=f"localhost:{world.gateway.port}", headers=lines))

        for _ in range(2):
            assert ask(None) == (401, "Key not authorized: the request has no DPoP proof")
            assert ask(None, "Bearer")[0] == ask(Prover())[0] == 401
            assert ask(prover)[0] == 200
        assert len(world.upstream.requests) == 2
