"""Dates of signed requests."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsgate.wire.dates import parse_signed_date

MOMENT = 1136214245.0


@pytest.fixture(autouse=True)
def zone() -> Iterator[None]:
    """Another zone than that of the machine, and back."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "EST5EDT"
    time.tzset()
    parse_signed_date.cache_clear()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()
    parse_signed_date.cache_clear()


@pytest.mark.parametrize(
    ("text", "offset_h"),
    [
        (b"Mon, 02 Jan 2006 15:04:05 GMT", 0),
        (b"Mon, 02 Jan 2006 15:04:05 UTC", 0),
        (b"Sun, 02 Jan 2006 15:04:05 GMT", 0),
        (b"mon, 02 jan 2006 15:04:05 GMT", 0),
        (b"Mon, 02 Jan 2006 15:04:05 MST", 0),
        (b"Mon, 02 Jan 2006 15:04:05 CEST", 0),
        (b"Mon, 02 Jan 2006 15:04:05 GMT+2", -2),
        (b"Mon, 02 Jan 2006 15:04:05 GMT-11", 11),
        (b"Mon, 02 Jan 2006 15:04:05 EST", 5),
        (b"Mon, 02 Jan 2006 15:04:05 EDT", 4),
    ],
)
def test_dates(text: bytes, offset_h: int) -> None:
    """The own zone (here EST and EDT), GMT, UTC, GMT with hours; other zones count as UTC; the weekday is not looked at (Tyk)."""
    assert parse_signed_date(text) == MOMENT + 3600 * offset_h


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"Mon, 02 Jan 2006 15:04:05",
        b"Mon, 2 Jan 2006 15:04:05 GMT",
        b"Mon, 02 Jan 2006 15:04:05 gmt",
        b"Mon, 02 Jan 2006 15:04:05 GMT+24",
        b"Mon, 02 Jan 2006 15:04:05 UTC+2",
        b"Mon, 02 Jan 2006 15:04:05 +0000",
        b"Mon, 31 Feb 2006 15:04:05 GMT",
        b"Mon, 02 Jan 2006 25:04:05 GMT",
        b"Mon, 02 Jan 2006 15:04:60 GMT",
        b"Mon, 02 Xxx 2006 15:04:05 GMT",
        b"Xxx, 02 Jan 2006 15:04:05 GMT",
        b"Mon, 02 Jan 0000 15:04:05 GMT",
        b"Mon, 02 Jan 2006 15:04:05 GMT ",
        b"Mon, 02 Jan 2006 15:04:05 GMT, Mon, 02 Jan 2006 15:04:05 GMT",
        b"2006-01-02T15:04:05Z",
        b"1136214245",
        "Mon, 0² Jan 2006 15:04:05 GMT".encode(),
    ],
)
def test_what_is_no_date(text: bytes) -> None:
    """Two lines of the header are no date either."""
    assert parse_signed_date(text) is None


@given(st.binary(max_size=60))
def test_garbage_is_no_date(text: bytes) -> None:
    """Never an error."""
    assert parse_signed_date(text) is None
