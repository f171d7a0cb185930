"""The files of ``app_path`` as the control API writes them: whole or not at all, never outside of the folder; knows no definition.

Blocking: callers run it in a thread. Source: API definitions reference, section 2.1: ``<api_id>.json``, and ``<api_id>-oas.json``.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress

from tlsgate.config.trees import Tree, load_tree
from tlsgate.definitions import origins
from tlsgate.errors import ConfigError

__all__ = ["DefinitionFiles", "is_file_id", "render"]

_MAX_ID_BYTES = 200
_BAD_IN_ID = frozenset("/\\{}?#%;\"'<>|^`")
_ENDINGS = ("-oas", "-mcp")
_TAKEN = frozenset({"oas", "import", "export"})


def is_file_id(api_id: str) -> bool:
    """Tell whether an id can be the name of a file and a segment of a path of the control API.

    Refused beside separators: what begins with a dot (hidden from loading), and endings that make a file the companion of another one.
    """
    return (
        bool(api_id)
        and len(api_id.encode("utf-8", "replace")) <= _MAX_ID_BYTES
        and api_id.isprintable()
        and not api_id.startswith(".")
        and not api_id.endswith(_ENDINGS)
        and api_id not in _TAKEN
        and not any(character.isspace() or character in _BAD_IN_ID for character in api_id)
    )


def render(tree: Tree) -> bytes:
    """Return the text of a file: two blanks per level, as Tyk writes it."""
    return json.dumps(tree, indent=2, ensure_ascii=False).encode() + b"\n"


class DefinitionFiles:
    """One folder.

    :param folder: ``app_path``; empty is none, so that nothing can be written.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def path_of(self, name: str) -> str:
        """Return the path of a file.

        :raises ValueError: it is not the name of a file in this folder.
        """
        if not name or os.path.basename(name) != name or name.startswith("."):
            raise ValueError("not a file name")
        return os.path.join(self.folder, name)

    def base_of(self, source: str) -> str:
        """Return the name without its endings of a definition that came from a file of this folder, empty for another place."""
        place, name = os.path.split(source)
        if not self.folder or os.path.normpath(place or ".") != os.path.normpath(self.folder):
            return ""
        stem, extension = os.path.splitext(name)
        return stem.removesuffix("-oas") if extension.lower() in (".json", ".yaml", ".yml") else ""

    def read(self, name: str) -> Tree | None:
        """Return what a file holds, None when it is not there or cannot be read."""
        try:
            return load_tree(self.path_of(name), regular=True)
        except ConfigError:
            return None

    def exists(self, name: str) -> bool:
        """Tell whether there is a file of this name."""
        return bool(self.folder) and os.path.lexists(self.path_of(name))

    def write(self, files: Mapping[str, bytes], remove: Iterable[str] = ()) -> None:
        """Write files, each of them by a rename that happens once all of them are on the disk, then remove others.

        :param files: text by name; renamed in this order.
        :raises OSError: nothing, or (a fault between two renames) not everything was written.
        """
        if not self.folder:
            raise FileNotFoundError(2, "app_path is not set")
        made: list[tuple[str, str]] = []
        try:
            for name, text in files.items():
                target = self.path_of(name)
                made.append((self._write_temporary(target, text), target))
            for name, text in files.items():
                origins.record(self.folder, name, text)
            while made:
                temporary, target = made[0]
                os.rename(temporary, target)
                made.pop(0)
            gone = [name for name in remove if self._unlink(name)]
            self._forget(gone)
        finally:
            for temporary, _ in made:
                os.unlink(temporary)
        self._settle()

    def remove(self, names: Iterable[str]) -> bool:
        """Remove files in this order; returns whether the first one was there."""
        listed = list(names)
        there = [self._unlink(name) for name in listed]
        self._forget(listed)
        self._settle()
        return bool(there) and there[0]

    def _forget(self, names: Iterable[str]) -> None:
        # A name too many in the list does no harm; the files are gone all the same.
        with suppress(OSError):
            origins.forget(self.folder, names)

    def _write_temporary(self, target: str, text: bytes) -> str:
        # Hidden from loading by its first character.
        temporary = os.path.join(self.folder, f".{secrets.token_hex(8)}.tmp")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "wb") as file:
                try:
                    # Whoever may read the file may read the next one too.
                    os.fchmod(file.fileno(), stat.S_IMODE(os.stat(target, follow_symlinks=False).st_mode) & 0o666 | 0o600)
                except FileNotFoundError:
                    pass
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            os.unlink(temporary)
            raise
        return temporary

    def _unlink(self, name: str) -> bool:
        try:
            os.unlink(self.path_of(name))
        except FileNotFoundError:
            return False
        return True

    def _settle(self) -> None:
        """Make renames and removals survive a power cut."""
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
