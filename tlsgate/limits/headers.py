"""``X-RateLimit-*`` and ``Retry-After``; knows nothing of how anything is counted.

Source: keys reference, section 8 (``rate_limit_response_headers``). ``Retry-After`` is ours, on 429 only.
"""

from __future__ import annotations

import math

from tlsgate.config.model import LimitSettings
from tlsgate.limits.base import Rate, Verdict
from tlsgate.model.exchange import HeaderList

__all__ = ["NAMES", "build_headers", "default_headers", "rate_headers", "refusal_headers"]

NAMES = (b"X-RateLimit-Limit", b"X-RateLimit-Remaining", b"X-RateLimit-Reset")
"""Removed from what an upstream sends before ours are set."""


def build_headers(limit: int, remaining: int, reset: int) -> HeaderList:
    """Return the three lines.

    :param reset: epoch seconds.
    """
    return [(NAMES[0], b"%d" % limit), (NAMES[1], b"%d" % remaining), (NAMES[2], b"%d" % reset)]


def default_headers(settings: LimitSettings) -> HeaderList:
    """Return what an answer carries when no step has set ``Exchange.limit_headers``: keyless APIs without a limit."""
    return [] if settings.response_headers == "rate_limits" else build_headers(0, 0, 0)


def rate_headers(rate: Rate, verdict: Verdict, now: float) -> HeaderList:
    """Return the lines of a rate limit.

    :param now: epoch seconds.
    """
    return build_headers(rate.limit, verdict.remaining, math.ceil(now + verdict.resets_in_s))


def refusal_headers(settings: LimitSettings, rate: Rate, verdict: Verdict, now: float) -> tuple[tuple[bytes, bytes], ...]:
    """Return the lines of a 429: when to come again, and the rate where the configuration shows rates."""
    retry = (b"Retry-After", b"%d" % max(1, math.ceil(verdict.resets_in_s)))
    if settings.response_headers != "rate_limits":
        return (retry,)
    return (*rate_headers(rate, verdict, now), retry)
