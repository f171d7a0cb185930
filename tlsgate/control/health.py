"""``GET /hello`` and ``/ready``: is the process there, may it get traffic; needs no secret (API definitions reference, section 13)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
from twisted.web.server import NOT_DONE_YET

from tlsgate import __version__
from tlsgate.gateway.tree import LeafResource

if TYPE_CHECKING:
    from tlsgate.gateway.request import GateRequest

__all__ = ["HealthResource"]

_JSON = (b"Content-Type", b"application/json")


class HealthResource(LeafResource):
    """One of the two endpoints.

    :param ready: the readiness endpoint, which fails while the gateway shuts down.
    """

    def __init__(self, site: Any, *, ready: bool) -> None:
        self._site = site
        self._ready = ready

    def render(self, request: GateRequest) -> int:
        """Answer."""
        if request.method not in (b"GET", b"HEAD"):
            self._answer(request, 405, {"status": "error", "message": "Method Not Allowed"})
        elif self._ready and self._site.draining:
            self._answer(request, 503, {"status": "error", "message": "Gateway is shutting down"})
        else:
            now = datetime.fromtimestamp(self._site.clock.now(), UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
            notes = self._site.generation.notes
            details = {"definitions": {"status": "warn" if notes else "pass", "componentType": "system", "time": now}}
            if notes:
                details["definitions"]["output"] = f"{len(notes)} problems at the last load, see the log"
            body = {
                "status": "warn" if notes else "pass",
                "version": __version__,
                "description": "Tyk GW Ready" if self._ready else "Tyk GW",
                "details": details,
            }
            self._answer(request, 200, body)
        return NOT_DONE_YET

    def _answer(self, request: GateRequest, status: int, body: dict[str, Any]) -> None:
        request.channel.respond(request, status, [_JSON], msgspec.json.encode(body))
        self._site.finished(request)
