"""Events and who is told of them, as definitions and tyk.conf have it; knows nothing of how anybody is told.

Source: keys reference, section 12; API definitions reference, section 15.2.
"""

from __future__ import annotations

import msgspec

__all__ = ["API_EVENTS", "EVENTS_NOT_YET", "GATEWAY_EVENTS", "EventHandler", "EventHandlers", "LogHandler", "WebhookHandler"]

API_EVENTS = frozenset(
    {
        "AuthFailure",
        "KeyExpired",
        "RatelimitExceeded",
        "QuotaExceeded",
        "OrgQuotaExceeded",
        "OrgRateLimitExceeded",
        "VersionFailure",
        "RateLimitSmoothingUp",
        "RateLimitSmoothingDown",
        "TriggerExceeded",
        "CertificateExpiringSoon",
        "CertificateExpired",
    }
)
"""Told to the handlers of the API that they concern; names are Tyk's, to the letter."""
GATEWAY_EVENTS = frozenset({"TokenCreated", "TokenUpdated", "TokenDeleted", "CertificateExpiringSoon", "CertificateExpired"})
"""Told to the handlers of tyk.conf; those of certificates where no API names the certificate."""
EVENTS_NOT_YET = frozenset(
    {"BreakerTripped", "BreakerReset", "BreakerTriggered", "HostDown", "HostUp", "UpstreamOAuthError", "TokenRefreshed"}
)
"""Known names of what this version does not have."""


class LogHandler(msgspec.Struct, frozen=True, kw_only=True):
    """``eh_log_handler``: a warning in the log."""

    prefix: str = ""


class WebhookHandler(msgspec.Struct, frozen=True, kw_only=True):
    """``eh_web_hook_handler``: a request to a web address."""

    name: str = ""
    """For the log."""
    method: str = "GET"
    """GET, PUT, POST, DELETE or PATCH."""
    url: str
    """``target_path``: absolute, ``http`` or ``https``."""
    template_path: str = ""
    """File of the body; empty is the built-in one."""
    headers: tuple[tuple[str, str], ...] = ()
    """``header_map``."""
    cooldown_s: int = 0
    """``event_timeout``: an equal delivery is left out for so long; 0 leaves none out."""


EventHandler = LogHandler | WebhookHandler
EventHandlers = dict[str, tuple[EventHandler, ...]]
"""Handlers by event."""
