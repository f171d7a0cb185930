"""What a Classic definition says of keys and of limits: where credentials are read, lifetimes, rates.

Knows fields; must not know how anybody is authenticated or counted. Source: token reference, section 2; keys reference, sections 6 and 8.
"""

from __future__ import annotations

from typing import Any

from tlsgate.config.section import Section
from tlsgate.definitions.not_yet import find_auth_methods
from tlsgate.model.api import CredentialSource, EndpointRate

__all__ = ["build_credentials", "build_rate_rule"]


def build_credentials(section: Section) -> dict[str, Any]:
    """Return fields of ``ApiDefinition``.

    :param section: a Classic definition, checked.
    """
    limit = section.section("global_rate_limit")
    off = limit.flag("disabled")
    methods = tuple(dict.fromkeys(method.name for method in find_auth_methods(section)))
    return {
        # Without any method the token is enforced: never a definition that is open because it says nothing.
        "auth_methods": () if section.flag("use_keyless") else methods or ("token",),
        "auth_sources": {name: _build_source(entry) for name, entry in section.named("auth_configs")},
        "auth_default": _build_source(section.section("auth")) if section.has("auth") else None,
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
