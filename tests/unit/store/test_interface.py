"""Every backend has every call of the protocols, with the same parameters."""

from __future__ import annotations

import inspect

import pytest

from tlsgate.store.interface import ChangeFeed, CounterStore, KeyStore, Store
from tlsgate.store.memory import MemoryStore
from tlsgate.store.redis import RedisStore
from tlsgate.store.sqlite import SqliteStore

CALLS = [
    (protocol, name) for protocol in (KeyStore, CounterStore, ChangeFeed, Store) for name in vars(protocol) if not name.startswith("_")
]


@pytest.mark.parametrize("backend", [MemoryStore, SqliteStore, RedisStore])
@pytest.mark.parametrize(("protocol", "name"), CALLS, ids=lambda value: getattr(value, "__name__", value))
def test_the_calls_are_the_same_everywhere(backend: type, protocol: type, name: str) -> None:
    """What a caller may write for one store it may write for each."""
    expected, found = getattr(protocol, name), getattr(backend, name)
    if isinstance(expected, property):
        assert isinstance(found, property)
        return
    assert inspect.signature(found) == inspect.signature(expected)
    assert inspect.iscoroutinefunction(found) == inspect.iscoroutinefunction(expected)
