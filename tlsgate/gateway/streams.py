"""Upgraded connections while they go on: judged again when a key, a certificate or time takes away what has opened them; knows no protocol.

Differs from Tyk, where an open WebSocket outlives its key, its token and its certificate. Source: decisions 3.1 and 3.10.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from tlsgate.auth.recheck import judge_key

if TYPE_CHECKING:
    from tlsgate.auth.sessions import Sessions
    from tlsgate.clock import Clock
    from tlsgate.gateway.generation import Generation
    from tlsgate.gateway.request import GateRequest

__all__ = ["StreamSite", "Streams"]

_log = Logger()
_GRACE_S = 0.5
"""After the moment until which something is good, whose last second counts."""


class StreamSite(Protocol):
    """What is needed of ``gateway.site.Site``."""

    reactor: Any
    clock: Clock
    generation: Generation
    sessions: Sessions | None

    def finished(self, request: GateRequest) -> None:
        """Count and log the end of a request."""

    def judge_again(self, request: GateRequest) -> str | None:
        """Return why an exchange may not go on under the present generation."""


class Streams:
    """Those of this process."""

    def __init__(self, site: StreamSite) -> None:
        self._site = site
        self._by_key: dict[str, set[GateRequest]] = {}
        """By the stored name of the keys that opened them."""
        self._looked: dict[GateRequest, float] = {}
        """Those that are open, and when time was last asked whether they may go on (epoch seconds)."""
        self._due: dict[GateRequest, Any] = {}
        """When to look at them again (delayed calls)."""

    def opened(self, request: GateRequest) -> None:
        """Take note of a request whose connection speaks another protocol from now on; it is finished when that ends."""
        request.on_end = self._ended
        for name in _name_keys(request):
            self._by_key.setdefault(name, set()).add(request)
        # What ended while the upstream made up its mind counts as well.
        self._looked[request] = 0.0
        self._arm(request)
        api = request.api
        is_old = api is not None and self._site.generation.apis.get(api.api_id) is not request.route
        if is_old or any(view is not None and view.stale for view in (request.key, *request.others)):
            # Its API or its key changed while the upstream made up its mind: nobody heard of it then.
            self._judge_all(request)

    def _ended(self, request: GateRequest) -> None:
        for name in _name_keys(request):
            found = self._by_key.get(name)
            if found is not None:
                found.discard(request)
                if not found:
                    del self._by_key[name]
        del self._looked[request]
        self._disarm(request)
        self._site.finished(request)

    def key_changed(self, topic: str, payload: str) -> None:
        """Listen to the store's changes: a stream ends when its key is revoked (``ChangeFeed.subscribe``)."""
        if topic == "certificate":
            self._certificate_changed(payload)
            return
        if topic not in ("key", "gap"):
            return
        # A list, or one name that has a comma itself.
        names = {payload, *payload.split(",")} if topic == "key" else tuple(self._by_key)
        for request in {request for name in names for request in self._by_key.get(name, ())}:
            self._start_judging(request)

    def _certificate_changed(self, id: str) -> None:
        """Judge the streams again that their client's certificate may have opened."""
        for request in {request for requests in self._by_key.values() for request in requests}:
            tls = request.connection.tls
            if tls is not None and tls.peer is not None and id.endswith(tls.peer.fingerprint):
                self._start_judging(request)

    def _arm(self, request: GateRequest) -> None:
        """Have a stream looked at when the next thing ends that it may stand on: its token, a key, the client's certificate."""
        ends = [float(view.session.expires) for view in (request.key, *request.others) if view is not None]
        ends.append(request.token_ends)
        tls = request.connection.tls
        if tls is not None and tls.peer is not None and tls.peer.readable:
            ends.append(tls.peer.not_after)
        soonest = min((end for end in ends if end > self._looked[request]), default=0.0)
        self._disarm(request)
        if soonest:
            delay = max(soonest + _GRACE_S - self._site.clock.now(), 0.0)
            self._due[request] = self._site.reactor.callLater(delay, self._look, request)

    def _disarm(self, request: GateRequest) -> None:
        call = self._due.pop(request, None)
        if call is not None:
            call.cancel()

    def _look(self, request: GateRequest) -> None:
        del self._due[request]
        now = self._looked[request] = self._site.clock.now()
        if 0 < request.token_ends <= now:
            request.channel.cut_upgraded(request, "its token has ended")
            return
        self._arm(request)
        self._judge_all(request)

    def _judge_all(self, request: GateRequest) -> None:
        reason = self._site.judge_again(request)
        if reason is not None:
            request.channel.cut_upgraded(request, reason)
            return
        self._start_judging(request)

    def _start_judging(self, request: GateRequest) -> None:
        Deferred.fromCoroutine(self._judge(request)).addErrback(
            lambda failure: _log.failure("judging a key again failed", failure, event="keys.recheck_failed")
        )

    async def _judge(self, request: GateRequest) -> None:
        reason = await self._judge_key(request)
        if reason is not None:
            request.channel.cut_upgraded(request, reason)
        elif request in self._looked:
            self._arm(request)  # its key may end at another time than before

    async def _judge_key(self, request: GateRequest) -> str | None:
        site = self._site
        compiled = site.generation.apis.get(request.api.api_id) if request.api is not None else None
        if compiled is None or compiled.access is None or site.sessions is None:
            return None  # gone, or keyless now: the recheck of the reload has dealt with it
        return await judge_key(site.sessions, request, compiled.access, compiled.certificate)


def _name_keys(request: GateRequest) -> set[str]:
    """Return the stored names of the keys that let a request in, those of methods whose session does not count too."""
    return {view.name for view in (request.key, *request.others) if view is not None}
