"""The list of known fields of Classic definitions."""

from __future__ import annotations

from typing import Any

from tests.support.definitions import accepted, warned
from tlsgate.config.schema import Leaf, ObjectOf, Schema
from tlsgate.definitions.classic_fields import CLASSIC, OWN_SETTINGS


def exported(**members: Any) -> dict[str, Any]:
    """A definition as Tyk writes it: every field, most of them null or empty."""
    empty_discovery = {"use_discovery_service": False, "query_endpoint": "", "cache_timeout": 0, "endpoint_returns_list": False}
    return {
        "id": "6543",
        "name": "App",
        "expiration": "",
        "slug": "app",
        "listen_port": 0,
        "protocol": "",
        "enable_proxy_protocol": False,
        "api_id": "app",
        "org_id": "",
        "use_keyless": True,
        "use_oauth2": False,
        "external_oauth": {"enabled": False, "providers": None},
        "use_openid": False,
        "openid_options": {"providers": None, "segregate_by_client": False},
        "oauth_meta": {"allowed_access_types": None, "allowed_authorize_types": None, "auth_login_redirect": ""},
        "auth": {
            "name": "",
            "use_param": False,
            "auth_header_name": "",
            "use_certificate": False,
            "signature": {"secret": "", "error_code": 0},
        },
        "auth_configs": {"authToken": {"auth_header_name": "Authorization"}, "jwt": {"auth_header_name": "Authorization"}},
        "use_basic_auth": False,
        "basic_auth": {"disable_caching": False, "cache_ttl": 0, "extract_from_body": False},
        "use_mutual_tls_auth": False,
        "client_certificates": None,
        "upstream_certificates": None,
        "pinned_public_keys": None,
        "enable_jwt": False,
        "use_standard_auth": False,
        "use_go_plugin_auth": False,
        "enable_coprocess_auth": False,
        "custom_plugin_auth_enabled": False,
        "jwt_source": "",
        "jwt_jwks_uris": [{"url": "https://idp/jwks", "cache_timeout": "5m"}],
        "jwt_default_policies": None,
        "scopes": {"jwt": {"scope_claim_name": "", "scope_to_policy": None}, "oidc": {}},
        "idp_client_id_mapping_disabled": False,
        "notifications": {"shared_secret": "", "oauth_on_keychange_url": ""},
        "enable_signature_checking": False,
        "hmac_allowed_clock_skew": -1,
        "hmac_allowed_algorithms": None,
        "request_signing": {"is_enabled": False, "secret": "", "header_list": None},
        "base_identity_provided_by": "",
        "definition": {"enabled": False, "name": "", "default": "", "location": "header", "key": "x-api-version", "versions": {}},
        "version_data": {
            "not_versioned": True,
            "default_version": "",
            "versions": {
                "Default": {
                    "name": "Default",
                    "expires": "",
                    "paths": {"ignored": None, "white_list": None, "black_list": None},
                    "use_extended_paths": True,
                    "extended_paths": {"persist_graphql": None, "rate_limit": None},
                    "global_headers": None,
                    "global_size_limit": 0,
                    "override_target": "",
                }
            },
        },
        "uptime_tests": {"disabled": False, "check_list": None, "config": {"expire_utime_after": 0, "service_discovery": empty_discovery}},
        "proxy": {
            "preserve_host_header": False,
            "listen_path": "/app/",
            "target_url": "http://up.test:8000/",
            "disable_strip_slash": True,
            "strip_listen_path": True,
            "enable_load_balancing": False,
            "target_list": [],
            "check_host_against_uptime_tests": False,
            "service_discovery": empty_discovery,
            "transport": {
                "ssl_insecure_skip_verify": False,
                "ssl_ciphers": None,
                "ssl_min_version": 0,
                "ssl_max_version": 0,
                "proxy_url": "",
            },
        },
        "disable_rate_limit": True,
        "disable_quota": True,
        "custom_middleware": {
            "pre": [],
            "post": None,
            "post_key_auth": None,
            "auth_check": {"disabled": False, "name": "", "path": "", "require_session": False, "raw_body_only": False},
            "response": [],
            "driver": "",
            "id_extractor": {"disabled": False, "extract_from": "", "extract_with": "", "extractor_config": {}},
        },
        "custom_middleware_bundle": "",
        "cache_options": {"cache_timeout": 60, "enable_cache": False, "cache_response_codes": []},
        "session_lifetime": 0,
        "active": True,
        "internal": False,
        "auth_provider": {"name": "", "storage_engine": "", "meta": None},
        "session_provider": {"name": "", "storage_engine": "", "meta": {}},
        "event_handlers": {"events": {}},
        "enable_batch_request_support": False,
        "enable_ip_whitelisting": False,
        "allowed_ips": None,
        "enable_ip_blacklisting": False,
        "blacklisted_ips": [],
        "ip_access_control_disabled": False,
        "dont_set_quota_on_create": False,
        "expire_analytics_after": 0,
        "response_processors": [],
        "CORS": {"enable": False, "allowed_origins": [], "max_age": 24, "options_passthrough": False, "debug": False},
        "domain": "",
        "certificates": [],
        "do_not_track": False,
        "enable_context_vars": False,
        "config_data": {},
        "tag_headers": [],
        "global_rate_limit": {"disabled": False, "rate": 0, "per": 0},
        "strip_auth_data": False,
        "enable_detailed_recording": False,
        "graphql": {"enabled": False, "schema": "", "playground": {"enabled": False}},
        "analytics_plugin": {},
        "tags": [],
        "detailed_tracing": False,
        "upstream_auth": {"enabled": False, "basic_auth": {"header": {"enabled": False, "name": ""}}, "oauth": {"enabled": False}},
        **members,
    }


def test_a_definition_as_tyk_writes_it_draws_no_warning() -> None:
    """Null and zero values of what is not active are not worth a word."""
    assert warned(exported()) == {}


def test_a_version_without_a_name_is_the_same() -> None:
    """OAS APIs have it in their Classic form."""
    tree = exported()
    tree["version_data"]["versions"] = {"": {"name": "", "use_extended_paths": True}}
    assert accepted(tree).version == accepted(exported()).version


def test_settings_of_our_own_are_strict() -> None:
    """Decisions 4.1: an unknown one is an error."""
    assert OWN_SETTINGS.strict and CLASSIC.members["x-tlsgate"] is OWN_SETTINGS
    assert not CLASSIC.strict


def test_secrets_are_marked() -> None:
    """No message shows them."""
    for path in ("jwt_source", "notifications.shared_secret", "request_signing.secret", "upstream_auth.basic_auth.password"):
        schema: Schema = CLASSIC
        for name in path.split("."):
            assert isinstance(schema, ObjectOf)
            schema = schema.members[name]
        assert isinstance(schema, Leaf) and schema.secret
