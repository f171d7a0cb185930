"""``GET /tyk/explain``: why requests were refused, asked of all workers of this node; knows who has records, not how they are made.

Ours; Tyk has nothing of the kind. Design note 0022.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tlsgate.control.calls import Answer, Call, Endpoint, fail
from tlsgate.gateway.explain import MOST_LISTED, TOPIC, find_node
from tlsgate.ids import process_of
from tlsgate.remedies import find_remedy

if TYPE_CHECKING:
    from tlsgate.control.endpoints import ControlTools
    from tlsgate.gateway.questions import Heard

__all__ = ["Explain"]

_LISTED = 20
_LONGEST_ID = 100


class Explain:
    """The endpoints."""

    def __init__(self, tools: ControlTools) -> None:
        self._site = tools.site

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return them."""
        return (Endpoint("GET", "/tyk/explain", self.latest), Endpoint("GET", "/tyk/explain/{id}", self.show))

    async def show(self, call: Call) -> Answer:
        """Return the record of an id."""
        id = call.names["id"]
        if len(id) > _LONGEST_ID:
            raise fail(400, "this is no id of a request")
        heard = await self._ask({"id": id})
        records = _records(heard)
        if not records:
            raise fail(404, self._missing(id, heard))
        return Answer(200, records[0])

    async def latest(self, call: Call) -> Answer:
        """Return the latest records; ``api_id`` and ``status`` choose among them, ``limit`` bounds them."""
        limit, status = _number(call, "limit", _LISTED, MOST_LISTED), _number(call, "status", 0, 599)
        question = {"api_id": call.query.get("api_id", ""), "status": status, "limit": limit}
        records = _records(await self._ask(question))
        records.sort(key=lambda record: -record["at"])
        return Answer(200, {"records": records[:limit]})

    async def _ask(self, question: dict[str, Any]) -> list[Heard]:
        if self._site.explain is None:
            raise fail(404, "nothing is recorded: switch tlsgate.explain.enabled on, or x-tlsgate.explain.enabled of an API, and reload")
        found: list[Heard] = await self._site.questions.ask_all(TOPIC, question)
        return found

    @staticmethod
    def _missing(id: str, heard: list[Heard]) -> str:
        """Say why there is no record: another node's id, or one of ours whose record is gone or was never made."""
        ours = sorted(entry["process"] for one in heard for entry in one.entries if "process" in entry)
        process = process_of(id)
        if process in ours:
            return (
                f"{id} is an id of this node, {find_node()}, and there is no record of it: it was not refused "
                "(tlsgate.explain.refused_only), or newer records have pushed it out (tlsgate.explain.keep, max_bytes)"
            )
        return (
            f"{id} was given by process {process}, and those of this node, {find_node()}, are {', '.join(ours)}: ask the node whose "
            f"log has service.started with ids {process}; if that process has ended since, its records are gone"
        )


def _records(heard: list[Heard]) -> list[dict[str, Any]]:
    """Return the records of all workers, each with its remedy and the worker that has it."""
    return [
        {**entry, "worker": one.worker, "remedy": find_remedy(entry["refusal"])}
        for one in heard
        for entry in one.entries
        if "process" not in entry
    ]


def _number(call: Call, name: str, default: int, most: int) -> int:
    text = call.query.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= most):
        raise fail(400, f"{name} must be a number from 1 to {most}")
    return int(text)
