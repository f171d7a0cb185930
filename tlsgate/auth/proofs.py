"""Passwords that are being verified, and those that were a short time ago; knows no request and nobody's rights.

Verifying takes tens of milliseconds of a core: it is done in threads, few at once, a bounded number waiting, and the same login at the same
time once. What is remembered holds no password: SHA-256, keyed anew by each process, over user, password and what is stored; so a new
password of the user is another entry. Source: token reference, section 6; decisions 3.4.
"""

from __future__ import annotations

import os
from collections import deque
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from twisted.internet.defer import Deferred

from tlsgate.auth.passwords import BCRYPT, judge_password
from tlsgate.bounded import put
from tlsgate.errors import Refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tlsgate.clock import Clock

__all__ = ["Login", "PasswordProofs"]

T = TypeVar("T")
_MOST_PROOFS = 20_000
_MOST_LOGINS = 20_000
_MOST_WAITING = 64
"""Logins that wait for a thread: some seconds of work."""


class Login(NamedTuple):
    """What a whole credential, of which only a digest is kept, was found to be."""

    user: bytes
    stored: str
    kind: str
    until: float
    """Monotonic seconds."""


class _Flight:
    """A verification under way, or waiting for a thread, and who wants to know."""

    __slots__ = ("digest", "done", "error", "result", "waiting", "work")

    def __init__(self, digest: bytes, work: Callable[[], Any]) -> None:
        self.digest = digest
        self.work = work
        self.done = False
        self.result: Any = None
        self.error: Exception | None = None
        self.waiting: list[Deferred[None]] = []


class PasswordProofs:
    """The verifications of a process.

    :param runner: does blocking work in a thread.
    :param clock: for how long something is remembered.
    :param at_once: threads; 0 is one for each core but one, at most four.
    """

    def __init__(self, runner: Callable[[Callable[[], Any]], Awaitable[Any]], clock: Clock, at_once: int = 0) -> None:
        self._run = runner
        self._clock = clock
        self._at_once = at_once or max(1, min(4, (os.cpu_count() or 1) - 1))
        self._key = os.urandom(32)
        self._proved: dict[bytes, float] = {}
        """When, in monotonic seconds."""
        self._flights: dict[bytes, _Flight] = {}
        self._queue: deque[_Flight] = deque()
        self._running = 0
        self.logins: dict[bytes, Login] = {}
        """By a digest that whoever asks has made with a key of its own."""

    async def prove(self, user: bytes, password: bytes, stored: str, kind: str, keep_s: float, usual: str = BCRYPT) -> float | None:
        """Verify a password.

        :param user: as sent.
        :param stored: what is stored of the password; empty for an unknown user, on whom the same time is spent.
        :param kind: ``hash_type``.
        :param keep_s: how old a proof may be, in seconds; 0 verifies anew.
        :param usual: the kind of new hashes: what is spent where there is nothing slow to verify.
        :returns: when it was proved, in monotonic seconds; None for a wrong password.
        :raises Refusal: ``overloaded``.
        """
        digest = self._digest(user, password, stored, kind)
        now = self._clock.monotonic()
        proved = self._proved.get(digest)
        if proved is not None and now < proved + keep_s:
            return proved
        flight = self._flights.get(digest)
        if flight is None:
            flight = self._begin(digest, lambda: judge_password(password, stored, kind, usual))
        if not await self._wait(flight):
            return None
        proved = self._clock.monotonic()
        if keep_s > 0:
            put(self._proved, digest, proved, _MOST_PROOFS)
        return proved

    async def aside(self, work: Callable[[], T]) -> T:
        """Return what other work returns, done in a thread under the same bounds.

        :raises Refusal: ``overloaded``.
        """
        found: T = await self._wait(self._begin(b"", work))
        return found

    def remember(self, digest: bytes, login: Login) -> None:
        """Keep what a credential was found to be; the oldest go first."""
        put(self.logins, digest, login, _MOST_LOGINS)

    def _digest(self, user: bytes, password: bytes, stored: str, kind: str) -> bytes:
        parts = (user, password, stored.encode("utf-8", "surrogatepass"), kind.encode("utf-8", "surrogatepass"))
        return sha256(self._key + b"".join(len(part).to_bytes(4, "big") + part for part in parts)).digest()

    def _begin(self, digest: bytes, work: Callable[[], Any]) -> _Flight:
        """Start work, or let it wait for a thread."""
        flight = _Flight(digest, work)
        if self._running < self._at_once:
            self._start(flight)
        elif len(self._queue) < _MOST_WAITING:
            self._queue.append(flight)
        else:
            raise Refusal("overloaded", "too many passwords wait to be verified", headers=((b"Retry-After", b"1"),))
        if digest and not flight.done:
            self._flights[digest] = flight
        return flight

    def _start(self, flight: _Flight) -> None:
        self._running += 1
        Deferred.fromCoroutine(self._work(flight))

    async def _work(self, flight: _Flight) -> None:
        try:
            flight.result = await self._run(flight.work)
        except Exception as error:
            flight.error = error
        flight.done = True
        self._running -= 1
        self._forget(flight)
        if self._queue:
            self._start(self._queue.popleft())
        waiting, flight.waiting = flight.waiting, []
        for waiter in waiting:
            waiter.callback(None)

    async def _wait(self, flight: _Flight) -> Any:
        if not flight.done:
            waiter: Deferred[None] = Deferred(lambda waiter: self._leave(flight, waiter))
            flight.waiting.append(waiter)
            await waiter
        if flight.error is not None:
            raise flight.error
        return flight.result

    def _leave(self, flight: _Flight, waiter: Deferred[None]) -> None:
        """A client has gone; work that nobody waits for any more is not begun."""
        if waiter in flight.waiting:
            flight.waiting.remove(waiter)
        if not flight.waiting and flight in self._queue:
            self._queue.remove(flight)
            self._forget(flight)

    def _forget(self, flight: _Flight) -> None:
        if self._flights.get(flight.digest) is flight:
            del self._flights[flight.digest]
