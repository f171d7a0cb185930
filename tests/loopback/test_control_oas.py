"""Definitions as Tyk OAS documents over real HTTP: every endpoint and error row. Source: API definitions reference, sections 3 and 15."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.loopback.test_control_apis import Control
from tests.support.gateway import StrictUpstream, classic, oas, running_gateway

PLAIN: dict[str, Any] = {
    "openapi": "3.0.3",
    "info": {"title": "Pets", "version": "1"},
    "paths": {"/pets": {"get": {"operationId": "list", "responses": {}}}},
}


@pytest.fixture(scope="module")
def upstream() -> Iterator[StrictUpstream]:
    with StrictUpstream() as running:
        yield running


@pytest.fixture
def control(tmp_path: Path, upstream: StrictUpstream) -> Iterator[Control]:
    with running_gateway(tmp_path, classic("one", upstream.port, "/one/"), oas("doc", upstream.port, "/doc/")) as gateway:
        yield Control(gateway)


def test_a_document_from_its_creation_to_its_end(control: Control, upstream: StrictUpstream) -> None:
    """Both files; the Classic twin shows the mapped fields; PATCH, PUT and DELETE take effect with a reload."""
    document = {**oas("new", upstream.port, "/nouveau/"), "x-mine": {"a": [None]}}
    assert control.tree("POST", "/tyk/apis/oas", document) == {"key": "new", "status": "ok", "action": "added"}
    assert {"new.json", "new-oas.json"} <= {path.name for path in control.gateway.apps.iterdir()}
    assert control.served("/nouveau/") == 404
    assert control.reload() == ""
    assert control.served("/nouveau/") == 200
    read = control.tree("GET", "/tyk/apis/oas/new")
    assert read.pop("servers")[0]["url"].endswith("/nouveau/")
    assert read == document
    twin = control.tree("GET", "/tyk/apis/new")
    assert (twin["is_oas"], twin["use_keyless"], twin["proxy"]["listen_path"]) == (True, True, "/nouveau/")
    assert len(control.tree("GET", "/tyk/apis/oas")) == 2
    assert control.tree("PATCH", "/tyk/apis/oas/new?listenPath=/neu/", PLAIN)["action"] == "modified"
    control.reload()
    assert (control.served("/nouveau/"), control.served("/neu/")) == (404, 200)
    assert control.tree("GET", "/tyk/apis/oas/new")["info"]["title"] == "Pets"
    assert control.tree("PUT", "/tyk/apis/oas/new", document)["action"] == "modified"
    control.reload()
    assert control.served("/nouveau/") == 200
    assert control.tree("GET", "/tyk/apis/oas/new/versions")["status"] == "success"
    assert control.tree("DELETE", "/tyk/apis/oas/new")["action"] == "deleted"
    control.reload()
    assert control.served("/nouveau/") == 404
    assert not {"new.json", "new-oas.json"} & {path.name for path in control.gateway.apps.iterdir()}


def test_a_plain_document_becomes_an_api(control: Control, upstream: StrictUpstream) -> None:
    """With the allow list on, only its operations are served."""
    query = f"upstreamURL=http://127.0.0.1:{upstream.port}&listenPath=/imp/&apiID=imp&allowList=true&authentication=false"
    assert control.tree("POST", f"/tyk/apis/oas/import?{query}", PLAIN)["key"] == "imp"
    assert control.reload() == ""
    assert (control.served("/imp/pets"), control.served("/imp/other")) == (200, 403)


def test_exports_and_schema(control: Control) -> None:
    for target, name in (("export", "TykOasApiDef"), ("doc/export", "TykOasApiDef-doc"), ("doc/export?mode=public", "oas-doc")):
        response = control.ask("GET", f"/tyk/apis/oas/{target}")
        assert response.status == 200
        assert response.headers["content-disposition"] == f'attachment; filename="{name}.json"'
        assert ("x-tyk-api-gateway" in json.dumps(json.loads(response.body))) is ("public" not in target)
    assert control.tree("GET", "/tyk/schema")["status"] == "Success"
    response = control.ask("GET", "/tyk/schema?oasVersion=x")
    assert (response.status, json.loads(response.body)) == (404, {"status": "Failed", "message": 'Schema not found for version "x"'})


def test_error_rows(control: Control) -> None:
    """Each row of the reference that a call about documents can meet."""
    doc, one = oas("doc", 9, "/doc/"), oas("one", 9, "/one/")
    secured = {**doc, "security": [{"a": []}]}
    login = {"authentication": {"enabled": True, "securityProcessingMode": "compliant", "securitySchemes": {"a": {"enabled": True}}}}
    wrong_form = "the supplied API definition is in OAS format, please use the Tyk classic format for this API"
    mismatch = "Request APIID does not match that in Definition! For Update operations these must match."
    needed = "the payload should contain x-tyk-api-gateway"
    rows: list[tuple[str, str, Any, int, str]] = [
        ("POST", "/tyk/apis/oas", b"{", 400, "request malformed"),
        ("POST", "/tyk/apis/oas/import", b"5", 400, "request malformed"),
        ("POST", "/tyk/apis/oas", PLAIN, 400, needed),
        ("PUT", "/tyk/apis/oas/doc", PLAIN, 400, needed),
        ("POST", "/tyk/apis/oas/import", doc, 400, "the import payload should not contain x-tyk-api-gateway"),
        ("POST", "/tyk/apis/oas", oas("..", 9, "/x/"), 400, "Invalid API ID"),
        ("PUT", "/tyk/apis/oas/doc", one, 400, mismatch),
        ("PUT", "/tyk/apis/oas/one", one, 400, wrong_form),
        ("PATCH", "/tyk/apis/oas/one", PLAIN, 400, wrong_form),
        ("GET", "/tyk/apis/oas/one", None, 400, "the requested API definition is in Tyk classic format, please use old api endpoint"),
        ("GET", "/tyk/apis/oas/none", None, 404, "API not found"),
        ("PUT", "/tyk/apis/oas/none", doc, 404, "API not found"),
        ("PATCH", "/tyk/apis/oas/none", PLAIN, 404, "API not found"),
        ("DELETE", "/tyk/apis/oas/none", None, 404, "API not found"),
        ("GET", "/tyk/apis/oas/none/export", None, 404, "API not found"),
        ("POST", "/tyk/apis/oas", {**doc, "openapi": "2.0"}, 400, 'Schema not found for version "2.0"'),
        ("POST", "/tyk/apis/oas", secured, 400, "No components or security schemes present in OAS"),
        (
            "POST",
            "/tyk/apis/oas",
            {**secured, "components": {"securitySchemes": {"b": {}}}},
            400,
            "Missing required Security Scheme 'a' in Components.SecuritySchemes. "
            "For more information please visit https://swagger.io/specification/#security-requirement-object",
        ),
        (
            "POST",
            "/tyk/apis/oas",
            oas("new", 9, "/new/", server=login),
            400,
            "invalid multi-auth configuration: a auth enabled but not configured in a security requirement",
        ),
        ("POST", "/tyk/apis/oas?base_api_id=doc", oas("v", 9, "/v/"), 422, "The new version name is required"),
        ("PUT", "/tyk/apis/oas", doc, 405, "Method not supported"),
        ("DELETE", "/tyk/apis/oas", None, 405, "Method not supported"),
    ]
    for method, target, body, status, message in rows:
        assert control.fault(method, target, body) == (status, message), (method, target)


def test_a_dashboard_owns_its_definitions(tmp_path: Path) -> None:
    with running_gateway(tmp_path, oas("doc", 9, "/doc/"), use_db_app_configs=True) as gateway:
        control = Control(gateway)
        words = "Due to enabled use_db_app_configs, please use the Dashboard API"
        assert control.fault("POST", "/tyk/apis/oas", oas("new", 9, "/new/")) == (500, words)
        assert control.fault("DELETE", "/tyk/apis/doc") == (500, words)
        assert control.tree("GET", "/tyk/apis/oas/doc")["info"]["title"] == "doc"
