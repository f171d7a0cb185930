"""A bucket of tokens that is refilled in full some time after its first use: Tyk's limiter of one gateway. Pure arithmetic.

Source: keys reference, section 8 (DRL).
"""

from __future__ import annotations

from tlsgate.limits.base import Rate

__all__ = ["TokenBucket", "share"]


class TokenBucket:
    """The bucket of one counter; times are monotonic.

    :param rate: over all gateways.
    :param nodes: gateways that share it equally.
    """

    __slots__ = ("_limit", "_per_s", "_rate", "_refill_at", "_tokens", "dropped")

    def __init__(self, rate: Rate, nodes: int = 1) -> None:
        self._rate = rate
        self._limit, self._per_s = share(rate, nodes)
        self._tokens = self._limit
        self._refill_at = 0.0
        self.dropped = False

    def take(self, now: float) -> bool:
        """Take a token if there is one; about 0.1 us."""
        if now >= self._refill_at:
            self._tokens = self._limit
            self._refill_at = now + self._per_s
        if self._tokens <= 0:
            return False
        self._tokens -= 1
        return True

    def share_among(self, nodes: int) -> None:
        """Take another number of gateways into account; what was used stays used, the time of the next refill stays."""
        used = self._limit - self._tokens
        self._limit, self._per_s = share(self._rate, nodes)
        self._tokens = max(0, self._limit - used)

    def state(self, now: float) -> tuple[int, float]:
        """Return the tokens left and the seconds until it is full again."""
        if now >= self._refill_at:
            return self._limit, self._per_s
        return self._tokens, self._refill_at - now

    def is_idle(self, now: float) -> bool:
        """Tell whether it is full."""
        return now >= self._refill_at


def share(rate: Rate, nodes: int) -> Rate:
    """Return what one of several gateways admits of a rate: an equal part, at least one request.

    A rate that does not divide is made up for by the time, so that the sum over all gateways is the rate.
    """
    if nodes <= 1:
        return rate
    whole = max(1, rate.limit // nodes)
    return Rate(whole, rate.per_s * whole * nodes / rate.limit)
