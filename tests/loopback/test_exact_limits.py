"""Exact limits over several gateways on one store (issue: acceptance 9)."""

from __future__ import annotations

import http.client
import threading
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.control import Api, rights, token_api
from tests.support.crew import running_crew
from tests.support.gateway import Client, running_gateway
from tests.support.redis_server import needs_redis, redis_server
from tests.support.scale import scaled

BACKENDS = pytest.mark.parametrize("backend", ["sqlite", pytest.param("redis", marks=needs_redis)])
REQUESTS = scaled(1200, 10_000)
LIMIT = scaled(120, 1000)
GATEWAYS = 4
"""Processes: two nodes with two workers each, or four of either, make no difference to a store."""


def spend(port: int, key: str, count: int, seen: Counter[int]) -> None:
    """Ask so many times on one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    statuses: Counter[int] = Counter()
    for _ in range(count):
        connection.request("GET", "/api/x", headers={"Authorization": key})
        answer = connection.getresponse()
        answer.read()
        statuses[answer.status] += 1
    connection.close()
    seen.update(statuses)


def admitted(folder: Path, backend: str, fields: dict[str, Any], **config: Any) -> Counter[int]:
    """What the clients of four gateways saw, two clients each, all at once."""
    with ExitStack() as stack:
        storage: dict[str, Any] = {"type": "sqlite", "path": str(folder / "store.db")}
        if backend == "redis":
            server = stack.enter_context(redis_server(folder / "redis"))
            storage = {"type": "redis", "host": "127.0.0.1", "port": server.port}
        gateways = []
        for number in range(GATEWAYS):
            place = folder / str(number)
            place.mkdir()
            gateways.append(stack.enter_context(running_gateway(place, token_api(), storage=storage, **config)))
        body = {"org_id": "org", "access_rights": rights(), **fields}
        key = Api(gateways[0]).call("POST", "/tyk/keys/create", body).key
        seen: Counter[int] = Counter()
        threads = [
            threading.Thread(target=spend, args=(gateway.port, key, REQUESTS // GATEWAYS // 2, seen))
            for gateway in gateways
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(300)
        assert sum(seen.values()) == REQUESTS, seen
        return seen


@BACKENDS
def test_a_quota_is_exact_always(tmp_path: Path, backend: str) -> None:
    """Whatever the settings: as many as the quota says, over all processes."""
    assert admitted(tmp_path, backend, {"quota_max": LIMIT, "quota_renewal_rate": 3600}) == {200: LIMIT, 403: REQUESTS - LIMIT}


@BACKENDS
@pytest.mark.parametrize("switch", ["enable_redis_rolling_limiter", "enable_fixed_window_rate_limiter"])
def test_a_rate_is_exact_with_the_distributed_limiters(tmp_path: Path, backend: str, switch: str) -> None:
    """And refused requests are 429."""
    # A window of the clock may end during the test, one of 30 years hardly.
    per = 1e9 if switch == "enable_fixed_window_rate_limiter" else 3600
    assert admitted(tmp_path, backend, {"rate": LIMIT, "per": per}, **{switch: True}) == {200: LIMIT, 429: REQUESTS - LIMIT}


@BACKENDS
def test_the_local_limiter_stays_within_its_tolerance(tmp_path: Path, backend: str) -> None:
    """The default counts in each process: never less than the rate, never more than the rate in each of them (docs/limits.md)."""
    seen = admitted(tmp_path, backend, {"rate": LIMIT, "per": 3600})
    assert LIMIT <= seen[200] <= LIMIT * GATEWAYS
    assert seen[200] + seen[429] == REQUESTS


def spend_on(client: Client, key: str, count: int, seen: Counter[int]) -> None:
    """Ask so many times on an open connection."""
    seen.update(client.request(target="/api/x", headers=[("Authorization", key)]).status for _ in range(count))


@BACKENDS
@pytest.mark.parametrize(
    ("fields", "config", "refused"),
    [
        ({"quota_max": LIMIT, "quota_renewal_rate": 3600}, {}, 403),
        ({"rate": LIMIT, "per": 3600}, {"enable_redis_rolling_limiter": True}, 429),
    ],
    ids=["quota", "rate"],
)
def test_two_nodes_with_two_workers_each_count_as_one(
    tmp_path: Path, backend: str, fields: dict[str, Any], config: dict[str, Any], refused: int
) -> None:
    """Acceptance 9 by the letter: each of the four workers takes its part, and as many are let in as the key says."""
    with ExitStack() as stack:
        storage: dict[str, Any] = {"type": "sqlite", "path": str(tmp_path / "store.db")}
        if backend == "redis":
            server = stack.enter_context(redis_server(tmp_path / "redis"))
            storage = {"type": "redis", "host": "127.0.0.1", "port": server.port}
        crews = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            crews.append(stack.enter_context(running_crew(tmp_path / name, token_api(), storage=storage, **config)))
        key = Api(crews[0].gateway).call("POST", "/tyk/keys/create", {"org_id": "org", "access_rights": rights(), **fields}).key
        clients = [
            stack.enter_context(crew.connect_to(pid, crew.gateway.port)) for crew in crews for pid in crew.pids().values() for _ in range(2)
        ]
        parts: list[Counter[int]] = [Counter() for _ in clients]
        for client, part in zip(clients, parts, strict=True):
            spend_on(client, key, 1, part)
        assert parts == [Counter({200: 1})] * len(clients), "every worker lets one in"
        threads = [
            threading.Thread(target=spend_on, args=(client, key, REQUESTS // len(clients) - 1, part))
            for client, part in zip(clients, parts, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(300)
        assert sum(parts, Counter()) == {200: LIMIT, refused: REQUESTS - LIMIT}
