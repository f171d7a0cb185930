"""The auth token: stripping, errors, who gets in, and that a cached key waits for nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.apis import make_api
from tests.support.keys import Keys, run
from tlsgate.auth import token
from tlsgate.errors import CATALOGUE, Refusal
from tlsgate.model.credentials import CredentialSource
from tlsgate.model.exchange import Exchange
from tlsgate.model.policy import Policy
from tlsgate.model.session import AccessRight


def step_of(keys: Keys, **fields: Any) -> Any:
    return token.build(make_api(org_id="org", keyless=False, **fields), keys.config, keys.tools)


def authenticate(keys: Keys, exchange: Exchange, **fields: Any) -> Exchange:
    step = step_of(keys, **fields)
    if not step.try_now(exchange):
        run(step.finish(exchange))
    return exchange


def refusal(keys: Keys, exchange: Exchange, **fields: Any) -> tuple[str, int, str]:
    with pytest.raises(Refusal) as caught:
        authenticate(keys, exchange, **fields)
    entry = CATALOGUE[caught.value.id]
    return caught.value.id, entry.status, entry.message


def test_a_key_gets_in_and_is_known_by_its_stored_id() -> None:
    """Raw or whole; the session is in the context."""
    keys = Keys()
    id = keys.add("custom", alias="me")
    for spelling in ("custom", id):
        exchange = authenticate(keys, keys.request(spelling))
        assert (exchange.session_id, exchange.session.alias, exchange.credential) == (id, "me", spelling.encode())  # type: ignore[union-attr]
        assert exchange.key.session is exchange.session
    assert keys.events == []


def test_a_cached_key_is_settled_at_once() -> None:
    """No await, no round trip."""
    keys = Keys()
    keys.add("custom")
    step = step_of(keys)
    first = keys.request("custom")
    assert not step.try_now(first) and first.session is None
    run(step.finish(first))
    reads = keys.store.reads
    second = keys.request("Bearer custom")
    assert step.try_now(second)
    assert second.session is first.session and keys.store.reads == reads


@pytest.mark.parametrize("sent", ["Bearer abc", "bearer abc", "bEaReR abc", "abc"])
def test_bearer_is_stripped(sent: str) -> None:
    """Pinned: any letter case, exactly one blank."""
    keys = Keys()
    keys.add("abc")
    assert authenticate(keys, keys.request(sent)).session_id == "orgabc"


@pytest.mark.parametrize("sent", ["Bearer: abc", "Basic abc", "Bearer  abc", "Bearer abc ", "abcd", "ab", "Bearer ", "Bearer", "a\xfcc"])
def test_anything_else_is_not(sent: str) -> None:
    """403, and the event."""
    keys = Keys()
    keys.add("abc")
    assert refusal(keys, keys.request(sent)) == ("auth.key_not_found", 403, "Access to this API has been disallowed")
    assert [event for event, _ in keys.events] == ["AuthFailure"]


def test_bearer_is_stripped_from_parameter_and_cookie_too() -> None:
    """Source: token reference, section 3."""
    keys = Keys()
    keys.add("abc")
    sources = {"authToken": CredentialSource(use_param=True, use_cookie=True)}
    assert authenticate(keys, keys.request(query="Authorization=Bearer+abc"), auth_sources=sources).session_id == "orgabc"
    assert authenticate(keys, keys.request(headers=[("Cookie", "Authorization=bearer abc")]), auth_sources=sources).session_id == "orgabc"


def test_no_credential() -> None:
    """401, no event."""
    keys = Keys()
    assert refusal(keys, keys.request()) == ("auth.auth_field_missing", 401, "Authorization field missing")
    assert refusal(keys, keys.request("")) == ("auth.auth_field_missing", 401, "Authorization field missing")
    assert keys.events == []


def test_a_repeated_header() -> None:
    """400."""
    keys = Keys()
    exchange = keys.request("a", headers=[("Authorization", "b")])
    assert refusal(keys, exchange) == ("auth.malformed_header", 400, "Attempted access with malformed header")


def test_a_deleted_key_is_an_unknown_key() -> None:
    """403 for both (decisions 3.1)."""
    keys = Keys()
    id = keys.add("abc")
    authenticate(keys, keys.request("abc"))
    run(keys.sessions.delete(id))
    assert refusal(keys, keys.request("abc"))[:2] == ("auth.key_not_found", 403)


def test_a_key_whose_policies_fail_is_an_unknown_key() -> None:
    """From the store and from the cache."""
    keys = Keys()
    keys.add("abc", apply_policies=("gone",))
    for _ in range(2):
        assert refusal(keys, keys.request("abc"))[:2] == ("auth.key_not_found", 403)
    assert len(keys.events) == 2


def test_a_store_that_is_away_is_503() -> None:
    """Decisions 3.5; a cached key goes on."""
    keys = Keys()
    keys.add("abc")
    authenticate(keys, keys.request("abc"))
    keys.store._available = False
    assert authenticate(keys, keys.request("abc")).session is not None
    assert refusal(keys, keys.request("abcd"))[:2] == ("store.unavailable", 503)
    assert keys.events == []


def test_ignored_paths_ask_for_nothing() -> None:
    """No credential, no session."""
    keys = Keys()
    exchange = keys.request()
    exchange.ignored = True
    assert authenticate(keys, exchange).session is None


def test_context_variables_get_the_stored_id() -> None:
    """``$tyk_context.token``."""
    keys = Keys()
    id = keys.add("abc")
    exchange = keys.request("abc")
    exchange.context = {}
    assert authenticate(keys, exchange).context == {"token": id}


def test_policies_are_applied() -> None:
    """The session in the context is the merged one."""
    keys = Keys([Policy(id="p", org_id="org", rate=5, per=1, access_rights={"api": AccessRight()})])
    keys.add("abc", apply_policies=("p",))
    session = authenticate(keys, keys.request("abc")).session
    assert session is not None and session.rate == 5


def test_which_apis_take_tokens() -> None:
    """Explicitly, or because nothing else protects them (fail closed)."""
    assert token.enabled_for(make_api(keyless=False))
    assert token.enabled_for(make_api(keyless=False, auth_methods=("token", "jwt")))
    assert not token.enabled_for(make_api(keyless=False, auth_methods=("jwt",)))
    assert not token.enabled_for(make_api(keyless=True))
    assert token.strip_bearer(b"BEARER x") == b"x"
