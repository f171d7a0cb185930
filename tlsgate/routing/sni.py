"""(port, server name) to TLS policy: what a handshake asks of the client. Immutable but for one bounded cache; independent of load order.

Knows the rules of decisions 1; must not know certificates, OpenSSL or requests. The policy of a name only decides what a handshake asks
for: every request is judged by its own API's list as well (``gates.certificate``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from tlsgate.config.model import GatewayConfig
from tlsgate.errors import Problem, WireError
from tlsgate.model.api import ApiDefinition
from tlsgate.model.tls import ClientAuth, TlsPolicy, VersionRange
from tlsgate.routing.domains import DomainIndex, is_pattern
from tlsgate.routing.table import effective_domain, effective_port
from tlsgate.wire.names import normalise_host

__all__ = ["AllowListRef", "PolicyTable", "build_policy_table", "control_port", "uses_certificates"]

_MAX_COMBINATIONS = 256


class AllowListRef(NamedTuple):
    """An allow list by its content."""

    key: str
    """``pki.acl.AllowList.key``; equal exactly for lists that judge alike."""
    value: Any = None
    """Whatever the caller wants back from :meth:`PolicyTable.members`, usually the list."""


def uses_certificates(api: ApiDefinition) -> bool:
    """Tell whether client certificates matter to an API: static or dynamic mTLS, or keys or tokens that are bound to certificates."""
    return api.use_mutual_tls or api.use_certificate or api.ask_for_bound_keys or api.binding.require_certificate


def control_port(config: GatewayConfig) -> int:
    """Return the port of the control API: its own, else the gateway's."""
    return config.control.port or config.listen_port


class _Settings(NamedTuple):
    announce: bool
    versions: VersionRange
    ciphers: tuple[str, ...]


class _Policies:
    """Makes policies; equal ones are one object, so that comparing them is cheap and 10,000 hosts with one rule cost one."""

    def __init__(self, config: GatewayConfig, list_of: Callable[[ApiDefinition], AllowListRef]) -> None:
        http = config.http
        self._settings = _Settings(
            not http.skip_client_ca_announcement, VersionRange(lowest=http.min_version, highest=http.max_version), http.ssl_ciphers
        )
        self._list_of = list_of
        self._lists: dict[str, AllowListRef] = {}
        self._known: dict[TlsPolicy, TlsPolicy] = {}
        self.members: dict[str, tuple[AllowListRef, ...]] = {}
        self._combinations: dict[tuple[int, tuple[int, ...]], TlsPolicy] = {}
        self._lasting: tuple[dict[TlsPolicy, TlsPolicy], dict[str, tuple[AllowListRef, ...]]] = ({}, {})

    def seal(self) -> None:
        """Remember what was made on load: everything made later is forgotten when it becomes too much."""
        self._lasting = (dict(self._known), dict(self.members))

    def combine(self, port: int, matching: tuple[int, ...], apis: Sequence[ApiDefinition], scope: str) -> TlsPolicy:
        """Return the policy of domain patterns that match one name together; which do is not known before a name comes."""
        policy = self._combinations.get((port, matching))
        if policy is None:
            if len(self._combinations) >= _MAX_COMBINATIONS:
                self._combinations.clear()
                self._known, self.members = dict(self._lasting[0]), dict(self._lasting[1])
            policy = self._combinations[(port, matching)] = self.of(apis, scope)
        return policy

    def of(self, apis: Iterable[ApiDefinition], scope: str, at_most: ClientAuth = ClientAuth.REQUIRE) -> TlsPolicy:
        """Return the policy of a set of APIs: rule 2 of decisions 1."""
        apis = tuple(apis)
        if not apis or not any(uses_certificates(api) for api in apis):
            return self.make(ClientAuth.NONE, (), scope)
        if at_most < ClientAuth.REQUIRE or not all(api.use_mutual_tls for api in apis):
            return self.make(min(ClientAuth.REQUEST, at_most), (), scope)
        return self.make(ClientAuth.REQUIRE, [self._list(api) for api in apis], scope)

    def make(self, client_auth: ClientAuth, lists: Iterable[AllowListRef], scope: str) -> TlsPolicy:
        distinct = {ref.key: ref for ref in lists}
        members = tuple(distinct[key] for key in sorted(distinct))
        key = ""
        if client_auth is ClientAuth.REQUIRE:
            key = members[0].key if len(members) == 1 else _union_key(members)
            self.members[key] = members
        policy = TlsPolicy(
            client_auth=client_auth,
            allow_list=key,
            announce=self._settings.announce,
            versions=self._settings.versions,
            ciphers=self._settings.ciphers,
            alpn=() if scope.startswith("raw:") else ("http/1.1",),
            scope=scope,
        )
        return self._known.setdefault(policy, policy)

    def _list(self, api: ApiDefinition) -> AllowListRef:
        ref = self._lists.get(api.api_id)
        if ref is None:
            ref = self._lists[api.api_id] = self._list_of(api)
        return ref


class _PortPolicies:
    """The policies of one port."""

    def __init__(
        self, number: int, apis: Sequence[ApiDefinition], config: GatewayConfig, policies: _Policies, control: AllowListRef | None
    ) -> None:
        self.number = number
        self._policies = policies
        self._forced: TlsPolicy | None = None
        self.notes: list[Problem] = []
        by_domain: dict[str, list[ApiDefinition]] = {}
        for api in apis:
            by_domain.setdefault(effective_domain(api, config), []).append(api)
        self._names = {domain: tuple(of) for domain, of in by_domain.items() if domain and not is_pattern(domain)}
        self._pattern_domains = sorted(domain for domain in by_domain if is_pattern(domain))
        self._pattern_apis = [tuple(by_domain[domain]) for domain in self._pattern_domains]
        self._patterns = DomainIndex(self._pattern_domains)
        self._anywhere = tuple(by_domain.get("", ()))
        self._is_raw = any(api.is_raw for api in apis)
        self._has_control = not self._is_raw and control_port(config) == number
        self._control_host = _host(config.control.hostname) if self._has_control else ""
        self._build(tuple(apis), config, control)

    def _build(self, apis: tuple[ApiDefinition, ...], config: GatewayConfig, control: AllowListRef | None) -> None:
        own_mtls = self._has_control and config.security.control_api_use_mutual_tls
        open_host = self._has_control and not self._control_host and not own_mtls
        at_most = ClientAuth.REQUEST if open_host else ClientAuth.REQUIRE
        of = self._policies.of
        self._exact = {name: of(own, self._scope(own)) for name, own in self._names.items()}
        self._pattern_policies = [of(own, self._scope(own)) for own in self._pattern_apis]
        self._default = of(self._anywhere, self._scope(self._anywhere), at_most)
        # Rule 3: REQUIRE only if each API of the port is static mTLS.
        self._nowhere = of(apis, self._scope(self._anywhere), at_most)
        if own_mtls:
            strict = self._policies.make(ClientAuth.REQUIRE, [] if control is None else [control], "control")
            if self._control_host:
                self._exact[self._control_host] = strict
            else:
                self._forced = strict
        elif self._control_host:
            # Rule 4: control clients need no certificate, so this one host asks at most.
            self._exact[self._control_host] = of(self._apis_of(self._control_host) or apis, "gateway", ClientAuth.REQUEST)
        self._note(apis, config, own_mtls, open_host)

    def find(self, name: str | None) -> TlsPolicy:
        if self._forced is not None:
            return self._forced
        if name is None:
            return self._nowhere
        policy = self._exact.get(name)
        if policy is not None:
            return policy
        if self._patterns:
            matching = self._patterns.find(name, self.number)
            if matching:
                return self._combination(matching)
        return self._default if self._anywhere else self._nowhere

    def serves_control(self, host: str) -> bool:
        if not self._has_control:
            return False
        if self._control_host:
            return host == self._control_host
        if self._forced is not None:
            return True
        own = self._own_apis(host)
        return not own or not all(api.use_mutual_tls for api in own)

    def _combination(self, matching: tuple[int, ...]) -> TlsPolicy:
        first = self._pattern_policies[matching[0]]
        if len(matching) == 1:
            return first
        apis = [api for number in matching for api in self._pattern_apis[number]]
        return self._policies.combine(self.number, matching, apis, first.scope)

    def _own_apis(self, host: str) -> tuple[ApiDefinition, ...]:
        own = self._names.get(host)
        if own is not None:
            return own
        return tuple(api for number in self._patterns.find(host, self.number) for api in self._pattern_apis[number])

    def _apis_of(self, host: str) -> tuple[ApiDefinition, ...]:
        return self._own_apis(host) or self._anywhere

    def _scope(self, apis: Sequence[ApiDefinition]) -> str:
        if not self._is_raw:
            return "gateway"
        return "raw:" + (apis[0].api_id if apis else "")

    def _note(self, apis: tuple[ApiDefinition, ...], config: GatewayConfig, own_mtls: bool, open_host: bool) -> None:
        where = config.source or "configuration"
        if own_mtls and not self._control_host and apis:
            self.notes.append(
                Problem(
                    where,
                    "security.control_api_use_mutual_tls",
                    "",
                    f"every handshake on port {self.number} needs a certificate of the control API, those of the APIs included",
                    "set control_api_port or control_api_hostname",
                    "warning",
                )
            )
        if open_host and any(api.use_mutual_tls for api in self._anywhere) and all(api.use_mutual_tls for api in self._anywhere):
            self.notes.append(
                Problem(
                    where,
                    "control_api_hostname",
                    "",
                    f"the control API shares port {self.number}, so hosts without APIs of their own ask for a client certificate in the "
                    "handshake and demand it per request only",
                    "set control_api_port or control_api_hostname",
                    "warning",
                )
            )


class PolicyTable:
    """The TLS policies of all ports."""

    def __init__(self, ports: dict[int, _PortPolicies], policies: _Policies) -> None:
        self._ports = ports
        self._policies = policies
        self.notes: tuple[Problem, ...] = tuple(note for port in sorted(ports) for note in ports[port].notes)
        """What an operator should be told once at load."""

    @property
    def ports(self) -> tuple[int, ...]:
        """All ports, ascending."""
        return tuple(sorted(self._ports))

    def find(self, port: int, name: str | None) -> TlsPolicy:
        """Return the policy of a handshake.

        Source: decisions 1.1 to 1.4.

        :param port: as of ``routing.table.effective_port``.
        :param name: normalised server name, None without one.
        :raises KeyError: a port that nobody configured.
        """
        return self._ports[port].find(name)

    def misdirected(self, port: int, policy: TlsPolicy, host: str) -> bool:
        """Tell whether a request for ``host`` does not belong on a connection made under ``policy``.

        The caller asks only when a server name was sent, it is not the host, and the routed API uses client certificates.
        Source: decisions 1.5.
        """
        policies = self._ports.get(port)
        if policies is None:  # the port went away with a reload, this connection is still there
            return True
        own = policies.find(host)
        return own is not policy and own != policy

    def needs_certificates(self, port: int, host: str) -> bool:
        """Tell whether the policy of a host asks for client certificates at all."""
        return self._ports[port].find(host).client_auth is not ClientAuth.NONE

    def serves_control(self, port: int, host: str, server_name: str | None = None) -> bool:
        """Tell whether ``/tyk/`` and the health paths answer for a request.

        Source: decisions 1.4.

        :param host: of the request, normalised.
        :param server_name: of the connection; None on plain HTTP and without one.
        """
        policies = self._ports.get(port)
        if policies is None or not policies.serves_control(host):
            return False
        return server_name is None or server_name == host or policies.serves_control(server_name)

    def members(self, key: str) -> tuple[AllowListRef, ...]:
        """Return the lists whose union ``TlsPolicy.allow_list`` names: whoever one of them lets in may finish the handshake.

        :returns: empty when nobody may, also for a key that is not known.
        """
        return self._policies.members.get(key, ())


def build_policy_table(
    apis: Iterable[ApiDefinition],
    config: GatewayConfig,
    allow_list_of: Callable[[ApiDefinition], AllowListRef],
    *,
    control_list: AllowListRef | None = None,
) -> PolicyTable:
    """Return the policies of a generation.

    Source: decisions 1, rules 1 to 4, 9 and 12; mTLS reference, section 4.

    :param apis: in any order; inactive and internal ones do not count.
    :param config: control API, TLS versions and suites.
    :param allow_list_of: the list of a static mTLS API, ``security.certificates.apis`` included; asked once for each.
    :param control_list: ``security.certificates.control_api``; None lets nobody in where the control API demands certificates.
    :raises ValueError: a domain pattern that does not compile.
    """
    by_port: dict[int, list[ApiDefinition]] = {config.listen_port: [], control_port(config): []}
    for api in sorted(apis, key=lambda item: item.api_id):
        if api.active and not api.internal and api.protocol != "tcp":
            by_port.setdefault(effective_port(api, config), []).append(api)
    policies = _Policies(config, allow_list_of)
    ports = {port: _PortPolicies(port, of, config, policies, control_list) for port, of in by_port.items()}
    policies.seal()
    return PolicyTable(ports, policies)


def _union_key(members: Sequence[AllowListRef]) -> str:
    digest = hashlib.sha256("\n".join(ref.key for ref in members).encode())
    return f"union:{digest.hexdigest()}"


def _host(text: str) -> str:
    if not text:
        return ""
    try:
        return normalise_host(text)
    except WireError:
        # Never a name that a client can send: the control API answers nowhere rather than everywhere.
        return text
