"""A Tyk OAS document to the model, by way of the Classic form: both forms of one API lead to equal models.

Knows which member of the extension is which Classic field; must not know what the field does. Each Classic field remembers the member
that it came from, so that problems name places in the document. Source: reference, section 15; mTLS reference, section 12.
"""

from __future__ import annotations

from collections.abc import Iterable

from tlsgate.config.durations import parse_duration
from tlsgate.config.problems import Problems
from tlsgate.config.section import Section, check
from tlsgate.config.trees import Tree
from tlsgate.definitions.classic import Context, build_api, read_place
from tlsgate.definitions.not_yet import LATER
from tlsgate.definitions.oas_auth import find_schemes, map_authentication
from tlsgate.definitions.oas_events import map_event_handlers
from tlsgate.definitions.oas_fields import EXTENSION, EXTENSION_NAME
from tlsgate.definitions.oas_mapping import Mapping
from tlsgate.definitions.oas_operations import map_operations
from tlsgate.errors import Problem
from tlsgate.model.api import ApiDefinition

__all__ = ["dump_oas", "is_oas_document", "map_to_classic", "parse_oas", "read_oas_place"]

_VERSION = "version_data.versions.Default"
_TLS_VERSIONS = {"": 0, "1.0": 769, "1.1": 770, "1.2": 771, "1.3": 772}
_MAX_WEIGHT = 1000
_PLACE = frozenset(
    f"{EXTENSION_NAME}{member}"
    for member in (
        "",
        ".server",
        ".server.listenPath",
        ".server.listenPath.value",
        ".server.customDomain",
        ".server.customDomain.enabled",
        ".server.customDomain.name",
        ".server.port",
        ".server.protocol",
    )
)
"""Members that say where an API answers."""


def is_oas_document(tree: Tree) -> bool:
    """Tell whether a tree is an OpenAPI document, with or without the extension."""
    return EXTENSION_NAME in tree or any(bool(tree.get(name)) for name in ("openapi", "swagger"))


def parse_oas(tree: Tree, source: str, context: Context) -> tuple[ApiDefinition | None, list[Problem]]:
    """Return the API of a Tyk OAS document.

    :param tree: the document as written; stays as it is, and is kept for the round trip.
    :param source: the file, or the place of an inline definition.
    :returns: (the API, or None when an error stands against it; all problems).
    """
    first = Problems(source)
    classic, origins = map_to_classic(tree, first, context)
    problems = Problems(source, origins)
    api = build_api(classic, tree, problems, context, is_oas=True, schemes=find_schemes(tree))
    return (None if first.failed or problems.failed else api), first.all() + problems.all()


def read_oas_place(tree: Tree, source: str, context: Context) -> ApiDefinition | None:
    """Return what of a refused document still counts: see :func:`tlsgate.definitions.classic.read_place`."""
    first = Problems(source)
    classic, origins = map_to_classic(tree, first, context)
    problems = Problems(source, origins)
    api = build_api(classic, tree, problems, context, is_oas=True, schemes=find_schemes(tree))
    return read_place(api, problems) if _PLACE.isdisjoint(first.error_paths) else None


def dump_oas(api: ApiDefinition) -> Tree:
    """Return a document as it was written, unknown members included."""
    return api.raw


def map_to_classic(document: Tree, problems: Problems, context: Context) -> tuple[Tree, dict[str, str]]:
    """Return the Classic form of a document, and the place in the document by Classic path.

    :param problems: takes what is wrong with the document's own form.
    """
    made = Mapping()
    # First: what a document says elsewhere and a Classic definition says here is added to it.
    made.put("x-tlsgate", _copy(document.get("x-tlsgate")), "x-tlsgate")
    _check_document(document, problems)
    extension = document.get(EXTENSION_NAME)
    section = check(extension if isinstance(extension, dict) else {}, EXTENSION, problems, EXTENSION_NAME)
    _map_info(section.section("info"), made)
    _map_server(section.section("server"), document, made, context)
    _map_upstream(section.section("upstream"), made)
    _map_global(section.section("middleware").section("global"), made)
    map_operations(section.section("middleware"), document, made, f"{_VERSION}.extended_paths")
    overrides = section.section("errorOverrides")
    made.put("error_overrides", overrides.tree.get("value"), overrides.where("value"))
    made.put("error_overrides_disabled", not overrides.flag("enabled"), overrides.where("enabled"))
    made.put("version_data.not_versioned", True, EXTENSION_NAME)
    made.put(f"{_VERSION}.name", "", EXTENSION_NAME)
    made.put(f"{_VERSION}.use_extended_paths", True, EXTENSION_NAME)
    return made.tree, made.origins


def _check_document(document: Tree, problems: Problems) -> None:
    """Note what every document needs (reference 15.1)."""
    for name in ("openapi", "info", "paths"):
        if not document.get(name) and not (name == "paths" and isinstance(document.get(name), dict)):
            problems.error(name, "is missing", "an OpenAPI document needs openapi, info and paths")
    version = document.get("openapi")
    if version and not str(version).startswith(("3.0", "3.1")):
        problems.error("openapi", "must be 3.0.x or 3.1.x", value=version)
    if "x-tyk-streaming" in document:
        problems.error("x-tyk-streaming", "not active yet: streams; the API is refused", LATER)
    extension = document.get(EXTENSION_NAME)
    if not isinstance(extension, dict):
        problems.error(EXTENSION_NAME, "the document does not say how it is served", "add the extension, or import the document")
        return
    for path, kinds in (("info.name", str), ("info.state", dict), ("server.listenPath.value", str), ("upstream", dict)):
        if not isinstance(_find(extension, path), kinds):
            problems.error(f"{EXTENSION_NAME}.{path}", "is missing")
    state = _find(extension, "info.state")
    if isinstance(state, dict) and not any(name.casefold() == "active" for name in state):
        problems.error(f"{EXTENSION_NAME}.info.state.active", "is missing")
    if isinstance(_find(extension, "info.name"), str) and not str(_find(extension, "info.name")).strip():
        problems.error(f"{EXTENSION_NAME}.info.name", "must not be blank")


def _find(tree: object, path: str) -> object:
    for name in path.split("."):
        if not isinstance(tree, dict):
            return None
        tree = next((value for written, value in tree.items() if written.casefold() == name.casefold()), None)
    return tree


def _map_info(info: Section, made: Mapping) -> None:
    made.take(info, "id", "api_id")
    made.take(info, "orgId", "org_id")
    made.take(info, "name", "name")
    made.take(info, "expiration", "expiration")
    state = info.section("state")
    made.take(state, "active", "active")
    made.take(state, "internal", "internal")
    versioning = info.section("versioning")
    made.take(versioning, "enabled", "definition.enabled")
    for member, field in (
        ("name", "name"),
        ("default", "default"),
        ("location", "location"),
        ("key", "key"),
        ("stripVersioningData", "strip_versioning_data"),
        ("urlVersioningPattern", "url_versioning_pattern"),
        ("fallbackToDefault", "fallback_to_default"),
    ):
        made.take(versioning, member, f"definition.{field}")
    versions = {entry.text("name"): entry.text("id") for entry in versioning.sections("versions")}
    made.put("definition.versions", versions or None, versioning.where("versions"))


def _map_server(server: Section, document: Tree, made: Mapping, context: Context) -> None:
    listen = server.section("listenPath")
    made.take(listen, "value", "proxy.listen_path")
    made.take(listen, "strip", "proxy.strip_listen_path")
    certificates = server.section("clientCertificates")
    made.take(certificates, "enabled", "use_mutual_tls_auth")
    made.take(certificates, "allowlist", "client_certificates")
    if not certificates.flag("enabled"):
        made.drop("client_certificates")
    map_authentication(server, document, made, context.config)
    domain = server.section("customDomain")
    made.put("domain_disabled", not domain.flag("enabled"), domain.where("enabled"))
    made.take(domain, "name", "domain")
    made.take(domain, "certificates", "certificates")
    tags = server.section("gatewayTags")
    made.put("tags_disabled", not tags.flag("enabled"), tags.where("enabled"))
    made.take(tags, "tags", "tags")
    addresses = server.section("ipAccessControl")
    made.put("ip_access_control_disabled", not addresses.flag("enabled"), addresses.where("enabled"))
    made.take(addresses, "allow", "allowed_ips")
    made.take(addresses, "block", "blacklisted_ips")
    made.take(server, "protocol", "protocol")
    made.take(server, "port", "listen_port")
    for member, field in (
        ("batchProcessing", "enable_batch_request_support"),
        ("detailedActivityLogs", "enable_detailed_recording"),
        ("detailedTracing", "detailed_tracing"),
    ):
        made.take(server.section(member), "enabled", field)
    map_event_handlers(server, made)


def _map_upstream(upstream: Section, made: Mapping) -> None:
    made.take(upstream, "url", "proxy.target_url")
    discovery = upstream.section("serviceDiscovery")
    made.take(discovery, "enabled", "proxy.service_discovery.use_discovery_service")
    tests = upstream.section("uptimeTests")
    made.put("uptime_tests.check_list", tests.tree.get("tests") if tests.flag("enabled") else None, tests.where("tests"))
    mutual = upstream.section("mutualTLS")
    made.put("upstream_certificates_disabled", not mutual.flag("enabled"), mutual.where("enabled"))
    pairs = {entry.text("domain"): entry.text("certificate") for entry in mutual.sections("domainToCertificateMapping")}
    made.put("upstream_certificates", pairs or None, mutual.where("domainToCertificateMapping"))
    pinning = upstream.section("certificatePinning")
    made.put("certificate_pinning_disabled", not pinning.flag("enabled"), pinning.where("enabled"))
    pins = {entry.text("domain"): ",".join(entry.texts("publicKeys")) for entry in pinning.sections("domainToPublicKeysMapping")}
    made.put("pinned_public_keys", pins or None, pinning.where("domainToPublicKeysMapping"))
    limit = upstream.section("rateLimit")
    made.place("global_rate_limit", limit.path)
    made.put("global_rate_limit.disabled", not limit.flag("enabled"), limit.where("enabled"))
    made.take(limit, "rate", "global_rate_limit.rate")
    made.put("global_rate_limit.per", _seconds(limit, "per"), limit.where("per"))
    login = upstream.section("authentication")
    signing = login.section("requestSigning")
    if not signing.flag("enabled") or any(login.section(way).flag("enabled") for way in ("basicAuth", "oauth")):
        # The switch stands above signing as well, which needs no log-in.
        made.take(login, "enabled", "upstream_auth.enabled")
    _map_signing(signing, made)
    _map_targets(upstream.section("loadBalancing"), made)
    made.take(upstream.section("preserveHostHeader"), "enabled", "proxy.preserve_host_header")
    made.take(upstream.section("preserveTrailingSlash"), "enabled", "proxy.disable_strip_slash")
    transport = upstream.section("tlsTransport")
    made.take(transport, "insecureSkipVerify", "proxy.transport.ssl_insecure_skip_verify")
    made.take(transport, "ciphers", "proxy.transport.ssl_ciphers")
    made.take(transport, "forceCommonNameCheck", "proxy.transport.ssl_force_common_name_check")
    for member, field in (("minVersion", "ssl_min_version"), ("maxVersion", "ssl_max_version")):
        made.put(f"proxy.transport.{field}", _tls_version(transport, member), transport.where(member))
    proxy = upstream.section("proxy")
    made.put("proxy.transport.proxy_url", proxy.text("url") if proxy.flag("enabled") else None, proxy.where("url"))
    timeout = upstream.section("enforceTimeout")
    made.put(f"{_VERSION}.global_enforce_timeout_disabled", not timeout.flag("enabled"), timeout.where("enabled"))
    made.take(timeout, "duration", f"{_VERSION}.global_enforce_timeout")


def _copy(own: object) -> object:
    """Return ``x-tlsgate`` so that members can be added; what is no object is refused by the schema, as it stands."""
    if not isinstance(own, dict):
        return own
    return {name: dict(value) if isinstance(value, dict) else value for name, value in own.items()}


def _map_signing(signing: Section, made: Mapping) -> None:
    for member, field in (
        ("enabled", "is_enabled"),
        ("signatureHeader", "signature_header"),
        ("algorithm", "algorithm"),
        ("keyId", "key_id"),
        ("headers", "header_list"),
        ("secret", "secret"),
        ("certificateId", "certificate_id"),
    ):
        made.take(signing, member, f"request_signing.{field}")


def _map_targets(balancing: Section, made: Mapping) -> None:
    made.take(balancing, "enabled", "proxy.enable_load_balancing")
    made.take(balancing, "skipUnavailableHosts", "proxy.check_host_against_uptime_tests")
    targets: list[str] = []
    for entry in balancing.sections("targets"):
        weight = entry.integer("weight", high=_MAX_WEIGHT)
        targets += [entry.text("url")] * weight
    made.put("proxy.target_list", targets, balancing.where("targets"))


def _map_global(section: Section, made: Mapping) -> None:
    cors = section.section("cors")
    made.place("CORS", cors.path)
    for member, field in (
        ("enabled", "enable"),
        ("maxAge", "max_age"),
        ("allowCredentials", "allow_credentials"),
        ("exposedHeaders", "exposed_headers"),
        ("allowedHeaders", "allowed_headers"),
        ("optionsPassthrough", "options_passthrough"),
        ("debug", "debug"),
        ("allowedOrigins", "allowed_origins"),
        ("allowedMethods", "allowed_methods"),
    ):
        made.take(cors, member, f"CORS.{field}")
    for member, field in (("transformRequestHeaders", "global_headers"), ("transformResponseHeaders", "global_response_headers")):
        headers = section.section(member)
        made.put(f"{_VERSION}.{field}_disabled", not headers.flag("enabled"), headers.where("enabled"))
        made.put(f"{_VERSION}.{field}", named_values(headers, "add"), headers.where("add"))
        made.take(headers, "remove", f"{_VERSION}.{field}_remove")
    made.take(section.section("contextVariables"), "enabled", "enable_context_vars")
    logs = section.section("trafficLogs")
    made.put("do_not_track", not logs.flag("enabled"), logs.where("enabled"))
    made.take(logs, "tagHeaders", "tag_headers")
    made.put("custom_middleware.traffic_logs", _plugins(logs.sections("plugins")), logs.where("plugins"))
    size = section.section("requestSizeLimit")
    made.put(f"{_VERSION}.global_size_limit_disabled", not size.flag("enabled"), size.where("enabled"))
    made.take(size, "value", f"{_VERSION}.global_size_limit")
    made.take(section.section("ignoreCase"), "enabled", f"{_VERSION}.ignore_endpoint_case")
    made.take(section, "skipRateLimit", "disable_rate_limit")
    made.take(section, "skipQuota", "disable_quota")
    made.take(section, "skipQuotaReset", "dont_set_quota_on_create")
    made.take(section.section("cache"), "enabled", "cache_options.enable_cache")
    config = section.section("pluginConfig")
    bundle = config.section("bundle")
    made.put("custom_middleware_bundle_disabled", not bundle.flag("enabled"), bundle.where("enabled"))
    made.take(bundle, "path", "custom_middleware_bundle")
    data = config.section("data")
    made.put("config_data_disabled", not data.flag("enabled"), data.where("enabled"))
    made.take(data, "value", "config_data")
    for member, field in (
        ("prePlugin", "pre"),
        ("postAuthenticationPlugin", "post_key_auth"),
        ("postPlugin", "post"),
        ("responsePlugin", "response"),
    ):
        entries = section.sections(f"{member}s") or section.section(member).sections("plugins")
        made.put(f"custom_middleware.{field}", _plugins(entries), section.where(f"{member}s"))


def named_values(section: Section, name: str) -> Tree | None:
    """Return a list of name and value as an object."""
    return {entry.text("name"): entry.text("value") for entry in section.sections(name)} or None


def _plugins(entries: Iterable[Section]) -> list[Tree] | None:
    return [
        {"name": entry.text("functionName"), "path": entry.text("path"), "disabled": not entry.flag("enabled")} for entry in entries
    ] or None


def _tls_version(section: Section, name: str) -> int:
    version = _TLS_VERSIONS.get(section.text(name))
    if version is None:
        section.error(name, "must be 1.2 or 1.3")
    return version or 0


def _seconds(section: Section, name: str) -> float | None:
    text = section.text(name)
    if not text:
        return None
    try:
        return parse_duration(text)
    except ValueError:
        section.error(name, "must be a duration such as 10s")
        return None
