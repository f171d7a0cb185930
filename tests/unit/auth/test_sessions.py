"""Look-up, cache and writes of sessions: exact eviction, one round trip, nothing that was revoked."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from tests.support.keys import Keys, begin, run
from tlsgate.auth import sessions
from tlsgate.auth.key_ids import hash_key
from tlsgate.auth.policies import PolicyTable
from tlsgate.auth.session_codec import encode_stored
from tlsgate.errors import StoreUnavailable
from tlsgate.model.policy import Policy
from tlsgate.model.session import AccessRight, Session

ORG = "5e9d9544a1dcd60001d0ed20"


def now(keys: Keys) -> float:
    return keys.clock.monotonic()


def find(keys: Keys, presented: bytes, org: str = "org", purpose: str = "token") -> Any:
    return run(keys.sessions.reader(org, purpose).find(presented))


def test_a_key_is_found_under_all_its_spellings_in_one_round_trip() -> None:
    """Raw custom id and full id; the stored id is what it is known by."""
    keys = Keys()
    id = keys.add("custom")
    for spelling in (b"custom", id.encode()):
        keys.sessions.forget_all()
        before = keys.store.reads
        view = find(keys, spelling)
        assert (view.id, view.name, keys.store.reads - before) == (id, id, 1)
    assert find(keys, b"other") is None
    assert find(keys, b"cu") is None
    assert find(keys, b"cust\xffom") is None


def test_a_cached_key_is_known_without_waiting_until_its_time_is_over() -> None:
    """Ten seconds, or what is left of its life."""
    keys = Keys()
    keys.add("custom")
    reader = keys.sessions.reader("org")
    assert reader.peek(b"custom", now(keys)) is None
    view = find(keys, b"custom")
    assert reader.peek(b"custom", now(keys)) is view
    assert keys.sessions.cached_session(view.id) == run(keys.sessions.load(view.id))
    keys.clock.time += 9.999
    assert reader.peek(b"custom", now(keys)) is view
    keys.clock.time += 0.001
    assert reader.peek(b"custom", now(keys)) is None
    assert keys.sessions.cached_session(view.id) is None
    assert keys.sessions.cached_session("unknown") is None
    assert find(keys, b"custom") is view, "unchanged: what was compiled stays"


def test_the_cache_ends_with_the_life_of_the_key() -> None:
    """Not ten seconds later."""
    keys = Keys()
    keys.add("custom", session_lifetime=4)
    reader = keys.sessions.reader("org")
    assert find(keys, b"custom") is not None
    keys.clock.time += 3.9
    assert reader.peek(b"custom", now(keys)) is not None
    keys.clock.time += 0.1
    assert reader.peek(b"custom", now(keys)) is None


@pytest.mark.parametrize("function", ["", "murmur32", "murmur64", "murmur128", "sha256"])
@pytest.mark.parametrize("hashes", [False, True])
@pytest.mark.parametrize("by_name", [False, True])
def test_a_deleted_key_is_refused_at_once_in_every_spelling(function: str, hashes: bool, by_name: bool) -> None:
    """BETTER: Tyk serves it for ten seconds under any hash but murmur64."""
    keys = Keys(hash_keys=hashes, hash_key_function=function)
    id = keys.add("custom")
    reader = keys.sessions.reader("org")
    spellings = (b"custom", id.encode(), b"org" + b"custom")
    for spelling in spellings:
        find(keys, spelling)
    assert reader.peek(b"custom", now(keys)) is not None
    name = keys.naming.place(id).name
    assert run(keys.sessions.delete_name(name) if by_name else keys.sessions.delete(id))
    for spelling in spellings:
        assert reader.peek(spelling, now(keys)) is None
        assert find(keys, spelling) is None
    assert keys.sessions.cached_session(id) is None
    assert not run(keys.sessions.delete(id))
    assert run(keys.sessions.load_name(name)) is None


def test_a_changed_key_is_seen_at_once() -> None:
    """The old session is served to nobody once the write returned."""
    keys = Keys()
    id = keys.add("custom", alias="old")
    assert find(keys, b"custom").session.alias == "old"
    run(keys.sessions.save(id, Session(org_id="org", alias="new")))
    assert find(keys, b"custom").session.alias == "new"
    assert run(keys.sessions.save_name(id, Session(org_id="org", alias="newer")))
    assert find(keys, b"custom").session.alias == "newer"
    assert not run(keys.sessions.save_name("nobody", Session()))
    assert not run(keys.sessions.save(id, Session(), only_if="absent"))


def test_a_key_that_comes_before_takes_the_spelling_over() -> None:
    """The raw id was found as it stands; then gen(org, id) is made: from then on that one is meant."""
    keys = Keys()
    keys.add(id="rawkey", alias="raw")
    assert find(keys, b"rawkey").session.alias == "raw"
    keys.add("rawkey", alias="generated")
    assert find(keys, b"rawkey").session.alias == "generated"


def test_changes_elsewhere_evict_exactly() -> None:
    """The feed names stored names; a gap forgets everything."""
    keys = Keys()
    first, second = keys.add("first"), keys.add("second")
    reader = keys.sessions.reader("org")
    for spelling in (b"first", b"second"):
        find(keys, spelling)
    keys.sessions.on_change("key", f"nothing,{first}")
    assert reader.peek(b"first", now(keys)) is None
    assert reader.peek(b"second", now(keys)) is not None
    keys.sessions.on_change("policy", "")
    assert reader.peek(b"second", now(keys)) is not None
    keys.sessions.on_change("gap", "")
    assert reader.peek(b"second", now(keys)) is None
    assert keys.sessions.cached_session(second) is None


def test_many_at_once_cost_one_round_trip() -> None:
    """Known or not; the same answer for all."""
    keys = Keys()
    keys.add("custom")
    reader = keys.sessions.reader("org")
    for spelling, known in ((b"custom", True), (b"nobody", False)):
        keys.store.reads, keys.store.held = 0, []
        waiting = [begin(reader.find(spelling))[1] for _ in range(5)]
        assert keys.store.reads == 1
        assert waiting == [[], [], [], [], []]
        keys.store.held[0].callback(None)
        assert [(result is not None) for (result,) in waiting] == [known] * 5
        assert keys.store.reads == 1
    keys.store.held = None
    assert find(keys, b"nobody") is None, "an unknown key is not remembered"
    keys.add("nobody")
    assert find(keys, b"nobody") is not None


def test_who_goes_away_takes_nobody_along() -> None:
    """The first is cancelled while the store works: the next one asks again."""
    keys = Keys()
    keys.add("custom")
    reader = keys.sessions.reader("org")
    keys.store.held = []
    (first, one), (second, two), (_, three) = (begin(reader.find(b"custom")) for _ in range(3))
    second.cancel()
    assert isinstance(two[0], Failure)
    first.cancel()
    assert isinstance(one[0], Failure)
    assert three == []
    keys.store.held[1].callback(None)
    assert three[0].id == "orgcustom"
    assert keys.store.reads == 2


def test_a_store_that_is_away_is_no_unknown_key() -> None:
    """503, for all who wait; what is cached goes on; afterwards everything is well."""
    keys = Keys()
    keys.add("custom")
    keys.add("cached")
    reader = keys.sessions.reader("org")
    find(keys, b"cached")
    keys.store.held = []
    waiting = [begin(reader.find(b"custom"))[1] for _ in range(3)]
    keys.store.held[0].errback(StoreUnavailable("gone"))
    for (result,) in waiting:
        assert result.check(StoreUnavailable)
    keys.store.held = None
    keys.store._available = False
    with pytest.raises(StoreUnavailable):
        find(keys, b"custom")
    assert reader.peek(b"cached", now(keys)) is not None
    keys.store.available = True
    assert find(keys, b"custom") is not None


def test_a_delete_that_is_not_answered_forgets_all_the_same() -> None:
    """It may have happened."""
    keys = Keys()
    id = keys.add("custom")
    find(keys, b"custom")
    keys.store._available = False
    with pytest.raises(StoreUnavailable):
        run(keys.sessions.delete(id))
    assert keys.sessions.reader("org").peek(b"custom", now(keys)) is None


def test_a_delete_during_a_look_up_wins() -> None:
    """The old value that was on its way is not put into the cache, nor served to those who come after the delete."""
    keys = Keys()
    id = keys.add("custom")
    reader = keys.sessions.reader("org")
    keys.store.held = []
    _, result = begin(reader.find(b"custom"))
    run(keys.sessions.delete(id))
    _, later = begin(reader.find(b"custom"))
    keys.store.held.pop(0).callback(None)
    keys.store.held.pop(0).callback(None)
    assert result == [None] and later == [None]
    assert reader.peek(b"custom", now(keys)) is None


def test_a_key_that_changes_all_the_time_is_served_but_not_kept() -> None:
    """A bounded number of rounds."""
    keys = Keys()
    keys.add("custom")
    reader = keys.sessions.reader("org")
    keys.store.held = []
    _, result = begin(reader.find(b"custom"))
    for _ in range(4):
        keys.sessions.forget("orgcustom")
        keys.store.held.pop(0).callback(None)
    assert result[0].id == "orgcustom"
    assert reader.peek(b"custom", now(keys)) is None


def test_everything_forgotten_during_a_look_up() -> None:
    """A gap counts for what is under way too."""
    keys = Keys()
    keys.add("custom")
    keys.store.held = []
    _, result = begin(keys.sessions.reader("org").find(b"custom"))
    keys.sessions.forget_all()
    keys.store.held.pop(0).callback(None)
    assert result == []
    keys.store.held.pop(0).callback(None)
    assert result[0].id == "orgcustom"


def test_the_cache_is_bounded() -> None:
    """By keys and by spellings of one key; nothing is left behind of what went."""
    keys = Keys(cache_size=3)
    for number in range(10):
        keys.add(f"key{number}")
        find(keys, f"key{number}".encode())
    sessions = keys.sessions
    assert len(sessions._entries) == 3
    assert len(sessions._by_name) <= 6
    assert len(sessions.reader("org")._aliases) == 3
    for number in range(20):
        find(keys, b"key9", org=f"org{number}", purpose="any")
    run(sessions.save("same", Session()))
    for number in range(20):
        assert run(sessions.reader(f"o{number}", "any").find(b"same")) is not None
    (entry,) = [entry for id, entry in sessions._entries.items() if id == "same"]
    assert len(entry.aliases) == 16
    sessions.forget_all()
    assert not sessions._entries and not sessions._by_name
    assert all(not reader._aliases for reader in sessions._readers.values())


def test_without_a_cache_every_request_asks() -> None:
    """``disable_cached_session_state``."""
    keys = Keys(cache_sessions=False)
    keys.add("custom")
    find(keys, b"custom")
    assert keys.sessions.reader("org").peek(b"custom", now(keys)) is None
    assert find(keys, b"custom") is not None
    assert keys.store.reads == 2


def test_new_policies_count_at_once() -> None:
    """The stored session is cached, its policies are applied anew when there are new ones."""
    from tlsgate.auth.policies import PolicyTable

    keys = Keys([Policy(id="p", org_id="org", rate=5, per=1, access_rights={"api": AccessRight()})])
    keys.add("custom", apply_policies=("p",))
    view = find(keys, b"custom")
    assert view.session.rate == 5
    assert keys.sessions.reader("org").peek(b"custom", now(keys)) is view
    keys.book.table = PolicyTable([Policy(id="p", org_id="org", rate=7, per=1, access_rights={"api": AccessRight()})])
    fresh = keys.sessions.reader("org").peek(b"custom", now(keys))
    assert fresh is not None and fresh.session.rate == 7 and not fresh.fault
    keys.book.table = PolicyTable()
    gone = keys.sessions.reader("org").peek(b"custom", now(keys))
    assert gone is not None and gone.fault == 'policy not found: "p"'


def test_a_token_behind_something_else_is_found() -> None:
    """The first candidate is a basic user: the next one counts."""
    keys = Keys()
    keys.add("name", basic_auth_data={"password": "x"})
    run(keys.sessions.save("name", Session(alias="token")))
    assert find(keys, b"name").session.alias == "token"
    keys.sessions.forget_all()
    run(keys.store.put("apikey-orgname", b"not json"))
    assert find(keys, b"name").session.alias == "token"


@pytest.mark.parametrize("changed", ["1mysecretkeyX", "1mysecretkeyXX", "1mysecretkeyXXX", "1mysecretkez", "", "abc"])
@pytest.mark.parametrize("imported", [False, True])
def test_forged_murmur32_keys_are_refused(changed: str, imported: bool) -> None:
    """Field report B-keys: appended text, a changed last letter, the organisation alone; also right after a good request."""
    keys = Keys(hash_keys=True, hash_key_function="murmur32" if not imported else "", hash_key_function_fallback=("murmur32",))
    if imported:
        run(keys.store.put("apikey-" + hash_key("org1mysecretkey", "murmur32"), encode_stored(Session(org_id="org"))))
    else:
        keys.add("1mysecretkey")
    before = sum([len(batch) for batch in run(_names(keys))])
    assert find(keys, b"1mysecretkey") is not None
    assert find(keys, changed.encode()) is None
    assert find(keys, b"org" + changed.encode()) is None
    assert find(keys, b"1mysecretkey") is not None
    after = sum([len(batch) for batch in run(_names(keys))])
    assert after == before


async def _names(keys: Keys) -> list[list[str]]:
    return [batch async for batch in keys.store.names("apikey-")]


def test_the_check_value_lives_as_long_as_its_key() -> None:
    """Made with the key, or on first use of an imported one; gone with it."""
    keys = Keys(hash_keys=True, hash_key_function="murmur64")
    id = keys.add("custom", session_lifetime=60)
    candidate = keys.naming.place(id)
    entry = run(keys.store.get_entry(candidate.check_key))
    assert entry is not None and entry.ttl_s == 60
    run(keys.store.delete(candidate.check_key))
    assert find(keys, b"custom") is not None
    entry = run(keys.store.get_entry(candidate.check_key))
    assert entry is not None and entry.ttl_s is not None and 60 <= entry.ttl_s <= 61
    run(keys.sessions.delete(id))
    assert run(keys.store.get(candidate.check_key)) is None


def test_two_first_users_of_an_imported_key() -> None:
    """Only the id whose check value stands in the end passes."""
    keys = Keys(hash_keys=True, hash_key_function="murmur64")
    id = keys.add("custom")
    candidate = keys.naming.place(id)
    run(keys.store.delete(candidate.check_key))
    keys.store.held = []
    _, result = begin(keys.sessions.reader("org").find(b"custom"))
    run(keys.store.put(candidate.check_key, b"somebody else"))
    keys.store.held[0].callback(None)
    assert result == [None]


def test_ids_of_functions_that_are_not_configured() -> None:
    """Not found, not deleted, not written."""
    keys = Keys(hash_keys=True)
    foreign = base64.b64encode(b'{"org":"org","id":"x","h":"murmur32"}').decode()
    assert run(keys.sessions.load(foreign)) is None
    assert not run(keys.sessions.delete(foreign))
    with pytest.raises(ValueError, match="not configured"):
        run(keys.sessions.save(foreign, Session()))


def test_a_view_remembers_what_steps_compiled_within_bounds() -> None:
    """Steps of generations long gone do not pile up."""
    keys = Keys()
    keys.add("custom")
    view = find(keys, b"custom")
    for number in range(200):
        view.remember(number, number)
    assert view.memo[199] == 199
    assert len(view.memo) <= 64


def test_a_key_of_many_apis_keeps_what_was_compiled_for_each() -> None:
    """Used on all of them in turn, nothing is compiled twice."""
    keys = Keys()
    keys.add("custom", access_rights={f"api-{number}": AccessRight() for number in range(100)})
    view = find(keys, b"custom")
    for number in range(200):
        view.remember(number, number)
    assert len(view.memo) == 200


def test_a_follower_that_is_cancelled_later_is_no_trouble() -> None:
    """Its Deferred is called back all the same."""
    keys = Keys()
    keys.add("custom")
    keys.store.held = []
    reader = keys.sessions.reader("org")
    _, one = begin(reader.find(b"custom"))
    second: Deferred[Any]
    second, two = begin(reader.find(b"custom"))
    second.cancel()
    keys.store.held[0].callback(None)
    assert one[0].id == "orgcustom" and isinstance(two[0], Failure)


def test_a_change_that_nobody_told_is_seen_when_the_cache_ends() -> None:
    """Another program wrote the store."""
    keys = Keys()
    keys.add("custom", alias="old")
    find(keys, b"custom")
    run(keys.store.put("apikey-orgcustom", encode_stored(Session(org_id="org", alias="new"))))
    assert find(keys, b"custom").session.alias == "new", "a look-up asks the store in any case"
    run(keys.store.put("apikey-orgcustom", encode_stored(Session(org_id="org", alias="newer"))))
    peeked = keys.sessions.reader("org").peek(b"custom", now(keys))
    assert peeked is not None and peeked.session.alias == "new"
    keys.clock.time += 10
    assert keys.sessions.reader("org").peek(b"custom", now(keys)) is None
    assert find(keys, b"custom").session.alias == "newer"


def test_a_change_of_one_key_leaves_other_look_ups_alone() -> None:
    """Only who looks for that name starts anew."""
    keys = Keys()
    keys.add("custom")
    keys.store.held = []
    _, result = begin(keys.sessions.reader("org").find(b"custom"))
    keys.sessions.forget("another")
    keys.store.held.pop(0).callback(None)
    assert result[0].id == "orgcustom"


def test_two_keys_that_one_name_concerns() -> None:
    """Dropping one leaves the other's entry in the index; a spelling that moved on is not taken away."""
    keys = Keys()
    run(keys.sessions.save("raw", Session(alias="raw")))
    for org in ("one", "two"):
        assert run(keys.sessions.reader(org).find(b"raw")).session.alias == "raw"  # type: ignore[union-attr]
    keys.add("raw", org="one", alias="generated")
    assert run(keys.sessions.reader("one").find(b"raw")).session.alias == "generated"  # type: ignore[union-attr]
    assert run(keys.sessions.reader("two").find(b"raw")).session.alias == "raw"  # type: ignore[union-attr]
    assert run(keys.sessions.reader("one").find(b"oneraw")).session.alias == "generated"  # type: ignore[union-attr]
    keys.sessions.forget("raw")
    assert keys.sessions.reader("two").peek(b"raw", now(keys)) is None
    assert keys.sessions.reader("one").peek(b"raw", now(keys)) is not None


def test_an_index_entry_that_several_keys_share() -> None:
    """The token behind a basic user's name: dropping one leaves the other findable and forgettable."""
    keys = Keys()
    keys.add("raw", org="one", basic_auth_data={"password": "x"})
    run(keys.sessions.save("raw", Session(alias="token")))
    assert run(keys.sessions.reader("one").find(b"raw")).id == "raw"  # type: ignore[union-attr]
    assert run(keys.sessions.reader("one", "any").find(b"raw")).id == "oneraw"  # type: ignore[union-attr]
    keys.sessions.forget("raw")
    assert keys.sessions.reader("one").peek(b"raw", now(keys)) is None
    assert keys.sessions.reader("one", "any").peek(b"raw", now(keys)) is not None
    keys.sessions.forget("oneraw")
    assert keys.sessions.reader("one", "any").peek(b"raw", now(keys)) is None


def test_a_spelling_that_moved_on_stays_with_its_new_key() -> None:
    """The old key's end does not take it away."""
    keys = Keys()
    run(keys.sessions.save("raw", Session(alias="raw")))
    reader = keys.sessions.reader("one")
    assert run(reader.find(b"raw")).id == "raw"  # type: ignore[union-attr]
    run(keys.store.put("apikey-oneraw", encode_stored(Session(org_id="one"))))
    assert run(reader.find(b"raw")).id == "oneraw"  # type: ignore[union-attr]
    keys.sessions._drop(keys.sessions._entries["raw"])
    peeked = reader.peek(b"raw", now(keys))
    assert peeked is not None and peeked.id == "oneraw"


def test_a_change_told_by_others_reaches_ids_with_commas() -> None:
    """A message holds one name or a list with commas, as in Tyk: both readings are forgotten."""
    keys = Keys()
    ids = [keys.add("a,b"), keys.add("first"), keys.add("second")]
    reader = keys.sessions.reader("org")
    for custom in (b"a,b", b"first", b"second"):
        assert run(reader.find(custom)) is not None
    keys.sessions.on_change("key", ids[0])
    keys.sessions.on_change("key", ",".join(ids[1:]))
    assert [keys.sessions.cached_session(id) for id in ids] == [None, None, None]


def test_a_key_of_several_organisations_is_compiled_once_for_each() -> None:
    """Requests that alternate between them throw nothing away; new policies still count for all of them."""
    keys = Keys()
    keys.add("custom")
    one, other = (find(keys, b"orgcustom", org) for org in ("org", "guests"))
    assert one is not other
    assert [find(keys, b"orgcustom", org) for org in ("org", "guests", "org")] == [one, other, one]
    for number in range(100):
        find(keys, b"orgcustom", f"org-{number}")
    (entry,) = keys.sessions._entries.values()
    assert len(entry.views) < 20
    keys.book.table = PolicyTable()
    assert find(keys, b"orgcustom") is not one


def test_others_hear_of_a_delete_before_its_check_value_goes() -> None:
    """A store that goes away in between leaves a check value behind, never a revoked key in another process."""
    keys = Keys(hash_keys=True, hash_key_function="murmur64")
    id = keys.add("custom")
    told: list[tuple[str, str]] = []
    keys.store.subscribe(lambda topic, name: told.append((topic, name)))
    delete, calls = keys.store.delete, []

    async def break_off(*names: str) -> int:
        calls.append(names)
        if len(calls) > 1:
            raise StoreUnavailable("gone")
        return await delete(*names)

    keys.store.delete = break_off  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable):
        run(keys.sessions.delete(id))
    assert told == [("key", hash_key(id, "murmur64"))]


def test_a_user_under_a_weak_hash_is_pinned_by_the_password_only() -> None:
    """Looking one up by another name of the same hash writes nothing, which would lock the user out; a proven name is the only one then."""
    keys = Keys(hash_keys=True)
    data = {"password": "x", "hash_type": ""}
    name = hash_key("orgbellbell1", "murmur32")
    run(keys.store.put("apikey-" + name, encode_stored(Session(org_id="org", basic_auth_data=data)), ttl_s=60))
    assert hash_key("orgbellbell1x", "murmur32") == name
    near, view = find(keys, b"bellbell1x", purpose="basic"), find(keys, b"bellbell1", purpose="basic")
    assert (near.id, view.id) == ("orgbellbell1x", "orgbellbell1")
    assert run(keys.store.get("key-check-" + name)) is None
    reader = keys.sessions.reader("org", "basic")
    assert run(reader.pin(view)) and run(reader.pin(view))
    assert run(keys.store.get_entry("key-check-" + name)).ttl_s == pytest.approx(60, abs=1)
    assert not run(reader.pin(near))
    keys.sessions.forget_all()
    assert find(keys, b"bellbell1x", purpose="basic") is None
    assert find(keys, b"bellbell1", purpose="basic") is not None
    run(keys.sessions.delete_name(name))
    assert not run(reader.pin(view))


def test_other_users_need_no_pin() -> None:
    """Their names are known, or their hashes are strong: nothing is asked."""
    for settings in ({}, {"hash_keys": True}):
        keys = Keys(**settings)
        keys.add("john", basic_auth_data={"password": "x"})
        view = find(keys, b"john", purpose="basic")
        reads = keys.store.reads
        assert run(keys.sessions.reader("org", "basic").pin(view))
        assert keys.store.reads == reads


def test_what_has_not_changed_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store is asked, its answer compared; what has changed is read."""
    keys = Keys()
    keys.add("custom", alias="one")
    first = find(keys, b"custom").session
    keys.clock.time += 11

    def fail(value: bytes) -> Session:
        raise AssertionError("read again")

    with monkeypatch.context() as patch:
        patch.setattr(sessions, "read_session", fail)
        assert find(keys, b"custom").session is first
    run(keys.store.put("apikey-orgcustom", encode_stored(Session(org_id="org", alias="two"))))
    assert find(keys, b"custom").session.alias == "two"
