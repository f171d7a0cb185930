"""The server side of the edge: hello first, then the choice, then OpenSSL; refusals that a client can read; nothing slips between."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL, crypto

from tests.support.certs import Issued, make_authority
from tests.support.fuzzing import fuzzed
from tests.support.handshakes import VERSIONS, StepClock, client_context
from tests.support.hellos import hello_of_pyopenssl, message, records, server_names
from tests.support.memory_edge import EdgeConnection, MemoryEdge, allow, choice, take
from tests.support.secondhello import SecondHelloClient, SNIExtension, TLSError, set_name
from tlsgate.errors import PkiError
from tlsgate.model.tls import ClientAuth
from tlsgate.tls.server import TlsServer

both = pytest.mark.parametrize("version", VERSIONS, ids=["tls12", "tls13"])

ROOT = make_authority("Client CA")
ALICE = ROOT.issue("alice")
MALLORY = make_authority("Other CA").issue("mallory")


def over(connection: EdgeConnection) -> bool:
    """Whether the TCP connection ends."""
    transport = connection.transport
    return bool(transport.disconnecting or transport.half_closed or transport.disconnected)


@both
@pytest.mark.parametrize("name", [b"a.test", b"A.Test", None])
def test_the_name_chooses_before_openssl_sees_a_byte(version: int, name: bytes | None) -> None:
    """Normalised, with the port of the listener; counted from the connection to the end of the handshake."""
    edge = MemoryEdge(choice())
    connection = EdgeConnection(edge, client_context(version), name)
    assert edge.under_way == 1
    assert edge.asked == []
    connection.shake()
    wanted = "a.test" if name else None
    assert edge.asked == [(8443, wanted)]
    assert connection.server.server_name == wanted
    assert edge.facts[0].server_name == wanted
    assert connection.server.peer_connection.tls is edge.facts[0]
    assert edge.under_way == 0
    assert edge.refused == []
    connection.lose()
    assert edge.closed == 1


@both
def test_each_name_gets_its_own_context(version: int) -> None:
    """One that demands a certificate, one that does not; in both orders."""
    listed = allow(ROOT)
    edge = MemoryEdge(choice(), {"b.test": choice(ClientAuth.REQUIRE, listed)})
    for name, certificate, works in (
        (b"a.test", None, True),
        (b"b.test", None, False),
        (b"b.test", ALICE, True),
        (b"b.test", MALLORY, False),
        (b"a.test", ALICE, True),
    ):
        edge.application = None
        connection = EdgeConnection(edge, client_context(version, certificate), name).shake()
        assert (connection.application is not None) == works, (name, certificate)
        if not works:
            assert "alert" in connection.client_error
            assert over(connection)
    assert len(edge.refused) == 2
    assert edge.facts[1].peer is not None
    assert edge.facts[1].peer.fingerprint == ALICE.fingerprint
    assert edge.facts[2].peer is None


@both
def test_a_refused_certificate_is_named(version: int) -> None:
    """Fingerprint, subject and rule for the log; the identity for whoever writes it."""
    edge = MemoryEdge(choice(ClientAuth.REQUIRE, allow(ROOT)))
    connection = EdgeConnection(edge, client_context(version, MALLORY)).shake()
    assert MALLORY.fingerprint in edge.refused[0]
    assert "CN=mallory" in edge.refused[0]
    assert connection.server.refused_peer is not None
    assert connection.server.refused_peer.fingerprint == MALLORY.fingerprint


@pytest.mark.parametrize("data", [
    b"\x00" * 20,
    b"\x05\x01\x00",
    b"\x80\x2e\x01\x00\x02" + b"\x00" * 40,
    b"\x15\x03\x01\x00\x02\x02\x28",
    b"\x17\x03\x03\x00\x05hello",
    records(message(kind=2)),
    records(message([(0, server_names(b"a.test", b"b.test"))])),
    records(message([(0, server_names(b"a\x00b"))])),
    records(b"\x01\xff\xff\xff"),
])  # fmt: skip
def test_what_cannot_be_read_is_closed(data: bytes) -> None:
    """Fail closed, without a word, however it is cut; nothing is asked of the gateway (decisions 1.6)."""
    for step in (len(data), 1):
        edge = MemoryEdge(choice())
        connection = EdgeConnection(edge)
        for at in range(0, len(data), step):
            connection.server.dataReceived(data[at : at + step])
        assert connection.transport.disconnecting
        assert connection.transport.value() == b""
        assert edge.asked == []
        assert len(edge.refused) == 1
        assert edge.refused[0].startswith("unreadable ClientHello: ")
        assert edge.under_way == 0


@given(data=st.binary(max_size=400))
def test_any_bytes_are_refused_or_wait(data: bytes) -> None:
    """Never an exception, and never more than the start of an answer."""
    edge = MemoryEdge(choice())
    connection = EdgeConnection(edge)
    connection.server.dataReceived(data) if data else None
    assert over(connection) == bool(edge.refused)


@fuzzed(40)
@given(data=st.data())
def test_a_damaged_hello_never_gets_in(data: st.DataObject) -> None:
    """One byte of a real hello is changed: refused, unfinished, or the handshake fails."""
    hello = bytearray(hello_of_pyopenssl(b"a.test"))
    at = data.draw(st.integers(0, len(hello) - 1))
    hello[at] ^= data.draw(st.integers(1, 255))
    edge = MemoryEdge(choice())
    connection = EdgeConnection(edge)
    connection.server.dataReceived(bytes(hello))
    assert edge.application is None


def test_plain_http_is_told_so() -> None:
    """Tyk's (Go's) answer in plain text, then a half-close so that it can be read."""
    for cut in (1, 3, 100):
        edge = MemoryEdge(choice())
        connection = EdgeConnection(edge)
        data = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
        for at in range(0, len(data), cut):
            connection.server.dataReceived(data[at : at + cut])
        answer = connection.transport.value()
        assert answer.startswith(b"HTTP/1.0 400 Bad Request\r\n")
        assert answer.endswith(b"\r\n\r\nClient sent an HTTP request to an HTTPS server.")
        assert connection.transport.half_closed
        assert edge.refused == ["plain HTTP on a TLS port"]
        connection.server.readConnectionLost()
        assert connection.transport.disconnecting


def test_an_unknown_name_gets_an_alert() -> None:
    """unrecognized_name (RFC 6066 3), sent before the close."""
    edge = MemoryEdge(choice(), {"a.test": None})
    connection = EdgeConnection(edge, client_context()).shake()
    assert "unrecognized name" in connection.client_error
    assert connection.transport.half_closed
    assert edge.refused == ["no policy or certificate for this name"]


@pytest.mark.parametrize("problem", [PkiError("no key"), ValueError("a REQUIRE policy needs its allow list")])
def test_a_choice_that_fails_refuses(problem: Exception) -> None:
    """Closed, with the reason in the log; the listener goes on."""
    edge = MemoryEdge(choice(), {"a.test": problem})
    connection = EdgeConnection(edge, client_context()).shake()
    assert connection.transport.disconnecting
    assert edge.refused == [f"no context for 'a.test': {problem}"]
    assert EdgeConnection(edge, client_context(), b"b.test").shake().application is not None


@both
def test_the_alert_leaves_before_the_close(version: int) -> None:
    """A refusal by OpenSSL: its alert is written, then our half closes, then the client's FIN ends it."""
    edge = MemoryEdge(choice(ClientAuth.REQUIRE, allow(ROOT)))
    connection = EdgeConnection(edge, client_context(version)).shake()
    assert "alert" in connection.client_error
    assert connection.transport.half_closed
    assert not connection.transport.disconnecting
    assert edge.lingering == 1
    connection.server.dataReceived(b"whatever")
    connection.server.readConnectionLost()
    assert connection.transport.disconnecting
    connection.lose()
    assert edge.closed == 1
    assert len(edge.refused) == 1


@both
def test_a_refused_client_that_stays_is_cut(version: int) -> None:
    """After five seconds, or 256 KiB."""
    edge = MemoryEdge(choice(ClientAuth.REQUIRE, allow(ROOT)))
    connection = EdgeConnection(edge, client_context(version)).shake()
    edge.pass_time(4.9)
    assert not connection.transport.disconnected
    edge.pass_time(0.5)
    assert connection.transport.disconnected
    connection = EdgeConnection(edge, client_context(version)).shake()
    for _ in range(4):
        connection.server.dataReceived(b"x" * 65536)
    assert not connection.transport.disconnected
    connection.server.dataReceived(b"x")
    assert connection.transport.disconnected


@pytest.mark.parametrize("start", ["nothing", "half a hello", "a hello"])
def test_a_handshake_has_its_time(start: str) -> None:
    """Ten seconds from the connection, dripping or not."""
    edge = MemoryEdge(choice())
    connection = EdgeConnection(edge)
    hello = hello_of_pyopenssl(b"a.test")
    if start == "half a hello":
        connection.server.dataReceived(hello[:50])
    elif start == "a hello":
        connection.server.dataReceived(hello)
    edge.pass_time(9.9)
    assert not over(connection)
    edge.pass_time(0.5)
    assert connection.transport.disconnected
    assert edge.refused == ["handshake deadline passed"]
    connection.lose()
    assert edge.under_way == 0
    assert edge.closed == 1


@both
def test_the_deadline_ends_with_the_handshake(version: int) -> None:
    """What follows has deadlines of its own."""
    edge = MemoryEdge(choice())
    connection = EdgeConnection(edge, client_context(version)).shake()
    edge.pass_time(60)
    assert not over(connection)


def test_a_client_that_goes_within_the_handshake() -> None:
    """FIN or reset; counted once."""
    for how in ("fin", "reset"):
        edge = MemoryEdge(choice())
        connection = EdgeConnection(edge)
        connection.server.dataReceived(hello_of_pyopenssl(b"a.test"))
        if how == "fin":
            connection.server.readConnectionLost()
            assert connection.transport.disconnected
        connection.lose()
        assert edge.refused == ["connection lost during the handshake"]
        assert (edge.under_way, edge.closed) == (0, 1)
        assert not [call for call in edge.reactor.getDelayedCalls() if call.getTime() > edge.reactor.seconds() + 1]


def test_too_many_handshakes_refuse_the_next() -> None:
    """Cut at once, not counted, not logged each."""
    edge = MemoryEdge(choice())
    edge.full = True
    connection = EdgeConnection(edge)
    assert connection.transport.disconnected
    connection.server.dataReceived(hello_of_pyopenssl(b"a.test"))
    assert edge.asked == []
    connection.lose()
    assert (edge.under_way, edge.closed, edge.refused) == (0, 1, [])


def test_an_old_handshake_can_give_way_to_newer_ones() -> None:
    """Cut, and counted once."""
    edge = MemoryEdge(choice())
    connection = EdgeConnection(edge)
    connection.server.give_way()
    assert connection.transport.disconnected
    connection.lose()
    assert edge.refused == ["gave way to newer handshakes at the limit"]
    assert (edge.under_way, edge.closed) == (0, 1)


# The name that OpenSSL reports.


class Wire:
    """A socket for tlslite whose other end is a server connection in memory."""

    def __init__(self, connection: EdgeConnection) -> None:
        self._connection = connection

    def send(self, data: Any) -> int:
        if not over(self._connection):
            self._connection.server.dataReceived(bytes(data))
        return len(data)

    def sendall(self, data: Any) -> None:
        self.send(data)

    def recv(self, size: int) -> bytes:
        transport = self._connection.transport
        data = transport.value()
        transport.clear()
        if len(data) > size:
            transport.write(data[size:])
        return data[:size]

    def close(self) -> None:
        """Nothing to close."""


def retry(monkeypatch: pytest.MonkeyPatch, edge: MemoryEdge, change: Any, name: str | None = "a.test") -> EdgeConnection:
    """Connect with a client whose second hello is another one."""
    connection = EdgeConnection(edge)
    monkeypatch.setattr("socket.create_connection", lambda *_, **__: Wire(connection))
    try:
        SecondHelloClient(0, name, change=change)
    except TLSError as problem:
        connection.client_error = str(problem) or type(problem).__name__
    return connection


def set_raw_name(name: bytes) -> Any:
    """A change of the second hello: a name that no client may send."""

    def change(hello: Any) -> None:
        set_name("x")(hello)
        hello.extensions[0] = SNIExtension().create(bytearray(name))

    return change


@pytest.mark.parametrize(("change", "reason"), [
    (None, None),
    (set_name("a.test"), None),
    (set_name("A.TEST."), None),
    (set_name("b.test"), "server name changed within the handshake from 'a.test' to 'b.test'"),
    (set_name(None), "server name changed within the handshake from 'a.test' to None"),
    (set_raw_name("b\u00e9.test".encode()), "OpenSSL reports an unreadable server name"),
    (set_raw_name(b"b test"), "OpenSSL reports an unreadable server name"),
])  # fmt: skip
def test_a_name_changed_in_a_second_hello_ends_the_handshake(monkeypatch: pytest.MonkeyPatch, change: Any, reason: str | None) -> None:
    """OpenSSL by itself goes on (decisions 1.6); even between names with one policy."""
    edge = MemoryEdge(choice())
    connection = retry(monkeypatch, edge, change)
    if reason is None:
        assert edge.application is not None
        assert edge.facts[0].server_name == "a.test"
    else:
        assert edge.application is None
        assert edge.refused == [reason]
        assert connection.transport.half_closed


def test_a_name_that_appears_in_a_second_hello_ends_the_handshake(monkeypatch: pytest.MonkeyPatch) -> None:
    """The policy was that of clients without a name."""
    edge = MemoryEdge(choice())
    retry(monkeypatch, edge, set_name("b.test"), name=None)
    assert edge.application is None
    assert edge.refused == ["server name changed within the handshake from None to 'b.test'"]


def resumed(version: int, edge: MemoryEdge, name: bytes, *, certificate: Issued | None = None) -> EdgeConnection:
    """Open a session under a.test, then use it under another name."""
    client = client_context(version, certificate)
    first = EdgeConnection(edge, client).shake()
    assert first.application is not None, (edge.refused, first.client_error)
    first.application.transport.write(b"x")
    first.read()
    session = first.client.get_session()
    edge.application = None
    edge.refused.clear()
    return EdgeConnection(edge, client, name, session=session).shake()


@both
def test_a_session_works_for_names_with_the_same_policy(version: int) -> None:
    """Shared contexts share sessions: a resumed TLS 1.2 session reports its first name, which has the same policy."""
    chosen = choice(ClientAuth.REQUEST)
    edge = MemoryEdge(chosen)
    connection = resumed(version, edge, b"b.test", certificate=ALICE)
    assert connection.application is not None
    assert edge.facts[-1].server_name == "b.test"
    assert edge.facts[-1].peer is not None
    assert edge.facts[-1].peer.fingerprint == ALICE.fingerprint


def test_a_session_whose_name_has_another_policy_by_now_is_refused() -> None:
    """TLS 1.2: the name of the session is judged anew."""
    chosen = choice(ClientAuth.REQUEST)
    edge = MemoryEdge(chosen)
    client = client_context(VERSIONS[0], ALICE)
    first = EdgeConnection(edge, client).shake()
    first.application.transport.write(b"x")
    first.read()
    session = first.client.get_session()
    edge.choices = {"a.test": choice(ClientAuth.REQUEST, scope="other")}
    edge.application = None
    connection = EdgeConnection(edge, client, b"b.test", session=session).shake()
    if connection.application is None:
        assert edge.refused == ["session of 'a.test', whose policy is another one, resumed under 'b.test'"]
    else:
        # This OpenSSL made a full handshake of it.
        assert not edge.facts[-1].resumed


@both
def test_a_resumed_session_is_judged_again(version: int) -> None:
    """Resumption skips the chain; our list does not (decisions 1.2): it expired meanwhile."""
    clock = StepClock()
    short = ROOT.issue("short", not_after=clock.now() + 3600)
    edge = MemoryEdge(choice(ClientAuth.REQUIRE, allow(ROOT), clock=clock), clock=clock)
    assert resumed(version, edge, b"a.test", certificate=short).application is not None
    client = client_context(version, short)
    edge.application = None
    first = EdgeConnection(edge, client).shake()
    first.application.transport.write(b"x")
    first.read()
    session = first.client.get_session()
    edge.application = None
    clock.wall += 7200
    connection = EdgeConnection(edge, client, session=session).shake()
    assert connection.application is None
    assert len(edge.refused) == 1
    assert short.fingerprint in edge.refused[0]


@both
def test_a_list_that_is_enforced_needs_a_certificate(version: int) -> None:
    """Whatever OpenSSL was told: without a leaf, or with one that is not listed, nobody gets in."""
    for certificate, reason in ((None, "no client certificate in the session"), (MALLORY, MALLORY.fingerprint)):
        edge = MemoryEdge(choice(ClientAuth.REQUEST, allow(ROOT), enforce=True))
        connection = EdgeConnection(edge, client_context(version, certificate)).shake()
        assert connection.application is None
        assert reason in edge.refused[0]
        assert connection.transport.half_closed


@both
def test_a_certificate_that_cannot_be_encoded_refuses(version: int) -> None:
    """Never seen; it must not become an exception, or a connection without an identity."""
    edge = MemoryEdge(choice(ClientAuth.REQUEST))

    class Broken:
        def identity(self, leaf: bytes, chain: Any) -> Any:
            raise crypto.Error([("x509", "", "cannot be encoded")])

    edge.memory = Broken()  # type: ignore[assignment]
    connection = EdgeConnection(edge, client_context(version, ALICE)).shake()
    assert connection.application is None
    assert edge.refused[0].startswith("client certificate cannot be read")


def test_early_bytes_behind_the_hello_reach_openssl() -> None:
    """A client may send more in the same read: all of it was buffered and is handed over."""
    edge = MemoryEdge(choice())
    connection = EdgeConnection(edge, client_context())
    with pytest.raises(SSL.WantReadError):
        connection.client.do_handshake()
    connection.server.dataReceived(take(connection.client) + b"\x14\x03\x03\x00\x01\x01")
    connection.to_client()
    connection.shake()
    connection.send(b"hello")
    assert connection.application.data == b"hello"


@both
def test_an_open_connection_that_breaks_lingers_like_a_refused_one(version: int) -> None:
    """Half-closed for the alert, counted, and cut in time."""
    edge = MemoryEdge(choice())
    connection = EdgeConnection(edge, client_context(version)).shake()
    connection.server.dataReceived(b"\x17\x03\x03\x00\x20" + b"x" * 32)
    assert connection.transport.half_closed
    assert edge.lingering == 1
    assert edge.refused == []
    edge.pass_time(5.5)
    assert connection.transport.disconnected
    connection.lose()
    assert edge.closed == 1


def test_a_lost_connection_is_not_dropped_again() -> None:
    """The transport is gone: nothing is asked of it."""
    edge = MemoryEdge(choice())
    connection = EdgeConnection(edge)
    connection.lose()
    TlsServer._drop(connection.server)
    assert not over(connection)
    assert edge.lingering == 0
