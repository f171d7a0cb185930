"""Names for loopback tests: lines in ``/etc/hosts`` while a block runs; whatever else the file holds stays."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["host_names"]

_FILE = Path("/etc/hosts")


@contextmanager
def host_names(*names: str, addresses: Sequence[str] = ("127.0.0.1",)) -> Iterator[None]:
    """Let names lead to loopback addresses; skips the test where the file cannot be written."""
    mark = f"# tlsgate tests {os.getpid()} {id(names)}"
    lines = "".join(f"{address} {name} {mark}\n" for name in names for address in addresses)
    try:
        _change(lambda text: text + ("" if text.endswith("\n") or not text else "\n") + lines)
    except OSError as error:
        pytest.skip(f"{_FILE} cannot be written: {error}")
    try:
        yield
    finally:
        _change(lambda text: "".join(line for line in text.splitlines(keepends=True) if not line.rstrip().endswith(mark)))


def _change(change: Callable[[str], str]) -> None:
    # In place: in a container the file is often a mount of its own, which cannot be replaced.
    with _FILE.open("r+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        text = change(file.read())
        file.seek(0)
        file.write(text)
        file.truncate()
