"""The authentication methods in their fixed order, and the steps of one API; knows no method's inside.

Source: token reference, section 1; decisions 2.1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tlsgate.auth import access, alternatives, basic, external_oauth, hmac_signature, jwt, message_signature, openid, strip, token
from tlsgate.auth.base import AuthTools, Check, Step
from tlsgate.auth.sources import find_headers
from tlsgate.config.model import GatewayConfig
from tlsgate.errors import ConfigError, Problem
from tlsgate.model.api import ApiDefinition

__all__ = ["METHODS", "Method", "build_auth_steps"]


class Method(NamedTuple):
    """One authentication method."""

    name: str
    enabled_for: Callable[[ApiDefinition], bool]
    build: Callable[[ApiDefinition, GatewayConfig, AuthTools], Step]


def _build_signatures(api: ApiDefinition, config: GatewayConfig, tools: AuthTools) -> Step:
    """Both forms of request signatures are one method."""
    return message_signature.wrap(api, config, tools, hmac_signature.build(api, config, tools))


METHODS: tuple[Method, ...] = (
    Method(external_oauth.NAME, external_oauth.enabled_for, external_oauth.build),
    Method(basic.NAME, basic.enabled_for, basic.build),
    Method(hmac_signature.NAME, hmac_signature.enabled_for, _build_signatures),
    Method(jwt.NAME, jwt.enabled_for, jwt.build),
    Method(openid.NAME, openid.enabled_for, openid.build),
    Method(token.NAME, token.enabled_for, token.build),
)
"""In the order in which they run."""


def build_auth_steps(api: ApiDefinition, config: GatewayConfig, tools: AuthTools) -> tuple[Step, ...]:
    """Return the steps from authentication to granular access; a keyless API has none.

    :raises ConfigError: the API asks for a method that there is not: it never answers more openly than its definition says.
    """
    if api.keyless:
        return ()
    enabled = [method for method in METHODS if method.enabled_for(api)]
    missing = sorted(set(api.auth_methods) - {method.name for method in enabled})
    if missing or not enabled:
        raise ConfigError([Problem(api.source, "", "", f"not active yet: authentication by {', '.join(missing) or 'anything'}")])
    if api.alternatives:
        by_name = {method.name: method for method in enabled}
        steps = [
            alternatives.build(api.alternatives, lambda name, muted: by_name[name].build(api, config, muted), tools, find_headers(api))
        ]
    else:
        steps = [method.build(api, config, tools) for method in enabled]
    stripping = strip.build(api)
    if stripping is not None:
        steps.append(Check(stripping))
    steps.append(access.build(api, config, tools))
    return tuple(steps)
