"""What a process that holds many connections asks of its operating system and of Python; knows nothing of what is served."""

from __future__ import annotations

import gc
import resource
from typing import TYPE_CHECKING

from twisted.logger import Logger

if TYPE_CHECKING:
    from tlsgate.config.model import GatewayConfig

__all__ = ["raise_descriptor_limit", "settle_memory"]

_log = Logger()
_OTHER_DESCRIPTORS = 256
"""Listeners, logs, files that a reload reads, idle connections to upstreams beyond one per client."""


def raise_descriptor_limit(config: GatewayConfig) -> None:
    """Let the process have two descriptors per connection and some, as far as its hard limit goes.

    The usual soft limit of 1024 is for programs that use ``select``; Go's run time, hence Tyk, raises it as well.
    """
    wanted = 2 * config.own.limits.max_connections + _OTHER_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    possible = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if possible > soft:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (possible, hard))
        except (OSError, ValueError):
            possible = soft
    if possible < wanted and not config.own.development:
        _log.warn(
            "{limit} descriptors are too few for tlsgate.limits.max_connections = {connections}: {wanted} are needed at worst",
            event="service.few_descriptors",
            limit=possible,
            connections=config.own.limits.max_connections,
            wanted=wanted,
        )


def settle_memory() -> None:
    """Take the generation out of the garbage collector's sight: 10,000 definitions would be walked for nothing again and again."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
