"""Rights and rates of two policies made one: what either grants; pure, knows no policy and no session.

"All paths" united with some paths is all paths, and what is not limited is the fastest (BETTER lines of the keys reference, section 7).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from tlsgate.model.session import AccessRight, AllowedUrl

__all__ = ["NO_RATE", "UNLIMITED", "SpeedLimit", "larger", "merge_endpoints", "unite_rights"]

UNLIMITED = -1


class SpeedLimit(NamedTuple):
    """A rate that is being merged."""

    rate: float
    per: float
    smoothing: dict[str, Any] | None

    @property
    def is_set(self) -> bool:
        """Tell whether it limits anything."""
        return self.rate > 0 and self.per > 0

    def merge(self, other: SpeedLimit) -> SpeedLimit:
        """The faster one; what is not limited is the fastest."""
        if not self.is_set or not other.is_set:
            return NO_RATE
        return other if other.per / other.rate < self.per / self.rate else self


NO_RATE = SpeedLimit(-1.0, 0.0, None)


def larger(one: int, other: int) -> int:
    """Return the larger of two numbers, -1 being the largest."""
    return UNLIMITED if UNLIMITED in (one, other) else max(one, other)


def unite_rights(first: AccessRight, second: AccessRight) -> AccessRight:
    """Return the rights of both."""
    return msgspec.structs.replace(
        first,
        versions=tuple(dict.fromkeys((*first.versions, *second.versions))),
        allowed_urls=_unite_urls(first.allowed_urls, second.allowed_urls),
        endpoints=merge_endpoints(first.endpoints, second.endpoints),
        disable_introspection=first.disable_introspection or second.disable_introspection,
        extra=_unite_extra(first.extra, second.extra),
    )


def _unite_urls(first: tuple[AllowedUrl, ...], second: tuple[AllowedUrl, ...]) -> tuple[AllowedUrl, ...]:
    if not first or not second:
        return ()
    methods: dict[str, dict[str, None]] = {}
    for entry in (*first, *second):
        methods.setdefault(entry.url, {}).update(dict.fromkeys(entry.methods))
    return tuple(AllowedUrl(url=url, methods=tuple(names)) for url, names in methods.items())


def merge_endpoints(first: tuple[dict[str, Any], ...], second: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
    """Return the limits of paths of both; where both limit a method of a path, the faster counts."""
    if not first or not second:
        return first or second
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for endpoint in (*first, *second):
        methods = found.setdefault(endpoint.get("path", ""), {})
        for method in endpoint.get("methods", ()):
            name = method.get("name", "")
            known = methods.get(name)
            if known is None or (_rate_of(known).is_set and _rate_of(known).merge(_rate_of(method)) != _rate_of(known)):
                methods[name] = method
    return tuple({"path": path, "methods": tuple(methods.values())} for path, methods in found.items())


def _rate_of(method: dict[str, Any]) -> SpeedLimit:
    limit = method.get("limit") or {}
    return SpeedLimit(limit.get("rate", 0.0), limit.get("per", 0.0), None)


def _unite_extra(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Unite GraphQL's lists: types by name with their fields, depths of fields by type and field."""
    made = {**second, **first}
    for name in ("restricted_types", "allowed_types"):
        if name in first and name in second:
            fields: dict[str, dict[str, None]] = {}
            for entry in (*_entries(first[name]), *_entries(second[name])):
                fields.setdefault(str(entry.get("name", "")), {}).update(dict.fromkeys(map(str, entry.get("fields") or ())))
            made[name] = [{"name": type_name, "fields": list(names)} for type_name, names in fields.items()]
    if "field_access_rights" in first and "field_access_rights" in second:
        depths: dict[tuple[str, str], int] = {}
        for entry in (*_entries(first["field_access_rights"]), *_entries(second["field_access_rights"])):
            key = (str(entry.get("type_name", "")), str(entry.get("field_name", "")))
            depth = (entry.get("limits") or {}).get("max_query_depth", 0)
            depths[key] = larger(depths[key], depth) if key in depths else depth
        made["field_access_rights"] = [
            {"type_name": type_name, "field_name": field, "limits": {"max_query_depth": depth}}
            for (type_name, field), depth in depths.items()
        ]
    return made


def _entries(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []
