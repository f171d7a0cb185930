"""Ids of connections and requests."""

from __future__ import annotations

import re

from tlsgate.ids import new_connection_id, request_id


def test_connection_ids_differ() -> None:
    """Within a process by a counter, between processes by a random prefix."""
    ids = [new_connection_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert len({id.split("-")[0] for id in ids}) == 1
    assert all(re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]+", id) for id in ids)


def test_request_ids_name_connection_and_number() -> None:
    """So that all events of a connection are found by one search."""
    assert request_id("0011aabb-2", 1) == "0011aabb-2.1"
    assert request_id("0011aabb-2", 16) == "0011aabb-2.10"
