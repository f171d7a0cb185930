"""Who names which certificate: every field of configuration and definitions that takes a reference. Knows no store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tlsgate.config.model import GatewayConfig
from tlsgate.model.api import ApiDefinition
from tlsgate.pki.stored import is_store_id

__all__ = ["Use", "ids_in_tree", "list_uses", "store_ids"]


_ID_LENGTH = 64


class Use(NamedTuple):
    """One reference in one place."""

    reference: str
    api_id: str
    """Empty: the configuration of the gateway."""
    field: str
    role: str
    """``server``, ``client`` (a list of who may come), ``upstream``, ``signing``, ``pin`` or ``authority`` (of upstreams)."""
    guest: bool = False
    """It stands in a definition that came by the REST API."""

    def __str__(self) -> str:
        return f"API {self.api_id}: {self.field}" if self.api_id else self.field


def list_uses(config: GatewayConfig, definitions: Iterable[ApiDefinition]) -> Iterator[Use]:
    """Yield every reference, those of the configuration first; paths and inline text among them.

    :param definitions: served and reserved ones.
    """
    http, security = config.http, config.security
    for pair in http.certificates:
        yield Use(pair.cert_file, "", "http_server_options.certificates", "server")
        yield Use(pair.key_file, "", "http_server_options.certificates", "server")
    yield from (Use(reference, "", "http_server_options.ssl_certificates", "server") for reference in http.ssl_certificates)
    yield from (Use(reference, "", "security.certificates.apis", "client") for reference in security.apis)
    if security.control_api_use_mutual_tls:
        yield from (Use(reference, "", "security.certificates.control_api", "client") for reference in security.control_api)
    yield from (Use(reference, "", "security.certificates.upstream", "upstream") for _, reference in security.upstream)
    for _, references in security.pinned_public_keys:
        yield from (Use(reference, "", "security.pinned_public_keys", "pin") for reference in references)
    yield from (Use(reference, "", "tlsgate.upstream_ca", "authority") for reference in config.own.upstream_ca)
    service, assertions = config.oauth_service, config.own.identity_providers.assertion_key
    own = [reference for reference in (service.certificate, service.key_file) if reference]
    yield from (Use(reference, "", "external_services.oauth.mtls", "upstream") for reference in own)
    yield from (Use(reference, "", "external_services.oauth.mtls", "authority") for reference in service.authorities)
    if assertions:
        yield Use(assertions, "", "tlsgate.identity_providers.assertion_key", "upstream")
    for api in definitions:
        yield from _of_api(api, config)


def store_ids(config: GatewayConfig, definitions: Iterable[ApiDefinition]) -> set[str]:
    """Return the references that have the form of a store id."""
    return {text for use in list_uses(config, definitions) if is_store_id(text := use.reference.strip())}


def ids_in_tree(tree: object) -> set[str]:
    """Return every text in a tree that has the form of a store id, those in a list with commas too: what a definition may name."""
    found: set[str] = set()
    left = [tree]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            left += value.values()
        elif isinstance(value, list | tuple):
            left += value
        elif isinstance(value, str) and len(value) >= _ID_LENGTH:
            found.update(part for text in value.split(",") if is_store_id(part := text.strip()))
    return found


def _of_api(api: ApiDefinition, config: GatewayConfig) -> Iterator[Use]:
    fields: list[tuple[str, str, Iterable[str]]] = [
        ("certificates", "server", api.certificates),
        ("upstream_certificates", "upstream", (reference for _, reference in api.upstream_certificates)),
        ("pinned_public_keys", "pin", (reference for _, references in api.pinned_public_keys for reference in references)),
    ]
    if api.use_mutual_tls:
        fields.append(("client_certificates", "client", api.client_certificates))
    if api.request_signing is not None and api.request_signing.certificate:
        fields.append(("request_signing.certificate_id", "signing", (api.request_signing.certificate,)))
    if api.proxy.transport.ca_certificates != config.own.upstream_ca:
        fields.append(("x-tlsgate.upstream_ca", "authority", api.proxy.transport.ca_certificates))
    for field, role, references in fields:
        yield from (Use(reference, api.api_id, field, role, api.from_rest) for reference in references)
