"""How long keys stay stored: the precedence table row by row."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.apis import make_api
from tests.support.keys import Keys, run
from tlsgate.auth.lifetime import ApiLifetime, compute_lifetime, find_api_lifetimes
from tlsgate.config.model import KeySettings
from tlsgate.model.session import AccessRight, Session

NOW = 1_000_000.0


def lifetime(session: dict[str, Any], apis: list[tuple[int, bool]] | None = None, now: float = NOW, **settings: Any) -> int | None:
    return compute_lifetime(Session(**session), KeySettings(**settings), [ApiLifetime(*api) for api in apis or []], now)


@pytest.mark.parametrize("respects", [False, True])
@pytest.mark.parametrize("expires", [0, -1, 1_000_010, 999_990])
def test_the_global_lifetime_beats_everything(respects: bool, expires: int) -> None:
    """Rows 1 and 2 of the seed's table; 0 is for ever."""
    key = {"expires": expires, "session_lifetime": 7, "post_expiry_action": "delete"}
    forced = {"force_global_session_lifetime": True, "session_lifetime_respects_key_expiration": respects}
    assert lifetime(key, [(9, True)], global_session_lifetime=60, **forced) == 60
    assert lifetime(key, [(9, True)], global_session_lifetime=0, **forced) is None
    assert lifetime(key, [(9, True)], global_session_lifetime=-1, **forced) is None


def test_the_global_lifetime_counts_only_when_forced() -> None:
    """The number alone does nothing."""
    assert lifetime({}, global_session_lifetime=60) is None


@pytest.mark.parametrize(
    ("expires", "assigned"),
    [(1_000_059, 60), (1_000_060, 60), (1_000_061, 61), (1_000_300, 300), (999_000, 60), (0, None), (-1, None)],
)
def test_respecting_the_expiry_takes_the_larger(expires: int, assigned: int | None) -> None:
    """Row 3: larger of ``session_lifetime`` and ``expires``; a key that never expires stays."""
    assert lifetime({"expires": expires}, [(60, False)], session_lifetime_respects_key_expiration=True) == assigned
    assert lifetime({"expires": expires}, [(60, True)]) == assigned
    assert lifetime({"expires": expires, "session_lifetime": 60}, [(5, True)]) == assigned


@pytest.mark.parametrize("expires", [0, 1_000_300, 999_000])
def test_not_respecting_the_expiry_takes_the_lifetime(expires: int) -> None:
    """Row 4: the key's own lifetime before the API's; 0 is none."""
    assert lifetime({"expires": expires}, [(60, False)]) == 60
    assert lifetime({"expires": expires, "session_lifetime": 30}, [(60, False)]) == 30
    assert lifetime({"expires": expires}, [(0, False)]) is None
    assert lifetime({"expires": expires, "session_lifetime": -5}, [(-1, False)]) is None
    assert lifetime({"expires": expires, "session_lifetime": 30}) == 30


def test_deletion_exactly_at_expiry() -> None:
    """The seed's recipe: a small lifetime, respected expiry, no forced one; or ``post_expiry_action: delete``."""
    assert lifetime({"expires": 1_000_500}, [(1, False)], session_lifetime_respects_key_expiration=True) == 500
    assert lifetime({"expires": 1_000_500, "post_expiry_action": "delete"}) == 500
    assert lifetime({"expires": 1_000_500, "post_expiry_action": "delete"}, now=NOW + 0.25) == 500, "never before its time"


@pytest.mark.parametrize(
    ("key", "assigned"),
    [
        ({"post_expiry_action": "delete", "expires": 999_999}, 1),
        ({"post_expiry_action": "delete", "expires": 1_000_000}, 1),
        ({"post_expiry_action": "delete", "expires": 0}, None),
        ({"post_expiry_action": "delete", "expires": -1}, None),
        ({"post_expiry_action": "retain", "post_expiry_grace_period": 50, "expires": 1_000_010}, 60),
        ({"post_expiry_action": "retain", "post_expiry_grace_period": 50, "expires": 999_000}, 1),
        ({"post_expiry_action": "retain", "post_expiry_grace_period": 50, "expires": 0}, None),
        ({"post_expiry_action": "retain", "post_expiry_grace_period": -1, "expires": 1_000_010}, None),
        ({"post_expiry_action": "retain", "post_expiry_grace_period": 0, "expires": 1_000_010}, 77),
        ({"post_expiry_action": "retain", "post_expiry_grace_period": -2, "expires": 1_000_010}, 77),
        ({"post_expiry_action": "", "expires": 1_000_010}, 77),
    ],
)
@pytest.mark.parametrize("respects", [False, True])
def test_what_happens_after_expiry(key: dict[str, Any], assigned: int | None, respects: bool) -> None:
    """``post_expiry_action`` ignores the respect flag; ``retain`` without grace says nothing."""
    assert lifetime({**key, "session_lifetime": 77}, session_lifetime_respects_key_expiration=respects) == assigned


def test_the_longest_of_several_apis_counts() -> None:
    """For ever beats all; no lifetime counts as the smallest."""
    assert lifetime({}, [(60, False), (90, False), (0, False)]) == 90
    assert lifetime({}, [(0, False), (5, False)]) == 5
    assert lifetime({}, [(0, False), (0, False)]) is None
    assert lifetime({"expires": 0}, [(60, False), (5, True)]) is None, "the second respects a key that never expires"


def test_only_loaded_apis_count() -> None:
    """A right to an API that is not there says nothing."""
    session = Session(access_rights={"a": AccessRight(), "gone": AccessRight()})
    api = make_api("a", session_lifetime=60, session_lifetime_respects_key_expiration=True)
    assert find_api_lifetimes(session, {"a": api, "b": make_api("b", session_lifetime=90)}) == [ApiLifetime(60, True)]


@pytest.mark.parametrize(
    ("settings", "key", "api", "last_second"),
    [
        ({"force_global_session_lifetime": True, "global_session_lifetime": 60}, {"expires": 1_000_900}, (30, False), 60),
        ({"session_lifetime_respects_key_expiration": True}, {"expires": 1_000_900}, (30, False), 900),
        ({"session_lifetime_respects_key_expiration": True}, {"expires": 1_000_010}, (30, False), 30),
        ({}, {"expires": 1_000_900}, (30, False), 30),
    ],
)
def test_the_table_on_a_clock(settings: Any, key: Any, api: tuple[int, bool], last_second: int) -> None:
    """Deleted at its second: known just before, unknown then; use does not prolong it (the seed: since creation)."""
    keys = Keys(**settings)
    reader = keys.sessions.reader("org")
    id = keys.naming.generate("org", "the-key")
    run(keys.sessions.save(id, Session(org_id="org", **key), apis=[ApiLifetime(*api)]))
    for second in range(0, last_second, max(1, last_second // 7)):
        keys.clock.time = NOW + second
        assert run(reader.find(b"the-key")) is not None
    keys.clock.time = NOW + last_second - 0.001
    assert run(reader.find(b"the-key")) is not None
    keys.clock.time = NOW + last_second
    assert reader.peek(b"the-key", keys.clock.monotonic()) is None
    assert run(reader.find(b"the-key")) is None


def test_a_write_starts_the_lifetime_anew_unless_it_is_to_be_kept() -> None:
    """``POST /tyk/keys/policy/{id}`` keeps what is left (BETTER)."""
    keys = Keys()
    id = keys.add("the-key", session_lifetime=60)
    keys.clock.time += 50
    session = run(keys.sessions.load(id))
    assert session is not None
    run(keys.sessions.save(id, session, keep_lifetime=True))
    keys.clock.time += 10
    assert run(keys.sessions.load(id)) is None
    keys.add("the-key", session_lifetime=60)
    keys.clock.time += 50
    keys.add("the-key", session_lifetime=60)
    keys.clock.time += 50
    assert run(keys.sessions.load(id)) is not None


@pytest.mark.parametrize(
    "key",
    [
        {"session_lifetime": 2**63 - 1},
        {"expires": 2**63 - 1, "post_expiry_action": "delete"},
        {"expires": 1_000_100, "post_expiry_action": "retain", "post_expiry_grace_period": 2**63 - 1},
    ],
)
def test_what_no_store_can_hold_is_for_ever(key: dict[str, Any]) -> None:
    """Redis refuses such a time, and the write with it."""
    assert lifetime(key) is None
    assert lifetime({}, force_global_session_lifetime=True, global_session_lifetime=2**62) is None
    assert lifetime({"session_lifetime": 10**9}) == 10**9
