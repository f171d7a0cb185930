"""Policies over real HTTP: written by one call, in force after a reload, never outside their folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.control import Api, policy_folder, rights, token_api
from tests.support.gateway import running_gateway

BODY = {"id": "gold", "org_id": "org", "rate": 100, "per": 1, "access_rights": rights(), "active": True}


def test_a_policy_from_its_file_to_a_key_and_back(tmp_path: Path) -> None:
    """POST, reload, a key under it, PUT, reload, DELETE, reload: a key without its policy is refused."""
    folder = policy_folder(tmp_path)
    with running_gateway(tmp_path, token_api(), policies={"policy_source": "file", "policy_path": str(folder)}) as gateway:
        api = Api(gateway)
        assert api.call("POST", "/tyk/policies", BODY).body == {"key": "gold", "status": "ok", "action": "added"}
        early = api.call("POST", "/tyk/keys/create", {"org_id": "org", "apply_policies": ["gold"]})
        assert (early.status, early.message) == (500, 'Failed to create key - policy not found: "gold"')
        gateway.reload()
        key = api.call("POST", "/tyk/keys/create", {"org_id": "org", "apply_policies": ["gold"]}).key
        assert api.ask(key)[0] == 200
        assert api.call("PUT", "/tyk/policies/gold", {**BODY, "access_rights": rights("other")}).body["action"] == "modified"
        assert api.ask(key)[0] == 200
        gateway.reload()
        assert api.ask(key) == (403, "Access to this API has been disallowed")
        assert api.call("DELETE", "/tyk/policies/gold").body["action"] == "deleted"
        gateway.reload()
        assert api.call("GET", "/tyk/policies").body == []
        assert api.call("DELETE", "/tyk/policies/gold").message == "Delete failed"


@pytest.mark.parametrize("unsafe", [False, True])
def test_hostile_ids_and_bodies(tmp_path: Path, unsafe: bool) -> None:
    """Each id of path and body, on each call: nothing is written outside the folder, nothing fails unexpectedly."""
    folder = policy_folder(tmp_path)
    outside = sorted(path.name for path in tmp_path.iterdir())
    config = {"policies": {"policy_source": "file", "policy_path": str(folder)}, "allow_unsafe_policy_ids": unsafe}
    with running_gateway(tmp_path, token_api(), **config) as gateway:
        api = Api(gateway)
        outside = sorted(path.name for path in tmp_path.iterdir())
        ids = ["../tyk.conf", "..", "/etc/passwd", "a/../../b", "a\x00b", "a\nb", "." * 300, "é" * 200, "C:\\x", "a%2F..%2Fb", "gold\u202e"]
        for id in ids:
            quoted = "".join(f"%{byte:02X}" for byte in id.encode())
            replies = [
                api.call("POST", "/tyk/policies", {**BODY, "id": id}),
                api.call("POST", f"/tyk/policies/{quoted}", {**BODY, "id": ""}),
                api.call("PUT", f"/tyk/policies/{quoted}", {**BODY, "id": id}),
                api.call("GET", f"/tyk/policies/{quoted}"),
                api.call("DELETE", f"/tyk/policies/{quoted}"),
            ]
            assert all(reply.status < 500 or reply.message == "Delete failed" for reply in replies), (id, replies)
        for body in (b"", b"[" * 200_000, b'{"id":"x","id":"y"}', b"\xff", b'{"id":"x","rate":"fast"}', b'{"id":{"a":1}}', b"null"):
            for method, path in (("POST", "/tyk/policies"), ("PUT", "/tyk/policies/x")):
                reply = api.call(method, path, body)
                assert (reply.status, reply.message) == (400, "Request malformed")
        assert sorted(path.name for path in tmp_path.iterdir()) == outside
        assert [path for path in folder.rglob("*") if path.suffix != ".json" or path.parent != folder] == []
        assert gateway.reload()["event"] == "reload.done"


def test_a_file_of_all_policies_is_read_and_not_written(tmp_path: Path) -> None:
    """``policy_record_name``: GET shows them, writes say what is missing."""
    record = tmp_path / "policies.json"
    record.write_text(json.dumps({"gold": {**BODY, "id": ""}}))
    with running_gateway(tmp_path, token_api(), policies={"policy_source": "file", "policy_record_name": str(record)}) as gateway:
        api = Api(gateway)
        assert api.call("GET", "/tyk/policies/gold").body["rate"] == 100
        for method, path in (("POST", "/tyk/policies"), ("PUT", "/tyk/policies/gold"), ("DELETE", "/tyk/policies/gold")):
            reply = api.call(method, path, BODY)
            assert (reply.status, "policies.policy_path" in reply.message) == (400, True)
        assert json.loads(record.read_text()) == {"gold": {**BODY, "id": ""}}
