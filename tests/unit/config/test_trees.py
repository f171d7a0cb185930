"""Files become trees, or one problem that names place and reason and quotes nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsgate.config.trees import is_yaml, load_tree, parse_tree
from tlsgate.errors import ConfigError


def fault(data: bytes, name: str = "f.json") -> str:
    with pytest.raises(ConfigError) as caught:
        parse_tree(data, name)
    (problem,) = caught.value.problems
    assert (problem.file, problem.path, problem.value, problem.severity) == (name, "", "", "error")
    return problem.message


@pytest.mark.parametrize(("name", "yaml"), [("a.yaml", True), ("a.YML", True), ("a.json", False), ("tyk.conf", False), ("yaml", False)])
def test_yaml_is_told_by_extension(name: str, yaml: bool) -> None:
    """Everything else is JSON, tyk.conf too."""
    assert is_yaml(name) is yaml


def test_a_byte_order_mark_is_skipped() -> None:
    """Editors of one system write it."""
    assert parse_tree(b'\xef\xbb\xbf{"a": 1}', "f.json") == {"a": 1}
    assert parse_tree(b"\xef\xbb\xbfa: 1", "f.yaml") == {"a": 1}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b" \n", "the file is empty"),
        (b"[]", "the file holds no object"),
        (b"5", "the file holds no object"),
        (b'{"a": "\xff"}', "not UTF-8 (byte 7)"),
        (b"\xff\xfe{\0}\0", "not UTF-8 (byte 0)"),
        (b'{"a": 1,}', "not valid JSON: "),
        (b'{"a": 1} x', "not valid JSON: extra data at line 1, column 10"),
        (b'{"a": 1, "a": 2}', 'member "a" is given twice in one object'),
        (b'{"secret": "hunter2', "not valid JSON: unterminated string starting at line 1, column 12"),
        (b'{\n "secret": hunter2}', "not valid JSON: expecting value at line 2, column 12"),
        (b"[" * 100_000, "nested deeper than 128 levels"),
    ],
)
def test_bad_json_is_named(data: bytes, reason: str) -> None:
    """With line and column."""
    message = fault(data)
    assert message.startswith(reason)
    assert "hunter2" not in message


@pytest.mark.parametrize(
    "data",
    [b"secret: [hunter2", b"secret: 'hunter2\nx: 1", b"a: b: hunter2", b"\thunter2: x", b"%hunter2", b"a: @hunter2", b"secret: \0hunter2"],
)
def test_bad_yaml_is_named_without_quoting_it(data: bytes) -> None:
    """The parser's own message may repeat what it read."""
    message = fault(data, "f.yaml")
    assert message.startswith("not valid YAML: ")
    assert "hunter2" not in message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """With the reason of the operating system."""
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_tree(str(tmp_path / "none.json"))


def test_files_are_read(tmp_path: Path) -> None:
    """Both syntaxes."""
    (tmp_path / "a.json").write_text('{"a": 1}')
    (tmp_path / "a.yaml").write_text("a: 1")
    assert load_tree(str(tmp_path / "a.json")) == load_tree(str(tmp_path / "a.yaml"), regular=True) == {"a": 1}


def test_a_pipe_among_definitions_is_refused_and_stops_nobody(tmp_path: Path) -> None:
    """Opening it would wait for a writer for ever."""
    os.mkfifo(tmp_path / "a.json")
    with pytest.raises(ConfigError, match="not a regular file"):
        load_tree(str(tmp_path / "a.json"), regular=True)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    """Named like a definition."""
    with pytest.raises(ConfigError, match=r"cannot be read|not a regular file"):
        load_tree(str(tmp_path), regular=True)


def test_size_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal passes, one byte more does not."""
    monkeypatch.setattr("tlsgate.config.trees.MAX_FILE_BYTES", 8)
    (tmp_path / "a.json").write_text('{"a": 1}')
    assert load_tree(str(tmp_path / "a.json")) == {"a": 1}
    (tmp_path / "a.json").write_text('{"a": 1} ')
    with pytest.raises(ConfigError, match="larger than"):
        load_tree(str(tmp_path / "a.json"))


@given(st.binary(max_size=100), st.sampled_from(["f.json", "f.yaml"]))
def test_garbage_gives_a_tree_or_a_config_error(data: bytes, name: str) -> None:
    """Nothing else, ever."""
    try:
        assert isinstance(parse_tree(data, name), dict)
    except ConfigError:
        pass
