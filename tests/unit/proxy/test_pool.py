"""Tests of `tlsgate.proxy.pool`."""

from __future__ import annotations

import gc
import socket
from typing import Any

import pytest

from tests.support.memory_upstream import DONE, MemoryUpstream
from tlsgate.proxy.pool import Destination


def test_the_connection_used_last_is_used_first() -> None:
    world = MemoryUpstream()
    other, _ = world.connect()
    world.pool.released(world.connection)
    world.pool.released(other)
    assert world.pool.take(world.destination.key) is other
    assert world.pool.take(world.destination.key) is world.connection
    assert world.pool.take(world.destination.key) is None


def test_keys_hold_everything_that_matters() -> None:
    """Host, port and the whole TLS identity: no connection is ever used for another key."""

    class Tls:
        def __init__(self, identity: str) -> None:
            self.identity = identity

    destinations = [
        Destination("a", 1),
        Destination("a", 2),
        Destination("b", 1),
        Destination("a", 1, Tls("one")),
        Destination("a", 1, Tls("two")),
    ]
    assert len({destination.key for destination in destinations}) == 5
    assert Destination("a", 1, Tls("one")).key == destinations[3].key
    assert destinations[0].key != "a"
    world = MemoryUpstream()
    connection, _ = world.connect(destinations[3])
    world.pool.released(connection)
    for destination in (*destinations[:3], destinations[4]):
        assert world.pool.take(destination.key) is None
    assert world.pool.take(destinations[3].key) is connection


def test_bounds_per_destination_and_in_all() -> None:
    world = MemoryUpstream(max_idle=3, max_idle_per_key=2)
    transports = []
    for _ in range(3):
        connection, transport = world.connect()
        world.pool.released(connection)
        transports.append(transport)
    assert [transport.disconnecting for transport in transports] == [False, False, True]
    for number in range(2):
        connection, transport = world.connect(Destination("other", number))
        world.pool.released(connection)
        transports.append(transport)
    assert [transport.disconnecting for transport in transports] == [False, False, True, False, True]
    assert world.pool.idle_count == 3
    assert world.pool.open_count >= 3


def test_none_are_kept_when_none_may() -> None:
    world = MemoryUpstream()
    world.pool.released(world.connection)
    world.pool.configure(max_idle=0, max_idle_per_key=0, idle_s=90.0)
    assert world.transport.disconnecting
    world.connection.connectionLost(DONE)
    connection, transport = world.connect()
    world.pool.released(connection)
    assert transport.disconnecting


def test_idle_connections_end_after_their_time() -> None:
    world = MemoryUpstream()
    world.pool.released(world.connection)
    world.wait(89)
    assert not world.transport.disconnecting
    world.wait(3)
    assert world.transport.disconnecting


@pytest.mark.parametrize("how", ["read end", "lost"])
def test_a_connection_that_ended_is_not_handed_out(how: str) -> None:
    """Field report B23."""
    world = MemoryUpstream()
    world.pool.released(world.connection)
    if how == "read end":
        world.connection.readConnectionLost()
    else:
        world.connection.connectionLost(DONE)
    assert world.pool.take(world.destination.key) is None
    assert world.pool.idle_count == 0


def test_a_dead_socket_is_noticed_before_a_request_that_cannot_be_repeated() -> None:
    """The FIN may lie in the socket while the reactor has not read it yet."""
    ours, theirs = socket.socketpair()
    world = MemoryUpstream()
    transport: Any = world.transport
    transport.socket = ours
    world.connection.makeConnection(transport)
    world.pool.released(world.connection)
    assert world.pool.take(world.destination.key) is world.connection
    world.pool.released(world.connection)
    theirs.close()
    assert world.pool.take(world.destination.key) is None
    assert world.transport.disconnected
    ours.close()


def test_close_idle_spares_what_is_to_be_kept() -> None:
    world = MemoryUpstream()
    other, transport = world.connect(Destination("other", 1))
    world.pool.released(world.connection)
    world.pool.released(other)
    world.pool.close_idle(lambda key: key == world.destination.key)
    assert transport.disconnecting and not world.transport.disconnecting


def test_equal_destinations_share_one_key_as_long_as_anybody_has_it() -> None:
    """So the look-up of each request compares by identity, and connections outlive the generation that opened them."""
    one, other = Destination("a", 1), Destination("a", 1)
    assert one.key is other.key
    assert Destination("a", 2).key is not one.key and Destination("a", 2).key != one.key
    world = MemoryUpstream()
    connection, _ = world.connect(Destination("kept", 1))
    world.pool.released(connection)
    gc.collect()
    assert world.pool.take(Destination("kept", 1).key) is connection
