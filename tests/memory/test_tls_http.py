"""HTTP over TLS over nothing: real OpenSSL, the real gateway, reads of any size, and no byte lost or out of order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from tests.support.certs import SERVER, make_authority
from tests.support.fuzzing import fuzzed
from tests.support.gateway import Received
from tests.support.handshakes import VERSIONS, client_context
from tests.support.memory_channel import Answer, MemoryTransport
from tests.support.memory_edge import take
from tests.support.memory_world import Exchange, MemoryWorld
from tlsgate.model.exchange import Connection
from tlsgate.tls.server import TlsServer

CERTIFICATE = make_authority("CA").issue("s", names=["a.test"], usages=SERVER)


def respond(received: Received) -> list[bytes]:
    """Answer with target and body, in two pieces."""
    body = received.target.encode() + b" " + received.body
    return [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body), body]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> MemoryWorld:
    """A gateway with TLS on its main listener."""
    path = Path(tmp_path_factory.mktemp("tls")) / "server.pem"
    path.write_text(CERTIFICATE.full_pem)
    return MemoryWorld(respond, http_server_options={"use_ssl": True, "ssl_certificates": [str(path)]})


class Client:
    """A TLS client of the gateway.

    :param read_bytes: how much the gateway reads from the socket at once.
    """

    def __init__(self, world: MemoryWorld, version: int, read_bytes: int = 65536) -> None:
        self.world = world
        self.transport = MemoryTransport()
        self.server = TlsServer(world.gateway.site, Connection("c", "192.0.2.7", 1, world.gateway.config.listen_port, True))
        self.server.makeConnection(self.transport)
        self._read_bytes = read_bytes
        self._wire = b""
        self.received = b""
        self.ssl: Any = SSL.Connection(client_context(version), None)
        self.ssl.set_connect_state()
        self.ssl.set_tlsext_host_name(b"a.test")
        for _ in range(4):
            try:
                self.ssl.do_handshake()
            except SSL.WantReadError:
                pass
            self.pump()

    def pump(self) -> None:
        """Carry bytes both ways until nothing moves: the gateway reads only while it wants to."""
        self._wire += take(self.ssl)
        moved = True
        while moved:
            moved = False
            if self._wire and self.transport.producerState == "producing" and not self.transport.disconnecting:
                piece, self._wire = self._wire[: self._read_bytes], self._wire[self._read_bytes :]
                self.server.dataReceived(piece)
                moved = True
            self.world.settle()
            answer = self.transport.value()
            if answer:
                self.transport.clear()
                self.ssl.bio_write(answer)
                moved = True
        while True:
            try:
                self.received += self.ssl.recv(65536)
            except SSL.Error:
                break
        self._wire += take(self.ssl)

    def send(self, data: bytes) -> None:
        """Encrypt and deliver."""
        for at in range(0, len(data), 100_000):
            self.ssl.sendall(data[at : at + 100_000])
            self.pump()

    def answers(self, *methods: bytes) -> list[Answer]:
        """What came, read strictly."""
        return Exchange([], list(methods), self.received, False, False).answers()

    def close(self) -> None:
        """The connection ends."""
        self.server.connectionLost(Failure(ConnectionDone()))
        self.world.settle()


both = pytest.mark.parametrize("version", VERSIONS, ids=["tls12", "tls13"])


@both
@pytest.mark.parametrize("read_bytes", [1000, 16384, 65536])
def test_many_pipelined_requests_are_answered_in_order(world: MemoryWorld, version: int, read_bytes: int) -> None:
    """Some 300 KiB of requests at once: held, paused and resumed within OpenSSL's buffers (RFC 9112 9.3.2)."""
    client = Client(world, version, read_bytes)
    targets = [b"/%d" % number for number in range(330)]
    client.send(b"".join(b"GET %b HTTP/1.1\r\nHost: a.test\r\nX: %b\r\n\r\n" % (target, b"x" * 900) for target in targets))
    assert [answer.body for answer in client.answers(*[b"GET"] * len(targets))] == [target + b" " for target in targets]
    client.close()


@both
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_body_that_fills_every_buffer_arrives_whole(world: MemoryWorld, version: int, framing: str) -> None:
    """Its first read holds more than the buffer before its reader; then comes the next request."""
    body = bytes(range(256)) * 3000
    if framing == "length":
        request = b"POST /up HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    else:
        pieces = [body[at : at + 50_000] for at in range(0, len(body), 50_000)]
        request = b"POST /up HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"
        request += b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    client = Client(world, version)
    client.send(request + b"GET /next HTTP/1.1\r\nHost: a.test\r\n\r\n")
    assert [answer.body for answer in client.answers(b"POST", b"GET")] == [b"/up " + body, b"/next "]
    client.close()


@fuzzed(25)
@given(
    version=st.sampled_from(VERSIONS),
    read_bytes=st.sampled_from([1, 7, 500, 16406, 65536]),
    bodies=st.lists(st.one_of(st.none(), st.binary(max_size=3000)), min_size=1, max_size=8),
    at_once=st.booleans(),
)
def test_any_requests_over_any_reads(world: MemoryWorld, version: int, read_bytes: int, bodies: list[bytes | None], at_once: bool) -> None:
    """Each is answered with what it was."""
    client = Client(world, version, read_bytes)
    requests = [
        b"GET /%d HTTP/1.1\r\nHost: a.test\r\n\r\n" % number
        if body is None
        else b"POST /%d HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % (number, len(body)) + body
        for number, body in enumerate(bodies)
    ]
    for data in [b"".join(requests)] if at_once else requests:
        client.send(data)
    wanted = [b"/%d " % number + (body or b"") for number, body in enumerate(bodies)]
    assert [answer.body for answer in client.answers(*[b"GET"] * len(bodies))] == wanted
    client.close()


@both
def test_the_connection_that_was_asked_to_end_ends_cleanly(world: MemoryWorld, version: int) -> None:
    """close_notify behind the last answer."""
    client = Client(world, version)
    client.send(b"GET /x HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
    assert client.answers(b"GET")[0].body == b"/x "
    with pytest.raises(SSL.ZeroReturnError):
        client.ssl.recv(1)
    assert client.transport.disconnecting
    client.close()
