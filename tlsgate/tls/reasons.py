"""OpenSSL's errors as one line for a log or a problem; knows nothing else."""

from __future__ import annotations

__all__ = ["describe_error", "find_handshake_flag"]

_OTHER_PROTOCOL = ("version", "protocol", "http request", "https proxy request", "packet length", "record type")
_HANDSHAKE_ALERTS = ("handshake failure", "bad certificate", "certificate required", "internal error")


def describe_error(problem: Exception) -> str:
    """Return the reasons that OpenSSL queued, or the text of another exception.

    :param problem: ``SSL.Error`` or ``crypto.Error`` (whose argument is a list of library, function and reason), or any other.
    :returns: one line, never empty.
    """
    if problem.args and isinstance(problem.args[0], list):
        reasons = [str(entry[2]) for entry in problem.args[0] if len(entry) > 2 and entry[2]]
        return "; ".join(reasons) or "unspecified OpenSSL error"
    return str(problem) or type(problem).__name__


def find_handshake_flag(reason: str) -> str:
    """Return Tyk's flag for a handshake with an upstream that failed.

    :param reason: of :func:`describe_error`.
    :returns: TLP the peer speaks no TLS or another version, TLA it sent an alert, TLH anything else, the alerts of a refused client
        certificate included.
    """
    if any(part in reason for part in _OTHER_PROTOCOL):
        return "TLP"
    # Some alerts have names without the word: "tlsv1 unrecognized name".
    if ("alert" in reason or reason.startswith("tlsv1 ")) and not any(part in reason for part in _HANDSHAKE_ALERTS):
        return "TLA"
    return "TLH"
