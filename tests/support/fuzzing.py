"""How many examples the tests by hypothesis take: a few with everything else, many new ones with ``make fuzz``."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

__all__ = ["TIMES", "fuzzed"]

TIMES = int(os.environ.get("TLSGATE_FUZZ", "1"))
"""How many times more examples are wanted than among all tests."""


def fuzzed(small: int) -> settings:
    """Return settings of a test by hypothesis.

    :param small: examples when it runs among all tests.
    """
    return settings(
        max_examples=small * TIMES,
        deadline=None,
        suppress_health_check=[
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
            HealthCheck.large_base_example,
            HealthCheck.filter_too_much,
        ],
    )
