"""Any ClientHello: read alike however it is cut, or refused; what we read is what OpenSSL reads."""

from __future__ import annotations

import ssl
from functools import cache

from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL

from tests.support.fuzzing import fuzzed
from tests.support.hellos import hello_of_pyopenssl, hello_of_ssl, message, records, server_names, vector
from tests.support.logged import logged_events
from tests.support.memory_edge import EdgeConnection, MemoryEdge, choice
from tlsgate.errors import WireError
from tlsgate.tls.server import Choice
from tlsgate.wire.clienthello import ClientHello, ClientHelloReader
from tlsgate.wire.names import normalise_host

LIMIT = 65536
REAL = [
    hello_of_pyopenssl(b"a.test"),
    hello_of_pyopenssl(None),
    hello_of_pyopenssl(b"a.test", (b"h2", b"http/1.1")),
    hello_of_pyopenssl(b"A.TEST", highest=SSL.TLS1_2_VERSION),
    hello_of_ssl("a.test"),
    hello_of_ssl("a.test", highest=ssl.TLSVersion.TLSv1_2),
]
names = st.one_of(
    st.sampled_from([b"a.test", b"A.Test.", b"b.test", b"", b"a", b"1.2.3.4", b"a..b", b"-a", b"a_b.test"]), st.binary(max_size=20)
)


@st.composite
def made(draw: st.DrawFn) -> bytes:
    """A hello of our own with odd parts, in records of any size."""
    extensions = draw(
        st.lists(
            st.one_of(
                st.tuples(st.just(0), st.lists(names, max_size=3).map(lambda found: server_names(*found))),
                st.tuples(st.just(0), st.binary(max_size=12)),
                st.tuples(
                    st.just(16), st.lists(st.binary(max_size=8), max_size=3).map(lambda p: vector(2, b"".join(vector(1, x) for x in p)))
                ),
                st.tuples(st.just(43), st.sampled_from([b"\x02\x03\x04", b"\x04\x03\x04\x03\x03", b"\x03\x03\x04\x0a", b""])),
                st.tuples(st.integers(0, 65535), st.binary(max_size=10)),
            ),
            max_size=5,
        )
    )
    hello = message(extensions, session=draw(st.binary(max_size=33)), tail=draw(st.sampled_from([b"", b"", b"x"])))
    return records(hello, draw(st.integers(1, 400)))


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A real or made hello with some bytes changed, taken out or put in."""
    data = bytearray(draw(st.one_of(st.sampled_from(REAL), made())))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(data) - 1))
        kind = draw(st.sampled_from(["change", "remove", "insert"]))
        if kind == "change":
            data[at] = draw(st.integers(0, 255))
        elif kind == "remove" and len(data) > 10:
            del data[at : at + 1]
        else:
            data[at:at] = draw(st.binary(min_size=1, max_size=3))
    return bytes(data)


def read(pieces: list[bytes]) -> ClientHello | str | None:
    """Feed a reader until it has decided: the hello, a refusal (whatever its words), or nothing yet."""
    reader = ClientHelloReader(LIMIT)
    fed = b""
    for piece in pieces:
        fed += piece
        try:
            hello = reader.feed(piece)
        except WireError:
            return "refused"
        assert reader.buffered == fed
        if hello is not None:
            return hello
    return None


@fuzzed(1000)
@given(data=st.one_of(damaged(), st.binary(max_size=200)), cuts=st.lists(st.integers(0, 700), max_size=6))
def test_any_hello_in_any_pieces(data: bytes, cuts: list[int]) -> None:
    """One reading, or one refusal."""
    whole = read([data])
    bounds = sorted({min(cut, len(data)) for cut in cuts})
    assert read([data[start:stop] for start, stop in zip([0, *bounds], [*bounds, len(data)], strict=True)]) == whole
    assert read([data[at : at + 1] for at in range(len(data))]) == whole
    if isinstance(whole, ClientHello) and whole.server_name is not None:
        assert normalise_host(whole.server_name) == whole.server_name


@cache
def chosen() -> Choice:
    """One context for all examples."""
    return choice()


@fuzzed(600)
@given(data=damaged())
def test_openssl_reads_the_same_name(data: bytes) -> None:
    """Where both read the hello, the names agree; where we refuse, OpenSSL is never asked."""
    ours = read([data])
    seen: list[bytes | None] = []
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_tlsext_servername_callback(lambda connection: seen.append(connection.get_servername()))
    there = SSL.Connection(context, None)
    there.set_accept_state()
    there.bio_write(data)
    try:
        there.do_handshake()
    except SSL.Error:
        pass
    if isinstance(ours, ClientHello) and seen:
        name = seen[0]
        assert ours.server_name == (None if name is None else normalise_host(name.decode("ascii")))


@fuzzed(300)
@given(data=damaged(), tail=st.binary(max_size=100), cut=st.integers(0, 600))
def test_the_edge_never_fails(data: bytes, tail: bytes, cut: int) -> None:
    """Whatever comes first and after it: no exception, no application, and an end for what was refused."""
    edge = MemoryEdge(chosen())
    connection = EdgeConnection(edge)
    with logged_events() as events:
        for piece in (data[:cut], data[cut:], tail):
            if piece and not connection.transport.disconnecting:
                connection.server.dataReceived(piece)
        edge.pass_time(11)
    assert edge.application is None
    assert len(edge.refused) == 1
    assert not [event for event in events if "log_failure" in event]
    connection.lose()
    assert edge.under_way == 0
