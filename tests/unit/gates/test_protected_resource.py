"""What an API tells of itself. Source: RFC 9728 sections 2 and 3."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.apis import make_api, make_config, make_exchange, make_tools
from tlsgate.gates.base import Reply
from tlsgate.gates.protected_resource import build, build_document
from tlsgate.model.credentials import CredentialSource
from tlsgate.model.tokens import BindingRules, JwtSettings, ProofRules, ProtectedResource

SETTINGS = ProtectedResource(resource="https://api.test/orders", authorization_servers=("https://as.test",), scopes=("read",))


def published(**fields: Any) -> dict[str, Any]:
    return build_document(make_api(keyless=False, protected_resource=SETTINGS, **fields))


def test_without_settings_there_is_no_gate() -> None:
    """Nothing is published by itself."""
    assert build(make_api(), make_config(), make_tools()) is None


@pytest.mark.parametrize(
    ("method", "path", "answered"),
    [
        (b"GET", b"/.well-known/oauth-protected-resource", True),
        (b"HEAD", b"/.well-known/oauth-protected-resource", True),
        (b"POST", b"/.well-known/oauth-protected-resource", False),
        (b"GET", b"/.well-known/oauth-protected-resource/", False),
        (b"GET", b"/x/.well-known/oauth-protected-resource", False),
        (b"GET", b"/", False),
    ],
)
def test_the_path_alone_is_answered(method: bytes, path: bytes, answered: bool) -> None:
    """Everything else goes on to authentication."""
    gate = build(make_api(protected_resource=SETTINGS), make_config(), make_tools())
    assert gate is not None
    exchange = make_exchange()
    exchange.method, exchange.remaining_path = method, path
    if not answered:
        gate(exchange)
        return
    with pytest.raises(Reply) as caught:
        gate(exchange)
    assert caught.value.status == 200 and dict(caught.value.headers)[b"Content-Type"] == b"application/json"
    assert json.loads(caught.value.body)["resource"] == "https://api.test/orders"


def test_the_document() -> None:
    """Names of section 2; what is not said is absent."""
    assert published(auth_methods=("token",), name="orders") == {
        "resource": "https://api.test/orders",
        "authorization_servers": ["https://as.test"],
        "scopes_supported": ["read"],
        "bearer_methods_supported": ["header"],
        "resource_name": "orders",
    }
    bare = make_api(keyless=False, protected_resource=ProtectedResource(resource="https://api.test"))
    assert {"authorization_servers", "scopes_supported"}.isdisjoint(build_document(bare))


def test_where_tokens_are_read() -> None:
    """Of the methods that take tokens."""
    for source, ways in (
        (CredentialSource(use_param=True), ["header", "query"]),
        (CredentialSource(disable_header=True, use_param=True), ["query"]),
        (CredentialSource(disable_header=True, use_cookie=True), []),
    ):
        found = published(auth_methods=("jwt", "basic"), auth_sources={"jwt": source})
        assert found["bearer_methods_supported"] == ways


def test_what_tokens_have_to_be_bound_to() -> None:
    """RFC 8705 and RFC 9449, where the API takes tokens of others."""
    jwt = JwtSettings(family="rsa")
    found = published(auth_methods=("jwt",), jwt=jwt)
    assert found["dpop_signing_alg_values_supported"] == list(ProofRules().algorithms)
    assert {"tls_client_certificate_bound_access_tokens", "dpop_bound_access_tokens_required"}.isdisjoint(found)
    binding = BindingRules(require_certificate=True, proofs=ProofRules(required=True))
    found = published(auth_methods=("jwt",), jwt=jwt, binding=binding)
    assert found["tls_client_certificate_bound_access_tokens"] is found["dpop_bound_access_tokens_required"] is True
    assert "dpop_signing_alg_values_supported" not in published(auth_methods=("token",))
