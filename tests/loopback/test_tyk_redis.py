"""A Redis that Tyk has filled: Tyk's key names and JSON, read by a gateway that is pointed at it (keys reference, sections 1 to 4)."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.control import Api, policy_folder, rights, token_api
from tests.support.gateway import running_gateway
from tests.support.redis_server import RedisServer, needs_redis, redis_server

pytestmark = needs_redis
ORG = "5bcef48a3f03d311ff27d156"

CURRENT = {"org_id": "default", "access_rights": rights(), "rate": 1000, "per": 60, "quota_max": -1, "last_updated": "1700000000"}
"""As Tyk writes a session today: zero values left out."""
OLDER: dict[str, Any] = {
    "last_check": 0,
    "allowance": 1000,
    "rate": 1000,
    "per": 1,
    "throttle_interval": -1,
    "throttle_retry_limit": -1,
    "max_query_depth": -1,
    "date_created": "2018-11-05T14:45:57.846+01:00",
    "expires": 0,
    "quota_max": -1,
    "quota_renews": 1541425557,
    "quota_remaining": 0,
    "quota_renewal_rate": 60,
    "access_rights": {
        "api": {
            "api_name": "Test API",
            "api_id": "api",
            "versions": ["Default"],
            "allowed_urls": [],
            "restricted_types": [],
            "limit": None,
            "field_access_rights": [],
            "disable_introspection": False,
            "allowance_scope": "",
        }
    },
    "org_id": "default",
    "oauth_client_id": "",
    "oauth_keys": None,
    "certificate": "",
    "basic_auth_data": {"password": "", "hash_type": ""},
    "jwt_data": {"secret": ""},
    "hmac_enabled": False,
    "enable_http_signature_validation": False,
    "hmac_string": "",
    "rsa_certificate_id": "",
    "is_inactive": False,
    "apply_policy_id": "",
    "apply_policies": None,
    "data_expires": 0,
    "monitor": {"trigger_limits": None},
    "enable_detail_recording": True,
    "meta_data": None,
    "tags": [],
    "alias": "",
    "last_updated": "1541425557",
    "id_extractor_deadline": 0,
    "session_lifetime": 0,
}
"""As older Tyk printed it: every zero value, ``null`` for empty maps and lists, ``enable_detail_recording``."""


def token_id(org: str, id: str, algorithm: str) -> str:
    """Return an id the way Tyk makes it with a ``hash_key_function``."""
    return base64.b64encode(b'{"org":"%b","id":"%b","h":"%b"}' % (org.encode(), id.encode(), algorithm.encode())).decode()


def put(server: RedisServer, name: str, session: dict[str, Any], *more: str) -> None:
    assert server.cli("SET", name, json.dumps(session), *more) == "OK"


HASHED = [
    ("murmur32", "defaulttestkey", "67c72ca5"),
    ("murmur32", "defaultf1bfc265b48841f1b1dcdc26cd39eadf", "319d3ab3"),
    ("murmur64", token_id("default", "testkey", "murmur64"), "98d7a0799c1c6914"),
    ("murmur128", token_id("default", "testkey", "murmur128"), "5984e26dcea75cb0098b38e304996010"),
    ("sha256", token_id("default", "testkey", "sha256"), "e764bc4f2103ad41131f5916e9951c2247d862fbb696273c0a7c2ae25c27ac8e"),
]
"""Vectors of the reference: function, id, name in Redis."""


@pytest.mark.parametrize("session", [CURRENT, OLDER], ids=["current", "older"])
@pytest.mark.parametrize(("algorithm", "id", "name"), HASHED)
def test_keys_of_each_hash_function(tmp_path: Path, algorithm: str, id: str, name: str, session: dict[str, Any]) -> None:
    """Each authenticates by its full id, is shown by its hash, updated and revoked; no neighbour of the id does (field report B37)."""
    config = {"hash_keys": True, "hash_key_function": "" if algorithm == "murmur32" else algorithm, "enable_hashed_keys_listing": True}
    if algorithm == "murmur32":
        config["hash_key_function_fallback"] = ["murmur32"]
    with redis_server(tmp_path / "redis") as server:
        put(server, f"apikey-{name}", session)
        storage = {"type": "redis", "host": "127.0.0.1", "port": server.port}
        with running_gateway(tmp_path, token_api(org="default"), storage=storage, **config) as gateway:
            api = Api(gateway)
            assert api.ask(id) == (200, "served")
            if algorithm != "murmur32" or id == "defaulttestkey":
                assert api.ask("testkey") == (200, "served")
            names = server.cli("KEYS", "*")
            for near in (id + "X", id + "XX", id[:-1] + ("Z" if id[-1] != "Z" else "Y"), "default", "defaultXXX"):
                assert api.ask(near) == (403, "Access to this API has been disallowed"), near
            assert server.cli("KEYS", "*") == names, "refused keys leave nothing behind"
            assert api.call("GET", "/tyk/keys").body == {"keys": [name]}
            shown = api.call("GET", f"/tyk/keys/{name}?hashed=1").body
            assert (shown["org_id"], shown["last_updated"]) == ("default", session["last_updated"])
            assert shown.get("enable_detailed_recording", False) == ("enable_detail_recording" in session)
            body = {**shown, "alias": "seen"}
            assert api.call("PUT", f"/tyk/keys/{name}?hashed=1", body).key == name
            assert json.loads(server.cli("GET", f"apikey-{name}"))["alias"] == "seen"
            assert api.ask(id) == (200, "served")
            assert api.call("DELETE", f"/tyk/keys/{name}?hashed=1").key == name
            assert api.ask(id)[0] == 403


@pytest.mark.parametrize("session", [CURRENT, OLDER], ids=["current", "older"])
def test_plain_keys(tmp_path: Path, session: dict[str, Any]) -> None:
    """Without ``hash_keys``: organisation and 32 digits, custom ids short and long, a TTL that stays."""
    generated = f"{ORG}f1bfc265b48841f1b1dcdc26cd39eadf"
    with redis_server(tmp_path / "redis") as server:
        put(server, f"apikey-{generated}", {**session, "org_id": ORG})
        put(server, f"apikey-{ORG}custom-name", {**session, "org_id": ORG}, "EX", "500")
        put(server, "apikey-imported-token", {**session, "org_id": ORG})
        storage = {"type": "redis", "host": "127.0.0.1", "port": server.port}
        with running_gateway(tmp_path, token_api(org=ORG), storage=storage) as gateway:
            api = Api(gateway)
            for key in (generated, f"Bearer {generated}", "custom-name", f"{ORG}custom-name", "imported-token"):
                assert api.ask(key) == (200, "served"), key
            assert api.ask("unknown-name")[0] == 403
            assert 490 < int(server.cli("TTL", f"apikey-{ORG}custom-name")) <= 500
            listed = api.call("GET", f"/tyk/keys?filter={ORG}").body["keys"]
            assert sorted(listed) == sorted([generated, f"{ORG}custom-name"])
            assert api.call("GET", f"/tyk/keys?filter={ORG}&api_id=api").body["keys"] == sorted(listed)


def test_keys_with_policies(tmp_path: Path) -> None:
    """By ``apply_policies`` and by the older ``apply_policy_id``; one whose policy is gone is refused."""
    folder = policy_folder(tmp_path)
    policy = {"_id": "5bcef48a3f03d311ff27d157", "id": "", "org_id": "default", "rate": 2, "per": 600, "quota_max": -1, "active": True}
    (folder / "gold.json").write_text(json.dumps({**policy, "access_rights": rights(), "partitions": None, "tags": None}))
    with redis_server(tmp_path / "redis") as server:
        bare = {**OLDER, "access_rights": None}
        put(server, "apikey-defaultnew", {**bare, "apply_policies": [policy["_id"]]})
        put(server, "apikey-defaultold", {**bare, "apply_policy_id": policy["_id"]})
        put(server, "apikey-defaultgone", {**bare, "apply_policies": ["5bcef48a3f03d311ff27d158"]})
        storage = {"type": "redis", "host": "127.0.0.1", "port": server.port}
        policies = {"policy_source": "file", "policy_path": str(folder)}
        with running_gateway(tmp_path, token_api(org="default"), storage=storage, policies=policies) as gateway:
            api = Api(gateway)
            for key in ("defaultnew", "defaultold"):
                assert [api.ask(key)[0] for _ in range(3)] == [200, 200, 429]
                assert api.call("GET", f"/tyk/keys/{key}").body["rate"] == 2
            assert api.ask("defaultgone") == (403, "Access to this API has been disallowed")


def test_what_tyk_says_of_a_key_holds(tmp_path: Path) -> None:
    """Expired, inactive, without the right, used-up quota, master keys: each as Tyk would answer, or stricter."""
    with redis_server(tmp_path / "redis") as server:
        put(server, "apikey-defaultexpired", {**OLDER, "expires": int(time.time()) - 10})
        put(server, "apikey-defaultinactive", {**OLDER, "is_inactive": True})
        put(server, "apikey-defaultelsewhere", {**OLDER, "access_rights": rights("other")})
        put(server, "apikey-defaultmaster", {**OLDER, "access_rights": None})
        put(server, "apikey-defaultused", {**OLDER, "quota_max": 5, "quota_renewal_rate": 600})
        server.cli("SET", "quota-defaultused", "4", "EX", "300")
        storage = {"type": "redis", "host": "127.0.0.1", "port": server.port}
        with running_gateway(tmp_path, token_api(org="default"), storage=storage) as gateway:
            api = Api(gateway)
            assert api.ask("defaultexpired") == (401, "Key has expired, please renew")
            assert api.ask("defaultinactive") == (403, "Key is inactive, please renew")
            assert api.ask("defaultelsewhere")[0] == 403
            assert api.ask("defaultmaster")[0] == 403
            assert api.call("GET", "/tyk/keys/defaultused").body["quota_remaining"] == 1
            assert [api.ask("defaultused") for _ in range(2)] == [(200, "served"), (403, "Quota exceeded")]
            assert int(server.cli("GET", "quota-defaultused")) >= 5
