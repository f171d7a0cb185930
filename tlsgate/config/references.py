"""References inside configuration text (``env://``, ``secrets://``, ``file://``, ``$kv{..}``, ``kv://``) and what they stand for.

Knows the forms and the stores that need no network; must not know fields, nor certificates: a path or a store id of a certificate is no
reference in this sense. What cannot be resolved stays as written and is reported. Source: reference, sections 1.1 and 2.2 (Tyk's "key
value secrets storage").
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from typing import Any

from tlsgate.config.problems import Resolved

__all__ = ["ReferenceStores", "has_reference", "is_reference", "read_secret_file"]

MAX_FILE_BYTES = 16 * 1024 * 1024
_MARKS = re.compile(r"(?:env|secrets|file|kv|consul|vault)://|\$kv\{")
_INLINE = re.compile(r"\$kv\{([A-Za-z0-9_-]+):([^{}]+)\}")
_STORE = re.compile(r"kv://([A-Za-z0-9_-]+)/(.+)\Z", re.DOTALL)
_ALONE = re.compile(r"(?:env|secrets|file|kv|consul|vault)://[A-Za-z0-9_./#-]+|\$kv\{[A-Za-z0-9_-]+:[A-Za-z0-9_./#-]+\}")

Report = Callable[[str, str, str], None]
"""Takes path, what is wrong, and the text as written."""


def is_reference(text: str) -> bool:
    """Return whether the whole text is one reference: the name of a secret, never the secret."""
    return _ALONE.fullmatch(text) is not None


def has_reference(text: str) -> bool:
    """Return whether there is a reference in a text: after resolving, one that leads nowhere."""
    return _MARKS.search(text) is not None


def read_secret_file(name: str, base_path: str) -> str:
    """Return the text of a file below the base path, empty when it cannot be read or lies elsewhere."""
    try:
        return ReferenceStores({}, {}, base_path).read_file(name)
    except _Unresolved:
        return ""


class ReferenceStores:
    """What references can be resolved from.

    :param environ: the process environment.
    :param secrets: ``secrets`` of the configuration.
    :param base_path: ``kv.file.base_path``; empty means that no file may be named.
    """

    def __init__(self, environ: Mapping[str, str], secrets: Mapping[str, str], base_path: str) -> None:
        self._environ = environ
        self._secrets = secrets
        self._base_path = base_path
        # the longest first: "secrets://db" must not eat the beginning of "secrets://db_password"
        self._secret_names = sorted(secrets, key=len, reverse=True)

    def resolve_tree(self, value: Any, report: Report, path: str = "") -> Any:
        """Return a copy of a tree with every reference replaced; replaced text is :class:`Resolved`, so that no message shows it.

        :param report: called for each reference that cannot be resolved, which then stays as written.
        """
        if isinstance(value, str):
            return self._resolve(value, report, path)
        if isinstance(value, dict):
            return {
                self._resolve(key, report, path): self.resolve_tree(item, report, f"{path}.{key}" if path else key)
                for key, item in value.items()
            }
        if isinstance(value, list):
            return [self.resolve_tree(item, report, f"{path}[{index}]") for index, item in enumerate(value)]
        return value

    def _resolve(self, text: str, report: Report, path: str) -> str:
        # the plain searches first: a list of 100,000 certificates in PEM text is a hundred megabytes without any reference
        if "://" not in text and "$kv{" not in text:
            return text
        if _MARKS.search(text) is None:
            return text
        try:
            made = self._replace(text)
        except _Unresolved as error:
            report(path, str(error), text)
            return text
        return text if made == text else Resolved.of(made, text)

    def _replace(self, text: str) -> str:
        if "$kv{" in text:
            text = _INLINE.sub(lambda found: self._from_store(found[1], found[2]), text)
        whole = _STORE.match(text)
        if whole:
            return self._from_store(whole[1], whole[2])
        before, mark, name = text.partition("env://")
        if mark:
            return before + self._from_environment(name)
        before, mark, name = text.partition("file://")
        if mark:
            return before + self.read_file(name)
        if "secrets://" in text:
            for known in self._secret_names:
                text = text.replace(f"secrets://{known}", self._secrets[known])
            if "secrets://" in text:
                raise _Unresolved("there is no such entry under secrets")
        if "consul://" in text or "vault://" in text:
            raise _Unresolved("this store is not supported")
        return text

    def _from_environment(self, name: str) -> str:
        value = self._environ.get(name, "")
        if not value:
            raise _Unresolved("the environment variable is not set, or empty")
        return value

    def _from_store(self, store: str, key: str) -> str:
        name, _, field = key.partition("#")
        if store == "env":
            value = self._from_environment("TYK_SECRET_" + name.upper())
        elif store == "secrets":
            if name not in self._secrets:
                raise _Unresolved("there is no such entry under secrets")
            value = self._secrets[name]
        elif store == "file":
            value = self.read_file(name)
        else:
            raise _Unresolved("there is no such store (env, secrets and file are supported)")
        return _field_of(value, field) if field else value

    def read_file(self, name: str) -> str:
        """Return the text of a file below the base path, never of one outside of it, symbolic links included."""
        if not self._base_path:
            raise _Unresolved("kv.file.base_path is not set, so that no file may be named")
        if not name or name.startswith("/") or ".." in name.split("/") or "\0" in name:
            raise _Unresolved("only a path below kv.file.base_path may be named")
        base = os.path.realpath(self._base_path)
        path = os.path.realpath(os.path.join(base, name))
        if os.path.commonpath((base, path)) != base:
            raise _Unresolved("the file lies outside of kv.file.base_path")
        try:
            with open(path, "rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
            if len(data) > MAX_FILE_BYTES:
                raise _Unresolved("the file is too large")
            text = data.decode()
        except OSError as error:
            raise _Unresolved(f"the file cannot be read: {error.strerror or type(error).__name__}") from None
        except UnicodeDecodeError:
            raise _Unresolved("the file is not UTF-8") from None
        return text.removesuffix("\n").removesuffix("\r")


class _Unresolved(Exception):
    """A reference that leads nowhere."""


def _field_of(text: str, name: str) -> str:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise _Unresolved("the entry is not JSON, so that it has no fields") from None
    found = value.get(name) if isinstance(value, dict) else None
    if not isinstance(found, str):
        raise _Unresolved("the entry has no such field")
    return found
