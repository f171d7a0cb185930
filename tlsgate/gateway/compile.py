"""From a definition to what serves it: gates, leaf, error renderer, raw service; pure wiring, once per load.

An unused feature is absent from the compiled tuple, not skipped per request.
"""

from __future__ import annotations

import hashlib
import sys
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from twisted.web.resource import IResource

from tlsgate.auth.access import AccessCheck
from tlsgate.auth.certificate import build_recheck
from tlsgate.auth.claims_onward import build_onward_step, find_protected_names
from tlsgate.auth.registry import build_auth_steps
from tlsgate.config.problems import show_value
from tlsgate.errors import ConfigError, PkiError, Problem, UpstreamError, WireError
from tlsgate.gates.base import Gate, GateTools
from tlsgate.gates.certificate import build_host_check
from tlsgate.gates.order import build_gates
from tlsgate.gateway.upstream_signing import build_request_signer
from tlsgate.limits import api_limits, key_limits, monitor, org_limits, report
from tlsgate.limits.headers import default_headers
from tlsgate.pki.upstream import build_upstream_certificates
from tlsgate.proxy.forward import Forwarder
from tlsgate.proxy.pool import Destination
from tlsgate.proxy.upstreams import ProxiedTarget, UpstreamPlan, UpstreamTarget, parse_target_url
from tlsgate.transform import form_data, mock
from tlsgate.transform.headers import build_request_headers_step, build_response_headers_step
from tlsgate.transform.timeouts import build_timeout_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tlsgate.auth.base import Step
    from tlsgate.clock import Clock
    from tlsgate.config.model import GatewayConfig
    from tlsgate.gateway.state import State
    from tlsgate.gateway.upstream_tls import UpstreamContexts
    from tlsgate.model.api import ApiDefinition, HeaderOperations
    from tlsgate.model.exchange import Connection, Exchange, HeaderList
    from tlsgate.pki.acl import AllowList
    from tlsgate.proxy.lookups import Lookups
    from tlsgate.proxy.pool import Pool
    from tlsgate.proxy.tunnel import Via
    from tlsgate.proxy.upstreams import ParsedTarget
    from tlsgate.routing.sni import PolicyTable
    from tlsgate.tls.upstream import UpstreamTls
    from tlsgate.transform.error_body import ErrorRenderer

__all__ = ["CompiledApi", "CompiledRaw", "ReservedPlace", "Workshop", "compile_api", "compile_raw"]


class Workshop(NamedTuple):
    """What compiling needs beside the definition: shared by all APIs of a generation."""

    config: GatewayConfig
    clock: Clock
    pool: Pool
    reactor: Any
    upstream: UpstreamContexts
    policies: PolicyTable
    state: State
    renderer: Callable[[ApiDefinition | None], ErrorRenderer]


class CompiledApi:
    """One API, ready to serve."""

    __slots__ = (
        "access",
        "allow_list",
        "api",
        "certificate",
        "errors",
        "gates",
        "leaf",
        "misdirected",
        "mock",
        "resource",
        "stages",
        "steps",
    )

    def __init__(
        self,
        api: ApiDefinition,
        *,
        gates: tuple[Gate, ...],
        steps: tuple[Step, ...],
        access: Callable[[Exchange], None] | None,
        mock: Gate | None,
        leaf: Callable[[Any], Any],
        errors: ErrorRenderer,
        misdirected: Callable[[Any], None] | None,
        allow_list: AllowList | None,
        certificate: Callable[[Exchange], Awaitable[None]] | None = None,
    ) -> None:
        self.api = api
        self.certificate = certificate
        """Judges again the certificate that stands for a key (``auth.recheck``); None without dynamic mTLS."""
        self.gates = gates
        """Checks before authentication; they never wait."""
        self.steps = steps
        """Authentication, access, limits."""
        self.access = access
        """The access check alone, for requests that go on (``auth.recheck``); None for a keyless API."""
        self.mock = mock
        self.leaf = leaf
        self.errors = errors
        self.misdirected = misdirected
        self.allow_list = allow_list
        self.resource: Any = None
        """Set when the generation is attached to its site."""
        self.stages: Any = None
        """The steps by name (``gateway.stages``), once somebody has asked for them."""


class CompiledRaw:
    """One raw service, ready to serve."""

    __slots__ = ("_allow_list", "api", "connect_timeout_s", "idle_s", "lookups", "plan")

    def __init__(
        self,
        api: ApiDefinition,
        plan: UpstreamPlan,
        allow_list: AllowList | None,
        lookups: Lookups,
        connect_timeout_s: float,
        idle_s: float,
    ) -> None:
        self.api = api
        self.plan = plan
        self.lookups = lookups
        self._allow_list = allow_list
        self.connect_timeout_s = connect_timeout_s
        self.idle_s = idle_s

    def judge(self, connection: Connection, now: float) -> str | None:
        """Return why a connection may not use the service, None when it may."""
        if not self.api.use_mutual_tls:
            return None
        tls = connection.tls
        if tls is None:
            return "the service demands a client certificate and the connection has no TLS"
        if tls.peer is None:
            return "no client certificate"
        if self._allow_list is None:
            return "the service's list cannot be resolved"
        verdict = self._allow_list.judge(tls.peer, now)
        return verdict.rule if verdict.refusal is not None else None


class ReservedPlace:
    """The place of an API that is refused: it answers 503, and cuts connections where it would have been a raw service."""

    __slots__ = ("api", "resource")

    def __init__(self, api: ApiDefinition) -> None:
        self.api = api
        self.resource: Any = None
        """Set when the generation is attached to its site."""

    def judge(self, connection: Connection, now: float) -> str:
        """Return why a connection may not use the service."""
        return "its definition is refused, see the last load"


def compile_api(api: ApiDefinition, allow_list: AllowList | None, workshop: Workshop) -> CompiledApi:
    """Compile an HTTP API.

    :raises ConfigError: something in it cannot be compiled.
    """
    config = workshop.config
    gates = build_gates(api, config, GateTools(workshop.clock, allow_list, workshop.state.notify))
    misdirected = build_host_check(api, workshop.policies)
    return CompiledApi(
        api,
        gates=gates,
        steps=_build_steps(api, workshop),
        access=None if api.keyless else AccessCheck(api, config, workshop.state.auth).look,
        mock=mock.build(api, config),
        leaf=_build_leaf(api, workshop),
        errors=workshop.renderer(api),
        misdirected=misdirected,
        allow_list=allow_list,
        certificate=build_recheck(api, config, workshop.state.auth),
    )


def _build_steps(api: ApiDefinition, workshop: Workshop) -> tuple[Step, ...]:
    """Return authentication to quota in the order of decisions 2.1; what an API does not use is absent."""
    config, state = workshop.config, workshop.state
    try:
        # The stamp is the definition: one that a reload did not change keeps its counters.
        limits = api_limits.build(api, config, state.auth, state.limiters, _stamp(api))
    except ValueError as problem:
        raise ConfigError([Problem(api.source, "rate_limit", "", f"cannot be compiled: {problem}")]) from problem
    whole = config.keys.show_in_logs
    settings = config.rate_limits.monitor
    of_orgs = monitor.build(settings, state.auth.notify, organisations=True, whole_keys=whole)
    of_keys = monitor.build(settings, state.auth.notify, organisations=False, whole_keys=whole)
    steps = (
        form_data.build(api, workshop.reactor),
        org_limits.build(api, config, state.auth, state.limiters, state.organisations, of_orgs),
        *build_auth_steps(api, config, state.auth),
        report.build(api, state.auth, state.store),
        limits,
        key_limits.build(api, config, state.auth, state.limiters, of_keys),
    )
    return tuple(step for step in steps if step is not None)


def _stamp(api: ApiDefinition) -> str:
    return hashlib.sha256(repr(api.raw).encode()).hexdigest()[:16]


def compile_raw(api: ApiDefinition, allow_list: AllowList | None, workshop: Workshop) -> CompiledRaw:
    """Compile a raw service.

    :raises ConfigError: its target cannot be used.
    """
    limits = workshop.config.own.limits
    plan = _build_plan(api, workshop, "tcp")
    return CompiledRaw(api, plan, allow_list, workshop.pool.lookups, limits.upstream_connect_timeout_s, limits.stream_idle_s)


def _build_leaf(api: ApiDefinition, workshop: Workshop) -> Callable[[Any], Any]:
    config = workshop.config
    limits = config.own.limits
    version = api.version
    remove_xff = any(name.lower() == "x-forwarded-for" for name in version.request_headers.remove)
    protected = _names(version.request_headers) | find_protected_names(api)
    for rule in version.request_header_rules:
        protected |= _names(rule.operations)
        remove_xff = remove_xff or (rule.path in ("", "/*") and any(name.lower() == "x-forwarded-for" for name in rule.operations.remove))
    mounted = api.settings.get("resource")
    if mounted:
        from tlsgate.gateway.mounted import MountedLeaf

        if api.request_signing is not None:
            workshop.upstream.note(
                Problem(
                    api.source, "request_signing", "", "without effect on a mounted resource, which has no upstream", severity="warning"
                )
            )
        return MountedLeaf(
            _load_resource(api, str(mounted), config.own.resources),
            workshop.reactor,
            config,
            request_headers=build_onward_step(api, build_request_headers_step(api, config)),
            response_headers=build_response_headers_step(api, config),
            timeout_of=build_timeout_of(api, config),
            protected=frozenset(protected),
            remove_xff=remove_xff,
            extra_response_headers=_expiry_header(api),
        )
    signer = build_request_signer(
        api,
        resolve=partial(workshop.upstream.resolve, api),
        note=workshop.upstream.note,
        clock=workshop.clock,
        reactor=workshop.reactor,
    )
    if signer is not None:
        protected |= signer.names
    return Forwarder(
        _build_plan(api, workshop, api.protocol if api.protocol in ("http", "https") else "http"),
        workshop.pool,
        request_headers=build_onward_step(api, build_request_headers_step(api, config)),
        response_headers=build_response_headers_step(api, config),
        timeout_of=build_timeout_of(api, config),
        default_timeout_s=config.proxy.default_timeout_s,
        answer_idle_s=config.http.write_timeout_s,
        stream_idle_s=limits.stream_idle_s,
        connect_timeout_s=min(limits.upstream_connect_timeout_s, config.proxy.default_timeout_s),
        strip_listen_path=api.proxy.strip_listen_path,
        keep_client_certificate_headers=config.own.keep_client_certificate_headers,
        remove_xff=remove_xff,
        websockets=config.http.enable_websockets,
        protected=frozenset(protected),
        extra_response_headers=_expiry_header(api),
        limit_headers=default_headers(config.rate_limits),
        signer=signer,
        override=workshop.renderer(api).override_answer,
    )


def _expiry_header(api: ApiDefinition) -> HeaderList:
    if not api.expiration:
        return []
    from datetime import UTC, datetime

    text = datetime.fromtimestamp(api.expiration, UTC).strftime("%a, %d %b %Y %H:%M:%S UTC")
    return [(b"x-tyk-api-expires", text.encode("ascii"))]


def _build_plan(api: ApiDefinition, workshop: Workshop, default_scheme: str) -> UpstreamPlan:
    certificates = build_upstream_certificates(workshop.config.security.upstream, api.upstream_certificates)
    pins = workshop.upstream.pins_of(api)
    urls = api.proxy.targets or (api.proxy.target_url,)
    targets: list[UpstreamTarget] = []
    for number, url in enumerate(urls):
        where = f"proxy.target_list[{number}]" if api.proxy.targets else "proxy.target_url"
        try:
            parsed = parse_target_url(url, default_scheme=default_scheme)
        except (ValueError, WireError) as problem:
            raise ConfigError(
                [Problem(api.source, where, show_value(url), f"not usable as an upstream: {problem}", "give scheme, host and port")]
            ) from problem
        try:
            via = workshop.upstream.find_via(api, parsed)
            tls = None
            if parsed.uses_tls:
                tls = workshop.upstream.prepare(api, parsed.scheme, parsed.host, parsed.port, certificates, pins)
        except PkiError as problem:
            # Decisions 1.8: the request fails, it never goes without.
            workshop.upstream.note(Problem(api.source, where, show_value(url), str(problem), "requests to it are refused until then"))
            destination: Callable[[], Destination] = _Unusable(parsed.host, str(problem))
            targets.append(UpstreamTarget(parsed, destination, disable_strip_slash=api.proxy.disable_strip_slash))
            continue
        targets.append(_build_target(parsed, tls, via, disable_strip_slash=api.proxy.disable_strip_slash))
    preserve_host = api.proxy.preserve_host_header
    if preserve_host and any(isinstance(target, ProxiedTarget) for target in targets):
        # The proxy goes by the target's authority, and a Host that disagrees with it is read in two ways (RFC 9112 section 3.2.2).
        preserve_host = False
        remedy = "use an https:// target, which is reached through a tunnel"
        workshop.upstream.note(
            Problem(api.source, "proxy.preserve_host_header", "true", "without effect through a forward proxy", remedy, "warning")
        )
    return UpstreamPlan(tuple(targets), preserve_host=preserve_host, keep_alive=not workshop.config.proxy.close_connections)


def _build_target(parsed: ParsedTarget, tls: UpstreamTls | None, via: Via | None, *, disable_strip_slash: bool) -> UpstreamTarget:
    destination = _Fixed(Destination(parsed.host, parsed.port, tls, via))
    if via is None or via.tunnelled:
        return UpstreamTarget(parsed, destination, disable_strip_slash=disable_strip_slash)
    through = _Fixed(Destination(parsed.host, parsed.port, None, via.as_tunnel()))
    return ProxiedTarget(
        parsed,
        destination,
        disable_strip_slash=disable_strip_slash,
        authorization=via.authorization,
        tunnelled=UpstreamTarget(parsed, through, disable_strip_slash=disable_strip_slash),
    )


class _Fixed:
    __slots__ = ("_destination",)

    def __init__(self, destination: Destination) -> None:
        self._destination = destination

    def __call__(self) -> Destination:
        return self._destination


class _Unusable:
    __slots__ = ("_host", "_reason")

    def __init__(self, host: str, reason: str) -> None:
        self._host = host
        self._reason = reason

    def __call__(self) -> Destination:
        raise UpstreamError("internal", "TLN", f"{self._host}: {self._reason}")


def _names(operations: HeaderOperations) -> set[bytes]:
    """Return the names that an API sets or removes, as they are compared: a client's trailers must not bring them back."""
    names = {name.lower().encode("latin-1") for name in (*operations.remove, *(name for name, _ in operations.add))}
    return names | {name.replace(b"_", b"-") for name in names}


def _load_resource(api: ApiDefinition, path: str, allowed: tuple[str, ...]) -> Any:
    """Import ``module:attribute``: an IResource or a function without arguments that returns one.

    Importing runs code, so the configuration must name the module or a package above it: definitions may come from others.
    """
    module, _, attribute = path.partition(":")
    if not any(module == name or module.startswith(f"{name}.") for name in allowed):
        raise ConfigError(
            [
                Problem(
                    api.source, "x-tlsgate.resource", path, "its module is not allowed", "name it in tlsgate.resources of the configuration"
                )
            ]
        )
    try:
        found = getattr(import_module(module), attribute)
        if not IResource.providedBy(found):
            found = found()
    except Exception as problem:
        raise ConfigError(
            [
                Problem(
                    api.source,
                    "x-tlsgate.resource",
                    path,
                    f"cannot be imported: {type(problem).__name__}: {problem}",
                    f"searched in {len(sys.path)} folders of the Python path",
                )
            ]
        ) from problem
    if not IResource.providedBy(found):
        raise ConfigError(
            [
                Problem(
                    api.source,
                    "x-tlsgate.resource",
                    path,
                    "is not a Twisted Web resource",
                    "name an IResource or a function that returns one",
                )
            ]
        )
    return found
