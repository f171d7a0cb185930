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
    from tlsgate.store.interface import Store

__all__ = ["HealthResource"]

_JSON = (b"Content-Type", b"application/json")
_AWAY = {"redis": "Redis connection not available"}


class HealthResource(LeafResource):
    """One of the two endpoints.

    :param ready: the readiness endpoint, which fails while the gateway shuts down, without its store, and when it could load nothing.
    :param store: None leaves it out.
    :param kind: its ``storage.type``, under which it is shown: ``redis`` as Tyk does, ``sqlite``, ``memory``.
    """

    def __init__(self, site: Any, *, ready: bool, store: Store | None = None, kind: str = "") -> None:
        self._site = site
        self._ready = ready
        self._store = store
        self._kind = kind

    def render(self, request: GateRequest) -> int:
        """Answer."""
        if request.method not in (b"GET", b"HEAD"):
            self._answer(request, 405, {"status": "error", "message": "Method Not Allowed"})
            return NOT_DONE_YET
        reason = self._find_reason() if self._ready else ""
        if reason:
            self._answer(request, 503, {"status": "error", "message": reason})
            return NOT_DONE_YET
        details = self._details()
        found = {entry["status"] for entry in details.values()}
        body = {
            "status": "fail" if "fail" in found else "warn" if "warn" in found else "pass",
            "version": __version__,
            "description": "Tyk GW Ready" if self._ready else "Tyk GW",
            "details": details,
        }
        self._answer(request, 200, body)
        return NOT_DONE_YET

    def _find_reason(self) -> str:
        """Return why no traffic should come, empty when it may."""
        site = self._site
        if site.draining:
            return "Gateway is shutting down"
        if self._store is not None and not self._store.healthy:
            return _AWAY.get(self._kind, "Store not available")
        generation = site.generation
        # Ports open only after a load. One that left nothing to serve, because everything was refused, is none: never so of a reload
        # that was refused, which would take every node out of service at once while all of them can serve.
        if not generation.apis and not generation.raws and any(note.severity == "error" for note in generation.notes):
            return "A successful API reload did not happen"
        return ""

    def _details(self) -> dict[str, dict[str, str]]:
        now = datetime.fromtimestamp(self._site.clock.now(), UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        details: dict[str, dict[str, str]] = {}
        if self._store is not None:
            healthy = self._store.healthy
            details[self._kind] = {"status": "pass" if healthy else "fail", "componentType": "datastore", "time": now}
            if not healthy:
                details[self._kind]["output"] = "the store does not answer"
        notes = self._site.generation.notes
        details["definitions"] = {"status": "warn" if notes else "pass", "componentType": "system", "time": now}
        if notes:
            details["definitions"]["output"] = f"{len(notes)} problems at the last load, see the log"
        return details

    def _answer(self, request: GateRequest, status: int, body: dict[str, Any]) -> None:
        request.channel.respond(request, status, [_JSON], msgspec.json.encode(body) + b"\n")
        self._site.finished(request)
