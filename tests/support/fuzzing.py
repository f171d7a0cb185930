"""How long the fuzz tests run: a few examples with everything else, many with ``make fuzz``."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

__all__ = ["fuzzed"]


def fuzzed(small: int) -> settings:
    """Return settings of a fuzz test.

    :param small: examples when it runs among all tests; ``TLSGATE_FUZZ`` is how many times more are wanted.
    """
    times = int(os.environ.get("TLSGATE_FUZZ", "1"))
    return settings(
        max_examples=small * times,
        deadline=None,
        suppress_health_check=[
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
            HealthCheck.large_base_example,
            HealthCheck.filter_too_much,
        ],
    )
