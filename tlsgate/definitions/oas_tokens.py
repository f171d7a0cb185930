"""Schemes of tokens that others issue, in a document, to the Classic fields; must not know how tokens are verified.

What only documents can say goes below ``x-tlsgate.jwt``, where Classic definitions may say it too. Source: JWT reference, section 14.
"""

from __future__ import annotations

from typing import Any

from tlsgate.config.schema import ANY, FLAG, INTEGER, SECRET, TEXT, TEXTS, ListOf, list_of, map_of, object_of
from tlsgate.config.section import Section, check
from tlsgate.config.trees import Tree
from tlsgate.definitions.oas_fields import SOURCES
from tlsgate.definitions.oas_mapping import Mapping

__all__ = ["EXTERNAL_OAUTH_SCHEME", "JWT_SCHEME", "map_external_oauth", "map_jwt", "map_openid"]

_SCOPE_MAPPING = list_of({"scope": TEXT, "policyId": TEXT})
_SCOPES = object_of({"claimName": TEXT, "claims": TEXTS, "scopeToPolicyMapping": _SCOPE_MAPPING})
JWT_SCHEME = object_of(
    {
        "enabled": FLAG,
        **SOURCES,
        "source": SECRET,
        "signingMethod": TEXT,
        "jwksURIs": list_of({"url": SECRET, "cacheTimeout": TEXT}),
        "identityBaseField": TEXT,
        "subjectClaims": TEXTS,
        "skipKid": FLAG,
        "policyFieldName": TEXT,
        "basePolicyClaims": TEXTS,
        "clientBaseField": TEXT,
        "scopes": _SCOPES,
        "defaultPolicies": TEXTS,
        "issuedAtValidationSkew": INTEGER,
        "notBeforeValidationSkew": INTEGER,
        "expiresAtValidationSkew": INTEGER,
        "idpClientIdMappingDisabled": FLAG,
        "allowedIssuers": TEXTS,
        "allowedAudiences": TEXTS,
        "allowedSubjects": TEXTS,
        "jtiValidation": object_of({"enabled": FLAG}),
        "customClaimValidation": map_of({"type": TEXT, "allowedValues": ListOf(ANY), "nonBlocking": FLAG}),
    }
)
"""A member of ``securitySchemes`` that takes JWT."""
_EXTERNAL_JWT = object_of(
    {
        "enabled": FLAG,
        "signingMethod": TEXT,
        "source": SECRET,
        "identityBaseField": TEXT,
        "issuedAtValidationSkew": INTEGER,
        "notBeforeValidationSkew": INTEGER,
        "expiresAtValidationSkew": INTEGER,
    }
)
_INTROSPECTION = object_of(
    {
        "enabled": FLAG,
        "url": SECRET,
        "clientId": TEXT,
        "clientID": TEXT,
        "clientSecret": SECRET,
        "identityBaseField": TEXT,
        "cache": object_of({"enabled": FLAG, "timeout": INTEGER}),
    }
)
EXTERNAL_OAUTH_SCHEME = object_of(
    {"enabled": FLAG, **SOURCES, "providers": list_of({"jwt": _EXTERNAL_JWT, "introspection": _INTROSPECTION})}
)
"""A member of ``securitySchemes`` that takes tokens of an authorization server."""
_OPENID = object_of(
    {
        "segregateByClientId": FLAG,
        "providers": list_of({"issuer": TEXT, "clientToPolicyMapping": list_of({"clientId": TEXT, "policyId": TEXT})}),
        "scopes": _SCOPES,
    },
    open=True,
)

_JWT_FIELDS = (
    ("source", "jwt_source"),
    ("signingMethod", "jwt_signing_method"),
    ("identityBaseField", "jwt_identity_base_field"),
    ("skipKid", "jwt_skip_kid"),
    ("policyFieldName", "jwt_policy_field_name"),
    ("clientBaseField", "jwt_client_base_field"),
    ("defaultPolicies", "jwt_default_policies"),
    ("issuedAtValidationSkew", "jwt_issued_at_validation_skew"),
    ("notBeforeValidationSkew", "jwt_not_before_validation_skew"),
    ("expiresAtValidationSkew", "jwt_expires_at_validation_skew"),
    ("idpClientIdMappingDisabled", "idp_client_id_mapping_disabled"),
)
_OWN_FIELDS = (
    ("subjectClaims", "subject_claims"),
    ("basePolicyClaims", "base_policy_claims"),
    ("allowedIssuers", "allowed_issuers"),
    ("allowedAudiences", "allowed_audiences"),
    ("allowedSubjects", "allowed_subjects"),
)
_EXTERNAL_FIELDS = (
    ("enabled", "enabled"),
    ("signingMethod", "signing_method"),
    ("source", "source"),
    ("identityBaseField", "identity_base_field"),
    ("issuedAtValidationSkew", "issued_at_validation_skew"),
    ("notBeforeValidationSkew", "not_before_validation_skew"),
    ("expiresAtValidationSkew", "expires_at_validation_skew"),
)


def map_jwt(scheme: Section, made: Mapping) -> None:
    """Map a scheme that takes JWT.

    :param scheme: checked by :data:`JWT_SCHEME`.
    """
    for member, field in _JWT_FIELDS:
        made.take(scheme, member, field)
    for entry in scheme.sections("jwksURIs"):
        made.append("jwt_jwks_uris", {"url": entry.text("url"), "cache_timeout": entry.text("cacheTimeout")}, entry.path)
    own = "x-tlsgate.jwt"
    for member, field in _OWN_FIELDS:
        made.take(scheme, member, f"{own}.{field}")
    made.take(scheme.section("jtiValidation"), "enabled", f"{own}.require_jti")
    custom = {
        path: _present(
            {"type": entry.text("type"), "allowed_values": entry.tree.get("allowedValues"), "non_blocking": entry.flag("nonBlocking")}
        )
        for path, entry in scheme.named("customClaimValidation")
    }
    made.put(f"{own}.custom_claims", custom or None, scheme.where("customClaimValidation"))
    scopes = scheme.section("scopes")
    made.take(scopes, "claims", f"{own}.scope_claims")
    _map_scopes(scopes, "jwt", made)


def map_openid(section: Section, made: Mapping) -> None:
    """Map ``authentication.oidc``.

    :param section: as far as all methods are alike.
    """
    reader = check(section.tree, _OPENID, section.problems, section.path)
    made.take(reader, "segregateByClientId", "openid_options.segregate_by_client")
    for entry in reader.sections("providers"):
        clients = {item.text("clientId"): item.text("policyId") for item in entry.sections("clientToPolicyMapping")}
        made.append("openid_options.providers", {"issuer": entry.text("issuer"), "client_ids": clients}, entry.path)
    _map_scopes(reader.section("scopes"), "oidc", made)


def map_external_oauth(scheme: Section, made: Mapping) -> None:
    """Map a scheme that takes tokens of an authorization server.

    :param scheme: checked by :data:`EXTERNAL_OAUTH_SCHEME`.
    """
    for provider in scheme.sections("providers"):
        jwt, introspection = provider.section("jwt"), provider.section("introspection")
        entry: Tree = {}
        if provider.has("jwt"):
            entry["jwt"] = _present({field: jwt.tree.get(member) for member, field in _EXTERNAL_FIELDS})
        if provider.has("introspection"):
            cache = introspection.section("cache")
            entry["introspection"] = _present(
                {
                    "enabled": introspection.tree.get("enabled"),
                    "url": introspection.tree.get("url"),
                    # The seed's spelling, too.
                    "client_id": introspection.tree.get("clientId", introspection.tree.get("clientID")),
                    "client_secret": introspection.tree.get("clientSecret"),
                    "identity_base_field": introspection.tree.get("identityBaseField"),
                    "cache": _present({"enabled": cache.tree.get("enabled"), "timeout": cache.tree.get("timeout")}),
                }
            )
        made.append("external_oauth.providers", entry, provider.path)


def _map_scopes(scopes: Section, kind: str, made: Mapping) -> None:
    pairs = {entry.text("scope"): entry.text("policyId") for entry in scopes.sections("scopeToPolicyMapping")}
    made.take(scopes, "claimName", f"scopes.{kind}.scope_claim_name")
    made.put(f"scopes.{kind}.scope_to_policy", pairs or None, scopes.where("scopeToPolicyMapping"))


def _present(members: dict[str, Any]) -> Tree:
    return {name: value for name, value in members.items() if value is not None}
