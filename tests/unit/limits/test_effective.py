"""Which numbers count, and what their counters are called."""

from __future__ import annotations

import pytest

from tlsgate.limits.effective import counter_group, find_effective, quota_name, quota_names, rate_name
from tlsgate.model.session import AccessRight, Limit, Session


def test_the_limit_of_the_api_before_the_sessions() -> None:
    """With a counter of its own."""
    own = Limit(
        rate=1, per=2, quota_max=3, quota_renewal_rate=4, quota_remaining=5, quota_renews=6, throttle_interval=7, throttle_retry_limit=8
    )
    session = Session(rate=10, per=20, quota_max=30, access_rights={"a": AccessRight(limit=own, allowance_scope="a"), "b": AccessRight()})
    assert find_effective(session, "a") == (1, 2, None, 7, 8, "a", 3, 5, 6, 4, "a")
    assert find_effective(session, "b")[:6] == (10, 20, None, 0, 0, "")
    assert find_effective(session, "c").quota_max == 30


def test_a_half_filled_limit_leaves_the_rest_to_the_session() -> None:
    """BETTER: rate and quota separately, each with the counter of where it stands."""
    session = Session(
        rate=10,
        per=1,
        quota_max=30,
        access_rights={
            "quota": AccessRight(limit=Limit(quota_max=3), allowance_scope="quota"),
            "rate": AccessRight(limit=Limit(rate=1, per=1), allowance_scope="rate"),
            "none": AccessRight(limit=Limit(rate=-1, quota_max=-1), allowance_scope="none"),
            "depth": AccessRight(limit=Limit(max_query_depth=4), allowance_scope="depth"),
        },
    )
    found = {api: find_effective(session, api) for api in session.access_rights}
    assert {api: (one.rate, one.rate_scope, one.quota_max, one.quota_scope) for api, one in found.items()} == {
        "quota": (10, "", 3, "quota"),
        "rate": (1, "rate", 30, ""),
        "none": (-1, "none", -1, "none"),
        "depth": (10, "", 30, ""),
    }


@pytest.mark.parametrize(
    ("meta", "group"),
    [
        ({}, "k"),
        ({"rate_limit_pattern": "$tyk_meta.developer_id", "developer_id": "d1"}, "d1"),
        ({"rate_limit_pattern": "dev-$tyk_meta.n", "n": 7}, "dev-7"),
        ({"rate_limit_pattern": "$tyk_meta.gone"}, "k"),
        ({"rate_limit_pattern": "$tyk_meta.o", "o": {"a": 1}}, "k"),
        ({"rate_limit_pattern": "$tyk_meta.o", "o": True}, "k"),
        ({"rate_limit_pattern": 7}, "k"),
        ({"rate_limit_pattern": ""}, "k"),
        ({"rate_limit_pattern": "all"}, "all"),
    ],
)
def test_keys_of_one_text_share_their_counters(meta: dict[str, object], group: str) -> None:
    """``rate_limit_pattern``; an empty text would throw all keys together."""
    assert counter_group(Session(meta_data=meta), "k") == group


def test_names() -> None:
    """Source: keys reference, section 4."""
    assert rate_name("k", "") == "rate-limit-k"
    assert rate_name("k", "s", "-e") == "rate-limit-s-k-e"
    assert quota_name("k", "") == "quota-k"
    rights = {"a": AccessRight(allowance_scope="p"), "b": AccessRight(allowance_scope="p"), "c": AccessRight()}
    assert list(quota_names(Session(access_rights=rights), "k")) == [("", "quota-k"), ("p", "quota-p-k")]
