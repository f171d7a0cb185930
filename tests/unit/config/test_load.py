"""File and environment become one configuration with all of its problems."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tlsgate.config.load import build_stores, load_config, parse_config
from tlsgate.errors import ConfigError

SECRET = "a-long-random-text-of-the-tests"


def write(path: Path, tree: Any) -> str:
    path.write_text(tree if isinstance(tree, str) else json.dumps(tree))
    return str(path)


def test_json_and_yaml_give_the_same(tmp_path: Path) -> None:
    """By extension."""
    one = load_config(write(tmp_path / "tyk.conf", {"secret": SECRET, "listen_port": 1, "storage": {"type": "memory"}}), {})
    other = load_config(write(tmp_path / "tyk.yaml", f"secret: {SECRET}\nlisten_port: 1\nstorage:\n  type: memory\n"), {})
    assert one.problems == other.problems == []
    assert (one.config.listen_port, one.config.storage.type) == (other.config.listen_port, other.config.storage.type) == (1, "memory")


def test_without_a_file_the_environment_decides(tmp_path: Path) -> None:
    """By argument, or because the environment says so: then the file is not even opened."""
    environ = {"TYK_GW_LISTENPORT": "7", "TYK_GW_SECRET": SECRET}
    assert load_config(None, environ).config.listen_port == 7
    assert load_config(str(tmp_path / "none"), {**environ, "TYK_GW_OMITCONFIGFILE": "true"}).config.listen_port == 7


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 1, "a": 2}'])
def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path, text: str) -> None:
    """There is nothing to look at."""
    with pytest.raises(ConfigError):
        load_config(write(tmp_path / "tyk.conf", text), {})
    with pytest.raises(ConfigError):
        load_config(str(tmp_path / "none"), {})


def test_errors_fail_the_configuration_and_warnings_do_not() -> None:
    """Who serves with it looks at one flag."""
    assert not parse_config({"secret": SECRET, "bogus": 1}, "f", {}).failed
    assert parse_config({"secret": SECRET, "listen_port": "x"}, "f", {}).failed
    assert parse_config({"secret": SECRET}, "f", {"TYK_GW_LISTENPORT": "x"}).failed


def test_problems_name_where_a_value_came_from() -> None:
    """A range is only checked after file and environment have been joined."""
    loaded = parse_config({"secret": SECRET, "control_api_port": 70000}, "tyk.conf", {"TYK_GW_LISTENPORT": "70000", "TYK_GW_NOTHING": "1"})
    assert [(problem.file, problem.path) for problem in loaded.problems] == [
        ("environment", "TYK_GW_NOTHING"),
        ("tyk.conf", "listen_port (from TYK_GW_LISTENPORT)"),
        ("tyk.conf", "control_api_port"),
    ]


def test_the_environment_wins_over_the_file() -> None:
    """And the raw tree shows the result."""
    config = parse_config({"secret": SECRET, "Listen_Port": 1}, "f", {"TYK_GW_LISTENPORT": "2"}).config
    assert config.listen_port == 2
    assert config.raw == {"secret": SECRET, "Listen_Port": 2}


def test_references_are_resolved_everywhere(tmp_path: Path) -> None:
    """In the secret, in lists, below tlsgate; the raw tree keeps them as written."""
    (tmp_path / "ca").write_text("-----BEGIN CERTIFICATE-----\n")
    tree = {
        "secret": "env://S",
        "node_secret": "$kv{env:node}",
        "secrets": {"one": "env://ONE"},
        "kv": {"file": {"base_path": str(tmp_path)}},
        "http_server_options": {"ssl_certificates": ["secrets://one"]},
        "tlsgate": {"upstream_ca": ["file://ca"]},
    }
    environ = {"S": SECRET, "TYK_SECRET_NODE": "n", "ONE": "/one.pem"}
    config, problems = parse_config(tree, "f", environ)
    assert problems == []
    assert (config.control.secret, config.node_secret, config.secrets) == (SECRET, "n", {"one": "/one.pem"})
    assert config.http.ssl_certificates == ("/one.pem",)
    assert config.own.upstream_ca == ("-----BEGIN CERTIFICATE-----",)
    assert config.raw["secret"] == "env://S"


def test_references_that_lead_nowhere_are_errors() -> None:
    """An unresolved secret would be a well-known one: its own text."""
    loaded = parse_config({"secret": "env://NOBODY", "storage": {"password": "vault://x"}}, "f", {})
    assert [str(problem) for problem in loaded.problems if problem.severity == "error"] == [
        'error: f: secret: the reference cannot be resolved: the environment variable is not set, or empty (value: "env://NOBODY")',
        'error: f: storage.password: the reference cannot be resolved: this store is not supported (value: "vault://x")',
    ]


@pytest.mark.parametrize("text", ["env://", "hunter2-env://x", "file://y hunter2", "hunter2$kv{env:Z}"])
def test_text_around_a_reference_is_never_shown(text: str) -> None:
    """A password may look like a reference: only the whole name of one is shown."""
    loaded = parse_config({"secret": text}, "f", {})
    assert [problem.value for problem in loaded.problems if problem.severity == "error"] == [""]


def test_inline_definitions_keep_their_references() -> None:
    """They are resolved when they are loaded; the round trip gives back what was written."""
    tree = {"secret": SECRET, "TLSGATE": {"API_definitions": [{"api_id": "env://ID"}], "development": False}}
    config, problems = parse_config(tree, "f", {"ID": "x"})
    assert problems == []
    assert config.own.api_definitions == ({"api_id": "env://ID"},)


def test_values_from_outside_are_never_shown() -> None:
    """A reference in a field that is no secret may lead to one."""
    tree = {
        "secret": "env://S",
        "hostname": "env://P",
        "listen_port": "env://P",
        "http_server_options": {"ssl_ciphers": ["env://P"]},
        "storage": {"type": "env://P"},
        "tlsgate": {"trusted_proxies": ["env://P"], "underscore_headers": "env://P"},
        "error_overrides": {"401": [{"match": {"message_pattern": "env://P"}}]},
        "override_messages": {"env://P": {}},
        "security": {"pinned_public_keys": {"env://P": 5}},
    }
    loaded = parse_config(tree, "f", {"S": "hunter2", "P": "hunter2 ("})
    assert len([problem for problem in loaded.problems if problem.severity == "error"]) == 8
    assert not [problem for problem in loaded.problems if "hunter2" in str(problem).lower()]
    assert any("from env://P" in str(problem) for problem in loaded.problems)


def test_stores_for_definitions_know_secrets_and_environment() -> None:
    """As resolved."""
    config = parse_config({"secret": SECRET, "secrets": {"a": "env://A"}}, "f", {"A": "x"}).config
    made = build_stores(config, {"B": "y"}).resolve_tree(["secrets://a", "env://B"], lambda *_: None)
    assert made == ["x", "y"]


def test_odd_shapes_of_secrets_are_named_once() -> None:
    """The look at them before everything else says nothing."""
    loaded = parse_config({"secret": SECRET, "secrets": [1], "kv": 5}, "f", {})
    assert [problem.path for problem in loaded.problems] == ["secrets", "kv"]
