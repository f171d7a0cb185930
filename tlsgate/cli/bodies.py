"""What a command sends: JSON objects and PEM from a file or standard input; knows no gateway."""

from __future__ import annotations

import sys
from typing import Any

from tlsgate.cli.faults import UsageFault
from tlsgate.config.json_text import parse_json

__all__ = ["name_source", "read_bytes", "read_object"]

_MAX_BYTES = 64 << 20


def read_bytes(source: str, what: str) -> bytes:
    """Return the content of a file.

    :param source: a path, or ``-`` for standard input.
    :param what: for messages.
    :raises UsageFault: it cannot be read.
    """
    name = name_source(source)
    try:
        if source == "-":
            if sys.stdin.isatty():
                sys.stderr.write(f"{what}, ended by Ctrl-D:\n")
            data = sys.stdin.buffer.read(_MAX_BYTES + 1)
        else:
            with open(source, "rb") as file:
                data = file.read(_MAX_BYTES + 1)
    except OSError as problem:
        raise UsageFault(f"{what} cannot be read from {name}: {problem.strerror}") from None
    if len(data) > _MAX_BYTES:
        raise UsageFault(f"{what} in {name} is larger than {_MAX_BYTES} bytes")
    return data


def read_object(source: str, what: str) -> dict[str, Any]:
    """Return a JSON object.

    :raises UsageFault: it cannot be read or is none; the message quotes no value.
    """
    name = name_source(source)
    try:
        tree = parse_json(read_bytes(source, what).decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise UsageFault(f"{what} in {name} is no UTF-8 text") from None
    except ValueError as problem:
        raise UsageFault(f"{what} in {name} is no JSON: {problem}") from None
    if not isinstance(tree, dict):
        raise UsageFault(f"{what} in {name} is no JSON object")
    return tree


def name_source(source: str) -> str:
    """Return what messages call a source."""
    return "standard input" if source == "-" else source
