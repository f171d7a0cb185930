"""``/tyk/reload``: when this node, or every node, reads its definitions again; must not know what a reload does.

Source: keys reference, section 11; decisions 4.6. A reload that is asked for begins within ``reload_interval``; those asked for until then
are one. ``block=true`` waits for one that begins after the call, and says what went wrong.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from tlsgate.control.calls import Answer, Call, Endpoint

if TYPE_CHECKING:
    from tlsgate.control.endpoints import ControlTools

__all__ = ["TOPIC", "ReloadBell", "Reloads"]

TOPIC = "reload"
"""Of the store's change feed: every node that hears it reloads."""

_log = Logger()


class ReloadBell:
    """Asks for a reload once for all who ring within an interval; one per process.

    :param reload: as ``ControlTools.reload``.
    :param interval_s: longest wait.
    """

    def __init__(self, reactor: Any, reload: Callable[[], Awaitable[str]], interval_s: float) -> None:
        self.interval_s = interval_s
        self._reactor = reactor
        self._reload = reload
        self._timer: Any = None

    def on_change(self, topic: str, payload: str) -> None:
        """Hear the change feed.

        A gap of the feed rings nothing: files that somebody is still at work on would become live because a connection broke.
        """
        if topic == TOPIC:
            self.ring()

    def ring(self) -> None:
        """Ask for a reload; whoever rings before it begins asks for the same one."""
        if self._timer is None:
            self._timer = self._reactor.callLater(self.interval_s, self._begin)

    def stop(self) -> None:
        """Forget what was asked for."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _begin(self) -> None:
        self._timer = None
        Deferred.fromCoroutine(self._run()).addErrback(lambda failure: _log.failure("reload failed", failure, event="reload.failed"))

    async def _run(self) -> None:
        await self._reload()


class Reloads:
    """The endpoints."""

    def __init__(self, tools: ControlTools) -> None:
        self._tools = tools
        self._bell = tools.bell or ReloadBell(tools.site.reactor, tools.reload, tools.config.control.reload_interval_s)

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return them."""
        return (Endpoint("GET", "/tyk/reload", self.reload), Endpoint("GET", "/tyk/reload/group", self.reload_group))

    async def reload(self, call: Call) -> Answer:
        """Reload this node: soon, or now with ``block=true``."""
        if call.flag("block"):
            return Answer(200, {"status": "ok", "message": await self._tools.reload()})
        self._bell.ring()
        return Answer(200, {"status": "ok", "message": ""})

    async def reload_group(self, call: Call) -> Answer:
        """Reload every node that shares the store, this one too.

        :raises StoreUnavailable: others may not have heard of it; this node reloads all the same.
        """
        if self._tools.bell is None:
            self._bell.ring()
        await self._tools.state.store.publish(TOPIC, "")
        return Answer(200, {"status": "ok", "message": ""})
