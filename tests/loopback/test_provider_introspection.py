"""Opaque tokens that the gateway asks ``oidc-provider`` of npm about (RFC 7662), in each way to say who asks."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from joserfc.jwk import ECKey, RSAKey

from tests.loopback.test_external_oauth import api as external_api
from tests.support.certs import make_authority, make_self_signed
from tests.support.credentials import EACH_FORM, told
from tests.support.gateway import Client, StrictUpstream, wait_until
from tests.support.jwt_world import OWN, JwtWorld, jwt_world
from tests.support.npm import needs_node_20
from tests.support.peers import REDIRECT, OidcProvider, oidc_provider
from tests.support.proofs import Prover, hash_token

NOT_VALID = (401, "access token is not valid")
FAILED = (500, "error happened during the access token validation")
AUTHORITY = make_authority("Clients")
GATEWAY = AUTHORITY.issue("gateway")
HOLDER, OTHER = AUTHORITY.issue("holder"), AUTHORITY.issue("other")
KEY = ECKey.generate_key("P-256")


def client(name: str, authentication: str = "client_secret_post", **fields: Any) -> dict[str, Any]:
    """Return a client's metadata."""
    secret = {"client_secret": f"secret of {name}"} if authentication.startswith("client_secret") else {}
    return {
        "client_id": name,
        "grant_types": ["client_credentials", "authorization_code"],
        "redirect_uris": [REDIRECT],
        "token_endpoint_auth_method": authentication,
        **secret,
        **fields,
    }


CERTIFICATE = {
    **ECKey.import_key(GATEWAY.key_pem).as_dict(private=False),
    "x5c": [base64.b64encode(GATEWAY.der).decode()],
}
CLIENTS = [
    client("shop"),
    client("holder", tls_client_certificate_bound_access_tokens=True),
    client("asks"),
    client("asks & pays: 100%", "client_secret_basic"),
    client("asks with a key", "private_key_jwt", jwks={"keys": [{**KEY.as_dict(private=False), "kid": "own"}]}),
    client("asks with a certificate", "tls_client_auth", tls_client_auth_subject_dn="CN=gateway"),
    client("asks with its certificate", "self_signed_tls_client_auth", jwks={"keys": [CERTIFICATE]}),
    client("another", "tls_client_auth", tls_client_auth_subject_dn="CN=another"),
    client("another yet", "private_key_jwt", jwks={"keys": [ECKey.generate_key("P-256").as_dict(private=False)]}),
]
WAYS = {
    "form": ("form", "asks"),
    "basic": ("basic", "asks & pays: 100%"),
    "key": ("private_key_jwt", "asks with a key"),
    "certificate": ("tls", "asks with a certificate"),
    "registered": ("tls", "asks with its certificate"),
}
WRONG = {
    "form": ("form", "asks", "another secret"),
    "basic": ("basic", "asks & pays: 100%", "another secret"),
    "key": ("private_key_jwt", "another yet", ""),
    "certificate": ("tls", "another", ""),
    "method": ("basic", "asks with a key", "any"),
}


class World(NamedTuple):
    provider: OidcProvider
    gateway: JwtWorld


def make_api(
    form: str, name: str, upstream: int, issuer: str, authentication: str, asker: str, secret: str = "", cache: int | None = None
) -> dict[str, Any]:
    """Return an API that asks."""
    url = f"{issuer}/token/introspection"
    fields: dict[str, Any] = {"enabled": True, "url": url, "clientId": asker, "identityBaseField": "holder.name"}
    if authentication in ("form", "basic"):
        fields["clientSecret"] = secret or f"secret of {asker}"
    if cache is not None:
        fields["cache"] = {"enabled": True, "timeout": cache}
    made = external_api(form, upstream, [{"introspection": fields}], f"{form}-{name}")
    made["x-tlsgate"] = {
        "external_oauth": {"client_authentication": authentication},
        "client_certificates": {"ask_for_bound_keys": True},
        "jwt": {"forward_claims": {"X-User": "holder.name", "X-Client": "client_id"}},
    }
    return made


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One provider, and one gateway whose APIs ask it in each way, rightly and wrongly, and remember for a long or a short time."""
    folder = tmp_path_factory.mktemp("peers")
    for name, text in (("client.pem", GATEWAY.pem), ("client.key", GATEWAY.key_pem), ("own.key", KEY.as_pem(private=True).decode())):
        (folder / name).write_text(text)
    mtls = {"enabled": True, "cert_file": str(folder / "client.pem"), "key_file": str(folder / "client.key")}
    signing = {**RSAKey.generate_key(2048).as_dict(private=True), "kid": "rsa", "use": "sig"}
    own = {"identity_providers": {"assertion_key": str(folder / "own.key"), "assertion_key_id": "own"}}
    with StrictUpstream() as upstream, oidc_provider(OWN, [signing], CLIENTS, ca=AUTHORITY.pem) as provider:
        apis = []
        for form in ("classic", "oas"):
            place = (upstream.port, provider.issuer)
            apis += [make_api(form, name, *place, *way) for name, way in WAYS.items()]
            apis += [make_api(form, f"wrong-{name}", *place, *way) for name, way in WRONG.items()]
            apis += [make_api(form, f"kept-{seconds}", *place, *WAYS["form"], cache=seconds) for seconds in (1, 300)]
        with jwt_world(folder, "sqlite", apis, upstream, own=own, external_services={"oauth": {"enabled": True, "mtls": mtls}}) as gateway:
            yield World(provider, gateway)


@needs_node_20
@EACH_FORM
@pytest.mark.parametrize("way", WAYS)
def test_each_way_to_say_who_asks(world: World, form: str, way: str) -> None:
    """A secret in the form or by HTTP Basic, an assertion, a certificate of a CA or one that the server knows; for clients and users."""
    gateway, provider, name = world.gateway, world.provider, f"{form}-{way}"
    for token in (provider.token(), provider.token("urn:opaque")):
        for _ in range(2):
            assert gateway.ask(name, token, ("X-User", "root")) == (200, "")
            assert (gateway.seen("X-User"), gateway.seen("X-Client")) == ("shop", "shop")
    token = provider.log_in("alice")["access_token"]
    assert gateway.ask(name, token) == (200, "")
    assert (gateway.seen("X-User"), gateway.seen("X-Client")) == ("alice", "shop")
    served = len(gateway.upstream.requests)
    for bad in (token[:-1], token + "A", "A" * 43, "nonsense"):
        assert gateway.ask(name, bad) == NOT_VALID
    assert len(gateway.upstream.requests) == served


@needs_node_20
@EACH_FORM
@pytest.mark.parametrize("way", WRONG)
def test_a_server_that_does_not_know_who_asks(world: World, form: str, way: str) -> None:
    """Nobody gets in, and the others are asked as before."""
    gateway, token = world.gateway, world.provider.token()
    served = len(gateway.upstream.requests)
    assert gateway.ask(f"{form}-wrong-{way}", token) == FAILED
    assert len(gateway.upstream.requests) == served
    assert gateway.ask(f"{form}-form", token) == (200, "")


@needs_node_20
@EACH_FORM
def test_revoked_tokens(world: World, form: str) -> None:
    """Refused at once where nothing is remembered, else when ``cache.timeout`` is over, and not before."""
    gateway, provider = world.gateway, world.provider
    token = provider.token()
    names = [f"{form}-{name}" for name in ("form", "kept-300", "kept-1")]
    assert [gateway.ask(name, token) for name in names] == [(200, "")] * 3
    provider.revoke(token)
    assert gateway.ask(names[0], token) == NOT_VALID
    assert gateway.ask(names[1], token) == (200, "")
    assert wait_until(lambda: gateway.ask(names[2], token) == NOT_VALID, 15)
    served = len(gateway.upstream.requests)
    assert [gateway.ask(names[number], token) for number in (0, 2)] == [NOT_VALID] * 2
    assert len(gateway.upstream.requests) == served
    assert gateway.ask(names[1], token) == (200, "")


@needs_node_20
@EACH_FORM
def test_a_token_that_is_nothing_to_ask_about(world: World, form: str) -> None:
    """The server looks up no tokens that it has signed, and says so (400): that is wrong with the token, not with the server."""
    gateway, token = world.gateway, world.provider.token("urn:jwt:RS256")
    served = len(gateway.upstream.requests)
    for name in ("form", "certificate", "kept-300"):
        assert gateway.ask(f"{form}-{name}", token) == NOT_VALID
    assert len(gateway.upstream.requests) == served


@needs_node_20
@EACH_FORM
@pytest.mark.parametrize("name", ["form", "kept-300"])
def test_opaque_tokens_of_a_client_certificate(world: World, form: str, name: str) -> None:
    """RFC 8705, section 3.2: the server says to which certificate it has bound the token."""
    gateway = world.gateway
    token = world.provider.token(client="holder", identity=HOLDER)

    def ask(identity: Any) -> tuple[int, str]:
        with Client(gateway.gateway.port, sni="localhost", identity=identity) as client:
            return told(client.request("GET", f"/{form}-{name}/x", headers=[("Authorization", f"Bearer {token}")]))

    served = len(gateway.upstream.requests)
    for _ in range(2):
        assert ask(OTHER) == (401, "Key not authorized: the token is bound to another client certificate")
        assert ask(make_self_signed("holder")) == ask(OTHER)
        assert ask(None) == (401, "Key not authorized: the token needs its client certificate")
        assert len(gateway.upstream.requests) == served
        assert ask(HOLDER)[0] == 200
        served += 1


@needs_node_20
@EACH_FORM
@pytest.mark.parametrize("name", ["form", "kept-300"])
def test_opaque_tokens_of_a_proof_key(world: World, form: str, name: str) -> None:
    """RFC 9449, section 6.2: the server says to which key it has bound the token."""
    gateway, path = world.gateway, f"/{form}-{name}/x"
    alice, mallory = Prover("EdDSA"), Prover()
    token = world.provider.token(prover=alice)
    host = f"localhost:{gateway.gateway.port}"

    def ask(scheme: str, prover: Prover, method: str = "GET") -> tuple[int, str]:
        proof = prover.sign({"htm": method, "htu": f"https://{host}{path}", "iat": int(time.time()), "ath": hash_token(token)})
        with Client(gateway.gateway.port, sni="localhost") as client:
            return told(client.request("GET", path, host=host, headers=[("Authorization", f"{scheme} {token}"), ("DPoP", proof)]))

    for _ in range(2):
        assert ask("DPoP", alice)[0] == 200
        served = len(gateway.upstream.requests)
        assert ask("DPoP", mallory)[0] == ask("Bearer", alice)[0] == 401
        assert ask("DPoP", alice, "POST") == (401, "Key not authorized: the DPoP proof is for another method (htm)")
        assert len(gateway.upstream.requests) == served
