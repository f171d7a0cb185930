"""The checked tree of tyk.conf becomes records: defaults, ranges, rules between fields."""

from __future__ import annotations

from typing import Any

import pytest

from tlsgate.config.build import PUBLISHED_SECRET, split_pins
from tlsgate.config.load import parse_config
from tlsgate.config.model import GatewayConfig, LegacyCertificate, PortRange, PortWhitelist

GOOD = {"secret": "a-long-random-text-of-the-tests"}


def build(**members: Any) -> tuple[GatewayConfig, list[str]]:
    loaded = parse_config({**GOOD, **members}, "tyk.conf", {})
    return loaded.config, [f"{problem.severity}: {problem.path}: {problem.message}" for problem in loaded.problems]


def good(**members: Any) -> GatewayConfig:
    config, problems = build(**members)
    assert problems == []
    return config


def test_defaults_are_those_of_tyk_or_safer() -> None:
    """Reference, section 1.3; decisions 4.2: path matching is anchored unless it is switched off."""
    config = good()
    assert (config.listen_address, config.listen_port, config.hostname) == ("", 8080, "")
    assert (config.app_path, config.policy_source, config.template_path, config.pid_file) == ("apps/", "file", "", "")
    assert (config.http.min_version, config.http.max_version, config.http.use_ssl) == (771, 772, False)
    assert (config.http.read_timeout_s, config.http.write_timeout_s) == (120.0, 120.0)
    assert config.http.enable_path_prefix_matching and config.http.enable_path_suffix_matching
    assert (config.proxy.default_timeout_s, config.proxy.max_idle_connections_per_host) == (30.0, 100)
    assert (config.storage.type, config.storage.path) == ("sqlite", "tlsgate.db")
    assert (config.control.health_endpoint, config.control.readiness_endpoint) == ("hello", "ready")
    assert config.graceful_shutdown_timeout_s == 30.0
    assert not config.own.development and config.own.alias_routes and config.own.require_client_usage
    assert config.raw == GOOD and config.source == "tyk.conf"


def test_fields_are_read() -> None:
    """One of each kind."""
    config = good(
        hostname="Gate.Example.Test.",
        listen_address="127.0.0.1",
        listen_port=0,
        control_api_hostname="CONTROL.test",
        control_api_port=9696,
        node_secret="n",
        app_path="/apps",
        policies={"policy_path": "/p", "policy_record_name": "r"},
        template_path="/t",
        http_server_options={
            "use_ssl": True,
            "ssl_certificates": [" /a.pem "],
            "certificates": [{"domain_name": "A.Test", "cert_file": "c", "key_file": "k"}],
            "read_timeout": 5,
            "enable_path_prefix_matching": False,
            "skip_client_ca_announcement": True,
            "max_request_body_size": 1024,
            "xff_depth": 1,
        },
        security={
            "control_api_use_mutual_tls": True,
            "certificates": {"apis": ["a"], "upstream": {"*": "b"}, "control_api": ["c"]},
            "pinned_public_keys": {"up.test": "d, e"},
            "certificate_expiry_monitor": {"warning_threshold_days": 7},
        },
        storage={"type": "redis", "host": "r", "port": 7},
        proxy_default_timeout=2.5,
        max_idle_connections=9,
        proxy_close_connections=True,
        ssl_force_common_name_check=True,
        enable_custom_domains=True,
        close_connections=True,
        hide_generator_header=True,
        ignore_endpoint_case=True,
        ports_whitelist={"tcp": {"ranges": [{"from": 1, "to": 5}], "ports": [9]}},
        graceful_shutdown_timeout_duration=3,
        pid_file_location="/run/x.pid",
        secrets={"k": "v"},
        kv={"file": {"base_path": "/run"}},
        health_check_endpoint_name="/live/",
        override_messages={"auth.key_not_found": {"code": 400}},
        error_overrides={"4xx": [{"response": {"body": "x"}}]},
    )
    assert (config.hostname, config.listen_address, config.listen_port) == ("gate.example.test", "127.0.0.1", 0)
    assert (config.control.hostname, config.control.port, config.node_secret) == ("control.test", 9696, "n")
    assert (config.app_path, config.policy_path, config.policy_record_name, config.template_path) == ("/apps", "/p", "r", "/t")
    assert config.http.use_ssl and config.http.ssl_certificates == ("/a.pem",) and config.http.read_timeout_s == 5.0
    assert config.http.certificates == (LegacyCertificate(domain_name="a.test", cert_file="c", key_file="k"),)
    assert not config.http.enable_path_prefix_matching and config.http.enable_path_suffix_matching
    assert config.http.skip_client_ca_announcement and config.http.max_request_body_size == 1024 and config.http.xff_depth == 1
    assert (config.security.apis, config.security.upstream, config.security.control_api) == (("a",), (("*", "b"),), ("c",))
    assert config.security.pinned_public_keys == (("up.test", ("d", "e")),) and config.security.warning_threshold_days == 7
    assert (config.storage.type, config.storage.host, config.storage.port) == ("redis", "r", 7)
    assert (config.proxy.default_timeout_s, config.proxy.max_idle_connections, config.proxy.close_connections) == (2.5, 9, True)
    assert config.enable_custom_domains and config.close_connections and config.hide_generator_header and config.ignore_endpoint_case
    assert config.ports_whitelist == (("tcp", PortWhitelist(ranges=(PortRange(first=1, last=5),), ports=(9,))),)
    assert (config.graceful_shutdown_timeout_s, config.pid_file, config.secrets, config.kv_base_path) == (
        3.0,
        "/run/x.pid",
        {"k": "v"},
        "/run",
    )
    assert config.control.health_endpoint == "live"
    assert config.override_messages == (("auth.key_not_found", 400, ""),) and config.error_overrides[0].body == "x"


def test_own_settings_are_read() -> None:
    """Everything below tlsgate."""
    own = good(
        tlsgate={
            "api_definitions": [{"api_id": "a"}],
            "trusted_proxies": ["10.0.0.1/8", "::1"],
            "underscore_headers": "refuse",
            "keep_client_certificate_headers": True,
            "alias_routes": False,
            "upstream_ca": ["/ca.pem"],
            "limits": {"head_timeout_s": 3, "max_fields": 50, "idle_timeout_s": 0.5},
            "log": {"access": True, "json": False, "file": "/log", "level": "debug"},
            "certificate_folders": ["/certs"],
            "upstream_error_status": 502,
            "client_certificates": {"require_client_usage": False, "ask_for_bound_keys": True},
            "require_explicit_authentication": True,
        }
    ).own
    assert own.api_definitions == ({"api_id": "a"},) and own.trusted_proxies == ("10.0.0.0/8", "::1")
    assert (own.underscore_headers, own.keep_client_certificate_headers, own.alias_routes) == ("refuse", True, False)
    assert (own.upstream_ca, own.certificate_folders, own.upstream_error_status) == (("/ca.pem",), ("/certs",), 502)
    assert (own.limits.head_timeout_s, own.limits.max_fields, own.limits.idle_timeout_s, own.limits.backlog) == (3.0, 50, 0.5, 1024)
    assert (own.log.access, own.log.json, own.log.file, own.log.level) == (True, False, "/log", "debug")
    assert not own.require_client_usage and own.require_explicit_authentication and own.ask_for_bound_keys


@pytest.mark.parametrize(
    ("members", "path"),
    [
        ({"listen_port": -1}, "listen_port"),
        ({"listen_port": 65536}, "listen_port"),
        ({"control_api_port": 65536}, "control_api_port"),
        ({"hostname": "a b"}, "hostname"),
        ({"control_api_hostname": "/"}, "control_api_hostname"),
        ({"storage": {"type": "etcd"}}, "storage.type"),
        ({"storage": {"port": 65536}}, "storage.port"),
        ({"policies": {"policy_source": "ftp"}}, "policies.policy_source"),
        ({"health_check_endpoint_name": "a?b"}, "health_check_endpoint_name"),
        ({"readiness_check_endpoint_name": "../x"}, "readiness_check_endpoint_name"),
        ({"http_server_options": {"ssl_ciphers": ["TLS_AES_128_GCM_SHA256", "nothing"]}}, "http_server_options.ssl_ciphers[1]"),
        ({"proxy_ssl_ciphers": ["nothing"]}, "proxy_ssl_ciphers[0]"),
        ({"http_server_options": {"certificates": [{"cert_file": "c"}]}}, "http_server_options.certificates[0]"),
        (
            {"http_server_options": {"certificates": [{"domain_name": "a b", "cert_file": "c", "key_file": "k"}]}},
            "http_server_options.certificates[0].domain_name",
        ),
        ({"http_server_options": {"read_timeout": -1}}, "http_server_options.read_timeout"),
        ({"http_server_options": {"xff_depth": -1}}, "http_server_options.xff_depth"),
        ({"proxy_default_timeout": -0.5}, "proxy_default_timeout"),
        ({"ports_whitelist": {"tcp": {"ranges": [{"from": 5, "to": 4}]}}}, "ports_whitelist.tcp.ranges[0]"),
        ({"ports_whitelist": {"tcp": {"ranges": [{"from": 5, "to": 70000}]}}}, "ports_whitelist.tcp.ranges[0].to"),
        ({"tlsgate": {"upstream_error_status": 503}}, "tlsgate.upstream_error_status"),
        ({"tlsgate": {"underscore_headers": "keep"}}, "tlsgate.underscore_headers"),
        ({"tlsgate": {"trusted_proxies": ["10.0.0.0/8", "x"]}}, "tlsgate.trusted_proxies[1]"),
        ({"tlsgate": {"limits": {"head_timeout_s": 0}}}, "tlsgate.limits.head_timeout_s"),
        ({"tlsgate": {"limits": {"max_fields": 0}}}, "tlsgate.limits.max_fields"),
        ({"tlsgate": {"log": {"level": "loud"}}}, "tlsgate.log.level"),
        ({"tlsgate": {"nothing": 1}}, "tlsgate.nothing"),
        ({"tlsgate": {"limits": {"nothing": 1}}}, "tlsgate.limits.nothing"),
        ({"tlsgate": {"client_certificates": {"nothing": 1}}}, "tlsgate.client_certificates.nothing"),
        ({"error_overrides": {"x": []}}, "error_overrides.x"),
    ],
)
def test_bad_values_are_errors_with_their_path(members: dict[str, Any], path: str) -> None:
    """The rest is read all the same, so that every problem is found at once."""
    config, problems = build(**members)
    errors = [problem.split(": ")[1] for problem in problems if problem.startswith("error")]
    assert path in errors
    assert config.control.secret == GOOD["secret"]


def test_all_problems_are_found_at_once() -> None:
    """Not the first one only."""
    _, problems = build(listen_port="x", hostname="a b", storage={"type": "etcd"}, tlsgate={"nothing": 1}, bogus=1)
    assert len(problems) == 5


@pytest.mark.parametrize(
    ("lowest", "highest", "result", "severity"),
    [
        (0, 0, (771, 772), ""),
        (771, 0, (771, 772), ""),
        (772, 0, (772, 772), ""),
        (0, 771, (771, 771), ""),
        (0, 772, (771, 772), ""),
        (772, 772, (772, 772), ""),
        (771, 771, (771, 771), ""),
        (769, 0, (771, 772), "warning"),
        (770, 771, (771, 771), "warning"),
        (769, 770, (771, 771), "warning"),
        (772, 771, (771, 772), "error"),
        (0, 770, (771, 772), "error"),
        (773, 0, (771, 772), "error"),
        (768, 0, (771, 772), "error"),
        (1, 0, (771, 772), "error"),
        (0, 999, (771, 772), "error"),
    ],
)
@pytest.mark.parametrize("upstream", [False, True])
def test_tls_versions(lowest: int, highest: int, result: tuple[int, int], severity: str, upstream: bool) -> None:
    """mTLS reference, section 3; decisions 1.11: TLS 1.2 is the floor, lower ones are raised with a warning."""
    members = {"min_version": lowest, "max_version": highest}
    tree = {f"proxy_ssl_{name}": value for name, value in members.items()} if upstream else {"http_server_options": members}
    config, problems = build(**tree)
    made = config.proxy if upstream else config.http
    assert (made.min_version, made.max_version) == result
    assert {problem.split(":")[0] for problem in problems} == ({severity} if severity else set())


def test_a_certificate_for_no_upstream_is_said() -> None:
    """The seed: with the protocol a domain matches nothing."""
    _, (problem,) = build(security={"certificates": {"upstream": {"https://up.test": "/c.pem", "up.test:8443": "/c.pem"}}})
    assert problem == "warning: security.certificates.upstream.https://up.test: matches no upstream"


def test_swapped_tls_versions_have_the_known_message() -> None:
    """Reference, section 1.3."""
    _, (problem,) = build(proxy_ssl_min_version=772, proxy_ssl_max_version=771)
    assert problem == "error: proxy_ssl_min_version: TLS validation error: minTLS (0x0304) cannot be greater than maxTLS (0x0303)"


@pytest.mark.parametrize(
    ("members", "secret", "severity"),
    [
        ({}, "", "warning"),
        ({"secret": None}, "", "warning"),
        ({"secret": ""}, "", "error"),
        ({"secret": PUBLISHED_SECRET}, PUBLISHED_SECRET, "error"),
        ({"secret": "x" * 15}, "x" * 15, "warning"),
        ({"secret": "x" * 16}, "x" * 16, ""),
        ({"tlsgate": {"development": True}}, PUBLISHED_SECRET, "warning"),
        ({"secret": "", "tlsgate": {"development": True}}, "", "warning"),
        ({"secret": PUBLISHED_SECRET, "tlsgate": {"development": True}}, PUBLISHED_SECRET, "warning"),
        ({"secret": "x" * 16, "tlsgate": {"development": True}}, "x" * 16, ""),
    ],
)
def test_secrets_of_the_control_api(members: dict[str, Any], secret: str, severity: str) -> None:
    """Decisions 4.4: only development mode takes the published secret; without any the control API refuses every call."""
    loaded = parse_config(members, "tyk.conf", {})
    assert loaded.config.control.secret == secret
    assert [problem.severity for problem in loaded.problems] == ([severity] if severity else [])
    assert not any(PUBLISHED_SECRET in str(problem) or "xxx" in str(problem) for problem in loaded.problems)


def test_what_is_odd_is_a_warning() -> None:
    """It stops nothing."""
    _, problems = build(
        proxy_ssl_insecure_skip_verify=True,
        ports_whitelist={"udp": {}},
        http_server_options={"use_ssl_le": True, "enable_http2": True, "ssl_certificates": [" "]},
    )
    assert [problem.split(": ")[1] for problem in problems] == [
        "http_server_options.ssl_certificates[0]",
        "http_server_options.use_ssl_le",
        "http_server_options.enable_http2",
        "proxy_ssl_insecure_skip_verify",
        "ports_whitelist.udp",
    ]
    assert all(problem.startswith("warning") for problem in problems)


def test_pins_are_split_at_commas() -> None:
    """Empty parts are none."""
    assert split_pins((("a", "x,y"), ("b", " z ,"), ("c", ""))) == (("a", ("x", "y")), ("b", ("z",)), ("c", ()))


def test_settings_of_the_certificate_store() -> None:
    """Folders, in-use check, cool-downs (0 is Tyk's default), and a secret of its own."""
    monitor = {"check_cooldown_seconds": 60, "event_cooldown_seconds": 0}
    config = good(
        security={"private_certificate_encoding_secret": "x" * 32, "certificate_expiry_monitor": monitor},
        tlsgate={"certificates": {"folders": ["/c"], "refuse_delete_in_use": True}},
    )
    security, certificates = config.security, config.own.certificates
    assert (security.encoding_secret, security.check_cooldown_s, security.event_cooldown_s) == ("x" * 32, 60, 86400)
    assert (certificates.folders, certificates.refuse_delete_in_use) == (("/c",), True)


def test_a_published_secret_protects_no_private_key() -> None:
    """It stops the start, except in development (mTLS reference, section 2)."""
    published = {"private_certificate_encoding_secret": PUBLISHED_SECRET}
    (problem,) = build(security=published)[1]
    assert problem.startswith("error: security.private_certificate_encoding_secret: ")
    assert build(security=published, tlsgate={"development": True})[1] == []


def test_settings_of_metrics() -> None:
    """A listener of its own, on loopback unless said otherwise; it cannot have a port that is taken."""
    assert good().own.metrics.port == 0
    metrics = good(tlsgate={"metrics": {"port": 9464, "address": "::", "max_apis": 7}}).own.metrics
    assert (metrics.port, metrics.address, metrics.max_apis) == (9464, "::", 7)
    assert good(tlsgate={"metrics": {"port": 9464}}).own.metrics.address == "127.0.0.1"
    for members, path in (
        ({"listen_port": 9464, "tlsgate": {"metrics": {"port": 9464}}}, "tlsgate.metrics.port"),
        ({"control_api_port": 9464, "tlsgate": {"metrics": {"port": 9464}}}, "tlsgate.metrics.port"),
        ({"tlsgate": {"metrics": {"address": "localhost"}}}, "tlsgate.metrics.address"),
        ({"tlsgate": {"metrics": {"max_apis": 0}}}, "tlsgate.metrics.max_apis"),
    ):
        _, problems = build(**members)
        assert any(problem.startswith("error") and f" {path}:" in problem for problem in problems), (members, problems)


def test_workers_need_a_store_that_they_share() -> None:
    """One process by default; each of several would have a memory of its own."""
    assert good().own.workers == 0
    assert good(tlsgate={"workers": 4}).own.workers == 4
    assert good(tlsgate={"workers": 1}, storage={"type": "memory"}).own.workers == 1
    _, problems = build(tlsgate={"workers": 2}, storage={"type": "memory"})
    assert problems == ["error: storage.type: each of several workers would have keys and counters of its own"]
    for number in (-1, 257):
        assert [text for text in build(tlsgate={"workers": number})[1] if text.startswith("error: tlsgate.workers")]


def test_the_unsafe_rule_of_dynamic_mtls_is_told_of() -> None:
    """Off unless asked for, and never without a word."""
    assert not good().security.allow_unsafe_dynamic_mtls_token
    config, (problem,) = build(security={"allow_unsafe_dynamic_mtls_token": True})
    assert config.security.allow_unsafe_dynamic_mtls_token
    assert problem.startswith("warning: security.allow_unsafe_dynamic_mtls_token: ")
