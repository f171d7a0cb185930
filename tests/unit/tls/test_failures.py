"""Failures of our own connections in one line."""

from __future__ import annotations

import pytest
from twisted.internet.error import ConnectError, ConnectionRefusedError
from twisted.python.failure import Failure

from tlsgate.tls.failures import describe_failure


class Wrapped(Exception):
    """As Twisted wraps what happened to a connection."""

    def __init__(self, *reasons: BaseException) -> None:
        super().__init__("wrapped")
        self.reasons = [Failure(reason) for reason in reasons]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError("no\n route"), "OSError: no route"),
        (ValueError(), "ValueError"),
        (Wrapped(OSError("inner")), "OSError: inner"),
        (Wrapped(KeyboardInterrupt()), "KeyboardInterrupt"),
        (ConnectError(string=Failure(OSError("reset"))), "OSError: reset"),
        (ConnectionRefusedError("no"), "ConnectionRefusedError: Connection was refused by other side: no."),
        (ValueError("x" * 500), "ValueError: " + "x" * 200),
    ],
)
def test_in_one_line(error: Exception, text: str) -> None:
    """What is inside counts; long words are cut."""
    assert describe_failure(error) == text
