"""Sizes of tests: scaled down by default, full in acceptance runs."""

from __future__ import annotations

import os
from typing import TypeVar

__all__ = ["FULL", "scaled"]

T = TypeVar("T")

FULL = os.environ.get("TLSGATE_ACCEPTANCE") == "1"
"""Whether full sizes are asked for."""


def scaled(small: T, full: T) -> T:
    """Return ``full`` in acceptance runs (``TLSGATE_ACCEPTANCE=1``), else ``small``."""
    return full if FULL else small
