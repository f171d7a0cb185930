"""Which files of ``app_path`` the REST API wrote: a list beside them, by name and content; knows no definition.

A file that somebody changed on disk afterwards has another content, and is his word then. Dot files are no definitions, so the list
stands in the same folder and is moved with it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

__all__ = ["LIST_NAME", "Origins", "forget", "load_origins", "record"]

LIST_NAME = ".tlsgate-rest.json"
_KEPT = 4
"""Contents of one file that are remembered: the list is written before the file, which may stay as it was."""


class Origins:
    """What a folder's list says.

    :param digests: SHA-256 of contents by file name; None where there is a list that cannot be read: then every file counts as written by
        the REST API.
    """

    __slots__ = ("_digests", "_folder")

    def __init__(self, folder: str, digests: dict[str, list[str]] | None) -> None:
        self._folder = folder
        self._digests = digests

    @property
    def readable(self) -> bool:
        """Whether the list could be read, or there is none."""
        return self._digests is not None

    def by_rest(self, name: str) -> bool:
        """Tell whether a file is as the REST API wrote it."""
        if self._digests is None:
            return True
        known = self._digests.get(name)
        if not known:
            return False
        try:
            with open(os.path.join(self._folder, name), "rb") as file:
                return _digest(file.read()) in known
        except OSError:
            return True


def load_origins(folder: str) -> Origins:
    """Read the list of a folder."""
    try:
        return Origins(folder, _read(folder))
    except (OSError, ValueError):
        return Origins(folder, None)


def record(folder: str, name: str, content: bytes) -> None:
    """Note that the REST API is about to write a file: before it is written.

    :raises OSError: it cannot be noted; the file must not be written then.
    """
    with _alone(folder):
        try:
            digests = _read(folder)
        except ValueError:
            digests = {}
        kept = [known for known in digests.get(name, []) if known != _digest(content)]
        digests[name] = [*kept, _digest(content)][-_KEPT:]
        _write(folder, digests)


def forget(folder: str, names: Iterable[str]) -> None:
    """Note that files are gone: after they were removed.

    :raises OSError: it cannot be noted; that does no harm.
    """
    gone = set(names)
    if not os.path.isdir(folder):
        return
    with _alone(folder):
        try:
            digests = _read(folder)
        except ValueError:
            return
        # One that was written again in between stays in the list.
        gone = {name for name in gone & set(digests) if not os.path.lexists(os.path.join(folder, name))}
        if gone:
            _write(folder, {name: known for name, known in digests.items() if name not in gone})


@contextmanager
def _alone(folder: str) -> Iterator[None]:
    """Let one process at a time change the list: an entry that gets lost would make a file trusted."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _read(folder: str) -> dict[str, list[str]]:
    try:
        with open(os.path.join(folder, LIST_NAME), "rb") as file:
            tree = json.loads(file.read())
    except FileNotFoundError:
        return {}
    if not isinstance(tree, dict) or not all(
        isinstance(known, list) and all(isinstance(each, str) for each in known) for known in tree.values()
    ):
        raise ValueError("not a list of files")
    return tree


def _write(folder: str, digests: dict[str, list[str]]) -> None:
    path = os.path.join(folder, LIST_NAME)
    if not digests:
        os.unlink(path)
        return
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(digests, file, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
