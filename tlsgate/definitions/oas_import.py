"""Makes a Tyk OAS document of a plain OpenAPI document; knows both forms, must not know where documents are kept.

Source: API definitions reference, section 3: query parameters of ``POST /tyk/apis/oas/import``.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from tlsgate.config.trees import Tree
from tlsgate.definitions.members import find_member, listed, put_member, section_of
from tlsgate.definitions.oas_fields import EXTENSION_NAME
from tlsgate.definitions.oas_operations import METHODS

__all__ = ["OPTIONS", "apply_options", "import_document"]

OPTIONS = (
    "upstreamURL",
    "listenPath",
    "customDomain",
    "apiID",
    "authentication",
    "validateRequest",
    "allowList",
    "mockResponse",
    "securityProcessingMode",
)
_SERVER = f"{EXTENSION_NAME}.server"
_LOGIN = f"{_SERVER}.authentication"
_EACH_OPERATION: dict[str, tuple[str, Tree]] = {
    "allowList": ("allow", {"enabled": True}),
    "validateRequest": ("validateRequest", {"enabled": True, "errorResponseCode": 422}),
    "mockResponse": ("mockResponse", {"enabled": True, "fromOASExamples": {"enabled": True}}),
}


def import_document(plain: Tree, options: Mapping[str, str]) -> Tree:
    """Return the document with an extension: active, listen path stripped, context variables and traffic logs on.

    :param plain: without the extension; stays as it is.
    :param options: query parameters; absent ones have their defaults (``upstreamURL``: the first of ``servers``, ``listenPath``: ``/``).
    :raises ValueError: it cannot be imported; the words are for the caller.
    """
    document = copy.deepcopy(plain)
    title = find_member(document, "info.title")
    upstream = options.get("upstreamURL") or next((find_member(entry, "url") for entry in listed(document, "servers")), None)
    if not isinstance(upstream, str) or not upstream.startswith(("http://", "https://")):
        raise ValueError("there is no upstream: give upstreamURL, or an absolute URL in servers")
    document[EXTENSION_NAME] = {
        "info": {"name": title if isinstance(title, str) else "", "state": {"active": True}},
        "upstream": {"url": upstream},
        "server": {"listenPath": {"value": "/", "strip": True}},
        "middleware": {"global": {"contextVariables": {"enabled": True}, "trafficLogs": {"enabled": True}}},
    }
    apply_options(document, options)
    return document


def apply_options(document: Tree, options: Mapping[str, str]) -> None:
    """Write query parameters into the extension of a document, in place (import and ``PATCH``)."""
    if options.get("apiID"):
        put_member(document, f"{EXTENSION_NAME}.info.id", options["apiID"])
    if options.get("upstreamURL"):
        put_member(document, f"{EXTENSION_NAME}.upstream.url", options["upstreamURL"])
    if options.get("listenPath"):
        put_member(document, f"{_SERVER}.listenPath.value", options["listenPath"])
    if options.get("customDomain"):
        put_member(document, f"{_SERVER}.customDomain", {"enabled": True, "name": options["customDomain"]})
    if options.get("securityProcessingMode"):
        put_member(document, f"{_LOGIN}.securityProcessingMode", options["securityProcessingMode"])
    switched = _flag(options, "authentication")
    if switched is not None:
        put_member(document, f"{_LOGIN}.enabled", switched)
        if switched:
            _put_schemes(document)
    for option, (member, made) in _EACH_OPERATION.items():
        switched = _flag(options, option)
        if switched is not None:
            for id in _name_operations(document):
                put_operation(document, id, member, {**made, "enabled": switched})


def put_operation(document: Tree, id: str, member: str, value: Tree) -> None:
    """Set a member of ``middleware.operations.<id>``: an id may hold dots, and its case counts."""
    put_member(document, f"{EXTENSION_NAME}.middleware.operations", section_of(document, f"{EXTENSION_NAME}.middleware.operations"))
    operations: dict[str, Any] = section_of(document, f"{EXTENSION_NAME}.middleware.operations")
    operation = operations.setdefault(id, {})
    if isinstance(operation, dict):
        operation[member] = dict(value)


def _name_operations(document: Tree) -> list[str]:
    """Return the ids of all operations; one without gets Tyk's (path without its first slash, and the method)."""
    found = []
    paths = document.get("paths")
    for path, item in paths.items() if isinstance(paths, dict) else ():
        for method in METHODS:
            operation = item.get(method) if isinstance(item, dict) else None
            if isinstance(operation, dict):
                if not isinstance(operation.get("operationId"), str) or not operation["operationId"]:
                    operation["operationId"] = path.removeprefix("/") + method.upper()
                found.append(operation["operationId"])
    return found


def _put_schemes(document: Tree) -> None:
    """Switch on what the document asks for: its first requirement, in compliant mode all of them; what a scheme says already stays."""
    requirements = [entry for entry in listed(document, "security") if isinstance(entry, dict)]
    if find_member(document, f"{_LOGIN}.securityProcessingMode") != "compliant":
        requirements = requirements[:1]
    components = section_of(document, "components.securitySchemes")
    for name in dict.fromkeys(name for requirement in requirements for name in requirement):
        held = section_of(document, f"{_LOGIN}.securitySchemes")
        put_member(document, f"{_LOGIN}.securitySchemes", held)
        known = held.get(name)
        held[name] = {**known, "enabled": True} if isinstance(known, dict) and known else _derive_scheme(components.get(name))


def _derive_scheme(component: object) -> Tree:
    """Return the scheme of a component: its place where it has one, else the header ``Authorization``."""
    if not isinstance(component, dict):
        return {"enabled": True}
    place, name = component.get("in"), component.get("name")
    if component.get("type") == "apiKey" and place in ("header", "query", "cookie"):
        return {"enabled": True, str(place): {"enabled": True, "name": name if isinstance(name, str) else ""}}
    return {"enabled": True, "header": {"enabled": True, "name": "Authorization"}}


def _flag(options: Mapping[str, str], name: str) -> bool | None:
    text = options.get(name, "").lower()
    return None if not text else text in ("1", "true")
