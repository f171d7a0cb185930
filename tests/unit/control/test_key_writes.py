"""Tests of `tlsgate.control.key_writes`: creation and update, each row of the reference (keys reference, section 11)."""

from __future__ import annotations

import base64

import msgspec
import pytest

from tests.support.control import MemoryControl, rights, token_api
from tests.support.keys import run
from tlsgate.auth.key_ids import hash_key
from tlsgate.model.policy import Policy
from tlsgate.model.session import AccessRight, Session

NOW = 1_800_000_000
GOLD = Policy(id="gold", org_id="org", rate=5, per=1, access_rights={"api": AccessRight()}, key_expires_in=3600)
BODY = {"org_id": "org", "access_rights": rights()}
SECURITY = "Failed to create key, ensure security settings are correct."


def stored(control: MemoryControl, id: str) -> Session:
    session = run(control.state.sessions.load(id))
    assert session is not None
    return session


@pytest.mark.parametrize("path", ["/tyk/keys/create", "/tyk/keys"])
def test_a_generated_id_is_organisation_and_32_digits(path: str) -> None:
    """Without ``hash_key_function``; the answer has no hash, and the key works at once."""
    control = MemoryControl()
    reply = control.call("POST", path, BODY)
    assert reply.status == 200 and sorted(reply.body) == ["action", "key", "status"]
    assert (reply.body["action"], reply.key[:3], len(reply.key)) == ("added", "org", 35)
    assert control.ask(reply.key) == 200
    session = stored(control, reply.key)
    assert (session.date_created, session.last_updated) == ("2027-01-15T08:00:00Z", str(NOW))


def test_with_a_function_the_id_says_how_it_is_hashed() -> None:
    """Base64 of organisation, id, function; ``key_hash`` stands in the answer with ``hash_keys``."""
    control = MemoryControl(hash_keys=True, hash_key_function="murmur128", hash_key_function_fallback=["sha256"])
    reply = control.call("POST", "/tyk/keys/the-key", BODY)
    assert base64.b64decode(reply.key) == b'{"org":"org","id":"the-key","h":"murmur128"}'
    assert reply.body["key_hash"] == hash_key(reply.key, "murmur128")
    again = control.call("POST", f"/tyk/keys/{reply.key.replace('=', '%3D')}", {**BODY, "alias": "again"})
    assert again.key == reply.key and stored(control, reply.key).alias == "again"
    assert control.ask("the-key") == 200


def test_an_id_of_a_function_that_is_not_configured_cannot_be_written() -> None:
    """400: nobody could use it."""
    control = MemoryControl(hash_keys=True)
    foreign = base64.b64encode(b'{"org":"org","id":"x","h":"murmur64"}').decode()
    reply = control.call("POST", f"/tyk/keys/{foreign.replace('=', '%3D')}", BODY)
    assert (reply.status, reply.message) == (400, "the key ID: the id names a hash function that is not configured")


@pytest.mark.parametrize("name", ["the-key", "orgthe-key"])
def test_a_custom_id_with_or_without_its_organisation_is_one_key(name: str) -> None:
    """POST over an existing key replaces it."""
    control = MemoryControl()
    assert control.call("POST", "/tyk/keys/the-key", {**BODY, "alias": "old"}).key == "orgthe-key"
    reply = control.call("POST", f"/tyk/keys/{name}", {**BODY, "alias": "new"})
    assert reply.body == {"key": "orgthe-key", "status": "ok", "action": "added"}
    assert stored(control, "orgthe-key").alias == "new"
    assert control.call("GET", "/tyk/keys").body == {"keys": ["orgthe-key"]}


@pytest.mark.parametrize(("minimum", "id", "good"), [(0, "ab", False), (0, "abc", True), (8, "seven77", False), (8, "eight888", True)])
def test_an_id_that_is_too_short_is_refused(minimum: int, id: str, good: bool) -> None:
    """400 with Tyk's words; 0 is 3."""
    reply = MemoryControl(min_token_length=minimum).call("POST", f"/tyk/keys/{id}", BODY)
    assert (reply.status == 200) == good
    if not good:
        assert (reply.status, reply.message) == (
            400,
            f"custom key ID length {len(id)} is less than min_token_length ({minimum or 3}); the key would be unreachable at auth time. "
            "Use an ID of at least min_token_length characters, or lower min_token_length in the gateway configuration.",
        )


@pytest.mark.parametrize("id", ["abc%00def", "abc%0Adef", "abc%FFdef", "abc%7Fdef", "%C2%85abc"])
def test_an_id_that_no_client_can_send_is_refused(id: str) -> None:
    """400; nothing is stored."""
    control = MemoryControl()
    assert control.call("POST", f"/tyk/keys/{id}", BODY).status == 400
    assert control.call("GET", "/tyk/keys").body == {"keys": []}


@pytest.mark.parametrize(
    "id",
    ["a%2Fb%2Fc", "..", "%2E%2E%2F%2E%2E", "a,b", "orga,orgb", "a%20b", "%E2%82%AC%E2%82%AC%E2%82%AC", "x" * 4000, "a'b--", "%2A%3F%5B"],
)
def test_odd_ids_are_plain_data(id: str) -> None:
    """Whatever they mean elsewhere: each is made, found, listed, revoked, and no other with it."""
    control = MemoryControl()
    other = control.call("POST", "/tyk/keys/orgother", BODY).key
    reply = control.call("POST", f"/tyk/keys/{id}", BODY)
    if id == "..":  # too short an id; and a path that the channel cleans before anybody sees it
        assert reply.status != 200
        return
    made = reply.key
    assert sorted(control.call("GET", "/tyk/keys").body["keys"]) == sorted([made, other])
    assert control.call("GET", f"/tyk/keys/{id}?org_id=org").status == 200
    assert control.call("DELETE", f"/tyk/keys/{id}?org_id=org").key == made
    assert control.call("GET", "/tyk/keys").body == {"keys": [other]}


def test_a_key_by_hash_cannot_be_made() -> None:
    """400: in Tyk it is stored under a name that nobody can reach."""
    for control in (MemoryControl(), MemoryControl(hash_keys=True)):
        reply = control.call("POST", f"/tyk/keys/{'0' * 64}?hashed=true", BODY)
        assert (reply.status, reply.message) == (400, "a key cannot be created by its hash")


MALFORMED = [
    b"",
    b"nonsense",
    b"[]",
    b"null",
    b'"text"',
    b"{}{}",
    b'{"rate": "1"}',
    b'{"expires": 1.7e9}',
    b'{"access_rights": []}',
    b'{"access_rights": {"api": []}}',
    b'{"access_rights": {"api": {"allowed_urls": [{"url": 1}]}}}',
    b'{"org_id": "a", "org_id": "b"}',
    b'{"org_id": "a", "ORG_ID": "b"}',
    b'{"apply_policies": "gold"}',
    b'{"quota_max": 9223372036854775808}',
    b'{"alias": "\xff"}',
    b'{"alias": "\\ud800"}',
    b'{"meta_data": ' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}",
    b'{"meta_data": {"a": NaN}}',
    b'{"meta_data": {"a": 1e999}}',
    b'{"date_created": "yesterday"}',
    b'{"basic_auth_data": {"password": 1}}',
    b'{"tags": [[]]}',
]


@pytest.mark.parametrize("body", MALFORMED)
def test_bodies_that_are_no_session(body: bytes) -> None:
    """500 `Unmarshalling failed` on create, 400 `Request malformed` elsewhere; nothing is stored or changed."""
    control = MemoryControl()
    id = control.call("POST", "/tyk/keys/the-key", {**BODY, "alias": "before"}).key
    create = control.call("POST", "/tyk/keys/create", body)
    assert (create.status, create.message) == (500, "Unmarshalling failed")
    for method, path in (("POST", "/tyk/keys"), ("POST", "/tyk/keys/the-key"), ("PUT", f"/tyk/keys/{id}")):
        reply = control.call(method, path, body)
        assert (reply.status, reply.message) == (400, "Request malformed")
    assert control.call("GET", "/tyk/keys").body == {"keys": [id]}
    assert stored(control, id).alias == "before"


def test_names_of_members_are_read_in_any_case_and_unknown_ones_stay() -> None:
    """As in Go; numbers beyond 64 bits in free members survive."""
    control = MemoryControl()
    body = (
        b'{"ORG_ID":"org","Access_Rights":{"api":{}},"Alias":"me","theirs":{"x":[1,2]},"meta_data":{"big":123456789012345678901234567890}}'
    )
    id = control.call("POST", "/tyk/keys/the-key", body).key
    shown = control.call("GET", f"/tyk/keys/{id}").body
    assert (shown["alias"], shown["theirs"], shown["meta_data"]["big"]) == ("me", {"x": [1, 2]}, 123456789012345678901234567890)


def test_a_key_without_rights_is_a_master_key() -> None:
    """400 on create, 500 elsewhere; ``allow_master_keys`` allows it, and it opens every API."""
    control = MemoryControl()
    create = control.call("POST", "/tyk/keys/create", {"org_id": "org"})
    assert (create.status, create.message) == (400, "Failed to create key, keys must have at least one Access Rights record set.")
    for path in ("/tyk/keys", "/tyk/keys/the-key"):
        reply = control.call("POST", path, {"org_id": "org"})
        assert (reply.status, reply.message) == (500, SECURITY)
    master = MemoryControl(token_api(), token_api("two"), allow_master_keys=True)
    key = master.call("POST", "/tyk/keys/create", {"org_id": "org"}).key
    assert (master.ask(key), master.ask(key, "/two/")) == (200, 200)
    assert control.call("PUT", f"/tyk/keys/{control.call('POST', '/tyk/keys', BODY).key}", {"org_id": "org"}).message == SECURITY


def test_policies_that_cannot_be_applied() -> None:
    """500 with the reason on create, 500 without elsewhere; the key that was there stays."""
    control = MemoryControl(policies=(GOLD,))
    body = {"org_id": "org", "apply_policies": ["gold", "missing"]}
    create = control.call("POST", "/tyk/keys/create", body)
    assert (create.status, create.message) == (500, 'Failed to create key - policy not found: "missing"')
    id = control.call("POST", "/tyk/keys/the-key", {**BODY, "alias": "before"}).key
    for method, path in (("POST", "/tyk/keys"), ("POST", "/tyk/keys/the-key"), ("PUT", f"/tyk/keys/{id}")):
        reply = control.call(method, path, body)
        assert (reply.status, reply.message) == (500, SECURITY)
    assert stored(control, id).alias == "before"


def test_what_policies_make_of_a_key_is_stored_but_their_inactivity_is_not() -> None:
    """A policy that is switched on again brings its keys back."""
    off = msgspec.structs.replace(GOLD, is_inactive=True)
    control = MemoryControl(policies=(off,))
    key = control.call("POST", "/tyk/keys/create", {"org_id": "org", "apply_policies": ["gold"]}).key
    session = stored(control, key)
    assert (sorted(session.access_rights), session.rate, session.is_inactive) == (["api"], 5.0, False)
    assert control.ask(key) == 403
    control.state.policies.table = type(control.state.policies.table)([GOLD])
    assert control.ask(key) == 200


def test_a_harmless_update_leaves_the_end_of_a_key_alone() -> None:
    """Field report B42: GET, another alias, PUT, twice, with and without ``suppress_reset``: ``expires`` is that of the first creation."""
    control = MemoryControl(policies=(GOLD,))
    key = control.call("POST", "/tyk/keys/create", {"org_id": "org", "apply_policies": ["gold"]}).key
    assert stored(control, key).expires == NOW + 3600
    for query in ("", "?suppress_reset=1"):
        control.clock.time += 600
        body = control.call("GET", f"/tyk/keys/{key}").body
        assert control.call("PUT", f"/tyk/keys/{key}{query}", {**body, "alias": f"new{query}"}).status == 200
        assert stored(control, key).expires == NOW + 3600
        assert control.ask(key) == 200
    control.clock.time = NOW + 3601
    assert control.ask(key) == 401


def test_an_end_in_the_past_is_stored_as_it_was_asked() -> None:
    """In Tyk such a key never expires."""
    control = MemoryControl()
    for path in ("/tyk/keys/create", "/tyk/keys/the-key"):
        key = control.call("POST", path, {**BODY, "expires": NOW - 5}).key
        assert (stored(control, key).expires, control.ask(key)) == (NOW - 5, 401)
    assert control.call("PUT", f"/tyk/keys/{key}", {**BODY, "expires": NOW + 5}).status == 200
    assert control.ask(key) == 200
    assert control.call("PUT", f"/tyk/keys/{key}", {**BODY, "expires": NOW - 5}).status == 200
    assert control.ask(key) == 401


def test_an_update_replaces_the_object_and_keeps_what_tyk_keeps() -> None:
    """``date_created`` stays; with ``suppress_reset=1`` also ``quota_renews`` and ``last_updated``; all else is as sent."""
    control = MemoryControl()
    key = control.call("POST", "/tyk/keys/the-key", {**BODY, "alias": "old", "quota_max": 5, "quota_renewal_rate": 60}).key
    first = stored(control, key)
    assert first.quota_renews == NOW + 60
    control.clock.time += 10
    body = {**BODY, "date_created": "2000-01-01T00:00:00Z", "quota_renews": 7, "quota_max": 5, "quota_renewal_rate": 60}
    reply = control.call("PUT", f"/tyk/keys/{key}?suppress_reset=1", body)
    assert reply.body == {"key": key, "status": "ok", "action": "modified"}
    kept = stored(control, key)
    assert (kept.date_created, kept.last_updated, kept.quota_renews, kept.alias) == (first.date_created, str(NOW), NOW + 60, "")
    control.call("PUT", f"/tyk/keys/{key}", body)
    renewed = stored(control, key)
    assert (renewed.date_created, renewed.last_updated, renewed.quota_renews) == (first.date_created, str(NOW + 10), NOW + 70)


def test_an_unknown_key_cannot_be_updated() -> None:
    """404 `Key is not found`, and nothing is made."""
    control = MemoryControl()
    reply = control.call("PUT", "/tyk/keys/nobody", BODY)
    assert (reply.status, reply.message) == (404, "Key is not found")
    assert control.call("GET", "/tyk/keys").body == {"keys": []}


def test_an_update_by_short_name_by_hash_and_without_organisation() -> None:
    """The body names the organisation; one that names none keeps the old one."""
    control = MemoryControl(hash_keys=True)
    created = control.call("POST", "/tyk/keys/the-key", BODY).body
    assert control.call("PUT", "/tyk/keys/the-key", {**BODY, "alias": "a"}).key == created["key"]
    assert control.call("PUT", f"/tyk/keys/{created['key_hash']}?hashed=1", {**BODY, "alias": "b"}).key == created["key_hash"]
    assert stored(control, created["key"]).alias == "b"
    control.call("PUT", f"/tyk/keys/{created['key']}", {"access_rights": rights()})
    assert stored(control, created["key"]).org_id == "org"
    assert control.ask("the-key") == 200


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize(("query", "kept", "first"), [("", False, 200), ("?suppress_reset=1", True, 403)])
def test_a_write_starts_counters_anew_unless_told_not_to(method: str, query: str, kept: bool, first: int) -> None:
    """Quota used up, key written: full again, or still used up."""
    control = MemoryControl()
    body = {**BODY, "quota_max": 2, "quota_renewal_rate": 600}
    key = control.call("POST", "/tyk/keys/the-key", body).key
    assert [control.ask(key) for _ in range(3)] == [200, 200, 403]
    assert control.call(method, f"/tyk/keys/{key}{query}", body).status == 200
    assert control.ask(key) == first


def test_an_api_can_keep_its_counters() -> None:
    """``dont_set_quota_on_create``."""
    control = MemoryControl(token_api(dont_set_quota_on_create=True))
    body = {**BODY, "quota_max": 1, "quota_renewal_rate": 600}
    key = control.call("POST", "/tyk/keys/the-key", body).key
    assert [control.ask(key) for _ in range(2)] == [200, 403]
    control.call("PUT", f"/tyk/keys/{key}", body)
    assert control.ask(key) == 403


def test_a_changed_key_counts_for_the_next_request() -> None:
    """Rights and rate, with a cached session, whatever the spelling."""
    control = MemoryControl(token_api(), token_api("two"))
    key = control.call("POST", "/tyk/keys/the-key", BODY).key
    assert (control.ask("the-key"), control.ask("the-key", "/two/")) == (200, 403)
    control.call("PUT", f"/tyk/keys/{key}", {**BODY, "access_rights": rights("two")})
    assert (control.ask("the-key"), control.ask("the-key", "/two/")) == (403, 200)


def test_rights_for_apis_that_are_not_there_are_stored() -> None:
    """An API may come later."""
    control = MemoryControl()
    key = control.call("POST", "/tyk/keys/create", {"org_id": "org", "access_rights": rights("later")}).key
    assert sorted(stored(control, key).access_rights) == ["later"]


def test_create_makes_a_new_secret_for_hmac_and_tells_it_once() -> None:
    """A given one is overwritten, as in Tyk; the answer shows it, which Tyk's does not; without ``hmac_enabled`` there is none."""
    control = MemoryControl()
    replies = [control.call("POST", "/tyk/keys/create", {**BODY, "hmac_enabled": True, "hmac_string": "mine"}) for _ in range(2)]
    first, second = (stored(control, reply.key).hmac_string for reply in replies)
    assert first != second and len(base64.b64decode(first)) == 32
    assert [reply.body["hmac_string"] for reply in replies] == [first, second]
    plain = control.call("POST", "/tyk/keys/create", BODY)
    assert stored(control, plain.key).hmac_string == "" and "hmac_string" not in plain.body


@pytest.mark.parametrize("path", ["/tyk/keys/the-key", "/tyk/keys"])
def test_other_calls_make_a_secret_where_none_is_given(path: str) -> None:
    """A given one stays and is not told; Tyk leaves such a key without a secret, so that it can never sign."""
    control = MemoryControl()
    given = control.call("POST", path, {**BODY, "hmac_enabled": True, "hmac_string": "mine"})
    assert stored(control, given.key).hmac_string == "mine" and "hmac_string" not in given.body
    made = control.call("POST", path, {**BODY, "hmac_enabled": True, "hmac_string": ""})
    assert stored(control, made.key).hmac_string == made.body["hmac_string"] != ""


def test_a_put_without_a_secret_keeps_the_old_one() -> None:
    """Tyk wipes it; a key that is switched to HMAC by a PUT gets one, and one that is given counts."""
    control = MemoryControl()
    key = control.call("POST", "/tyk/keys/the-key", {**BODY, "hmac_enabled": True, "hmac_string": "mine"}).key
    kept = control.call("PUT", f"/tyk/keys/{key}", {**BODY, "hmac_enabled": True, "alias": "me"})
    assert (stored(control, key).alias, stored(control, key).hmac_string) == ("me", "mine") and "hmac_string" not in kept.body
    control.call("PUT", f"/tyk/keys/{key}", {**BODY, "hmac_enabled": True, "hmac_string": "other"})
    assert stored(control, key).hmac_string == "other"
    plain = control.call("POST", "/tyk/keys/create", BODY).key
    made = control.call("PUT", f"/tyk/keys/{plain}", {**BODY, "hmac_enabled": True})
    assert stored(control, plain).hmac_string == made.body["hmac_string"] != ""


def test_a_mask_is_no_secret() -> None:
    """What GET with ``mask_secrets=1`` shows can be posted under another id: everybody would know the secret of that key."""
    control = MemoryControl()
    made = control.call("POST", "/tyk/keys/the-key", {**BODY, "hmac_enabled": True, "hmac_string": "********"})
    assert stored(control, made.key).hmac_string == made.body["hmac_string"] != "********"
    off = control.call("POST", "/tyk/keys/other-key", {**BODY, "hmac_string": "********"})
    assert stored(control, off.key).hmac_string == ""
    for path in ("/tyk/keys/third-key", "/tyk/keys/create"):
        other = control.call("POST", path, {**BODY, "jwt_data": {"secret": "********"}})
        assert stored(control, other.key).jwt_data == {"secret": ""}


def test_where_a_session_came_from_cannot_be_forged() -> None:
    """``tlsgate_origin`` in a body says nothing; an update keeps what is stored (decisions 3.3)."""
    control = MemoryControl()
    key = control.call("POST", "/tyk/keys/create", {**BODY, "tlsgate_origin": "jwt"}).key
    assert control.ask(key) == 200
    run(control.state.sessions.save("orgvirtual", Session(org_id="org", origin="jwt", access_rights={"api": AccessRight()})))
    assert control.call("PUT", "/tyk/keys/orgvirtual", {**BODY, "tlsgate_origin": ""}).status == 200
    assert control.ask("orgvirtual") == 403


def test_names_and_passwords_with_colons_draw_a_warning() -> None:
    """Field report B38: such a user may not be able to log in, and the answer says so."""
    control = MemoryControl()
    assert "colon" in control.call("POST", "/tyk/keys/john", {**BODY, "basic_auth_data": {"password": "john:key"}}).body["message"]
    assert "colon" in control.call("POST", "/tyk/keys/jo:hn", {**BODY, "basic_auth_data": {"password": "key"}}).body["message"]
    assert "message" not in control.call("POST", "/tyk/keys/john", {**BODY, "basic_auth_data": {"password": "key"}}).body


def test_the_name_of_a_basic_user_is_not_told_where_keys_are_hashed() -> None:
    """``"key": ""`` with its hash, as in Tyk; and the user's name is no auth token."""
    control = MemoryControl(hash_keys=True)
    reply = control.call("POST", "/tyk/keys/john", {**BODY, "basic_auth_data": {"password": "key"}})
    assert reply.body["key"] == "" and len(reply.body["key_hash"]) == 64
    assert control.call("GET", f"/tyk/keys/{reply.body['key_hash']}?hashed=1").body["basic_auth_data"] == {"hash_type": "bcrypt"}
    assert control.ask("john") == 403


def test_a_key_with_a_weak_hash_never_takes_the_place_of_another() -> None:
    """Field report B37: with murmur32 ids that differ in their last characters have one hash; the second is refused, the first stays."""
    control = MemoryControl(hash_keys=True, hash_key_function="murmur32")
    first = control.state.naming.place(control.call("POST", "/tyk/keys/first", BODY).key)
    assert control.call("POST", "/tyk/keys/first", BODY).status == 200, "the same key again"
    run(control.state.store.put(first.check_key, b"the check value of another id"))
    twin = control.call("POST", "/tyk/keys/first", {**BODY, "alias": "twin"})
    assert (twin.status, twin.message) == (400, "another key has the same hash; choose another ID, or sha256 as hash_key_function")
    assert b"twin" not in (run(control.state.store.get(first.key)) or b"")
    plain = MemoryControl(hash_keys=True, hash_key_function_fallback=["murmur32"])
    run(plain.state.sessions.save("org1mysecretkey", Session(org_id="org", access_rights={"api": AccessRight()}, alias="first")))
    assert plain.ask("1mysecretkey") == 200
    for twin in ("1mysecretkez", "1mysecretkeyX", "1mysecretkeyXX", "org"):
        assert plain.ask(twin) == 403
        assert plain.call("GET", f"/tyk/keys/org{twin}").status == 404
        assert plain.call("DELETE", f"/tyk/keys/org{twin}").status == 404
        assert plain.call("PUT", f"/tyk/keys/org{twin}", BODY).status == 404
    assert plain.ask("1mysecretkey") == 200


@pytest.mark.parametrize("custom", ["%20blank", "blank%20", "org%C2%A0"])
def test_an_id_with_a_blank_at_its_end_is_refused(custom: str) -> None:
    """Whoever reads a header takes it away."""
    control = MemoryControl()
    assert control.call("POST", f"/tyk/keys/{custom}", BODY).message == "the key ID holds characters that no client can send"


def test_an_organisation_that_no_client_can_send_gets_no_keys() -> None:
    """The id begins with it."""
    control = MemoryControl()
    for org in ("o\x00rg", "o\nrg", " org"):
        assert control.call("POST", "/tyk/keys/create", {**BODY, "org_id": org}).status == 400
    assert control.call("GET", "/tyk/keys").body == {"keys": []}


@pytest.mark.parametrize("field", ["quota_renewal_rate", "session_lifetime", "expires", "quota_max"])
def test_the_largest_numbers_make_a_key_that_works(field: str) -> None:
    """What is acknowledged can be read again: sums with the time of day stay within 64 bits."""
    control = MemoryControl()
    key = control.call("POST", "/tyk/keys/create", {**BODY, "quota_max": 5, field: 2**63 - 1}).key
    assert [control.ask(key), control.ask(key)] == [200, 200]
    assert control.call("PUT", f"/tyk/keys/{key}", {**BODY, "quota_max": 5, field: 2**63 - 1}).status == 200
    assert control.ask(key) == 200
    assert control.call("GET", f"/tyk/keys/{key}").status == 200


def test_a_policy_whose_keys_end_after_all_time_makes_keys_that_work() -> None:
    """``key_expires_in`` beyond what a date can be."""
    policy = Policy(id="far", org_id="org", key_expires_in=2**63 - 1, access_rights={"api": AccessRight()})
    control = MemoryControl(policies=(policy,))
    key = control.call("POST", "/tyk/keys/create", {"org_id": "org", "apply_policies": ["far"]}).key
    assert control.ask(key) == 200


def test_a_new_key_whose_weak_hash_is_taken_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a million keys under murmur32 one in 4,000 new ones would take the place of another customer's."""
    control = MemoryControl(hash_keys=True, hash_key_function="murmur32")
    old = control.call("POST", "/tyk/keys/create", {**BODY, "alias": "old"}).key
    monkeypatch.setattr("tlsgate.auth.key_ids.murmur32", lambda data: "00000000")
    naming = control.state.naming
    place = naming.find_candidate(old)
    assert place is not None
    monkeypatch.setattr(type(naming), "find_candidate", lambda self, id: place._replace(id=id))
    assert control.call("POST", "/tyk/keys/create", {**BODY, "alias": "new"}).status == 400
    monkeypatch.undo()
    assert stored(control, old).alias == "old"
