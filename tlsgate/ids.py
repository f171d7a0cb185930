"""Connection and request ids: short, unique within a process, cheap; knows nothing of what they name."""

from __future__ import annotations

import itertools
import os

__all__ = ["new_connection_id", "request_id"]

_PREFIX = os.urandom(4).hex()
_counter = itertools.count(1)


def new_connection_id() -> str:
    """Return an id for a connection, unique over restarts with overwhelming probability."""
    return f"{_PREFIX}-{next(_counter):x}"


def request_id(connection: str, number: int) -> str:
    """Return the id of the ``number``-th request (from 1) of a connection."""
    return f"{connection}.{number:x}"
