"""The rows of the JWT reference over TLS, in both forms: where tokens are read, whose keys verify, what they have to claim."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

from tests.support.certs import make_authority
from tests.support.credentials import EACH_FORM
from tests.support.gateway import StrictUpstream
from tests.support.jwt_world import OWN, SECRET, hmac_token, jwt_api, jwt_world
from tests.support.provider import Provider, b64, sign_hmac

HMAC = {"signingMethod": "hmac", "source": b64(SECRET), "policyFieldName": "pol"}
GOOD = (200, "")
NO_KEY = (403, "Key not authorized")
METHOD = (403, "Key not authorized: Unexpected signing method")
MISSING = (400, "Authorization field missing")
NO_POLICY = (403, "key not authorized: no matching policy found")


def claim_fault(reason: str) -> tuple[int, str]:
    return 401, f"Key not authorized: {reason}"


# Where the token is read (section 1).


@EACH_FORM
def test_the_places_of_a_token(tmp_path: Path, form: str) -> None:
    """Cookie before parameter before header; an empty value erases nothing; only a leading ``Bearer`` and one blank are dropped."""
    good, bad = hmac_token(), hmac_token(secret=b"x" * 32)
    everywhere = {"header": "X-Token", "query": "tok", "cookie": "jar"}
    with StrictUpstream() as upstream:
        apis = [
            jwt_api(form, "one", upstream.port, HMAC),
            jwt_api(form, "all", upstream.port, HMAC, places=everywhere),
            jwt_api(form, "none", upstream.port, HMAC, places={"query": "tok"}),
        ]
        with jwt_world(tmp_path, "sqlite", apis, upstream) as world:

            def ask(api: str, *headers: tuple[str, str], target: str = "x") -> tuple[int, str]:
                return world.ask(api, None, *headers, target=target)

            for value in (f"Bearer {good}", f"bEARER {good}", good):
                assert ask("one", ("Authorization", value)) == GOOD, value[:8]
                assert ask("one", ("aUTHORIZATION", value)) == GOOD
            for value in (
                f"Bearer: {good}",
                f"Bearer bearer{good}",
                f"bearer Bearer {good}",
                f"Bearer  {good}",
                f"Basic {good}",
                "Bearer x",
            ):
                assert ask("one", ("Authorization", value)) == NO_KEY, value[:15]
            assert ask("one") == ask("one", ("Authorization", "")) == MISSING
            assert ask("one", target=f"x?Authorization={good}") == ask("one", ("Cookie", f"Authorization={good}")) == MISSING
            twice = ask("one", ("Authorization", f"Bearer {good}"), ("Authorization", f"Bearer {good}"))
            assert twice == (400, "Attempted access with malformed header")

            assert ask("all", ("X-Token", good)) == ask("all", target=f"x?tok={good}") == ask("all", ("Cookie", f"jar={good}")) == GOOD
            assert ask("all", ("X-Token", good), target="x?tok=") == ask("all", ("X-Token", good), ("Cookie", "jar=")) == GOOD
            assert ask("all", ("X-Token", bad), target=f"x?tok={good}") == GOOD
            assert ask("all", ("X-Token", good), target=f"x?tok={bad}") == NO_KEY
            assert ask("all", ("Cookie", f"jar={good}"), target=f"x?tok={bad}") == GOOD
            assert ask("all", ("Cookie", f"jar={bad}"), ("X-Token", good), target=f"x?tok={good}") == NO_KEY
            assert ask("all", target=f"x?TOK={good}") == ask("all", ("Authorization", good)) == MISSING
            assert ask("all", target=f"x?tok=Bearer%20{good}") == GOOD

            assert ask("none", ("Authorization", good)) == MISSING
            assert ask("none", target=f"x?tok={good}") == GOOD


@EACH_FORM
def test_the_token_goes_upstream_unless_it_is_stripped(tmp_path: Path, form: str) -> None:
    """``strip_auth_data`` removes header, parameter and cookie; what is beside them stays."""
    places = {"header": "Authorization", "query": "tok", "cookie": "jar"}
    with StrictUpstream() as upstream:
        apis = [jwt_api(form, name, upstream.port, HMAC, places=places, strip=name == "strip") for name in ("keep", "strip")]
        with jwt_world(tmp_path, "sqlite", apis, upstream) as world:
            token = hmac_token()
            for api in ("keep", "strip"):
                assert world.ask(api, token, ("Cookie", f"jar={token}; other=1"), target=f"x?tok={token}&a=b") == GOOD
            kept, stripped = world.upstream.requests
            assert kept.header("Authorization") == f"Bearer {token}" and token in kept.target and token in (kept.header("Cookie") or "")
            assert token.encode() not in stripped.raw_head
            assert stripped.header("Cookie") == "other=1" and stripped.target.endswith("/x?a=b")


# Algorithms and fixed keys (section 4).

_RSA = rsa.generate_private_key(65537, 2048)
_EC = {
    name: ec.generate_private_key(curve)
    for name, curve in (("ES256", ec.SECP256R1()), ("ES384", ec.SECP384R1()), ("ES512", ec.SECP521R1()))
}
_ED = ed25519.Ed25519PrivateKey.generate()
_RSA_NAMES = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")


def public(key: Any, encoding: Encoding = Encoding.PEM, kind: PublicFormat = PublicFormat.SubjectPublicKeyInfo) -> str:
    """Base64 of a public key."""
    return b64(key.public_key().public_bytes(encoding, kind))


def signed(key: Any, algorithm: str, **claims: Any) -> str:
    return jwt.encode({"sub": "alice", "pol": "gold", "exp": int(time.time()) + 300, **claims}, key, algorithm=algorithm)


@EACH_FORM
def test_each_algorithm_with_each_form_of_a_fixed_key(tmp_path: Path, form: str) -> None:
    """Within a family the token chooses; PEM, DER, certificates and PKCS#1; EdDSA is ours; curve and algorithm go together."""
    issued = make_authority().issue("signer")
    certificate_key = issued.key
    sources = {
        "rsapem": ("rsa", public(_RSA)),
        "rsader": ("rsa", public(_RSA, Encoding.DER)),
        "pkcs1": ("rsa", public(_RSA, Encoding.PEM, PublicFormat.PKCS1)),
        "byname": ("RS256", public(_RSA)),
        "upper": ("RSA", public(_RSA)),
        "certpem": ("ecdsa", b64(issued.pem)),
        "certder": ("ecdsa", b64(issued.der)),
        "es256": ("ecdsa", public(_EC["ES256"])),
        "es384": ("ES384", public(_EC["ES384"], Encoding.DER)),
        "es512": ("ecdsa", public(_EC["ES512"])),
        "eddsa": ("eddsa", public(_ED)),
        "eddsader": ("EdDSA", public(_ED, Encoding.DER)),
        "hs": ("hmac", b64(b"k" * 64)),
        "hsname": ("HS512", b64(b"k" * 64)),
        "hsblank": ("", b64(b"k" * 64)),
    }
    with StrictUpstream() as upstream:
        apis = [
            jwt_api(form, name, upstream.port, {"signingMethod": method, "source": source, "policyFieldName": "pol"})
            for name, (method, source) in sources.items()
        ]
        with jwt_world(tmp_path, "sqlite", apis, upstream) as world:
            for api in ("rsapem", "rsader", "pkcs1", "byname", "upper"):
                for algorithm in _RSA_NAMES:
                    assert world.ask(api, signed(_RSA, algorithm)) == GOOD, (api, algorithm)
                assert world.ask(api, signed(_EC["ES256"], "ES256")) == METHOD
                assert world.ask(api, signed(_ED, "EdDSA")) == METHOD
                assert world.ask(api, signed(rsa.generate_private_key(65537, 2048), "RS256")) == NO_KEY
            for api in ("certpem", "certder"):
                curve = {256: "ES256", 384: "ES384", 521: "ES512"}[certificate_key.curve.key_size]
                assert world.ask(api, signed(certificate_key, curve)) == GOOD
            for name, key in _EC.items():
                assert world.ask(name.lower(), signed(key, name)) == GOOD
                for other, other_key in _EC.items():
                    if other != name:
                        assert world.ask(name.lower(), signed(other_key, other)) == NO_KEY
                assert world.ask(name.lower(), signed(_RSA, "RS256")) == METHOD
            for api in ("eddsa", "eddsader"):
                assert world.ask(api, signed(_ED, "EdDSA")) == GOOD
                assert world.ask(api, signed(ed25519.Ed25519PrivateKey.generate(), "EdDSA")) == NO_KEY
                assert world.ask(api, signed(_EC["ES256"], "ES256")) == METHOD
            for api in ("hs", "hsname", "hsblank"):
                for algorithm in ("HS256", "HS384", "HS512"):
                    assert world.ask(api, signed(b"k" * 64, algorithm)) == GOOD
                assert world.ask(api, signed(_RSA, "RS256")) == METHOD


@EACH_FORM
def test_the_token_of_the_seed(tmp_path: Path, form: str) -> None:
    """``tyk123`` in base64; no ``kid``, no ``exp``; the default policy."""
    token = sign_hmac({"sub": "1234567890", "name": "John Doe", "iat": 1516239022}, b"tyk123")
    with StrictUpstream() as upstream:
        scheme = {"signingMethod": "hmac", "source": "dHlrMTIz", "identityBaseField": "sub", "defaultPolicies": ["gold"]}
        with jwt_world(tmp_path, "sqlite", [jwt_api(form, "api", upstream.port, scheme)], upstream) as world:
            assert world.ask("api", token) == GOOD
            assert world.sessions()["1234567890"]["apply_policies"] == ["gold"]


@EACH_FORM
def test_what_cannot_verify_is_refused_when_it_is_loaded(tmp_path: Path, form: str) -> None:
    """From a file it never answers, put in through the control API it is a 400 that says what to do; the secret is never told."""
    private = _RSA.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    weak = rsa.generate_private_key(65537, 1024)
    sources = {
        "plain": ("hmac", "tyk123"),
        "unknown": ("SHA256", b64(SECRET)),
        "confused": ("hmac", public(_RSA)),
        "confusedder": ("hmac", public(_EC["ES256"], Encoding.DER)),
        "confusedcert": ("HS256", b64(OWN.pem)),
        "confusedjwk": ("hmac", b64(json.dumps(jwk(_RSA, kid="a")))),
        "confusedset": ("hmac", b64(json.dumps({"keys": [jwk(_RSA, kid="a")]}))),
        "private": ("rsa", b64(private)),
        "broken": ("rsa", b64(b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")),
        "other": ("ecdsa", public(_RSA)),
        "weak": ("rsa", public(weak)),
        "unsaid": ("", public(_RSA)),
        "emptyhmac": ("hmac", " \n"),
    }
    with StrictUpstream() as upstream:
        apis = [
            jwt_api(form, name, upstream.port, {"signingMethod": method, "source": source, "defaultPolicies": ["gold"]})
            for name, (method, source) in sources.items()
        ]
        with jwt_world(tmp_path, "sqlite", apis, upstream) as world:
            for api, (name, (_, source)) in zip(apis, sources.items(), strict=True):
                for token in (None, hmac_token(secret=b""), signed(b"x" * 32, "HS256")):
                    assert world.ask(name, token)[0] == 503, name
                status, answer = world.control("POST", "/tyk/apis" + ("/oas" if form == "oas" else ""), api)
                assert status == 400, (name, answer)
                assert answer["status"] == "error" and (source.strip() == "" or source not in json.dumps(answer)), name
            assert upstream.requests == []


# Key sets (section 5).


def jwk(key: Any, **members: Any) -> dict[str, Any]:
    kind: Any = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    made: dict[str, Any] = kind.to_jwk(key.public_key(), as_dict=True)
    made.pop("key_ops", None)
    return {**made, **members}


def certificate_of(key: rsa.RSAPrivateKey) -> x509.Certificate:
    """A certificate that signs itself."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "signer")])
    start = datetime(2020, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, start, start + timedelta(days=1))
    return builder.sign(key, hashes.SHA256())


def by_kid(key: Any, algorithm: str, kid: Any) -> str:
    header = {} if kid is ... else {"kid": kid}
    claims = {"sub": "alice", "pol": "gold", "exp": int(time.time()) + 300}
    if not isinstance(kid, str) and kid is not ...:
        # PyJWT refuses to write what no reader may take.
        from jwt.utils import base64url_encode

        text = ".".join(base64url_encode(json.dumps(part).encode()).decode() for part in ({"alg": algorithm, **header}, claims))
        return text + "." + base64url_encode(jwt.algorithms.get_default_algorithms()[algorithm].sign(text.encode(), key)).decode()
    return jwt.encode(claims, key, algorithm=algorithm, headers=header)


@EACH_FORM
def test_the_forms_of_a_key_set(tmp_path: Path, form: str) -> None:
    """Addresses in plain text and base64, again while cached; certificates in both spellings; one bad key spoils nothing."""
    leaf, other = certificate_of(_RSA), certificate_of(rsa.generate_private_key(65537, 2048))
    rsa_only = {name: value for name, value in jwk(_RSA).items() if name not in ("n", "e")}
    der, pem = b64(leaf.public_bytes(Encoding.DER)), b64(leaf.public_bytes(Encoding.PEM))
    keys = [
        {"kty": "what", "kid": "odd"},
        "text",
        jwk(_RSA, kid="numbers"),
        jwk(_RSA, kid="both", x5c=[der]),
        jwk(_RSA, kid="bothpem", x5c=[pem]),
        {**rsa_only, "kid": "der", "x5c": [der]},
        {**rsa_only, "kid": "pem", "x5c": [pem]},
        jwk(_RSA, kid="quarrel", x5c=[b64(other.public_bytes(Encoding.DER))]),
        jwk(_RSA, kid="broken", x5c=["AAAA"]),
        jwk(_RSA, kid="thumb", x5c=[der], x5t="AAAA"),
        jwk(_RSA, kid="enc", use="enc"),
        jwk(_RSA, kid="ops", key_ops=["encrypt"]),
        jwk(_RSA, kid="ps", alg="PS256"),
        jwk(_EC["ES256"], kid="ec"),
        jwk(rsa.generate_private_key(65537, 1024), kid="small"),
        {"kty": "oct", "k": b64(SECRET).rstrip("="), "kid": "oct"},
        jwk(_RSA, kid=7),
        {**jwt.algorithms.RSAAlgorithm.to_jwk(_RSA, as_dict=True), "kid": "private", "key_ops": ["sign", "verify"]},
        {**jwt.algorithms.ECAlgorithm.to_jwk(_EC["ES256"], as_dict=True), "kid": "ecprivate"},
    ]
    with StrictUpstream() as upstream, Provider(OWN, tmp_path) as provider:
        provider.pages["/set"] = 200, json.dumps({"keys": keys}).encode()
        url = f"{provider.url}/set"
        method = {"signingMethod": "rsa", "policyFieldName": "pol"}
        apis = [
            jwt_api(form, "plain", upstream.port, {**method, "source": url}),
            jwt_api(form, "based", upstream.port, {**method, "source": b64(url)}),
            jwt_api(form, "list", upstream.port, {**method, "jwksURIs": [{"url": url, "cacheTimeout": "300s"}]}),
            jwt_api(form, "ec", upstream.port, {**method, "signingMethod": "ecdsa", "source": url}),
            jwt_api(form, "secret", upstream.port, {**method, "signingMethod": "hmac", "source": url}),
        ]
        with jwt_world(tmp_path, "sqlite", apis, upstream) as world:
            spoilt = ("quarrel", "broken", "thumb", "enc", "ops", "ps", "ec", "small", "odd", "private", "gone", "")
            for api in ("plain", "based", "list"):
                for _ in range(2):
                    for kid in ("numbers", "both", "bothpem", "der", "pem"):
                        assert world.ask(api, by_kid(_RSA, "RS256", kid)) == GOOD, (api, kid)
                assert world.ask(api, by_kid(_RSA, "PS256", "ps")) == GOOD
                for bad in (*spoilt, 7, None, ["numbers"], ...):
                    assert world.ask(api, by_kid(_RSA, "RS256", bad)) == NO_KEY, (api, bad)
            assert world.ask("ec", by_kid(_EC["ES256"], "ES256", "ec")) == GOOD
            assert world.ask("ec", by_kid(_EC["ES256"], "ES256", "numbers")) == NO_KEY
            assert world.ask("ec", by_kid(_EC["ES256"], "ES256", "ecprivate")) == NO_KEY
            assert world.ask("secret", hmac_token(kid="oct")) == NO_KEY
            assert provider.count("/set") <= 2  # one before the first request; an unknown id may ask once more
            told = [event["reason"] for event in world.gateway.events if event.get("event") == "jwks.bad_key"]
            assert any("keys[7]" in reason for reason in told) and not any("keys[2]" in reason for reason in told)


@EACH_FORM
def test_several_key_sets(tmp_path: Path, form: str) -> None:
    """Searched in order; one that does not answer is passed over, and takes nothing from the others."""
    with StrictUpstream() as upstream, Provider(OWN, tmp_path) as provider:
        one, two = rsa.generate_private_key(65537, 2048), rsa.generate_private_key(65537, 2048)
        provider.pages["/one"] = 200, json.dumps({"keys": [jwk(one, kid="a"), jwk(one, kid="same")]}).encode()
        provider.pages["/two"] = 200, json.dumps({"keys": [jwk(two, kid="b"), jwk(two, kid="same")]}).encode()
        provider.pages["/bad"] = 500, json.dumps({"keys": [jwk(_RSA, kid="c")]}).encode()
        addresses = [{"url": f"{provider.url}/{name}"} for name in ("bad", "one", "two")]
        scheme = {"signingMethod": "rsa", "policyFieldName": "pol", "jwksURIs": addresses}
        with jwt_world(tmp_path, "sqlite", [jwt_api(form, "api", upstream.port, scheme)], upstream) as world:
            assert world.ask("api", by_kid(one, "RS256", "a")) == GOOD
            assert world.ask("api", by_kid(two, "RS256", "b")) == GOOD
            assert world.ask("api", by_kid(one, "RS256", "same")) == GOOD
            assert world.ask("api", by_kid(two, "RS256", "same")) == NO_KEY
            assert world.ask("api", by_kid(_RSA, "RS256", "c")) == NO_KEY  # its set came with a 500


# Claims (sections 6 and 7).


@EACH_FORM
def test_what_a_token_has_to_claim(tmp_path: Path, form: str) -> None:
    """In this order, each with Tyk's words; a rule that only logs lets pass."""
    rules = {
        "allowedIssuers": ["https://idp.example", "https://other.example"],
        "allowedAudiences": ["orders", "bills"],
        "jtiValidation": {"enabled": True},
        "allowedSubjects": ["alice", "bob"],
    }
    custom = {
        "realm.roles": {"type": "contains", "allowedValues": ["admin", "root"]},
        "level": {"type": "exact_match", "allowedValues": [1, 2]},
        "email": {"type": "required"},
        "beta": {"type": "exact_match", "allowedValues": [True], "nonBlocking": True},
    }
    full = {"iss": "https://idp.example", "aud": ["x", "bills"], "jti": "1", "realm": {"roles": ["user", "root"]}, "level": 2, "email": ""}
    rows: list[tuple[dict[str, Any], tuple[int, str]]] = [
        ({}, GOOD),
        ({"aud": "orders"}, GOOD),
        ({"iss": ...}, claim_fault("issuer claim is required but not present in token")),
        ({"iss": 7}, claim_fault("issuer claim must be a string")),
        ({"iss": "https://idp.example/"}, claim_fault("invalid issuer claim: https://idp.example/")),
        ({"aud": ...}, claim_fault("audience claim is required but not present in token")),
        ({"aud": {"a": 1}}, claim_fault("invalid audience claim format")),
        ({"aud": ["a", 7, "b"]}, claim_fault("no matching audience found in token: [a b]")),
        ({"aud": "Orders"}, claim_fault("no matching audience found in token: [Orders]")),
        ({"jti": ...}, claim_fault("JWT ID (jti) claim is required but not present in token")),
        ({"jti": None}, GOOD),
        ({"sub": "mallory"}, claim_fault("invalid subject value: mallory")),
        ({"sub": ["alice"]}, claim_fault("no suitable claims for user ID were found")),
        ({"realm": {"roles": ["adm"]}}, claim_fault("claim realm.roles value does not contain any expected values")),
        ({"realm": {}}, claim_fault("custom claim realm.roles is required but not present in token")),
        ({"level": "2"}, claim_fault("claim level value does not match any expected values")),
        ({"email": None}, claim_fault("custom claim email expects a non nil value")),
        ({"email": ...}, claim_fault("custom claim email is required but not present in token")),
        ({"beta": False}, GOOD),
        ({"iss": 7, "exp": 1}, claim_fault("token has expired")),
        ({"exp": 1, "nbf": 4_000_000_000}, claim_fault("token is not valid yet")),
        ({"exp": None}, claim_fault("token has expired")),
        ({"iat": True}, claim_fault("token used before issued")),
        ({"exp": time.time() + 300.5, "iat": time.time() - 0.5}, GOOD),
    ]
    with StrictUpstream() as upstream:
        api = jwt_api(form, "api", upstream.port, {**HMAC, **rules, "customClaimValidation": custom})
        with jwt_world(tmp_path, "sqlite", [api], upstream) as world:
            for claims, told in rows:
                before = len(upstream.requests)
                assert world.ask("api", hmac_token({**full, **claims}, kid="nobody")) == told, claims
                assert len(upstream.requests) == before + (told == GOOD), claims


@EACH_FORM
def test_whom_a_token_is_about(tmp_path: Path, form: str) -> None:
    """The named claim, a path too, then ``sub``; an empty text ends the search; ``kid`` says nothing."""
    with StrictUpstream() as upstream:
        apis = [
            jwt_api(form, "named", upstream.port, {**HMAC, "identityBaseField": "user.id"}),
            jwt_api(form, "several", upstream.port, {**HMAC, "subjectClaims": ["mail", "user.id"]}),
            jwt_api(form, "plain", upstream.port, HMAC),
        ]
        of_sub = "found an empty user ID in " + ("predefined base claim, claim: sub" if form == "oas" else "sub claim")
        rows: list[tuple[str, dict[str, Any], str]] = [
            ("named", {"user": {"id": "u1"}, "sub": "s1"}, "u1"),
            ("named", {"user.id": "u2", "user": {"id": "no"}, "sub": "s1"}, "u2"),
            ("named", {"user": {"id": 7}, "sub": "s3"}, "s3"),
            ("several", {"mail": ["x"], "user": {"id": "u4"}}, "u4"),
            ("several", {"mail": "m5", "user": {"id": "no"}}, "m5"),
            ("several", {"sub": "s6"}, "s6"),
        ]
        with jwt_world(tmp_path, "sqlite", apis, upstream) as world:
            for api, claims, alias in rows:
                assert world.ask(api, hmac_token(claims, kid="kid")) == GOOD, claims
                assert alias in world.sessions(), (claims, alias)
            assert not {"no", "kid", "alice"} & set(world.sessions())
            empty = "found an empty user ID in predefined base claim, claim: user.id"
            assert world.ask("named", hmac_token({"user": {"id": ""}})) == (403, empty)
            assert world.ask("plain", hmac_token({"sub": ""})) == (403, of_sub)
            for sub in (..., 7, True, None, ["a"], {"a": "b"}):
                assert world.ask("plain", hmac_token({"sub": sub})) == (403, "no suitable claims for user ID were found")
