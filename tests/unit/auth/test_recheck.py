"""Tests of `tlsgate.auth.recheck`: a key is judged again while its request goes on."""

from __future__ import annotations

from typing import Any

from tests.support.apis import make_api
from tests.support.keys import Keys, run
from tlsgate.auth.access import AccessCheck
from tlsgate.auth.recheck import judge_key
from tlsgate.errors import Refusal, StoreUnavailable
from tlsgate.model.exchange import Exchange
from tlsgate.model.session import AccessRight


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


def test_policies_that_cannot_be_applied_any_more_end_it() -> None:
    keys = Keys()
    _, exchange, access = let_in(keys)
    keys.add("k" * 20, access_rights={"api": AccessRight()}, apply_policies=("gone",))
    keys.sessions.forget_all()
    assert "policy not found" in str(run(judge_key(keys.sessions, exchange, access)))


def test_a_store_that_is_away_decides_nothing() -> None:
    keys = Keys()
    _, exchange, access = let_in(keys)
    keys.sessions.forget_all()

    async def away(names: Any) -> Any:
        raise StoreUnavailable("no answer")

    keys.store.get_entries = away  # type: ignore[method-assign]
    assert run(judge_key(keys.sessions, exchange, access)) is None


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
