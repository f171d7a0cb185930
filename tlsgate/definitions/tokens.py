"""What a Classic definition says of tokens that others issue: sources of keys, claims, policies.

Knows fields, and whether a source can be what its method needs; must not fetch anything. Differs from Tyk: what would refuse every request,
or let anybody in, is refused here. Source: JWT reference, sections 2, 4, 12 and 13; decisions 3.6.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

import msgspec

from tlsgate.config.durations import parse_duration
from tlsgate.config.section import Section
from tlsgate.errors import WireError
from tlsgate.jose.keys import KeyFault
from tlsgate.jose.source import find_family, parse_source
from tlsgate.model.tokens import (
    CLIENT_AUTHENTICATION,
    ClaimRules,
    CustomClaim,
    ExternalJwt,
    ExternalOAuthSettings,
    IntrospectionSettings,
    JwtSettings,
    KeySetAddress,
    OpenIdProvider,
    OpenIdSettings,
    ProtectedResource,
    ScopePolicies,
)
from tlsgate.wire.target import canonicalise
from tlsgate.wire.uris import parse_address

__all__ = ["build_tokens"]

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NOT_FOR_CLAIMS = frozenset(
    [
        "connection",
        "content-length",
        "content-type",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-forwarded-for",
    ]
)
_MAX_SKEW_S = 2**40
_CHECKS = ("allowed_issuers", "allowed_audiences", "allowed_subjects", "require_jti", "custom_claims")
_KINDS = ("required", "exact_match", "contains")
_MIN_CACHE_S = 1.0
_MAX_CACHE_S = 2**31


def build_tokens(section: Section, *, is_oas: bool) -> dict[str, Any]:
    """Return the fields of ``ApiDefinition`` for the methods that are on.

    :param section: a Classic definition, checked.
    :param is_oas: it was made from a document: a list of addresses counts before the source then.
    """
    made: dict[str, Any] = {}
    forward = section.section("x-tlsgate").section("jwt")
    if forward.has("forward_claims"):
        # Whoever gets in, and however: no client writes what an upstream takes for a claim.
        made["forward_claims"] = _forward(forward)
    if section.flag("use_keyless"):
        return made
    if section.flag("enable_jwt"):
        made["jwt"] = _build_jwt(section, is_oas)
    else:
        for name in _CHECKS:
            if forward.has(name):
                forward.warning(name, "without effect: the API does not take JWT (enable_jwt)")
    if section.flag("use_openid"):
        made["openid"] = _build_openid(section)
    if section.section("external_oauth").flag("enabled"):
        made["external_oauth"] = _build_external(section)
    published = section.section("x-tlsgate").section("protected_resource")
    if published.flag("enabled"):
        made["protected_resource"] = _build_protected_resource(published)
    return made


def _build_protected_resource(section: Section) -> ProtectedResource:
    for name, urls in (("resource", (section.text("resource"),)), ("authorization_servers", section.texts("authorization_servers"))):
        for url in urls:
            try:
                origin = parse_address(url).origin if "#" not in url and url.isprintable() else ""
            except WireError:
                origin = ""
            if not origin:
                section.error(name, "has to be an address with https, without fragment", "write it as clients know it (RFC 9728)")
            elif origin.startswith("http://"):
                section.warning(name, "is an address without TLS: clients are told to go there with their tokens", "use https")
    made = ProtectedResource(
        resource=section.text("resource"),
        authorization_servers=section.texts("authorization_servers"),
        scopes=section.texts("scopes_supported"),
    )
    path = section.text("well_known_path")
    if not path:
        return made
    try:
        return msgspec.structs.replace(made, path=canonicalise(b"/" + path.lstrip("/").encode()))
    except WireError as error:
        section.error("well_known_path", error.reason, "write a path below the listen path")
        return made


def _build_jwt(section: Section, is_oas: bool) -> JwtSettings:
    own = section.section("x-tlsgate").section("jwt")
    addresses = tuple(_address(entry) for entry in section.sections("jwt_jwks_uris"))
    source = section.text("jwt_source")
    if source and addresses:
        section.warning("jwt_jwks_uris", "and jwt_source are both given: " + ("the addresses count" if is_oas else "the source counts"))
        source, addresses = ("", addresses) if is_oas else (source, ())
    family = _family(section, "jwt_signing_method", source if source or addresses else None)
    if source and family:
        _check_source(section, "jwt_source", family)
    for name in ("issued_at", "expires_at", "not_before"):
        if section.flag(f"jwt_disable_{name}_validation"):
            section.warning(f"jwt_disable_{name}_validation", "without effect, as in Tyk", f"give jwt_{name}_validation_skew a large value")
    identity = own.texts("subject_claims") or _single(section, "jwt_identity_base_field")
    return JwtSettings(
        family=family,
        source=source,
        addresses=addresses,
        identity_claims=identity,
        skip_key_id=section.flag("jwt_skip_kid"),
        policy_claims=own.texts("base_policy_claims") or _single(section, "jwt_policy_field_name"),
        client_claim=section.text("jwt_client_base_field"),
        default_policies=section.texts("jwt_default_policies"),
        scopes=_scopes(section, "jwt", own.texts("scope_claims")),
        rules=_rules(section, own, "jwt_"),
        map_client_ids=not section.flag("idp_client_id_mapping_disabled"),
    )


def _forward(section: Section) -> tuple[tuple[str, str], ...]:
    """Return (header, claim) pairs; names that the proxy writes itself, or that are one header in two spellings, are errors."""
    seen: set[str] = set()
    for name, claim in section.pairs("forward_claims"):
        plain = name.lower().replace("_", "-")
        if not name.isascii() or _NAME.fullmatch(name) is None or plain in _NOT_FOR_CLAIMS:
            section.error_at("forward_claims", name, "is no header that a claim can go into")
        elif plain in seen:
            section.error_at("forward_claims", name, "names a header for the second time")
        elif not claim:
            section.error_at("forward_claims", name, "names no claim")
        seen.add(plain)
    return section.pairs("forward_claims")


def _build_openid(section: Section) -> OpenIdSettings:
    options = section.section("openid_options")
    providers = []
    for entry in options.sections("providers"):
        clients = tuple((_client_id(entry, text), policy) for text, policy in entry.pairs("client_ids"))
        issuer = entry.text("issuer")
        if not issuer or not clients:
            entry.warning("issuer", "the provider is skipped: it needs an issuer and client_ids")
            continue
        if not issuer.startswith("https://"):
            entry.warning("issuer", "its keys are fetched without TLS: whoever is on the way can make tokens", "use https")
        providers.append(OpenIdProvider(issuer=issuer, clients=clients))
    if not providers:
        options.warning("providers", "no usable provider: every request is refused")
    return OpenIdSettings(
        providers=tuple(providers), segregate_by_client=options.flag("segregate_by_client"), scopes=_scopes(section, "oidc", ())
    )


def _build_external(section: Section) -> ExternalOAuthSettings:
    external, own = section.section("external_oauth"), section.section("x-tlsgate").section("external_oauth")
    defaults = ExternalOAuthSettings()
    rate = own.number("rate", defaults.rate, low=0.001)
    per_s = own.number("per", defaults.per_s, low=0.001, high=1e9)
    providers = external.sections("providers")
    if not providers:
        external.warning("providers", "there is none: every request is answered 404", "add one with jwt or introspection")
        return ExternalOAuthSettings(has_provider=False)
    first = providers[0]
    if len(providers) > 1:
        external.warning("providers", "only the first one counts, as in Tyk", "take the others out")
    if first.section("jwt").flag("enabled"):
        if first.section("introspection").flag("enabled"):
            message = "without effect beside jwt, as in Tyk: a revoked token gets in until it ends"
            first.warning("introspection", message, "switch jwt off if tokens are to be asked about")
        return ExternalOAuthSettings(jwt=_build_external_jwt(first.section("jwt"), own), rate=rate, per_s=per_s)
    if first.section("introspection").flag("enabled"):
        return ExternalOAuthSettings(introspection=_build_introspection(first.section("introspection"), own), rate=rate, per_s=per_s)
    first.problems.warning(first.path, "neither jwt nor introspection is on: every request is answered 500", "switch one on")
    return ExternalOAuthSettings()


def _build_external_jwt(jwt: Section, own: Section) -> ExternalJwt:
    if not jwt.text("source"):
        jwt.error("source", "is missing: with hmac anybody could sign")
    family = _family(jwt, "signing_method", jwt.text("source"))
    if family and jwt.text("source"):
        _check_source(jwt, "source", family)
    rules = ClaimRules(
        issued_at_skew_s=jwt.integer("issued_at_validation_skew", high=_MAX_SKEW_S),
        expires_at_skew_s=jwt.integer("expires_at_validation_skew", high=_MAX_SKEW_S),
        not_before_skew_s=jwt.integer("not_before_validation_skew", high=_MAX_SKEW_S),
        issuers=own.texts("allowed_issuers"),
        audiences=own.texts("allowed_audiences"),
    )
    return ExternalJwt(family=family, source=jwt.text("source"), identity_claim=jwt.text("identity_base_field"), rules=rules)


def _build_introspection(introspection: Section, own: Section) -> IntrospectionSettings:
    url = introspection.text("url")
    if not url.lower().startswith(("http://", "https://")):
        introspection.error("url", "must be an http or https address")
    elif url.lower().startswith("http://"):
        introspection.warning("url", "tokens and the client's secret go there without TLS", "use https")
    way = own.text("client_authentication") or "form"
    if way not in CLIENT_AUTHENTICATION:
        own.error("client_authentication", f"must be one of {', '.join(CLIENT_AUTHENTICATION)}")
        way = "form"
    if way in ("form", "basic") and not introspection.text("client_secret"):
        introspection.warning("client_secret", "is empty and is sent so")
    if way in ("private_key_jwt", "tls") and introspection.text("client_secret"):
        introspection.warning("client_secret", f"without effect: x-tlsgate.external_oauth.client_authentication is {way}")
    cache = introspection.section("cache")
    return IntrospectionSettings(
        url=url,
        client_id=introspection.text("client_id"),
        client_secret=introspection.text("client_secret"),
        identity_claim=introspection.text("identity_base_field"),
        cached=cache.flag("enabled"),
        cache_s=cache.integer("timeout", high=_MAX_CACHE_S),
        authentication=way,
        assertion_audience=own.text("assertion_audience"),
        rules=ClaimRules(issuers=own.texts("allowed_issuers"), audiences=own.texts("allowed_audiences")),
    )


def _family(section: Section, name: str, source: str | None) -> str:
    """Return the family of a method; a blank one is ``hmac``, as in Tyk, where the source can be nothing else.

    :param source: empty for addresses; None where each key has a secret of its own, which tells what it is.
    """
    try:
        family = find_family(section.text(name))
    except KeyFault as fault:
        section.error(name, str(fault))
        return ""
    if family or source is None:
        return family
    try:
        is_secret = bool(source) and not parse_source(source, "hmac").url
    except KeyFault:
        is_secret = False
    if is_secret:
        section.warning(name, "is missing: hmac is meant, as in Tyk", "write hmac")
        return "hmac"
    section.error(name, "is missing: nobody can tell what kind of key this is", "write hmac, rsa, ecdsa or eddsa")
    return ""


def _check_source(section: Section, name: str, family: str) -> None:
    try:
        found = parse_source(section.text(name), family)
    except KeyFault as fault:
        section.error(name, str(fault))
        return
    for text in found.warnings:
        section.warning(name, text)
    if found.url.lower().startswith("http://"):
        section.warning(name, "keys are fetched without TLS: whoever is on the way can make tokens", "use https")


def _address(entry: Section) -> KeySetAddress:
    url = entry.text("url")
    if not url.lower().startswith(("http://", "https://")):
        entry.error("url", "must be an http or https address")
    elif url.lower().startswith("http://"):
        entry.warning("url", "keys are fetched without TLS: whoever is on the way can make tokens", "use https")
    try:
        cache_s = parse_duration(entry.text("cache_timeout") or "0s")
    except ValueError:
        entry.warning("cache_timeout", "is no duration such as 300s: the gateway's default counts")
        cache_s = 0.0
    return KeySetAddress(url=url, cache_s=cache_s if cache_s >= _MIN_CACHE_S else 0.0)


def _single(section: Section, name: str) -> tuple[str, ...]:
    text = section.text(name)
    return (text,) if text else ()


def _scopes(section: Section, kind: str, claims: tuple[str, ...]) -> ScopePolicies:
    entries = dict(section.named("scopes"))
    if entries:
        entry = entries.get(kind)
        if entry is None:
            return ScopePolicies()
        name, pairs = entry.text("scope_claim_name"), entry.pairs("scope_to_policy")
    else:
        name, pairs = section.text("jwt_scope_claim_name"), section.pairs("jwt_scope_to_policy_mapping")
    return ScopePolicies(claims=claims or ((name,) if name else ()), policies=pairs)


def _rules(section: Section, own: Section, prefix: str) -> ClaimRules:
    return ClaimRules(
        issued_at_skew_s=section.integer(f"{prefix}issued_at_validation_skew", high=_MAX_SKEW_S),
        expires_at_skew_s=section.integer(f"{prefix}expires_at_validation_skew", high=_MAX_SKEW_S),
        not_before_skew_s=section.integer(f"{prefix}not_before_validation_skew", high=_MAX_SKEW_S),
        issuers=own.texts("allowed_issuers"),
        audiences=own.texts("allowed_audiences"),
        subjects=own.texts("allowed_subjects"),
        require_jti=own.flag("require_jti"),
        custom=tuple(_custom_claim(path, entry) for path, entry in own.named("custom_claims")),
    )


def _custom_claim(path: str, entry: Section) -> CustomClaim:
    kind = entry.text("type")
    if kind not in _KINDS:
        entry.error("type", f"must be one of {', '.join(_KINDS)}")
    allowed = entry.tree.get("allowed_values", ())
    if kind in _KINDS[1:] and not allowed:
        entry.error("allowed_values", "is empty: every request would be refused")
    return CustomClaim(path=path, kind=kind, allowed=tuple(allowed), blocking=not entry.flag("non_blocking"))


def _client_id(entry: Section, text: str) -> str:
    try:
        decoded = base64.b64decode(text, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        entry.warning("client_ids", "a client id is not base64 and is taken as it is")
        return text
    return decoded
