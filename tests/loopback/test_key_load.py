"""Key writes beside traffic, and many keys (issue: acceptance 7); figures are printed, wrong answers fail."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import Client, Gateway, StrictUpstream, classic, running_gateway
from tests.support.key_load import SECRET, Steady, call, fill_redis, fill_sqlite, key_id, percentile, session
from tests.support.redis_server import RedisServer, needs_redis, redis_server
from tests.support.scale import scaled

pytestmark = needs_redis
ROOT = Path(__file__).parents[2]
BACKENDS = pytest.mark.parametrize("backend", ["sqlite", "redis"])


class World:
    """A gateway with a keyless API and one that wants a token, on a store with many keys."""

    def __init__(self, gateway: Gateway, redis: RedisServer | None) -> None:
        self.gateway = gateway
        self.redis = redis

    def client(self) -> Client:
        """To the APIs."""
        return Client(self.gateway.port, tls=False, timeout_s=30)

    def control(self) -> Client:
        """To the control API."""
        return Client(self.gateway.port_of("control"), tls=False, timeout_s=60)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    """Start a world: (backend, keys in its store)."""
    with ExitStack() as stack:
        upstream = stack.enter_context(StrictUpstream())
        number = 0

        def build(backend: str, keys: int) -> World:
            nonlocal number
            number += 1
            folder = tmp_path / str(number)
            folder.mkdir()
            redis = None
            if backend == "redis":
                redis = stack.enter_context(redis_server(folder / "redis"))
                fill_redis(redis, keys)
                storage: dict[str, Any] = {"type": "redis", "host": "127.0.0.1", "port": redis.port, "timeout": 20}
            else:
                fill_sqlite(folder / "keys.db", keys)
                storage = {"type": "sqlite", "path": str(folder / "keys.db"), "timeout": 20}
            apis = [
                classic("open", upstream.port, "/open/"),
                classic("token", upstream.port, "/token/", use_keyless=False, use_standard_auth=True, org_id="org"),
            ]
            gateway = stack.enter_context(
                running_gateway(folder, *apis, storage=storage, secret=SECRET, node_secret="a-node-secret-of-some-length")
            )
            return World(gateway, redis)

        yield build


@BACKENDS
def test_key_writes_beside_traffic(start: Any, backend: str) -> None:
    """200 writes a second: requests with and without a key go on, each right; p99 with and without the writes is printed."""
    world = start(backend, 1000)
    seconds = scaled(4, 60)
    with world.client() as client:

        def ask(number: int) -> None:
            if number % 2:
                assert client.request("GET", "/open/x").status == 200
            else:
                answer = client.request("GET", "/token/x", headers=[("Authorization", key_id(number % 100))])
                assert answer.status == 200, answer

        with Steady(ask, 100) as quiet:
            time.sleep(seconds)
        cpu = world.gateway.cpu_s()
        # In a process of its own, so that it does not hold up the client that is measured.
        command = [sys.executable, "-m", "tests.support.key_load", str(world.gateway.port_of("control")), "200", str(seconds)]
        with Steady(ask, 100) as busy, subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as writer:
            written = json.loads(writer.communicate(timeout=seconds + 60)[0])
        cpu = world.gateway.cpu_s() - cpu
        made = written["keys"]
        assert not quiet.failures and not busy.failures and not written["failures"], (quiet.failures, busy.failures, written["failures"])
    with world.client() as second:
        for id in made[:: max(1, len(made) // 50)]:
            assert second.request("GET", "/token/x", headers=[("Authorization", id)]).status == 200
    before, after = percentile(quiet.times, 0.99), percentile(busy.times, 0.99)
    print(
        f"\n{backend}: {len(made) / seconds:.0f} writes/s, p99 of proxied requests {before:.2f} ms without, {after:.2f} ms with them: "
        f"{after / before:.2f}; a write {percentile(written['times'], 0.5):.2f} ms (median); gateway {cpu / seconds:.0%} of a processor"
    )
    assert len(made) > seconds * 20


@BACKENDS
def test_many_keys_cost_what_a_thousand_do(start: Any, backend: str) -> None:
    """Look-ups, single calls and memory with many keys against a thousand; each call is right whatever the number."""
    many = scaled(20_000, 1_000_000)
    rounds = scaled(100, 500)
    figures: dict[int, dict[str, float]] = {}
    for count in (1000, many):
        world = start(backend, count)
        times: dict[str, list[float]] = {"look-up": [], "get": [], "create": [], "delete": []}

        def timed(name: str, act: Any) -> Any:
            began = time.perf_counter()
            result = act()
            times[name].append(time.perf_counter() - began)  # noqa: B023 - used within the round
            return result

        with world.client() as client, world.control() as control:
            for number in range(rounds):
                id = key_id(number * (count // rounds))
                assert timed("look-up", lambda: client.request("GET", "/token/x", headers=[("Authorization", id)])).status == 200  # noqa: B023
                assert timed("get", lambda: call(control, "GET", f"/tyk/keys/{id}"))[0] == 200  # noqa: B023
                status, body = timed("create", lambda: call(control, "POST", "/tyk/keys/create", session()))
                assert status == 200
                assert timed("delete", lambda: call(control, "DELETE", f"/tyk/keys/{body['key']}"))[0] == 200  # noqa: B023
        figures[count] = {name: percentile(values, 0.5) for name, values in times.items()}
        figures[count]["MiB"] = world.gateway.rss_kib() / 1024
    print(f"\n{backend}: median ms and MiB with 1000 keys and with {many}")
    for name, value in figures[1000].items():
        print(f"  {name:8} {value:8.2f} {figures[many][name]:8.2f}  {figures[many][name] / value:.2f}")


@BACKENDS
def test_a_list_of_all_keys_does_not_hold_up_the_proxy(start: Any, tmp_path: Path, backend: str) -> None:
    """It streams: every key once, and requests are served meanwhile."""
    count = scaled(20_000, 1_000_000)
    world = start(backend, count)
    with world.client() as client:

        def ask(number: int) -> None:
            assert client.request("GET", "/open/x").status == 200

        with Steady(ask, 50) as quiet:
            time.sleep(2)
        memory = world.gateway.rss_kib()
        url = f"http://127.0.0.1:{world.gateway.port_of('control')}/tyk/keys"
        command = ["curl", "-sf", "--max-time", "300", "-H", f"X-Tyk-Authorization: {SECRET}", "-o", str(tmp_path / "list"), url]
        with Steady(ask, 50) as busy:
            began = time.monotonic()
            # Not in this process: what it does with the list would hold up the clients that are measured.
            subprocess.run(command, check=True)
            took = time.monotonic() - began
        body = json.loads((tmp_path / "list").read_bytes())
        assert len(body["keys"]) == count
        assert set(body["keys"]) == {key_id(number) for number in range(count)}
        assert not quiet.failures and not busy.failures, (quiet.failures, busy.failures)
        grown = world.gateway.rss_kib() - memory
    print(
        f"\n{backend}: {count} keys listed in {took:.1f} s, {grown / 1024:.0f} MiB more; slowest request "
        f"{max(quiet.times) * 1000:.1f} ms without, {max(busy.times, default=0) * 1000:.1f} ms with it"
    )
    assert grown < scaled(64, 200) * 1024
