"""Backends by name."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from twisted.internet.task import Clock as FakeReactor

from tests.support.stores import ManualClock
from tlsgate.config.model import StorageSettings
from tlsgate.errors import PkiError
from tlsgate.store.registry import BACKENDS, build_store


@pytest.mark.parametrize("kind", sorted(BACKENDS))
def test_each_is_built_and_opens_nothing(kind: str, tmp_path: Path) -> None:
    """Opening is ``start``."""
    store = build_store(StorageSettings(type=kind, path=str(tmp_path / "s.db")), FakeReactor(), ManualClock())
    assert type(store).__name__.lower() == f"{kind}store"
    assert list(tmp_path.iterdir()) == []
    assert store.healthy == (kind == "memory")


def test_certificates_are_read_when_it_is_built(tmp_path: Path) -> None:
    """A CA that is not there stops the start, with its path."""
    settings = StorageSettings(type="redis", use_ssl=True, ca_file=str(tmp_path / "ca.pem"))
    with pytest.raises(PkiError, match=r"ca\.pem"):
        build_store(settings, FakeReactor(), ManualClock())


def test_conformance_runs_on_each() -> None:
    """A new backend that is not in the suite is noticed."""
    from tests.support.stores import BACKENDS as TESTED

    assert {name.partition("-")[0] for name in TESTED} == set(BACKENDS)
    assert "tlsgate.store.registry" in sys.modules
