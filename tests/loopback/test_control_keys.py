"""Keys over real HTTP: made by one call, used, limited, deleted; two gateways on one store; a real clock against the store's."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.control import SECRET, Api, rights, token_api
from tests.support.gateway import StrictUpstream, classic, running_gateway, wait_until
from tests.support.redis_server import RedisServer, needs_redis, redis_server

BODY: dict[str, Any] = {"org_id": "org", "access_rights": rights()}
BACKENDS = ["sqlite", pytest.param("redis", marks=needs_redis)]


@contextmanager
def gateways(folder: Path, kind: str, count: int, *apis: dict[str, Any], **config: Any) -> Iterator[list[Api]]:
    """Some gateways on one store."""
    with ExitStack() as stack:
        storage: dict[str, Any] = {"type": "sqlite", "path": str(folder / "store.db")}
        if kind == "redis":
            server = stack.enter_context(redis_server(folder / "redis"))
            storage = {"type": "redis", "host": "127.0.0.1", "port": server.port}
        made = []
        for number in range(count):
            place = folder / f"gateway-{number}"
            place.mkdir()
            gateway = stack.enter_context(running_gateway(place, *(apis or (token_api(),)), storage=storage, **config))
            made.append(Api(gateway))
        yield made


def test_a_key_is_made_used_limited_and_deleted(tmp_path: Path) -> None:
    """The whole life of a key, with the words that clients see."""
    with ExitStack() as stack:
        upstream = stack.enter_context(StrictUpstream())
        proxied = classic("api", upstream.port, "/api/", use_keyless=False, org_id="org")
        (api,) = stack.enter_context(gateways(tmp_path, "sqlite", 1, proxied))
        assert api.ask("nobody") == (403, "Access to this API has been disallowed")
        created = api.call("POST", "/tyk/keys/create", {**BODY, "quota_max": 3, "quota_renewal_rate": 600, "alias": "first"})
        assert created.body == {"key": created.key, "status": "ok", "action": "added"}
        key = created.key
        assert api.ask(key)[0] == 200
        assert api.call("GET", f"/tyk/keys/{key}").body["quota_remaining"] == 2
        assert [api.ask(key)[0] for _ in range(2)] == [200, 200]
        assert api.ask(key) == (403, "Quota exceeded")
        assert api.call("PUT", f"/tyk/keys/{key}", {**BODY, "expires": int(time.time()) - 1}).body["action"] == "modified"
        assert api.ask(key) == (401, "Key has expired, please renew")
        assert api.call("PUT", f"/tyk/keys/{key}", {**BODY, "is_inactive": True}).status == 200
        assert api.ask(key) == (403, "Key is inactive, please renew")
        assert api.call("PUT", f"/tyk/keys/{key}", {**BODY, "rate": 2, "per": 600}).status == 200
        assert [api.ask(key)[0] for _ in range(2)] == [200, 200]
        assert api.ask(key) == (429, "Rate Limit Exceeded")
        assert api.call("GET", "/tyk/keys").body == {"keys": [key]}
        assert api.call("DELETE", f"/tyk/keys/{key}").body == {"key": key, "status": "ok", "action": "deleted"}
        assert api.ask(key) == (403, "Access to this API has been disallowed")
        assert api.call("GET", f"/tyk/keys/{key}").message == "Key not found"


@pytest.mark.parametrize("hashes", [False, True])
@pytest.mark.parametrize("kind", BACKENDS)
def test_a_deleted_key_is_refused_everywhere(tmp_path: Path, kind: str, hashes: bool) -> None:
    """At once in the process that took the call, within a second in another, on connections that stay open, in every spelling."""
    with gateways(tmp_path, kind, 2, hash_keys=hashes) as (first, second):
        # A comma in an id: the change feed writes lists of names with commas.
        for custom in ("the-key", "key,with,commas"):
            key = first.call("POST", f"/tyk/keys/{custom}", BODY).key
            open_here, open_there = first.connect(), second.connect()
            for name in (custom, key):
                assert first.ask_on(open_here, name)[0] == second.ask_on(open_there, name)[0] == 200
            assert first.call("DELETE", f"/tyk/keys/{key}").status == 200
            deleted = time.monotonic()
            assert [first.ask_on(open_here, name)[0] for name in (custom, key)] == [403, 403]
            while second.ask_on(open_there, custom)[0] != 403 or second.ask_on(open_there, key)[0] != 403:
                assert time.monotonic() - deleted < 1.0, "still served a second later"
                time.sleep(0.02)
            open_here.close()
            open_there.close()


@pytest.mark.parametrize("kind", BACKENDS)
def test_a_changed_key_counts_everywhere(tmp_path: Path, kind: str) -> None:
    """Rights that are taken away by PUT, and given by POST, within a second."""
    with gateways(tmp_path, kind, 2, token_api(), token_api("two")) as (first, second):
        key = first.call("POST", "/tyk/keys/the-key", BODY).key
        assert (second.ask(key)[0], second.ask(key, "/two/")[0]) == (200, 403)
        first.call("PUT", f"/tyk/keys/{key}", {**BODY, "access_rights": rights("two")})
        assert wait_until(lambda: (second.ask(key)[0], second.ask(key, "/two/")[0]) == (403, 200), 1.5)
        assert second.call("POST", "/tyk/keys/the-key", BODY).status == 200
        assert (second.ask(key)[0], second.ask(key, "/two/")[0]) == (200, 403)


@needs_redis
@pytest.mark.parametrize(
    ("settings", "expires", "lifetime", "assigned"),
    [
        ({"force_global_session_lifetime": True, "session_lifetime_respects_key_expiration": True}, 50, 1, 2),
        ({"force_global_session_lifetime": True}, 50, 1, 2),
        ({"session_lifetime_respects_key_expiration": True}, 2, 1, 2),
        ({"session_lifetime_respects_key_expiration": True}, 1, 2, 2),
        ({}, 50, 2, 2),
        ({"force_global_session_lifetime": True, "global_session_lifetime": 0}, 1, 1, None),
        ({"session_lifetime_respects_key_expiration": True}, 0, 1, None),
        ({"session_lifetime_respects_key_expiration": True}, 1, 0, None),
        ({}, 50, 0, None),
    ],
)
def test_the_precedence_table_in_real_time(
    tmp_path: Path, settings: dict[str, Any], expires: int, lifetime: int, assigned: int | None
) -> None:
    """The seed's table against Redis's own TTL. The test sleeps: the clock that deletes is the server's."""
    config = {"global_session_lifetime": 2, **settings}
    with redis_server(tmp_path / "redis") as server:
        storage = {"type": "redis", "host": "127.0.0.1", "port": server.port}
        with running_gateway(tmp_path, token_api(session_lifetime=lifetime), storage=storage, **config) as gateway:
            api = Api(gateway)
            key = api.call("POST", "/tyk/keys/create", {**BODY, "expires": int(time.time()) + expires if expires else 0}).key
            left = int(server.cli("PTTL", f"apikey-{key}"))
            if assigned is None:
                assert left == -1
                return
            assert assigned * 1000 - 1000 < left <= assigned * 1000
            assert api.call("GET", f"/tyk/keys/{key}").status == 200
            assert wait_until(lambda: server.cli("EXISTS", f"apikey-{key}") == "0", assigned + 2)
            assert api.call("GET", f"/tyk/keys/{key}").status == 404
            assert wait_until(lambda: api.ask(key) == (403, "Access to this API has been disallowed"), 1.0)


def fill(server: RedisServer, count: int) -> None:
    """Put many keys into Redis at once."""
    for start in range(0, count, 2000):
        pairs = [text for number in range(start, min(count, start + 2000)) for text in (f"apikey-org{number:032x}", '{"org_id":"org"}')]
        server.cli("MSET", *pairs)


@needs_redis
def test_a_long_list_does_not_hold_up_the_proxy(tmp_path: Path) -> None:
    """While 60,000 keys are listed and read slowly, requests are answered and memory does not grow with the list."""
    with redis_server(tmp_path / "redis") as server:
        fill(server, 60_000)
        storage = {"type": "redis", "host": "127.0.0.1", "port": server.port}
        with running_gateway(tmp_path, token_api(), storage=storage) as gateway:
            api = Api(gateway)
            key = api.call("POST", "/tyk/keys/the-key", BODY).key
            assert api.ask(key)[0] == 200
            before = gateway.rss_kib()
            import http.client

            connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=30)
            connection.request("GET", "/tyk/keys", headers={"X-Tyk-Authorization": SECRET})
            answer = connection.getresponse()
            data = answer.read(1000)
            statuses = [api.ask(key)[0] for _ in range(20)]
            assert statuses == [200] * 20
            data += answer.read()
            connection.close()
            assert len(set(json.loads(data)["keys"])) == 60_001
            assert gateway.rss_kib() - before < 20_000


HOSTILE: list[tuple[str, bytes]] = [
    ("deep", b'{"meta_data":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    ("wide", b'{"org_id":"org","access_rights":{"api":{}},"tags":[' + b'"x",' * 200_000 + b'"x"]}'),
    ("twice", b'{"org_id":"org","org_id":"org"}'),
    ("types", b'{"org_id":1,"access_rights":"api"}'),
    ("nul", b'{"org_id":"o\\u0000g","access_rights":{"api":{}}}'),
    ("bytes", b'{"org_id":"\xff\xfe"}'),
    ("surrogate", b'{"org_id":"\\udead","access_rights":{"api":{}}}'),
    ("digits", b'{"org_id":"org","access_rights":{"api":{}},"meta_data":{"n":' + b"9" * 390 + b"}}"),
    ("number", b'{"rate":' + b"9" * 5000 + b"}"),
    ("infinity", b'{"rate":1e999}'),
    ("proto", b'{"__class__":"x","org_id":"org","access_rights":{"__proto__":{}}}'),
    ("empty", b""),
    ("blank", b" \n"),
    ("rights", b'{"org_id":"org","access_rights":{"api":{"allowed_urls":[{"url":"(((((","methods":["GET"]}]}}}'),
]
IDS = [
    "x",
    "..",
    "%2E%2E",
    "a%2Fb",
    "%00",
    "a%00b",
    "%FF%FE",
    "a%0D%0Ab",
    "x" * 7000,
    "%E2%80%AE",
    "a,b",
    "'; DROP TABLE x; --",
    "*",
    "create",
    "preview",
]


@pytest.mark.parametrize("kind", BACKENDS)
def test_hostile_calls_break_nothing(tmp_path: Path, kind: str) -> None:
    """Bodies and ids of every kind on every call: documented rows, no traceback, and the keys that were there stay as they were."""
    with gateways(tmp_path, kind, 1) as (api,):
        kept = api.call("POST", "/tyk/keys/kept-key", {**BODY, "alias": "kept"}).key
        before = api.call("GET", f"/tyk/keys/{kept}").body
        rows = {(500, "Unmarshalling failed"), (500, "Failed to create key, ensure security settings are correct.")}
        for _, body in HOSTILE:
            for method, path in (
                ("POST", "/tyk/keys/create"),
                ("POST", "/tyk/keys"),
                ("POST", "/tyk/keys/custom-key"),
                ("PUT", f"/tyk/keys/{kept}x"),
                ("POST", "/tyk/keys/preview"),
                ("POST", f"/tyk/keys/policy/{kept}x"),
            ):
                reply = api.call(method, path, body)
                assert reply.status < 500 or (reply.status, reply.message) in rows, (method, path, reply)
        for id in IDS:
            quoted = id.replace(" ", "%20").replace("'", "%27")
            for method, target in (
                ("GET", f"/tyk/keys/{quoted}?org_id=org"),
                ("PUT", f"/tyk/keys/{quoted}"),
                ("POST", f"/tyk/keys/{quoted}"),
                ("POST", f"/tyk/keys/policy/{quoted}"),
                ("GET", f"/tyk/keys/{quoted}?hashed=1&org_id={quoted}&api_id={quoted}"),
                ("GET", f"/tyk/keys?filter={quoted}"),
                ("DELETE", f"/tyk/keys/{quoted}?org_id=org"),
            ):
                reply = api.call(method, target, BODY if method in ("POST", "PUT") else None)
                assert reply.status < 500, (method, target, reply)
        assert api.call("GET", f"/tyk/keys/{kept}").body == before
        assert api.ask("kept-key")[0] == 200


def test_a_body_beyond_the_limit_is_413(tmp_path: Path) -> None:
    """``tlsgate.limits.control_body_bytes``; the next call is served."""
    with gateways(tmp_path, "sqlite", 1, tlsgate={"limits": {"control_body_bytes": 2000}}) as (api,):
        assert api.call("POST", "/tyk/keys/create", b"{" + b" " * 3000 + b"}").status == 413
        assert api.call("POST", "/tyk/keys/create", BODY).status == 200


def test_no_secret_stands_in_log_or_answer(tmp_path: Path) -> None:
    """Passwords, keys, HMAC secrets of calls that went well and of calls that did not."""
    with gateways(tmp_path, "sqlite", 1, hash_keys=True) as (api,):
        secret = "pa55-of-the-user"
        user = {**BODY, "basic_auth_data": {"password": secret}, "jwt_data": {"secret": secret}}
        made = api.call("POST", "/tyk/keys/john-the-user", user)
        key = api.call("POST", "/tyk/keys/create", {**BODY, "hmac_enabled": True}).key
        hmac = api.call("GET", f"/tyk/keys/{key}").body["hmac_string"]
        assert secret not in str(made.body)
        assert secret not in str(api.call("GET", f"/tyk/keys/{made.body['key_hash']}?hashed=1&mask_secrets=1").body)
        api.call("POST", "/tyk/keys", {**user, "basic_auth_data": {"password": secret * 10}})
        api.call("POST", "/tyk/keys", {**user, "apply_policies": ["none"]})
        api.call("POST", "/tyk/keys", json.dumps({**user, "rate": secret}).encode())
        api.call("DELETE", f"/tyk/keys/{key}")
        text = "\n".join(api.gateway.lines)
        assert all(part not in text for part in (secret, key, hmac))


def test_the_whole_list_of_rows_with_the_real_process(tmp_path: Path) -> None:
    """Wrong secret, wrong method, wrong path: Tyk's answers."""
    with gateways(tmp_path, "sqlite", 1) as (api,):
        for path in ("/tyk/keys", "/tyk/policies", "/tyk/org/keys"):
            refused = api.call("GET", path, secret="wrong")
            assert (refused.status, refused.message) == (403, "Attempted administrative access with invalid or missing key!")
            wrong = api.call("PATCH", path)
            assert (wrong.status, wrong.message) == (405, "Method not supported")
            assert api.call("GET", path + "/").status == 200
        assert api.call("GET", "/tyk/keys/a/b/c").status == 404
