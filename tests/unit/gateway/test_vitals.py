"""Numbers of the process: what they count, where they come from."""

from __future__ import annotations

import os
import time
from typing import Any

from tests.support.gateway import classic
from tests.support.memory_gateway import MemoryGateway
from tlsgate.gateway.vitals import Vitals


def read(gateway: MemoryGateway) -> tuple[dict[str, float], dict[str, float]]:
    """Counters and gauges."""
    return Vitals(gateway.site, gateway.state, gateway.pool).read()


def test_definitions_and_problems_are_those_of_the_moment() -> None:
    """Served, refused, and what the last load complained of."""
    gateway = MemoryGateway(classic("a", 9, "/a/"), classic("b", 9, "/b/"), classic("c", 9, "/a/"))
    _, gauges = read(gateway)
    assert gauges["apis:served"] == 2
    assert gauges["apis:refused"] == len(gateway.generation.places)
    assert gauges["load_problems:error"] >= 1
    assert gauges["upstream_connections"] == gauges["upstream_idle"] == gauges["handshaking"] == 0


def test_a_store_that_is_away_shows() -> None:
    """1 and 0."""
    gateway = MemoryGateway()
    assert read(gateway)[1]["store_up"] == float(gateway.state.store.healthy)

    class Away:
        healthy = False

    state: Any = gateway.state
    state.store = Away()
    assert read(gateway)[1]["store_up"] == 0.0


def test_web_hooks_that_wait_and_what_became_of_others() -> None:
    """From the deliveries."""
    gateway = MemoryGateway()
    deliveries = gateway.state.events.deliveries
    deliveries.counts["dropped"] += 3
    deliveries._held["http://hook.test"] += 2
    counters, gauges = read(gateway)
    assert counters["webhook:dropped"] == 3
    assert gauges["webhook_queue"] == 2


def test_certificates_are_named_with_their_end() -> None:
    """By fingerprint and first name; at most so many."""

    class Certificate:
        def __init__(self, number: int) -> None:
            self.fingerprint, self.names, self.not_after = f"{number:064}", ("gate.test",) if number else (), 1000.0 + number

    gateway = MemoryGateway()
    site: Any = gateway.site

    class Generation:
        apis: dict[str, Any] = {}
        raws: dict[str, Any] = {}
        places = ()
        notes = ()
        server_certificates = [Certificate(number) for number in range(600)]

    site.generation = Generation()
    gauges = read(gateway)[1]
    assert gauges[f"certificate:{1:064}:gate.test"] == 1001.0
    assert gauges[f"certificate:{0:064}:"] == 1000.0
    assert sum(name.startswith("certificate:") for name in gauges) == 500


def test_the_process_itself() -> None:
    """Against what the system says elsewhere."""
    counters, gauges = read(MemoryGateway())
    assert counters["process_cpu_s"] > 0
    assert abs(gauges["process_open_files"] - len(os.listdir("/proc/self/fd"))) <= 1
    assert 1 << 20 < gauges["process_resident_bytes"] < gauges["process_virtual_bytes"]
    assert time.time() - 86400 < gauges["process_started"] <= time.time() + 1
    assert gauges["processes"] == 1
