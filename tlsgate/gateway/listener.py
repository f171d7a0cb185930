"""Accepts connections on one port and puts TLS, HTTP or a raw service on them; knows no API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.protocol import Factory
from twisted.logger import Logger

from tlsgate.gateway.channel import HttpChannel
from tlsgate.gateway.proxy_header import ProxyHeaderGate
from tlsgate.gateway.raw import RawService
from tlsgate.ids import new_connection_id
from tlsgate.model.exchange import Connection
from tlsgate.tls.server import TlsServer
from tlsgate.tls.transport import PromptPort, adopt_prompt, listen_prompt

if TYPE_CHECKING:
    from tlsgate.gateway.site import Site

__all__ = ["Listener", "ListenerSpec"]

_log = Logger()


class ListenerSpec:
    """What a port is: compared by value, so that a reload keeps what did not change.

    :param role: ``gateway``, ``control`` or ``api``.
    :param key: the configured port number, by which tables are asked (0 may stand for any free port).
    :param tls: connections start with a ClientHello.
    :param raw: a plain byte-stream service (``protocol: tcp``): its API's id; TLS ones are found by their policy.
    :param proxied: connections start with a PROXY header (``enable_proxy_protocol``).
    """

    __slots__ = ("address", "key", "proxied", "raw", "role", "tls")

    def __init__(self, role: str, address: str, key: int, *, tls: bool, raw: str = "", proxied: bool = False) -> None:
        self.role = role
        self.address = address
        self.key = key
        self.tls = tls
        self.raw = raw
        self.proxied = proxied

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ListenerSpec) and all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    def __hash__(self) -> int:
        return hash((self.role, self.address, self.key, self.tls, self.raw, self.proxied))


class Listener(Factory):
    """One listening port."""

    noisy = False

    def __init__(self, site: Site, spec: ListenerSpec) -> None:
        self.site = site
        self.spec = spec
        self.port: PromptPort | None = None

    def start(self, reactor: Any, backlog: int, adopted_fd: int | None = None) -> None:
        """Bind and listen.

        :param adopted_fd: a listening socket given by the service manager.
        :raises twisted.internet.error.CannotListenError: the port cannot be had.
        """
        if adopted_fd is not None:
            self.port = adopt_prompt(reactor, adopted_fd, self)
        else:
            self.port = listen_prompt(reactor, self.spec.key, self, backlog=backlog, interface=self.spec.address)

    def hold(self) -> None:
        """Accept nobody yet: clients wait in the backlog."""
        if self.port is not None:
            self.port.stopReading()

    def release(self) -> None:
        """Accept whoever waits."""
        if self.port is not None:
            self.port.startReading()

    def stop(self) -> Any:
        """Accept nothing more.

        :returns: a Deferred that fires when the socket is closed, or None.
        """
        port, self.port = self.port, None
        return port.stopListening() if port is not None else None

    @property
    def port_number(self) -> int:
        """The bound port."""
        return int(self.port.getHost().port) if self.port is not None else self.spec.key

    def describe(self) -> str:
        """Return the start-up line (decisions 4.5)."""
        address = self.spec.address or (self.port.interface if self.port is not None else "") or "0.0.0.0"  # noqa: S104 - names what is bound
        tls = "yes" if self.spec.tls else "no"
        return f"listening role={self.spec.role} address={address} port={self.port_number} tls={tls}"

    def buildProtocol(self, addr: Any) -> Any:
        """Return what runs over a new connection, None over the connection limit."""
        site = self.site
        if site.connection_count >= site.limits.max_connections:
            site.counters["connections_over_limit"] += 1
            if not site.make_room():
                return None
        site.counters["connections"] += 1
        spec = self.spec
        connection = Connection(new_connection_id(), _textual(addr.host), addr.port, spec.key, spec.tls)
        return ProxyHeaderGate(site, connection, self._build) if spec.proxied else self._build(connection)

    def _build(self, connection: Connection) -> Any:
        site, spec = self.site, self.spec
        if spec.raw:
            service = site.generation.find_raw(spec.raw)
            return RawService(service, site, connection) if service is not None else None
        if spec.tls:
            return TlsServer(site, connection)
        return HttpChannel(site, connection)


def _textual(host: str) -> str:
    """Return an address in its plain form: an IPv4 client of an IPv6 socket is the IPv4 client."""
    return host[7:] if host.startswith("::ffff:") and "." in host else host
