"""Judges keys again while their request goes on: a WebSocket ends when one of its keys is revoked; knows no connection.

Source: decisions 3.1, 3.10; the key is looked up by its stored id, whatever the client presented.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tlsgate.auth.policies import PolicyFault, apply_policies
from tlsgate.auth.purposes import is_virtual
from tlsgate.auth.sessions import KeyView
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
    """Return why a request may not go on with its key, and with those of the other methods that let it in; None when it may.

    While the store is away the key is judged by what was last read of it, so that its end counts; a change that made us look is told again
    after the gap.

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
    reader = sessions.reader(exchange.api.org_id, "any")
    found = []
    for held in (exchange.key, *exchange.others):
        try:
            view = await reader.find_again(held)
        except StoreUnavailable:
            view = held
        if view is None:
            if held.is_stored:
                return "its key is gone"
            view = held
        view = _keep_policies(sessions, held, view, exchange.api.org_id)
        if view.fault:
            return f"its key: {view.fault}"
        found.append(view)
    before = exchange.key, exchange.others
    exchange.key, exchange.others = found[0], tuple(found[1:])
    try:
        access(exchange)
    except Refusal as refusal:
        exchange.key, exchange.others = before
        return f"its key: {refusal.id}"
    exchange.session = exchange.key.session
    return None


def _keep_policies(sessions: Sessions, held: KeyView, found: KeyView, org: str) -> KeyView:
    """Return a session as it is now; one that tokens make with the policies of the token that has opened the stream, as they are now."""
    policies = held.session.apply_policies
    if not is_virtual(found.session) or not held.is_stored or found.session.apply_policies == policies or found.session.is_inactive:
        return found
    session = msgspec.structs.replace(found.session, apply_policies=policies, access_rights={})
    try:
        return KeyView(found.id, found.name, apply_policies(session, sessions.policies.table, org), "")
    except PolicyFault as fault:
        return KeyView(found.id, found.name, session, str(fault))
