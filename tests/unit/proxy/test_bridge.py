"""Tests of `tlsgate.proxy.bridge`: two memory transports joined."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.task import Clock

from tests.support.memory_channel import MemoryTransport
from tlsgate.proxy.bridge import Bridge
from tlsgate.tls.deadlines import Deadlines


class World:
    """A started bridge."""

    def __init__(self) -> None:
        self.clock: Any = Clock()
        self.client, self.upstream = MemoryTransport(), MemoryTransport()
        self.ended: list[str] = []
        self.bridge = Bridge(self.client, self.upstream, Deadlines(self.clock, self.clock.seconds), 30.0, self.ended.append)
        self.bridge.start()

    def wait(self, seconds: float) -> None:
        for _ in range(int(seconds * 4)):
            self.clock.advance(0.25)


@pytest.fixture
def world() -> World:
    return World()


def test_bytes_pass_both_ways_and_are_counted(world: World) -> None:
    world.bridge.client_data(b"up!")
    world.bridge.upstream_data(b"down")
    assert (world.upstream.value(), world.client.value()) == (b"up!", b"down")
    assert (world.bridge.bytes_up, world.bridge.bytes_down) == (3, 4)


@pytest.mark.parametrize("slow", ["client", "upstream"])
def test_a_slow_side_stops_the_reading_of_the_other(world: World, slow: str) -> None:
    """Back-pressure in both directions."""
    slow_side, other = (world.client, world.upstream) if slow == "client" else (world.upstream, world.client)
    slow_side.slow()
    assert other.producerState == "paused"
    slow_side.fast()
    assert other.producerState == "producing"


@pytest.mark.parametrize("first", ["client", "upstream"])
def test_one_half_may_end_before_the_other(world: World, first: str) -> None:
    """The other side is half-closed and goes on; the second end ends both."""
    ends = {"client": world.bridge.client_ended, "upstream": world.bridge.upstream_ended}
    other = "upstream" if first == "client" else "client"
    ends[first]()
    half_closed = world.upstream if first == "client" else world.client
    assert half_closed.half_closed and not world.ended
    world.bridge.client_data(b"x")
    world.bridge.upstream_data(b"y")
    assert (world.upstream.value(), world.client.value()) == (b"x", b"y")
    ends[other]()
    assert world.client.disconnecting and world.upstream.disconnecting
    assert world.ended == ["both sides closed"]


@pytest.mark.parametrize("lost", ["client", "upstream"])
def test_a_cut_is_passed_on_as_a_cut(world: World, lost: str) -> None:
    """Not as a clean end; the lost transport is not touched."""
    (world.bridge.client_lost if lost == "client" else world.bridge.upstream_lost)()
    other = world.upstream if lost == "client" else world.client
    assert other.disconnected and not other.half_closed
    assert len(world.ended) == 1
    world.bridge.client_data(b"late")
    world.bridge.upstream_data(b"late")
    assert other.value() == b""


def test_a_cut_behind_queued_bytes_truncates_after_them(world: World) -> None:
    """What the upstream said before it broke is still delivered, without a clean end."""
    world.bridge.upstream_data(b"said")
    world.client.queued_bytes = 4
    world.bridge.upstream_lost()
    assert world.client.truncated


def test_idle_streams_end_and_movement_prolongs(world: World) -> None:
    world.wait(20)
    world.bridge.client_data(b"x")
    world.wait(20)
    assert not world.ended
    world.wait(12)
    assert world.ended == ["nothing moved in time"]
    assert world.client.disconnected and world.upstream.disconnected


def test_drain_says_goodbye_and_ends_in_a_bounded_time(world: World) -> None:
    world.bridge.drain(b"bye", 5.0)
    assert world.client.value() == b"bye" and world.client.half_closed
    world.wait(4)
    assert not world.ended
    world.wait(2)
    assert len(world.ended) == 1
    world.bridge.drain(b"again", 5.0)
    assert world.client.value() == b"bye"


def test_a_cut_with_a_farewell(world: World) -> None:
    """The client gets it and a clean end, in a bounded time; the upstream is cut; nothing passes any more."""
    world.client.queued_bytes = 3
    world.bridge.cut("why", b"bye")
    assert world.client.value() == b"bye" and world.client.disconnecting and not world.client.truncated
    assert world.upstream.disconnected and world.ended == ["why"]
    world.bridge.upstream_data(b"late")
    world.bridge.client_data(b"late")
    world.bridge.cut("again", b"again")
    assert world.client.value() == b"bye" and world.upstream.value() == b""
    world.wait(6)
    assert world.client.disconnected


def test_everything_ends_once(world: World) -> None:
    world.bridge.cut("why")
    world.bridge.cut("again")
    world.bridge.client_lost()
    world.bridge.upstream_lost()
    world.bridge.client_ended()
    world.bridge.upstream_ended()
    world.wait(60)
    assert world.ended == ["why"]


@pytest.mark.parametrize("clean", [True, False], ids=["clean end", "cut"])
def test_a_side_that_takes_nothing_more_is_cut_in_the_end(world: World, clean: bool) -> None:
    """Decisions 2.13: a close waits five seconds for the peer; one that goes on reading gets everything."""
    world.bridge.upstream_data(b"much")
    world.client.queued_bytes = 90_000
    if clean:
        world.bridge.client_ended()
        world.bridge.upstream_ended()
    world.bridge.upstream_lost()
    assert world.client.disconnecting or world.client.truncated
    for left in (60_000, 30_000):
        world.wait(4.5)
        world.client.queued_bytes = left
        world.wait(1)
        assert not world.client.disconnected
    world.wait(5)
    assert world.client.disconnected


def test_nothing_is_timed_once_both_sides_are_gone(world: World) -> None:
    """The clock of all connections holds no closed stream."""
    world.bridge.upstream_lost()
    assert world.bridge.armed_at < float("inf")
    world.bridge.client_lost()
    assert world.bridge.armed_at == float("inf")
