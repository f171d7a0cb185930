"""Faults of the file in an operator's words."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

import pytest

from tests.support.logged import logged_events
from tlsgate.errors import StoreUnavailable
from tlsgate.store.sqlite_faults import FaultLog, describe_fault
from tlsgate.store.sqlite_schema import open_database


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (OSError(errno.ENOENT, "No such file or directory"), "make the folder"),
        (OSError(errno.EACCES, "Permission denied"), "let the user"),
        (OSError(errno.EISDIR, "Is a directory"), "name a file"),
        (OSError(errno.ENOSPC, "No space left on device"), "make room"),
        (OSError(errno.EIO, "Input/output error"), "see storage.path"),
        (sqlite3.DatabaseError("file is not a database"), "restore a backup"),
        (sqlite3.OperationalError("database or disk is full"), "make room"),
        (sqlite3.OperationalError("attempt to write a readonly database"), "let the user"),
        (sqlite3.OperationalError("something else"), "something else"),
        (StoreUnavailable("it says so itself"), "it says so itself"),
        (RuntimeError("odd"), "RuntimeError: odd"),
    ],
)
def test_path_and_remedy(error: Exception, remedy: str) -> None:
    """What, where, what to do; the path is whole, whatever the working directory was."""
    text = describe_fault(error, "var/s.db")
    assert text.startswith(os.path.abspath("var/s.db") + ": ")
    assert remedy in text


@pytest.mark.parametrize(("make", "remedy"), [("folder", "name a file"), ("garbage", "restore a backup"), ("missing", "make the folder")])
def test_real_faults_have_a_remedy(tmp_path: Path, make: str, remedy: str) -> None:
    """As SQLite and the system word them."""
    path = tmp_path / "s.db"
    if make == "folder":
        path.mkdir()
    elif make == "garbage":
        path.write_bytes(b"no database at all, but long enough to be read as one" * 50)
    else:
        path = tmp_path / "none" / "s.db"
    with pytest.raises((OSError, sqlite3.Error)) as caught:
        open_database(str(path), write=True)
    assert remedy in describe_fault(caught.value, str(path))


def test_one_outage_is_logged_once() -> None:
    """However many threads see it, in whatever order; its end when all are well."""
    log = FaultLog("s.db")
    with logged_events() as events:
        for who, fault in [("a", ""), ("a", "x"), ("b", "y"), ("a", "x"), ("a", ""), ("b", ""), ("b", ""), ("a", "z")]:
            log.note(who, fault)
    assert [(event["event"], event.get("fault")) for event in events] == [("store.away", "x"), ("store.back", None), ("store.away", "z")]
