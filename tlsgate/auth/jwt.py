"""JSON Web Tokens: who a token says its bearer is, by keys of the API or of each session; knows no HTTP beyond where the token stands.

A token that was verified is looked up by its SHA-256 until it ends, the keys change, or the session is not as it wants it: then a request
costs two look-ups and no wait. Source: JWT reference, sections 1 to 11; decisions 3.6 and 3.12.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from tlsgate.auth.base import AuthTools, Step, store_away
from tlsgate.auth.binding import Binding, BoundTokens
from tlsgate.auth.claims import ClaimFault, check_rules, check_times, find_identity, read_time
from tlsgate.auth.claims_onward import ClaimHeaders
from tlsgate.auth.identity import Identity
from tlsgate.auth.sessions import KeyView
from tlsgate.auth.sources import SourceReader, find_source
from tlsgate.auth.token_keys import KeysAway, TokenKeys, WrongFamily, check_family
from tlsgate.auth.token_policies import choose_policies, find_base_policy, find_client_id
from tlsgate.auth.verified_tokens import VerifiedTokens
from tlsgate.auth.virtual_sessions import Seat, VirtualSessions, Wanted
from tlsgate.config.model import GatewayConfig
from tlsgate.errors import ConfigError, Problem, Refusal, StoreUnavailable
from tlsgate.jose.compact import Token, TokenFault, parse_claims, parse_compact
from tlsgate.jose.keys import KeyFault, VerificationKey
from tlsgate.jose.source import parse_secret_text
from tlsgate.model.api import ApiDefinition
from tlsgate.model.exchange import Exchange, HeaderList
from tlsgate.model.tokens import JwtSettings

__all__ = ["NAME", "JwtAuth", "build", "enabled_for"]

NAME = "jwt"
_KIND = "jwt"

Claims = dict[str, Any]


class _Verified(NamedTuple):
    """A token that was verified."""

    seat: Seat
    keys: int
    """``TokenKeys.version``."""
    context: dict[str, Any]
    binding: Binding
    """Judged on every request."""
    onward: HeaderList | None
    """``Exchange.onward``."""
    ends: float
    """``Exchange.token_ends``."""


def enabled_for(api: ApiDefinition) -> bool:
    """Tell whether an API takes JWT."""
    return NAME in api.auth_methods


def build(api: ApiDefinition, config: GatewayConfig, tools: AuthTools) -> Step:
    """Return the step of an API.

    :raises ConfigError: its source cannot be used.
    """
    settings = api.jwt or JwtSettings()
    if settings.individual:
        return IndividualJwtAuth(api, settings, config, tools)
    try:
        keys = TokenKeys(settings.family, settings.source, settings.addresses, tools.key_sets)
    except KeyFault as fault:
        raise ConfigError([Problem(api.source, "jwt_source", "", str(fault))]) from fault
    return JwtAuth(api, settings, keys, config, tools)


class JwtAuth:
    """The step for tokens that are signed by keys of the API."""

    __slots__ = (
        "_api",
        "_bound",
        "_headers",
        "_identity",
        "_keys",
        "_now",
        "_rules",
        "_sessions",
        "_settings",
        "_source",
        "_verified",
        "_virtual",
    )

    def __init__(self, api: ApiDefinition, settings: JwtSettings, keys: TokenKeys, config: GatewayConfig, tools: AuthTools) -> None:
        self._api = api
        self._settings = settings
        self._keys = keys
        self._rules = settings.rules
        self._source = SourceReader(find_source(api, _KIND))
        self._identity = Identity(api, NAME, tools.notify)
        self._bound = BoundTokens(api, config, tools, self._identity)
        self._headers = ClaimHeaders(api, NAME)
        self._virtual = VirtualSessions(api, tools)
        self._sessions = tools.sessions
        self._now = tools.clock.now
        self._verified: VerifiedTokens[_Verified] = VerifiedTokens(lambda verified: verified.keys == keys.version(), self._now)

    def prefetch(self) -> None:
        """Ask for the key sets: the generation serves from now on."""
        self._keys.prefetch()

    def try_now(self, exchange: Exchange) -> bool:
        """Authenticate by a token that was verified before.

        :raises Refusal: ``jwt.auth_field_missing``, ``auth.malformed_header``; ``jwt.binding``, ``jwt.proof``.
        """
        if exchange.ignored:
            return True
        presented = self._source.read(exchange)
        if not presented:
            raise self._bound.missing("jwt.auth_field_missing")
        exchange.credential = presented = self._bound.strip(exchange, presented)
        verified = self._verified.find(presented)
        if verified is None:
            return False
        view = self._virtual.peek(verified.seat, exchange.entered_at)
        if view is None or not self._bound.check(exchange, verified.binding, presented):
            return False
        self._accept(exchange, view, verified)
        return True

    async def finish(self, exchange: Exchange) -> None:
        """Verify the token, and ask the store for its session.

        :raises Refusal: an id of the catalogue that begins with ``jwt.``; ``store.unavailable``.
        """
        presented = exchange.credential
        known = self._verified.find(presented)
        verified = known or await self._verify(exchange, presented)
        await self._bound.settle(exchange, verified.binding, presented)
        view = await self._virtual.settle(verified.seat.wanted)
        if known is None:
            self._verified.keep(presented, verified, verified.ends)
        self._accept(exchange, view, verified)

    async def _verify(self, exchange: Exchange, presented: bytes) -> _Verified:
        settings = self._settings
        try:
            token = parse_compact(presented)
            claims = parse_claims(token.payload)
            await self._keys.verify(token)
        except WrongFamily as fault:
            raise self._identity.fail(exchange, str(fault), "jwt.method") from fault
        except (TokenFault, KeysAway) as fault:
            raise self._identity.fail(exchange, str(fault), "jwt.key") from fault
        version = self._keys.version()
        now = self._now()
        check_claims(exchange, self._identity, claims, settings, now)
        binding = self._bound.find(exchange, claims)
        try:
            identity = find_identity(claims, settings.identity_claims, "" if self._api.is_oas else "found an empty user ID in sub claim")
        except ClaimFault as fault:
            raise self._identity.fail_with(exchange, "jwt.identity", str(fault)) from fault
        base = find_base_policy(claims, settings.policy_claims)
        if not settings.policy_claims and settings.client_claim:
            base = await self._find_client_policy(claims)
        choice = choose_policies(claims, base, settings.default_policies, settings.scopes)
        if choice.refusal:
            raise Refusal(await self._name_refusal(choice.refusal, identity), "the token leads to no policy")
        expires = read_time(claims, "exp")
        end = 0 if expires is None else int(-(-(expires + self._rules.expires_at_skew_s) // 1))
        wanted = Wanted(
            self._virtual.id_of(identity),
            identity,
            base,
            choice.policies,
            choice.by_scope,
            choice.by_default,
            max(end, 0),
            find_client_id(claims) if settings.map_client_ids else "",
        )
        ends = 0.0 if expires is None else expires + self._rules.expires_at_skew_s
        context = build_context(token, claims) if exchange.context is not None else {}
        return _Verified(Seat(wanted), version, context, binding, self._headers.find(claims), ends)

    async def _find_client_policy(self, claims: Claims) -> str:
        """Return the first policy of the key that a claim names."""
        key = find_base_policy(claims, (self._settings.client_claim,))
        if not key:
            return ""
        try:
            view = await self._sessions.reader(self._api.org_id, "any").find(key.encode())
        except StoreUnavailable as error:
            raise store_away(str(error)) from error
        return view.session.apply_policies[0] if view is not None and view.session.apply_policies else ""

    async def _name_refusal(self, refusal: str, identity: str) -> str:
        """Return the id for a token without policy: Tyk's words differ where the user is known already."""
        if refusal == "jwt.nothing_in_token" and await self._virtual.find(self._virtual.id_of(identity)) is None:
            return "jwt.no_policy"
        return refusal

    def _accept(self, exchange: Exchange, view: KeyView, verified: _Verified) -> None:
        if exchange.context is not None:
            exchange.context.update(verified.context)
        if verified.onward is not None:
            exchange.onward = verified.onward
        self._identity.accept(exchange, view, ends=verified.ends)


class IndividualJwtAuth:
    """The step for tokens that are signed by a secret of the session that they name."""

    __slots__ = ("_bound", "_headers", "_identity", "_now", "_org", "_reader", "_settings", "_source")

    def __init__(self, api: ApiDefinition, settings: JwtSettings, config: GatewayConfig, tools: AuthTools) -> None:
        self._org = api.org_id
        self._settings = settings
        self._source = SourceReader(find_source(api, _KIND))
        self._identity = Identity(api, NAME, tools.notify)
        self._bound = BoundTokens(api, config, tools, self._identity)
        self._headers = ClaimHeaders(api, NAME)
        self._reader = tools.sessions.reader(api.org_id, "jwt")
        self._now = tools.clock.now

    def try_now(self, exchange: Exchange) -> bool:
        """Authenticate by a cached session.

        :raises Refusal: an id of the catalogue that begins with ``jwt.``.
        """
        if exchange.ignored:
            return True
        presented = self._source.read(exchange)
        if not presented:
            raise self._bound.missing("jwt.auth_field_missing")
        exchange.credential = presented = self._bound.strip(exchange, presented)
        token, claims, key_id = self._read(exchange, presented)
        view = self._reader.peek(key_id.encode(), exchange.entered_at)
        if view is None:
            return False
        binding = self._check(exchange, token, claims, view)
        if not self._bound.check(exchange, binding, presented):
            return False
        self._accept(exchange, token, claims, view)
        return True

    async def finish(self, exchange: Exchange) -> None:
        """Authenticate by asking the store.

        :raises Refusal: an id of the catalogue that begins with ``jwt.``; ``store.unavailable``.
        """
        token, claims, key_id = self._read(exchange, exchange.credential)
        try:
            view = await self._reader.find(key_id.encode())
        except StoreUnavailable as error:
            raise store_away(str(error)) from error
        if view is None:
            raise self._identity.fail(exchange, "no key with a secret of that name", "jwt.key")
        binding = self._check(exchange, token, claims, view)
        await self._bound.settle(exchange, binding, exchange.credential)
        self._accept(exchange, token, claims, view)

    def _read(self, exchange: Exchange, presented: bytes) -> tuple[Token, Claims, str]:
        """Return a token, its claims, and the key that it names; nothing of it is verified."""
        try:
            token = parse_compact(presented)
            claims = parse_claims(token.payload)
        except TokenFault as fault:
            raise self._identity.fail(exchange, str(fault), "jwt.key") from fault
        if isinstance(token.header.get("kid"), str) and not self._settings.skip_key_id:
            # One that is empty or over-long names nobody, and ``sub`` does not make up for it.
            return token, claims, token.key_id or ""
        try:
            return token, claims, find_identity(claims, self._settings.identity_claims)
        except ClaimFault as fault:
            raise self._identity.fail(exchange, str(fault), "jwt.key") from fault

    def _check(self, exchange: Exchange, token: Token, claims: Claims, view: KeyView) -> Binding:
        if view.session.org_id != self._org:
            # Who may write keys of one organisation must not sign for the APIs of another.
            raise self._identity.fail(exchange, "the key is of another organisation", "jwt.key")
        key = view.memo.get(self)
        if key is None:
            try:
                key = parse_secret_text(str(view.session.jwt_data.get("secret", "")), self._settings.family)
            except KeyFault as fault:
                raise self._identity.fail(exchange, str(fault), "jwt.key") from fault
            view.remember(self, key)
        try:
            verify_by(token, key, self._settings.family)
        except WrongFamily as fault:
            raise self._identity.fail(exchange, str(fault), "jwt.method") from fault
        except TokenFault as fault:
            raise self._identity.fail(exchange, str(fault), "jwt.key") from fault
        check_claims(exchange, self._identity, claims, self._settings, self._now())
        return self._bound.find(exchange, claims)

    def _accept(self, exchange: Exchange, token: Token, claims: Claims, view: KeyView) -> None:
        if exchange.context is not None:
            exchange.context.update(build_context(token, claims))
        onward = self._headers.find(claims)
        if onward is not None:
            exchange.onward = onward
        expires = read_time(claims, "exp")
        ends = 0.0 if expires is None else expires + self._settings.rules.expires_at_skew_s
        self._identity.accept(exchange, view, ends=ends)


def verify_by(token: Token, key: VerificationKey, family: str) -> None:
    """Return when a token is signed by a key.

    :param family: of the configuration; empty leaves it to the key.
    :raises WrongFamily: its algorithm is not one of theirs.
    :raises TokenFault: it is not signed by it.
    """
    if family:
        check_family(token, family)
    elif token.algorithm not in key.algorithms:
        raise WrongFamily("signed by an algorithm that the key is not for")
    if not key.verify(token.algorithm, token.signed, token.signature):
        raise TokenFault("the signature is wrong")


def check_claims(exchange: Exchange, identity: Identity, claims: Claims, settings: JwtSettings, now: float) -> None:
    """Judge time and rules.

    :raises Refusal: ``jwt.expired`` for time, ``jwt.claims`` for the rest.
    """
    try:
        check_times(claims, settings.rules, now)
    except ClaimFault as fault:
        raise identity.fail_with(exchange, "jwt.expired", str(fault)) from fault
    try:
        check_rules(claims, settings.rules, settings.identity_claims)
    except ClaimFault as fault:
        raise identity.fail_with(exchange, "jwt.claims", str(fault)) from fault


def build_context(token: Token, claims: Claims) -> dict[str, Any]:
    """Return the context variables of a token: header members, and claims over them."""
    return {f"jwt_claims_{name}": value for name, value in {**token.header, **claims}.items()}
