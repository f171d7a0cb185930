"""Tests of `tlsgate.process`."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from tests.support.apis import make_config
from tests.support.logged import logged_events
from tlsgate import process
from tlsgate.config.model import OwnSettings


@pytest.mark.parametrize(("soft", "hard", "wanted", "warns"), [
    (1024, 1_000_000, 41_000, False),
    (-1, -1, None, False),
    (1_000_000, 1_000_000, None, False),
    (1024, -1, 41_000, False),
    (1024, 4096, 4096, True),
    (4096, 4096, None, True),
    (1024, 8192, "refused", True),
])  # fmt: skip
def test_the_limit_of_descriptors_is_raised_as_far_as_it_goes(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, wanted: Any, warns: bool
) -> None:
    """Two per connection and some; in development nobody is warned."""
    resource = process.resource
    found: list[tuple[int, int]] = []

    def set_limit(kind: int, limits: tuple[int, int]) -> None:
        if wanted == "refused":
            raise OSError("no")
        found.append(limits)

    monkeypatch.setattr(
        resource, "getrlimit", lambda kind: (soft if soft >= 0 else resource.RLIM_INFINITY, hard if hard >= 0 else resource.RLIM_INFINITY)
    )
    monkeypatch.setattr(resource, "setrlimit", set_limit)
    for development in (True, False):
        config = make_config(own=OwnSettings(development=development))
        with logged_events() as events:
            process.raise_descriptor_limit(config)
        assert any(event.get("event") == "service.few_descriptors" for event in events) == (warns and not development)
    if isinstance(wanted, int):
        assert abs(found[0][0] - wanted) < 1000
    else:
        assert found == []


def test_what_is_settled_is_walked_no_more() -> None:
    """A generation of definitions is out of the collector's sight, and the one before it comes back to be freed."""
    kept = [{} for _ in range(1000)]
    try:
        process.settle_memory()
        assert gc.get_freeze_count() >= len(kept)
        del kept
        process.settle_memory()
    finally:
        gc.unfreeze()
    assert gc.get_freeze_count() == 0
