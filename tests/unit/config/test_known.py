"""The list of known fields of tyk.conf."""

from __future__ import annotations

import pytest

from tlsgate.config.known import CONFIG
from tlsgate.config.problems import Problems
from tlsgate.config.schema import Leaf, ListOf, MapOf, ObjectOf, Schema, check_object

# as Tyk ships it, and as its documentation shows it
SAMPLE = {
    "listen_port": 8080,
    "secret": "x",
    "template_path": "/opt/tyk-gateway/templates",
    "tyk_js_path": "/opt/tyk-gateway/js/tyk.js",
    "middleware_path": "/opt/tyk-gateway/middleware",
    "use_db_app_configs": False,
    "app_path": "/opt/tyk-gateway/apps/",
    "storage": {
        "type": "redis",
        "host": "redis",
        "port": 6379,
        "database": 0,
        "optimisation_max_idle": 2000,
        "optimisation_max_active": 4000,
    },
    "enable_analytics": False,
    "analytics_config": {"type": "csv", "csv_dir": "/tmp", "mongo_url": "", "purge_delay": -1, "ignored_ips": [], "enable_geo_ip": False},
    "health_check": {"enable_health_checks": False, "health_check_value_timeouts": 60},
    "enable_non_transactional_rate_limiter": True,
    "policies": {"policy_source": "file", "policy_record_name": "/opt/tyk-gateway/policies/policies.json"},
    "hash_keys": True,
    "hash_key_function": "murmur64",
    "suppress_redis_signal_reload": False,
    "force_global_session_lifetime": False,
    "max_idle_connections_per_host": 500,
    "http_server_options": {"enable_websockets": True, "enable_strict_routes": True, "xff_depth": 1, "flush_interval": 1},
    "coprocess_options": {"enable_coprocess": True, "coprocess_grpc_server": ""},
    "uptime_tests": {"disable": False, "config": {"enable_uptime_analytics": False, "failure_trigger_sample_size": 3, "time_wait": 300}},
    "dns_cache": {"enabled": False, "ttl": -1, "multiple_ips_handle_strategy": "random"},
    "liveness_check": {"check_duration": 10_000_000_000},
    "security": {"private_certificate_encoding_secret": "x", "certificate_expiry_monitor": {"warning_threshold_days": 30}},
    "local_session_cache": {"cached_session_timeout": 10, "cached_session_eviction": 5},
    "slave_options": {"use_rpc": False, "rpc_key": "x", "api_key": "y", "dns_monitor": {"enabled": True}},
    "oas_config": {"validate_examples": False},
    "opentelemetry": {"enabled": True, "exporter": "grpc", "tls": {"enable": True}, "sampling": {"type": "AlwaysOn"}, "metrics": {}},
    "external_services": {"proxy": {"use_environment": True}, "oauth": {"mtls": {"enabled": False}}},
    "kv": {"consul": {"address": "x", "http_auth": {"username": "u"}}, "vault": {"token": "t"}, "file": {"base_path": "/run"}},
    "event_handlers": {"events": {"QuotaExceeded": [{"handler_name": "eh_log_handler"}]}},
    "newrelic": {"app_name": "a"},
    "jwks": {"cache": {"timeout": 240}},
    "labs": {"anything": {"goes": 1}},
    "access_logs": {"enabled": True, "template": ["path"]},
}


def test_a_configuration_of_tyk_draws_no_warning() -> None:
    """Fields without effect here are known all the same."""
    problems = Problems("tyk.conf")
    check_object(SAMPLE, CONFIG, problems, "")
    assert problems.all() == []


@pytest.mark.parametrize(
    "path",
    [
        "secret",
        "node_secret",
        "storage.password",
        "storage.sentinel_password",
        "cache_storage.password",
        "security.private_certificate_encoding_secret",
        "slave_options.api_key",
        "kv.vault.token",
        "kv.consul.token",
        "kv.consul.http_auth.password",
        "newrelic.license_key",
        "secrets",
        "opentelemetry.headers",
    ],
)
def test_secrets_are_marked(path: str) -> None:
    """No message ever shows their values."""
    schema: Schema = CONFIG
    for name in path.split("."):
        assert isinstance(schema, ObjectOf)
        schema = schema.members[name]
    while isinstance(schema, (ListOf, MapOf)):
        schema = schema.item
    assert isinstance(schema, Leaf) and schema.secret
