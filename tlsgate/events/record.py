"""What an event says: taken from the request at the moment it happens, without anything that would let a reader act for the client.

Knows requests and fields; must not know who is told. Differs from Tyk (BETTER lines of the keys reference, section 12): the key is shown as
its last four characters, or its hash where keys are hashed, and the request is without credentials, certificates and body.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from tlsgate.auth.shown import show_key
from tlsgate.auth.sources import DEFAULT_HEADER, find_sources_to_strip
from tlsgate.config.model import KeySettings
from tlsgate.model.api import ApiDefinition
from tlsgate.model.exchange import Exchange

__all__ = ["Event", "build_event", "describe_request"]

_MAX_TEXT = 2048
_MESSAGES = {
    "TokenCreated": "Key has been created.",
    "TokenUpdated": "Key has been modified.",
    "TokenDeleted": "Key has been deleted.",
    "RateLimitSmoothingUp": "Rate limit increased",
    "RateLimitSmoothingDown": "Rate limit decreased",
    "TriggerExceeded": "Quota trigger reached",
}
_SECRET = re.compile(rb"auth|cookie|dpop|token|secret|passw|api-?key|signature|session|jwt|client-?cert|ssl-client|x-tyk-")
"""Parts of names of headers and parameters whose values may let somebody in."""


class Event(NamedTuple):
    """One event; ``fields`` are what Tyk's templates call ``.Meta``."""

    type: str
    """Tyk's name."""
    time: float
    """Epoch seconds."""
    api_id: str
    org_id: str
    fields: dict[str, Any]
    """In snake case: ``message``, ``path``, ``origin``, ``key`` ..."""
    of_request: bool

    @property
    def timestamp(self) -> str:
        """Return the time as RFC 3339 has it (UTC)."""
        return datetime.fromtimestamp(self.time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def build_event(
    type: str, exchange: Exchange | None, fields: Mapping[str, Any], now: float, keys: KeySettings, api: ApiDefinition | None
) -> Event:
    """Return an event.

    :param fields: what whoever tells of it knows; never a whole key.
    :param api: the one that it concerns, None for none.
    """
    known: dict[str, Any] = {"message": _MESSAGES.get(type, ""), **fields}
    if exchange is not None:
        known.setdefault("path", _cut(exchange.path.decode("utf-8", "replace")))
        known.setdefault("origin", exchange.client_address)
        known.setdefault("key", _name_key(exchange, keys))
    return Event(
        type,
        now,
        api.api_id if api is not None else str(fields.get("api_id", "")),
        api.org_id if api is not None else str(fields.get("org", "")),
        known,
        exchange is not None,
    )


def describe_request(exchange: Exchange) -> str:
    """Return the head of a request in base64, without credentials (``.Meta.OriginatingRequest``); its body is never part of it."""
    headers, parameters = _places(exchange.api)
    lines = [b"%b %b%b HTTP/1.1" % (exchange.method, exchange.path, _hide(exchange.query, parameters))]
    for name, value in exchange.headers:
        plain = name.lower().replace(b"_", b"-")
        if plain not in headers and _SECRET.search(plain) is None:
            lines.append(b"%b: %b" % (name, value))
    return base64.b64encode(b"\r\n".join(lines) + b"\r\n\r\n").decode("ascii")


def _places(api: ApiDefinition | None) -> tuple[frozenset[bytes], frozenset[bytes]]:
    """Return the names of headers and parameters in which an API reads credentials."""
    headers: set[bytes] = set()
    parameters: set[bytes] = set()
    for source in find_sources_to_strip(api) if api is not None else ():
        header = (source.header_name or DEFAULT_HEADER).lower()
        headers.add(header.replace("_", "-").encode())
        parameters |= {header.encode(), (source.param_name or DEFAULT_HEADER).lower().encode()}
    return frozenset(headers), frozenset(parameters)


def _hide(query: bytes | None, secret: frozenset[bytes]) -> bytes:
    """Return the query with its question mark, without values that may be credentials; an odd pair is hidden whole."""
    if query is None:
        return b""
    kept = []
    for pair in query.split(b"&"):
        name = pair.partition(b"=")[0]
        plain = name.lower()
        if b"%" in name or b"+" in name or b";" in pair:
            kept.append(b"***")
        elif plain in secret or _SECRET.search(plain.replace(b"_", b"-")) is not None:
            kept.append(name + b"=***")
        else:
            kept.append(pair)
    return b"?" + b"&".join(kept)


def _name_key(exchange: Exchange, keys: KeySettings) -> str:
    view = exchange.key
    if view is not None:
        if keys.hash_keys and not keys.show_in_logs:
            return str(view.name)
        return show_key(view.id, whole=keys.show_in_logs)
    return show_key(_cut(exchange.credential.decode("utf-8", "replace")), whole=keys.show_in_logs)


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "..."
