"""Turns certificate references into bundles: inline PEM, ids of the store, files; knows nothing of their use.

The one place of ``pki`` that does I/O: it reads files named by the operator, on load and in a thread at most, never per request. What the
store holds was fetched before, and is read from a shelf.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from tlsgate.errors import PkiError, Problem
from tlsgate.pki.pem import PemBundle, parse_pem
from tlsgate.pki.stored import is_store_id

__all__ = ["MAX_FILE_BYTES", "NotInStore", "ReferenceResolver", "Resolved", "Shelf", "describe_reference"]

MAX_FILE_BYTES = 512 * 1024 * 1024
"""100,000 certificates with RSA keys are about 150 MiB."""
_INLINE = "-----BEGIN "
_MAX_SHOWN = 60


_NOT_USABLE = "neither an id of the certificate store nor a file that may be used"


class NotInStore(PkiError):
    """An id that the store does not hold, or could not be asked for yet: it grants nothing, and stops nothing."""


class Shelf(Protocol):
    """What was fetched from the store before a build; read in a thread."""

    def find(self, id: str) -> PemBundle | None:
        """Return what the store holds under an id, None when it holds nothing.

        :raises PkiError: what it holds cannot be read.
        :raises NotInStore: the store could not be asked yet.
        """
        ...


class Resolved(NamedTuple):
    """A list of references, resolved."""

    bundles: list[PemBundle | None]
    """One for each reference, in order; None where it grants nothing."""
    problems: list[Problem]


class ReferenceResolver:
    """Resolves references for one generation of the configuration; each file is read once in its life.

    :param folders: when not empty, files outside of these folders (symbolic links followed) are refused, whoever names them.
    :param shelf: what the store holds; None where no store can be asked (``tlsgate check``).
    :param guest_folders: as ``folders``, for definitions that came by the REST API (:meth:`for_guests`).
    :param reuse: a resolver whose files are taken as it read them: they are not looked at again.
    """

    __slots__ = ("_cache", "_directories", "_folders", "_guest_folders", "_guests", "_reuse", "_shelf", "_uniform", "broken_files", "files")

    def __init__(
        self,
        *,
        folders: Iterable[str] = (),
        shelf: Shelf | None = None,
        guest_folders: Iterable[str] = (),
        reuse: ReferenceResolver | None = None,
    ) -> None:
        self._folders = tuple(os.path.realpath(folder) for folder in folders)
        self._guest_folders = tuple(os.path.realpath(folder) for folder in guest_folders)
        self._shelf = shelf
        self._reuse = reuse
        self._uniform = False
        self._guests: ReferenceResolver | None = None
        self._cache: dict[str, PemBundle | PkiError] = {}
        self._directories: dict[str, str] = {}
        self.files: set[str] = set()
        """Paths that were read and parsed."""
        self.broken_files: dict[str, str] = {}
        """Paths that exist but could not be read or parsed, with the reason: a reload keeps the old generation then (decisions 1.8)."""

    def for_guests(self) -> ReferenceResolver:
        """Return the resolver for definitions that came by the REST API: files of ``guest_folders`` only, once there are any, and one
        text for every fault, so that nobody learns what files this machine has.
        """
        if self._guests is None:
            guests = self._guests = ReferenceResolver(shelf=self._shelf, reuse=self._reuse._guests if self._reuse is not None else None)
            # Both limits hold; a folder of one that lies in none of the other's opens nothing.
            guests._folders = self._guest_folders or self._folders
            if self._guest_folders and self._folders:
                guests._folders = tuple(
                    folder for folder in self._guest_folders if any(os.path.commonpath((folder, other)) == other for other in self._folders)
                ) or ("/dev/null",)
            guests._uniform = True
            guests.files, guests.broken_files = self.files, self.broken_files
        return self._guests

    def close(self) -> None:
        """Forget the resolver whose files were taken over."""
        self._reuse = None
        if self._guests is not None:
            self._guests._reuse = None

    def resolve(self, reference: str) -> PemBundle:
        """Resolve one reference.

        :param reference: inline PEM, the id of a certificate in the store, or the path of a PEM file.
        :returns: what it holds.
        :raises PkiError: it cannot be found, read or parsed.
        :raises NotInStore: it has the form of an id, and neither store nor disk has it.
        Source: mTLS reference section 1: the store before the disk.
        """
        if _INLINE in reference:
            return parse_pem(reference)  # not cached: the text is its own copy, and lists rarely repeat
        known = self._cache.get(reference)
        if known is None:
            known = self._cache[reference] = self._read(reference)
        if isinstance(known, PkiError):
            raise type(known)(str(known))
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
                unknown = self._shelf is None and isinstance(error, NotInStore)
                problems.append(
                    Problem(
                        file=file,
                        path=f"{path}[{number}]" if path else "",
                        value=describe_reference(reference),
                        message=str(error),
                        remedy="it grants nothing until it can be read; the others of the list work",
                        severity="warning" if unknown else severity,
                    )
                )
        return Resolved(bundles, problems)

    def _read(self, reference: str) -> PemBundle | PkiError:
        path = reference.strip()
        missing: PkiError | None = None
        if is_store_id(path):
            try:
                found = self._shelf.find(path) if self._shelf is not None else None
            except PkiError as error:
                if not isinstance(error, NotInStore):
                    return error
                missing, found = error, None
            if found is not None:
                return found
            if missing is None:
                text = (
                    "no such certificate in the store" if self._shelf is not None else "an id of the certificate store, not looked up here"
                )
                missing = NotInStore(text)
        known = self._reuse._cache.get(reference) if self._reuse is not None else None
        if known is not None and missing is None:
            if path in self._reuse.files:  # type: ignore[union-attr]
                self.files.add(path)
            return known
        found_or_error = self._read_file(path)
        if isinstance(found_or_error, PkiError):
            if missing is not None and (path not in self.broken_files or self._uniform):
                return missing
            if self._uniform:
                return PkiError(_NOT_USABLE)
        return found_or_error

    def _read_file(self, path: str) -> PemBundle | PkiError:
        try:
            data = self._load(path)
        except FileNotFoundError:
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
