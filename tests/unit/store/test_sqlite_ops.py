"""What the SQLite store does to its tables: what is its own beside tests/conformance."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tlsgate.store import sqlite_ops as ops
from tlsgate.store.sqlite_schema import open_database

NOW = 1000.0


@pytest.fixture
def tables(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """An open file."""
    connection = open_database(str(tmp_path / "s.db"), write=True)
    yield connection
    connection.close()


def count(tables: sqlite3.Connection, table: str) -> int:
    """Rows of a table."""
    return int(tables.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def test_sweeping_takes_everything_that_ended_with_its_parts(tables: sqlite3.Connection) -> None:
    """In steps; what is alive stays."""
    for number in range(700):
        ops.put(tables, f"k{number}", b"1", 5, False, "", NOW)
    ops.put(tables, "ever", b"1", None, False, "", NOW)
    ops.put(tables, "long", b"1", 50, False, "", NOW)
    ops.count_sliding(tables, "log", 2.0, 5, NOW, True, NOW)
    ops.add_members(tables, "set", ["m"], NOW)
    assert ops.sweep(tables, NOW + 4) is False
    assert count(tables, "marks") == 0 and count(tables, "entries") == 703
    assert ops.sweep(tables, NOW + 5) is True
    assert ops.sweep(tables, NOW + 5) is False
    assert sorted(name for (name,) in tables.execute("SELECT name FROM entries")) == ["ever", "long", "set"]
    assert count(tables, "members") == 1


def test_parts_never_outlive_what_they_belong_to(tables: sqlite3.Connection) -> None:
    """Deleted, or begun anew as another kind."""
    ops.add_members(tables, "a", ["m"], NOW)
    ops.count_sliding(tables, "b", 10.0, 5, NOW, True, NOW)
    assert ops.delete(tables, ["a", "b"], NOW) == 2
    assert count(tables, "members") == count(tables, "marks") == 0
    ops.count_sliding(tables, "b", 1.0, 5, NOW, True, NOW)
    ops.add_members(tables, "b", ["m"], NOW + 2)
    assert ops.find_members(tables, "b", NOW + 2) == ["m"]


def test_the_feed_is_read_from_where_one_was(tables: sqlite3.Connection) -> None:
    """Others' changes in order, our own passed over."""
    last = ops.last_change(tables)
    assert last == 0
    for origin, topic in (("other", "a"), ("us", "b"), ("other", "c")):
        ops.note_change(tables, origin, topic, "p", NOW)
    assert ops.find_changes(tables, "us", last) == (3, (("a", "p"), ("c", "p")), False)
    assert ops.find_changes(tables, "us", 3) == (3, (), False)
    assert ops.last_change(tables) == 3


def test_a_reader_that_is_too_far_behind_knows_it(tables: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest changes are removed by the sweep."""
    monkeypatch.setattr(ops, "_CHANGES_KEPT", 5)
    for number in range(20):
        ops.note_change(tables, "other", "key", str(number), NOW)
    ops.sweep(tables, NOW)
    assert ops.find_changes(tables, "us", 3).gap
    assert ops.find_changes(tables, "us", 15) == (20, tuple(("key", str(number)) for number in range(15, 20)), False)


def test_another_file_in_its_place_is_a_gap(tables: sqlite3.Connection) -> None:
    """A restored copy has fewer changes than one has read."""
    ops.note_change(tables, "other", "key", "a", NOW)
    assert ops.find_changes(tables, "us", 7) == (1, (), True)


def test_a_look_at_the_feed_is_bounded(tables: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next look goes on from there."""
    monkeypatch.setattr(ops, "_CHANGES_READ", 4)
    for number in range(6):
        ops.note_change(tables, "other", "key", str(number), NOW)
    first = ops.find_changes(tables, "us", 0)
    assert (first.last, len(first.changes)) == (4, 4)
    assert len(ops.find_changes(tables, "us", first.last).changes) == 2


def test_many_names_are_found_by_the_index(tables: sqlite3.Connection) -> None:
    """A prefix never reads the whole table."""
    plan = tables.execute(
        "EXPLAIN QUERY PLAN SELECT name FROM entries WHERE name >= 'a' AND name > '' AND (expires_at IS NULL OR expires_at > 0)"
        " AND name < 'b' ORDER BY name LIMIT 5"
    ).fetchall()
    assert "SEARCH" in plan[0][3] and not any("TEMP B-TREE" in row[3] for row in plan)
