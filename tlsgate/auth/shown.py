"""How a key appears in logs and events: never whole, unless an operator asks for it (``enable_key_logging``); knows no store."""

from __future__ import annotations

__all__ = ["show_key"]

_SHOWN = 4


def show_key(id: str, *, whole: bool = False) -> str:
    """Return ``****`` and the last four characters of a key's id; all of it is hidden when it has no more than eight.

    Source: keys reference, section 14 (``enable_key_logging``).

    :param whole: show it as it is.
    """
    if whole or not id:
        return id
    return "****" + (id[-_SHOWN:] if len(id) > 2 * _SHOWN else "")
