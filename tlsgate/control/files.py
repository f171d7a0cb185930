"""Files that the control API writes: whole or not at all; knows nothing of what stands in them. Blocks: call it in a thread."""

from __future__ import annotations

import os
import tempfile

__all__ = ["remove_file", "write_file"]

_SUFFIX = ".tmp"


def write_file(path: str, data: bytes) -> None:
    """Write a file so that a reader, or a crash at any moment, sees the old or the new content whole.

    :raises OSError: it cannot be written; the old one stays.
    """
    folder = os.path.dirname(path) or "."
    descriptor, temporary = tempfile.mkstemp(suffix=_SUFFIX, prefix=".", dir=folder)
    try:
        with open(descriptor, "wb") as file:
            os.fchmod(file.fileno(), 0o640)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    _sync_folder(folder)


def remove_file(path: str) -> None:
    """Remove a file for good.

    :raises OSError: there is none, or it cannot be removed.
    """
    os.unlink(path)
    _sync_folder(os.path.dirname(path) or ".")


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
