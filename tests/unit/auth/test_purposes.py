"""Only what was issued as a key is a token."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.support.keys import Keys, run
from tlsgate.auth.key_ids import hash_key
from tlsgate.auth.purposes import PURPOSES
from tlsgate.model.session import Session


def find(keys: Keys, presented: bytes, org: str = "org", purpose: str = "token") -> Any:
    return run(keys.sessions.reader(org, purpose).find(presented))


@pytest.mark.parametrize(
    ("id", "fields"),
    [
        ("orgsubject", {"origin": "jwt"}),
        ("orgsubject", {"meta_data": {"TykJWTSessionID": "orgsubject"}}),
        ("orgname", {"basic_auth_data": {"password": "x"}}),
        ("org" + "ab" * 32, {"certificate": "org" + "ab" * 32}),
        ("org" + "ab" * 32, {"certificate": "org" + "AB" * 32}),
        (base64.b64encode(b'{"org":"org","id":"' + b"ab" * 32 + b'","h":"sha256"}').decode(), {"certificate": "org" + "ab" * 32}),
        ("319d3ab3", {}),
        (hash_key("orgcustom", "sha256"), {}),
    ],
)
def test_what_was_not_issued_as_a_key_is_no_token(id: str, fields: dict[str, Any]) -> None:
    """Decisions 3.3; other methods still find it."""
    keys = Keys()
    run(keys.sessions.save(id, Session(org_id="org", **fields)))
    assert find(keys, id.encode()) is None
    assert find(keys, id.removeprefix("org").encode()) is None
    assert find(keys, id.encode(), purpose="any") is not None


def test_a_key_with_a_certificate_of_its_own_id_is_a_token() -> None:
    """A certificate bound to a key by PUT does not make its id a certificate's; hexadecimal custom ids are fine."""
    keys = Keys()
    keys.add("custom", certificate="org" + "ab" * 32)
    assert find(keys, b"custom") is not None
    keys.add("deadbeef")
    assert find(keys, b"deadbeef").id == "orgdeadbeef"
    run(keys.sessions.save("deadbeef11223344", Session()))
    assert find(keys, b"deadbeef11223344", org="") is not None, "no owner: a plain id of Tyk's"


def test_purposes() -> None:
    """One line each."""
    assert set(PURPOSES) == {"token", "without_certificate", "old_rule", "certificate", "basic", "any", "virtual", "jwt"}


CERT, OTHER = "org" + "ab" * 32, "org" + "cd" * 32


@pytest.mark.parametrize(
    ("id", "fields", "found"),
    [
        ("orgplain", {}, {"token", "without_certificate", "old_rule"}),
        ("orgplain", {"certificate": CERT}, {"token", "old_rule"}),
        (CERT, {}, {"token", "old_rule"}),
        (CERT, {"certificate": CERT}, {"old_rule"}),
        (CERT, {"certificate": OTHER}, {"old_rule"}),
        ("orgrandom", {"certificate": CERT, "origin": "certificate"}, {"old_rule"}),
        ("orgname", {"basic_auth_data": {"password": "x"}}, set()),
        (CERT, {"certificate": CERT, "basic_auth_data": {"password": "x"}}, set()),
        ("orgsubject", {"origin": "jwt"}, set()),
    ],
)
def test_what_a_certificate_has_made_is_found_by_few(id: str, fields: dict[str, Any], found: set[str]) -> None:
    """An id of a certificate's form is public, whichever certificate the key has by now; where certificates are asked for it needs one."""
    keys = Keys()
    run(keys.sessions.save(id, Session(org_id="org", **fields)))
    assert {purpose for purpose in ("token", "without_certificate", "old_rule") if find(keys, id.encode(), purpose=purpose)} == found


def test_only_a_secret_of_its_own_verifies_tokens() -> None:
    """Decisions 3.6: an empty one would let everybody sign."""
    keys = Keys()
    for name, data in (("good", {"secret": "x"}), ("empty", {"secret": ""}), ("none", {})):
        keys.add(name, jwt_data=data)
        assert (find(keys, name.encode(), purpose="jwt") is not None) is (name == "good")


def test_an_id_made_from_a_certificate_is_no_token_after_a_change_of_organisation() -> None:
    """The fingerprint is known to everybody who sees the certificate, whatever organisation the session has by now."""
    keys = Keys()
    id = "old" + "ab" * 32
    run(keys.sessions.save(id, Session(org_id="org", certificate="org" + "AB" * 32)))
    assert find(keys, id.encode()) is None
    assert find(keys, id.encode(), purpose="any") is not None
    keys.add("mine", certificate="org" + "ab" * 32)
    assert find(keys, b"mine") is not None


def test_users_have_a_password_and_no_other_origin() -> None:
    """Decisions 3.3: a key without password is no user, whatever password is sent; neither is a virtual session."""
    keys = Keys()
    keys.add("key")
    keys.add("empty", basic_auth_data={"password": "", "hash_type": ""})
    keys.add("odd", basic_auth_data={"hash_type": "bcrypt"})
    keys.add("subject", origin="jwt", basic_auth_data={"password": "x"})
    for name in (b"key", b"empty", b"odd", b"subject"):
        assert find(keys, name, purpose="basic") is None
    for origin in ("", "basic"):
        keys.add("user", origin=origin, basic_auth_data={"password": "x"})
        assert find(keys, b"user", purpose="basic").id == "orguser"
