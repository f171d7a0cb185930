"""``storage`` of tyk.conf, and the secret that its messages need."""

from __future__ import annotations

from typing import Any

import pytest

from tlsgate.config.load import LoadedConfig, parse_config

SECRET = "a-long-random-text-of-the-tests"


def load(storage: dict[str, Any], **members: Any) -> LoadedConfig:
    """A configuration with a good secret for everything else."""
    return parse_config({"secret": SECRET, "node_secret": "n", "storage": storage, **members}, "tyk.conf", {})


def errors(loaded: LoadedConfig) -> list[str]:
    """Paths of what stops the start."""
    return [problem.path for problem in loaded.problems if problem.severity == "error"]


def test_the_kinds() -> None:
    """SQLite beside the process, if nothing is said."""
    assert (load({}).config.storage.type, load({}).config.storage.path) == ("sqlite", "tlsgate.db")
    for kind in ("sqlite", "memory", "redis"):
        loaded = load({"type": kind})
        assert loaded.config.storage.type == kind and not errors(loaded)
    assert errors(load({"type": "paper"})) == ["storage.type"]


def test_the_fields_of_redis() -> None:
    """Tyk's names; versions of TLS as texts."""
    found = load(
        {
            "type": "redis",
            "addrs": ["a.test:1", "[::1]:2"],
            "master_name": "m",
            "username": "u",
            "password": "p",
            "sentinel_password": "s",
            "database": 3,
            "use_ssl": True,
            "tls_min_version": "1.3",
            "key_prefix": "x-",
            "timeout": 5,
        }
    ).config.storage
    assert found.addresses == (("a.test", 1), ("::1", 2))
    assert (found.master_name, found.username, found.password, found.sentinel_password, found.database) == ("m", "u", "p", "s", 3)
    assert (found.use_ssl, found.min_version, found.max_version) == (True, 772, 772)
    assert (found.key_prefix, found.timeout_s, found.feed_secret) == ("x-", 5.0, "n")
    assert load({"type": "redis", "hosts": {"a.test": "7"}}).config.storage.addresses == (("a.test", 7),)


@pytest.mark.parametrize(
    ("storage", "path"),
    [
        ({"enable_cluster": True}, "storage.enable_cluster"),
        ({"addrs": ["a:1", "b:2"]}, "storage.addrs"),
        ({"hosts": {"a": "1", "b": "2"}}, "storage.hosts"),
        ({"addrs": ["a"]}, "storage.addrs[0]"),
        ({"addrs": ["a:0"]}, "storage.addrs[0]"),
        ({"addrs": ["a:65536"]}, "storage.addrs[0]"),
        ({"cert_file": "c.pem"}, "storage.cert_file"),
        ({"tls_min_version": "2"}, "storage.tls_min_version"),
        ({"tls_min_version": "1.3", "tls_max_version": "1.2"}, "storage.tls_min_version"),
    ],
)
def test_what_cannot_be_done_yet_stops_the_start(storage: dict[str, Any], path: str) -> None:
    """Or what cannot be meant."""
    assert errors(load({"type": "redis", **storage})) == [path]


def test_old_versions_of_tls_are_raised() -> None:
    """Decisions 1.11."""
    loaded = load({"type": "redis", "use_ssl": True, "tls_min_version": "1.0", "ssl_insecure_skip_verify": True})
    assert not errors(loaded) and loaded.config.storage.min_version == 771
    warned = {problem.path for problem in loaded.problems}
    assert {"storage.tls_min_version", "storage.ssl_insecure_skip_verify"} <= warned


def test_redis_needs_a_node_secret() -> None:
    """Else whoever can write there speaks for gateways; development mode may do without, with a warning."""
    loaded = load({"type": "redis"}, node_secret="")
    assert errors(loaded) == ["node_secret"]
    loaded = load({"type": "redis"}, node_secret="", tlsgate={"development": True})
    assert not errors(loaded) and "node_secret" in {problem.path for problem in loaded.problems}
    for kind in ("sqlite", "memory"):
        assert not errors(load({"type": kind}, node_secret=""))
