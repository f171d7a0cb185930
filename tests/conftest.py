"""What holds for all tests: no example of hypothesis fails because the machine is busy."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("tlsgate", deadline=None)
settings.load_profile("tlsgate")
