"""What all backends reckon alike."""

from __future__ import annotations

import pytest

from tlsgate.store.rules import check_names, check_put, parse_number, prefix_end, sliding_bounds, ttl_of_ms


def test_bounds_of_a_sliding_window_are_nanoseconds() -> None:
    """An entry that is as old as the window is out."""
    score, out = sliding_bounds(1000.5, 0.5)
    assert (score, out) == (1_000_500_000_000.0, 1_000_000_000_000.0)
    assert sliding_bounds(1000.0, 0.5)[0] <= out


@pytest.mark.parametrize(
    ("prefix", "end"),
    [("", None), ("a", "b"), ("az", "a{"), ("\ud7ff", "\ue000"), ("\U0010ffff", None), ("a\U0010ffff", "b"), ("é", "ê")],
)
def test_the_end_of_a_prefix(prefix: str, end: str | None) -> None:
    """The first text after all that begin so; surrogates are passed over."""
    assert prefix_end(prefix) == end
    if end is not None:
        end.encode()
        assert prefix + "\U0010ffff" * 3 < end


@pytest.mark.parametrize(("value", "number"), [(b"0", 0), (b"-12", -12), (b"007", 7), (b"9" * 20, int("9" * 20))])
def test_numbers(value: bytes, number: int) -> None:
    """ASCII digits, perhaps with a minus."""
    assert parse_number(value) == number


@pytest.mark.parametrize("value", [b"", b"-", b"--1", b"+1", b"1.0", b" 1", "١".encode(), b"1\n"])
def test_what_is_no_number(value: bytes) -> None:
    """Anything that Redis would not count either."""
    with pytest.raises(ValueError):
        parse_number(value)


def test_lives() -> None:
    """PTTL of Redis: -1 is for ever."""
    assert [ttl_of_ms(left) for left in (-1, 0, 1500)] == [None, 0.0, 1.5]


@pytest.mark.parametrize(("name", "ttl_s", "only_if"), [("a", 0, ""), ("a", -5, ""), ("a", None, "never"), ("\udcff", None, "")])
def test_a_put_that_means_nothing(name: str, ttl_s: int | None, only_if: str) -> None:
    """Refused before any backend sees it."""
    with pytest.raises(ValueError):
        check_put(name, ttl_s, only_if)


def test_good_arguments_pass() -> None:
    """One second is the shortest life."""
    check_put("ü", 1, "present")
    check_names(["a", "\x00", "\U0010ffff"])
    with pytest.raises(ValueError):
        check_names(["a", "\ud800"])
