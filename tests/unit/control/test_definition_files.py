"""Tests of `tlsgate.control.definition_files`: whole or not at all, never outside of the folder."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tlsgate.control.definition_files import DefinitionFiles, is_file_id, render
from tlsgate.definitions import origins
from tlsgate.definitions.origins import LIST_NAME, load_origins


@pytest.mark.parametrize("api_id", ["a", "A-1_b.c~d", "é", "x" * 200, "user@host", "a,b", "apis", "x-oas-y"])
def test_ids_that_can_name_a_file(api_id: str) -> None:
    assert is_file_id(api_id)


@pytest.mark.parametrize("api_id", ["", ".", "..", ".a", "a/b", "a\\b", "a b", "x" * 201, "a-oas", "a-mcp", "oas", "a\x7f", "\ud800"])
def test_ids_that_cannot(api_id: str) -> None:
    assert not is_file_id(api_id)


@pytest.mark.parametrize("name", ["", "../x", "a/b", "/etc/passwd", ".hidden"])
def test_names_stay_in_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not a file name"):
        DefinitionFiles(str(tmp_path)).path_of(name)


def test_files_are_written_and_read(tmp_path: Path) -> None:
    """Readable by nobody else; what cannot be read is nothing."""
    files = DefinitionFiles(str(tmp_path))
    files.write({"a.json": render({"é": [1]}), "b.json": b"{"})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "é": [\n    1\n  ]\n}\n'
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o600
    assert files.read("a.json") == {"é": [1]}
    assert files.read("b.json") is None
    assert files.read("c.json") is None
    assert (files.exists("b.json"), files.exists("c.json")) == (True, False)


def test_the_mode_of_a_file_stays(tmp_path: Path) -> None:
    """Whoever may read the definition may read the next one; nobody gets to run it."""
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / "a.json").chmod(0o755)
    DefinitionFiles(str(tmp_path)).write({"a.json": b"{}"})
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o644


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    """A definition written over a symbolic link leaves what the link names alone."""
    outside = tmp_path / "outside"
    outside.write_text("precious")
    folder = tmp_path / "apps"
    folder.mkdir()
    (folder / "a.json").symlink_to(outside)
    DefinitionFiles(str(folder)).write({"a.json": b"{}"})
    assert outside.read_text() == "precious"
    assert not (folder / "a.json").is_symlink()


def test_a_fault_leaves_everything_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full while the second file is written: the first is not renamed, nothing is left over."""
    files = DefinitionFiles(str(tmp_path))
    files.write({"a.json": b"old", "b.json": b"old"})
    real, calls = os.fsync, []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.write({"a.json": b"new", "b.json": b"new"}, remove=["a.json"])
    assert {path.name: path.read_text() for path in tmp_path.iterdir() if path.name != LIST_NAME} == {"a.json": "old", "b.json": "old"}


def test_removal_tells_whether_the_first_was_there(tmp_path: Path) -> None:
    files = DefinitionFiles(str(tmp_path))
    files.write({"b.json": b"{}"})
    assert files.remove(["a.json", "b.json"]) is False
    assert list(tmp_path.iterdir()) == []
    assert files.remove(()) is False


def test_without_a_folder_nothing_is_written() -> None:
    files = DefinitionFiles("")
    with pytest.raises(FileNotFoundError):
        files.write({"a.json": b"{}"})
    assert not files.exists("a.json")
    assert files.base_of("a.json") == ""


@pytest.mark.parametrize(
    ("source", "base"),
    [("/apps/a.json", "a"), ("/apps/a-oas.json", "a"), ("/apps//a.yaml", "a"), ("/apps/a.txt", ""), ("/other/a.json", ""), ("conf[0]", "")],
)
def test_names_without_endings(source: str, base: str) -> None:
    assert DefinitionFiles("/apps/").base_of(source) == base


def test_what_is_written_here_is_known_as_such(tmp_path: Path) -> None:
    """References in it are confined; a person's edit ends that, and removed names are forgotten."""
    files = DefinitionFiles(str(tmp_path))
    files.write({"a.json": b"{}", "a-oas.json": b"[]"})
    assert all(load_origins(str(tmp_path)).by_rest(name) for name in ("a.json", "a-oas.json"))
    (tmp_path / "a.json").write_bytes(b"{ }")
    assert not load_origins(str(tmp_path)).by_rest("a.json")
    files.write({"b.json": b"{}"}, remove=["a-oas.json"])
    files.remove(["a.json"])
    assert list(json.loads((tmp_path / LIST_NAME).read_text())) == ["b.json"]


def test_what_cannot_be_noted_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be taken for a file of somebody who may name any file of the host."""

    def fail(*_: object) -> None:
        raise OSError(28, "no space")

    monkeypatch.setattr(origins, "record", fail)
    with pytest.raises(OSError):
        DefinitionFiles(str(tmp_path)).write({"a.json": b"{}"})
    assert list(tmp_path.iterdir()) == []
