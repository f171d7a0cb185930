"""Counts of requests and durations: exact at the bounds, bounded in number, untouched by reloads."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.apis import FixedClock
from tlsgate.gateway.meter import BOUNDS_S, OTHERS, Meter
from tlsgate.model.exchange import Connection, Exchange


class Api:
    """What is looked at."""

    def __init__(self, api_id: str) -> None:
        self.api_id = api_id


def request(status: int, api: str = "", entered_at: float = 0.0) -> Any:
    """A finished request."""
    made: Any = Exchange(Connection("c", "192.0.2.1", 1, 1, False), 1, b"GET", b"/", [])
    made.status = status
    made.api = Api(api) if api else None
    made.entered_at = entered_at
    return made


def meter(limit: int = 10) -> tuple[Meter, FixedClock]:
    """A meter whose clock stands at 100 s."""
    clock = FixedClock(100.0)
    return Meter(lambda: clock.time, limit), clock


def test_requests_count_by_api_and_status_class() -> None:
    """Those without an API have an empty name; those without an answer a class of their own."""
    found, _ = meter()
    for status, api in ((200, "a"), (204, "a"), (403, "a"), (499, "a"), (404, ""), (0, "a"), (599, "b"), (101, "b")):
        found.record(request(status, api, 100.0))
    counters, gauges = found.read()
    assert {name: value for name, value in counters.items() if name.startswith("http:")} == {
        "http:2xx:a": 2,
        "http:4xx:a": 2,
        "http:none:a": 1,
        "http:4xx:": 1,
        "http:5xx:b": 1,
        "http:1xx:b": 1,
    }
    assert gauges == {}


@pytest.mark.parametrize(
    ("elapsed", "bucket"), [(0.0, 0), (BOUNDS_S[0], 0), (0.0011, 1), (BOUNDS_S[-1], len(BOUNDS_S) - 1), (30.1, len(BOUNDS_S)), (1e6, 14)]
)
def test_a_bound_belongs_to_its_bucket(elapsed: float, bucket: int) -> None:
    """``le`` is "less or equal"."""
    found, clock = meter()
    clock.time = elapsed
    found.record(request(200, "a", 0.0))
    counters = {name: value for name, value in found.read()[0].items() if name.startswith("took:")}
    assert counters.pop("took:sum:a", 0.0) == elapsed
    assert counters == {f"took:{bucket}:a": 1}


def test_the_life_of_an_upgraded_stream_is_no_duration() -> None:
    """It is counted as a request and not timed."""
    found, _ = meter()
    found.record(request(101, "a"))
    assert found.read()[0] == {"http:1xx:a": 1}


def test_apis_beyond_the_limit_share_a_row() -> None:
    """Whatever there are: the number of series stays bounded."""
    found, _ = meter(limit=3)
    for number in range(50):
        found.record(request(200, f"api-{number}", 100.0))
    counters = {name: value for name, value in found.read()[0].items() if name.startswith("http:")}
    assert counters == {"http:2xx:api-0": 1, "http:2xx:api-1": 1, "http:2xx:api-2": 1, f"http:2xx:{OTHERS}": 47}
    found.record(request(404, "", 100.0))
    assert found.read()[0]["http:4xx:"] == 1


def test_a_reload_keeps_totals_and_gives_back_rows_when_they_are_needed() -> None:
    """An API that is gone stays until half of the rows are taken; one that serves stays always."""
    found, _ = meter(limit=4)
    for api in ("a", "b"):
        found.record(request(200, api, 100.0))
    found.keep({"a"})
    assert found.read()[0]["http:2xx:b"] == 1
    found.record(request(200, "c", 100.0))
    found.keep({"a", "c"})
    counters = found.read()[0]
    assert "http:2xx:b" not in counters
    assert counters["http:2xx:a"] == counters["http:2xx:c"] == 1
