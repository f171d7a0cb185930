"""Tokens that were verified: found until they end, never for long, never too many."""

from __future__ import annotations

from tests.support.apis import FixedClock
from tlsgate.auth.verified_tokens import LONGEST_S, VerifiedTokens


def test_a_token_is_found_until_it_ends() -> None:
    """And not a moment longer."""
    clock = FixedClock(1000.0)
    tokens: VerifiedTokens[str] = VerifiedTokens(_always, clock.now)
    tokens.keep(b"a", "alice", 1010.0)
    clock.time = 1009.9
    assert tokens.find(b"a") == "alice" and tokens.find(b"b") is None
    clock.time = 1010.0
    assert tokens.find(b"a") is None and len(tokens) == 0


def test_one_that_has_ended_is_not_kept() -> None:
    """Clocks move while the store is asked."""
    tokens: VerifiedTokens[str] = VerifiedTokens(_always, FixedClock(1000.0).now)
    tokens.keep(b"a", "alice", 1000.0)
    assert len(tokens) == 0


def test_one_without_an_end_is_verified_anew_now_and_then() -> None:
    """Never for ever."""
    clock = FixedClock(1000.0)
    tokens: VerifiedTokens[str] = VerifiedTokens(_always, clock.now)
    tokens.keep(b"a", "alice", float("inf"))
    clock.time += LONGEST_S
    assert tokens.find(b"a") is None


def test_the_oldest_goes() -> None:
    """Whoever has many tokens that verify fills a bounded place."""
    tokens: VerifiedTokens[int] = VerifiedTokens(_always, FixedClock(1000.0).now, most=3)
    for number in range(5):
        tokens.keep(b"%d" % number, number, 2000.0)
    assert [tokens.find(b"%d" % number) for number in range(5)] == [None, None, 2, 3, 4]


def test_long_tokens_leave_room_for_fewer() -> None:
    """What is kept of a token grows with it; the place of one that ended or came again is free."""
    clock = FixedClock(1000.0)
    tokens: VerifiedTokens[int] = VerifiedTokens(_always, clock.now, most_bytes=100)
    long = [b"%d" % number * 40 for number in range(5)]
    for number, token in enumerate(long):
        tokens.keep(token, number, 2000.0)
    assert [tokens.find(token) for token in long] == [None, None, None, 3, 4]
    for _ in range(3):
        tokens.keep(b"5" * 60, 5, 1500.0)
    assert tokens.find(long[4]) == 4 and len(tokens) == 2
    clock.time = 1500.0
    assert tokens.find(b"5" * 60) is None
    tokens.keep(b"6" * 60, 6, 2000.0)
    assert tokens.find(long[4]) == 4 and tokens.find(b"6" * 60) == 6


def test_one_whose_keys_changed_is_forgotten() -> None:
    """And is not there again when its keys are."""
    current = {"old"}
    tokens: VerifiedTokens[str] = VerifiedTokens(current.__contains__, FixedClock(1000.0).now)
    tokens.keep(b"a", "old", 2000.0)
    assert tokens.find(b"a") == "old"
    current.clear()
    assert tokens.find(b"a") is None
    current.add("old")
    assert tokens.find(b"a") is None


def _always(value: object) -> bool:
    return True
