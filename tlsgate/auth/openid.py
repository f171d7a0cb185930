"""OpenID Connect: ID tokens of listed providers for listed clients, verified by the keys that the provider publishes.

Knows what a token has to say and which policy its client stands for; must not know how documents and keys are fetched. Differs from Tyk:
an unlisted scope is a refusal rather than a session without bounds, odd types are refusals, fetches are bounded. Source: JWT reference,
sections 1, 11 and 12; decisions 3.3 and 3.12.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from tlsgate.auth.base import AuthTools, Step
from tlsgate.auth.binding import Binding, BoundTokens
from tlsgate.auth.claims import ClaimFault, check_times, find_scopes, read_time
from tlsgate.auth.claims_onward import ClaimHeaders
from tlsgate.auth.identity import Identity
from tlsgate.auth.jwt import build_context
from tlsgate.auth.sessions import KeyView
from tlsgate.auth.sources import SourceReader, find_source
from tlsgate.auth.verified_tokens import VerifiedTokens
from tlsgate.auth.virtual_sessions import Seat, VirtualSessions, Wanted
from tlsgate.config.model import GatewayConfig
from tlsgate.errors import ConfigError, Problem, Refusal
from tlsgate.idp.discovery import Discovery
from tlsgate.idp.key_sets import KeySets, KeysUnavailable
from tlsgate.jose.compact import Token, TokenFault, parse_claims, parse_compact
from tlsgate.jose.keys import VerificationKey
from tlsgate.model.api import ApiDefinition
from tlsgate.model.exchange import Exchange, HeaderList
from tlsgate.model.tokens import ClaimRules, OpenIdSettings

__all__ = ["NAME", "OpenIdAuth", "build", "enabled_for"]

NAME = "oidc"
_KIND = "oidc"
_SCHEME = b"Bearer "
_PROOF_SCHEME = b"dpop "
_RULES = ClaimRules()
"""No leeway, as in Tyk."""

Claims = dict[str, Any]


class _Verified(NamedTuple):
    """A token that was verified."""

    seat: Seat
    issuer: str
    url: str
    """Of the key set."""
    keys: int
    """``KeySets.version``."""
    context: dict[str, Any]
    binding: Binding
    onward: HeaderList | None
    """``Exchange.onward``."""
    ends: float
    """``Exchange.token_ends``."""


def enabled_for(api: ApiDefinition) -> bool:
    """Tell whether an API takes ID tokens."""
    return NAME in api.auth_methods


def build(api: ApiDefinition, config: GatewayConfig, tools: AuthTools) -> Step:
    """Return the step of an API.

    :raises ConfigError: there is nobody to ask providers.
    """
    if tools.discovery is None or tools.key_sets is None:
        raise ConfigError([Problem(api.source, "use_openid", "", "there is nobody to ask providers")])
    return OpenIdAuth(api, config, tools, tools.discovery, tools.key_sets)


class OpenIdAuth:
    """The step."""

    __slots__ = (
        "_bound",
        "_discovery",
        "_headers",
        "_identity",
        "_now",
        "_org",
        "_policies",
        "_providers",
        "_sets",
        "_settings",
        "_source",
        "_verified",
        "_virtual",
    )

    def __init__(self, api: ApiDefinition, config: GatewayConfig, tools: AuthTools, discovery: Discovery, sets: KeySets) -> None:
        self._settings = api.openid or OpenIdSettings()
        self._providers: dict[str, dict[str, str]] = {}
        for provider in self._settings.providers:
            clients = self._providers.setdefault(provider.issuer, {})
            for client, policy in provider.clients:
                clients.setdefault(client, policy)
        self._discovery = discovery
        self._sets = sets
        self._source = SourceReader(find_source(api, _KIND))
        self._identity = Identity(api, NAME, tools.notify)
        self._bound = BoundTokens(api, config, tools, self._identity)
        self._headers = ClaimHeaders(api, NAME)
        self._virtual = VirtualSessions(api, tools)
        self._policies = tools.sessions.policies
        self._org = api.org_id
        self._now = tools.clock.now
        self._verified: VerifiedTokens[_Verified] = VerifiedTokens(self._is_current, self._now)

    def prefetch(self) -> None:
        """Ask for documents and keys: the generation serves from now on."""
        for issuer in self._providers:
            self._discovery.prefetch(issuer)

    def try_now(self, exchange: Exchange) -> bool:
        """Authenticate by a token that was verified before.

        :raises Refusal: ``oidc.auth_field_missing``, ``oidc.key``, ``auth.malformed_header``; ``jwt.binding``, ``jwt.proof``.
        """
        if exchange.ignored:
            return True
        exchange.credential = presented = self._strip(exchange, self._source.read(exchange))
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

        :raises Refusal: an id of the catalogue that begins with ``oidc.``; ``jwt.binding``, ``jwt.proof``, ``store.unavailable``.
        """
        presented = exchange.credential
        known = self._verified.find(presented)
        verified = known or await self._verify(exchange, presented)
        await self._bound.settle(exchange, verified.binding, presented)
        view = await self._settle(verified.seat.wanted)
        if known is None:
            self._verified.keep(presented, verified, verified.ends)
        self._accept(exchange, view, verified)

    def _is_current(self, verified: _Verified) -> bool:
        return self._discovery.peek(verified.issuer) == verified.url and self._sets.version(verified.url) == verified.keys

    def _strip(self, exchange: Exchange, presented: bytes) -> bytes:
        """Return the token: exactly ``Bearer``, one blank, and the token, wherever it is read from; or what proofs come with."""
        if not presented:
            missing = self._bound.missing("oidc.auth_field_missing")
            if missing.id == "oidc.auth_field_missing":
                raise self._identity.fail(exchange, "no token", missing.id)
            raise missing
        if presented[:5].lower() != _PROOF_SCHEME and presented[:7] != _SCHEME:
            raise self._identity.fail(exchange, "the credential does not begin with Bearer and one blank", "oidc.key")
        token = self._bound.strip(exchange, presented)
        if not token or b" " in token:
            raise self._identity.fail(exchange, "not one token", "oidc.key")
        return token

    async def _verify(self, exchange: Exchange, presented: bytes) -> _Verified:
        try:
            token = parse_compact(presented)
            claims = parse_claims(token.payload)
            issuer, clients = self._find_provider(claims)
            client = _find_client(claims, clients)
            subject = claims.get("sub")
            if not isinstance(subject, str) or not subject:
                raise TokenFault("sub is no text")
            url = await self._check_signature(token, issuer)
        except (TokenFault, KeysUnavailable) as fault:
            raise self._identity.fail(exchange, str(fault), "oidc.key") from fault
        version = self._sets.version(url)
        try:
            check_times(claims, _RULES, self._now())
        except ClaimFault as fault:
            raise self._identity.fail(exchange, str(fault), "oidc.expired") from fault
        binding = self._bound.find(exchange, claims)
        wanted = self._want(exchange, claims, client, clients[client], subject)
        ends = read_time(claims, "exp") or 0.0
        context = build_context(token, claims) if exchange.context is not None else {}
        return _Verified(Seat(wanted), issuer, url, version, context, binding, self._headers.find(claims), ends)

    def _find_provider(self, claims: Claims) -> tuple[str, dict[str, str]]:
        issuer = claims.get("iss")
        clients = self._providers.get(issuer) if isinstance(issuer, str) else None
        if not isinstance(issuer, str) or clients is None:
            raise TokenFault("iss is no provider of this API")
        return issuer, clients

    async def _check_signature(self, token: Token, issuer: str) -> str:
        """Return the address of the key set that verifies a token.

        :raises TokenFault: none of its keys does.
        :raises KeysUnavailable: there are no keys to look at.
        """
        if token.key_id is None and "kid" in token.header:
            raise TokenFault("kid is no text, or too long")
        url = await self._discovery.find(issuer)
        keys = await self._find_keys(url, token.key_id)
        if _is_signed(token, keys):
            return url
        # The provider may have put another key in the place of this one; one that is unknown has been asked for.
        if keys and await self._sets.renew(url) and _is_signed(token, await self._find_keys(url, token.key_id)):
            return url
        raise TokenFault("the signature is wrong, or its key unknown")

    async def _find_keys(self, url: str, key_id: str | None) -> tuple[VerificationKey, ...]:
        """Return the keys of an id; the first key of the set for a token that names none, as in Tyk."""
        if key_id:
            return await self._sets.find(url, key_id)
        return (await self._sets.load(url)).keys[:1]

    def _want(self, exchange: Exchange, claims: Claims, client: str, policy: str, subject: str) -> Wanted:
        """Return what a verified token asks for.

        :raises Refusal: ``oidc.key``: its client has no policy; ``oidc.no_matching_policy``: none of its scopes has one.
        """
        scopes = self._settings.scopes
        if scopes.policies:
            mapped = dict(scopes.policies)
            found = find_scopes(claims, scopes.claims) or ()
            policies = tuple(dict.fromkeys(mapped[scope] for scope in found if mapped.get(scope)))
            if not policies:
                raise self._identity.fail(exchange, "no scope of the token leads to a policy", "oidc.no_matching_policy")
        elif policy:
            policies = (policy,)
        else:
            raise self._identity.fail(exchange, "the client has no policy", "oidc.key")
        names = (client, subject) if self._settings.segregate_by_client else (subject,)
        return Wanted(
            self._virtual.id_of(*names),
            f"{client}:{subject}",
            "" if scopes.policies else policy,
            policies,
            by_scope=bool(scopes.policies),
            meta=(("ClientID", client),),
            origin="oidc",
        )

    async def _settle(self, wanted: Wanted) -> KeyView:
        """Return the session that a token asks for, refusals in OpenID's words."""
        try:
            return await self._virtual.settle(wanted)
        except Refusal as refusal:
            if not refusal.id.startswith("jwt."):
                raise
            missing = any(self._policies.table.find(self._org, policy) is None for policy in wanted.policies)
            raise Refusal("oidc.no_matching_policy" if missing else "oidc.policy_unusable", refusal.detail) from refusal

    def _accept(self, exchange: Exchange, view: KeyView, verified: _Verified) -> None:
        if exchange.context is not None:
            exchange.context.update(verified.context)
        if verified.onward is not None:
            exchange.onward = verified.onward
        self._identity.accept(exchange, view, ends=verified.ends)


def _find_client(claims: Claims, clients: dict[str, str]) -> str:
    """Return the first listed client that a token is for.

    :raises TokenFault: it is for others, or ``aud`` is neither a text nor a list of texts.
    """
    audience = claims.get("aud")
    members = [audience] if isinstance(audience, str) else audience
    if not isinstance(members, list) or not all(isinstance(member, str) for member in members):
        raise TokenFault("aud is neither a text nor a list of texts")
    for member in members:
        if member in clients:
            return str(member)
    raise TokenFault("aud is no client of this API")


def _is_signed(token: Token, keys: tuple[VerificationKey, ...]) -> bool:
    return any(key.verify(token.algorithm, token.signed, token.signature) for key in keys)
