"""External OAuth: access tokens of an authorization server, verified by its keys or by asking it; knows nothing of how it is asked.

A bearer whose session is stored has that one, with its rights and limits; else a session for this API only, which is not stored. Differs
from Tyk: what is wrong with a token is 401, what is wrong with the server 500, and each refusal is an event. Source: JWT reference,
sections 1, 7 and 13; decisions 3.3, 3.5 and 3.6.
"""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from tlsgate.auth.absent_sessions import AbsentSessions
from tlsgate.auth.base import AuthTools, Step
from tlsgate.auth.binding import Binding, BoundTokens
from tlsgate.auth.claims import ClaimFault, check_rules, check_times, find_identity, read_time
from tlsgate.auth.claims_onward import ClaimHeaders
from tlsgate.auth.identity import Identity
from tlsgate.auth.sessions import KeyView
from tlsgate.auth.sources import SourceReader, find_source
from tlsgate.auth.token_keys import KeysAway, TokenKeys, WrongFamily
from tlsgate.auth.verified_tokens import VerifiedTokens
from tlsgate.auth.virtual_sessions import VirtualSessions
from tlsgate.bounded import put
from tlsgate.config.model import GatewayConfig
from tlsgate.errors import ConfigError, Problem, Refusal
from tlsgate.idp.introspection import Introspection, IntrospectionFailed, Question, Said
from tlsgate.jose.compact import MAX_TOKEN_BYTES, TokenFault, parse_claims, parse_compact
from tlsgate.jose.keys import KeyFault
from tlsgate.model.api import ApiDefinition
from tlsgate.model.exchange import Exchange, HeaderList
from tlsgate.model.session import AccessRight, Session
from tlsgate.model.tokens import ClaimRules, ExternalJwt, ExternalOAuthSettings, IntrospectionSettings
from tlsgate.turns import name_asker

__all__ = ["NAME", "IntrospectedTokens", "SignedTokens", "build", "enabled_for"]

NAME = "external_oauth"
_KIND = "externalOAuth"
_MAX_VIEWS = 10_000


class _Bearer(NamedTuple):
    """Whom a token speaks of."""

    identity: str
    id: str
    """Of the session."""
    name: str
    """What its counters are called by."""


class _Verified(NamedTuple):
    """A signed token that was verified."""

    bearer: _Bearer
    keys: int
    """``TokenKeys.version``."""
    binding: Binding
    onward: HeaderList | None
    """``Exchange.onward``."""
    ends: float
    """``Exchange.token_ends``."""


def enabled_for(api: ApiDefinition) -> bool:
    """Tell whether an API takes tokens of an authorization server."""
    return NAME in api.auth_methods


def build(api: ApiDefinition, config: GatewayConfig, tools: AuthTools) -> Step:
    """Return the step of an API.

    :raises ConfigError: the source of its keys cannot be used, there is nobody to ask, or assertions would go astray.
    """
    settings = api.external_oauth or ExternalOAuthSettings(has_provider=False)
    parts = _Parts(api, settings, config, tools)
    if settings.jwt is not None:
        try:
            keys = TokenKeys(settings.jwt.family, settings.jwt.source, (), tools.key_sets)
        except KeyFault as fault:
            raise ConfigError([Problem(api.source, "external_oauth.providers[0].jwt.source", "", str(fault))]) from fault
        return SignedTokens(settings.jwt, keys, parts, tools)
    if settings.introspection is not None:
        if tools.introspection is None:
            raise ConfigError([Problem(api.source, "external_oauth", "", "there is nobody to ask about tokens")])
        _check_assertions(api, settings.introspection, config)
        names = _names(settings.introspection.identity_claim)
        rules = settings.introspection.rules
        members = (*names, *(path for _, path in api.forward_claims))
        members += (*(("iss",) if rules.issuers else ()), *(("aud",) if rules.audiences else ()))
        return IntrospectedTokens(Question.of(api.api_id, settings.introspection, members), names, parts, tools.introspection, tools)
    return _Refusing(parts, "external_oauth.no_method" if settings.has_provider else "external_oauth.no_provider")


def _check_assertions(api: ApiDefinition, settings: IntrospectionSettings, config: GatewayConfig) -> None:
    """Keep definitions of the REST API from having an assertion made for one server and sent to another, who could be the gateway there.

    :raises ConfigError: this one would, as far as the configuration lets it.
    """
    audience = settings.assertion_audience
    if settings.authentication != "private_key_jwt" or not audience or not api.from_rest or config.own.identity_providers.allowed_hosts:
        return
    try:
        is_own = urlsplit(audience).netloc.lower() == urlsplit(settings.url).netloc.lower()
    except ValueError:
        is_own = False
    if not is_own:
        reason = "is not the server that is asked, which the REST API may not have assertions made for"
        remedy = "name the hosts in tlsgate.identity_providers.allowed_hosts, or put the definition into a file"
        raise ConfigError([Problem(api.source, "x-tlsgate.external_oauth.assertion_audience", "", reason, remedy)])


class _Parts:
    """What both ways share: where the token stands, whose it has to be, and the session of its bearer."""

    __slots__ = ("__weakref__", "_absent", "_bearers", "_session", "_source", "_views", "_virtual", "bound", "headers", "identity")

    def __init__(self, api: ApiDefinition, settings: ExternalOAuthSettings, config: GatewayConfig, tools: AuthTools) -> None:
        self._source = SourceReader(find_source(api, _KIND))
        self._virtual = VirtualSessions(api, tools)
        self._absent = tools.absent_sessions or AbsentSessions(tools.clock.monotonic, 0)
        self._absent.watch(self)
        self._views: dict[str, KeyView] = {}
        self._bearers: dict[str, _Bearer] = {}
        self.identity = Identity(api, NAME, tools.notify)
        self.bound = BoundTokens(api, config, tools, self.identity)
        self.headers = ClaimHeaders(api, NAME)
        right = AccessRight(api_id=api.api_id, api_name=api.name, versions=(api.default_version or "Default",))
        self._session = Session(
            org_id=api.org_id, rate=settings.rate, per=settings.per_s, quota_max=-1, access_rights={api.api_id: right}, origin=NAME
        )

    def read(self, exchange: Exchange) -> bytes:
        """Return the token.

        :raises Refusal: ``external_oauth.auth_field_missing``, ``auth.malformed_header``, ``jwt.proof``.
        """
        presented = self._source.read(exchange)
        token = self.bound.strip(exchange, presented)
        if not token:
            missing = self.bound.missing("external_oauth.auth_field_missing")
            raise self.identity.fail(exchange, "no token", missing.id) if missing.id.startswith(NAME) else missing
        return token

    def bearer_of(self, identity: str) -> _Bearer:
        """Return whose session an identity is."""
        found = self._bearers.get(identity)
        if found is None:
            id = self._virtual.id_of(identity)
            found = _Bearer(identity, id, self._virtual.name_of(id))
            put(self._bearers, identity, found, _MAX_VIEWS)
        return found

    def peek(self, bearer: _Bearer, now: float) -> KeyView | None:
        """Return a bearer's session if that needs no waiting.

        :param now: monotonic seconds.
        """
        view = self._virtual.peek_any(bearer.id, now)
        return self._synthetic(bearer) if view is None and bearer.name in self._absent else view

    async def find(self, bearer: _Bearer) -> KeyView:
        """Return a bearer's session.

        :raises Refusal: ``store.unavailable``.
        """
        changes = self._absent.changes
        view = await self._virtual.find(bearer.id)
        if view is not None:
            return view
        self._absent.add(bearer.name, changes)
        return self._synthetic(bearer)

    def _synthetic(self, bearer: _Bearer) -> KeyView:
        """Return the session of somebody who has none; one object per bearer, so that what is compiled from it stays."""
        view = self._views.get(bearer.name)
        if view is None:
            while len(self._views) >= _MAX_VIEWS:
                self.forget(next(iter(self._views)))
            session = msgspec.structs.replace(self._session, alias=bearer.identity)
            view = self._views[bearer.name] = KeyView(bearer.id, bearer.name, session, "", is_stored=False)
        return view

    def forget(self, name: str) -> None:
        """Drop the session of a bearer who may have a stored one now, and have requests that are under way with it look again."""
        view = self._views.pop(name, None)
        if view is not None:
            view.stale = True

    def forget_all(self) -> None:
        """Drop the sessions of all bearers."""
        for name in tuple(self._views):
            self.forget(name)

    def accept(self, exchange: Exchange, view: KeyView, said: _Verified | _Judged) -> None:
        """Take a bearer's session, and what goes upstream of the token."""
        if said.onward is not None:
            exchange.onward = said.onward
        self.identity.accept(exchange, view, ends=said.ends)

    def check(self, exchange: Exchange, claims: dict[str, Any], rules: ClaimRules) -> None:
        """Let a token pass that is of an issuer, and for an audience, of the API.

        :param claims: of a verified token, or the members of an answer.
        :raises Refusal: ``external_oauth.claims``.
        """
        try:
            check_rules(claims, rules, ())
        except ClaimFault as fault:
            raise self.identity.fail_with(exchange, "external_oauth.claims", str(fault)) from fault

    def fail(self, exchange: Exchange, fault: Exception) -> Refusal:
        """Return the refusal of a token that is none, after its event."""
        return self.identity.fail_with(exchange, "external_oauth.key", str(fault))


class SignedTokens:
    """The step for tokens that the server signs."""

    __slots__ = ("_keys", "_names", "_now", "_parts", "_settings", "_verified")

    def __init__(self, settings: ExternalJwt, keys: TokenKeys, parts: _Parts, tools: AuthTools) -> None:
        self._settings = settings
        self._keys = keys
        self._names = _names(settings.identity_claim)
        self._parts = parts
        self._now = tools.clock.now
        self._verified: VerifiedTokens[_Verified] = VerifiedTokens(lambda verified: verified.keys == keys.version(), self._now)

    def prefetch(self) -> None:
        """Ask for the key set: the generation serves from now on."""
        self._keys.prefetch()

    def try_now(self, exchange: Exchange) -> bool:
        """Authenticate by a token that was verified before.

        :raises Refusal: ``external_oauth.auth_field_missing``, ``auth.malformed_header``; ``jwt.binding``, ``jwt.proof``.
        """
        if exchange.ignored:
            return True
        exchange.credential = presented = self._parts.read(exchange)
        verified = self._verified.find(presented)
        if verified is None:
            return False
        view = self._parts.peek(verified.bearer, exchange.entered_at)
        if view is None or not self._parts.bound.check(exchange, verified.binding, presented):
            return False
        self._parts.accept(exchange, view, verified)
        return True

    async def finish(self, exchange: Exchange) -> None:
        """Verify the token, and ask the store for its bearer.

        :raises Refusal: an id of the catalogue that begins with ``external_oauth.``; ``jwt.binding``, ``jwt.proof``, ``store.unavailable``.
        """
        presented = exchange.credential
        verified = self._verified.find(presented)
        if verified is None:
            verified = await self._verify(exchange, presented)
            self._verified.keep(presented, verified, verified.ends)
        await self._parts.bound.settle(exchange, verified.binding, presented)
        self._parts.accept(exchange, await self._parts.find(verified.bearer), verified)

    async def _verify(self, exchange: Exchange, presented: bytes) -> _Verified:
        parts, rules = self._parts, self._settings.rules
        try:
            token = parse_compact(presented)
            claims = parse_claims(token.payload)
        except TokenFault as fault:
            raise parts.fail(exchange, fault) from fault
        try:
            await self._keys.verify(token)
        except TokenFault as fault:
            refusal = parts.identity.fail_with(exchange, "external_oauth.key", "signature is invalid")
            refusal.detail = str(fault)
            raise refusal from fault
        except (WrongFamily, KeysAway) as fault:
            raise parts.identity.fail(exchange, str(fault), "external_oauth.failed") from fault
        version = self._keys.version()
        try:
            check_times(claims, rules, self._now())
        except ClaimFault as fault:
            raise parts.identity.fail_with(exchange, "external_oauth.expired", str(fault)) from fault
        parts.check(exchange, claims, rules)
        binding = parts.bound.find(exchange, claims)
        try:
            identity = find_identity(claims, self._names)
        except ClaimFault as fault:
            raise parts.fail(exchange, fault) from fault
        expires = read_time(claims, "exp")
        ends = 0.0 if expires is None else expires + rules.expires_at_skew_s
        return _Verified(parts.bearer_of(identity), version, binding, parts.headers.find(claims), ends)


class _Judged(NamedTuple):
    """What an answer about a token comes to."""

    said: Said
    """That very answer: another one is judged anew."""
    ends: float
    """``Exchange.token_ends``."""
    bearer: _Bearer
    binding: Binding
    onward: HeaderList | None
    """``Exchange.onward``."""


class IntrospectedTokens:
    """The step for tokens that the server is asked about."""

    __slots__ = ("_introspection", "_judged", "_names", "_now", "_parts", "_question")

    def __init__(self, question: Question, names: tuple[str, ...], parts: _Parts, introspection: Introspection, tools: AuthTools) -> None:
        self._question = question
        self._names = names
        self._parts = parts
        self._introspection = introspection
        self._now = tools.clock.now
        self._judged: dict[str, _Judged] = {}

    def try_now(self, exchange: Exchange) -> bool:
        """Authenticate by an answer that is remembered.

        :raises Refusal: ``external_oauth.auth_field_missing``, ``external_oauth.not_active``, ``external_oauth.ended``,
            ``external_oauth.claims``, ``external_oauth.key``, ``auth.malformed_header``; ``jwt.binding``, ``jwt.proof``.
        """
        if exchange.ignored:
            return True
        exchange.credential = presented = self._parts.read(exchange)
        if len(presented) > MAX_TOKEN_BYTES:
            raise self._parts.fail(exchange, TokenFault(f"longer than {MAX_TOKEN_BYTES} bytes"))
        name = self._question.name(presented)
        said = self._introspection.peek(name)
        if said is None:
            return False
        judged = self._judged.get(name)
        if judged is None or judged.said is not said or 0 < judged.ends <= self._now():
            judged = self._judge(exchange, name, said)
        view = self._parts.peek(judged.bearer, exchange.entered_at)
        if view is None or not self._parts.bound.check(exchange, judged.binding, presented):
            return False
        self._parts.accept(exchange, view, judged)
        return True

    async def finish(self, exchange: Exchange) -> None:
        """Ask the server about the token, and the store for its bearer.

        :raises Refusal: an id of the catalogue that begins with ``external_oauth.``; ``jwt.binding``, ``jwt.proof``, ``store.unavailable``.
        """
        presented = exchange.credential
        name = self._question.name(presented)
        said = self._introspection.peek(name)
        if said is None:
            try:
                said = await self._introspection.ask(self._question, presented, name_asker(exchange.client_address))
            except IntrospectionFailed as fault:
                raise self._parts.identity.fail(exchange, str(fault), "external_oauth.failed") from fault
        judged = self._judge(exchange, name, said)
        await self._parts.bound.settle(exchange, judged.binding, presented)
        self._parts.accept(exchange, await self._parts.find(judged.bearer), judged)

    def _judge(self, exchange: Exchange, name: str, said: Said) -> _Judged:
        """Return what an answer comes to, and remember it."""
        parts = self._parts
        if not said.active:
            raise parts.identity.fail(exchange, "the server says that it is not active", "external_oauth.not_active")
        try:
            expires = read_time(said.members, "exp")
        except ValueError:
            expires = 0.0
        if expires is not None and expires <= self._now():
            raise parts.identity.fail(exchange, "past its exp", "external_oauth.ended")
        parts.check(exchange, said.members, self._question.settings.rules)
        try:
            identity = find_identity(said.members, self._names)
        except ClaimFault as fault:
            raise parts.fail(exchange, fault) from fault
        judged = _Judged(
            said, expires or 0.0, parts.bearer_of(identity), parts.bound.find(exchange, said.members), parts.headers.find(said.members)
        )
        put(self._judged, name, judged, _MAX_VIEWS)
        return judged


class _Refusing:
    """The step of an API that names no way to verify anything."""

    def __init__(self, parts: _Parts, refusal: str) -> None:
        self._parts = parts
        self._refusal = refusal

    def try_now(self, exchange: Exchange) -> bool:
        """Refuse.

        :raises Refusal: always, but on ignored paths.
        """
        if exchange.ignored:
            return True
        self._parts.read(exchange)
        raise self._parts.identity.fail(exchange, "the definition names no way to verify tokens", self._refusal)

    async def finish(self, exchange: Exchange) -> None:
        """Never needed."""
        self.try_now(exchange)


def _names(claim: str) -> tuple[str, ...]:
    """Return the names of the claim with the identity, in order."""
    return (claim, "sub") if claim else ("sub",)
