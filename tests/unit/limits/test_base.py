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
        (5e-324, 60, (1, 1e10)),
        (5e-324, 1e308, (1, 1e10)),
        (10, 1e308, (10, 1e10)),
        (10, 5e-324, (10, 1e-6)),
        (1e308, 60, (2**53, 60.0)),
        (0, 1, None),
        (-1, 1, None),
        (5, 0, None),
        (5, -1, None),
    ],
)
def test_rates(rate: float, per: float, made: tuple[int, float] | None) -> None:
    """BETTER: fractions are kept; no rate or no period is no limit; what no clock or store holds is cut."""
    assert normalise_rate(rate, per) == made
