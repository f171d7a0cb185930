"""Tests of `tlsgate.control.key_names`: which stored key a call means."""

from __future__ import annotations

import pytest

from tests.support.control import MemoryControl, rights
from tests.support.keys import run
from tlsgate.auth.key_ids import hash_key
from tlsgate.control.key_names import choose_id
from tlsgate.model.session import AccessRight, Session

BODY = {"org_id": "org", "access_rights": rights()}
OLD = Session(org_id="org", access_rights={"api": AccessRight()}, alias="old")


@pytest.mark.parametrize("hashes", [False, True])
def test_old_keys_are_found_when_there_is_a_function_now(hashes: bool) -> None:
    """Made without ``hash_key_function``: GET, PUT and DELETE still find them under their short and their full name."""
    control = MemoryControl(hash_keys=hashes, hash_key_function="sha256", hash_key_function_fallback=["murmur32"])
    name = hash_key("orgthe-old", "murmur32") if hashes else "orgthe-old"
    run(control.state.store.put(f"apikey-{name}", b'{"org_id": "org", "access_rights": {"api": {}}, "alias": "old"}'))
    for id in ("the-old", "orgthe-old"):
        assert control.call("GET", f"/tyk/keys/{id}?org_id=org").body["alias"] == "old"
    assert control.call("PUT", "/tyk/keys/the-old", {**BODY, "alias": "new"}).key == "orgthe-old"
    assert control.call("DELETE", "/tyk/keys/the-old?org_id=org&username=true").key == "orgthe-old"
    assert run(control.state.store.get(f"apikey-{name}")) is None


def test_the_new_form_goes_before_the_old_one() -> None:
    """Two keys of one short name: that of the configured function is meant."""
    control = MemoryControl(hash_key_function="sha256")
    run(control.state.sessions.save("orguser", OLD))
    new = control.call("POST", "/tyk/keys/user", {**BODY, "alias": "new"}).key
    assert control.call("GET", "/tyk/keys/user?org_id=org").body["alias"] == "new"
    assert control.call("DELETE", "/tyk/keys/user?org_id=org").key == new
    assert control.call("GET", "/tyk/keys/user?org_id=org").body["alias"] == "old"


def test_keys_that_are_shorter_than_allowed_can_be_removed() -> None:
    """Imported, or from before ``min_token_length``: no client can use them, the operator can still see and delete them."""
    control = MemoryControl(min_token_length=30)
    run(control.state.sessions.save("ab", OLD))
    assert control.call("GET", "/tyk/keys/ab").body["alias"] == "old"
    assert control.call("DELETE", "/tyk/keys/ab").status == 200


def test_ids_of_new_keys() -> None:
    """A generated id of this organisation stays; one of another is a name like any other."""
    control = MemoryControl(hash_key_function="sha256")
    own = choose_id(control.tools, "org", "name")
    assert choose_id(control.tools, "org", own) == own
    assert choose_id(control.tools, "other", own) not in (own, "other" + own)
    assert choose_id(control.tools, "org", "") != choose_id(control.tools, "org", "")
