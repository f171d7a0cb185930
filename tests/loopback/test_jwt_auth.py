"""JWT over real sockets, on both forms and both stores: who gets in, as whom, with which policies, and each refusal."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from tests.support.certs import SERVER, Issued, make_authority
from tests.support.certs_api import CertsApi
from tests.support.control import policy_folder, rights
from tests.support.credentials import EACH_FORM, EACH_WORLD, running_world, told
from tests.support.gateway import Client, Gateway, StrictUpstream, classic, oas
from tests.support.provider import Provider, b64, sign_hmac

SECRET = b"0123456789abcdef0123456789abcdef"
POLICIES = {
    "gold": {"rate": 1000, "per": 1, "quota_max": 100, "quota_renewal_rate": 3600},
    "silver": {"rate": 1000, "per": 1, "quota_max": 50, "quota_renewal_rate": 3600},
}


def api(form: str, upstream: int, jwt_fields: dict[str, Any], api_id: str = "api") -> dict[str, Any]:
    """An API that takes JWT, from the words of a document's scheme."""
    if form == "oas":
        scheme = {"enabled": True, "header": {"enabled": True, "name": "Authorization"}, **jwt_fields}
        server = {"authentication": {"enabled": True, "securitySchemes": {"jwt": scheme}}}
        document = oas(api_id, upstream, f"/{api_id}/", server=server, middleware={"global": {"contextVariables": {"enabled": True}}})
        document["components"] = {"securitySchemes": {"jwt": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}}
        document["security"] = [{"jwt": []}]
        document["x-tyk-api-gateway"]["info"]["orgId"] = "org"
        return document
    names = {
        "source": "jwt_source",
        "signingMethod": "jwt_signing_method",
        "policyFieldName": "jwt_policy_field_name",
        "defaultPolicies": "jwt_default_policies",
        "identityBaseField": "jwt_identity_base_field",
        "skipKid": "jwt_skip_kid",
        "expiresAtValidationSkew": "jwt_expires_at_validation_skew",
    }
    fields: dict[str, Any] = {names[name]: value for name, value in jwt_fields.items() if name in names}
    if "scopes" in jwt_fields:
        mapping = {entry["scope"]: entry["policyId"] for entry in jwt_fields["scopes"]["scopeToPolicyMapping"]}
        fields["scopes"] = {"jwt": {"scope_claim_name": jwt_fields["scopes"].get("claimName", ""), "scope_to_policy": mapping}}
    return classic(api_id, upstream, f"/{api_id}/", use_keyless=False, enable_jwt=True, org_id="org", enable_context_vars=True, **fields)


def write_policies(folder: Path) -> dict[str, Any]:
    """Policies that open the API, and the configuration that names their folder."""
    for name, fields in POLICIES.items():
        policy = {"id": name, "org_id": "org", "access_rights": rights(), **fields}
        (policy_folder(folder) / f"{name}.json").write_text(json.dumps(policy))
    return {"policy_source": "file", "policy_path": str(folder / "policies")}


def server() -> Issued:
    return make_authority().issue("localhost", names=["localhost"], usages=SERVER)


def call(gateway: Gateway, method: str, target: str, body: Any = None) -> Any:
    """Make a call of the control API; the answer's JSON."""
    answer = CertsApi(gateway).call(method, target, b"" if body is None else json.dumps(body).encode())
    assert answer.status == 200, answer.body
    return json.loads(answer.body)


def ask(gateway: Gateway, token: str | None, **headers: str) -> tuple[int, str]:
    """Status and message that a bearer gets."""
    with Client(gateway.port, sni="localhost") as client:
        lines = [*headers.items()] + ([("Authorization", f"Bearer {token}")] if token is not None else [])
        return told(client.request("GET", "/api/x", headers=lines))


@EACH_WORLD
def test_a_token_of_a_shared_secret(tmp_path: Path, form: str, backend: str) -> None:
    """The policy that it names counts, defaults without one; the virtual session is an ordinary key of whom the token names."""
    fields = {"source": b64(SECRET), "signingMethod": "hmac", "policyFieldName": "pol", "defaultPolicies": ["silver"]}
    with (
        StrictUpstream() as upstream,
        running_world(tmp_path, backend, api(form, upstream.port, fields), server=server(), policies=write_policies(tmp_path)) as gateway,
    ):
        end = int(time.time()) + 300
        assert ask(gateway, sign_hmac({"sub": "alice", "pol": "gold", "exp": end}, SECRET))[0] == 200
        assert ask(gateway, sign_hmac({"sub": "bob", "exp": end}, SECRET))[0] == 200
        # Computed from the present token: silver now.
        assert ask(gateway, sign_hmac({"sub": "alice", "exp": end}, SECRET))[0] == 200
        unknown = sign_hmac({"sub": "alice", "pol": "tin", "exp": end}, SECRET)
        assert ask(gateway, unknown) == (403, "key not authorized: no matching policy")
        keys = call(gateway, "GET", "/tyk/keys")["keys"]
        sessions = {call(gateway, "GET", f"/tyk/keys/{key}")["alias"]: key for key in keys}
        assert set(sessions) == {"alice", "bob"}
        alice = call(gateway, "GET", f"/tyk/keys/{sessions['alice']}")
        assert alice["apply_policies"] == ["silver"] and alice["meta_data"]["TykJWTSessionID"] == sessions["alice"]
        assert alice["expires"] == end
        # Two of three requests passed as alice, one under each policy: one counter.
        assert alice["quota_remaining"] == 48
        # Its id is no key (decisions 3.3).
        assert ask(gateway, None, Authorization=sessions["alice"]) == (403, "Key not authorized")


@EACH_FORM
def test_each_refusal(tmp_path: Path, form: str) -> None:
    """JWT reference, section 10."""
    fields = {"source": b64(SECRET), "signingMethod": "HS256", "policyFieldName": "pol"}
    end = int(time.time()) + 300
    good = {"sub": "alice", "pol": "gold", "exp": end}
    with (
        StrictUpstream() as upstream,
        running_world(tmp_path, "sqlite", api(form, upstream.port, fields), server=server(), policies=write_policies(tmp_path)) as gateway,
    ):
        rows = [
            (None, 400, "Authorization field missing"),
            ("nonsense", 403, "Key not authorized"),
            (sign_hmac(good, b"another secret of thirty two bytes"), 403, "Key not authorized"),
            (sign_hmac(good, SECRET)[:-2], 403, "Key not authorized"),
            ("eyJhbGciOiJub25lIn0.e30.", 403, "Key not authorized: Unexpected signing method"),
            ("eyJhbGciOiJOb25lIn0.e30.", 403, "Key not authorized"),
            (sign_hmac({**good, "exp": 1}, SECRET), 401, "Key not authorized: token has expired"),
            (sign_hmac({**good, "exp": 0}, SECRET), 401, "Key not authorized: token has expired"),
            (sign_hmac({**good, "iat": end}, SECRET), 401, "Key not authorized: token used before issued"),
            (sign_hmac({**good, "nbf": end}, SECRET), 401, "Key not authorized: token is not valid yet"),
            (sign_hmac({"pol": "gold", "exp": end}, SECRET), 403, "no suitable claims for user ID were found"),
            (sign_hmac({"sub": "alice", "exp": end}, SECRET), 403, "key not authorized: no matching policy found"),
        ]
        for token, status, message in rows:
            assert ask(gateway, token) == (status, message), token
        assert upstream.requests == []
        assert ask(gateway, sign_hmac(good, SECRET))[0] == 200


@EACH_FORM
def test_keys_of_a_provider_and_their_rotation(tmp_path: Path, form: str) -> None:
    """RSA and EC keys by their ids, over verified TLS; a new key is found, and ten unknown ids cause no more than one fetch."""
    authority = make_authority()
    (tmp_path / "ca.pem").write_text(authority.pem)
    own = authority.issue("localhost", names=["localhost"], usages=SERVER)
    with StrictUpstream() as upstream, Provider(own, tmp_path) as provider:
        fields = {"source": f"{provider.url}/keys", "signingMethod": "rsa", "policyFieldName": "pol"}
        with running_world(
            tmp_path,
            "sqlite",
            api(form, upstream.port, fields),
            server=own,
            policies=write_policies(tmp_path),
            tlsgate={"upstream_ca": [str(tmp_path / "ca.pem")]},
        ) as gateway:
            assert ask(gateway, provider.token({"pol": "gold"}))[0] == 200
            assert provider.count("/keys") == 1  # asked for before the first request
            assert ask(gateway, provider.token({"pol": "gold"}, kid="ec", algorithm="ES256")) == (
                403,
                "Key not authorized: Unexpected signing method",
            )
            for number in range(10):
                assert ask(gateway, provider.token({"pol": "gold"}, header={"kid": f"x{number}"})) == (403, "Key not authorized")
            assert ask(gateway, provider.token({"pol": "gold"}))[0] == 200
            assert provider.count("/keys") == 1  # the least time between fetches has not passed


@EACH_WORLD
def test_individual_secrets(tmp_path: Path, form: str, backend: str) -> None:
    """``kid``, then ``sub`` (decisions 3.6); a key without a secret of its own never verifies anything."""
    with (
        StrictUpstream() as upstream,
        running_world(tmp_path, backend, api(form, upstream.port, {"signingMethod": "hmac"}), server=server()) as gateway,
    ):
        body = {"org_id": "org", "access_rights": rights(), "quota_max": 10, "quota_renewal_rate": 60}
        key = call(gateway, "POST", "/tyk/keys/alice", {**body, "jwt_data": {"secret": SECRET.decode()}})["key"]
        call(gateway, "POST", "/tyk/keys/bob", body)
        assert ask(gateway, sign_hmac({"sub": "x"}, SECRET, kid="alice"))[0] == 200
        assert ask(gateway, sign_hmac({"sub": "x"}, SECRET, kid=key))[0] == 200
        assert ask(gateway, sign_hmac({"sub": "alice"}, SECRET))[0] == 200
        assert ask(gateway, sign_hmac({"sub": "alice"}, SECRET, kid="nobody")) == (403, "Key not authorized")
        for name in ("bob", "nobody", 'alice"', "a" * 2000):
            for secret in (b"", SECRET):
                assert ask(gateway, sign_hmac({"sub": name}, secret, kid=name))[0] in (403, 431), name
        assert call(gateway, "GET", f"/tyk/keys/{key}")["quota_remaining"] == 7


def test_public_keys_never_become_secrets(tmp_path: Path) -> None:
    """The confusion of HMAC with RSA: the API is not even loaded with a public key as its secret."""
    authority = make_authority()
    source = b64(authority.pem)
    with (
        StrictUpstream() as upstream,
        running_world(tmp_path, "sqlite", api("classic", upstream.port, {"source": source, "signingMethod": "hmac"})) as gateway,
    ):
        with Client(gateway.port, tls=False) as client:
            assert client.request("GET", "/api/x").status == 503
        assert upstream.requests == []


@EACH_FORM
def test_large_numbers_reach_the_upstream_digit_by_digit(tmp_path: Path, form: str) -> None:
    """B48: claims in headers, through HMAC; text stays text, and no exponent appears."""
    definition = api(form, 0, {"source": b64(SECRET), "signingMethod": "hmac", "policyFieldName": "pol"})
    rows = [
        (123452342, "123452342"),
        (9007199254740993, "9007199254740993"),
        (-5, "-5"),
        (1.5, "1.5"),
        (1e21, "1" + "0" * 21),
        ("007", "007"),
    ]
    with StrictUpstream() as upstream:
        target = f"http://127.0.0.1:{upstream.port}/"
        if form == "classic":
            definition["proxy"]["target_url"] = target
            definition["version_data"]["versions"]["Default"]["global_headers"] = {"X-User": "$tyk_context.jwt_claims_uid"}
        else:
            extension = definition["x-tyk-api-gateway"]
            extension["upstream"]["url"] = target
            added = [{"name": "X-User", "value": "$tyk_context.jwt_claims_uid"}]
            extension["middleware"]["global"]["transformRequestHeaders"] = {"enabled": True, "add": added}
        with running_world(tmp_path, "sqlite", definition, server=server(), policies=write_policies(tmp_path)) as gateway:
            for uid, text in rows:
                token = sign_hmac({"sub": "alice", "pol": "gold", "uid": uid, "exp": int(time.time()) + 300}, SECRET)
                assert ask(gateway, token, **{"X-User": "mallory"})[0] == 200
                assert upstream.requests[-1].header("X-User") == text
