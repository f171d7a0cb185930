"""What a definition says of tokens that others issue: JWT, OpenID Connect, External OAuth; knows nothing of how they are verified.

Values are normalised by ``definitions.tokens``. Source: JWT reference, sections 2, 6, 8, 12, 13 and 14.
"""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = [
    "CLIENT_AUTHENTICATION",
    "PROOF_ALGORITHMS",
    "WELL_KNOWN",
    "BindingRules",
    "ClaimRules",
    "CustomClaim",
    "ExternalJwt",
    "ExternalOAuthSettings",
    "IntrospectionSettings",
    "JwtSettings",
    "KeySetAddress",
    "OpenIdProvider",
    "OpenIdSettings",
    "ProofRules",
    "ProtectedResource",
    "ScopePolicies",
]

CLIENT_AUTHENTICATION = ("form", "basic", "private_key_jwt", "tls")
"""``client_secret`` in the form (Tyk), in HTTP Basic, an assertion that the gateway signs, its certificate alone."""
WELL_KNOWN = b"/.well-known/oauth-protected-resource"
"""Where a protected resource is described: before the path of its address, or below it (RFC 9728 section 3)."""
PROOF_ALGORITHMS = ("ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512", "EdDSA", "Ed25519", "Ed448")
"""By which proofs may be signed: public keys only (RFC 9449 section 4.2)."""


class CustomClaim(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of ``customClaimValidation``."""

    path: str
    """Dot notation, list positions as numbers."""
    kind: str
    """``required``, ``exact_match`` or ``contains``."""
    allowed: tuple[Any, ...] = ()
    blocking: bool = True
    """False only logs."""


class ClaimRules(msgspec.Struct, frozen=True, kw_only=True):
    """What the claims of a token have to say."""

    issued_at_skew_s: int = 0
    expires_at_skew_s: int = 0
    not_before_skew_s: int = 0
    issuers: tuple[str, ...] = ()
    """Empty: anybody."""
    audiences: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    require_jti: bool = False
    custom: tuple[CustomClaim, ...] = ()


class KeySetAddress(msgspec.Struct, frozen=True, kw_only=True):
    """Where a key set is fetched."""

    url: str
    cache_s: float = 0.0
    """0 is the gateway's default (``jwks.cache.timeout``)."""


class ScopePolicies(msgspec.Struct, frozen=True, kw_only=True):
    """Policies by scope."""

    claims: tuple[str, ...] = ()
    """Names of the claim, the first that is there counts; empty is ``scope``."""
    policies: tuple[tuple[str, str], ...] = ()
    """(scope, policy id); empty: scopes do not matter."""


class JwtSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``jwt_*``."""

    family: str = ""
    """``hmac``, ``rsa``, ``ecdsa``, ``eddsa``; empty only with individual secrets, whose own form tells."""
    source: str = ""
    """``jwt_source`` as written; empty without ``addresses``: each key has its own secret."""
    addresses: tuple[KeySetAddress, ...] = ()
    """``jwksURIs`` of documents; they count before ``source``."""
    identity_claims: tuple[str, ...] = ()
    """In order; ``sub`` follows by itself."""
    skip_key_id: bool = False
    policy_claims: tuple[str, ...] = ()
    client_claim: str = ""
    default_policies: tuple[str, ...] = ()
    scopes: ScopePolicies = ScopePolicies()
    rules: ClaimRules = ClaimRules()
    map_client_ids: bool = True

    @property
    def individual(self) -> bool:
        """Whether each key has a secret of its own."""
        return not self.source and not self.addresses


class ProofRules(msgspec.Struct, frozen=True, kw_only=True):
    """``dpop``: how proofs of possession are judged (RFC 9449)."""

    required: bool = False
    """A token has to be bound to a proof key."""
    algorithms: tuple[str, ...] = PROOF_ALGORITHMS
    max_age_s: int = 60
    """How long after ``iat`` a proof is good."""
    clock_skew_s: int = 5
    """How far in the future ``iat`` may be."""
    origins: tuple[str, ...] = ()
    """``https://host`` or ``https://host:port``, normalised: what ``htu`` has to begin with; empty is the request's own origin."""
    nonces: bool = False
    """A proof has to hold a nonce of ours."""
    nonce_age_s: int = 300
    """How long one is good."""
    share_replays: bool = False
    """Proofs that were used are noted in the store, for all processes and gateways, rather than in each process."""


class BindingRules(msgspec.Struct, frozen=True, kw_only=True):
    """What tokens have to be bound to, whichever method reads them. What a token is bound to counts in any case."""

    require_certificate: bool = False
    """``jwt.require_certificate_binding``: to the client's certificate (RFC 8705)."""
    proofs: ProofRules = ProofRules()

    @property
    def required(self) -> bool:
        """Whether tokens that everybody may use are refused."""
        return self.require_certificate or self.proofs.required


class OpenIdProvider(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of ``openid_options.providers``."""

    issuer: str
    """Compared as written."""
    clients: tuple[tuple[str, str], ...] = ()
    """(client id, decoded; policy id)."""


class OpenIdSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``openid_options``."""

    providers: tuple[OpenIdProvider, ...] = ()
    segregate_by_client: bool = False
    scopes: ScopePolicies = ScopePolicies()


class ExternalJwt(msgspec.Struct, frozen=True, kw_only=True):
    """``external_oauth.providers[0].jwt``."""

    family: str
    source: str
    identity_claim: str = ""
    rules: ClaimRules = ClaimRules()


class IntrospectionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``external_oauth.providers[0].introspection``."""

    url: str
    client_id: str = ""
    client_secret: str = ""
    identity_claim: str = ""
    cached: bool = False
    cache_s: int = 0
    """0 is until the token's own end."""
    authentication: str = "form"
    """How the gateway says who it is, one of :data:`CLIENT_AUTHENTICATION`."""
    assertion_audience: str = ""
    """``aud`` of assertions; empty is ``url``."""
    rules: ClaimRules = ClaimRules()
    """Of issuer and audience of an answer."""


class ExternalOAuthSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``external_oauth``: the first provider; ``jwt`` counts before ``introspection``."""

    jwt: ExternalJwt | None = None
    introspection: IntrospectionSettings | None = None
    has_provider: bool = True
    rate: float = 10_000.0
    """Of bearers without a stored session."""
    per_s: float = 60.0


class ProtectedResource(msgspec.Struct, frozen=True, kw_only=True):
    """What an API tells of itself (RFC 9728): ``authentication.protectedResourceMetadata``, ``x-tlsgate.protected_resource``."""

    resource: str
    """Identifier of the resource: the address of the API as its clients know it."""
    path: bytes = WELL_KNOWN
    """Canonical, below the listen path."""
    authorization_servers: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
