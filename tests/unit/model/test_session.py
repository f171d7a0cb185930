"""The session record."""

from __future__ import annotations

import pytest

from tlsgate.model.session import Limit, Session


@pytest.mark.parametrize(
    "name", ["rate", "per", "throttle_interval", "throttle_retry_limit", "max_query_depth", "quota_max", "quota_renewal_rate"]
)
def test_a_limit_with_any_number_is_not_empty(name: str) -> None:
    """Smoothing and what is only informational do not fill it."""
    assert not Limit(**{name: -1}).empty  # type: ignore[arg-type]
    assert Limit(smoothing={"enabled": True}, quota_remaining=5, quota_renews=6).empty


def test_records_share_no_defaults() -> None:
    """Empty maps are copies."""
    assert Session().meta_data is not Session().meta_data
