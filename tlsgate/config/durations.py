"""Durations as Tyk writes them: ``1h30m``, ``250ms``, ``4s``; knows nothing of where they stand."""

from __future__ import annotations

import re

__all__ = ["parse_duration"]

_UNITS = {"ns": 1e-9, "us": 1e-6, "\u00b5s": 1e-6, "\u03bcs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"([0-9]{1,18}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})(ns|us|\u00b5s|\u03bcs|ms|s|m|h)")
_LONGEST_S = 2.0**63 / 1e9


def parse_duration(text: str) -> float:
    """Return the seconds that a text of numbers with units stands for.

    Source: the syntax of Go's ``time.ParseDuration``, which Tyk uses for all durations that are text.

    :param text: ``0`` or one or more of number and unit (ns, us, ms, s, m, h); a sign may stand in front.
    :returns: seconds, negative with a minus sign.
    :raises ValueError: anything else, or longer than about 292 years.
    """
    sign = -1.0 if text.startswith("-") else 1.0
    rest = text[1:] if text[:1] in ("-", "+") else text
    if rest == "0":
        return 0.0
    total = 0.0
    place = 0
    while place < len(rest):
        part = _PART.match(rest, place)
        if part is None:
            raise ValueError("not a duration")
        total += float(part[1]) * _UNITS[part[2]]
        place = part.end()
    if not rest or total > _LONGEST_S:
        raise ValueError("not a duration")
    return sign * total
