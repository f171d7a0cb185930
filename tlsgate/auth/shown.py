"""How a key appears in logs and events: never whole, unless an operator asks for it (``enable_key_logging``); knows no store."""

from __future__ import annotations

__all__ = ["show_key", "show_path"]

_SHOWN = 4
_KEYS = b"/tyk/keys/"


def show_key(id: str, *, whole: bool = False) -> str:
    """Return ``****`` and the last four characters of a key's id; all of it is hidden when it has no more than eight.

    Source: keys reference, section 14 (``enable_key_logging``).

    :param whole: show it as it is.
    """
    if whole or not id:
        return id
    return "****" + (id[-_SHOWN:] if len(id) > 2 * _SHOWN else "")


def show_path(path: bytes, canonical: bytes, *, whole: bool = False) -> str:
    """Return the path of a request for a log: calls of the control API carry keys in it.

    :param path: as sent.
    :param canonical: in the spelling in which paths are compared.
    :param whole: as of :func:`show_key`.
    """
    if whole or not canonical.startswith(_KEYS):
        return path.decode("latin-1")
    place, _, key = canonical[len(_KEYS) :].decode("utf-8", "replace").strip("/").rpartition("/")
    shown = key if key in ("", "create", "preview") else show_key(key)
    return f"{_KEYS.decode()}{'policy/' if place == 'policy' else '****/' if place else ''}{shown}"
