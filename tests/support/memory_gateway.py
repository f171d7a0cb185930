"""A whole gateway in memory: real generation, site and channel, a clock for the reactor, transports that keep what is written."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock as FakeReactor

from tests.support.memory_channel import Answer, MemoryTransport, parse_answer
from tlsgate.clock import Clock, SystemClock
from tlsgate.config.load import parse_config
from tlsgate.control.routes import ControlRoutes
from tlsgate.definitions.loader import load_definitions
from tlsgate.gateway.channel import HttpChannel
from tlsgate.gateway.generation import Generation, attach_resources, build_generation
from tlsgate.gateway.site import Site
from tlsgate.gateway.state import State
from tlsgate.model.exchange import Connection
from tlsgate.model.tls import TlsFacts
from tlsgate.proxy.pool import Pool
from tlsgate.store.memory import MemoryStore
from tlsgate.tls.deadlines import Deadlines
from tlsgate.tls.peer import PeerMemory

__all__ = ["MemoryGateway"]


class MemoryGateway:
    """Built from a configuration tree and inline definitions.

    :param apis: definitions, Classic or OAS.
    :param clock: of everything but timers; the system's when there is none.
    :param config: fields of tyk.conf; ``tlsgate`` is merged.
    """

    def __init__(self, *apis: dict[str, Any], clock: Clock | None = None, **config: Any) -> None:
        self.reactor: Any = FakeReactor()
        self.reactor.advance(1000.0)
        self.clock = clock or SystemClock()
        self.deadlines = Deadlines(self.reactor, self.reactor.seconds)
        self.pool = Pool(self.reactor, self.deadlines, max_idle=0, max_idle_per_key=10, idle_s=90.0)
        own = {"development": True, "api_definitions": list(apis), **config.pop("tlsgate", {})}
        tree = {"app_path": "", "secret": "s" * 32, "tlsgate": own, **config}
        loaded = parse_config(tree, "tyk.conf.json", {})
        assert not loaded.failed, loaded.problems
        self.config = loaded.config
        self.state = State(MemoryStore(self.clock, self.reactor), self.config, self.reactor, self.clock)
        self.generation = self.build()
        self.site = Site(self.reactor, self.clock, self.config, self.generation, None, self.deadlines, PeerMemory())
        self.site.control = ControlRoutes(self.site, self.config, store=self.state.store)
        attach_resources(self.generation, self.site)

    def build(self, previous: Generation | None = None, *, same_files: bool = False) -> Generation:
        """Build a generation from the configuration."""
        definitions = load_definitions(self.config, {})
        return build_generation(
            self.config,
            definitions.apis,
            definitions.problems,
            reserved=definitions.reserved,
            clock=self.clock,
            pool=self.pool,
            reactor=self.reactor,
            environ={},
            state=self.state,
            previous=previous,
            same_files=same_files,
        )

    def connect(
        self, *, port: int | None = None, tls: TlsFacts | None = None, address: str = "192.0.2.7"
    ) -> tuple[HttpChannel, MemoryTransport]:
        """Return a channel on a port of the configuration."""
        connection = Connection("c-1", address, 4711, self.config.listen_port if port is None else port, tls is not None)
        connection.tls = tls
        channel, transport = HttpChannel(self.site, connection), MemoryTransport()
        channel.makeConnection(transport)
        return channel, transport

    def ask(self, request: bytes, *, port: int | None = None, tls: TlsFacts | None = None) -> Answer:
        """Send one request on a connection of its own and return the answer."""
        channel, transport = self.connect(port=port, tls=tls)
        channel.dataReceived(request)
        return parse_answer(transport.value())
