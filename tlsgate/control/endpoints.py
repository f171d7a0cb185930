"""The table of the control API: which handler answers a path; knows paths and areas, not what an area does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

from tlsgate.control.api_health import ApiHealth
from tlsgate.control.apis import Apis
from tlsgate.control.calls import Answer, Call, CallResource, Endpoint, error
from tlsgate.control.certs import CertificateEndpoints
from tlsgate.control.definition_book import DefinitionBook
from tlsgate.control.description import Description
from tlsgate.control.explain import Explain
from tlsgate.control.key_set_cache import KeySetCache
from tlsgate.control.keys import Keys
from tlsgate.control.metrics import Metrics
from tlsgate.control.oas_apis import OasApis
from tlsgate.control.orgs import Organisations
from tlsgate.control.policies import Policies
from tlsgate.control.reloads import Reloads

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tlsgate.clock import Clock
    from tlsgate.config.model import GatewayConfig
    from tlsgate.control.reloads import ReloadBell
    from tlsgate.gateway.state import State

__all__ = ["ControlTools", "EndpointTable", "build_endpoints"]


class ControlTools(NamedTuple):
    """What the areas are built with; once per generation."""

    config: GatewayConfig
    site: Any
    """``gateway.site.Site``: the generation of the moment, counters, ``draining``."""
    state: State
    clock: Clock
    reload: Callable[[], Awaitable[str]]
    """Reads everything again on this node; returns what went wrong, empty for nothing (decisions 4.6)."""
    bell: ReloadBell | None = None
    """Asks for a reload soon, and hears those of other nodes; outlives generations."""


def build_endpoints(tools: ControlTools) -> tuple[Endpoint, ...]:
    """Return all endpoints, one line per area."""
    book = DefinitionBook(tools)
    return (
        # Documents first: their fixed segments and those of the Classic form are equally exact.
        *OasApis(book).endpoints(),
        *Apis(book).endpoints(),
        *Reloads(tools).endpoints(),
        *ApiHealth(tools).endpoints(),
        *Description(tools).endpoints(),
        *Metrics(tools).endpoints(),
        *Explain(tools).endpoints(),
        *KeySetCache(tools).endpoints(),
        *Keys(tools, tools.state.certificates.has_certificate).endpoints(),
        *Policies(tools).endpoints(),
        *Organisations(tools).endpoints(),
        *CertificateEndpoints(tools).endpoints(),
    )


class EndpointTable:
    """Finds the endpoint of a path; a fixed segment wins over a ``{name}``."""

    def __init__(self, endpoints: Iterable[Endpoint], site: Any, max_body_bytes: int) -> None:
        self._site = site
        self._max = max_body_bytes
        self._routes: dict[tuple[str, ...], dict[str, Endpoint]] = {}
        for endpoint in endpoints:
            parts = tuple(endpoint.path.strip("/").split("/"))
            self._routes.setdefault(parts, {})[endpoint.method] = endpoint
        # Those with fewer names first: the more exact one decides.
        self._order = sorted(self._routes, key=lambda parts: sum(part[:1] == "{" for part in parts))

    def find(self, method: bytes, path: bytes) -> CallResource | None:
        """Return what answers, None for a path that there is not.

        :param path: as sent, without query; a trailing slash does not count.
        """
        segments = tuple(unquote(part) for part in path.decode("latin-1").strip("/").split("/"))
        for parts in self._order:
            names = _match(parts, segments)
            if names is None:
                continue
            methods = self._routes[parts]
            endpoint = methods.get(method.decode("latin-1"))
            if endpoint is None and method == b"HEAD":
                endpoint = methods.get("GET")
            if endpoint is None:
                endpoint = Endpoint("", "/".join(parts), _wrong_method)
            return CallResource(endpoint, names, self._site, self._max)
        return None


def _match(parts: tuple[str, ...], segments: tuple[str, ...]) -> dict[str, str] | None:
    if len(parts) != len(segments):
        return None
    names = {}
    for part, segment in zip(parts, segments, strict=True):
        if part[:1] == "{":
            if not segment:
                return None
            names[part[1:-1]] = segment
        elif part != segment:
            return None
    return names


async def _wrong_method(call: Call) -> Answer:
    return error(405, "Method not supported")
