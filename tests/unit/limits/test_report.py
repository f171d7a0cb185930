"""What a key has left, for its holder."""

from __future__ import annotations

from tests.support.apis import FixedClock
from tests.support.keys import run
from tlsgate.auth.sessions import KeyView
from tlsgate.limits.quota import Quota
from tlsgate.limits.report import build_report
from tlsgate.model.session import Session
from tlsgate.store.memory import MemoryStore


def test_session_level_values() -> None:
    """The quota as it stands; without one nothing is asked."""
    clock = FixedClock(1000.0)
    store = MemoryStore(clock)
    run(Quota("quota-k", 10, 60).take(store, 1000.0))
    view = KeyView("k", "k", Session(rate=5, per=1, quota_max=10, quota_renewal_rate=60), "")
    assert run(build_report(store, view, 1000.0)) == (
        b'{"quota":{"quota_max":10,"quota_remaining":9,"quota_renews":1060},"rate_limit":{"requests":5,"per_unit":1}}'
    )
    store._available = False
    assert run(build_report(store, KeyView("k", "k", Session(quota_max=-1), ""), 1000.0)) == (
        b'{"quota":{"quota_max":-1,"quota_remaining":0,"quota_renews":0},"rate_limit":{"requests":0,"per_unit":0}}'
    )
