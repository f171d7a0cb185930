"""Limits of organisations: words, order, keyless APIs, the store away, the variant that never waits."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.apis import make_api, make_config
from tests.support.keys import Keys, run
from tlsgate.auth.session_codec import encode_stored
from tlsgate.config.model import KeySettings, LimitSettings, MonitorSettings
from tlsgate.errors import CATALOGUE, Refusal
from tlsgate.limits import monitor, org_limits
from tlsgate.limits.organisations import ORG_PREFIX, Organisations
from tlsgate.limits.registry import LimiterPool
from tlsgate.model.session import Session


class Bench:
    """An organisation with a session, and the step of one of its APIs."""

    def __init__(self, session: Session | None, later: bool = False, rolling: bool = False, **fields: Any) -> None:
        self.keys = Keys()
        settings = LimitSettings(
            organisations=True,
            organisations_later=later,
            rolling=rolling,
            monitor=MonitorSettings(enabled=True, org_keys=True, global_limit=80),
        )
        self.pool = LimiterPool(self.keys.store, self.keys.clock, settings)
        self.organisations = Organisations(self.keys.store, self.keys.clock, KeySettings())
        if session is not None:
            run(self.keys.store.put(ORG_PREFIX + "org", encode_stored(session)))
        api = make_api(**{"org_id": "org", **fields})
        config = make_config(rate_limits=settings)
        watch = monitor.build(settings.monitor, self.keys.tools.notify, organisations=True)
        step = org_limits.build(api, config, self.keys.tools, self.pool, self.organisations, watch)
        assert step is not None
        self.step = step

    def ask(self) -> str:
        """The refusal of one request, empty for none."""
        exchange = self.keys.request(None)
        try:
            if not self.step.try_now(exchange):
                run(self.step.finish(exchange))
        except Refusal as refusal:
            return refusal.id
        return ""


def test_without_a_session_nothing_limits_and_nothing_waits() -> None:
    bench = Bench(None)
    assert [bench.ask() for _ in range(3)] == ["", "", ""]
    assert bench.step.try_now(bench.keys.request(None))


def test_the_switch_and_the_organisation_decide_whether_there_is_a_step() -> None:
    keys = Keys()
    pool = LimiterPool(keys.store, keys.clock, LimitSettings())
    organisations = Organisations(keys.store, keys.clock, KeySettings())
    off, on = make_config(), make_config(rate_limits=LimitSettings(organisations=True))
    assert org_limits.build(make_api(org_id="org"), off, keys.tools, pool, organisations, None) is None
    assert org_limits.build(make_api(), on, keys.tools, pool, organisations, None) is None


def test_an_inactive_organisation_is_refused_whole() -> None:
    assert Bench(Session(is_inactive=True)).ask() == "org.inactive"
    entry = CATALOGUE["org.inactive"]
    assert (entry.status, entry.message) == (403, "this organisation access has been disabled, please contact your API administrator")


def test_a_session_that_cannot_be_read_lets_nobody_in() -> None:
    bench = Bench(None)
    run(bench.keys.store.put(ORG_PREFIX + "org", b"no session"))
    assert bench.ask() == "org.inactive"


@pytest.mark.parametrize("rolling", [False, True])
def test_the_rate_of_an_organisation(rolling: bool) -> None:
    """403, as in Tyk; an event each."""
    bench = Bench(Session(rate=2, per=60), rolling=rolling)
    assert [bench.ask() for _ in range(4)] == ["", "", "org.rate", "org.rate"]
    assert [name for name, _ in bench.keys.events] == ["OrgRateLimitExceeded"] * 2
    assert CATALOGUE["org.rate"].status == 403


def test_the_quota_of_an_organisation() -> None:
    """It renews, and the monitor tells of what is nearly used up."""
    bench = Bench(Session(quota_max=2, quota_renewal_rate=60))
    assert [bench.ask() for _ in range(4)] == ["", "", "org.quota", "org.quota"]
    assert [name for name, _ in bench.keys.events] == ["TriggerExceeded", "OrgQuotaExceeded", "OrgQuotaExceeded"]
    assert bench.keys.events[0][1]["trigger_limit"] == 80.0
    assert CATALOGUE["org.quota"].status == 403


def test_a_refused_rate_costs_no_quota() -> None:
    bench = Bench(Session(rate=1, per=60, quota_max=5, quota_renewal_rate=60))
    assert [bench.ask() for _ in range(3)] == ["", "org.rate", "org.rate"]
    count = run(bench.keys.store.read_count("quota-org"))
    assert count is not None and count.value == 1


def test_a_quota_that_the_store_counts_at_once_waits_for_nothing() -> None:
    """No round trip; the request that is one too many is refused just as well."""
    bench = Bench(Session(rate=100, per=60, quota_max=3, quota_renewal_rate=60))
    assert bench.ask() == ""
    counted = bench.keys.store.counts
    assert [bench.step.try_now(bench.keys.request(None)) for _ in range(2)] == [True, True]
    with pytest.raises(Refusal, match=r"org\.quota"):
        bench.step.try_now(bench.keys.request(None))
    assert bench.keys.store.counts == counted


def test_a_counter_that_is_busy_costs_no_second_rate() -> None:
    """What could be counted at once is not counted again with the store."""

    class Busy:
        def count(self, *_: Any) -> None:
            return None

    bench = Bench(Session(rate=3, per=60, quota_max=10, quota_renewal_rate=60))
    bench.keys.store.hot_counter = lambda name: Busy()  # type: ignore[assignment, method-assign, return-value]
    assert [bench.ask() for _ in range(4)] == ["", "", "", "org.rate"]
    count = run(bench.keys.store.read_count("quota-org"))
    assert count is not None and count.value == 3


def test_a_store_that_is_away_is_503() -> None:
    """Never taken for an organisation without limits."""
    bench = Bench(Session(quota_max=5))
    bench.keys.store._available = False
    assert bench.ask() == "store.unavailable"


def test_what_is_found_later_counts_from_the_next_request_on() -> None:
    """`experimental_process_org_off_thread`."""
    bench = Bench(Session(is_inactive=True), later=True)
    assert [bench.ask() for _ in range(3)] == ["", "org.later", "org.later"]
    run(bench.keys.store.delete(ORG_PREFIX + "org"))
    bench.organisations.on_change("org", "org")
    assert [bench.ask() for _ in range(3)] == ["org.later", "", ""]
