"""Tests of `tlsgate.definitions.json_schema`: our schemas as JSON Schema, checked by a validator that is not ours."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest

from tests.support.gateway import oas
from tlsgate.config.schema import ANY, DURATION, FLAG, FREE, INTEGER, NUMBER, TEXT, TEXTS, object_of
from tlsgate.definitions.json_schema import build_document_schema, build_json_schema


def test_each_kind_of_schema() -> None:
    members = {"a": TEXT, "b": FLAG, "c": INTEGER, "d": NUMBER, "e": DURATION, "f": ANY, "g": TEXTS, "h": FREE}
    assert build_json_schema(object_of({"in": object_of(members)}), {".in": ["a"]}) == {
        "type": "object",
        "properties": {
            "in": {
                "type": "object",
                "required": ["a"],
                "properties": {
                    "a": {"type": "string"},
                    "b": {"type": "boolean"},
                    "c": {"type": "integer"},
                    "d": {"type": "number"},
                    "e": {"type": ["string", "number"]},
                    "f": {},
                    "g": {"type": "array", "items": {"type": "string"}},
                    "h": {"type": "object", "additionalProperties": {}},
                },
            }
        },
    }


def document(**extension: Any) -> dict[str, Any]:
    return oas("x", 9, "/x/", **extension)


@pytest.mark.parametrize("version", ["3.0", "3.1"])
def test_documents_that_load_are_valid(version: str) -> None:
    validator = jsonschema_rs.validator_for(build_document_schema(version))
    good = {**document(**{"x-tyk-streaming": {}}), "openapi": f"{version}.1"}
    assert validator.is_valid(good)
    assert not validator.is_valid({**good, "openapi": "2.0"})
    assert not validator.is_valid({name: value for name, value in good.items() if name != "x-tyk-api-gateway"})


@pytest.mark.parametrize("extension", [{"unknown": 1}, {"server": {"listenPath": {"value": 5}}}, {"upstream": "text"}])
def test_documents_that_do_not_are_not(extension: dict[str, Any]) -> None:
    tree = document()
    tree["x-tyk-api-gateway"].update(extension)
    assert not jsonschema_rs.validator_for(build_document_schema("3.0")).is_valid(tree)
