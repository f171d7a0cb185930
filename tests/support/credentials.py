"""APIs that ask who one is, written once in Classic words and served in both forms, on each store, over TLS.

``protected`` translates; ``running_world`` starts a gateway with its store; ``EACH_FORM`` and ``EACH_WORLD`` are the matrix.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.certs import Issued
from tests.support.gateway import Gateway, Response, classic, oas, running_gateway
from tests.support.redis_server import needs_redis, redis_server
from tests.support.scale import FULL

__all__ = ["EACH_FORM", "EACH_WORLD", "protected", "running_world", "told"]

EACH_FORM = pytest.mark.parametrize("form", ["classic", "oas"])
_CROSS = pytest.mark.skipif(not FULL, reason="each form and each store have had their turn: all pairs with make acceptance")
EACH_WORLD = pytest.mark.parametrize(
    ("form", "backend"),
    [
        ("classic", "sqlite"),
        pytest.param("oas", "redis", marks=needs_redis),
        pytest.param("oas", "sqlite", marks=[pytest.mark.acceptance, _CROSS]),
        pytest.param("classic", "redis", marks=[needs_redis, pytest.mark.acceptance, _CROSS]),
    ],
)
"""Each form and each store; all pairs of them in acceptance runs: definitions are read before anybody asks a store."""

_SCHEMES = {"use_standard_auth": "authToken", "use_basic_auth": "basic"}
_COMPONENTS: dict[str, dict[str, Any]] = {"authToken": {"type": "apiKey"}, "basic": {"type": "http", "scheme": "basic"}}
_SIGNATURE = {
    "algorithm": "algorithm",
    "header": "header",
    "secret": "secret",
    "allowed_clock_skew": "allowedClockSkew",
    "error_code": "errorCode",
    "error_message": "errorMessage",
}
_SIGNING = {
    "is_enabled": "enabled",
    "secret": "secret",
    "key_id": "keyId",
    "algorithm": "algorithm",
    "header_list": "headers",
    "certificate_id": "certificateId",
    "signature_header": "signatureHeader",
}


def protected(form: str, api_id: str, upstream: int | str, listen_path: str = "", **fields: Any) -> dict[str, Any]:
    """Return a definition of organisation ``org`` below ``/<api_id>/``.

    :param form: ``classic`` or ``oas``.
    :param fields: Classic fields: the switches of methods, ``auth_configs``, ``basic_auth``, ``hmac_allowed_*``,
        ``base_identity_provided_by``, ``security_requirements`` (those with ``hmac`` last),
        ``strip_auth_data``, ``enable_context_vars``, ``use_mutual_tls_auth`` with ``client_certificates``,
        ``request_signing``, ``global_headers``, ``domain``, ``certificates``, ``x-tlsgate``. Any other has its Classic form only.
    """
    path = listen_path or f"/{api_id}/"
    fields = {"use_keyless": False, "org_id": "org", **fields}
    headers = fields.pop("global_headers", None)
    if form == "classic":
        version = {"global_headers": headers} if headers else {}
        return classic(api_id, upstream, path, version=version, **fields)
    return _to_oas(api_id, upstream, path, headers, fields)


def _to_oas(api_id: str, upstream: int | str, path: str, headers: dict[str, str] | None, fields: dict[str, Any]) -> dict[str, Any]:
    configs: dict[str, Any] = fields.pop("auth_configs", {})
    keyless = fields.pop("use_keyless")
    if not keyless and not any(fields.get(name) for name in (*_SCHEMES, "enable_signature_checking")):
        fields["use_standard_auth"] = True
    schemes: dict[str, Any] = {}
    components: dict[str, Any] = {}
    for switch, kind in _SCHEMES.items():
        if not fields.pop(switch, False):
            continue
        entry = configs.get(kind, {})
        schemes[kind] = {"enabled": True, **_places(entry)}
        components[kind] = dict(_COMPONENTS[kind])
        if kind == "authToken":
            components[kind] |= _main_place(entry)
            schemes[kind].pop(components[kind]["in"], None)
            schemes[kind] |= _token(entry)
        else:
            schemes[kind] |= _basic(fields.pop("basic_auth", {}))
    authentication: dict[str, Any] = {"enabled": not keyless, "securitySchemes": schemes}
    if fields.pop("enable_signature_checking", False):
        authentication["hmac"] = {"enabled": True, **_places(configs.get("hmac", {}))}
        for name, member in (("hmac_allowed_algorithms", "allowedAlgorithms"), ("hmac_allowed_clock_skew", "allowedClockSkew")):
            if name in fields:
                authentication["hmac"][member] = fields.pop(name)
    for name, member in (("base_identity_provided_by", "baseIdentityProvider"), ("strip_auth_data", "stripAuthorizationData")):
        if name in fields:
            authentication[member] = fields.pop(name)
    requirements: list[list[str]] = fields.pop("security_requirements", [])
    plain = [names for names in requirements if "hmac" not in names]
    assert plain == requirements[: len(plain)], "those of the document come first"
    if requirements:
        authentication |= {"securityProcessingMode": "compliant", "security": requirements[len(plain) :]}
    server: dict[str, Any] = {"authentication": authentication}
    if fields.pop("use_mutual_tls_auth", False):
        server["clientCertificates"] = {"enabled": True, "allowlist": fields.pop("client_certificates", [])}
    if "domain" in fields:
        server["customDomain"] = {"enabled": True, "name": fields.pop("domain"), "certificates": fields.pop("certificates", [])}
    everywhere: dict[str, Any] = {}
    if fields.pop("enable_context_vars", False):
        everywhere["contextVariables"] = {"enabled": True}
    if headers:
        added = [{"name": name, "value": value} for name, value in headers.items()]
        everywhere["transformRequestHeaders"] = {"enabled": True, "add": added}
    signing = {_SIGNING[name]: value for name, value in fields.pop("request_signing", {}).items()}
    login = {"authentication": {"enabled": True, "requestSigning": signing}} if signing else {}
    own = fields.pop("x-tlsgate", None)
    org = fields.pop("org_id")
    assert not fields, f"no OAS form of {', '.join(fields)}"
    document = oas(api_id, upstream, path, server=server, upstream_settings=login, middleware={"global": everywhere})
    document["x-tyk-api-gateway"]["info"]["orgId"] = org
    document["components"] = {"securitySchemes": components}
    if requirements:
        document["security"] = [{name: [] for name in names} for names in plain]
    elif components:
        document["security"] = [{name: [] for name in components}]
    if own is not None:
        document["x-tlsgate"] = own
    return document


def _main_place(entry: dict[str, Any]) -> dict[str, str]:
    """Return where the component says that the key is; the scheme says the rest."""
    if not entry.get("disable_header"):
        return {"in": "header", "name": entry.get("auth_header_name") or "Authorization"}
    if entry.get("use_param"):
        return {"in": "query", "name": entry.get("param_name", "")}
    return {"in": "cookie", "name": entry.get("cookie_name", "")}


def _places(entry: dict[str, Any]) -> dict[str, Any]:
    places: dict[str, Any] = {}
    if entry.get("auth_header_name") and not entry.get("disable_header"):
        places["header"] = {"enabled": True, "name": entry["auth_header_name"]}
    if entry.get("use_param"):
        places["query"] = {"enabled": True, "name": entry.get("param_name", "")}
    if entry.get("use_cookie"):
        places["cookie"] = {"enabled": True, "name": entry.get("cookie_name", "")}
    return places


def _token(entry: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {"enableClientCertificate": True} if entry.get("use_certificate") else {}
    if entry.get("validate_signature"):
        signature = entry.get("signature", {})
        made["signatureValidation"] = {
            "enabled": True,
            **{_SIGNATURE[name]: value for name, value in signature.items() if name in _SIGNATURE},
        }
        if signature.get("use_param") or signature.get("param_name"):
            made["signatureValidation"]["query"] = {"enabled": bool(signature.get("use_param")), "name": signature.get("param_name", "")}
    return made


def _basic(settings: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if "disable_caching" in settings:
        made["disableCaching"] = settings["disable_caching"]
    if "cache_ttl" in settings:
        made["cacheTTL"] = settings["cache_ttl"]
    if "extract_from_body" in settings:
        made["extractCredentialsFromBody"] = {
            "enabled": settings["extract_from_body"],
            "userRegexp": settings.get("body_user_regexp", ""),
            "passwordRegexp": settings.get("body_password_regexp", ""),
        }
    return made


@contextmanager
def running_world(folder: Path, backend: str, *apis: dict[str, Any], server: Issued | None = None, **config: Any) -> Iterator[Gateway]:
    """Run a gateway on a store of its own.

    :param backend: ``sqlite`` or ``redis``.
    :param server: its certificate; None is plain HTTP.
    """
    with ExitStack() as stack:
        if backend == "redis":
            home = folder / "redis"
            home.mkdir()
            redis = stack.enter_context(redis_server(home))
            config["storage"] = {"type": "redis", "host": "127.0.0.1", "port": redis.port}
        yield stack.enter_context(running_gateway(folder, *apis, server=server, **config))


def told(response: Response) -> tuple[int, str]:
    """Return status and message of a refusal; the body of any other answer."""
    text = response.body.decode("utf-8", "replace")
    try:
        return response.status, str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        return response.status, text
