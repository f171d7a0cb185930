"""Rights of two policies made one."""

from __future__ import annotations

import pytest

from tlsgate.auth.merging import NO_RATE, SpeedLimit, larger, merge_endpoints, unite_rights
from tlsgate.model.session import AccessRight, AllowedUrl


@pytest.mark.parametrize(("one", "other", "result"), [(1, 2, 2), (-1, 2, -1), (2, -1, -1), (0, 0, 0), (-2, -3, -2)])
def test_minus_one_is_the_largest(one: int, other: int, result: int) -> None:
    """Unlimited."""
    assert larger(one, other) == result


def test_the_faster_rate_wins() -> None:
    """By seconds per request; at a draw the first; what is not limited is the fastest."""
    slow, fast = SpeedLimit(1, 10, None), SpeedLimit(5, 1, {"x": 1})
    assert slow.merge(fast) is fast is fast.merge(slow)
    draw = SpeedLimit(2, 20, None)
    assert slow.merge(draw) is slow and draw.merge(slow) is draw
    for nothing in (SpeedLimit(0, 1, None), SpeedLimit(1, 0, None), NO_RATE):
        assert fast.merge(nothing) == NO_RATE == nothing.merge(fast)


def test_some_paths_and_all_paths() -> None:
    """A true union; two lists are united by path."""
    some = AccessRight(allowed_urls=(AllowedUrl(url="/a", methods=("GET",)),))
    assert unite_rights(some, AccessRight()).allowed_urls == ()
    other = AccessRight(allowed_urls=(AllowedUrl(url="/a", methods=("PUT",)),))
    assert unite_rights(some, other).allowed_urls == (AllowedUrl(url="/a", methods=("GET", "PUT")),)


def test_limits_of_paths() -> None:
    """Nothing on one side leaves the other's."""
    entry = {"path": "/x", "methods": ({"name": "GET", "limit": {"rate": 1, "per": 1}}, {"name": "PUT"})}
    assert merge_endpoints((), (entry,)) == (entry,) == merge_endpoints((entry,), ())
    assert merge_endpoints((entry,), (entry,)) == (entry,)
