"""OpenSSL's errors as one line for a log or a problem; knows nothing else."""

from __future__ import annotations

__all__ = ["describe_error"]


def describe_error(problem: Exception) -> str:
    """Return the reasons that OpenSSL queued, or the text of another exception.

    :param problem: ``SSL.Error`` or ``crypto.Error`` (whose argument is a list of library, function and reason), or any other.
    :returns: one line, never empty.
    """
    if problem.args and isinstance(problem.args[0], list):
        reasons = [str(entry[2]) for entry in problem.args[0] if len(entry) > 2 and entry[2]]
        return "; ".join(reasons) or "unspecified OpenSSL error"
    return str(problem) or type(problem).__name__
