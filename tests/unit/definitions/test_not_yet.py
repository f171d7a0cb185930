"""What is not active yet is said by name, and never opens an API."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.definitions import accepted, classic, extended, make_context, oas, operations, parse, refused, warned
from tlsgate.definitions.not_yet import AUTH_METHODS

LISTS = "version_data.versions.Default.extended_paths"


def nested(path: str, value: object) -> dict[str, Any]:
    for name in reversed(path.split(".")):
        value = {name: value}
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize(
    "method",
    [method for method in AUTH_METHODS if method.name not in ("basic", "external_oauth", "hmac", "jwt", "oidc", "token")],
    ids=lambda method: method.field,
)
def test_methods_of_authentication_are_refused_by_name(method: Any) -> None:
    """Decisions 3.8: the API never answers open."""
    problems = refused(classic(**{"use_keyless": False, **nested(method.field, True)}))
    assert problems == {method.field: f"{method.words} is not active yet, so that the API is refused"}


@pytest.mark.parametrize("method", AUTH_METHODS, ids=lambda method: method.field)
def test_methods_together_with_keyless_are_refused(method: Any) -> None:
    """Tyk takes such an API for open; what was meant is not clear."""
    assert "together with use_keyless" in refused(classic(**nested(method.field, True)))[method.field]


@pytest.mark.parametrize("members", [{"use_keyless": False}, {"use_keyless": None}, {"use_keyless": False, "use_mutual_tls_auth": True}])
def test_without_any_method_an_auth_token_is_needed(members: dict[str, Any]) -> None:
    """Reference, section 4.2: that is the default of Classic definitions, static mTLS or not."""
    context = make_context(http_server_options={"use_ssl": True})
    api = accepted(classic(client_certificates=["/a.pem"], **members), context)
    assert (api.keyless, api.auth_methods) == (False, ("token",))
    tree = classic()
    del tree["use_keyless"]
    assert accepted(tree).auth_methods == ("token",)


@pytest.mark.parametrize("protocol", ["tcp", "tls"])
def test_a_raw_service_has_no_place_for_a_token(protocol: str) -> None:
    """It would answer everybody."""
    tree = classic(use_keyless=False, use_standard_auth=True, protocol=protocol, listen_port=9000)
    assert "needs HTTP" in refused(tree, make_context(disable_ports_whitelist=True))["use_standard_auth"]


def test_static_mtls_alone_is_active() -> None:
    """Keyless behind an allow list."""
    context = make_context(http_server_options={"use_ssl": True})
    api = accepted(classic(use_mutual_tls_auth=True, client_certificates=["/a.pem"]), context)
    assert api.keyless and api.use_mutual_tls and api.client_certificates == ("/a.pem",) and api.auth_methods == ()


@pytest.mark.parametrize("members", [{"auth": {"use_certificate": True}}, {"auth_configs": {"authToken": {"use_certificate": True}}}])
def test_dynamic_mtls_is_part_of_the_token(members: dict[str, Any]) -> None:
    """It works where the token is on, by its switch or because nothing else is; elsewhere nobody would look at a certificate."""
    assert accepted(classic(use_keyless=False, **members)).use_certificate
    assert accepted(classic(use_keyless=False, use_standard_auth=True, **members)).use_certificate
    (message,) = [
        text for path, text in refused(classic(use_keyless=False, use_oauth2=True, **members)).items() if "use_certificate" in path
    ]
    assert "belongs to the auth token, which is off" in message
    assert not accepted(classic(use_keyless=True, **members)).use_certificate


def test_dynamic_mtls_needs_http() -> None:
    """A raw service has no key to find."""
    tree = classic(protocol="tls", listen_port=9443, use_mutual_tls_auth=True, client_certificates=["/a"], auth={"use_certificate": True})
    tree["use_keyless"] = False
    assert "needs HTTP" in refused(tree, make_context(disable_ports_whitelist=True))["auth.use_certificate"]


def test_a_hidden_switch_of_dynamic_mtls_is_told_of() -> None:
    """An entry of auth_configs hides auth; somebody may have meant it."""
    tree = classic(use_keyless=False, auth={"use_certificate": True}, auth_configs={"authToken": {}})
    assert not accepted(tree).use_certificate


@pytest.mark.parametrize(
    ("members", "path"),
    [
        ({"definition": {"enabled": True}}, "definition.enabled"),
        ({"custom_middleware": {"pre": [{"name": "a"}]}}, "custom_middleware.pre"),
        ({"custom_middleware": {"post_key_auth": [{"name": "a"}]}}, "custom_middleware.post_key_auth"),
        ({"custom_middleware": {"post": [{"name": "a"}]}}, "custom_middleware.post"),
        ({"custom_middleware": {"response": [{"name": "a"}]}}, "custom_middleware.response"),
        ({"custom_middleware_bundle": "b.zip"}, "custom_middleware_bundle"),
        ({"graphql": {"enabled": True}}, "graphql"),
        ({"graphql": {"Enabled": True}}, "graphql"),
        ({"version_data": {"not_versioned": False, "versions": {"v1": {}}}}, "version_data.not_versioned"),
        ({"version_data": {"versions": {"Default": {}}}}, "version_data.not_versioned"),
    ],
)
def test_what_would_refuse_requests_refuses_the_api(members: dict[str, Any], path: str) -> None:
    """By name."""
    problems = refused(classic(**members))
    assert list(problems) == [path]
    assert "not active yet" in problems[path]


@pytest.mark.parametrize(
    "members",
    [
        {"global_rate_limit": {"rate": 5, "per": 1, "disabled": True}},
        {"global_rate_limit": {"rate": 0, "per": 1}},
        {"custom_middleware": {"pre": [{"name": "a", "disabled": True}], "auth_check": {"name": "x"}, "driver": "python"}},
        {"custom_middleware_bundle": "b.zip", "custom_middleware_bundle_disabled": True},
        {"graphql": {"enabled": False, "schema": "x"}},
        {"uptime_tests": {"disabled": True, "check_list": [{"url": "http://a"}]}},
        {"disable_rate_limit": True, "disable_quota": True, "session_lifetime": 60, "strip_auth_data": True, "tags": ["a"]},
        {"auth": {"auth_header_name": "X", "signature": {"algorithm": "x"}}, "jwt_source": "x", "basic_auth": {"cache_ttl": 1}},
    ],
)
def test_what_is_switched_off_is_not_worth_a_word(members: dict[str, Any]) -> None:
    """Neither are details of methods that are not in use."""
    assert warned(classic(**members)) == {}


@pytest.mark.parametrize(
    ("members", "path"),
    [
        ({"proxy": {"service_discovery": {"use_discovery_service": True}}}, "proxy.service_discovery.use_discovery_service"),
        ({"proxy": {"check_host_against_uptime_tests": True}}, "proxy.check_host_against_uptime_tests"),
        ({"uptime_tests": {"check_list": [{"url": "http://a"}]}}, "uptime_tests.check_list"),
        ({"upstream_auth": {"enabled": True}}, "upstream_auth.enabled"),
        ({"cache_options": {"enable_cache": True}}, "cache_options.enable_cache"),
        ({"enable_batch_request_support": True}, "enable_batch_request_support"),
        ({"analytics_plugin": {"enable": True}}, "analytics_plugin.enable"),
        ({"custom_middleware": {"traffic_logs": [{"name": "a"}]}}, "custom_middleware.traffic_logs"),
        ({"enable_detailed_recording": True}, "enable_detailed_recording"),
        ({"detailed_tracing": True}, "detailed_tracing"),
        ({"tag_headers": ["X"]}, "tag_headers"),
        ({"response_processors": [{"name": "header_transform"}]}, "response_processors[0].name"),
    ],
)
def test_everything_else_is_a_warning(members: dict[str, Any], path: str) -> None:
    """Kept, and named."""
    problems = warned(classic(**members))
    assert list(problems) == [path]
    assert problems[path].startswith("not active yet, kept but without effect: ")


@pytest.mark.parametrize(
    ("kind", "entry"),
    [
        ("circuit_breakers", {"threshold_percent": 0.5, "samples": 5}),
        ("validate_json", {"schema": {}}),
        ("virtual", {"response_function_name": "f"}),
        ("go_plugin", {"plugin_path": "p"}),
        ("persist_graphql", {"operation": "q"}),
        ("url_rewrites", {"rewrite_to": "tyk://self/x"}),
        ("url_rewrites", {"rewrite_to": "TYK://other/x"}),
        ("url_rewrites", {"rewrite_to": "http://a/", "triggers": [{"on": "all", "rewrite_to": "tyk://self/x"}]}),
    ],
)
def test_rules_of_paths_that_would_refuse_or_lead_elsewhere(kind: str, entry: dict[str, Any]) -> None:
    """Refused while one entry is on."""
    on, off = {"path": "/a", **entry}, {"path": "/a", "disabled": True, **entry}
    assert list(refused(extended(**{kind: [off, on]}))) == [f"{LISTS}.{kind}"]
    assert warned(extended(**{kind: [off]})) == {}


@pytest.mark.parametrize("entry", [{"rate": 0, "per": 1}, {"rate": 5, "per": 0}, {"rate": 5}])
def test_a_limit_without_rate_or_period_limits_nothing(entry: dict[str, Any]) -> None:
    """In Tyk neither."""
    assert warned(extended(rate_limit=[{"path": "/a", **entry}])) == {}


def test_validation_of_requests_has_a_switch_of_its_own() -> None:
    """``enabled`` instead of ``disabled``."""
    assert list(refused(extended(validate_request=[{"path": "/a", "enabled": True}]))) == [f"{LISTS}.validate_request[0].enabled"]
    assert warned(extended(validate_request=[{"path": "/a", "enabled": False}])) == {}


@pytest.mark.parametrize(
    "kind",
    [
        "url_rewrites",
        "method_transforms",
        "transform",
        "transform_response",
        "transform_jq",
        "transform_jq_response",
        "advance_cache_config",
        "track_endpoints",
        "do_not_track_endpoints",
    ],
)
def test_other_rules_of_paths_are_warnings(kind: str) -> None:
    """While one entry is on."""
    assert list(warned(extended(**{kind: [{"path": "/a"}]}))) == [f"{LISTS}.{kind}"]
    assert warned(extended(**{kind: [{"path": "/a", "disabled": True}]})) == {}


def test_lists_that_are_not_in_use_are_not_looked_at() -> None:
    """use_extended_paths is off; the cache list and another target are said."""
    tree = classic(version={"use_extended_paths": False, "extended_paths": {"circuit_breakers": [{"path": "/a"}]}})
    assert list(warned(tree)) == ["version_data.versions.Default.use_extended_paths"]
    assert list(warned(classic(version={"override_target": "http://b/", "extended_paths": {"cache": ["/a"]}}))) == [
        "version_data.versions.Default.override_target",
        f"{LISTS}.cache",
    ]


def test_problems_of_documents_name_places_in_the_document() -> None:
    """Not in the Classic form."""
    assert list(refused(operations(validateRequest={"enabled": True}))) == [
        "x-tyk-api-gateway.middleware.operations.one.validateRequest.enabled"
    ]
    assert list(refused(oas(info={"versioning": {"enabled": True}}))) == ["x-tyk-api-gateway.info.versioning.enabled"]
    assert list(refused(oas(server={"authentication": {"enabled": True, "custom": {"enabled": True}}}))) == [
        "x-tyk-api-gateway.server.authentication.custom.enabled"
    ]


RAW = {"protocol": "tls", "listen_port": 9000}


def raw(**members: Any) -> dict[str, Any]:
    return classic(proxy={"target_url": "tcp://db.test:5432"}, **{**RAW, **members})


def test_raw_services_say_who_may_come() -> None:
    """Nobody can send them a token: keyless, or client certificates, has to be written."""
    context = make_context(disable_ports_whitelist=True)
    assert accepted(raw(), context).keyless
    assert accepted(raw(use_keyless=False, use_mutual_tls_auth=True, client_certificates=["/a.pem"]), context).keyless
    assert "answers everybody" in refused(raw(use_keyless=False), context)["use_keyless"]
    assert "not active yet" in refused(raw(use_keyless=False, use_oauth2=True), context)["use_oauth2"]


@pytest.mark.parametrize(
    ("members", "path"),
    [
        ({"protocol": "tcp", "use_mutual_tls_auth": True, "client_certificates": ["/a.pem"]}, "use_mutual_tls_auth"),
        ({"allowed_ips": ["10.0.0.0/8"]}, "allowed_ips"),
        ({"blacklisted_ips": ["10.0.0.0/8"]}, "blacklisted_ips"),
        ({"expiration": "3000-01-01 00:00"}, "expiration"),
        ({"version": {"expires": "3000-01-01 00:00"}}, "version_data"),
        ({"version": {"extended_paths": {"white_list": [{"path": "/a"}]}}}, "version_data"),
        ({"version": {"extended_paths": {"mock_response": [{"path": "/a"}]}}}, "version_data"),
        ({"version": {"global_size_limit": 5}}, "version_data"),
        ({"version_data": {"not_versioned": True, "versions": {}}}, "version_data"),
    ],
)
def test_raw_services_refuse_what_they_cannot_keep(members: dict[str, Any], path: str) -> None:
    """A rule that would turn somebody away must not fall away in silence."""
    assert list(refused(raw(**members), make_context(disable_ports_whitelist=True))) == [path]


def test_raw_services_name_what_has_no_effect() -> None:
    """Headers and CORS open nothing by their absence."""
    signing = {"is_enabled": True, "key_id": "k", "algorithm": "hmac-sha256", "secret": "s"}
    tree = raw(CORS={"enable": True, "allowed_origins": ["https://a"]}, version={"global_headers": {"X-A": "1"}}, request_signing=signing)
    api, problems = parse(tree, make_context(disable_ports_whitelist=True))
    assert api is not None and [problem.path for problem in problems] == ["request_signing", "CORS", "version_data"]
