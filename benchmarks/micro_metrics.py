"""What counting a finished request costs: one call of the meter, a few APIs in turn; one JSON line.

``python -m benchmarks.micro_metrics``
"""

from __future__ import annotations

import json
import platform
import time
from typing import Any

from tlsgate.control.exposition import render
from tlsgate.gateway.meter import Meter
from tlsgate.gateway.shared_counters import Snapshot
from tlsgate.model.exchange import Connection, Exchange


class _Api:
    def __init__(self, api_id: str) -> None:
        self.api_id = api_id


def measure(rounds: int = 15, count: int = 20_000) -> None:
    """Measure and print."""
    meter = Meter(time.monotonic, 500)
    requests: list[Any] = []
    for number in range(500):
        request: Any = Exchange(Connection("c", "192.0.2.1", 1, 1, False), 1, b"GET", b"/", [])
        request.api, request.status, request.entered_at = _Api(f"api-{number}"), (200, 404, 503)[number % 3], time.monotonic()
        requests.append(request)
        meter.record(request)
    best = empty = float("inf")
    few = requests[:5] * (count // 5)
    for _ in range(rounds):
        started = time.process_time()
        for request in few:
            meter.record(request)
        best = min(best, (time.process_time() - started) / count)
        started = time.process_time()
        for _request in few:
            pass
        empty = min(empty, (time.process_time() - started) / count)
    counters, _ = meter.read()
    started = time.process_time()
    text, _ = render([Snapshot(worker=1, counters=counters, gauges={})], "")
    rendered = time.process_time() - started
    figures = {"us_record": round((best - empty) * 1e6, 3), "ms_render_500_apis": round(rendered * 1e3, 1), "bytes": len(text)}
    print(json.dumps({"benchmark": "micro_metrics", **figures, "python": platform.python_version()}))


if __name__ == "__main__":
    measure()
