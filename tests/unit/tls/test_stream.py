"""A TLS stream between a transport and an application: bytes in any pieces, ends of every kind, pauses; real OpenSSL on both sides."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

from tests.support.certs import make_authority
from tests.support.fuzzing import fuzzed
from tests.support.handshakes import VERSIONS, client_context
from tests.support.memory_channel import MemoryTransport
from tests.support.memory_edge import EdgeConnection, MemoryEdge, RecordingApplication, allow, choice, take
from tlsgate.model.tls import ClientAuth
from tlsgate.tls.stream import TlsStream, describe_ssl_error
from tlsgate.tls.verify import HandshakeState

both = pytest.mark.parametrize("version", VERSIONS, ids=["tls12", "tls13"])


def connected(version: int = VERSIONS[1], transport: MemoryTransport | None = None) -> EdgeConnection:
    """A finished handshake."""
    connection = EdgeConnection(MemoryEdge(choice()), client_context(version), transport=transport).shake()
    assert connection.application is not None
    assert not connection.client_error
    return connection


def application(connection: EdgeConnection) -> Any:
    return connection.application


@both
def test_bytes_go_both_ways(version: int) -> None:
    """An application sees an ordinary transport."""
    connection = connected(version)
    app = application(connection)
    assert app.transport is connection.server
    connection.send(b"hello")
    assert app.pieces == [b"hello"]
    app.transport.write(b"wor")
    app.transport.writeSequence([b"l", b"d"])
    app.transport.write(b"")
    assert connection.read() == b"world"
    assert connection.server.getPeer() == connection.transport.getPeer()
    assert connection.server.getHost() == connection.transport.getHost()
    connection.transport.queued_bytes = 77
    assert connection.server.queued() == connection.server.undelivered() == 77


@both
def test_a_handshake_byte_by_byte(version: int) -> None:
    """However the network cuts it."""
    edge = MemoryEdge(choice())
    connection = EdgeConnection(edge, client_context(version))
    for _ in range(6):
        try:
            connection.client.do_handshake()
        except SSL.WantReadError:
            pass
        for byte in take(connection.client):
            connection.server.dataReceived(bytes((byte,)))
        connection.to_client()
    connection.send(b"hello", pieces=[1] * 20)
    assert connection.application.data == b"hello"


@both
def test_partial_records_wait(version: int) -> None:
    """Nothing is delivered before a record is whole; a cut header is no trouble, at once or later."""
    for first in (1, 4, 5, 6, 20):
        connection = connected(version)
        app = application(connection)
        connection.client.sendall(b"hello")
        wire = take(connection.client)
        connection.server.dataReceived(wire[:first])
        assert app.pieces == []
        connection.server.dataReceived(wire[first:])
        assert app.pieces == [b"hello"]
        for _ in range(3):
            connection.send(b"more")
        assert app.data == b"hello" + b"more" * 3


@both
def test_many_records_in_one_read_are_one_piece(version: int) -> None:
    """Fewer calls of the application."""
    connection = connected(version)
    for number in range(10):
        connection.client.sendall(b"%d" % number)
    connection.server.dataReceived(take(connection.client))
    assert application(connection).pieces == [b"0123456789"]


@both
@pytest.mark.parametrize("size", [16383, 16384, 16385, 65536, 65537, 1_000_000])
def test_large_bodies(version: int, size: int) -> None:
    """More than a record, more than a read, both ways."""
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]
    connection = connected(version)
    connection.send(data, pieces=[65536] * (size // 65536))
    assert application(connection).data == data
    application(connection).transport.write(data)
    assert connection.read() == data


@fuzzed(30)
@given(
    messages=st.lists(st.binary(min_size=1, max_size=40_000), min_size=1, max_size=6),
    cuts=st.lists(st.integers(1, 30_000), max_size=20),
    version=st.sampled_from(VERSIONS),
)
def test_any_cut_of_any_records(messages: list[bytes], cuts: list[int], version: int) -> None:
    """The application gets the same bytes."""
    connection = connected(version)
    for message in messages:
        connection.client.sendall(message)
    wire = take(connection.client)
    for cut in cuts:
        if wire:
            connection.server.dataReceived(wire[:cut])
            wire = wire[cut:]
    if wire:
        connection.server.dataReceived(wire)
    assert application(connection).data == b"".join(messages)


@both
def test_what_is_written_within_a_read_leaves_in_one_write(version: int) -> None:
    """One system call per turn."""
    connection = connected(version)
    app = application(connection)
    calls: list[int] = []
    write = connection.transport.write
    connection.transport.write = lambda data: (calls.append(len(data)), write(data))[1]  # type: ignore[method-assign]
    app.on_data = lambda data: [app.transport.write(b"x") for _ in range(5)]
    connection.send(b"go")
    assert len(calls) == 1
    assert connection.read() == b"x" * 5


@both
def test_the_clients_clean_end(version: int) -> None:
    """close_notify is an end; the other direction still works (RFC 8446 6.1), and a FIN after it is no cut."""
    connection = connected(version)
    app = application(connection)
    connection.client.sendall(b"last")
    connection.client.shutdown()
    connection.server.dataReceived(take(connection.client))
    assert (app.data, app.ended, app.lost) == (b"last", 1, [])
    connection.server.dataReceived(b"bytes behind the end")
    connection.server.readConnectionLost()
    assert (app.data, app.ended) == (b"last", 1)
    assert not connection.transport.disconnected
    app.transport.write(b"still here")
    assert connection.read() == b"still here"
    connection.lose()
    assert app.lost[0].check(ConnectionDone)


@both
def test_a_fin_without_close_notify_is_a_cut(version: int) -> None:
    """Somebody on the way may have made it (RFC 8446 6.1)."""
    connection = connected(version)
    app = application(connection)
    connection.send(b"half a")
    connection.server.readConnectionLost()
    assert connection.transport.disconnected
    assert app.ended == 0
    connection.lose()
    assert len(app.lost) == 1
    connection.server.writeConnectionLost()


@both
def test_our_clean_end(version: int) -> None:
    """What is queued, then close_notify, then the TCP close; once."""
    connection = connected(version)
    app = application(connection)
    app.transport.write(b"bye")
    app.transport.loseConnection()
    app.transport.loseConnection()
    app.transport.write(b"too late")
    assert connection.read() == b"bye"
    assert connection.client_ended
    assert connection.transport.disconnecting


@both
def test_our_half_close(version: int) -> None:
    """We say that nothing more comes and read on."""
    connection = connected(version)
    app = application(connection)
    app.transport.loseWriteConnection()
    assert connection.transport.half_closed
    connection.read()
    assert connection.client_ended
    connection.send(b"still talking")
    assert app.data == b"still talking"
    app.transport.write(b"not any more")
    assert connection.read() == b""


@both
def test_a_truncated_end_is_seen_as_one(version: int) -> None:
    """No close_notify: the client cannot take what it has for everything."""
    connection = connected(version)
    app = application(connection)
    app.transport.write(b"half an ans")
    app.transport.truncateConnection()
    app.transport.loseConnection()
    assert connection.read() == b"half an ans"
    assert not connection.client_ended
    assert connection.transport.disconnecting


@both
def test_a_broken_record_is_a_cut_for_the_application(version: int) -> None:
    """What was good before it is delivered, the client gets an alert, nothing is read any more."""
    connection = connected(version)
    app = application(connection)
    connection.client.sendall(b"good")
    wire = take(connection.client)
    connection.client.sendall(b"bad")
    broken = bytearray(take(connection.client))
    broken[-1] ^= 1
    connection.server.dataReceived(wire + bytes(broken))
    assert app.data == b"good"
    assert app.ended == 0
    assert len(app.lost) == 1
    assert app.lost[0].check(ConnectionLost)
    connection.read()
    assert "alert" in connection.client_error or "mac" in connection.client_error
    assert connection.transport.half_closed
    connection.server.dataReceived(wire)
    app.transport.write(b"nobody")
    connection.lose()
    assert len(app.lost) == 1
    assert app.data == b"good"


@both
def test_a_broken_record_behind_a_request_that_is_answered(version: int) -> None:
    """OpenSSL takes no more data to send then: the application hears of one end, not of two."""
    connection = connected(version)
    app = application(connection)
    app.on_data = lambda data: app.transport.write(b"answer")
    connection.client.sendall(b"good")
    wire = take(connection.client)
    connection.server.dataReceived(wire + b"\x17\x03\x03\x00\x20" + b"x" * 32)
    assert app.data == b"good"
    assert len(app.lost) == 1


@both
def test_what_follows_a_broken_record_is_kept_nowhere(version: int) -> None:
    """A peer that floods a dead connection fills no memory."""
    connection = connected(version)
    connection.server.dataReceived(b"\x17\x03\x03\x00\x20" + b"x" * 32)
    assert connection.server._ssl is None
    for _ in range(10):
        TlsStream.dataReceived(connection.server, b"x" * 65536)


@both
def test_a_refusal_by_our_own_judgement_withholds_the_last_flight(version: int) -> None:
    """The client never sees a finished handshake in TLS 1.2, nor a ticket in TLS 1.3."""
    chosen = choice(ClientAuth.REQUEST, allow(make_authority("CA")), enforce=True)
    connection = EdgeConnection(MemoryEdge(chosen), client_context(version))
    try:
        connection.client.do_handshake()
    except SSL.WantReadError:
        connection.to_server()
    before = len(connection.transport.value())
    assert before
    connection.to_client()
    try:
        connection.client.do_handshake()
    except SSL.WantReadError:
        pass
    connection.to_server()
    assert connection.transport.value() == b""
    assert connection.edge.refused == ["no client certificate in the session"]
    assert connection.application is None
    assert connection.transport.half_closed


@both
def test_a_large_answer_within_a_read(version: int) -> None:
    """More than one piece is fetched from OpenSSL; what piles up shows in the queue at once."""
    for size in (40_000, 300_000):
        connection = connected(version)
        app = application(connection)
        app.on_data = lambda data, size=size, app=app: app.transport.write(b"x" * size)
        connection.send(b"go")
        assert connection.read() == b"x" * size


@both
def test_junk_instead_of_a_record(version: int) -> None:
    """Plain text in the middle of TLS."""
    connection = connected(version)
    connection.server.dataReceived(b"GET / HTTP/1.1\r\n\r\n")
    assert len(application(connection).lost) == 1
    assert application(connection).data == b""


@both
def test_an_alert_of_the_client_ends_the_connection(version: int) -> None:
    """A client that does not like our certificate says so after the handshake."""
    refusing = client_context(version)
    refusing.set_verify(SSL.VERIFY_PEER, lambda *_: False)
    connection = EdgeConnection(MemoryEdge(choice()), refusing).shake()
    assert connection.client_error
    assert connection.edge.refused or connection.application.lost
    assert connection.edge.under_way == 0


def test_nothing_arrives_while_reading_is_paused() -> None:
    """The transport is paused, and what OpenSSL holds already waits; resuming delivers that first."""
    connection = connected()
    app = application(connection)
    stream = app.transport
    stream.pauseProducing()
    assert connection.transport.producerState == "paused"
    connection.send(b"one")
    connection.send(b"two")
    assert app.pieces == []
    stream.resumeProducing()
    stream.resumeProducing()
    assert app.pieces == [b"onetwo"]
    assert connection.transport.producerState == "producing"


def test_an_application_that_pauses_within_a_read_gets_the_rest_later() -> None:
    """More than one delivery was decrypted: the rest is kept, also when it pauses again and again."""
    connection = connected()
    app = application(connection)
    app.on_data = lambda data: app.transport.pauseProducing()
    data = bytes(range(256)) * 1200
    connection.client.sendall(data)
    connection.server.dataReceived(take(connection.client))
    seen = 0
    for number in range(1, 6):
        assert len(app.pieces) == number
        assert connection.transport.producerState == "paused"
        seen = len(app.data)
        if seen == len(data):
            break
        app.transport.resumeProducing()
    assert app.data == data
    app.on_data = None
    app.transport.resumeProducing()
    assert connection.transport.producerState == "producing"


def test_the_end_waits_behind_data_that_waits() -> None:
    """Paused with data and a close_notify decrypted or not: data first, then the end."""
    connection = connected()
    app = application(connection)
    app.transport.pauseProducing()
    connection.client.sendall(b"data")
    connection.client.shutdown()
    connection.server.dataReceived(take(connection.client))
    assert (app.pieces, app.ended) == ([], 0)
    app.transport.resumeProducing()
    assert (app.pieces, app.ended) == ([b"data"], 1)


def test_an_application_that_ends_the_connection_within_a_read_gets_no_more() -> None:
    """Lost in the middle of a delivery."""
    connection = connected()
    app = application(connection)
    app.on_data = lambda data: connection.lose()
    connection.client.sendall(b"x" * 200_000)
    connection.server.dataReceived(take(connection.client))
    assert len(app.pieces) == 1
    for call in (
        app.transport.loseConnection,
        app.transport.loseWriteConnection,
        app.transport.truncateConnection,
        app.transport.abortConnection,
    ):
        call()
    assert not connection.transport.disconnecting
    assert not connection.transport.disconnected
    app.transport.write(b"late")
    connection.server.dataReceived(b"late")
    connection.server.pauseProducing()
    connection.server.resumeProducing()
    assert len(app.pieces) == 1


def test_a_cut_is_passed_on() -> None:
    """``abortConnection`` is TCP's."""
    connection = connected()
    application(connection).transport.abortConnection()
    assert connection.transport.disconnected


def test_producers_are_steered_by_the_tcp_queue() -> None:
    """This layer has no queue of its own."""
    connection = connected()
    app = application(connection)
    producer = object()
    app.transport.registerProducer(producer, True)
    assert connection.transport.producer is producer
    app.transport.unregisterProducer()
    assert connection.transport.producer is None


@both
def test_a_stream_whose_openssl_fails_in_a_write(version: int) -> None:
    """The application sees a cut."""
    connection = connected(version)
    app = application(connection)
    # OpenSSL refuses to write after it has sent its own close_notify.
    connection.server._ssl.shutdown()  # type: ignore[union-attr]
    app.transport.write(b"x")
    assert len(app.lost) == 1
    app.transport.write(b"y")
    assert connection.transport.half_closed


def test_a_close_within_a_handshake_says_nothing() -> None:
    """OpenSSL cannot send a close_notify yet; the TCP connection closes all the same."""
    connection = EdgeConnection(MemoryEdge(choice()), client_context())
    with pytest.raises(SSL.WantReadError):
        connection.client.do_handshake()
    connection.to_server()
    connection.transport.clear()
    connection.server.loseConnection()
    connection.server.loseConnection()
    assert connection.transport.disconnecting


def test_a_close_before_the_first_byte() -> None:
    """No OpenSSL object yet."""
    connection = EdgeConnection(MemoryEdge(choice()))
    connection.server.loseConnection()
    connection.server.write(b"nothing")
    assert connection.transport.disconnecting
    assert connection.transport.value() == b""


@both
def test_a_session_survives_an_unclean_end(version: int) -> None:
    """Most clients end without close_notify; OpenSSL would forget the session then."""
    edge = MemoryEdge(choice())
    client = client_context(version)
    full: list[int] = []
    # The server's certificate is looked at in full handshakes only.
    client.set_verify(SSL.VERIFY_PEER, lambda _connection, _certificate, _error, depth, _ok: full.append(depth) is None)
    first = EdgeConnection(edge, client).shake()
    first.application.transport.write(b"x")
    first.read()
    session = first.client.get_session()
    first.lose()
    edge.application = None
    count = len(full)
    second = EdgeConnection(edge, client, session=session).shake()
    assert second.application is not None
    assert len(full) == count


def test_a_renegotiation_is_refused() -> None:
    """TLS 1.2: OP_NO_RENEGOTIATION; the answer to it leaves although no data came, the connection lives."""
    connection = connected(VERSIONS[0])
    app = application(connection)
    if not connection.client.renegotiate():
        pytest.skip("this OpenSSL does not renegotiate")
    try:
        connection.client.do_handshake()
    except SSL.Error:
        pass
    wire = take(connection.client)
    if wire:
        connection.server.dataReceived(wire)
        assert connection.transport.value()
    assert app.data == b""


def test_a_write_that_fails_within_a_long_read_ends_it() -> None:
    """The application is gone; what OpenSSL still holds goes nowhere."""
    connection = connected()
    app = application(connection)

    def fail(data: bytes) -> None:
        connection.server._ssl.shutdown()  # type: ignore[union-attr]
        app.transport.write(b"x")

    app.on_data = fail
    connection.client.sendall(b"x" * 300_000)
    connection.server.dataReceived(take(connection.client))
    assert len(app.pieces) == len(app.lost) == 1


class Bare(TlsStream):
    """A stream without hooks."""


class Accepting(Bare):
    """A stream that takes everybody."""

    def __init__(self, app: RecordingApplication) -> None:
        super().__init__()
        self._app = app
        self._ssl = SSL.Connection(choice().context, None)
        self._ssl.set_accept_state()
        self._ssl.set_app_data(HandshakeState())

    def handshake_finished(self, ssl: SSL.Connection) -> str | None:
        return None

    def build_application(self) -> RecordingApplication:
        return self._app


def test_a_stream_that_breaks_closes() -> None:
    """What subclasses refine; once more does nothing to a lost connection."""
    app, transport = RecordingApplication(), MemoryTransport()
    stream = Accepting(app)
    stream.makeConnection(transport)
    client = SSL.Connection(client_context(), None)
    client.set_connect_state()
    for _ in range(3):
        try:
            client.do_handshake()
        except SSL.WantReadError:
            pass
        stream.dataReceived(take(client) or b"\x17\x03\x03\x00\x20" + b"x" * 32)
        if transport.value():
            client.bio_write(transport.value())
            transport.clear()
    assert len(app.lost) == 1
    assert transport.disconnecting
    stream.connectionLost(Failure(ConnectionDone()))
    stream._drop()
    assert len(app.lost) == 1


def test_hooks_are_for_subclasses() -> None:
    """Each of them must be there."""
    stream = Bare()
    stream.makeConnection(MemoryTransport())
    stream.dataReceived(b"ignored: there is no OpenSSL object")
    stream.application_connected()
    with pytest.raises(NotImplementedError):
        stream.handshake_finished(None)  # type: ignore[arg-type]
    with pytest.raises(NotImplementedError):
        stream.handshake_failed("")
    with pytest.raises(NotImplementedError):
        stream.build_application()
    with pytest.raises(NotImplementedError):
        stream.connectionLost(Failure(ConnectionDone()))


@pytest.mark.parametrize(("problem", "text"), [
    (SSL.Error([("SSL routines", "", "wrong version number"), ("SSL routines", "f", "other")]), "wrong version number; other"),
    (SSL.Error([("SSL routines", "")]), "unspecified TLS error"),
    (SSL.Error([]), "unspecified TLS error"),
    (SSL.SysCallError(-1, "Unexpected EOF"), "(-1, 'Unexpected EOF')"),
    (SSL.WantReadError(), "WantReadError"),
])  # fmt: skip
def test_errors_are_described_on_one_line(problem: SSL.Error, text: str) -> None:
    """For logs, never empty."""
    assert describe_ssl_error(problem) == text
