"""Rows of the JWT reference that its three methods share, and those that are of OpenID and External OAuth alone, over TLS in both forms.

What is of JWT alone stands in ``test_jwt_rows`` and ``test_jwt_sessions``. Source: JWT reference, sections 1, 5, 8, 12, 13, 14 and 15.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import OKPAlgorithm

from tests.support.certs import make_authority
from tests.support.credentials import EACH_FORM, EACH_WORLD
from tests.support.foreign_tokens import (
    KINDS,
    METHODS,
    external_api,
    foreign_apis,
    introspect,
    openid_api,
    put_ignored,
    put_places,
    put_strip,
    token_for,
)
from tests.support.forged import token_of
from tests.support.gateway import StrictUpstream, wait_until
from tests.support.jwt_world import OWN, SECRET, hmac_token, jwt_api, jwt_world
from tests.support.provider import Provider, b64, sign_hmac

GOOD = (200, "")
MISSING = {
    "jwt": (400, "Authorization field missing"),
    "oidc": (401, "Key not authorised"),
    "signed": (400, "authorization field missing"),
    "asked": (400, "authorization field missing"),
}
DENIED = {
    "jwt": (403, "Key not authorized"),
    "oidc": (401, "Key not authorised"),
    "signed": (401, "token verification failed: token contains an invalid number of segments"),
    "asked": (401, "access token is not valid"),
}


# Where the token is read, and where it goes (section 1).


@EACH_FORM
def test_the_places_of_a_token(tmp_path: Path, form: str) -> None:
    """Cookie before parameter before header; an empty value erases nothing; OpenID wants its scheme everywhere, the others want none."""
    with StrictUpstream() as upstream, Provider(OWN, tmp_path) as provider:
        introspect(provider)
        apis = foreign_apis(form, upstream.port, provider)
        for definition, method in zip(apis, METHODS, strict=True):
            put_places(definition, KINDS[method], {"header": "X-Token", "query": "tok", "cookie": "jar"})
        with jwt_world(tmp_path, "sqlite", apis, upstream) as world:
            token = token_for(provider)
            for method in METHODS:
                scheme = "Bearer " if method == "oidc" else ""
                good, escaped = scheme + token, scheme.replace(" ", "%20") + token

                def ask(*headers: tuple[str, str], target: str = "x", api: str = method) -> tuple[int, str]:
                    return world.ask(api, None, *headers, target=target)

                assert ask(("X-Token", good)) == ask(("x-tOKEN", good)) == GOOD, method
                assert ask(target=f"x?tok={escaped}") == ask(("Cookie", f"jar={good}")) == GOOD, method
                assert ask(("X-Token", f"Bearer {token}")) == ask(target=f"x?tok=Bearer%20{token}") == GOOD, method
                assert ask(("X-Token", good), target="x?tok=") == ask(("X-Token", good), ("Cookie", "jar=")) == GOOD, method
                assert ask(("X-Token", "junk"), target=f"x?tok={escaped}") == GOOD, method
                assert ask(("Cookie", f"jar={good}"), target="x?tok=junk") == GOOD, method
                served = len(upstream.requests)
                assert ask(("X-Token", good), target="x?tok=junk") == DENIED[method]
                assert ask(("Cookie", "jar=junk"), ("X-Token", good), target=f"x?tok={escaped}") == DENIED[method]
                assert ask(("Authorization", f"Bearer {token}")) == ask() == MISSING[method]
                assert ask(target=f"x?TOK={escaped}") == ask(("X-Token", "")) == MISSING[method]
                twice = ask(("X-Token", good), ("X-Token", good))
                assert twice == (400, "Attempted access with malformed header"), method
                assert len(upstream.requests) == served
            assert world.ask("oidc", None, ("X-Token", token), target=f"x?tok={token}") == DENIED["oidc"]


@EACH_FORM
def test_a_token_goes_upstream_unless_it_is_stripped(tmp_path: Path, form: str) -> None:
    """Header, parameter and cookie; what stands beside them stays."""
    places = {"header": "X-Token", "query": "tok", "cookie": "jar"}
    with StrictUpstream() as upstream, Provider(OWN, tmp_path) as provider:
        introspect(provider)
        apis = foreign_apis(form, upstream.port, provider)
        for definition, method in zip(apis, METHODS, strict=True):
            put_places(definition, KINDS[method], places)
        with jwt_world(tmp_path, "sqlite", apis, upstream) as world:
            token = token_for(provider)
            sent = [("X-Token", f"Bearer {token}"), ("Cookie", f"jar=Bearer {token}; other=1")]
            for method in METHODS:
                assert world.ask(method, None, *sent, target=f"x?tok=Bearer%20{token}&a=b") == GOOD
                kept = upstream.requests[-1]
                assert kept.header("X-Token") == f"Bearer {token}" and token in kept.target and token in (kept.header("Cookie") or "")
            for definition in apis:
                put_strip(definition)
            world.gateway.write_apis(*apis)
            world.gateway.reload()
            for method in METHODS:
                assert world.ask(method, None, *sent, target=f"x?tok=Bearer%20{token}&a=b") == GOOD
                stripped = upstream.requests[-1]
                assert token.encode() not in stripped.raw_head, method
                assert stripped.header("Cookie") == "other=1" and stripped.target.endswith("/x?a=b")


def test_the_old_block_counts_for_jwt_alone(tmp_path: Path) -> None:
    """Classic ``auth``: read where ``auth_configs`` has no entry of the method, which for OpenID and External OAuth means the defaults."""
    with StrictUpstream() as upstream, Provider(OWN, tmp_path) as provider:
        introspect(provider)
        apis = foreign_apis("classic", upstream.port, provider)
        for definition in apis:
            definition.pop("auth_configs", None)
            definition["auth"] = {"auth_header_name": "X-Old", "use_param": True, "param_name": "old"}
        with jwt_world(tmp_path, "sqlite", apis, upstream) as world:
            token = token_for(provider)
            for method in METHODS:
                old = GOOD if method == "jwt" else MISSING[method]
                assert world.ask(method, None, ("X-Old", f"Bearer {token}")) == old, method
                assert world.ask(method, None, target=f"x?old=Bearer%20{token}") == old, method
                assert world.ask(method, token) == (MISSING[method] if method == "jwt" else GOOD), method


@EACH_FORM
def test_a_path_that_asks_for_nothing(tmp_path: Path, form: str) -> None:
    """No method looks at what is sent there, and nobody is asked about it."""
    with StrictUpstream() as upstream, Provider(OWN, tmp_path) as provider:
        introspect(provider)
        apis = foreign_apis(form, upstream.port, provider)
        for definition in apis:
            put_ignored(definition)
        with jwt_world(tmp_path, "sqlite", apis, upstream) as world:
            for method in METHODS:
                for token in (None, "junk", "a.b.c", token_for(provider, {"exp": 1})):
                    assert world.ask(method, token, target="free") == GOOD, (method, token)
                assert world.ask(method, None) == MISSING[method]
            assert provider.count("/introspect") == 0


# Several methods (section 1).


def combined(form: str, upstream: int, provider: Provider, api_id: str, base: str = "") -> dict[str, Any]:
    """An API that wants an access token, a JWT, an ID token and a key, each in a header of its own."""
    jwt_, openid, external, _ = foreign_apis(form, upstream, provider)
    if form == "classic":
        made = {**jwt_, "use_openid": True, "openid_options": openid["openid_options"], "external_oauth": external["external_oauth"]}
        made |= {"use_standard_auth": True, "api_id": api_id, "name": api_id}
        made["proxy"] = {**made["proxy"], "listen_path": f"/{api_id}/"}
        made["auth_configs"] = {"authToken": {"auth_header_name": "X-Key"}}
        if base:
            made["base_identity_provided_by"] = base
    else:
        made = jwt_
        extension = made["x-tyk-api-gateway"]
        extension["info"] |= {"id": api_id, "name": api_id}
        extension["server"]["listenPath"]["value"] = f"/{api_id}/"
        authentication = extension["server"]["authentication"]
        authentication["oidc"] = openid["x-tyk-api-gateway"]["server"]["authentication"]["oidc"]
        schemes = external["x-tyk-api-gateway"]["server"]["authentication"]["securitySchemes"]
        authentication["securitySchemes"] |= {**schemes, "key": {"enabled": True}}
        made["components"]["securitySchemes"] |= external["components"]["securitySchemes"]
        made["components"]["securitySchemes"]["key"] = {"type": "apiKey", "in": "header", "name": "X-Key"}
        made["security"] = [{"jwt": [], "externalOAuth": [], "key": []}]
        if base:
            authentication["baseIdentityProvider"] = base
    for kind, header in (("jwt", "X-Jwt"), ("oidc", "X-Oidc"), ("externalOAuth", "X-Ext")):
        put_places(made, kind, {"header": header})
    return made


@EACH_FORM
def test_the_order_of_methods(tmp_path: Path, form: str) -> None:
    """External OAuth, JWT, OpenID, key: all have to pass, and the first that does not is the one that is told of."""
    with StrictUpstream() as upstream, Provider(OWN, tmp_path) as provider:
        api = combined(form, upstream.port, provider, "all")
        with jwt_world(tmp_path, "sqlite", [api], upstream) as world:
            key = world.put_key("partner-key", alias="partner")
            token = token_for(provider)
            good = [("X-Ext", token), ("X-Jwt", token), ("X-Oidc", f"Bearer {token}"), ("X-Key", key)]
            refused = [
                (DENIED["signed"], MISSING["signed"]),
                (DENIED["jwt"], MISSING["jwt"]),
                (DENIED["oidc"], MISSING["oidc"]),
                ((403, "Access to this API has been disallowed"), (401, "Authorization field missing")),
            ]
            for number, (denied, missing) in enumerate(refused):
                junk = [(name, "junk") for name, _ in good[number:]]
                assert world.ask("all", None, *good[:number], *junk) == denied, number
                assert world.ask("all", None, *good[:number]) == missing, number
                assert world.ask("all", None, *good[:number], *good[number + 1 :]) == missing, number
            assert upstream.requests == []
            assert world.ask("all", None, *good) == GOOD


@EACH_WORLD
def test_whose_limits_count(tmp_path: Path, form: str, backend: str) -> None:
    """``base_identity_provided_by``, in both spellings; without one the last method counts."""
    bases = {"byjwt": "jwt_claim", "byoidc": "oidc_user", "byenum": "OIDCUser", "bykey": "auth_token", "last": ""}
    policies = {"gold": {"quota_max": 100, "quota_renewal_rate": 3600}}
    with StrictUpstream() as upstream, Provider(OWN, tmp_path) as provider:
        apis = [combined(form, upstream.port, provider, name, base) for name, base in bases.items()]
        with jwt_world(tmp_path, backend, apis, upstream, policies=policies) as world:
            key = world.put_key("partner-key", alias="partner", quota_max=100, quota_renewal_rate=3600)

            def ask(api: str) -> tuple[int, str]:
                tokens = {name: token_for(provider, {"sub": name}) for name in ("ext", "jwt", "oidc")}
                headers = [("X-Ext", tokens["ext"]), ("X-Jwt", tokens["jwt"]), ("X-Oidc", f"Bearer {tokens['oidc']}"), ("X-Key", key)]
                return world.ask(api, None, *headers)

            counted = {"jwt": "byjwt", "web:oidc": "byoidc byenum", "partner": "bykey last"}
            for api in bases:
                assert ask(api) == GOOD, api
            sessions = world.sessions()
            assert "ext" not in sessions
            for alias, names in counted.items():
                assert sessions[alias]["quota_remaining"] == 100 - len(names.split()), alias


@EACH_WORLD
def test_one_user_has_one_session_whatever_the_method(tmp_path: Path, form: str, backend: str) -> None:
    """Same organisation, same identity (sections 7 and 13): one counter, and External OAuth lives by what the others made."""
    policies = {"gold": {"quota_max": 7, "quota_renewal_rate": 3600}}
    with StrictUpstream() as upstream, Provider(OWN, tmp_path) as provider:
        introspect(provider)
        with jwt_world(tmp_path, backend, foreign_apis(form, upstream.port, provider), upstream, policies=policies) as world:
            token = token_for(provider)
            for method in ("signed", "asked"):
                assert world.ask(method, token) == GOOD
            assert world.sessions() == {}  # theirs are not stored
            for number, method in enumerate(("jwt", "oidc", "signed", "asked", "jwt", "oidc", "signed")):
                assert world.ask(method, token) == GOOD, number
                (session,) = world.sessions().values()
                assert session["quota_remaining"] == 6 - number and session["apply_policies"] == ["gold"]
            for method in METHODS:
                assert world.ask(method, token) == (403, "Quota exceeded"), method
            assert world.control("DELETE", f"/tyk/keys/{session['key']}")[0] == 200
            for method in ("asked", "signed", "oidc", "jwt"):
                assert world.ask(method, token) == GOOD, method


# Events (section 1).


@EACH_FORM
def test_failures_are_events(tmp_path: Path, form: str) -> None:
    """``AuthFailure`` for each method and each kind of failure (in Tyk not for time, claims, and External OAuth); no token in any."""
    with StrictUpstream() as upstream, StrictUpstream() as listener, Provider(OWN, tmp_path) as provider:
        introspect(provider, known := {})
        apis = foreign_apis(form, upstream.port, provider)
        address = f"http://127.0.0.1:{listener.port}/"
        for definition in apis:
            if form == "classic":
                hook = {"handler_name": "eh_web_hook_handler", "handler_meta": {"method": "POST", "target_path": address}}
                definition["event_handlers"] = {"events": {"AuthFailure": [hook]}}
            else:
                hook = {"enabled": True, "trigger": "AuthFailure", "type": "webhook", "url": address, "method": "POST"}
                definition["x-tyk-api-gateway"]["server"]["eventHandlers"] = [hook]
        with jwt_world(tmp_path, "sqlite", apis, upstream) as world:
            good = token_for(provider)
            known[good] = {"active": True, "sub": "alice"}
            bad = {
                "junk": "not-a-token-at-all",
                "signature": good[:-6] + "AAAAAA",
                "time": token_for(provider, {"exp": 1}),
                "nobody": token_for(provider, {"sub": 7}),
            }
            known[bad["time"]] = {"active": True, "sub": "alice", "exp": 1}
            known[bad["nobody"]] = {"active": True}
            for count, (method, kind) in enumerate([(method, kind) for method in METHODS for kind in bad]):
                assert world.ask(method, bad[kind])[0] in (401, 403), (method, kind)
                assert wait_until(lambda count=count: len(listener.requests) == count + 1, 10), (method, kind)
            for method in METHODS:
                assert world.ask(method, good) == GOOD
            time.sleep(0.3)  # what is not sent cannot be waited for
            assert len(listener.requests) == 4 * len(bad)
            heard = b"".join(request.raw_head + request.body for request in listener.requests)
            assert heard.count(b"AuthFailure") >= len(listener.requests)
            assert not [kind for kind, token in bad.items() if token.encode() in heard]


@EACH_FORM
def test_messages_and_flags(tmp_path: Path, form: str) -> None:
    """``override_messages`` by our ids; ``error_overrides`` see AMF, TKI, TKE and TPN; XML where the request speaks it."""
    messages = {
        "oidc.key": {"message": "no"},
        "oidc.no_matching_policy": {"code": 402, "message": "pay"},
        "external_oauth.failed": {"code": 502},
        "external_oauth.not_active": {"message": "not yours"},
    }
    hints = {
        str(status): [{"match": {"flag": flag}, "response": {"headers": {"X-Hint": flag}}} for flag in ("AMF", "TKI", "TKE", "TPN")]
        for status in (400, 401, 402, 502)
    }
    with StrictUpstream() as upstream, Provider(OWN, tmp_path) as provider:
        known = introspect(provider, {"ended": {"active": True, "sub": "alice", "exp": 1}, "broken": (503, b"")})
        apis = foreign_apis(form, upstream.port, provider)
        apis.append(openid_api(form, "scoped", upstream.port, [{"issuer": provider.url, "clients": {"web": "gold"}}], scopes={"a": "gold"}))
        with jwt_world(tmp_path, "sqlite", apis, upstream, override_messages=messages, error_overrides=hints) as world:
            ended, good = token_for(provider, {"exp": 1}), token_for(provider)
            other = token_of({"alg": "HS256", "kid": "rsa"}, {"sub": "alice"}, SECRET, "HS256")
            rows: list[tuple[str, str | None, int, str, str]] = [
                ("oidc", None, 401, "Key not authorised", "AMF"),
                ("oidc", "junk", 401, "no", "TKI"),
                ("oidc", ended, 401, "Key not authorised", "TKE"),
                ("scoped", good, 402, "pay", "TPN"),
                ("signed", None, 400, "authorization field missing", "AMF"),
                ("signed", good[:-6] + "AAAAAA", 401, "token verification failed: signature is invalid", "TKI"),
                ("signed", ended, 401, "key not authorized: token has expired", "TKE"),
                ("signed", other, 502, "error happened during the access token validation", "TKI"),
                ("asked", None, 400, "authorization field missing", "AMF"),
                ("asked", "junk", 401, "not yours", "TKI"),
                ("asked", "ended", 401, "token is expired", "TKE"),
                ("asked", "broken", 502, "error happened during the access token validation", "TKI"),
            ]
            for api, token, status, message, flag in rows:
                bearer = [("Authorization", f"Bearer {token}")] if token else []
                response = world.send(api, *bearer)
                assert (response.status, json.loads(response.body)["error"]) == (status, message), (api, token)
                assert response.headers.get("x-hint") == flag, (api, token, flag)
                response = world.send(api, *bearer, ("Content-Type", "application/xml"))
                assert response.status == status and f"<error>{message}</error>".encode() in response.body, (api, token)
            assert upstream.requests == [] and len(known) == 2


@EACH_FORM
def test_which_methods_tell_the_upstream_of_claims(tmp_path: Path, form: str) -> None:
    """``jwt_claims_*`` are of JWT and OpenID; of External OAuth they are empty, and a client's own copy is of none (section 11)."""
    added = {"X-Who": "$tyk_context.jwt_claims_sub", "X-Key-Id": "$tyk_context.jwt_claims_kid"}
    with StrictUpstream() as upstream, Provider(OWN, tmp_path) as provider:
        introspect(provider)
        apis = foreign_apis(form, upstream.port, provider)
        for definition in apis:
            if form == "classic":
                definition["enable_context_vars"] = True
                definition["version_data"]["versions"]["Default"]["global_headers"] = added
            else:
                entries = [{"name": name, "value": value} for name, value in added.items()]
                everywhere = {"contextVariables": {"enabled": True}, "transformRequestHeaders": {"enabled": True, "add": entries}}
                definition["x-tyk-api-gateway"].setdefault("middleware", {})["global"] = everywhere
        with jwt_world(tmp_path, "sqlite", apis, upstream) as world:
            token = token_for(provider)
            for method in METHODS:
                for _ in range(2):
                    assert world.ask(method, token, ("X-Who", "mallory"), ("X_Key_Id", "mallory")) == GOOD
                    seen = (world.seen("X-Who") or "", world.seen("X-Key-Id") or "")
                    assert seen == (("alice", "rsa") if method in ("jwt", "oidc") else ("", "")), method
                    assert b"X-Who: mallory" not in upstream.requests[-1].raw_head


# How long keys are kept, and how they are fetched (sections 5, 12 and 15).


@EACH_FORM
@pytest.mark.parametrize("own", [True, False])
def test_how_long_keys_are_kept(tmp_path: Path, form: str, own: bool) -> None:
    """``cacheTimeout`` of an address, else ``jwks.cache.timeout``: then a key that was taken back stops, remembered token or not."""
    with StrictUpstream() as upstream, Provider(OWN, tmp_path) as provider:
        introspect(provider)
        apis = foreign_apis(form, upstream.port, provider)[:3]
        if own:
            address = {"url": f"{provider.url}/keys", "cacheTimeout": "1s"}
            apis = [jwt_api(form, "jwt", upstream.port, {"signingMethod": "rsa", "jwksURIs": [address], "policyFieldName": "pol"})]
        names = METHODS[: len(apis)]
        config: dict[str, Any] = {} if own else {"jwks": {"cache": {"timeout": 1}}}
        with jwt_world(tmp_path, "sqlite", apis, upstream, **config) as world:
            token = token_for(provider)
            for method in names:
                assert world.ask(method, token) == GOOD
            provider.rotate("rsa")
            for method in names:
                assert wait_until(lambda method=method: world.ask(method, token) != GOOD, 10), method
                assert world.ask(method, token)[0] in (401, 403)
                assert world.ask(method, token_for(provider)) == GOOD


@EACH_FORM
def test_providers_that_nobody_can_believe(tmp_path: Path, form: str) -> None:
    """``jwt_ssl_insecure_skip_verify`` lets keys be fetched from them, and says so; neither secrets nor tokens go there all the same."""
    stranger = make_authority("Somebody Else").issue("localhost", names=["localhost"])
    for skips in (False, True):
        folder = tmp_path / str(skips)
        folder.mkdir()
        with StrictUpstream() as upstream, Provider(stranger, folder) as provider:
            introspect(provider)
            apis = foreign_apis(form, upstream.port, provider)
            with jwt_world(folder, "sqlite", apis, upstream, jwt_ssl_insecure_skip_verify=skips) as world:
                token = token_for(provider)
                for method in ("jwt", "oidc", "signed"):
                    assert (world.ask(method, token) == GOOD) is skips, (method, skips)
                assert world.ask("asked", token) == (500, "error happened during the access token validation")
                assert provider.count("/introspect") == 0
                assert (provider.count("/keys") > 0) is skips
                assert any("jwt_ssl_insecure_skip_verify" in line for line in world.gateway.lines) is skips


@EACH_FORM
def test_providers_that_want_a_certificate(tmp_path: Path, form: str) -> None:
    """``external_services.oauth.mtls``: for keys, documents and questions alike; a provider that sees none gives nothing away here."""
    clients = make_authority("Clients of the provider")
    own = clients.issue("gateway")
    (tmp_path / "client.pem").write_text(own.pem)
    (tmp_path / "client.key").write_text(own.key_pem)
    files = {"cert_file": str(tmp_path / "client.pem"), "key_file": str(tmp_path / "client.key")}
    with StrictUpstream() as upstream, Provider(OWN, tmp_path, clients=clients.pem) as provider:
        introspect(provider)
        apis = foreign_apis(form, upstream.port, provider)
        mtls = {"enabled": True, **files, "ca_file": str(tmp_path / "ca.pem")}
        services = {"oauth": {"enabled": True, "mtls": mtls}}
        with jwt_world(tmp_path, "sqlite", apis, upstream, external_services=services) as world:
            token = token_for(provider)
            for method in METHODS:
                assert world.ask(method, token) == GOOD, method
        asked = {path for _, path, _, _ in provider.asked}
        assert asked == {"/keys", "/.well-known/openid-configuration", "/introspect"}
        names = [[pair for part in peer["subject"] for pair in part] if peer else [] for peer in provider.peers]
        assert names and all(("commonName", "gateway") in name for name in names)


# OpenID alone (section 12).


@EACH_FORM
def test_providers_and_clients_of_openid(tmp_path: Path, form: str) -> None:
    """Those without issuer or clients are passed over; none left lets nobody in; an id that is no base64 is taken as it is."""
    with StrictUpstream() as upstream, Provider(OWN, tmp_path) as provider:
        issuer = provider.discover()
        whole = {"issuer": issuer, "clients": {"web app!": "gold"}}
        apis = [
            openid_api(
                form, "first", upstream.port, [{"issuer": "", "clients": {"web": "gold"}}, {"issuer": issuer, "clients": {}}, whole]
            ),
            openid_api(form, "none", upstream.port, [{"issuer": "", "clients": {"web": "gold"}}, {"issuer": issuer, "clients": {}}]),
            openid_api(form, "raw", upstream.port, [whole], raw=True),
        ]
        with jwt_world(tmp_path, "sqlite", apis, upstream) as world:
            good = token_for(provider, {"aud": "web app!"})
            assert world.ask("first", good) == world.ask("raw", good) == GOOD
            for token in (good, token_for(provider), token_for(provider, {"iss": ""}), None):
                assert world.ask("none", token) == DENIED["oidc"]
            assert world.ask("first", token_for(provider)) == DENIED["oidc"]
            assert world.ask("first", token_for(provider, {"aud": b64("web app!")})) == DENIED["oidc"]
            assert len(upstream.requests) == 2


@EACH_FORM
def test_algorithms_of_openid(tmp_path: Path, form: str) -> None:
    """Whatever fits the key's type; a key's own algorithm counts where it names one."""
    with StrictUpstream() as upstream, Provider(OWN, tmp_path) as provider:
        edwards = ed25519.Ed25519PrivateKey.generate()
        keys = json.loads(provider.page("/keys")[1])["keys"]
        keys.append({**OKPAlgorithm.to_jwk(edwards.public_key(), as_dict=True), "kid": "ed"})
        keys.append({**keys[0], "kid": "only", "alg": "RS512"})
        provider.pages["/keys"] = 200, json.dumps({"keys": keys}).encode()
        issuer = provider.discover()
        api = openid_api(form, "oidc", upstream.port, [{"issuer": issuer, "clients": {"web": "gold"}}])
        with jwt_world(tmp_path, "sqlite", [api], upstream) as world:
            claims = {"iss": issuer, "aud": "web", "sub": "alice", "exp": int(time.time()) + 300}
            for algorithm in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"):
                assert world.ask("oidc", token_for(provider, algorithm=algorithm)) == GOOD, algorithm
                named = token_for(provider, algorithm=algorithm, header={"kid": "only"})
                assert world.ask("oidc", named) == (GOOD if algorithm == "RS512" else DENIED["oidc"])
            assert world.ask("oidc", token_for(provider, kid="ec", algorithm="ES256")) == GOOD
            assert world.ask("oidc", jwt.encode(claims, edwards, algorithm="EdDSA", headers={"kid": "ed"})) == GOOD
            assert world.ask("oidc", jwt.encode(claims, edwards, algorithm="EdDSA", headers={"kid": "rsa"})) == DENIED["oidc"]
            assert world.ask("oidc", token_for(provider, header={"kid": "ed"})) == DENIED["oidc"]


@EACH_FORM
def test_the_claim_with_the_scopes_of_openid(tmp_path: Path, form: str) -> None:
    """Its name, a path too; then ``scope`` says nothing."""
    with StrictUpstream() as upstream, Provider(OWN, tmp_path) as provider:
        issuer = [{"issuer": provider.discover(), "clients": {"web": "gold"}}]
        apis = [
            openid_api(form, "named", upstream.port, issuer, scopes={"admin": "silver"}, scope_claim="scp"),
            openid_api(form, "path", upstream.port, issuer, scopes={"admin": "silver"}, scope_claim="realm.roles"),
        ]
        with jwt_world(tmp_path, "sqlite", apis, upstream) as world:
            assert world.ask("named", token_for(provider, {"scp": "x admin"})) == GOOD
            assert world.ask("path", token_for(provider, {"realm": {"roles": ["admin"]}})) == GOOD
            for api in ("named", "path"):
                for claims in ({"scope": "admin"}, {"scope": "admin", "scp": "x", "realm": {"roles": "x"}}, {}):
                    assert world.ask(api, token_for(provider, claims)) == (403, "Key not authorized: no matching policy"), (api, claims)
            assert [session["apply_policies"] for session in world.sessions().values()] == [["silver"]]


# External OAuth alone (section 13).


@EACH_FORM
def test_which_provider_and_which_way_counts(tmp_path: Path, form: str) -> None:
    """The first provider, whatever the second could do; its ``jwt`` before its ``introspection``, unless that is off."""
    with StrictUpstream() as upstream, Provider(OWN, tmp_path) as provider:
        introspect(provider, {"opaque": {"active": True, "sub": "bob"}})
        signed = {"enabled": True, "signingMethod": "hmac", "source": b64(SECRET)}
        other = {"enabled": True, "signingMethod": "hmac", "source": b64(SECRET[::-1])}
        asked = {"enabled": True, "url": f"{provider.url}/introspect"}
        apis = [
            external_api(form, "first", upstream.port, [{"jwt": signed}, {"jwt": other}, {"introspection": asked}]),
            external_api(form, "both", upstream.port, [{"jwt": signed, "introspection": asked}]),
            external_api(form, "off", upstream.port, [{"jwt": {**signed, "enabled": False}, "introspection": asked}]),
        ]
        with jwt_world(tmp_path, "sqlite", apis, upstream) as world:
            good, foreign = hmac_token(), hmac_token(secret=SECRET[::-1])
            wrong = (401, "token verification failed: signature is invalid")
            for api in ("first", "both"):
                assert world.ask(api, good) == GOOD
                assert world.ask(api, foreign) == wrong
                assert world.ask(api, "opaque") == DENIED["signed"]
            assert provider.count("/introspect") == 0
            assert world.ask("off", "opaque") == GOOD
            assert world.ask("off", good) == DENIED["asked"]


@EACH_FORM
def test_leeways_of_external_oauth(tmp_path: Path, form: str) -> None:
    """Each for its own claim, to the second."""
    signed = {"enabled": True, "signingMethod": "hmac", "source": b64(SECRET)}
    leeways = {"issuedAtValidationSkew": 100, "notBeforeValidationSkew": 200, "expiresAtValidationSkew": 300}
    with StrictUpstream() as upstream:
        apis = [
            external_api(form, "strict", upstream.port, [{"jwt": signed}]),
            external_api(form, "late", upstream.port, [{"jwt": {**signed, **leeways}}]),
        ]
        with jwt_world(tmp_path, "sqlite", apis, upstream) as world:
            now = int(time.time())
            rows: list[tuple[str, int, int, str]] = [
                ("iat", now + 80, now + 160, "token used before issued"),
                ("nbf", now + 160, now + 260, "token is not valid yet"),
                ("exp", now - 200, now - 300, "token has expired"),
            ]
            for claim, within, beyond, words in rows:
                told = (401, f"key not authorized: {words}")
                assert world.ask("late", hmac_token({claim: within})) == GOOD, claim
                assert world.ask("late", hmac_token({claim: beyond})) == world.ask("strict", hmac_token({claim: within})) == told


@EACH_FORM
def test_what_cannot_verify_is_refused_when_it_is_loaded(tmp_path: Path, form: str) -> None:
    """External OAuth: from a file it never answers, through the control API it is a 400 that does not tell the secret."""
    pem = rsa.generate_private_key(65537, 2048).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    sources = {
        "empty": ("hmac", ""),
        "blank": ("hmac", " \n"),
        "plain": ("hmac", "tyk123"),
        "confused": ("HMAC", b64(pem)),
        "unknown": ("none", b64(SECRET)),
        "unsaid": ("", b64(pem)),
        "other": ("ecdsa", b64(pem)),
        "broken": ("rsa", b64(b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")),
    }
    with StrictUpstream() as upstream:
        apis = [
            external_api(form, name, upstream.port, [{"jwt": {"enabled": True, "signingMethod": method, "source": source}}])
            for name, (method, source) in sources.items()
        ]
        good = {"enabled": True, "signingMethod": "RS256", "source": b64(pem)}
        apis.append(external_api(form, "good", upstream.port, [{"jwt": good}]))
        with jwt_world(tmp_path, "sqlite", apis, upstream) as world:
            for api, (name, (_, source)) in zip(apis, sources.items(), strict=False):
                for token in (None, hmac_token(secret=b""), hmac_token(secret=pem), hmac_token(secret=b"tyk123")):
                    assert world.ask(name, token)[0] == 503, name
                status, answer = world.control("POST", "/tyk/apis" + ("/oas" if form == "oas" else ""), api)
                assert status == 400, (name, answer)
                assert not source.strip() or source not in json.dumps(answer), name
            assert world.ask("good", hmac_token(secret=pem)) == (500, "error happened during the access token validation")
            assert upstream.requests == []


def test_the_section_of_the_seed(tmp_path: Path) -> None:
    """``externalOAuthServer`` with ``clientID``: the same as a scheme with ``clientId``."""
    with StrictUpstream() as upstream, Provider(OWN, tmp_path) as provider:
        introspect(provider, {"opaque": {"active": True, "sub": "bob"}})
        document = external_api("oas", "seed", upstream.port, [])
        authentication = document["x-tyk-api-gateway"]["server"]["authentication"]
        del authentication["securitySchemes"], document["components"], document["security"]
        fields = {"enabled": True, "url": f"{provider.url}/introspect", "clientID": "me", "clientSecret": "s"}
        header = {"enabled": True, "name": "Authorization"}
        authentication["externalOAuthServer"] = {"enabled": True, "header": header, "providers": [{"introspection": fields}]}
        with jwt_world(tmp_path, "sqlite", [document], upstream) as world:
            assert world.ask("seed", "opaque") == GOOD
            assert world.ask("seed", "other") == DENIED["asked"]
            assert provider.asked[0][2] == b"client_id=me&client_secret=s&token=opaque"


# JWT: what other tests leave (sections 2, 8 and 14).


def test_the_old_names_of_scopes(tmp_path: Path) -> None:
    """``jwt_scope_*`` count while ``scopes`` is empty, and not beside it."""
    old = {"jwt_scope_claim_name": "scp", "jwt_scope_to_policy_mapping": {"admin": "silver"}}
    with StrictUpstream() as upstream:
        scheme = {"signingMethod": "hmac", "source": b64(SECRET), "policyFieldName": "pol"}
        apis = [{**jwt_api("classic", name, upstream.port, scheme), **old} for name in ("old", "empty", "new")]
        apis[1]["scopes"] = {}
        apis[2]["scopes"] = {"jwt": {"scope_to_policy": {"admin": "gold"}}}
        with jwt_world(tmp_path, "sqlite", apis, upstream) as world:
            rows = [("old", "scp", "silver"), ("empty", "scp", "silver"), ("new", "scope", "gold")]
            for api, claim, policy in rows:
                assert world.ask(api, hmac_token({"pol": ..., claim: "admin"})) == GOOD, api
                assert world.sessions()["alice"]["apply_policies"] == [policy], api
                other = {"scp": "scope", "scope": "scp"}[claim]
                told = world.ask(api, hmac_token({"pol": ..., other: "admin"}))
                assert told == (403, "key not authorized: no scope or policy in token"), api


@EACH_WORLD
def test_a_session_whose_policy_ended_it(tmp_path: Path, form: str, backend: str) -> None:
    """With tokens that say nothing of their end it stays ended, until it is removed; a token that ends later makes it longer."""
    policies = {"gold": {"key_expires_in": 3}}
    with StrictUpstream() as upstream:
        api = jwt_api(form, "api", upstream.port, {"signingMethod": "hmac", "source": b64(SECRET), "policyFieldName": "pol"})
        with jwt_world(tmp_path, backend, [api], upstream, policies=policies) as world:
            endless = hmac_token({"exp": ...})
            ended = (401, "Key has expired, please renew")
            assert world.ask("api", endless) == GOOD
            assert wait_until(lambda: world.ask("api", endless) == ended, 10)
            assert world.ask("api", hmac_token({"exp": ..., "n": 1})) == ended
            key = world.sessions()["alice"]["key"]
            assert world.control("DELETE", f"/tyk/keys/{key}")[0] == 200
            assert world.ask("api", endless) == GOOD
            assert wait_until(lambda: world.ask("api", endless) == ended, 10)
            assert world.ask("api", hmac_token()) == world.ask("api", endless) == GOOD


def test_a_document_that_names_no_place(tmp_path: Path) -> None:
    """As in the sketch of the seed: the header ``Authorization`` (in Tyk nowhere); where one is named no other is read."""
    with StrictUpstream() as upstream, Provider(OWN, tmp_path) as provider:
        introspect(provider)
        apis = foreign_apis("oas", upstream.port, provider)
        for definition, method in zip(apis, METHODS, strict=True):
            put_places(definition, KINDS[method], {})
        with jwt_world(tmp_path, "sqlite", apis, upstream) as world:
            token = token_for(provider)
            for method in METHODS:
                assert world.ask(method, token) == GOOD, method
                assert world.ask(method, None, ("Cookie", f"Authorization=Bearer {token}")) == MISSING[method]
                assert world.ask(method, None, target=f"x?Authorization=Bearer%20{token}") == MISSING[method]
            for definition, method in zip(apis, METHODS, strict=True):
                put_places(definition, KINDS[method], {"query": "tok"})
            world.gateway.write_apis(*apis)
            world.gateway.reload()
            for method in METHODS:
                assert world.ask(method, token) == MISSING[method], method
                assert world.ask(method, None, target=f"x?tok=Bearer%20{token}") == GOOD, method


def test_forms_of_a_document(tmp_path: Path) -> None:
    """Lists beat single fields; ``bearerFormat`` in any case; a place that is off is none; ``enabled: false`` asks nobody."""
    scheme = {"signingMethod": "hmac", "source": b64(SECRET)}
    with StrictUpstream() as upstream, Provider(OWN, tmp_path) as provider:
        lists = {
            "subjectClaims": ["user"],
            "identityBaseField": "mail",
            "basePolicyClaims": ["tier"],
            "policyFieldName": "pol",
            "scopes": {"claimName": "scope", "claims": ["roles"], "scopeToPolicyMapping": [{"scope": "s", "policyId": "silver"}]},
        }
        apis = [
            jwt_api("oas", "lists", upstream.port, {**scheme, **lists}),
            jwt_api("oas", "lower", upstream.port, {**scheme, "policyFieldName": "pol"}),
            jwt_api("oas", "off", upstream.port, {**scheme, "policyFieldName": "pol"}, places={"query": "tok"}),
            jwt_api("oas", "keyless", upstream.port, scheme),
            jwt_api("oas", "addresses", upstream.port, {"signingMethod": "rsa", "source": b64(b"x"), "policyFieldName": "pol"}),
        ]
        apis[1]["components"]["securitySchemes"]["jwt"]["bearerFormat"] = "jwt"
        off = apis[2]["x-tyk-api-gateway"]["server"]["authentication"]["securitySchemes"]["jwt"]
        off["query"]["enabled"], off["header"] = False, {"enabled": False, "name": "Authorization"}
        off["cookie"] = {"enabled": True, "name": "jar"}
        apis[3]["x-tyk-api-gateway"]["server"]["authentication"]["enabled"] = False
        addresses = apis[4]["x-tyk-api-gateway"]["server"]["authentication"]["securitySchemes"]["jwt"]
        addresses["jwksURIs"] = [{"url": f"{provider.url}/keys"}]
        with jwt_world(tmp_path, "sqlite", apis, upstream) as world:
            token = hmac_token({"user": "u", "mail": "m", "tier": "gold", "pol": "silver"})
            assert world.ask("lists", token) == GOOD
            assert world.sessions()["u"]["apply_policies"] == ["gold"]
            assert world.ask("lists", hmac_token({"user": "v", "tier": ..., "scope": "x", "roles": "s"})) == GOOD
            assert world.sessions()["v"]["apply_policies"] == ["silver"]
            assert world.ask("lower", hmac_token()) == GOOD
            assert world.ask("off", hmac_token()) == world.ask("off", None, target=f"x?tok={hmac_token()}") == MISSING["jwt"]
            assert world.ask("off", None, ("Cookie", f"jar={hmac_token()}")) == GOOD
            assert world.ask("keyless", None) == world.ask("keyless", "junk") == GOOD
            assert world.ask("addresses", token_for(provider)) == GOOD
            assert world.ask("addresses", sign_hmac({"sub": "alice", "pol": "gold"}, b"x"))[0] == 403


@EACH_FORM
def test_leeways_that_are_none(tmp_path: Path, form: str) -> None:
    """Negative or broken ones: the definition is not taken."""
    with StrictUpstream() as upstream, jwt_world(tmp_path, "sqlite", [jwt_api(form, "ok", upstream.port, {})], upstream) as world:
        target = "/tyk/apis" + ("/oas" if form == "oas" else "")
        signed = {"enabled": True, "signingMethod": "hmac", "source": b64(SECRET)}
        for name in ("issuedAtValidationSkew", "notBeforeValidationSkew", "expiresAtValidationSkew"):
            for value in (-1, 1.5, "5", True, 10**30):
                jwt_ = jwt_api(form, "new", upstream.port, {"signingMethod": "hmac", "source": b64(SECRET), name: value})
                external = external_api(form, "new", upstream.port, [{"jwt": {**signed, name: value}}])
                for definition in (jwt_, external):
                    status, answer = world.control("POST", target, definition)
                    assert status == 400 and answer["status"] == "error", (name, value)
        assert (
            world.control("POST", target, jwt_api(form, "new", upstream.port, {"signingMethod": "hmac", "source": b64(SECRET)}))[0] == 200
        )
