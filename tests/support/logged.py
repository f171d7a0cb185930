"""What was logged while a test did something."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twisted.logger import globalLogPublisher

__all__ = ["logged_events"]


@contextmanager
def logged_events() -> Iterator[list[dict[str, Any]]]:
    """Collect the events of Twisted's logger."""
    events: list[dict[str, Any]] = []
    globalLogPublisher.addObserver(events.append)
    try:
        yield events
    finally:
        globalLogPublisher.removeObserver(events.append)
