"""Ids of connections and requests."""

from __future__ import annotations

import os
import re

from tlsgate.ids import new_connection_id, process_id, process_of, request_id


def test_connection_ids_differ() -> None:
    """Within a process by a drawn number, between processes by a random prefix."""
    ids = [new_connection_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert {process_of(id) for id in ids} == {process_id()}
    assert all(re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{14}", id) for id in ids)


def test_ids_count_nothing() -> None:
    """A client that is shown two of them learns nothing of what happened between: no digit of the drawn part is steady or only grows."""
    drawn = [new_connection_id().partition("-")[2] for _ in range(200)]
    assert drawn != sorted(drawn)
    assert all(len({text[place] for text in drawn}) > 4 for place in range(14))


def test_a_worker_is_no_copy_of_its_parent() -> None:
    """After a fork ids begin otherwise, whoever imported the module first."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writing, process_id().encode())
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as file:
        told = file.read().decode()
    os.waitpid(pid, 0)
    assert re.fullmatch(r"[0-9a-f]{8}", told)
    assert told != process_id()


def test_request_ids_name_connection_and_number() -> None:
    """So that all events of a connection are found by one search."""
    assert request_id("0011aabb-2", 1) == "0011aabb-2.1"
    assert request_id("0011aabb-2", 16) == "0011aabb-2.10"
    assert process_of(request_id("0011aabb-2", 16)) == "0011aabb"
