"""Dictionaries of a bounded number of entries, in the order in which they were put there; knows nothing of what is kept."""

from __future__ import annotations

from typing import TypeVar

__all__ = ["put"]

K = TypeVar("K")
V = TypeVar("V")


def put(place: dict[K, V], key: K, value: V, most: int) -> None:
    """Put an entry last, in the place of one of the same key; the oldest make room for it.

    :param most: entries that there may be afterwards, at least 1.
    """
    place.pop(key, None)
    while len(place) >= most:
        del place[next(iter(place))]
    place[key] = value
