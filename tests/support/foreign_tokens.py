"""APIs that take tokens of one provider, each by another method, in either form, and bearers of good tokens for them.

``foreign_apis`` makes ``jwt``, ``oidc``, ``signed`` and ``asked`` (External OAuth by keys and by introspection); ``put_places``,
``put_strip`` and ``put_ignored`` change where a definition reads its credential, whether it passes it on, and where it asks for none.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs

from tests.support.gateway import classic, oas
from tests.support.jwt_world import jwt_api
from tests.support.provider import Provider, b64

__all__ = [
    "KINDS",
    "METHODS",
    "external_api",
    "foreign_apis",
    "introspect",
    "openid_api",
    "put_ignored",
    "put_places",
    "put_strip",
    "token_for",
]

METHODS = ("jwt", "oidc", "signed", "asked")
"""Ids of the APIs of :func:`foreign_apis`."""
KINDS = {"jwt": "jwt", "oidc": "oidc", "signed": "externalOAuth", "asked": "externalOAuth"}
"""Entries of ``auth_configs``."""
_EXTERNAL = {
    "signingMethod": "signing_method",
    "identityBaseField": "identity_base_field",
    "issuedAtValidationSkew": "issued_at_validation_skew",
    "notBeforeValidationSkew": "not_before_validation_skew",
    "expiresAtValidationSkew": "expires_at_validation_skew",
    "clientId": "client_id",
    "clientSecret": "client_secret",
}


def foreign_apis(form: str, upstream: int, provider: Provider, **fields: Any) -> list[dict[str, Any]]:
    """Return one API of each of :data:`METHODS`; they take what :func:`token_for` makes once ``introspect`` was called.

    :param fields: further members of ``x-tlsgate``.
    """
    keys, issuer = f"{provider.url}/keys", provider.discover()
    made = [
        jwt_api(form, "jwt", upstream, {"signingMethod": "rsa", "source": keys, "policyFieldName": "pol"}),
        openid_api(form, "oidc", upstream, [{"issuer": issuer, "clients": {"web": "gold"}}]),
        external_api(form, "signed", upstream, [{"jwt": {"enabled": True, "signingMethod": "rsa", "source": keys}}]),
        external_api(form, "asked", upstream, [{"introspection": {"enabled": True, "url": f"{provider.url}/introspect"}}]),
    ]
    for definition in made:
        if fields:
            definition["x-tlsgate"] = fields
    return made


def openid_api(
    form: str,
    api_id: str,
    upstream: int,
    providers: list[dict[str, Any]],
    *,
    raw: bool = False,
    scopes: dict[str, str] | None = None,
    scope_claim: str = "",
) -> dict[str, Any]:
    """Return an API that takes ID tokens.

    :param providers: each with ``issuer`` and ``clients`` (id to policy).
    :param raw: ids are written as they are, rather than in base64.
    :param scopes: policies by scope.
    """

    def written(client: str) -> str:
        return client if raw else b64(client)

    if form == "classic":
        entries = [
            {"issuer": entry["issuer"], "client_ids": {written(client): policy for client, policy in entry["clients"].items()}}
            for entry in providers
        ]
        fields: dict[str, Any] = {"openid_options": {"providers": entries}}
        if scopes:
            fields["scopes"] = {"oidc": {"scope_claim_name": scope_claim, "scope_to_policy": scopes}}
        return classic(api_id, upstream, f"/{api_id}/", use_keyless=False, use_openid=True, org_id="org", **fields)
    method: dict[str, Any] = {"enabled": True, "header": {"enabled": True, "name": "Authorization"}}
    method["providers"] = [
        {
            "issuer": entry["issuer"],
            "clientToPolicyMapping": [{"clientId": written(client), "policyId": policy} for client, policy in entry["clients"].items()],
        }
        for entry in providers
    ]
    if scopes:
        mapping = [{"scope": scope, "policyId": policy} for scope, policy in scopes.items()]
        method["scopes"] = {"claimName": scope_claim, "scopeToPolicyMapping": mapping}
    document = oas(api_id, upstream, f"/{api_id}/", server={"authentication": {"enabled": True, "oidc": method}})
    document["x-tyk-api-gateway"]["info"]["orgId"] = "org"
    return document


def external_api(form: str, api_id: str, upstream: int, providers: list[dict[str, Any]], **own: Any) -> dict[str, Any]:
    """Return an API that takes access tokens.

    :param providers: in the words of a document's scheme.
    :param own: ``x-tlsgate.external_oauth``.
    """
    if form == "classic":
        entries = [
            {way: {_EXTERNAL.get(name, name): value for name, value in fields.items()} for way, fields in entry.items()}
            for entry in providers
        ]
        external = {"enabled": True, "providers": entries}
        made = classic(api_id, upstream, f"/{api_id}/", use_keyless=False, org_id="org", external_oauth=external)
    else:
        scheme = {"enabled": True, "header": {"enabled": True, "name": "Authorization"}, "providers": providers}
        made = oas(
            api_id, upstream, f"/{api_id}/", server={"authentication": {"enabled": True, "securitySchemes": {"externalOAuth": scheme}}}
        )
        flows = {"authorizationCode": {"authorizationUrl": "https://as.test/a", "tokenUrl": "https://as.test/t", "scopes": {}}}
        made["components"] = {"securitySchemes": {"externalOAuth": {"type": "oauth2", "flows": flows}}}
        made["security"] = [{"externalOAuth": []}]
        made["x-tyk-api-gateway"]["info"]["orgId"] = "org"
    if own:
        made["x-tlsgate"] = {"external_oauth": own}
    return made


def put_places(definition: dict[str, Any], kind: str, places: dict[str, str]) -> None:
    """Let a definition read its credential elsewhere.

    :param kind: of :data:`KINDS`.
    :param places: ``header``, ``query``, ``cookie`` to names; what is missing is off.
    """
    if "api_id" in definition:
        entry: dict[str, Any] = {"auth_header_name": places["header"]} if "header" in places else {"disable_header": True}
        for place, switch, name in (("query", "use_param", "param_name"), ("cookie", "use_cookie", "cookie_name")):
            if place in places:
                entry |= {switch: True, name: places[place]}
        definition["auth_configs"] = {**definition.get("auth_configs", {}), kind: entry}
        return
    authentication = definition["x-tyk-api-gateway"]["server"]["authentication"]
    method = authentication["oidc"] if kind == "oidc" else authentication["securitySchemes"][kind]
    for place in ("header", "query", "cookie"):
        method.pop(place, None)
    method |= {place: {"enabled": True, "name": name} for place, name in places.items()}


def put_strip(definition: dict[str, Any]) -> None:
    """Let a definition take the credential out of what goes upstream."""
    if "api_id" in definition:
        definition["strip_auth_data"] = True
    else:
        definition["x-tyk-api-gateway"]["server"]["authentication"]["stripAuthorizationData"] = True


def put_ignored(definition: dict[str, Any]) -> None:
    """Let a definition ask for nothing at ``GET /free``."""
    if "api_id" in definition:
        version = definition["version_data"]["versions"]["Default"]
        version |= {"use_extended_paths": True, "extended_paths": {"ignored": [{"path": "/free", "method": "GET"}]}}
        return
    definition["paths"] = {"/free": {"get": {"operationId": "free", "responses": {}}}}
    middleware = definition["x-tyk-api-gateway"].setdefault("middleware", {})
    middleware["operations"] = {"free": {"ignoreAuthentication": {"enabled": True}}}


def introspect(provider: Provider, known: dict[str, Any] | None = None) -> dict[str, Any]:
    """Let the provider answer ``/introspect``, and return what it knows: by token an object, or status and body.

    :param known: empty: whatever token ``token_for`` makes is alice's.
    """
    found = {} if known is None else known

    def answer(body: bytes) -> tuple[int, bytes]:
        token = parse_qs(body.decode(), keep_blank_values=True).get("token", [""])[0]
        said = found.get(token, {"active": token.count(".") == 2, "sub": "alice"} if known is None else {"active": False})
        return said if isinstance(said, tuple) else (200, json.dumps(said).encode())

    provider.answers["/introspect"] = answer
    return found


def token_for(provider: Provider, claims: dict[str, Any] | None = None, **options: Any) -> str:
    """Return a token that all of :func:`foreign_apis` take; ``options`` are those of ``Provider.token``."""
    return provider.token({"iss": provider.url, "aud": "web", "pol": "gold", **(claims or {})}, **options)
