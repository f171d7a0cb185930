"""Proofs that were used: none is good twice, however many there are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tlsgate.auth.replays import UsedProofs


def test_a_proof_is_good_once() -> None:
    """Whatever else was used meanwhile."""
    used = UsedProofs()
    assert used.use(b"a", 100, 50)
    assert used.use(b"b", 100, 50)
    assert not used.use(b"a", 100, 99)
    assert not used.use(b"b", 100.5, 50)
    assert len(used) == 2


def test_what_has_ended_makes_room() -> None:
    """Without refusing anything."""
    used = UsedProofs(room=3)
    assert all(used.use(b"%d" % number, 10, 5) for number in range(3))
    assert used.use(b"x", 70, 60)
    assert len(used) == 1


def test_a_clock_that_is_set_back_makes_none_good_again() -> None:
    """What was forgotten as ended stays refused."""
    used = UsedProofs(room=2)
    assert used.use(b"a", 100, 50) and used.use(b"b", 100, 50)
    assert used.use(b"c", 260, 200)
    assert not used.use(b"a", 100, 60) and not used.use(b"b", 100, 60)
    assert used.use(b"d", 120, 60)


def test_a_flood_makes_the_time_shorter() -> None:
    """Those that end first are forgotten, and refused from then on; later ones are still taken."""
    used = UsedProofs(room=2)
    assert used.use(b"a", 100, 50) and used.use(b"b", 101, 50)
    assert used.use(b"c", 102, 50)
    assert not used.use(b"a", 100, 50)
    assert not used.use(b"new", 100, 50)
    assert not used.use(b"b", 101, 50)
    assert used.use(b"d", 103, 50) and len(used) == 2
    full = UsedProofs(room=2)
    assert full.use(b"a", 100, 50) and full.use(b"b", 100, 50)
    assert not full.use(b"c", 100, 50)
    assert not full.use(b"a", 100, 50)


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 30)), max_size=60))
def test_never_twice(asked: list[tuple[int, int]]) -> None:
    """Against a memory without bounds, with time that goes on; a proof always ends at the same time."""
    used = UsedProofs(room=4)
    taken: set[tuple[int, int]] = set()
    for now, proof in enumerate(asked):
        number, end = proof
        if used.use(b"%d %d" % (number, end), end, now) and now < end:
            assert proof not in taken
            taken.add(proof)
        assert len(used) <= 4
