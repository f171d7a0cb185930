"""Tests of `tlsgate.turns`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fuzzing import fuzzed
from tests.support.keys import begin
from tlsgate.turns import TooMany, Turns, name_asker


class World:
    """Who has a place, who waits, who was sent away."""

    def __init__(self, places: int, most: int) -> None:
        self.turns = Turns(places, most)
        self.inside: list[str] = []
        self.refused: list[str] = []

    def ask(self, who: str) -> None:
        begin(self._ask(who))

    async def _ask(self, who: str) -> None:
        try:
            await self.turns.take(who[:1])
        except TooMany:
            self.refused.append(who)
        else:
            self.inside.append(who)

    def end(self) -> str:
        who = self.inside.pop(0)
        self.turns.end()
        return who


def test_places_are_taken_at_once_while_they_last() -> None:
    """Then everybody waits."""
    world = World(2, 10)
    for who in ("a1", "b1", "c1"):
        world.ask(who)
    assert world.inside == ["a1", "b1"] and len(world.turns) == 1
    assert world.end() == "a1"
    assert world.inside == ["b1", "c1"] and len(world.turns) == 0


def test_turns_go_round() -> None:
    """Whoever asked a hundred times waits for those who asked once; each one's questions stay in order."""
    world = World(1, 100)
    for number in range(5):
        world.ask(f"a{number}")
    for who in ("b0", "b1", "c0"):
        world.ask(who)
    assert [world.end() for _ in range(8)] == ["a0", "a1", "b0", "c0", "a2", "b1", "a3", "a4"]


def test_the_greediest_makes_room() -> None:
    """With what it asked last; whoever has as many as the others is refused, and so is everybody where each has one."""
    world = World(1, 4)
    for who in ("a0", "a1", "a2", "a3", "a4"):
        world.ask(who)
    world.ask("a5")
    assert world.refused == ["a5"]
    world.ask("b0")
    assert world.refused == ["a5", "a4"] and len(world.turns) == 4
    world.ask("b1")
    assert world.refused == ["a5", "a4", "a3"]
    for who in ("b2", "a6"):
        world.ask(who)
    assert world.refused[3:] == ["b2", "a6"]
    for who in ("c0", "d0"):
        world.ask(who)
    world.ask("e0")
    assert world.refused[-1] == "e0" and len(world.turns) == 4
    assert sorted(world.end() for _ in range(5)) == ["a0", "a1", "b0", "c0", "d0"]


def test_who_goes_away_gets_no_place() -> None:
    """A request may end while it waits: nobody would give its place back."""
    turns = Turns(1, 9)
    begin(turns.take("a"))
    gone, _ = begin(turns.take("b"))
    _, waits = begin(turns.take("c"))
    gone.cancel()
    turns.end()
    assert waits == [None] and not turns.is_idle
    turns.end()
    assert turns.is_idle


def test_a_thousand_who_end_at_once_are_not_nested() -> None:
    """Each that gets a place may find that there is nothing to do."""
    turns, done = Turns(1, 5000), []

    async def pass_by(number: int) -> None:
        await turns.take(str(number % 7))
        done.append(number)
        turns.end()

    begin(turns.take("x"))
    for number in range(5000):
        begin(pass_by(number))
    turns.end()
    assert len(done) == 5000 and len(turns) == 0


@fuzzed(200)
@given(st.lists(st.sampled_from("abcdef-"), max_size=120), st.integers(1, 3), st.integers(1, 6))
def test_nobody_is_lost(steps: list[str], places: int, most: int) -> None:
    """Everybody is inside, waits, or was refused; no place stays empty while somebody waits; the bound holds."""
    world = World(places, most)
    asked = ended = 0
    for step in steps:
        if step != "-":
            world.ask(f"{step}{asked}")
            asked += 1
        elif world.inside:
            world.end()
            ended += 1
        waiting = len(world.turns)
        assert len(world.inside) + waiting + len(world.refused) + ended == asked
        assert waiting <= most and len(world.inside) <= places and (not waiting or len(world.inside) == places)


@pytest.mark.parametrize(
    ("address", "name"),
    [("192.0.2.7", "192.0.2.7"), ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"), ("::1", "::/64"), ("::ffff:192.0.2.7", "192.0.2.7"), ("", "")],
)
def test_names(address: str, name: str) -> None:
    """A host has a whole network of IPv6 addresses to itself; a connection of another kind may have none."""
    assert name_asker(address) == name
