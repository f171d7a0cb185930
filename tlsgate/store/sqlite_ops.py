"""What the SQLite store does to its tables: plain functions over a connection, each within the caller's transaction.

Knows the tables; must not know threads or the reactor. Time is the ``now`` of each call.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from tlsgate.store.interface import MARKS_KEPT, Count, Entry
from tlsgate.store.rules import parse_number, prefix_end, sliding_bounds

__all__ = [
    "Changes",
    "add_members",
    "count_sliding",
    "count_window",
    "delete",
    "drop_counter",
    "find_changes",
    "find_count",
    "find_counter",
    "find_entries",
    "find_members",
    "find_names",
    "keep_counter",
    "last_change",
    "note_change",
    "put",
    "remove_members",
    "replace",
    "sweep",
]

_VALUE, _SET, _LOG = 0, 1, 2
_FIND = "SELECT kind, value, expires_at FROM entries WHERE name = ? AND (expires_at IS NULL OR expires_at > ?)"
_WRITE = (
    "INSERT INTO entries VALUES (?, ?, ?, ?)"
    " ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, value = excluded.value, expires_at = excluded.expires_at"
)
_NAMES_FROM = "SELECT name FROM entries WHERE name >= ? AND (expires_at IS NULL OR expires_at > ?)"
_NAMES_AFTER = "SELECT name FROM entries WHERE name > ? AND (expires_at IS NULL OR expires_at > ?)"
_SWEPT = 500
"""Rows removed in one transaction, some 5 ms."""
_CHANGES_KEPT = 10_000
"""A reader that is farther behind than that forgets everything instead."""
_CHANGES_READ = 1000


class Changes(NamedTuple):
    """What a look at the feed found."""

    last: int
    """Number to go on from."""
    changes: tuple[tuple[str, str], ...]
    """(topic, payload) of others, in order."""
    gap: bool
    """Some before these are gone, or the file is another one."""


def find_entries(connection: sqlite3.Connection, names: Sequence[str], now: float) -> list[Entry | None]:
    """Return the values of names."""
    found: list[Entry | None] = []
    for name in names:
        row = connection.execute(_FIND, (name, now)).fetchone()
        found.append(None if row is None or row[0] != _VALUE else Entry(row[1], None if row[2] is None else row[2] - now))
    return found


def put(connection: sqlite3.Connection, name: str, value: bytes, ttl_s: int | None, keep_ttl: bool, only_if: str, now: float) -> bool:
    """Write a value, whatever the name held before."""
    expires_at = None if ttl_s is None else now + ttl_s
    if keep_ttl or only_if:
        row = connection.execute(_FIND, (name, now)).fetchone()
        if (row is None and only_if == "present") or (row is not None and only_if == "absent"):
            return False
        if keep_ttl and row is not None:
            expires_at = row[2]
    connection.execute(_WRITE, (name, _VALUE, value, expires_at))
    return True


def replace(connection: sqlite3.Connection, name: str, old: bytes | None, value: bytes, ttl_s: int | None, now: float) -> bool:
    """Write a value if the name holds the old one; nothing at all for None."""
    row = connection.execute(_FIND, (name, now)).fetchone()
    if (None if row is None else tuple(row[:2])) != (None if old is None else (_VALUE, old)):
        return False
    connection.execute(_WRITE, (name, _VALUE, value, None if ttl_s is None else now + ttl_s))
    return True


def delete(connection: sqlite3.Connection, names: Sequence[str], now: float) -> int:
    """Remove whatever names hold."""
    removed = 0
    for name in names:
        for kind, expires_at in connection.execute("DELETE FROM entries WHERE name = ? RETURNING kind, expires_at", (name,)).fetchall():
            removed += expires_at is None or expires_at > now
            _remove_parts(connection, name, kind)
    return removed


def find_names(connection: sqlite3.Connection, prefix: str, after: str, limit: int, now: float) -> list[str]:
    """Return the next names with a prefix.

    :param after: the last name of the batch before; empty at first.
    """
    # One lower bound: of two, SQLite may begin at the wrong one, and walk over everything before the other.
    query = _NAMES_AFTER if after else _NAMES_FROM
    arguments: list[object] = [after or prefix, now]
    end = prefix_end(prefix)
    if end is not None:
        query += " AND name < ?"
        arguments.append(end)
    return [row[0] for row in connection.execute(f"{query} ORDER BY name LIMIT ?", (*arguments, limit))]


def add_members(connection: sqlite3.Connection, name: str, members: Sequence[str], now: float) -> None:
    """Add members to a set."""
    if members:
        if not _is_kind(connection, name, _SET, now):
            _start(connection, name, _SET, None)
        connection.executemany("INSERT OR IGNORE INTO members VALUES (?, ?)", [(name, member) for member in members])


def remove_members(connection: sqlite3.Connection, name: str, members: Sequence[str], now: float) -> None:
    """Remove members of a set; a set without members is none."""
    if members and _is_kind(connection, name, _SET, now):
        connection.executemany("DELETE FROM members WHERE name = ? AND member = ?", [(name, member) for member in members])
        if connection.execute("SELECT 1 FROM members WHERE name = ? LIMIT 1", (name,)).fetchone() is None:
            connection.execute("DELETE FROM entries WHERE name = ?", (name,))


def find_members(connection: sqlite3.Connection, name: str, now: float) -> list[str]:
    """Return the members of a set."""
    row = connection.execute(_FIND, (name, now)).fetchone()
    if row is None or row[0] != _SET:
        return []
    return [row[0] for row in connection.execute("SELECT member FROM members WHERE name = ? ORDER BY member", (name,))]


def count_window(connection: sqlite3.Connection, name: str, window_s: float, limit: int, cost: int, now: float) -> tuple[bool, Count]:
    """Count within a window, see the interface."""
    row = connection.execute(_FIND, (name, now)).fetchone()
    number = 0
    expires_at = now + window_s if window_s > 0 else None
    if row is not None:
        _check_kind(row[0], _VALUE)
        number = parse_number(row[1])
        if row[2] is not None or window_s <= 0:
            expires_at = row[2]
        else:
            number = 0
    left = None if expires_at is None else expires_at - now
    if number + cost > limit:
        return False, Count(number, left)
    connection.execute(_WRITE, (name, _VALUE, b"%d" % (number + cost), expires_at))
    return True, Count(number + cost, left)


def count_sliding(
    connection: sqlite3.Connection, name: str, per_s: float, limit: int, at: float, log_refused: bool, now: float
) -> tuple[bool, Count]:
    """Count within a sliding window, see the interface.

    :param at: when the request came.
    """
    score, out = sliding_bounds(at, per_s)
    if _is_kind(connection, name, _LOG, now):
        connection.execute("DELETE FROM marks WHERE name = ? AND at <= ?", (name, out))
    else:
        _start(connection, name, _LOG, now + per_s)
    number, oldest = connection.execute("SELECT count(*), min(at) FROM marks WHERE name = ?", (name,)).fetchone()
    admitted = number < limit
    if admitted or log_refused:
        connection.execute(
            "INSERT INTO marks SELECT ?1, ?2, coalesce(max(number), 0) + 1 FROM marks WHERE name = ?1 AND at = ?2", (name, score)
        )
        connection.execute("UPDATE entries SET expires_at = ? WHERE name = ?", (now + per_s, name))
        number += 1
        oldest = score if oldest is None else min(oldest, score)
        kept = max(limit, MARKS_KEPT)
        if number > kept:
            connection.execute(
                "DELETE FROM marks WHERE (name, at, number) IN"
                " (SELECT name, at, number FROM marks WHERE name = ? ORDER BY at, number LIMIT ?)",
                (name, number - kept),
            )
            number = kept
            oldest = connection.execute("SELECT min(at) FROM marks WHERE name = ?", (name,)).fetchone()[0]
    return admitted, Count(number, per_s if oldest is None else (oldest - out) / 1e9)


def find_counter(connection: sqlite3.Connection, name: str, now: float) -> tuple[int, float] | None:
    """Return number and end (epoch seconds, 0 for never) of a counter that lies here; None when there is none.

    :raises ValueError: the name holds something else.
    """
    row = connection.execute(_FIND, (name, now)).fetchone()
    if row is None:
        return None
    _check_kind(row[0], _VALUE)
    return parse_number(row[1]), row[2] or 0.0


def drop_counter(connection: sqlite3.Connection, name: str, number: int, expires_at: float, now: float) -> None:
    """Remove a counter that has moved, unless something else has been written over it."""
    row = connection.execute("SELECT kind, value, expires_at FROM entries WHERE name = ?", (name,)).fetchone()
    if row is not None and row[0] == _VALUE and row[1] == b"%d" % number and (row[2] or 0.0) == expires_at:
        connection.execute("DELETE FROM entries WHERE name = ?", (name,))


def keep_counter(connection: sqlite3.Connection, name: str, number: int, expires_at: float, now: float) -> None:
    """Write a counter with its end (epoch seconds, 0 for never)."""
    connection.execute(_WRITE, (name, _VALUE, b"%d" % number, expires_at or None))


def find_count(connection: sqlite3.Connection, name: str, now: float) -> Count | None:
    """Return a counter."""
    entry = find_entries(connection, (name,), now)[0]
    try:
        return None if entry is None else Count(parse_number(entry.value), entry.ttl_s)
    except ValueError:
        return None


def note_change(connection: sqlite3.Connection, origin: str, topic: str, payload: str, now: float) -> None:
    """Write a change into the feed.

    :param origin: the store that does, which has told its own listeners.
    """
    connection.execute("INSERT INTO changes (origin, topic, payload, at) VALUES (?, ?, ?, ?)", (origin, topic, payload, now))


def last_change(connection: sqlite3.Connection) -> int:
    """Return the number of the last change that was ever noted in this file."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'changes'").fetchone()
    return 0 if row is None else int(row[0])


def find_changes(connection: sqlite3.Connection, origin: str, last: int) -> Changes:
    """Return what others noted after a number."""
    rows = connection.execute(
        "SELECT id, origin, topic, payload FROM changes WHERE id > ? ORDER BY id LIMIT ?", (last, _CHANGES_READ)
    ).fetchall()
    if not rows:
        newest = last_change(connection)
        return Changes(newest, (), newest != last)
    return Changes(rows[-1][0], tuple([(row[2], row[3]) for row in rows if row[1] != origin]), rows[0][0] != last + 1)


def sweep(connection: sqlite3.Connection, now: float) -> bool:
    """Remove some of what has ended.

    :returns: whether there may be more.
    """
    rows = connection.execute(
        "DELETE FROM entries WHERE rowid IN (SELECT rowid FROM entries WHERE expires_at <= ? LIMIT ?) RETURNING name, kind", (now, _SWEPT)
    ).fetchall()
    for name, kind in rows:
        _remove_parts(connection, name, kind)
    connection.execute("DELETE FROM changes WHERE id <= ?", (last_change(connection) - _CHANGES_KEPT,))
    return len(rows) == _SWEPT


def _is_kind(connection: sqlite3.Connection, name: str, kind: int, now: float) -> bool:
    """Tell whether a name holds a thing of a kind; False when it holds nothing.

    :raises ValueError: it holds something else.
    """
    row = connection.execute(_FIND, (name, now)).fetchone()
    if row is None:
        return False
    _check_kind(row[0], kind)
    return True


def _check_kind(found: int, kind: int) -> None:
    if found != kind:
        raise ValueError("the name holds something of another kind")


def _start(connection: sqlite3.Connection, name: str, kind: int, expires_at: float | None) -> None:
    """Begin a set or log: what is left of an ended one, or of one that a value took the place of, is removed."""
    _remove_parts(connection, name, kind)
    connection.execute(_WRITE, (name, kind, b"", expires_at))


def _remove_parts(connection: sqlite3.Connection, name: str, kind: int) -> None:
    if kind == _SET:
        connection.execute("DELETE FROM members WHERE name = ?", (name,))
    elif kind == _LOG:
        connection.execute("DELETE FROM marks WHERE name = ?", (name,))
