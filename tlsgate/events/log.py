"""``eh_log_handler``: an event as a warning in the log; knows nothing of requests.

Source: keys reference, section 12.
"""

from __future__ import annotations

from twisted.logger import Logger

from tlsgate.events.record import Event
from tlsgate.model.events import LogHandler

__all__ = ["write_event"]

_log = Logger()
_OWN = frozenset({"message", "path", "origin", "key", "reason"})


def write_event(handler: LogHandler, event: Event) -> None:
    """Write an event."""
    fields = event.fields
    more = {name: value for name, value in fields.items() if name not in _OWN and name not in ("api_id", "originating_request")}
    _log.warn(
        "{prefix}:{kind}",
        event="events.logged",
        prefix=handler.prefix,
        kind=event.type,
        api=event.api_id,
        org=event.org_id,
        text=fields.get("message", ""),
        path=fields.get("path", ""),
        client=fields.get("origin", ""),
        key_name=fields.get("key", ""),
        reason=fields.get("reason", ""),
        more=", ".join(f"{name}={value}" for name, value in more.items()),
    )
