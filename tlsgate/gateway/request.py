"""The one request object: the pipeline's exchange and Twisted Web's ``IRequest`` in one; knows nothing of routing.

The hot path touches the exchange part only. What Twisted Web resources expect is built when a mounted resource asks for it
(``gateway.mounted``), so that a proxied request never pays for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IConsumer
from twisted.web import server
from twisted.web.iweb import IRequest
from zope.interface import classImplements, implementedBy, implementer

from tlsgate.gateway.web_request import WebRequestMixin
from tlsgate.model.exchange import Exchange

if TYPE_CHECKING:
    from tlsgate.gateway.body import BodyStream
    from tlsgate.gateway.channel import HttpChannel
    from tlsgate.gateway.web_state import WebState
    from tlsgate.model.exchange import Connection, HeaderList
    from tlsgate.proxy.waiter import Work

__all__ = ["GateRequest"]


_fill = Exchange.__init__


@implementer(IRequest, IConsumer)
class GateRequest(WebRequestMixin, Exchange):
    """A request on its channel."""

    __slots__ = ("channel", "on_end", "web", "work")

    body: BodyStream

    def __init__(
        self, connection: Connection, number: int, method: bytes, target: bytes, headers: HeaderList, channel: HttpChannel
    ) -> None:
        _fill(self, connection, number, method, target, headers)
        self.channel = channel
        self.work: Work | None = None
        """The pipeline's coroutine while it runs."""
        self.web: WebState | None = None
        """What Twisted Web resources see, built when one is asked."""
        self.on_end: Any = None
        """Called once with the request when an upgraded stream ends."""

    def interim_answer(self, status: int, headers: HeaderList) -> None:
        """Send an interim answer on, before the answer itself."""
        self.channel.interim(self, status, headers)

    def client_gone(self) -> None:
        """The client's connection is lost: cancel whoever works for it."""
        work, self.work = self.work, None
        if work is not None:
            work.cancel()

    def ended(self) -> None:
        """An upgraded stream has ended."""
        on_end, self.on_end = self.on_end, None
        if on_end is not None:
            on_end(self)


# Adapters that are registered for Twisted's own class (Klein's, Nevow's) find this one, too.
classImplements(GateRequest, implementedBy(server.Request))  # type: ignore[misc]
