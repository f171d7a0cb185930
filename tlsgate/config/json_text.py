"""JSON text to values, stricter than usual where leniency hides mistakes; knows nothing of files or fields.

Refused: a member given twice, numbers that no computer number holds, ``NaN``, half of a surrogate pair, nesting without end.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

__all__ = ["MAX_DEPTH", "UnusableText", "examine", "parse_integer", "parse_json", "parse_number"]

MAX_DEPTH = 128
"""Levels of nesting; more than any document of people has."""
_MAX_DIGITS = 400


class UnusableText(ValueError):
    """Text that is well-formed, perhaps, but nothing that a configuration may hold; the words never quote a value."""


def parse_json(text: str) -> object:
    """Return the value of a JSON text.

    :raises ValueError: not well-formed (``json.JSONDecodeError``), or beyond the bounds (:class:`UnusableText`).
    """
    try:
        value: object = json.loads(
            text, object_pairs_hook=_object, parse_int=parse_integer, parse_float=parse_number, parse_constant=_constant
        )
    except RecursionError:
        raise UnusableText(f"nested deeper than {MAX_DEPTH} levels") from None
    examine(value)
    return value


def parse_integer(text: str) -> int:
    """Return a whole number; hundreds of digits are no number of a configuration."""
    if len(text) > _MAX_DIGITS:
        raise UnusableText("a number has too many digits")
    return int(text, 0) if text[:2] in ("0x", "0o") else int(text)


def parse_number(text: str) -> float:
    """Return a number with a fraction or exponent."""
    value = float(text)
    if not math.isfinite(value):
        raise UnusableText("a number is too large")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        ((name, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise UnusableText(f"member {json.dumps(name[:60])} is given twice in one object")
    return made


def _constant(text: str) -> float:
    raise UnusableText(f"{text} is no number of JSON")


def examine(value: object) -> None:
    """Refuse what nests too deep or holds half of a surrogate pair; iterative, because the depth is not known yet."""
    if isinstance(value, str):
        _examine_text(value)
    level: list[object] = [value]
    depth = 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise UnusableText(f"nested deeper than {MAX_DEPTH} levels")
        below: list[object] = []
        for item in level:
            for text in item if isinstance(item, dict) else ():
                _examine_text(text)
            for part in item.values() if isinstance(item, dict) else item if isinstance(item, list) else ():
                if isinstance(part, str):
                    _examine_text(part)
                elif isinstance(part, (dict, list)):
                    below.append(part)
        level = below


def _examine_text(text: str) -> None:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise UnusableText("text with half of a surrogate pair") from None
