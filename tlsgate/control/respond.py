"""Answers of the control API in its own form; knows no resource and no path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from twisted.web.server import NOT_DONE_YET

from tlsgate.errors import CATALOGUE, Refusal
from tlsgate.gateway.tree import LeafResource

if TYPE_CHECKING:
    from tlsgate.gateway.request import GateRequest

__all__ = ["ControlRefusal"]

_JSON = (b"Content-Type", b"application/json")


class ControlRefusal(LeafResource):
    """Answers with an entry of the catalogue, ``{"status": "error", "message": ...}``.

    Source: mTLS reference, head and section 6; ``override_messages`` and ``error_overrides`` are for APIs.

    :param refusal: raised for one request, or one that is the same for all.
    """

    def __init__(self, refusal: Refusal, site: Any) -> None:
        self._refusal = refusal
        self._site = site
        entry = CATALOGUE[refusal.id]
        message = entry.message
        for name, value in (refusal.fields or {}).items():
            message = message.replace("{" + name + "}", value)
        self._status = entry.status
        self._flag = entry.flag
        self._body = msgspec.json.encode({"status": "error", "message": message})

    def render(self, request: GateRequest) -> int:
        """Refuse."""
        request.refusal = self._refusal.id
        request.detail = self._refusal.detail
        request.flag = self._flag
        request.channel.respond(request, self._status, [_JSON], self._body)
        self._site.finished(request)
        return NOT_DONE_YET
