"""Tests of `tlsgate.tls.transport` on real sockets, in a reactor of its own per test (nothing here needs the global one)."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import CannotListenError, ConnectionDone
from twisted.internet.protocol import ClientFactory, Factory, Protocol
from twisted.python.failure import Failure

from tlsgate.tls.transport import PromptPort, adopt_prompt, connect_prompt, listen_prompt


class Recorder(Protocol):
    """Keeps what happens."""

    def __init__(self) -> None:
        self.data = b""
        self.lost = False

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Any = None) -> None:
        self.lost = True


class Producer:
    """Counts how often it is told to stop."""

    def __init__(self) -> None:
        self.paused = 0
        self.resumed = 0

    def pauseProducing(self) -> None:
        self.paused += 1

    def resumeProducing(self) -> None:
        self.resumed += 1

    def stopProducing(self) -> None:
        """Nothing to stop."""


@pytest.fixture
def reactor() -> Iterator[Any]:
    made: Any = EPollReactor()
    made.startRunning(installSignalHandlers=False)
    yield made
    made.removeAll()
    made._poller.close()
    for descriptor in (made.waker.i, made.waker.o) if getattr(made, "waker", None) is not None else ():
        import os

        os.close(descriptor)


def spin(reactor: Any, condition: Callable[[], bool], turns: int = 500) -> None:
    """Turn the loop until a condition holds."""
    for _ in range(turns):
        if condition():
            return
        reactor.runUntilCurrent()
        reactor.doIteration(0.01)
    raise AssertionError("the condition never held")


class World:
    """A listening port and one client socket of the operating system."""

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self.server = Recorder()
        self.port = listen_prompt(reactor, 0, Factory.forProtocol(lambda: self.server), backlog=10, interface="127.0.0.1")
        self.client = socket.create_connection(("127.0.0.1", self.port.getHost().port))
        spin(reactor, lambda: self.server.transport is not None)
        self.transport: Any = self.server.transport

    def close(self) -> None:
        self.client.close()
        self.port.stopListening()
        spin(self.reactor, lambda: not self.port.connected)


@pytest.fixture
def world(reactor: Any) -> Iterator[World]:
    made = World(reactor)
    yield made
    if made.transport.connected:
        made.transport.abortConnection()
        spin(reactor, lambda: made.server.lost)
    made.close()


def test_a_write_is_sent_within_the_call(world: World) -> None:
    """No reactor turn lies between a write and the peer."""
    world.transport.write(b"now")
    world.client.settimeout(1)
    assert world.client.recv(10) == b"now"
    assert world.transport.queued() == 0


def test_accepted_sockets_have_nagles_algorithm_off(world: World) -> None:
    assert world.transport.getTcpNoDelay()


def test_what_the_socket_does_not_take_is_queued_in_order(world: World) -> None:
    """A full socket: the rest waits, later writes wait behind it, the producer is told, everything arrives in order."""
    producer = Producer()
    world.transport.registerProducer(producer, True)
    blocks = [bytes([number]) * 1_000_000 for number in range(12)]
    for block in blocks:
        world.transport.write(block)
    assert world.transport.queued() > 0
    assert producer.paused >= 1
    expected = b"".join(blocks)
    world.client.settimeout(0.05)
    got = b""
    while len(got) < len(expected):
        world.reactor.runUntilCurrent()
        world.reactor.doIteration(0)
        try:
            got += world.client.recv(1_000_000)
        except TimeoutError:
            continue
    assert got == expected
    spin(world.reactor, lambda: producer.resumed >= 1)
    assert world.transport.queued() == 0
    world.transport.unregisterProducer()


def test_closing_sends_what_is_queued_first(world: World) -> None:
    world.transport.write(b"x" * 5_000_000)
    world.transport.loseConnection()
    world.client.settimeout(0.05)
    got = 0
    for _ in range(10_000):
        world.reactor.runUntilCurrent()
        world.reactor.doIteration(0)
        try:
            piece = world.client.recv(1_000_000)
        except TimeoutError:
            continue
        if not piece:
            break
        got += len(piece)
    assert got == 5_000_000
    assert world.server.lost


def test_closing_with_nothing_queued_needs_no_writable_socket(world: World) -> None:
    """Twice is once, and a write afterwards is dropped."""
    world.transport.loseConnection()
    world.transport.loseConnection()
    world.transport.write(b"late")
    spin(world.reactor, lambda: world.server.lost)
    world.client.settimeout(1)
    assert world.client.recv(10) == b""


def test_a_peer_that_reset_is_noticed_from_the_reactors_turn(world: World) -> None:
    """A failed send does not call back into the writer."""
    world.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    world.client.close()
    for _ in range(3):
        world.transport.write(b"x" * 100)
    assert not world.server.lost
    spin(world.reactor, lambda: world.server.lost)
    world.transport.write(b"gone")


def test_outgoing_connections_write_promptly_too(reactor: Any) -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    protocol = Recorder()
    factory = ClientFactory()
    factory.noisy = False
    factory.protocol = lambda: protocol  # type: ignore[assignment]
    connector = connect_prompt(reactor, "127.0.0.1", listening.getsockname()[1], factory, timeout_s=5)
    spin(reactor, lambda: protocol.transport is not None)
    accepted, _ = listening.accept()
    accepted.settimeout(1)
    transport: Any = protocol.transport
    transport.write(b"hello")
    assert accepted.recv(10) == b"hello"
    assert transport.queued() == 0
    connector.disconnect()
    spin(reactor, lambda: protocol.lost)
    accepted.close()
    listening.close()


def test_a_bound_socket_of_a_service_manager_is_taken_over(reactor: Any) -> None:
    given = socket.create_server(("127.0.0.1", 0))
    given.setblocking(False)
    server = Recorder()
    port = adopt_prompt(reactor, given.fileno(), Factory.forProtocol(lambda: server))
    client = socket.create_connection(given.getsockname())
    spin(reactor, lambda: server.transport is not None)
    transport: Any = server.transport
    transport.write(b"adopted")
    client.settimeout(1)
    assert client.recv(10) == b"adopted"
    transport.abortConnection()
    spin(reactor, lambda: server.lost)
    client.close()
    port.stopListening()
    spin(reactor, lambda: not port.connected)
    given.close()


def test_an_empty_address_is_both_families(reactor: Any) -> None:
    port = listen_prompt(reactor, 0, Factory.forProtocol(Recorder), backlog=5, interface="")
    number = port.getHost().port
    try:
        socket.create_connection(("127.0.0.1", number)).close()
        if port.interface == "::":
            socket.create_connection(("::1", number)).close()
        for _ in range(5):
            reactor.runUntilCurrent()
            reactor.doIteration(0.01)
    finally:
        port.stopListening()
        spin(reactor, lambda: not port.connected)


def drained(world: World, wanted: int) -> int:
    """Read at the client until so many bytes came, turning the loop; how many came."""
    world.client.settimeout(0.05)
    got = 0
    for _ in range(10_000):
        world.reactor.runUntilCurrent()
        world.reactor.doIteration(0)
        if got >= wanted:
            break
        try:
            got += len(world.client.recv(1_000_000))
        except TimeoutError:
            continue
    return got


def test_a_full_socket_with_nothing_queued(world: World) -> None:
    """It takes nothing: everything is queued, and sent when there is room."""
    filled = 0
    try:
        while True:
            filled += world.transport.socket.send(b"x" * 100_000)
    except BlockingIOError:
        pass
    world.transport.write(b"")
    assert world.transport.queued() == 0
    world.transport.write(b"tail")
    assert world.transport.queued() == 4
    assert drained(world, filled + 4) == filled + 4
    assert world.transport.queued() == 0


def test_a_peer_that_does_not_read_is_not_read_from(world: World) -> None:
    """Without a producer to stop: above 1 MiB in the queue reading ends, below half of it goes on."""
    total = 0
    while world.transport.queued() <= 1 << 20:
        world.transport.write(b"x" * 300_000)
        total += 300_000
    world.transport.write(b"x" * 300_000)
    total += 300_000
    world.client.sendall(b"hello?")
    for _ in range(5):
        world.reactor.runUntilCurrent()
        world.reactor.doIteration(0.01)
    assert world.server.data == b""
    assert drained(world, total) == total
    spin(world.reactor, lambda: world.server.data == b"hello?")


def test_what_the_peer_has_not_taken_is_known(world: World) -> None:
    """The kernel's queue included: a slow reader is told by it from one that does not read at all."""
    assert world.transport.undelivered() == 0
    total = 0
    while not world.transport.queued():
        world.transport.write(b"x" * 300_000)
        total += 300_000
    before = world.transport.undelivered()
    assert before > world.transport.queued()
    world.client.settimeout(1)
    got = 0
    while world.transport.undelivered() == before and got < total:
        got += len(world.client.recv(100_000))
    assert world.transport.undelivered() < before
    world.transport.abortConnection()
    spin(world.reactor, lambda: world.server.lost)


def test_a_lost_connection_has_nothing_in_the_kernels_queue(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The question fails, and is no failure."""

    def refuse(*_: Any) -> Any:
        raise OSError(errno.EBADF, "closed")

    monkeypatch.setattr("fcntl.ioctl", refuse)
    assert world.transport.undelivered() == world.transport.queued() == 0


def test_a_pause_outlives_the_queue(world: World) -> None:
    """Who paused resumes; a queue that ran dry does not, and resuming waits for the queue."""
    total = 0
    while world.transport.queued() <= 1 << 20:
        world.transport.write(b"x" * 300_000)
        total += 300_000
    world.transport.pauseProducing()
    world.client.sendall(b"one")
    assert drained(world, total) == total
    assert world.server.data == b""
    world.transport.resumeProducing()
    spin(world.reactor, lambda: world.server.data == b"one")
    total = 0
    while world.transport.queued() <= 1 << 20:
        world.transport.write(b"x" * 300_000)
        total += 300_000
    world.transport.pauseProducing()
    world.transport.resumeProducing()
    world.client.sendall(b"two")
    for _ in range(5):
        world.reactor.runUntilCurrent()
        world.reactor.doIteration(0.01)
    assert world.server.data == b"one"
    assert drained(world, total) == total
    spin(world.reactor, lambda: world.server.data == b"onetwo")


def test_a_cut_overtakes_a_close(world: World) -> None:
    """Lost before the close's own turn: told once."""
    world.transport.loseConnection()
    world.transport.connectionLost(Failure(ConnectionDone()))
    for _ in range(3):
        world.reactor.runUntilCurrent()
        world.reactor.doIteration(0)
    assert world.server.lost


def test_an_upstream_that_does_not_read_is_read_from_all_the_same(reactor: Any) -> None:
    """Its answer may be what makes room; who sends has a producer."""
    listening = socket.create_server(("127.0.0.1", 0))
    protocol = Recorder()
    factory = ClientFactory()
    factory.noisy = False
    factory.protocol = lambda: protocol  # type: ignore[assignment]
    connect_prompt(reactor, "127.0.0.1", listening.getsockname()[1], factory, timeout_s=5)
    spin(reactor, lambda: protocol.transport is not None)
    accepted, _ = listening.accept()
    transport: Any = protocol.transport
    assert transport.getTcpNoDelay()
    while transport.queued() <= 1 << 20:
        transport.write(b"x" * 300_000)
    assert transport.undelivered() > transport.queued()
    accepted.sendall(b"answer")
    spin(reactor, lambda: protocol.data == b"answer")
    transport.abortConnection()
    spin(reactor, lambda: protocol.lost)
    accepted.close()
    listening.close()


@pytest.mark.parametrize(("number", "falls_back"), [(errno.EAFNOSUPPORT, True), (errno.EADDRNOTAVAIL, True), (errno.EADDRINUSE, False)])
def test_a_host_without_ipv6_gets_ipv4(reactor: Any, monkeypatch: pytest.MonkeyPatch, number: int, falls_back: bool) -> None:
    """Only for that reason: a port in use stays an error."""
    listen = PromptPort.startListening

    def start(port: PromptPort) -> None:
        if port.interface == "::":
            raise CannotListenError("::", port.port, OSError(number, "no"))
        listen(port)

    monkeypatch.setattr(PromptPort, "startListening", start)
    if not falls_back:
        with pytest.raises(CannotListenError):
            listen_prompt(reactor, 0, Factory.forProtocol(Recorder), backlog=5, interface="")
        return
    port = listen_prompt(reactor, 0, Factory.forProtocol(Recorder), backlog=5, interface="")
    assert port.interface == ""
    socket.create_connection(("127.0.0.1", port.getHost().port)).close()
    spin(reactor, lambda: True)
    port.stopListening()
    spin(reactor, lambda: not port.connected)


def test_a_port_in_use_is_an_error(reactor: Any) -> None:
    """For whoever starts the gateway."""
    taken = socket.create_server(("127.0.0.1", 0))
    with pytest.raises(CannotListenError):
        listen_prompt(reactor, taken.getsockname()[1], Factory.forProtocol(Recorder), backlog=5, interface="127.0.0.1")
    taken.close()
