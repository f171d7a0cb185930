"""Declared sizes of request bodies; knows nothing of the bytes that come (the channel counts chunked bodies)."""

from __future__ import annotations

from tlsgate.config.model import GatewayConfig
from tlsgate.errors import Refusal
from tlsgate.gates.base import Gate, GateTools, build_rules, other_readings
from tlsgate.model.api import ApiDefinition
from tlsgate.model.exchange import Exchange

__all__ = ["build", "max_body_bytes"]

_WITHOUT_BODY = frozenset({b"GET", b"DELETE", b"TRACE", b"OPTIONS", b"HEAD"})
"""Methods that size limits do not concern (reference, section 11)."""
_MAX_DIGITS = 18


def max_body_bytes(config: GatewayConfig) -> int:
    """Return the limit for bodies of unknown length in bytes, 0 for none: whoever reads the body counts and refuses ``size.too_large``."""
    return config.http.max_request_body_size


def build(api: ApiDefinition, config: GatewayConfig, tools: GateTools) -> Gate | None:
    """Return the check of declared sizes, None without limits; equal to the limit passes.

    Source: API definitions reference, section 11.

    :raises Refusal: (the gate) ``size.too_large`` over the gateway's limit; ``size.length_required``, ``size.length_invalid``,
        ``size.limit`` for the API's limits.
    :raises ValueError: a path that does not compile.
    """
    version = api.version
    gateway_limit = config.http.max_request_body_size
    api_limit = version.size_limit_bytes
    rules = build_rules(((rule.path, rule.method, False, rule.limit_bytes) for rule in version.size_rules), api, config)
    if gateway_limit <= 0 and api_limit <= 0 and rules is None:
        return None

    def check_size(exchange: Exchange) -> None:
        text = exchange.index.get(b"content-length")
        if gateway_limit > 0 and text is not None and _parse_length(text) > gateway_limit:
            raise Refusal("size.too_large", f"{text.decode()} bytes declared")
        if exchange.method in _WITHOUT_BODY:
            return
        if api_limit > 0:
            _check(text, api_limit)
        if rules is not None:
            limit = rules.find(exchange.method, exchange.remaining_path, exchange.canonical)
            if limit is not None:
                _check(text, limit)
            # A limit closes, so it holds for each way in which the path may be read (decisions 2.11).
            for remaining, full in other_readings(exchange) or ():
                limit = rules.find(exchange.method, remaining, full)
                if limit is not None:
                    _check(text, limit)

    return check_size


def _check(text: bytes | None, limit: int) -> None:
    if text is None:
        raise Refusal("size.length_required")
    if _parse_length(text) > limit:
        raise Refusal("size.limit", f"{text.decode()} bytes declared, {limit} allowed")


def _parse_length(text: bytes) -> int:
    # Framing has refused anything else already; this is the second look.
    if not text.isdigit() or len(text) > _MAX_DIGITS:
        raise Refusal("size.length_invalid")
    return int(text)
