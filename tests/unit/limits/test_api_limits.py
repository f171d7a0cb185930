"""The rate of an API for all its clients."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.apis import make_api
from tests.support.keys import Keys, run
from tlsgate.config.model import LimitSettings
from tlsgate.errors import CATALOGUE, Refusal
from tlsgate.limits import api_limits
from tlsgate.limits.headers import build_headers
from tlsgate.limits.registry import LimiterPool
from tlsgate.model.api import EndpointRate, VersionSettings


class Bench:
    def __init__(self, limits: LimitSettings | None = None, **keys: Any) -> None:
        self.keys = Keys(**keys)
        self.pool = LimiterPool(self.keys.store, self.keys.clock, limits or LimitSettings())

    def step(self, api_id: str = "api", stamp: object = "", **fields: Any) -> Any:
        return api_limits.build(make_api(api_id, org_id="org", **fields), self.keys.config, self.keys.tools, self.pool, stamp)

    def admitted(self, step: Any, count: int, method: str = "GET", path: str = "/test/", ignored: bool = False) -> int:
        passed = 0
        for _ in range(count):
            exchange = self.keys.request(None, method, path)
            exchange.ignored = ignored
            try:
                if not step.try_now(exchange):
                    run(step.finish(exchange))
                passed += 1
            except Refusal as refusal:
                self.refusal = refusal
            self.exchange = exchange
        return passed


def test_absent_without_limits() -> None:
    """0 is off, and so is the API's switch."""
    bench = Bench()
    assert bench.step() is None
    assert bench.step(global_rate=5.0) is None
    assert bench.step(global_rate=5.0, global_per=1.0, disable_rate_limit=True) is None
    assert bench.step(version=VersionSettings(rate_rules=(EndpointRate(path="/a", rate=0, per=1),))) is None


@pytest.mark.parametrize(
    "limits", [LimitSettings(), LimitSettings(fixed_window=True), LimitSettings(rolling=True), LimitSettings(sentinel=True)]
)
def test_one_counter_for_everybody(limits: LimitSettings) -> None:
    """n, and not n+1; ignored paths count too."""
    bench = Bench(limits)
    step = bench.step(global_rate=3.0, global_per=1000.0)
    assert bench.admitted(step, 2) + bench.admitted(step, 5, ignored=True) == 3
    assert bench.refusal.id == "limit.api_rate"
    assert CATALOGUE["limit.api_rate"][:2] == (429, "API Rate Limit Exceeded")
    assert bench.refusal.headers[0][0] == b"Retry-After"
    assert bench.keys.events[-1] == ("RatelimitExceeded", {"message": "API Rate Limit Exceeded"})
    assert bench.admitted(bench.step("other", global_rate=3.0, global_per=1000.0), 5) == 3


def test_single_paths_replace_the_rate() -> None:
    """A counter per method and path; what matches no rule counts with the API."""
    bench = Bench()
    rules = (EndpointRate(path="/slow", method="GET", rate=1, per=10), EndpointRate(path="/all/{id}", rate=2, per=10))
    step = bench.step(global_rate=3.0, global_per=10.0, version=VersionSettings(rate_rules=rules))
    assert bench.admitted(step, 5, path="/test/slow") == 1
    assert bench.admitted(step, 5, "POST", "/test/all/1") == 2
    assert bench.admitted(step, 5, "POST", "/test/slow") == 3
    assert bench.admitted(step, 5) == 0
    alone = bench.step("alone", version=VersionSettings(rate_rules=rules))
    assert bench.admitted(alone, 9) == 9
    assert bench.admitted(alone, 5, path="/test/slow") == 1


def test_a_reload_keeps_the_counter_of_an_unchanged_api() -> None:
    """A changed one starts anew."""
    bench = Bench()
    fields = {"global_rate": 2.0, "global_per": 10.0}
    assert bench.admitted(bench.step(stamp="v1", **fields), 5) == 2
    assert bench.admitted(bench.step(stamp="v1", **fields), 5) == 0
    assert bench.admitted(bench.step(stamp="v2", **fields), 5) == 2


def test_headers_where_rates_are_shown() -> None:
    """The key's limit comes later and wins."""
    bench = Bench(LimitSettings(response_headers="rate_limits"))
    step = bench.step(global_rate=2.0, global_per=10.0)
    bench.admitted(step, 1)
    assert bench.exchange.limit_headers == build_headers(2, 1, 1_000_010)
    bench.admitted(step, 2)
    assert bench.refusal.headers[:3] == tuple(build_headers(2, 0, 1_000_010))
    quiet = Bench()
    quiet.admitted(quiet.step(global_rate=2.0, global_per=10.0), 1)
    assert quiet.exchange.limit_headers is None


def test_the_store_away() -> None:
    """503 with a limiter of the store; one of this process goes on."""
    bench = Bench(LimitSettings(rolling=True))
    step = bench.step(global_rate=2.0, global_per=10.0)
    bench.keys.store._available = False
    assert bench.admitted(step, 1) == 0
    assert bench.refusal.id == "store.unavailable"
    local = Bench()
    local.keys.store._available = False
    assert local.admitted(local.step(global_rate=2.0, global_per=10.0), 1) == 1


def test_the_counters_name_is_hashed_as_keys_are() -> None:
    """Source: keys reference, section 4."""
    bench = Bench(LimitSettings(rolling=True))
    bench.admitted(bench.step(global_rate=2.0, global_per=10.0), 1)
    assert "rate-limit-apilimiter-orgapi" in bench.keys.store._items
    hashed = Bench(LimitSettings(rolling=True), hash_keys=True, hash_key_function_fallback=("murmur32",))
    hashed.admitted(hashed.step(global_rate=2.0, global_per=10.0), 1)
    assert hashed.keys.naming.place("apilimiter-orgapi").name in next(iter(hashed.keys.store._items))


def test_another_spelling_of_a_path_does_not_get_round_its_limit() -> None:
    """Decisions 2.11: what an upstream may read as the limited path is refused."""
    bench = Bench()
    step = bench.step(version=VersionSettings(rate_rules=(EndpointRate(path="/slow/{id}", method="GET", rate=1, per=10),)))
    assert bench.admitted(step, 3, path="/test/slow/7") == 1
    for path in ("/test/slow%2F7", "/test/slow;a/7"):
        assert bench.admitted(step, 1, path=path) == 0
        assert bench.refusal.id == "route.ambiguous_path"


def test_what_is_told_of_the_limit_counts_nothing() -> None:
    """For reports (``tlsgate explain``)."""
    bench = Bench()
    step = bench.step(global_rate=3.0, global_per=1000.0)
    assert bench.admitted(step, 1) == 1
    for _ in range(3):
        assert step.tell(bench.exchange) == {"api_rate": {"limit": 3, "per_s": 1000.0, "remaining": 2}}
    limited = bench.step(version=VersionSettings(rate_rules=(EndpointRate(path="/a", rate=3, per=1),)))
    assert limited.tell(bench.exchange) == {}
