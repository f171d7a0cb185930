"""What keeps the SQLite store from its file, in words for an operator: what, where, what to do; knows errors and paths, opens nothing."""

from __future__ import annotations

import errno
import os
import sqlite3

from twisted.logger import Logger

from tlsgate.errors import StoreUnavailable

__all__ = ["FaultLog", "describe_fault"]

_log = Logger()

_REMEDIES = {
    errno.ENOENT: "make the folder, owned by the user that tlsgate runs as",
    errno.ENOTDIR: "make the folder, owned by the user that tlsgate runs as",
    errno.EACCES: "let the user that tlsgate runs as write the file and its folder",
    errno.EPERM: "let the user that tlsgate runs as write the file and its folder",
    errno.EISDIR: "name a file in storage.path, not a folder",
    errno.EROFS: "name a file on a disk that can be written in storage.path",
    errno.ENOSPC: "make room on the disk",
    errno.EMFILE: "raise the limit of open files",
}
_BY_TEXT = (
    ("not a database", "restore a backup, or name another file in storage.path"),
    ("malformed", "restore a backup; sqlite3 FILE .recover may save the rest"),
    ("full", "make room on the disk"),
    ("readonly", "let the user that tlsgate runs as write the file and its folder"),
    ("unable to open", "let the user that tlsgate runs as write the file and its folder"),
    ("disk i/o", "look at the disk and the system's log"),
    ("locked", "end the other program that holds the file"),
)


def describe_fault(error: Exception, path: str) -> str:
    """Return what is wrong with the file and what to do about it.

    :param path: of the file, as configured.
    """
    where = os.path.abspath(path)
    if isinstance(error, StoreUnavailable):
        return f"{where}: {error}"
    if isinstance(error, OSError):
        return f"{where}: {error.strerror}: {_REMEDIES.get(error.errno or 0, 'see storage.path')}"
    text = str(error)
    remedy = ""
    if isinstance(error, sqlite3.Error):
        remedy = next((f": {remedy}" for part, remedy in _BY_TEXT if part in text.lower()), "")
    return f"{where}: {type(error).__name__}: {text}{remedy}"


class FaultLog:
    """Logs when the file goes away and when it is back, once for all who use it.

    :param path: of the file.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._faults: dict[str, str] = {}

    def note(self, who: str, fault: str) -> None:
        """Take how the last batch of one went.

        :param fault: empty when it went well.
        """
        if self._faults.get(who, "") == fault:
            return
        self._faults[who] = fault
        if any(other for name, other in self._faults.items() if name != who):
            return
        if fault:
            _log.error("store away: {fault}", event="store.away", fault=fault)
        else:
            _log.info("store back", event="store.back")
