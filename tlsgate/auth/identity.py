"""Whose session counts when several methods are on; knows nothing of how any of them identifies anybody.

Source: token reference, section 9. Differs from Tyk: the other sessions' expiry and inactivity are checked as well (``auth.access``).
"""

from __future__ import annotations

from tlsgate.auth.base import Notify
from tlsgate.auth.sessions import KeyView
from tlsgate.errors import Refusal
from tlsgate.model.api import ApiDefinition
from tlsgate.model.exchange import Exchange

__all__ = ["Identity", "put_key", "tell_of"]


def put_key(exchange: Exchange, view: KeyView) -> None:
    """Make a session the one that counts; the one that did goes beside it."""
    if exchange.key is not None:
        exchange.others = (*exchange.others, exchange.key)
    exchange.key = view
    exchange.session = view.session
    exchange.session_id = view.id


def tell_of(notify: Notify, event: str, exchange: Exchange, message: str, view: KeyView | None) -> None:
    """Tell of an event that concerns one credential of a request, whichever session counts.

    :param view: the session that it concerns; None for what the client presented last.
    """
    counts, exchange.key = exchange.key, view
    try:
        notify(event, exchange, {"message": message})
    finally:
        exchange.key = counts


class Identity:
    """Puts the session that a method has found into its place.

    :param api: says which method's session counts.
    :param method: our name of the method.
    """

    __slots__ = ("_counts", "_notify")

    def __init__(self, api: ApiDefinition, method: str, notify: Notify) -> None:
        self._counts = api.base_identity in ("", method)
        self._notify = notify

    def accept(self, exchange: Exchange, view: KeyView, token: str = "", ends: float = 0.0) -> None:
        """Take a session that its method has verified.

        :param token: what ``$tyk_context.token`` becomes, where this session counts; empty is the stored id.
        :param ends: ``Exchange.token_ends`` of a credential that ends by itself, whatever its session.
        :raises Refusal: ``auth.key_not_found``: the policies of the key cannot be applied.
        """
        if view.fault:
            raise self.fail(exchange, view.fault)
        if ends:
            exchange.token_ends = min(exchange.token_ends or ends, ends)
        if not self._counts:
            exchange.others = (*exchange.others, view)
            return
        put_key(exchange, view)
        if exchange.context is not None:
            exchange.context["token"] = token or view.id

    def fail(self, exchange: Exchange, reason: str, refusal: str = "auth.key_not_found") -> Refusal:
        """Return the refusal of a request whose credential is not one, after the event ``AuthFailure``.

        :param reason: for the log; never a secret.
        """
        tell_of(self._notify, "AuthFailure", exchange, "Auth Failure", None)
        return Refusal(refusal, reason)

    def fail_with(self, exchange: Exchange, refusal: str, reason: str) -> Refusal:
        """Return the refusal of a credential whose words tell the client the reason, after the event ``AuthFailure``."""
        self._notify("AuthFailure", exchange, {"message": "Auth Failure"})
        return Refusal(refusal, reason, fields={"reason": reason})
