"""Proofs of possession (RFC 9449) over real connections: who gets in, each refusal and its challenge, and peers that sign by themselves."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from tests.support.bound import SECRET, Holder, claims_of, server, thumbprint_of, token_api, write_gold
from tests.support.certs import make_authority
from tests.support.certs_api import CertsApi
from tests.support.control import rights
from tests.support.credentials import EACH_FORM, EACH_WORLD, running_world, told
from tests.support.gateway import Client, Gateway, StrictUpstream
from tests.support.npm import needs_node, npm_package, run_node
from tests.support.proofs import Prover, hash_token
from tests.support.provider import b64, sign_hmac

ALGORITHMS = 'algs="ES256 ES384 ES512 PS256 PS384 PS512 RS256 RS384 RS512 EdDSA Ed25519 Ed448"'
UNBOUND = "Key not authorized: the token is not bound to a proof key"


@contextmanager
def world(
    folder: Path, form: str, own: dict[str, Any] | None = None, *, backend: str = "sqlite", tls: bool = True, **config: Any
) -> Iterator[tuple[Gateway, StrictUpstream]]:
    """A gateway with the API, and its upstream."""
    with (
        StrictUpstream() as upstream,
        running_world(
            folder,
            backend,
            token_api(form, upstream.port, own),
            server=server() if tls else None,
            policies=write_gold(folder),
            **config,
        ) as gateway,
    ):
        yield gateway, upstream


@EACH_WORLD
def test_a_token_of_a_proof_key(tmp_path: Path, form: str, backend: str) -> None:
    """A fresh proof for each request; the upstream sees none, and no copy of a token is worth anything by itself."""
    with world(tmp_path, form, backend=backend) as (gateway, upstream):
        alice, mallory = Holder(gateway), Prover()
        for _ in range(3):
            assert alice.ask(alice.proof())[0] == 200
        received = upstream.requests[-1]
        assert received.header("DPoP") is None and received.header("Authorization") == f"DPoP {alice.token}"
        used = alice.proof()
        assert alice.ask(used)[0] == 200
        served = len(upstream.requests)
        assert alice.ask(used) == (401, "Key not authorized: the DPoP proof has been used")
        for scheme in ("Bearer", "bearer"):
            answer = alice.send(alice.proof(), scheme=scheme)
            reason = "the token is bound to a proof key and came without the DPoP scheme"
            assert told(answer) == (401, f"Key not authorized: {reason}")
            assert answer.headers["www-authenticate"] == f'DPoP error="invalid_token", error_description="{reason}", {ALGORITHMS}'
        thief = Holder(gateway, mallory)
        answer = alice.send(thief.proof(token=alice.token))
        assert answer.headers["www-authenticate"].startswith(
            'DPoP error="invalid_token", error_description="the DPoP proof is of another key'
        )
        assert len(upstream.requests) == served
        assert not any(alice.token in line or used in line for line in gateway.lines)


@EACH_FORM
def test_each_refusal(tmp_path: Path, form: str) -> None:
    """Told by its reason, with ``invalid_dpop_proof``; nothing of it reaches the upstream, and nothing of it uses a proof up."""
    with world(tmp_path, form) as (gateway, upstream):
        alice = Holder(gateway)
        assert alice.ask(alice.proof())[0] == 200
        now = int(time.time())
        rows: list[tuple[tuple[str, ...], str]] = [
            ((), "the request has no DPoP proof"),
            ((alice.proof(), alice.proof()), "the request has several DPoP proofs"),
            (("nonsense",), "the DPoP proof is not one: token contains an invalid number of segments"),
            ((alice.token,), "the DPoP proof is not one: its typ is not dpop+jwt"),
            ((alice.proof(header={"alg": "none"}),), "the DPoP proof is not one: its algorithm is not allowed"),
            ((alice.proof(header={"alg": "HS256"}),), "the DPoP proof is not one: its algorithm is not allowed"),
            ((alice.proof(header={"jwk": {**alice.prover.jwk, "d": "AA"}}),), "the DPoP proof is not one: its jwk is not public"),
            ((alice.proof()[:-4] + "AAAA",), "the signature of the DPoP proof is wrong"),
            ((alice.proof("POST"),), "the DPoP proof is for another method (htm)"),
            ((alice.proof(path="/api/y"),), "the DPoP proof is for another address (htu)"),
            ((alice.proof(htu=f"http://localhost:{gateway.port}/api/x"),), "the DPoP proof is for another address (htu)"),
            ((alice.proof(htu="https://localhost/api/x"),), "the DPoP proof is for another address (htu)"),
            ((alice.proof(token="another"),), "the DPoP proof is for another token (ath)"),
            ((alice.proof(ath=None),), "the DPoP proof is for another token (ath)"),
            ((alice.proof(jti=None),), "the DPoP proof has no jti"),
            ((alice.proof(iat=now - 120),), "the DPoP proof is too old"),
            ((alice.proof(iat=now + 120),), "the DPoP proof is not good now (iat, exp, nbf)"),
        ]
        served = len(upstream.requests)
        for proofs, reason in rows:
            answer = alice.send(*proofs)
            assert told(answer) == (401, f"Key not authorized: {reason}")
            description = f'error_description="{reason}"'
            assert answer.headers["www-authenticate"] == f'DPoP error="invalid_dpop_proof", {description}, {ALGORITHMS}'
        assert len(upstream.requests) == served
        late = alice.proof("POST")
        assert alice.ask(late)[0] == 401
        assert alice.ask(late, method="POST")[0] == 200
        assert alice.ask(alice.proof(), target="/api/x?a=1")[0] == 200


@EACH_FORM
def test_tokens_that_anybody_may_use(tmp_path: Path, form: str) -> None:
    """As ever, until the API requires proofs; with the scheme DPoP they are refused, and a header of that name is the upstream's matter."""
    plain = sign_hmac(claims_of(), SECRET)
    with world(tmp_path, form) as (gateway, upstream):
        alice = Holder(gateway)
        assert alice.ask(scheme="Bearer", token=plain)[0] == 200
        assert alice.ask("for the upstream", scheme="Bearer", token=plain)[0] == 200
        assert upstream.requests[-1].header("DPoP") == "for the upstream"
        assert alice.ask(alice.proof(token=plain), token=plain) == (401, UNBOUND)
        gateway.write_apis(token_api(form, upstream.port, {"dpop": {"required": True, "algorithms": ["ES256"]}}))
        gateway.reload()
        answer = alice.send(scheme="Bearer", token=plain)
        assert told(answer) == (401, UNBOUND)
        assert answer.headers["www-authenticate"].endswith('algs="ES256"')
        assert alice.ask(alice.proof())[0] == 200
        edwards = Holder(gateway, Prover("EdDSA"))
        assert edwards.ask(edwards.proof()) == (401, "Key not authorized: the DPoP proof is not one: its algorithm is not allowed")
        with Client(gateway.port, sni="localhost") as client:
            answer = client.request("GET", "/api/x")
        assert told(answer) == (401, "Key not authorized: no token")
        assert answer.headers["www-authenticate"] == 'DPoP algs="ES256"'


@EACH_FORM
def test_a_reload_forgets_no_proof(tmp_path: Path, form: str) -> None:
    """What was used stays used."""
    with world(tmp_path, form) as (gateway, upstream):
        alice = Holder(gateway)
        used = alice.proof()
        assert alice.ask(used)[0] == 200
        gateway.write_apis(token_api(form, upstream.port, {"dpop": {"max_age_s": 61}}))
        gateway.reload()
        assert alice.ask(used) == (401, "Key not authorized: the DPoP proof has been used")


@EACH_WORLD
def test_proofs_that_the_store_remembers(tmp_path: Path, form: str, backend: str) -> None:
    """``dpop.share_replays``: a gateway that starts anew knows what was used before."""
    own = {"dpop": {"share_replays": True, "origins": ["https://api.example"]}}
    with world(tmp_path, form, own, backend=backend) as (gateway, _):
        alice = Holder(gateway)
        used, other = (alice.proof(htu="https://api.example/api/x") for _ in range(2))
        assert alice.ask(used)[0] == 200
        assert alice.ask(used) == (401, "Key not authorized: the DPoP proof has been used")
        gateway.stop()
        gateway.events.clear()
        gateway.listeners.clear()
        gateway.start()
        assert alice.ask(used) == (401, "Key not authorized: the DPoP proof has been used")
        assert alice.ask(other)[0] == 200


@EACH_FORM
def test_nonces(tmp_path: Path, form: str) -> None:
    """A client without one is asked for it, which is no failed log-in; with it, it gets in, on every gateway of the secret."""
    with world(tmp_path, form, {"dpop": {"nonces": True}}) as (gateway, upstream):
        alice = Holder(gateway)
        answer = alice.send(alice.proof())
        assert told(answer) == (401, "Key not authorized: the DPoP proof needs a nonce of this server")
        assert answer.headers["www-authenticate"].startswith('DPoP error="use_dpop_nonce", ')
        nonce = answer.headers["dpop-nonce"]
        assert alice.ask(alice.proof(nonce=nonce))[0] == 200
        assert alice.ask(alice.proof(nonce=nonce))[0] == 200
        wrong = alice.send(alice.proof(nonce=nonce[:-1] + ("A" if nonce[-1] != "A" else "B")))
        assert wrong.status == 401 and wrong.headers["dpop-nonce"]
        assert len(upstream.requests) == 2


@EACH_FORM
def test_a_certificate_and_a_proof(tmp_path: Path, form: str) -> None:
    """A token that names both needs both."""
    authority = make_authority()
    good, other = authority.issue("good"), authority.issue("other")
    own = {"jwt": {"require_certificate_binding": True}, "dpop": {"required": True}}
    with world(tmp_path, form, own) as (gateway, _):
        alice = Holder(gateway)
        both = sign_hmac(claims_of(cnf={"jkt": alice.prover.thumbprint, "x5t#S256": thumbprint_of(good)}), SECRET)
        for _ in range(2):
            assert alice.ask(alice.proof(token=both), token=both, identity=good)[0] == 200
            assert alice.ask(alice.proof(token=both), token=both, identity=other)[0] == 401
            assert alice.ask(token=both, identity=good) == (401, "Key not authorized: the request has no DPoP proof")
        assert alice.ask(alice.proof(), identity=good) == (401, "Key not authorized: the token is not bound to a certificate")


@EACH_FORM
def test_plain_http_and_a_proxy_in_front(tmp_path: Path, form: str) -> None:
    """``htu`` is what this gateway was asked for, or, where the operator names origins, begins with one of them."""
    with world(tmp_path, form, tls=False) as (gateway, _):
        alice = Holder(gateway, tls=False)
        assert alice.ask(alice.proof())[0] == 200
        assert alice.ask(alice.proof(htu="https://api.example/api/x"))[0] == 401
    with world(tmp_path, form, {"dpop": {"origins": ["https://API.example:443"]}}, tls=False) as (gateway, _):
        alice = Holder(gateway, tls=False)
        assert alice.ask(alice.proof())[0] == 401
        assert alice.ask(alice.proof(htu="https://api.example/api/x"))[0] == 200
        assert alice.ask(alice.proof(htu="https://api.example/x"))[0] == 401
        assert alice.ask(alice.proof(htu="https://other.example/api/x"))[0] == 401


def test_a_proof_in_several_groups_of_methods(tmp_path: Path) -> None:
    """Judged once for a request: a group that passes after another one has failed sees no replay. A client's own headers go in any case."""
    fields = {
        "use_standard_auth": True,
        "use_basic_auth": True,
        "auth_configs": {"jwt": {}, "basic": {"auth_header_name": "X-Basic"}, "authToken": {"auth_header_name": "X-Key"}},
        "security_requirements": [["jwt", "basic"], ["jwt", "authToken"], ["basic"]],
    }
    own = {"jwt": {"forward_claims": {"X-User": "sub"}}}
    with (
        StrictUpstream() as upstream,
        running_world(
            tmp_path, "sqlite", token_api("classic", upstream.port, own, **fields), server=server(), policies=write_gold(tmp_path)
        ) as gateway,
    ):
        for name, fields in (("partner", {}), ("bob", {"basic_auth_data": {"password": "open sesame"}})):
            body = json.dumps({"org_id": "org", "access_rights": rights(), **fields}).encode()
            assert CertsApi(gateway).call("POST", f"/tyk/keys/{name}", body).status == 200
        alice = Holder(gateway)
        extra = (("X-Key", "partner"), ("x_user", "root"), ("X-User", "root"))
        used = alice.proof()
        assert alice.ask(used, headers=extra)[0] == 200
        assert upstream.requests[-1].header("X-User") == "alice" and upstream.requests[-1].header("DPoP") is None
        assert alice.ask(used, headers=extra)[0] in (400, 401)
        login = (("X-Basic", "Basic " + b64("bob:open sesame")), ("X-User", "root"))
        assert alice.ask(used, headers=login)[0] == 200
        assert upstream.requests[-1].header("X-User") is None


# Peers.


def keys_of_joserfc() -> list[tuple[str, Any]]:
    return [
        ("ES256", ECKey.generate_key("P-256")),
        ("ES384", ECKey.generate_key("P-384")),
        ("ES512", ECKey.generate_key("P-521")),
        ("RS256", RSAKey.generate_key(2048)),
        ("PS384", RSAKey.generate_key(2048)),
        ("Ed25519", OKPKey.generate_key("Ed25519")),
    ]


@EACH_FORM
def test_joserfc_proves_to_us(tmp_path: Path, form: str) -> None:
    """Keys, thumbprints, tokens and proofs of the package ``joserfc``."""
    registry = JWSRegistry(algorithms=["ES256", "ES384", "ES512", "RS256", "PS384", "Ed25519"])
    with world(tmp_path, form) as (gateway, _):
        for algorithm, key in keys_of_joserfc():
            alice = Holder(gateway)
            token = sign_hmac(claims_of(cnf={"jkt": key.thumbprint()}), SECRET)
            header = {"typ": "dpop+jwt", "alg": algorithm, "jwk": key.as_dict(private=False)}
            claims = {
                "jti": f"{algorithm}-1",
                "htm": "GET",
                "htu": alice.origin + "/api/x",
                "iat": int(time.time()),
                "ath": hash_token(token),
            }
            proof = joserfc_jwt.encode(header, claims, key, registry=registry)
            assert alice.ask(proof, token=token)[0] == 200, algorithm
            assert alice.ask(proof, token=token)[0] == 401, algorithm


JOSE = """
import('jose').then(async ({SignJWT, calculateJwkThumbprint, exportJWK, generateKeyPair}) => {
  const made = [];
  for (const alg of argument.algorithms) {
    const {publicKey, privateKey} = await generateKeyPair(alg);
    const jwk = await exportJWK(publicKey);
    const jkt = await calculateJwkThumbprint(jwk);
    const token = await new SignJWT({...argument.claims, cnf: {jkt}}).setProtectedHeader({alg: 'HS256'})
      .sign(new TextEncoder().encode(argument.secret));
    const ath = require('crypto').createHash('sha256').update(token).digest('base64url');
    const proof = await new SignJWT({jti: 'jose-' + alg, htm: 'GET', htu: argument.htu, ath}).setIssuedAt()
      .setProtectedHeader({alg, typ: 'dpop+jwt', jwk}).sign(privateKey);
    made.push([token, proof]);
  }
  console.log(JSON.stringify(made));
});
"""
DPOP = """
import('dpop').then(async (DPoP) => {
  const made = [];
  for (const alg of argument.algorithms) {
    const pair = await DPoP.generateKeyPair(alg);
    const jkt = await DPoP.calculateThumbprint(pair.publicKey);
    const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const text = part({alg: 'HS256'}) + '.' + part({...argument.claims, cnf: {jkt}});
    const token = text + '.' + require('crypto').createHmac('sha256', argument.secret).update(text).digest('base64url');
    made.push([token, await DPoP.generateProof(pair, argument.htu, 'GET', undefined, token)]);
  }
  console.log(JSON.stringify(made));
});
"""


@needs_node
@EACH_FORM
@pytest.mark.parametrize(
    ("name", "version", "script", "algorithms"),
    [
        ("jose", "6.2.18", JOSE, ["ES256", "ES384", "ES512", "RS256", "PS256", "EdDSA"]),
        ("dpop", "2.1.2", DPOP, ["ES256", "RS256", "PS256", "Ed25519"]),
    ],
)
def test_packages_of_npm_prove_to_us(tmp_path: Path, form: str, name: str, version: str, script: str, algorithms: list[str]) -> None:
    """``jose`` and ``dpop``, pinned: keys, thumbprints, tokens and proofs of theirs."""
    package = npm_package(name, version)
    with world(tmp_path, form, {"dpop": {"required": True}}) as (gateway, _):
        alice = Holder(gateway)
        argument = {"algorithms": algorithms, "claims": claims_of(), "secret": SECRET.decode(), "htu": alice.origin + "/api/x"}
        made = run_node(package, script, argument)
        assert len(made) == len(algorithms)
        for token, proof in made:
            assert alice.ask(proof, token=token)[0] == 200
            assert alice.ask(proof, token=token) == (401, "Key not authorized: the DPoP proof has been used")
