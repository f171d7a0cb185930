"""OpenID Connect over real sockets, on both forms and both stores: which tokens of which clients get in, as whom, and each refusal."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.loopback.test_jwt_auth import ask, call, write_policies
from tests.support.certs import SERVER, make_authority
from tests.support.credentials import EACH_FORM, EACH_WORLD, running_world, told
from tests.support.gateway import Client, Gateway, StrictUpstream, classic, oas
from tests.support.provider import Provider, b64, sign_hmac
from tests.support.redis_server import needs_redis, redis_server

DENIED = (401, "Key not authorised")
Clients = dict[str, str]


def api(
    form: str,
    upstream: int,
    issuers: dict[str, Clients],
    *,
    scopes: dict[str, str] | None = None,
    segregate: bool = False,
    api_id: str = "api",
) -> dict[str, Any]:
    """An API that takes ID tokens of these issuers for these clients."""
    if form == "oas":
        providers: list[dict[str, Any]] = [
            {
                "issuer": issuer,
                "clientToPolicyMapping": [{"clientId": b64(client), "policyId": policy} for client, policy in clients.items()],
            }
            for issuer, clients in issuers.items()
        ]
        method: dict[str, Any] = {"enabled": True, "header": {"enabled": True, "name": "Authorization"}, "providers": providers}
        method["segregateByClientId"] = segregate
        if scopes:
            method["scopes"] = {"scopeToPolicyMapping": [{"scope": scope, "policyId": policy} for scope, policy in scopes.items()]}
        everywhere = {"global": {"contextVariables": {"enabled": True}}}
        server = {"authentication": {"enabled": True, "oidc": method}}
        document = oas(api_id, upstream, f"/{api_id}/", server=server, middleware=everywhere)
        document["x-tyk-api-gateway"]["info"]["orgId"] = "org"
        return document
    providers = [
        {"issuer": issuer, "client_ids": {b64(client): policy for client, policy in clients.items()}} for issuer, clients in issuers.items()
    ]
    fields: dict[str, Any] = {"openid_options": {"segregate_by_client": segregate, "providers": providers}}
    if scopes:
        fields["scopes"] = {"oidc": {"scope_to_policy": scopes}}
    fields |= {"use_keyless": False, "use_openid": True, "org_id": "org", "enable_context_vars": True}
    return classic(api_id, upstream, f"/{api_id}/", **fields)


class World:
    """A gateway whose API trusts one provider."""

    def __init__(self, gateway: Gateway, provider: Provider, issuer: str, upstream: StrictUpstream) -> None:
        self.gateway = gateway
        self.provider = provider
        self.issuer = issuer
        self.upstream = upstream

    def token(self, claims: dict[str, Any] | None = None, **options: Any) -> str:
        return self.provider.token({"iss": self.issuer, "aud": "web", **(claims or {})}, **options)

    def ask(self, token: str | None, **headers: str) -> tuple[int, str]:
        return ask(self.gateway, token, **headers)


@contextmanager
def running(
    folder: Path, form: str, backend: str = "sqlite", *, path: str = "", clients: Clients | None = None, **options: Any
) -> Iterator[World]:
    authority = make_authority()
    (folder / "ca.pem").write_text(authority.pem)
    own = authority.issue("localhost", names=["localhost"], usages=SERVER)
    config = options.pop("config", {})
    change: Callable[[dict[str, Any]], None] = options.pop("change", lambda definition: None)
    with StrictUpstream() as upstream, Provider(own, folder) as provider:
        issuer = provider.discover(path)
        definition = api(form, upstream.port, {issuer: clients or {"web": "gold", "cli": "silver", "bare": ""}}, **options)
        change(definition)
        tlsgate = {"upstream_ca": [str(folder / "ca.pem")]}
        with running_world(folder, backend, definition, server=own, policies=write_policies(folder), tlsgate=tlsgate, **config) as gateway:
            yield World(gateway, provider, issuer, upstream)


@EACH_WORLD
def test_a_token_of_a_listed_client(tmp_path: Path, form: str, backend: str) -> None:
    """The client's policy counts; the session is called and kept as Tyk does, shared by the clients of a user, and its id is no key."""
    with running(tmp_path, form, backend) as world:
        assert world.ask(world.token())[0] == 200
        assert world.ask(world.token({"aud": ["other", "web"]}))[0] == 200
        assert world.provider.count("/.well-known/openid-configuration") == world.provider.count("/keys") == 1
        (key,) = call(world.gateway, "GET", "/tyk/keys")["keys"]
        assert hashlib.md5(b"alice").hexdigest() in key
        session = call(world.gateway, "GET", f"/tyk/keys/{key}")
        assert session["alias"] == "web:alice" and session["apply_policies"] == ["gold"] and session.get("expires", 0) == 0
        assert session["meta_data"] == {"TykJWTSessionID": key, "ClientID": "web"} and session["quota_remaining"] == 98
        assert world.ask(world.token({"aud": "cli"}))[0] == 200
        session = call(world.gateway, "GET", f"/tyk/keys/{key}")
        assert session["alias"] == "cli:alice" and session["apply_policies"] == ["silver"]
        assert world.ask(None, Authorization=f"Bearer {key}") == DENIED
        # Long ago, for a user who is known and remembered.
        assert world.ask(world.token({"exp": 1})) == DENIED


@EACH_FORM
def test_users_by_client(tmp_path: Path, form: str) -> None:
    """``segregate_by_client``: one session for each client of a user."""
    with running(tmp_path, form, segregate=True) as world:
        assert world.ask(world.token())[0] == world.ask(world.token({"aud": "cli"}))[0] == 200
        keys = call(world.gateway, "GET", "/tyk/keys")["keys"]
        expected = {hashlib.md5(client).hexdigest() + hashlib.md5(b"alice").hexdigest() for client in (b"web", b"cli")}
        assert {key[-64:] for key in keys} == expected


@EACH_FORM
def test_each_refusal(tmp_path: Path, form: str) -> None:
    """JWT reference, section 12: 401 with one message, whatever is wrong, and never a word to the upstream."""
    soon = int(time.time()) + 300
    with running(tmp_path, form) as world:
        token = world.token
        rows: list[str | None] = [
            None,
            "nonsense",
            "a.b.c",
            token()[:-4] + "AAAA",
            token().rsplit(".", 1)[0] + ".",
            token({"exp": 1}),
            token({"exp": 0}),
            token({"exp": "2999"}),
            token({"iat": soon}),
            token({"nbf": soon}),
            token({"iss": "https://other.test"}),
            token({"iss": world.issuer + "/"}),
            token({"iss": [world.issuer]}),
            token({"iss": 7}),
            token({"aud": "nobody"}),
            token({"aud": 7}),
            token({"aud": {"web": 1}}),
            token({"aud": ["web", 7]}),
            token({"aud": []}),
            token({"sub": ""}),
            token({"sub": ["alice"]}),
            token({"sub": 7}),
            token({"aud": "bare"}),
            token(header={"kid": "nobody"}),
            b64('{"alg":"none"}').rstrip("=") + "." + token().split(".")[1] + ".",
            sign_hmac({"iss": world.issuer, "aud": "web", "sub": "alice"}, b"secret of at least thirty two bytes", kid="rsa"),
        ]
        for row in rows:
            assert world.ask(row) == DENIED, row
        good = token()
        for line in (f"bearer {good}", f"BEARER {good}", f"Bearer  {good}", good, f"Bearer {good} x", f"Basic {good}"):
            assert world.ask(None, Authorization=line) == DENIED, line
        assert world.upstream.requests == []
        assert world.ask(good)[0] == 200
        assert world.ask(token(kid="ec", algorithm="ES256"))[0] == 200
        assert world.ask(token(algorithm="PS384"))[0] == 200


@EACH_FORM
def test_kid_is_a_text_or_absent(tmp_path: Path, form: str) -> None:
    """B50: no ``kid`` means the first key of the set; any other type is a 401, never a dropped connection."""
    with running(tmp_path, form) as world:
        assert world.ask(world.token(header={"kid": None}))[0] == 200
        assert world.ask(world.token(kid="ec", algorithm="ES256", header={"kid": None})) == DENIED
        parts = world.token().split(".")
        for kid in ("null", "7", "[]", "{}", "true"):
            header = b64(f'{{"alg":"RS256","kid":{kid}}}').rstrip("=").replace("+", "-").replace("/", "_")
            assert world.ask(".".join([header, *parts[1:]])) == DENIED, kid
        # A set with a key without an id serves the others.
        first = json.loads(world.provider.page("/keys")[1])["keys"]
        world.provider.pages["/keys"] = (200, json.dumps({"keys": [{**first[1], "kid": None}, first[0]]}).encode())
        call(world.gateway, "DELETE", "/tyk/cache/jwks/api")
        assert world.ask(world.token())[0] == 200
        assert world.ask(world.token(kid="ec", algorithm="ES256", header={"kid": None}))[0] == 200


@EACH_FORM
@pytest.mark.parametrize("path", ["/app", "/app/"])
def test_the_slash_at_the_end_of_an_issuer(tmp_path: Path, form: str, path: str) -> None:
    """B52: one slash in the address of the document either way; ``iss`` is compared exactly."""
    with running(tmp_path, form, path=path) as world:
        assert world.ask(world.token())[0] == 200
        assert world.ask(world.token({"iss": world.issuer + "/"})) == DENIED
        assert world.ask(world.token({"iss": world.issuer.removesuffix("/") + ("" if path == "/app/" else "/")})) == DENIED
        assert {asked for _, asked, _, _ in world.provider.asked} == {"/app/.well-known/openid-configuration", "/keys"}


@EACH_WORLD
def test_scopes_choose_policies(tmp_path: Path, form: str, backend: str) -> None:
    """With a mapping the client's own policy does not count; what is not mapped opens nothing (in Tyk: everything)."""
    with running(tmp_path, form, backend, scopes={"admin": "silver", "lost": "tin"}) as world:
        unmapped = (403, "Key not authorized: no matching policy")
        for claims in ({}, {"scope": "x"}, {"scope": ""}, {"scope": 7}, {"scope": ["x"]}, {"scope": "lost"}):
            assert world.ask(world.token(claims)) == unmapped, claims
        assert world.upstream.requests == []
        assert world.ask(world.token({"scope": "x admin"}))[0] == 200
        assert world.ask(world.token({"scope": ["admin"], "aud": "bare"}))[0] == 200
        (key,) = call(world.gateway, "GET", "/tyk/keys")["keys"]
        assert call(world.gateway, "GET", f"/tyk/keys/{key}")["apply_policies"] == ["silver"]
        # A known user with a token that leads nowhere.
        assert world.ask(world.token({"scope": "x"})) == unmapped


@EACH_FORM
def test_policies_that_are_not_there_or_not_usable(tmp_path: Path, form: str) -> None:
    """403, in OpenID's words."""
    write_policies(tmp_path)
    both = {"id": "both", "org_id": "org", "partitions": {"per_api": True, "quota": True}}
    (tmp_path / "policies" / "both.json").write_text(
        json.dumps({**both, "access_rights": {"api": {"api_id": "api", "versions": ["Default"]}}})
    )
    with running(tmp_path, form, clients={"web": "tin", "cli": "both"}) as world:
        assert world.ask(world.token()) == (403, "Key not authorized: no matching policy")
        assert world.ask(world.token({"aud": "cli"})) == (403, "Key not authorized: could not apply new policy")
        assert world.upstream.requests == []


@EACH_FORM
def test_keys_change_without_a_failed_request(tmp_path: Path, form: str) -> None:
    """Another key is asked for at once, of the same id too, but then not for ten seconds; ``DELETE`` asks at once."""
    with running(tmp_path, form) as world:
        old, keys = world.token(), world.provider.keys
        assert world.ask(old)[0] == 200
        world.provider.rotate("rsa")
        new = world.token()
        assert world.ask(new)[0] == 200
        # Remembered, and of a key that its provider took back.
        assert world.ask(old) == DENIED
        world.provider.keys = keys
        assert world.ask(old) == DENIED
        call(world.gateway, "DELETE", "/tyk/cache/jwks")
        assert world.ask(old)[0] == 200
        assert world.ask(new) == DENIED


@EACH_FORM
def test_a_storm_of_bad_tokens_asks_the_provider_next_to_nothing(tmp_path: Path, form: str) -> None:
    """In Tyk each bad signature costs the provider two requests."""
    with running(tmp_path, form) as world:
        for number in range(20):
            assert world.ask(world.token(header={"kid": f"x{number}"})) == DENIED
            assert world.ask(world.token()[:-6] + "AAAAAA") == DENIED
        assert len(world.provider.asked) <= 4
        assert world.ask(world.token())[0] == 200


@EACH_FORM
def test_providers_answer_for_themselves_only(tmp_path: Path, form: str) -> None:
    """A document of another issuer, and a token of one provider in the name of the other."""
    authority = make_authority()
    (tmp_path / "ca.pem").write_text(authority.pem)
    own = authority.issue("localhost", names=["localhost"], usages=SERVER)
    with StrictUpstream() as upstream, Provider(own, tmp_path) as good, Provider(own, tmp_path) as evil:
        good.keys = {"rsa": good.keys["rsa"]}
        evil.rotate("rsa")
        issuers = {good.discover(): {"web": "gold"}, evil.discover(): {"evil": "silver"}, evil.url + "/x": {"web": "gold"}}
        # The document that answers there is a copy of somebody else's.
        evil.pages["/x/.well-known/openid-configuration"] = good.page("/.well-known/openid-configuration")
        tlsgate = {"upstream_ca": [str(tmp_path / "ca.pem")]}
        definition = api(form, upstream.port, issuers)
        with running_world(tmp_path, "sqlite", definition, server=own, policies=write_policies(tmp_path), tlsgate=tlsgate) as gateway:
            assert ask(gateway, good.token({"iss": good.url, "aud": "web"}))[0] == 200
            assert ask(gateway, evil.token({"iss": evil.url, "aud": "evil"}))[0] == 200
            for token in (
                evil.token({"iss": good.url, "aud": "web"}),
                evil.token({"iss": evil.url, "aud": "web"}),
                good.token({"iss": good.url, "aud": "evil"}),
                good.token({"iss": f"{evil.url}/x", "aud": "web"}),
            ):
                assert ask(gateway, token) == DENIED
            assert len(upstream.requests) == 2
            entry = gateway.wait_event("oidc.unavailable")
            assert "another issuer" in json.dumps(entry)


@EACH_FORM
@pytest.mark.parametrize("fault", ["redirect", "endless", "slow", "no_tls", "nonsense", "gone"])
def test_discovery_that_goes_wrong(tmp_path: Path, form: str, fault: str) -> None:
    """401, bounded in time and size, and nobody is led elsewhere."""
    authority = make_authority()
    (tmp_path / "ca.pem").write_text(authority.pem)
    own = authority.issue("localhost", names=["localhost"], usages=SERVER)
    with StrictUpstream() as upstream, Provider(own, tmp_path) as provider:
        issuer = provider.discover()
        document = "/.well-known/openid-configuration"
        if fault == "redirect":
            provider.pages[document] = (302, b"")
            provider.headers["Location"] = f"{provider.url}/elsewhere"
        elif fault == "endless":
            provider.pages[document] = (200, b" " * 100_000)
        elif fault == "slow":
            provider.delay_s = 3.0
        elif fault == "no_tls":
            provider.discover(jwks_uri=f"http://localhost:{provider.port}/keys")
        elif fault == "nonsense":
            provider.pages[document] = (200, b"[]")
        else:
            del provider.pages[document]
        tlsgate = {
            "upstream_ca": [str(tmp_path / "ca.pem")],
            "identity_providers": {"timeout_s": 0.5, "max_bytes": 50_000},
        }
        definition = api(form, upstream.port, {issuer: {"web": "gold"}})
        with running_world(tmp_path, "sqlite", definition, server=own, policies=write_policies(tmp_path), tlsgate=tlsgate) as gateway:
            for _ in range(5):
                assert ask(gateway, provider.token({"iss": issuer, "aud": "web"})) == DENIED
            gateway.wait_event("oidc.unavailable")
            assert upstream.requests == []
            assert {asked for _, asked, _, _ in provider.asked} <= {document}


@EACH_FORM
def test_claims_are_context_variables(tmp_path: Path, form: str) -> None:
    """B48 for ID tokens: numbers go upstream digit by digit, and the client's own copy does not."""

    def add_header(definition: dict[str, Any]) -> None:
        if form == "classic":
            definition["version_data"]["versions"]["Default"]["global_headers"] = {"X-User": "$tyk_context.jwt_claims_uid"}
        else:
            added = [{"name": "X-User", "value": "$tyk_context.jwt_claims_uid"}]
            everywhere = definition["x-tyk-api-gateway"]["middleware"]["global"]
            everywhere["transformRequestHeaders"] = {"enabled": True, "add": added}

    with running(tmp_path, form, change=add_header) as world:
        for number, text in ((9007199254740993, "9007199254740993"), (1e21, "1" + "0" * 21), ("007", "007")):
            assert world.ask(world.token({"uid": number}), **{"X-User": "mallory"})[0] == 200
            assert world.upstream.requests[-1].header("X-User") == text


@needs_redis
@EACH_FORM
def test_the_store_away(tmp_path: Path, form: str) -> None:
    """503 for who is not cached, and never the words for a bad token."""
    (tmp_path / "redis").mkdir()
    with redis_server(tmp_path / "redis") as redis:
        storage = {"storage": {"type": "redis", "host": "127.0.0.1", "port": redis.port}}
        with running(tmp_path, form, config=storage) as world:
            assert world.ask(world.token())[0] == 200
            redis.stop()
            assert world.ask(world.token({"sub": "bob"})) == (503, "Service temporarily unavailable.")
            assert world.ask(world.token({"exp": 1})) == DENIED
            redis.start()


def test_the_token_from_other_places(tmp_path: Path) -> None:
    """Parameter and cookie need the scheme as well."""
    definition: dict[str, Any]
    authority = make_authority()
    (tmp_path / "ca.pem").write_text(authority.pem)
    own = authority.issue("localhost", names=["localhost"], usages=SERVER)
    with StrictUpstream() as upstream, Provider(own, tmp_path) as provider:
        issuer = provider.discover()
        definition = api("classic", upstream.port, {issuer: {"web": "gold"}})
        definition["auth_configs"] = {"oidc": {"use_param": True, "param_name": "t", "use_cookie": True, "cookie_name": "c"}}
        tlsgate = {"upstream_ca": [str(tmp_path / "ca.pem")]}
        with running_world(tmp_path, "sqlite", definition, server=own, policies=write_policies(tmp_path), tlsgate=tlsgate) as gateway:
            token = provider.token({"iss": issuer, "aud": "web"})
            with Client(gateway.port, sni="localhost") as client:
                rows = [
                    (f"/api/x?t=Bearer%20{token}", [], 200),
                    (f"/api/x?t={token}", [], 401),
                    ("/api/x", [("Cookie", f"c=Bearer {token}")], 200),
                    ("/api/x", [("Cookie", f"c={token}")], 401),
                    ("/api/x?t=", [("Authorization", f"Bearer {token}")], 200),
                ]
                for target, headers, status in rows:
                    assert told(client.request("GET", target, headers=headers))[0] == status, target
