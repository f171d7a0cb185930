"""A connection to an upstream: usable only once its identity was checked, and whoever waits is told exactly once."""

from __future__ import annotations

from typing import Any

import pytest
from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from tests.support.certs import SERVER, Issued, make_authority
from tests.support.handshakes import VERSIONS, StepClock
from tests.support.memory_channel import MemoryTransport
from tests.support.memory_edge import RecordingApplication, take
from tlsgate.errors import UpstreamError
from tlsgate.pki.pem import parse_pem
from tlsgate.tls.client import ClientContextCache, build_upstream_identity
from tlsgate.tls.trust import build_trust
from tlsgate.tls.upstream import TlsClient, UpstreamTls

both = pytest.mark.parametrize("version", VERSIONS, ids=["tls12", "tls13"])

ROOT = make_authority("Upstream root")
GOOD = ROOT.issue("upstream", names=["up.test", "127.0.0.1"], usages=SERVER)
OTHER_NAME = ROOT.issue("upstream", names=["other.test"], usages=SERVER)
UNTRUSTED = make_authority("Foreign root").issue("upstream", names=["up.test"], usages=SERVER)
CLIENT = make_authority("Client root").issue("gateway")
TRUST = build_trust([parse_pem(ROOT.pem)], "test")


class Upstream:
    """A TlsClient and the upstream that it talks to.

    :param issued: what the upstream shows.
    :param identity: settings of the identity.
    """

    def __init__(self, issued: Issued = GOOD, version: int = VERSIONS[1], *, ask: bool = False, **identity: Any) -> None:
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)
        context.use_certificate(issued.certificate)
        context.use_privatekey(issued.key)
        if ask:
            context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
        self.there = SSL.Connection(context, None)
        self.there.set_accept_state()
        who = build_upstream_identity(**{"host": "up.test", "port": 443, "trust": TRUST, **identity})
        self.application = RecordingApplication()
        self.results: list[Any] = []
        done: Deferred[None] = Deferred()
        done.addCallbacks(self.results.append, lambda failure: self.results.append(failure.value))
        self.done = done
        self.client = TlsClient(UpstreamTls(who, ClientContextCache(StepClock()).get(who)), self.application, done)
        self.transport = MemoryTransport()
        self.client.makeConnection(self.transport)
        self.error = ""

    def shake(self) -> Upstream:
        """Run the handshake."""
        for _ in range(10):
            if not self.carry():
                break
        return self

    def carry(self) -> bool:
        """Move bytes both ways once."""
        data = self.transport.value()
        self.transport.clear()
        if data:
            self.there.bio_write(data)
        try:
            self.there.do_handshake()
        except SSL.WantReadError:
            pass
        except SSL.Error as problem:
            self.error = "; ".join(entry[2] for entry in problem.args[0])
        answer = take(self.there)
        if answer and not self.transport.disconnected:
            self.client.dataReceived(answer)
        return bool(data or answer)

    @property
    def problem(self) -> UpstreamError:
        """What the one who waited got."""
        (problem,) = self.results
        assert isinstance(problem, UpstreamError)
        assert problem.refusal == "upstream.failed"
        return problem


@both
def test_the_application_begins_when_the_upstream_is_who_it_should_be(version: int) -> None:
    """Then it has its transport, and the one who waits is told."""
    upstream = Upstream(version=version)
    assert upstream.application.transport is None
    assert upstream.client.getPeerCertificate() is None
    upstream.shake()
    assert upstream.results == [None]
    assert upstream.application.transport is upstream.client
    assert upstream.there.get_servername() == b"up.test"
    assert upstream.client.getPeerCertificate().subject == GOOD.certificate.subject
    upstream.application.transport.write(b"hello")
    upstream.carry()
    assert upstream.there.recv(100) == b"hello"
    upstream.there.sendall(b"answer")
    upstream.carry()
    assert upstream.application.data == b"answer"


@both
def test_bytes_of_an_upstream_that_speaks_first_are_not_lost(version: int) -> None:
    """A greeting comes with the last flight; the one who waits is told before it is delivered."""
    upstream = Upstream(version=version)
    order: list[str] = []
    upstream.application.on_data = lambda data: order.append("data")
    upstream.done.addCallback(lambda _: order.append("done"))
    for _ in range(5):
        data = upstream.transport.value()
        upstream.transport.clear()
        upstream.there.bio_write(data) if data else None
        try:
            upstream.there.do_handshake()
            upstream.there.sendall(b"220 hello")
        except SSL.Error:
            pass
        upstream.client.dataReceived(take(upstream.there))
        if "data" in order:
            break
    assert order[:2] == ["done", "data"]
    assert upstream.application.data.startswith(b"220 hello")


@both
def test_a_client_certificate_is_shown_when_asked_for(version: int) -> None:
    """The one of the identity."""
    upstream = Upstream(version=version, ask=True, client=parse_pem(CLIENT.full_pem)).shake()
    assert upstream.results == [None]
    shown = upstream.there.get_peer_certificate(as_cryptography=True)
    assert shown is not None
    assert shown.subject == CLIENT.certificate.subject


def test_addresses_are_connected_to_without_a_name() -> None:
    """RFC 6066 3; the certificate must have the address."""
    upstream = Upstream(host="127.0.0.1").shake()
    assert upstream.results == [None]
    assert upstream.there.get_servername() is None


@both
@pytest.mark.parametrize(("issued", "settings", "reason"), [
    (UNTRUSTED, {}, "certificate 0"),
    (OTHER_NAME, {}, "other.test"),
    (GOOD, {"pins": frozenset({b"x" * 32})}, "pins"),
])  # fmt: skip
def test_the_wrong_upstream_is_not_used(version: int, issued: Issued, settings: dict[str, Any], reason: str) -> None:
    """The application never begins; the error names host and reason; our certificate is not sent in TLS 1.3."""
    upstream = Upstream(issued, version, ask=True, client=parse_pem(CLIENT.full_pem), **settings).shake()
    assert "TLS to up.test: " in upstream.problem.reason
    assert reason in upstream.problem.reason
    assert upstream.problem.flag.startswith("TL")
    assert upstream.application.transport is None
    assert upstream.transport.disconnecting or upstream.transport.disconnected
    if version == VERSIONS[1]:
        assert upstream.there.get_peer_certificate() is None
    upstream.client.connectionLost(Failure(ConnectionDone()))
    assert len(upstream.results) == 1


@pytest.mark.parametrize("data", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00" * 50, b"\x15\x03\x01\x00\x02\x02\x28"])
def test_an_upstream_that_does_not_speak_tls(data: bytes) -> None:
    """Plain HTTP, junk, an alert."""
    upstream = Upstream()
    upstream.client.dataReceived(data)
    assert upstream.problem.flag.startswith("TL")
    assert upstream.application.transport is None
    assert upstream.transport.disconnecting
    upstream.client.dataReceived(data)
    assert len(upstream.results) == 1


def test_an_upstream_that_goes_within_the_handshake() -> None:
    """FIN, then the loss."""
    upstream = Upstream()
    upstream.client.readConnectionLost()
    assert upstream.transport.disconnected
    upstream.client.connectionLost(Failure(ConnectionDone()))
    assert "connection lost during the handshake" in upstream.problem.reason
    assert upstream.client.getPeerCertificate() is None


@both
def test_an_upstream_that_breaks_later_tells_the_application(version: int) -> None:
    """Not the one who waited; the alert is sent before the close."""
    upstream = Upstream(version=version).shake()
    upstream.client.dataReceived(b"\x17\x03\x03\x00\x20" + b"x" * 32)
    assert upstream.results == [None]
    assert len(upstream.application.lost) == 1
    assert upstream.transport.value()
    assert upstream.transport.disconnecting
    upstream.client.connectionLost(Failure(ConnectionDone()))
    upstream.client._drop()
    assert len(upstream.application.lost) == 1


@pytest.mark.parametrize("good", [True, False])
def test_nobody_is_told_who_has_given_up_waiting(good: bool) -> None:
    """Cancelled, or timed out: the handshake's end is nobody's news."""
    upstream = Upstream(GOOD if good else UNTRUSTED)
    upstream.done.cancel()
    upstream.results.clear()
    upstream.shake()
    assert upstream.results == []
