"""Our own small schemas as JSON Schema, and with it the schema of a Tyk OAS document; knows types, not what a member means."""

from __future__ import annotations

from functools import cache
from typing import Any

from tlsgate.config.schema import ANY, DURATION, FLAG, INTEGER, NANOSECONDS, NUMBER, Leaf, ListOf, MapOf, Schema
from tlsgate.definitions.oas_fields import EXTENSION, EXTENSION_NAME

__all__ = ["build_document_schema", "build_json_schema"]

_REQUIRED = {
    "": ["info", "upstream", "server"],
    ".info": ["name", "state"],
    ".info.state": ["active"],
    ".server": ["listenPath"],
    ".server.listenPath": ["value"],
}
"""What the extension must have (reference, section 15.1)."""


def build_json_schema(schema: Schema, required: dict[str, list[str]] | None = None, path: str = "") -> dict[str, Any]:
    """Return the JSON Schema of one of ours.

    :param required: names of members by path below the top, with a leading dot.
    """
    wanted = required or {}
    if isinstance(schema, Leaf):
        return _leaf(schema)
    if isinstance(schema, ListOf):
        return {"type": "array", "items": build_json_schema(schema.item, wanted, f"{path}[]")}
    if isinstance(schema, MapOf):
        return {"type": "object", "additionalProperties": build_json_schema(schema.item, wanted, f"{path}.*")}
    made: dict[str, Any] = {
        "type": "object",
        "properties": {name: build_json_schema(member, wanted, f"{path}.{name}") for name, member in schema.members.items()},
    }
    if path in wanted:
        made["required"] = wanted[path]
    return made


def _leaf(schema: Leaf) -> dict[str, Any]:
    kind = schema.kind
    if kind is FLAG.kind:
        return {"type": "boolean"}
    if kind in (INTEGER.kind, NANOSECONDS.kind):
        return {"type": "integer"}
    if kind is NUMBER.kind:
        return {"type": "number"}
    if kind is DURATION.kind:
        return {"type": ["string", "number"]}
    return {} if kind is ANY.kind else {"type": "string"}


@cache
def build_document_schema(version: str) -> dict[str, Any]:
    """Return the schema of a Tyk OAS document for a version of OpenAPI (``3.0`` or ``3.1``): its frame, and the whole extension.

    The OpenAPI part is not described beyond its frame: loading does not look at it either, apart from ``paths`` and ``components``.
    """
    extension = build_json_schema(EXTENSION, _REQUIRED)
    extension["additionalProperties"] = False
    extension["properties"]["x-tyk-streaming"] = {}
    text = {"type": "string"}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": f"Tyk OAS API definition, OpenAPI {version}",
        "type": "object",
        "required": ["openapi", "info", "paths", EXTENSION_NAME],
        "properties": {
            "openapi": {"type": "string", "pattern": f"^{version[0]}\\.{version[2]}(\\.[0-9]+)?$"},
            "info": {"type": "object", "required": ["title", "version"], "properties": {"title": text, "version": text}},
            "paths": {"type": "object"},
            "servers": {"type": "array", "items": {"type": "object", "required": ["url"], "properties": {"url": text}}},
            "components": {"type": "object", "properties": {"securitySchemes": {"type": "object"}}},
            "security": {"type": "array", "items": {"type": "object", "additionalProperties": {"type": "array", "items": text}}},
            "tags": {"type": "array", "items": {"type": "object"}},
            "x-tlsgate": {"type": "object"},
            EXTENSION_NAME: extension,
        },
    }
