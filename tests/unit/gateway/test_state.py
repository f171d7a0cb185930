"""Tests of `tlsgate.gateway.state`: the parts fit together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from twisted.internet.task import Clock as FakeReactor

from tests.support.logged import logged_events
from tlsgate.clock import SystemClock
from tlsgate.config.model import GatewayConfig, KeySettings, StorageSettings
from tlsgate.errors import ConfigError
from tlsgate.gateway.state import build_state
from tlsgate.store.memory import MemoryStore


def config(**storage: Any) -> GatewayConfig:
    return GatewayConfig(storage=StorageSettings(**{"type": "memory", **storage}))


def test_changes_of_the_store_reach_the_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that was deleted elsewhere is forgotten as soon as the feed says so."""
    state = build_state(config(), FakeReactor(), SystemClock())
    assert isinstance(state.store, MemoryStore)
    forgotten: list[str] = []
    monkeypatch.setattr(state.sessions, "forget", forgotten.append)
    state.store._listeners.tell("key", "apikey")
    assert set(forgotten) == {"apikey"}


def test_events_go_to_whoever_listens() -> None:
    state = build_state(config(), FakeReactor(), SystemClock())
    state.notify("AuthFailure", None, {})
    heard: list[Any] = []
    state.on_event = lambda *event: heard.append(event)
    state.auth.notify("AuthFailure", None, {"message": "Auth Failure"})
    assert heard == [("AuthFailure", None, {"message": "Auth Failure"})]


def test_a_store_that_cannot_be_built_is_a_problem_of_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        build_state(config(type="redis", use_ssl=True, ca_file=str(tmp_path / "none.pem")), FakeReactor(), SystemClock())
    assert caught.value.problems[0].path == "storage"


def test_what_the_naming_of_keys_means_is_logged() -> None:
    weak = msgspec.structs.replace(config(), keys=KeySettings(hash_keys=True, hash_key_function="murmur32"))
    with logged_events() as events:
        build_state(weak, FakeReactor(), SystemClock())
    assert [event["event"] for event in events] == ["keys.naming"]
