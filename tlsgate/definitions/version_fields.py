"""Every field of one version of a Classic definition, path lists included, with its type; must not know what any of them does.

Source: Tyk documentation, "API definition objects"; reference, sections 4.4 and 4.5.
"""

from __future__ import annotations

from tlsgate.config.schema import (
    DURATION,
    FLAG,
    FREE,
    INTEGER,
    NUMBER,
    TEXT,
    TEXT_MAP,
    TEXTS,
    ListOf,
    Schema,
    list_of,
    map_of,
    object_of,
)

__all__ = ["VERSION"]

_PATH = {"disabled": FLAG, "path": TEXT, "method": TEXT}


def _paths(fields: dict[str, Schema] | None = None) -> ListOf:
    return list_of({**_PATH, **(fields or {})})


_LISTED = _paths(
    {
        "ignore_case": FLAG,
        "method_actions": map_of({"action": TEXT, "code": INTEGER, "data": TEXT, "headers": TEXT_MAP}),
    }
)
_TRANSFORM = _paths(
    {
        "template_data": object_of(
            {
                "input_type": TEXT,
                "template_mode": TEXT,
                "enable_session": FLAG,
                "template_source": TEXT,
            }
        )
    }
)
_HEADERS = _paths({"add_headers": TEXT_MAP, "delete_headers": TEXTS, "act_on": FLAG})

_EXTENDED = object_of(
    {
        "ignored": _LISTED,
        "white_list": _LISTED,
        "black_list": _LISTED,
        "mock_response": _paths({"code": INTEGER, "body": TEXT, "headers": TEXT_MAP, "ignore_case": FLAG}),
        "internal": _paths(),
        "transform_headers": _HEADERS,
        "transform_response_headers": _HEADERS,
        "transform": _TRANSFORM,
        "transform_response": _TRANSFORM,
        "transform_jq": _paths({"filter": TEXT}),
        "transform_jq_response": _paths({"filter": TEXT}),
        "url_rewrites": _paths({"match_pattern": TEXT, "rewrite_to": TEXT, "triggers": ListOf(FREE), "rewrite_to_internal": FREE}),
        "method_transforms": _paths({"to_method": TEXT}),
        "hard_timeouts": _paths({"timeout": DURATION, "duration": DURATION}),
        "size_limits": _paths({"size_limit": INTEGER}),
        "circuit_breakers": _paths(
            {
                "threshold_percent": NUMBER,
                "samples": INTEGER,
                "return_to_service_after": INTEGER,
                "disable_half_open_state": FLAG,
            }
        ),
        "rate_limit": _paths({"rate": NUMBER, "per": NUMBER}),
        "validate_json": _paths({"schema": FREE, "schema_b64": TEXT, "error_response_code": INTEGER}),
        "validate_request": _paths({"enabled": FLAG, "error_response_code": INTEGER}),
        "cache": TEXTS,
        "advance_cache_config": _paths({"cache_key_regex": TEXT, "cache_response_codes": ListOf(INTEGER), "timeout": INTEGER}),
        "virtual": _paths(
            {
                "response_function_name": TEXT,
                "function_source_type": TEXT,
                "function_source_uri": TEXT,
                "use_session": FLAG,
                "proxy_on_error": FLAG,
            }
        ),
        "go_plugin": _paths({"plugin_path": TEXT, "func_name": TEXT}),
        "track_endpoints": _paths(),
        "do_not_track_endpoints": _paths(),
        "persist_graphql": _paths({"operation": TEXT, "variables": FREE}),
    }
)

VERSION = object_of(
    {
        "name": TEXT,
        "expires": TEXT,
        "paths": object_of({"ignored": TEXTS, "white_list": TEXTS, "black_list": TEXTS}),
        "use_extended_paths": FLAG,
        "extended_paths": _EXTENDED,
        "global_headers": TEXT_MAP,
        "global_headers_remove": TEXTS,
        "global_headers_disabled": FLAG,
        "global_response_headers": TEXT_MAP,
        "global_response_headers_remove": TEXTS,
        "global_response_headers_disabled": FLAG,
        "ignore_endpoint_case": FLAG,
        "global_size_limit": INTEGER,
        "global_size_limit_disabled": FLAG,
        "global_enforce_timeout": DURATION,
        "global_enforce_timeout_disabled": FLAG,
        "override_target": TEXT,
    }
)
