"""Metadata of a protected resource (RFC 9728): tells clients who issues the tokens that an API takes; knows nothing of tokens.

Served below the listen path, where it asks for no credential; addresses and certificates of clients are judged before it. Refusals lead to
it (``transform.error_body``). Source: RFC 9728 sections 2, 3 and 5.1; JWT reference, sections 3 and 13.
"""

from __future__ import annotations

import json
from typing import Any

from tlsgate.auth.sources import find_sources
from tlsgate.config.model import GatewayConfig
from tlsgate.gates.base import Gate, GateTools, Reply
from tlsgate.model.api import ApiDefinition
from tlsgate.model.exchange import Exchange

__all__ = ["build", "build_document"]

_BEARER = frozenset({"token", "jwt", "oidc", "external_oauth"})
"""Methods that take bearer tokens."""
_HEADERS = ((b"Content-Type", b"application/json"), (b"Cache-Control", b"max-age=3600"))


def build(api: ApiDefinition, config: GatewayConfig, tools: GateTools) -> Gate | None:
    """Return the gate that answers the path, None where nothing is published."""
    settings = api.protected_resource
    if settings is None:
        return None
    path = settings.path
    body = json.dumps(build_document(api)).encode()

    def publish(exchange: Exchange) -> None:
        if exchange.remaining_path == path and exchange.method in (b"GET", b"HEAD"):
            raise Reply(200, _HEADERS, body)

    return publish


def build_document(api: ApiDefinition) -> dict[str, Any]:
    """Return the metadata of an API that publishes some."""
    settings = api.protected_resource
    assert settings is not None
    document: dict[str, Any] = {"resource": settings.resource}
    if settings.authorization_servers:
        document["authorization_servers"] = list(settings.authorization_servers)
    if settings.scopes:
        document["scopes_supported"] = list(settings.scopes)
    sources = [source for method, source in find_sources(api).items() if method in _BEARER]
    ways = {"header": any(not source.disable_header for source in sources), "query": any(source.use_param for source in sources)}
    document["bearer_methods_supported"] = [way for way, is_on in ways.items() if is_on]
    document["resource_name"] = api.name
    if api.takes_tokens:
        if api.binding.require_certificate:
            document["tls_client_certificate_bound_access_tokens"] = True
        document["dpop_signing_alg_values_supported"] = list(api.binding.proofs.algorithms)
        if api.binding.proofs.required:
            document["dpop_bound_access_tokens_required"] = True
    return document
