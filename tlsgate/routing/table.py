"""(port, host, path) to the thing that answers; immutable, built on load. Knows nothing of what a route leads to, of TLS or of requests.

A look-up costs one dictionary look-up for the host and one bisection over the host's listen paths, not a walk over the definitions:
10,000 of them cost what ten do (``benchmarks``). Listen paths are kept sorted together with a link from each to the next shorter one that
is a prefix of it; every prefix of a path is on the chain of links that starts at the path's predecessor.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from tlsgate.config.model import GatewayConfig
from tlsgate.errors import Refusal, WireError
from tlsgate.model.api import ApiDefinition
from tlsgate.routing.domains import DomainIndex, is_pattern
from tlsgate.routing.paths import compile_expression, parse_listen_path
from tlsgate.wire.names import normalise_host
from tlsgate.wire.target import closing_readings

__all__ = ["Route", "RouteEntry", "RouteTable", "build_route_table", "duplicates", "effective_domain", "effective_port"]

_SLASH = ord("/")


class RouteEntry(NamedTuple):
    """One API as far as routing is concerned."""

    api_id: str
    port: int
    """As of :func:`effective_port`."""
    domain: str
    """As of :func:`effective_domain`; empty is any host."""
    listen_path: str
    """As configured; ignored for raw services."""
    alias: bool
    """Serve it under ``/<api_id>/`` as well; a listen path with templates has no alias, because nothing could take their place."""
    value: Any
    """What the route leads to."""
    raw: bool = False
    """A byte-stream service: told apart by server name, without a path."""


class Route(NamedTuple):
    """Where a request goes."""

    value: Any
    matched: bytes
    """The part of the canonical path that the listen path (or the alias) matched."""
    api_id: str
    alias: bool
    """Found by ``/<api_id>/``: this prefix never goes upstream (differs from Tyk, reference 6.3)."""
    home: Home | None = None
    """What an alias stands for; None for others."""


class Home(NamedTuple):
    """The listen path behind an alias."""

    prefix: bytes
    """Canonical, with a slash at its end."""
    table: _PathTable
    """All listen paths of the same host."""

    def enter(self, route: Route, canonical: bytes) -> bytes:
        """Return the path under the listen path.

        An alias is another name of the listen path and of nothing else: what a longer listen path has taken away from it stays taken.

        :raises Refusal: ``route.ambiguous_path``.
        """
        path = self.prefix + canonical[len(route.matched) :]
        for reading in (path, *_readings(path)):
            owner = self.table.find(reading)
            if owner is None or owner.alias or owner.api_id != route.api_id:
                raise Refusal("route.ambiguous_path", f"below its listen path it belongs to {owner.api_id if owner else 'nobody'}")
        return path


def effective_port(api: ApiDefinition, config: GatewayConfig) -> int:
    """Return the port of an API: its own, else the gateway's (configured number, also where 0 takes any free port)."""
    return api.listen_port or config.listen_port


def effective_domain(api: ApiDefinition, config: GatewayConfig) -> str:
    """Return the domain that routing and TLS policies use: the API's own, else conf ``hostname``, else empty (any host)."""
    domain = api.domain
    if not domain and config.hostname:
        domain = config.hostname
    if not domain or is_pattern(domain):
        return domain
    try:
        return normalise_host(domain)
    except WireError:
        # No client can send such a Host: the API answers nowhere rather than everywhere.
        return domain


class _Template(NamedTuple):
    rank: int
    expression: Any
    value: Any
    api_id: str


class _Node(NamedTuple):
    """One key of a path table: a listen path, or the literal beginning of templates."""

    key: bytes
    is_open: bool
    """Any continuation fits; False in strict mode for a listen path without a slash at its end."""
    parent: int
    """The next shorter key that is a prefix of this one; -1 for none."""
    route: Route | None
    reach: int
    """Highest rank that this key or one on the way up can give; 0 where none of them has templates."""
    templates: tuple[_Template, ...]


class _PathTable:
    """The listen paths of one host on one port."""

    __slots__ = ("_keys", "_nodes")

    def __init__(self, entries: Sequence[RouteEntry], strict: bool) -> None:
        literals: dict[bytes, Route] = {}
        templates: dict[bytes, dict[bytes, _Template]] = {}
        for entry in entries:
            path = parse_listen_path(entry.listen_path)
            if path.source is None:
                literals.setdefault(path.prefix, Route(entry.value, path.prefix, entry.api_id, False))
            else:
                template = _Template(2 * path.length, compile_expression(path.source), entry.value, entry.api_id)
                templates.setdefault(path.prefix, {}).setdefault(path.source, template)
        for entry in entries:
            home = parse_listen_path(entry.listen_path)
            if entry.alias and entry.api_id and home.source is None:
                path = parse_listen_path(f"/{entry.api_id}/".replace("{", "%7B").replace("}", "%7D"))
                stands_for = Home(home.prefix.rstrip(b"/") + b"/", self)
                literals.setdefault(path.prefix, Route(entry.value, path.prefix, entry.api_id, True, stands_for))
        self._keys = sorted({*literals, *templates})
        self._nodes: list[_Node] = []
        for key, parent in zip(self._keys, _link(self._keys), strict=True):
            own = sorted(templates.get(key, {}).values(), key=lambda item: (-item.rank, item.api_id))
            above = self._nodes[parent].reach if parent >= 0 else 0
            reach = max(above, own[0].rank if own else 0, 2 * len(key) + 1) if own or above else 0
            self._nodes.append(_Node(key, not strict or key.endswith(b"/"), parent, literals.get(key), reach, tuple(own)))

    def find(self, path: bytes) -> Route | None:
        """Return the listen path with the most literal text that takes ``path``; of several the longest beginning, then the first id."""
        nodes = self._nodes
        index = bisect_right(self._keys, path) - 1
        while index >= 0:
            key, is_open, parent, route, reach, _ = nodes[index]
            if reach:
                found = self._find_ranked(path, index)
                return None if found is None else found[1]
            if path.startswith(key) and (is_open or len(path) == len(key) or path[len(key)] == _SLASH):
                return route
            index = parent
        return None

    def find_ranked(self, path: bytes) -> tuple[int, Route] | None:
        """The same with its rank: twice the literal length, one more for a listen path without templates."""
        return self._find_ranked(path, bisect_right(self._keys, path) - 1)

    def _find_ranked(self, path: bytes, index: int) -> tuple[int, Route] | None:
        best: Route | None = None
        best_rank = -1
        while index >= 0:
            key, is_open, parent, route, reach, templates = self._nodes[index]
            if best is not None and reach <= best_rank:
                break
            if path.startswith(key):
                rank = 2 * len(key) + 1
                if route is not None and rank > best_rank and (is_open or len(path) == len(key) or path[len(key)] == _SLASH):
                    best, best_rank = route, rank
                for template in templates:
                    if template.rank <= best_rank:
                        break
                    found = template.expression.match(path)
                    if found is not None:
                        best = Route(template.value, path[: found.end()], template.api_id, False)
                        best_rank = template.rank
                        break
            index = parent
        return None if best is None else (best_rank, best)


class _Port:
    """The hosts of one port."""

    __slots__ = ("default", "exact", "number", "patterns", "tables")

    def __init__(self, number: int, entries: Sequence[RouteEntry], strict: bool) -> None:
        self.number = number
        by_domain: dict[str, list[RouteEntry]] = {}
        for entry in entries:
            by_domain.setdefault(entry.domain, []).append(entry)
        patterns = sorted(domain for domain in by_domain if is_pattern(domain))
        self.default = _PathTable(by_domain[""], strict) if "" in by_domain else None
        self.exact = {domain: _PathTable(of, strict) for domain, of in by_domain.items() if domain and not is_pattern(domain)}
        self.patterns = DomainIndex(patterns)
        self.tables = [_PathTable(by_domain[domain], strict) for domain in patterns]

    def find(self, host: str, path: bytes) -> Route | None:
        table = self.exact.get(host)
        if table is not None:
            route = table.find(path)
            if route is not None:
                return route
        if self.tables:
            best: tuple[int, Route] | None = None
            for number in self.patterns.find(host, self.number):
                found = self.tables[number].find_ranked(path)
                if found is not None and (best is None or found[0] > best[0]):
                    best = found
            if best is not None:
                return best[1]
        return None if self.default is None else self.default.find(path)


class _Services:
    """The raw services of one port."""

    __slots__ = ("default", "exact", "number", "patterns", "values")

    def __init__(self, number: int, entries: Sequence[RouteEntry]) -> None:
        self.number = number
        self.exact: dict[str, Any] = {}
        patterns: dict[str, Any] = {}
        self.default: Any = None
        for entry in entries:
            if is_pattern(entry.domain):
                patterns.setdefault(entry.domain, entry.value)
            elif entry.domain:
                self.exact.setdefault(entry.domain, entry.value)
            elif self.default is None:
                self.default = entry.value
        self.patterns = DomainIndex(sorted(patterns))
        self.values = [patterns[domain] for domain in sorted(patterns)]

    def find(self, name: str | None) -> Any:
        if name is None:
            return self.default
        value = self.exact.get(name)
        if value is None and self.patterns:
            for number in self.patterns.find(name, self.number):
                return self.values[number]
        return self.default if value is None else value


class RouteTable:
    """All routes of a generation; immutable."""

    __slots__ = ("_ports", "_services")

    def __init__(self, ports: dict[int, _Port], services: dict[int, _Services]) -> None:
        self._ports = ports
        self._services = services

    def find(self, port: int, host: str, canonical: bytes) -> Route | None:
        """Return where a request goes, None for nowhere (404).

        Order: APIs whose domain is the host, then those whose domain pattern matches it, then those without a domain; in each the listen
        path with the most literal text, plain before template. In strict mode a listen path that does not fit is passed over, and the
        next shorter one is tried (Tyk answers 404).
        Source: API definitions reference, sections 6.1 to 6.3; decisions 2.15.

        :param port: as of :func:`effective_port`.
        :param host: normalised, without port.
        :param canonical: as of ``wire.target.canonicalise``.
        """
        hosts = self._ports.get(port)
        return None if hosts is None else hosts.find(host, canonical)

    def resolve(self, port: int, host: str, canonical: bytes) -> Route | None:
        """Return the same as :meth:`find`, and refuse a path that another reading leads to another API.

        Source: decisions 2.11.

        :raises Refusal: ``route.ambiguous_path``.
        """
        hosts = self._ports.get(port)
        if hosts is None:
            return None
        route = hosts.find(host, canonical)
        if route is not None:
            for reading in _readings(canonical):
                other = hosts.find(host, reading)
                if other is not None and other.api_id != route.api_id:
                    raise Refusal("route.ambiguous_path", f"another reading of the path leads to {other.api_id}")
        return route

    def find_service(self, port: int, name: str | None) -> Any:
        """Return the raw service of a port for a server name (None without one), or None.

        :param port: as of :func:`effective_port`.
        :param name: normalised.
        """
        services = self._services.get(port)
        return None if services is None else services.find(name)


def build_route_table(entries: Iterable[RouteEntry], *, strict: bool) -> RouteTable:
    """Return the table of all routes, whatever the order of the entries: where two claim one place, the first by ``api_id`` has it.

    :param entries: one per API; ``duplicates`` names those that lose.
    :param strict: ``enable_strict_routes``.
    :raises ValueError: a listen path or domain that does not compile, with the API's id.
    """
    ports: dict[int, list[RouteEntry]] = {}
    services: dict[int, list[RouteEntry]] = {}
    for entry in sorted(entries, key=lambda item: item.api_id):
        (services if entry.raw else ports).setdefault(entry.port, []).append(entry)
    return RouteTable(
        {port: _Port(port, of, strict) for port, of in ports.items()},
        {port: _Services(port, of) for port, of in services.items()},
    )


def duplicates(entries: Iterable[RouteEntry]) -> list[tuple[RouteEntry, RouteEntry]]:
    """Return pairs (the entry that has the place, an entry that wants the same place), first by ``api_id`` first.

    Same port, same domain and same listen path; for raw services same port and domain.
    Source: decisions 4.7.
    """
    places: dict[tuple[bool, int, str, bytes, bytes | None], RouteEntry] = {}
    found: list[tuple[RouteEntry, RouteEntry]] = []
    for entry in sorted(entries, key=lambda item: item.api_id):
        path = None if entry.raw else parse_listen_path(entry.listen_path)
        place = (entry.raw, entry.port, entry.domain, path.prefix if path else b"", path.source if path else None)
        owner = places.setdefault(place, entry)
        if owner is not entry:
            found.append((owner, entry))
    return found


def _readings(canonical: bytes) -> tuple[bytes, ...]:
    """Return the other readings of a path.

    :raises Refusal: there are too many.
    """
    try:
        return closing_readings(canonical)
    except WireError as problem:
        raise Refusal("route.ambiguous_path", problem.reason) from problem


def _link(keys: list[bytes]) -> list[int]:
    """Return for each of the sorted keys the index of the longest other key that is a prefix of it, or -1."""
    parents: list[int] = []
    for index, key in enumerate(keys):
        candidate = index - 1
        while candidate >= 0 and not key.startswith(keys[candidate]):
            candidate = parents[candidate]
        parents.append(candidate)
    return parents
