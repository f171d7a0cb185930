"""What a gateway must withstand from tokens and key sets, over TLS in both forms: the upstream hears nothing of any of it.

Source: JWT reference, sections 16 and 17; RFC 8725.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.certs import make_authority
from tests.support.credentials import EACH_FORM, told
from tests.support.forged import (
    DATES,
    KEY_IDS,
    SCRIPTS,
    SPELLINGS,
    forms_of_key,
    make_evil,
    odd_headers,
    odd_payloads,
    odd_texts,
    token_of,
)
from tests.support.gateway import Client, Response, ScriptedUpstream, StrictUpstream
from tests.support.jwt_world import OWN, SECRET, JwtWorld, jwt_api, jwt_world
from tests.support.provider import Provider, b64, sign_hmac

GOOD = (200, "")
NO_KEY = (403, "Key not authorized")
METHOD = (403, "Key not authorized: Unexpected signing method")
EXPIRED = (401, "Key not authorized: token has expired")
NOBODY = (403, "no suitable claims for user ID were found")
WYCHEPROOF = Path(__file__).parents[1] / "data" / "wycheproof"


def good(**claims: Any) -> dict[str, Any]:
    return {"sub": "alice", "pol": "gold", "exp": int(time.time()) + 300, **claims}


def make_apis(form: str, upstream: int, provider: Provider) -> list[dict[str, Any]]:
    """The same RSA key from a set and as a fixed source, EC from a set, and a shared secret."""
    pem = provider.keys["rsa"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    url = f"{provider.url}/keys"
    schemes: dict[str, dict[str, Any]] = {
        "set": {"signingMethod": "rsa", "source": url},
        "fixed": {"signingMethod": "rsa", "source": b64(pem)},
        "ec": {"signingMethod": "ecdsa", "source": url},
        "hmac": {"signingMethod": "hmac", "source": b64(SECRET)},
        "hmacset": {"signingMethod": "hmac", "source": url},
    }
    return [
        jwt_api(form, name, upstream, {"policyFieldName": "pol", **scheme}, places={"header": "Authorization", "query": "tok"})
        for name, scheme in schemes.items()
    ]


@EACH_FORM
def test_forged_tokens(tmp_path: Path, form: str) -> None:
    """No signature, signatures by public values, keys that the token brings along: nobody gets in, nothing is fetched."""
    with StrictUpstream() as upstream, Provider(OWN, tmp_path) as provider, Provider() as evil:
        forms = forms_of_key(provider.keys["rsa"].public_key(), provider.page("/keys")[1])
        mine, brought = make_evil(evil)
        with jwt_world(tmp_path, "sqlite", make_apis(form, upstream.port, provider), upstream) as world:
            rows: list[tuple[str, str, tuple[int, str]]] = []
            for api in world.apis:
                for spelling in SPELLINGS:
                    header = {"kid": "rsa"} if spelling is ... else {"alg": spelling, "kid": "rsa"}
                    expected = METHOD if spelling == "none" else NO_KEY
                    rows.append((api, token_of(header, good()), expected))
                    rows.append((api, token_of(header, good(), b"", "HS256"), expected))
            for api in ("set", "fixed", "ec"):
                for secret in forms:
                    for algorithm in ("HS256", "HS384", "HS512"):
                        rows.append((api, token_of({"alg": algorithm, "kid": "rsa"}, good(), secret, algorithm), METHOD))
                    # The header says RS256, the signature is an HMAC.
                    text = token_of({"alg": "RS256", "kid": "rsa"}, good(), secret, "HS256")
                    rows.append((api, text, METHOD if api == "ec" else NO_KEY))
            for secret in forms:
                rows.append(("hmac", token_of({"alg": "HS256", "kid": "rsa"}, good(), secret, "HS256"), NO_KEY))
                rows.append(("hmacset", token_of({"alg": "HS256", "kid": "rsa"}, good(), secret, "HS256"), NO_KEY))
            for name in ("hs256", "RS1", "HS1", "RSA", "RS256 ", "ES256K", "A128GCM", "dir"):
                for api in ("set", "hmac"):
                    rows.append((api, token_of({"alg": name, "kid": "rsa"}, good(), SECRET, "HS256"), NO_KEY))
            for extra in brought:
                for api in ("set", "fixed"):
                    rows.append((api, token_of({"alg": "RS256", "kid": "rsa", **extra}, good(iss=evil.url), mine, "RS256"), NO_KEY))
            for api, token, expected in rows:
                assert world.ask(api, token) == expected, (api, token[:60])
            assert evil.asked == [] and upstream.requests == []
            # The same members beside an honest signature are not looked at.
            for extra in brought[:4]:
                token = token_of({"alg": "RS256", "kid": "rsa", **extra}, good(), provider.keys["rsa"], "RS256")
                assert world.ask("set", token) == world.ask("fixed", token) == GOOD
            assert evil.asked == []


@EACH_FORM
def test_tokens_that_cannot_be_read_in_one_way_only(tmp_path: Path, form: str) -> None:
    """Signed by the right key, and still refused: ``crit``, repeated members, odd JSON, odd base64, odd parts, sizes beyond the bounds."""
    claims = good()
    with (
        StrictUpstream() as upstream,
        Provider(OWN, tmp_path) as provider,
        jwt_world(tmp_path, "sqlite", make_apis(form, upstream.port, provider), upstream) as world,
    ):
        head = {"alg": "HS256"}
        plain = token_of(head, claims, SECRET, "HS256")
        assert world.ask("hmac", plain) == GOOD
        first, second, third = plain.split(".")
        tokens = [token_of(head, payload, SECRET, "HS256") for payload in odd_payloads(claims)]
        tokens += [token_of(header, claims, SECRET, "HS256") for header in odd_headers("HS256")]
        tokens += odd_texts(plain)
        tokens += [
            token_of({"alg": "HS256", "cty": "JWT"}, plain.encode(), SECRET, "HS256"),
            token_of(head, good(x="y" * 20_000), SECRET, "HS256"),
            token_of({**head, "x": "y" * 9_000}, claims, SECRET, "HS256"),
        ]
        for token in tokens:
            assert world.ask("hmac", None, ("Authorization", f"Bearer {token}")) in (NO_KEY, (431, told_431(world))), token[:80]
            assert world.ask("hmac", None, target=f"x?tok={quote(token, safe='')}")[0] in (403, 414, 431), token[:80]
        for character in ("\n", "\r\n", "\0", "\u2028", "ü", "%0a"):
            for text in (plain + character, character + plain, f"{first}.{second}{character}.{third}"):
                assert world.ask("hmac", None, target=f"x?tok={quote(text, safe='')}") == NO_KEY, repr(character)
        assert len(upstream.requests) == 1
        assert world.ask("hmac", plain) == GOOD


def told_431(world: JwtWorld) -> str:
    """The words for a head that is too large."""
    return told(world.send("hmac", ("X-Large", "x" * 200_000)))[1]


@EACH_FORM
def test_claims_of_odd_types(tmp_path: Path, form: str) -> None:
    """Signed honestly: a date that is none has passed; who is no text is nobody; never an error, never a dropped connection."""
    with (
        StrictUpstream() as upstream,
        Provider(OWN, tmp_path) as provider,
        jwt_world(tmp_path, "sqlite", make_apis(form, upstream.port, provider), upstream) as world,
    ):

        def ask(text: str) -> tuple[int, str]:
            return world.ask("hmac", token_of({"alg": "HS256"}, text, SECRET, "HS256"))

        for date in DATES:
            for name, expected in (("exp", EXPIRED), ("nbf", "not valid yet"), ("iat", "used before issued")):
                told_ = ask(f'{{"sub": "alice", "pol": "gold", "{name}": {date}}}')
                if name == "exp":
                    # A number that JSON readers cannot hold is no JSON here: malformed.
                    assert told_ in (EXPIRED, NO_KEY), (name, date)
                elif date in ("0", "-1", "0.0", "1.5"):
                    assert told_ == GOOD, (name, date)
                else:
                    assert told_ == NO_KEY or (told_[0] == 401 and str(expected) in told_[1]), (name, date, told_)
        served = len(upstream.requests)
        for subject in ('["alice"]', '{"a": "alice"}', "7", "1e400", "null", "true", "[]", '[["alice"]]'):
            assert ask(f'{{"sub": {subject}, "pol": "gold"}}') in (NOBODY, NO_KEY), subject
        for policy in ('["gold"]', "7", "null", '{"gold": 1}'):
            assert ask(f'{{"sub": "alice", "pol": {policy}}}')[0] == 403
        assert len(upstream.requests) == served
        for claim in ("client_id", "cid", "clientId", "iss", "aud", "jti", "scope", "azp"):
            for value in ("7", "null", "[]", "[7]", '{"a": {}}', "true", '"\\u0000"', '"' + "x" * 5000 + '"'):
                assert ask(f'{{"sub": "alice", "pol": "gold", "{claim}": {value}}}') == GOOD, (claim, value)
        for subject in ("x" * 5000, "../../x", "a\\nb", "\\u0000", '\\"}', "ü", "\\ud800", "org", "*"):
            assert ask(f'{{"sub": "{subject}", "pol": "gold"}}') in (GOOD, NO_KEY, NOBODY), subject


@EACH_FORM
def test_key_ids_that_are_paths_and_queries(tmp_path: Path, form: str) -> None:
    """A name to look for, and nothing else."""
    with (
        StrictUpstream() as upstream,
        Provider(OWN, tmp_path) as provider,
        jwt_world(tmp_path, "sqlite", make_apis(form, upstream.port, provider), upstream) as world,
    ):
        for name in (*KEY_IDS, 7, None, True, ["rsa"], {"kid": "rsa"}):
            token = token_of({"alg": "RS256", "kid": name}, good(), provider.keys["rsa"], "RS256")
            assert world.ask("set", token) == NO_KEY, name
        assert {path for _, path, _, _ in provider.asked} == {"/keys"} and provider.count("/keys") <= 2
        assert upstream.requests == []


# Key sets that attack.


def unpaired(provider_port: int) -> dict[str, Any]:
    """A source on a port of plain HTTP."""
    return {"signingMethod": "rsa", "source": f"http://127.0.0.1:{provider_port}/keys", "policyFieldName": "pol"}


@EACH_FORM
def test_a_storm_of_unknown_key_ids(tmp_path: Path, form: str) -> None:
    """Ten thousand invented ids from eight connections: the provider is asked at most every ten seconds; the honest are served."""
    with (
        StrictUpstream() as upstream,
        Provider(OWN, tmp_path) as provider,
        jwt_world(tmp_path, "sqlite", make_apis(form, upstream.port, provider), upstream) as world,
    ):
        genuine = provider.token({"pol": "gold"})
        assert world.ask("set", genuine) == GOOD
        started = time.monotonic()
        before = provider.count("/keys")

        def tokens(number: int) -> Iterator[tuple[str, str]]:
            for each in range(1250):
                yield "set", token_of({"alg": "RS256", "kid": f"k{number}-{each}"}, good(), b"x", "HS256")

        honest = 0
        with world.storm([tokens(number) for number in range(8)]) as storm:
            while storm.blows:
                assert world.ask("set", genuine) == GOOD
                honest += 1
        elapsed = time.monotonic() - started
        assert storm.statuses == [403] * 10_000 and honest > 1
        assert provider.count("/keys") - before <= 1 + elapsed / 10


@EACH_FORM
@pytest.mark.parametrize("kind", sorted(SCRIPTS))
def test_a_key_set_that_does_not_end(tmp_path: Path, form: str, kind: str) -> None:
    """403 within ``identity_providers.timeout_s``, one connection for all who wait, bounded memory; other APIs do not notice."""

    with StrictUpstream() as upstream, ScriptedUpstream(SCRIPTS[kind]) as provider, Provider() as keys:
        apis = [
            jwt_api(form, "api", upstream.port, unpaired(provider.port)),
            jwt_api(form, "calm", upstream.port, unpaired(keys.port)),
        ]
        with jwt_world(tmp_path, "sqlite", apis, upstream, own={"identity_providers": {"timeout_s": 1}}) as world:
            memory = world.gateway.rss_kib()
            token = keys.token({"pol": "gold"})
            with world.asking("api", token, times=10) as answers:
                assert world.ask("calm", token) == GOOD
            assert answers == [NO_KEY] * 10
            assert provider.connections <= 4  # before the first request, then back-off
            assert world.gateway.rss_kib() - memory < 64 * 1024
            world.gateway.wait_event("jwks.unavailable")
            assert len(upstream.requests) == 1


@EACH_FORM
def test_a_key_set_that_is_elsewhere_or_none(tmp_path: Path, form: str) -> None:
    """Redirects are not followed, to anywhere; only a 200 with a set of usable keys counts; TLS is verified."""
    with StrictUpstream() as upstream, Provider() as evil:
        public = evil.page("/keys")[1]
        pages: dict[str, tuple[int, bytes]] = {
            "ok": (200, public),
            "notfound": (404, public),
            "created": (201, public),
            "error": (500, public),
            "list": (200, json.dumps(json.loads(public)["keys"]).encode()),
            "empty": (200, b'{"keys": []}'),
            "text": (200, b"<html>keys</html>"),
            "twice": (200, b'{"keys": [], ' + public[1:]),
            "huge": (200, public[:-1] + b', "x": "' + b"y" * 600_000 + b'"}'),
            "deep": (200, b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b", " + public[1:]),
            "many": (200, json.dumps({"keys": json.loads(public)["keys"] * 300}).encode()),
        }
        evil.pages = {f"/{name}": page for name, page in pages.items()}
        redirects = {f"r{status}": status for status in (301, 302, 303, 307, 308)}
        for name, status in redirects.items():
            evil.pages[f"/{name}"] = status, b""
        evil.headers = {"Location": f"{evil.url}/target"}
        evil.pages["/target"] = 200, public
        with Provider(make_authority("Somebody Else").issue("localhost", names=["localhost"]), tmp_path) as foreign:
            apis = [
                jwt_api(form, name, upstream.port, {"signingMethod": "rsa", "source": f"{evil.url}/{name}", "policyFieldName": "pol"})
                for name in (*pages, *redirects)
            ]
            source = {"signingMethod": "rsa", "source": f"{foreign.url}/keys", "policyFieldName": "pol"}
            apis.append(jwt_api(form, "foreign", upstream.port, source))
            with jwt_world(tmp_path, "sqlite", apis, upstream) as world:
                token = evil.token({"pol": "gold"})
                for api in world.apis:
                    assert world.ask(api, token) == (GOOD if api == "ok" else NO_KEY), api
                assert evil.count("/target") == 0 and foreign.asked == []
                assert len(upstream.requests) == 1


@EACH_FORM
def test_hosts_and_schemes_that_may_be_asked(tmp_path: Path, form: str) -> None:
    """``identity_providers.allowed_hosts`` and ``require_https``: a definition cannot make the gateway ask elsewhere."""
    with StrictUpstream() as upstream, Provider(OWN, tmp_path) as provider, Provider() as plain:
        sources = {
            "ok": f"{provider.url}/keys",
            "plain": f"{plain.url}/keys",
            "other": f"https://127.0.0.1:{provider.port}/keys",
            "meta": "http://169.254.169.254/latest/meta-data/",
            "user": f"https://localhost@127.0.0.1:{provider.port}/keys",
        }
        apis = [
            jwt_api(form, name, upstream.port, {"signingMethod": "rsa", "source": url, "policyFieldName": "pol"})
            for name, url in sources.items()
        ]
        own = {"identity_providers": {"allowed_hosts": ["localhost"], "require_https": True}}
        with jwt_world(tmp_path, "sqlite", apis, upstream, own=own) as world:
            token = provider.token({"pol": "gold"})
            for api in world.apis:
                told_ = world.ask(api, token)
                assert told_ == GOOD if api == "ok" else told_[0] in (403, 503), (api, told_)
            assert plain.asked == [] and provider.count("/keys") == 1


# Wycheproof over HTTP (section 17).


def wycheproof() -> list[tuple[str, dict[str, Any], list[str]]]:
    """(name, key or key set, tokens) of each group."""
    found = []
    for file in ("json_web_signature", "json_web_key", "json_web_crypto"):
        for number, group in enumerate(json.loads((WYCHEPROOF / f"{file}.json").read_text())["testGroups"]):
            tokens = [case.get("jws", case.get("jwe")) for case in group["tests"]]
            texts = [text if isinstance(text, str) else json.dumps(text) for text in tokens]
            found.append((f"{file.replace('_', '')}{number}", group.get("public") or group["private"], texts))
    return found


@EACH_FORM
def test_vectors_over_http(tmp_path: Path, form: str) -> None:
    """Each vector as a bearer token, in the header and in a parameter: never 200, never an error, never a dropped connection."""
    groups = wycheproof()
    with StrictUpstream() as upstream, Provider() as provider:
        apis = []
        for name, key, _ in groups:
            keys = key.get("keys", [key])
            provider.pages[f"/{name}"] = 200, json.dumps({"keys": keys}).encode()
            kind = {"RSA": "rsa", "EC": "ecdsa"}.get(keys[0]["kty"], "hmac")
            source = f"{provider.url}/{name}"
            if kind == "hmac" and "keys" not in key:
                source = base64.b64encode(base64.urlsafe_b64decode(key["k"] + "==")).decode()
            scheme = {"signingMethod": kind, "source": source, "defaultPolicies": ["gold"]}
            apis.append(jwt_api(form, name, upstream.port, scheme, places={"header": "Authorization", "query": "tok"}))
        with jwt_world(tmp_path, "sqlite", apis, upstream) as world:
            client = Client(world.gateway.port, sni="localhost")

            def send(name: str, target: str, *headers: tuple[str, str]) -> Response:
                nonlocal client
                answer = client.request("GET", f"/{name}/{target}", headers=headers)
                if "close" in answer.headers.get("connection", ""):
                    client.close()
                    client = Client(world.gateway.port, sni="localhost")
                return answer

            sent = 0
            for name, _, tokens in groups:
                for token in tokens:
                    statuses = {send(name, f"x?tok={quote(token, safe='')}").status}
                    if token.isascii() and token.isprintable():
                        statuses.add(send(name, "x", ("Authorization", f"Bearer {token}")).status)
                    assert statuses <= {400, 401, 403, 414, 431}, (name, token[:60], statuses)
                    sent += 1
            client.close()
            assert sent == 401 + 26 + 83
            assert upstream.requests == []
            # The wiring of the groups is right: a signed object of claims gets in by the same keys.
            secret = base64.urlsafe_b64decode(groups[0][1]["k"] + "==")
            assert world.ask(groups[0][0], sign_hmac({"sub": "alice"}, secret)) == GOOD
