"""References inside of texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tlsgate.config.problems import Resolved
from tlsgate.config.references import ReferenceStores, has_reference, read_secret_file

ENVIRON = {"NAME": "value", "EMPTY": "", "QUOTES": 'a"b\\', "TYK_SECRET_TOKEN": "t0ken", "TYK_SECRET_DOC": '{"user": "u", "n": 1}'}
SECRETS = {"db": "D", "db_password": "P", "doc": '{"pin": "123"}', "bad": "{"}


def resolve(value: Any, base_path: str = "") -> tuple[Any, list[tuple[str, str, str]]]:
    reports: list[tuple[str, str, str]] = []
    made = ReferenceStores(ENVIRON, SECRETS, base_path).resolve_tree(value, lambda *report: reports.append(report))
    return made, reports


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("env://NAME", "value"),
        ("before env://NAME", "before value"),
        ("env://QUOTES", 'a"b\\'),
        ("secrets://db", "D"),
        ("secrets://db_password", "P"),
        ("x secrets://db y secrets://db_password", "x D y P"),
        ("$kv{env:token}", "t0ken"),
        ("$kv{env:TOKEN}", "t0ken"),
        ("Bearer $kv{env:token}/$kv{secrets:db}", "Bearer t0ken/D"),
        ("kv://env/token", "t0ken"),
        ("kv://secrets/db", "D"),
        ("kv://env/doc#user", "u"),
        ("$kv{secrets:doc#pin}", "123"),
    ],
)
def test_references_are_replaced(text: str, value: str) -> None:
    """Reference, sections 1.1 and 2.2."""
    made, reports = resolve(text)
    assert made == value and reports == []
    assert isinstance(made, Resolved) and made.reference == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("env://NOBODY", "not set"),
        ("env://EMPTY", "not set, or empty"),
        ("secrets://nothing", "no such entry"),
        ("$kv{env:nothing}", "not set"),
        ("$kv{secrets:nothing}", "no such entry"),
        ("$kv{vault:x}", "no such store"),
        ("kv://consul/x", "no such store"),
        ("kv://env/doc#n", "no such field"),
        ("kv://env/doc#nothing", "no such field"),
        ("kv://secrets/bad#x", "not JSON"),
        ("consul://x", "not supported"),
        ("vault://x", "not supported"),
        ("file://x", "base_path is not set"),
        ("kv://file/x", "base_path is not set"),
    ],
)
def test_what_cannot_be_resolved_stays_as_written_and_is_reported(text: str, reason: str) -> None:
    """As in Tyk, which does not report it."""
    made, ((path, message, written),) = resolve({"a": [text]})
    assert made == {"a": [text]}
    assert (path, written) == ("a[0]", text) and reason in message


@pytest.mark.parametrize("value", ["https://host/", "plain", "", 5, None, True, 1.5, "environment", "kv", "-----BEGIN CERTIFICATE-----"])
def test_everything_else_is_left_alone(value: object) -> None:
    """An address is no reference."""
    assert resolve(value) == (value, [])
    assert not isinstance(resolve(value)[0], Resolved)


def test_names_of_members_are_replaced_too() -> None:
    """Tyk replaces in the text of the file."""
    made, _ = resolve({"certificates": {"env://NAME": "env://NAME", "other": 1}})
    assert made == {"certificates": {"value": "value", "other": 1}}


def test_the_original_tree_stays_as_it_is() -> None:
    """It is what the round trip gives back."""
    tree = {"a": ["env://NAME", {"b": "secrets://db"}]}
    assert resolve(tree)[0] == {"a": ["value", {"b": "D"}]}
    assert tree == {"a": ["env://NAME", {"b": "secrets://db"}]}


def test_files_below_the_base_path_are_read(tmp_path: Path) -> None:
    """Without the line end that editors add."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a").write_bytes(b"text\r\n")
    (tmp_path / "b").write_text("one\n\n")
    assert resolve("file://sub/a", str(tmp_path))[0] == "text"
    assert resolve("kv://file/b", str(tmp_path))[0] == "one\n"
    assert resolve("$kv{file:sub/a}!", str(tmp_path))[0] == "text!"


def test_files_outside_of_the_base_path_are_refused(tmp_path: Path) -> None:
    """By name, by dots, by symbolic link."""
    base = tmp_path / "base"
    base.mkdir()
    (tmp_path / "secret").write_text("x")
    (base / "link").symlink_to(tmp_path / "secret")
    for name in (str(tmp_path / "secret"), "../secret", "a/../../secret", "", "link", "a\0b"):
        made, ((_, message, _),) = resolve(f"file://{name}", str(base))
        assert made == f"file://{name}", message
        assert "below" in message or "outside" in message


def test_files_that_cannot_be_read_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing, no text, too large."""
    (tmp_path / "binary").write_bytes(b"\xff")
    (tmp_path / "large").write_bytes(b"123456789")
    monkeypatch.setattr("tlsgate.config.references.MAX_FILE_BYTES", 8)
    for name, reason in (("none", "No such file"), ("binary", "not UTF-8"), ("large", "too large"), (".", "directory")):
        assert reason in resolve(f"file://{name}", str(tmp_path))[1][0][1]


def test_a_secret_of_a_file_is_empty_where_there_is_none(tmp_path: Path) -> None:
    """As ``$secret_file`` wants it: below the base path, or nothing."""
    base = tmp_path / "base"
    base.mkdir()
    (base / "a").write_text("s3cret\n")
    (tmp_path / "b").write_text("x")
    assert read_secret_file("a", str(base)) == "s3cret"
    for name in ("../b", str(tmp_path / "b"), "none", ""):
        assert read_secret_file(name, str(base)) == ""
    assert read_secret_file("a", "") == ""


def test_references_in_a_text_are_seen() -> None:
    """Wherever they stand."""
    assert has_reference("env://A") and has_reference("x $kv{a:b}") and has_reference("a vault://b")
    assert not has_reference("https://a $kv") and not has_reference("$secret_env.A")
