"""Every field of tyk.conf that is known, with its type.

Knows names and types; must not know defaults or meanings. A field of Tyk that has no effect here yet is listed all the same: a tyk.conf
that works there must not draw warnings here. Source: Tyk documentation, "Gateway configuration options".
"""

from __future__ import annotations

from tlsgate.config.known_parts import (
    ERROR_OVERRIDES,
    EVENT_HANDLERS,
    HTTP_SERVER,
    OWN,
    SECURITY,
    SERVICE,
    SERVICE_PROXY,
    STORAGE,
    TELEMETRY,
    WEBHOOK,
)
from tlsgate.config.schema import (
    ANY,
    FLAG,
    FREE,
    INTEGER,
    NANOSECONDS,
    NUMBER,
    SECRET,
    SECRETS,
    TEXT,
    TEXTS,
    ListOf,
    list_of,
    map_of,
    object_of,
)

__all__ = ["CONFIG"]

CONFIG = object_of(
    {
        # listeners and identity
        "hostname": TEXT,
        "listen_address": TEXT,
        "listen_port": INTEGER,
        "control_api_hostname": TEXT,
        "control_api_port": INTEGER,
        "secret": SECRET,
        "node_secret": SECRET,
        "pid_file_location": TEXT,
        "http_server_options": HTTP_SERVER,
        "security": SECURITY,
        "disable_ports_whitelist": FLAG,
        "ports_whitelist": map_of({"ranges": list_of({"from": INTEGER, "to": INTEGER}), "ports": ListOf(INTEGER)}),
        "enable_custom_domains": FLAG,
        "version_header": TEXT,
        "hide_generator_header": FLAG,
        "health_check_endpoint_name": TEXT,
        "readiness_check_endpoint_name": TEXT,
        "template_path": TEXT,
        "override_messages": map_of({"code": INTEGER, "message": TEXT}),
        "error_overrides": ERROR_OVERRIDES,
        "track_404_logs": FLAG,
        "ignore_endpoint_case": FLAG,
        "ignore_canonical_mime_header_key": FLAG,
        "allow_insecure_configs": FLAG,
        "public_key_path": TEXT,
        "allow_remote_config": FLAG,
        "graceful_shutdown_timeout_duration": INTEGER,
        "secrets": SECRETS,
        "kv": object_of(
            {
                "file": object_of({"base_path": TEXT}),
                "consul": object_of(
                    {
                        "address": TEXT,
                        "scheme": TEXT,
                        "datacenter": TEXT,
                        "timeout": NANOSECONDS,
                        "http_auth": object_of({"username": TEXT, "password": SECRET}),
                        "wait_time": NANOSECONDS,
                        "token": SECRET,
                        "tls_config": FREE,
                    }
                ),
                "vault": object_of(
                    {
                        "address": TEXT,
                        "agent_address": TEXT,
                        "max_retries": INTEGER,
                        "timeout": NANOSECONDS,
                        "token": SECRET,
                        "kv_version": INTEGER,
                    }
                ),
                "stores": FREE,
                "cache": FREE,
            }
        ),
        # definitions and policies
        "app_path": TEXT,
        "policies": object_of(
            {
                "policy_source": TEXT,
                "policy_connection_string": TEXT,
                "policy_record_name": TEXT,
                "allow_explicit_policy_id": FLAG,
                "policy_path": TEXT,
            }
        ),
        "allow_unsafe_policy_ids": FLAG,
        "oas_config": object_of({"validate_examples": FLAG, "validate_schema_defaults": FLAG}),
        "use_db_app_configs": FLAG,
        "db_app_conf_options": object_of(
            {
                "connection_string": TEXT,
                "connection_timeout": INTEGER,
                "node_is_segmented": FLAG,
                "tags": TEXTS,
            }
        ),
        "disable_dashboard_zeroconf": FLAG,
        "management_node": FLAG,
        "cloud": FLAG,
        "reload_wait_time": INTEGER,
        "reload_interval": INTEGER,
        "suppress_redis_signal_reload": FLAG,
        "resource_sync": object_of({"retry_attempts": INTEGER, "interval": INTEGER}),
        "enable_config_inspection": FLAG,
        "slave_options": object_of(
            {
                "use_rpc": FLAG,
                "use_ssl": FLAG,
                "ssl_insecure_skip_verify": FLAG,
                "connection_string": TEXT,
                "rpc_key": SECRET,
                "api_key": SECRET,
                "enable_rpc_cache": FLAG,
                "bind_to_slugs": FLAG,
                "disable_keyspace_sync": FLAG,
                "group_id": TEXT,
                "call_timeout": INTEGER,
                "ping_timeout": INTEGER,
                "rpc_pool_size": INTEGER,
                "key_space_sync_interval": NUMBER,
                "rpc_cert_cache_expiration": NUMBER,
                "rpc_global_cache_expiration": NUMBER,
                "synchroniser_enabled": FLAG,
                "dns_monitor": FREE,
                "load_keys_by_hash": FLAG,
                "sync_used_certs_only": FLAG,
            }
        ),
        # store, keys, sessions
        "storage": object_of({**STORAGE, "path": TEXT, "key_prefix": TEXT}),
        "cache_storage": object_of(STORAGE),
        "enable_separate_cache_store": FLAG,
        "enable_separate_analytics_store": FLAG,
        "analytics_storage": object_of(STORAGE),
        "hash_keys": FLAG,
        "hash_key_function": TEXT,
        "hash_key_function_fallback": TEXTS,
        "basic_auth_hash_key_function": TEXT,
        "enable_hashed_keys_listing": FLAG,
        "min_token_length": INTEGER,
        "allow_master_keys": FLAG,
        "enable_api_segregation": FLAG,
        "enable_key_logging": FLAG,
        "disable_key_actions_by_username": FLAG,
        "global_session_lifetime": INTEGER,
        "force_global_session_lifetime": FLAG,
        "session_lifetime_respects_key_expiration": FLAG,
        "session_update_pool_size": INTEGER,
        "session_update_buffer_size": INTEGER,
        "optimisations_use_async_session_write": FLAG,
        "suppress_default_org_store": FLAG,
        "legacy_enable_allowance_countdown": FLAG,
        "local_session_cache": object_of(
            {
                "disable_cached_session_state": FLAG,
                "cached_session_timeout": INTEGER,
                "cached_session_eviction": INTEGER,
            }
        ),
        "auth_override": object_of(
            {
                "force_auth_provider": FLAG,
                "auth_provider": object_of({"name": TEXT, "storage_engine": TEXT, "meta": FREE}),
                "force_session_provider": FLAG,
                "session_provider": object_of({"name": TEXT, "storage_engine": TEXT, "meta": FREE}),
            }
        ),
        "enforce_org_data_age": FLAG,
        "enforce_org_data_detail_logging": FLAG,
        "enforce_org_quotas": FLAG,
        "experimental_process_org_off_thread": FLAG,
        "oauth_refresh_token_expire": INTEGER,
        "oauth_token_expire": INTEGER,
        "oauth_token_expired_retain_period": INTEGER,
        "oauth_redirect_uri_separator": TEXT,
        "oauth_error_status_code": INTEGER,
        "jwks": object_of({"cache": object_of({"timeout": INTEGER})}),
        "jwt_ssl_insecure_skip_verify": FLAG,
        # limits
        "enable_non_transactional_rate_limiter": FLAG,
        "enable_sentinel_rate_limiter": FLAG,
        "enable_redis_rolling_limiter": FLAG,
        "enable_fixed_window_rate_limiter": FLAG,
        "enable_rate_limit_smoothing": FLAG,
        "drl_notification_frequency": INTEGER,
        "drl_threshold": NUMBER,
        "drl_enable_sentinel_rate_limiter": FLAG,
        "rate_limit_response_headers": TEXT,
        "rate_limit": FREE,
        "monitor": object_of(
            {
                "enable_trigger_monitors": FLAG,
                "configuration": WEBHOOK,
                "global_trigger_limit": NUMBER,
                "monitor_user_keys": FLAG,
                "monitor_org_keys": FLAG,
            }
        ),
        # upstreams
        "max_idle_connections": INTEGER,
        "max_idle_connections_per_host": INTEGER,
        "max_conn_time": INTEGER,
        "close_idle_connections": FLAG,
        "close_connections": FLAG,
        "service_discovery": object_of({"default_cache_timeout": INTEGER}),
        "proxy_ssl_insecure_skip_verify": FLAG,
        "proxy_enable_http2": FLAG,
        "proxy_ssl_min_version": INTEGER,
        "proxy_ssl_max_version": INTEGER,
        "proxy_ssl_ciphers": TEXTS,
        "proxy_default_timeout": NUMBER,
        "proxy_ssl_disable_renegotiation": FLAG,
        "proxy_close_connections": FLAG,
        "ssl_force_common_name_check": FLAG,
        "dns_cache": object_of({"enabled": FLAG, "ttl": INTEGER, "multiple_ips_handle_strategy": TEXT}),
        "external_services": object_of(
            {
                "proxy": SERVICE_PROXY,
                **dict.fromkeys(("global", "oauth", "storage", "webhooks", "health", "discovery", "analytics"), SERVICE),
            }
        ),
        "uptime_tests": object_of(
            {
                "disable": FLAG,
                "poller_group": TEXT,
                "config": object_of(
                    {
                        "failure_trigger_sample_size": INTEGER,
                        "time_wait": INTEGER,
                        "checker_pool_size": INTEGER,
                        "enable_uptime_analytics": FLAG,
                    }
                ),
            }
        ),
        "health_check": object_of({"enable_health_checks": FLAG, "health_check_value_timeouts": INTEGER}),
        "liveness_check": object_of({"check_duration": NANOSECONDS}),
        # plugins
        "enable_bundle_downloader": FLAG,
        "bundle_base_url": TEXT,
        "bundle_insecure_skip_verify": FLAG,
        "skip_verify_bundle_signature": FLAG,
        "skip_verify_existing_plugin_bundle": FLAG,
        "enable_jsvm": FLAG,
        "jsvm_timeout": INTEGER,
        "disable_virtual_path_blobs": FLAG,
        "tyk_js_path": TEXT,
        "middleware_path": TEXT,
        "coprocess_options": object_of(
            {
                "enable_coprocess": FLAG,
                "coprocess_grpc_server": TEXT,
                "grpc_recv_max_size": INTEGER,
                "grpc_send_max_size": INTEGER,
                "grpc_authority": TEXT,
                "grpc_round_robin_load_balancing": FLAG,
                "python_path_prefix": TEXT,
                "python_version": TEXT,
            }
        ),
        "streaming": FREE,
        "labs": FREE,
        "disable_regexp_cache": FLAG,
        "regexp_cache_expire": INTEGER,
        # records, logs, traces
        "enable_analytics": FLAG,
        "analytics_config": object_of(
            {
                "type": TEXT,
                "ignored_ips": TEXTS,
                "enable_detailed_recording": FLAG,
                "enable_geo_ip": FLAG,
                "geo_ip_db_path": TEXT,
                "normalise_urls": object_of(
                    {
                        "enabled": FLAG,
                        "normalise_uuids": FLAG,
                        "normalise_ulids": FLAG,
                        "normalise_numbers": FLAG,
                        "custom_patterns": TEXTS,
                    }
                ),
                "pool_size": INTEGER,
                "records_buffer_size": INTEGER,
                "storage_expiration_time": INTEGER,
                "enable_multiple_analytics_keys": FLAG,
                "purge_delay": NUMBER,
                "csv_dir": TEXT,
                "mongo_url": SECRET,
                "mongo_db_name": TEXT,
                "mongo_collection": TEXT,
                "purge_interval": NUMBER,
                "serializer_type": TEXT,
            }
        ),
        "log_level": TEXT,
        "log_format": TEXT,
        "access_logs": object_of({"enabled": FLAG, "template": TEXTS}),
        "tracing": object_of({"name": TEXT, "enabled": FLAG, "options": FREE}),
        "opentelemetry": object_of(TELEMETRY),
        "newrelic": object_of({"app_name": TEXT, "license_key": SECRET, "enable_distributed_tracing": FLAG}),
        "enable_http_profiler": FLAG,
        "use_redis_log": FLAG,
        "sentry_code": SECRET,
        "sentry_log_level": TEXT,
        "use_sentry": FLAG,
        "use_syslog": FLAG,
        "use_graylog": FLAG,
        "use_logstash": FLAG,
        "graylog_network_addr": TEXT,
        "logstash_network_addr": TEXT,
        "syslog_transport": TEXT,
        "logstash_transport": TEXT,
        "syslog_network_addr": TEXT,
        "statsd_connection_string": TEXT,
        "statsd_prefix": TEXT,
        "event_handlers": EVENT_HANDLERS,
        "event_trigers_defunct": ANY,
        "event_triggers_defunct": ANY,
        "portal": FREE,
        "edge": FREE,
        "tlsgate": OWN,
    }
)
"""``tyk.conf``."""
