"""The date of a signed request: ``Mon, 02 Jan 2006 15:04:05 MST``; knows nothing of clocks or skews.

Source: token reference, section 7 (Go's RFC 1123 form with the text of a zone).
"""

from __future__ import annotations

import re
import time
from calendar import timegm
from datetime import datetime
from functools import lru_cache

__all__ = ["parse_signed_date"]

_MONTHS = {name: number for number, name in enumerate(b"jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)}
_FORM = re.compile(
    rb"(?:mon|tue|wed|thu|fri|sat|sun), (\d\d) ([a-z]{3}) (\d{4}) (\d\d):(\d\d):(\d\d) ([A-Z]{3,5})([+-]\d{1,2})?", re.IGNORECASE
)
_MOST_HOURS = 23


@lru_cache(maxsize=1024)
def parse_signed_date(text: bytes) -> float | None:
    """Return a date as epoch seconds, None for anything that is none.

    The zone is the gateway's own, GMT, UTC, or GMT with hours (``GMT+2``); any other abbreviation counts as UTC, and the day of the week is
    not looked at, as in Tyk. Remembers dates: many requests share a second.
    """
    found = _FORM.fullmatch(text)
    if found is None:
        return None
    day, month, year, hour, minute, second, zone, hours = found.groups()
    number = _MONTHS.get(month.lower())
    if number is None or zone.upper() != zone or (hours is not None and (zone != b"GMT" or abs(int(hours)) > _MOST_HOURS)):
        return None
    try:
        moment = datetime(int(year), number, int(day), int(hour), int(minute), int(second))
    except ValueError:
        return None
    name = zone.decode("ascii")
    if hours is None and name not in ("GMT", "UTC") and name in time.tzname:
        try:
            return time.mktime((*moment.timetuple()[:8], time.tzname.index(name)))
        except (OverflowError, ValueError):
            return None
    return timegm(moment.timetuple()) - 3600.0 * int(hours or 0)
