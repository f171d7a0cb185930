"""APIs that tell clients who issues their tokens: the document, and the refusals that lead to it (RFC 9728; JWT reference, section 3)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.credentials import EACH_FORM
from tests.support.foreign_tokens import METHODS, foreign_apis, introspect, token_for
from tests.support.gateway import StrictUpstream, classic, oas
from tests.support.jwt_world import OWN, jwt_world
from tests.support.provider import Provider

CLASSIC = {
    "enabled": True,
    "resource": "https://Api.example.test/base",
    "authorization_servers": ["https://as.example.test"],
    "scopes_supported": ["read", "write"],
}
DOCUMENT = {
    "enabled": True,
    "resource": "https://Api.example.test/base",
    "authorizationServers": ["https://as.example.test"],
    "scopesSupported": ["read", "write"],
}


def publish(form: str, api: dict[str, Any], **more: str) -> dict[str, Any]:
    if form == "classic":
        return {**api, "x-tlsgate": {"protected_resource": {**CLASSIC, **more}}}
    api["x-tyk-api-gateway"]["server"]["authentication"]["protectedResourceMetadata"] = {**DOCUMENT, **more}
    return api


def challenge(api: str, path: str = ".well-known/oauth-protected-resource") -> str:
    return f'Bearer realm="tyk", resource_metadata="https://api.example.test/{api}/{path}"'


@EACH_FORM
def test_what_an_api_tells_of_itself(tmp_path: Path, form: str) -> None:
    """Without a credential, below its listen path; a missing token is 401, and every failure of a token leads there; policies do not."""
    with StrictUpstream() as upstream, Provider(OWN, tmp_path) as provider:
        good = token_for(provider)
        introspect(provider, {good: {"active": True, "sub": "alice"}})
        own = {"wellKnownPath": "meta/data"} if form == "oas" else {"well_known_path": "meta/data"}
        apis = [publish(form, api) for api in foreign_apis(form, upstream.port, provider)]
        if form == "classic":
            token = classic("token", upstream.port, "/token/", use_keyless=False, use_standard_auth=True, org_id="org")
        else:
            schemes = {"key": {"enabled": True}}
            token = oas("token", upstream.port, "/token/", server={"authentication": {"enabled": True, "securitySchemes": schemes}})
            token["components"] = {"securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "Authorization"}}}
            token["security"] = [{"key": []}]
            token["x-tyk-api-gateway"]["info"]["orgId"] = "org"
        apis.append(publish(form, token, **own))
        quiet = foreign_apis(form, upstream.port, provider)[0]
        (quiet["x-tyk-api-gateway"]["info"] if form == "oas" else quiet)["id" if form == "oas" else "api_id"] = "quiet"
        place = quiet["x-tyk-api-gateway"]["server"]["listenPath"] if form == "oas" else quiet["proxy"]
        place["value" if form == "oas" else "listen_path"] = "/quiet/"
        with jwt_world(tmp_path, "sqlite", [*apis, quiet], upstream) as world:
            for api in METHODS:
                answer = world.send(api, target=".well-known/oauth-protected-resource")
                told = json.loads(answer.body)
                assert answer.status == 200 and answer.headers["content-type"] == "application/json"
                assert (told["resource"], told["authorization_servers"]) == ("https://Api.example.test/base", ["https://as.example.test"])
                assert told["scopes_supported"] == ["read", "write"] and told["bearer_methods_supported"] == ["header"]
                for bearer in (None, "x.y.z", "opaque", token_for(provider, {"exp": 1})):
                    headers = [] if bearer is None else [("Authorization", f"Bearer {bearer}")]
                    answer = world.send(api, *headers)
                    assert answer.status == 401 or (api == "jwt" and bearer and answer.status == 403), (api, bearer, answer.status)
                    assert answer.headers["www-authenticate"] == challenge(api), (api, bearer)
                assert world.ask(api, good) == (200, "")
            refused = world.send("jwt", ("Authorization", f"Bearer {token_for(provider, {'pol': 'none'})}"))
            assert refused.status == 403 and "www-authenticate" not in refused.headers
            assert world.send("token", target="meta/data").status == 200
            # Where RFC 9728 looks for it: before the path.
            for api in (*METHODS, "token"):
                for place in (f"{api}/", api):
                    answer = world.send(".well-known/oauth-protected-resource", target=place)
                    assert (answer.status, json.loads(answer.body)["resource_name"]) == (200, api), place
            for place in ("quiet/", "jwt/x", "nobody/", "jwtx", ""):
                assert world.send(".well-known/oauth-protected-resource", target=place).status == 404, place
            for headers in ([], [("Authorization", "unknown")]):
                answer = world.send("token", *headers)
                assert answer.headers["www-authenticate"] == challenge("token", "meta/data"), answer.status
            answer = world.send("quiet")
            assert answer.status == 400 and "www-authenticate" not in answer.headers
            assert world.send("quiet", target=".well-known/oauth-protected-resource").status == 400
            assert len(upstream.requests) == len(METHODS)
