"""Configured paths as patterns: path rules (ignored, white list ...) and listen paths; knows nothing of hosts, APIs or what a rule does.

All patterns speak of the canonical path (``wire.target.canonicalise``), so literal text of a rule is brought into that form as well, and
all of them run in linear time (``re2``). Rules without any wildcard need no pattern: they are found by equality.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Generic, NamedTuple, TypeVar

import re2

from tlsgate.errors import WireError
from tlsgate.wire.target import canonicalise

__all__ = [
    "ListenPath",
    "PathPattern",
    "RuleSet",
    "build_path_matcher",
    "compile_expression",
    "parse_listen_path",
    "raw_length",
    "remaining_path",
    "split_template",
]

T = TypeVar("T")

_LITERAL = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_~!&',=:@;/")
"""Characters of the canonical form that mean themselves in a regular expression."""
_SYNTAX = frozenset(".*+?()|^$[]\\")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_QUANTIFIER = re.compile(r"\{[0-9]+(?:,[0-9]*)?\}")
_PLACEHOLDER = re.compile(r"\{[^{}/]*\}")
_PERCENT = ord("%")


class PathPattern:
    """One configured path, ready to be compared; immutable."""

    __slots__ = ("_fold", "_full", "_search", "exact", "exact_full", "full_source", "source")

    def __init__(self, exact: bytes | None, exact_full: bytes | None, source: bytes, full_source: bytes | None, fold: bool) -> None:
        self.exact = exact
        """The one path below the listen path that it matches (lower case when letter case is ignored); None for an expression."""
        self.exact_full = exact_full
        """The same for the full path."""
        self.source = source
        """The expression for the path below the listen path."""
        self.full_source = full_source
        """The expression for the full path; None when the rule does not spell the listen path."""
        self._fold = fold
        self._search = compile_expression(source) if exact is None else None
        self._full = compile_expression(full_source) if exact is None and full_source is not None else None

    @property
    def folds(self) -> bool:
        """Whether letter case is ignored."""
        return self._fold

    def matches(self, remaining: bytes, full: bytes) -> bool:
        """Tell whether a request's path is meant.

        :param remaining: canonical path below the listen path, with a leading slash.
        :param full: the whole canonical path.
        """
        if self._search is None:
            if self._fold:
                return remaining.lower() == self.exact or full.lower() == self.exact_full
            return remaining == self.exact or full == self.exact_full
        return self._search.search(remaining) is not None or (self._full is not None and self._full.search(full) is not None)


@lru_cache(maxsize=4096)
def build_path_matcher(path: str, *, prefix: bool, suffix: bool, ignore_case: bool, listen_path: str = "") -> PathPattern:
    """Return the pattern of a path rule.

    ``{x}`` and ``/*/`` stand for one segment, ``/*`` at the end for anything, the rest is a regular expression. ``{2}`` and ``{2,3}`` stay
    quantifiers. Differs from Tyk: anchors hold the whole expression (``^/a|/b$`` opens nothing by accident), the path below the listen
    path is what a rule speaks of, and the full path counts only for a rule that spells the whole listen path and more: the listen path's
    own name never satisfies a rule.
    Source: API definitions reference, section 7.1.

    :param path: as configured.
    :param prefix: anchor at the start when the path starts with a slash.
    :param suffix: anchor at the end.
    :param ignore_case: letters match in either case.
    :param listen_path: of the API, as configured; empty when full paths never count.
    :returns: the pattern; shared by all who ask for the same, as the keys of one policy do: compiling one costs some 0.1 ms.
    :raises ValueError: the path is no expression that runs in linear time.
    """
    literal, expression = _translate(path)
    compile_expression(expression)  # alone first: `a)|(?:b` must not become valid by the group around it
    bare = path.removeprefix("^")
    spelled = len(listen_path) > 1 and bare.startswith(listen_path) and bare[len(listen_path) :].strip("/$") != ""
    anchored = prefix and path.startswith("/")
    exact = exact_full = None
    if literal is not None and anchored and suffix:
        exact = literal.lower() if ignore_case else literal
        exact_full = exact if spelled else None
    group = (b"(?i:" if ignore_case else b"(?:") + expression + b")"
    end = rb"\z" if suffix else b""
    source = (rb"\A" if anchored else b"") + group + end
    full_source = rb"\A" + group + end if spelled else None
    return PathPattern(exact, exact_full, source, full_source, ignore_case)


class _Group(Generic[T]):
    """The rules that concern one method, in order."""

    __slots__ = ("_exact", "_exact_folded", "_exact_full", "_exact_full_folded", "_filter", "_filter_full", "_patterns")

    def __init__(self, rules: Sequence[tuple[int, PathPattern, T]]) -> None:
        self._exact: dict[bytes, tuple[int, T]] = {}
        self._exact_folded: dict[bytes, tuple[int, T]] = {}
        self._exact_full: dict[bytes, tuple[int, T]] = {}
        self._exact_full_folded: dict[bytes, tuple[int, T]] = {}
        patterns = []
        for index, pattern, value in rules:
            if pattern.exact is None:
                patterns.append((index, pattern, value))
                continue
            below, whole = (self._exact_folded, self._exact_full_folded) if pattern.folds else (self._exact, self._exact_full)
            below.setdefault(pattern.exact, (index, value))
            if pattern.exact_full is not None:
                whole.setdefault(pattern.exact_full, (index, value))
        self._patterns = tuple(patterns)
        # Most requests match no rule at all: one expression says so for all of them at the cost of one.
        self._filter = _join(pattern.source for _, pattern, _ in patterns)
        self._filter_full = _join(pattern.full_source for _, pattern, _ in patterns if pattern.full_source is not None)

    def find(self, remaining: bytes, full: bytes) -> T | None:
        found = self._exact.get(remaining)
        if self._exact_full:
            found = _first(found, self._exact_full.get(full))
        if self._exact_folded:
            found = _first(found, self._exact_folded.get(remaining.lower()))
        if self._exact_full_folded:
            found = _first(found, self._exact_full_folded.get(full.lower()))
        if self._patterns and (
            (self._filter is not None and self._filter.search(remaining) is not None)
            or (self._filter_full is not None and self._filter_full.search(full) is not None)
        ):
            for index, pattern, value in self._patterns:
                if found is not None and index > found[0]:
                    break
                if pattern.matches(remaining, full):
                    return value
        return None if found is None else found[1]


class RuleSet(Generic[T]):
    """Path rules of one kind; the first that matches path and method counts. Immutable.

    A look-up costs two or three dictionary look-ups, and one search (about 2 us) when a rule is more than plain text, however many
    rules there are.
    """

    __slots__ = ("_by_method", "_others")

    def __init__(self, rules: Iterable[tuple[PathPattern, str, T]]) -> None:
        numbered = [(index, pattern, method, value) for index, (pattern, method, value) in enumerate(rules)]
        methods = {method for _, _, method, _ in numbered if method}
        self._by_method: dict[bytes, _Group[T]] = {
            method.encode("ascii", "replace"): _Group([(i, pattern, value) for i, pattern, own, value in numbered if own in ("", method)])
            for method in methods
        }
        self._others = _Group([(i, pattern, value) for i, pattern, method, value in numbered if not method])

    def find(self, method: bytes, remaining: bytes, full: bytes) -> T | None:
        """Return the value of the first rule that matches, None when none does."""
        group = self._by_method.get(method)
        return (self._others if group is None else group).find(remaining, full)


class ListenPath(NamedTuple):
    """A listen path taken apart."""

    prefix: bytes
    """Canonical text before the first ``{``; the whole of it without templates."""
    length: int
    """Bytes that count for the order of routes: everything outside of ``{..}``."""
    source: bytes | None
    """Expression that matches at the start of a path; None without templates."""


def parse_listen_path(text: str) -> ListenPath:
    """Return the parts of a listen path.

    ``{name}`` is one segment (``[^/]+``), ``{name:regex}`` what the expression says.
    Source: API definitions reference, sections 2.3 and 6.

    :param text: starts with a slash.
    :returns: the parts, in canonical form.
    :raises ValueError: unbalanced braces, a blank, a capture group, or an expression that is not linear.
    """
    if not text.startswith("/") or any(character.isspace() for character in text):
        raise ValueError("a listen path starts with a slash and holds no blanks")
    parts = split_template(text, "[^/]+")
    literals = [_canonical(part) for part in parts[::2]]
    if len(parts) == 1:
        return ListenPath(literals[0], len(literals[0]), None)
    source = re2.escape(literals[0])
    for expression, literal in zip(parts[1::2], literals[1:], strict=True):
        compile_expression(expression)
        source += b"(?:" + expression.encode() + b")" + re2.escape(literal)
    if compile_expression(source).groups:
        raise ValueError("an expression in a listen path holds a capture group; use (?:...)")
    return ListenPath(literals[0], sum(map(len, literals)), source)


def split_template(text: str, default: str) -> list[str]:
    """Split ``a{name:regex}b`` into literal and expression parts in turn, starting and ending with a literal.

    :param text: braces inside an expression are balanced.
    :param default: the expression of ``{name}``.
    :returns: an odd number of parts.
    :raises ValueError: braces that do not close or open, or an empty name.
    """
    parts: list[str] = []
    start = depth = 0
    for index, character in enumerate(text):
        if character == "{":
            if depth == 0:
                parts.append(text[start:index])
                start = index + 1
            depth += 1
        elif character == "}":
            depth -= 1
            if depth < 0:
                raise ValueError("unbalanced braces")
            if depth == 0:
                name, colon, expression = text[start:index].partition(":")
                if not name.strip() or (colon and not expression):
                    raise ValueError("empty name or expression in braces")
                parts.append(expression if colon else default)
                start = index + 1
    if depth:
        raise ValueError("unbalanced braces")
    parts.append(text[start:])
    return parts


def compile_expression(source: bytes | str, *, ignore_case: bool = False) -> Any:
    """Return a compiled ``re2`` pattern over bytes.

    :raises ValueError: with the reason, for what ``re2`` refuses (look-around, back references, syntax, size).
    """
    options = re2.Options()
    options.log_errors = False
    options.encoding = re2.Options.Encoding.LATIN1
    options.case_sensitive = not ignore_case
    try:
        return re2.compile(source.encode() if isinstance(source, str) else source, options)
    except re2.error as error:
        reason = error.args[0] if error.args else "refused"
        raise ValueError(reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)) from error


def remaining_path(canonical: bytes, matched: bytes) -> bytes:
    """Return the canonical path below the listen path, with exactly one leading slash (as it is joined to the target, section 9.1)."""
    rest = canonical[len(matched) :]
    return rest if rest[:1] == b"/" and rest[1:2] != b"/" else b"/" + rest.lstrip(b"/")


def raw_length(path: bytes, canonical: bytes, length: int) -> int:
    """Return how many bytes of the path as sent the first ``length`` bytes of its canonical form stand for.

    Free for the usual path, which is its own canonical form.
    """
    if path == canonical:
        return length
    index = position = 0
    while position < length:
        position += 3 if canonical[position] == _PERCENT else 1
        index += 3 if path[index] == _PERCENT else 1
    return index


def _join(sources: Iterable[bytes | None]) -> Any:
    joined = b"|".join(b"(?:" + source + b")" for source in sources if source is not None)
    return compile_expression(joined) if joined else None


def _first(one: tuple[int, T] | None, other: tuple[int, T] | None) -> tuple[int, T] | None:
    if one is None or (other is not None and other[0] < one[0]):
        return other
    return one


def _canonical(text: str) -> bytes:
    raw = text.encode()
    try:
        return canonicalise(raw)
    except WireError:
        return canonicalise(raw.replace(b"%", b"%25").replace(b"\0", b"%2500"))


def _literal(text: str) -> tuple[bytes, bytes]:
    """Return (text in canonical form, expression for exactly it)."""
    plain = _canonical(text)
    piece = plain if all(chr(byte) in _LITERAL for byte in plain) else re2.escape(plain)
    return plain, b"(?:" + piece + b")" if len(plain) > 1 else piece


def _translate(path: str) -> tuple[bytes | None, bytes]:
    """Return (the literal bytes if the path is plain text, the expression)."""
    literal: list[bytes] | None = []
    expression: list[bytes] = []
    index = 0
    in_class = False
    while index < len(path):
        character = path[index]
        plain: bytes | None = None
        step = 1
        if in_class or character == "[":
            in_class = character != "]" or (in_class and path[index - 1] == "[")
            if character == "\\":
                step = 2
            piece = path[index : index + step].encode()
        elif character == "\\":
            step = 2
            escaped = path[index + 1 : index + 2]
            piece = path[index : index + 2].encode()
            if escaped and not (escaped.isascii() and escaped.isalnum()):
                plain, piece = _literal(escaped)
        elif path.startswith("/*", index) and path[index + 2 : index + 3] in ("", "/"):
            step = 2
            piece = b"/[^/]+" if index + 2 < len(path) else b"/.*"
        elif character == "{":
            found = _QUANTIFIER.match(path, index)
            if found is not None and index > 0 and path[index - 1] != "/":
                piece = found[0].encode()
            else:
                found = _PLACEHOLDER.match(path, index)
                piece = b"([^/]+)"
            if found is None:
                raise ValueError("a brace that opens nothing, or braces within braces; write \\{ for the character")
            step = len(found[0])
        elif character in _SYNTAX:
            piece = character.encode()
        else:
            escape = _ESCAPE.match(path, index)
            step = 3 if escape is not None else 1
            plain, piece = _literal(path[index : index + step])
        expression.append(piece)
        if plain is None:
            literal = None
        elif literal is not None:
            literal.append(plain)
        index += step
    return (None if literal is None else b"".join(literal)), b"".join(expression)
