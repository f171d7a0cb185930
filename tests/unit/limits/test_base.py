"""Rates in whole requests."""

from __future__ import annotations

import pytest

from tlsgate.limits.base import normalise_rate


@pytest.mark.parametrize(
    ("rate", "per", "made"),
    [
        (5, 1, (5, 1.0)),
        (1, 0.5, (1, 0.5)),
        (0.5, 1, (1, 2.0)),
        (2.5, 10, (2, 8.0)),
        (0, 1, None),
        (-1, 1, None),
        (5, 0, None),
        (5, -1, None),
    ],
)
def test_rates(rate: float, per: float, made: tuple[int, float] | None) -> None:
    """BETTER: fractions are kept; no rate or no period is no limit."""
    assert normalise_rate(rate, per) == made
