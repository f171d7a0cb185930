"""Collects everything that is wrong in one file, and shows values without giving secrets away.

Knows how a problem is worded and shortened; must not know what any field means.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from tlsgate.errors import Problem

__all__ = ["Problems", "Resolved", "join_path", "reason_of", "show_value"]

_MAX_SHOWN = 60
_MAX_PROBLEMS = 500  # a list with 100,000 bad entries must not become 100,000 log lines
_USER_INFO = re.compile(r"(://)[^/?#@]*@")


class Resolved(str):
    """Text that came from outside the file (environment, secrets, another file): compares as text, is never shown."""

    reference: str = ""
    """What stood in the file: ``env://NAME``."""

    @classmethod
    def of(cls, text: str, reference: str) -> Resolved:
        """Return the text with the reference that led to it."""
        made = cls(text)
        made.reference = reference
        return made


def show_value(value: object, *, secret: bool = False) -> str:
    """Return a value for a message: one line, cut, never a secret, a private key or a password of an address.

    :param secret: the field holds a secret: nothing of it is shown.
    """
    if value is None or secret:
        return ""
    if isinstance(value, Resolved):
        return f"from {_cut(value.reference)}"
    if isinstance(value, str):
        if "-----BEGIN" in value:
            return "PEM text"
        return _cut(json.dumps(_USER_INFO.sub(r"\1***@", value)))
    if isinstance(value, (bool, int, float)):
        return _cut(json.dumps(value)) if not isinstance(value, int) or abs(value) < 10**30 else "a very large number"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, Mapping):
        return "an object"
    return type(value).__name__


def join_path(path: str, name: str) -> str:
    """Return the path of a member; a name that a reference led to is shown as the reference."""
    shown = name.reference if isinstance(name, Resolved) else name
    return f"{path}.{shown}" if path else shown


def reason_of(error: ValueError, value: object) -> str:
    """Return what an error says about a value, unless the words could quote a value that is not to be shown."""
    return "it is not well-formed" if isinstance(value, Resolved) else str(error)


class Problems:
    """The problems of one file, in the order in which they were found, at most a few hundred of them.

    :param file: the file, or ``environment``, or the place of an inline definition.
    :param origins: where the tree at hand was made from another form, the path in the file by path in the tree.
    """

    def __init__(self, file: str, origins: Mapping[str, str] | None = None) -> None:
        self.file = file
        self.found: list[Problem] = []
        self.failed = False
        """Whether any of them is an error, those beyond the bound included."""
        self.error_paths: set[str] = set()
        """Members with an error, by their paths in the tree at hand; items of lists are their list."""
        self._origins = origins or {}
        self._dropped = 0

    def error(self, path: str, message: str, remedy: str = "", *, value: object = None, secret: bool = False) -> None:
        """Note something that makes the file, or the part of it at hand, unusable."""
        self.failed = True
        self.error_paths.add(path.partition("[")[0])
        self._add(path, message, remedy, show_value(value, secret=secret), "error")

    def warning(self, path: str, message: str, remedy: str = "", *, value: object = None, secret: bool = False) -> None:
        """Note something that an operator should know, and that stops nothing."""
        self._add(path, message, remedy, show_value(value, secret=secret), "warning")

    def all(self) -> list[Problem]:
        """Return what was found; the last one tells how many more there are."""
        if not self._dropped:
            return list(self.found)
        severity = "error" if self.failed else "warning"
        return [*self.found, Problem(self.file, "", "", f"{self._dropped} more problems are not listed", "", severity)]

    def _add(self, path: str, message: str, remedy: str, value: str, severity: str) -> None:
        if len(self.found) >= _MAX_PROBLEMS:
            self._dropped += 1
            return
        self.found.append(Problem(self.file, self._origin(path), value, message, remedy, severity))

    def _origin(self, path: str) -> str:
        """Translate a path by its longest known beginning."""
        rest = ""
        while path and self._origins:
            found = self._origins.get(path)
            if found is not None:
                return found + rest
            cut = max(path.rfind("."), path.rfind("["))
            if cut <= 0:
                return path + rest
            path, rest = path[:cut], path[cut:] + rest
        return path + rest


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 3] + "..."
