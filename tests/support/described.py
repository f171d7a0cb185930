"""What the description of the control API says: its operations, and which of them the code does not have yet."""

from __future__ import annotations

from tlsgate.control.description import load_description

__all__ = ["METHODS", "NOT_MERGED", "described_operations"]

METHODS = ("get", "post", "put", "patch", "delete")
NOT_MERGED: tuple[str, ...] = ()
"""Described areas whose endpoints are not in the table yet, by the beginning of their paths; to be emptied."""


def described_operations() -> set[tuple[str, str]]:
    """Return (method, path) of everything that is described below /tyk/, without the areas that are not merged."""
    return {
        (method.upper(), path)
        for path, item in load_description()["paths"].items()
        for method in item
        if method in METHODS and path.startswith("/tyk/") and not (NOT_MERGED and path.startswith(NOT_MERGED))
    }
