"""What a Classic definition says of keys and of limits: where credentials are read, lifetimes, rates.

Knows fields; must not know how anybody is authenticated or counted. Source: token reference, section 2; keys reference, sections 6 and 8.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tlsgate.config.binding_rules import build_binding_rules
from tlsgate.config.hmac_rules import build_hmac_rules
from tlsgate.config.model import MAX_BASIC_BODY, GatewayConfig
from tlsgate.config.section import Section
from tlsgate.config.signature_rules import build_message_signatures, build_signing_rules
from tlsgate.config.values import compile_pattern
from tlsgate.definitions.alternatives import build_alternatives
from tlsgate.definitions.key_signature import build_key_signature
from tlsgate.definitions.not_yet import find_auth_methods
from tlsgate.definitions.places import report_places
from tlsgate.model.api import EndpointRate
from tlsgate.model.credentials import SIGNATURE_ALGORITHMS, BasicSettings, CredentialSource, HmacSettings, RequestSigning
from tlsgate.model.tokens import BindingRules

__all__ = ["build_credentials", "build_rate_rule"]

_BASIC_CACHE_S = 60
_MAX_SKEW_MS = 86_400_000.0
_LEAST_SKEW_MS = 1000
_TOKENS = frozenset({"jwt", "oidc", "external_oauth"})
_NO_TOKENS = "without effect: the API takes no tokens that others issue"
_ALGORITHMS = ("hmac-sha1", "hmac-sha256", "hmac-sha384", "hmac-sha512", "rsa-sha256")
_IDENTITIES = {
    "auth_token": "token",
    "hmac_key": "hmac",
    "basic_auth_user": "basic",
    "jwt_claim": "jwt",
    "oidc_user": "oidc",
    "oauth_key": "oauth",
    "custom_auth": "custom",
    "authtoken": "token",
    "hmackey": "hmac",
    "basicauthuser": "basic",
    "jwtclaim": "jwt",
    "oidcuser": "oidc",
    "oauthkey": "oauth",
    "unsetauth": "",
    "": "",
}
"""Method by ``base_identity_provided_by``: Tyk's values, and the seed's names in lower case."""


def build_credentials(section: Section, config: GatewayConfig, schemes: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return fields of ``ApiDefinition``.

    :param section: a Classic definition, checked.
    :param config: has the defaults of ``x-tlsgate``.
    :param schemes: method by name of a security scheme, of a document; None for a Classic definition.
    """
    own = section.section("x-tlsgate")
    limit = section.section("global_rate_limit")
    off = limit.flag("disabled")
    found = tuple(dict.fromkeys(method.name for method in find_auth_methods(section)))
    # Without any method the token is enforced: never a definition that is open because it says nothing.
    methods = () if section.flag("use_keyless") else found or ("token",)
    alternatives = build_alternatives(section, methods, schemes)
    sources = {name: _build_source(entry) for name, entry in section.named("auth_configs")}
    default = _build_source(section.section("auth")) if section.has("auth") else None
    report_places(section, alternatives or (methods,), sources, default)
    return {
        "auth_methods": methods,
        "base_identity": _base_identity(section, methods, has_choice=bool(alternatives)),
        "alternatives": alternatives,
        "auth_sources": sources,
        "auth_default": default,
        "use_certificate": "token" in methods and _key_entry(section).flag("use_certificate"),
        "key_signature": build_key_signature(_key_entry(section), section.section("auth"), has_tokens="token" in methods),
        "basic": _build_basic(section),
        "binding": _build_binding(own, config.own.binding, methods),
        "hmac": _build_hmac(section, config, checks="hmac" in methods),
        "message_signatures": build_message_signatures(own.section("message_signatures"), config.own.message_signatures),
        "request_signing": _build_signing(
            section.section("request_signing"), own.section("request_signing"), section.texts("hmac_allowed_algorithms"), config
        ),
        "session_lifetime": section.integer("session_lifetime", low=-1),
        "session_lifetime_respects_key_expiration": section.flag("session_lifetime_respects_key_expiration"),
        "disable_rate_limit": section.flag("disable_rate_limit"),
        "disable_quota": section.flag("disable_quota"),
        "dont_set_quota_on_create": section.flag("dont_set_quota_on_create"),
        "global_rate": 0.0 if off else limit.number("rate"),
        "global_per": 0.0 if off else limit.number("per"),
    }


def build_rate_rule(entry: Section) -> EndpointRate | None:
    """Return the rate of a path, None where it limits nothing.

    :param entry: of ``extended_paths.rate_limit``, enabled.
    """
    rate, per = entry.number("rate"), entry.number("per")
    if not rate or not per:
        return None
    return EndpointRate(path=entry.text("path"), method=entry.text("method").upper(), rate=rate, per=per)


def _build_source(section: Section) -> CredentialSource:
    return CredentialSource(
        header_name=section.text("auth_header_name"),
        disable_header=section.flag("disable_header"),
        use_param=section.flag("use_param"),
        param_name=section.text("param_name"),
        use_cookie=section.flag("use_cookie"),
        cookie_name=section.text("cookie_name"),
    )


def _key_entry(section: Section) -> Section:
    """Return what speaks of auth tokens: an entry of ``auth_configs``, even an empty one, hides ``auth``."""
    return dict(section.named("auth_configs")).get("authToken", section.section("auth"))


def _base_identity(section: Section, methods: tuple[str, ...], *, has_choice: bool) -> str:
    """Return the method whose session counts.

    Differs from Tyk, where a value that names no method of the API refuses every request: such a definition is refused. So is one with
    alternatives: the session is that of the one that passes.
    """
    text = section.text("base_identity_provided_by")
    method = _IDENTITIES.get(text.lower())
    if method is None:
        section.error("base_identity_provided_by", "is not a method", f"write one of {', '.join(list(_IDENTITIES)[:7])}")
    elif method and methods and method not in methods:
        section.error(
            "base_identity_provided_by", "names a method that the API does not use: every request would be refused", "switch the method on"
        )
    elif method and has_choice:
        section.error(
            "base_identity_provided_by",
            "together with alternatives: the one that passes gives the session",
            "leave it out",
        )
    return method or ""


def _build_basic(section: Section) -> BasicSettings:
    basic = section.section("basic_auth")
    own = section.section("x-tlsgate").section("basic")
    if section.flag("use_basic_auth") and basic.flag("extract_from_body"):
        for name in ("body_user_regexp", "body_password_regexp"):
            _check_pattern(basic, name)
    return BasicSettings(
        cache_s=0 if basic.flag("disable_caching") else basic.integer("cache_ttl") or _BASIC_CACHE_S,
        extract_from_body=basic.flag("extract_from_body"),
        user_pattern=basic.text("body_user_regexp"),
        password_pattern=basic.text("body_password_regexp"),
        rfc7617=own.flag("rfc7617") if own.has("rfc7617") else None,
        max_body=own.integer("max_body", 0, low=1, high=MAX_BASIC_BODY) if own.has("max_body") else 0,
    )


def _check_pattern(basic: Section, name: str) -> None:
    """Refuse an API whose credentials could never be found; Tyk leaves the method out then, so that another one protects the API."""
    pattern = basic.text(name)
    if not pattern:
        basic.error(name, "is empty: no credentials could be found in a body; the API is refused", "write an expression with one group")
        return
    try:
        groups = compile_pattern(pattern).groups
    except ValueError as problem:
        basic.error(name, f"{problem}; the API is refused")
        return
    if groups != 1:
        what = "has no group: every login by a body is refused" if not groups else "has several groups: the first one is taken"
        basic.warning(name, what, "put the value, and nothing else, into ( )")


def _build_binding(own: Section, defaults: BindingRules, methods: tuple[str, ...]) -> BindingRules:
    """Return what tokens have to be bound to; nothing where the API takes none of the kind."""
    made = build_binding_rules(own, defaults)
    if _TOKENS.isdisjoint(methods):
        if own.section("jwt").flag("require_certificate_binding"):
            own.section("jwt").warning("require_certificate_binding", _NO_TOKENS)
        if own.section("dpop").flag("required"):
            own.section("dpop").warning("required", _NO_TOKENS)
        return BindingRules()
    return made


def _build_hmac(section: Section, config: GatewayConfig, *, checks: bool) -> HmacSettings:
    """Return the settings of request signatures.

    :param checks: the API checks signatures; the list of algorithms concerns signing towards upstreams as well.
    """
    rules = build_hmac_rules(section.section("x-tlsgate").section("hmac"), config.own.hmac)
    algorithms = section.texts("hmac_allowed_algorithms")
    skew_ms = max(0.0, section.number("hmac_allowed_clock_skew", low=-1e12, high=_MAX_SKEW_MS))
    if checks:
        for index, name in enumerate(algorithms):
            if name not in _ALGORITHMS and not rules.lenient_algorithm:
                section.warning_at("hmac_allowed_algorithms", index, "is no algorithm", f"write one of {', '.join(_ALGORITHMS)}")
        if 0 < skew_ms < _LEAST_SKEW_MS:
            section.warning(
                "hmac_allowed_clock_skew",
                "is in milliseconds, and dates have whole seconds: good requests will be refused",
                "write 1000 or more",
            )
        if rules.refuse_replays and not skew_ms:
            section.error(
                "hmac_allowed_clock_skew",
                "refuse_replays is on and no skew says how long a signature may be used: every one would have to be kept for ever",
                "set a skew, or x-tlsgate.hmac.refuse_replays to false",
            )
    return HmacSettings(algorithms=algorithms, skew_ms=skew_ms, rules=rules)


def _build_signing(signing: Section, own: Section, allowed: tuple[str, ...], config: GatewayConfig) -> RequestSigning | None:
    rules = build_signing_rules(own, config.own.request_signing)
    if not signing.flag("is_enabled"):
        return None
    built = RequestSigning(
        key_id=signing.text("key_id"),
        algorithm=signing.text("algorithm"),
        secret=signing.text("secret"),
        certificate=signing.text("certificate_id"),
        headers=signing.texts("header_list"),
        signature_header=signing.text("signature_header"),
        rules=rules,
    )
    algorithms = SIGNATURE_ALGORITHMS if rules.format == "rfc9421" else allowed or _ALGORITHMS
    for name in ("key_id", "algorithm", "secret" if built.uses_secret else "certificate_id"):
        if not signing.text(name):
            signing.warning(name, "is missing, and needed for signing: requests are refused with 500 until then")
    if built.algorithm and built.algorithm not in algorithms:
        remedy = f"write one of {', '.join(algorithms)}"
        signing.warning("algorithm", "is not supported: requests are refused with 500 until then", remedy)
    return built
