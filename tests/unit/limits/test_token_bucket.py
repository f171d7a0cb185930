"""The bucket of one gateway: refilled in full some time after its first use."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tlsgate.limits.base import Rate
from tlsgate.limits.token_bucket import TokenBucket, share


def test_a_trace() -> None:
    """n-1, n, n+1, and the refill to the instant."""
    bucket = TokenBucket(Rate(3, 10.0))
    assert [bucket.take(now) for now in (100.0, 101.0, 102.0, 103.0, 109.999)] == [True, True, True, False, False]
    assert bucket.state(104.0) == (0, 6.0)
    assert not bucket.is_idle(109.999) and bucket.is_idle(110.0)
    assert bucket.state(110.0) == (3, 10.0)
    assert [bucket.take(now) for now in (110.0, 115.0, 119.0, 119.5)] == [True, True, True, False]
    assert bucket.state(119.5) == (0, 0.5)


@given(st.lists(st.floats(0, 30), max_size=80), st.integers(1, 5))
def test_no_window_from_a_first_use_admits_more_than_the_rate(gaps: list[float], limit: int) -> None:
    """Against the definition: windows that start with the first admitted request after the last one ended."""
    bucket, now, end, used = TokenBucket(Rate(limit, 10.0)), 0.0, 0.0, 0
    for gap in gaps:
        now += gap
        if now >= end:
            end, used = now + 10.0, 0
        wanted = used < limit
        used += wanted
        assert bucket.take(now) == wanted


@given(st.integers(1, 1000), st.floats(0.5, 3600), st.integers(1, 16))
def test_shares_add_up(limit: int, per_s: float, nodes: int) -> None:
    """Over all gateways it is the rate; nobody gets nothing."""
    part = share(Rate(limit, per_s), nodes)
    assert part.limit >= 1
    assert abs(nodes * part.limit / part.per_s - limit / per_s) < 1e-6 * limit / per_s


def test_another_number_of_gateways_takes_nothing_back() -> None:
    """More gateways leave less, fewer leave more, down to nothing."""
    bucket = TokenBucket(Rate(10, 10.0))
    assert sum(bucket.take(0.0) for _ in range(6)) == 6
    bucket.share_among(2)
    assert not bucket.take(1.0)
    bucket.share_among(1)
    assert sum(bucket.take(2.0) for _ in range(10)) == 5
    assert sum(bucket.take(10.0) for _ in range(20)) == 10
