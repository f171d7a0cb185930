"""Several methods on one API, over TLS: all of them, or one of several groups; both forms of definitions, each store.

Source: token reference, sections 1, 5 and 9; decisions 2.1.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.loopback.test_open_streams import echo_upgraded, is_alive
from tests.support.certs import CLIENT, SERVER, Issued, make_authority
from tests.support.control import rights
from tests.support.credentials import EACH_WORLD, protected, running_world, told
from tests.support.gateway import Client, Gateway, Response, ScriptedUpstream, StrictUpstream, running_gateway, wait_until
from tests.support.key_load import call
from tests.support.redis_server import needs_redis, redis_server

SERVER_CERTIFICATE = make_authority("Server CA").issue("gateway", usages=SERVER, names=["localhost"])
CLIENTS = make_authority("Client CA")
ALICE, BOB = CLIENTS.issue("alice", usages=CLIENT), CLIENTS.issue("bob", usages=CLIENT)

X_KEY = {"authToken": {"auth_header_name": "X-Key"}}
X_SIGNATURE = {"hmac": {"auth_header_name": "X-Sig"}}
WHO = {"X-Who": "$tyk_meta.who"}
BOTH: dict[str, Any] = {"use_standard_auth": True, "use_basic_auth": True, "auth_configs": X_KEY, "global_headers": WHO}
THREE: dict[str, Any] = {**BOTH, "enable_signature_checking": True, "auth_configs": {**X_KEY, **X_SIGNATURE}}

USER_REFUSED = (401, "User not authorised")
USER_MISSING = (401, "Authorization field missing")
KEY_REFUSED = (403, "Access to this API has been disallowed")
KEY_MISSING = (401, "Authorization field missing")
SIGNATURE_REFUSED = (400, "Authorization field missing, malformed or invalid")
INACTIVE = (403, "Key is inactive, please renew")
EXPIRED = (401, "Key has expired, please renew")


def definitions(form: str, upstream: int) -> list[dict[str, Any]]:
    """The APIs of these tests."""
    chains = {
        "key": {**BOTH, "base_identity_provided_by": "auth_token"},
        "user": {**BOTH, "base_identity_provided_by": "BasicAuthUser"},
        "last": BOTH,
        "three": {**THREE, "base_identity_provided_by": "HMACKey"},
        "same": {**BOTH, "auth_configs": {}},
        "stripped": {**BOTH, "strip_auth_data": True},
        "passport": {**BOTH, "use_mutual_tls_auth": True, "client_certificates": [ALICE.pem], "domain": "passport.test"},
        "guarded": {
            "use_keyless": True, "use_mutual_tls_auth": True, "client_certificates": [ALICE.pem], "domain": "guarded.test",
            "global_headers": WHO,
        },
        "either": {**BOTH, "auth_configs": {}, "security_requirements": [["authToken"], ["basic"]]},
        "other": {**BOTH, "auth_configs": {}, "security_requirements": [["basic"], ["authToken"]]},
        "mixed": {**THREE, "strip_auth_data": True, "security_requirements": [["authToken", "basic"], ["hmac"]]},
        "signed": {**THREE, "security_requirements": [["basic"], ["hmac", "authToken"]]},
    }  # fmt: skip
    made = [protected(form, name, upstream, **fields) for name, fields in chains.items()]
    made.append(with_open_path(form, protected(form, "open", upstream, **BOTH, strip_auth_data=True)))
    return made


def with_open_path(form: str, tree: dict[str, Any]) -> dict[str, Any]:
    """An ignored path, and CORS that lets the upstream answer preflights."""
    if form == "classic":
        version = tree["version_data"]["versions"]["Default"]
        version |= {"use_extended_paths": True, "extended_paths": {"ignored": [{"path": "/free", "method": "GET"}]}}
        tree["CORS"] = {"enable": True, "options_passthrough": True, "allowed_origins": ["*"]}
        return tree
    tree["paths"] = {"/free": {"get": {"operationId": "free", "responses": {}}}}
    middleware = tree["x-tyk-api-gateway"]["middleware"]
    middleware["operations"] = {"free": {"ignoreAuthentication": {"enabled": True}}}
    middleware["global"]["cors"] = {"enabled": True, "optionsPassthrough": True, "allowedOrigins": ["*"]}
    return tree


NAMES = ["key", "user", "last", "three", "same", "stripped", "passport", "either", "other", "mixed", "signed", "open"]


class World(NamedTuple):
    """A running gateway with its upstream."""

    gateway: Gateway
    upstream: StrictUpstream

    def control(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Make a control call."""
        with Client(self.gateway.port_of("control")) as client:
            return call(client, method, path, body)

    def put(self, id: str, **fields: Any) -> None:
        """Write a key or a user, with limits of its own."""
        body = {"org_id": "org", "access_rights": rights(*NAMES), "meta_data": {"who": id}, "rate": 1000, "per": 1, **fields}
        status, answer = self.control("POST", f"/tyk/keys/{id}", body)
        assert status == 200 and answer["key"] == f"org{id}", answer

    def put_user(self, id: str, password: str = "secret", **fields: Any) -> None:
        self.put(id, basic_auth_data={"password": password}, **fields)

    def put_signer(self, id: str, **fields: Any) -> None:
        self.put(id, hmac_enabled=True, hmac_string="shared", **fields)

    def ask(self, api: str, *headers: tuple[str, str], path: str = "", method: str = "GET", **client: Any) -> Response:
        host = client.pop("host", "localhost")
        with Client(self.gateway.port, **client) as connection:
            return connection.request(method, f"/{api}/{path}", host=host, headers=headers)


WORLDS = [
    (form, backend) if backend == "sqlite" else pytest.param((form, backend), marks=needs_redis)
    for backend in ("sqlite", "redis")
    for form in ("classic", "oas")
]


@pytest.fixture(scope="module", params=WORLDS, ids="-".join)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A gateway for each form and store, which no test changes but for keys of its own."""
    form, backend = request.param
    with start(tmp_path_factory.mktemp(f"{form}-{backend}"), form, backend) as found:
        yield found
        assert found.upstream.violations == []


@contextmanager
def start(folder: Path, form: str, backend: str) -> Iterator[World]:
    with (
        StrictUpstream() as upstream,
        running_world(folder, backend, *definitions(form, upstream.port), server=SERVER_CERTIFICATE) as gateway,
    ):
        world = World(gateway, upstream)
        world.put("k-token-1", quota_max=5000, quota_renewal_rate=600)
        world.put_user("ann", quota_max=7000, quota_renewal_rate=600)
        world.put_signer("signer-1", quota_max=9000, quota_renewal_rate=600)
        yield world


def user(name: str = "ann", password: str = "secret") -> tuple[str, str]:
    return "Authorization", "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def key(name: str = "k-token-1") -> tuple[str, str]:
    return "X-Key", name


def signature(id: str = "signer-1", secret: str = "shared", header: str = "X-Sig") -> tuple[tuple[str, str], tuple[str, str]]:
    date = formatdate(time.time(), usegmt=True)
    code = base64.b64encode(hmac.digest(secret.encode(), f"date: {date}".encode(), hashlib.sha256)).decode()
    return ("Date", date), (header, f'Signature keyId="{id}",algorithm="hmac-sha256",headers="date",signature="{code}"')


def seen(response: Response) -> dict[str, str]:
    """The headers that the upstream got, lower case."""
    assert response.status == 200, response
    return {name.lower(): value for name, value in json.loads(response.body)["headers"]}


# All methods.


@pytest.mark.parametrize(
    ("headers", "answer"),
    [
        ((user(password="other"), key()), USER_REFUSED),
        ((user("nobody"), key()), USER_REFUSED),
        ((key(),), USER_MISSING),
        ((user(), key("unknown")), KEY_REFUSED),
        ((user(),), KEY_MISSING),
        ((user(password="other"), key("unknown")), USER_REFUSED),
        ((), USER_MISSING),
        (((user()[0], user()[1] + "="), key()), None),
    ],
)
@pytest.mark.parametrize("api", ["key", "user", "last"])
def test_the_first_method_that_fails_answers(
    world: World, api: str, headers: tuple[tuple[str, str], ...], answer: tuple[int, str] | None
) -> None:
    """Basic before the token, whatever the order of headers and the base identity; the upstream hears nothing."""
    before = len(world.upstream.requests)
    response = world.ask(api, *headers)
    if answer is None:
        assert response.status == 400
    else:
        assert told(response) == answer
        assert ("www-authenticate" in response.headers) is (answer in (USER_REFUSED, USER_MISSING) and headers[:1] != (user(),))
    assert len(world.upstream.requests) == before


@pytest.mark.parametrize(("api", "who", "limit"), [("key", "k-token-1", 5000), ("user", "ann", 7000), ("last", "k-token-1", 5000)])
def test_the_base_identity_gives_session_limits_and_meta_data(world: World, api: str, who: str, limit: int) -> None:
    """Unset, the last method does; both spellings of the name."""
    response = world.ask(api, user(), key())
    assert seen(response)["x-who"] == who
    assert response.headers["x-ratelimit-limit"] == str(limit)


def test_three_methods_in_their_order(world: World) -> None:
    """Basic, signature, token; the signature's session counts."""
    headers = [user(), *signature(), key()]
    response = world.ask("three", *headers)
    assert (seen(response)["x-who"], response.headers["x-ratelimit-limit"]) == ("signer-1", "9000")
    assert told(world.ask("three", *signature(), key())) == USER_MISSING
    assert told(world.ask("three", user(), key())) == SIGNATURE_REFUSED
    assert told(world.ask("three", user(), *signature(secret="other"), key())) == SIGNATURE_REFUSED
    assert told(world.ask("three", user(), *signature())) == KEY_MISSING


def test_rights_are_those_of_the_base_identity(world: World) -> None:
    """The other sessions have to be alive, and need no right."""
    world.put("k-narrow", access_rights=rights("else"))
    world.put_user("narrow", access_rights=rights("else"))
    assert world.ask("key", user("narrow"), key()).status == 200
    assert world.ask("user", user(), key("k-narrow")).status == 200
    assert told(world.ask("key", user(), key("k-narrow"))) == KEY_REFUSED
    assert told(world.ask("user", user("narrow"), key())) == KEY_REFUSED


@pytest.mark.parametrize("api", ["key", "user", "last"])
def test_each_session_has_to_be_alive(world: World, api: str) -> None:
    """In Tyk an expired or inactive one passes when another one counts."""
    past = int(time.time()) - 100
    world.put(f"k-late-{api}", expires=past)
    world.put(f"k-off-{api}", is_inactive=True)
    world.put_user(f"late-{api}", expires=past)
    world.put_user(f"off-{api}", is_inactive=True)
    assert told(world.ask(api, user(), key(f"k-late-{api}"))) == EXPIRED
    assert told(world.ask(api, user(), key(f"k-off-{api}"))) == INACTIVE
    assert told(world.ask(api, user(f"late-{api}"), key())) == EXPIRED
    assert told(world.ask(api, user(f"off-{api}"), key())) == INACTIVE


def test_both_in_one_header_is_never_possible(world: World) -> None:
    """Each reads all of ``Authorization``; two lines of it are refused as such."""
    assert told(world.ask("same", user())) == KEY_REFUSED
    assert world.ask("same", ("Authorization", "k-token-1")).status == 400
    assert told(world.ask("same", user(), ("Authorization", "k-token-1"))) == (400, "Attempted access with malformed header")
    warnings = [event for event in world.gateway.events if "read the header Authorization only" in str(event)]
    assert warnings


def test_stripping_takes_the_credentials_of_every_method(world: World) -> None:
    """Also of one without an entry of its own; without it all go on."""
    kept = seen(world.ask("last", user(), key()))
    assert "x-key" in kept and "authorization" in kept
    gone = seen(world.ask("stripped", user(), key(), ("X-Other", "1")))
    assert "x-key" not in gone and "authorization" not in gone and gone["x-other"] == "1"


def test_ignored_paths_and_preflights_ask_nobody(world: World) -> None:
    """Credentials are stripped all the same."""
    headers = seen(world.ask("open", user(password="wrong"), key("unknown"), path="free"))
    assert "x-key" not in headers and "authorization" not in headers and not headers.get("x-who")
    preflight = [("Origin", "https://a.test"), ("Access-Control-Request-Method", "GET")]
    assert world.ask("open", *preflight, method="OPTIONS").status == 200
    assert told(world.ask("open", method="OPTIONS")) == USER_MISSING
    assert told(world.ask("open")) == USER_MISSING


def test_static_certificates_are_asked_for_beside_all_methods(world: World) -> None:
    """Before them, and never instead; a keyless API has only that check, and no session."""
    name = {"sni": "passport.test", "host": "passport.test"}
    assert world.ask("passport", user(), key(), identity=ALICE, **name).status == 200
    assert told(world.ask("passport", key(), identity=ALICE, **name)) == USER_MISSING
    assert told(world.ask("passport", user(), identity=ALICE, **name)) == KEY_MISSING
    for identity in (BOB, None):
        assert is_kept_out(world, "passport", [user(), key()], identity)
        assert is_kept_out(world, "guarded", [], identity)
    passed = seen(world.ask("guarded", user(), identity=ALICE, sni="guarded.test", host="guarded.test"))
    assert passed["authorization"] == user()[1] and not passed.get("x-who")


def is_kept_out(world: World, api: str, headers: list[tuple[str, str]], identity: Issued | None) -> bool:
    """By the handshake, or with 403."""
    try:
        response = world.ask(api, *headers, identity=identity, sni=f"{api}.test", host=f"{api}.test")
    except Exception as error:
        return type(error).__name__ == "HandshakeRefused"
    return response.status in (401, 403)


@EACH_WORLD
def test_any_of_the_keys_ends_an_open_stream(tmp_path: Path, form: str, backend: str) -> None:
    """Deleted, inactive: of the method whose session counts, and of the other one; streams of others go on."""
    names = ("gone", "off", "late", "fine")
    with ScriptedUpstream(echo_upgraded) as upstream:
        api = protected(form, "chain", upstream.port, **BOTH, base_identity_provided_by="auth_token")
        options = {"enable_websockets": True}
        with running_world(tmp_path, backend, api, server=SERVER_CERTIFICATE, http_server_options=options) as gateway:
            world = World(gateway, StrictUpstream())
            for name in names:
                world.put_user(name, access_rights=rights("chain"))
                world.put(f"k-{name}", access_rights=rights("chain"))
            streams = {name: open_stream(gateway, user(name), key(f"k-{name}")) for name in names}
            assert world.control("DELETE", "/tyk/keys/orggone")[0] == 200
            world.put_user("off", access_rights=rights("chain"), is_inactive=True)
            assert world.control("DELETE", "/tyk/keys/orgk-late")[0] == 200
            for name in names[:3]:
                assert wait_until(partial(is_over, streams[name]), 3), name
            assert is_alive(streams["fine"])
            for client in streams.values():
                client.close()
            world.upstream.close()


def is_over(client: Client) -> bool:
    return not is_alive(client)


def open_stream(gateway: Gateway, *headers: tuple[str, str]) -> Client:
    client = Client(gateway.port)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    client.send(f"GET /chain/ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{lines}\r\n".encode())
    assert client.read_response().status == 101
    assert is_alive(client)
    return client


# One of several groups.


@pytest.mark.parametrize("api", ["either", "other"])
def test_either_method_opens_the_api(world: World, api: str) -> None:
    """In one header; the session is that of the method that passes, limits and meta data with it."""
    for _ in range(2):  # the second one finds everything cached
        response = world.ask(api, user())
        assert (seen(response)["x-who"], response.headers["x-ratelimit-limit"]) == ("ann", "7000")
        response = world.ask(api, ("Authorization", "k-token-1"))
        assert (seen(response)["x-who"], response.headers["x-ratelimit-limit"]) == ("k-token-1", "5000")


@pytest.mark.parametrize(
    ("api", "headers", "answer"),
    [
        ("either", (), USER_MISSING),
        ("either", (user(password="wrong"),), USER_REFUSED),
        ("other", (), KEY_MISSING),
        ("other", (user(password="wrong"),), KEY_REFUSED),
        ("other", (("Authorization", "unknown"),), KEY_REFUSED),
        ("mixed", (user(),), SIGNATURE_REFUSED),
        ("signed", (*signature(),), KEY_MISSING),
    ],
)
def test_the_last_group_answers_without_a_challenge(
    world: World, api: str, headers: tuple[tuple[str, str], ...], answer: tuple[int, str]
) -> None:
    """No ``WWW-Authenticate``, and nothing for the upstream."""
    before = len(world.upstream.requests)
    response = world.ask(api, *headers)
    assert told(response) == answer and "www-authenticate" not in response.headers
    assert len(world.upstream.requests) == before


def test_half_a_group_never_passes(world: World) -> None:
    """Neither does one half of each."""
    assert seen(world.ask("mixed", user(), key()))["x-who"] == "k-token-1"
    passed = seen(world.ask("mixed", *signature(), user(password="wrong")))
    assert passed["x-who"] == "signer-1" and "authorization" not in passed and "x-sig" not in passed
    assert seen(world.ask("signed", *signature(), key()))["x-who"] == "k-token-1"
    assert seen(world.ask("signed", user()))["x-who"] == "ann"
    before = len(world.upstream.requests)
    bad = signature(secret="other")
    for headers in ([user()], [key()], [user(), key("unknown")], [user(password="x"), key()], [user(), *bad], [key(), *bad]):
        assert told(world.ask("mixed", *headers)) == SIGNATURE_REFUSED
    for headers in ([key()], [*bad, key()], [user(password="x"), key()]):
        assert told(world.ask("signed", *headers)) == SIGNATURE_REFUSED
    assert told(world.ask("signed", *signature(), key("unknown"))) == KEY_REFUSED
    assert len(world.upstream.requests) == before


def test_sessions_of_the_group_that_passes_have_to_be_alive(world: World) -> None:
    """One that is expired does not send the request on to the next group: it has been authenticated."""
    world.put("k-late-or", expires=int(time.time()) - 100)
    world.put_user("off-or", is_inactive=True)
    assert told(world.ask("mixed", user(), key("k-late-or"), *signature())) == EXPIRED
    assert told(world.ask("mixed", user("off-or"), key(), *signature())) == INACTIVE
    assert told(world.ask("either", user("off-or"))) == INACTIVE


def test_nothing_counts_twice(world: World) -> None:
    """A request that passes in its second group is one request of that key, and none of the first group's."""
    world.put_user("once", quota_max=3, quota_renewal_rate=600)
    left = [world.ask("other", user("once")).headers["x-ratelimit-remaining"] for _ in range(3)]
    assert left == ["2", "1", "0"]
    assert world.ask("other", user("once")).status == 403
    world.put("k-half", quota_max=3, quota_renewal_rate=600)
    for _ in range(4):
        assert seen(world.ask("mixed", key("k-half"), *signature()))["x-who"] == "signer-1"
    assert world.ask("mixed", key("k-half"), user()).headers["x-ratelimit-remaining"] == "2"


@EACH_WORLD
def test_alternatives_that_cannot_be_kept_are_refused_by_name(tmp_path: Path, form: str, backend: str) -> None:
    """At load and by the control API; the place stays closed."""
    bad = protected(form, "bad", 9, **BOTH, security_requirements=[["authToken"], ["basic"], ["hmac"]])
    two = protected(form, "two", 9, **BOTH, security_requirements=[["authToken"], ["basic"]], base_identity_provided_by="auth_token")
    with running_world(tmp_path, backend, bad, two, server=SERVER_CERTIFICATE) as gateway:
        text = " ".join(str(event) for event in gateway.events)
        assert "security scheme 'hmac' is not configured" in text and "together with alternatives" in text
        with Client(gateway.port) as client:
            assert client.request("GET", "/bad/", headers=[user(), key()]).status == 503
        world = World(gateway, StrictUpstream())
        target = "/tyk/apis" if form == "classic" else "/tyk/apis/oas"
        status, reply = world.control("POST", target, bad)
        assert status == 400 and "security scheme 'hmac' is not configured" in reply["message"]
        assert world.control("POST", target, two)[0] == 400
        world.upstream.close()


@needs_redis
@pytest.mark.parametrize("form", ["classic", "oas"])
def test_a_store_that_is_away_is_503_unless_another_group_passes(tmp_path: Path, form: str) -> None:
    """A wrong credential is never called wrong when nobody could look; what is cached goes on."""
    with (
        StrictUpstream() as upstream,
        redis_server(tmp_path / "redis") as redis,
        running_gateway(
            tmp_path,
            *definitions(form, upstream.port),
            server=SERVER_CERTIFICATE,
            storage={"type": "redis", "host": "127.0.0.1", "port": redis.port},
        ) as gateway,
    ):
        world = World(gateway, upstream)
        world.put("k-cached", rate=0, per=0)
        world.put_user("cached", rate=0, per=0)
        token = ("Authorization", "k-cached")
        for headers in ([token], [user("cached")]):
            assert world.ask("either", *headers).status == world.ask("other", *headers).status == 200
        redis.stop()
        for api in ("either", "other"):
            assert [world.ask(api, *headers).status for headers in ([token], [user("cached")])] == [200, 200]
            for headers in ([("Authorization", "unknown")], [user("nobody")]):
                assert told(world.ask(api, *headers)) == (503, "Service temporarily unavailable.")
        assert told(world.ask("either")) == USER_MISSING
        assert told(world.ask("mixed", user("nobody"), key("unknown"))) == (503, "Service temporarily unavailable.")


@pytest.mark.parametrize("backend", ["sqlite", pytest.param("redis", marks=needs_redis)])
def test_a_plain_document_becomes_an_api_with_alternatives(tmp_path: Path, backend: str) -> None:
    """Imported with ``authentication`` and compliant mode; it comes back as it was written, and PATCH keeps what its schemes say."""
    components = {"pass": {"type": "http", "scheme": "basic"}, "token": {"type": "apiKey", "in": "header", "name": "X-Key"}}
    plain: dict[str, Any] = {
        "openapi": "3.0.3", "info": {"title": "Pets", "version": "1"}, "paths": {},
        "components": {"securitySchemes": components}, "security": [{"pass": []}, {"token": []}],
    }  # fmt: skip
    with StrictUpstream() as upstream, running_world(tmp_path, backend, server=SERVER_CERTIFICATE) as gateway:
        world = World(gateway, upstream)
        query = f"apiID=pets&listenPath=/pets/&upstreamURL=http://127.0.0.1:{upstream.port}&authentication=true"
        status, answer = world.control("POST", f"/tyk/apis/oas/import?{query}&securityProcessingMode=compliant", plain)
        assert status == 200, answer
        assert world.control("GET", "/tyk/reload?block=true") == (200, {"status": "ok", "message": ""})
        login = world.control("GET", "/tyk/apis/oas/pets")[1]["x-tyk-api-gateway"]["server"]["authentication"]
        assert login == {
            "enabled": True,
            "securityProcessingMode": "compliant",
            "securitySchemes": {
                "pass": {"enabled": True, "header": {"enabled": True, "name": "Authorization"}},
                "token": {"enabled": True, "header": {"enabled": True, "name": "X-Key"}},
            },
        }
        assert world.control("GET", "/tyk/apis/pets")[1]["security_requirements"] == [["pass"], ["token"]]
        for fields in ({"basic_auth_data": {"password": "secret"}}, {}):
            name = "ann" if fields else "k-token-1"
            body = {"access_rights": rights("pets"), **fields}
            assert world.control("POST", f"/tyk/keys/{name}", body)[0] == 200
        assert [world.ask("pets", *headers).status for headers in ((user(),), (key(),), ())] == [200, 200, 401]
        document = world.control("GET", "/tyk/apis/oas/pets")[1]
        del document["x-tyk-api-gateway"]
        document["security"] = [{"pass": [], "token": []}]
        assert world.control("PATCH", "/tyk/apis/oas/pets?authentication=true", document)[0] == 200
        assert world.control("GET", "/tyk/reload?block=true") == (200, {"status": "ok", "message": ""})
        assert world.control("GET", "/tyk/apis/oas/pets")[1]["x-tyk-api-gateway"]["server"]["authentication"] == login
        assert [world.ask("pets", *headers).status for headers in ((user(),), (key(),), (user(), key()))] == [401, 401, 200]
        document["security"] = [{"pass": []}, {"token": []}, {}]
        assert world.control("PATCH", "/tyk/apis/oas/pets", document)[0] == 400


@EACH_WORLD
@pytest.mark.parametrize(
    ("switch", "kind"), [("use_standard_auth", "authToken"), ("use_basic_auth", "basic"), ("enable_signature_checking", "hmac")]
)
def test_a_method_without_any_place_is_refused_by_the_control_api(tmp_path: Path, form: str, backend: str, switch: str, kind: str) -> None:
    """In Tyk's words; among files it is a warning, and nobody gets in."""
    fields: dict[str, Any] = {switch: True}
    tree = protected(form, "closed", 9, **fields)
    if form == "classic":
        tree["auth_configs"] = {kind: {"disable_header": True}}
    else:
        login = tree["x-tyk-api-gateway"]["server"]["authentication"]
        scheme = login["hmac"] if kind == "hmac" else login["securitySchemes"][kind]
        scheme["header"] = {"enabled": False}
        tree["components"] = {"securitySchemes": {"basic": {"type": "http", "scheme": "basic"}, "authToken": {"type": "apiKey"}}}
    with running_world(tmp_path, backend, tree, server=SERVER_CERTIFICATE) as gateway:
        assert any("all of its places are switched off" in str(event) for event in gateway.events)
        world = World(gateway, StrictUpstream())
        status, reply = world.control("POST", "/tyk/apis" if form == "classic" else "/tyk/apis/oas", tree)
        world.upstream.close()
    assert status == 400
    assert f"all auth sources are disabled for {kind}, at least one of header/cookie/query must be enabled" in reply["message"]
