"""Tests of `tlsgate.bounded`."""

from __future__ import annotations

from tlsgate.bounded import put


def test_the_oldest_makes_room() -> None:
    """Never more than there may be, also where the bound became smaller."""
    place: dict[str, int] = {}
    for number, key in enumerate("abcd"):
        put(place, key, number, 3)
    assert list(place.items()) == [("b", 1), ("c", 2), ("d", 3)]
    put(place, "e", 4, 1)
    assert place == {"e": 4}


def test_an_entry_that_is_put_again_is_the_newest_and_costs_no_other() -> None:
    """It takes its own place."""
    place = {"a": 1, "b": 2}
    put(place, "a", 3, 2)
    assert list(place.items()) == [("b", 2), ("a", 3)]
