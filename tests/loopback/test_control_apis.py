"""Definitions in Classic form over real HTTP: every endpoint and error row of the reference, hostile bodies, places and files.

Source: API definitions reference, section 3; keys reference, section 11; decisions 1.8, 4.6, 4.7.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import Client, Gateway, Response, StrictUpstream, classic, free_port, oas, running_gateway

SECRET = "test-secret-of-32-characters-xxxx"
FAILED = "Validation of API Definition failed. Reason: "


class Control:
    """Calls to the control API of a gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.port = gateway.port_of("control")

    def ask(self, method: str, target: str, body: Any = None, *, secret: str | None = SECRET) -> Response:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        headers = [("X-Tyk-Authorization", secret)] if secret is not None else []
        with Client(self.port, tls=False) as client:
            return client.request(method, target, headers=headers, body=data)

    def tree(self, method: str, target: str, body: Any = None) -> Any:
        response = self.ask(method, target, body)
        assert response.status == 200, response
        assert response.headers["content-type"] == "application/json"
        assert response.body.endswith(b"\n")
        return json.loads(response.body)

    def fault(self, method: str, target: str, body: Any = None) -> tuple[int, str]:
        response = self.ask(method, target, body)
        found = json.loads(response.body)
        assert found.keys() == {"status", "message"}
        assert found["status"] == "error"
        return response.status, found["message"]

    def reload(self) -> str:
        return str(self.tree("GET", "/tyk/reload?block=true")["message"])

    def served(self, path: str) -> int:
        with Client(self.gateway.port, tls=False) as client:
            return client.request("GET", path).status


@pytest.fixture(scope="module")
def upstream() -> Iterator[StrictUpstream]:
    with StrictUpstream() as running:
        yield running


@pytest.fixture
def control(tmp_path: Path, upstream: StrictUpstream) -> Iterator[Control]:
    with running_gateway(tmp_path, classic("one", upstream.port, "/one/"), oas("doc", upstream.port, "/doc/")) as gateway:
        yield Control(gateway)


def test_an_api_from_its_creation_to_its_end(control: Control, upstream: StrictUpstream) -> None:
    """Nothing is live before a reload; what was posted is what is returned; a change and a removal take effect the same way."""
    tree = {**classic("two", upstream.port, "/deux/"), "Unknown": {"deep": [1, 2.5, None, "é"]}}
    assert control.tree("POST", "/tyk/apis", tree) == {"key": "two", "status": "ok", "action": "added"}
    assert control.served("/deux/") == 404
    assert control.fault("GET", "/tyk/apis/two") == (404, "API not found")
    assert control.reload() == ""
    assert control.served("/deux/") == 200
    assert control.tree("GET", "/tyk/apis/two") == tree
    assert [entry["api_id"] for entry in control.tree("GET", "/tyk/apis")] == ["doc", "one", "two"]
    assert control.tree("GET", "/tyk/apis/two/versions")["apis"][0]["id"] == "two"
    moved = classic("two", upstream.port, "/zwei/")
    assert control.tree("PUT", "/tyk/apis/two", moved)["action"] == "modified"
    assert control.served("/deux/") == 200
    control.reload()
    assert (control.served("/deux/"), control.served("/zwei/")) == (404, 200)
    assert control.tree("DELETE", "/tyk/apis/two") == {"key": "two", "status": "ok", "action": "deleted"}
    assert control.served("/zwei/") == 200
    assert control.fault("DELETE", "/tyk/apis/two") == (500, "Delete failed")
    control.reload()
    assert control.served("/zwei/") == 404
    assert not (control.gateway.apps / "two.json").exists()


def test_who_may_ask(control: Control) -> None:
    """The secret comes before path and method; a trailing slash does not count; a wrong method is 405, no such path 404."""
    for secret in (None, "", "wrong", "352d20ee67be67f6340b4c0605b044b7"):
        for method, target in (("GET", "/tyk/apis"), ("PATCH", "/tyk/apis"), ("GET", "/tyk/none"), ("GET", "/tyk/openapi.json")):
            response = control.ask(method, target, secret=secret)
            assert response.status == 403
            assert json.loads(response.body)["message"] == "Attempted administrative access with invalid or missing key!"
    assert control.tree("GET", "/tyk/apis/") == control.tree("GET", "/tyk/apis")
    for method in ("PUT", "DELETE", "PATCH"):
        assert control.fault(method, "/tyk/apis", {}) == (405, "Method not supported")
    assert control.fault("PATCH", "/tyk/apis/one", {}) == (405, "Method not supported")
    response = control.ask("GET", "/tyk/apis/one/none")
    assert (response.status, response.body) == (404, b"Not Found")
    # Not on the port of the APIs.
    assert control.served("/tyk/apis") == 404


def test_error_rows(control: Control) -> None:
    """Each row of the reference that a Classic call can meet."""
    mismatch = "Request APIID does not match that in Definition! For Update operations these must match."
    form = "this API endpoint only supports Tyk Classic APIs; please use the appropriate Tyk OAS API endpoint"
    good = classic("one", 9, "/one/")
    rows: list[tuple[str, str, Any, int, str]] = [
        ("POST", "/tyk/apis", b"{", 400, "Request malformed"),
        ("PUT", "/tyk/apis/one", b"[]", 400, "Request malformed"),
        ("POST", "/tyk/apis", classic("a/b", 9, "/x/"), 400, "Invalid API ID"),
        ("PUT", "/tyk/apis/one", {**good, "api_id": "two"}, 400, mismatch),
        ("GET", "/tyk/apis/none", None, 404, "API not found"),
        ("PUT", "/tyk/apis/none", good, 404, "API not found"),
        ("DELETE", "/tyk/apis/none", None, 404, "API not found"),
        ("GET", "/tyk/apis/none/versions", None, 404, "API not found"),
        ("PUT", "/tyk/apis/doc", classic("doc", 9, "/doc/"), 400, form),
        ("POST", "/tyk/apis", classic("new", 9, "/doc/"), 400, f"{FAILED}listen path already used by doc"),
        ("PUT", "/tyk/apis/one", classic("one", 9, "/doc/"), 400, f"{FAILED}listen path already used by doc"),
        ("POST", "/tyk/apis", {**good, "allowed_ips": ["x"]}, 400, f'{FAILED}invalid IP/CIDR "x".'),
        ("POST", "/tyk/apis?base_api_id=one", classic("v", 9, "/v/"), 422, "The new version name is required"),
        ("POST", "/tyk/apis?base_api_id=no&new_version_name=v", classic("v", 9, "/v/"), 400, "no is not a valid Base API version"),
        (
            "POST",
            "/tyk/apis?base_api_id=one&new_version_name=v",
            classic("v", 9, "/v/"),
            400,
            "you need to provide a version name for the new Base API: one",
        ),
    ]
    before = sorted(path.name for path in control.gateway.apps.iterdir())
    for method, target, body, status, message in rows:
        assert control.fault(method, target, body) == (status, message), (method, target)
    assert sorted(path.name for path in control.gateway.apps.iterdir()) == before


HOSTILE: tuple[bytes, ...] = (
    b"",
    b"null",
    b"\xff\xfe{}",
    b"[" * 200_000,
    b'{"a":' * 200_000,
    b'{"api_id":"x","api_id":"y"}',
    b'{"api_id":"\\ud800"}',
    b'{"n":' + b"9" * 5000 + b"}",
    b'{"n":1e999}',
    b'{"n":NaN}',
    json.dumps(classic("x", "file:///etc/passwd", "/x/")).encode(),
    json.dumps(classic("x", "http://[::1", "/x/")).encode(),
    json.dumps({**classic("x", 9, "/x/"), "listen_port": 22}).encode(),
    json.dumps(classic("x", 9, "/x/{a:(}/")).encode(),
    json.dumps(classic("../../etc/cron.d/x", 9, "/x/")).encode(),
    json.dumps({**classic("x", 9, "/x/"), "x-tlsgate": {"resource": "os:system"}}).encode(),
    json.dumps({**classic("x", 9, "/x/"), "x-tlsgate": {"unknown": 1}}).encode(),
    json.dumps({**classic("x", 9, "/x/"), "proxy": 5}).encode(),
    json.dumps({**classic("x", 9, "/x/"), "api_id": ["x"]}).encode(),
)


@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_bodies_are_refused_and_leave_nothing(control: Control, body: bytes) -> None:
    """400 with a message, no file, no trace in the log (looked at when the gateway ends), and it goes on serving."""
    before = sorted(path.name for path in control.gateway.apps.iterdir())
    for method, target in (("POST", "/tyk/apis"), ("POST", "/tyk/apis/x"), ("PUT", "/tyk/apis/one")):
        status, message = control.fault(method, target, body)
        assert status == 400
        assert message
        assert "Traceback" not in message
    assert sorted(path.name for path in control.gateway.apps.iterdir()) == before
    assert control.served("/one/") == 200


def test_a_body_without_end_is_cut(tmp_path: Path) -> None:
    """413 at the limit of the control API."""
    with running_gateway(tmp_path, tlsgate={"limits": {"control_body_bytes": 1000}}) as gateway:
        control = Control(gateway)
        assert control.fault("POST", "/tyk/apis", b"x" * 1001) == (413, "Request Entity Too Large")


def test_references_that_grant_nothing_are_named_and_files_are_not_told(control: Control) -> None:
    """Decisions 1.8: the definition is taken; header lines warn; a caller cannot find out which files there are, by a reload neither."""
    there = control.gateway.folder / "there.pem"
    there.write_text("no certificate")
    told = []
    for reference in (str(there), str(control.gateway.folder / "missing.pem")):
        tree = classic("m", 9, "/m/", use_mutual_tls_auth=True, client_certificates=[reference])
        posted = control.ask("POST", "/tyk/apis", tree)
        assert posted.status == 200
        message = control.reload()
        read = control.ask("GET", "/tyk/apis/m")
        assert json.loads(read.body) == tree
        assert "client_certificates[0]: a certificate or key cannot be used" in read.headers["x-tlsgate-warning"]
        told.append((posted.headers["x-tlsgate-warning"], message, read.headers["x-tlsgate-warning"]))
    assert told[0] == told[1]


def test_a_mounted_resource_follows_the_allow_list(tmp_path: Path) -> None:
    """A PUT imports nothing that the configuration does not name; a named one is served after the reload."""
    allowed = "tests.support.wire_site"
    with running_gateway(tmp_path, classic("one", 9, "/one/"), tlsgate={"resources": ["twisted.web.static"]}) as gateway:
        control = Control(gateway)
        status, message = control.fault("PUT", "/tyk/apis/one", classic("one", 9, "/one/", **{"x-tlsgate": {"resource": f"{allowed}:x"}}))
        assert status == 400
        assert "x-tlsgate.resource: its module is not allowed" in message
        status, message = control.fault(
            "PUT", "/tyk/apis/one", classic("one", 9, "/one/", **{"x-tlsgate": {"resource": "twisted.web.static:nothing"}})
        )
        assert status == 400
        assert "cannot be imported" in message


def test_a_long_list_streams_beside_traffic(tmp_path: Path, upstream: StrictUpstream) -> None:
    """Thousands of definitions arrive whole while the proxy goes on answering on another connection."""
    apis = [classic(f"api{number:04}", upstream.port, f"/{number}/", config_data={"x": "y" * 1000}) for number in range(1500)]
    with running_gateway(tmp_path, *apis) as gateway:
        control = Control(gateway)
        with Client(control.port, tls=False) as reader, Client(gateway.port, tls=False) as client:
            reader.send(f"GET /tyk/apis HTTP/1.1\r\nHost: a\r\nX-Tyk-Authorization: {SECRET}\r\n\r\n".encode())
            head = reader.read_until(b"\r\n\r\n")
            assert b"200 OK" in head and b"chunked" in head.lower()
            # The list is not read any further: it waits, and nothing waits for it.
            for _ in range(20):
                assert client.request("GET", "/7/").status == 200
            body, _ = reader._read_chunked()
        assert [entry["api_id"] for entry in json.loads(body)] == [api["api_id"] for api in apis]


@pytest.mark.parametrize(("secret", "words"), [("", "an empty secret"), ("352d20ee67be67f6340b4c0605b044b7", "which everybody knows")])
def test_weak_secrets_stop_the_start(tmp_path: Path, secret: str, words: str) -> None:
    """Decisions 4.4: outside of development mode neither an empty nor the published secret."""
    config = {"listen_port": free_port(), "listen_address": "127.0.0.1", "secret": secret, "app_path": str(tmp_path)}
    gateway = Gateway(tmp_path, config)
    with pytest.raises(AssertionError, match=words):
        gateway.start()
    assert gateway.process is not None
    assert gateway.process.wait(10) != 0
    gateway.close()


def test_the_control_api_has_a_host(tmp_path: Path, upstream: StrictUpstream) -> None:
    """`control_api_hostname`: 404 elsewhere, whatever the secret; with it on the port of the APIs."""
    with (
        running_gateway(tmp_path, classic("one", upstream.port, "/one/"), control_api_port=0, control_api_hostname="admin.test") as gateway,
        Client(gateway.port, tls=False) as client,
    ):
        for host, status in (("admin.test", 200), ("other.test", 404)):
            got = client.request("GET", "/tyk/apis", host=host, headers=[("X-Tyk-Authorization", SECRET)])
            assert got.status == status
        assert client.request("GET", "/one/", host="other.test").status == 200
