"""What the bearer of a JWT gets, over TLS, in both forms and on both stores: policies, sessions, secrets of its own."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.control import rights
from tests.support.credentials import EACH_FORM, EACH_WORLD
from tests.support.gateway import StrictUpstream
from tests.support.jwt_world import SECRET, JwtWorld, hmac_token, jwt_api, jwt_world
from tests.support.provider import Provider, b64, sign_hmac

HMAC = {"signingMethod": "hmac", "source": b64(SECRET)}
BY_CLAIM = {**HMAC, "policyFieldName": "pol"}
GOOD = (200, "")
NO_KEY = (403, "Key not authorized")
NO_MATCH = (403, "key not authorized: no matching policy")
NO_POLICY = (403, "key not authorized: no matching policy found")
NO_SCOPE = (403, "key not authorized: no matching policy found in scope claim")
NOTHING = (403, "key not authorized: no scope or policy in token")
MIX = "cannot apply multiple policies when some have per_api set and some are partitioned"
POLICIES: dict[str, dict[str, Any]] = {
    "gold": {"quota_max": 100, "quota_renewal_rate": 3600, "tags": ["g"], "meta_data": {"tier": "gold"}},
    "silver": {"quota_max": 50, "quota_renewal_rate": 3600},
    "other": {"org_id": "another"},
    "asleep": {"is_inactive": True},
    "elsewhere": {"access_rights": rights("elsewhere")},
    "short": {"key_expires_in": 3600},
    "perapi": {"partitions": {"per_api": True}},
    "part": {"partitions": {"quota": True, "rate_limit": True, "acl": True}},
}


def scopes(*names: str, **members: Any) -> dict[str, Any]:
    """Members of a scheme that map scopes ``NAME`` to the policy NAME."""
    return {"scopes": {**members, "scopeToPolicyMapping": [{"scope": f"s:{name}", "policyId": name} for name in names]}}


def policies_of(world: JwtWorld, alias: str) -> list[str]:
    found = world.sessions()[alias]["apply_policies"]
    assert isinstance(found, list)
    return found


@EACH_WORLD
def test_policies_of_a_token(tmp_path: Path, form: str, backend: str) -> None:
    """The claim, by path too; the client's; the defaults: each with its refusals (JWT reference, sections 8 and 10)."""
    with StrictUpstream() as upstream:
        schemes: dict[str, dict[str, Any]] = {
            "claim": BY_CLAIM,
            "path": {**HMAC, "policyFieldName": "app.pol"},
            "first": {**HMAC, "basePolicyClaims": ["p1", "p2"], "defaultPolicies": ["silver"]},
            "client": {**HMAC, "clientBaseField": "azp"},
            "both": {**HMAC, "policyFieldName": "pol", "clientBaseField": "azp"},
            "defaults": {**HMAC, "defaultPolicies": ["gold", "gone", "silver"]},
            "lost": {**HMAC, "defaultPolicies": ["gone", "gold"]},
            "single": {**HMAC, "defaultPolicies": ["gone"]},
            "mixed": {**HMAC, "defaultPolicies": ["perapi", "part"]},
        }
        apis = [jwt_api(form, name, upstream.port, scheme) for name, scheme in schemes.items()]
        with jwt_world(tmp_path, backend, apis, upstream, policies=POLICIES) as world:
            client = world.put_key("client", apply_policies=["silver"])
            free = world.put_key("free")
            rows: list[tuple[str, str, dict[str, Any], tuple[int, str]]] = [
                ("claim", "a1", {"pol": "gold"}, GOOD),
                ("claim", "a2", {"pol": "tin"}, NO_MATCH),
                ("claim", "a2", {"pol": "other"}, NO_MATCH),
                ("claim", "a2", {"pol": "asleep"}, (403, "Key is inactive, please renew")),
                ("claim", "a3", {"pol": "elsewhere"}, (403, "Access to this API has been disallowed")),
                ("path", "a4", {"app": {"pol": "gold"}}, GOOD),
                ("path", "a4", {"app.pol": "silver", "app": {"pol": "gold"}}, GOOD),
                ("path", "a5", {"app": "gold"}, NO_POLICY),
                ("first", "a6", {"p1": 7, "p2": "gold"}, GOOD),
                ("first", "a7", {"p1": ["gold"]}, GOOD),
                ("client", "a8", {"azp": client}, GOOD),
                ("client", "a9", {"azp": "nobody"}, NO_POLICY),
                ("client", "a9", {"azp": free}, NO_POLICY),
                ("client", "a9", {"azp": ["client"]}, NO_POLICY),
                ("both", "b1", {"azp": client, "pol": ...}, NO_POLICY),
                ("defaults", "b2", {}, GOOD),
                ("lost", "b3", {}, NO_MATCH),
                ("single", "b4", {}, (500, 'failed to create key: policy not found: "gone"')),
                ("mixed", "b5", {}, (500, f"failed to create key: {MIX}")),
                *(("claim", "b6", {"pol": value}, NO_POLICY) for value in (..., "", None, 7, True, ["gold"], {"a": "gold"})),
            ]
            for api, alias, claims, told in rows:
                assert world.ask(api, hmac_token({"sub": alias, **claims})) == told, (api, claims)
            sessions = world.sessions()
            expected = {"a1": ["gold"], "a4": ["silver"], "a6": ["gold"], "a7": ["silver"], "a8": ["silver"], "b2": ["gold", "silver"]}
            assert {alias: sessions[alias]["apply_policies"] for alias in expected} == expected
            assert not {"a5", "a9", "b1", "b3", "b4", "b5", "b6"} & set(sessions)
            assert sessions["a1"]["tags"] == ["g"] and sessions["a1"]["meta_data"]["tier"] == "gold"  # merged (BETTER)


@EACH_WORLD
def test_scopes_choose_policies(tmp_path: Path, form: str, backend: str) -> None:
    """A text is split at single blanks, elements of lists are not; unmapped ones say nothing; nothing of an earlier token stays."""
    with StrictUpstream() as upstream:
        schemes = {
            "plain": {**BY_CLAIM, **scopes("gold", "silver"), "defaultPolicies": ["short"]},
            "bare": {**BY_CLAIM, **scopes("gold", "silver")},
            "nested": {**HMAC, **scopes("gold", claimName="realm.roles")},
            "several": {**HMAC, **scopes("gold", "silver", claims=["none", "realm.roles"])},
            "mixed": {**HMAC, **scopes("perapi", "part")},
        }
        apis = [jwt_api(form, name, upstream.port, scheme) for name, scheme in schemes.items()]
        with jwt_world(tmp_path, backend, apis, upstream, policies=POLICIES) as world:
            rows: list[tuple[str, dict[str, Any], tuple[int, str], list[str] | None]] = [
                ("plain", {"scope": "s:gold x s:silver s:gold"}, GOOD, ["gold", "silver"]),
                ("plain", {"scope": ["s:silver", "s:gold x"]}, GOOD, ["silver"]),
                ("plain", {"scope": [["s:gold"], 7, "x"]}, GOOD, ["gold"]),
                ("plain", {"scope": "s:gold", "pol": "silver"}, GOOD, ["silver", "gold"]),
                ("plain", {"scope": "s:tin", "pol": "silver"}, GOOD, ["silver"]),
                ("plain", {"scope": "s:tin"}, NO_SCOPE, None),
                ("plain", {"scope": ""}, NO_SCOPE, None),
                ("plain", {"scope": "s:gold,s:silver"}, NO_SCOPE, None),
                ("plain", {"scope": []}, GOOD, ["short"]),
                ("plain", {"scope": 7}, GOOD, ["short"]),
                ("plain", {}, GOOD, ["short"]),
                ("plain", {"pol": "silver"}, GOOD, ["silver"]),
                ("bare", {"pol": "gold", "scope": "s:silver"}, GOOD, ["gold", "silver"]),
                ("bare", {"pol": "gold"}, GOOD, ["gold"]),
                ("bare", {}, NOTHING, None),
                ("nested", {"realm": {"roles": ["s:gold"]}}, GOOD, ["gold"]),
                ("nested", {"scope": "s:gold"}, NOTHING, None),
                ("several", {"realm": {"roles": ["s:silver"]}, "scope": "s:gold"}, GOOD, ["silver"]),
                ("several", {"scope": "s:gold"}, NOTHING, None),
                ("mixed", {"scope": "s:part"}, GOOD, ["part"]),
                ("mixed", {"scope": "s:part s:perapi"}, (403, "key not authorized: could not apply several policies"), None),
            ]
            assert world.ask("bare", hmac_token({"sub": "new", "pol": ...})) == NO_POLICY
            for api, claims, told, policies in rows:
                assert world.ask(api, hmac_token({"pol": ..., **claims})) == told, (api, claims)
                if policies is not None:
                    assert policies_of(world, "alice") == policies, (api, claims)
            assert set(world.sessions()) == {"alice"}


@EACH_WORLD
def test_the_end_of_a_session(tmp_path: Path, form: str, backend: str) -> None:
    """Raised to the latest token, never lowered; the policy's own end counts; a leeway reaches the session (the seed)."""
    now = int(time.time())
    with StrictUpstream() as upstream:
        apis = [
            jwt_api(form, "api", upstream.port, BY_CLAIM),
            jwt_api(
                form,
                "late",
                upstream.port,
                {**BY_CLAIM, "expiresAtValidationSkew": 500, "issuedAtValidationSkew": 90, "notBeforeValidationSkew": 60},
            ),
        ]
        with jwt_world(tmp_path, backend, apis, upstream, policies=POLICIES) as world:
            for end, stored in ((now + 100, now + 100), (now + 200, now + 200), (now + 150, now + 200)):
                assert world.ask("api", hmac_token({"exp": end})) == GOOD
                assert world.sessions()["alice"]["expires"] == stored
            assert world.ask("api", hmac_token({"sub": "bob", "pol": "short"})) == GOOD
            assert now + 3600 <= world.sessions()["bob"]["expires"] <= now + 3700
            assert world.ask("api", hmac_token({"sub": "carl", "exp": ...})) == GOOD
            assert world.sessions()["carl"]["expires"] == 0
            ended = hmac_token({"sub": "dora", "exp": now - 100, "iat": now + 60, "nbf": now + 30})
            assert world.ask("api", ended)[0] == 401
            assert world.ask("late", ended) == world.ask("late", ended) == GOOD
            assert world.sessions()["dora"]["expires"] == now + 400
            assert world.ask("late", hmac_token({"exp": now - 500})) == (401, "Key not authorized: token has expired")
            assert world.ask("late", hmac_token({"iat": now + 400})) == (401, "Key not authorized: token used before issued")
            assert world.ask("late", hmac_token({"nbf": now + 400})) == (401, "Key not authorized: token is not valid yet")


@EACH_WORLD
def test_a_user_that_was_removed_and_policies_that_changed(tmp_path: Path, form: str, backend: str) -> None:
    """The next token makes the session anew; an edited policy counts at once, for tokens that were verified before too."""
    with StrictUpstream() as upstream:
        apis = [jwt_api(form, "api", upstream.port, BY_CLAIM)]
        with jwt_world(tmp_path, backend, apis, upstream, policies=POLICIES) as world:
            token = hmac_token()
            for _ in range(3):
                assert world.ask("api", token) == GOOD
            alice = world.sessions()["alice"]
            assert alice["quota_remaining"] == 97 and alice["key"] == "org" + hashlib.md5(b"alice").hexdigest()
            assert world.control("DELETE", f"/tyk/keys/{alice['key']}")[0] == 200
            assert world.sessions() == {}
            assert world.ask("api", token) == GOOD
            assert world.sessions()["alice"]["quota_max"] == 100

            world.write_policy("gold", quota_max=7, quota_renewal_rate=3600)
            world.gateway.reload()
            assert world.ask("api", token) == GOOD
            assert world.sessions()["alice"]["quota_max"] == 7
            world.write_policy("gold", is_inactive=True)
            world.gateway.reload()
            assert world.ask("api", token) == (403, "Key is inactive, please renew")
            world.write_policy("gold", access_rights=rights("elsewhere"))
            world.gateway.reload()
            assert world.ask("api", token) == (403, "Access to this API has been disallowed")
            (tmp_path / "policies" / "gold.json").unlink()
            world.gateway.reload()
            assert world.ask("api", token) == NO_MATCH
            world.write_policy("gold")
            world.gateway.reload()
            assert world.ask("api", token) == GOOD


@EACH_WORLD
def test_ids_of_sessions_under_hashed_keys(tmp_path: Path, form: str, backend: str) -> None:
    """Tyk's form; only the hash is stored, and the id is no credential."""
    with StrictUpstream() as upstream:
        api = jwt_api(form, "api", upstream.port, BY_CLAIM, with_token="either")
        config: dict[str, Any] = {"hash_keys": True, "hash_key_function": "sha256", "enable_hashed_keys_listing": True}
        with jwt_world(tmp_path, backend, [api], upstream, policies=POLICIES, **config) as world:
            token = hmac_token()
            assert world.ask("api", token) == world.ask("api", token) == GOOD
            part = hashlib.md5(b"alice").hexdigest()
            id = base64.b64encode(f'{{"org":"org","id":"{part}","h":"sha256"}}'.encode()).decode()
            assert world.control("GET", "/tyk/keys")[1]["keys"] == [hashlib.sha256(id.encode()).hexdigest()]
            assert world.control("GET", f"/tyk/keys/{id}")[1]["alias"] == "alice"
            for credential in (id, part, hashlib.sha256(id.encode()).hexdigest()):
                assert world.ask("api", None, ("X-Key", credential))[0] == 403


@EACH_WORLD
def test_the_client_of_a_token(tmp_path: Path, form: str, backend: str) -> None:
    """``clientId``, ``cid``, ``client_id``: the first that is a text, unless that is switched off."""
    with StrictUpstream() as upstream:
        apis = [
            jwt_api(form, "on", upstream.port, BY_CLAIM),
            jwt_api(form, "off", upstream.port, {**BY_CLAIM, "idpClientIdMappingDisabled": True}),
        ]
        with jwt_world(tmp_path, backend, apis, upstream, policies=POLICIES) as world:
            rows: list[tuple[str, dict[str, Any], str]] = [
                ("on", {"client_id": "c3", "cid": "c2", "clientId": "c1"}, "c1"),
                ("on", {"client_id": "c3", "cid": ["c2"], "clientId": 7}, "c3"),
                ("on", {"client_id": {"a": 1}}, ""),
                ("off", {"client_id": "c3"}, ""),
            ]
            for api, claims, client in rows:
                assert world.ask(api, hmac_token(claims)) == GOOD
                assert world.sessions()["alice"]["oauth_client_id"] == client, claims


# Secrets of keys (section 9).


@EACH_WORLD
def test_secrets_of_keys(tmp_path: Path, form: str, backend: str) -> None:
    """``kid``, then ``sub``; ``skipKid``; PEM for public keys; without a method the secret itself tells; the key's session as it is."""
    with StrictUpstream() as upstream, Provider() as provider:
        schemes: dict[str, dict[str, Any]] = {
            "hmac": {"signingMethod": "hmac"},
            "skip": {"signingMethod": "hmac", "skipKid": True},
            "named": {"signingMethod": "hmac", "skipKid": True, "identityBaseField": "user"},
            "rsa": {"signingMethod": "rsa"},
            "blank": {},
        }
        apis = [jwt_api(form, name, upstream.port, scheme) for name, scheme in schemes.items()]
        pem = provider.keys["rsa"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        with jwt_world(tmp_path, backend, apis, upstream, policies=POLICIES) as world:
            whole = world.put_key("alice", jwt_data={"secret": SECRET.decode()}, quota_max=1000, quota_renewal_rate=60)
            world.put_key("rsauser", jwt_data={"secret": pem})
            world.put_key("plain")
            world.put_key("empty", jwt_data={"secret": ""})
            status, answer = world.control(
                "POST",
                "/tyk/keys/foreign",
                {"org_id": "another", "access_rights": rights(*world.apis), "jwt_data": {"secret": SECRET.decode()}},
            )
            assert status == 200, answer

            for kid in ("alice", whole):
                assert world.ask("hmac", sign_hmac({"sub": "x"}, SECRET, kid=kid)) == GOOD
            assert world.ask("hmac", sign_hmac({"sub": "alice"}, SECRET)) == GOOD
            assert world.ask("hmac", sign_hmac({"sub": "alice"}, SECRET, kid=7)) == GOOD  # no text, so no name
            for kid in ("unrelated", "", "a" * 600):
                assert world.ask("hmac", sign_hmac({"sub": "alice"}, SECRET, kid=kid)) == NO_KEY, kid
            assert world.ask("skip", sign_hmac({"sub": "alice"}, SECRET, kid="unrelated")) == GOOD
            assert world.ask("skip", sign_hmac({"sub": "x"}, SECRET, kid="alice")) == NO_KEY
            assert world.ask("named", sign_hmac({"user": "alice", "sub": "x"}, SECRET)) == GOOD
            for name in ("plain", "empty", "foreign", str(answer["key"]), "nobody", "al", "", "../alice", "alice\0", '","id":"alice'):
                for secret in (b"", SECRET):
                    assert world.ask("hmac", sign_hmac({"sub": name}, secret, kid=name)) == NO_KEY, name
            assert world.ask("hmac", sign_hmac({"sub": "alice", "exp": 1}, SECRET))[0] == 401

            assert world.ask("rsa", provider.token(header={"kid": "rsauser"})) == GOOD
            assert world.ask("rsa", sign_hmac({"sub": "rsauser"}, pem.encode())) == (403, NO_KEY[1] + ": Unexpected signing method")
            assert world.ask("hmac", sign_hmac({"sub": "rsauser"}, pem.encode())) == NO_KEY
            assert world.ask("blank", provider.token(header={"kid": "rsauser"})) == GOOD
            assert world.ask("blank", sign_hmac({"sub": "alice"}, SECRET)) == GOOD
            assert world.ask("blank", sign_hmac({"sub": "rsauser"}, pem.encode())) == (403, NO_KEY[1] + ": Unexpected signing method")
            # Claims of policies and ends of tokens mean nothing to such a key.
            assert world.ask("hmac", sign_hmac({"sub": "alice", "pol": "tin", "exp": int(time.time()) + 60}, SECRET)) == GOOD
            alice = world.control("GET", f"/tyk/keys/{whole}")[1]
            assert alice["quota_remaining"] == 1000 - 8 and not alice.get("expires") and not alice.get("apply_policies")
            # Its secret is taken back at once.
            world.put_key("alice", jwt_data={"secret": "another secret of thirty-two bytes"})
            assert world.ask("hmac", sign_hmac({"sub": "alice"}, SECRET)) == NO_KEY


# With other methods (section 1).


@EACH_WORLD
def test_a_jwt_and_a_key(tmp_path: Path, form: str, backend: str) -> None:
    """Both have to pass, the JWT first; limits are those of the base identity."""
    with StrictUpstream() as upstream:
        apis = [
            jwt_api(form, "bykey", upstream.port, BY_CLAIM, with_token="both", base="auth_token"),
            jwt_api(form, "byjwt", upstream.port, BY_CLAIM, with_token="both", base="jwt_claim"),
            jwt_api(form, "byenum", upstream.port, BY_CLAIM, with_token="both", base="JWTClaim"),
            jwt_api(form, "own", upstream.port, {"signingMethod": "hmac"}, with_token="both", base="auth_token"),
        ]
        with jwt_world(tmp_path, backend, apis, upstream, policies=POLICIES) as world:
            key = world.put_key("partner-key", quota_max=1000, quota_renewal_rate=60, alias="partner")
            world.put_key("signer", jwt_data={"secret": SECRET.decode()}, quota_max=10, quota_renewal_rate=60, alias="signer")
            token = hmac_token()
            for api in ("bykey", "byjwt"):
                assert world.ask(api, None) == world.ask(api, None, ("X-Key", key)) == (400, "Authorization field missing")
                assert world.ask(api, "junk") == world.ask(api, "junk", ("X-Key", key)) == NO_KEY
                assert world.ask(api, token) == (401, "Authorization field missing")
                assert world.ask(api, token, ("X-Key", "junk")) == (403, "Access to this API has been disallowed")
                assert world.ask(api, hmac_token({"exp": 1}), ("X-Key", key))[0] == 401
            assert upstream.requests == []
            assert world.ask("bykey", token, ("X-Key", key)) == GOOD
            assert world.sessions()["partner"]["quota_remaining"] == 999
            assert world.sessions()["alice"]["quota_remaining"] == 0  # never counted
            for api in ("byjwt", "byenum"):
                assert world.ask(api, token, ("X-Key", key)) == GOOD
            assert world.sessions()["partner"]["quota_remaining"] == 999
            assert world.sessions()["alice"]["quota_remaining"] == 98
            assert world.ask("own", sign_hmac({"sub": "signer"}, SECRET), ("X-Key", key)) == GOOD
            assert world.sessions()["signer"]["quota_remaining"] == 0  # never counted
            assert world.sessions()["partner"]["quota_remaining"] == 998


@EACH_WORLD
def test_a_jwt_or_a_key(tmp_path: Path, form: str, backend: str) -> None:
    """The first that passes counts; who fails both is told of the last."""
    with StrictUpstream() as upstream:
        apis = [jwt_api(form, "api", upstream.port, BY_CLAIM, with_token="either")]
        with jwt_world(tmp_path, backend, apis, upstream, policies=POLICIES) as world:
            key = world.put_key("partner-key", alias="partner", quota_max=10, quota_renewal_rate=60)
            assert world.ask("api", hmac_token()) == GOOD
            assert world.ask("api", None, ("X-Key", key)) == GOOD
            assert world.ask("api", "junk", ("X-Key", key)) == GOOD
            assert world.ask("api", hmac_token({"exp": 1}), ("X-Key", key)) == GOOD
            assert world.ask("api", hmac_token(), ("X-Key", "junk")) == GOOD
            served = len(upstream.requests)
            assert world.ask("api", None)[0] in (400, 401)
            assert world.ask("api", "junk", ("X-Key", "junk"))[0] == 403
            assert world.ask("api", hmac_token({"exp": 1}))[0] in (401, 403)
            assert len(upstream.requests) == served
            assert world.sessions()["partner"]["quota_remaining"] == 7
            assert world.sessions()["alice"]["quota_remaining"] == 98


# Messages, flags, context (sections 10 and 11).


@EACH_FORM
def test_messages_and_flags(tmp_path: Path, form: str) -> None:
    """``override_messages`` by our ids; ``error_overrides`` see AMF, TKI, TKE, TCV and TPN."""
    messages = {"jwt.key": {"message": "no"}, "jwt.expired": {"code": 419}, "jwt.no_matching_policy": {"code": 402, "message": "pay"}}
    hints = {
        str(status): [{"match": {"flag": flag}, "response": {"headers": {"X-Hint": flag}}} for flag in flags]
        for status, flags in {400: ["AMF"], 401: ["TKE", "TCV"], 402: ["TPN"], 403: ["TKI", "TCV", "TPN"], 419: ["TKE"]}.items()
    }
    with StrictUpstream() as upstream:
        apis = [jwt_api(form, "api", upstream.port, {**BY_CLAIM, "jtiValidation": {"enabled": True}})]
        with jwt_world(tmp_path, "sqlite", apis, upstream, policies=POLICIES, override_messages=messages, error_overrides=hints) as world:
            rows: list[tuple[str | None, int, str, str]] = [
                (None, 400, "Authorization field missing", "AMF"),
                ("junk", 403, "no", "TKI"),
                (hmac_token({"jti": "1", "exp": 1}), 419, "Key not authorized: token has expired", "TKE"),
                (hmac_token(), 401, "Key not authorized: JWT ID (jti) claim is required but not present in token", "TCV"),
                (hmac_token({"jti": "1", "sub": 7}), 403, "no suitable claims for user ID were found", "TCV"),
                (hmac_token({"jti": "1", "pol": "tin"}), 402, "pay", "TPN"),
                (hmac_token({"jti": "1", "pol": ...}), 403, NO_POLICY[1], "TPN"),
                ("eyJhbGciOiJub25lIn0.e30.", 403, "Key not authorized: Unexpected signing method", "TKI"),
            ]
            for token, status, message, flag in rows:
                response = world.send("api", *([("Authorization", f"Bearer {token}")] if token else []))
                assert (response.status, json.loads(response.body)["error"]) == (status, message)
                assert response.headers.get("x-hint") == flag, (token, flag)


@EACH_FORM
def test_an_error_in_xml(tmp_path: Path, form: str) -> None:
    """Where the request speaks it."""
    with StrictUpstream() as upstream, jwt_world(tmp_path, "sqlite", [jwt_api(form, "api", upstream.port, BY_CLAIM)], upstream) as world:
        for kind in ("application/xml", "text/xml", "application/soap+xml"):
            response = world.send("api", ("Authorization", "junk"), ("Content-Type", kind))
            assert response.status == 403 and b"<error>Key not authorized</error>" in response.body
            assert "xml" in response.headers["content-type"]


@EACH_FORM
def test_claims_as_variables(tmp_path: Path, form: str) -> None:
    """Header members, claims over them; lists escaped and joined; no line break reaches a header; a client's own copy never does."""
    names = ("alg", "typ", "sub", "list", "yes", "nil", "deep", "evil", "none", "kid")
    headers = {f"X-{name}": f"$tyk_context.jwt_claims_{name}" for name in names} | {"X-Token": "$tyk_context.token"}
    headers["X-Session"] = "$tyk_meta.TykJWTSessionID"
    with StrictUpstream() as upstream:
        apis = [
            jwt_api(form, "central", upstream.port, BY_CLAIM, headers=headers),
            jwt_api(form, "own", upstream.port, {"signingMethod": "hmac"}, headers=headers),
        ]
        with jwt_world(tmp_path, "sqlite", apis, upstream) as world:
            key = world.put_key("kidname", jwt_data={"secret": SECRET.decode()})
            claims = {"typ": "claim", "list": ["a b", "c,d", 7], "yes": True, "nil": None, "deep": {"a": 1}, "evil": "a\r\nX-Evil: 1"}
            token = hmac_token(claims, kid="kidname")
            for api in ("central", "own"):
                for _ in range(2):  # verified now, and a moment ago
                    assert world.ask(api, token, ("X-sub", "mallory"), ("X_Sub", "mallory")) == GOOD
                    request = world.upstream.requests[-1]
                    assert b"mallory" not in request.raw_head
                    assert [request.header(f"X-{name}") for name in ("alg", "typ", "sub", "kid")] == ["HS256", "claim", "alice", "kidname"]
                    assert request.header("X-list") == "a+b,c%2Cd,7"
                    assert request.header("X-yes") == "true"
                    assert not request.header("X-nil") and not request.header("X-deep") and not request.header("X-none")
                    assert request.header("X-Evil") not in ("1", None) and "X-Evil: 1" not in request.raw_head.decode().splitlines()
            session = "org" + hashlib.md5(b"alice").hexdigest()
            assert key == "orgkidname" and world.ask("central", token) == GOOD
            assert world.seen("X-Session") == world.seen("X-Token") == session
