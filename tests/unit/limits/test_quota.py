"""Quotas: exact, with a period that starts with the first request."""

from __future__ import annotations

import pytest

from tests.support.apis import FixedClock
from tests.support.keys import run
from tlsgate.errors import StoreUnavailable
from tlsgate.limits.effective import find_effective
from tlsgate.limits.quota import Quota, build_quota, fill_quotas, reset_quotas
from tlsgate.model.session import AccessRight, Limit, Session
from tlsgate.store.memory import MemoryStore

NOW = 1_000_000.0


def make() -> tuple[MemoryStore, FixedClock]:
    clock = FixedClock(NOW)
    return MemoryStore(clock), clock


def test_a_trace() -> None:
    """n-1, n, n+1; the period starts with the first request after the old one ended."""
    store, clock = make()
    quota = Quota("quota-k", 2, 60)
    assert run(quota.take(store, NOW)) == (True, 1, int(NOW) + 60)
    clock.time += 30
    assert run(quota.take(store, clock.time)) == (True, 0, int(NOW) + 60)
    for _ in range(3):
        assert run(quota.take(store, clock.time)) == (False, 0, int(NOW) + 60)
    clock.time += 29.999
    assert not run(quota.take(store, clock.time)).admitted
    clock.time += 50
    assert run(quota.take(store, clock.time)) == (True, 1, round(clock.time + 60))


def test_without_a_period_it_never_renews() -> None:
    """``quota_renewal_rate`` 0 and below."""
    store, clock = make()
    quota = build_quota(find_effective(Session(quota_max=1, quota_renewal_rate=-5), "a"), "k")
    assert quota == Quota("quota-k", 1, 0)
    assert run(quota.take(store, NOW)) == (True, 0, 0)
    clock.time += 1e8
    assert not run(quota.take(store, clock.time)).admitted


@pytest.mark.parametrize("maximum", [0, -1, -7])
def test_no_quota(maximum: int) -> None:
    """0 and below is unlimited."""
    assert build_quota(find_effective(Session(quota_max=maximum, quota_renewal_rate=5), "a"), "k") is None


def test_a_reset_starts_all_counters_of_a_key_anew() -> None:
    """All scopes, and the sentinel's flags."""
    store, _ = make()
    session = Session(access_rights={"a": AccessRight(allowance_scope="a")})
    for name in ("quota-k", "quota-a-k", "rate-limit-k.BLOCKED", "rate-limit-a-k.BLOCKED", "quota-other"):
        run(store.put(name, b"1"))
    run(reset_quotas(store, session, "k"))
    assert [run(store.get(name)) for name in ("quota-k", "quota-a-k", "rate-limit-k.BLOCKED", "rate-limit-a-k.BLOCKED")] == [None] * 4
    assert run(store.get("quota-other")) == b"1"


def test_what_is_left_is_shown_from_the_counters() -> None:
    """With counters, and without: the stored number for the session, the maximum for an API."""
    store, _ = make()
    rights = {
        "a": AccessRight(limit=Limit(quota_max=5, quota_remaining=1), allowance_scope="a"),
        "b": AccessRight(limit=Limit(quota_max=7, quota_renews=9), allowance_scope="b"),
        "c": AccessRight(limit=Limit(rate=1)),
        "d": AccessRight(),
    }
    session = Session(quota_max=10, quota_remaining=4, quota_renews=8, access_rights=rights)
    untouched = run(fill_quotas(store, session, "k", NOW))
    assert (untouched.quota_remaining, untouched.quota_renews) == (4, 8)
    for _ in range(3):
        run(Quota("quota-k", 10, 60).take(store, NOW))
        run(Quota("quota-a-k", 2, 0).take(store, NOW))
    filled = run(fill_quotas(store, session, "k", NOW))
    assert (filled.quota_remaining, filled.quota_renews) == (7, int(NOW) + 60)
    limits = {api: right.limit for api, right in filled.access_rights.items()}
    assert limits["a"] == Limit(quota_max=5, quota_remaining=3)
    assert limits["b"] == Limit(quota_max=7, quota_remaining=7, quota_renews=9)
    assert limits["c"] == Limit(rate=1) and limits["d"] is None
    plain = Session()
    assert run(fill_quotas(store, plain, "k", NOW)) is plain
    run(Quota("quota-z", 10, 0).take(store, NOW))
    assert run(fill_quotas(store, Session(quota_max=10, quota_renews=3), "z", NOW)).quota_renews == 3


def test_a_store_that_is_away_is_said() -> None:
    """Never taken for a full or an empty quota."""
    store, _ = make()
    store._available = False
    with pytest.raises(StoreUnavailable):
        run(Quota("quota-k", 1, 0).take(store, NOW))
