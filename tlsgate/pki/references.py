"""Turns certificate references of configuration files into bundles: inline PEM and files; knows nothing of their use.

The one place of ``pki`` that does I/O: it reads files named by the operator, on load and in a thread at most, never per request.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tlsgate.errors import PkiError, Problem
from tlsgate.pki.pem import PemBundle, parse_pem

__all__ = ["MAX_FILE_BYTES", "ReferenceResolver", "Resolved", "describe_reference"]

MAX_FILE_BYTES = 512 * 1024 * 1024
"""100,000 certificates with RSA keys are about 150 MiB."""
_INLINE = "-----BEGIN "
_STORE_ID = re.compile(r"[^/\\.]*[0-9a-f]{64}")
_MAX_SHOWN = 60


class Resolved(NamedTuple):
    """A list of references, resolved."""

    bundles: list[PemBundle | None]
    """One for each reference, in order; None where it grants nothing."""
    problems: list[Problem]


class ReferenceResolver:
    """Resolves references for one generation of the configuration; each file is read once in its life.

    :param folders: when not empty, files outside of these folders (symbolic links followed) are refused: definitions may come
        from people who must not read any file of the host.
    """

    __slots__ = ("_cache", "_directories", "_folders", "broken_files", "files")

    def __init__(self, *, folders: Iterable[str] = ()) -> None:
        self._folders = tuple(os.path.realpath(folder) for folder in folders)
        self._cache: dict[str, PemBundle | PkiError] = {}
        self._directories: dict[str, str] = {}
        self.files: set[str] = set()
        """Paths that were read and parsed."""
        self.broken_files: dict[str, str] = {}
        """Paths that exist but could not be read or parsed, with the reason: a reload keeps the old generation then (decisions 1.8)."""

    def resolve(self, reference: str) -> PemBundle:
        """Resolve one reference.

        :param reference: inline PEM, or the path of a PEM file.
        :returns: what it holds.
        :raises PkiError: it cannot be found, read or parsed, or is the id of a certificate store.
        Source: mTLS reference section 1. Tyk asks the store first; there is none in this version.
        """
        if _INLINE in reference:
            return parse_pem(reference)  # not cached: the text is its own copy, and lists rarely repeat
        known = self._cache.get(reference)
        if known is None:
            known = self._cache[reference] = self._read(reference)
        if isinstance(known, PkiError):
            raise PkiError(str(known))
        return known

    def resolve_all(self, references: Sequence[str], *, file: str = "", path: str = "", severity: str = "error") -> Resolved:
        """Resolve a list; what cannot be resolved grants nothing and is reported.

        :param references: in order.
        :param file: for the problems: the file that holds the list.
        :param path: for the problems: where in the file.
        :param severity: of the problems.
        :returns: bundles and problems; unpacks as a pair.
        Source: decisions 1.8.
        """
        bundles: list[PemBundle | None] = []
        problems: list[Problem] = []
        for number, reference in enumerate(references):
            try:
                bundles.append(self.resolve(reference))
            except PkiError as error:
                bundles.append(None)
                problems.append(
                    Problem(
                        file=file,
                        path=f"{path}[{number}]" if path else "",
                        value=describe_reference(reference),
                        message=str(error),
                        remedy="it grants nothing until it can be read; the others of the list work",
                        severity=severity,
                    )
                )
        return Resolved(bundles, problems)

    def _read(self, reference: str) -> PemBundle | PkiError:
        path = reference.strip()
        try:
            data = self._load(path)
        except FileNotFoundError:
            if _STORE_ID.fullmatch(path):
                return PkiError("no certificate store in this version, ids cannot be resolved; name a file or paste the PEM text")
            return PkiError("no such file")
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
            self.broken_files[path] = reason
            return PkiError(f"file cannot be read: {reason}")
        except PkiError as error:
            return error
        try:
            bundle = parse_pem(data)
        except PkiError as error:
            self.broken_files[path] = str(error)
            return error
        self.files.add(path)
        return bundle

    def _load(self, path: str) -> bytes:
        if not path:
            raise PkiError("empty reference")
        # A FIFO would block the load for ever, a device would never end.
        descriptor = os.open(self._allowed(path) if self._folders else path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(0, "not a regular file")
            if status.st_size > MAX_FILE_BYTES:
                raise OSError(0, f"larger than {MAX_FILE_BYTES} bytes")
            # Bare reads: with 100,000 files a buffered stream would be a third of the time.
            chunks = []
            left = MAX_FILE_BYTES
            while left > 0 and (chunk := os.read(descriptor, min(status.st_size + 1, left))):
                chunks.append(chunk)
                left -= len(chunk)
            return b"".join(chunks)
        finally:
            os.close(descriptor)

    def _allowed(self, path: str) -> str:
        """Return the path with symbolic links followed, if it lies in one of the folders."""
        directory, name = os.path.split(path)
        real_directory = self._directories.get(directory)
        if real_directory is None:
            real_directory = self._directories[directory] = os.path.realpath(directory)
        real = os.path.join(real_directory, name)
        if name in ("", ".", "..") or os.path.islink(real):
            real = os.path.realpath(path)
        if not any(os.path.commonpath((real, folder)) == folder for folder in self._folders):
            raise PkiError("file is outside of the folders that tlsgate.certificate_folders allows")
        return real


def describe_reference(reference: str) -> str:
    """Write a reference for a message, never its content.

    :param reference: any.
    :returns: the path or id, its middle left out when it is long (the name of a file stands at the end); ``inline PEM`` for inline text.
    """
    if _INLINE in reference:
        return "inline PEM"
    text = reference if reference.isprintable() else repr(reference)
    return text if len(text) <= _MAX_SHOWN else f"{text[:12]}…{text[13 - _MAX_SHOWN :]}"
