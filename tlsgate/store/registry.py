"""The backends by name; each is imported only where it is used, and nothing registers itself.

A line of :data:`BACKENDS` and a function are all that a new one needs, besides passing ``tests/conformance/test_store.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from tlsgate.clock import Clock
from tlsgate.config.model import StorageSettings
from tlsgate.store.interface import Store

__all__ = ["BACKENDS", "build_store"]


def build_store(settings: StorageSettings, reactor: Any, clock: Clock) -> Store:
    """Return the store of a configuration, not started yet; reads the certificates that it names.

    :param reactor: of the process: for SQLite and Redis more than one store per file or server is fine, one per process is enough.
    :raises PkiError: a certificate, key or CA that cannot be used.
    """
    return BACKENDS[settings.type](settings, reactor, clock)


def _build_memory(settings: StorageSettings, reactor: Any, clock: Clock) -> Store:
    from tlsgate.store.memory import MemoryStore

    return MemoryStore(clock, reactor)


def _build_sqlite(settings: StorageSettings, reactor: Any, clock: Clock) -> Store:
    from tlsgate.store.sqlite import SqliteStore

    return SqliteStore(reactor, clock, settings.path, timeout_s=settings.timeout_s)


def _build_redis(settings: StorageSettings, reactor: Any, clock: Clock) -> Store:
    # Here and not above: txredisapi takes hold of the global reactor when it is imported.
    from tlsgate.store.redis import RedisStore
    from tlsgate.store.redis_access import load_access

    access = load_access(settings, clock)
    return RedisStore(reactor, access, prefix=settings.key_prefix, secret=settings.feed_secret, timeout_s=settings.timeout_s)


BACKENDS: Mapping[str, Callable[[StorageSettings, Any, Clock], Store]] = MappingProxyType(
    {
        "sqlite": _build_sqlite,
        "memory": _build_memory,
        "redis": _build_redis,
    }
)
