"""The machine's clock."""

from __future__ import annotations

import time

from tlsgate.clock import Clock, SystemClock


def test_the_system_clock_tells_wall_and_monotonic_time() -> None:
    """Both in seconds, both going on."""
    clock: Clock = SystemClock()
    assert abs(clock.now() - time.time()) < 5
    assert abs(clock.monotonic() - time.monotonic()) < 5
    first = clock.monotonic()
    assert clock.monotonic() >= first
