"""Field reports about keys, limits and stores, replayed on a running gateway, in both forms of definitions.

Source: field reports B28, B35, B37, B38, B42, B44, B64 (reference). Those about certificates stand beside the certificate store.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.control import Api, Reply, policy_folder, rights
from tests.support.gateway import Client, ScriptedUpstream, StrictUpstream, classic, oas, read_head, running_gateway, wait_until
from tests.support.redis_server import RedisServer, needs_redis

EACH_FORM = pytest.mark.parametrize("form", ["classic", "oas"])
BODY: dict[str, Any] = {"org_id": "org", "access_rights": rights()}
DISALLOWED = (403, "Access to this API has been disallowed")
APP = "https://app.test"


def keyed(form: str, upstream: int, api_id: str = "api") -> dict[str, Any]:
    """An API that takes keys below ``/<api_id>/``, and lets pages of one origin read its answers."""
    if form == "classic":
        cors = {"enable": True, "allowed_origins": [APP], "allowed_methods": ["GET"], "allow_credentials": True}
        return classic(api_id, upstream, f"/{api_id}/", use_keyless=False, org_id="org", CORS=cors)
    document = oas(
        api_id,
        upstream,
        f"/{api_id}/",
        server={"authentication": {"enabled": True, "securitySchemes": {"key": {"enabled": True}}}},
        middleware={"global": {"cors": {"enabled": True, "allowedOrigins": [APP], "allowedMethods": ["GET"], "allowCredentials": True}}},
    )
    document["components"] = {"securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "Authorization"}}}
    document["security"] = [{"key": []}]
    document["x-tyk-api-gateway"]["info"]["orgId"] = "org"
    return document


@EACH_FORM
@pytest.mark.parametrize("function", ["", "murmur32", "murmur64", "sha256"])
def test_a_key_with_characters_more_or_less_is_another_key(tmp_path: Path, form: str, function: str) -> None:
    """B37: with hashed keys, whatever the function; after a good request too; no trace in the store, one counter for the good key."""
    with (
        StrictUpstream() as upstream,
        running_gateway(
            tmp_path, keyed(form, upstream.port), hash_keys=True, hash_key_function=function, enable_hashed_keys_listing=True
        ) as gateway,
    ):
        api = Api(gateway)
        limited = {**BODY, "rate": 4, "per": 600, "quota_max": 100, "quota_renewal_rate": 600}
        answer = api.call("POST", "/tyk/keys/1mysecretkey", limited).body
        key = answer["key"]
        near = ["1mysecretkeyX", "1mysecretkeyXX", "1mysecretkeyXXX", "1mysecretkez", "org", "orgXXX", key + "X", key + "XX", key[:-1]]
        for _ in range(2):
            assert [api.ask(name) for name in near] == [DISALLOWED] * len(near)
            assert api.ask("1mysecretkey")[0] == 200
        assert api.call("GET", "/tyk/keys").body == {"keys": [answer["key_hash"]]}
        # Two are used; in its other spelling it is the same key.
        assert [api.ask(name)[0] for name in (key, "1mysecretkey", key, "1mysecretkey", *near)] == [200, 200, 429, 429, *[403] * len(near)]
        assert api.call("GET", f"/tyk/keys/{key}").body["quota_remaining"] == 96


@EACH_FORM
def test_a_user_who_may_not_be_able_to_log_in_is_announced(tmp_path: Path, form: str) -> None:
    """B38: passwords and names with a colon draw a message; and neither name nor password, nor a part of it, is a key."""
    with StrictUpstream() as upstream, running_gateway(tmp_path, keyed(form, upstream.port)) as gateway:
        api = Api(gateway)
        for name, password, told in (("john", "john:key", True), ("jo%3Ahn", "key", True), ("jim", "key", False)):
            body = api.call("POST", f"/tyk/keys/{name}", {**BODY, "basic_auth_data": {"password": password}}).body
            assert ("colon" in body.get("message", "")) is told
        for credential in ("john", "orgjohn", "john:key", "jim", "key", "Basic am9objpqb2huOmtleQ=="):
            assert api.ask(credential) == DISALLOWED, credential


@EACH_FORM
def test_a_harmless_update_leaves_the_end_of_a_key_alone(tmp_path: Path, form: str) -> None:
    """B42: the life comes from a policy; GET, another alias, PUT, twice, with and without ``suppress_reset``."""
    policy = {"id": "gold", "org_id": "org", "access_rights": rights(), "key_expires_in": 3600}
    (policy_folder(tmp_path) / "gold.json").write_text(json.dumps(policy))
    policies = {"policy_source": "file", "policy_path": str(tmp_path / "policies")}
    with StrictUpstream() as upstream, running_gateway(tmp_path, keyed(form, upstream.port), policies=policies) as gateway:
        api = Api(gateway)
        key = api.call("POST", "/tyk/keys/create", {"org_id": "org", "apply_policies": ["gold"]}).key
        ends = api.call("GET", f"/tyk/keys/{key}").body["expires"]
        assert abs(ends - time.time() - 3600) < 10
        for number, query in enumerate(("", "?suppress_reset=1", "", "?suppress_reset=1")):
            assert api.ask(key)[0] == 200
            shown = api.call("GET", f"/tyk/keys/{key}").body
            time.sleep(0.6)  # an end that is counted from the update would be another one
            assert api.call("PUT", f"/tyk/keys/{key}{query}", {**shown, "alias": f"new {number}"}).status == 200
            after = api.call("GET", f"/tyk/keys/{key}").body
            assert (after["expires"], after["alias"]) == (ends, f"new {number}")
        assert api.ask(key)[0] == 200


def loop_of(form: str, target: str) -> dict[str, Any]:
    """An API that rewrites a path into another API."""
    if form == "classic":
        rewrite = {"path": "/x", "method": "GET", "match_pattern": "/x", "rewrite_to": target}
        return classic("looped", 9, "/looped/", version={"use_extended_paths": True, "extended_paths": {"url_rewrites": [rewrite]}})
    document = oas("looped", 9, "/looped/")
    document["paths"] = {"/x": {"get": {"operationId": "x", "responses": {}}}}
    rewrite = {"enabled": True, "pattern": "/x", "rewriteTo": target}
    document["x-tyk-api-gateway"]["middleware"] = {"operations": {"x": {"urlRewrite": rewrite}}}
    return document


@EACH_FORM
@pytest.mark.parametrize("target", ["tyk://self/y", "tyk://other/y", "TYK://self/y?check_limits=true"])
def test_what_would_count_twice_through_a_loop_is_refused(tmp_path: Path, form: str, target: str) -> None:
    """B44: rewrites into other APIs are not there; such an API is refused by name, from disk and by the control API, and counts nothing."""
    with StrictUpstream() as upstream:
        running = running_gateway(tmp_path, loop_of(form, target), keyed("classic", upstream.port))
        with running as gateway:
            told = [event["problem"] for event in gateway.events if event.get("event") == "load.problem"]
            assert any("looped" in text and "rewrite" in text.lower() for text in told), told
            api = Api(gateway)
            assert api.ask("any", "/looped/x")[0] == 503, "its place stays its own, and answers nothing"
            path = "/tyk/apis/oas" if form == "oas" else "/tyk/apis"
            reply = api.call("POST", path, loop_of(form, target))
            assert (reply.status, "rewrit" in reply.message) == (400, True), reply
            key = api.call("POST", "/tyk/keys/create", {**BODY, "quota_max": 10, "quota_renewal_rate": 600}).key
            assert [api.ask(key, "/api/x")[0] for _ in range(4)] == [200] * 4
            assert api.call("GET", f"/tyk/keys/{key}").body["quota_remaining"] == 6
    check = subprocess.run(
        [sys.executable, "-m", "tlsgate", "check", "--config", str(tmp_path / "tyk.conf.json")], capture_output=True, text=True, check=False
    )
    assert check.returncode == 1 and "looped" in check.stdout + check.stderr


def echo_or_answer(connection: Any, number: int) -> None:
    """Take an upgrade and return what comes; answer anything else."""
    while head := read_head(connection):
        if b"upgrade" not in head.lower():
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            continue
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        while piece := connection.recv(4096):
            connection.sendall(piece)
        return


@EACH_FORM
def test_upgrades_and_requests_of_one_key_count_one_each(tmp_path: Path, form: str) -> None:
    """B28 with a key: WebSockets and plain requests beside each other, again and again; the quota says how many of both there were."""
    rounds, plain = 5, 20
    with (
        ScriptedUpstream(echo_or_answer) as upstream,
        running_gateway(tmp_path, keyed(form, upstream.port), http_server_options={"enable_websockets": True}) as gateway,
    ):
        api = Api(gateway)
        key = api.call("POST", "/tyk/keys/create", {**BODY, "quota_max": 1000, "quota_renewal_rate": 600}).key
        upgrade = f"GET /api/sock HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nAuthorization: {key}\r\n\r\n"
        for _ in range(rounds):
            with Client(gateway.port, tls=False) as stream, Client(gateway.port, tls=False) as client:
                stream.send(upgrade.encode())
                assert stream.read_response().status == 101
                for _ in range(plain):
                    stream.send(b"ping")
                    assert client.request(target="/api/plain", headers=[("Authorization", key)]).status == 200
                    assert stream.read_exactly(4) == b"ping"
            assert api.ask(key, "/api/plain")[0] == 200
        assert api.call("GET", f"/tyk/keys/{key}").body["quota_remaining"] == 1000 - rounds * (plain + 2)


@EACH_FORM
def test_refusals_of_keys_can_be_read_by_pages_of_an_allowed_origin(tmp_path: Path, form: str) -> None:
    """B35 with keys: none, unknown, expired, used up, too fast; each answer says who may read it, as a success does, others get nothing."""
    with StrictUpstream() as upstream, running_gateway(tmp_path, keyed(form, upstream.port)) as gateway:
        api = Api(gateway)
        made = {
            "good": {},
            "expired": {"expires": int(time.time()) - 5},
            "used": {"quota_max": 1, "quota_renewal_rate": 600},
            "fast": {"rate": 1, "per": 600},
        }
        for name, fields in made.items():
            assert api.call("POST", f"/tyk/keys/the-{name}", {**BODY, **fields}).status == 200
        for name in ("used", "fast"):
            assert api.ask(f"the-{name}")[0] == 200
        expected = {"the-good": 200, "": 401, "the-none": 403, "the-expired": 401, "the-used": 403, "the-fast": 429}
        for key, status in expected.items():
            for origin, allowed in ((APP, APP), ("https://evil.test", None)):
                with Client(gateway.port, tls=False) as client:
                    shown = [("Authorization", key)] if key else []
                    answer = client.request(target="/api/", headers=[("Origin", origin), *shown])
                assert answer.status == status, (key, answer)
                assert answer.headers.get("access-control-allow-origin") == allowed, (key, origin)
                assert "origin" in answer.headers["vary"].lower()


def at_once(count: int, *calls: Any) -> list[tuple[int, float]]:
    """Status and seconds of calls that are made at one moment, each so many times."""
    found: list[tuple[int, float]] = []

    def run(call: Any) -> None:
        began = time.monotonic()
        reply = call()
        found.append((reply.status if isinstance(reply, Reply) else reply[0], time.monotonic() - began))

    threads = [threading.Thread(target=run, args=(call,)) for call in calls for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == count * len(calls), "a call was never answered"
    return found


@needs_redis
@EACH_FORM
def test_nobody_waits_for_a_store_that_does_not_come(tmp_path: Path, form: str) -> None:
    """B64: keyed and control calls, 50 at once, without a Redis and with a hanging one: answered in 3 s; no call is counted twice later."""
    redis = RedisServer(tmp_path / "redis")
    with StrictUpstream() as upstream:
        storage = {"type": "redis", "host": "127.0.0.1", "port": redis.port}
        with running_gateway(tmp_path, keyed(form, upstream.port), storage=storage) as gateway:
            api = Api(gateway)
            calls = (lambda: api.ask("the-key"), lambda: api.call("GET", "/tyk/keys"), lambda: api.call("POST", "/tyk/keys/new-key", BODY))
            try:
                answers = at_once(50, *calls)
                assert {status for status, _ in answers} == {503}
                assert max(took for _, took in answers) < 3.0
                redis.start()
                assert wait_until(lambda: api.call("GET", "/tyk/keys").status == 200, 5)
                assert api.call("GET", "/tyk/keys").body == {"keys": []}, "what was refused is not done later"
                assert api.call("POST", "/tyk/keys/the-key", {**BODY, "quota_max": 10**6, "quota_renewal_rate": 600}).status == 200
                assert [api.ask("the-key")[0] for _ in range(3)] == [200] * 3
                redis.pause()
                answers = at_once(50, *calls)
                assert {status for status, _ in answers} == {503}
                assert max(took for _, took in answers) < 3.0
                redis.resume()
                assert wait_until(lambda: api.ask("the-key")[0] == 200, 5)
                time.sleep(1.0)  # longer than what hung in the pipe needs to arrive
                used = int(redis.cli("GET", "quota-orgthe-key"))
                assert 4 <= used <= 4 + 50, "each call is counted once or not at all"
                assert [api.ask("the-key")[0] for _ in range(2)] == [200, 200]
                assert int(redis.cli("GET", "quota-orgthe-key")) == used + 2
            finally:
                redis.stop()
