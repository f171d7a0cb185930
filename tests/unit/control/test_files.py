"""Tests of `tlsgate.control.files`: a reader sees the old or the new content whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tlsgate.control.files import remove_file, write_file


def test_a_file_is_written_replaced_and_removed(tmp_path: Path) -> None:
    """No other file stays behind; readable for the group, not for the world."""
    path = tmp_path / "one.json"
    write_file(str(path), b"old")
    write_file(str(path), b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["one.json"]
    remove_file(str(path))
    assert os.listdir(tmp_path) == []
    with pytest.raises(FileNotFoundError):
        remove_file(str(path))


def test_what_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk, for instance: nothing half written, no temporary file."""
    path = tmp_path / "one.json"
    write_file(str(path), b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_file(str(path), b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["one.json"]


def test_a_link_is_replaced_not_followed(tmp_path: Path) -> None:
    """Whoever can plant a link in the folder cannot make us write elsewhere."""
    target = tmp_path / "target"
    target.write_text("theirs")
    link = tmp_path / "one.json"
    link.symlink_to(target)
    write_file(str(link), b"ours")
    assert (target.read_text(), link.read_text(), link.is_symlink()) == ("theirs", "ours", False)
