"""One definition in both forms, Classic and Tyk OAS, for tests that must hold for either."""

from __future__ import annotations

from typing import Any, NamedTuple

from tests.support.gateway import classic, oas

__all__ = ["FORMS", "Rule", "define"]

FORMS = ("classic", "oas")


class Rule(NamedTuple):
    """One entry of a path list."""

    kind: str
    """Name of the Classic list."""
    path: str
    method: str = "GET"
    values: dict[str, Any] = {}
    """Further Classic fields."""


_OPERATIONS = {
    "ignored": "ignoreAuthentication",
    "white_list": "allow",
    "black_list": "block",
    "internal": "internal",
    "mock_response": "mockResponse",
    "size_limits": "requestSizeLimit",
    "hard_timeouts": "enforceTimeout",
    "transform_headers": "transformRequestHeaders",
    "transform_response_headers": "transformResponseHeaders",
}
_MEMBERS = {"size_limit": "value", "timeout": "value", "duration": "duration", "ignore_case": "ignoreCase", "code": "code", "body": "body"}
_CORS = {
    "enable": "enabled",
    "allowed_origins": "allowedOrigins",
    "allowed_methods": "allowedMethods",
    "allowed_headers": "allowedHeaders",
    "exposed_headers": "exposedHeaders",
    "allow_credentials": "allowCredentials",
    "max_age": "maxAge",
    "options_passthrough": "optionsPassthrough",
}


def define(
    form: str,
    api_id: str,
    upstream: int | str,
    listen_path: str = "/",
    *,
    rules: tuple[Rule, ...] = (),
    strip: bool = True,
    preserve_host: bool = False,
    keep_slash: bool = False,
    targets: tuple[str, ...] = (),
    cors: dict[str, Any] | None = None,
    add: dict[str, str] | None = None,
    remove: tuple[str, ...] = (),
    response_add: dict[str, str] | None = None,
    response_remove: tuple[str, ...] = (),
    size_limit: int = 0,
    timeout: str = "",
    allow: tuple[str, ...] = (),
    block: tuple[str, ...] = (),
    context: bool = False,
    mtls: tuple[str, ...] | None = None,
    overrides: dict[str, Any] | None = None,
    expiration: str = "",
    domain: str = "",
) -> dict[str, Any]:
    """Return a keyless definition with the given features.

    :param form: one of ``FORMS``.
    :param mtls: allow list of a static mTLS API; None is none.
    :param cors: Classic ``CORS`` without ``enable``.
    """
    if form == "classic":
        lists: dict[str, list[dict[str, Any]]] = {}
        for rule in rules:
            lists.setdefault(rule.kind, []).append({"path": rule.path, "method": rule.method, **rule.values})
        version = {
            "use_extended_paths": True,
            "extended_paths": lists,
            "global_headers": add or {},
            "global_headers_remove": list(remove),
            "global_response_headers": response_add or {},
            "global_response_headers_remove": list(response_remove),
            "global_size_limit": size_limit,
            "global_enforce_timeout": timeout,
        }
        proxy = {
            "strip_listen_path": strip,
            "preserve_host_header": preserve_host,
            "disable_strip_slash": keep_slash,
            "enable_load_balancing": bool(targets),
            "target_list": list(targets),
        }
        fields: dict[str, Any] = {"enable_context_vars": context, "domain": domain, "expiration": expiration}
        if cors is not None:
            fields["CORS"] = {"enable": True, **cors}
        if allow:
            fields.update(enable_ip_whitelisting=True, allowed_ips=list(allow))
        if block:
            fields.update(enable_ip_blacklisting=True, blacklisted_ips=list(block))
        if mtls is not None:
            fields.update(use_mutual_tls_auth=True, client_certificates=list(mtls))
        if overrides is not None:
            fields["error_overrides"] = overrides
        return classic(api_id, upstream, listen_path, version=version, proxy=proxy, **fields)

    server: dict[str, Any] = {"listenPath": {"value": listen_path, "strip": strip}}
    if allow or block:
        server["ipAccessControl"] = {"enabled": True, "allow": list(allow), "block": list(block)}
    if mtls is not None:
        server["clientCertificates"] = {"enabled": True, "allowlist": list(mtls)}
    if domain:
        server["customDomain"] = {"enabled": True, "name": domain}
    settings: dict[str, Any] = {
        "preserveHostHeader": {"enabled": preserve_host},
        "preserveTrailingSlash": {"enabled": keep_slash},
        "enforceTimeout": {"enabled": bool(timeout), "duration": timeout},
    }
    if targets:
        settings["loadBalancing"] = {"enabled": True, "targets": [{"url": url, "weight": 1} for url in targets]}
    everywhere: dict[str, Any] = {
        "contextVariables": {"enabled": context},
        "transformRequestHeaders": {"enabled": bool(add or remove), "add": _pairs(add), "remove": list(remove)},
        "transformResponseHeaders": {
            "enabled": bool(response_add or response_remove),
            "add": _pairs(response_add),
            "remove": list(response_remove),
        },
        "requestSizeLimit": {"enabled": bool(size_limit), "value": size_limit},
    }
    if cors is not None:
        everywhere["cors"] = {"enabled": True, **{_CORS[name]: value for name, value in cors.items()}}
    extension: dict[str, Any] = {"upstream_settings": settings, "middleware": {"global": everywhere}}
    if overrides is not None:
        extension["errorOverrides"] = {"enabled": True, "value": overrides}
    document = oas(api_id, upstream, listen_path, server=server, **extension)
    if expiration:
        document["x-tyk-api-gateway"]["info"]["expiration"] = expiration
    operations: dict[str, Any] = {}
    for number, rule in enumerate(rules):
        id = f"rule{number}"
        place = document["paths"].setdefault(rule.path, {}).setdefault(rule.method.lower(), {"operationId": id, "responses": {}})
        operations.setdefault(place["operationId"], {})[_OPERATIONS[rule.kind]] = _operation(rule)
    document["x-tyk-api-gateway"]["middleware"]["operations"] = operations
    return document


def _operation(rule: Rule) -> dict[str, Any]:
    operation: dict[str, Any] = {"enabled": True}
    for name, value in rule.values.items():
        if name in ("add_headers", "delete_headers", "headers"):
            member = {"add_headers": "add", "delete_headers": "remove", "headers": "headers"}[name]
            operation[member] = _pairs(value) if isinstance(value, dict) else list(value)
        else:
            operation[_MEMBERS[name]] = value
    return operation


def _pairs(values: dict[str, str] | None) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in (values or {}).items()]
