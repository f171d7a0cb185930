"""Connection and request ids: short, unique, cheap, telling nothing to who sees one; knows nothing of what they name.

``<process>-<connection>.<request>``: clients may be shown them (``tlsgate.explain``), so a connection is drawn and not counted: nobody
reads the gateway's traffic out of two ids.
"""

from __future__ import annotations

import os

__all__ = ["new_connection_id", "process_id", "process_of", "request_id"]

_prefix = os.urandom(4).hex()


def new_connection_id() -> str:
    """Return an id for a connection, unique over restarts with overwhelming probability."""
    return f"{_prefix}-{os.urandom(7).hex()}"


def request_id(connection: str, number: int) -> str:
    """Return the id of the ``number``-th request (from 1) of a connection."""
    return f"{connection}.{number:x}"


def process_id() -> str:
    """Return what the ids of this process begin with."""
    return _prefix


def process_of(id: str) -> str:
    """Return what the id of a request or connection says of the process that gave it."""
    return id.partition("-")[0]


def _renew() -> None:
    """A worker is no copy of its parent."""
    global _prefix
    _prefix = os.urandom(4).hex()


os.register_at_fork(after_in_child=_renew)
