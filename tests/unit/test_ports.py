"""Tests of `tlsgate.ports`."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.error import CannotListenError

from tests.support.memory_gateway import MemoryGateway
from tlsgate.gateway import listener as listener_module
from tlsgate.gateway.listener import ListenerSpec
from tlsgate.ports import OpenPorts

ONE, TWO = ListenerSpec("gateway", "127.0.0.1", 8080, tls=True), ListenerSpec("api", "127.0.0.1", 8081, tls=False)
CHANGED = ListenerSpec("api", "127.0.0.1", 8081, tls=True)


class Port:
    def __init__(self, number: int) -> None:
        self.number = number
        self.is_reading = True

    def stopReading(self) -> None:
        self.is_reading = False

    def startReading(self) -> None:
        self.is_reading = True

    def getHost(self) -> Any:
        return type("Address", (), {"port": self.number})

    def stopListening(self) -> str:
        return f"closing {self.number}"


class Host:
    """Tells what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def take_socket(self, address: str, port: int, backlog: int) -> int | None:
        return None

    def settled(self) -> None:
        self.told.append("settled")

    def released(self, address: str, port: int) -> None:
        self.told.append(f"released {port}")

    def announce(self, line: str) -> None:
        self.told.append(line)


class World:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sockets: list[Port] = []
        self.taken: set[int] = set()
        self.host = Host()
        self.ports = OpenPorts(self.host)  # type: ignore[arg-type]
        self.site = MemoryGateway().site
        monkeypatch.setattr(listener_module, "listen_prompt", self._listen)

    def _listen(self, reactor: Any, number: int, factory: Any, **_: Any) -> Port:
        if number in self.taken:
            raise CannotListenError("127.0.0.1", number, OSError("taken"))
        self.sockets.append(Port(number))
        return self.sockets[-1]

    def open(self, *specs: ListenerSpec, held: bool = False) -> list[str]:
        """Open ports, and return what the host was told."""
        del self.host.told[:]
        self.ports.open(specs, self.site, None, 128, held=held)
        return self.host.told


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def line(spec: ListenerSpec) -> str:
    return f"listening role={spec.role} address={spec.address} port={spec.key} tls={'yes' if spec.tls else 'no'}"


def test_held_ports_let_nobody_in_and_are_not_announced(world: World) -> None:
    """Clients that come while certificates are read wait in the backlog."""
    assert world.open(ONE, TWO, held=True) == ["settled"]
    assert [port.is_reading for port in world.sockets] == [False, False]
    world.ports.release()
    assert [port.is_reading for port in world.sockets] == [True, True]
    assert world.host.told == ["settled", line(ONE), line(TWO)]


def test_what_stays_is_not_opened_again(world: World) -> None:
    """A reload: no connection is refused meanwhile."""
    world.open(ONE)
    assert world.open(ONE, TWO) == [line(TWO), "settled"]
    assert [port.number for port in world.sockets] == [8080, 8081]


def test_a_port_that_speaks_something_else_stays_open(world: World) -> None:
    """Another socket could not be bound beside it."""
    world.open(ONE, TWO)
    assert world.open(ONE, CHANGED) == ["settled", line(CHANGED)]
    assert len(world.sockets) == 2
    world.ports.keep((ONE, CHANGED))
    assert world.ports.close() == ["closing 8080", "closing 8081"]


def test_others_are_closed(world: World) -> None:
    """What a reload has taken away."""
    world.open(ONE, TWO)
    world.ports.keep((TWO,))
    assert world.host.told[-1] == "released 8080"
    assert world.ports.close() == ["closing 8081"]
    assert world.ports.close() == []


def test_a_port_that_cannot_be_had_leaves_the_others(world: World) -> None:
    """The caller closes what it does not keep."""
    world.taken.add(8081)
    with pytest.raises(CannotListenError):
        world.open(ONE, TWO)
    world.ports.keep(())
    assert world.host.told[-1] == "released 8080"
