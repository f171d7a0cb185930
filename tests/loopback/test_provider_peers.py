"""Providers that others have written, over TLS, and the tokens that they sign: ``oidc-provider`` of npm, ``oidc-provider-mock``."""

from __future__ import annotations

import base64
import functools
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from joserfc.jwk import ECKey, OKPKey, RSAKey

from tests.loopback.test_external_oauth import api as external_api
from tests.loopback.test_openid import api as openid_api
from tests.support.bound import thumbprint_of
from tests.support.certs import make_authority
from tests.support.credentials import EACH_FORM, told
from tests.support.gateway import Client, StrictUpstream, free_port
from tests.support.jwt_world import OWN, JwtWorld, jwt_api, jwt_world
from tests.support.npm import needs_node_20
from tests.support.peers import REDIRECT, OidcProvider, Peer, mock_provider, oidc_provider
from tests.support.proofs import Prover, hash_token
from tests.support.provider import b64

SECRET = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
FAMILIES = {"HS": "hmac", "RS": "rsa", "PS": "rsa", "ES": "ecdsa", "Ed": "eddsa"}
ALGORITHMS = ["HS256", "HS512", "RS256", "RS512", "PS256", "PS384", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]
DENIED = (401, "Key not authorised")
HOLDERS = make_authority("Holders")
HOLDER, OTHER = HOLDERS.issue("holder"), HOLDERS.issue("other")


def private(key: Any, kid: str, **members: str) -> dict[str, Any]:
    """Return a private JWK."""
    return {**key.as_dict(private=True), "kid": kid, "use": "sig", **members}


@functools.cache
def rsa(number: int) -> RSAKey:
    return RSAKey.generate_key(2048)


def all_keys() -> list[dict[str, Any]]:
    """Return one of each kind, private."""
    curves = [private(ECKey.generate_key(curve), curve) for curve in ("P-256", "P-384", "P-521")]
    return [private(rsa(0), "rsa"), *curves, private(OKPKey.generate_key("Ed25519"), "edwards")]


def client(name: str, **fields: Any) -> dict[str, Any]:
    """Return a client's metadata."""
    return {
        "client_id": name,
        "client_secret": f"secret of {name}",
        "grant_types": ["client_credentials", "authorization_code"],
        "redirect_uris": [REDIRECT],
        "token_endpoint_auth_method": "client_secret_post",
        **fields,
    }


SIGNED = ["RS256", "PS256", "ES256", "ES512", "EdDSA", "Ed25519"]
"""Of ID tokens, each by a client of its own."""
CLIENTS = [
    client("shop"),
    client("other"),
    client("holder", tls_client_certificate_bound_access_tokens=True),
    *(client(f"shop-{name}", id_token_signed_response_alg=name) for name in SIGNED),
]


class World(NamedTuple):
    provider: OidcProvider
    gateway: JwtWorld


def apis_of(form: str, upstream: int, issuer: str) -> list[dict[str, Any]]:
    """Of each method that takes tokens that a provider signs."""
    made = []
    scopes = {
        "claims": ["scope"],
        "scopeToPolicyMapping": [{"scope": "write", "policyId": "gold"}, {"scope": "read", "policyId": "silver"}],
    }
    own = {"client_certificates": {"ask_for_bound_keys": True}}
    for family in sorted({*FAMILIES.values()}):
        scheme = {
            "source": b64(SECRET) if family == "hmac" else f"{issuer}/jwks",
            "signingMethod": family,
            "scopes": scopes,
            "allowedIssuers": [issuer],
            "allowedAudiences": [f"urn:jwt:{name}" for name in ALGORITHMS],
        }
        made.append(jwt_api(form, f"{form}-{family}", upstream, scheme, own=own))
    fields = {"enabled": True, "source": f"{issuer}/jwks", "signingMethod": "ecdsa", "identityBaseField": "holder.name"}
    made.append(external_api(form, upstream, [{"jwt": fields}], f"{form}-external"))
    made[-1]["x-tlsgate"] = own | {"jwt": {"forward_claims": {"X-User": "holder.name"}}}
    clients = {"shop": "gold", **{f"shop-{name}": "silver" for name in SIGNED}}
    made.append(openid_api(form, upstream, {issuer: clients}, api_id=f"{form}-openid"))
    return made


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One provider and one gateway with all methods in both forms."""
    folder = tmp_path_factory.mktemp("peers")
    with StrictUpstream() as upstream, oidc_provider(OWN, all_keys(), CLIENTS, secret=SECRET) as provider:
        apis = [each for form in ("classic", "oas") for each in apis_of(form, upstream.port, provider.issuer)]
        with jwt_world(folder, "sqlite", apis, upstream) as gateway:
            yield World(provider, gateway)


def tampered(token: str, **claims: Any) -> str:
    """Return a token that says something else."""
    head, payload, signature = token.split(".")
    tree = {**json.loads(base64.urlsafe_b64decode(payload + "==")), **claims}
    return f"{head}.{base64.urlsafe_b64encode(json.dumps(tree).encode()).rstrip(b'=').decode()}.{signature}"


@needs_node_20
@EACH_FORM
def test_id_tokens_found_by_discovery(world: World, form: str) -> None:
    """A user logs in at the provider; the gateway finds keys by its document, whatever each client has its tokens signed with."""
    gateway, name = world.gateway, f"{form}-openid"
    for signed in SIGNED:
        tokens = world.provider.log_in("alice", client=f"shop-{signed}")
        token = tokens["id_token"]
        assert json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))["alg"] == signed
        assert gateway.ask(name, token) == (200, ""), signed
        served = len(gateway.upstream.requests)
        assert gateway.ask(name, tokens["access_token"]) == DENIED
        assert gateway.ask(name, tampered(token, sub="root")) == gateway.ask(name, token[:-20] + "A" * 20) == DENIED
        assert len(gateway.upstream.requests) == served
    assert gateway.ask(name, world.provider.log_in("bob")["id_token"]) == (200, "")
    assert gateway.sessions()["shop:bob"]["apply_policies"] == ["gold"]
    served = len(gateway.upstream.requests)
    assert gateway.ask(name, world.provider.log_in("alice", client="other")["id_token"]) == DENIED
    assert gateway.ask(name, world.provider.token("urn:jwt:RS256")) == DENIED
    assert len(gateway.upstream.requests) == served


@needs_node_20
@EACH_FORM
def test_access_tokens_of_clients(world: World, form: str) -> None:
    """RFC 9068: each algorithm, with policies by scope and the client as the user; tokens of other resources are refused."""
    gateway, provider = world.gateway, world.provider
    for signed in ALGORITHMS:
        name = f"{form}-{FAMILIES[signed[:2]]}"
        for scope, policies in (("read", ["silver"]), ("write read", ["gold", "silver"])):
            token = provider.token(f"urn:jwt:{signed}", scope=scope)
            assert gateway.ask(name, token) == (200, ""), signed
            session = gateway.sessions()["shop"]
            assert sorted(session["apply_policies"]) == policies and session["oauth_client_id"] == "shop", signed
        served = len(gateway.upstream.requests)
        assert gateway.ask(name, tampered(token, sub="root")) == (403, "Key not authorized")
        if "HS" not in signed:
            assert gateway.ask(f"{form}-hmac", token) == (403, "Key not authorized: Unexpected signing method")
        assert len(gateway.upstream.requests) == served
    served = len(gateway.upstream.requests)
    elsewhere = provider.token("urn:jwt:RS384")
    assert gateway.ask(f"{form}-rsa", elsewhere) == (401, "Key not authorized: no matching audience found in token: [urn:jwt:RS384]")
    assert gateway.ask(f"{form}-rsa", provider.token("urn:opaque")) == (403, "Key not authorized")
    assert gateway.ask(f"{form}-rsa", provider.token("urn:jwt:RS256", scope="")) == (
        403,
        "key not authorized: no scope or policy in token",
    )
    assert len(gateway.upstream.requests) == served


@needs_node_20
@EACH_FORM
def test_access_tokens_for_external_oauth(world: World, form: str) -> None:
    """The same tokens; a member of a member says who it is."""
    gateway, name = world.gateway, f"{form}-external"
    token = world.provider.token("urn:jwt:ES256")
    assert gateway.ask(name, token, ("X-User", "root")) == (200, "")
    assert gateway.seen("X-User") == "shop"
    served = len(gateway.upstream.requests)
    refused = (401, "token verification failed: signature is invalid")
    assert gateway.ask(name, tampered(token, holder={"name": "root"})) == refused
    assert gateway.ask(name, world.provider.token("urn:jwt:RS256"))[0] == 500
    assert len(gateway.upstream.requests) == served


@needs_node_20
@EACH_FORM
@pytest.mark.parametrize("method", ["ecdsa", "external"])
def test_tokens_of_a_client_certificate(world: World, form: str, method: str) -> None:
    """RFC 8705, section 3: the provider binds the token to the certificate that its client shows there."""
    gateway = world.gateway
    token = world.provider.token("urn:jwt:ES256", client="holder", identity=HOLDER)
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert claims["cnf"] == {"x5t#S256": thumbprint_of(HOLDER)}

    def ask(identity: Any) -> tuple[int, str]:
        with Client(gateway.gateway.port, sni="localhost", identity=identity) as client:
            return told(client.request("GET", f"/{form}-{method}/x", headers=[("Authorization", f"Bearer {token}")]))

    served = len(gateway.upstream.requests)
    for _ in range(2):
        assert ask(OTHER) == (401, "Key not authorized: the token is bound to another client certificate")
        assert ask(None) == (401, "Key not authorized: the token needs its client certificate")
        assert len(gateway.upstream.requests) == served
        assert ask(HOLDER)[0] == 200
        served += 1


@needs_node_20
@EACH_FORM
@pytest.mark.parametrize("method", ["ecdsa", "external"])
def test_tokens_of_a_proof_key(world: World, form: str, method: str) -> None:
    """RFC 9449: the provider binds the token to the key whose proof it was shown."""
    gateway, path = world.gateway, f"/{form}-{method}/x"
    alice, mallory = Prover(), Prover()
    token = world.provider.token("urn:jwt:ES256", prover=alice)
    host = f"localhost:{gateway.gateway.port}"

    def prove(prover: Prover) -> str:
        return prover.sign({"htm": "GET", "htu": f"https://{host}{path}", "iat": int(time.time()), "ath": hash_token(token)})

    def ask(scheme: str, *proofs: str) -> tuple[int, str]:
        with Client(gateway.gateway.port, sni="localhost") as client:
            lines = [("Authorization", f"{scheme} {token}"), *(("DPoP", proof) for proof in proofs)]
            return told(client.request("GET", path, host=host, headers=lines))

    used = prove(alice)
    assert ask("DPoP", used)[0] == 200
    served = len(gateway.upstream.requests)
    assert ask("DPoP", used) == (401, "Key not authorized: the DPoP proof has been used")
    of_another = "Key not authorized: the DPoP proof is of another key than the one that the token is bound to"
    assert ask("DPoP", prove(mallory)) == (401, of_another)
    assert ask("DPoP") == (401, "Key not authorized: the request has no DPoP proof")
    assert ask("Bearer", prove(alice)) == (401, "Key not authorized: the token is bound to a proof key and came without the DPoP scheme")
    assert len(gateway.upstream.requests) == served
    assert ask("DPoP", prove(alice))[0] == 200


@needs_node_20
def test_a_provider_that_changes_its_keys(tmp_path: Path) -> None:
    """Three times in a row, while clients get tokens and use them at once: not one is refused, and in the end old keys verify nothing."""
    keys = [private(key, f"rsa{number}") for number, key in enumerate(map(rsa, range(4)))]
    with StrictUpstream() as upstream, oidc_provider(OWN, keys[:1], [client("shop")]) as provider:
        apis = []
        for form in ("classic", "oas"):
            scheme = {"source": f"{provider.issuer}/jwks", "signingMethod": "rsa", "defaultPolicies": ["gold"]}
            apis.append(jwt_api(form, f"{form}-rsa", upstream.port, scheme))
            apis.append(openid_api(form, upstream.port, {provider.issuer: {"urn:jwt:RS256": "gold"}}, api_id=f"{form}-openid"))
        with jwt_world(tmp_path, "sqlite", apis, upstream) as gateway:
            names = [f"{form}-{method}" for form in ("classic", "oas") for method in ("rsa", "openid")]
            answers: list[tuple[str, str, tuple[int, str]]] = []
            done = threading.Event()

            def work(name: str) -> None:
                while not done.is_set():
                    token = provider.token("urn:jwt:RS256")
                    kid = json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))["kid"]
                    answers.append((name, kid, gateway.ask(name, token)))

            first = provider.token("urn:jwt:RS256")
            workers = [threading.Thread(target=work, args=(name,)) for name in names]
            for worker in workers:
                worker.start()
            try:
                for number in range(4):
                    if number:
                        # The keys before it stay for tokens that are under way.
                        provider.swap(*reversed(keys[: number + 1]))
                    deadline = time.monotonic() + 30
                    seen: set[str] = set()
                    while seen != set(names) and time.monotonic() < deadline:
                        time.sleep(0.02)
                        seen = {name for name, kid, _ in answers if kid == f"rsa{number}"}
                    assert seen == set(names)
            finally:
                done.set()
                for worker in workers:
                    worker.join()
            assert {answer for *_, answer in answers} == {(200, "")}, [each for each in answers if each[2][0] != 200]
            provider.swap(private(rsa(4), "last"))
            assert [gateway.ask(name, provider.token("urn:jwt:RS256")) for name in names] == [(200, "")] * 4
            served = len(upstream.requests)
            assert [gateway.ask(name, first)[0] for name in names] == [403, 401, 403, 401]
            assert len(upstream.requests) == served


@needs_node_20
def test_a_provider_that_starts_anew(tmp_path: Path) -> None:
    """Away, its tokens are good; back, with another key, those that it issues now are at once, and those from before no more."""
    port = free_port()
    with StrictUpstream() as upstream:
        apis = []
        for form in ("classic", "oas"):
            scheme = {"source": f"https://localhost:{port}/jwks", "signingMethod": "rsa", "defaultPolicies": ["gold"]}
            apis.append(jwt_api(form, f"{form}-rsa", upstream.port, scheme))
        with (
            oidc_provider(OWN, [private(rsa(0), "a")], [client("shop")], port=port) as provider,
            jwt_world(tmp_path, "sqlite", apis, upstream) as gateway,
        ):

            def ask(token: str) -> list[int]:
                return [gateway.ask(f"{form}-rsa", token)[0] for form in ("classic", "oas")]

            seen, unseen = provider.token("urn:jwt:RS256"), provider.token("urn:jwt:RS256")
            assert ask(seen) == [200, 200]
            provider.end()
            assert ask(seen) == ask(unseen) == [200, 200]
            with oidc_provider(OWN, [private(rsa(1), "b")], [client("shop")], port=port) as again:
                assert ask(seen) == ask(unseen) == [200, 200]
                assert ask(again.token("urn:jwt:RS256")) == [200, 200]
                served = len(upstream.requests)
                assert ask(seen) == ask(unseen) == [403, 403]
                assert len(upstream.requests) == served


# oidc-provider-mock.


def log_in(provider: Peer, user: str, client: str = "shop") -> dict[str, Any]:
    """Return what a client gets for a user of ``oidc-provider-mock``."""
    query = urlencode({"client_id": client, "response_type": "code", "redirect_uri": REDIRECT, "scope": "openid profile", "nonce": "n"})
    answer = provider.send("POST", f"/oauth2/authorize?{query}", {"sub": user})
    (code,) = parse_qs(urlsplit(answer.headers["location"]).query)["code"]
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT}
    basic = ("Authorization", "Basic " + b64(f"{client}:any"))
    tokens: dict[str, Any] = json.loads(provider.send("POST", "/oauth2/token", form, [basic]).body)
    assert "id_token" in tokens, tokens
    return tokens


def test_oidc_provider_mock(tmp_path: Path) -> None:
    """Its ID tokens name no key: good for OpenID, at once also after a start with another key, and never for JWT with its key set."""
    port = free_port()
    issuer = f"https://localhost:{port}"
    with StrictUpstream() as upstream:
        apis = []
        for form in ("classic", "oas"):
            apis.append(openid_api(form, upstream.port, {issuer: {"shop": "gold"}}, api_id=f"{form}-openid"))
            scheme = {"source": f"{issuer}/jwks", "signingMethod": "rsa", "defaultPolicies": ["silver"]}
            apis.append(jwt_api(form, f"{form}-jwt", upstream.port, scheme))
        with mock_provider(OWN, tmp_path, port) as provider, jwt_world(tmp_path, "sqlite", apis, upstream) as gateway:

            def ask(token: str) -> list[tuple[int, str]]:
                return [gateway.ask(f"{form}-openid", token) for form in ("classic", "oas")]

            old = log_in(provider, "alice")["id_token"]
            assert ask(old) == [(200, "")] * 2
            assert gateway.sessions()["shop:alice"]["apply_policies"] == ["gold"]
            provider.end()
            assert ask(old) == [(200, "")] * 2
            with mock_provider(OWN, tmp_path, port) as again:
                tokens = log_in(again, "alice")
                assert ask(tokens["id_token"]) == [(200, "")] * 2
                served = len(upstream.requests)
                stranger = log_in(again, "alice", "stranger")["id_token"]
                for bad in (old, stranger, tokens["access_token"], tampered(tokens["id_token"], sub="root")):
                    assert ask(bad) == [DENIED] * 2
                assert [gateway.ask(f"{form}-jwt", tokens["id_token"])[0] for form in ("classic", "oas")] == [403] * 2
                assert len(upstream.requests) == served
