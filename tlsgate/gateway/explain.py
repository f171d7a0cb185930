"""Why a request was refused: an id in each answer, and the records behind the ids; knows what is worth a record, not how one is written.

Records are made when a request is over, from what it knows already, and kept as JSON: nothing of a request stays alive for them.
Refused connections have a place of their own, so that neither kind pushes out the other. Design note 0022.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from heapq import merge
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from twisted.logger import Logger

from tlsgate.gateway.decision import describe_handshake, describe_raw, describe_request, describe_unreadable
from tlsgate.gateway.ledger import Entry, Ledger
from tlsgate.gateway.stages import Stage, list_stages
from tlsgate.ids import process_id, request_id

if TYPE_CHECKING:
    from tlsgate.config.model import ExplainSettings
    from tlsgate.errors import Refusal
    from tlsgate.gateway.request import GateRequest
    from tlsgate.model.api import ApiDefinition
    from tlsgate.model.exchange import Connection, HeaderList
    from tlsgate.tls.server import TlsServer

__all__ = ["MOST_LISTED", "TOPIC", "Explainer", "Records", "build_explainer"]

TOPIC = "explain"
"""Of ``gateway.questions``."""
MOST_LISTED = 100
_FIRST_ERROR = 400
_CONNECTIONS = 4
"""Records of handshakes and raw services have this part of the room of those of requests."""

_log = Logger()


class Records:
    """The records of this process; they outlive reloads."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._requests = Ledger(0, 0)
        self._connections = Ledger(0, 0)

    def configure(self, keep: int, max_bytes: int) -> None:
        """Take other bounds."""
        self._requests.configure(keep, max_bytes)
        self._connections.configure(max(1, keep // _CONNECTIONS), max_bytes // _CONNECTIONS)

    def add(self, record: dict[str, Any]) -> None:
        """Keep a record."""
        record["node"] = self._node
        route = record.get("route")
        ledger = self._requests if record["kind"] == "request" else self._connections
        ledger.add(record["id"], Entry(msgspec.json.encode(record), route["api_id"] if route else "", record["status"]))

    def answer(self, question: Mapping[str, Any]) -> list[Any]:
        """Answer a question of :data:`TOPIC`: ``id`` for a record, else ``api_id``, ``status`` and ``limit`` for the latest ones.

        :returns: which process this is (``process``), then records.
        """
        found: Iterable[bytes]
        if "id" in question:
            data = self._requests.find(question["id"]) or self._connections.find(question["id"])
            found = [] if data is None else [data]
        else:
            found = self._latest(question)
        return [{"process": process_id()}, *map(msgspec.json.decode, found)]

    def _latest(self, question: Mapping[str, Any]) -> Iterator[bytes]:
        api_id, status, limit = question["api_id"], question["status"], min(question["limit"], MOST_LISTED)
        requests = self._requests.latest(api_id, status)
        connections = self._connections.latest(api_id, status)
        both = merge(map(_dated, requests), map(_dated, connections), key=lambda pair: -pair[0])
        return (data for _, (_, data) in zip(range(limit), both, strict=False))


def _dated(data: bytes) -> tuple[float, bytes]:
    return msgspec.json.decode(data, type=_Moment).at, data


class _Moment(msgspec.Struct):
    at: float


class _Rule(NamedTuple):
    """What holds for an API."""

    enabled: bool
    refused_only: bool


class Explainer:
    """Marks answers and makes records, under the settings of the moment.

    :param site: ``gateway.site.Site``.
    :param apis: those that have settings of their own count.
    """

    def __init__(self, site: Any, settings: ExplainSettings, apis: Iterable[ApiDefinition], records: Records) -> None:
        self._site = site
        self._records = records
        self._name = settings.header.encode("ascii")
        self._lower = self._name.lower()
        self._default = _Rule(settings.enabled, settings.refused_only)
        self._rules = {api.api_id: rule for api in apis if (rule := _read_rule(api, self._default)) != self._default}

    @property
    def needed(self) -> bool:
        """Whether anything is switched on."""
        return self._default.enabled or any(rule.enabled for rule in self._rules.values())

    def mark(self, request: GateRequest, headers: HeaderList) -> HeaderList:
        """Return the headers of an answer with the request's id; an upstream's field of that name goes."""
        if not self._rule(request).enabled:
            return headers
        lower = self._lower
        marked = [line for line in headers if line[0].lower() != lower]
        marked.append((self._name, request_id(request.connection.id, request.number).encode("ascii")))
        return marked

    def mark_head(self, request: GateRequest, head: bytes) -> bytes:
        """Return the head of a 101 answer with the request's id."""
        if not self._rule(request).enabled:
            return head
        start = self._lower + b":"
        lines = [line for line in head[:-4].split(b"\r\n") if not line.lower().startswith(start)]
        lines.append(b"%b: %b\r\n\r\n" % (self._name, request_id(request.connection.id, request.number).encode("ascii")))
        return b"\r\n".join(lines)

    def note(self, request: GateRequest) -> None:
        """Take note of a request that is over."""
        rule = self._rule(request)
        if not rule.enabled:
            return
        refusal = request.refusal
        # What the control API answers without refusing is its caller's business.
        if refusal or (request.api is not None and not (rule.refused_only and request.status < _FIRST_ERROR)):
            self._keep(lambda: self._describe(request))

    def note_handshake(self, server: TlsServer, reason: str) -> None:
        """Take note of a handshake that was refused."""
        if self._default.enabled:
            now = self._site.clock.now()
            self._keep(lambda: describe_handshake(server.peer_connection, server.server_name, server.refused_peer, reason, now))

    def note_raw(self, connection: Connection, api: ApiDefinition | None, reason: str) -> None:
        """Take note of a connection that a raw service turned away."""
        if (self._default if api is None else self._rules.get(api.api_id, self._default)).enabled:
            now = self._site.clock.now()
            self._keep(lambda: describe_raw(connection, api, reason, now))

    def refuse_unreadable(
        self, connection: Connection, number: int, method: bytes, target: bytes, refusal: Refusal, status: int, headers: HeaderList
    ) -> HeaderList:
        """Take note of a request that cannot be read, and return the headers of its answer with an id."""
        if not self._default.enabled:
            return headers
        now = self._site.clock.now()
        self._keep(lambda: describe_unreadable(connection, number, method, target, refusal.id, refusal.detail, status, now))
        return [*headers, (self._name, request_id(connection.id, number).encode("ascii"))]

    def _rule(self, request: GateRequest) -> _Rule:
        api = request.api
        return self._default if api is None or not self._rules else self._rules.get(api.api_id, self._default)

    def _describe(self, request: GateRequest) -> dict[str, Any]:
        site = self._site
        return describe_request(
            request,
            _stages_of(request.route),
            now=site.clock.now(),
            elapsed_s=site.deadlines.read() - request.entered_at,
            whole_keys=site.show_keys,
        )

    def _keep(self, describe: Callable[[], dict[str, Any]]) -> None:
        """Make and keep a record; a report that cannot be made harms no request."""
        try:
            self._records.add(describe())
        except Exception:
            _log.failure("a record of `tlsgate explain` cannot be made", event="explain.failed")


def build_explainer(site: Any, settings: ExplainSettings, apis: Iterable[ApiDefinition], records: Records) -> Explainer | None:
    """Return what explains under these settings, None where it is switched off everywhere."""
    made = Explainer(site, settings, apis, records)
    if not made.needed:
        records.configure(0, 0)
        return None
    records.configure(settings.keep, settings.max_bytes)
    return made


def find_node() -> str:
    """Return the name of this machine, for records."""
    return os.uname().nodename


def _stages_of(route: Any) -> tuple[Stage, ...]:
    """Return the steps of an API, none where there is no API or only its place."""
    if not hasattr(route, "stages"):
        return ()
    if route.stages is None:
        route.stages = list_stages(route)
    found: tuple[Stage, ...] = route.stages
    return found


def _read_rule(api: ApiDefinition, default: _Rule) -> _Rule:
    own = api.settings.get("explain") or {}
    return _Rule(bool(own.get("enabled", default.enabled)), bool(own.get("refused_only", default.refused_only)))
