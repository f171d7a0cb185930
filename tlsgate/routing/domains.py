"""Domains with templates (``{name}.example.com``) and the look-up of those that match a host; knows nothing of APIs or ports.

Patterns are indexed by their literal end, so that thousands of them cost a host what the few that end alike cost.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import re2

from tlsgate.routing.paths import compile_expression, split_template

__all__ = ["DomainIndex", "compile_domain", "is_pattern"]

_LABEL = "[^.]+"


def is_pattern(domain: str) -> bool:
    """Tell whether a domain holds templates."""
    return "{" in domain


def compile_domain(domain: str) -> tuple[Any, str]:
    """Return the expression of a domain pattern and the literal text that it ends in.

    ``{name}`` is one label (``[^.]+``), ``{name:regex}`` what the expression says; the whole host must match, in any letter case.
    Source: API definitions reference, section 6.2.

    :raises ValueError: unbalanced braces or an expression that is not linear.
    """
    parts = split_template(domain, _LABEL)
    parts[::2] = [part.lower() for part in parts[::2]]
    parts[-1] = parts[-1].removesuffix(".")
    for part in parts[1::2]:
        compile_expression(part)
    source = b"".join(b"(?:" + part.encode() + b")" if index % 2 else re2.escape(part.encode()) for index, part in enumerate(parts))
    return compile_expression(source, ignore_case=True), parts[-1]


class DomainIndex:
    """Domain patterns by number; immutable."""

    __slots__ = ("_by_end", "_lengths")

    def __init__(self, domains: Iterable[str]) -> None:
        by_end: dict[str, list[tuple[int, Any, bool]]] = {}
        for number, domain in enumerate(domains):
            expression, end = compile_domain(domain)
            parts = split_template(domain, _LABEL)
            if parts[:2] == ["", _LABEL] and len(parts) == 3 and ":" not in end:
                expression = None  # one label before literal text, the usual pattern: no expression needed
            # A colon in the literal text asks for the port as well (6.2).
            has_port = any(":" in part for part in parts[::2])
            by_end.setdefault("" if has_port else end, []).append((number, expression, has_port))
        self._by_end = {end: tuple(entries) for end, entries in by_end.items()}
        self._lengths = tuple(sorted({len(end) for end in self._by_end}))

    def __bool__(self) -> bool:
        return bool(self._by_end)

    def find(self, host: str, port: int) -> tuple[int, ...]:
        """Return the numbers of the patterns that match, ascending.

        :param host: normalised.
        :param port: of the listener, for patterns that spell a port.
        """
        found: list[int] = []
        size = len(host)
        for length in self._lengths:
            if length > size:
                break
            entries = self._by_end.get(host[size - length :])
            if entries is None:
                continue
            for number, expression, has_port in entries:
                if expression is None:
                    if length < size and host.find(".", 0, size - length) < 0:
                        found.append(number)
                elif expression.fullmatch((f"{host}:{port}" if has_port else host).encode()) is not None:
                    found.append(number)
        found.sort()
        return tuple(found)
