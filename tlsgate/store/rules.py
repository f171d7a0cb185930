"""What all backends have to reckon alike: bounds of sliding windows, ends of prefixes, the checks of arguments; knows no backend."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["check_names", "check_put", "parse_number", "prefix_end", "sliding_bounds", "ttl_of_ms"]

_NS = 1_000_000_000
_LAST = chr(sys.maxunicode)


def sliding_bounds(now: float, per_s: float) -> tuple[float, float]:
    """Return score of an entry made now, and the score up to which entries are out.

    Nanoseconds as in Tyk's sorted sets, as doubles because Redis's scores are: every backend then decides alike on the boundary.

    :param now: epoch seconds.
    """
    score = round(now * _NS)
    return float(score), float(score - round(per_s * _NS))


def prefix_end(prefix: str) -> str | None:
    """Return the first text after all texts with a prefix, in the order of code points; None when there is no such text."""
    kept = prefix.rstrip(_LAST)
    if not kept:
        return None
    following = ord(kept[-1]) + 1
    # Surrogates are no characters of any name.
    return kept[:-1] + chr(0xE000 if following == 0xD800 else following)


def check_names(names: Sequence[str]) -> None:
    """Refuse names that no store could hold.

    :raises ValueError: a lone surrogate.
    """
    for name in names:
        name.encode()


def check_put(name: str, ttl_s: int | None, only_if: str) -> None:
    """Refuse arguments of ``put`` that mean nothing.

    :raises ValueError: with what is wrong.
    """
    name.encode()
    if ttl_s is not None and ttl_s < 1:
        raise ValueError("a time to live is at least one second")
    if only_if not in ("", "present", "absent"):
        raise ValueError("only_if is present, absent or empty")


def parse_number(value: bytes) -> int:
    """Return the number of a counter.

    :raises ValueError: it is none.
    """
    if not (value[1:] if value[:1] == b"-" else value).isdigit():
        raise ValueError("not a counter")
    return int(value)


def ttl_of_ms(left_ms: int) -> float | None:
    """Return seconds of Redis's PTTL, None for a value without an end."""
    return None if left_ms < 0 else left_ms / 1000
