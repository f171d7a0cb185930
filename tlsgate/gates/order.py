"""The order of the gates, and the chain of one API; knows no gate's inside.

Source: decisions 2.1; API definitions reference, section 5. Route (404) and Host check (421) come before, transforms and proxy after.
"""

from __future__ import annotations

from collections.abc import Callable

from tlsgate.config.model import GatewayConfig
from tlsgate.errors import ConfigError, Problem
from tlsgate.gates import addresses, certificate, context, cors, protected_resource, size, version
from tlsgate.gates.base import Gate, GateTools
from tlsgate.model.api import ApiDefinition

__all__ = ["ORDER", "build_gates"]

ORDER: tuple[tuple[str, Callable[[ApiDefinition, GatewayConfig, GateTools], Gate | None]], ...] = (
    ("cors_headers", cors.build_headers),
    ("version", version.build),
    ("cors", cors.build),
    ("addresses", addresses.build),
    ("certificate", certificate.build),
    ("protected_resource", protected_resource.build),
    ("size", size.build),
    ("context", context.build),
)
"""Builders in the order in which their gates look at a request."""


def build_gates(api: ApiDefinition, config: GatewayConfig, tools: GateTools) -> tuple[Gate, ...]:
    """Return the gates that an API needs; what it does not use is absent, not skipped.

    :raises ConfigError: paths or networks of the definition that do not compile, all of them.
    """
    gates: list[Gate] = []
    problems: list[Problem] = []
    for name, builder in ORDER:
        try:
            gate = builder(api, config, tools)
        except ValueError as error:
            problems.append(Problem(api.source, name, "", f"cannot be compiled: {error}"))
            continue
        if gate is not None:
            gates.append(gate)
    if problems:
        raise ConfigError(problems)
    return tuple(gates)
