"""Sessions that tokens of others make: found by whom a token names, made on first use, always with the policies of the present token.

Knows identities and policies; must not know what a token looks like. Differs from Tyk: nothing that an earlier token brought is kept when
the present one does not bring it, meta data of policies stays, a session without rights opens nothing, and what is stored ends some time
after the last change. Source: JWT reference, sections 7 and 8.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

import msgspec

from tlsgate.auth.base import AuthTools, store_away
from tlsgate.auth.go_json import UnusableRecord
from tlsgate.auth.lifetime import ApiLifetime
from tlsgate.auth.policies import PolicyFault, PolicyTable, apply_policies
from tlsgate.auth.sessions import KeyView
from tlsgate.errors import Refusal, StoreUnavailable
from tlsgate.model.api import ApiDefinition
from tlsgate.model.session import Session

__all__ = ["Seat", "VirtualSessions", "Wanted"]

_IDLE_S = 7 * 86400
"""How long a session is kept that says nothing of its end: counted from the last change."""


class Wanted(NamedTuple):
    """What a token asks for."""

    id: str
    """Of the session, as stored."""
    alias: str
    base: str
    """The policy that the token itself names; empty for none."""
    policies: tuple[str, ...]
    by_scope: bool = False
    """Scopes chose policies."""
    by_default: bool = False
    """The API's defaults stand in."""
    expires: int = 0
    """Epoch seconds; 0 says nothing."""
    client_id: str = ""
    meta: tuple[tuple[str, str], ...] = ()
    origin: str = "jwt"


class Seat:
    """What a token asks for, and the session that was found to be just so: it is compared once."""

    __slots__ = ("key", "view", "wanted")

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.key = wanted.id.encode()
        self.view: KeyView | None = None


class VirtualSessions:
    """Those of one API."""

    __slots__ = ("_clock", "_lifetime", "_org", "_reader", "_sessions")

    def __init__(self, api: ApiDefinition, tools: AuthTools) -> None:
        self._sessions = tools.sessions
        self._clock = tools.clock
        self._org = api.org_id
        self._lifetime = (ApiLifetime(api.session_lifetime, api.session_lifetime_respects_key_expiration),)
        self._reader = tools.sessions.reader(api.org_id, "virtual")

    def id_of(self, *names: str) -> str:
        """Return the stored id of whom names stand for: Tyk's, so that sessions are shared with it."""
        part = "".join(hashlib.md5(name.encode(), usedforsecurity=False).hexdigest() for name in names)
        return self._sessions.naming.generate(self._org, part)

    def peek(self, seat: Seat, now: float) -> KeyView | None:
        """Return the session if it is cached and as the token wants it; never waits.

        :param now: monotonic seconds.
        """
        view = self._reader.peek(seat.key, now)
        if view is not None and view is not seat.view:
            if not self._is_settled(view, seat.wanted):
                return None
            seat.view = view
        return view

    def name_of(self, id: str) -> str:
        """Return what the counters of an id are called by, and what changes of it name: the id, or its hash."""
        candidate = self._sessions.naming.find_candidate(id)
        return id if candidate is None else candidate.name

    def peek_any(self, id: str, now: float) -> KeyView | None:
        """Return the session of an id if it is cached, whatever it holds; never waits.

        :param now: monotonic seconds.
        """
        return self._reader.peek(id.encode(), now)

    async def find(self, id: str) -> KeyView | None:
        """Return the session of an id, None when there is none.

        :raises Refusal: ``store.unavailable``.
        """
        try:
            return await self._reader.find(id.encode())
        except StoreUnavailable as error:
            raise store_away(str(error)) from error

    async def settle(self, wanted: Wanted) -> KeyView:
        """Return the session, made or changed as the token wants it.

        :raises Refusal: ``jwt.no_policy``, ``jwt.policy_unusable``, ``jwt.not_created``, ``store.unavailable``.
        """
        try:
            view = await self._reader.find(wanted.id.encode())
            if view is not None and self._is_settled(view, wanted):
                return view
            made = await self._sessions.change(wanted.id, partial(self._make, wanted), apis=self._lifetime)
            view = await self._reader.find(wanted.id.encode())
        except StoreUnavailable as error:
            raise store_away(str(error)) from error
        except (ValueError, UnusableRecord) as error:
            raise Refusal("jwt.key", str(error)) from error
        if view is None or view.fault:
            raise Refusal("jwt.no_policy", view.fault if view is not None else "the session was removed meanwhile")
        if self._is_settled(view, wanted) or view.session.is_inactive:
            return view
        # Another token of this user was settled meanwhile: what it brought is not this one's.
        try:
            own = KeyView(view.id, view.name, apply_policies(made, self._sessions.policies.table, self._org), "")
        except PolicyFault as fault:
            raise Refusal("jwt.no_policy", str(fault)) from fault
        # The cache does not know it: whether the session was locked is asked again.
        own.stale = True
        return own

    def _make(self, wanted: Wanted, stored: Session | None) -> Session:
        table = self._sessions.policies.table
        policies = self._choose(wanted, table, is_new=stored is None)
        now = self._clock.now()
        if stored is None:
            meta = {"TykJWTSessionID": wanted.id}
            session = Session(
                org_id=self._org, date_created=datetime.fromtimestamp(now, UTC).isoformat(), meta_data=meta, origin=wanted.origin
            )
            first = table.find(self._org, policies[0])
            expires = int(now) + first.key_expires_in if first is not None and first.key_expires_in > 0 else 0
        else:
            session, expires = stored, stored.expires
        expires = max(expires, wanted.expires)
        session = msgspec.structs.replace(
            session,
            alias=wanted.alias,
            apply_policies=policies,
            apply_policy_id="",
            access_rights={},
            expires=expires,
            post_expiry_action="",
            post_expiry_grace_period=0,
            oauth_client_id=wanted.client_id,
            meta_data={**session.meta_data, "TykJWTSessionID": wanted.id, **dict(wanted.meta)},
            last_updated=str(int(now)),
            session_lifetime=self._kept_s(expires, now),
        )
        try:
            applied = apply_policies(session, table, self._org)
        except PolicyFault as fault:
            if wanted.by_scope:
                raise Refusal("jwt.policy_unusable", str(fault), fields={"what": "several policies"}) from fault
            if stored is not None:
                raise Refusal("jwt.policy_unusable", str(fault), fields={"what": "new policy"}) from fault
            raise Refusal("jwt.not_created", str(fault), fields={"reason": str(fault)}) from fault
        if not applied.access_rights:
            raise Refusal("access.api", "its policies grant nothing")
        if expires <= 0:
            # Nothing to count from: what a policy says of the time after expiry would keep the session for ever.
            return session
        return msgspec.structs.replace(
            session, post_expiry_action=applied.post_expiry_action, post_expiry_grace_period=applied.post_expiry_grace_period
        )

    def _choose(self, wanted: Wanted, table: PolicyTable, *, is_new: bool) -> tuple[str, ...]:
        """Return the policies that are there, or refuse."""
        if wanted.base and table.find(self._org, wanted.base) is None:
            raise Refusal("jwt.no_matching_policy", "the policy that the token names is not there")
        if not wanted.by_default:
            return wanted.policies
        if table.find(self._org, wanted.policies[0]) is None:
            if is_new and len(wanted.policies) == 1:
                reason = f'policy not found: "{wanted.policies[0]}"'
                raise Refusal("jwt.not_created", reason, fields={"reason": reason})
            raise Refusal("jwt.no_matching_policy", "the first default policy is not there")
        return tuple(id for id in wanted.policies if table.find(self._org, id) is not None)

    def _kept_s(self, expires: int, now: float) -> int:
        """Return how long the session is stored where neither API nor gateway says so."""
        if self._lifetime[0].lifetime_s > 0:
            return 0
        return max(_IDLE_S, int(expires - now) + 1)

    def _is_settled(self, view: KeyView, wanted: Wanted) -> bool:
        session = view.session
        policies = wanted.policies
        if session.apply_policies != policies:
            table = self._sessions.policies.table
            if not wanted.by_default or session.apply_policies != tuple(id for id in policies if table.find(self._org, id) is not None):
                return False
        return (
            not view.fault
            and bool(session.access_rights)
            and session.expires >= wanted.expires
            and session.alias == wanted.alias
            and session.oauth_client_id == wanted.client_id
        )
