"""CORS: headers on every answer, preflights, other OPTIONS requests; knows nothing of what a request wants.

Two gates: :func:`build_headers` stands first in the chain, so that errors of every later step carry the headers (field report B35);
:func:`build` answers, after the path lists.
Source: API definitions reference, sections 5 and 12.5; decisions 2.1, 2.15; Fetch standard, "CORS protocol".
"""

from __future__ import annotations

import re
from typing import NamedTuple

from tlsgate.config.model import GatewayConfig
from tlsgate.gates.base import Gate, GateTools, Reply
from tlsgate.model.api import ApiDefinition, CorsSettings
from tlsgate.model.exchange import Exchange

__all__ = ["build", "build_headers", "is_preflight"]

_Line = tuple[bytes, bytes]
_VARY_ORIGIN: _Line = (b"Vary", b"Origin")
_VARY_PREFLIGHT: _Line = (b"Vary", b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers")
_ANY_ORIGIN: _Line = (b"Access-Control-Allow-Origin", b"*")
_CREDENTIALS: _Line = (b"Access-Control-Allow-Credentials", b"true")
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_ORIGIN = re.compile(rb"[!-~]+\Z")


class _Origins(NamedTuple):
    """Who may ask, compiled."""

    everybody: bool
    exact: frozenset[bytes]
    wildcards: tuple[tuple[bytes, bytes], ...]
    """(start, end) around the ``*``."""

    def allow(self, origin: bytes) -> bool:
        if self.everybody:
            return True
        folded = origin.lower()
        if folded in self.exact:
            return True
        for start, end in self.wildcards:
            if len(folded) >= len(start) + len(end) and folded.startswith(start) and folded.endswith(end):
                return True
        return False


def is_preflight(exchange: Exchange) -> bool:
    """Tell whether a request is a CORS preflight: OPTIONS with ``Access-Control-Request-Method``."""
    return exchange.method == b"OPTIONS" and b"access-control-request-method" in exchange.index


def build_headers(api: ApiDefinition, config: GatewayConfig, tools: GateTools) -> Gate | None:
    """Return the step that puts CORS headers on whatever the answer will be, None without CORS.

    An origin or method that is not allowed gets ``Vary`` only and is served all the same.
    """
    cors = api.cors
    if cors is None:
        return None
    origins = _compile_origins(cors)
    methods = _methods(cors)
    constant: list[_Line] = []
    if cors.exposed_headers:
        constant.append((b"Access-Control-Expose-Headers", ", ".join(cors.exposed_headers).encode()))
    if cors.allow_credentials:
        constant.append(_CREDENTIALS)

    def add_cors_headers(exchange: Exchange) -> None:
        headers = exchange.response_headers
        if exchange.method == b"OPTIONS" and b"access-control-request-method" in exchange.index:
            # An error answer to a preflight needs no more; the preflight itself is answered by `build`.
            headers.append(_VARY_PREFLIGHT)
            return
        headers.append(_VARY_ORIGIN)
        origin = exchange.index.get(b"origin")
        if not origin or exchange.method not in methods or not origins.allow(origin) or _ORIGIN.match(origin) is None:
            return
        headers.append(_ANY_ORIGIN if origins.everybody else (b"Access-Control-Allow-Origin", origin))
        headers.extend(constant)

    return add_cors_headers


def build(api: ApiDefinition, config: GatewayConfig, tools: GateTools) -> Gate | None:
    """Return the step that answers OPTIONS requests, None without CORS.

    A preflight gets 204, other OPTIONS 200. With ``options_passthrough`` real preflights go to the upstream without credentials, all
    other OPTIONS requests are requests like any other (Tyk lets every OPTIONS through, even with CORS off).

    :raises Reply: (the gate).
    """
    cors = api.cors
    if cors is None:
        return None
    origins = _compile_origins(cors)
    methods = _methods(cors)
    passthrough = cors.options_passthrough
    all_headers = "*" in cors.allowed_headers
    names = frozenset(name.strip().lower().encode() for name in (*cors.allowed_headers, "origin"))
    constant: list[_Line] = []
    if cors.allow_credentials:
        constant.append(_CREDENTIALS)
    if cors.max_age_s > 0:
        constant.append((b"Access-Control-Max-Age", b"%d" % cors.max_age_s))

    def preflight_headers(exchange: Exchange) -> list[_Line]:
        index = exchange.index
        origin = index.get(b"origin")
        method = index[b"access-control-request-method"].upper()
        if not origin or not origins.allow(origin) or _ORIGIN.match(origin) is None:
            return []
        if method not in methods or _TOKEN.match(method) is None:
            return []
        wanted = [name for part in index.get(b"access-control-request-headers", b"").split(b",") if (name := part.strip().lower())]
        if not all(_TOKEN.match(name) if all_headers else name in names for name in wanted):
            return []
        found = [_ANY_ORIGIN if origins.everybody else (b"Access-Control-Allow-Origin", origin), (b"Access-Control-Allow-Methods", method)]
        if wanted:
            found.append((b"Access-Control-Allow-Headers", b", ".join(wanted)))
        return found + constant

    def answer_options(exchange: Exchange) -> None:
        if exchange.method != b"OPTIONS":
            return
        if b"access-control-request-method" not in exchange.index:
            if not passthrough:
                raise Reply(200)
            return
        headers = preflight_headers(exchange)
        if not passthrough:
            raise Reply(204, tuple(headers))
        exchange.response_headers.extend(headers)
        exchange.ignored = True

    return answer_options


def _compile_origins(cors: CorsSettings) -> _Origins:
    texts = [origin.strip().lower().encode() for origin in cors.allowed_origins]
    wildcards = []
    for text in texts:
        start, star, end = text.partition(b"*")
        if star:
            wildcards.append((start, end))
    return _Origins(not texts or b"*" in texts, frozenset(text for text in texts if b"*" not in text), tuple(wildcards))


def _methods(cors: CorsSettings) -> frozenset[bytes]:
    return frozenset(method.strip().upper().encode() for method in (*cors.allowed_methods, "OPTIONS"))
