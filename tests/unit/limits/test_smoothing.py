"""Rates that grow and shrink in steps."""

from __future__ import annotations

from typing import Any

import pytest

from tlsgate.limits.smoothing import DOWN, UP, Allowance, Smoothing, adjust, parse_smoothing

SETTINGS = Smoothing(threshold=10, trigger=0.5, step=4, delay_s=30.0)


@pytest.mark.parametrize(
    ("tree", "works"),
    [
        ({"enabled": True, "threshold": 10, "trigger": 0.5, "step": 4, "delay": 30}, True),
        ({"enabled": False, "threshold": 10, "trigger": 0.5, "step": 4, "delay": 30}, False),
        ({"enabled": True, "threshold": 0, "trigger": 0.5, "step": 4, "delay": 30}, False),
        ({"enabled": True, "threshold": 10, "trigger": 0.5, "step": 4}, False),
        ({}, False),
        (None, False),
    ],
)
def test_only_complete_settings_count(tree: Any, works: bool) -> None:
    """All four numbers above 0."""
    assert parse_smoothing(tree) == (SETTINGS if works else None)


@pytest.mark.parametrize(
    ("current", "count", "after", "event"),
    [
        (None, 0, 10, ""),
        (10, 8, 14, UP),
        (10, 7, 10, ""),
        (18, 16, 20, UP),
        (20, 20, 20, ""),
        (18, 12, 14, DOWN),
        (18, 13, 18, ""),
        (12, 0, 10, DOWN),
        (10, 0, 10, ""),
    ],
)
def test_steps_within_threshold_and_rate(current: int | None, count: int, after: int, event: str) -> None:
    """trigger * step below the allowance it grows, the same below one step less it shrinks."""
    before = None if current is None else Allowance(current, 0.0)
    changed, told = adjust(before, count, 20, SETTINGS, 100.0)
    assert (changed.current, told) == (after, event)
    assert changed.next_update_at == (130.0 if event or current is None else 0.0)


def test_not_before_the_delay_is_over() -> None:
    """To the instant."""
    allowance = Allowance(10, 130.0)
    assert adjust(allowance, 10, 20, SETTINGS, 129.999) == (allowance, "")
    assert adjust(allowance, 10, 20, SETTINGS, 130.0)[1] == UP


def test_a_threshold_over_the_rate_is_the_rate() -> None:
    """Never more than the rate."""
    assert adjust(None, 0, 5, SETTINGS, 0.0)[0].current == 5


@pytest.mark.parametrize("stored", [None, b"", b"x", b"5", b"5,x", b",", b"{}"])
def test_what_is_not_ours_in_the_store_is_nothing(stored: bytes | None) -> None:
    """It starts anew."""
    assert Allowance.find(stored) is None


def test_round_trip() -> None:
    """Exact."""
    allowance = Allowance(7, 1_000_000.125)
    assert Allowance.find(allowance.encode()) == allowance
