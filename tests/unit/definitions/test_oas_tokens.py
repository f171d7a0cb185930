"""Schemes of tokens in documents lead to the same settings as Classic fields."""

from __future__ import annotations

from typing import Any

from tests.support.definitions import make_context, oas
from tlsgate.config.problems import Problems
from tlsgate.definitions.oas import map_to_classic

COMPONENTS = {
    "securitySchemes": {
        "jwt": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
        "external": {"type": "oauth2", "flows": {}},
    }
}


def classic_of(authentication: dict[str, Any], **root: Any) -> dict[str, Any]:
    problems = Problems("f")
    server = {"listenPath": {"value": "/app/"}, "authentication": {"enabled": True, **authentication}}
    tree, _ = map_to_classic(oas(server=server, components=COMPONENTS, **root), problems, make_context())
    assert not problems.failed, problems.all()
    return tree


def test_jwt() -> None:
    """Each member; what Classic definitions of Tyk cannot say stands below ``x-tlsgate``, beside what the document has there."""
    scheme = {
        "enabled": True,
        "header": {"enabled": True, "name": "Authorization"},
        "source": "s",
        "signingMethod": "rsa",
        "jwksURIs": [{"url": "https://idp", "cacheTimeout": "300s"}],
        "subjectClaims": ["sub"],
        "basePolicyClaims": ["pol"],
        "scopes": {"claims": ["scope"], "scopeToPolicyMapping": [{"scope": "admin", "policyId": "p1"}]},
        "defaultPolicies": ["p2"],
        "expiresAtValidationSkew": 5,
        "allowedIssuers": ["i"],
        "jtiValidation": {"enabled": True},
        "customClaimValidation": {"role": {"type": "exact_match", "allowedValues": ["admin"], "nonBlocking": True}},
    }
    tree = classic_of({"securitySchemes": {"jwt": scheme}}, **{"x-tlsgate": {"jwt": {"allowed_audiences": ["a"]}}})
    assert tree["enable_jwt"] and tree["auth_configs"] == {"jwt": {"auth_header_name": "Authorization"}}
    assert (tree["jwt_source"], tree["jwt_signing_method"], tree["jwt_default_policies"]) == ("s", "rsa", ["p2"])
    assert tree["jwt_jwks_uris"] == [{"url": "https://idp", "cache_timeout": "300s"}]
    assert tree["jwt_expires_at_validation_skew"] == 5
    assert tree["scopes"] == {"jwt": {"scope_to_policy": {"admin": "p1"}}}
    assert tree["x-tlsgate"]["jwt"] == {
        "allowed_audiences": ["a"],
        "subject_claims": ["sub"],
        "base_policy_claims": ["pol"],
        "scope_claims": ["scope"],
        "allowed_issuers": ["i"],
        "require_jti": True,
        "custom_claims": {"role": {"type": "exact_match", "allowed_values": ["admin"], "non_blocking": True}},
    }


def test_openid() -> None:
    """``authentication.oidc``."""
    providers = [{"issuer": "https://idp", "clientToPolicyMapping": [{"clientId": "Yw==", "policyId": "p"}]}]
    scopes = {"claimName": "scp", "scopeToPolicyMapping": [{"scope": "a", "policyId": "b"}]}
    tree = classic_of({"oidc": {"enabled": True, "segregateByClientId": True, "providers": providers, "scopes": scopes}})
    assert tree["use_openid"]
    assert tree["openid_options"] == {"segregate_by_client": True, "providers": [{"issuer": "https://idp", "client_ids": {"Yw==": "p"}}]}
    assert tree["scopes"] == {"oidc": {"scope_claim_name": "scp", "scope_to_policy": {"a": "b"}}}


def test_external_oauth_in_both_forms() -> None:
    """As a scheme, and as the seed writes it: a section, with its own spelling of the client's id."""
    introspection = {"enabled": True, "url": "https://idp/i", "clientSecret": "s", "cache": {"enabled": True, "timeout": 5}}
    jwt = {"enabled": True, "signingMethod": "hmac", "source": "x", "issuedAtValidationSkew": 3}
    expected = {"enabled": True, "url": "https://idp/i", "client_id": "c", "client_secret": "s", "cache": {"enabled": True, "timeout": 5}}
    scheme = {"enabled": True, "providers": [{"introspection": {**introspection, "clientId": "c"}}, {"jwt": jwt}]}
    tree = classic_of({"securitySchemes": {"external": scheme}})
    second = {"jwt": {"enabled": True, "signing_method": "hmac", "source": "x", "issued_at_validation_skew": 3}}
    assert tree["external_oauth"] == {"enabled": True, "providers": [{"introspection": expected}, second]}
    tree = classic_of({"externalOAuthServer": {"enabled": True, "providers": [{"introspection": {**introspection, "clientID": "c"}}]}})
    assert tree["external_oauth"] == {"enabled": True, "providers": [{"introspection": expected}]}
