"""Rates that grow and shrink in steps with their use; pure arithmetic, knows no store.

Source: keys reference, section 8 (``enable_rate_limit_smoothing``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["DOWN", "UP", "Allowance", "Smoothing", "adjust", "parse_smoothing"]

UP = "RateLimitSmoothingUp"
DOWN = "RateLimitSmoothingDown"


class Smoothing(NamedTuple):
    """``smoothing``, switched on and complete."""

    threshold: int
    trigger: float
    step: int
    delay_s: float


class Allowance(NamedTuple):
    """What is allowed now in the place of the rate."""

    current: int
    next_update_at: float
    """Epoch seconds before which it does not change again."""

    def encode(self) -> bytes:
        """Return it for the store."""
        return f"{self.current},{self.next_update_at!r}".encode()

    @classmethod
    def find(cls, stored: bytes | None) -> Allowance | None:
        """Return what a store holds, None when that is nothing of ours."""
        try:
            current, _, moment = (stored or b"").partition(b",")
            return cls(int(current), float(moment))
        except ValueError:
            return None


def parse_smoothing(tree: Mapping[str, Any] | None) -> Smoothing | None:
    """Return the settings, None unless it is enabled and all four numbers are above 0."""
    if not tree or not tree.get("enabled"):
        return None
    numbers = [tree.get(name) or 0 for name in ("threshold", "trigger", "step", "delay")]
    if min(numbers) <= 0:
        return None
    threshold, trigger, step, delay = numbers
    return Smoothing(int(threshold), float(trigger), int(step), float(delay))


def adjust(allowance: Allowance | None, count: int, limit: int, smoothing: Smoothing, now: float) -> tuple[Allowance, str]:
    """Return the allowance after a request, and the event to report (empty for none).

    :param allowance: before it; None starts at the threshold.
    :param count: requests within the period, this one included.
    :param limit: of the rate: the most that is ever allowed.
    :param now: epoch seconds.
    """
    threshold = min(smoothing.threshold, limit)
    if allowance is None:
        return Allowance(threshold, now + smoothing.delay_s), ""
    if now < allowance.next_update_at:
        return allowance, ""
    current, margin = allowance.current, smoothing.trigger * smoothing.step
    if count >= current - margin and current < limit:
        return Allowance(min(limit, current + smoothing.step), now + smoothing.delay_s), UP
    if count <= current - smoothing.step - margin and current > threshold:
        return Allowance(max(threshold, current - smoothing.step), now + smoothing.delay_s), DOWN
    return allowance, ""
