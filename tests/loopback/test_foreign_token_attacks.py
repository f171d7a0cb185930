"""What OpenID and External OAuth must withstand from tokens, providers and authorization servers, over TLS in both forms.

The upstream hears nothing of any of it; the same for JWT stands in ``test_jwt_attacks``. Source: JWT reference, sections 12, 13 and 16.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.certs import make_authority
from tests.support.credentials import EACH_FORM, EACH_WORLD
from tests.support.foreign_tokens import external_api, foreign_apis, introspect, openid_api, token_for
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
from tests.support.gateway import Client, ScriptedUpstream, StrictUpstream, wait_until
from tests.support.jwt_world import OWN, SECRET, JwtWorld, jwt_api, jwt_world
from tests.support.provider import Provider, b64

GOOD = (200, "")
DENIED = (401, "Key not authorised")
FAILED = (500, "error happened during the access token validation")
SIGNATURE = (401, "token verification failed: signature is invalid")
NOT_VALID = (401, "access token is not valid")
NOBODY = (401, "token verification failed: no suitable claims for user ID were found")


def make_apis(form: str, upstream: int, provider: Provider) -> list[dict[str, Any]]:
    """ID tokens; access tokens by a set, by the same RSA key as a fixed source, by the EC key of the set, and by a shared secret."""
    pem = provider.keys["rsa"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    url = f"{provider.url}/keys"
    ways = {"set": ("rsa", url), "fixed": ("rsa", b64(pem)), "ec": ("ecdsa", url), "hmac": ("hmac", b64(SECRET)), "hmacset": ("hmac", url)}
    made = [
        external_api(form, name, upstream, [{"jwt": {"enabled": True, "signingMethod": method, "source": source}}])
        for name, (method, source) in ways.items()
    ]
    return [openid_api(form, "oidc", upstream, [{"issuer": provider.discover(), "clients": {"web": "gold"}}]), *made]


def good(provider: Provider, **claims: Any) -> dict[str, Any]:
    return {"iss": provider.url, "aud": "web", "sub": "alice", "exp": int(time.time()) + 300, **claims}


@EACH_FORM
def test_forged_tokens(tmp_path: Path, form: str) -> None:
    """No signature, signatures by public values, keys that the token brings along: nobody gets in, nothing is fetched."""
    with StrictUpstream() as upstream, Provider(OWN, tmp_path) as provider, Provider() as evil:
        forms = forms_of_key(provider.keys["rsa"].public_key(), provider.page("/keys")[1])
        mine, brought = make_evil(evil)
        evil.discover()
        with jwt_world(tmp_path, "sqlite", make_apis(form, upstream.port, provider), upstream) as world:
            claims = good(provider)
            external = [api for api in world.apis if api != "oidc"]
            rows: list[tuple[str, str, tuple[int, str] | None]] = []  # None: 401 in words that depend
            for spelling in SPELLINGS:
                header = {"kid": "rsa"} if spelling is ... else {"alg": spelling, "kid": "rsa"}
                for token in (token_of(header, claims), token_of(header, claims, b"", "HS256")):
                    rows.append(("oidc", token, DENIED))
                    rows += [(api, token, FAILED if spelling == "none" else None) for api in external]
            for secret in forms:
                for algorithm in ("HS256", "HS384", "HS512"):
                    token = token_of({"alg": algorithm, "kid": "rsa"}, claims, secret, algorithm)
                    rows += [("oidc", token, DENIED), ("hmac", token, SIGNATURE), ("hmacset", token, SIGNATURE)]
                    rows += [(api, token, FAILED) for api in ("set", "fixed", "ec")]
                # The header says RS256, the signature is an HMAC.
                token = token_of({"alg": "RS256", "kid": "rsa"}, claims, secret, "HS256")
                rows += [("oidc", token, DENIED), ("set", token, SIGNATURE), ("fixed", token, SIGNATURE), ("ec", token, FAILED)]
            for name in ("hs256", "RS1", "HS1", "RSA", "RS256 ", "ES256K", "A128GCM", "dir"):
                token = token_of({"alg": name, "kid": "rsa"}, claims, SECRET, "HS256")
                rows += [("oidc", token, DENIED), ("set", token, None), ("hmac", token, None)]
            for extra in brought:
                token = token_of({"alg": "RS256", "kid": "rsa", **extra}, claims, mine, "RS256")
                rows += [("oidc", token, DENIED), ("set", token, SIGNATURE), ("fixed", token, SIGNATURE)]
                theirs = token_of({"alg": "RS256", "kid": "rsa", **extra}, good(evil), mine, "RS256")
                rows += [("oidc", theirs, DENIED), ("set", theirs, SIGNATURE)]
            for api, token, expected in rows:
                told = world.ask(api, token)
                assert told == expected if expected else told[0] == 401, (api, token[:60], told)
            assert evil.asked == [] and upstream.requests == []
            # The same members beside an honest signature are not looked at.
            for extra in brought[:4]:
                token = token_of({"alg": "RS256", "kid": "rsa", **extra}, claims, provider.keys["rsa"], "RS256")
                assert world.ask("oidc", token) == world.ask("set", token) == world.ask("fixed", token) == GOOD
            assert evil.asked == []


@EACH_FORM
def test_tokens_that_cannot_be_read_in_one_way_only(tmp_path: Path, form: str) -> None:
    """Signed by the right key, and still refused: ``crit``, repeated members, odd JSON, odd base64, odd parts, sizes beyond the bounds."""
    with (
        StrictUpstream() as upstream,
        Provider(OWN, tmp_path) as provider,
        jwt_world(tmp_path, "sqlite", make_apis(form, upstream.port, provider), upstream) as world,
    ):
        claims, key, head = good(provider), provider.keys["rsa"], {"alg": "RS256", "kid": "rsa"}
        plain = token_of(head, claims, key, "RS256")
        assert world.ask("oidc", plain) == world.ask("set", plain) == GOOD
        tokens = [token_of(head, payload, key, "RS256") for payload in odd_payloads(claims)]
        tokens += [token_of(header, claims, key, "RS256") for header in odd_headers("RS256", kid="rsa")]
        tokens += odd_texts(plain)
        tokens += [
            token_of({**head, "cty": "JWT"}, plain.encode(), key, "RS256"),
            token_of(head, {**claims, "x": "y" * 20_000}, key, "RS256"),
            token_of({**head, "x": "y" * 9_000}, claims, key, "RS256"),
        ]
        for token in tokens:
            for api in ("oidc", "set"):
                assert world.ask(api, None, ("Authorization", f"Bearer {token}"))[0] in (401, 431), (api, token[:80])
        assert len(upstream.requests) == 2
        assert world.ask("oidc", plain) == world.ask("set", plain) == GOOD


@EACH_FORM
def test_claims_of_odd_types(tmp_path: Path, form: str) -> None:
    """Signed honestly: a date that is none has passed; who is no text is nobody; never an error, never a dropped connection."""
    with (
        StrictUpstream() as upstream,
        Provider(OWN, tmp_path) as provider,
        jwt_world(tmp_path, "sqlite", make_apis(form, upstream.port, provider), upstream) as world,
    ):
        key = provider.keys["rsa"]

        def ask(api: str, **texts: str) -> tuple[int, str]:
            members = {"iss": json.dumps(provider.url), "aud": '"web"', "sub": '"alice"', "exp": str(int(time.time()) + 300), **texts}
            text = "{" + ", ".join(f'"{name}": {value}' for name, value in members.items()) + "}"
            return world.ask(api, token_of({"alg": "RS256", "kid": "rsa"}, text, key, "RS256"))

        for api in ("oidc", "set"):
            assert ask(api) == GOOD
            served = len(upstream.requests)
            for date in DATES:
                assert ask(api, exp=date)[0] == 401, (api, date)
            for date in ('"1"', "null", "true", "[1]", "{}", "1e300", "9" * 400):
                for name in ("iat", "nbf"):
                    assert ask(api, **{name: date})[0] == 401, (api, name, date)
            for subject in ('["alice"]', '{"a": "alice"}', "7", "1e400", "null", "true", "[]", '[["alice"]]', '""'):
                assert ask(api, sub=subject)[0] == 401, (api, subject)
            assert len(upstream.requests) == served
            for claim in ("client_id", "cid", "jti", "scope", "azp", "pol"):
                for value in ("7", "null", "[]", '{"a": {}}', "true", '"\\u0000"', '"' + "x" * 5000 + '"'):
                    assert ask(api, **{claim: value}) == GOOD, (api, claim, value)
            for subject in ("x" * 5000, "../../x", "a\\nb", "\\u0000", '\\"}', "ü", "org", "*"):
                assert ask(api, sub=f'"{subject}"') == GOOD, (api, subject)
            assert ask(api, sub='"\\ud800"')[0] == 401  # half of a character
        for claim in ("iss", "aud"):
            for value in ("7", "null", "[]", "[7]", '{"web": 1}', "true", '["web", 7]', '[["web"]]'):
                assert ask("oidc", **{claim: value}) == DENIED, (claim, value)


@EACH_FORM
def test_key_ids_that_are_paths_and_queries(tmp_path: Path, form: str) -> None:
    """A name to look for, and nothing else."""
    with (
        StrictUpstream() as upstream,
        Provider(OWN, tmp_path) as provider,
        jwt_world(tmp_path, "sqlite", make_apis(form, upstream.port, provider), upstream) as world,
    ):
        for name in (*KEY_IDS, 7, None, True, ["rsa"], {"kid": "rsa"}):
            token = token_of({"alg": "RS256", "kid": name}, good(provider), provider.keys["rsa"], "RS256")
            assert world.ask("oidc", token) == DENIED, name
            assert world.ask("set", token) == SIGNATURE, name
        assert {path for _, path, _, _ in provider.asked} == {"/keys", "/.well-known/openid-configuration"}
        assert provider.count("/keys") <= 2 and provider.count("/.well-known/openid-configuration") == 1
        assert upstream.requests == []


@EACH_FORM
def test_a_storm_of_bad_tokens(tmp_path: Path, form: str) -> None:
    """Ten thousand, of invented ids and with broken signatures: the provider is asked at most every ten seconds; the honest are served."""
    with (
        StrictUpstream() as upstream,
        Provider(OWN, tmp_path) as provider,
        jwt_world(tmp_path, "sqlite", make_apis(form, upstream.port, provider), upstream) as world,
    ):
        genuine = token_for(provider)
        assert world.ask("oidc", genuine) == world.ask("set", genuine) == GOOD
        started = time.monotonic()
        before = len(provider.asked)

        def tokens(number: int) -> Iterator[tuple[str, str]]:
            for each in range(1250):
                # A broken signature costs a verification, an unknown id only a look.
                kid = "rsa" if each % 5 == 0 else f"k{number}-{each}"
                yield ("oidc", "set")[number % 2], token_of({"alg": "RS256", "kid": kid}, good(provider, n=each), b"x", "HS256")

        honest = 0
        with world.storm([tokens(number) for number in range(8)]) as storm:
            while storm.blows:
                assert world.ask("oidc", genuine) == world.ask("set", genuine) == GOOD
                honest += 1
        elapsed = time.monotonic() - started
        assert storm.statuses == [401] * 10_000 and honest > 1
        # One address: its set once for unknown ids and once for signatures in each ten seconds; the document not at all.
        assert len(provider.asked) - before <= 2 * (1 + elapsed / 10)
        assert provider.count("/.well-known/openid-configuration") == 1


# Servers that attack.


@EACH_FORM
@pytest.mark.parametrize("kind", sorted(SCRIPTS))
def test_an_introspection_that_does_not_end(tmp_path: Path, form: str, kind: str) -> None:
    """500 within ``identity_providers.timeout_s``, few connections, bounded memory; other APIs do not notice."""
    with StrictUpstream() as upstream, ScriptedUpstream(SCRIPTS[kind]) as server, Provider() as provider:
        introspect(provider)
        apis = [
            external_api(form, name, upstream.port, [{"introspection": {"enabled": True, "url": f"http://127.0.0.1:{port}/introspect"}}])
            for name, port in (("api", server.port), ("calm", provider.port))
        ]
        with jwt_world(tmp_path, "sqlite", apis, upstream, own={"identity_providers": {"timeout_s": 1}}) as world:
            memory = world.gateway.rss_kib()
            with world.asking("api", "opaque", times=10) as answers:
                assert world.ask("calm", token_for(provider)) == GOOD
            assert answers == [FAILED] * 10
            assert server.connections <= 4  # one for all who ask about one token; then it is left alone for a moment
            assert world.gateway.rss_kib() - memory < 64 * 1024
            assert wait_until(lambda: any(str(event.get("event")).startswith("introspection.un") for event in world.gateway.events))
            assert len(upstream.requests) == 1


@EACH_FORM
@pytest.mark.parametrize("kind", sorted(SCRIPTS))
def test_a_discovery_that_does_not_end(tmp_path: Path, form: str, kind: str) -> None:
    """401 within the same bounds."""
    with StrictUpstream() as upstream, ScriptedUpstream(SCRIPTS[kind]) as server, Provider() as provider:
        issuer = f"http://127.0.0.1:{server.port}"
        apis = [
            openid_api(form, "api", upstream.port, [{"issuer": issuer, "clients": {"web": "gold"}}]),
            openid_api(form, "calm", upstream.port, [{"issuer": provider.discover(), "clients": {"web": "gold"}}]),
        ]
        with jwt_world(tmp_path, "sqlite", apis, upstream, own={"identity_providers": {"timeout_s": 1}}) as world:
            memory = world.gateway.rss_kib()
            with world.asking("api", token_for(provider, {"iss": issuer}), times=10) as answers:
                assert world.ask("calm", token_for(provider)) == GOOD
            assert answers == [DENIED] * 10
            assert server.connections <= 4
            assert world.gateway.rss_kib() - memory < 64 * 1024
            world.gateway.wait_event("oidc.unavailable")
            assert len(upstream.requests) == 1


@EACH_FORM
@pytest.mark.parametrize("cached", [False, True])
def test_answers_of_odd_types(tmp_path: Path, form: str, cached: bool) -> None:
    """Only ``true`` is true; what is no date has passed; what is no object says nothing; cached or not, nobody gets in twice either."""
    with StrictUpstream() as upstream, Provider(OWN, tmp_path) as provider:
        rows: dict[str, tuple[int, str]] = {}
        known = introspect(provider, {})

        def add(body: str | bytes, told: tuple[int, str], status: int = 200) -> None:
            name = f"t{len(rows)}"
            known[name] = status, body if isinstance(body, bytes) else body.encode()
            rows[name] = told

        for active in ('"true"', '"True"', "1", "1.0", "1e400", "null", "[]", "[true]", '{"active": true}', '"yes"', "false"):
            add(f'{{"active": {active}, "sub": "alice"}}', FAILED if active == "1e400" else NOT_VALID)
        for date in set(DATES) - {"null"}:
            add(f'{{"active": true, "sub": "alice", "exp": {date}}}', FAILED if "1e400" in date else (401, "token is expired"))
        for subject in ("7", "null", "true", "[]", '["alice"]', '{"a": "alice"}'):
            add(f'{{"active": true, "sub": {subject}}}', NOBODY)
        add('{"active": true, "sub": ""}', (401, "token verification failed: found an empty user ID in predefined base claim, claim: sub"))
        good_ = '{"active": true, "sub": "alice"'
        for body in (
            '{"sub": "alice"}',
            '{"Active": true, "sub": "alice"}',
            '{"active": false, "active": true, "sub": "alice"}',
            '{"active": true, "sub": "alice", "sub": "bob"}',
            f"[{good_}}}]",
            f"{good_}}}{good_}}}",
            f"{good_}}} x",
            f"{good_}, ",
            "true",
            "",
            f'{good_}, "x": {"[" * 50_000}{"]" * 50_000}}}',
            f'{good_}, "x": NaN}}',
            f"{good_}}}".encode("utf-16"),
            f'{good_}, "u": "'.encode() + b'\xff"}',
        ):
            add(body, FAILED)
        for status in (201, 202, 206, 301, 302, 303, 307, 308, 400, 401, 403, 404, 429, 500, 503):
            add(f"{good_}}}", FAILED, status)
        provider.headers = {"Location": f"{provider.url}/elsewhere"}
        provider.pages["/elsewhere"] = 200, f"{good_}}}".encode()
        fields: dict[str, Any] = {"enabled": True, "url": f"{provider.url}/introspect"}
        if cached:
            fields["cache"] = {"enabled": True, "timeout": 300}
        api = external_api(form, "asked", upstream.port, [{"introspection": fields}])
        with jwt_world(tmp_path, "sqlite", [api], upstream) as world:
            for _ in range(2):
                for token, told in rows.items():
                    assert world.ask("asked", token) == told, known[token][1][:80]
            assert upstream.requests == [] and provider.count("/elsewhere") == 0
            known["good"] = {"active": True, "sub": "alice", "exp": time.time() + 300.5, "iat": "x", "nbf": "y", "aud": 7, "client_id": []}
            assert world.ask("asked", "good") == world.ask("asked", "good") == GOOD
            known["nulls"] = {"active": True, "sub": "alice", "exp": None, "cnf": None, "scope": None}
            assert world.ask("asked", "nulls") == world.ask("asked", "nulls") == GOOD
            # Last, since a server that says too much is left alone for a moment.
            known["huge"] = 200, f'{good_}, "x": "{"y" * 600_000}"}}'.encode()
            assert world.ask("asked", "huge") == FAILED
            assert len(upstream.requests) == 4


@EACH_FORM
def test_tokens_that_would_change_the_question(tmp_path: Path, form: str) -> None:
    """Whatever stands in the token is asked about as one value; what no token may hold is not asked about at all."""
    with StrictUpstream() as upstream, Provider(OWN, tmp_path) as provider:
        introspect(provider, {"good": {"active": True, "sub": "alice"}})
        fields = {"enabled": True, "url": f"{provider.url}/introspect", "clientId": "me", "clientSecret": "s"}
        api = external_api(form, "asked", upstream.port, [{"introspection": fields}])
        with jwt_world(tmp_path, "sqlite", [api], upstream) as world:
            tokens = [
                "x&token=good",
                "x%26token=good",
                "good&client_id=other",
                "good;token=x",
                "good%00",
                "good#",
                "good?x",
                "+good",
                "go+od",
                "../introspect",
                "x" * 12_000,
                "Bearer good",
            ]
            for token in tokens:
                assert world.ask("asked", token) == NOT_VALID, token[:40]
            for character in ("\0", "\r\n", "ü", "\u2028"):
                text = quote(f"good{character}", safe="")
                assert world.ask("asked", None, ("Authorization", f"Bearer {text}")) == NOT_VALID
            asked = [parse_qs(body.decode(), keep_blank_values=True) for _, path, body, _ in provider.asked if path == "/introspect"]
            assert [form_["token"] for form_ in asked[: len(tokens)]] == [[token] for token in tokens]
            assert all(set(form_) == {"client_id", "client_secret", "token"} and form_["client_id"] == ["me"] for form_ in asked)
            assert upstream.requests == []
            assert world.ask("asked", "good") == GOOD


@EACH_FORM
def test_a_storm_of_tokens_while_the_server_is_away(tmp_path: Path, form: str) -> None:
    """Two thousand invented ones: it is tried now and then, not each time; when it is back the honest get in."""
    with StrictUpstream() as upstream, Provider(OWN, tmp_path) as provider:
        introspect(provider)
        with jwt_world(tmp_path, "sqlite", foreign_apis(form, upstream.port, provider)[3:], upstream) as world:
            provider.answers["/introspect"] = lambda _: (_ for _ in ()).throw(ConnectionResetError())
            started = time.monotonic()
            with world.storm([[("asked", f"invented-{first}-{number}") for number in range(500)] for first in range(4)]) as storm:
                pass
            elapsed = time.monotonic() - started
            assert storm.statuses == [500] * 2000
            # A moment of at least half a second after each failure but the first two; who came at the same time; one more try of each on
            # a new connection.
            assert provider.count("/introspect") <= 4 + 8 * (1 + elapsed / 0.5)
            introspect(provider)
            assert wait_until(lambda: world.ask("asked", token_for(provider)) == GOOD, 20)
            assert len(upstream.requests) == 1


# The answer of one for another.


@EACH_WORLD
def test_one_providers_word_is_not_anothers(tmp_path: Path, form: str, backend: str) -> None:
    """Two providers that call their keys alike, two servers, two clients of one server: each API hears its own, remembered or not."""
    with StrictUpstream() as upstream, Provider(OWN, tmp_path) as one, Provider(OWN, tmp_path) as two:
        two.rotate("rsa")
        introspect(one, {"both": {"active": True, "sub": "alice"}, "first": {"active": True, "sub": "alice"}})
        introspect(two, {"both": {"active": True, "sub": "mallory"}, "second": {"active": True, "sub": "mallory"}})

        def by_client(body: bytes) -> tuple[int, bytes]:
            client = parse_qs(body.decode())["client_id"][0]
            return 200, json.dumps({"active": client == "mine", "sub": "alice"}).encode()

        one.answers["/clients"] = by_client
        apis: list[dict[str, Any]] = []
        for number, provider in enumerate((one, two)):
            jwks = f"{provider.url}/keys"
            apis += [
                jwt_api(form, f"jwt{number}", upstream.port, {"signingMethod": "rsa", "source": jwks, "policyFieldName": "pol"}),
                openid_api(form, f"oidc{number}", upstream.port, [{"issuer": provider.discover(), "clients": {"web": "gold"}}]),
                external_api(form, f"signed{number}", upstream.port, [{"jwt": {"enabled": True, "signingMethod": "rsa", "source": jwks}}]),
                asking(form, f"asked{number}", upstream.port, f"{provider.url}/introspect", "me"),
                asking(form, f"client{number}", upstream.port, f"{one.url}/clients", ("mine", "other")[number]),
            ]
        with jwt_world(tmp_path, backend, apis, upstream) as world:
            tokens = [token_for(provider) for provider in (one, two)]
            for _ in range(2):
                for method in ("jwt", "oidc", "signed"):
                    for number in (0, 1):
                        assert world.ask(f"{method}{number}", tokens[number]) == GOOD, method
                        assert world.ask(f"{method}{1 - number}", tokens[number])[0] in (401, 403), method
                        # The other's name alone makes no token of the other.
                        posing = token_for((one, two)[number], {"iss": (two, one)[number].url})
                        assert world.ask(f"{method}{1 - number}", posing)[0] in (401, 403), method
                for number, token in enumerate(("first", "second")):
                    assert world.ask(f"asked{number}", token) == GOOD
                    assert world.ask(f"asked{1 - number}", token) == NOT_VALID
                assert world.ask("asked0", "both") == world.ask("asked1", "both") == GOOD
                assert world.ask("client0", "shared") == GOOD
                assert world.ask("client1", "shared") == NOT_VALID
            # Each was asked for itself, once, but for refusals, which are not remembered for long.
            assert (
                sum(b"token=both" in body for _, _, body, _ in one.asked) == sum(b"token=both" in body for _, _, body, _ in two.asked) == 1
            )
            # An API that turns to another server asks there: what the old one said of a token is nothing.
            moved = asking(form, "asked0", upstream.port, f"{two.url}/introspect", "me")
            world.gateway.write_apis(*[moved if name == "asked0" else api for name, api in zip(world.apis, apis, strict=True)])
            world.gateway.reload()
            assert world.ask("asked0", "first") == NOT_VALID
            assert world.ask("asked0", "second") == GOOD


def asking(form: str, api_id: str, upstream: int, url: str, client: str) -> dict[str, Any]:
    """An API that asks a server, and remembers what it said."""
    fields = {"enabled": True, "url": url, "clientId": client, "clientSecret": "s", "cache": {"enabled": True, "timeout": 300}}
    return external_api(form, api_id, upstream, [{"introspection": fields}])


# Tokens that are bound to certificates (RFC 8705).


@EACH_WORLD
def test_a_bound_token_with_another_certificate(tmp_path: Path, form: str, backend: str) -> None:
    """Whatever the method, verified anew or a moment ago; and a token that was revoked is good for nobody, its holder included."""
    authority = make_authority("holders")
    holder, other = authority.issue("holder"), authority.issue("other")
    bound = {"cnf": {"x5t#S256": base64.urlsafe_b64encode(hashlib.sha256(holder.der).digest()).rstrip(b"=").decode()}}
    with StrictUpstream() as upstream, Provider(OWN, tmp_path) as provider:
        known = introspect(provider, {})
        apis = foreign_apis(form, upstream.port, provider, client_certificates={"ask_for_bound_keys": True})
        with jwt_world(tmp_path, backend, apis, upstream) as world:
            token = token_for(provider, bound)
            known[token] = {"active": True, "sub": "alice", **bound}
            ask = asker(world)
            for method in world.apis:
                for _ in range(2):
                    served = len(upstream.requests)
                    assert ask(method, token, other) == ask(method, token, None) == 401, method
                    assert len(upstream.requests) == served
                    assert ask(method, token, holder) == 200, method
            known[token] = {"active": False}
            for identity in (holder, other, None):
                assert ask("asked", token, identity) == 401
            # The binding is not taken for what it is not.
            served = len(upstream.requests)
            for cnf in (
                {},
                [],
                None,
                "x",
                {"x5t#S256": ""},
                {"x5t#S256": None},
                {"x5t#S256": ["a"]},
                {"x5t#s256": bound["cnf"]["x5t#S256"]},
            ):
                odd = token_for(provider, {"cnf": cnf})
                known[odd] = {"active": True, "sub": "alice", "cnf": cnf}
                for method in world.apis:
                    # In an answer null is nothing said; in a token it is what nobody can hold.
                    passes = method == "asked" and cnf is None
                    assert ask(method, odd, holder) == (200 if passes else 401), (method, cnf)
            assert len(upstream.requests) == served + 1


def asker(world: JwtWorld) -> Callable[[str, str, Any], int]:
    """What asks an API with a certificate."""

    def ask(api: str, token: str, identity: Any) -> int:
        with Client(world.gateway.port, sni="localhost", identity=identity) as client:
            return client.request("GET", f"/{api}/x", headers=[("Authorization", f"Bearer {token}")]).status

    return ask
