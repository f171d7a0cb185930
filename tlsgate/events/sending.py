"""One attempt to deliver: a request to a web address, the answer read away within bounds; must not know queues or retries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tlsgate.tls.web_client import NoTrust, WebClient

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from tlsgate.events.webhook import Hook
    from tlsgate.tls.trust import TrustSet

__all__ = ["NoTrust", "Sender"]


class Sender:
    """Connections to web addresses.

    :param trust: CAs; None sends nothing over TLS.
    """

    def __init__(self, reactor: Any, trust: TrustSet | None, *, connect_timeout_s: float = 5.0) -> None:
        self._client = WebClient(reactor, trust, connect_timeout_s=connect_timeout_s)

    async def send(self, hook: Hook, body: bytes, timeout_s: float) -> int:
        """Make one attempt, and return the status of the answer.

        :param timeout_s: from the connection to the end of the answer.
        :raises Exception: there was no answer; ``twisted.internet.defer.TimeoutError``: not in time; :class:`NoTrust`.
        """
        handler = hook.handler
        answer = await self._client.exchange(handler.method, handler.url, hook.headers, body, timeout_s=timeout_s, lenient=True)
        return answer.status

    def close(self) -> Deferred[Any]:
        """Close idle connections."""
        return self._client.close()
