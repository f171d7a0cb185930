"""Tests of `tlsgate.control.description`: the description and the table of endpoints say the same."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.described import METHODS, described_operations
from tests.support.memory_gateway import MemoryGateway
from tlsgate import __version__
from tlsgate.control.description import load_description
from tlsgate.control.endpoints import ControlTools, build_endpoints
from tlsgate.control.routes import ControlRoutes

SECRET = "a-secret-of-32-characters-0123456"


def build(**config: Any) -> tuple[MemoryGateway, tuple[Any, ...]]:
    gateway = MemoryGateway(secret=SECRET, **config)

    async def reload() -> str:
        return ""

    endpoints = build_endpoints(ControlTools(gateway.config, gateway.site, gateway.state, gateway.clock, reload))
    gateway.site.control = ControlRoutes(gateway.site, gateway.config, endpoints)
    return gateway, endpoints


def test_every_endpoint_is_described_and_nothing_else() -> None:
    """Methods and paths of the table are exactly those of the description."""
    _, endpoints = build()
    assert {(entry.method, entry.path) for entry in endpoints} == described_operations()


def test_each_operation_says_what_can_come() -> None:
    """An id of its own, the two answers without which none is, and a name for each part of its path."""
    seen = set()
    for path, item in load_description()["paths"].items():
        for method, operation in item.items():
            assert method in METHODS
            assert operation["operationId"] not in seen
            seen.add(operation["operationId"])
            if path.startswith("/tyk/"):
                assert {"403", "503"} <= operation["responses"].keys(), path
            if "requestBody" in operation:
                assert "413" in operation["responses"], path
            named = {entry["name"] for entry in operation.get("parameters", ()) if entry["in"] == "path"}
            assert named == {part[1:-1] for part in path.split("/") if part.startswith("{")}


def test_references_lead_somewhere() -> None:
    """Each $ref names a component."""
    description = load_description()
    text = json.dumps(description)
    for part in text.split('"$ref": "#/')[1:]:
        found: Any = description
        for name in part.partition('"')[0].split("/"):
            found = found[name]


@pytest.mark.parametrize(("config", "names"), [({}, {"/hello", "/ready"}), ({"health_check_endpoint_name": "alive"}, {"/alive", "/ready"})])
def test_it_is_served_with_the_names_of_this_gateway(config: dict[str, Any], names: set[str]) -> None:
    """Only with the secret; version and health endpoints are those of this gateway."""
    gateway, _ = build(**config)
    head = "GET /tyk/openapi.json HTTP/1.1\r\nHost: a\r\n"
    assert gateway.ask(f"{head}\r\n".encode()).status == 403
    channel, transport = gateway.connect()
    channel.dataReceived(f"{head}X-Tyk-Authorization: {SECRET}\r\n\r\n".encode())
    gateway.reactor.advance(0)
    served = json.loads(transport.value().partition(b"\r\n\r\n")[2])
    assert served["openapi"] == "3.1.0"
    assert served["info"]["version"] == __version__
    assert {path for path in served["paths"] if not path.startswith("/tyk/")} == names
