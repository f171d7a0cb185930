"""Tables, records and JSON: readable, copyable, harmless."""

from __future__ import annotations

import io
import json
import sys

import pytest

from tlsgate.cli.output import clean, format_moment, format_record, format_table, write, write_json


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "yes"),
        (False, "no"),
        (3.0, "3"),
        (2.5, "2.5"),
        ("plain \u00fc", "plain \u00fc"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("two\nlines", "two\\nlines"),
        ("right\u202eleft", "right\\u202eleft"),
    ],
)
def test_values_become_one_harmless_line(value: object, text: str) -> None:
    """A name that somebody chose cannot steer the terminal."""
    assert clean(value) == text


def test_columns_are_aligned_and_never_cut() -> None:
    """No blanks at the ends of lines."""
    table = format_table(("ID", "NAME"), [("a" * 70, "x"), ("b", None)])
    assert table.splitlines() == ["ID" + " " * 70 + "NAME", "a" * 70 + "  x", "b"]


def test_records_leave_out_what_has_no_value() -> None:
    """0 and no are values."""
    assert format_record((("a", 0), ("none", ""), ("long name", "x"), ("c", []))) == "a          0\nlong name  x\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1_800_000_000, "2027-01-15T08:00:00Z"),
        ("1800000000", "2027-01-15T08:00:00Z"),
        (0, "never"),
        (1e300, "never"),
        ("soon", "never"),
        (-1, "never"),
        (None, "never"),
    ],
)
def test_moments_are_utc(seconds: object, text: str) -> None:
    """Epoch seconds, as numbers or as Tyk's text."""
    assert format_moment(seconds) == text


def test_an_output_that_cannot_show_a_letter_shows_its_escape(monkeypatch: pytest.MonkeyPatch) -> None:
    """ASCII pipes."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    write("\u00fcber\n")
    write_json({"name": "\u00fc"})
    stream.flush()
    first, _, rest = stream.buffer.getvalue().partition(b"\n")
    assert first == b"\\xfcber"
    assert json.loads(rest) == {"name": "\u00fc"}
