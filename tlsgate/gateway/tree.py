"""The tree of Twisted Web resources: root, API, leaf; knows paths and hosts only through the generation's tables.

The host and the API are found by one look-up on the canonical path (decisions 2.6), never by walking segments: ``getChildWithDefault``
of the root returns the API's resource, whose ``render`` starts the pipeline. Any other ``IResource`` can stand in its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from tlsgate.errors import Refusal, WireError
from tlsgate.gateway.pipeline import refuse, start
from tlsgate.model.tokens import WELL_KNOWN
from tlsgate.routing.paths import raw_length, remaining_path
from tlsgate.wire.target import clean_path, is_plain, needs_cleaning, readings_below

if TYPE_CHECKING:
    from tlsgate.gateway.compile import CompiledApi
    from tlsgate.gateway.request import GateRequest

__all__ = ["ApiResource", "LeafResource", "RefusingResource", "RootResource"]


@implementer(IResource)
class LeafResource:
    """A resource without children, which are no part of how paths are found here."""

    isLeaf = True
    server = None

    def render(self, request: Any) -> int:
        """Serve a request; the answer may come later."""
        raise NotImplementedError

    def getChildWithDefault(self, name: bytes, request: Any) -> Any:
        """Return the leaf itself."""
        return self

    def putChild(self, path: bytes, child: Any) -> None:
        """Refuse."""
        raise NotImplementedError("what answers a path is compiled from definitions")


class ApiResource(LeafResource):
    """One API: starts the pipeline."""

    def __init__(self, compiled: CompiledApi, site: Any) -> None:
        self.compiled = compiled
        self._site = site

    def render(self, request: GateRequest) -> int:
        """Serve a request; the answer comes later."""
        start(request, self.compiled, self._site)
        return NOT_DONE_YET


class RefusingResource(LeafResource):
    """Answers with an entry of the catalogue."""

    def __init__(self, refusal_id: str, site: Any) -> None:
        self._id = refusal_id
        self._site = site

    def render(self, request: GateRequest) -> int:
        """Refuse."""
        refuse(request, self._site, Refusal(self._id))
        self._site.finished(request)
        return NOT_DONE_YET


class _Redirect(LeafResource):
    """The clean-up redirect of the reference, section 6.5."""

    def __init__(self, site: Any) -> None:
        self._site = site

    def render(self, request: GateRequest) -> int:
        """Answer 301 to the cleaned path."""
        location = clean_path(request.path)
        if request.query is not None:
            location += b"?" + request.query
        request.channel.respond(request, 301, [(b"Location", location)], b"")
        self._site.finished(request)
        return NOT_DONE_YET


@implementer(IResource)
class RootResource:
    """Finds what answers a request, in the generation of the moment."""

    isLeaf = False
    server = None

    def __init__(self, site: Any) -> None:
        self._site = site
        self._redirect = _Redirect(site)
        self._not_found = RefusingResource("route.not_found", site)
        self._ambiguous = RefusingResource("route.ambiguous_path", site)

    def getChildWithDefault(self, name: bytes, request: GateRequest) -> Any:
        """Return the resource for a request: control first, then APIs (reference, section 6.1)."""
        generation = self._site.generation
        canonical = request.canonical
        # The usual path has one reading, and neither empty nor dot segments: one look instead of three.
        plain = is_plain(canonical)
        if not plain and generation.clean_paths and needs_cleaning(canonical):
            return self._redirect
        port = request.connection.listener_port
        control = self._site.control.find(port, request)
        if control is not None:
            return control
        if generation.publishes and canonical.startswith(WELL_KNOWN):
            canonical = self._find_described(port, request, canonical)
        try:
            routes = generation.routes
            route = routes.find(port, request.host, canonical) if plain else routes.resolve(port, request.host, canonical)
            if route is None:
                return self._not_found
            matched = route.matched
            home = route.home
            if home is not None:
                # From here on the request is the one that the listen path would have got: rules, upstream and resource see no other.
                request.alias = True
                request.canonical = home.enter(route, canonical)
                request.path = home.prefix + request.path[raw_length(request.path, canonical, len(matched)) :]
                canonical, matched, plain = request.canonical, home.prefix, False
            request.matched = matched
            below = request.remaining_path = remaining_path(canonical, matched)
            # Cutting it in the middle of a segment can make a dot segment, nothing else.
            request.readings = () if plain and below[1:2] != b"." else readings_below(below)
        except Refusal as refusal:
            request.detail = refusal.detail
            return self._ambiguous
        except WireError as problem:
            request.detail = problem.reason
            return self._ambiguous
        compiled = route.value
        request.route = compiled
        request.api = compiled.api
        return compiled.resource

    def _find_described(self, port: int, request: GateRequest, canonical: bytes) -> bytes:
        """Return the path at which the API says what is asked for before its path, or the path as it is.

        Only of an API that describes itself: everything else goes where it would go.
        """
        place = canonical[len(WELL_KNOWN) :]
        if place[:1] != b"/" or not is_plain(place) or request.method not in (b"GET", b"HEAD"):
            return canonical
        routes = self._site.generation.routes
        for path in (place, place + b"/"):
            route = routes.find(port, request.host, path)
            described = None if route is None else route.value.api.protected_resource
            if route is not None and described is not None and remaining_path(path, route.matched) == b"/":
                request.path = request.canonical = route.matched.rstrip(b"/") + described.path
                return request.canonical
        return canonical

    def render(self, request: GateRequest) -> int:
        """Serve a request through the resource that the look-up names."""
        result: int = self.getChildWithDefault(b"", request).render(request)
        return result

    def putChild(self, path: bytes, child: Any) -> None:
        """Refuse: the tree is compiled."""
        raise NotImplementedError("routes come from definitions")
