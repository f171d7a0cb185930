"""A Classic API definition to the model: normalised, validated, complete or refused.

Knows what the fields mean; must not know files, nor how the gateway does anything. Source: reference, sections 2.3 and 4; decisions 1.12,
3.8, 4.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from tlsgate.config.build import build_references, build_upstream_pairs, split_pins
from tlsgate.config.error_overrides import build_error_overrides
from tlsgate.config.event_handlers import build_event_handlers
from tlsgate.config.model import GatewayConfig
from tlsgate.config.problems import Problems
from tlsgate.config.references import ReferenceStores
from tlsgate.config.schema import TEXT_MAP, TEXTS, object_of
from tlsgate.config.section import Section, check
from tlsgate.config.trees import Tree
from tlsgate.config.values import parse_network
from tlsgate.definitions.classic_fields import CLASSIC
from tlsgate.definitions.credentials import build_credentials
from tlsgate.definitions.not_yet import report_not_yet, report_raw
from tlsgate.definitions.proxying import build_proxy
from tlsgate.definitions.rules import Matching, build_expiry, build_header_operations, build_version
from tlsgate.definitions.targets import RAW_PROTOCOLS, normalise_domain
from tlsgate.definitions.tokens import build_tokens
from tlsgate.errors import Problem
from tlsgate.model.api import ApiDefinition, CorsSettings, HeaderOperations

__all__ = ["Context", "build_api", "dump_classic", "parse_classic", "read_classic_place", "read_place"]

PROTOCOLS = ("", "http", "https", "h2c", "tcp", "tls")
_MAX_PORT = 65535
_MAX_ID = 200
_INJECTOR = object_of({"add_headers": TEXT_MAP, "remove_headers": TEXTS})
_PLACE = frozenset({"", "proxy", "proxy.listen_path", "domain", "domain_disabled", "listen_port", "protocol"})
"""Members that say where an API answers."""
_BAD_IN_ID = frozenset("/\\{}?#%;\"'<>|^`")


class Context(NamedTuple):
    """What a definition is read against."""

    config: GatewayConfig
    stores: ReferenceStores
    """Resolves references inside definitions."""
    default_id: str = ""
    """The id of a definition that has none: made from its file's name."""


def parse_classic(
    tree: Tree, source: str, context: Context, schemes: Mapping[str, str] | None = None
) -> tuple[ApiDefinition | None, list[Problem]]:
    """Return the API of a Classic definition.

    :param tree: as written; stays as it is, and is kept for the round trip.
    :param source: the file, or the place of an inline definition.
    :param schemes: of the document beside it; see :func:`build_api`.
    :returns: (the API, or None when an error stands against it; all problems).
    """
    problems = Problems(source)
    if isinstance(tree.get("kind"), str) and "apiVersion" in tree:
        remedy = "write what stands under spec as a file of its own, with ids or files of certificates in place of secrets"
        problems.error("kind", "is a Kubernetes object: these are not active yet", remedy, value=tree["kind"])
        return None, problems.all()
    api = build_api(tree, tree, problems, context, is_oas=False, schemes=schemes)
    return (None if problems.failed else api), problems.all()


def read_classic_place(tree: Tree, source: str, context: Context) -> ApiDefinition | None:
    """Return what of a refused Classic definition still counts: see :func:`read_place`."""
    problems = Problems(source)
    return read_place(build_api(tree, tree, problems, context, is_oas=False), problems)


def read_place(api: ApiDefinition, problems: Problems) -> ApiDefinition | None:
    """Return an API that was built in spite of errors, when its place (port, host, listen path) is not among what they concern.

    Only its place and its demand of client certificates may be used: without it requests would fall to the next shorter listen path, past
    what the refused definition asks for. Its id is empty where that cannot be used.

    :returns: None where nobody can tell the place.
    """
    if not _PLACE.isdisjoint(problems.error_paths):
        return None
    return msgspec.structs.replace(api, api_id="") if "api_id" in problems.error_paths else api


def dump_classic(api: ApiDefinition) -> Tree:
    """Return a definition as it was written, unknown fields included."""
    return api.raw


def build_api(
    tree: Tree, raw: Tree, problems: Problems, context: Context, *, is_oas: bool, schemes: Mapping[str, str] | None = None
) -> ApiDefinition:
    """Return the API of a tree in Classic form, whatever form it was written in; after an error it must not be served.

    :param tree: the Classic form.
    :param raw: as written.
    :param problems: takes everything that is wrong.
    :param schemes: method by name of a security scheme, where requirements name those of a document; None for the names of
        ``auth_configs``.
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
    proxy = build_proxy(section.section("proxy"), own, protocol, context.config)
    allowed, blocked = _build_addresses(section)
    http = context.config.http
    matching = Matching(http.enable_path_prefix_matching, http.enable_path_suffix_matching, proxy.listen_path)
    certificates = own.section("client_certificates")
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
        upstream_certificates=()
        if section.flag("upstream_certificates_disabled")
        else build_upstream_pairs(section, "upstream_certificates"),
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
        require_client_usage=certificates.flag("require_client_usage", context.config.own.require_client_usage),
        trust_unmarked_ca=certificates.flag("trust_unmarked_ca", context.config.own.trust_unmarked_ca),
        ask_for_bound_keys=not (is_raw or section.flag("use_keyless"))
        and certificates.flag("ask_for_bound_keys", context.config.own.ask_for_bound_keys),
        settings=section.free("x-tlsgate"),
        event_handlers=build_event_handlers(section.section("event_handlers"), of_gateway=False),
        **({} if is_raw else build_credentials(section, context.config, schemes) | build_tokens(section, is_oas=is_oas)),
    )
    if is_raw:
        report_raw(section, api)
    elif api.use_mutual_tls and not _is_secure(api, context.config):
        section.warning(
            "use_mutual_tls_auth", "the API's port speaks plain HTTP: every request is refused", "use TLS (use_ssl, or protocol https)"
        )
    elif api.use_certificate and not _is_secure(api, context.config):
        section.warning(
            "auth.use_certificate",
            "the API's port speaks plain HTTP: no certificate arrives, and no key of one gets in",
            "use TLS (use_ssl, or protocol https)",
        )
    return api


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
    main = not port or port == config.listen_port or (config.control.port and port == config.control.port)
    if section.flag("enable_proxy_protocol"):
        _report_proxy_protocol(section, config, main=bool(main))
    if not port:
        return 0
    if main and protocol in RAW_PROTOCOLS:
        section.error("listen_port", "the gateway itself listens on this port", "give the raw service a port of its own")
    if not main and not config.disable_ports_whitelist and not _whitelisted(port, protocol, config):
        section.error("listen_port", f"{protocol or 'http'}:{port} trying to open disabled port", "list it under ports_whitelist")
    return 0 if port == config.listen_port else port


def _report_proxy_protocol(section: Section, config: GatewayConfig, *, main: bool) -> None:
    if main:
        section.warning("enable_proxy_protocol", "without effect on the gateway's own ports", "give the API a listen_port")
    elif not config.own.trusted_proxies:
        section.warning(
            "enable_proxy_protocol",
            "whoever reaches the port can announce any client address",
            "list the load balancers under tlsgate.trusted_proxies",
        )


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
