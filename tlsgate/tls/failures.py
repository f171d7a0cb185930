"""Why a connection of our own failed, in words for a log; knows nothing of who made it."""

from __future__ import annotations

__all__ = ["describe_failure"]


def describe_failure(error: Exception) -> str:
    """Return why an attempt failed, in one line; never the address."""
    # Twisted wraps what happened to a connection: in a list of failures, or in a failure that is the only argument.
    reasons = getattr(error, "reasons", None) or error.args[:1]
    inner = getattr(reasons[0], "value", None) if reasons else None
    if isinstance(inner, BaseException):
        return describe_failure(inner) if isinstance(inner, Exception) else type(inner).__name__
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
