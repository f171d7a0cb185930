"""Answers for people and for tools: tables, records, JSON; knows no command.

Text comes from whoever named a key or an API: what would steer a terminal is shown as an escape.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

__all__ = ["clean", "format_moment", "format_record", "format_table", "write", "write_json", "write_note"]


def clean(value: Any) -> str:
    """Return a value as one line of printable text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value)
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else character.encode("unicode_escape").decode() for character in text)


def format_table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table with aligned columns; cells are never cut, so that they can be copied.

    :param heads: of the columns.
    """
    lines = [tuple(heads), *(tuple(map(clean, row)) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    return "".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n" for line in lines)


def format_record(fields: Iterable[tuple[str, Any]]) -> str:
    """Return names and values below each other; what has no value is left out."""
    shown = [(name, clean(value)) for name, value in fields if value not in (None, "", [], (), {})]
    width = max((len(name) for name, _ in shown), default=0)
    return "".join(f"{name.ljust(width)}  {value}\n" for name, value in shown)


def format_moment(seconds: Any, never: str = "never") -> str:
    """Return epoch seconds as UTC.

    :param never: for 0, less, and what is no moment.
    """
    try:
        moment = datetime.fromtimestamp(float(seconds), UTC) if float(seconds) > 0 else None
    except (TypeError, ValueError, OverflowError, OSError):
        moment = None
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z") if moment is not None else never


def write(text: str) -> None:
    """Write to standard output, in whatever encoding it has."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))


def write_json(tree: Any) -> None:
    """Write an answer for tools: one JSON value, plain ASCII."""
    sys.stdout.write(json.dumps(tree, indent=2) + "\n")


def write_note(text: str) -> None:
    """Write for people beside the answer, to standard error."""
    sys.stderr.write(f"tlsgate: {clean(text)}\n")
