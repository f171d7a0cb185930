"""What the description of the control API says: its operations, and which of them the code does not have yet."""

from __future__ import annotations

from tlsgate.control.description import load_description

__all__ = ["METHODS", "described_operations"]

METHODS = ("get", "post", "put", "patch", "delete")


def described_operations() -> set[tuple[str, str]]:
    """Return (method, path) of everything that is described below /tyk/, without the areas that are not merged."""
    return {
        (method.upper(), path)
        for path, item in load_description()["paths"].items()
        for method in item
        if method in METHODS and path.startswith("/tyk/")
    }
