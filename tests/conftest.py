"""What holds for all tests: no example of hypothesis fails because the machine is busy, and a change meets the same ones each time."""

from __future__ import annotations

from hypothesis import settings

from tests.support.fuzzing import TIMES

# Among all tests the examples are drawn from the test itself, so that what is landed is judged by what it was tried with.
# `make fuzz` draws new ones, and more of them.
settings.register_profile("tlsgate", deadline=None, max_examples=100 * TIMES, derandomize=TIMES == 1)
settings.load_profile("tlsgate")
