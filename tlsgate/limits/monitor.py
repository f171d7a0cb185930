"""Quota monitors: an event when a key or an organisation has used so many per cent of its quota; refuses nobody.

Source: keys reference, section 12 (``monitor``, session ``monitor.trigger_limits``).
"""

from __future__ import annotations

from typing import Any

from tlsgate.auth.base import Notify
from tlsgate.auth.shown import show_key
from tlsgate.config.model import MonitorSettings
from tlsgate.model.exchange import Exchange
from tlsgate.model.session import Session

__all__ = ["QuotaMonitor", "build"]


def build(settings: MonitorSettings, notify: Notify, *, organisations: bool, whole_keys: bool = False) -> QuotaMonitor | None:
    """Return the monitor of keys or organisations, None when it is off.

    :param whole_keys: ``enable_key_logging``.
    """
    wanted = settings.org_keys if organisations else settings.user_keys
    return QuotaMonitor(settings.global_limit, notify, whole_keys) if settings.enabled and wanted else None


class QuotaMonitor:
    """Tells of quotas that are nearly used up, on every request at or above the limit."""

    __slots__ = ("_global", "_notify", "_whole")

    def __init__(self, global_limit: float, notify: Notify, whole_keys: bool) -> None:
        self._global = global_limit
        self._notify = notify
        self._whole = whole_keys

    def look(self, exchange: Exchange, session: Session, org: str, key: str, maximum: int, remaining: int) -> None:
        """Look at a quota that has just been counted: the session's own limits first, the highest that is reached counts; else the global.

        :param key: the stored id; empty for an organisation.
        """
        used = 100.0 * (maximum - remaining) / maximum
        own = [limit for limit in _limits(session.monitor) if used >= limit]
        reached = max(own) if own else self._global if self._global > 0 and used >= self._global else None
        if reached is not None:
            fields = {"message": "Quota trigger reached", "org": org, "key": show_key(key, whole=self._whole), "trigger_limit": reached}
            self._notify("TriggerExceeded", exchange, fields)


def _limits(monitor: dict[str, Any]) -> list[float]:
    found = monitor.get("trigger_limits")
    if not isinstance(found, list | tuple):  # a session that was read has a tuple
        return []
    return [float(limit) for limit in found if isinstance(limit, int | float) and not isinstance(limit, bool) and limit > 0]
