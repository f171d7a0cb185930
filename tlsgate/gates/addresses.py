"""IP allow and block lists; knows nothing of how the client's address was found (``wire.forwarding.client_address``)."""

from __future__ import annotations

from tlsgate.config.model import GatewayConfig
from tlsgate.errors import Refusal
from tlsgate.gates.base import Gate, GateTools
from tlsgate.model.api import ApiDefinition
from tlsgate.model.exchange import Exchange
from tlsgate.wire.forwarding import build_address_set

__all__ = ["build"]


def build(api: ApiDefinition, config: GatewayConfig, tools: GateTools) -> Gate | None:
    """Return the check of the client's address, None without lists.

    Allow list first, then block list. A request without an address (``X-Forwarded-For`` shorter than ``xff_depth``) passes neither;
    Tyk's block list lets it through.
    Source: API definitions reference, sections 4.2 and 9.5.

    :raises Refusal: (the gate) ``address.forbidden``.
    :raises ValueError: an entry that is no network.
    """
    if not api.allowed_addresses and not api.blocked_addresses:
        return None
    allowed = build_address_set(api.allowed_addresses) if api.allowed_addresses else None
    blocked = build_address_set(api.blocked_addresses)

    def check_address(exchange: Exchange) -> None:
        address = exchange.client_address
        if not address:
            raise Refusal("address.forbidden", "no client address in the forwarding header")
        if allowed is not None and address not in allowed:
            raise Refusal("address.forbidden", f"{address} is not on the allow list")
        if address in blocked:
            raise Refusal("address.forbidden", f"{address} is on the block list")

    return check_address
