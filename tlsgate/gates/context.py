"""Opens the place where later steps put what they know of a request for ``$tyk_context.*``: the token, claims; knows none of it.

What stands in the request itself is read where a value needs it (``transform.variables``).
"""

from __future__ import annotations

from tlsgate.config.model import GatewayConfig
from tlsgate.gates.base import Gate, GateTools
from tlsgate.model.api import ApiDefinition
from tlsgate.model.exchange import Exchange

__all__ = ["build"]


def build(api: ApiDefinition, config: GatewayConfig, tools: GateTools) -> Gate | None:
    """Return the gate, None where ``enable_context_vars`` is off."""
    return _open if api.context_variables else None


def _open(exchange: Exchange) -> None:
    exchange.context = {}
