"""Clients that ask and do not read, and clients that have left: what the channel takes on, and for how long it works for nobody."""

from __future__ import annotations

import pytest

from tests.support.wire_site import Wire

HOST = b"Host: a.test\r\n"
GET = b"GET /1 HTTP/1.1\r\n" + HOST + b"\r\n"


def unread(queued: int) -> Wire:
    """A connection whose first answer waits for the client."""
    wire = Wire(answering=True)
    wire.send(GET)
    wire.transport.queued_bytes = queued
    return wire


def count(wire: Wire) -> int:
    """Requests taken on so far."""
    return len(wire.handled or ())


@pytest.mark.parametrize(("queued", "taken"), [(65535, 4), (65536, 4), (65537, 1)])
def test_no_request_is_taken_on_while_answers_pile_up(queued: int, taken: int) -> None:
    """Reliability reference 2d (slow read): what waits stays bytes, and reading stops beyond 16 KiB of them."""
    wire = unread(queued)
    wire.send(GET * 3)
    assert count(wire) == taken
    if taken == 1:
        wire.send(GET)
        assert wire.transport.producer is wire.channel
        assert not wire.transport.streaming
        wire.send(GET * 500)
        assert wire.transport.producerState == "paused"
        assert count(wire) == 1


def test_it_goes_on_when_the_client_has_read() -> None:
    """In order, nothing lost; the transport has no producer any more."""
    wire = unread(70_000)
    second, third = (GET.replace(b"/1 ", path) for path in (b"/2 ", b"/3 "))
    wire.send(second + third[:20])
    wire.channel.resumeProducing()
    assert count(wire) == 1, "a pull producer is asked once at its registration"
    wire.transport.queued_bytes = 0
    wire.channel.resumeProducing()
    wire.send(third[20:])
    assert [request.target for request in wire.handled or ()] == [b"/1", b"/2", b"/3"]
    assert wire.transport.producer is None
    assert [answer.body for answer in wire.answers()] == [b"GET /1 ", b"GET /2 ", b"GET /3 "]


def test_a_client_that_never_reads_is_cut() -> None:
    """``write_timeout`` without progress."""
    wire = unread(70_000)
    wire.send(GET)
    wire.pass_time(9)
    assert not wire.transport.disconnected
    wire.transport.queued_bytes = 69_000
    wire.pass_time(10)
    assert not wire.transport.disconnected
    wire.pass_time(11)
    assert wire.transport.disconnected


def test_an_end_meanwhile_frees_the_transport() -> None:
    """The client leaves, or the gateway drains: no producer stays behind, or the transport would never close."""
    wire = unread(70_000)
    wire.send(GET)
    wire.channel.readConnectionLost()
    assert wire.transport.producer is None
    assert wire.transport.disconnecting
    wire = unread(70_000)
    wire.send(GET)
    wire.channel.drain()
    assert wire.transport.producer is None
    wire = unread(70_000)
    wire.send(GET)
    wire.channel.connectionLost(None)  # type: ignore[arg-type]
    wire.channel.resumeProducing()
    assert count(wire) == 1


def test_a_client_that_ended_has_a_moment_to_be_answered() -> None:
    """Field report B25: its end nearly always means that it has gone; one second, for each request that it left behind."""
    wire = Wire()
    wire.send(GET * 2)
    wire.channel.readConnectionLost()
    wire.pass_time(0.9)
    wire.channel.respond(wire.request, 200, [], b"one")
    assert count(wire) == 2
    wire.pass_time(0.9)
    assert not wire.transport.disconnected
    wire.pass_time(0.5)
    assert wire.transport.disconnected
    assert wire.request.detail == "client closed the connection"


def test_a_download_goes_on_for_a_moment_only() -> None:
    """Back-pressure does not prolong it."""

    class Producer:
        def pauseProducing(self) -> None:
            """Nothing."""

        def resumeProducing(self) -> None:
            """Nothing."""

    wire = Wire()
    wire.send(GET)
    wire.channel.begin(wire.request, 200, [], None)
    wire.channel.register_producer(Producer())
    wire.channel.readConnectionLost()
    wire.transport.slow()
    wire.transport.fast()
    wire.pass_time(1.5)
    assert wire.transport.disconnected
