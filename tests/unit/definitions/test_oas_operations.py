"""Operations lead to path and method through the document's paths."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.definitions import accepted, oas, operations, refused, warned
from tlsgate.model.api import PathRule

PLACE = "x-tyk-api-gateway.middleware.operations"


def document(paths: object, **members: Any) -> dict[str, Any]:
    tree = oas(middleware={"operations": members})
    tree["paths"] = paths
    return tree


ALLOW = {"allow": {"enabled": True}}


def test_ids_lead_to_path_and_method() -> None:
    """Also those that Tyk makes where a document gives none: path without its first slash, and the method."""
    paths = {
        "/users/{id}": {"get": {"operationId": "one"}, "put": {}, "parameters": [], "summary": "x"},
        "/other": {"delete": {"operationId": ""}, "trace": {"operationId": 5}},
        "/odd": 5,
        "/null": {"get": None},
    }
    tree = document(paths, one=ALLOW, **{"users/{id}PUT": ALLOW, "otherDELETE": ALLOW, "otherTRACE": ALLOW})
    assert accepted(tree).version.white_list == (
        PathRule(path="/users/{id}", method="GET"),
        PathRule(path="/users/{id}", method="PUT"),
        PathRule(path="/other", method="DELETE"),
        PathRule(path="/other", method="TRACE"),
    )


@pytest.mark.parametrize(
    "members", [ALLOW, {"block": {"enabled": True}}, {"mockResponse": {"enabled": True}}, {"postPlugins": [{"enabled": True}]}]
)
def test_an_id_that_leads_nowhere_is_an_error(members: dict[str, Any]) -> None:
    """Tyk drops it: a block list would be open, and nobody would know."""
    assert "no operation of paths has this id" in refused(document({}, nowhere=members))[f"{PLACE}.nowhere"]


def test_an_id_that_leads_to_two_places_is_an_error() -> None:
    """OpenAPI asks for unique ids."""
    paths = {"/a": {"get": {"operationId": "one"}}, "/b": {"get": {"operationId": "one"}}}
    assert "more than one operation" in refused(document(paths, one=ALLOW))[f"{PLACE}.one"]
    accepted(document(paths))


@pytest.mark.parametrize("members", [{}, {"allow": {"enabled": False}}, {"allow": {}, "mockResponse": {"code": 5}}])
def test_an_id_that_does_nothing_may_lead_nowhere(members: dict[str, Any]) -> None:
    """It has no effect in any case."""
    assert warned(document({}, nowhere=members)) == {}


@pytest.mark.parametrize("paths", [5, [], "x"])
def test_odd_paths_are_none(paths: object) -> None:
    """Never an exception."""
    assert f"{PLACE}.one" in refused(document(paths, one=ALLOW))


@pytest.mark.parametrize(
    ("members", "path"),
    [
        ({"validateRequest": {"enabled": True}}, "validateRequest.enabled"),
        ({"circuitBreaker": {"enabled": True, "threshold": 0.5}}, None),
        ({"virtualEndpoint": {"enabled": True, "functionName": "f"}}, None),
        ({"postPlugins": [{"enabled": True, "path": "p"}]}, None),
        ({"urlRewrite": {"enabled": True, "rewriteTo": "tyk://self/x"}}, None),
        ({"mockResponse": {"enabled": True, "fromOASExamples": {"enabled": True}}}, "mockResponse.fromOASExamples"),
        ({"rateLimit": {"enabled": True, "rate": 5, "per": "x"}}, "rateLimit.per"),
        ({"allow": {"enabled": "yes"}}, "allow.enabled"),
        ({"requestSizeLimit": {"enabled": True, "value": -1}}, "requestSizeLimit.size_limit"),
    ],
)
def test_what_refuses_the_api(members: dict[str, Any], path: str | None) -> None:
    """Not active yet, or not well-formed."""
    problems = refused(operations(**members))
    if path is not None:
        assert f"{PLACE}.one.{path}" in problems


@pytest.mark.parametrize(
    "members",
    [
        {"validateRequest": {"enabled": False}},
        {"circuitBreaker": {"enabled": False}},
        {"rateLimit": {"enabled": False, "rate": 5, "per": "1s"}},
        {"rateLimit": {"enabled": True, "rate": 0}},
        {"virtualEndpoint": {"enabled": False}},
        {"postPlugins": [{"enabled": False}]},
    ],
)
def test_what_is_switched_off_does_not(members: dict[str, Any]) -> None:
    """And is not worth a word."""
    assert warned(operations(**members)) == {}


def test_places_of_problems_are_in_the_document() -> None:
    """Each entry knows the operation that it came from."""
    problems = refused(operations(transformRequestHeaders={"enabled": True, "add": [{"name": "a b", "value": "x"}]}))
    assert list(problems) == [f"{PLACE}.one.transformRequestHeaders.add_headers.a b"]
