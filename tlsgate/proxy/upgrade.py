"""An upgraded HTTP exchange (RFC 9110 7.8, WebSocket): the channel and the upstream connection joined by a bridge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tlsgate.proxy.bridge import Bridge
from tlsgate.proxy.frames import FrameBorders

if TYPE_CHECKING:
    from tlsgate.proxy.connection import UpstreamConnection

__all__ = ["UpgradedStream"]

_GOING_AWAY = b"\x88\x02\x03\xe9"
"""A WebSocket close frame with code 1001 (RFC 6455 7.4.1), as a server sends it."""
_NOT_ALLOWED = b"\x88\x02\x03\xf0"
"""The same with 1008."""
_DRAIN_S = 5.0


class UpgradedStream:
    """What the channel and the upstream connection hand their bytes to.

    :param idle_s: seconds without a byte either way.
    """

    def __init__(self, request: Any, connection: UpstreamConnection, idle_s: float) -> None:
        self.request = request
        self._connection = connection
        channel = request.channel
        self._bridge = Bridge(channel.transport, connection.transport, channel.site.deadlines, idle_s, self._ended)
        self.client_data = self._bridge.client_data
        self.client_ended = self._bridge.client_ended
        self.client_lost = self._bridge.client_lost
        self._borders = FrameBorders() if request.upgrade == b"websocket" else None
        self.upstream_data = self._bridge.upstream_data if self._borders is None else self._frames
        self.upstream_ended = self._bridge.upstream_ended
        self.upstream_lost = self._bridge.upstream_lost

    def start(self, head: bytes) -> None:
        """Send the 101 answer and join the streams."""
        left = self._connection.upgrade_to(self)
        self._bridge.start()
        self.request.channel.take_over(self.request, self, head)
        if left:
            self.upstream_data(left)

    def drain(self) -> None:
        """Shut down: a close frame for a WebSocket, then a bounded wait."""
        self._bridge.drain(self._farewell(_GOING_AWAY), _DRAIN_S)

    def cut(self, reason: str) -> None:
        """End at once; the client of a WebSocket hears that it is no longer allowed."""
        self._bridge.cut(reason, self._farewell(_NOT_ALLOWED))

    def _frames(self, data: bytes) -> None:
        assert self._borders is not None
        self._borders.feed(data)
        self._bridge.upstream_data(data)

    def _farewell(self, frame: bytes) -> bytes:
        """Return a frame if one may stand here: inside another one it would be taken for its end."""
        return frame if self._borders is not None and self._borders.between_frames else b""

    def _ended(self, reason: str) -> None:
        request = self.request
        request.response_bytes = self._bridge.bytes_down
        request.detail = request.detail or reason
        request.ended()
