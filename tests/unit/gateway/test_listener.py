"""Tests of `tlsgate.gateway.listener`."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address

from tests.support.gateway import classic
from tests.support.memory_gateway import MemoryGateway
from tlsgate.gateway.channel import HttpChannel
from tlsgate.gateway.listener import Listener, ListenerSpec
from tlsgate.gateway.proxy_header import ProxyHeaderGate
from tlsgate.gateway.raw import RawService
from tlsgate.tls.server import TlsServer

PEER = IPv4Address("TCP", "192.0.2.1", 4711)


def build(spec: ListenerSpec, address: Any = PEER, **config: Any) -> Any:
    gateway = MemoryGateway(
        classic("tcp", "tcp://127.0.0.1:9", protocol="tcp", listen_port=7001),
        classic("web", 9, "/"),
        disable_ports_whitelist=True,
        **config,
    )
    return Listener(gateway.site, spec).buildProtocol(address)


def test_each_kind_of_port_gets_its_protocol() -> None:
    """Plain HTTP, TLS (HTTP or a raw service, which only the name can tell), plain TCP."""
    assert isinstance(build(ListenerSpec("gateway", "127.0.0.1", 8080, tls=False)), HttpChannel)
    assert isinstance(build(ListenerSpec("gateway", "127.0.0.1", 8080, tls=True)), TlsServer)
    raw = build(ListenerSpec("api", "127.0.0.1", 7001, tls=False, raw="tcp"))
    assert isinstance(raw, RawService)
    assert raw.connection.listener_port == 7001


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (PEER, "192.0.2.1"),
        (IPv6Address("TCP", "::ffff:192.0.2.9", 1, 0, 0), "192.0.2.9"),
        (IPv6Address("TCP", "2001:db8::1", 1, 0, 0), "2001:db8::1"),
    ],
)
def test_an_ipv4_client_is_one_on_a_socket_for_both(address: Any, text: str) -> None:
    """Address lists and logs see the plain form."""
    channel = build(ListenerSpec("gateway", "", 8080, tls=False), address)
    assert channel.connection.peer_address == text


def test_over_the_limit_nobody_is_let_in() -> None:
    """`tlsgate.limits.max_connections`: refused at once and counted, free again when one ends."""
    gateway = MemoryGateway(tlsgate={"limits": {"max_connections": 2}})
    listener = Listener(gateway.site, ListenerSpec("gateway", "", 8080, tls=False))
    kept = [gateway.connect() for _ in range(2)]
    assert listener.buildProtocol(PEER) is None
    assert gateway.site.counters["connections_over_limit"] == 1
    kept[0][0].connectionLost(None)  # type: ignore[arg-type]
    assert listener.buildProtocol(PEER) is not None


def test_a_port_behind_a_balancer_wants_a_header_first() -> None:
    assert isinstance(build(ListenerSpec("api", "", 8080, tls=False, proxied=True)), ProxyHeaderGate)


def test_specs_compare_by_value_so_that_a_reload_keeps_ports() -> None:
    one = ListenerSpec("api", "127.0.0.1", 7001, tls=True)
    assert one == ListenerSpec("api", "127.0.0.1", 7001, tls=True)
    assert len({one, ListenerSpec("api", "127.0.0.1", 7001, tls=True), ListenerSpec("api", "127.0.0.1", 7001, tls=False)}) == 2
    assert one != "api"


def test_the_start_line_names_role_address_port_and_tls() -> None:
    """Decisions 4.5."""
    gateway = MemoryGateway()
    listener = Listener(gateway.site, ListenerSpec("control", "127.0.0.1", 7000, tls=True))
    assert listener.describe() == "listening role=control address=127.0.0.1 port=7000 tls=yes"
    assert listener.port_number == 7000
    assert listener.stop() is None
