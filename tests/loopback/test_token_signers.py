"""Tokens that ``joserfc``, ``jwcrypto`` and ``jose`` sign by themselves, with keys that they have made and publish in their own forms."""

from __future__ import annotations

import base64
import json
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jwcrypto.jwk
import jwcrypto.jwt
import pytest
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import ECKey, KeySet, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from tests.support.credentials import EACH_FORM
from tests.support.gateway import StrictUpstream
from tests.support.jwt_world import OWN, JwtWorld, jwt_api, jwt_world
from tests.support.npm import needs_node, npm_package, run_node
from tests.support.provider import Provider, b64

FAMILIES = {"HS": "hmac", "RS": "rsa", "PS": "rsa", "ES": "ecdsa", "Ed": "eddsa"}
RSA = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]
CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
EDWARDS = {"EdDSA": "Ed25519", "Ed25519": "Ed25519", "Ed448": "Ed448"}
HMAC = {"HS256": 256, "HS384": 384, "HS512": 512}


class Signed(NamedTuple):
    """What a library has made."""

    keys: Any
    """Public ones, as it publishes them."""
    secret: bytes
    tokens: dict[str, tuple[str, str]]
    """By algorithm: one by a key of these, and one by another key that says it is the same."""


def joserfc_signs(claims: dict[str, Any]) -> Signed:
    secret, other_secret = OctKey.generate_key(512), OctKey.generate_key(512)
    pair: dict[str, tuple[Any, Any]] = dict.fromkeys(HMAC, (secret, other_secret))
    pair |= dict.fromkeys(RSA, (RSAKey.generate_key(2048), RSAKey.generate_key(2048)))
    pair |= {name: (ECKey.generate_key(curve), ECKey.generate_key(curve)) for name, curve in CURVES.items()}
    pair |= {name: (OKPKey.generate_key(curve), OKPKey.generate_key(curve)) for name, curve in EDWARDS.items()}
    registry = JWSRegistry(algorithms=list(pair))
    for key, _ in pair.values():
        key.ensure_kid()
    tokens = {
        name: (
            joserfc_jwt.encode({"alg": name, "kid": good.kid}, claims, good, registry=registry),
            joserfc_jwt.encode({"alg": name, "kid": good.kid}, claims, other, registry=registry),
        )
        for name, (good, other) in pair.items()
    }
    public = KeySet(list({id(good): good for good, _ in pair.values() if good is not secret}.values()))
    return Signed(public.as_dict(private=False), secret.raw_value, tokens)


def jwcrypto_signs(claims: dict[str, Any]) -> Signed:
    def make(**kind: Any) -> tuple[jwcrypto.jwk.JWK, jwcrypto.jwk.JWK]:
        good = jwcrypto.jwk.JWK.generate(**kind)
        good = jwcrypto.jwk.JWK(**good.export(as_dict=True), kid=good.thumbprint())
        return good, jwcrypto.jwk.JWK.generate(**kind)

    secret = make(kty="oct", size=512)
    pair = dict.fromkeys(HMAC, secret)
    pair |= dict.fromkeys(RSA, make(kty="RSA", size=2048))
    pair |= {name: make(kty="EC", crv=curve) for name, curve in CURVES.items()}
    pair |= {name: make(kty="OKP", crv=curve) for name, curve in EDWARDS.items()}

    def sign(name: str, key_id: str, key: jwcrypto.jwk.JWK) -> str:
        token = jwcrypto.jwt.JWT(header={"alg": name, "kid": key_id}, claims=claims, algs=[name])
        token.make_signed_token(key)
        return str(token.serialize())

    tokens = {name: (sign(name, good.key_id, good), sign(name, good.key_id, other)) for name, (good, other) in pair.items()}
    public = jwcrypto.jwk.JWKSet()
    for name, (good, _) in pair.items():
        if name not in HMAC:
            public.add(good)
    raw = base64.urlsafe_b64decode(secret[0].export(as_dict=True)["k"] + "==")
    return Signed(json.loads(public.export(private_keys=False)), raw, tokens)


JOSE = """
import('jose').then(async ({SignJWT, calculateJwkThumbprint, exportJWK, generateKeyPair, generateSecret}) => {
  const keys = [], tokens = {};
  let secret;
  const sign = (alg, kid, key) => new SignJWT(argument.claims).setProtectedHeader({alg, kid, typ: 'JWT'}).sign(key);
  for (const alg of argument.algorithms) {
    if (alg.startsWith('HS')) {
      secret ??= await generateSecret('HS512', {extractable: true});
      const bytes = Buffer.from((await exportJWK(secret)).k, 'base64url');
      tokens[alg] = [await sign(alg, 'secret', bytes), await sign(alg, 'secret', Buffer.from(bytes).fill(0, 0, 1))];
      continue;
    }
    const [good, other] = [await generateKeyPair(alg), await generateKeyPair(alg)];
    const jwk = await exportJWK(good.publicKey);
    const kid = await calculateJwkThumbprint(jwk);
    keys.push({...jwk, kid});
    tokens[alg] = [await sign(alg, kid, good.privateKey), await sign(alg, kid, other.privateKey)];
  }
  console.log(JSON.stringify({keys: {keys}, secret: (await exportJWK(secret)).k, tokens}));
});
"""


def jose_signs(claims: dict[str, Any]) -> Signed:
    algorithms = [*HMAC, *RSA, *CURVES, "EdDSA", "Ed25519"]
    made = run_node(npm_package("jose", "6.2.18"), JOSE, {"algorithms": algorithms, "claims": claims})
    return Signed(
        made["keys"], base64.urlsafe_b64decode(made["secret"] + "=="), {name: tuple(pair) for name, pair in made["tokens"].items()}
    )


SIGNERS: dict[str, tuple[Callable[[dict[str, Any]], Signed], int]] = {
    "joserfc": (joserfc_signs, 15),
    "jwcrypto": (jwcrypto_signs, 15),
    "jose": (jose_signs, 14),
}
EACH_SIGNER = pytest.mark.parametrize("signer", ["joserfc", "jwcrypto", pytest.param("jose", marks=needs_node)], indirect=True)


class World(NamedTuple):
    gateway: JwtWorld
    signed: Signed


@pytest.fixture(scope="module")
def signer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A gateway that knows the keys of a library by its key set, and its secret by the definition; an API per form and family."""
    folder = tmp_path_factory.mktemp("signers")
    make, count = SIGNERS[request.param]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # EdDSA is a name of the past (RFC 9864), say those of Python
        signed = make({"sub": "alice", "pol": "gold", "exp": int(time.time()) + 600, "note": "für alle"})
    assert len(signed.tokens) == count
    with StrictUpstream() as upstream, Provider(OWN, folder) as provider:
        provider.pages["/set"] = (200, json.dumps(signed.keys).encode())
        apis = []
        for form in ("classic", "oas"):
            for family in sorted({*FAMILIES.values()}):
                source = b64(signed.secret) if family == "hmac" else f"{provider.url}/set"
                scheme = {"source": source, "signingMethod": family, "policyFieldName": "pol"}
                apis.append(jwt_api(form, f"{form}-{family}", upstream.port, scheme, strip=True))
        with jwt_world(folder, "sqlite", apis, upstream) as world:
            yield World(world, signed)


@EACH_SIGNER
@EACH_FORM
def test_what_a_library_signs(signer: World, form: str) -> None:
    """Each algorithm that it has, with its keys as it publishes them; one family's token opens no API of another family."""
    world = signer.gateway
    for name, (token, _) in signer.signed.tokens.items():
        family = FAMILIES[name[:2]]
        assert world.ask(f"{form}-{family}", token) == (200, ""), name
        assert world.seen("Authorization") is None
        served = len(world.upstream.requests)
        for other in {*FAMILIES.values()} - {family}:
            assert world.ask(f"{form}-{other}", token) == (403, "Key not authorized: Unexpected signing method"), name
        assert len(world.upstream.requests) == served


@EACH_SIGNER
@EACH_FORM
def test_what_it_did_not_sign(signer: World, form: str) -> None:
    """Another key of the same kind, another payload, another header, a piece of the signature or none: nothing goes upstream."""
    world = signer.gateway
    served = len(world.upstream.requests)
    for name, (token, forged) in signer.signed.tokens.items():
        head, payload, signature = token.split(".")
        claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
        root = part({**claims, "sub": "root"})
        other_head = part({**json.loads(base64.urlsafe_b64decode(head + "==")), "x": 1})
        bad = [forged, f"{head}.{root}.{signature}", f"{other_head}.{payload}.{signature}", f"{head}.{payload}.", f"{head}.{payload}"]
        bad.append(f"{head}.{payload}.{signature[: len(signature) // 2 // 4 * 4]}")
        bad.append(f"{head}.{payload}.{forged.split('.')[2]}")
        for each in bad:
            assert world.ask(f"{form}-{FAMILIES[name[:2]]}", each) == (403, "Key not authorized"), (name, each)
    assert len(world.upstream.requests) == served


def part(tree: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(tree).encode()).rstrip(b"=").decode()
