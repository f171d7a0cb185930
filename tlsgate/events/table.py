"""Who hears of which event, for one generation; immutable, built once per load.

Knows handlers; must not know how a delivery is made. Source: keys reference, section 12.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from tlsgate.config.model import EventSettings, GatewayConfig
from tlsgate.errors import PkiError, Problem
from tlsgate.events.webhook import Hook, build_hook
from tlsgate.model.api import ApiDefinition
from tlsgate.model.events import EventHandlers, LogHandler, WebhookHandler
from tlsgate.tls.trust import TrustSet

__all__ = ["EMPTY", "EventTable", "Listener", "build_event_table"]

Listener = LogHandler | Hook


class _ApiListeners(NamedTuple):
    api: ApiDefinition
    by_event: dict[str, tuple[Listener, ...]]


class EventTable:
    """Listeners by API and event.

    :param apis: those that have listeners.
    :param monitor: is told of used up quotas, whatever the API.
    :param trust: CAs of web addresses; None where nothing is told over TLS, or where there are none.
    """

    __slots__ = ("_apis", "_gateway", "_monitor", "settings", "trust")

    def __init__(
        self,
        apis: dict[str, _ApiListeners],
        gateway: dict[str, tuple[Listener, ...]],
        monitor: Hook | None,
        trust: TrustSet | None,
        settings: EventSettings,
    ) -> None:
        self._apis = apis
        self._gateway = gateway
        self._monitor = (monitor,) if monitor is not None else ()
        self.trust = trust
        self.settings = settings

    def find(self, event: str, api_id: str) -> tuple[Sequence[Listener], ApiDefinition | None]:
        """Return who hears of an event, and the API that it concerns if that has listeners.

        :param api_id: empty for an event that concerns no API.
        """
        found = self._apis.get(api_id) if api_id else None
        own = self._gateway.get(event, ()) if not api_id else found.by_event.get(event, ()) if found is not None else ()
        if event == "TriggerExceeded" and self._monitor:
            own = (*own, *self._monitor)
        return own, found.api if found is not None else None


EMPTY = EventTable({}, {}, None, None, EventSettings())
"""Nobody hears of anything."""


def build_event_table(
    config: GatewayConfig, apis: Iterable[ApiDefinition], load_trust: Callable[[], TrustSet], problems: list[Problem]
) -> EventTable:
    """Return the table of a load; equal hooks are built once.

    :param load_trust: gives the CAs, asked only when an ``https`` address is there; raises ``PkiError``.
    :param problems: takes what is wrong.
    """
    workshop = _Workshop(problems, config.template_path)
    gateway = workshop.build(config.event_handlers, config.source)
    monitor = None
    if config.rate_limits.monitor.webhook is not None:
        monitor = workshop.hook(config.rate_limits.monitor.webhook, config.source)
    found = {
        api.api_id: _ApiListeners(api, workshop.build(api.event_handlers, api.source, guest=api.from_rest))
        for api in apis
        if api.event_handlers
    }
    trust = None
    if workshop.needs_trust:
        try:
            trust = load_trust()
        except PkiError as problem:
            problems.append(
                Problem(config.source, "tlsgate.upstream_ca", "", f"no CAs for web hooks: {problem}; none over https is delivered")
            )
    return EventTable(found, gateway, monitor, trust, config.own.events)


class _Workshop:
    def __init__(self, problems: list[Problem], folder: str) -> None:
        self._problems = problems
        self._folder = folder
        self._hooks: dict[tuple[WebhookHandler, bool], Hook] = {}
        self.needs_trust = False

    def build(self, handlers: EventHandlers, source: str, *, guest: bool = False) -> dict[str, tuple[Listener, ...]]:
        return {
            event: tuple(entry if isinstance(entry, LogHandler) else self.hook(entry, source, guest=guest) for entry in entries)
            for event, entries in handlers.items()
        }

    def hook(self, handler: WebhookHandler, source: str, *, guest: bool = False) -> Hook:
        found = self._hooks.get((handler, guest))
        if found is None:
            found, problem = build_hook(handler, source, self._folder if guest else None)
            self._hooks[handler, guest] = found
            if problem is not None:
                self._problems.append(problem)
            self.needs_trust = self.needs_trust or found.target.startswith("https:")
        return found
