"""Objects inside tyk.conf that are large or used more than once, and the settings of our own below ``tlsgate``.

Knows names and types; must not know defaults or meanings. Source: Tyk documentation, "Gateway configuration options".
"""

from __future__ import annotations

import msgspec

from tlsgate.config.binding_rules import DPOP
from tlsgate.config.hmac_rules import HMAC_RULES
from tlsgate.config.model import (
    AccessLogSettings,
    BasicDefaults,
    ConnectionLimits,
    EventSettings,
    ExplainSettings,
    IdentityProviderSettings,
    MetricsSettings,
)
from tlsgate.config.schema import (
    FLAG,
    FREE,
    INTEGER,
    NUMBER,
    SECRET,
    SECRETS,
    TEXT,
    TEXT_MAP,
    TEXTS,
    ListOf,
    MapOf,
    ObjectOf,
    Schema,
    list_of,
    object_of,
)
from tlsgate.config.signature_rules import MESSAGE_SIGNATURES, SIGNING_RULES

__all__ = [
    "ERROR_OVERRIDES",
    "EVENT_HANDLERS",
    "HTTP_SERVER",
    "OWN",
    "SECURITY",
    "SERVICE",
    "SERVICE_PROXY",
    "STORAGE",
    "TELEMETRY",
    "WEBHOOK",
]


def _settings_of(record: type[msgspec.Struct]) -> ObjectOf:
    """Return the schema of settings that have the names and types of a record's fields."""
    kinds: dict[object, Schema] = {bool: FLAG, int: INTEGER, float: NUMBER, str: TEXT}
    fields = msgspec.structs.fields(record)
    return object_of({field.encode_name: kinds.get(field.type, TEXTS) for field in fields}, strict=True)


ERROR_OVERRIDES = MapOf(
    list_of(
        {
            "match": object_of({"flag": TEXT, "message_pattern": TEXT, "body_field": TEXT, "body_value": TEXT}),
            "response": object_of(
                {"status_code": INTEGER, "code": INTEGER, "body": TEXT, "message": TEXT, "template": TEXT, "headers": TEXT_MAP}
            ),
        }
    )
)
"""``error_overrides`` of the configuration and of definitions: lists of rules by status."""

EVENT_HANDLERS = object_of({"events": MapOf(list_of({"handler_name": TEXT, "handler_meta": FREE}))})
"""``event_handlers`` of the configuration and of definitions."""
WEBHOOK = object_of(
    {
        "disabled": FLAG,
        "id": TEXT,
        "name": TEXT,
        "method": TEXT,
        "target_path": SECRET,
        "template_path": TEXT,
        "header_map": SECRETS,
        "event_timeout": INTEGER,
    }
)
"""``handler_meta`` of a web hook, and the monitor's ``configuration``; addresses of hooks often are secrets."""

STORAGE: dict[str, Schema] = {
    "type": TEXT,
    "host": TEXT,
    "port": INTEGER,
    "hosts": TEXT_MAP,
    "addrs": TEXTS,
    "master_name": TEXT,
    "sentinel_username": TEXT,
    "sentinel_password": SECRET,
    "username": TEXT,
    "password": SECRET,
    "database": INTEGER,
    "optimisation_max_idle": INTEGER,
    "optimisation_max_active": INTEGER,
    "timeout": INTEGER,
    "enable_cluster": FLAG,
    "use_ssl": FLAG,
    "ssl_insecure_skip_verify": FLAG,
    "ca_file": TEXT,
    "cert_file": TEXT,
    "key_file": TEXT,
    "tls_min_version": TEXT,
    "tls_max_version": TEXT,
    "compress_api_definitions": FLAG,
}

_CLIENT_TLS = object_of(
    {
        "enabled": FLAG,
        "cert_file": TEXT,
        "key_file": TEXT,
        "ca_file": TEXT,
        "cert_id": TEXT,
        "ca_cert_ids": TEXTS,
        "insecure_skip_verify": FLAG,
        "tls_min_version": TEXT,
        "tls_max_version": TEXT,
    }
)
SERVICE_PROXY = object_of(
    {
        "enabled": FLAG,
        "use_environment": FLAG,
        "http_proxy": TEXT,
        "https_proxy": TEXT,
        "no_proxy": TEXT,
        "bypass_proxy": TEXT,
    }
)
SERVICE = object_of({"enabled": FLAG, "proxy": SERVICE_PROXY, "mtls": _CLIENT_TLS})

_TELEMETRY_TLS = object_of(
    {
        "enable": FLAG,
        "insecure_skip_verify": FLAG,
        "ca_file": TEXT,
        "cert_file": TEXT,
        "key_file": TEXT,
        "max_version": TEXT,
        "min_version": TEXT,
    }
)
TELEMETRY: dict[str, Schema] = {
    "enabled": FLAG,
    "exporter": TEXT,
    "endpoint": TEXT,
    "headers": SECRETS,
    "connection_timeout": INTEGER,
    "resource_name": TEXT,
    "resource": TEXT,
    "span_processor_type": TEXT,
    "span_batch_config": FREE,
    "context_propagation": TEXT,
    "custom_trace_header": TEXT,
    "tls": _TELEMETRY_TLS,
    "sampling": object_of({"type": TEXT, "rate": NUMBER, "parent_based": FLAG}),
    "traces": FREE,
    "metrics": FREE,
    "logs": FREE,
}

SECURITY = object_of(
    {
        "private_certificate_encoding_secret": SECRET,
        "control_api_use_mutual_tls": FLAG,
        "pinned_public_keys": TEXT_MAP,
        "allow_unsafe_dynamic_mtls_token": FLAG,
        "certificates": object_of({"apis": TEXTS, "upstream": TEXT_MAP, "control_api": TEXTS, "dashboard_api": TEXTS, "mdcb_api": TEXTS}),
        "certificate_expiry_monitor": object_of(
            {
                "warning_threshold_days": INTEGER,
                "check_cooldown_seconds": INTEGER,
                "event_cooldown_seconds": INTEGER,
                "max_concurrent_checks": INTEGER,
            }
        ),
    }
)

HTTP_SERVER = object_of(
    {
        "override_defaults": FLAG,
        "read_timeout": INTEGER,
        "write_timeout": INTEGER,
        "use_ssl": FLAG,
        "use_ssl_le": FLAG,
        "enable_http2": FLAG,
        "enable_strict_routes": FLAG,
        "enable_path_prefix_matching": FLAG,
        "enable_path_suffix_matching": FLAG,
        "ssl_insecure_skip_verify": FLAG,
        "enable_websockets": FLAG,
        "certificates": list_of({"domain_name": TEXT, "cert_file": TEXT, "key_file": TEXT}),
        "ssl_certificates": TEXTS,
        "server_name": TEXT,
        "min_version": INTEGER,
        "max_version": INTEGER,
        "skip_client_ca_announcement": FLAG,
        "flush_interval": INTEGER,
        "skip_url_cleaning": FLAG,
        "skip_target_path_escaping": FLAG,
        "ssl_ciphers": TEXTS,
        "max_request_body_size": INTEGER,
        "max_response_body_size": INTEGER,
        "xff_depth": INTEGER,
    }
)

OWN = object_of(
    {
        "development": FLAG,
        "api_definitions": ListOf(FREE),
        "trusted_proxies": TEXTS,
        "underscore_headers": TEXT,
        "keep_client_certificate_headers": FLAG,
        "alias_routes": FLAG,
        "resources": TEXTS,
        "upstream_ca": TEXTS,
        "limits": _settings_of(ConnectionLimits),
        "local_rate_limits": FLAG,
        "log": _settings_of(AccessLogSettings),
        "metrics": _settings_of(MetricsSettings),
        "events": _settings_of(EventSettings),
        "basic": _settings_of(BasicDefaults),
        "explain": _settings_of(ExplainSettings),
        "identity_providers": _settings_of(IdentityProviderSettings),
        "certificate_folders": TEXTS,
        "certificates": object_of({"folders": TEXTS, "refuse_delete_in_use": FLAG}, strict=True),
        "upstream_error_status": INTEGER,
        "client_certificates": object_of(
            {"require_client_usage": FLAG, "trust_unmarked_ca": FLAG, "ask_for_bound_keys": FLAG}, strict=True
        ),
        "require_explicit_authentication": FLAG,
        "dpop": DPOP,
        "jwt": object_of({"require_certificate_binding": FLAG}, strict=True),
        "hmac": HMAC_RULES,
        "message_signatures": MESSAGE_SIGNATURES,
        "request_signing": SIGNING_RULES,
        "workers": INTEGER,
    },
    strict=True,
)
