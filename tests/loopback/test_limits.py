"""Limits over real HTTP: bodies, headers, per path, per API, organisations, throttling, what a reload keeps."""

from __future__ import annotations

import http.client
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.control import Api, rights, token_api
from tests.support.gateway import StrictUpstream, classic, running_gateway

BODY: dict[str, Any] = {"org_id": "org", "access_rights": rights()}


class Got(NamedTuple):
    status: int
    message: str
    headers: dict[str, str]


def ask(api: Api, path: str = "/api/x", key: str = "", method: str = "GET") -> Got:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", api.gateway.port, timeout=30)
    try:
        connection.request(method, path, headers={"Authorization": key} if key else {})
        answer = connection.getresponse()
        data = answer.read()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        assert len(headers) == len(answer.getheaders()), "a header stands there twice"
    finally:
        connection.close()
    try:
        return Got(answer.status, str(json.loads(data)["error"]), headers)
    except (ValueError, KeyError, TypeError):
        return Got(answer.status, data.decode(), headers)


def limit_headers(got: Got) -> tuple[str | None, str | None, str | None]:
    """The three lines, None for one that is not there."""
    limit, remaining, reset = (got.headers.get(f"x-ratelimit-{name}") for name in ("limit", "remaining", "reset"))
    return limit, remaining, reset


def create(api: Api, **fields: Any) -> str:
    return api.call("POST", "/tyk/keys/create", {**BODY, **fields}).key


def upstream_with_headers(received: Any) -> bytes:
    """An upstream that speaks of limits of its own."""
    return b"HTTP/1.1 200 OK\r\nX-RateLimit-Limit: 9\r\nX-RateLimit-Remaining: 8\r\nx-ratelimit-reset: 7\r\nContent-Length: 2\r\n\r\nok"


def test_quotas_show_in_headers_and_end_in_403(tmp_path: Path) -> None:
    """`rate_limit_response_headers: quotas`, the default; the upstream's own are replaced, errors carry none."""
    with (
        StrictUpstream(upstream_with_headers) as upstream,
        running_gateway(
            tmp_path,
            classic("api", upstream.port, "/api/", use_keyless=False, org_id="org"),
            classic("open", upstream.port, "/open/"),
        ) as gateway,
    ):
        api = Api(gateway)
        key = create(api, quota_max=2, quota_renewal_rate=600)
        first = ask(api, key=key)
        assert (first.status, first.headers["x-ratelimit-limit"], first.headers["x-ratelimit-remaining"]) == (200, "2", "1")
        assert abs(int(first.headers["x-ratelimit-reset"]) - time.time() - 600) < 10
        assert ask(api, key=key).headers["x-ratelimit-remaining"] == "0"
        over = ask(api, key=key)
        assert (over.status, over.message, limit_headers(over)) == (403, "Quota exceeded", (None, None, None))
        assert limit_headers(ask(api, "/open/x")) == ("0", "0", "0")
        free = create(api, quota_max=-1)
        assert limit_headers(ask(api, key=free))[:2] == ("-1", "0")


def test_rates_show_in_headers_on_success_and_on_429(tmp_path: Path) -> None:
    """`rate_limit_response_headers: rate_limits`; `Retry-After` comes with every 429."""
    with running_gateway(tmp_path, token_api(), rate_limit_response_headers="rate_limits") as gateway:
        api = Api(gateway)
        key = create(api, rate=2, per=300, quota_max=50)
        got = [ask(api, key=key) for _ in range(3)]
        assert [entry.status for entry in got] == [200, 200, 429]
        assert [limit_headers(entry)[:2] for entry in got] == [("2", "1"), ("2", "0"), ("2", "0")]
        assert got[2].message == "Rate Limit Exceeded"
        assert 1 <= int(got[2].headers["retry-after"]) <= 301
        assert "retry-after" not in got[0].headers
        assert api.call("GET", f"/tyk/keys/{key}").body["quota_remaining"] == 48, "a 429 costs no quota"


def test_the_limits_of_an_api_come_first(tmp_path: Path) -> None:
    """`global_rate_limit`, keyless too; the key pays nothing for what the API refuses; a path may have a rate of its own."""
    version = token_api()["version_data"]["versions"]["Default"]
    paths = {**version["extended_paths"], "rate_limit": [{"path": "/slow", "method": "GET", "rate": 1, "per": 300}]}
    limited = token_api("api", global_rate_limit={"rate": 3, "per": 300}, version={"use_extended_paths": True, "extended_paths": paths})
    with (
        StrictUpstream() as upstream,
        running_gateway(tmp_path, limited, classic("open", upstream.port, "/open/", global_rate_limit={"rate": 2, "per": 300})) as gateway,
    ):
        api = Api(gateway)
        key = create(api, quota_max=50, quota_renewal_rate=600)
        assert [ask(api, "/api/slow", key).status for _ in range(3)] == [200, 429, 429]
        assert [ask(api, "/api/x", key).status for _ in range(4)] == [200, 200, 200, 429]
        assert ask(api, "/api/x", key).message == "API Rate Limit Exceeded"
        assert api.call("GET", f"/tyk/keys/{key}").body["quota_remaining"] == 46
        assert [ask(api, "/open/x").status for _ in range(3)] == [200, 200, 429]
        other = create(api)
        assert ask(api, "/api/x", other).status == 429, "one counter for all clients"


def test_paths_of_a_key_have_rates_of_their_own(tmp_path: Path) -> None:
    """`endpoints` of an access right: method and path, the rest counts by the key's rate."""
    right = {"endpoints": [{"path": "/a", "methods": [{"name": "GET", "limit": {"rate": 1, "per": 300}}]}]}
    with running_gateway(tmp_path, token_api()) as gateway:
        api = Api(gateway)
        key = create(api, access_rights=rights(**right), rate=3, per=300)
        assert [ask(api, "/api/a", key).status for _ in range(2)] == [200, 429]
        assert [ask(api, "/api/b", key).status for _ in range(4)] == [200, 200, 200, 429]


def test_keys_of_one_pattern_share_their_counters(tmp_path: Path) -> None:
    """`meta_data.rate_limit_pattern`: rate and quota."""
    with running_gateway(tmp_path, token_api()) as gateway:
        api = Api(gateway)
        meta = {"rate_limit_pattern": "dev-$tyk_meta.developer_id", "developer_id": "7"}
        one, two = (create(api, rate=3, per=300, quota_max=50, quota_renewal_rate=600, meta_data=meta) for _ in range(2))
        assert [ask(api, key=key).status for key in (one, two, one, two)] == [200, 200, 200, 429]
        assert api.call("GET", f"/tyk/keys/{two}").body["quota_remaining"] == 47


def test_switches_of_an_api_turn_limits_off(tmp_path: Path) -> None:
    off = token_api("off", disable_rate_limit=True, disable_quota=True, global_rate_limit={"rate": 1, "per": 300})
    with running_gateway(tmp_path, off) as gateway:
        api = Api(gateway)
        key = create(api, access_rights=rights("off"), rate=1, per=300, quota_max=1, quota_renewal_rate=600)
        assert [ask(api, "/off/x", key).status for _ in range(4)] == [200] * 4


def test_throttling_waits_and_tries_again(tmp_path: Path) -> None:
    """`throttle_interval` and `throttle_retry_limit`: the request is late instead of refused."""
    with running_gateway(tmp_path, token_api()) as gateway:
        api = Api(gateway)
        key = create(api, rate=1, per=1, throttle_interval=0.3, throttle_retry_limit=8)
        began = time.monotonic()
        assert [ask(api, key=key).status for _ in range(3)] == [200, 200, 200]
        assert time.monotonic() - began > 1
        short = create(api, rate=1, per=300, throttle_interval=0.05, throttle_retry_limit=2)
        assert [ask(api, key=short).status for _ in range(2)] == [200, 429]


@pytest.mark.parametrize("switch", ["enable_fixed_window_rate_limiter", "enable_redis_rolling_limiter", "enable_sentinel_rate_limiter"])
def test_the_other_limiters(tmp_path: Path, switch: str) -> None:
    """Each admits what the rate says, and no more; the sentinel counts beside the requests, and lets some more in until it has."""
    with running_gateway(tmp_path, token_api(), **{switch: True}) as gateway:
        api = Api(gateway)
        key = create(api, rate=4, per=3000)
        got = [ask(api, key=key).status for _ in range(30 if "sentinel" in switch else 8)]
        assert got.count(200) == 4 or ("sentinel" in switch and 4 < got.count(200) < 20), got
        assert got[-1] == 429


def test_what_is_left_can_be_asked(tmp_path: Path) -> None:
    """`GET <listen path>/tyk/rate-limits/`: costs nothing, wants the key, and is no path of a keyless API."""
    with (
        StrictUpstream() as upstream,
        running_gateway(tmp_path, token_api(), classic("open", upstream.port, "/open/")) as gateway,
    ):
        api = Api(gateway)
        key = create(api, rate=5, per=60, quota_max=3, quota_renewal_rate=600)
        assert ask(api, key=key).status == 200
        for _ in range(5):
            got = ask(api, "/api/tyk/rate-limits/", key)
            assert got.status == 200
        body = json.loads(got.message)
        assert (body["quota"]["quota_max"], body["quota"]["quota_remaining"]) == (3, 2)
        assert body["rate_limit"] == {"requests": 5, "per_unit": 60}
        assert ask(api, "/api/tyk/rate-limits/").status == 401
        assert ask(api, "/api/tyk/rate-limits/", "nobody").status == 403
        assert ask(api, "/open/tyk/rate-limits/").status == 200
        assert upstream.requests[-1].target == "/tyk/rate-limits/"
        late = create(api, expires=int(time.time()) - 5)
        assert ask(api, "/api/tyk/rate-limits/", late).status == 401


def test_limits_of_an_organisation(tmp_path: Path) -> None:
    """`enforce_org_quotas`: before authentication, for keyless APIs too; written and removed by the control API."""
    with (
        StrictUpstream() as upstream,
        running_gateway(tmp_path, token_api(), classic("open", upstream.port, "/open/", org_id="org"), enforce_org_quotas=True) as gateway,
    ):
        api = Api(gateway)
        key = create(api)
        assert (ask(api, key=key).status, ask(api, "/open/x").status) == (200, 200)
        assert api.call("POST", "/tyk/org/keys/org", {"quota_max": 2, "quota_renewal_rate": 600}).status == 200
        assert [ask(api, "/open/x").status, ask(api, key=key).status] == [200, 200]
        refused = ask(api, key=key)
        assert (refused.status, refused.message) == (
            403,
            "This organisation quota has been exceeded, please contact your API administrator",
        )
        assert api.call("PUT", "/tyk/org/keys/org", {"is_inactive": True}).status == 200
        assert ask(api, "/open/x").message == "this organisation access has been disabled, please contact your API administrator"
        assert ask(api, key="nobody").status == 403, "and nobody is told more"
        assert api.call("PUT", "/tyk/org/keys/org", {"rate": 1, "per": 300}).status == 200
        assert ask(api, "/open/x").status == 200
        assert ask(api, "/open/x").message == "This organisation rate limit has been exceeded, please contact your API administrator"
        assert api.call("DELETE", "/tyk/org/keys/org").status == 200
        assert [ask(api, "/open/x").status for _ in range(3)] == [200] * 3


def test_a_reload_keeps_the_counters_of_what_did_not_change(tmp_path: Path) -> None:
    """Those of an API that changed start anew; quotas and rates of keys go on."""
    same, changed = (token_api(name, global_rate_limit={"rate": 2, "per": 3000}) for name in ("same", "changed"))
    with running_gateway(tmp_path, token_api(), same, changed) as gateway:
        api = Api(gateway)
        key = create(api, access_rights=rights("api"), rate=2, per=3000)
        other = create(api, access_rights=rights("same", "changed"))
        for name in ("same", "changed"):
            assert [ask(api, f"/{name}/x", other).status for _ in range(3)] == [200, 200, 429]
        assert [ask(api, key=key).status for _ in range(3)] == [200, 200, 429]
        gateway.write_apis(token_api(), same, {**changed, "name": "another"})
        assert gateway.reload()["event"] == "reload.done"
        assert ask(api, "/same/x", other).status == 429
        assert ask(api, "/changed/x", other).status == 200
        assert ask(api, key=key).status == 429
