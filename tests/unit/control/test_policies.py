"""Tests of `tlsgate.control.policies`: loaded ones are shown, files are written, nothing else is ever touched."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.control import MemoryControl, policy_folder, rights
from tests.support.keys import run
from tlsgate.control.policies import policy_file
from tlsgate.model.policy import Policy

BAD_ID = "Invalid Policy ID: Allowed characters: a-z, A-Z, 0-9, ., _, -, ~"
MISMATCH = "Request ID does not match that in policy! For Update operations these must match."
BODY = {"org_id": "org", "rate": 5, "per": 1, "access_rights": rights(), "active": True}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return policy_folder(tmp_path)


def make(folder: Path, **config: Any) -> MemoryControl:
    return MemoryControl(**{"policies_": {"policy_source": "file", "policy_path": str(folder)}, **config})


def reload(control: MemoryControl) -> None:
    run(control.tools.reload())


def test_a_policy_is_written_and_counts_after_a_reload(folder: Path) -> None:
    """POST, GET, PUT, DELETE; each is seen with the next reload, never before."""
    control = make(folder)
    assert control.call("GET", "/tyk/policies").body == []
    assert control.call("POST", "/tyk/policies", {**BODY, "id": "gold"}).body == {"key": "gold", "status": "ok", "action": "added"}
    assert control.call("GET", "/tyk/policies/gold").message == "Policy not found"
    reload(control)
    shown = control.call("GET", "/tyk/policies/gold").body
    assert (shown["id"], shown["rate"], shown["org_id"], shown["active"]) == ("gold", 5, "org", True)
    assert control.call("GET", "/tyk/policies").body == [shown]
    key = control.call("POST", "/tyk/keys/create", {"org_id": "org", "apply_policies": ["gold"]}).key
    assert control.ask(key) == 200
    reply = control.call("PUT", "/tyk/policies/gold", {**BODY, "id": "gold", "is_inactive": True})
    assert reply.body == {"key": "gold", "status": "ok", "action": "modified"}
    assert control.ask(key) == 200
    reload(control)
    assert control.ask(key) == 403
    assert control.call("DELETE", "/tyk/policies/gold").body == {"key": "gold", "status": "ok", "action": "deleted"}
    reload(control)
    assert control.call("GET", "/tyk/policies/gold").status == 404
    assert os.listdir(folder) == []


def test_ids_come_from_body_or_path(folder: Path) -> None:
    """``_id`` stands in for ``id``; the body's counts on POST; a PUT makes what there is not, under the same id only."""
    control = make(folder)
    assert control.call("POST", "/tyk/policies/from-path", BODY).key == "from-path"
    assert control.call("POST", "/tyk/policies", {**BODY, "_id": "5bcef48a3f03d311ff27d156"}).key == "5bcef48a3f03d311ff27d156"
    assert control.call("POST", "/tyk/policies/path", {**BODY, "id": "body"}).key == "body"
    assert control.call("PUT", "/tyk/policies/new", {**BODY, "id": "new"}).key == "new"
    assert control.call("PUT", "/tyk/policies/new", {**BODY, "id": "other"}).message == MISMATCH
    assert control.call("PUT", "/tyk/policies/new", BODY).message == MISMATCH
    assert control.call("POST", "/tyk/policies", BODY).message == "Unable to create policy without id."
    names = ["5bcef48a3f03d311ff27d156.json", "body.json", "from-path.json", "new.json"]
    assert sorted(os.listdir(folder)) == names
    assert json.loads((folder / "from-path.json").read_text())["id"] == "from-path"


def test_rows_without_an_id(folder: Path) -> None:
    """400 in Tyk's words, which speak of an API."""
    control = make(folder)
    assert (control.call("PUT", "/tyk/policies", BODY)).message == "Must specify an apiID to update"
    assert (control.call("DELETE", "/tyk/policies")).message == "Must specify an apiID to delete"


def test_a_policy_that_is_not_there_cannot_be_deleted(folder: Path) -> None:
    """500 `Delete failed`."""
    reply = make(folder).call("DELETE", "/tyk/policies/nothing")
    assert (reply.status, reply.message) == (500, "Delete failed")


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b"{", b'{"id": 1}', b'{"rate": "x"}', b'{"id": "a", "ID": "b"}', b"\xff", b'{"a":' * 9999, b'{"id":"a"}x']
)
def test_bodies_that_are_no_policy(folder: Path, body: bytes) -> None:
    """400 `Request malformed`; no file is touched."""
    control = make(folder)
    for method, path in (("POST", "/tyk/policies"), ("POST", "/tyk/policies/x"), ("PUT", "/tyk/policies/x")):
        reply = control.call(method, path, body)
        assert (reply.status, reply.message) == (400, "Request malformed")
    assert os.listdir(folder) == []


HOSTILE = ["..", ".", "../x", "a/b", "/etc/passwd", "a\\b", "a b", "é", "a\nb", "x" * 241, ".hidden", "a%2Fb", "con:x", ""]


@pytest.mark.parametrize("id", HOSTILE)
def test_ids_never_lead_out_of_the_folder(folder: Path, tmp_path: Path, id: str) -> None:
    """In body and path, on every call: 400, and nothing exists afterwards that did not before."""
    (tmp_path / "x.json").write_text("{}")
    control = make(folder)
    before = sorted(path for path in tmp_path.rglob("*"))
    quoted = "".join(f"%{byte:02X}" for byte in id.encode())
    replies = [control.call("POST", "/tyk/policies", {**BODY, "id": id})]
    if id:
        replies += [control.call("PUT", f"/tyk/policies/{quoted}", {**BODY, "id": id}), control.call("DELETE", f"/tyk/policies/{quoted}")]
    assert all(300 <= reply.status < 500 for reply in replies), replies
    assert replies[0].message == (BAD_ID if id else "Unable to create policy without id.")
    assert sorted(path for path in tmp_path.rglob("*")) == before


@pytest.mark.parametrize("id", [*HOSTILE[:9], "a%2Fb", "ünlaut", "50%"])
def test_unsafe_ids_are_data_where_they_are_allowed(folder: Path, tmp_path: Path, id: str) -> None:
    """``allow_unsafe_policy_ids``: written, loaded and removed under names inside the folder."""
    control = make(folder, allow_unsafe_policy_ids=True)
    assert control.call("POST", "/tyk/policies", {**BODY, "id": id}).key == id
    (name,) = os.listdir(folder)
    assert "/" not in name and not name.startswith(".")
    reload(control)
    assert [policy["id"] for policy in control.call("GET", "/tyk/policies").body] == [id]
    assert len(list(tmp_path.rglob("*.json"))) == 1
    key = control.call("POST", "/tyk/keys/create", {"org_id": "org", "apply_policies": [id]}).key
    assert control.ask(key) == 200


def test_file_names() -> None:
    """No two ids share a file, and none is longer than a file system takes."""
    ids = ["a/b", "a%2Fb", "a%252Fb", "a\\b", "a%5Cb", ".a", "%2Ea"]
    assert len({policy_file(id, unsafe=True) for id in ids}) == len(ids)
    assert policy_file("x" * 240, unsafe=True) == "x" * 240 + ".json"
    assert policy_file("é" * 121, unsafe=True) == "" == policy_file("", unsafe=True)
    assert policy_file("a.b_c-d~E9", unsafe=False) == "a.b_c-d~E9.json"


def test_policies_of_one_id_in_two_organisations(tmp_path: Path) -> None:
    """``org_id`` tells which."""
    control = MemoryControl(policies=(Policy(id="p", org_id="a", rate=1), Policy(id="p", org_id="b", rate=2)))
    assert control.call("GET", "/tyk/policies/p?org_id=b").body["rate"] == 2
    assert control.call("GET", "/tyk/policies/p?org_id=c").status == 404
    assert control.call("GET", "/tyk/policies/p").body["rate"] == 1
    reply = control.call("POST", "/tyk/policies", {"id": "x"})
    assert (reply.status, "policies.policy_path is not set" in reply.message) == (400, True)


def test_a_folder_that_cannot_be_written_is_told(folder: Path) -> None:
    """500 without a path, and the log says why."""
    control = make(folder)
    folder.rmdir()
    reply = control.call("POST", "/tyk/policies", {**BODY, "id": "gold"})
    assert (reply.status, reply.message) == (500, "Failed to create file!")


def test_what_this_version_does_not_know_survives_in_the_file(folder: Path) -> None:
    """Members of other tools, whole numbers as whole numbers."""
    control = make(folder)
    control.call("POST", "/tyk/policies", {**BODY, "id": "gold", "graphql_access_rights": {"x": 1}, "tags": ["a"]})
    written = json.loads((folder / "gold.json").read_text())
    assert (written["graphql_access_rights"], written["tags"], written["rate"]) == ({"x": 1}, ["a"], 5)


@pytest.mark.parametrize("count", [1, 50, 51, 120])
def test_a_long_list_is_sent_in_pieces(count: int) -> None:
    """Every policy once, in the order of the table; no turn of the reactor shows more than some."""
    control = MemoryControl(policies=tuple(Policy(id=f"p{number}", org_id="org") for number in range(count)))
    listed = control.call("GET", "/tyk/policies").body
    assert [policy["id"] for policy in listed] == [f"p{number}" for number in range(count)]
