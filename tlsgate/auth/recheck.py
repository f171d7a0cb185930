"""Judges a key again while its request goes on: a WebSocket ends when its key is revoked; knows no connection.

Source: decisions 3.1, 3.10; the key is looked up by its stored id, whatever the client presented.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlsgate.errors import Refusal, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tlsgate.auth.sessions import Sessions
    from tlsgate.model.exchange import Exchange

__all__ = ["judge_key"]


async def judge_key(
    sessions: Sessions,
    exchange: Exchange,
    access: Callable[[Exchange], None],
    certificate: Callable[[Exchange], Awaitable[None]] | None = None,
) -> str | None:
    """Return why a request may not go on with its key, None when it may.

    A store that is away decides nothing: the stream was let in, and the change that made us look is told again after the gap.

    :param access: the access check of its API.
    :param certificate: judges the client's certificate, where one may stand for a key.
    """
    if exchange.key is None or exchange.api is None:
        return None
    if certificate is not None:
        try:
            await certificate(exchange)
        except Refusal as refusal:
            return f"its certificate: {refusal.id}"
    try:
        view = await sessions.reader(exchange.api.org_id, "any").find(exchange.session_id.encode())
    except StoreUnavailable:
        return None
    if view is None:
        return "its key is gone"
    if view.fault:
        return f"its key: {view.fault}"
    before, exchange.key = exchange.key, view
    exchange.session = view.session
    try:
        access(exchange)
    except Refusal as refusal:
        exchange.key = before
        return f"its key: {refusal.id}"
    return None
