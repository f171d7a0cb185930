"""Basic authentication over TLS, in both forms of definitions, on each store: every answer, curl as a peer, and what acts at once.

Source: token reference, sections 6 and 12; RFC 7617; decisions 3.3, 3.5, 3.9; field reports B38 and B64.
"""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.certs import SERVER, Authority, make_authority
from tests.support.control import SECRET, Reply, rights
from tests.support.credentials import EACH_FORM, EACH_WORLD, protected, told
from tests.support.crew import running_crew
from tests.support.gateway import Client, Gateway, Response, StrictUpstream, running_gateway, wait_until
from tests.support.loop import running_loop
from tests.support.redis_server import needs_redis, redis_server
from tlsgate.auth.key_ids import hash_key
from tlsgate.clock import SystemClock
from tlsgate.config.model import StorageSettings
from tlsgate.store.registry import build_store

MISSING = (401, "Authorization field missing")
REFUSED = (401, "User not authorised")
FORMAT = (400, "Attempted access with malformed header, header not in basic auth format")
ENCODING = (400, "Attempted access with malformed header, auth data not encoded correctly")
VALUES = (400, "Attempted access with malformed header, values not in basic auth format")
AWAY = (503, "Service temporarily unavailable.")
BODY = {"extract_from_body": True, "body_user_regexp": "<User>(.*)</User>", "body_password_regexp": "<Password>(.*)</Password>"}
APIS: dict[str, dict[str, Any]] = {
    "plain": {},
    "uncached": {"basic_auth": {"disable_caching": True}},
    "short": {"basic_auth": {"cache_ttl": 1}},
    "body": {"basic_auth": BODY},
    "small": {"basic_auth": BODY, "x-tlsgate": {"basic": {"max_body": 100}}},
    "nouser": {"basic_auth": {**BODY, "body_user_regexp": "<User>.*</User>"}},
    "nopass": {"basic_auth": {**BODY, "body_password_regexp": "<Password>.*</Password>"}},
    "backtrack": {"basic_auth": {**BODY, "body_user_regexp": "((a+)+)+$", "body_password_regexp": "(.*.*.*.*.*.*=)x"}},
    "colons": {"x-tlsgate": {"basic": {"rfc7617": True}}},
    "stripped": {"strip_auth_data": True},
    "places": {"auth_configs": {"basic": {"auth_header_name": "X-Login", "use_cookie": True, "cookie_name": "login"}}},
    "quoted": {},
    "both": {
        "use_standard_auth": True,
        "base_identity_provided_by": "auth_token",
        "auth_configs": {"basic": {"auth_header_name": "Authorization"}, "authToken": {"auth_header_name": "X-Key"}},
    },
}
RIGHTS = rights(*APIS)
REALM = 'A "quoted" \\ name'
AUTHORITY: Authority = make_authority("basic")
CERTIFICATE = AUTHORITY.issue("server", names=["localhost"], usages=SERVER)


def login(user: str, password: str, scheme: str = "Basic") -> tuple[str, str]:
    """The header of a login."""
    return "Authorization", f"{scheme} {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def define(form: str, upstream: int, *names: str) -> list[dict[str, Any]]:
    """The APIs, below ``/<name>/``."""
    made = [protected(form, name, upstream, use_basic_auth=True, **APIS[name]) for name in names or APIS]
    for api in made:
        if api.get("api_id") == "quoted":
            api["name"] = REALM
        elif form == "oas" and api["x-tyk-api-gateway"]["info"]["id"] == "quoted":
            api["x-tyk-api-gateway"]["info"]["name"] = REALM
    return made


class World(NamedTuple):
    """A gateway on a store."""

    gateway: Gateway
    form: str
    storage: dict[str, Any]

    def call(self, method: str, target: str, body: Any = None) -> Reply:
        """Ask the control API."""
        data = b"" if body is None else json.dumps(body).encode()
        with Client(self.gateway.port_of("control")) as client:
            answer = client.request(method, target, headers=[("X-Tyk-Authorization", SECRET)], body=data)
        return Reply(answer.status, json.loads(answer.body))

    def add(self, user: str, password: str, **fields: Any) -> Reply:
        """Make a user."""
        body = {"org_id": "org", "access_rights": RIGHTS, "basic_auth_data": {"password": password}, **fields}
        reply = self.call("POST", f"/tyk/keys/{user}", body)
        assert reply.status == 200, reply
        return reply

    def send(self, target: str, *headers: tuple[str, str], body: bytes = b"") -> Response:
        """Ask an API over TLS."""
        with Client(self.gateway.port) as client:
            return client.request("POST" if body else "GET", target, headers=headers, body=body)

    def ask(self, target: str, *headers: tuple[str, str], body: bytes = b"") -> tuple[int, str]:
        """Status, and the message of a refusal; each 401 invites to log in, nothing else does."""
        response = self.send(target, *headers, body=body)
        assert ("www-authenticate" in response.headers) == (response.status == 401), response
        return (200, "") if response.status == 200 else told(response)

    def put(self, name: str, session: dict[str, Any]) -> None:
        """Write what another program would have stored."""
        with running_loop() as loop:
            store = build_store(StorageSettings(**self.storage), loop.reactor, SystemClock())
            loop.run(store.start())
            loop.run(store.put(f"apikey-{name}", json.dumps(session).encode()))
            loop.run(store.stop())


@contextmanager
def storage_of(folder: Path, backend: str) -> Iterator[dict[str, Any]]:
    """Settings of a store that outlives its gateway."""
    if backend == "sqlite":
        yield {"type": "sqlite", "path": str(folder / "store.db")}
        return
    with redis_server(folder / "redis") as server:
        yield {"type": "redis", "host": "127.0.0.1", "port": server.port}


@contextmanager
def running(folder: Path, form: str, storage: dict[str, Any], *apis: dict[str, Any], **config: Any) -> Iterator[World]:
    """Run a gateway with TLS."""
    with running_gateway(folder, *apis, server=CERTIFICATE, storage=storage, **config) as gateway:
        yield World(gateway, form, storage)


@pytest.fixture(scope="module")
def upstream() -> Iterator[StrictUpstream]:
    with StrictUpstream() as found:
        yield found
        assert not found.violations


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory, upstream: StrictUpstream) -> Iterator[Any]:
    """A gateway per form and store, begun when it is first needed."""
    with ExitStack() as stack:
        found: dict[tuple[str, str], World] = {}

        def find(form: str, backend: str) -> World:
            if (form, backend) not in found:
                folder = tmp_path_factory.mktemp(f"{form}-{backend}")
                storage = stack.enter_context(storage_of(folder, backend))
                world = stack.enter_context(running(folder, form, storage, *define(form, upstream.port)))
                world.add("john", "s3cret")
                found[form, backend] = world
            return found[form, backend]

        yield find


HEADERS = [
    ([], MISSING),
    ([("Authorization", "")], MISSING),
    ([("Authorization", "Basic")], FORMAT),
    ([("Authorization", "Basic x y")], FORMAT),
    ([("Authorization", "Basic  am9objpzM2NyZXQ=")], FORMAT),
    ([("Authorization", "not base64")], ENCODING),
    ([("Authorization", "Basic am9objpzM2NyZXQ")], ENCODING),
    ([("Authorization", "Basic " + base64.b64encode(b"john").decode())], VALUES),
    ([("Authorization", "Basic " + base64.b64encode(b"user:password:more").decode())], VALUES),
    ([login("john", "s3cret")], (200, "")),
    ([login("john", "s3cret", "bASIC")], (200, "")),
    ([login("orgjohn", "s3cret")], (200, "")),
    ([login("john", "s3cret", "Bearer")], FORMAT),
    ([login("john", "s3cretx")], REFUSED),
    ([login("john", "s3cre")], REFUSED),
    ([login("john", "")], REFUSED),
    ([login("", "s3cret")], REFUSED),
    ([login("nobody", "s3cret")], REFUSED),
    ([login("john", "x" * 100)], REFUSED),
    ([login("john", "s3cret"), login("john", "s3cret")], (400, "Attempted access with malformed header")),
    ([login("john", "s3cret"), ("Authorization", "")], (400, "Attempted access with malformed header")),
]


@EACH_WORLD
@pytest.mark.parametrize("api", ["plain", "uncached", "short"])
def test_every_answer_to_a_header(worlds: Any, upstream: StrictUpstream, form: str, backend: str, api: str) -> None:
    """Token reference, section 6; twice, as the second may find the login cached. The upstream hears of good ones only."""
    world = worlds(form, backend)
    before, good = len(upstream.requests), 0
    for headers, expected in HEADERS:
        for _ in range(2):
            assert world.ask(f"/{api}/", *headers) == expected, headers
            good += expected[0] == 200
    assert len(upstream.requests) == before + good


@EACH_WORLD
def test_the_challenge_names_the_api(worlds: Any, form: str, backend: str) -> None:
    """As a quoted string, which curl and browsers read; the body is Tyk's to the byte."""
    response = worlds(form, backend).send("/plain/")
    assert response.headers["www-authenticate"] == 'Basic realm="plain"'
    assert response.body == b'{\n    "error": "Authorization field missing"\n}'
    response = worlds(form, backend).send("/quoted/", login("john", "wrong"))
    assert response.headers["www-authenticate"] == 'Basic realm="A \\"quoted\\" \\\\ name"'


@EACH_WORLD
def test_places_and_stripping(worlds: Any, form: str, backend: str) -> None:
    """``auth_configs.basic`` says where; a stripped login stays here, another goes on as it came."""
    world = worlds(form, backend)
    value = login("john", "s3cret")[1]
    assert world.ask("/places/", ("Authorization", value)) == MISSING
    assert world.ask("/places/", ("X-Login", value)) == (200, "")
    assert world.ask("/places/", ("X-Login", "bad"), ("Cookie", f"login={value}")) == (200, "")
    seen = json.loads(world.send("/plain/", ("Authorization", value)).body)["headers"]
    assert ["Authorization", value] in [list(pair) for pair in seen]
    seen = json.loads(world.send("/stripped/", ("Authorization", value)).body)["headers"]
    assert "authorization" not in {name.lower() for name, _ in seen}


def document(user: str, password: str, more: str = "") -> bytes:
    return f"<Login>{more}<User>{user}</User>\n<Password>{password}</Password></Login>".encode()


@EACH_WORLD
def test_credentials_in_a_body(worlds: Any, upstream: StrictUpstream, form: str, backend: str) -> None:
    """Where the header is absent or malformed; a well-formed header with a wrong user does not fall back. The body goes on as it came."""
    world = worlds(form, backend)
    good, bad = document("john", "s3cret"), document("john", "wrong")
    for _ in range(2):
        response = world.send("/body/", body=good)
        assert response.status == 200 and upstream.requests[-1].body == good
        assert world.ask("/body/", ("Authorization", "garbage"), body=good) == (200, "")
        assert world.ask("/body/", login("john", "s3cret", "Bearer"), body=good) == (200, "")
        assert world.ask("/body/", login("john", "s3cret"), body=bad) == (200, "")
    before = len(upstream.requests)
    assert world.ask("/body/", body=bad) == REFUSED
    assert world.ask("/body/", login("john", "wrong"), body=good) == REFUSED
    assert world.ask("/body/", login("nobody", "s3cret"), body=good) == REFUSED
    assert world.ask("/body/", login("john", "s3cret"), login("john", "s3cret"), body=good)[0] == 400
    assert world.ask("/body/") == (400, "Body do not contain username")
    assert world.ask("/body/", body=b"<Password>x</Password>") == (400, "Body do not contain username")
    assert world.ask("/body/", body=b"<User>john</User>") == (400, "Body do not contain password")
    assert world.ask("/nouser/", body=good) == (400, "username should be inside regexp match group")
    assert world.ask("/nopass/", body=good) == (400, "password should be inside regexp match group")
    assert world.ask("/nouser/", login("john", "s3cret"))[0] == 200
    assert len(upstream.requests) == before + 1


@EACH_WORLD
def test_bodies_are_bounded_and_expressions_linear(worlds: Any, upstream: StrictUpstream, form: str, backend: str) -> None:
    """Beyond the bound 413, for chunked ones too; expressions that would keep a backtracking reader busy for ever answer at once."""
    world = worlds(form, backend)
    large = document("john", "s3cret", "x" * 50_000)
    assert world.send("/body/", body=large).status == 200 and upstream.requests[-1].body == large
    before = len(upstream.requests)
    assert world.send("/body/", body=document("john", "s3cret", "x" * 65_536)).status == 413
    assert world.send("/small/", body=document("john", "s3cret", "x" * 100)).status == 413
    with Client(world.gateway.port) as client:
        client.send(b"POST /small/ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send(b"80\r\n" + b"x" * 128 + b"\r\n")
        assert client.read_response("POST").status == 413
    assert world.ask("/backtrack/", body=b"a" * 65_000 + b"!") == (400, "Body do not contain username")
    assert world.ask("/backtrack/", body=b"=" * 60_000 + b"a") == (400, "Body do not contain password")
    assert len(upstream.requests) == before


@EACH_WORLD
def test_colons_in_passwords(worlds: Any, form: str, backend: str) -> None:
    """B38: the pinned 400; with the setting the whole password logs in, and no part of it in either mode."""
    world = worlds(form, backend)
    assert "colon" in world.add("colon", "john:key").body["message"]
    for api, whole in (("plain", VALUES), ("colons", (200, ""))):
        for _ in range(2):
            assert world.ask(f"/{api}/", login("colon", "john:key")) == whole
            for part in ("john", "key", "john:", ":key", "john:key:"):
                expected = VALUES if ":" in part and api == "plain" else REFUSED
                assert world.ask(f"/{api}/", login("colon", part)) == expected, part
            assert world.ask(f"/{api}/", login("co:lon", "john:key")) == (VALUES if api == "plain" else REFUSED)


@EACH_WORLD
@pytest.mark.parametrize("api", ["plain", "uncached"])
def test_users_whose_names_begin_alike(worlds: Any, form: str, backend: str, api: str) -> None:
    """Token reference, section 12.2."""
    world = worlds(form, backend)
    world.add("bellbell1", "bellpass1")
    for _ in range(2):
        for name in ("bellbel", "bellbell", "bellbell11", "bellbell12"):
            assert world.ask(f"/{api}/", login(name, "bellpass1")) == REFUSED
        for password in ("bellpass", "bellpass11", "bellpass12"):
            assert world.ask(f"/{api}/", login("bellbell1", password)) == REFUSED
        assert world.ask(f"/{api}/", login("bellbell1", "bellpass1")) == (200, "")


@EACH_WORLD
def test_changes_act_at_once(worlds: Any, form: str, backend: str) -> None:
    """BETTER: in Tyk the old password passes, and the new one fails, for ten seconds; the answers never show a hash."""
    world = worlds(form, backend)
    key = world.add("changing", "first-password").key
    body = {"org_id": "org", "access_rights": RIGHTS}
    first, second = login("changing", "first-password"), login("changing", "second-password")
    assert world.ask("/plain/", first) == (200, "")
    new = {**body, "basic_auth_data": {"password": "second-password"}}
    assert world.call("PUT", "/tyk/keys/changing?org_id=org", new).status == 200
    assert world.ask("/plain/", first) == REFUSED
    assert world.ask("/plain/", second) == (200, "")
    # Without a password the old one stays.
    assert world.call("PUT", f"/tyk/keys/{key}", {**body, "alias": "x"}).status == 200
    assert world.ask("/plain/", second) == (200, "")
    for target in (f"/tyk/keys/{key}", "/tyk/keys/changing?org_id=org", "/tyk/keys/changing?username=true&org_id=org"):
        assert world.call("GET", target).body["basic_auth_data"] == {"hash_type": "bcrypt"}
    assert world.call("PUT", f"/tyk/keys/{key}", {**body, "is_inactive": True}).status == 200
    assert world.ask("/plain/", second) == (403, "Key is inactive, please renew")
    assert world.ask("/plain/", first) == REFUSED
    assert world.call("PUT", f"/tyk/keys/{key}", {**body, "access_rights": rights("other")}).status == 200
    assert world.ask("/plain/", second) == (403, "Access to this API has been disallowed")
    assert world.call("PUT", f"/tyk/keys/{key}", body).status == 200
    assert world.ask("/plain/", second) == (200, "")
    assert world.call("DELETE", f"/tyk/keys/{key}").status == 200
    assert world.ask("/plain/", second) == REFUSED
    assert world.ask("/plain/", login("changing", "x" * 80)) == REFUSED


@EACH_WORLD
def test_passwords_are_hashed_on_every_way_in(worlds: Any, form: str, backend: str) -> None:
    """BETTER: ``/tyk/keys/create`` too; one that bcrypt would cut is refused, and so is one with a zero byte."""
    world = worlds(form, backend)
    body = {"org_id": "org", "access_rights": RIGHTS}
    made = world.call("POST", "/tyk/keys/create", {**body, "basic_auth_data": {"password": "made-here", "hash_type": ""}}).key
    assert world.call("GET", f"/tyk/keys/{made}").body["basic_auth_data"] == {"hash_type": "bcrypt"}
    assert world.ask("/plain/", login(made, "made-here")) == (200, "")
    for password in ("x" * 73, "a\0a"):
        for method, target in (("POST", "/tyk/keys/long"), ("POST", "/tyk/keys/create"), ("PUT", "/tyk/keys/john?org_id=org")):
            reply = world.call(method, target, {**body, "basic_auth_data": {"password": password}})
            assert reply.status == 400 and "password" in reply.message and password not in reply.message
    assert world.add("whole", "x" * 72).status == 200
    assert world.ask("/plain/", login("whole", "x" * 72)) == (200, "")
    for password in ("x" * 71, "x" * 73):
        assert world.ask("/plain/", login("whole", password)) == REFUSED
    assert world.ask("/plain/", login("john", "s3cret")) == (200, "")


@EACH_WORLD
def test_what_other_programs_have_stored(worlds: Any, form: str, backend: str) -> None:
    """Hashes of Tyk and plain texts are read; keys, empty passwords and hashes as passwords log nobody in."""
    world = worlds(form, backend)
    bcrypted = "$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"
    text = "old-password"
    kinds = {name: hash_key(text, name) for name in ("sha256", "murmur32", "murmur64", "murmur128")}
    base = {"org_id": "org", "access_rights": RIGHTS}
    users = {**{kind: (stored, kind) for kind, stored in kinds.items()}, "plaintext": (text, "")}
    for name, (stored, kind) in users.items():
        world.put(f"org{name}", {**base, "basic_auth_data": {"password": stored, "hash_type": kind}})
        for _ in range(2):
            assert world.ask("/plain/", login(name, text)) == (200, ""), name
            assert world.ask("/plain/", login(name, "OLD-password")) == REFUSED
            if kind:
                assert world.ask("/plain/", login(name, stored)) == REFUSED
    world.put("orgleaked", {**base, "basic_auth_data": {"password": bcrypted, "hash_type": ""}})
    world.put("orgunread", {**base, "basic_auth_data": {"password": text, "hash_type": "bcrypt"}})
    world.put("orgnothing", {**base, "basic_auth_data": {"password": "", "hash_type": ""}})
    world.put("orgplainkey", base)
    for name, password in (
        ("leaked", bcrypted),
        ("unread", text),
        ("nothing", ""),
        ("nothing", "x"),
        ("plainkey", ""),
        ("plainkey", "x"),
    ):
        assert world.ask("/plain/", login(name, password)) == REFUSED, name


@EACH_WORLD
def test_with_a_token_beside_it(worlds: Any, form: str, backend: str) -> None:
    """Both have to pass, each answers for itself; a user's name is no token (decisions 3.3)."""
    world = worlds(form, backend)
    key = world.call("POST", "/tyk/keys/create", {"org_id": "org", "access_rights": RIGHTS}).key
    good, token = login("john", "s3cret"), ("X-Key", key)
    assert world.ask("/both/", good, token) == (200, "")
    assert world.ask("/both/", login("john", "wrong"), token) == REFUSED
    assert world.ask("/both/", good, ("X-Key", "no-such-key")) == (403, "Access to this API has been disallowed")
    for name in ("john", "orgjohn"):
        assert world.ask("/both/", good, ("X-Key", name)) == (403, "Access to this API has been disallowed")
    body = {"org_id": "org", "access_rights": RIGHTS, "basic_auth_data": {"password": "asleep"}, "is_inactive": True}
    assert world.call("POST", "/tyk/keys/sleeper", body).status == 200
    assert world.ask("/both/", login("sleeper", "asleep"), token) == (403, "Key is inactive, please renew")


def curl(world: World, *arguments: str) -> tuple[str, str, str]:
    """Status, all heads and the last body of what curl gets; it trusts the tests' authority alone."""
    folder = world.gateway.folder
    (folder / "ca.pem").write_text(AUTHORITY.pem)
    *options, target = arguments
    command = ["curl", "-sS", "--noproxy", "*", "--cacert", "ca.pem", "-D", "head", "-o", "body", "-w", "%{http_code}", *options]
    address = f"https://localhost:{world.gateway.port}{target}"
    done = subprocess.run([*command, address], cwd=folder, capture_output=True, text=True, timeout=30, check=True)
    return done.stdout, (folder / "head").read_text(), (folder / "body").read_text()


@EACH_WORLD
def test_curl_logs_in(worlds: Any, upstream: StrictUpstream, form: str, backend: str) -> None:
    """An independent peer: ``-u``, a login in the address, ``--anyauth`` (which reads the challenge), a body."""
    world = worlds(form, backend)
    assert curl(world, "-u", "john:s3cret", "/plain/x")[0] == "200"
    status, head, body = curl(world, "-u", "john:wrong", "/plain/x")
    assert status == "401" and 'WWW-Authenticate: Basic realm="plain"' in head and json.loads(body) == {"error": "User not authorised"}
    status, head, _ = curl(world, "--anyauth", "-u", "john:s3cret", "/quoted/x")
    assert status == "200" and head.count("HTTP/1.1 401") == 1, "curl asked once without the login and read the challenge"
    assert curl(world, "--data-binary", document("john", "s3cret").decode(), "/body/x")[0] == "200"
    assert upstream.requests[-1].body == document("john", "s3cret")
    world.add("with-colon", "a:b")
    assert curl(world, "-u", "with-colon:a:b", "/colons/")[0] == "200"
    assert curl(world, "-u", "with-colon:a:b", "/plain/")[0] == "400"


@EACH_WORLD
def test_changes_reach_other_workers(tmp_path: Path, upstream: StrictUpstream, form: str, backend: str) -> None:
    """When the call returns, with the login cached there: a new password, then a deletion."""
    with (
        storage_of(tmp_path, backend) as storage,
        running_crew(tmp_path, *define(form, upstream.port, "plain"), storage=storage, server=CERTIFICATE) as crew,
    ):
        first, second = crew.pids().values()
        world = World(crew.gateway, form, storage)
        with (
            crew.connect_to(first, world.gateway.port_of("control"), tls=True) as control,
            crew.connect_to(second, world.gateway.port, tls=True) as there,
        ):

            def change(method: str, target: str, password: str = "") -> None:
                data = {"org_id": "org", "access_rights": rights("plain"), "basic_auth_data": {"password": password}}
                body = json.dumps(data).encode() if password else b""
                assert control.request(method, target, headers=[("X-Tyk-Authorization", SECRET)], body=body).status == 200

            def status(password: str) -> int:
                return there.request(target="/plain/", headers=[login("john", password)]).status

            change("POST", "/tyk/keys/john", "first")
            assert status("first") == 200
            for method, target, password in (("PUT", "/tyk/keys/orgjohn", "second"), ("DELETE", "/tyk/keys/orgjohn", "")):
                old = "first" if password else "second"
                assert status(old) == 200
                change(method, target, password)
                assert status(old) == 401
                assert status("second") == (200 if password else 401)


@EACH_WORLD
@pytest.mark.parametrize("hashes", [False, True])
def test_the_function_was_changed_after_users_were_made(
    tmp_path: Path, upstream: StrictUpstream, form: str, backend: str, hashes: bool
) -> None:
    """Token reference, section 12.3: what Tyk stored without a function logs in; another function needs the fallback, else 401."""
    apis = define(form, upstream.port, "plain")
    john, jane = login("john", "s3cret"), login("jane", "s3cret")
    with storage_of(tmp_path, backend) as storage:
        legacy = hash_key("orgjohn", "murmur32") if hashes else "orgjohn"
        data = {"password": hash_key("s3cret", "sha256"), "hash_type": "sha256"}
        with running(tmp_path, form, storage, *apis, hash_keys=hashes, hash_key_function="murmur64") as world:
            world.put(legacy, {"org_id": "org", "access_rights": RIGHTS, "basic_auth_data": data})
            world.add("jane", "s3cret")
            assert world.ask("/plain/", john) == world.ask("/plain/", jane) == (200, "")
        config: dict[str, Any] = {"hash_keys": hashes, "hash_key_function": "sha256"}
        with running(tmp_path, form, storage, *apis, **config) as world:
            assert world.ask("/plain/", john) == (200, "")
            assert world.ask("/plain/", jane) == REFUSED
            assert world.ask("/plain/", login("john", "wrong")) == REFUSED
        with running(tmp_path, form, storage, *apis, **config, hash_key_function_fallback=["murmur64"]) as world:
            assert world.ask("/plain/", john) == world.ask("/plain/", jane) == (200, "")


@needs_redis
@EACH_FORM
@pytest.mark.parametrize("silent", [False, True])
def test_a_store_that_is_away(tmp_path: Path, upstream: StrictUpstream, form: str, silent: bool) -> None:
    """B64: 503 and never 401, for known and unknown users alike; a cached login goes on, and everybody gets in when it is back."""
    with redis_server(tmp_path / "redis") as server:
        storage = {"type": "redis", "host": "127.0.0.1", "port": server.port}
        with running(tmp_path, form, storage, *define(form, upstream.port, "plain")) as world:
            world.add("john", "s3cret")
            world.add("jane", "s3cret")
            assert world.ask("/plain/", login("john", "s3cret")) == (200, "")
            server.pause() if silent else server.stop()
            assert world.ask("/plain/", login("john", "s3cret")) == (200, "")
            for value in (login("jane", "s3cret"), login("nobody", "s3cret"), login("john", "wrong")):
                assert world.ask("/plain/", value) == AWAY
            assert world.ask("/plain/", login("john", "")) == REFUSED
            with ExitStack() as stack:
                clients = [stack.enter_context(Client(world.gateway.port)) for _ in range(50)]
                for number, client in enumerate(clients):
                    name, value = login(f"user-{number}", "s3cret")
                    client.send(f"GET /plain/ HTTP/1.1\r\nHost: localhost\r\n{name}: {value}\r\n\r\n".encode())
                assert {told(client.read_response("GET")) for client in clients} == {AWAY}
            server.resume() if silent else server.start()
            deadline = time.monotonic() + 10
            while world.ask("/plain/", login("jane", "s3cret")) != (200, ""):
                assert time.monotonic() < deadline
                time.sleep(0.1)


@EACH_FORM
def test_an_api_whose_expressions_find_nothing_is_refused(tmp_path: Path, upstream: StrictUpstream, form: str) -> None:
    """BETTER: in Tyk another method, or none, protects it then; its place answers 503."""
    broken = protected(form, "broken", upstream.port, use_basic_auth=True, basic_auth={**BODY, "body_user_regexp": "("})
    before = len(upstream.requests)
    with running(tmp_path, form, {"type": "memory"}, broken, *define(form, upstream.port, "plain")) as world:
        key = world.call("POST", "/tyk/keys/create", {"org_id": "org", "access_rights": rights("broken", "plain")}).key
        world.add("john", "s3cret")
        for headers in ([], [login("john", "s3cret")], [("Authorization", key)]):
            assert world.send("/broken/", *headers, body=document("john", "s3cret")).status == 503
        assert len(upstream.requests) == before
        assert world.ask("/plain/", login("john", "s3cret")) == (200, "")


@EACH_FORM
def test_a_flood_of_logins_is_bounded(tmp_path: Path, upstream: StrictUpstream, form: str) -> None:
    """Beyond those that wait 503 with ``Retry-After``; known logins and other requests are answered meanwhile."""
    with running(tmp_path, form, {"type": "memory"}, *define(form, upstream.port, "plain")) as world:
        world.add("john", "s3cret")
        assert world.ask("/plain/", login("john", "s3cret")) == (200, "")
        clients = [Client(world.gateway.port) for _ in range(150)]
        for number, client in enumerate(clients):
            name, value = login("nobody", f"wrong {number}")
            client.send(f"GET /plain/ HTTP/1.1\r\nHost: localhost\r\n{name}: {value}\r\n\r\n".encode())
        assert world.ask("/plain/", login("john", "s3cret")) == (200, "")
        assert world.ask("/plain/") == MISSING
        answers = [client.read_response("GET") for client in clients]
        for client in clients:
            client.close()
        counts = {status: sum(answer.status == status for answer in answers) for status in (401, 503)}
        assert counts[401] + counts[503] == 150 and counts[401] >= 60 and counts[503] >= 20
        assert all(answer.headers.get("retry-after") == "1" for answer in answers if answer.status == 503)


@EACH_FORM
def test_nothing_secret_is_logged_or_told(tmp_path: Path, form: str) -> None:
    """The access log, the log of refusals and the event AuthFailure hold neither password nor header."""
    with StrictUpstream() as upstream, StrictUpstream() as listener:
        address = f"http://127.0.0.1:{listener.port}/"
        apis = define(form, upstream.port, "plain", "body")
        for api in apis:
            if form == "classic":
                hook = {"handler_name": "eh_web_hook_handler", "handler_meta": {"method": "POST", "target_path": address}}
                api["event_handlers"] = {"events": {"AuthFailure": [hook]}}
            else:
                told_to = {"enabled": True, "trigger": "AuthFailure", "type": "webhook", "url": address, "method": "POST"}
                api["x-tyk-api-gateway"]["server"]["eventHandlers"] = [told_to]
        own = {"log": {"access": True, "level": "debug"}}
        secrets = []
        with running(tmp_path, form, {"type": "memory"}, *apis, tlsgate=own) as world:
            world.add("johnny-appleseed", "right-password")
            for password in ("right-password", "wrong-password"):
                header = login("johnny-appleseed", password)
                secrets += [password, header[1].split()[1]]
                status = 200 if password.startswith("right") else 401
                assert world.send("/plain/", header).status == status
                assert world.send("/body/", body=document("johnny-appleseed", password)).status == status
            assert wait_until(lambda: len(listener.requests) == 2, 10)
        heard = [json.loads(request.body) for request in listener.requests]
        assert all("AuthFailure" in json.dumps(event) for event in heard)
        written = "\n".join([*world.gateway.lines, *map(json.dumps, heard), *_requests_in(heard)])
        assert "/plain/" in written
        assert not [secret for secret in secrets if secret in written]


def _requests_in(value: Any) -> list[str]:
    """Every text that is base64, read: events carry the request that way."""
    if isinstance(value, dict | list):
        return [text for item in (value.values() if isinstance(value, dict) else value) for text in _requests_in(item)]
    try:
        return [base64.b64decode(value, validate=True).decode("utf-8", "replace")]
    except (ValueError, TypeError):
        return []


def test_a_client_that_goes_away_holds_no_place(tmp_path: Path, upstream: StrictUpstream) -> None:
    """Logins that waited for a thread are not verified for nobody: the next client is not refused."""
    with running(tmp_path, "classic", {"type": "memory"}, *define("classic", upstream.port, "plain")) as world:
        world.add("john", "s3cret")
        clients = [Client(world.gateway.port) for _ in range(60)]
        for number, client in enumerate(clients):
            name, value = login("nobody", f"wrong {number}")
            client.send(f"GET /plain/ HTTP/1.1\r\nHost: localhost\r\n{name}: {value}\r\n\r\n".encode())
        for client in clients:
            client.close()
        time.sleep(0.1)  # the gateway reads the ends of sixty connections
        answers = [world.ask("/plain/", login("john", "s3cret")) for _ in range(3)]
        assert answers == [(200, "")] * 3
