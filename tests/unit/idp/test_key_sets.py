"""Key sets: one fetch for all, bounded fetches, through outages, whole replacement."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from twisted.internet.defer import Deferred

from tests.support.apis import FixedClock
from tests.support.keys import begin, run
from tlsgate.idp.key_sets import REFETCH_S, KeySets, KeysUnavailable

URL = "https://idp.test/keys"


def jwk(kid: str) -> dict[str, Any]:
    made: dict[str, Any] = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key(), as_dict=True)
    made.pop("key_ops", None)
    return {**made, "kid": kid}


def key_set(*kids: str) -> bytes:
    return json.dumps({"keys": [jwk(kid) for kid in kids]}).encode()


class Provider:
    """Answers at once, or when the test says so."""

    def __init__(self, *kids: str, held: bool = False) -> None:
        self.body = key_set(*kids)
        self.status = 200
        self.control = ""
        self.error: Exception | None = None
        self.asked = 0
        self.held: list[Deferred[None]] | None = [] if held else None

    async def __call__(self, url: str) -> tuple[int, bytes, str]:
        self.asked += 1
        if self.held is not None:
            waiter: Deferred[None] = Deferred()
            self.held.append(waiter)
            await waiter
        if self.error is not None:
            raise self.error
        return self.status, self.body, self.control


def world(provider: Provider, **options: Any) -> tuple[KeySets, FixedClock]:
    clock = FixedClock(1000.0)
    return KeySets(provider, clock, **options), clock


def test_a_set_is_fetched_once_and_then_at_hand() -> None:
    """The second look waits for nothing."""
    provider = Provider("a", "b")
    sets, _ = world(provider)
    assert sets.peek(URL) is None
    assert len(run(sets.find(URL, "a"))) == 1
    assert sets.peek(URL) is not None and len(run(sets.find(URL, "b"))) == 1
    assert provider.asked == sets.fetches == 1 and sets.version(URL) == 1


def test_many_who_ask_at_once_cause_one_fetch() -> None:
    """And one who goes away takes nothing from the others."""
    provider = Provider("a", held=True)
    sets, _ = world(provider)
    waiting = [begin(sets.find(URL, "a")) for _ in range(50)]
    waiting[0][0].addErrback(lambda _: None)
    waiting[0][0].cancel()
    assert provider.held is not None
    provider.held[0].callback(None)
    assert provider.asked == 1 and all(len(results[0]) == 1 for _, results in waiting[1:])


def test_ten_thousand_unknown_ids_cause_few_fetches() -> None:
    """One per ``REFETCH_S``, whatever they ask for."""
    provider = Provider("a")
    sets, clock = world(provider)
    run(sets.find(URL, "a"))
    for number in range(10_000):
        clock.time += 0.01
        assert run(sets.find(URL, f"unknown {number}")) == ()
    assert provider.asked <= 100 / REFETCH_S + 1


def test_a_new_key_is_found_when_it_is_asked_for() -> None:
    """Rotation without a failed request, also a moment after another fetch or another new key; the old key goes with its set."""
    provider = Provider("old")
    sets, clock = world(provider)
    run(sets.find(URL, "old"))
    provider.body = key_set("new")
    clock.time += 0.001
    assert len(run(sets.find(URL, "new"))) == 1
    assert run(sets.find(URL, "old")) == () and sets.version(URL) == 2
    provider.body = key_set("newer")
    clock.time += 0.001
    assert len(run(sets.find(URL, "newer"))) == 1 and provider.asked == 3
    clock.time += 0.001
    # Invented ids are asked for once in a while, however well the last ones were found.
    assert run(sets.find(URL, "x")) == run(sets.find(URL, "y")) == () and provider.asked == 4
    provider.body = key_set("newest")
    clock.time += REFETCH_S - 0.01
    assert run(sets.find(URL, "newest")) == () and provider.asked == 4
    clock.time += 0.01
    assert len(run(sets.find(URL, "newest"))) == 1


def test_a_fetch_that_began_before_the_rotation_is_not_the_last_word() -> None:
    """Who joined it asks once more; all who wait are told the same."""
    provider = Provider("old")
    sets, clock = world(provider)
    run(sets.find(URL, "old"))
    provider.held = []
    clock.time += 200  # near its end: renewed beside the request
    waiting = [begin(sets.find(URL, "new")) for _ in range(20)]
    assert provider.asked == 2
    provider.held[0].callback(None)
    assert provider.asked == 3
    provider.body = key_set("new")
    provider.held[1].callback(None)
    assert provider.asked == 3 and all(len(results[0]) == 1 for _, results in waiting)


def test_an_id_that_the_first_set_does_not_have_is_not_asked_for_twice() -> None:
    """The set was fetched for this very question."""
    provider = Provider("a")
    sets, _ = world(provider)
    assert run(sets.find(URL, "unknown")) == () and provider.asked == 1


def test_a_provider_that_is_away_is_not_asked_all_the_time() -> None:
    """Back-off; what was fetched before serves on up to its stated age."""
    provider = Provider("a")
    sets, clock = world(provider, default_s=60, stale_s=600)
    run(sets.find(URL, "a"))
    provider.error = OSError("gone")
    asked = provider.asked
    for _ in range(500):
        clock.time += 1
        assert len(run(sets.find(URL, "a"))) == 1
    assert provider.asked - asked < 30
    clock.time += 101
    with pytest.raises(KeysUnavailable):
        run(sets.find(URL, "a"))
    provider.error = None
    clock.time += 31
    assert len(run(sets.find(URL, "a"))) == 1


def test_a_provider_that_never_answered() -> None:
    """Each failure is remembered for a while."""
    provider = Provider("a")
    provider.status = 500
    sets, clock = world(provider)
    for _ in range(100):
        with pytest.raises(KeysUnavailable):
            run(sets.find(URL, "a"))
    assert provider.asked == 1
    clock.time += 1
    with pytest.raises(KeysUnavailable):
        run(sets.find(URL, "a"))
    assert provider.asked == 2


@pytest.mark.parametrize("body", [b"nonsense", b"{}", b'{"keys":[]}', b'{"keys":[{"kty":"oct","k":"AAAA"}]}'])
def test_an_answer_without_keys_replaces_nothing(body: bytes) -> None:
    """The good set stays."""
    provider = Provider("a")
    sets, clock = world(provider, default_s=60)
    run(sets.find(URL, "a"))
    provider.body = body
    clock.time += 61
    assert len(run(sets.find(URL, "a"))) == 1


def test_a_set_is_renewed_beside_requests_before_it_is_old() -> None:
    """Nobody waits for it."""
    provider = Provider("a", held=True)
    sets, clock = world(provider, default_s=100)
    _, results = begin(sets.find(URL, "a"))
    assert provider.held is not None
    provider.held.pop().callback(None)
    assert len(results[0]) == 1
    clock.time += 79
    assert sets.peek(URL) is not None and provider.asked == 1
    clock.time += 2
    assert sets.peek(URL) is not None and sets.peek(URL) is not None and provider.asked == 2


@pytest.mark.parametrize(
    ("control", "seconds"),
    [("", 240), ("max-age=60", 60), ("public, max-age=1", 30), ("max-age=999999", 3600), ("no-store", 30), ("x", 240)],
)
def test_the_answer_says_how_long_within_bounds(control: str, seconds: int) -> None:
    """A configured time beats it."""
    provider = Provider("a")
    provider.control = control
    for cache_s, life_s in ((0.0, seconds), (7.0, 7)):
        sets, clock = world(provider)
        run(sets.load(URL, cache_s))
        asked = provider.asked
        clock.time += life_s * 0.79
        sets.peek(URL, cache_s)
        assert provider.asked == asked
        clock.time += life_s * 0.02
        sets.peek(URL, cache_s)
        assert provider.asked == asked + 1


def test_dropped_sets_are_fetched_again() -> None:
    """And what they verified has to be verified again."""
    provider = Provider("a")
    sets, _ = world(provider)
    run(sets.find(URL, "a"))
    sets.drop(("https://other",))
    assert sets.peek(URL) is not None
    sets.drop()
    assert sets.peek(URL) is None and sets.version(URL) == 2
    assert len(run(sets.find(URL, "a"))) == 1 and provider.asked == 2


def test_a_set_is_renewed_when_its_keys_do_not_fit() -> None:
    """However young it is, but at most once per ``REFETCH_S``; the answer says whether that changed anything."""
    provider = Provider("a")
    sets, clock = world(provider)
    run(sets.load(URL))
    provider.body = key_set("a")
    assert run(sets.renew(URL)) is True and provider.asked == 2
    provider.body = key_set("a")
    clock.time += REFETCH_S - 0.01
    assert run(sets.renew(URL)) is False and provider.asked == 2
    clock.time += 0.01
    assert run(sets.renew(URL)) is True and provider.asked == 3
    clock.time += REFETCH_S
    assert run(sets.renew(URL)) is False and provider.asked == 4
