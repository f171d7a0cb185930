"""Organisations over real HTTP."""

from __future__ import annotations

from pathlib import Path

from tests.support.control import Api, token_api
from tests.support.gateway import running_gateway
from tests.support.redis_server import needs_redis, redis_server


@needs_redis
def test_an_organisation_lies_where_tyk_looks_for_it(tmp_path: Path) -> None:
    """``orgkey.<id>`` in Redis, in Tyk's JSON; every call, hostile ids and bodies included."""
    with redis_server(tmp_path / "redis") as server:
        storage = {"type": "redis", "host": "127.0.0.1", "port": server.port}
        with running_gateway(tmp_path, token_api(), storage=storage) as gateway:
            api = Api(gateway)
            body = {"rate": 10, "per": 1, "quota_max": 100, "quota_renewal_rate": 60, "allowance": 10, "org_id": "acme"}
            assert api.call("POST", "/tyk/org/keys/acme?reset_quota=1", body).body == {"key": "acme", "status": "ok", "action": "added"}
            assert '"quota_max":100' in server.cli("GET", "orgkey.acme")
            assert server.cli("TTL", "orgkey.acme") == "-1"
            assert api.call("PUT", "/tyk/org/keys/acme", body).body["action"] == "modified"
            assert api.call("GET", "/tyk/org/keys/acme").body["rate"] == 10
            assert api.call("GET", "/tyk/org/keys").body == {"keys": ["acme"]}
            for id in ("..", "%2E%2E", "a%2Fb", "%00", "%FF", "x" * 7000, "*", "acme%0A"):
                for method, payload in (
                    ("GET", None),
                    ("PUT", body),
                    ("POST", b"[" * 100_000),
                    ("PUT", b'{"a":1,"a":2}'),
                    ("DELETE", None),
                ):
                    reply = api.call(method, f"/tyk/org/keys/{id}", payload)
                    assert reply.status < 500, (method, id, reply)
            assert api.call("DELETE", "/tyk/org/keys/acme").body["action"] == "deleted"
            assert api.call("GET", "/tyk/org/keys/acme").message == "Org not found"
            assert server.cli("EXISTS", "orgkey.acme") == "0"
