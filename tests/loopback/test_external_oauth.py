"""External OAuth over real sockets, on both forms and both stores: signed tokens, introspection, its cache, and each refusal."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.loopback.test_jwt_auth import ask, call
from tests.support.certs import SERVER, make_authority
from tests.support.control import rights
from tests.support.credentials import EACH_FORM, EACH_WORLD, running_world
from tests.support.gateway import Client, Gateway, StrictUpstream, classic, oas
from tests.support.provider import Provider, b64, sign_hmac
from tests.support.redis_server import needs_redis, redis_server

SECRET = b"0123456789abcdef0123456789abcdef"
FAILED = (500, "error happened during the access token validation")
SIGNATURE = (401, "token verification failed: signature is invalid")
NOT_VALID = (401, "access token is not valid")
NAMES = {
    "signingMethod": "signing_method",
    "identityBaseField": "identity_base_field",
    "expiresAtValidationSkew": "expires_at_validation_skew",
    "clientId": "client_id",
    "clientSecret": "client_secret",
}


def api(form: str, upstream: int, providers: list[dict[str, Any]], api_id: str = "api", **own: Any) -> dict[str, Any]:
    """An API that takes access tokens, from the words of a document's scheme."""
    if form == "oas":
        scheme = {"enabled": True, "header": {"enabled": True, "name": "Authorization"}, "providers": providers}
        server = {"authentication": {"enabled": True, "securitySchemes": {"ext": scheme}}}
        made = oas(api_id, upstream, f"/{api_id}/", server=server)
        flows = {"authorizationCode": {"authorizationUrl": "https://as.test/a", "tokenUrl": "https://as.test/t", "scopes": {}}}
        made["components"] = {"securitySchemes": {"ext": {"type": "oauth2", "flows": flows}}}
        made["security"] = [{"ext": []}]
        made["x-tyk-api-gateway"]["info"]["orgId"] = "org"
    else:
        entries = [
            {mode: {NAMES.get(name, name): value for name, value in fields.items()} for mode, fields in entry.items()}
            for entry in providers
        ]
        external = {"enabled": True, "providers": entries}
        made = classic(api_id, upstream, f"/{api_id}/", use_keyless=False, org_id="org", external_oauth=external)
    if own:
        made["x-tlsgate"] = {"external_oauth": own}
    return made


class Server:
    """What the authorization server says of tokens."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.known: dict[str, Any] = {}
        """Tokens; an object, or whatever the answer is to be."""
        provider.answers["/introspect"] = self.answer

    def answer(self, body: bytes) -> tuple[int, bytes]:
        found = self.known.get(self.form(body).get("token", ""), {"active": False})
        return found if isinstance(found, tuple) else (200, json.dumps(found).encode())

    @staticmethod
    def form(body: bytes) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(body.decode(), keep_blank_values=True).items()}

    def asked(self) -> list[dict[str, str]]:
        return [self.form(body) for method, path, body, _ in self.provider.asked if (method, path) == ("POST", "/introspect")]


@contextmanager
def introspecting(
    folder: Path, form: str, backend: str = "sqlite", *, cache: int | None = None, clients: str = "", **options: Any
) -> Iterator[tuple[Gateway, Server, StrictUpstream]]:
    """A gateway that asks a server about tokens; ``cache`` is its time, None for none."""
    authority = make_authority()
    (folder / "ca.pem").write_text(authority.pem)
    own = authority.issue("localhost", names=["localhost"], usages=SERVER)
    tlsgate = {"upstream_ca": [str(folder / "ca.pem")], "identity_providers": options.pop("providers", {})}
    fields = {"enabled": True, "clientId": "gate way", "clientSecret": "s3cr&t:", **options.pop("fields", {})}
    if cache is not None:
        fields["cache"] = {"enabled": True, "timeout": cache}
    settings = options.pop("own", {})
    with StrictUpstream() as upstream, Provider(own, folder, clients=clients) as provider:
        fields.setdefault("url", f"{provider.url}/introspect")
        definition = api(form, upstream.port, [{"introspection": fields}], **settings)
        with running_world(folder, backend, definition, server=own, tlsgate=tlsgate, **options) as gateway:
            yield gateway, Server(provider), upstream


@EACH_FORM
def test_tokens_of_a_shared_secret(tmp_path: Path, form: str) -> None:
    """JWT reference, section 13: each row for signed tokens; faults of a token are 401 (BETTER), but another family stays Tyk's 500."""
    fields = {
        "enabled": True,
        "source": b64(SECRET),
        "signingMethod": "HMAC",
        "identityBaseField": "user.id",
        "expiresAtValidationSkew": 20,
    }
    own = make_authority().issue("localhost", names=["localhost"], usages=SERVER)
    now = int(time.time())
    good = {"sub": "alice", "exp": now + 300}
    with (
        StrictUpstream() as upstream,
        Provider() as provider,
        running_world(tmp_path, "sqlite", api(form, upstream.port, [{"jwt": fields}]), server=own) as gateway,
    ):
        token = sign_hmac(good, SECRET)
        rows = [
            (None, 400, "authorization field missing"),
            ("nonsense", 401, "token verification failed: token contains an invalid number of segments"),
            ("a.b", 401, "token verification failed: token contains an invalid number of segments"),
            (token[:-6] + "AAAAAA", *SIGNATURE),
            (sign_hmac(good, b"another secret of thirty two bytes"), *SIGNATURE),
            (sign_hmac({**good, "exp": 1}, SECRET), 401, "key not authorized: token has expired"),
            (sign_hmac({**good, "exp": 0}, SECRET), 401, "key not authorized: token has expired"),
            (sign_hmac({**good, "exp": str(now + 300)}, SECRET), 401, "key not authorized: token has expired"),
            (sign_hmac({**good, "iat": now + 300}, SECRET), 401, "key not authorized: token used before issued"),
            (sign_hmac({**good, "nbf": now + 300}, SECRET), 401, "key not authorized: token is not valid yet"),
            (provider.token(), *FAILED),
            ("eyJhbGciOiJub25lIn0.e30.", *FAILED),
            (sign_hmac({**good, "sub": ["alice"]}, SECRET), 401, "token verification failed: no suitable claims for user ID were found"),
            (sign_hmac({"exp": now + 300}, SECRET), 401, "token verification failed: no suitable claims for user ID were found"),
        ]
        for bad, status, message in rows:
            assert ask(gateway, bad) == (status, message), bad
        assert ask(gateway, token[:-1])[0] == 401
        assert upstream.requests == []
        assert ask(gateway, token)[0] == ask(gateway, token)[0] == 200
        assert ask(gateway, None, Authorization=token)[0] == ask(gateway, None, Authorization=f"bEaReR {token}")[0] == 200
        assert ask(gateway, sign_hmac({"user": {"id": "bob"}, "exp": now - 5}, SECRET))[0] == 200
        # Nothing of these is stored.
        assert call(gateway, "GET", "/tyk/keys")["keys"] in (None, [])


@EACH_FORM
@pytest.mark.parametrize("plain", [True, False])
def test_tokens_of_a_key_set(tmp_path: Path, form: str, plain: bool) -> None:
    """An address in plain text or base64; unknown or odd key ids are 401, a provider that is away is 500."""
    authority = make_authority()
    (tmp_path / "ca.pem").write_text(authority.pem)
    own = authority.issue("localhost", names=["localhost"], usages=SERVER)
    with StrictUpstream() as upstream, Provider(own, tmp_path) as provider:
        url = f"{provider.url}/keys"
        fields = {"enabled": True, "source": url if plain else b64(url), "signingMethod": "rsa"}
        gone = {"enabled": True, "source": f"{provider.url}/gone", "signingMethod": "rsa"}
        apis = [api(form, upstream.port, [{"jwt": fields}]), api(form, upstream.port, [{"jwt": gone}], "gone")]
        tlsgate = {"upstream_ca": [str(tmp_path / "ca.pem")]}
        with running_world(tmp_path, "sqlite", *apis, server=own, tlsgate=tlsgate) as gateway:
            assert ask(gateway, provider.token())[0] == 200
            for kid in ("nobody", "", None, 7, ["rsa"]):
                if isinstance(kid, str) or kid is None:
                    odd = provider.token(header={"kid": kid})
                else:
                    head = b64(json.dumps({"alg": "RS256", "kid": kid})).rstrip("=").replace("+", "-").replace("/", "_")
                    odd = ".".join([head, *provider.token().split(".")[1:]])
                assert ask(gateway, odd) == SIGNATURE, kid
            assert ask(gateway, provider.token()[:-6] + "AAAAAA") == SIGNATURE
            with Client(gateway.port, sni="localhost") as client:
                answer = client.request("GET", "/gone/x", headers=[("Authorization", f"Bearer {provider.token()}")])
                assert (answer.status, json.loads(answer.body)["error"]) == FAILED
            provider.rotate("rsa")
            assert ask(gateway, provider.token()) == SIGNATURE
            call(gateway, "DELETE", "/tyk/cache/jwks/api")
            assert ask(gateway, provider.token())[0] == 200


@EACH_FORM
@pytest.mark.parametrize(
    ("providers", "status", "message"),
    [
        ([], 404, "there should be at least one provider configured"),
        ([{"jwt": {"enabled": False}}], 500, "access token validation method is not specified"),
    ],
)
def test_definitions_that_verify_nothing(tmp_path: Path, form: str, providers: Any, status: int, message: str) -> None:
    """Every request is refused; without a token by the usual words."""
    if form == "oas" and not providers:
        pytest.skip("a document without providers asks for Tyk's own OAuth")
    with StrictUpstream() as upstream, running_world(tmp_path, "sqlite", api(form, upstream.port, providers)) as gateway:
        with Client(gateway.port, tls=False) as client:
            answer = client.request("GET", "/api/x", headers=[("Authorization", "Bearer x")])
            assert (answer.status, json.loads(answer.body)["error"]) == (status, message)
            assert client.request("GET", "/api/x").status == 400
        assert upstream.requests == []


@EACH_WORLD
def test_a_stored_session_of_a_bearer_counts(tmp_path: Path, form: str, backend: str) -> None:
    """Else one for this API only, which is not stored; a session that is written later counts at once, one that is removed no more."""
    fields = {"enabled": True, "source": b64(SECRET), "signingMethod": "hmac"}
    own = make_authority().issue("localhost", names=["localhost"], usages=SERVER)
    with StrictUpstream() as upstream, running_world(tmp_path, backend, api(form, upstream.port, [{"jwt": fields}]), server=own) as gateway:
        token = sign_hmac({"sub": "alice", "exp": int(time.time()) + 300}, SECRET)
        assert ask(gateway, token)[0] == ask(gateway, token)[0] == 200
        id = "org" + hashlib.md5(b"alice").hexdigest()
        body = {"org_id": "org", "access_rights": rights(), "quota_max": 1, "quota_renewal_rate": 3600}
        call(gateway, "POST", f"/tyk/keys/{id}", body)
        assert ask(gateway, token)[0] == 200
        assert ask(gateway, token) == (403, "Quota exceeded")
        call(gateway, "PUT", f"/tyk/keys/{id}", {**body, "is_inactive": True})
        assert ask(gateway, token) == (403, "Key is inactive, please renew")
        call(gateway, "DELETE", f"/tyk/keys/{id}")
        assert ask(gateway, token)[0] == 200
        # Nobody's id is a key.
        assert ask(gateway, id)[0] == 401


@EACH_FORM
def test_the_rate_of_bearers_without_a_session(tmp_path: Path, form: str) -> None:
    """``x-tlsgate.external_oauth.rate``: for each bearer, whichever token."""
    fields = {"enabled": True, "source": b64(SECRET), "signingMethod": "hmac"}
    own = make_authority().issue("localhost", names=["localhost"], usages=SERVER)
    definition = [{"jwt": fields}]
    with (
        StrictUpstream() as upstream,
        running_world(tmp_path, "sqlite", api(form, upstream.port, definition, rate=2, per=600), server=own) as gateway,
    ):
        end = int(time.time()) + 300
        answers = [ask(gateway, sign_hmac({"sub": "alice", "exp": end, "n": number}, SECRET))[0] for number in range(4)]
        assert answers == [200, 200, 429, 429]
        assert ask(gateway, sign_hmac({"sub": "bob", "exp": end}, SECRET))[0] == 200


@EACH_WORLD
def test_introspection(tmp_path: Path, form: str, backend: str) -> None:
    """The question is Tyk's; each row of answers."""
    now = int(time.time())
    with introspecting(tmp_path, form, backend, fields={"identityBaseField": "username"}) as (gateway, server, upstream):
        server.known = {
            "good": {"active": True, "sub": "alice"},
            "named": {"active": True, "username": "bob", "exp": now + 300},
            "marked": (200, b'\xef\xbb\xbf{"active": true, "sub": "alice"}'),
            "upsetting": (0, b""),
            "off": {"active": False, "sub": "alice"},
            "ended": {"active": True, "sub": "alice", "exp": now - 1},
            "odd exp": {"active": True, "sub": "alice", "exp": "soon"},
            "text": {"active": "true", "sub": "alice"},
            "one": {"active": 1, "sub": "alice"},
            "null": {"active": None, "sub": "alice"},
            "silent": {"sub": "alice"},
            "nobody": {"active": True},
            "list": {"active": True, "sub": ["alice"]},
            "wrong": (401, b'{"error": "invalid_client"}'),
            "created": (201, b'{"active": true, "sub": "alice"}'),
            "text/html": (200, b"<html>"),
            "array": (200, b"[true]"),
            "twice": (200, b'{"active": false, "active": true, "sub": "alice"}'),
            "broken": (503, b""),
        }
        nobody = (401, "token verification failed: no suitable claims for user ID were found")
        rows = {
            "upsetting": FAILED,  # which is nothing to all the others
            "off": NOT_VALID,
            "unknown": NOT_VALID,
            "ended": (401, "token is expired"),
            "odd exp": (401, "token is expired"),
            "text": NOT_VALID,
            "one": NOT_VALID,
            "null": NOT_VALID,
            "silent": FAILED,
            "nobody": nobody,
            "list": nobody,
            "wrong": FAILED,
            "created": FAILED,
            "text/html": FAILED,
            "array": FAILED,
            "twice": FAILED,
            "broken": FAILED,
        }
        for token, expected in rows.items():
            assert ask(gateway, token) == expected, token
        assert ask(gateway, None) == (400, "authorization field missing")
        assert upstream.requests == []
        for token in ("marked", "good", "named"):
            assert ask(gateway, token)[0] == 200, token
        assert server.asked()[-1] == {"client_id": "gate way", "client_secret": "s3cr&t:", "token": "named"}
        headers = server.provider.asked[-1][3]
        assert headers["content-type"] == "application/x-www-form-urlencoded" and "authorization" not in headers
        assert headers["user-agent"].startswith("tlsgate/")
        # Without a cache each request asks.
        before = len(server.asked())
        assert ask(gateway, "good")[0] == ask(gateway, "good")[0] == 200
        assert len(server.asked()) == before + 2


@EACH_WORLD
def test_answers_are_remembered(tmp_path: Path, form: str, backend: str) -> None:
    """Not beyond ``exp``, not for others, and a refusal for some seconds only."""
    with introspecting(tmp_path, form, backend, cache=300) as (gateway, server, _):
        now = int(time.time())
        server.known = {"good": {"active": True, "sub": "alice"}, "short": {"active": True, "sub": "alice", "exp": now + 5}}
        for _ in range(3):
            assert ask(gateway, "good")[0] == 200
            assert ask(gateway, "short")[0] == 200
            assert ask(gateway, "off") == NOT_VALID
        assert len(server.asked()) == 3
        server.known = {"off": {"active": True, "sub": "alice"}}
        time.sleep(max(0, now + 5.2 - time.time()))
        assert ask(gateway, "short") == NOT_VALID  # asked anew
        assert ask(gateway, "good")[0] == 200
        assert len(server.asked()) == 4
        deadline = time.monotonic() + 10
        while ask(gateway, "off")[0] != 200 and time.monotonic() < deadline:
            time.sleep(0.3)
        assert ask(gateway, "off")[0] == 200


@EACH_FORM
def test_a_time_of_zero_is_the_tokens_own(tmp_path: Path, form: str) -> None:
    """An answer without ``exp`` is not kept."""
    with introspecting(tmp_path, form, cache=0) as (gateway, server, _):
        server.known = {"long": {"active": True, "sub": "alice", "exp": time.time() + 300.5}, "free": {"active": True, "sub": "alice"}}
        for _ in range(2):
            assert ask(gateway, "long")[0] == ask(gateway, "free")[0] == 200
        assert [form["token"] for form in server.asked()] == ["long", "free", "free"]


@needs_redis
@EACH_FORM
def test_the_store_holds_no_token(tmp_path: Path, form: str) -> None:
    """A hash in its place, with an end; another API with another server asks for itself."""
    (tmp_path / "redis").mkdir()
    with redis_server(tmp_path / "redis") as redis:
        storage = {"type": "redis", "host": "127.0.0.1", "port": redis.port}
        with introspecting(tmp_path, form, cache=300, storage=storage) as (gateway, server, _):
            token = "a-token-of-some-length-0123456789"
            server.known = {token: {"active": True, "sub": "alice", "token": token, "scope": "x"}}
            assert ask(gateway, token)[0] == 200
            (name,) = [name for name in redis.cli("KEYS", "*introspection-*").split() if name]
            value = redis.cli("GET", name)
            assert token not in name + value and "alice" in value and "scope" not in value
            assert 0 < int(redis.cli("TTL", name)) <= 300


@EACH_FORM
def test_one_servers_word_is_not_anothers(tmp_path: Path, form: str) -> None:
    """Two APIs, two servers, one token: in Tyk the first answer counts for both."""
    authority = make_authority()
    (tmp_path / "ca.pem").write_text(authority.pem)
    own = authority.issue("localhost", names=["localhost"], usages=SERVER)
    with StrictUpstream() as upstream, Provider(own, tmp_path) as one, Provider(own, tmp_path) as two:
        servers = [Server(one), Server(two)]
        servers[0].known = {"x": {"active": True, "sub": "alice"}}
        apis = [
            api(
                form,
                upstream.port,
                [{"introspection": {"enabled": True, "url": f"{each.url}/introspect", "cache": {"enabled": True, "timeout": 60}}}],
                id,
            )
            for id, each in (("api", one), ("other", two))
        ]
        with running_world(tmp_path, "sqlite", *apis, server=own, tlsgate={"upstream_ca": [str(tmp_path / "ca.pem")]}) as gateway:
            assert ask(gateway, "x")[0] == 200
            with Client(gateway.port, sni="localhost") as client:
                assert client.request("GET", "/other/x", headers=[("Authorization", "Bearer x")]).status == 401
            assert [len(server.asked()) for server in servers] == [1, 1]


@EACH_FORM
def test_many_who_ask_at_once_cause_one_question(tmp_path: Path, form: str) -> None:
    """For the same token."""
    with introspecting(tmp_path, form) as (gateway, server, _):
        server.known = {"good": {"active": True, "sub": "alice"}}
        server.provider.delay_s = 1.0
        answers: list[int] = []
        threads = [threading.Thread(target=lambda: answers.append(ask(gateway, "good")[0])) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == [200] * 12
        assert len(server.asked()) == 1


@EACH_FORM
@pytest.mark.parametrize("fault", ["slow", "endless", "redirect", "closed", "not believed"])
def test_a_server_that_goes_wrong(tmp_path: Path, form: str, fault: str) -> None:
    """500 within bounds; who is silent is left alone for a moment, and secrets go nowhere else."""
    providers = {"timeout_s": 0.4, "max_bytes": 20_000}
    fields = {"url": "https://localhost:1/introspect"} if fault == "closed" else {}
    options: dict[str, Any] = {"providers": providers, "fields": fields}
    # That counts for key sets only.
    options["jwt_ssl_insecure_skip_verify"] = fault == "not believed"
    with introspecting(tmp_path, form, **options) as (gateway, server, upstream):
        if fault == "slow":
            server.provider.delay_s = 2.0
        elif fault == "endless":
            server.known = {"x": (200, b" " * 30_000)}
        elif fault == "redirect":
            server.known = {"x": (307, b"")}
            server.provider.headers["Location"] = f"{server.provider.url}/elsewhere"
        elif fault == "not believed":
            other = make_authority("other")
            (tmp_path / "ca.pem").write_text(other.pem)
            gateway.reload()
        for _ in range(6):
            assert ask(gateway, "x") == FAILED
        assert upstream.requests == []
        assert {path for _, path, _, _ in server.provider.asked} <= {"/introspect"}
        if fault == "slow":
            assert len(server.asked()) <= 4
        log = gateway.tail(400)
        assert "introspection.un" in log
        assert "s3cr" not in log and "Bearer" not in log


@EACH_FORM
def test_http_basic(tmp_path: Path, form: str) -> None:
    """B54's rule: id and secret in the form encoding, then base64."""
    with introspecting(tmp_path, form, own={"client_authentication": "basic"}) as (gateway, server, _):
        server.known = {"good": {"active": True, "sub": "alice"}}
        assert ask(gateway, "good")[0] == 200
        assert server.asked() == [{"token": "good"}]
        line = server.provider.asked[-1][3]["authorization"]
        assert base64.b64decode(line.removeprefix("Basic ")) == b"gate+way:s3cr%26t%3A"


@EACH_FORM
def test_an_assertion_in_place_of_a_secret(tmp_path: Path, form: str) -> None:
    """``private_key_jwt``: RFC 7523, signed by the gateway's key, never twice the same."""
    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "own.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    providers = {"assertion_key": str(tmp_path / "own.pem"), "assertion_key_id": "k1"}
    own = {"client_authentication": "private_key_jwt", "assertion_audience": "https://as.test/"}
    options: dict[str, Any] = {"providers": providers, "own": own, "fields": {"clientSecret": ""}}
    with introspecting(tmp_path, form, **options) as (gateway, server, _):
        server.known = {"good": {"active": True, "sub": "alice"}}
        assert ask(gateway, "good")[0] == ask(gateway, "good")[0] == 200
        seen = set()
        for asked in server.asked():
            assert set(asked) == {"client_id", "client_assertion_type", "client_assertion", "token"}
            assert asked["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
            claims = jwt.decode(asked["client_assertion"], key.public_key(), ["ES256"], audience="https://as.test/")
            assert claims["iss"] == claims["sub"] == "gate way" and claims["exp"] - claims["iat"] == 60
            assert jwt.get_unverified_header(asked["client_assertion"])["kid"] == "k1"
            seen.add(claims["jti"])
        assert len(seen) == 2


@EACH_FORM
def test_a_certificate_in_place_of_a_secret(tmp_path: Path, form: str) -> None:
    """``external_services.oauth.mtls``: shown to the server, whose own CA may be named there."""
    authority = make_authority("clients")
    own = authority.issue("gateway")
    (tmp_path / "client.pem").write_text(own.pem)
    (tmp_path / "client.key").write_text(own.key_pem)
    mtls = {
        "enabled": True,
        "cert_file": str(tmp_path / "client.pem"),
        "key_file": str(tmp_path / "client.key"),
        "ca_file": str(tmp_path / "ca.pem"),
    }
    options: dict[str, Any] = {
        "clients": authority.pem,
        "own": {"client_authentication": "tls"},
        "external_services": {"oauth": {"enabled": True, "mtls": mtls}},
        "fields": {"clientSecret": ""},
    }
    with introspecting(tmp_path, form, **options) as (gateway, server, _):
        server.known = {"good": {"active": True, "sub": "alice"}}
        assert ask(gateway, "good")[0] == 200
        assert server.asked() == [{"client_id": "gate way", "token": "good"}]
        peer = server.provider.peers[-1]
        assert peer and ("commonName", "gateway") in [pair for part in peer["subject"] for pair in part]


@contextmanager
def asked_about_bound(folder: Path, form: str, **introspection: Any) -> Iterator[tuple[Callable[[str], int], Server, StrictUpstream]]:
    """An API whose server knows one token, that belongs to ``holder``; the status that somebody gets with it.

    :returns: who asks (``holder``, ``other``, or nobody with a certificate), the server, and the upstream.
    """
    authority = make_authority("holders")
    identities = {name: authority.issue(name) for name in ("holder", "other")}
    thumbprint = base64.urlsafe_b64encode(hashlib.sha256(identities["holder"].der).digest()).rstrip(b"=").decode()
    with StrictUpstream() as upstream, Provider() as provider:
        fields = {"enabled": True, "url": f"{provider.url}/introspect", **introspection}
        definition = api(form, upstream.port, [{"introspection": fields}])
        definition["x-tlsgate"] = {"client_certificates": {"ask_for_bound_keys": True}}
        own = make_authority().issue("localhost", names=["localhost"], usages=SERVER)
        server = Server(provider)
        server.known = {"bound": {"active": True, "sub": "alice", "cnf": {"x5t#S256": thumbprint}}}
        with running_world(folder, "sqlite", definition, server=own) as gateway:

            def ask_as(name: str) -> int:
                with Client(gateway.port, sni="localhost", identity=identities.get(name)) as client:
                    return client.request("GET", "/api/x", headers=[("Authorization", "Bearer bound")]).status

            yield ask_as, server, upstream


@EACH_FORM
def test_a_bound_token_of_an_introspection(tmp_path: Path, form: str) -> None:
    """RFC 8705 section 3.2: ``cnf`` of the answer, remembered or not."""
    with asked_about_bound(tmp_path, form, cache={"enabled": True, "timeout": 60}) as (ask_as, server, upstream):
        for _ in range(2):
            assert ask_as("other") == ask_as("") == 401
            assert ask_as("holder") == 200
        assert len(server.asked()) == 1 and len(upstream.requests) == 2


@EACH_FORM
def test_a_bound_token_that_was_revoked(tmp_path: Path, form: str) -> None:
    """With its certificate, with another one and without: its server is asked each time, and nobody gets in."""
    with asked_about_bound(tmp_path, form) as (ask_as, server, upstream):
        assert ask_as("holder") == 200
        known, server.known = server.known, {}
        assert [ask_as(name) for name in ("other", "holder", "")] == [401, 401, 401]
        # A server that takes a revocation back changes nothing for strangers.
        server.known = known
        assert [ask_as(name) for name in ("other", "")] == [401, 401]
        assert len(upstream.requests) == 1


@needs_redis
@EACH_FORM
def test_the_store_away(tmp_path: Path, form: str) -> None:
    """What is remembered goes on for its time; who has to be looked up gets 503, who is refused anyway a refusal."""
    (tmp_path / "redis").mkdir()
    with redis_server(tmp_path / "redis") as redis:
        storage = {"type": "redis", "host": "127.0.0.1", "port": redis.port}
        with introspecting(tmp_path, form, cache=300, storage=storage) as (gateway, server, _):
            server.known = {name: {"active": True, "sub": name} for name in ("alice", "bob")}
            assert ask(gateway, "alice")[0] == 200
            redis.stop()
            assert ask(gateway, "alice")[0] in (200, 503)
            assert ask(gateway, "bob") == (503, "Service temporarily unavailable.")
            assert ask(gateway, "off") == NOT_VALID
            redis.start()


@EACH_FORM
def test_members_of_an_answer_go_upstream(tmp_path: Path, form: str) -> None:
    """``x-tlsgate.jwt.forward_claims``: remembered or not, and never what the client says itself."""
    with StrictUpstream() as upstream, Provider() as provider:
        fields = {"enabled": True, "url": f"{provider.url}/introspect", "cache": {"enabled": True, "timeout": 60}}
        definition = api(form, upstream.port, [{"introspection": fields}])
        definition["x-tlsgate"] = {"jwt": {"forward_claims": {"X-User": "sub", "X-Role": "realm.role"}}}
        own = make_authority().issue("localhost", names=["localhost"], usages=SERVER)
        Server(provider).known = {"good": {"active": True, "sub": "alice", "realm": {"role": "admin"}}}
        with running_world(tmp_path, "sqlite", definition, server=own) as gateway:
            for _ in range(2):
                assert ask(gateway, "good", **{"X-User": "mallory", "x_role": "root"})[0] == 200
                received = upstream.requests[-1]
                assert (received.header("X-User"), received.header("X-Role"), received.header("X_Role")) == ("alice", "admin", None)
