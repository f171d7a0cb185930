"""Builders of definitions in both forms, and of what they are read against."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from tlsgate.config.load import build_stores, parse_config
from tlsgate.config.model import GatewayConfig
from tlsgate.definitions.classic import Context
from tlsgate.definitions.loader import parse_definition
from tlsgate.errors import Problem
from tlsgate.model.api import ApiDefinition

SECRET = "a-long-random-text-of-the-tests"


def make_gateway_config(environ: Mapping[str, str] | None = None, **members: Any) -> GatewayConfig:
    """The configuration of a tree with a good secret."""
    return parse_config({"secret": SECRET, **members}, "tyk.conf", environ or {}).config


def make_context(environ: Mapping[str, str] | None = None, **members: Any) -> Context:
    """What definitions are read against; members are those of tyk.conf."""
    config = make_gateway_config(environ, **members)
    return Context(config, build_stores(config, environ or {}))


def classic(**members: Any) -> dict[str, Any]:
    """A keyless Classic definition; ``proxy`` and ``version`` are merged."""
    proxy = {"listen_path": "/app/", "target_url": "http://up.test:8000/", **members.pop("proxy", {})}
    version = members.pop("version", None)
    tree: dict[str, Any] = {"api_id": "app", "name": "App", "active": True, "use_keyless": True, "proxy": proxy, **members}
    if version is not None:
        tree["version_data"] = {"not_versioned": True, "versions": {"Default": {"name": "Default", "use_extended_paths": True, **version}}}
    return tree


def extended(**lists: Any) -> dict[str, Any]:
    """A keyless Classic definition with ``extended_paths``."""
    return classic(version={"extended_paths": lists})


def oas(
    *,
    info: dict[str, Any] | None = None,
    upstream: dict[str, Any] | None = None,
    server: dict[str, Any] | None = None,
    middleware: dict[str, Any] | None = None,
    paths: dict[str, Any] | None = None,
    extension: dict[str, Any] | None = None,
    **root: Any,
) -> dict[str, Any]:
    """A keyless OAS document, with its authentication switched off in so many words."""
    made: dict[str, Any] = {
        "info": {"id": "app", "name": "App", "state": {"active": True}, **(info or {})},
        "upstream": {"url": "http://up.test:8000/", **(upstream or {})},
        "server": {"listenPath": {"value": "/app/"}, "authentication": {"enabled": False}, **(server or {})},
        **(extension or {}),
    }
    if middleware is not None:
        made["middleware"] = middleware
    return {
        "openapi": "3.0.3",
        "info": {"title": "App", "version": "1"},
        "paths": paths or {},
        "components": {},
        "x-tyk-api-gateway": made,
        **root,
    }


def operations(**members: Any) -> dict[str, Any]:
    """A keyless document with one operation, ``GET /a/{id}``, that has these members."""
    paths = {"/a/{id}": {"get": {"operationId": "one", "responses": {}}, "parameters": []}}
    return oas(paths=paths, middleware={"operations": {"one": members}})


def parse(tree: dict[str, Any], context: Context | None = None) -> tuple[ApiDefinition | None, list[Problem]]:
    """Read a definition, and check that reading did not change it."""
    before = copy.deepcopy(tree)
    api, problems = parse_definition(tree, "app.json", context or make_context())
    assert tree == before
    assert (api is None) == any(problem.severity == "error" for problem in problems)
    return api, problems


def accepted(tree: dict[str, Any], context: Context | None = None) -> ApiDefinition:
    """Read a definition that must be good."""
    api, problems = parse(tree, context)
    assert api is not None, problems
    return api


def refused(tree: dict[str, Any], context: Context | None = None) -> dict[str, str]:
    """Read a definition that must be refused; the messages of its errors by path."""
    api, problems = parse(tree, context)
    assert api is None
    return {problem.path: problem.message for problem in problems if problem.severity == "error"}


def warned(tree: dict[str, Any], context: Context | None = None) -> dict[str, str]:
    """Read a definition that must be good; the messages of its warnings by path."""
    api, problems = parse(tree, context)
    assert api is not None, problems
    return {problem.path: problem.message for problem in problems}
