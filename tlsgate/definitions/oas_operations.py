"""``middleware.operations`` of a document to entries of Classic path lists; must not know what an entry does.

Operations name no path: their ids lead to path and method through the document's ``paths``. An id that leads nowhere would be a rule
without effect, and is an error (Tyk drops it silently). Source: reference, section 15.4.
"""

from __future__ import annotations

from typing import NamedTuple

from tlsgate.config.durations import parse_duration
from tlsgate.config.section import Section
from tlsgate.config.trees import Tree
from tlsgate.definitions.oas_mapping import Mapping

__all__ = ["map_operations"]

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace", "connect")

_SIMPLE = (
    # member, Classic list, (member, field) ...
    ("allow", "white_list", (("ignoreCase", "ignore_case"),)),
    ("block", "black_list", (("ignoreCase", "ignore_case"),)),
    ("ignoreAuthentication", "ignored", (("ignoreCase", "ignore_case"),)),
    ("internal", "internal", ()),
    ("transformRequestMethod", "method_transforms", (("toMethod", "to_method"),)),
    ("transformRequestBody", "transform", ()),
    ("transformResponseBody", "transform_response", ()),
    ("urlRewrite", "url_rewrites", (("pattern", "match_pattern"), ("rewriteTo", "rewrite_to"), ("triggers", "triggers"))),
    ("cache", "advance_cache_config", (("timeout", "timeout"),)),
    ("enforceTimeout", "hard_timeouts", (("value", "timeout"), ("duration", "duration"))),
    ("virtualEndpoint", "virtual", (("functionName", "response_function_name"),)),
    ("circuitBreaker", "circuit_breakers", (("threshold", "threshold_percent"), ("sampleSize", "samples"))),
    ("trackEndpoint", "track_endpoints", ()),
    ("doNotTrackEndpoint", "do_not_track_endpoints", ()),
    ("requestSizeLimit", "size_limits", (("value", "size_limit"),)),
)


class _Place(NamedTuple):
    path: str
    method: str


def map_operations(middleware: Section, document: Tree, made: Mapping, lists: str) -> None:
    """Map all operations.

    :param middleware: ``x-tyk-api-gateway.middleware``.
    :param lists: path of ``extended_paths`` in the Classic tree.
    """
    places = _find_places(document)
    for name, operation in middleware.named("operations"):
        found = places.get(name, [])
        if len(found) != 1:
            if not _does_anything(operation):
                continue
            reason = "no operation of paths has this id" if not found else "more than one operation of paths has this id"
            middleware.problems.error(operation.path, f"{reason}, so that it would have no effect")
            continue
        _map_operation(operation, found[0], made, lists)


def _does_anything(operation: Section) -> bool:
    return any(part.get("enabled") is True if isinstance(part, dict) else bool(part) for part in operation.tree.values())


def _find_places(document: Tree) -> dict[str, list[_Place]]:
    """Return where each operation id leads; without an id it is the path without its first slash, and the method."""
    places: dict[str, list[_Place]] = {}
    paths = document.get("paths")
    for path, item in paths.items() if isinstance(paths, dict) else ():
        for method in METHODS:
            operation = item.get(method) if isinstance(item, dict) else None
            if isinstance(operation, dict):
                id = operation.get("operationId")
                key = id if isinstance(id, str) and id else path.removeprefix("/") + method.upper()
                places.setdefault(key, []).append(_Place(path, method.upper()))
    return places


def _map_operation(operation: Section, place: _Place, made: Mapping, lists: str) -> None:
    base = {"path": place.path, "method": place.method}
    for member, kind, fields in _SIMPLE:
        if not operation.has(member):
            continue
        part = operation.section(member)
        entry: Tree = {**base, "disabled": not part.flag("enabled")}
        entry.update({field: part.tree[name] for name, field in fields if part.has(name)})
        made.append(f"{lists}.{kind}", entry, part.path)
    for member, kind in (("transformRequestHeaders", "transform_headers"), ("transformResponseHeaders", "transform_response_headers")):
        if operation.has(member):
            part = operation.section(member)
            added = {entry.text("name"): entry.text("value") for entry in part.sections("add")}
            removed = list(part.texts("remove"))
            made.append(
                f"{lists}.{kind}",
                {**base, "disabled": not part.flag("enabled"), "add_headers": added, "delete_headers": removed},
                part.path,
            )
    _map_mock(operation, base, made, lists)
    _map_checks(operation, base, made, lists)


def _map_mock(operation: Section, base: Tree, made: Mapping, lists: str) -> None:
    if not operation.has("mockResponse"):
        return
    part = operation.section("mockResponse")
    if part.flag("enabled") and part.section("fromOASExamples").flag("enabled"):
        part.error("fromOASExamples", "not active yet: mock answers from examples; the API is refused", "write code and body")
    headers = {entry.text("name"): entry.text("value") for entry in part.sections("headers")}
    entry = {**base, "disabled": not part.flag("enabled"), "code": part.tree.get("code", 0), "body": part.text("body"), "headers": headers}
    made.append(f"{lists}.mock_response", entry, part.path)


def _map_checks(operation: Section, base: Tree, made: Mapping, lists: str) -> None:
    if operation.has("validateRequest"):
        part = operation.section("validateRequest")
        made.append(f"{lists}.validate_request", {**base, "enabled": part.flag("enabled")}, part.path)
    if operation.has("rateLimit"):
        part = operation.section("rateLimit")
        entry = {**base, "disabled": not part.flag("enabled"), "rate": part.tree.get("rate", 0), "per": _seconds(part)}
        made.append(f"{lists}.rate_limit", entry, part.path)
    for plugin in operation.sections("postPlugins"):
        made.append(f"{lists}.go_plugin", {**base, "disabled": not plugin.flag("enabled"), "plugin_path": plugin.text("path")}, plugin.path)


def _seconds(part: Section) -> float:
    try:
        return parse_duration(part.text("per") or "0")
    except ValueError:
        part.error("per", "must be a duration such as 10s")
        return 0.0
