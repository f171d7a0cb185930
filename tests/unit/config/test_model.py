"""Tests of `tlsgate.config.model`: the defaults that Tyk's users and our own documents rely on."""

from __future__ import annotations

import msgspec
import pytest

from tlsgate.config.model import ConnectionLimits, GatewayConfig


def test_defaults_are_tyks_where_tyk_has_the_field() -> None:
    """Reference 1.3, and our own where they are safer (decisions 4.2)."""
    config = GatewayConfig()
    assert (config.listen_port, config.control.port, config.proxy.default_timeout_s) == (8080, 0, 30.0)
    assert (config.http.read_timeout_s, config.http.write_timeout_s, config.http.max_request_body_size) == (120.0, 120.0, 0)
    assert (config.http.min_version, config.http.max_version) == (771, 772)
    assert config.http.enable_path_prefix_matching and config.http.enable_path_suffix_matching
    assert (config.control.health_endpoint, config.control.readiness_endpoint) == ("hello", "ready")
    assert config.graceful_shutdown_timeout_s == 30.0
    assert config.storage.type == "sqlite"
    assert not config.own.development


def test_limits_are_those_of_the_reliability_reference() -> None:
    """Section 4: handshake and head 10 s, 16 KiB and 100 fields, 60 s idle, 500 B/s, 5 s to connect."""
    limits = ConnectionLimits()
    assert (limits.handshake_timeout_s, limits.head_timeout_s, limits.idle_timeout_s) == (10.0, 10.0, 60.0)
    assert (limits.max_head_bytes, limits.max_fields, limits.body_min_rate) == (16384, 100, 500)
    assert limits.upstream_connect_timeout_s == 5.0
    assert limits.backlog >= 1024


def test_records_are_frozen() -> None:
    with pytest.raises(AttributeError):
        GatewayConfig().listen_port = 1  # type: ignore[misc]
    assert msgspec.structs.replace(GatewayConfig(), listen_port=1).listen_port == 1
