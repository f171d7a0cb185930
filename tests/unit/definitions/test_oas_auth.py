"""``server.authentication`` leads to the Classic switches."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.definitions import accepted, make_context, oas, refused, warned
from tlsgate.config.problems import Problems
from tlsgate.definitions.oas import map_to_classic

PLACE = "x-tyk-api-gateway.server.authentication"
COMPONENTS = {
    "securitySchemes": {
        "token": {"type": "apiKey", "in": "header", "name": "Authorization"},
        "jwt": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
        "basic": {"type": "http", "scheme": "basic"},
        "oauth": {"type": "oauth2", "flows": {}},
        "openid": {"type": "openIdConnect", "openIdConnectUrl": "https://idp/"},
    }
}


def switches(authentication: dict[str, Any] | None, **root: Any) -> dict[str, Any]:
    """The Classic fields of authentication that a document leads to."""
    server = {"listenPath": {"value": "/app/"}}
    if authentication is not None:
        server["authentication"] = authentication
    tree, _ = map_to_classic(
        oas(server=server, components=COMPONENTS, **root) if authentication is not None else _without(), Problems("f"), make_context()
    )
    return {
        name: value
        for name, value in tree.items()
        if name.startswith(("use_", "enable_", "external_oauth", "auth", "custom_plugin", "security_", "strip_", "base_"))
    }


def _without() -> dict[str, Any]:
    tree = oas()
    del tree["x-tyk-api-gateway"]["server"]["authentication"]
    return tree


def test_a_document_without_the_section_is_keyless_and_says_so_loudly() -> None:
    """Reference, section 15.1: a Classic definition without any flag needs a token, a document without the section none."""
    assert switches(None) == {"use_keyless": True}
    assert warned(_without()) == {PLACE: "IS MISSING: THE API IS OPEN TO EVERYBODY"}
    assert accepted(_without()).keyless


def test_client_certificates_make_the_missing_section_harmless() -> None:
    """The seed's form of static mTLS: no section, ``components`` empty."""
    tree = _without()
    tree["x-tyk-api-gateway"]["server"]["clientCertificates"] = {"enabled": True, "allowlist": ["/a.pem"]}
    context = make_context(http_server_options={"use_ssl": True})
    assert warned(tree, context) == {}
    api = accepted(tree, context)
    assert api.keyless and api.use_mutual_tls and api.client_certificates == ("/a.pem",)


def test_the_gateway_can_ask_for_the_section() -> None:
    """A switch refuses documents that do not say how they are protected."""
    context = make_context(tlsgate={"require_explicit_authentication": True})
    assert list(refused(_without(), context)) == [PLACE]
    assert accepted(oas(), context).keyless


@pytest.mark.parametrize(
    "section", [{}, {"enabled": False}, {"enabled": None}, {"enabled": False, "securitySchemes": {"token": {"enabled": True}}}]
)
def test_a_section_that_is_switched_off_is_keyless_on_purpose(section: dict[str, Any]) -> None:
    """Whatever schemes it still lists."""
    assert switches(section) == {"use_keyless": True}
    assert warned(oas(server={"authentication": section}, components=COMPONENTS)) == {}


@pytest.mark.parametrize(
    ("section", "fields"),
    [
        ({}, {}),
        ({"securitySchemes": {"token": {"enabled": True}}}, {"use_standard_auth": True}),
        ({"securitySchemes": {"token": {"enabled": False}}}, {}),
        ({"securitySchemes": {"jwt": {"enabled": True}}}, {"enable_jwt": True}),
        ({"securitySchemes": {"basic": {"enabled": True}}}, {"use_basic_auth": True}),
        ({"securitySchemes": {"oauth": {"enabled": True}}}, {"use_oauth2": True}),
        ({"securitySchemes": {"oauth": {"enabled": True, "providers": []}}}, {"external_oauth": {"enabled": True}}),
        ({"securitySchemes": {"openid": {"enabled": True}}}, {"use_openid": True}),
        ({"securitySchemes": {"unknown": {"enabled": True}}}, {"use_standard_auth": True}),
        ({"securitySchemes": {"unknown": {"enabled": True, "jwksURIs": []}}}, {"enable_jwt": True}),
        (
            {"securitySchemes": {"token": {"enabled": True}, "basic": {"enabled": True}}},
            {"use_standard_auth": True, "use_basic_auth": True},
        ),
        ({"externalOAuthServer": {"enabled": True}}, {"external_oauth": {"enabled": True}}),
        ({"hmac": {"enabled": True}}, {"enable_signature_checking": True}),
        ({"oidc": {"enabled": True}}, {"use_openid": True}),
        ({"custom": {"enabled": True}}, {"custom_plugin_auth_enabled": True}),
        (
            {"stripAuthorizationData": True, "baseIdentityProvider": "auth_token"},
            {"strip_auth_data": True, "base_identity_provided_by": "auth_token"},
        ),
        ({"certificateAuth": {"enabled": True}}, {"auth_configs": {"authToken": {"use_certificate": True}}}),
        (
            {"securitySchemes": {"token": {"enabled": True, "enableClientCertificate": True}}},
            {"use_standard_auth": True, "auth_configs": {"authToken": {"use_certificate": True}}},
        ),
        (
            {"certificateAuth": {"enabled": False}, "securitySchemes": {"token": {"enabled": True, "enableClientCertificate": True}}},
            {"use_standard_auth": True, "auth_configs": {"authToken": {"use_certificate": False}}},
        ),
        ({"securityProcessingMode": "compliant", "security": [["hmac"]]}, {"security_requirements": [["hmac"]]}),
        ({"securityProcessingMode": "legacy", "security": [["hmac"]]}, {}),
    ],
)
def test_methods_lead_to_their_switches(section: dict[str, Any], fields: dict[str, Any]) -> None:
    """Reference, section 15.3; all of them refuse the API for now, by name."""
    assert switches({"enabled": True, **section}) == {"use_keyless": False, **fields}
    assert refused(oas(server={"authentication": {"enabled": True, **section}}, components=COMPONENTS))


@pytest.mark.parametrize("components", [None, [], {"securitySchemes": []}, {"securitySchemes": {"token": 5}}])
def test_odd_components_are_none(components: object) -> None:
    """They are the business of OpenAPI tools; the scheme is judged by its own members."""
    tree = oas(server={"authentication": {"enabled": True, "securitySchemes": {"token": {"enabled": True}}}}, components=components)
    assert list(refused(tree)) == [f"{PLACE}.securitySchemes.token.enabled"]


def test_an_enabled_section_alone_needs_a_token() -> None:
    """Reference, section 15.1."""
    assert "needs an auth token" in refused(oas(server={"authentication": {"enabled": True}}))[f"{PLACE}.enabled"]
