"""Tests of `tlsgate.control.orgs` (keys reference, section 11, "Organisations")."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.control import MemoryControl, token_api
from tests.support.keys import run

BODY = {"rate": 10, "per": 1, "quota_max": 5, "quota_renewal_rate": 60}


def test_an_organisation_is_written_shown_listed_and_removed() -> None:
    """``added``, ``modified``, ``deleted``; stored as ``orgkey.<id>``, without an end, never hashed."""
    control = MemoryControl(hash_keys=True)
    assert control.call("POST", "/tyk/org/keys/acme", BODY).body == {"key": "acme", "status": "ok", "action": "added"}
    entry = run(control.state.store.get_entry("orgkey.acme"))
    assert entry is not None and entry.ttl_s is None
    assert control.call("GET", "/tyk/org/keys/acme").body["quota_max"] == 5
    assert control.call("PUT", "/tyk/org/keys/acme", {**BODY, "is_inactive": True}).body["action"] == "modified"
    assert control.call("GET", "/tyk/org/keys/acme").body["is_inactive"] is True
    control.call("POST", "/tyk/org/keys/beta", BODY)
    assert sorted(control.call("GET", "/tyk/org/keys").body["keys"]) == ["acme", "beta"]
    assert control.call("GET", "/tyk/org/keys?filter=b").body == {"keys": ["beta"]}
    assert control.call("DELETE", "/tyk/org/keys/acme").body == {"key": "acme", "status": "ok", "action": "deleted"}
    assert control.call("GET", "/tyk/org/keys").body == {"keys": ["beta"]}


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_an_unknown_organisation(method: str) -> None:
    """404 `Org not found`."""
    reply = MemoryControl().call(method, "/tyk/org/keys/nobody")
    assert (reply.status, reply.message) == (404, "Org not found")


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"rate": "1"}', b'{"quota_max": 1.5}', b"\x00", b'{"rate":1,"rate":2}'])
def test_bodies_that_are_no_session(method: str, body: bytes) -> None:
    """400 `Request malformed`."""
    control = MemoryControl()
    reply = control.call(method, "/tyk/org/keys/acme", body)
    assert (reply.status, reply.message) == (400, "Request malformed")
    assert control.call("GET", "/tyk/org/keys/acme").status == 404


def test_only_organisations_of_loaded_apis_where_that_is_asked() -> None:
    """``suppress_default_org_store``: 404 in the words of each call."""
    control = MemoryControl(token_api(org="acme"), suppress_default_org_store=True)
    assert control.call("POST", "/tyk/org/keys/acme", BODY).status == 200
    assert control.call("GET", "/tyk/org/keys?org_id=acme").body == {"keys": ["acme"]}
    assert control.call("GET", "/tyk/org/keys/acme").status == 200
    unknown: list[tuple[str, str, Any, str]] = [
        ("POST", "/tyk/org/keys/other", BODY, "No such organisation found in Active API list"),
        ("PUT", "/tyk/org/keys/other", BODY, "No such organisation found in Active API list"),
        ("GET", "/tyk/org/keys/other", None, "Org not found"),
        ("DELETE", "/tyk/org/keys/other", None, "Org not found"),
        ("GET", "/tyk/org/keys", None, "ORG not found"),
    ]
    for method, path, body, message in unknown:
        reply = control.call(method, path, body)
        assert (reply.status, reply.message) == (404, message)
    assert control.call("DELETE", "/tyk/org/keys/acme").status == 200


def test_the_quota_starts_anew_when_asked() -> None:
    """``reset_quota=1`` removes the counter and says when the period ends; without it both stay."""
    control = MemoryControl()
    control.call("POST", "/tyk/org/keys/acme", BODY)
    run(control.state.store.count_window("quota-acme", 60, 5, 3))
    assert control.call("GET", "/tyk/org/keys/acme").body["quota_remaining"] == 2
    control.call("PUT", "/tyk/org/keys/acme", {**BODY, "quota_max": 10})
    assert control.call("GET", "/tyk/org/keys/acme").body["quota_remaining"] == 7
    control.call("PUT", "/tyk/org/keys/acme?reset_quota=1", BODY)
    assert run(control.state.store.get("quota-acme")) is None
    assert control.call("GET", "/tyk/org/keys/acme").body["quota_renews"] == int(control.clock.time) + 60


def test_an_organisation_that_goes_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """400 `Failed to remove the key`."""
    control = MemoryControl()
    control.call("POST", "/tyk/org/keys/acme", BODY)

    async def none(*names: str) -> int:
        return 0

    monkeypatch.setattr(control.state.store, "delete", none)
    assert control.call("DELETE", "/tyk/org/keys/acme").message == "Failed to remove the key"


def test_changes_are_told_to_all_processes() -> None:
    """Topic ``org``, with the organisation."""
    control = MemoryControl()
    told: list[tuple[str, str]] = []
    control.state.store.subscribe(lambda topic, payload: told.append((topic, payload)))
    control.call("POST", "/tyk/org/keys/acme", BODY)
    control.call("DELETE", "/tyk/org/keys/acme")
    assert told == [("org", "acme")] * 2


def test_an_unreadable_organisation_can_be_written_and_removed() -> None:
    """404 to see it; no call fails on it."""
    control = MemoryControl()
    run(control.state.store.put("orgkey.acme", b"nonsense"))
    assert control.call("GET", "/tyk/org/keys/acme").status == 404
    assert control.call("DELETE", "/tyk/org/keys/acme").status == 200


def test_the_largest_period_makes_a_session_that_can_be_read() -> None:
    """The end of the period stays within 64 bits."""
    control = MemoryControl()
    assert control.call("POST", "/tyk/org/keys/org?reset_quota=1", {"quota_max": 5, "quota_renewal_rate": 2**63 - 1}).status == 200
    assert control.call("GET", "/tyk/org/keys/org").body["quota_max"] == 5
