"""A Classic API definition to the model: normalised, validated, complete or refused.

Knows what the fields mean; must not know files, nor how the gateway does anything. Source: reference, sections 2.3 and 4; decisions 1.12,
3.8, 4.1.
"""

from __future__ import annotations

from typing import NamedTuple

from tlsgate.config.build import build_references, build_suites, build_versions, split_pins
from tlsgate.config.error_overrides import build_error_overrides
from tlsgate.config.model import GatewayConfig
from tlsgate.config.problems import Problems
from tlsgate.config.references import ReferenceStores
from tlsgate.config.schema import TEXT_MAP, TEXTS, object_of
from tlsgate.config.section import Section, check
from tlsgate.config.trees import Tree
from tlsgate.config.values import parse_network
from tlsgate.definitions.classic_fields import CLASSIC
from tlsgate.definitions.not_yet import report_not_yet, report_raw
from tlsgate.definitions.rules import Matching, build_expiry, build_header_operations, build_version
from tlsgate.definitions.targets import normalise_domain, normalise_listen_path, normalise_target
from tlsgate.errors import Problem
from tlsgate.model.api import ApiDefinition, CorsSettings, HeaderOperations, ProxySettings, TransportSettings

__all__ = ["Context", "build_api", "dump_classic", "parse_classic"]

RAW_PROTOCOLS = ("tcp", "tls")
PROTOCOLS = ("", "http", "https", "h2c", "tcp", "tls")
_MAX_PORT = 65535
_MAX_ID = 200
_INJECTOR = object_of({"add_headers": TEXT_MAP, "remove_headers": TEXTS})
_BAD_IN_ID = frozenset("/\\{}?#%;\"'<>|^`")


class Context(NamedTuple):
    """What a definition is read against."""

    config: GatewayConfig
    stores: ReferenceStores
    """Resolves references inside definitions."""
    default_id: str = ""
    """The id of a definition that has none: made from its file's name."""


def parse_classic(tree: Tree, source: str, context: Context) -> tuple[ApiDefinition | None, list[Problem]]:
    """Return the API of a Classic definition.

    :param tree: as written; stays as it is, and is kept for the round trip.
    :param source: the file, or the place of an inline definition.
    :returns: (the API, or None when an error stands against it; all problems).
    """
    problems = Problems(source)
    return build_api(tree, tree, problems, context, is_oas=False), problems.all()


def dump_classic(api: ApiDefinition) -> Tree:
    """Return a definition as it was written, unknown fields included."""
    return api.raw


def build_api(tree: Tree, raw: Tree, problems: Problems, context: Context, *, is_oas: bool) -> ApiDefinition | None:
    """Return the API of a tree in Classic form, whatever form it was written in.

    :param tree: the Classic form.
    :param raw: as written.
    :param problems: takes everything that is wrong.
    :returns: None after an error.
    """

    def report(path: str, message: str, text: str) -> None:
        problems.warning(path, f"the reference cannot be resolved and stays as written: {message}", value=text)

    section = check(context.stores.resolve_tree(tree, report), CLASSIC, problems)
    protocol = section.text("protocol")
    if protocol not in PROTOCOLS:
        section.error("protocol", "must be one of http, https, h2c, tcp, tls, or empty")
        protocol = ""
    is_raw = protocol in RAW_PROTOCOLS
    report_not_yet(section, is_raw=is_raw)
    own = section.section("x-tlsgate")
    proxy = _build_proxy(section.section("proxy"), own, protocol, context.config)
    allowed, blocked = _build_addresses(section)
    http = context.config.http
    matching = Matching(http.enable_path_prefix_matching, http.enable_path_suffix_matching, proxy.listen_path)
    usage = own.section("client_certificates").flag("require_client_usage", context.config.own.require_client_usage)
    api = ApiDefinition(
        api_id=_api_id(section, context.default_id),
        org_id=section.text("org_id"),
        name=section.text("name"),
        slug=section.text("slug"),
        source=problems.file,
        is_oas=is_oas,
        raw=raw,
        active=section.flag("active", True),
        internal=section.flag("internal"),
        expiration=build_expiry(section, "expiration"),
        protocol=protocol,
        listen_port=_listen_port(section, protocol, context.config),
        enable_proxy_protocol=section.flag("enable_proxy_protocol"),
        domain=_domain(section, context.config),
        certificates=() if section.flag("domain_disabled") else build_references(section, "certificates"),
        keyless=section.flag("use_keyless") or is_raw,
        use_mutual_tls=section.flag("use_mutual_tls_auth"),
        client_certificates=_client_certificates(section, context.config),
        strip_auth_data=section.flag("strip_auth_data"),
        upstream_certificates=() if section.flag("upstream_certificates_disabled") else section.pairs("upstream_certificates"),
        pinned_public_keys=() if section.flag("certificate_pinning_disabled") else split_pins(section.pairs("pinned_public_keys")),
        allowed_addresses=allowed,
        blocked_addresses=blocked,
        context_variables=section.flag("enable_context_vars"),
        cors=_build_cors(section.section("CORS")),
        do_not_track=section.flag("do_not_track"),
        config_data={} if section.flag("config_data_disabled") else section.free("config_data"),
        proxy=proxy,
        version=build_version(section.section("version_data"), matching),
        error_overrides=()
        if section.flag("error_overrides_disabled")
        else build_error_overrides(section.tree.get("error_overrides", {}), "error_overrides", problems),
        response_header_injector=_injector(section),
        require_client_usage=usage,
        settings=section.free("x-tlsgate"),
    )
    if is_raw:
        report_raw(section, api)
    elif api.use_mutual_tls and not _is_secure(api, context.config):
        section.warning(
            "use_mutual_tls_auth", "the API's port speaks plain HTTP: every request is refused", "use TLS (use_ssl, or protocol https)"
        )
    return None if problems.failed else api


def _is_secure(api: ApiDefinition, config: GatewayConfig) -> bool:
    """Tell whether the API's listener speaks TLS; on the gateway's own port its protocol has no say (decisions 1.12)."""
    return api.protocol == "https" if api.listen_port and api.protocol else config.http.use_ssl


def _api_id(section: Section, default: str) -> str:
    api_id = section.text("api_id")
    if not api_id:
        if not default:
            section.error("api_id", "is missing", "give the API an id of its own")
        else:
            section.warning("api_id", f"is missing: {default} is used", "give the API an id of its own")
        return default
    bad = len(api_id) > _MAX_ID or api_id in (".", "..") or not api_id.isprintable()
    if bad or any(character.isspace() or character in _BAD_IN_ID for character in api_id):
        section.error("api_id", "cannot be used as a file name and path segment", "use letters, digits, - and _")
    return api_id


def _listen_port(section: Section, protocol: str, config: GatewayConfig) -> int:
    """Return the port of the API's own listener, 0 for the gateway's own (decisions 1.12, reference 2.3)."""
    port = section.integer("listen_port", high=_MAX_PORT)
    if protocol == "h2c":
        section.warning("protocol", "HTTP/2 is not offered to clients yet, they get HTTP/1.1")
    if not port:
        if protocol in RAW_PROTOCOLS:
            section.error("listen_port", "missing listening port", "a raw service needs a port of its own")
        elif protocol in ("http", "https") and (protocol == "https") != config.http.use_ssl:
            kind = "TLS" if config.http.use_ssl else "plain HTTP"
            section.warning("protocol", f"without effect: the API answers on the gateway's own port, which speaks {kind}")
        if section.flag("enable_proxy_protocol"):
            section.warning("enable_proxy_protocol", "without effect on the gateway's own port", "give the API a listen_port")
        return 0
    main = port == config.listen_port or (config.control.port and port == config.control.port)
    if main and protocol in RAW_PROTOCOLS:
        section.error("listen_port", "the gateway itself listens on this port", "give the raw service a port of its own")
    if not main and not config.disable_ports_whitelist and not _whitelisted(port, protocol, config):
        section.error("listen_port", f"{protocol or 'http'}:{port} trying to open disabled port", "list it under ports_whitelist")
    return 0 if port == config.listen_port else port


def _whitelisted(port: int, protocol: str, config: GatewayConfig) -> bool:
    names = (protocol,) if protocol else ("", "https" if config.http.use_ssl else "http")
    for name, entry in config.ports_whitelist:
        if name in names and (port in entry.ports or any(item.first <= port <= item.last for item in entry.ranges)):
            return True
    return False


def _domain(section: Section, config: GatewayConfig) -> str:
    domain = section.text("domain")
    if not domain or section.flag("domain_disabled"):
        return ""
    if not config.enable_custom_domains:
        section.warning(
            "domain",
            "without effect: enable_custom_domains is off, so that the API answers for any host",
            "switch it on in the configuration",
        )
        return ""
    try:
        return normalise_domain(domain)
    except ValueError as error:
        section.error("domain", section.reason(error, "domain"))
        return ""


def _client_certificates(section: Section, config: GatewayConfig) -> tuple[str, ...]:
    references = build_references(section, "client_certificates")
    if section.flag("use_mutual_tls_auth"):
        if not references and not config.security.apis:
            section.warning("client_certificates", "the list is empty: nobody gets in")
        return references
    if references:
        section.warning("client_certificates", "without effect: use_mutual_tls_auth is off")
    return references


def _build_proxy(section: Section, own: Section, protocol: str, config: GatewayConfig) -> ProxySettings:
    is_raw = protocol in RAW_PROTOCOLS
    listen_path = "/"
    if not is_raw:
        try:
            listen_path = normalise_listen_path(section.text("listen_path"))
        except ValueError as error:
            section.error("listen_path", section.reason(error, "listen_path"))
    targets = tuple(_targets(section, protocol)) if section.flag("enable_load_balancing") else ()
    target = ""
    if section.text("target_url") or not targets:
        target = _target(section, "target_url", None, protocol if is_raw else "", is_raw)
    return ProxySettings(
        listen_path=listen_path,
        target_url=target,
        strip_listen_path=section.flag("strip_listen_path"),
        disable_strip_slash=section.flag("disable_strip_slash"),
        preserve_host_header=section.flag("preserve_host_header"),
        targets=targets,
        transport=_build_transport(section.section("transport"), own, config),
    )


def _targets(section: Section, protocol: str) -> list[str]:
    count = len(section.texts("target_list"))
    if not count:
        section.error("target_list", "all load balancing targets have weight 0, at least one target must have weight > 0")
    is_raw = protocol in RAW_PROTOCOLS
    return [_target(section, "target_list", index, protocol or "http", is_raw) for index in range(count)]


def _target(section: Section, name: str, index: int | None, default_scheme: str, is_raw: bool) -> str:
    """Return the checked address of a member, or of an item of it; empty after an error."""
    text = section.text(name) if index is None else section.texts(name)[index]

    def refuse(message: str, remedy: str = "") -> str:
        if index is None:
            section.error(name, message, remedy)
        else:
            section.error_at(name, index, message, remedy)
        return ""

    if not text.strip():
        return refuse("can't be empty", "name the upstream: https://host:port/")
    try:
        url = normalise_target(text, default_scheme=default_scheme)
    except ValueError as error:
        return refuse(f"cannot be used as an address: {section.reason(error, name, index)}")
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    if scheme == "tyk":
        return refuse("not active yet: calls of other APIs (tyk://); the API is refused")
    if scheme == "h2c":
        return refuse("not active yet: HTTP/2 towards upstreams (h2c://); the API is refused")
    if is_raw != (scheme in RAW_PROTOCOLS):
        return refuse("a raw service needs a target with tcp:// or tls://" if is_raw else "tcp:// and tls:// are for raw services only")
    if "@" in rest.partition("/")[0]:
        section.warning(name, "user name and password in the address are not used")
    return url


def _build_transport(section: Section, own: Section, config: GatewayConfig) -> TransportSettings:
    lowest, highest = build_versions(section, "ssl_min_version", "ssl_max_version", default=(0, 0))
    if section.flag("ssl_insecure_skip_verify"):
        section.warning(
            "ssl_insecure_skip_verify", "the certificate of the upstream is not verified", "name its CA under x-tlsgate.upstream_ca"
        )
    return TransportSettings(
        insecure_skip_verify=section.flag("ssl_insecure_skip_verify"),
        ciphers=build_suites(section, "ssl_ciphers"),
        min_version=lowest,
        max_version=highest,
        force_common_name_check=section.flag("ssl_force_common_name_check"),
        proxy_url=_proxy_url(section),
        ca_certificates=build_references(own, "upstream_ca") or config.own.upstream_ca,
    )


def _proxy_url(section: Section) -> str:
    url = section.text("proxy_url")
    if not url:
        return ""
    try:
        normalise_target(url)
    except ValueError as error:
        section.error("proxy_url", section.reason(error, "proxy_url"))
        return ""
    if not url.lower().startswith(("http://", "https://")):
        section.error("proxy_url", "must be a proxy with http:// or https://")
    return url


def _build_addresses(section: Section) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return (allowed, blocked) as enforced: a filled list counts when its switch is on or the section is not disabled (reference 4.2)."""
    disabled = section.flag("ip_access_control_disabled")
    made = []
    for name, switch in (("allowed_ips", "enable_ip_whitelisting"), ("blacklisted_ips", "enable_ip_blacklisting")):
        enforced = section.flag(switch) or not disabled
        networks = []
        for index, text in enumerate(section.texts(name)):
            try:
                networks.append(parse_network(text))
            except ValueError:
                note = section.error_at if enforced else section.warning_at
                note(name, index, "invalid IP/CIDR", "write 10.0.0.1 or 10.0.0.0/8")
        made.append(tuple(networks) if enforced else ())
    if section.flag("enable_ip_whitelisting") and not section.texts("allowed_ips"):
        section.warning("allowed_ips", "the list is empty, so that it lets everybody in")
    return made[0], made[1]


def _build_cors(section: Section) -> CorsSettings | None:
    if not section.flag("enable"):
        return None
    origins = section.texts("allowed_origins")
    if section.flag("allow_credentials") and (not origins or "*" in origins):
        section.warning("allow_credentials", "together with every origin: any web site can act for the users", "list the origins")
    defaults = CorsSettings()
    return CorsSettings(
        allowed_origins=origins or defaults.allowed_origins,
        allowed_methods=tuple(method.upper() for method in section.texts("allowed_methods")) or defaults.allowed_methods,
        allowed_headers=section.texts("allowed_headers") or defaults.allowed_headers,
        exposed_headers=section.texts("exposed_headers"),
        allow_credentials=section.flag("allow_credentials"),
        max_age_s=section.integer("max_age"),
        options_passthrough=section.flag("options_passthrough"),
    )


def _injector(section: Section) -> HeaderOperations:
    """Return what ``header_injector`` among the response processors does; the others have nothing to do yet."""
    made = HeaderOperations()
    for entry in section.sections("response_processors"):
        name = entry.text("name")
        if name != "header_injector":
            if name not in ("response_body_transform", "response_body_transform_jq"):
                entry.warning("name", "not active yet, kept but without effect: this response processor")
            continue
        options = entry.tree.get("options")
        reader = check(options if isinstance(options, dict) else {}, _INJECTOR, section.problems, entry.where("options"))
        made = build_header_operations(reader, "add_headers", "remove_headers")
    return made
