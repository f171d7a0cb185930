"""What a Tyk OAS document that comes by the control API must keep beyond what loading asks for, and the ``servers`` entry it gets.

Knows the document's form; must not know where it is kept. Source: API definitions reference, sections 3 and 15.1 to 15.3.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tlsgate.config.trees import Tree
from tlsgate.definitions.members import find_member, listed, named, section_of
from tlsgate.definitions.oas_fields import EXTENSION, EXTENSION_NAME

if TYPE_CHECKING:
    from tlsgate.config.model import GatewayConfig
    from tlsgate.model.api import ApiDefinition

__all__ = ["build_gateway_url", "find_fault", "is_known_version", "put_server"]

_VERSION = re.compile(r"3\.[01](?:\.\d{1,3})?\Z")
_NO_COMPONENTS = "No components or security schemes present in OAS"
_MISSING = (
    "Missing required Security Scheme '{name}' in Components.SecuritySchemes. "
    "For more information please visit https://swagger.io/specification/#security-requirement-object"
)
_OPEN_ROOT = "x-tyk-streaming"
_OBJECTS, _LISTS = ("info", "paths", "components", "externalDocs"), ("servers", "security", "tags")
_METHODS = frozenset({"get", "put", "post", "delete", "options", "head", "patch", "trace"})


def is_known_version(version: str) -> bool:
    """Tell whether there is a schema for a version of OpenAPI: 3.0 and 3.1, with or without a third number."""
    return _VERSION.match(version) is not None


def find_fault(document: Tree) -> str:
    """Return what is wrong with a document that has the extension, empty for nothing."""
    version = document.get("openapi")
    if isinstance(version, str) and version and not is_known_version(version):
        shown = version if version.isprintable() and len(version) <= 40 else "..."
        return f'Schema not found for version "{shown}"'
    extension = section_of(document, EXTENSION_NAME)
    known = {*EXTENSION.folded, _OPEN_ROOT}
    for name in extension:
        if name.casefold() not in known:
            return f"{EXTENSION_NAME}: Additional property {name[:60]!a} is not allowed"
    return _find_form_fault(document) or _find_security_fault(document, extension)


def _find_form_fault(document: Tree) -> str:
    """Judge the shape of the OpenAPI part, as far as other tools that read it rely on it."""
    for names, kind, word in ((_OBJECTS, dict, "an object"), (_LISTS, list, "a list")):
        for name in names:
            if not isinstance(document.get(name), kind | None):
                return f"{name}: must be {word}"
    for path, item in (document.get("paths") or {}).items():
        if path.startswith("x-"):
            continue
        if not path.startswith("/"):
            return f"paths: {path[:60]!a} must begin with a slash"
        if not isinstance(item, dict):
            return f"paths.{path[:60]!a}: must be an object"
        for method, operation in item.items():
            if method in _METHODS and not isinstance(operation, dict):
                return f"paths.{path[:60]!a}.{method}: must be an object"
    return ""


def _find_security_fault(document: Tree, extension: Tree) -> str:
    required: list[str] = []
    for requirement in listed(document, "security"):
        required += list(requirement) if isinstance(requirement, dict) else []
    components = section_of(document, "components")
    schemes = section_of(components, "securitySchemes")
    if required and not schemes:
        return _NO_COMPONENTS
    for name in required:
        if name not in schemes:
            return _MISSING.format(name=name)
    login = section_of(extension, "server.authentication")
    if find_member(login, "enabled") is True and find_member(login, "securityProcessingMode") == "compliant":
        stated = {*required, *(name for names in listed(login, "security") if isinstance(names, list) for name in names)}
        on = [name for name, scheme in named(login, "securitySchemes") if find_member(scheme, "enabled") is True and name not in stated]
        if on:
            return f"invalid multi-auth configuration: {', '.join(sorted(on))} auth enabled but not configured in a security requirement"
    return ""


def build_gateway_url(api: ApiDefinition, config: GatewayConfig) -> str:
    """Return the address at which an API answers.

    Source: reference, section 3: domain, or host name, or listen address, or 127.0.0.1; the usual port is left out.
    """
    secure = api.protocol == "https" if api.listen_port and api.protocol else config.http.use_ssl
    host = api.domain or config.hostname or config.listen_address or "127.0.0.1"
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    port = api.listen_port or config.listen_port
    shown = f":{port}" if port and port != (443 if secure else 80) else ""
    return f"{'https' if secure else 'http'}://{host}{shown}{api.proxy.listen_path}"


def put_server(document: Tree, url: str, before: str = "") -> None:
    """Make an address the first of ``servers``, in place; other entries stay in their order.

    :param before: the address that an earlier write put there, which goes.
    """
    entries = [entry for entry in listed(document, "servers") if find_member(entry, "url") not in (url, before)]
    document["servers"] = [{"url": url}, *entries]
