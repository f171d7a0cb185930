"""Rate and quota of a key: numbers, order, headers, and what waits for the store."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.apis import make_api
from tests.support.keys import Keys, run
from tlsgate.config.model import LimitSettings
from tlsgate.errors import CATALOGUE, Refusal
from tlsgate.limits import key_limits
from tlsgate.limits.headers import build_headers
from tlsgate.limits.registry import LimiterPool
from tlsgate.model.exchange import Exchange
from tlsgate.model.policy import Policy
from tlsgate.model.session import AccessRight, Limit


class Bench:
    """A key, its API's step, and requests."""

    def __init__(self, policies: Any = (), *, limits: LimitSettings | None = None, keys: Keys | None = None, **api: Any) -> None:
        self.keys = keys or Keys(policies)
        self.pool = LimiterPool(self.keys.store, self.keys.clock, limits or LimitSettings())
        self.step = self.api_step(**api)

    def api_step(self, api_id: str = "api", **fields: Any) -> Any:
        return key_limits.build(make_api(api_id, keyless=False, **fields), self.keys.config, self.keys.tools, self.pool)

    def ask(self, key: str = "key", *, method: str = "GET", path: str = "/test/", step: Any = None) -> Exchange:
        exchange = self.keys.request(None, method, path)
        exchange.key = run(self.keys.sessions.reader("org").find(key.encode()))
        assert exchange.key is not None and not exchange.key.fault
        step = step or self.step
        if not step.try_now(exchange):
            run(step.finish(exchange))
        return exchange

    def admitted(self, count: int, **named: Any) -> int:
        return sum(self.passes(**named) for _ in range(count))

    def passes(self, **named: Any) -> bool:
        try:
            self.ask(**named)
        except Refusal:
            return False
        return True

    def refusal(self, **named: Any) -> Refusal:
        with pytest.raises(Refusal) as caught:
            self.ask(**named)
        return caught.value


def test_keyless_apis_have_none() -> None:
    """Absent."""
    bench = Bench()
    assert key_limits.build(make_api(keyless=True), bench.keys.config, bench.keys.tools, bench.pool) is None


def test_a_cached_key_with_a_local_limiter_waits_for_nothing() -> None:
    """No await, no round trip."""
    bench = Bench()
    bench.keys.add("key", rate=2, per=10)
    view = bench.ask().key
    bench.keys.store._available = False
    exchange = bench.keys.request()
    exchange.key = view
    assert bench.step.try_now(exchange)
    with pytest.raises(Refusal):
        bench.step.try_now(exchange)
    assert bench.keys.store.counts == 0


def test_the_refusal() -> None:
    """429, Tyk's words, the event, when to come again."""
    bench = Bench()
    bench.keys.add("key", rate=2, per=10)
    assert bench.admitted(2) == 2
    refusal = bench.refusal()
    assert (refusal.id, CATALOGUE[refusal.id][:3]) == ("limit.rate", (429, "Rate Limit Exceeded", "RLT"))
    assert refusal.headers == ((b"Retry-After", b"10"),)
    assert bench.keys.events == [("RatelimitExceeded", {"message": "Rate Limit Exceeded"})]
    bench.keys.clock.time += 10
    assert bench.passes()


@pytest.mark.parametrize(
    "limits", [LimitSettings(), LimitSettings(fixed_window=True), LimitSettings(rolling=True), LimitSettings(sentinel=True)]
)
def test_each_limiter_admits_the_rate(limits: LimitSettings) -> None:
    """n, and not n+1."""
    bench = Bench(limits=limits)
    bench.keys.add("key", rate=5, per=1000)
    assert bench.admitted(8) == 5


@pytest.mark.parametrize(("rate", "per"), [(0, 1), (-1, 1), (5, 0)])
def test_no_rate(rate: float, per: float) -> None:
    """Unlimited."""
    bench = Bench()
    bench.keys.add("key", rate=rate, per=per)
    assert bench.admitted(20) == 20


def test_switched_off_by_the_api() -> None:
    """``disable_rate_limit`` and ``disable_quota``, separately."""
    bench = Bench(disable_rate_limit=True)
    bench.keys.add("key", rate=1, per=10, quota_max=3, quota_renewal_rate=60)
    assert bench.admitted(5) == 3
    assert bench.admitted(5, step=bench.api_step(disable_quota=True)) == 1
    assert bench.admitted(5, step=bench.api_step(disable_quota=True, disable_rate_limit=True)) == 5


def test_ignored_paths_and_requests_without_a_key_are_not_counted() -> None:
    """Nothing to count."""
    bench = Bench()
    exchange = bench.keys.request()
    assert bench.step.try_now(exchange)
    exchange.ignored = True
    assert bench.step.try_now(exchange) and exchange.limit_headers is None


def test_the_quota() -> None:
    """403, Tyk's words, the event; the counter is named by the stored id."""
    bench = Bench()
    bench.keys.add("key", quota_max=2, quota_renewal_rate=60)
    assert [bench.ask().limit_headers for _ in range(2)] == [build_headers(2, 1, 1_000_060), build_headers(2, 0, 1_000_060)]
    refusal = bench.refusal()
    assert (refusal.id, CATALOGUE[refusal.id][:3], refusal.headers) == ("limit.quota", (403, "Quota exceeded", "QEX"), ())
    assert bench.keys.events == [("QuotaExceeded", {"message": "Key Quota Limit Exceeded"})]
    assert run(bench.keys.store.get("quota-orgkey")) == b"2"
    assert bench.refusal(key="orgkey").id == "limit.quota", "one counter for all spellings"
    bench.keys.clock.time += 60
    assert bench.passes()


def test_a_429_costs_no_quota() -> None:
    """The rate comes first."""
    bench = Bench()
    bench.keys.add("key", rate=1, per=10, quota_max=9, quota_renewal_rate=60)
    assert bench.admitted(5) == 1
    assert run(bench.keys.store.get("quota-orgkey")) == b"1"


def test_the_store_away() -> None:
    """503 where the counter is needed."""
    bench = Bench()
    bench.keys.add("key", quota_max=2)
    view = bench.ask().key
    bench.keys.store._available = False
    exchange = bench.keys.request()
    exchange.key = view
    assert not bench.step.try_now(exchange)
    with pytest.raises(Refusal) as caught:
        run(bench.step.finish(exchange))
    assert caught.value.id == "store.unavailable"


def test_limits_of_an_api_and_their_counters() -> None:
    """Its own numbers count by themselves."""
    bench = Bench()
    rights = {"api": AccessRight(limit=Limit(rate=1, per=10, quota_max=9)), "b": AccessRight(), "c": AccessRight()}
    bench.keys.add("key", rate=3, per=10, access_rights=rights)
    assert bench.admitted(5) == 1
    assert bench.admitted(2, step=bench.api_step("b")) == 2
    assert bench.admitted(5, step=bench.api_step("c")) == 1, "b and c share the session's"
    assert run(bench.keys.store.get("quota-api-orgkey")) == b"1"


def test_two_policies_are_two_quotas() -> None:
    """APIs of one policy share one."""
    rights = [{"api": AccessRight(), "b": AccessRight()}, {"c": AccessRight()}]
    policies = [
        Policy(id=f"p{number}", org_id="org", quota_max=number + 2, quota_renewal_rate=60, access_rights=right)
        for number, right in enumerate(rights)
    ]
    bench = Bench(policies)
    bench.keys.add("key", apply_policies=("p0", "p1"))
    assert bench.passes() and bench.passes(step=bench.api_step("b")) and not bench.passes()
    assert bench.admitted(5, step=bench.api_step("c")) == 3


def endpoints(*entries: tuple[str, str, float, float]) -> tuple[dict[str, Any], ...]:
    return tuple({"path": path, "methods": ({"name": name, "limit": {"rate": rate, "per": per}},)} for path, name, rate, per in entries)


def test_limits_of_paths() -> None:
    """The matching entry replaces the key's rate; expressly unlimited too; others count with the key."""
    bench = Bench()
    entries = endpoints(("/slow/{id}", "GET", 1, 10), ("/free", "get", 0, 0), ("(", "GET", 1, 1), ("/slow/x", "", 1, 1))
    bench.keys.add("key", rate=3, per=10, access_rights={"api": AccessRight(endpoints=entries)})
    assert bench.admitted(3, path="/test/slow/7") == 1
    assert bench.admitted(1, path="/test/slow/8") == 0, "one counter for the pattern"
    assert bench.admitted(9, path="/test/free") == 9
    assert bench.admitted(9, path="/test/slow/7", method="POST") == 3
    assert bench.admitted(9) == 0
    empty = Bench()
    empty.keys.add("key", rate=1, per=10, access_rights={"api": AccessRight(endpoints=({"path": "/x"},))})
    assert empty.admitted(3) == 1


def test_a_path_limit_alone_leaves_the_rest_unlimited() -> None:
    """And shows the quota's headers."""
    bench = Bench()
    bench.keys.add("key", access_rights={"api": AccessRight(endpoints=endpoints(("/slow", "GET", 1, 10)))})
    assert bench.admitted(9) == 9
    assert bench.ask(path="/test/slow").limit_headers == build_headers(0, 0, 0)
    assert not bench.passes(path="/test/slow")


def test_keys_of_one_pattern_share_rate_and_quota() -> None:
    """Whatever their versions."""
    bench = Bench()
    meta = {"rate_limit_pattern": "$tyk_meta.dev", "dev": "d"}
    for name in ("one", "two"):
        bench.keys.add(name, rate=3, per=10, meta_data=meta, last_updated=name)
    assert bench.admitted(2, key="one") + bench.admitted(5, key="two") == 3
    quota = Bench()
    for name in ("one", "two"):
        quota.keys.add(name, quota_max=3, meta_data=meta)
    assert quota.admitted(2, key="one") + quota.admitted(5, key="two") == 3


def test_an_update_of_the_key_starts_a_fresh_bucket() -> None:
    """Tyk's rule: the counter's name holds ``last_updated``."""
    bench = Bench()
    bench.keys.add("key", rate=1, per=1000, last_updated="1")
    assert bench.admitted(3) == 1
    bench.keys.add("key", rate=1, per=1000, last_updated="2")
    assert bench.admitted(3) == 1
    bench.keys.add("key", rate=1, per=1000, last_updated="2", alias="other")
    assert bench.admitted(3) == 0, "a write that does not date it anew changes no counter"


def test_throttling_waits_and_tries_again() -> None:
    """At most so many times; one event."""
    bench = Bench()
    bench.keys.add("key", rate=1, per=10, throttle_interval=4, throttle_retry_limit=3)
    assert bench.passes() and bench.passes()
    assert bench.keys.slept == [4, 4, 4]
    assert [event for event, _ in bench.keys.events] == ["RatelimitExceeded"]
    bench.keys.slept.clear()
    bench.keys.add("key", rate=1, per=100, throttle_interval=4, throttle_retry_limit=2, last_updated="2")
    assert bench.passes()
    refusal = bench.refusal()
    assert refusal.id == "limit.rate" and bench.keys.slept == [4, 4]
    assert refusal.headers == ((b"Retry-After", b"92"),)
    assert len(bench.keys.events) == 2


def test_headers_of_quotas() -> None:
    """Without a quota the values of the session, or of the API's limit."""
    bench = Bench()
    bench.keys.add("key", rate=5, per=1, quota_max=-1)
    assert bench.ask().limit_headers == build_headers(-1, 0, 0)
    bench.keys.add("plain")
    assert bench.ask("plain").limit_headers == build_headers(0, 0, 0)
    bench.keys.add("api", access_rights={"api": AccessRight(limit=Limit(quota_max=-1, quota_remaining=7, quota_renews=9))})
    assert bench.ask("api").limit_headers == build_headers(-1, 7, 9)


@pytest.mark.parametrize("limits", [{}, {"rolling": True}])
def test_headers_of_rates(limits: dict[str, bool]) -> None:
    """On success and on 429; a key without a rate leaves what the API said."""
    bench = Bench(limits=LimitSettings(response_headers="rate_limits", **limits))
    bench.keys.add("key", rate=2, per=10)
    assert bench.ask().limit_headers == build_headers(2, 1, 1_000_010)
    assert bench.ask().limit_headers == build_headers(2, 0, 1_000_010)
    assert bench.refusal().headers == (*build_headers(2, 0, 1_000_010), (b"Retry-After", b"10"))
    bench.keys.add("free", quota_max=5)
    assert bench.ask("free").limit_headers is None
    bench.keys.add("unlimited")
    assert bench.ask("unlimited").limit_headers is None


def test_events_of_smoothing_are_passed_on() -> None:
    """They concern a key and no request."""
    bench = Bench(limits=LimitSettings(rolling=True, smoothing=True))
    bench.keys.add("key", rate=20, per=10, smoothing={"enabled": True, "threshold": 2, "trigger": 0.5, "step": 2, "delay": 1})
    assert bench.admitted(2) == 2
    bench.keys.clock.time += 11
    bench.admitted(2)
    assert ("RateLimitSmoothingUp", {"api_id": "api", "key": "****"}) in bench.keys.events


def test_with_hashed_keys_the_counters_are_named_by_the_hash() -> None:
    """Field report: one counter however the key is spelled, and no key in a counter's name."""
    bench = Bench(keys=Keys(hash_keys=True))
    id = bench.keys.add("1mysecretkey", quota_max=2, quota_renewal_rate=60)
    name = bench.keys.naming.place(id).name
    assert bench.admitted(1, key="1mysecretkey") + bench.admitted(3, key=id) == 2
    assert run(bench.keys.store.get("quota-" + name)) == b"2"


@pytest.mark.parametrize("limits", [LimitSettings(), LimitSettings(fixed_window=True), LimitSettings(rolling=True)])
@pytest.mark.parametrize(("rate", "per"), [(5e-324, 60.0), (1e-300, 1e300), (1.0, 1e308)])
def test_numbers_beyond_all_clocks_refuse_and_break_nothing(limits: LimitSettings, rate: float, per: float) -> None:
    """One request in an age; the second is told to come again, not answered with an error of ours."""
    bench = Bench(limits=limits)
    bench.keys.add("key", rate=rate, per=per)
    assert bench.admitted(3) == 1
    assert bench.refusal().id == "limit.rate"


@pytest.mark.parametrize("path", ["/test/slow%2F7", "/test/slow;a/7"])
def test_another_spelling_of_a_path_does_not_get_round_its_limit(path: str) -> None:
    """Decisions 2.11: an upstream may read the separator, so that neither limit would be the right one."""
    bench = Bench()
    bench.keys.add("key", access_rights={"api": AccessRight(endpoints=endpoints(("/slow/{id}", "GET", 1, 10)))})
    assert bench.admitted(3, path="/test/slow/7") == 1
    assert bench.refusal(path=path).id == "route.ambiguous_path"
    assert bench.passes(path="/test/other;a=b")


@pytest.mark.parametrize(("interval", "waited"), [(0.0, 0.01), (-5.0, 0.01), (1e300, 3600.0)])
def test_a_throttled_request_waits_a_bounded_time(interval: float, waited: float) -> None:
    """Neither a loop without a pause nor a wait that no clock can hold."""
    bench = Bench()
    bench.keys.add("key", rate=1, per=10**6, throttle_interval=interval, throttle_retry_limit=1)
    assert bench.admitted(2) == 1
    assert bench.keys.slept == [waited]


def test_what_is_told_of_the_limits_counts_nothing() -> None:
    """For reports (``tlsgate explain``): the rate as it stands, the quota as the answer's headers have it."""
    bench = Bench()
    bench.keys.add("key", rate=5, per=10, quota_max=7, quota_renewal_rate=60)
    exchange = bench.ask()
    for _ in range(3):
        told = bench.step.tell(exchange)
        assert told["rate"] == {"limit": 5, "per_s": 10.0, "remaining": 4}
        assert (told["quota"]["limit"], told["quota"]["per_s"], told["quota"]["remaining"]) == (7, 60, 6)
    exchange = bench.keys.request()
    assert bench.step.tell(exchange) == {}


def test_what_is_left_in_the_store_is_not_told() -> None:
    """Nobody is asked for a report."""
    bench = Bench(limits=LimitSettings(rolling=True))
    bench.keys.add("key", rate=5, per=10)
    assert bench.step.tell(bench.ask()) == {"rate": {"limit": 5, "per_s": 10.0, "remaining": None}}
