"""JSON is read strictly and within bounds."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsgate.config.json_text import MAX_DEPTH, UnusableText, parse_json


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


def test_ordinary_text_is_read() -> None:
    """Values keep their types."""
    assert parse_json('{"a": [1, 2.5, "x", true, null, -3]}') == {"a": [1, 2.5, "x", True, None, -3]}


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', '{"x": {"a": 1, "b": 2, "a": 1}}'])
def test_a_member_given_twice_is_refused(text: str) -> None:
    """Decisions 4.2: which of the two counts is anybody's guess."""
    with pytest.raises(UnusableText, match='member "a" is given twice'):
        parse_json(text)


@pytest.mark.parametrize(
    ("text", "reason"), [("NaN", "no number"), ("[Infinity]", "no number"), ("-Infinity", "no number"), ("1e999", "too large")]
)
def test_numbers_that_are_none_are_refused(text: str, reason: str) -> None:
    """RFC 8259 section 6."""
    with pytest.raises(UnusableText, match=reason):
        parse_json(text)


def test_huge_whole_numbers_are_refused() -> None:
    """400 characters are read, 401 are not: Python itself would raise beyond 4,300 digits."""
    assert parse_json("1" * 400) == int("1" * 400)
    with pytest.raises(UnusableText, match="too many digits"):
        parse_json("1" * 401)


@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 5000, 200_000])
def test_deep_nesting_is_refused_cleanly(levels: int) -> None:
    """No recursion error, no crash."""
    with pytest.raises(UnusableText, match="nested deeper than 128 levels"):
        parse_json(nested(levels))


def test_nesting_up_to_the_bound_is_read() -> None:
    """128 levels are more than people write."""
    parse_json(nested(MAX_DEPTH - 1))
    parse_json(nested(MAX_DEPTH))


@pytest.mark.parametrize("text", ['"\\ud800"', '{"a": ["\\udc00x"]}', '{"\\ud800": 1}'])
def test_half_a_surrogate_pair_is_refused(text: str) -> None:
    """Such text can be written nowhere later on."""
    with pytest.raises(UnusableText, match="surrogate"):
        parse_json(text)


def test_a_whole_surrogate_pair_is_read() -> None:
    """It is one character."""
    assert parse_json('"\\ud83d\\ude00"') == "\U0001f600"


@given(st.text(max_size=200))
def test_garbage_gives_a_value_or_a_value_error(text: str) -> None:
    """Nothing else, ever."""
    try:
        parse_json(text)
    except ValueError:
        pass


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_what_json_writes_is_read_back(value: object) -> None:
    """Round trip."""
    assert parse_json(json.dumps(value)) == value
