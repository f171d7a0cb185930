"""What a key has left, for its holder."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.apis import FixedClock, make_api
from tests.support.keys import Keys, run
from tlsgate.auth.sessions import KeyView
from tlsgate.errors import Refusal
from tlsgate.gates.base import Reply
from tlsgate.limits.quota import Quota
from tlsgate.limits.report import build, build_report
from tlsgate.model.session import AccessRight, Limit, Session
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


def test_the_step_answers_its_path_only() -> None:
    """With or without a slash at the end; other methods are refused; a keyless API has none."""
    keys = Keys()
    tools = keys.tools
    assert build(make_api(), tools, keys.store) is None
    step = build(make_api(keyless=False), tools, keys.store)
    assert step is not None
    for path in ("/test/x", "/test/tyk/rate-limits/x", "/test/tyk", "/test/a/tyk/rate-limits/"):
        exchange = keys.request(None, path=path)
        exchange.key = KeyView("k", "k", Session(), "")
        assert step.try_now(exchange), path
    for path in ("/test/tyk/rate-limits", "/test/tyk/rate-limits/"):
        exchange = keys.request(None, path=path)
        exchange.key = KeyView("k", "k", Session(rate=5, per=1), "")
        assert not step.try_now(exchange)
        with pytest.raises(Reply) as caught:
            run(step.finish(exchange))
        assert caught.value.status == 200
        assert b'"requests":5' in caught.value.body
        exchange.method = b"POST"
        with pytest.raises(Refusal) as refused:
            run(step.finish(exchange))
        assert refused.value.id == "method.not_supported"


def test_the_store_away_is_503() -> None:
    keys = Keys()
    step = build(make_api(keyless=False), keys.tools, keys.store)
    assert step is not None
    exchange = keys.request(None, path="/test/tyk/rate-limits/")
    exchange.key = KeyView("k", "k", Session(quota_max=5), "")
    keys.store._available = False
    with pytest.raises(Refusal) as refused:
        run(step.finish(exchange))
    assert refused.value.id == "store.unavailable"


def test_a_key_of_many_apis_costs_one_look_at_the_store() -> None:
    """Whoever asks again and again does not ask the store a thousand times each."""
    clock = FixedClock(1000.0)
    store = MemoryStore(clock)
    names: list[str] = []
    read = store.read_count

    async def counting(name: str) -> Any:
        names.append(name)
        return await read(name)

    store.read_count = counting  # type: ignore[method-assign]
    rights = {f"api-{number}": AccessRight(limit=Limit(quota_max=5), allowance_scope=f"api-{number}") for number in range(100)}
    run(build_report(store, KeyView("k", "k", Session(quota_max=10, access_rights=rights), ""), 1000.0))
    assert names == ["quota-k"]
