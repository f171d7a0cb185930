"""The place of context variables."""

from __future__ import annotations

from tests.support.apis import make_api, make_config, make_exchange, make_tools
from tlsgate.gates.context import build


def test_it_is_open_where_the_api_asks_for_it() -> None:
    """For each request its own; absent otherwise."""
    assert build(make_api(), make_config(), make_tools()) is None
    gate = build(make_api(context_variables=True), make_config(), make_tools())
    assert gate is not None
    one, other = make_exchange(), make_exchange()
    for exchange in (one, other):
        gate(exchange)
    assert one.context == other.context == {} and one.context is not other.context
