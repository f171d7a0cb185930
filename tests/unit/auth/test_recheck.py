"""Tests of `tlsgate.auth.recheck`: a key is judged again while its request goes on."""

from __future__ import annotations

from typing import Any

from tests.support.apis import make_api
from tests.support.keys import Keys, run
from tlsgate.auth.access import AccessCheck
from tlsgate.auth.policies import PolicyTable
from tlsgate.auth.recheck import judge_key
from tlsgate.auth.sessions import KeyView
from tlsgate.errors import Refusal, StoreUnavailable
from tlsgate.model.exchange import Exchange
from tlsgate.model.policy import Policy
from tlsgate.model.session import AccessRight, Session


def let_in(keys: Keys, **fields: Any) -> tuple[str, Exchange, Any]:
    """A request that was authenticated by a key of its own."""
    id = keys.add("k" * 20, access_rights={"api": AccessRight()}, **fields)
    exchange = keys.request(id)
    exchange.api = make_api(keyless=False, org_id="org")
    exchange.key = run(keys.sessions.reader("org").find(id.encode()))
    exchange.session_id = exchange.key.id
    return id, exchange, AccessCheck(exchange.api, keys.config, keys.tools).look


def test_a_key_that_is_still_good_goes_on() -> None:
    keys = Keys()
    _, exchange, access = let_in(keys)
    assert run(judge_key(keys.sessions, exchange, access)) is None


def test_a_revoked_key_ends_its_requests() -> None:
    keys = Keys()
    id, exchange, access = let_in(keys)
    run(keys.sessions.delete(id))
    assert run(judge_key(keys.sessions, exchange, access)) == "its key is gone"


def test_a_key_that_lost_its_right_or_became_inactive_ends_its_requests() -> None:
    keys = Keys()
    _, exchange, access = let_in(keys)
    keys.add("k" * 20, access_rights={"other": AccessRight()})
    keys.sessions.forget_all()
    assert run(judge_key(keys.sessions, exchange, access)) == "its key: access.api"
    keys.add("k" * 20, access_rights={"api": AccessRight()}, is_inactive=True)
    keys.sessions.forget_all()
    assert run(judge_key(keys.sessions, exchange, access)) == "its key: auth.key_inactive"


def test_a_bearer_without_a_stored_session_goes_on() -> None:
    """A reload looks at all streams: there never was a key to be gone. One that is written since counts."""
    keys = Keys()
    _, exchange, access = let_in(keys)
    id = "org" + "5" * 32
    session = Session(access_rights={"api": AccessRight()}, origin="external_oauth")
    exchange.key = held = KeyView(id, id, session, "", is_stored=False)
    assert run(judge_key(keys.sessions, exchange, access)) is None and exchange.key is held
    keys.add(id, access_rights={"api": AccessRight()}, is_inactive=True)
    assert run(judge_key(keys.sessions, exchange, access)) == "its key: auth.key_inactive"


def test_another_token_of_the_user_ends_no_stream() -> None:
    """It brings its own policies; those of the token that has opened the stream still count, as they are now."""
    rights = {"api": AccessRight()}
    policies = [Policy(id="here", org_id="org", access_rights=rights), Policy(id="there", org_id="org", access_rights={"b": AccessRight()})]
    keys = Keys(policies)
    id = "org" + "5" * 32
    keys.add(id, apply_policies=("here",), origin="jwt")
    _, exchange, access = let_in(keys)
    exchange.key = run(keys.sessions.reader("org", "virtual").find(id.encode()))
    for fields, reason in (({}, None), ({"is_inactive": True}, "auth.key_inactive"), ({"expires": 1}, "auth.key_expired")):
        keys.add(id, apply_policies=("there",), origin="jwt", **fields)
        keys.sessions.forget_all()
        assert run(judge_key(keys.sessions, exchange, access)) == (None if reason is None else f"its key: {reason}")
    keys.add(id, apply_policies=("there",), origin="jwt")
    keys.sessions.forget_all()
    keys.book.table = PolicyTable(policies[1:])
    assert "policy not found" in str(run(judge_key(keys.sessions, exchange, access)))


def test_policies_that_cannot_be_applied_any_more_end_it() -> None:
    keys = Keys()
    _, exchange, access = let_in(keys)
    keys.add("k" * 20, access_rights={"api": AccessRight()}, apply_policies=("gone",))
    keys.sessions.forget_all()
    assert "policy not found" in str(run(judge_key(keys.sessions, exchange, access)))


def test_a_store_that_is_away_takes_nothing_away_but_time_does() -> None:
    """The end of a key is known without it."""
    keys = Keys()
    _, exchange, access = let_in(keys, expires=int(keys.clock.now()) + 10)
    keys.sessions.forget_all()

    async def away(names: Any) -> Any:
        raise StoreUnavailable("no answer")

    keys.store.get_entries = away  # type: ignore[method-assign]
    assert run(judge_key(keys.sessions, exchange, access)) is None
    keys.clock.time += 11
    assert run(judge_key(keys.sessions, exchange, access)) == "its key: auth.key_expired"


def test_requests_without_a_key_are_left_alone() -> None:
    keys = Keys()
    assert run(judge_key(keys.sessions, keys.request(None), lambda exchange: None)) is None


def test_a_certificate_that_counts_no_more_ends_it() -> None:
    """Judged before the key, which may be as good as ever."""
    keys = Keys()
    _, exchange, access = let_in(keys)

    async def refuse(exchange: Exchange) -> None:
        raise Refusal("auth.cert_not_found")

    async def accept(exchange: Exchange) -> None:
        return None

    assert run(judge_key(keys.sessions, exchange, access, refuse)) == "its certificate: auth.cert_not_found"
    assert run(judge_key(keys.sessions, exchange, access, accept)) is None


def chained(keys: Keys) -> tuple[str, Exchange, Any]:
    """A request that was let in by two methods; the id of the one whose session does not count."""
    _, exchange, access = let_in(keys)
    other = keys.add("o" * 20)
    exchange.others = (run(keys.sessions.reader("org").find(other.encode())),)
    return other, exchange, access


def test_the_keys_of_all_methods_are_judged() -> None:
    """A chain ends with any of its keys: gone, inactive, expired, its policies gone; rights are asked of the one that counts."""
    keys = Keys()
    other, exchange, access = chained(keys)
    assert run(judge_key(keys.sessions, exchange, access)) is None
    keys.add("o" * 20, access_rights={"else": AccessRight()})
    keys.sessions.forget_all()
    assert run(judge_key(keys.sessions, exchange, access)) is None
    keys.add("o" * 20, is_inactive=True)
    keys.sessions.forget_all()
    before = exchange.key, exchange.others
    assert run(judge_key(keys.sessions, exchange, access)) == "its key: auth.key_inactive"
    assert (exchange.key, exchange.others) == before
    keys.add("o" * 20, expires=int(keys.clock.now()) - 1)
    keys.sessions.forget_all()
    assert run(judge_key(keys.sessions, exchange, access)) == "its key: auth.key_expired"
    keys.add("o" * 20, apply_policies=("gone",))
    keys.sessions.forget_all()
    assert "policy not found" in str(run(judge_key(keys.sessions, exchange, access)))
    run(keys.sessions.delete(other))
    assert run(judge_key(keys.sessions, exchange, access)) == "its key is gone"
