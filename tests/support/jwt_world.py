"""APIs that take JWT, written once in the words of a document's scheme and served in either form, over TLS, and who asks them.

``jwt_api`` translates; ``jwt_world`` starts a gateway that trusts the authority of ``provider``'s certificate.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.certs import SERVER, make_authority
from tests.support.certs_api import CertsApi
from tests.support.control import policy_folder, rights
from tests.support.credentials import running_world, told
from tests.support.gateway import Client, Gateway, Response, StrictUpstream, classic, oas
from tests.support.provider import sign_hmac

__all__ = ["AUTHORITY", "OWN", "SECRET", "JwtWorld", "Storm", "hmac_token", "jwt_api", "jwt_world"]

SECRET = b"0123456789abcdef0123456789abcdef"
AUTHORITY = make_authority("JWT World CA")
"""The gateway trusts it."""
OWN = AUTHORITY.issue("localhost", names=["localhost"], usages=SERVER)
"""Certificate of gateway and provider."""

_NAMES = {
    "source": "jwt_source",
    "signingMethod": "jwt_signing_method",
    "identityBaseField": "jwt_identity_base_field",
    "skipKid": "jwt_skip_kid",
    "policyFieldName": "jwt_policy_field_name",
    "clientBaseField": "jwt_client_base_field",
    "defaultPolicies": "jwt_default_policies",
    "issuedAtValidationSkew": "jwt_issued_at_validation_skew",
    "notBeforeValidationSkew": "jwt_not_before_validation_skew",
    "expiresAtValidationSkew": "jwt_expires_at_validation_skew",
    "idpClientIdMappingDisabled": "idp_client_id_mapping_disabled",
}
_OWN_NAMES = {
    "subjectClaims": "subject_claims",
    "basePolicyClaims": "base_policy_claims",
    "allowedIssuers": "allowed_issuers",
    "allowedAudiences": "allowed_audiences",
    "allowedSubjects": "allowed_subjects",
}


def jwt_api(
    form: str,
    api_id: str,
    upstream: int,
    scheme: dict[str, Any],
    *,
    places: dict[str, str] | None = None,
    strip: bool = False,
    base: str = "",
    with_token: str = "",
    headers: dict[str, str] | None = None,
    own: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return a definition of organisation ``org`` below ``/<api_id>/``.

    :param scheme: members of a document's scheme.
    :param places: ``header``, ``query``, ``cookie`` to names; None is the header ``Authorization``.
    :param with_token: ``both`` asks for an auth token in ``X-Key`` beside the JWT, ``either`` takes one in its place.
    :param headers: added to what goes upstream.
    :param own: further members of ``x-tlsgate``.
    """
    places = {"header": "Authorization"} if places is None else places
    make = _make_oas if form == "oas" else _make_classic
    return make(api_id, upstream, dict(scheme), _Around(places, strip, base, with_token, headers or {}, own or {}))


class _Around(NamedTuple):
    """What a definition says beside its scheme: the parameters of :func:`jwt_api`."""

    places: dict[str, str]
    strip: bool
    base: str
    with_token: str
    headers: dict[str, str]
    own: dict[str, Any]


def _make_oas(api_id: str, upstream: int, scheme: dict[str, Any], around: _Around) -> dict[str, Any]:
    places, strip, base, with_token, headers, own = around
    schemes: dict[str, Any] = {
        "jwt": {"enabled": True, **{place: {"enabled": True, "name": name} for place, name in places.items()}, **scheme}
    }
    components: dict[str, Any] = {"jwt": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
    security: list[dict[str, list[str]]] = [{"jwt": []}]
    authentication: dict[str, Any] = {"enabled": True, "stripAuthorizationData": strip}
    if base:
        authentication["baseIdentityProvider"] = base
    if with_token:
        schemes["key"] = {"enabled": True}
        components["key"] = {"type": "apiKey", "in": "header", "name": "X-Key"}
        security = [{"jwt": [], "key": []}] if with_token == "both" else [{"jwt": []}, {"key": []}]
        if with_token == "either":
            authentication["securityProcessingMode"] = "compliant"
    everywhere: dict[str, Any] = {"contextVariables": {"enabled": True}}
    if headers:
        added = [{"name": name, "value": value} for name, value in headers.items()]
        everywhere["transformRequestHeaders"] = {"enabled": True, "add": added}
    server = {"authentication": {**authentication, "securitySchemes": schemes}}
    document = oas(api_id, upstream, f"/{api_id}/", server=server, middleware={"global": everywhere})
    document["components"] = {"securitySchemes": components}
    document["security"] = security
    document["x-tyk-api-gateway"]["info"]["orgId"] = "org"
    if own:
        document["x-tlsgate"] = own
    return document


def _make_classic(api_id: str, upstream: int, scheme: dict[str, Any], around: _Around) -> dict[str, Any]:
    places, strip, base, with_token, headers, own = around
    fields: dict[str, Any] = {_NAMES[name]: scheme.pop(name) for name in tuple(scheme) if name in _NAMES}
    mine: dict[str, Any] = {_OWN_NAMES[name]: scheme.pop(name) for name in tuple(scheme) if name in _OWN_NAMES}
    if "jtiValidation" in scheme:
        mine["require_jti"] = scheme.pop("jtiValidation")["enabled"]
    if "customClaimValidation" in scheme:
        mine["custom_claims"] = {
            path: {"type": rule["type"], "allowed_values": rule.get("allowedValues", []), "non_blocking": rule.get("nonBlocking", False)}
            for path, rule in scheme.pop("customClaimValidation").items()
        }
    if "jwksURIs" in scheme:
        fields["jwt_jwks_uris"] = [
            {"url": entry["url"], "cache_timeout": entry.get("cacheTimeout", "")} for entry in scheme.pop("jwksURIs")
        ]
    if "scopes" in scheme:
        scopes = scheme.pop("scopes")
        if "claims" in scopes:
            mine["scope_claims"] = scopes["claims"]
        mapping = {entry["scope"]: entry["policyId"] for entry in scopes["scopeToPolicyMapping"]}
        fields["scopes"] = {"jwt": {"scope_claim_name": scopes.get("claimName", ""), "scope_to_policy": mapping}}
    assert not scheme, f"no Classic form of {', '.join(scheme)}"
    place: dict[str, Any] = {"auth_header_name": places["header"]} if "header" in places else {"disable_header": True}
    for name, switch, member in (("query", "use_param", "param_name"), ("cookie", "use_cookie", "cookie_name")):
        if name in places:
            place |= {switch: True, member: places[name]}
    fields["auth_configs"] = {"jwt": place}
    if with_token:
        fields["use_standard_auth"] = True
        fields["auth_configs"]["authToken"] = {"auth_header_name": "X-Key"}
        if with_token == "either":
            fields["security_requirements"] = [["jwt"], ["authToken"]]
    if base:
        fields["base_identity_provided_by"] = base
    settings = {**own, "jwt": {**mine, **own.get("jwt", {})}} if mine or own else {}
    if settings:
        fields["x-tlsgate"] = settings
    version = {"global_headers": headers} if headers else {}
    return classic(
        api_id,
        upstream,
        f"/{api_id}/",
        version=version,
        use_keyless=False,
        enable_jwt=True,
        org_id="org",
        enable_context_vars=True,
        strip_auth_data=strip,
        **fields,
    )


_UNSAID: dict[str, Any] = {"expires": 0, "quota_remaining": 0, "oauth_client_id": "", "apply_policies": []}
"""Members that the control API leaves out when they are so; a quota that nobody has used is one of them."""


class Storm:
    """Requests on several connections."""

    def __init__(self, port: int, bearers: Sequence[Iterable[tuple[str, str]]]) -> None:
        self.statuses: list[int] = []
        self._port = port
        self._threads = [threading.Thread(target=self._send, args=(each,)) for each in bearers]
        for thread in self._threads:
            thread.start()

    @property
    def blows(self) -> bool:
        """Whether there is more to send."""
        return any(thread.is_alive() for thread in self._threads)

    def join(self) -> None:
        """Wait for the end."""
        for thread in self._threads:
            thread.join()

    def _send(self, bearers: Iterable[tuple[str, str]]) -> None:
        with Client(self._port, sni="localhost") as client:
            for api, token in bearers:
                self.statuses.append(client.request("GET", f"/{api}/x", headers=[("Authorization", f"Bearer {token}")]).status)


class JwtWorld:
    """A running gateway, its upstream, and policies that open every API of it."""

    def __init__(self, gateway: Gateway, upstream: StrictUpstream, apis: tuple[str, ...]) -> None:
        self.gateway = gateway
        self.upstream = upstream
        self.apis = apis

    def control(self, method: str, target: str, body: Any = None) -> tuple[int, Any]:
        """Make a control call."""
        answer = CertsApi(self.gateway).call(method, target, b"" if body is None else json.dumps(body).encode())
        return answer.status, json.loads(answer.body)

    def put_key(self, id: str, **fields: Any) -> str:
        """Write a key that opens every API, and return its whole id."""
        status, answer = self.control("POST", f"/tyk/keys/{id}", {"org_id": "org", "access_rights": rights(*self.apis), **fields})
        assert status == 200, answer
        return str(answer["key"])

    def sessions(self) -> dict[str, dict[str, Any]]:
        """Return stored keys by alias; one with a quota that is not used yet has 0 left."""
        found: dict[str, dict[str, Any]] = {}
        for key in self.control("GET", "/tyk/keys")[1]["keys"]:
            session = self.control("GET", f"/tyk/keys/{key}")[1]
            found[session.get("alias", "")] = {**_UNSAID, **session, "key": key}
        return found

    def write_policy(self, name: str, **fields: Any) -> None:
        """Write a policy that opens every API to its file; a reload reads it."""
        policy = {"id": name, "org_id": "org", "access_rights": rights(*self.apis), "rate": 100_000, "per": 1, **fields}
        (policy_folder(self.gateway.folder) / f"{name}.json").write_text(json.dumps(policy))

    def send(self, api: str, *headers: tuple[str, str], target: str = "x") -> Response:
        """Ask an API on a connection of its own."""
        with Client(self.gateway.port, sni="localhost") as client:
            return client.request("GET", f"/{api}/{target}", headers=headers)

    def ask(self, api: str, token: str | None, *headers: tuple[str, str], target: str = "x") -> tuple[int, str]:
        """Status and message that a bearer gets; no message with 200."""
        bearer = [] if token is None else [("Authorization", f"Bearer {token}")]
        response = self.send(api, *bearer, *headers, target=target)
        return (200, "") if response.status == 200 else told(response)

    @contextmanager
    def asking(self, api: str, token: str, times: int) -> Iterator[list[tuple[int, str]]]:
        """Ask an API on many connections at once while the body runs; behind it all answers are there."""
        answers: list[tuple[int, str]] = []
        threads = [threading.Thread(target=lambda: answers.append(self.ask(api, token))) for _ in range(times)]
        for thread in threads:
            thread.start()
        yield answers
        for thread in threads:
            thread.join(20)

    @contextmanager
    def storm(self, bearers: Sequence[Iterable[tuple[str, str]]]) -> Iterator[Storm]:
        """Send requests (API, token), those of each member on one connection, while the body runs and until all are sent."""
        found = Storm(self.gateway.port, bearers)
        yield found
        found.join()

    def seen(self, name: str) -> str | None:
        """Return a header that the upstream got last."""
        return self.upstream.requests[-1].header(name)


@contextmanager
def jwt_world(
    folder: Path,
    backend: str,
    apis: list[dict[str, Any]],
    upstream: StrictUpstream,
    *,
    policies: dict[str, dict[str, Any]] | None = None,
    own: dict[str, Any] | None = None,
    **config: Any,
) -> Iterator[JwtWorld]:
    """Run a gateway; the upstream must have read nothing odd in the end.

    :param policies: fields by id; None is ``gold`` and ``silver``.
    :param own: ``tlsgate`` of the configuration.
    """
    (folder / "ca.pem").write_text(AUTHORITY.pem)
    names = tuple(api.get("api_id") or api["x-tyk-api-gateway"]["info"]["id"] for api in apis)
    for name, fields in ({"gold": {}, "silver": {}} if policies is None else policies).items():
        policy = {"id": name, "org_id": "org", "access_rights": rights(*names), "rate": 100_000, "per": 1, **fields}
        (policy_folder(folder) / f"{name}.json").write_text(json.dumps(policy))
    config |= {"policies": {"policy_source": "file", "policy_path": str(policy_folder(folder))}}
    config["tlsgate"] = {"upstream_ca": [str(folder / "ca.pem")], **(own or {})}
    with running_world(folder, backend, *apis, server=OWN, **config) as gateway:
        yield JwtWorld(gateway, upstream, names)
    assert upstream.violations == []


def hmac_token(claims: dict[str, Any] | None = None, secret: bytes = SECRET, **header: Any) -> str:
    """Return a token of alice under the policy ``gold`` for five minutes, but for what ``claims`` says; a claim that is ... is left out."""
    made = {"sub": "alice", "pol": "gold", "exp": int(time.time()) + 300, **(claims or {})}
    return sign_hmac({name: value for name, value in made.items() if value is not ...}, secret, **header)
