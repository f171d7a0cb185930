"""Objects to records the way Go reads them, and where we are stricter."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsgate.auth import go_json
from tlsgate.auth.go_json import Shape, UnusableRecord


class Inner(msgspec.Struct, frozen=True, kw_only=True):
    size: int = 0


class Outer(msgspec.Struct, frozen=True, kw_only=True):
    name: str = ""
    rate: float = 0.0
    on: bool = False
    parts: tuple[Inner, ...] = ()
    by_id: dict[str, Inner] = {}
    loose: dict[str, Any] = {}
    made: str = ""
    extra: dict[str, Any] = {}


INNER = Shape(Inner, {"size": ("size", go_json.integer)})
OUTER = Shape(
    Outer,
    {
        "name": ("name", go_json.text),
        "rate": ("rate", go_json.number),
        "on": ("on", go_json.flag),
        "was_on": ("on", go_json.flag),
        "parts": ("parts", go_json.listing(INNER.read, empty=Inner())),
        "by_id": ("by_id", go_json.mapping(INNER.read)),
        "loose": ("loose", go_json.member_objects({"Kind".lower(): go_json.text})),
        "made": ("made", go_json.moment),
    },
)


def read(body: str) -> Outer:
    return OUTER.read(go_json.parse_object(body.encode()))


def test_names_are_read_in_any_letter_case() -> None:
    """Go folds letter case; what is unknown is kept as written."""
    made = read('{"NAME": "x", "Rate": 2, "Unknown": {"A": 1}}')
    assert (made.name, made.rate, made.extra) == ("x", 2.0, {"Unknown": {"A": 1}})


def test_unknown_members_of_small_objects_stay() -> None:
    """As written."""
    assert read('{"loose": {"KIND": "a", "Other": [1]}}').loose == {"kind": "a", "Other": [1]}


def test_null_is_the_zero_value() -> None:
    """Everywhere, items and members included."""
    made = read('{"name": null, "rate": null, "parts": [null, {"size": 3}], "by_id": {"a": null}, "loose": {"kind": null}}')
    assert made == Outer(parts=(Inner(), Inner(size=3)), by_id={"a": Inner()})


def test_of_two_names_for_one_thing_the_set_one_counts() -> None:
    """``enable_detail_recording`` is the old name of ``enable_detailed_recording``."""
    assert read('{"on": false, "was_on": true}').on
    assert read('{"was_on": true, "on": false}').on
    assert not read('{"was_on": false}').on


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('{"name": 5}', "name: must be a text"),
        ('{"rate": "5"}', "rate: must be a number"),
        ('{"rate": true}', "rate: must be a number"),
        ('{"rate": ' + "9" * 399 + "}", "rate: must be a number"),
        ('{"on": 1}', "on: must be true or false"),
        ('{"parts": {}}', "parts: must be a list"),
        ('{"parts": [{"size": 1.0}]}', "parts.0.size: must be a whole number"),
        ('{"parts": [{"size": 1.7e9}]}', "parts.0.size: must be a whole number"),
        ('{"parts": [{"size": 9223372036854775808}]}', "parts.0.size: must be a whole number"),
        ('{"parts": [7]}', "parts.0: must be an object"),
        ('{"by_id": []}', "by_id: must be an object"),
        ('{"loose": {"kind": 5}}', "loose.kind: must be a text"),
        ('{"by_id": {"a": {"SIZE": "x"}}}', "by_id.a.size: must be a whole number"),
        ('{"loose": []}', "loose: must be an object"),
        ('{"loose": {"KIND": 1}}', "loose.kind: must be a text"),
        ('{"loose": {"KIND": "a", "kind": "b"}}', "loose.kind: is given twice"),
        ('{"made": "yesterday"}', "made: must be a time"),
        ('{"made": 7}', "made: must be a time"),
        ('{"name": "a", "Name": "b"}', "name: is given twice"),
        ('{"name": "a", "name": "b"}', "given twice"),
        ("[]", "must be an object"),
        ("null", "must be an object"),
        ("{} {}", "Extra data"),
        ("{", "Expecting property name"),
        ('{"rate": NaN}', "no number"),
        ('{"name": "\\ud800"}', "surrogate"),
    ],
)
def test_what_does_not_fit_refuses_the_whole(body: str, words: str) -> None:
    """With the member's path, never with its value."""
    with pytest.raises(UnusableRecord) as caught:
        read(body)
    assert words in str(caught.value)


def test_not_utf8_and_nesting_without_end_are_refused() -> None:
    """Before anything is built."""
    for body in (b'{"name": "\xff"}', b"[" * 100_000, b'{"a":' * 5000):
        with pytest.raises(UnusableRecord):
            go_json.parse_object(body)


def test_whole_numbers_of_64_bits_are_the_bounds() -> None:
    """n and n+1."""
    assert go_json.integer(2**63 - 1) == 2**63 - 1
    assert go_json.integer(-(2**63)) == -(2**63)
    for value in (2**63, -(2**63) - 1, True, 1.0, "1"):
        with pytest.raises(UnusableRecord):
            go_json.integer(value)


@pytest.mark.parametrize("text", ["2026-01-31T12:00:00Z", "2026-01-31T12:00:00.123456789+02:00", ""])
def test_times_are_rfc_3339(text: str) -> None:
    """Kept as written."""
    assert go_json.moment(text) == text


def test_the_zero_time_is_no_time() -> None:
    """Go writes it for a time that was never set."""
    assert go_json.moment("0001-01-01T00:00:00Z") == ""


def test_stored_values_are_read_quickly_and_just_as_safely() -> None:
    """Garbage is an ``UnusableRecord``, nothing else."""
    assert go_json.read_object(b'{"a": 1}') == {"a": 1}
    for stored in (b"", b"7", b"{", b"\xff", b"[]", b"[" * 100_000):
        with pytest.raises(UnusableRecord):
            go_json.read_object(stored)


def test_floats_without_fraction_are_written_as_go_writes_them() -> None:
    """10.0 is ``10``; a fraction stays."""
    assert msgspec.json.encode(go_json.whole_numbers({"a": 10.0, "b": [0.5, 2.0], "c": ({"d": 1.0},), "e": 1e300})) == (
        b'{"a":10,"b":[0.5,2],"c":[{"d":1}],"e":1e300}'
    )


def test_an_object_of_anything_stays_as_it_is() -> None:
    """``meta_data``."""
    assert go_json.free({"a": [1]}) == {"a": [1]}
    with pytest.raises(UnusableRecord):
        go_json.free([])


@given(st.binary(max_size=60))
def test_any_bytes_give_a_record_or_the_one_error(body: bytes) -> None:
    """Nothing else escapes."""
    for parse in (go_json.parse_object, go_json.read_object):
        try:
            OUTER.read(parse(body))
        except UnusableRecord:
            pass
