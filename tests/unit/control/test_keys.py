"""Tests of `tlsgate.control.keys`: one key is shown, deleted, previewed, put under a policy (keys reference, section 11)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.control import MemoryControl, rights, token_api
from tests.support.keys import run
from tlsgate.auth.key_ids import hash_key
from tlsgate.model.policy import Policy
from tlsgate.model.session import AccessRight, Limit

GOLD = Policy(id="gold", org_id="org", rate=5, per=1, quota_max=10, quota_renewal_rate=60, access_rights={"api": AccessRight()})


def key_of(control: MemoryControl, id: str = "the-key", **fields: Any) -> str:
    return control.call("POST", f"/tyk/keys/{id}", {"org_id": "org", "access_rights": rights(), **fields}).key


def test_a_key_is_shown_with_its_policies_and_without_its_password() -> None:
    """Zero values are left out; the policy's numbers stand in the key's place."""
    control = MemoryControl(policies=(GOLD,))
    id = key_of(control, "user", basic_auth_data={"password": "secret"}, apply_policies=["gold"], alias="me")
    shown = control.call("GET", f"/tyk/keys/{id}").body
    assert (shown["rate"], shown["quota_max"], shown["alias"]) == (5, 10, "me")
    assert shown["basic_auth_data"] == {"hash_type": "bcrypt"}
    assert "hmac_string" not in shown and "throttle_interval" not in shown


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 404),
        ("?org_id=org", 200),
        ("?api_id=api", 200),
        ("?api_id=other", 404),
        ("?org_id=else", 404),
        ("?org_id=org&username=true", 200),
    ],
)
def test_short_names_need_their_organisation(query: str, status: int) -> None:
    """By ``org_id``, or by the API of ``api_id``; 404 `Key not found` otherwise."""
    control = MemoryControl()
    key_of(control)
    reply = control.call("GET", f"/tyk/keys/the-key{query}")
    assert reply.status == status
    if status == 404:
        assert reply.message == "Key not found"


def test_names_of_users_can_be_switched_off() -> None:
    """``disable_key_actions_by_username``: full ids alone are found, by every call; requests find their key as before."""
    control = MemoryControl(disable_key_actions_by_username=True)
    id = key_of(control)
    assert id == "orgthe-key"
    assert control.call("GET", "/tyk/keys/the-key?org_id=org&username=true").status == 404
    assert control.call("DELETE", "/tyk/keys/the-key?org_id=org").status == 404
    assert control.call("GET", f"/tyk/keys/{id}").status == 200
    assert control.ask("the-key") == 200


@pytest.mark.parametrize("value", ["1", "true"])
def test_a_key_by_its_hash(value: str) -> None:
    """``hashed=1`` with hashed keys; its full id works as well."""
    control = MemoryControl(hash_keys=True)
    created = control.call("POST", "/tyk/keys/the-key", {"org_id": "org", "access_rights": rights(), "alias": "x"}).body
    assert created["key_hash"] == hash_key(created["key"], "sha256")
    assert control.call("GET", f"/tyk/keys/{created['key_hash']}?hashed={value}").body["alias"] == "x"
    assert control.call("GET", f"/tyk/keys/{created['key']}").body["alias"] == "x"
    assert control.call("GET", f"/tyk/keys/{created['key_hash']}").status == 404
    assert control.call("GET", f"/tyk/keys/{'0' * 64}?hashed=1").status == 404
    assert control.call("GET", "/tyk/keys/nothash?hashed=1").status == 404


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_hashes_without_hashing_are_refused(method: str) -> None:
    """400 with Tyk's words; ``hashed=false`` means no, other than in Tyk."""
    control = MemoryControl()
    id = key_of(control)
    assert control.call(method, f"/tyk/keys/{id}?hashed=1").message == "Key requested by hash but key hashing is not enabled"
    assert control.call(method, f"/tyk/keys/{id}?hashed=false").status == 200


def test_secrets_are_masked_on_request_and_survive_their_way_back() -> None:
    """The secrets of HMAC and JWT are shown, with ``mask_secrets=1`` they are not; a PUT of the masked object keeps them."""
    control = MemoryControl()
    body = {"org_id": "org", "access_rights": rights(), "hmac_enabled": True, "jwt_data": {"secret": "jwt-secret"}}
    id = control.call("POST", "/tyk/keys/create", body).key
    whole = control.call("GET", f"/tyk/keys/{id}").body
    assert len(whole["hmac_string"]) > 30 and whole["jwt_data"]["secret"] == "jwt-secret"
    masked = control.call("GET", f"/tyk/keys/{id}?mask_secrets=1").body
    assert masked["hmac_string"] == masked["jwt_data"]["secret"] == "********"
    assert control.call("PUT", f"/tyk/keys/{id}", masked).status == 200
    after = control.call("GET", f"/tyk/keys/{id}").body
    assert (after["hmac_string"], after["jwt_data"]) == (whole["hmac_string"], whole["jwt_data"])


def test_a_deleted_key_is_gone_when_the_answer_comes() -> None:
    """With a cached session, under each spelling; 404 afterwards."""
    control = MemoryControl()
    id = key_of(control)
    assert (control.ask("the-key"), control.ask(id)) == (200, 200)
    reply = control.call("DELETE", f"/tyk/keys/{id}")
    assert reply.body == {"key": id, "status": "ok", "action": "deleted"}
    assert (control.ask("the-key"), control.ask(id)) == (403, 403)
    assert control.call("DELETE", f"/tyk/keys/{id}").message == "There is no such key found"


def test_a_delete_of_everywhere_answers_null() -> None:
    """``api_id=-1``, without an event."""
    control = MemoryControl()
    id = key_of(control)
    control.events.clear()
    reply = control.call("DELETE", f"/tyk/keys/{id}?api_id=-1")
    assert (reply.status, reply.body) == (200, None)
    assert control.events == []
    assert control.ask("the-key") == 403


def test_a_delete_takes_the_counters_along() -> None:
    """A new key of the same id starts with a full quota, in all its scopes."""
    control = MemoryControl()
    limited = rights(limit={"quota_max": 2, "quota_renewal_rate": 60, "rate": 9, "per": 1})
    id = control.call("POST", "/tyk/keys/the-key", {"org_id": "org", "access_rights": limited}).key
    assert [control.ask("the-key") for _ in range(3)] == [200, 200, 403]
    assert control.call("GET", f"/tyk/keys/{id}").body["access_rights"]["api"]["limit"].get("quota_remaining", 0) == 0
    control.call("DELETE", f"/tyk/keys/{id}")
    control.call("POST", "/tyk/keys/the-key?suppress_reset=1", {"org_id": "org", "access_rights": limited})
    assert control.ask("the-key") == 200


def test_what_cannot_be_read_can_be_deleted() -> None:
    """A stored text that is no session is unknown to GET and PUT, and DELETE removes it."""
    control = MemoryControl()
    run(control.state.store.put("apikey-orgbroken", b"not json"))
    assert control.call("GET", "/tyk/keys/orgbroken").status == 404
    assert control.call("PUT", "/tyk/keys/orgbroken", {"org_id": "org", "access_rights": rights()}).message == "Key is not found"
    assert control.call("DELETE", "/tyk/keys/orgbroken").status == 200
    assert run(control.state.store.get("apikey-orgbroken")) is None


def test_a_preview_stores_nothing() -> None:
    """The session with its policies; a policy that cannot be applied is 500, as on creation."""
    control = MemoryControl(policies=(GOLD,))
    body = {"org_id": "org", "apply_policies": ["gold"], "basic_auth_data": {"password": "secret"}}
    reply = control.call("POST", "/tyk/keys/preview", body)
    assert (reply.status, reply.body["quota_max"], sorted(reply.body["access_rights"])) == (200, 10, ["api"])
    assert "secret" not in str(reply.body)
    assert control.call("GET", "/tyk/keys").body == {"keys": []}
    assert control.call("POST", "/tyk/keys/preview", b"nonsense").message == "Unmarshalling failed"
    missing = control.call("POST", "/tyk/keys/preview", {"org_id": "org", "apply_policies": ["none"]})
    assert (missing.status, missing.message) == (500, 'Failed to create key - policy not found: "none"')


@pytest.mark.parametrize("hashes", [False, True])
@pytest.mark.parametrize("body", [{"policy": "gold"}, {"apply_policies": ["gold"]}, {"Policy": "gold"}])
def test_the_policies_of_a_key_change_and_its_lifetime_stays(hashes: bool, body: Any) -> None:
    """In both forms of the body, by id and by hash; in Tyk the key becomes eternal."""
    control = MemoryControl(policies=(GOLD,), hash_keys=hashes)
    id = key_of(control, session_lifetime=60)
    name = control.state.naming.place(id).name
    control.clock.time += 50
    assert control.call("POST", f"/tyk/keys/policy/{name}", body).body == {"key": name, "status": "ok", "action": "updated"}
    assert control.call("POST", f"/tyk/keys/policy/{id}", body).body["action"] == "updated"
    assert control.call("GET", f"/tyk/keys/{id}").body["quota_max"] == 10
    control.clock.time += 11
    assert control.call("GET", f"/tyk/keys/{id}").status == 404


@pytest.mark.parametrize("body", [b"", b"[]", b'{"policy": 1}', b'{"apply_policies": "gold"}', b'{"policy": "a", "policy": "b"}', b"\xff"])
def test_instructions_that_are_none(body: bytes) -> None:
    """400 `Couldn't decode instruction`; the key stays."""
    control = MemoryControl()
    id = key_of(control)
    reply = control.call("POST", f"/tyk/keys/policy/{id}", body)
    assert (reply.status, reply.message) == (400, "Couldn't decode instruction")


def test_an_unknown_key_gets_no_policy() -> None:
    """404 `Key not found`."""
    reply = MemoryControl(policies=(GOLD,)).call("POST", "/tyk/keys/policy/nobody", {"policy": "gold"})
    assert (reply.status, reply.message) == (404, "Key not found")


def test_a_key_that_goes_meanwhile_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """500 `Could not write key data`, 400 `Failed to remove the key`."""
    control = MemoryControl()
    id = key_of(control)

    async def no(*arguments: Any, **names: Any) -> bool:
        return False

    monkeypatch.setattr(control.state.sessions, "save_name", no)
    monkeypatch.setattr(control.state.sessions, "delete_name", no)
    assert control.call("POST", f"/tyk/keys/policy/{id}", {"policy": "gold"}).message == "Could not write key data"
    assert control.call("DELETE", f"/tyk/keys/{id}").message == "Failed to remove the key"


def test_the_store_away_is_503() -> None:
    """Wherever an answer needs it (decisions 3.5)."""
    control = MemoryControl()
    id = key_of(control)
    control.state.store.available = False  # type: ignore[attr-defined]
    body = {"org_id": "org", "access_rights": rights()}
    calls = [("GET", f"/tyk/keys/{id}", None), ("DELETE", f"/tyk/keys/{id}", None), ("GET", "/tyk/keys", None)]
    calls += [("POST", "/tyk/keys/create", body), ("POST", "/tyk/keys", body), ("PUT", f"/tyk/keys/{id}", body)]  # type: ignore[list-item]
    calls += [("POST", f"/tyk/keys/policy/{id}", {"policy": "gold"})]  # type: ignore[list-item]
    assert [control.call(*call).status for call in calls] == [503] * 7


def test_remaining_quota_is_that_of_the_counter() -> None:
    """``quota_remaining`` and ``quota_renews`` after some requests, of the key and of an API in it."""
    control = MemoryControl(token_api(), token_api("two"))
    body = {"org_id": "org", "quota_max": 5, "quota_renewal_rate": 60, "rate": 100, "per": 1}
    body["access_rights"] = {**rights(), **rights("two", limit={"quota_max": 3, "quota_renewal_rate": 30, "rate": 50, "per": 1})}
    id = control.call("POST", "/tyk/keys/the-key", body).key
    for path in ("/api/", "/api/", "/two/"):
        assert control.ask("the-key", path) == 200
    shown = control.call("GET", f"/tyk/keys/{id}").body
    assert (shown["quota_remaining"], shown["quota_renews"]) == (3, int(control.clock.time) + 60)
    limit = shown["access_rights"]["two"]["limit"]
    assert (limit["quota_remaining"], limit["quota_renews"]) == (2, int(control.clock.time) + 30)


def test_events_tell_of_keys_without_giving_them_away() -> None:
    """TokenCreated, TokenUpdated, TokenDeleted with organisation and the end of the id; none for deletes by hash."""
    control = MemoryControl()
    id = key_of(control, "0123456789abcdef")
    control.call("PUT", f"/tyk/keys/{id}", {"org_id": "org", "access_rights": rights()})
    control.call("DELETE", f"/tyk/keys/{id}")
    shown = {"org": "org", "key": "****cdef"}
    assert control.events == [("TokenCreated", shown), ("TokenUpdated", shown), ("TokenDeleted", shown)]
    hashed = MemoryControl(hash_keys=True)
    created = hashed.call("POST", "/tyk/keys/create", {"org_id": "org", "access_rights": rights()}).body
    assert hashed.events == [("TokenCreated", {"org": "org", "key": created["key_hash"]})]
    hashed.call("DELETE", f"/tyk/keys/{created['key_hash']}?hashed=1")
    assert len(hashed.events) == 1
    whole = MemoryControl(enable_key_logging=True)
    assert whole.events == [] and key_of(whole) == whole.events[0][1]["key"]


def test_a_limit_alone_is_kept() -> None:
    """A right's limit comes back as it was sent."""
    control = MemoryControl(policies=(Policy(id="x", org_id="org", access_rights={"api": AccessRight(limit=Limit(rate=3, per=1))}),))
    id = key_of(control, apply_policies=["x"])
    assert control.call("GET", f"/tyk/keys/{id}").body["access_rights"]["api"]["limit"]["rate"] == 3
