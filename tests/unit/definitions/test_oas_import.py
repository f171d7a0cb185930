"""Tests of `tlsgate.definitions.oas_import` (API definitions reference, section 3)."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tlsgate.definitions.oas_import import apply_options, import_document

PLAIN: dict[str, Any] = {
    "openapi": "3.0.3",
    "info": {"title": "Pets", "version": "1"},
    "servers": [{"url": "https://up.test/v1"}],
    "paths": {"/pets/{id}": {"get": {"operationId": "dotted.id"}, "delete": {}, "summary": "x"}, "/odd": 5},
    "security": [{"key": []}],
    "components": {
        "securitySchemes": {
            "key": {"type": "apiKey", "in": "query", "name": "k"},
            "jwt": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
        }
    },
}


def extension(**options: str) -> dict[str, Any]:
    made: dict[str, Any] = import_document(PLAIN, options)["x-tyk-api-gateway"]
    return made


def test_defaults() -> None:
    before = copy.deepcopy(PLAIN)
    assert extension() == {
        "info": {"name": "Pets", "state": {"active": True}},
        "upstream": {"url": "https://up.test/v1"},
        "server": {"listenPath": {"value": "/", "strip": True}},
        "middleware": {"global": {"contextVariables": {"enabled": True}, "trafficLogs": {"enabled": True}}},
    }
    assert before == PLAIN


def test_options() -> None:
    made = extension(
        upstreamURL="http://other.test",
        listenPath="/pets/",
        customDomain="pets.test",
        apiID="pets",
        authentication="true",
        securityProcessingMode="compliant",
    )
    assert made["info"]["id"] == "pets"
    assert made["upstream"]["url"] == "http://other.test"
    assert made["server"] == {
        "listenPath": {"value": "/pets/", "strip": True},
        "customDomain": {"enabled": True, "name": "pets.test"},
        "authentication": {
            "enabled": True,
            "securitySchemes": {"key": {"enabled": True, "query": {"enabled": True, "name": "k"}}},
            "securityProcessingMode": "compliant",
        },
    }


@pytest.mark.parametrize(
    ("option", "member"), [("allowList", "allow"), ("validateRequest", "validateRequest"), ("mockResponse", "mockResponse")]
)
def test_options_of_each_operation(option: str, member: str) -> None:
    """An operation without an id gets Tyk's; an id may hold dots."""
    document = import_document(PLAIN, {option: "true"})
    operations = document["x-tyk-api-gateway"]["middleware"]["operations"]
    assert set(operations) == {"dotted.id", "pets/{id}DELETE"}
    assert all(operation[member]["enabled"] is True for operation in operations.values())
    assert document["paths"]["/pets/{id}"]["delete"]["operationId"] == "pets/{id}DELETE"
    apply_options(document, {option: "false"})
    assert all(operation[member]["enabled"] is False for operation in operations.values())


def test_authentication_can_be_stated_as_off() -> None:
    assert extension(authentication="false")["server"]["authentication"] == {"enabled": False}


def test_other_schemes_are_read_from_the_authorization_header() -> None:
    document = import_document({**PLAIN, "security": [{"jwt": [], "missing": []}]}, {"authentication": "1"})
    schemes = document["x-tyk-api-gateway"]["server"]["authentication"]["securitySchemes"]
    assert schemes == {"jwt": {"enabled": True, "header": {"enabled": True, "name": "Authorization"}}, "missing": {"enabled": True}}


@pytest.mark.parametrize("servers", [None, [], [{}], [{"url": "/relative"}], [{"url": 5}], [5], "text"])
def test_without_an_upstream_nothing_is_imported(servers: Any) -> None:
    with pytest.raises(ValueError, match="there is no upstream"):
        import_document({**PLAIN, "servers": servers}, {})


@pytest.mark.parametrize("info", [None, {}, {"title": 5}])
def test_a_document_without_a_title_has_a_blank_name(info: Any) -> None:
    """Which loading refuses."""
    assert import_document({**PLAIN, "info": info}, {})["x-tyk-api-gateway"]["info"]["name"] == ""


def schemes_of(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["x-tyk-api-gateway"]["server"]["authentication"]["securitySchemes"]
    return found


def test_compliant_documents_switch_on_what_any_requirement_names() -> None:
    """Legacy ones what the first one does; each in the place that its component says."""
    components = {
        "key": {"type": "apiKey", "in": "cookie", "name": "sid"},
        "users": {"type": "http", "scheme": "basic"},
        "odd": {"type": "apiKey"},
    }
    plain = {**PLAIN, "security": [{"key": []}, 5, {"users": [], "key": []}, {"odd": []}], "components": {"securitySchemes": components}}
    key = {"enabled": True, "cookie": {"enabled": True, "name": "sid"}}
    header = {"enabled": True, "header": {"enabled": True, "name": "Authorization"}}
    assert schemes_of(import_document(plain, {"authentication": "true"})) == {"key": key}
    options = {"authentication": "true", "securityProcessingMode": "compliant"}
    assert schemes_of(import_document(plain, options)) == {"key": key, "users": header, "odd": header}


def test_a_scheme_that_is_described_already_keeps_what_it_says() -> None:
    """A PATCH switches it on, and derives only what is new; the mode that the document has counts."""
    document = import_document(PLAIN, {"securityProcessingMode": "compliant"})
    document["security"] = [{"key": []}, {"jwt": []}]
    held = {"enabled": False, "query": {"enabled": True, "name": "k"}, "header": {"enabled": True, "name": "X-Key"}}
    document["x-tyk-api-gateway"]["server"]["authentication"]["securitySchemes"] = {"key": held, "other": {"enabled": True}}
    apply_options(document, {"authentication": "true"})
    assert schemes_of(document) == {
        "key": {**held, "enabled": True},
        "other": {"enabled": True},
        "jwt": {"enabled": True, "header": {"enabled": True, "name": "Authorization"}},
    }
