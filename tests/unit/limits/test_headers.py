"""What clients are told of their limits."""

from __future__ import annotations

from tlsgate.config.model import LimitSettings
from tlsgate.limits.base import Rate, Verdict
from tlsgate.limits.headers import build_headers, default_headers, rate_headers, refusal_headers

RATES = LimitSettings(response_headers="rate_limits")


def test_quota_lines() -> None:
    """Numbers as they are, -1 included."""
    assert build_headers(-1, 0, 0) == [
        (b"X-RateLimit-Limit", b"-1"),
        (b"X-RateLimit-Remaining", b"0"),
        (b"X-RateLimit-Reset", b"0"),
    ]
    assert default_headers(LimitSettings()) == build_headers(0, 0, 0)
    assert default_headers(RATES) == []


def test_rate_lines() -> None:
    """The reset is a moment, rounded up."""
    assert rate_headers(Rate(5, 1.0), Verdict(True, 3, 0.5), 1_000_000.0) == build_headers(5, 3, 1_000_001)


def test_refusals_say_when_to_come_again() -> None:
    """At least a second; the rate only where rates are shown."""
    verdict = Verdict(False, 0, 0.2)
    assert refusal_headers(LimitSettings(), Rate(5, 1.0), verdict, 1_000_000.0) == ((b"Retry-After", b"1"),)
    assert refusal_headers(RATES, Rate(5, 1.0), Verdict(False, 0, 2.5), 1_000_000.0) == (
        *build_headers(5, 0, 1_000_003),
        (b"Retry-After", b"3"),
    )
