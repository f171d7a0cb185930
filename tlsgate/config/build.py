"""The checked tree of tyk.conf to frozen records: defaults, ranges, and the rules that join several fields.

Knows what the fields mean; must not know files or the environment. Source: reference, section 1.3; mTLS reference, section 3; decisions 1
and 4.
"""

from __future__ import annotations

import hmac
import ipaddress
from typing import TypeVar

import msgspec

from tlsgate.config.binding_rules import build_binding_rules
from tlsgate.config.error_overrides import build_error_overrides, build_message_overrides
from tlsgate.config.event_handlers import build_event_handlers
from tlsgate.config.explain import build_explain
from tlsgate.config.hmac_rules import build_hmac_rules
from tlsgate.config.keys import build_keys, build_limits
from tlsgate.config.model import (
    MAX_BASIC_BODY,
    AccessLogSettings,
    BasicDefaults,
    CertificateSettings,
    ConnectionLimits,
    ControlSettings,
    EventSettings,
    GatewayConfig,
    HttpServerOptions,
    IdentityProviderSettings,
    LegacyCertificate,
    MetricsSettings,
    OwnSettings,
    PortRange,
    PortWhitelist,
    ProxyDefaults,
    SecuritySettings,
)
from tlsgate.config.oauth_service import build_oauth_service
from tlsgate.config.section import Section
from tlsgate.config.signature_rules import build_message_signatures, build_signing_rules
from tlsgate.config.storage import build_storage
from tlsgate.config.trees import Tree
from tlsgate.config.values import parse_host, parse_network, parse_suite
from tlsgate.model.credentials import HmacRules, MessageSignatureRules, SigningRules
from tlsgate.model.tokens import BindingRules
from tlsgate.pki.upstream import names_upstream

__all__ = ["PUBLISHED_SECRET", "build_config", "build_references", "build_suites", "build_upstream_pairs", "build_versions"]

PUBLISHED_SECRET = "352d20ee67be67f6340b4c0605b044b7"  # noqa: S105 (known to everybody: it is recognised in order to be refused)
SEPARATE_MEMORIES = "each of several workers would have keys and counters of its own"
DEFAULT_APP_PATH = "apps/"
_LOWEST, _HIGHEST = 771, 772
_VERSIONS = {769: "TLS 1.0", 770: "TLS 1.1", 771: "TLS 1.2", 772: "TLS 1.3"}
_MAX_PORT = 65535
_MAX_WORKERS = 256
_JWKS_CACHE_S = 240
_MAX_INTERVAL_S = 86400
_Record = TypeVar("_Record", bound=msgspec.Struct)


def build_config(section: Section, file: str, raw: Tree) -> GatewayConfig:
    """Return the configuration; what is wrong is noted with the section's problems.

    :param section: all of tyk.conf, checked.
    :param file: where it came from.
    :param raw: the tree as written, after environment overrides.
    """
    own = _build_own(section.section("tlsgate"))
    policies = section.section("policies")
    listen_port = section.integer("listen_port", 8080, high=_MAX_PORT)
    control = _build_control(section, own.development)
    if own.metrics.port and own.metrics.port in (listen_port, control.port):
        section.section("tlsgate").section("metrics").error("port", "the gateway or its control API has this port", "take another one")
    storage = build_storage(section.section("storage"), section.text("node_secret"))
    if own.workers > 1 and storage.type == "memory":
        section.section("storage").error("type", SEPARATE_MEMORIES, "use sqlite or redis, or one worker")
    return GatewayConfig(
        source=file,
        listen_address=section.text("listen_address"),
        listen_port=listen_port,
        hostname=_host(section, "hostname"),
        node_secret=_build_node_secret(section, own.development),
        control=control,
        app_path=section.text("app_path") or DEFAULT_APP_PATH,
        policy_source=_choice(policies, "policy_source", ("file", "service", "rpc"), "file"),
        policy_path=policies.text("policy_path"),
        policy_record_name=policies.text("policy_record_name"),
        template_path=section.text("template_path"),
        http=_build_http(section.section("http_server_options")),
        security=_build_security(section.section("security"), development=own.development),
        storage=storage,
        proxy=_build_proxy(section),
        enable_custom_domains=section.flag("enable_custom_domains"),
        close_connections=section.flag("close_connections"),
        hide_generator_header=section.flag("hide_generator_header"),
        ignore_endpoint_case=section.flag("ignore_endpoint_case"),
        override_messages=build_message_overrides(section, "override_messages"),
        error_overrides=build_error_overrides(section.tree.get("error_overrides", {}), "error_overrides", section.problems),
        disable_ports_whitelist=section.flag("disable_ports_whitelist"),
        ports_whitelist=_build_whitelist(section),
        graceful_shutdown_timeout_s=section.number("graceful_shutdown_timeout_duration", 0, high=86400) or 30.0,
        pid_file=section.text("pid_file_location"),
        secrets=dict(section.pairs("secrets")),
        kv_base_path=section.section("kv").section("file").text("base_path"),
        jwks_cache_s=_jwks_cache(section.section("jwks").section("cache")),
        jwt_ssl_insecure_skip_verify=_skip_verify(section),
        oauth_service=build_oauth_service(section.section("external_services")),
        own=own,
        keys=build_keys(section),
        rate_limits=build_limits(section),
        event_handlers=build_event_handlers(section.section("event_handlers"), of_gateway=True),
        raw=raw,
    )


def _jwks_cache(section: Section) -> float:
    """Return ``jwks.cache.timeout``; 0 and less is the default."""
    return float(max(section.integer("timeout", low=-1), 0) or _JWKS_CACHE_S)


def _skip_verify(section: Section) -> bool:
    found = section.flag("jwt_ssl_insecure_skip_verify")
    if found:
        section.warning(
            "jwt_ssl_insecure_skip_verify",
            "WHOEVER IS ON THE WAY TO AN IDENTITY PROVIDER CAN MAKE TOKENS",
            "name its CA in tlsgate.upstream_ca",
        )
    return found


def _build_node_secret(section: Section, development: bool) -> str:
    """Return ``node_secret``; over Redis whoever can write there would speak for gateways without one (keys reference, section 4)."""
    secret = section.text("node_secret")
    if not secret and section.section("storage").text("type") == "redis":
        message, remedy = "messages between gateways in Redis would carry no signature", "set a long random text, the same on every gateway"
        if development:
            section.warning("node_secret", message, remedy)
        else:
            section.error("node_secret", message, remedy)
    return secret


def build_versions(section: Section, low: str, high: str, *, default: tuple[int, int] = (_LOWEST, _HIGHEST)) -> tuple[int, int]:
    """Return lowest and highest TLS version as wire numbers, 0 or absent meaning the default.

    Source: mTLS reference, section 3 (which pairs stop the start); decisions 1.11: TLS 1.2 is the floor, 769 and 770 are raised with a
    warning.
    """
    lowest, highest = section.integer(low), section.integer(high)
    for name, value in ((low, lowest), (high, highest)):
        if value and value not in _VERSIONS:
            section.error(name, "must be 771 (TLS 1.2) or 772 (TLS 1.3)")
            return default
    if highest and (lowest or _LOWEST) > highest:
        where = high if not lowest else low
        section.error(where, f"TLS validation error: minTLS (0x{lowest or _LOWEST:04x}) cannot be greater than maxTLS (0x{highest:04x})")
        return default
    for name, value in ((low, lowest), (high, highest)):
        if 0 < value < _LOWEST:
            section.warning(name, f"{_VERSIONS[value]} is not offered, TLS 1.2 is used instead", "write 771")
    return max(lowest, _LOWEST) if lowest else default[0], max(highest, _LOWEST) if highest else default[1]


def build_suites(section: Section, name: str) -> tuple[str, ...]:
    """Return the names of cipher suites in full; an unknown one is an error (Tyk skips it, and may end with its defaults)."""
    made = []
    for index, text in enumerate(section.texts(name)):
        try:
            made.append(parse_suite(text))
        except ValueError as error:
            section.error_at(name, index, str(error))
    return tuple(made)


def build_references(section: Section, name: str) -> tuple[str, ...]:
    """Return certificate references without blanks around them; empty ones are left out with a warning."""
    made = []
    for index, text in enumerate(section.texts(name)):
        if text.strip():
            made.append(text.strip())
        else:
            section.warning_at(name, index, "an empty certificate reference")
    return tuple(made)


def build_upstream_pairs(section: Section, name: str) -> tuple[tuple[str, str], ...]:
    """Return client certificates for upstreams, by domain; domains that can match none are said."""
    for domain in section.tree.get(name, ()):
        if not names_upstream(domain):
            section.warning_at(name, domain, "matches no upstream", "write host, host:port, *.rest or *, without a scheme")
    return section.pairs(name)


def _build_control(section: Section, development: bool) -> ControlSettings:
    secret = section.text("secret")
    if development:
        if not section.has("secret"):
            secret = PUBLISHED_SECRET
        if not secret:
            section.warning("secret", "development mode: without a secret the control API refuses every call")
        elif secret == PUBLISHED_SECRET:
            section.warning("secret", "development mode: the control API is open to whoever knows the published secret")
    elif not secret and section.has("secret"):
        section.error("secret", "an empty secret would open the control API to everybody", "set a long random text")
    elif not secret:
        section.warning("secret", "there is no secret: the control API refuses every call", "set a long random text")
    elif hmac.compare_digest(secret.encode(), PUBLISHED_SECRET.encode()):
        section.error("secret", "this is the secret of Tyk's sample configuration, which everybody knows", "set a long random text")
    elif len(secret) < 16:
        section.warning("secret", "the secret is short", "set a long random text")
    return ControlSettings(
        hostname=_host(section, "control_api_hostname"),
        port=section.integer("control_api_port", high=_MAX_PORT),
        secret=secret,
        health_endpoint=_endpoint(section, "health_check_endpoint_name", "hello"),
        readiness_endpoint=_endpoint(section, "readiness_check_endpoint_name", "ready"),
        reload_interval_s=float(max(1, section.integer("reload_interval", high=_MAX_INTERVAL_S))),
        health_checks=section.section("health_check").flag("enable_health_checks"),
        health_window_s=float(section.section("health_check").integer("health_check_value_timeouts", high=_MAX_INTERVAL_S) or 60),
        use_db_app_configs=section.flag("use_db_app_configs"),
    )


def _build_http(section: Section) -> HttpServerOptions:
    lowest, highest = build_versions(section, "min_version", "max_version")
    legacy = []
    for entry in section.sections("certificates"):
        if not entry.text("cert_file") or not entry.text("key_file"):
            entry.problems.error(entry.path, "needs cert_file and key_file")
            continue
        legacy.append(
            LegacyCertificate(domain_name=_host(entry, "domain_name"), cert_file=entry.text("cert_file"), key_file=entry.text("key_file"))
        )
    references = build_references(section, "ssl_certificates")
    if section.flag("use_ssl_le"):
        section.warning("use_ssl_le", "certificates are not fetched by the gateway", "name them under ssl_certificates")
    if section.flag("enable_http2"):
        section.warning("enable_http2", "HTTP/2 is not offered to clients yet, they get HTTP/1.1")
    return HttpServerOptions(
        use_ssl=section.flag("use_ssl"),
        ssl_certificates=references,
        certificates=tuple(legacy),
        server_name=section.text("server_name"),
        min_version=lowest,
        max_version=highest,
        ssl_ciphers=build_suites(section, "ssl_ciphers"),
        skip_client_ca_announcement=section.flag("skip_client_ca_announcement"),
        read_timeout_s=section.number("read_timeout", high=86400 * 366) or 120.0,
        write_timeout_s=section.number("write_timeout", high=86400 * 366) or 120.0,
        enable_websockets=section.flag("enable_websockets"),
        flush_interval_ms=section.integer("flush_interval"),
        enable_strict_routes=section.flag("enable_strict_routes"),
        enable_path_prefix_matching=section.flag("enable_path_prefix_matching", True),
        enable_path_suffix_matching=section.flag("enable_path_suffix_matching", True),
        skip_url_cleaning=section.flag("skip_url_cleaning"),
        skip_target_path_escaping=section.flag("skip_target_path_escaping"),
        max_request_body_size=section.integer("max_request_body_size"),
        xff_depth=section.integer("xff_depth", high=1000),
    )


def _build_security(section: Section, *, development: bool) -> SecuritySettings:
    certificates = section.section("certificates")
    monitor = section.section("certificate_expiry_monitor")
    encoding_secret = section.text("private_certificate_encoding_secret")
    if encoding_secret == PUBLISHED_SECRET and not development:
        section.error(
            "private_certificate_encoding_secret",
            "this is a secret that everybody knows: it protects no private key",
            "set a long random text",
        )
    unsafe = section.flag("allow_unsafe_dynamic_mtls_token")
    if unsafe:
        section.warning(
            "allow_unsafe_dynamic_mtls_token",
            "APIs with use_certificate take a token without its certificate, also one that everybody can work out from a certificate",
            "take it out when clients send their certificates",
        )
    return SecuritySettings(
        apis=build_references(certificates, "apis"),
        upstream=build_upstream_pairs(certificates, "upstream"),
        control_api=build_references(certificates, "control_api"),
        control_api_use_mutual_tls=section.flag("control_api_use_mutual_tls"),
        pinned_public_keys=split_pins(section.pairs("pinned_public_keys")),
        warning_threshold_days=monitor.integer("warning_threshold_days") or 30,
        check_cooldown_s=monitor.integer("check_cooldown_seconds") or 3600,
        event_cooldown_s=monitor.integer("event_cooldown_seconds") or 86400,
        encoding_secret=encoding_secret,
        allow_unsafe_dynamic_mtls_token=unsafe,
    )


def split_pins(pairs: tuple[tuple[str, str], ...]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return pins by domain, each a list, from the form with commas."""
    return tuple((domain, tuple(part.strip() for part in text.split(",") if part.strip())) for domain, text in pairs)


def _build_proxy(section: Section) -> ProxyDefaults:
    lowest, highest = build_versions(section, "proxy_ssl_min_version", "proxy_ssl_max_version")
    if section.flag("proxy_ssl_insecure_skip_verify"):
        section.warning(
            "proxy_ssl_insecure_skip_verify", "certificates of upstreams are not verified", "name their CA under tlsgate.upstream_ca"
        )
    return ProxyDefaults(
        default_timeout_s=section.number("proxy_default_timeout", high=86400) or 30.0,
        max_idle_connections=section.integer("max_idle_connections"),
        max_idle_connections_per_host=section.integer("max_idle_connections_per_host") or 100,
        close_connections=section.flag("proxy_close_connections"),
        insecure_skip_verify=section.flag("proxy_ssl_insecure_skip_verify"),
        min_version=lowest,
        max_version=highest,
        ciphers=build_suites(section, "proxy_ssl_ciphers"),
        force_common_name_check=section.flag("ssl_force_common_name_check"),
    )


def _build_whitelist(section: Section) -> tuple[tuple[str, PortWhitelist], ...]:
    made = []
    for protocol, entry in section.named("ports_whitelist"):
        if protocol not in ("http", "https", "h2c", "tcp", "tls"):
            section.problems.warning(entry.path, "there is no such protocol", "http, https, h2c, tcp or tls")
        ranges = []
        for item in entry.sections("ranges"):
            first, last = item.integer("from", high=_MAX_PORT), item.integer("to", high=_MAX_PORT)
            if first > last:
                item.problems.error(item.path, "from is larger than to")
            ranges.append(PortRange(first=first, last=last))
        made.append((protocol, PortWhitelist(ranges=tuple(ranges), ports=tuple(entry.tree.get("ports", ())))))
    return tuple(made)


def _build_own(section: Section) -> OwnSettings:
    definitions = section.tree.get("api_definitions", ())
    status = section.integer("upstream_error_status", 500)
    if status not in (500, 502):
        section.error("upstream_error_status", "must be 500 or 502")
    networks = []
    for index, text in enumerate(section.texts("trusted_proxies")):
        try:
            networks.append(parse_network(text))
        except ValueError:
            section.error_at("trusted_proxies", index, "must be an address or a network such as 10.0.0.0/8")
    return OwnSettings(
        development=section.flag("development"),
        api_definitions=tuple(definitions),
        trusted_proxies=tuple(networks),
        underscore_headers=_choice(section, "underscore_headers", ("drop", "refuse", "allow"), "drop"),
        keep_client_certificate_headers=section.flag("keep_client_certificate_headers"),
        alias_routes=section.flag("alias_routes", True),
        resources=section.texts("resources"),
        upstream_ca=build_references(section, "upstream_ca"),
        limits=_build_settings(section.section("limits"), ConnectionLimits),
        log=_build_log(section.section("log")),
        metrics=_build_metrics(section.section("metrics")),
        events=_build_settings(section.section("events"), EventSettings),
        basic=BasicDefaults(
            rfc7617=section.section("basic").flag("rfc7617"),
            max_body=section.section("basic").integer("max_body", BasicDefaults().max_body, low=1, high=MAX_BASIC_BODY),
        ),
        explain=build_explain(section.section("explain")),
        identity_providers=_build_providers(section.section("identity_providers")),
        certificate_folders=section.texts("certificate_folders"),
        certificates=CertificateSettings(
            folders=section.section("certificates").texts("folders"),
            refuse_delete_in_use=section.section("certificates").flag("refuse_delete_in_use"),
        ),
        upstream_error_status=status,
        require_client_usage=section.section("client_certificates").flag("require_client_usage", True),
        ask_for_bound_keys=section.section("client_certificates").flag("ask_for_bound_keys"),
        trust_unmarked_ca=section.section("client_certificates").flag("trust_unmarked_ca", True),
        require_explicit_authentication=section.flag("require_explicit_authentication"),
        binding=build_binding_rules(section, BindingRules()),
        hmac=build_hmac_rules(section.section("hmac"), HmacRules()),
        message_signatures=build_message_signatures(section.section("message_signatures"), MessageSignatureRules()),
        request_signing=build_signing_rules(section.section("request_signing"), SigningRules()),
        workers=section.integer("workers", high=_MAX_WORKERS),
    )


def _build_settings(section: Section, record: type[_Record]) -> _Record:
    """Return a record whose numbers must all be above zero."""
    values: dict[str, float] = {}
    for field in msgspec.structs.fields(record):
        if section.has(field.name):
            low = 0.001 if field.type is float else 1
            number = section.number(field.name, field.default, low=low, high=1e12)
            values[field.name] = number if field.type is float else int(number)
    return msgspec.convert(values, record)


def _build_providers(section: Section) -> IdentityProviderSettings:
    defaults = IdentityProviderSettings()
    return IdentityProviderSettings(
        timeout_s=section.number("timeout_s", defaults.timeout_s, low=0.001, high=600),
        max_bytes=section.integer("max_bytes", defaults.max_bytes, low=1, high=2**26),
        stale_s=section.number("stale_s", defaults.stale_s),
        require_https=section.flag("require_https"),
        allowed_hosts=section.texts("allowed_hosts"),
        weak_rsa=section.flag("weak_rsa"),
        assertion_key=section.text("assertion_key"),
        assertion_key_id=section.text("assertion_key_id"),
    )


def _build_metrics(section: Section) -> MetricsSettings:
    defaults = MetricsSettings()
    address = section.text("address") or defaults.address
    try:
        ipaddress.ip_address(address)
    except ValueError:
        section.error("address", "must be an IP address", "0.0.0.0 is all of them")
        address = defaults.address
    return MetricsSettings(
        port=section.integer("port", high=_MAX_PORT),
        address=address,
        max_apis=section.integer("max_apis", defaults.max_apis, low=1, high=100_000),
    )


def _build_log(section: Section) -> AccessLogSettings:
    return AccessLogSettings(
        access=section.flag("access"),
        json=section.flag("json", True),
        file=section.text("file"),
        level=_choice(section, "level", ("debug", "info", "warn", "error"), "info"),
    )


def _choice(section: Section, name: str, choices: tuple[str, ...], default: str) -> str:
    value = section.text(name) or default
    if value not in choices:
        section.error(name, f"must be one of {', '.join(choices)}")
        return default
    return value


def _host(section: Section, name: str) -> str:
    value = section.text(name)
    if not value:
        return ""
    try:
        return parse_host(value)
    except ValueError:
        section.error(name, "must be a host name")
        return ""


def _endpoint(section: Section, name: str, default: str) -> str:
    value = section.text(name).strip("/") or default
    if not all(character.isalnum() or character in "-_./" for character in value) or not value.isascii() or ".." in value:
        section.error(name, "must be a plain path such as hello")
        return default
    return value
