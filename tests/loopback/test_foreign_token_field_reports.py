"""Field reports about tokens of others, replayed on a running gateway in both forms, with JWT, OpenID and External OAuth where they apply.

Source: field reports B21, B48, B50, B52, B54 (reference). What else there is of them: OpenID with numbers and with ids of keys in
``test_openid``; names of upstreams in ``test_upstream_tls``; B55 is of a gateway that issues tokens itself.
"""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from tests.support.certs import SERVER
from tests.support.credentials import EACH_FORM
from tests.support.foreign_tokens import METHODS, external_api, foreign_apis, introspect, openid_api, token_for
from tests.support.forged import token_of
from tests.support.gateway import StrictUpstream
from tests.support.hosts import host_names
from tests.support.jwt_world import AUTHORITY, OWN, SECRET, hmac_token, jwt_api, jwt_world
from tests.support.provider import Provider, b64

GOOD = (200, "")
NO_KEY = (403, "Key not authorized")
DENIED = (401, "Key not authorised")
SIGNATURE = (401, "token verification failed: signature is invalid")

NUMBERS = {
    "123452342": "123452342",
    "9007199254740993": "9007199254740993",
    "18446744073709551617": "18446744073709551617",
    "-9223372036854775809": "-9223372036854775809",
    "123456789012345678901234567890123456789": "123456789012345678901234567890123456789",
    "-5": "-5",
    "0": "0",
    "1.5": "1.5",
    "1e21": "1" + "0" * 21,
    "1E+2": "100",
    '"007"': "007",
    '"9007199254740993"': "9007199254740993",
    '"1e21"': "1e21",
    "[9007199254740993, 7]": "9007199254740993,7",
}
"""JSON of a claim, and what the upstream has to see."""


@EACH_FORM
@pytest.mark.parametrize("way", ["hmac", "rsa", "own secret"])
def test_numbers_of_claims_reach_the_upstream_digit_by_digit(tmp_path: Path, form: str, way: str) -> None:
    """B48: ``$tyk_context.jwt_claims_uid`` in a header, by shared secret, key set and secrets of keys; verified now and a moment ago.

    Rewrites of addresses by claims are refused when such an API is loaded (``docs/parity.md``).
    """
    with StrictUpstream() as upstream, Provider(OWN, tmp_path) as provider:
        schemes: dict[str, dict[str, Any]] = {
            "hmac": {"signingMethod": "hmac", "source": b64(SECRET), "policyFieldName": "pol"},
            "rsa": {"signingMethod": "rsa", "source": f"{provider.url}/keys", "policyFieldName": "pol"},
            "own secret": {"signingMethod": "hmac"},
        }
        api = jwt_api(form, "api", upstream.port, schemes[way], headers={"X-User": "$tyk_context.jwt_claims_uid"})
        with jwt_world(tmp_path, "sqlite", [api], upstream) as world:
            world.put_key("alice", jwt_data={"secret": SECRET.decode()})
            for number, seen in NUMBERS.items():
                claims = f'{{"sub": "alice", "pol": "gold", "exp": {int(time.time()) + 300}, "uid": {number}}}'
                if way == "rsa":
                    token = token_of({"alg": "RS256", "kid": "rsa"}, claims, provider.keys["rsa"], "RS256")
                else:
                    token = token_of({"alg": "HS256"}, claims, SECRET, "HS256")
                for _ in range(2):
                    assert world.ask("api", token, ("X-User", "mallory")) == GOOD, number
                    assert world.seen("X-User") == seen, number


def key_of(private: Any, **members: Any) -> dict[str, Any]:
    made: dict[str, Any] = RSAAlgorithm.to_jwk(private.public_key(), as_dict=True)
    made.pop("key_ops", None)
    return {**made, **members}


@EACH_FORM
def test_keys_and_tokens_without_an_id(tmp_path: Path, form: str) -> None:
    """B50: JWT and External OAuth want a text that a key has; OpenID takes the first key for a token without one; nothing is dropped.

    A member without an id never keeps the others from serving.
    """
    one, two = rsa.generate_private_key(65537, 2048), rsa.generate_private_key(65537, 2048)
    sets = {
        "bare": [key_of(one)],
        "null": [key_of(one, kid=None)],
        "number": [key_of(one, kid=7)],
        "empty": [key_of(one, kid="")],
        "first": [key_of(one), key_of(two, kid="two")],
        "second": [key_of(two, kid="two"), key_of(one)],
    }
    with StrictUpstream() as upstream, Provider(OWN, tmp_path) as provider:
        apis = []
        for name, keys in sets.items():
            provider.pages[f"/{name}"] = 200, json.dumps({"keys": keys}).encode()
            url = f"{provider.url}/{name}"
            issuer = provider.discover(f"/{name}-issuer", jwks_uri=url)
            apis += [
                jwt_api(form, f"jwt-{name}", upstream.port, {"signingMethod": "rsa", "source": url, "policyFieldName": "pol"}),
                openid_api(form, f"oidc-{name}", upstream.port, [{"issuer": issuer, "clients": {"web": "gold"}}]),
                external_api(form, f"ext-{name}", upstream.port, [{"jwt": {"enabled": True, "signingMethod": "rsa", "source": url}}]),
            ]
        with jwt_world(tmp_path, "sqlite", apis, upstream) as world:
            for name in sets:
                claims = {
                    "sub": "alice",
                    "pol": "gold",
                    "aud": "web",
                    "iss": f"{provider.url}/{name}-issuer",
                    "exp": int(time.time()) + 300,
                }
                for kid in (..., "", None, 7, 7.0, True, [], {}, "two", "gone"):
                    header = {"alg": "RS256"} if kid is ... else {"alg": "RS256", "kid": kid}
                    for signer in (one, two):
                        token = token_of(header, claims, signer, "RS256")
                        named = kid == "two" and signer is two and name in ("first", "second")
                        # An empty id is a text that a key may have.
                        named = named or (kid == "" and name == "empty" and signer is one)
                        assert world.ask(f"jwt-{name}", token) == (GOOD if named else NO_KEY), (name, kid)
                        assert world.ask(f"ext-{name}", token) == (GOOD if named else SIGNATURE), (name, kid)
                        first = signer is (two if name == "second" else one)
                        known = (kid in (..., "") and first) or named
                        assert world.ask(f"oidc-{name}", token) == (GOOD if known else DENIED), (name, kid)


@EACH_FORM
@pytest.mark.parametrize("slash", ["", "/"])
def test_the_slash_at_the_end_of_an_issuer(tmp_path: Path, form: str, slash: str) -> None:
    """B52: found at one address either way, with one slash; ``iss`` is compared as it is written, with ``allowedIssuers`` too."""
    other = "" if slash else "/"
    with StrictUpstream() as upstream, Provider(OWN, tmp_path) as provider:
        issuer = provider.discover(f"/app{slash}")
        base = issuer.removesuffix("/")
        scheme = {"signingMethod": "rsa", "source": f"{provider.url}/keys", "policyFieldName": "pol", "allowedIssuers": [issuer]}
        apis = [
            openid_api(form, "oidc", upstream.port, [{"issuer": issuer, "clients": {"web": "gold"}}]),
            jwt_api(form, "jwt", upstream.port, scheme),
        ]
        with jwt_world(tmp_path, "sqlite", apis, upstream) as world:
            good = token_for(provider, {"iss": base + slash})
            assert world.ask("oidc", good) == world.ask("jwt", good) == GOOD
            for spelling in (
                base + other,
                base + slash + "/",
                base.replace("localhost", "LOCALHOST") + slash,
                f" {base}{slash}",
                provider.url,
            ):
                token = token_for(provider, {"iss": spelling})
                assert world.ask("oidc", token) == DENIED, spelling
                assert world.ask("jwt", token) == (401, f"Key not authorized: invalid issuer claim: {spelling}")
            assert len(upstream.requests) == 2
        asked = {path for _, path, _, _ in provider.asked}
        assert asked == {"/app/.well-known/openid-configuration", "/keys"}


@EACH_FORM
@pytest.mark.parametrize("san", ["exact", "wildcard"])
@pytest.mark.parametrize("host", ["my_idp.up.test", "xn--bcher-kva.up.test", "ab--cd.up.test"])
def test_names_of_providers_that_no_registry_would_sell(tmp_path: Path, form: str, host: str, san: str) -> None:
    """B21: for key sets, discovery and introspection, with a certificate of that very name or a wildcard."""
    issued = AUTHORITY.issue("idp", names=[host if san == "exact" else "*.up.test"], usages=SERVER)
    with StrictUpstream() as upstream, Provider(issued, tmp_path) as provider, host_names(host):
        provider.url = f"https://{host}:{provider.port}"
        introspect(provider)
        with jwt_world(tmp_path, "sqlite", foreign_apis(form, upstream.port, provider), upstream) as world:
            token = token_for(provider)
            for method in METHODS:
                assert world.ask(method, token) == GOOD, method
        assert {headers["host"] for _, _, _, headers in provider.asked} == {f"{host}:{provider.port}"}


@EACH_FORM
def test_id_and_secret_of_a_client_in_http_basic(tmp_path: Path, form: str) -> None:
    """B54, where the gateway is the client: each in the form encoding (RFC 6749, 2.3.1), a literal ``%41`` too; else in the form, once."""
    pairs = [("$s6BhdRkqt3@", "$7Fj+ZB r%41@"), ("a:b", "c:d%"), ("me", "%41"), ("ü", "é +")]
    with StrictUpstream() as upstream, Provider(OWN, tmp_path) as provider:
        introspect(provider, {"good": {"active": True, "sub": "alice"}})
        apis = []
        for number, (client, secret) in enumerate(pairs):
            fields = {"enabled": True, "url": f"{provider.url}/introspect", "clientId": client, "clientSecret": secret}
            apis.append(
                external_api(form, f"basic{number}", upstream.port, [{"introspection": fields}], client_authentication="basic"),
            )
            apis.append(external_api(form, f"form{number}", upstream.port, [{"introspection": fields}]))
        with jwt_world(tmp_path, "sqlite", apis, upstream) as world:
            for number, (client, secret) in enumerate(pairs):
                assert world.ask(f"basic{number}", "good") == GOOD
                _, _, body, headers = provider.asked[-1]
                line = base64.b64decode(headers["authorization"].removeprefix("Basic ")).decode()
                assert line.isascii() and line.count(":") == 1
                assert tuple(unquote_plus(part) for part in line.split(":")) == (client, secret)
                assert body == b"token=good"
                assert world.ask(f"form{number}", "good") == GOOD
                _, _, body, headers = provider.asked[-1]
                sent = dict(part.split("=") for part in body.decode().split("&"))
                assert "authorization" not in headers
                assert {name: unquote_plus(value) for name, value in sent.items()} == {
                    "client_id": client,
                    "client_secret": secret,
                    "token": "good",
                }


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Pacific/Auckland"])
def test_dates_do_not_depend_on_the_time_zone(tmp_path: Path, zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """B17's kind: ``exp``, ``nbf`` and ``iat`` mean the same everywhere, and so does the end of a session."""
    monkeypatch.setenv("TZ", zone)
    with StrictUpstream() as upstream:
        scheme = {"signingMethod": "hmac", "source": b64(SECRET), "policyFieldName": "pol"}
        with jwt_world(tmp_path, "sqlite", [jwt_api("classic", "api", upstream.port, scheme)], upstream) as world:
            now = int(time.time())
            assert world.ask("api", hmac_token({"exp": now + 240, "nbf": now - 5, "iat": now - 5})) == GOOD
            assert world.sessions()["alice"]["expires"] == now + 240
            for claims in ({"exp": now - 5}, {"nbf": now + 240}, {"iat": now + 240}):
                assert world.ask("api", hmac_token(claims))[0] == 401, claims
