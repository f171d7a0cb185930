"""Looks upstream names up in threads of its own, each name once at a time; knows nothing of connections.

A slow resolver must not hold up anybody else: not the threads that a reload uses, not other names, and not those who ask for the same name
again while its look-up is under way.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from tlsgate.errors import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.python.failure import Failure

__all__ = ["Lookups", "is_address"]

_THREADS = 8
_KEEP_S = 5.0
_MAX_NAMES = 256


def is_address(host: str) -> bool:
    """Whether a host is a textual address, which needs no look-up."""
    if host[:1].isdigit() or ":" in host:
        try:
            socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
        except OSError:
            return False
        return True
    return False


class Lookups:
    """Names under way and names just found (kept for five seconds).

    :param seconds: monotonic time.
    """

    def __init__(self, reactor: Any, seconds: Callable[[], float]) -> None:
        self._reactor = reactor
        self._seconds = seconds
        self._threads: ThreadPool | None = None
        self._waiting: dict[str, list[Deferred[list[str]]]] = {}
        self._known: dict[str, tuple[float, list[str]]] = {}

    async def find(self, host: str, timeout_s: float) -> list[str]:
        """Return the addresses of a host (A and AAAA), in the resolver's order.

        :param timeout_s: how long this caller waits; the look-up itself goes on for others.
        :raises UpstreamError: it has no address, or none in time.
        """
        if is_address(host):
            return [host]
        known = self._known.get(host)
        if known is not None and self._seconds() - known[0] < _KEEP_S:
            return known[1]
        waiting = self._waiting.get(host)
        if waiting is None:
            if len(self._waiting) >= _MAX_NAMES:
                raise UpstreamError("upstream.lookup", "DNS", f"look-up of {host!r}: too many names are being looked up")
            waiting = self._waiting[host] = []
            self._start(host)
        turn: Deferred[list[str]] = Deferred()
        waiting.append(turn)
        turn.addTimeout(timeout_s, self._reactor)
        try:
            return await turn
        except (DeferredTimeout, CancelledError) as problem:
            if turn in waiting:
                waiting.remove(turn)
            if isinstance(problem, CancelledError):
                raise
            raise UpstreamError("upstream.lookup", "DNS", f"look-up of {host!r} took too long") from problem

    def stop(self) -> None:
        """End the threads."""
        threads, self._threads = self._threads, None
        if threads is not None:
            threads.stop()

    def _start(self, host: str) -> None:
        if self._threads is None:
            self._threads = ThreadPool(minthreads=0, maxthreads=_THREADS, name="lookups")
            self._threads.start()
            self._reactor.addSystemEventTrigger("during", "shutdown", self.stop)
        found = deferToThreadPool(self._reactor, self._threads, _look_up, host)
        found.addCallbacks(lambda addresses: self._found(host, addresses), lambda failure: self._failed(host, failure))

    def _found(self, host: str, addresses: list[str]) -> None:
        if len(self._known) >= _MAX_NAMES:
            self._known.clear()
        self._known[host] = (self._seconds(), addresses)
        for turn in self._waiting.pop(host, []):
            if not turn.called:
                turn.callback(addresses)

    def _failed(self, host: str, failure: Failure) -> None:
        error = UpstreamError("upstream.lookup", "DNS", f"look-up of {host!r}: {failure.getErrorMessage()}")
        for turn in self._waiting.pop(host, []):
            if not turn.called:
                turn.errback(error)


def _look_up(host: str) -> list[str]:
    found = socket.getaddrinfo(host.encode("ascii"), None, socket.AF_UNSPEC, socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not addresses:
        raise OSError("no address")
    return addresses
