"""The tables of the SQLite store, how a file is opened, and how an older one becomes a current one; knows nothing of what is stored.

The version is SQLite's ``user_version``; a step of :data:`MIGRATIONS` leads from one to the next, all of them in one transaction.
"""

from __future__ import annotations

import os
import sqlite3
import time

from tlsgate.errors import StoreUnavailable

__all__ = ["APPLICATION_ID", "MIGRATIONS", "VERSION", "check_version", "migrate", "open_database"]

APPLICATION_ID = 0x746C7367
"""``tlsg``: what ``file`` shows, and what keeps us from writing into somebody else's database."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        # kind: 0 value, 1 set (in members), 2 log of a sliding window (in marks). A rowid table, because values have kilobytes.
        "CREATE TABLE entries (name TEXT NOT NULL PRIMARY KEY, kind INTEGER NOT NULL, value BLOB NOT NULL, expires_at REAL)",
        "CREATE INDEX entries_by_end ON entries (expires_at) WHERE expires_at IS NOT NULL",
        "CREATE TABLE members (name TEXT NOT NULL, member TEXT NOT NULL, PRIMARY KEY (name, member)) WITHOUT ROWID",
        "CREATE TABLE marks (name TEXT NOT NULL, at REAL NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (name, at, number)) WITHOUT ROWID",
        # AUTOINCREMENT: numbers never come again, so that a reader sees what it missed.
        "CREATE TABLE changes (id INTEGER PRIMARY KEY AUTOINCREMENT, origin TEXT NOT NULL, topic TEXT NOT NULL, payload TEXT NOT NULL,"
        " at REAL NOT NULL)",
    ),
)
"""Statements from each version to the next. A released step is never changed."""
VERSION = len(MIGRATIONS)

_BUSY_TIMEOUT_MS = 1000
_BUSY_PAUSE_S = 0.005
_CACHE_KIB = 8192
_WAL_LIMIT_BYTES = 64 * 1024 * 1024


def open_database(path: str, *, write: bool) -> sqlite3.Connection:
    """Return a connection for the calling thread; the writer makes and migrates the file, a reader waits for that.

    :param path: of the file; its folder must exist. A new file can be read by its owner only: it holds credentials.
    :raises StoreUnavailable: the file is not ours, or of a newer version.
    :raises sqlite3.Error: it cannot be opened or is damaged.
    :raises OSError: it cannot be made.
    """
    if write:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    elif not os.path.exists(path):
        raise StoreUnavailable("the store's file is not there yet")
    connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_MS / 1000, isolation_level=None, cached_statements=64)
    try:
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        if write:
            if _use_write_ahead_log(connection) != "wal":
                raise StoreUnavailable("the store's file must lie on a local disk (no write-ahead log is possible there)")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT_BYTES}")
            migrate(connection)
        else:
            connection.execute("PRAGMA query_only = ON")
            check_version(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _use_write_ahead_log(connection: sqlite3.Connection) -> str:
    """Return the journal mode after asking for ``wal``, again and again: SQLite's busy timeout does not cover this change."""
    end = time.monotonic() + _BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            mode: str = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            return mode
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(_BUSY_PAUSE_S)  # noqa: TID251 - in the thread of the database, never the reactor's


def migrate(connection: sqlite3.Connection) -> int:
    """Bring a file to the current version; several processes may try at once.

    :returns: the version that it had, 0 for a new file.
    :raises StoreUnavailable: the file is not ours, or of a newer version: it stays as it is.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        found = _version_of(connection)
        for step in MIGRATIONS[found:VERSION]:
            for statement in step:
                connection.execute(statement)
        if found < VERSION:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    return found


def check_version(connection: sqlite3.Connection) -> None:
    """Refuse a file that is not of the current version; some 3 us.

    :raises StoreUnavailable: it was migrated meanwhile, or is not migrated yet.
    """
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != VERSION:
        raise StoreUnavailable(_too_new(version) if version > VERSION else f"the store's file is still of version {version}")


def _too_new(version: int) -> str:
    return (
        f"the store's file is of version {version}, this tlsgate knows {VERSION} at most:"
        " run the newer tlsgate, or restore a copy from before its first start"
    )


def _version_of(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    owner = connection.execute("PRAGMA application_id").fetchone()[0]
    if version > VERSION:
        raise StoreUnavailable(_too_new(version))
    if owner != APPLICATION_ID and (owner or version or connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()):
        raise StoreUnavailable("the file belongs to another program: name another one in storage.path")
    return version
