"""Every field of a Classic API definition that is known, with its type; must not know what any of them does.

Source: Tyk documentation, "API definition objects"; reference, section 4.
"""

from __future__ import annotations

from tlsgate.config.binding_rules import DPOP
from tlsgate.config.hmac_rules import HMAC_RULES
from tlsgate.config.known_parts import ERROR_OVERRIDES, EVENT_HANDLERS
from tlsgate.config.schema import (
    ANY,
    DURATION,
    FLAG,
    FREE,
    INTEGER,
    NUMBER,
    SECRET,
    TEXT,
    TEXT_MAP,
    TEXTS,
    ListOf,
    MapOf,
    Schema,
    list_of,
    map_of,
    object_of,
)
from tlsgate.config.signature_rules import MESSAGE_SIGNATURES, SIGNING_RULES
from tlsgate.definitions.version_fields import VERSION

__all__ = ["CLASSIC", "OWN_SETTINGS"]

OWN_SETTINGS = object_of(
    {
        "basic": object_of({"rfc7617": FLAG, "max_body": INTEGER}, strict=True),
        "client_certificates": object_of(
            {"require_client_usage": FLAG, "trust_unmarked_ca": FLAG, "ask_for_bound_keys": FLAG}, strict=True
        ),
        "dpop": DPOP,
        "explain": object_of({"enabled": FLAG, "refused_only": FLAG}, strict=True),
        "external_oauth": object_of(
            {
                "allowed_issuers": TEXTS,
                "allowed_audiences": TEXTS,
                "client_authentication": TEXT,
                "assertion_audience": TEXT,
                "rate": NUMBER,
                "per": NUMBER,
            },
            strict=True,
        ),
        "hmac": HMAC_RULES,
        "jwt": object_of(
            {
                "subject_claims": TEXTS,
                "base_policy_claims": TEXTS,
                "scope_claims": TEXTS,
                "allowed_issuers": TEXTS,
                "allowed_audiences": TEXTS,
                "allowed_subjects": TEXTS,
                "require_jti": FLAG,
                "require_certificate_binding": FLAG,
                "forward_claims": TEXT_MAP,
                "custom_claims": map_of({"type": TEXT, "allowed_values": ListOf(ANY), "non_blocking": FLAG}),
            },
            strict=True,
        ),
        "message_signatures": MESSAGE_SIGNATURES,
        "protected_resource": object_of(
            {"enabled": FLAG, "well_known_path": TEXT, "resource": TEXT, "authorization_servers": TEXTS, "scopes_supported": TEXTS},
            strict=True,
        ),
        "request_signing": SIGNING_RULES,
        "resource": TEXT,
        "upstream_ca": TEXTS,
    },
    strict=True,
)
"""``x-tlsgate``: settings of ours for one API, the same at the root of both forms."""

_AUTH = object_of(
    {
        "name": TEXT,
        "auth_header_name": TEXT,
        "disable_header": FLAG,
        "use_param": FLAG,
        "param_name": TEXT,
        "use_cookie": FLAG,
        "cookie_name": TEXT,
        "use_certificate": FLAG,
        "validate_signature": FLAG,
        "signature": object_of(
            {
                "algorithm": TEXT,
                "header": TEXT,
                "use_param": FLAG,
                "param_name": TEXT,
                "secret": SECRET,
                "allowed_clock_skew": INTEGER,
                "error_code": INTEGER,
                "error_message": TEXT,
            }
        ),
    }
)

_SERVICE_DISCOVERY = object_of(
    {
        "use_discovery_service": FLAG,
        "query_endpoint": TEXT,
        "use_nested_query": FLAG,
        "parent_data_path": TEXT,
        "data_path": TEXT,
        "port_data_path": TEXT,
        "target_path": TEXT,
        "use_target_list": FLAG,
        "endpoint_returns_list": FLAG,
        "cache_disabled": FLAG,
        "cache_timeout": INTEGER,
    }
)

_PROXY = object_of(
    {
        "listen_path": TEXT,
        "target_url": TEXT,
        "strip_listen_path": FLAG,
        "disable_strip_slash": FLAG,
        "preserve_host_header": FLAG,
        "enable_load_balancing": FLAG,
        "target_list": TEXTS,
        "check_host_against_uptime_tests": FLAG,
        "service_discovery": _SERVICE_DISCOVERY,
        "transport": object_of(
            {
                "ssl_insecure_skip_verify": FLAG,
                "ssl_ciphers": TEXTS,
                "ssl_min_version": INTEGER,
                "ssl_max_version": INTEGER,
                "ssl_force_common_name_check": FLAG,
                "proxy_url": TEXT,
            }
        ),
    }
)

_PLUGIN = {"name": TEXT, "path": TEXT, "require_session": FLAG, "raw_body_only": FLAG, "disabled": FLAG}
_PLUGINS = list_of(_PLUGIN)

_OAUTH_CLIENT: dict[str, Schema] = {
    "client_id": TEXT,
    "client_secret": SECRET,
    "method": TEXT,
    "header": ANY,
    "token_url": TEXT,
    "scopes": TEXTS,
    "extra_metadata": TEXTS,
    "enabled": FLAG,
}

CLASSIC = object_of(
    {
        "id": ANY,
        "_id": ANY,
        "api_id": TEXT,
        "org_id": TEXT,
        "name": TEXT,
        "slug": TEXT,
        "active": FLAG,
        "internal": FLAG,
        "expiration": TEXT,
        "protocol": TEXT,
        "listen_port": INTEGER,
        "enable_proxy_protocol": FLAG,
        "domain": TEXT,
        "domain_disabled": FLAG,
        "certificates": TEXTS,
        "tags": TEXTS,
        "tags_disabled": FLAG,
        "tag_headers": TEXTS,
        "config_data": FREE,
        "config_data_disabled": FLAG,
        "is_oas": FLAG,
        "application_protocol": TEXT,
        "json_rpc_version": TEXT,
        "version_name": TEXT,
        "is_site": FLAG,
        "enable_tags": FLAG,
        "categories": TEXTS,
        "proxy": _PROXY,
        # authentication
        "use_keyless": FLAG,
        "use_standard_auth": FLAG,
        "use_basic_auth": FLAG,
        "basic_auth": object_of(
            {
                "disable_caching": FLAG,
                "cache_ttl": INTEGER,
                "extract_from_body": FLAG,
                "body_user_regexp": TEXT,
                "body_password_regexp": TEXT,
            }
        ),
        "enable_signature_checking": FLAG,
        "hmac_allowed_clock_skew": NUMBER,
        "hmac_allowed_algorithms": TEXTS,
        "enable_jwt": FLAG,
        "jwt_signing_method": TEXT,
        "jwt_source": SECRET,
        "jwt_jwks_uris": list_of({"url": SECRET, "cache_timeout": DURATION}),
        "jwt_identity_base_field": TEXT,
        "jwt_client_base_field": TEXT,
        "jwt_policy_field_name": TEXT,
        "jwt_default_policies": TEXTS,
        "jwt_issued_at_validation_skew": INTEGER,
        "jwt_expires_at_validation_skew": INTEGER,
        "jwt_not_before_validation_skew": INTEGER,
        "jwt_skip_kid": FLAG,
        "jwt_disable_issued_at_validation": FLAG,
        "jwt_disable_expires_at_validation": FLAG,
        "jwt_disable_not_before_validation": FLAG,
        "jwt_scope_to_policy_mapping": TEXT_MAP,
        "jwt_scope_claim_name": TEXT,
        "scopes": map_of({"scope_claim_name": TEXT, "scope_to_policy": TEXT_MAP}),
        "idp_client_id_mapping_disabled": FLAG,
        "use_oauth2": FLAG,
        "oauth_meta": object_of({"allowed_access_types": TEXTS, "allowed_authorize_types": TEXTS, "auth_login_redirect": TEXT}),
        "notifications": object_of({"shared_secret": SECRET, "oauth_on_keychange_url": TEXT}),
        "use_openid": FLAG,
        "openid_options": object_of({"providers": list_of({"issuer": TEXT, "client_ids": TEXT_MAP}), "segregate_by_client": FLAG}),
        "external_oauth": object_of(
            {
                "enabled": FLAG,
                "providers": list_of(
                    {
                        "jwt": object_of(
                            {
                                "enabled": FLAG,
                                "signing_method": TEXT,
                                "source": SECRET,
                                "identity_base_field": TEXT,
                                "issued_at_validation_skew": INTEGER,
                                "not_before_validation_skew": INTEGER,
                                "expires_at_validation_skew": INTEGER,
                            }
                        ),
                        "introspection": object_of(
                            {
                                "enabled": FLAG,
                                "url": SECRET,
                                "client_id": TEXT,
                                "client_secret": SECRET,
                                "identity_base_field": TEXT,
                                "cache": object_of({"enabled": FLAG, "timeout": INTEGER}),
                            }
                        ),
                    }
                ),
            }
        ),
        "custom_plugin_auth_enabled": FLAG,
        "use_go_plugin_auth": FLAG,
        "enable_coprocess_auth": FLAG,
        "use_mutual_tls_auth": FLAG,
        "client_certificates": TEXTS,
        "auth": _AUTH,
        "auth_configs": MapOf(_AUTH),
        "base_identity_provided_by": TEXT,
        "strip_auth_data": FLAG,
        "auth_provider": object_of({"name": TEXT, "storage_engine": TEXT, "meta": FREE}),
        "session_provider": object_of({"name": TEXT, "storage_engine": TEXT, "meta": FREE}),
        "session_lifetime": INTEGER,
        "session_lifetime_respects_key_expiration": FLAG,
        "security_requirements": ListOf(TEXTS),
        "security_requirement_scopes": ANY,
        # upstream
        "upstream_certificates": TEXT_MAP,
        "upstream_certificates_disabled": FLAG,
        "pinned_public_keys": TEXT_MAP,
        "certificate_pinning_disabled": FLAG,
        "request_signing": object_of(
            {
                "is_enabled": FLAG,
                "secret": SECRET,
                "key_id": TEXT,
                "algorithm": TEXT,
                "header_list": TEXTS,
                "certificate_id": TEXT,
                "signature_header": TEXT,
            }
        ),
        "upstream_auth": object_of(
            {
                "enabled": FLAG,
                "basic_auth": object_of({"enabled": FLAG, "username": TEXT, "password": SECRET, "header": ANY, "header_name": TEXT}),
                "oauth": object_of(
                    {
                        "enabled": FLAG,
                        "allowed_authorize_types": TEXTS,
                        "client_credentials": object_of(_OAUTH_CLIENT),
                        "password": object_of({**_OAUTH_CLIENT, "username": TEXT, "password": SECRET}),
                    }
                ),
            }
        ),
        # addresses, limits
        "enable_ip_whitelisting": FLAG,
        "allowed_ips": TEXTS,
        "enable_ip_blacklisting": FLAG,
        "blacklisted_ips": TEXTS,
        "ip_access_control_disabled": FLAG,
        "disable_rate_limit": FLAG,
        "disable_quota": FLAG,
        "dont_set_quota_on_create": FLAG,
        "global_rate_limit": object_of({"disabled": FLAG, "rate": NUMBER, "per": NUMBER}),
        # versions
        "definition": object_of(
            {
                "enabled": FLAG,
                "name": TEXT,
                "default": TEXT,
                "location": TEXT,
                "key": TEXT,
                "strip_path": FLAG,
                "strip_versioning_data": FLAG,
                "url_versioning_pattern": TEXT,
                "fallback_to_default": FLAG,
                "versions": TEXT_MAP,
                "base_id": TEXT,
            }
        ),
        "version_data": object_of({"not_versioned": FLAG, "default_version": TEXT, "versions": MapOf(VERSION)}),
        # the rest
        "CORS": object_of(
            {
                "enable": FLAG,
                "allowed_origins": TEXTS,
                "allowed_methods": TEXTS,
                "allowed_headers": TEXTS,
                "exposed_headers": TEXTS,
                "allow_credentials": FLAG,
                "max_age": INTEGER,
                "options_passthrough": FLAG,
                "debug": FLAG,
            }
        ),
        "enable_context_vars": FLAG,
        "enable_batch_request_support": FLAG,
        "cache_options": object_of(
            {
                "enable_cache": FLAG,
                "cache_timeout": INTEGER,
                "cache_all_safe_requests": FLAG,
                "cache_response_codes": ListOf(INTEGER),
                "enable_upstream_cache_control": FLAG,
                "cache_control_ttl_header": TEXT,
                "cache_by_headers": TEXTS,
            }
        ),
        "custom_middleware": object_of(
            {
                "pre": _PLUGINS,
                "post_key_auth": _PLUGINS,
                "post": _PLUGINS,
                "response": _PLUGINS,
                "auth_check": object_of(_PLUGIN),
                "traffic_logs": _PLUGINS,
                "driver": TEXT,
                "id_extractor": object_of({"disabled": FLAG, "extract_from": TEXT, "extract_with": TEXT, "extractor_config": FREE}),
            }
        ),
        "custom_middleware_bundle": TEXT,
        "custom_middleware_bundle_disabled": FLAG,
        "analytics_plugin": object_of({"enable": FLAG, "plugin_path": TEXT, "func_name": TEXT}),
        "response_processors": list_of({"name": TEXT, "options": ANY}),
        "event_handlers": EVENT_HANDLERS,
        "uptime_tests": object_of(
            {
                "disabled": FLAG,
                "check_list": ListOf(FREE),
                "config": object_of({"expire_utime_after": INTEGER, "recheck_wait": INTEGER, "service_discovery": _SERVICE_DISCOVERY}),
            }
        ),
        "enable_detailed_recording": FLAG,
        "do_not_track": FLAG,
        "expire_analytics_after": INTEGER,
        "detailed_tracing": FLAG,
        "error_overrides": ERROR_OVERRIDES,
        "error_overrides_disabled": FLAG,
        "graphql": FREE,
        "x-tlsgate": OWN_SETTINGS,
    }
)
"""A Classic definition."""
