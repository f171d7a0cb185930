"""``/tyk/metrics``, and ``/metrics`` on a listener of its own: numbers of all processes for Prometheus; knows no number.

Source: decisions 4.8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlsgate.control.calls import Answer, Call, Endpoint
from tlsgate.control.carried import in_thread

if TYPE_CHECKING:
    from tlsgate.control.endpoints import ControlTools

__all__ = ["OWN_PATH", "PATH", "Metrics"]

PATH = "/tyk/metrics"
OWN_PATH = b"/metrics"
"""Of the listener of its own."""


class Metrics:
    """The endpoint."""

    def __init__(self, tools: ControlTools) -> None:
        self._tools = tools

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return it."""
        return (Endpoint("GET", PATH, self.show),)

    async def show(self, call: Call) -> Answer:
        """Return the metrics; a process that does not answer in a second counts as last heard."""
        site = self._tools.site
        snapshots = await site.shared_counters.collect_all()
        accept = call.request.index.get(b"accept", b"").decode("latin-1")
        # A gateway that nobody scrapes never loads what it needs for that.
        from tlsgate.control.exposition import render

        text, content_type = await in_thread(site.reactor, render, snapshots, accept)
        return Answer(200, text, ((b"Content-Type", content_type.encode("ascii")),))
