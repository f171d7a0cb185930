"""Nonces that a client has to put into its proofs, made from a secret and the time: nothing of them is stored.

Processes and gateways with the same secret take each other's. Source: RFC 9449 sections 8 and 9.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable

__all__ = ["Nonces"]

_LABEL = b"tlsgate DPoP nonce "


class Nonces:
    """Those of one API.

    :param secret: who knows it can make proofs in advance.
    :param age_s: how long one is good at most; half as long at least.
    :param now: epoch seconds.
    """

    __slots__ = ("_made", "_now", "_secret", "_step_s")

    def __init__(self, secret: bytes, age_s: float, now: Callable[[], float]) -> None:
        self._secret = secret
        self._step_s = age_s / 2
        self._now = now
        self._made: tuple[int, tuple[str, str, str]] = (-1, ("", "", ""))

    def current(self) -> str:
        """Return the nonce of this moment."""
        return self._good()[1]

    def judge(self, nonce: object) -> str | None:
        """Return the nonce that a client should use from now on, empty where that is the one that it has; None for one that is not good."""
        following, current, previous = self._good()
        if not isinstance(nonce, str) or not nonce.isascii():
            return None
        if hmac.compare_digest(nonce, current) or hmac.compare_digest(nonce, following):
            return ""
        return current if hmac.compare_digest(nonce, previous) else None

    def _good(self) -> tuple[str, str, str]:
        """Return the next one (of a gateway whose clock is ahead), this one, and the one before."""
        number = int(self._now() // self._step_s)
        if self._made[0] != number:
            self._made = number, (self._make(number + 1), self._make(number), self._make(number - 1))
        return self._made[1]

    def _make(self, number: int) -> str:
        digest = hmac.digest(self._secret, _LABEL + f"{self._step_s} {number}".encode(), "sha256")
        return base64.urlsafe_b64encode(digest[:24]).decode()
