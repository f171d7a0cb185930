"""Enforced time-outs: how long the whole exchange with the upstream may take; knows no clock.

Source: API definitions reference, section 11.
"""

from __future__ import annotations

from collections.abc import Callable

from tlsgate.config.model import GatewayConfig
from tlsgate.errors import ConfigError, Problem
from tlsgate.gates.base import build_rules
from tlsgate.model.api import ApiDefinition
from tlsgate.model.exchange import Exchange

__all__ = ["build_timeout_of"]


def build_timeout_of(api: ApiDefinition, config: GatewayConfig) -> Callable[[Exchange], float] | None:
    """Return a function from request to limit in seconds (0 is none), None for an API without limits.

    The first ``hard_timeouts`` entry that matches, else ``global_enforce_timeout``.

    :raises ConfigError: a path that does not compile.
    """
    version = api.version
    everywhere = version.timeout_s
    try:
        rules = build_rules(((rule.path, rule.method, False, rule.timeout_s) for rule in version.timeout_rules), api, config)
    except ValueError as error:
        raise ConfigError([Problem(api.source, "hard_timeouts", "", f"a path does not compile: {error}")]) from error
    if rules is None:
        return (lambda exchange: everywhere) if everywhere > 0 else None

    def timeout_of(exchange: Exchange) -> float:
        limit = rules.find(exchange.method, exchange.remaining_path, exchange.canonical)
        return everywhere if limit is None else limit

    return timeout_of
