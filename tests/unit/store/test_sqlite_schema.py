"""The file of the SQLite store: made, migrated, refused."""

from __future__ import annotations

import sqlite3
import stat
import threading
from pathlib import Path

import pytest

from tests.support.loop import running_loop
from tlsgate.clock import SystemClock
from tlsgate.errors import StoreUnavailable
from tlsgate.store import sqlite_schema
from tlsgate.store.interface import Entry
from tlsgate.store.sqlite import SqliteStore
from tlsgate.store.sqlite_schema import APPLICATION_ID, MIGRATIONS, VERSION, check_version, migrate, open_database

NEXT = (*MIGRATIONS, ("ALTER TABLE entries ADD COLUMN note TEXT", "UPDATE entries SET note = 'old'"))


def use(monkeypatch: pytest.MonkeyPatch, migrations: tuple[tuple[str, ...], ...]) -> None:
    """Make this the program of another version."""
    monkeypatch.setattr(sqlite_schema, "MIGRATIONS", migrations)
    monkeypatch.setattr(sqlite_schema, "VERSION", len(migrations))


def test_a_new_file_is_of_the_current_version_and_private(tmp_path: Path) -> None:
    """It holds credentials: nobody else reads it, nor what lies beside it."""
    path = tmp_path / "s.db"
    connection = open_database(str(path), write=True)
    connection.execute("INSERT INTO entries VALUES ('a', 0, x'31', NULL)")
    assert connection.execute("PRAGMA user_version").fetchone()[0] == VERSION
    assert connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
    assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}
    connection.close()


def test_an_older_file_is_migrated_with_what_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step once; opening it again changes nothing."""
    path = str(tmp_path / "s.db")
    connection = open_database(path, write=True)
    connection.execute("INSERT INTO entries VALUES ('a', 0, x'31', NULL)")
    connection.close()
    use(monkeypatch, NEXT)
    connection = open_database(path, write=True)
    assert connection.execute("SELECT name, value, note FROM entries").fetchall() == [("a", b"1", "old")]
    connection.execute("UPDATE entries SET note = 'new'")
    assert migrate(connection) == len(NEXT)
    assert connection.execute("SELECT note FROM entries").fetchone()[0] == "new"
    check_version(connection)
    connection.close()


def test_a_step_that_fails_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All steps are one transaction."""
    path = str(tmp_path / "s.db")
    open_database(path, write=True).close()
    use(monkeypatch, (*NEXT, ("CREATE TABLE nonsense",)))
    with pytest.raises(sqlite3.Error):
        open_database(path, write=True)
    use(monkeypatch, MIGRATIONS)
    connection = open_database(path, write=True)
    assert "note" not in [row[1] for row in connection.execute("PRAGMA table_info(entries)")]
    connection.close()


def test_a_newer_file_is_refused_and_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With both versions and what to do."""
    path = str(tmp_path / "s.db")
    with monkeypatch.context() as patch:
        use(patch, NEXT)
        open_database(path, write=True).close()
    before = Path(path).read_bytes()
    for write in (True, False):
        with pytest.raises(StoreUnavailable, match=f"version {VERSION + 1}, this tlsgate knows {VERSION} at most: run the newer tlsgate"):
            open_database(path, write=write)
    assert Path(path).read_bytes() == before


@pytest.mark.parametrize("statement", ["CREATE TABLE theirs (a)", "PRAGMA application_id = 5", "PRAGMA user_version = 1"])
def test_a_file_of_another_program_is_left_alone(tmp_path: Path, statement: str) -> None:
    """Whatever marks it."""
    path = str(tmp_path / "s.db")
    with sqlite3.connect(path) as theirs:
        theirs.execute(statement)
    theirs.close()
    with pytest.raises(StoreUnavailable, match="another program"):
        open_database(path, write=True)


def test_a_reader_waits_for_the_writer(tmp_path: Path) -> None:
    """It never makes the file, nor writes into it."""
    path = str(tmp_path / "s.db")
    with pytest.raises(StoreUnavailable, match="not there yet"):
        open_database(path, write=False)
    assert list(tmp_path.iterdir()) == []
    open_database(path, write=True).close()
    reader = open_database(path, write=False)
    with pytest.raises(sqlite3.OperationalError):
        reader.execute("DELETE FROM entries")
    reader.close()


def test_many_processes_may_migrate_at_once(tmp_path: Path) -> None:
    """One does, the others find it done."""
    path = str(tmp_path / "s.db")
    faults: list[Exception] = []

    def work() -> None:
        try:
            open_database(path, write=True).close()
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []


def test_an_update_beside_a_running_gateway_stops_its_writes_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old program never writes into tables of the new one."""
    path = str(tmp_path / "s.db")
    with running_loop() as loop:
        store = SqliteStore(loop.reactor, SystemClock(), path)
        loop.run(store.start())
        loop.run(store.put("a", b"1"))
        assert loop.run(store.get_entry("a")) == Entry(b"1", None)
        with monkeypatch.context() as patch:
            use(patch, NEXT)
            open_database(path, write=True).close()
        with pytest.raises(StoreUnavailable, match=f"version {VERSION + 1}"):
            loop.run(store.put("a", b"2"))
        assert not store.healthy
        loop.run(store.stop())
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT value, note FROM entries").fetchall() == [(b"1", "old")]
    connection.close()
