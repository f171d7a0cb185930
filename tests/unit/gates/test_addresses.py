"""IP lists. Source: API definitions reference, sections 4.2 and 9.5; field report B34."""

from __future__ import annotations

import pytest

from tests.support.apis import make_api, make_config, make_exchange, make_tools
from tlsgate.errors import Refusal
from tlsgate.gates.addresses import build


def passes(address: str, allowed: tuple[str, ...] = (), blocked: tuple[str, ...] = ()) -> bool:
    gate = build(make_api(allowed_addresses=allowed, blocked_addresses=blocked), make_config(), make_tools())
    assert gate is not None
    exchange = make_exchange()
    exchange.client_address = address
    try:
        gate(exchange)
    except Refusal as refusal:
        assert refusal.id == "address.forbidden"
        return False
    return True


def test_without_lists_there_is_no_gate() -> None:
    """An empty allow list lets everybody in."""
    assert build(make_api(), make_config(), make_tools()) is None


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.7", True),
        ("192.0.2.8", False),
        ("10.1.255.255", True),
        ("10.2.0.0", False),
        ("::ffff:192.0.2.7", True),
        ("::ffff:10.1.0.1", True),
        ("::ffff:192.0.2.8", False),
        ("2001:db8::1", True),
        ("2001:db8:1::1", False),
        ("2001:0db8:0:0::1", True),
        ("not an address", False),
        ("", False),
    ],
)
def test_allow_list(address: str, expected: bool) -> None:
    """Addresses and networks; an IPv4-mapped address is the IPv4 address, in list and request."""
    assert passes(address, allowed=("192.0.2.7", "10.1.0.0/16", "2001:db8::/48")) is expected
    if "." in address:
        assert passes(address, allowed=("::ffff:192.0.2.7", "::ffff:10.1.0.0/112")) is expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [("192.0.2.7", False), ("::ffff:192.0.2.7", False), ("192.0.2.8", True), ("2001:db8::1", False), ("", False)],
)
def test_block_list(address: str, expected: bool) -> None:
    """A request without an address passes no list."""
    assert passes(address, blocked=("192.0.2.7", "2001:db8::/32")) is expected


def test_the_block_list_stands_behind_the_allow_list() -> None:
    """Reference 5."""
    assert passes("10.0.0.1", allowed=("10.0.0.0/8",), blocked=("10.0.0.2",))
    assert not passes("10.0.0.2", allowed=("10.0.0.0/8",), blocked=("10.0.0.2",))


def test_a_bad_network_does_not_compile() -> None:
    """Definitions are checked before; this is the second look."""
    with pytest.raises(ValueError, match="x"):
        build(make_api(allowed_addresses=("x",)), make_config(), make_tools())
