"""Tests of `tlsgate.definitions.oas_upload` (API definitions reference, sections 3 and 15)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.definitions import accepted, classic, make_context, make_gateway_config, oas
from tlsgate.definitions.oas_upload import build_gateway_url, find_fault, is_known_version, put_server


@pytest.mark.parametrize(
    ("version", "known"),
    [("3.0", True), ("3.0.3", True), ("3.1", True), ("3.1.1", True), ("2.0", False), ("3.2.0", False), ("3.0.x", False), ("", False)],
)
def test_versions(version: str, known: bool) -> None:
    assert is_known_version(version) is known


def compliant(**login: Any) -> dict[str, Any]:
    return oas(server={"authentication": {"enabled": True, "securityProcessingMode": "compliant", **login}})


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        ({**oas(), "openapi": "4.0"}, 'Schema not found for version "4.0"'),
        ({**oas(), "openapi": "4" * 99}, 'Schema not found for version "..."'),
        (oas(extension={"unknown": 1}), "x-tyk-api-gateway: Additional property 'unknown' is not allowed"),
        ({**oas(), "info": 5}, "info: must be an object"),
        ({**oas(), "paths": []}, "paths: must be an object"),
        ({**oas(), "paths": {"pets": {}}}, "paths: 'pets' must begin with a slash"),
        ({**oas(), "paths": {"/pets": 5}}, "paths.'/pets': must be an object"),
        ({**oas(), "paths": {"/pets": {"get": []}}}, "paths.'/pets'.get: must be an object"),
        ({**oas(), "components": 5}, "components: must be an object"),
        ({**oas(), "servers": {}}, "servers: must be a list"),
        ({**oas(), "security": "text"}, "security: must be a list"),
        ({**oas(), "security": [{"a": []}]}, "No components or security schemes present in OAS"),
        (
            {**oas(), "security": [{"a": []}], "components": {"securitySchemes": {"b": {}}}},
            "Missing required Security Scheme 'a' in Components.SecuritySchemes. "
            "For more information please visit https://swagger.io/specification/#security-requirement-object",
        ),
        (
            compliant(securitySchemes={"b": {"enabled": True}, "a": {"enabled": True}, "off": {"enabled": False}}),
            "invalid multi-auth configuration: a, b auth enabled but not configured in a security requirement",
        ),
    ],
)
def test_faults(document: dict[str, Any], fault: str) -> None:
    assert find_fault(document) == fault


@pytest.mark.parametrize(
    "document",
    [
        oas(),
        oas(extension={"x-tyk-streaming": {}, "Middleware": {}}),
        {**oas(), "security": [{}]},
        {**oas(), "security": None, "components": None, "paths": {"x-mine": 5, "/pets": {"summary": "x", "get": {}}}},
        {**oas(), "security": [{"a": []}], "components": {"securitySchemes": {"a": {}}}},
        compliant(securitySchemes={"a": {"enabled": True}}, security=[["a"], "text"]),
        oas(server={"authentication": {"enabled": True, "securitySchemes": {"a": {"enabled": True}}}}),
    ],
)
def test_what_is_no_fault(document: dict[str, Any]) -> None:
    assert find_fault(document) == ""


@pytest.mark.parametrize(
    ("config", "members", "url"),
    [
        ({"listen_port": 8080}, {}, "http://127.0.0.1:8080/app/"),
        ({"listen_port": 80}, {}, "http://127.0.0.1/app/"),
        ({"listen_port": 443, "http_server_options": {"use_ssl": True}}, {}, "https://127.0.0.1/app/"),
        ({"listen_port": 0}, {}, "http://127.0.0.1/app/"),
        ({"listen_port": 80, "listen_address": "::1"}, {}, "http://[::1]/app/"),
        ({"listen_port": 80, "listen_address": "10.0.0.1", "hostname": "gw.test"}, {}, "http://gw.test/app/"),
        ({"listen_port": 80, "hostname": "gw.test", "enable_custom_domains": True}, {"domain": "api.test"}, "http://api.test/app/"),
        ({"disable_ports_whitelist": True}, {"listen_port": 9443, "protocol": "https"}, "https://127.0.0.1:9443/app/"),
    ],
)
def test_the_address_of_an_api(config: dict[str, Any], members: dict[str, Any], url: str) -> None:
    api = accepted(classic(**members), make_context(**config))
    assert build_gateway_url(api, make_gateway_config(**config)) == url


def test_the_address_comes_first_and_once() -> None:
    document: dict[str, Any] = {
        "servers": [{"url": "http://old/"}, {"url": "http://mine/", "description": "x"}, {"url": "http://new/"}, "text"]
    }
    put_server(document, "http://new/", "http://old/")
    assert document["servers"] == [{"url": "http://new/"}, {"url": "http://mine/", "description": "x"}, "text"]
    put_server(document, "http://new/")
    assert len(document["servers"]) == 3
