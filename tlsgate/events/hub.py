"""Events to whoever hears of them: fulfils ``auth.base.Notify``, so it never raises and never waits.

Knows who hears of what; must not know what an event means. Source: keys reference, section 12.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from tlsgate.events.deliveries import Deliveries
from tlsgate.events.log import write_event
from tlsgate.events.record import build_event, describe_request
from tlsgate.events.table import EMPTY, EventTable
from tlsgate.model.events import LogHandler

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tlsgate.clock import Clock
    from tlsgate.config.model import KeySettings
    from tlsgate.events.deliveries import SendsOnce
    from tlsgate.events.sending import Sender
    from tlsgate.model.exchange import Exchange
    from tlsgate.store.interface import KeyStore

__all__ = ["EventHub"]

_log = Logger()
_DRAIN_S = 5.0


class EventHub:
    """The hub of a process; ``table`` is replaced by each load.

    :param store: shares the cool-downs of web hooks.
    :param keys: how keys are shown.
    """

    def __init__(self, reactor: Any, clock: Clock, store: KeyStore, keys: KeySettings) -> None:
        self.table: EventTable = EMPTY
        self._reactor = reactor
        self._clock = clock
        self._keys = keys
        self._senders: dict[str, Sender] = {}
        self.deliveries = Deliveries(reactor, clock, store, self._sender, lambda: self.table.settings)

    def notify(self, event: str, exchange: Exchange | None, fields: Mapping[str, Any]) -> None:
        """Tell of an event; costs two look-ups where nobody hears of it.

        :param event: Tyk's name.
        :param exchange: the request that it concerns, None for none; then ``api_id`` among the fields may name an API.
        :param fields: in snake case; never a whole key.
        """
        try:
            api = exchange.api if exchange is not None else None
            listeners, known = self.table.find(event, api.api_id if api is not None else str(fields.get("api_id", "")))
            if not listeners:
                return
            told = build_event(event, exchange, fields, self._clock.now(), self._keys, api or known)
            for listener in listeners:
                if isinstance(listener, LogHandler):
                    write_event(listener, told)
                    continue
                if exchange is not None and listener.wants_request and "originating_request" not in told.fields:
                    told.fields["originating_request"] = describe_request(exchange)
                self.deliveries.offer(listener, listener.build_body(told))
        except Exception:
            _log.failure("telling of {kind} failed", event="events.failed", kind=event)

    async def stop(self) -> None:
        """Deliver what waits, for a bounded time, and close connections."""
        await self.deliveries.stop(_DRAIN_S)
        for sender in self._senders.values():
            await sender.close()

    def _sender(self) -> SendsOnce:
        trust = self.table.trust
        key = trust.key if trust is not None else ""
        found = self._senders.get(key)
        if found is None:
            # A gateway without web hooks never loads what they need.
            from tlsgate.events.sending import Sender

            for old in self._senders.values():
                old.close()
            self._senders.clear()
            found = self._senders[key] = Sender(self._reactor, trust)
        return found
