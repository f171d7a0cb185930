"""TYK_GW_* variables override fields of the file."""

from __future__ import annotations

from typing import Any

import pytest

from tlsgate.config.environment import apply_environment, omits_file, origins_of, variable_of
from tlsgate.config.problems import Problems


def apply(tree: dict[str, Any] | None = None, **environ: str) -> tuple[dict[str, Any], list[str]]:
    problems = Problems("environment")
    made = apply_environment(tree or {}, {f"TYK_GW_{name}": value for name, value in environ.items()}, problems)
    return made, [str(problem) for problem in problems.all()]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("listen_port", "LISTENPORT"),
        ("http_server_options.enable_strict_routes", "HTTPSERVEROPTIONS_ENABLESTRICTROUTES"),
        ("storage.host", "STORAGE_HOST"),
        ("storage.optimisation_max_idle", "STORAGE_MAXIDLE"),
        ("cache_storage.optimisation_max_active", "CACHESTORAGE_MAXACTIVE"),
        ("max_idle_connections", "MAXIDLECONNS"),
        ("max_idle_connections_per_host", "MAXIDLECONNSPERHOST"),
        ("proxy_ssl_ciphers", "PROXYSSLCIPHERSUITES"),
        ("http_server_options.ssl_ciphers", "HTTPSERVEROPTIONS_CIPHERS"),
        ("security.certificates.apis", "SECURITY_CERTIFICATES_API"),
        ("security.certificates.control_api", "SECURITY_CERTIFICATES_CONTROLAPI"),
        ("security.certificates.dashboard_api", "SECURITY_CERTIFICATES_DASHBOARD"),
        ("security.certificates.mdcb_api", "SECURITY_CERTIFICATES_MDCB"),
        ("security.control_api_use_mutual_tls", "SECURITY_CONTROLAPIUSEMUTUALTLS"),
        ("ports_whitelist", "PORTWHITELIST"),
        ("disable_ports_whitelist", "DISABLEPORTWHITELIST"),
        ("suppress_default_org_store", "SUPRESSDEFAULTORGSTORE"),
        ("oauth_refresh_token_expire", "OAUTHREFRESHEXPIRE"),
        ("enable_separate_cache_store", "ENABLESEPERATECACHESTORE"),
        ("enable_separate_analytics_store", "ENABLESEPERATEANALYTICSSTORE"),
        ("oas_config.validate_examples", "OAS_VALIDATEEXAMPLES"),
        ("enable_http_profiler", "HTTPPROFILE"),
        ("tracing.enabled", "TRACER_ENABLED"),
        ("slave_options.bind_to_slugs", "SLAVEOPTIONS_BINDTOSLUGSINSTEADOFLISTENPATHS"),
        ("local_session_cache.disable_cached_session_state", "LOCALSESSIONCACHE_DISABLECACHESESSIONSTATE"),
        ("local_session_cache.cached_session_eviction", "LOCALSESSIONCACHE_CACHESESSIONEVICTION"),
        ("monitor.configuration.header_map", "MONITOR_CONFIG_HEADERLIST"),
        ("analytics_config.normalise_urls.custom_patterns", "ANALYTICSCONFIG_NORMALISEURLS_CUSTOM"),
        ("analytics_config.geo_ip_db_path", "ANALYTICSCONFIG_GEOIPDBLOCATION"),
        ("health_check.health_check_value_timeouts", "HEALTHCHECK_HEALTHCHECKVALUETIMEOUT"),
        ("optimisations_use_async_session_write", "USEASYNCSESSIONWRITE"),
        ("tlsgate.limits.max_fields", "TLSGATE_LIMITS_MAXFIELDS"),
    ],
)
def test_names_of_variables(path: str, name: str) -> None:
    """Reference, section 1.2: parts without underscores, with its exceptions."""
    assert variable_of(tuple(path.split("."))) == f"TYK_GW_{name}"


@pytest.mark.parametrize(
    ("name", "text", "tree"),
    [
        ("LISTENPORT", "9090", {"listen_port": 9090}),
        ("LISTENPORT", "0x1F90", {"listen_port": 8080}),
        ("LISTENPORT", "+1", {"listen_port": 1}),
        ("HOSTNAME", "", {"hostname": ""}),
        ("HOSTNAME", " a b ", {"hostname": " a b "}),
        ("HASHKEYS", "1", {"hash_keys": True}),
        ("HASHKEYS", "t", {"hash_keys": True}),
        ("HASHKEYS", "TRUE", {"hash_keys": True}),
        ("HASHKEYS", "f", {"hash_keys": False}),
        ("HASHKEYS", "False", {"hash_keys": False}),
        ("PROXYDEFAULTTIMEOUT", "2.5", {"proxy_default_timeout": 2.5}),
        ("PROXYDEFAULTTIMEOUT", "1e2", {"proxy_default_timeout": 100.0}),
        ("LIVENESSCHECK_CHECKDURATION", "10s", {"liveness_check": {"check_duration": 10_000_000_000}}),
        ("HTTPSERVEROPTIONS_SSLCERTIFICATES", "/a.pem,/b.pem", {"http_server_options": {"ssl_certificates": ["/a.pem", "/b.pem"]}}),
        ("HTTPSERVEROPTIONS_SSLCERTIFICATES", "", {"http_server_options": {"ssl_certificates": []}}),
        (
            "SECURITY_CERTIFICATES_UPSTREAM",
            "*:/p.pem,example.com:id",
            {"security": {"certificates": {"upstream": {"*": "/p.pem", "example.com": "id"}}}},
        ),
        ("SECRETS", "", {"secrets": {}}),
        ("PORTWHITELIST", '{"tcp": {"ports": [1]}}', {"ports_whitelist": {"tcp": {"ports": [1]}}}),
        (
            "HTTPSERVEROPTIONS_CERTIFICATES",
            '[{"domain_name": "a", "cert_file": "b", "key_file": "c"}]',
            {"http_server_options": {"certificates": [{"domain_name": "a", "cert_file": "b", "key_file": "c"}]}},
        ),
        ("KV_STORES", '{"a": {"type": "env"}}', {"kv": {"stores": {"a": {"type": "env"}}}}),
        ("LABS", "", {"labs": None}),
        ("EVENTTRIGGERS", "[1]", {"event_trigers_defunct": [1]}),
        ("TLSGATE_DEVELOPMENT", "true", {"tlsgate": {"development": True}}),
    ],
)
def test_formats(name: str, text: str, tree: dict[str, Any]) -> None:
    """By type; a variable that is set but empty overrides where its type has an empty value."""
    assert apply(None, **{name: text}) == (tree, [])


@pytest.mark.parametrize(
    ("name", "text", "needed"),
    [
        ("LISTENPORT", "80a", "a whole number"),
        ("LISTENPORT", "", "a whole number"),
        ("LISTENPORT", "8_0", "a whole number"),
        ("LISTENPORT", "١", "a whole number"),
        ("LISTENPORT", "9" * 5000, "a whole number"),
        ("HASHKEYS", "yes", "true or false"),
        ("HASHKEYS", "", "true or false"),
        ("PROXYDEFAULTTIMEOUT", "inf", "a number"),
        ("PROXYDEFAULTTIMEOUT", "1,5", "a number"),
        ("LIVENESSCHECK_CHECKDURATION", "10", "a duration such as 10s"),
        ("SECURITY_CERTIFICATES_UPSTREAM", "/p.pem", "a list of key:value"),
        ("SECURITY_CERTIFICATES_UPSTREAM", "a:8443:/p.pem", "a list of key:value"),
        ("PORTWHITELIST", "{", "JSON text"),
        ("PORTWHITELIST", '{"tcp": {}, "tcp": {}}', "JSON text"),
        ("KV_STORES", "[" * 5000, "JSON text"),
        ("EVENTTRIGGERS", "{", "JSON text"),
    ],
)
def test_values_that_do_not_parse_are_errors(name: str, text: str, needed: str) -> None:
    """They stop the start, and name the variable."""
    tree, (problem,) = apply(None, **{name: text})
    assert tree == {}
    assert problem.startswith(f"error: environment: TYK_GW_{name}: {needed}")


def test_json_of_the_wrong_shape_is_an_error() -> None:
    """As in the file, but under the variable's name."""
    tree, problems = apply(None, PORTWHITELIST="[1]")
    assert tree == {"ports_whitelist": None}
    assert problems == ["error: environment: TYK_GW_PORTWHITELIST: must be an object, not a list (value: a list of 1)"]


def test_a_bad_secret_is_not_shown() -> None:
    """Not its beginning either."""
    _, (problem,) = apply(None, SECRETS="a:hunter2:hunter3")
    assert "hunter" not in problem


def test_spelling_in_the_file_does_not_matter() -> None:
    """The variable replaces the member, however the file writes it."""
    assert apply({"Listen_Port": 1, "STORAGE": {"Host": "a", "port": 2}}, LISTENPORT="3", STORAGE_HOST="b") == (
        {"Listen_Port": 3, "STORAGE": {"Host": "b", "port": 2}},
        [],
    )


def test_an_object_replaces_what_is_none() -> None:
    """A file that says null, or something odd, does not stop a variable."""
    assert apply({"storage": None}, STORAGE_HOST="b") == ({"storage": {"host": "b"}}, [])


def test_the_tree_of_the_file_stays_as_it_is() -> None:
    """The original may be needed for the next reload's comparison."""
    tree = {"storage": {"host": "a"}}
    made, _ = apply(tree, STORAGE_HOST="b")
    assert tree == {"storage": {"host": "a"}} and made == {"storage": {"host": "b"}}


def test_unknown_variables_are_warnings_with_a_guess() -> None:
    """Typing errors are silent in Tyk."""
    _, problems = apply(None, LISTENPRT="1", NOTHINGLIKEIT="1")
    assert problems == [
        "warning: environment: TYK_GW_LISTENPRT: there is no field that this variable overrides; did you mean TYK_GW_LISTENPORT?",
        "warning: environment: TYK_GW_NOTHINGLIKEIT: there is no field that this variable overrides",
    ]


def test_other_variables_are_left_alone() -> None:
    """TYK_GW_OMITCONFIGFILE is for the start, others are not ours."""
    problems = Problems("environment")
    assert apply_environment({}, {"PATH": "/bin", "TYK_LOGLEVEL": "debug", "TYK_GW_OMITCONFIGFILE": "true"}, problems) == {}
    assert problems.all() == []


@pytest.mark.parametrize(("value", "omits"), [("true", True), ("1", True), ("TRUE", True), ("false", False), ("", False), ("yes", False)])
def test_the_file_can_be_left_out(value: str, omits: bool) -> None:
    """For containers that are configured by the environment alone."""
    assert omits_file({"TYK_GW_OMITCONFIGFILE": value}) is omits
    assert not omits_file({})


def test_origins_name_the_variable() -> None:
    """A value that is well-formed but out of range is found later, with the other fields."""
    assert origins_of({"TYK_GW_STORAGE_TYPE": "x", "TYK_GW_NOTHING": "1", "PATH": "/"}) == {
        "storage.type": "storage.type (from TYK_GW_STORAGE_TYPE)"
    }
