"""Definitions that the REST API wrote are told apart from those of others."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.definitions import classic, make_gateway_config
from tlsgate.definitions.loader import load_definitions
from tlsgate.definitions.origins import LIST_NAME, forget, load_origins, record


def test_a_file_is_the_rest_apis_until_somebody_changes_it(tmp_path: Path) -> None:
    """Its content decides, not its name."""
    (tmp_path / "a.json").write_bytes(b"one")
    assert not load_origins(str(tmp_path)).by_rest("a.json")
    record(str(tmp_path), "a.json", b"one")
    origins = load_origins(str(tmp_path))
    assert origins.by_rest("a.json")
    assert not origins.by_rest("b.json")
    (tmp_path / "a.json").write_bytes(b"one\n")
    assert not load_origins(str(tmp_path)).by_rest("a.json")


def test_a_write_that_broke_off_makes_no_file_trusted(tmp_path: Path) -> None:
    """The list is written first: the file may still be the one before, which was the REST API's as well."""
    (tmp_path / "a.json").write_bytes(b"one")
    for content in (b"one", b"two"):
        record(str(tmp_path), "a.json", content)
    assert load_origins(str(tmp_path)).by_rest("a.json")
    for number in range(20):
        record(str(tmp_path), "a.json", b"%d" % number)
    assert len(json.loads((tmp_path / LIST_NAME).read_text())["a.json"]) == 4


def test_names_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    """And only they."""
    for name in ("a.json", "b.json"):
        record(str(tmp_path), name, b"x")
    forget(str(tmp_path), ["a.json", "c.json"])
    assert list(json.loads((tmp_path / LIST_NAME).read_text())) == ["b.json"]
    forget(str(tmp_path / "none"), ["a.json"])


def test_a_list_that_cannot_be_read_trusts_nobody(tmp_path: Path) -> None:
    """Fail closed, and say so."""
    (tmp_path / "a.json").write_text(json.dumps(classic()))
    (tmp_path / LIST_NAME).write_text("[1]")
    origins = load_origins(str(tmp_path))
    assert not origins.readable
    assert origins.by_rest("a.json")
    assert load_origins(str(tmp_path)).by_rest("missing.json")
    loaded = load_definitions(make_gateway_config(app_path=str(tmp_path)), {})
    assert loaded.apis[0].from_rest
    assert any(problem.file.endswith(LIST_NAME) for problem in loaded.problems)
    record(str(tmp_path), "b.json", b"x")
    assert load_origins(str(tmp_path)).readable
    (tmp_path / LIST_NAME).write_text("{")
    forget(str(tmp_path), ["a"])


def test_definitions_know_where_they_came_from(tmp_path: Path) -> None:
    """Also when the last good version stays because the file cannot be read any more, and when they are refused."""
    content = json.dumps(classic())
    (tmp_path / "a.json").write_text(content)
    config = make_gateway_config(app_path=str(tmp_path))
    assert not load_definitions(config, {}).apis[0].from_rest
    record(str(tmp_path), "a.json", content.encode())
    first = load_definitions(config, {})
    assert first.apis[0].from_rest
    (tmp_path / "a.json").write_text("{")
    kept = load_definitions(config, {}, first.apis)
    assert kept.apis[0].from_rest
    broken = json.dumps({**classic(), "proxy": {"listen_path": "/x/", "target_url": 5}})
    (tmp_path / "a.json").write_text(broken)
    record(str(tmp_path), "a.json", broken.encode())
    refused = load_definitions(config, {})
    assert not refused.apis
    assert [api.from_rest for api in refused.reserved] == [True]
