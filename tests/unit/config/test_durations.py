"""Durations as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsgate.config.durations import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("-0", 0.0),
        ("4s", 4.0),
        ("1h30m", 5400.0),
        ("1.5s", 1.5),
        (".5s", 0.5),
        ("1.s", 1.0),
        ("250ms", 0.25),
        ("3us", 3e-6),
        ("3\u00b5s", 3e-6),
        ("3\u03bcs", 3e-6),
        ("7ns", 7e-9),
        ("-2m", -120.0),
        ("+2m", 120.0),
        ("1h1m1s1ms", 3661.001),
        ("2562047h", 2562047 * 3600.0),
    ],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    """The syntax of Go's time.ParseDuration."""
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "-", "+", "4", "s", "4 s", " 4s", "4s ", "4d", "4S", "1e3s", "4s-2s", "--4s", "2562048h", "9" * 19 + "s", "0x1s", "4s4"]
)
def test_anything_else_is_refused(text: str) -> None:
    """No unit, no guess; longer than about 292 years is none either."""
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


@given(st.text(max_size=12))
def test_garbage_gives_seconds_or_a_value_error(text: str) -> None:
    """Nothing else, ever."""
    try:
        assert isinstance(parse_duration(text), float)
    except ValueError:
        pass


@given(st.integers(0, 1000), st.integers(0, 59), st.integers(0, 59))
def test_parts_add_up(hours: int, minutes: int, seconds: int) -> None:
    """Hours, minutes and seconds."""
    assert parse_duration(f"{hours}h{minutes}m{seconds}s") == pytest.approx(hours * 3600 + minutes * 60 + seconds)
