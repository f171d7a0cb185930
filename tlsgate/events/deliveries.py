"""Deliveries to web hooks: a bounded queue with fair shares, attempts with back-off, and the cool-down of equal ones.

Never makes anybody wait: what does not fit is dropped and counted. Knows hooks and bodies; must not know requests. Source: keys reference,
section 12. Differs from Tyk: failed attempts are repeated, and a delivery that failed in the end leaves no cool-down behind.
"""

from __future__ import annotations

import random
from collections import Counter, OrderedDict, deque
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from tlsgate.errors import StoreUnavailable
from tlsgate.tls.failures import describe_failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlsgate.clock import Clock
    from tlsgate.config.model import EventSettings
    from tlsgate.events.webhook import Hook
    from tlsgate.store.interface import KeyStore

__all__ = ["Deliveries", "SendsOnce"]

_log = Logger()
_MAX_COOLING = 10_000
_MAX_DELAY_S = 60.0
_SAY_AGAIN_S = 10.0
_WORTH_REPEATING = (408, 425, 429)


class SendsOnce(Protocol):
    """Makes one attempt (``events.sending.Sender``)."""

    async def send(self, hook: Hook, body: bytes, timeout_s: float) -> int:
        """Return the status of the answer; raises where there is none."""
        ...


class _Job:
    """One delivery."""

    __slots__ = ("attempt", "body", "hook", "name", "timer", "work")

    def __init__(self, hook: Hook, body: bytes, name: str) -> None:
        self.hook = hook
        self.body = body
        self.name = name
        """Of its cool-down; empty for none."""
        self.attempt = 0
        self.timer: Any = None
        self.work: Deferred[Any] | None = None


class _Outcome(NamedTuple):
    ok: bool
    again: bool
    reason: str


class Deliveries:
    """All deliveries of a process.

    :param sender: gives the one who sends now.
    :param settings: gives the bounds now.
    :param store: shares cool-downs between processes; where it is away each process has its own.
    :param jitter: gives a number from 0 to 1.
    """

    def __init__(
        self,
        reactor: Any,
        clock: Clock,
        store: KeyStore,
        sender: Callable[[], SendsOnce],
        settings: Callable[[], EventSettings],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._reactor = reactor
        self._clock = clock
        self._store = store
        self._sender = sender
        self._settings = settings
        self._jitter = jitter
        self._waiting: OrderedDict[str, deque[_Job]] = OrderedDict()
        self._resting: set[_Job] = set()
        self._busy: Counter[str] = Counter()
        self._working: set[_Job] = set()
        self._held: Counter[str] = Counter()
        self._cooling: OrderedDict[str, float] = OrderedDict()
        self._starting = False
        self._stopping: Deferred[None] | None = None
        self._given_up = False
        self._silent_until = 0.0
        self.counts: Counter[str] = Counter()
        """``delivered``, ``failed``, ``dropped``, ``suppressed``, ``lost``, ``repeated``."""

    @property
    def size(self) -> int:
        """Deliveries that wait, rest before another attempt, or are under way."""
        return self._held.total()

    def offer(self, hook: Hook, body: bytes) -> None:
        """Take a delivery on, unless an equal one was made a moment ago or there is no room."""
        name = ""
        if hook.handler.cooldown_s:
            name = hook.name_delivery(body)
            if self._cools(name):
                self.counts["suppressed"] += 1
                return
        limit = self._settings().queue
        # One address that does not answer must not take the room of all the others.
        if self._stopping is not None or self.size >= limit or self._held[hook.target] >= max(1, limit // 2):
            self._drop(hook)
            return
        if name:
            self._cool(name, hook.handler.cooldown_s)
        self._held[hook.target] += 1
        self._enqueue(_Job(hook, body, name))

    async def stop(self, timeout_s: float) -> None:
        """Take nothing more, make one attempt with what is there, and give up what is left in the end.

        :param timeout_s: at most this long.
        """
        if self._stopping is not None:
            return
        done: Deferred[None] = Deferred()
        self._stopping = done
        for job in tuple(self._resting):
            job.timer.cancel()
            self._wake(job)
        if self.size:
            end = self._reactor.callLater(timeout_s, self._finish)
            await done
            if end.active():
                end.cancel()
        lost = self.size
        if lost:
            self.counts["lost"] += lost
            _log.warn("{count} deliveries to web hooks are lost at the stop", event="events.lost", count=lost)
        self._waiting.clear()
        self._given_up = True
        for job in tuple(self._working):
            if job.work is not None:
                job.work.cancel()

    def _finish(self) -> None:
        if self._stopping is not None and not self._stopping.called:
            self._stopping.callback(None)

    def _enqueue(self, job: _Job) -> None:
        self._waiting.setdefault(job.hook.target, deque()).append(job)
        if not self._starting:
            # In a turn of its own: who tells of an event does not pay for connections.
            self._starting = True
            self._reactor.callLater(0, self._start)

    def _start(self) -> None:
        self._starting = False
        if self._given_up:
            return
        settings = self._settings()
        while len(self._working) < settings.deliveries:
            job = self._next(max(1, settings.deliveries // 2))
            if job is None:
                return
            self._working.add(job)
            self._busy[job.hook.target] += 1
            job.work = Deferred.fromCoroutine(self._attempt(job))
            job.work.addBoth(self._attempted, job)

    def _next(self, share: int) -> _Job | None:
        """Return the next job of the target whose turn it is, None when all are busy enough."""
        for target in tuple(self._waiting):
            if self._busy[target] >= share:
                continue
            queue = self._waiting[target]
            job = queue.popleft()
            if queue:
                self._waiting.move_to_end(target)
            else:
                del self._waiting[target]
            return job
        return None

    async def _attempt(self, job: _Job) -> _Outcome:
        if job.name and not job.attempt and not await self._claim(job):
            return _Outcome(True, False, "suppressed")
        job.attempt += 1
        try:
            status = await self._sender().send(job.hook, job.body, self._settings().timeout_s)
        except Exception as error:
            return _Outcome(False, True, describe_failure(error))
        if 200 <= status < 300:
            return _Outcome(True, False, "")
        return _Outcome(False, status >= 500 or status in _WORTH_REPEATING, f"status {status}")

    def _attempted(self, result: Any, job: _Job) -> None:
        self._working.discard(job)
        if self._given_up:
            return
        target = job.hook.target
        self._busy[target] -= 1
        if not self._busy[target]:
            del self._busy[target]
        if not isinstance(result, _Outcome):
            result = _Outcome(False, False, "given up")
        settings = self._settings()
        if not result.ok and result.again and job.attempt < settings.attempts and self._stopping is None:
            self.counts["repeated"] += 1
            # Half of the delay is chance, so that many gateways do not knock at once.
            delay = min(_MAX_DELAY_S, settings.retry_delay_s * 2 ** (job.attempt - 1)) * (0.5 + 0.5 * self._jitter())
            self._resting.add(job)
            job.timer = self._reactor.callLater(delay, self._wake, job)
        else:
            self._end(job, result)
        if self._stopping is not None and not self.size:
            self._finish()
        self._start()

    def _wake(self, job: _Job) -> None:
        self._resting.discard(job)
        self._enqueue(job)

    def _end(self, job: _Job, result: _Outcome) -> None:
        target = job.hook.target
        self._held[target] -= 1
        if not self._held[target]:
            del self._held[target]
        if result.ok:
            self.counts["suppressed" if result.reason else "delivered"] += 1
            return
        self.counts["failed"] += 1
        _log.error(
            "web hook {name} at {target} was not reached in {attempts} attempts: {reason}",
            event="events.webhook_failed",
            name=job.hook.handler.name,
            target=target,
            attempts=job.attempt,
            reason=result.reason,
        )
        if job.name:
            self._cooling.pop(job.name, None)
            Deferred.fromCoroutine(self._store.delete(job.name)).addErrback(lambda failure: failure.trap(StoreUnavailable))

    def _drop(self, hook: Hook) -> None:
        self.counts["dropped"] += 1
        now = self._clock.monotonic()
        if now >= self._silent_until:
            self._silent_until = now + _SAY_AGAIN_S
            _log.warn(
                "deliveries to web hooks are dropped, {count} until now: there is no room for more to {target}",
                event="events.dropped",
                count=self.counts["dropped"],
                target=hook.target,
            )

    async def _claim(self, job: _Job) -> bool:
        """Tell whether no other process has made an equal delivery a moment ago."""
        try:
            return await self._store.put(job.name, b"1", ttl_s=job.hook.handler.cooldown_s, only_if="absent")
        except StoreUnavailable:
            return True

    def _cools(self, name: str) -> bool:
        until = self._cooling.get(name)
        if until is None:
            return False
        if until > self._clock.monotonic():
            return True
        del self._cooling[name]
        return False

    def _cool(self, name: str, seconds: int) -> None:
        if len(self._cooling) >= _MAX_COOLING:
            self._cooling.popitem(last=False)
        self._cooling[name] = self._clock.monotonic() + seconds
