"""Tests of `tlsgate.control.apis` (API definitions reference, section 3; decisions 4.7)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.control_desk import ControlDesk
from tests.support.gateway import classic, oas

MISMATCH = "Request APIID does not match that in Definition! For Update operations these must match."
CLASSIC_ONLY = "this API endpoint only supports Tyk Classic APIs; please use the appropriate Tyk OAS API endpoint"
FAILED = "Validation of API Definition failed. Reason: "


@pytest.fixture
def desk(tmp_path: Path) -> ControlDesk:
    return ControlDesk(tmp_path, classic("one", 9, "/one/"), oas("doc", 9, "/doc/"))


def test_what_is_posted_is_what_is_returned_after_a_reload(desk: ControlDesk) -> None:
    """Unknown fields, spelling of names, numbers of any size; nothing is live before."""
    tree = {**classic("two", 9, "/two/"), "Future": {"x": [1.5, 10**40, None, "é"]}}
    assert desk.tree("POST", "/tyk/apis", tree) == {"key": "two", "status": "ok", "action": "added"}
    assert desk.fault("GET", "/tyk/apis/two") == (404, "API not found")
    desk.reload()
    assert desk.tree("GET", "/tyk/apis/two") == tree
    assert (desk.folder / "two.json").read_text().startswith('{\n  "api_id"')


def test_the_list_holds_both_forms_and_inactive_ones(desk: ControlDesk) -> None:
    """Documents are shown in Classic form."""
    desk.tree("POST", "/tyk/apis", classic("off", 9, "/off/", active=False))
    desk.reload()
    listed = {entry["api_id"]: entry for entry in desk.tree("GET", "/tyk/apis")}
    assert list(listed) == ["doc", "off", "one"]
    assert listed["doc"]["is_oas"] is True
    assert listed["doc"]["proxy"]["listen_path"] == "/doc/"
    assert desk.tree("GET", "/tyk/apis/doc") == listed["doc"]
    assert desk.tree("GET", "/tyk/apis/off")["active"] is False


def test_a_long_list_comes_in_pieces(tmp_path: Path) -> None:
    """Other work goes on in between: the pieces are at most some tens of KiB."""
    desk = ControlDesk(tmp_path, *(classic(f"api{n}", 9, f"/{n}/", config_data={"x": "y" * 5000}) for n in range(40)))

    async def pieces() -> list[bytes]:
        return [piece async for piece in desk.book.stream(api.raw for api in desk.book.loaded.values())]

    found = desk.run(pieces())
    assert len(found) > 4
    assert max(map(len, found)) < 48 << 10
    assert len(json.loads(b"".join(found))) == 40


def test_an_id_is_made_where_there_is_none(desk: ControlDesk) -> None:
    """32 hex digits; an id in the path serves as well."""
    tree = classic("", 9, "/new/")
    key = desk.tree("POST", "/tyk/apis", tree)["key"]
    assert len(key) == 32 and int(key, 16)
    assert json.loads((desk.folder / f"{key}.json").read_text())["api_id"] == key
    assert desk.tree("POST", "/tyk/apis/mine", classic("", 9, "/mine/"))["key"] == "mine"
    assert desk.fault("POST", "/tyk/apis/mine", classic("other", 9, "/mine/")) == (400, MISMATCH)


def test_post_overwrites_and_put_replaces(desk: ControlDesk) -> None:
    """An existing file is overwritten; also one whose name is not the id."""
    assert desk.tree("POST", "/tyk/apis", classic("one", 9, "/uno/"))["action"] == "added"
    assert desk.tree("PUT", "/tyk/apis/one", classic("one", 9, "/eins/"))["action"] == "modified"
    desk.reload()
    assert desk.tree("GET", "/tyk/apis/one")["proxy"]["listen_path"] == "/eins/"
    (desk.folder / "one.json").rename(desk.folder / "by-hand.json")
    desk.reload()
    desk.tree("PUT", "/tyk/apis/one", classic("one", 9, "/un/"))
    assert desk.names() == ["by-hand.json", "doc.json"]
    desk.reload()
    assert desk.tree("GET", "/tyk/apis/one")["proxy"]["listen_path"] == "/un/"


def test_yaml_becomes_json(desk: ControlDesk) -> None:
    """What the control API writes is JSON; the old file goes."""
    (desk.folder / "one.json").rename(desk.folder / "hand.yaml")
    desk.reload()
    desk.tree("PUT", "/tyk/apis/one", classic("one", 9, "/yaml/"))
    assert desk.names() == ["doc.json", "one.json"]


def test_a_file_of_another_api_is_not_overwritten(desk: ControlDesk) -> None:
    """two.json may hold the API one."""
    (desk.folder / "one.json").rename(desk.folder / "two.json")
    desk.reload()
    status, message = desk.fault("POST", "/tyk/apis", classic("two", 9, "/two/"))
    assert (status, message) == (400, "the file two.json holds the API one; choose another id")


def test_delete(desk: ControlDesk) -> None:
    """404 for an unknown one, 500 when its file is gone already; still served until the reload."""
    assert desk.fault("DELETE", "/tyk/apis/none") == (404, "API not found")
    assert desk.tree("DELETE", "/tyk/apis/one") == {"key": "one", "status": "ok", "action": "deleted"}
    assert desk.tree("GET", "/tyk/apis/one")["api_id"] == "one"
    assert desk.fault("DELETE", "/tyk/apis/one") == (500, "Delete failed")
    desk.reload()
    assert desk.fault("GET", "/tyk/apis/one") == (404, "API not found")


def test_what_was_written_can_be_changed_before_it_is_live(desk: ControlDesk) -> None:
    """Tyk answers 404 to that."""
    desk.tree("POST", "/tyk/apis", classic("two", 9, "/two/"))
    assert desk.tree("PUT", "/tyk/apis/two", classic("two", 9, "/zwei/"))["action"] == "modified"
    assert desk.tree("DELETE", "/tyk/apis/two")["action"] == "deleted"
    assert "two.json" not in desk.names()


def test_a_file_that_turned_bad_can_be_repaired(desk: ControlDesk) -> None:
    """PUT and DELETE go by the file, not by what could be read of it."""
    (desk.folder / "bad.json").write_text("{")
    assert desk.tree("PUT", "/tyk/apis/bad", classic("bad", 9, "/bad/"))["action"] == "modified"
    desk.reload()
    assert desk.tree("GET", "/tyk/apis/bad")["api_id"] == "bad"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b'{"api_id": "a", "api_id": "b"}', b'{"x": NaN}', b"[" * 100000])
def test_what_is_no_object_is_malformed(desk: ControlDesk, body: bytes) -> None:
    for method, target in (("POST", "/tyk/apis"), ("PUT", "/tyk/apis/one")):
        assert desk.fault(method, target, body) == (400, "Request malformed")


@pytest.mark.parametrize(
    "api_id", ["../x", "a/b", "..", ".", ".hidden", "a b", "a\x00", "a\\b", "x-oas", "x-mcp", "é" * 101, "a" * 201, "oas", "{id}", "a\n"]
)
def test_ids_that_cannot_name_a_file(desk: ControlDesk, api_id: str) -> None:
    before = desk.names()
    assert desk.fault("POST", "/tyk/apis", classic(api_id, 9, "/x/")) == (400, "Invalid API ID")
    assert desk.names() == before


def test_ids_of_another_type(desk: ControlDesk) -> None:
    assert desk.fault("POST", "/tyk/apis", {**classic("x", 9, "/x/"), "api_id": 5}) == (400, "Request malformed")


@pytest.mark.parametrize("api_id", ["../one", "a%2F..%2Fone", "%2Fetc%2Fpasswd", "..", "%00"])
def test_paths_lead_out_of_the_folder_for_nobody(desk: ControlDesk, api_id: str) -> None:
    """Nor do they tell whether a file is there."""
    assert desk.fault("DELETE", f"/tyk/apis/{api_id.replace('/', '%2F')}") == (404, "API not found")
    assert desk.fault("GET", f"/tyk/apis/{api_id.replace('/', '%2F')}") == (404, "API not found")


def test_put_needs_the_same_id_and_a_known_api(desk: ControlDesk) -> None:
    assert desk.fault("PUT", "/tyk/apis/one", classic("two", 9, "/one/")) == (400, MISMATCH)
    assert desk.fault("PUT", "/tyk/apis/one", {"name": "no id"}) == (400, MISMATCH)
    assert desk.fault("PUT", "/tyk/apis/none", classic("none", 9, "/none/")) == (404, "API not found")


def test_documents_have_endpoints_of_their_own(desk: ControlDesk) -> None:
    """Classic PUT on a document, a document as Classic body, is_oas without a document."""
    assert desk.fault("PUT", "/tyk/apis/doc", classic("doc", 9, "/doc/")) == (400, CLASSIC_ONLY)
    assert desk.fault("POST", "/tyk/apis", oas("new", 9, "/new/")) == (400, CLASSIC_ONLY)
    assert desk.fault("POST", "/tyk/apis", classic("new", 9, "/new/", is_oas=True)) == (400, CLASSIC_ONLY)


@pytest.mark.parametrize("second", ["apple", "zebra"])
def test_a_place_belongs_to_one_api(desk: ControlDesk, second: str) -> None:
    """Whatever the order of ids; what has been written since the load counts, what was deleted does not."""
    taken = f"{FAILED}listen path already used by one"
    assert desk.fault("POST", "/tyk/apis", classic(second, 9, "/one/")) == (400, taken)
    desk.tree("POST", "/tyk/apis", classic("two", 9, "/two/"))
    assert desk.fault("POST", "/tyk/apis", classic(second, 9, "/two/"))[1].endswith("already used by two")
    desk.tree("DELETE", "/tyk/apis/one")
    assert desk.tree("POST", "/tyk/apis", classic(second, 9, "/one/"))["key"] == second
    assert desk.fault("PUT", "/tyk/apis/two", classic("two", 9, "/one/"))[1].endswith(f"already used by {second}")


def test_what_would_be_refused_at_load_is_refused_here(desk: ControlDesk) -> None:
    """With the problems named, and nothing written."""
    before = desk.names()
    status, message = desk.fault(
        "POST", "/tyk/apis", classic("j", 9, "/j/", use_keyless=False, use_oauth2=True, custom_plugin_auth_enabled=True)
    )
    assert status == 400
    assert message.startswith(FAILED)
    assert "use_oauth2" in message and "custom_plugin_auth_enabled" in message
    assert desk.names() == before


def test_a_mounted_resource_follows_the_allow_list(tmp_path: Path) -> None:
    """Importing runs code: only what the configuration names."""
    desk = ControlDesk(tmp_path, classic("one", 9, "/one/"), tlsgate={"resources": ["tests.support.nothing"]})
    tree = classic("one", 9, "/one/", **{"x-tlsgate": {"resource": "os:getcwd"}})
    status, message = desk.fault("PUT", "/tyk/apis/one", tree)
    assert status == 400
    assert "x-tlsgate.resource" in message and "not allowed" in message


def test_warnings_are_headers(desk: ControlDesk) -> None:
    """Decisions 1.8: a reference that cannot be resolved is accepted and named; whether some file exists is not told."""
    there = desk.folder / "there.txt"
    there.write_text("no certificate")
    texts = []
    for reference in (str(there), str(desk.folder / "missing.pem")):
        tree = classic("m", 9, "/m/", use_mutual_tls_auth=True, client_certificates=[reference])
        answer = desk.ask("POST", "/tyk/apis", tree)
        assert answer.status == 200
        texts.append([value for name, value in answer.headers if name == b"X-Tlsgate-Warning"])
    assert texts[0] == texts[1]
    assert any(text.startswith(b"client_certificates[0]: a certificate or key cannot be used") for text in texts[0])
    desk.reload()
    read = desk.ask("GET", "/tyk/apis/m")
    assert json.loads(read.body) == tree
    assert [value for name, value in read.headers if name == b"X-Tlsgate-Warning"] == texts[1]


def test_a_dashboard_owns_its_definitions(tmp_path: Path) -> None:
    desk = ControlDesk(tmp_path, classic("one", 9, "/one/"), use_db_app_configs=True)
    words = "Due to enabled use_db_app_configs, please use the Dashboard API"
    calls: list[tuple[str, str, Any]] = [
        ("POST", "/tyk/apis", {}),
        ("PUT", "/tyk/apis/one", {}),
        ("DELETE", "/tyk/apis/one", None),
        ("POST", "/tyk/apis/oas", {}),
        ("POST", "/tyk/apis/oas/import", {}),
        ("PUT", "/tyk/apis/oas/one", {}),
        ("PATCH", "/tyk/apis/oas/one", {}),
        ("DELETE", "/tyk/apis/oas/one", None),
    ]
    for method, target, body in calls:
        assert desk.fault(method, target, body) == (500, words)
    assert desk.tree("GET", "/tyk/apis")


def test_classic_over_a_document_takes_its_file_away(desk: ControlDesk) -> None:
    desk.tree("POST", "/tyk/apis/oas", oas("both", 9, "/both/"))
    assert {"both.json", "both-oas.json"} <= set(desk.names())
    desk.tree("POST", "/tyk/apis", classic("both", 9, "/both/"))
    assert "both-oas.json" not in desk.names()
    desk.reload()
    assert "is_oas" not in desk.tree("GET", "/tyk/apis/both")
