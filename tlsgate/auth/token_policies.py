"""Which policies a token asks for: its policy claim, its scopes, the API's defaults; pure, knows nothing of stores.

Source: JWT reference, section 8. The list is always computed from the present token (BETTER).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from tlsgate.auth.claims import find_claim, find_scopes
from tlsgate.model.tokens import ScopePolicies

__all__ = ["Choice", "choose_policies", "find_base_policy", "find_client_id"]

Claims = dict[str, Any]


class Choice(NamedTuple):
    """The policies of a token, or why it has none."""

    policies: tuple[str, ...] = ()
    by_scope: bool = False
    by_default: bool = False
    refusal: str = ""
    """Id of the catalogue."""


def find_base_policy(claims: Claims, names: tuple[str, ...]) -> str:
    """Return the policy that a claim names: the first that is a text and not empty; a list is not found, as in Tyk."""
    for name in names:
        value = find_claim(claims, name)
        if isinstance(value, str) and value:
            return value
    return ""


def choose_policies(claims: Claims, base: str, defaults: tuple[str, ...], scopes: ScopePolicies) -> Choice:
    """Return the policies of a token.

    :param base: the policy that the token itself names; empty for none.
    """
    if scopes.policies:
        found = find_scopes(claims, scopes.claims)
        if found is not None:
            mapped = dict(scopes.policies)
            chosen = [base] if base else []
            chosen += [mapped[scope] for scope in found if scope in mapped]
            if not chosen:
                return Choice(refusal="jwt.no_scope_policy")
            return Choice(tuple(dict.fromkeys(chosen)), by_scope=True)
    if base:
        return Choice((base,))
    if defaults:
        return Choice(tuple(dict.fromkeys(defaults)), by_default=True)
    return Choice(refusal="jwt.nothing_in_token" if scopes.policies else "jwt.no_policy")


def find_client_id(claims: Claims) -> str:
    """Return the OAuth client that a token names; what is no text is passed over."""
    for name in ("clientId", "cid", "client_id"):
        value = claims.get(name)
        if isinstance(value, str) and value:
            return value
    return ""
