"""Tests of `tlsgate.definitions.validation`: each of Tyk's reasons (API definitions reference, section 3), and what is next to it."""

from __future__ import annotations

from typing import Any

import pytest

from tlsgate.definitions.validation import find_reason

OAUTH = {"enabled": True, "allowed_authorize_types": ["clientCredentials"], "client_credentials": {"client_id": "x"}}
METHODS = "invalid upstream OAuth client authentication method, valid values are: client_secret_basic, client_secret_post"
ZERO = "all load balancing targets have weight 0, at least one target must have weight > 0"


def version(**members: Any) -> dict[str, Any]:
    return {"version_data": {"versions": {"Default": members}}}


def login(**oauth: Any) -> dict[str, Any]:
    return {"upstream_auth": {"enabled": True, "oauth": {**OAUTH, **oauth}}}


@pytest.mark.parametrize(
    ("tree", "reason"),
    [
        ({"graphql": {"engine": {"data_sources": [{"name": "A"}, {"name": " a "}]}}}, "duplicate data source names are not allowed"),
        (
            {"use_standard_auth": True, "auth_configs": {"authToken": {"disable_header": True}}},
            "all auth sources are disabled for authToken, at least one of header/cookie/query must be enabled",
        ),
        (
            {"use_basic_auth": True, "auth_configs": {"authToken": {"disable_header": True}, "basic": {"disable_header": True}}},
            "all auth sources are disabled for basic, at least one of header/cookie/query must be enabled",
        ),
        (
            {"enable_signature_checking": True, "auth_configs": {"hmac": {"disable_header": True}}},
            "all auth sources are disabled for hmac, at least one of header/cookie/query must be enabled",
        ),
        (
            {"enable_jwt": True, "auth_configs": {"jwt": {"disable_header": True}}},
            "all auth sources are disabled for jwt, at least one of header/cookie/query must be enabled",
        ),
        ({"allowed_ips": ["10.0.0.1", "10.0.0.0/33"]}, 'invalid IP/CIDR "10.0.0.0/33"'),
        ({"blacklisted_ips": ["x"]}, 'invalid IP/CIDR "x"'),
        ({"blacklisted_ips": [5]}, 'invalid IP/CIDR "..."'),
        (version(global_enforce_timeout="soon"), "invalid global timeout value"),
        (version(global_enforce_timeout="-1s"), "invalid global timeout value"),
        (version(extended_paths={"hard_timeouts": [{"path": "/", "duration": "x"}]}), "invalid timeout value"),
        (version(extended_paths={"hard_timeouts": [{"path": "/", "timeout": -1}]}), "invalid timeout value"),
        (
            {"upstream_auth": {"enabled": True, "oauth": OAUTH, "basic_auth": {"enabled": True}}},
            "multiple upstream authentication modes not allowed",
        ),
        (login(allowed_authorize_types=[]), "upstream OAuth authorization type is required"),
        (login(allowed_authorize_types=["a", "b"]), "multiple upstream OAuth authorization type not allowed"),
        (login(allowed_authorize_types=["implicit"]), "invalid OAuth authorization type"),
        (login(client_credentials={"method": "jwt"}), METHODS),
        ({"proxy": {"enable_load_balancing": True, "target_list": []}}, ZERO),
        ({"proxy": {"enable_load_balancing": True}}, ZERO),
    ],
)
def test_reasons(tree: dict[str, Any], reason: str) -> None:
    assert find_reason(tree) == reason


@pytest.mark.parametrize(
    "tree",
    [
        {},
        {"graphql": {"engine": {"data_sources": [{"name": "A"}, {"name": "b"}]}}},
        {"auth_configs": {"authToken": {"disable_header": True}}},
        {"use_standard_auth": True, "auth_configs": {"authToken": {"disable_header": True, "use_param": True}}},
        {"use_standard_auth": True, "auth_configs": {"own": {"disable_header": True}}},
        {"allowed_ips": ["10.0.0.1", "10.0.0.5/8", "::1"], "blacklisted_ips": ["fe80::/10"]},
        {"allowed_ips": ["x"], "ip_access_control_disabled": True},
        version(
            global_enforce_timeout="1m30s",
            extended_paths={"hard_timeouts": [{"duration": "4s"}, {"timeout": 4}, {"duration": "x", "disabled": True}]},
        ),
        version(global_enforce_timeout="x", global_enforce_timeout_disabled=True),
        {"upstream_auth": {"enabled": False, "oauth": {"enabled": True}}},
        {"upstream_auth": {"enabled": True, "basic_auth": {"enabled": True}}},
        login(client_credentials={"method": "client_secret_post"}),
        login(allowed_authorize_types=["password"]),
        {"proxy": {"enable_load_balancing": True, "target_list": ["http://a"]}},
        {"proxy": "text", "version_data": [], "auth_configs": 5, "upstream_auth": None, "graphql": ""},
    ],
)
def test_what_is_no_reason(tree: dict[str, Any]) -> None:
    assert find_reason(tree) == ""


def test_a_document_says_it_in_its_own_words() -> None:
    """``upstream.authentication`` stands for ``upstream_auth``."""
    oauth = {"enabled": True, "allowedAuthorizeTypes": ["clientCredentials"], "clientCredentials": {"method": "x"}}
    assert find_reason({}, {"enabled": True, "oauth": oauth}) == METHODS
    assert find_reason({}, {"enabled": True, "oauth": oauth, "basicAuth": {"enabled": True}}).startswith("multiple upstream authentication")
    assert find_reason(login(allowed_authorize_types=[]), {}) == ""
