"""Prepares the way to upstreams: certificate, trust, pins, versions and forward proxy of a target, and the contexts; once per load."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlsgate.errors import PkiError
from tlsgate.pki.pins import PinTable, build_pins
from tlsgate.proxy.proxies import ProxyEnvironment, parse_proxy_url
from tlsgate.proxy.tunnel import Via
from tlsgate.tls.client import ClientContextCache, build_upstream_identity
from tlsgate.tls.trust import TrustSet, load_trust
from tlsgate.tls.upstream import UpstreamTls

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tlsgate.clock import Clock
    from tlsgate.config.model import GatewayConfig
    from tlsgate.errors import Problem
    from tlsgate.model.api import ApiDefinition
    from tlsgate.pki.pem import PemBundle
    from tlsgate.pki.references import ReferenceResolver
    from tlsgate.pki.upstream import UpstreamCertificates
    from tlsgate.proxy.upstreams import ParsedTarget

__all__ = ["UpstreamContexts"]


class UpstreamContexts:
    """Contexts of one generation, shared by equal identities."""

    def __init__(self, config: GatewayConfig, resolver: ReferenceResolver, clock: Clock, environ: Mapping[str, str]) -> None:
        self._config = config
        self._resolver = resolver
        self._environ = environ
        self._contexts = ClientContextCache(clock)
        self._trust: dict[tuple[tuple[str, ...], bool], TrustSet] = {}
        self._proxies = ProxyEnvironment(environ)
        self.problems: list[Problem] = []
        self._global_pins = build_pins(config.security.pinned_public_keys, resolver, file=config.source, path="security.pinned_public_keys")
        self.problems.extend(self._global_pins.problems)

    def note(self, problem: Problem) -> None:
        """Keep a problem for the report of this load."""
        self.problems.append(problem)

    def pins_of(self, api: ApiDefinition) -> PinTable:
        """Return the pins of an API, the gateway's below them."""
        if not api.pinned_public_keys:
            return self._global_pins
        table = build_pins(api.pinned_public_keys, self._resolver_of(api), base=self._global_pins, file=api.source)
        self.problems.extend(table.problems)
        return table

    def resolve(self, api: ApiDefinition, reference: str) -> PemBundle:
        """Return what a reference of a definition holds.

        :raises PkiError: it cannot be had.
        """
        return self._resolver_of(api).resolve(reference)

    def prepare(
        self, api: ApiDefinition, scheme: str, host: str, port: int, certificates: UpstreamCertificates, pins: PinTable
    ) -> UpstreamTls:
        """Return identity and context of one target.

        :raises PkiError: a certificate or CA that it needs cannot be had: the target must not be used then.
        """
        config = self._config
        transport = api.proxy.transport
        reference = certificates.find_reference(host, port)
        # A definition that came by the REST API may name less; what the configuration names, it may use.
        own = any(reference == named for _, named in api.upstream_certificates)
        identity = build_upstream_identity(
            scheme=scheme,
            host=host,
            port=port,
            trust=self._trust_of(api),
            client=(self._resolver_of(api) if own else self._resolver).resolve(reference) if reference is not None else None,
            min_version=transport.min_version or config.proxy.min_version,
            max_version=transport.max_version or config.proxy.max_version,
            ciphers=transport.ciphers or config.proxy.ciphers,
            verify=not (transport.insecure_skip_verify or config.proxy.insecure_skip_verify),
            pins=pins.find(host),
            check_common_name=transport.force_common_name_check or config.proxy.force_common_name_check,
            alpn=() if api.is_raw else ("http/1.1",),
        )
        return UpstreamTls(identity, self._contexts.get(identity))

    def find_via(self, api: ApiDefinition, target: ParsedTarget) -> Via | None:
        """Return the forward proxy on the way to a target, None to go straight there.

        The proxy of the definition serves every target; those of the environment serve HTTP, except for ``NO_PROXY`` and loopback. A
        proxy that is reached through TLS is verified by the CAs of upstreams, always; pins and client certificates are the target's.

        :raises PkiError: there is one and it cannot be used.
        """
        transport = api.proxy.transport
        try:
            if transport.proxy_url:
                address = parse_proxy_url(transport.proxy_url)
            else:
                found = self._proxies.find(target.scheme, target.host, target.port)
                if found is None:
                    return None
                address = found
        except ValueError as problem:
            raise PkiError(str(problem)) from problem
        tls = None
        if address.scheme == "https":
            trust = self._trust_of(api)
            identity = build_upstream_identity(scheme="https", host=address.host, port=address.port, trust=trust)
            tls = UpstreamTls(identity, self._contexts.get(identity))
        return Via(address, tls, tunnelled=target.scheme != "http")

    def _resolver_of(self, api: ApiDefinition) -> ReferenceResolver:
        return self._resolver.for_guests() if api.from_rest else self._resolver

    def _trust_of(self, api: ApiDefinition) -> TrustSet:
        shared = self._config.own.upstream_ca
        references = api.proxy.transport.ca_certificates or shared
        guest = api.from_rest and references != shared
        trust = self._trust.get((references, guest))
        if trust is None:
            resolver = self._resolver.for_guests() if guest else self._resolver
            bundles = [resolver.resolve(reference) for reference in references]
            trust = self._trust[references, guest] = load_trust(bundles, self._environ)
        return trust
