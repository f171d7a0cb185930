"""One generation of everything that decides: routes, policies, contexts, compiled APIs; built whole, swapped by one reference.

A build that fails raises and leaves the running one alone (decisions 1.8, 4.6). Requests in flight keep what they began with.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from tlsgate.errors import ConfigError, PkiError, Problem, TlsgateError, UpstreamError
from tlsgate.events.table import EventTable, build_event_table
from tlsgate.gateway.compile import CompiledApi, CompiledRaw, ReservedPlace, Workshop, compile_api, compile_raw
from tlsgate.gateway.listener import ListenerSpec
from tlsgate.gateway.provider_access import load_access
from tlsgate.gateway.tree import ApiResource, RefusingResource
from tlsgate.gateway.upstream_tls import UpstreamContexts
from tlsgate.pki.acl import build_allow_list
from tlsgate.pki.identity import build_identity
from tlsgate.pki.references import NotInStore, ReferenceResolver, describe_reference
from tlsgate.pki.stored import is_store_id
from tlsgate.pki.union import build_union
from tlsgate.routing.sni import AllowListRef, PolicyTable, build_policy_table
from tlsgate.routing.table import RouteEntry, RouteTable, build_route_table, effective_domain, effective_port
from tlsgate.tls.certificates import CertificateSource, CertificateTable, ServerCertificate, build_certificate_table
from tlsgate.tls.context import ContextCache, ContextSettings
from tlsgate.tls.server import Choice
from tlsgate.tls.trust import TrustSet, load_trust
from tlsgate.transform.error_body import ErrorRenderer, build_error_renderer
from tlsgate.transform.error_templates import load_templates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tlsgate.clock import Clock
    from tlsgate.config.model import GatewayConfig
    from tlsgate.gateway.state import State
    from tlsgate.idp.client import Access
    from tlsgate.model.api import ApiDefinition
    from tlsgate.model.tls import PeerIdentity, TlsPolicy
    from tlsgate.pki.acl import AllowList
    from tlsgate.proxy.pool import Pool

__all__ = ["Generation", "attach_resources", "build_generation"]

_SHUTS_OUT = "handshakes that need it fail until it is there"
_MAX_UNIONS = 1024
_MAX_TRIED = 256


class Generation:
    """What serves until the next reload."""

    def __init__(
        self,
        *,
        config: GatewayConfig,
        known: dict[str, ApiDefinition],
        apis: dict[str, CompiledApi],
        raws: dict[str, CompiledRaw],
        places: tuple[ReservedPlace, ...],
        routes: RouteTable,
        policies: PolicyTable,
        certificates: dict[int, CertificateTable],
        contexts: ContextCache,
        control_list: AllowList | None,
        errors: ErrorRenderer,
        listeners: tuple[ListenerSpec, ...],
        files: frozenset[str],
        notes: tuple[Problem, ...],
        events: EventTable,
        provider_access: Access,
        resolver: ReferenceResolver | None = None,
    ) -> None:
        self.config = config
        self.known = known
        """Every definition that was loaded, by id in order, those that are inactive, internal or did not compile included."""
        self.apis = apis
        self.raws = raws
        self.places = places
        self.routes = routes
        self.policies = policies
        self.errors = errors
        self.listeners = listeners
        self.files = files
        """Certificate files that were readable: one of them broken at a reload keeps this generation."""
        self.resolver = resolver
        """What was read of files, for the next build after a change in the certificate store; None where no store id is named."""
        self.notes = notes
        """What an operator should know of this load."""
        self.events = events
        """Who hears of events."""
        self.provider_access = provider_access
        """By what means identity providers are asked."""
        self.control_list = control_list
        """Who may ask the control API where that demands client certificates; None is nobody."""
        self.clean_paths = not config.http.skip_url_cleaning
        self.publishes = any(compiled.api.protected_resource is not None for compiled in apis.values())
        """Some API describes itself at a place outside its listen path (RFC 9728)."""
        self._certificates = certificates
        self._contexts = contexts
        self._unions: dict[str, Any] = {}

    def choose(self, port: int, name: str | None) -> Choice | None:
        """Return policy and context of a server name; None refuses the handshake.

        :raises PkiError: never for a generation whose contexts were tried at load.
        """
        table = self._certificates.get(port)
        found = table.find(name) if table is not None else None
        if found is None:
            # No certificate, or a port that a reload has taken away since the connection was accepted.
            return None
        policy = self.policies.find(port, name)
        allow_list = None
        if policy.allow_list:
            allow_list = self._unions.get(policy.allow_list)
            if allow_list is None:
                members = [ref.value for ref in self.policies.members(policy.allow_list)]
                if len(self._unions) >= _MAX_UNIONS:
                    self._unions.clear()
                allow_list = self._unions[policy.allow_list] = build_union(policy.allow_list, members)
        return Choice(policy, self._contexts.get(policy, found, allow_list), allow_list)

    @property
    def definitions(self) -> tuple[ApiDefinition, ...]:
        """The APIs that are served."""
        return (*(compiled.api for compiled in self.apis.values()), *(raw.api for raw in self.raws.values()))

    @property
    def reserved(self) -> tuple[ApiDefinition, ...]:
        """The APIs that are refused and whose places are kept."""
        return tuple(place.api for place in self.places)

    @property
    def server_certificates(self) -> list[ServerCertificate]:
        """The certificates of all listeners, each once."""
        return list({one.fingerprint: one for table in self._certificates.values() for one in table.certificates}.values())

    def find_expiring(self, now: float) -> list[str]:
        """Return a text for each server certificate that has ended or ends within the warning time."""
        limit = now + self.config.security.warning_threshold_days * 86400.0
        seen = {certificate.fingerprint: certificate for table in self._certificates.values() for certificate in table.certificates}
        return [
            f"server certificate {certificate.fingerprint} for {', '.join(certificate.names) or 'no name'} "
            + ("has expired" if certificate.not_after <= now else f"expires in {(certificate.not_after - now) / 86400:.1f} days")
            for certificate in seen.values()
            if certificate.not_after <= limit
        ]

    def policy_of(self, port: int, name: str | None) -> TlsPolicy | None:
        """Return the policy that a name has now, None on a port that is gone."""
        return self.policies.find(port, name) if port in self._certificates else None

    def find_raw(self, api_id: str) -> CompiledRaw | None:
        """Return a raw service, None when it is gone."""
        return self.raws.get(api_id)

    def find_service(self, port: int, name: str | None) -> CompiledRaw | None:
        """Return the raw service of a port for a server name; a reserved place stands in for one, and its ``judge`` lets nobody on."""
        found: CompiledRaw | None = self.routes.find_service(port, name)
        return found

    def _served_on(self, port: int) -> Iterable[ApiDefinition]:
        return [api for api in (*self.definitions, *self.reserved) if effective_port(api, self.config) == port]

    def try_contexts(self) -> None:
        """Build the context of each name once, so that what OpenSSL does not take fails the load and not a handshake.

        :raises ConfigError: one cannot be built.
        """
        tried: set[Any] = set()
        for spec in self.listeners:
            if not spec.tls:
                continue
            names: set[str | None] = {None, *(effective_domain(api, self.config) for api in self._served_on(spec.key))}
            for name in names:
                found = self._certificates[spec.key].find(name)
                key = (self.policies.find(spec.key, name), found.key if found is not None else "")
                if key in tried or len(tried) > _MAX_TRIED:
                    continue
                tried.add(key)
                try:
                    self.choose(spec.key, name)
                except (PkiError, ValueError) as problem:
                    raise ConfigError(
                        [Problem(self.config.source, "http_server_options", "", f"TLS for {name or 'clients without SNI'}: {problem}")]
                    ) from problem


def build_generation(
    config: GatewayConfig,
    definitions: Iterable[ApiDefinition],
    found: Iterable[Problem],
    *,
    reserved: Iterable[ApiDefinition] = (),
    clock: Clock,
    pool: Pool,
    reactor: Any,
    environ: Mapping[str, str],
    state: State,
    identify: Callable[[bytes, tuple[bytes, ...]], PeerIdentity] = build_identity,
    previous: Generation | None = None,
    same_files: bool = False,
) -> Generation:
    """Build everything from validated definitions.

    :param state: sessions, limits, events: what outlives the generation.
    :param identify: makes a peer's identity; a pure cache may stand in.
    :param reserved: refused definitions whose places (and demand of client certificates) stay; those that do not compile join them.
    :param found: problems that reading the definitions found, for the report.
    :param previous: what serves now; files that it could read and that are broken now refuse the build.
    :param same_files: nothing but the certificate store changed: files are taken as ``previous`` read them, so that one that is half
        written now does not keep a deleted certificate alive.
    :raises ConfigError: it must not serve; with every problem.
    """
    problems: list[Problem] = list(found)
    known = {api.api_id: api for api in sorted(definitions, key=lambda api: api.api_id)}
    apis = [api for api in known.values() if api.active]
    resolver = ReferenceResolver(
        folders=config.own.certificate_folders,
        guest_folders=config.own.certificates.folders,
        shelf=state.shelf,
        reuse=previous.resolver if same_files and previous is not None else None,
    )
    listeners = _listeners(apis, config)
    # A port that only refused definitions want is not opened: there is nothing on it that could answer in their place.
    ports = {spec.key for spec in listeners}
    refused = [api for api in reserved if effective_port(api, config) in ports]
    placed = [*apis, *refused]
    problems.extend(
        Problem(
            api.source, "listen_port", str(api.listen_port), "tlsgate.metrics has this port: nobody reaches the API", "take another port"
        )
        for api in apis
        if config.own.metrics.port and effective_port(api, config) == config.own.metrics.port
    )
    lists = {api.api_id: _allow_list(api, config, resolver, problems) for api in placed if api.use_mutual_tls}
    control_list = None
    if config.security.control_api_use_mutual_tls:
        resolved = resolver.resolve_all(config.security.control_api, file=config.source, path="security.certificates.control_api")
        problems.extend(resolved.problems)
        control_list = build_allow_list(resolved.bundles, trust_unmarked=config.own.trust_unmarked_ca)
    policies = build_policy_table(
        # One that asks for nothing must not relax what the others of its host ask for (decisions 3.8).
        [*apis, *(api for api in refused if api.use_mutual_tls)],
        config,
        lambda api: AllowListRef(lists[api.api_id].key, lists[api.api_id]),
        control_list=AllowListRef(control_list.key, control_list) if control_list is not None else None,
    )
    problems.extend(policies.notes)
    certificates, fatal = _certificates(placed, config, listeners, resolver, clock, problems)
    upstream = UpstreamContexts(config, resolver, clock, environ)
    templates = load_templates(config.template_path)

    def build_renderer(api: ApiDefinition | None) -> ErrorRenderer:
        renderer = build_error_renderer(config, api, templates)
        problems.extend(problem for problem in renderer.problems if problem not in problems)
        return renderer

    workshop = Workshop(config, clock, pool, reactor, upstream, policies, state, build_renderer)
    compiled, raws = _compile(apis, lists, workshop, problems)
    uncompiled = [api for api in apis if not api.internal and api.api_id not in compiled and api.api_id not in raws]
    places = tuple(map(ReservedPlace, (*refused, *uncompiled)))

    @cache  # events and identity providers believe the same CAs
    def load_own_trust() -> TrustSet:
        return load_trust([resolver.resolve(ca) for ca in config.own.upstream_ca], environ)

    events = build_event_table(config, apis, load_own_trust, problems)
    provider_access = load_access(config, apis, resolver, load_own_trust, clock, environ, problems)
    problems.extend(upstream.problems)
    if previous is not None:
        _look_at([path for path in previous.files - resolver.files if _still_needed(path, apis, config)], resolver)
        broken = sorted(path for path in resolver.broken_files if path in previous.files)
        missing = sorted(path for path in previous.files - resolver.files if path not in broken and _still_needed(path, apis, config))
        fatal.extend(
            Problem(path, "", "", f"was readable before and is broken now: {resolver.broken_files[path]}", "write it again, whole")
            for path in broken
        )
        fatal.extend(Problem(path, "", "", "was readable before and is gone now", "put it back, or take its name out") for path in missing)
    if fatal:
        raise ConfigError(fatal)
    routes = build_route_table(_entries((*compiled.values(), *raws.values(), *places), config), strict=config.http.enable_strict_routes)
    generation = Generation(
        config=config,
        known=known,
        apis=compiled,
        raws=raws,
        places=places,
        routes=routes,
        policies=policies,
        certificates=certificates,
        contexts=ContextCache(ContextSettings(clock=clock, identify=identify)),
        control_list=control_list,
        errors=build_renderer(None),
        listeners=listeners,
        files=frozenset(resolver.files),
        notes=tuple(problems),
        resolver=resolver if state.shelf.wanted else None,
        events=events,
        provider_access=provider_access,
    )
    resolver.close()
    generation.try_contexts()
    return generation


def attach_resources(generation: Generation, site: Any) -> None:
    """Give each route its resource, which needs the site that it reports to."""
    for compiled in generation.apis.values():
        compiled.resource = ApiResource(compiled, site)
    refusing = RefusingResource("route.reserved", site)
    for place in generation.places:
        place.resource = refusing


def _resolver_of(resolver: ReferenceResolver, api: ApiDefinition) -> ReferenceResolver:
    """Return what resolves the references of a definition: less may be named in one that came by the REST API."""
    return resolver.for_guests() if api.from_rest else resolver


def _speaks_tls(api: ApiDefinition, config: GatewayConfig, port: int) -> bool:
    """Whether an API's listener starts with a ClientHello (decisions 1.12)."""
    if port in (config.listen_port, config.control.port) and not api.is_raw:
        return config.http.use_ssl
    return api.protocol in ("https", "tls") or (api.protocol not in ("http", "h2c", "tcp") and config.http.use_ssl)


def _allow_list(api: ApiDefinition, config: GatewayConfig, resolver: ReferenceResolver, problems: list[Problem]) -> AllowList:
    own = _resolver_of(resolver, api).resolve_all(api.client_certificates, file=api.source, path="client_certificates")
    shared = resolver.resolve_all(config.security.apis, file=config.source, path="security.certificates.apis")
    problems.extend(own.problems)
    problems.extend(problem for problem in shared.problems if problem not in problems)
    built = build_allow_list(
        [*own.bundles, *shared.bundles], require_client_usage=api.require_client_usage, trust_unmarked=api.trust_unmarked_ca
    )
    problems.extend(Problem(api.source, "client_certificates", "", text, severity="warning") for text in built.warnings)
    if built.empty:
        problems.append(
            Problem(api.source, "client_certificates", "", "no usable certificate: nobody gets in", "name at least one", "warning")
        )
    return built


def _listeners(apis: list[ApiDefinition], config: GatewayConfig) -> tuple[ListenerSpec, ...]:
    """Return one listener per port: the gateway's, the control API's, those of definitions (decisions 1.12)."""
    address = config.listen_address
    use_tls = config.http.use_ssl
    specs = {config.listen_port: ListenerSpec("gateway", address, config.listen_port, tls=use_tls)}
    metrics = config.own.metrics
    if metrics.port:
        specs[metrics.port] = ListenerSpec("metrics", metrics.address, metrics.port, tls=False)
    control = config.control.port
    if control and control != config.listen_port:
        specs[control] = ListenerSpec("control", address, control, tls=use_tls)
    for api in apis:
        port = effective_port(api, config)
        if port in specs:
            continue
        proxied = api.enable_proxy_protocol
        if api.protocol == "tcp":
            specs[port] = ListenerSpec("api", address, port, tls=False, raw=api.api_id, proxied=proxied)
        else:
            specs[port] = ListenerSpec("api", address, port, tls=_speaks_tls(api, config, port), proxied=proxied)
    return tuple(specs.values())


def _certificates(
    apis: list[ApiDefinition],
    config: GatewayConfig,
    listeners: tuple[ListenerSpec, ...],
    resolver: ReferenceResolver,
    clock: Clock,
    problems: list[Problem],
) -> tuple[dict[int, CertificateTable], list[Problem]]:
    """Return the server certificates of each TLS port, and what must stop the load: a listener's file that cannot be used."""
    fatal: list[Problem] = []
    # Those that may come: a certificate of the store is waited for, and one that is gone there shuts out its own names only.
    awaited = False
    shared: list[CertificateSource] = []
    http = config.http
    if any(spec.tls for spec in listeners):
        for number, pair in enumerate(http.certificates):
            where = f"http_server_options.certificates[{number}]"
            try:
                key = resolver.resolve(pair.key_file)
                bundle = resolver.resolve(pair.cert_file)
            except NotInStore as problem:
                awaited = True
                problems.append(Problem(config.source, where, describe_reference(pair.cert_file), str(problem), _SHUTS_OUT))
                continue
            except PkiError as problem:
                fatal.append(Problem(config.source, where, pair.cert_file, str(problem), "both files must be readable PEM"))
                continue
            if bundle.private_key is None and key.private_key is not None:
                bundle = type(bundle)(certificates=bundle.certificates, private_key=key.private_key, public_keys=bundle.public_keys)
            shared.append(CertificateSource(bundle, config.source, where, pair.cert_file, pair.domain_name))
        for number, reference in enumerate(http.ssl_certificates):
            where = f"http_server_options.ssl_certificates[{number}]"
            shown = describe_reference(reference)
            try:
                bundle = resolver.resolve(reference)
            except PkiError as problem:
                if is_store_id(reference.strip()):
                    awaited = True
                    problems.append(Problem(config.source, where, shown, str(problem), _SHUTS_OUT))
                    continue
                fatal.append(Problem(config.source, where, shown, str(problem), "an unreadable server certificate stops the start"))
                continue
            if bundle.private_key is None:
                awaited = awaited or is_store_id(reference.strip())
                reason = f"is skipped: {bundle.key_fault}" if bundle.key_fault else "has no private key and is skipped"
                problems.append(Problem(config.source, where, shown, reason, severity="error" if bundle.key_fault else "warning"))
                continue
            shared.append(CertificateSource(bundle, config.source, where, shown))
    tables: dict[int, CertificateTable] = {}
    for spec in listeners:
        if not spec.tls:
            continue
        sources = list(shared)
        hoped = awaited
        for api in apis:
            if effective_port(api, config) != spec.key or not api.certificates or not api.domain:
                continue
            resolved = _resolver_of(resolver, api).resolve_all(api.certificates, file=api.source, path="certificates")
            problems.extend(resolved.problems)
            hoped = hoped or any(is_store_id(reference.strip()) for reference in api.certificates)
            sources.extend(
                CertificateSource(
                    bundle, api.source, f"certificates[{number}]", describe_reference(api.certificates[number]), common_name=True
                )
                for number, bundle in enumerate(resolved.bundles)
            )
        table, found = build_certificate_table(sources, clock.now(), warning_days=config.security.warning_threshold_days)
        stored = {
            f"http_server_options.ssl_certificates[{at}]" for at, name in enumerate(http.ssl_certificates) if is_store_id(name.strip())
        }
        tables[spec.key] = table
        for entry in found:
            stops = entry.severity == "error" and entry.file == config.source and entry.path not in stored
            target = fatal if stops else problems
            if entry not in target:
                target.append(entry)
        if not table.certificates:
            (problems if hoped else fatal).append(
                Problem(
                    config.source,
                    "http_server_options.ssl_certificates",
                    "",
                    f"port {spec.key} speaks TLS and has no usable server certificate",
                    "name a PEM file with certificate and key, or switch use_ssl off",
                )
            )
    return tables, fatal


def _compile(
    apis: list[ApiDefinition], lists: dict[str, AllowList], workshop: Workshop, problems: list[Problem]
) -> tuple[dict[str, CompiledApi], dict[str, CompiledRaw]]:
    compiled: dict[str, CompiledApi] = {}
    raws: dict[str, CompiledRaw] = {}
    for api in apis:
        try:
            if api.is_raw:
                raws[api.api_id] = compile_raw(api, lists.get(api.api_id), workshop)
            elif not api.internal:
                compiled[api.api_id] = compile_api(api, lists.get(api.api_id), workshop)
        except ConfigError as problem:
            problems.extend(problem.problems)
        except (TlsgateError, UpstreamError, ValueError) as problem:
            problems.append(Problem(api.source, "", api.api_id, f"the API is skipped: {problem}"))
    return compiled, raws


def _entries(values: Iterable[CompiledApi | CompiledRaw | ReservedPlace], config: GatewayConfig) -> list[RouteEntry]:
    entries = []
    for value in values:
        api = value.api
        listen_path, alias = ("/", False) if api.is_raw else (api.proxy.listen_path, config.own.alias_routes)
        entries.append(
            RouteEntry(api.api_id, effective_port(api, config), effective_domain(api, config), listen_path, alias, value, raw=api.is_raw)
        )
    return entries


def _look_at(paths: Iterable[str], resolver: ReferenceResolver) -> None:
    """Read files that the configuration names and nothing has asked for: that no API needs them at present does not mean they are gone."""
    for path in paths:
        with suppress(PkiError):
            resolver.resolve(path)


def _still_needed(path: str, apis: list[ApiDefinition], config: GatewayConfig) -> bool:
    """Whether a file that is gone is still referred to, other than by a list of clients.

    One that was taken out of the configuration may vanish, and to delete a client's file is a way to revoke it: it grants nothing at once.
    """
    service = config.oauth_service
    named = [*config.http.ssl_certificates, *config.own.upstream_ca, *service.authorities]
    named += [service.certificate, service.key_file, config.own.identity_providers.assertion_key]
    named += [api.request_signing.certificate for api in apis if api.request_signing is not None]
    named += [name for pair in config.http.certificates for name in (pair.cert_file, pair.key_file)]
    named += [reference for _, reference in config.security.upstream]
    named += [reference for _, references in config.security.pinned_public_keys for reference in references]
    for api in apis:
        named += [*api.certificates, *api.proxy.transport.ca_certificates]
        named += [reference for _, reference in api.upstream_certificates]
        named += [reference for _, references in api.pinned_public_keys for reference in references]
    return any(reference.strip() == path for reference in named)
