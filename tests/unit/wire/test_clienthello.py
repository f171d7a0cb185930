"""The ClientHello as our own code reads it: real ones in any portions, and everything odd refused."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL

from tests.support.fuzzing import fuzzed
from tests.support.hellos import hello_of_pyopenssl, hello_of_ssl, message, records, server_names, vector
from tlsgate.errors import WireError
from tlsgate.wire.clienthello import ClientHello, ClientHelloReader, PlainHttpOnTls

TLS12, TLS13 = 771, 772


def read(data: bytes, max_bytes: int = 65536) -> ClientHello | None:
    """Feed everything at once."""
    return ClientHelloReader(max_bytes).feed(data)


def refused(data: bytes, max_bytes: int = 65536) -> str:
    """The reason of the refusal, which must come at once and, byte by byte, no later."""
    with pytest.raises(WireError) as caught:
        read(data, max_bytes)
    reader = ClientHelloReader(max_bytes)
    with pytest.raises(WireError):
        for byte in data:
            assert reader.feed(bytes([byte])) is None
    return caught.value.reason


REAL = [
    (hello_of_ssl("a.test"), ClientHello("a.test", (), (TLS13, TLS12))),
    (hello_of_ssl(None), ClientHello(None, (), (TLS13, TLS12))),
    (hello_of_ssl("A.Test", ("h2", "http/1.1")), ClientHello("a.test", (b"h2", b"http/1.1"), (TLS13, TLS12))),
    (hello_of_ssl("a.test", highest=ssl.TLSVersion.TLSv1_2), ClientHello("a.test", (), (TLS12,))),
    (hello_of_pyopenssl(b"a.test"), ClientHello("a.test", (), (TLS13, TLS12))),
    (hello_of_pyopenssl(None), ClientHello(None, (), (TLS13, TLS12))),
    (hello_of_pyopenssl(b"A.TEST.", (b"http/1.1",)), ClientHello("a.test", (b"http/1.1",), (TLS13, TLS12))),
    (hello_of_pyopenssl(b"my_svc.ab--cd.test", highest=SSL.TLS1_2_VERSION), ClientHello("my_svc.ab--cd.test", (), (TLS12,))),
]


@pytest.mark.parametrize(("data", "expected"), REAL)
def test_real_hellos_are_read_at_once(data: bytes, expected: ClientHello) -> None:
    """Name in its normal form, ALPN in order, versions as offered."""
    reader = ClientHelloReader()
    hello = reader.feed(data)
    assert hello is not None
    assert (hello.server_name, hello.alpn) == (expected.server_name, expected.alpn)
    assert set(expected.versions) <= set(hello.versions)
    assert hello.versions[0] == expected.versions[0]
    assert reader.buffered == data


@pytest.mark.parametrize(("data", "expected"), REAL[2:3] + REAL[6:])
def test_real_hellos_cut_at_every_byte_read_the_same(data: bytes, expected: ClientHello) -> None:
    """TCP may cut anywhere (mTLS reference, section 14)."""
    whole = read(data)
    for at in range(len(data)):
        reader = ClientHelloReader()
        assert reader.feed(data[:at]) is None
        assert reader.feed(data[at:]) == whole
        assert reader.buffered == data


@pytest.mark.parametrize(("data", "expected"), REAL)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 100])
def test_real_hellos_spread_over_small_records_read_the_same(data: bytes, expected: ClientHello, size: int) -> None:
    """Handshake messages may span records (RFC 8446 section 5.1; Traefik CVE-2026-32305)."""
    spread = records(data[5:], size)
    whole = read(data)
    assert read(spread) == whole
    reader = ClientHelloReader()
    results = [reader.feed(spread[at : at + 1]) for at in range(len(spread))]
    assert results[-1] == whole
    assert not any(results[:-1])
    assert reader.buffered == spread


@settings(deadline=None)
@given(st.data())
def test_any_cut_of_records_and_segments_reads_the_same(data: st.DataObject) -> None:
    """However the bytes arrive, there is one reading."""
    raw, _ = data.draw(st.sampled_from(REAL))
    payload = raw[5:]
    cuts = sorted(data.draw(st.sets(st.integers(1, len(payload) - 1), max_size=12)))
    stream = b"".join(records(payload[a:b]) for a, b in zip([0, *cuts], [*cuts, len(payload)], strict=True))
    reader = ClientHelloReader()
    at = 0
    result = None
    while at < len(stream):
        step = data.draw(st.integers(1, 400))
        assert result is None
        result = reader.feed(stream[at : at + step])
        at += step
    assert result == read(raw)
    assert reader.buffered == stream


def test_openssl_reads_the_name_that_we_read() -> None:
    """Decisions 1.6: both readings of one hello lead to the same name, also when it is spread over one-byte records."""
    for name in (b"a.test", b"A.Test", b"my_svc.test", b"ab--cd.test", b"a.test."):
        stream = records(hello_of_pyopenssl(name)[5:], 1)
        hello = read(stream)
        seen: list[bytes | None] = []
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_tlsext_servername_callback(lambda connection, seen=seen: seen.append(connection.get_servername()))
        server = SSL.Connection(context, None)
        server.set_accept_state()
        server.bio_write(stream)
        with pytest.raises(SSL.Error):  # no certificate: the handshake ends after the name was looked at
            server.do_handshake()
        assert hello is not None
        assert seen == [name]
        assert hello.server_name == name.decode().lower().rstrip(".")


def test_the_made_up_hello_is_a_proper_one() -> None:
    """The builder of the cases below is right."""
    assert read(records(message())) == ClientHello("a.test", (), (TLS12,))


def test_bytes_after_the_message_in_its_record_are_openssl_s_business() -> None:
    """The message is read; the rest is handed on."""
    data = records(message() + b"more")
    reader = ClientHelloReader()
    assert reader.feed(data + b"and more") == ClientHello("a.test", (), (TLS12,))
    assert reader.buffered == data + b"and more"


def test_a_complete_reader_takes_no_more() -> None:
    """Our own mistake, not the peer's."""
    reader = ClientHelloReader()
    reader.feed(records(message()))
    with pytest.raises(ValueError, match="complete"):
        reader.feed(b"x")


def test_a_refusal_stays() -> None:
    """A later call cannot repair an unreadable hello."""
    reader = ClientHelloReader()
    with pytest.raises(WireError):
        reader.feed(b"\x00")
    with pytest.raises(WireError):
        reader.feed(records(message()))


def test_nothing_fed_is_nothing_known() -> None:
    """An empty segment changes nothing."""
    reader = ClientHelloReader()
    assert reader.feed(b"") is None
    assert reader.buffered == b""


def test_a_hello_without_extensions_names_nobody() -> None:
    """RFC 5246 section 7.4.1.2: extensions may be missing altogether."""
    assert read(records(message(None))) == ClientHello(None, (), (TLS12,))
    assert read(records(message([]))) == ClientHello(None, (), (TLS12,))
    assert read(records(message(None, version=769))) == ClientHello(None, (), (769,))


def test_grease_and_padding_are_ignored() -> None:
    """RFC 8701 and RFC 7685: unknown extensions, versions and suites are no reason to refuse; a repeated GREASE number is one."""
    extensions = [
        (0x0A0A, b""),
        (0, server_names(b"a.test")),
        (43, vector(1, b"\x4a\x4a\x03\x04\x03\x03\xfa\xfa")),
        (16, vector(2, vector(1, b"\x0a\x0a") + vector(1, b"http/1.1"))),
        (0x1A1A, b"\x00"),
        (21, bytes(16000)),
    ]
    assert read(records(message(extensions, suites=b"\x0a\x0a\x13\x01"))) == ClientHello(
        "a.test", (b"\x0a\x0a", b"http/1.1"), (TLS13, TLS12)
    )
    refused(records(message([*extensions, (0x0A0A, b"")])))


@pytest.mark.parametrize("number", [0, 16, 43, 21, 51])
def test_a_repeated_extension_is_refused(number: int) -> None:
    """RFC 8446 section 4.2: at most one of a kind; two would be two readings."""
    body = {0: server_names(b"a.test"), 16: vector(2, b"\x02h2"), 43: vector(1, b"\x03\x04")}.get(number, b"")
    assert read(records(message([(number, body)])))
    assert refused(records(message([(number, body), (number, body)]))) == "repeated extension"


@pytest.mark.parametrize(
    "name",
    [
        b"",
        b".",
        b"..",
        b".a.test",
        b"a..test",
        b"a.test..",
        b"a.test\x00",
        b"\x00",
        b"a.test\x00.evil.test",
        b"a test",
        b" a.test",
        b"a.test\n",
        b"a.test:443",
        b"*.a.test",
        b"a/b",
        b"user@a.test",
        b"b\xc3\xbccher.test",
        b"\xff",
        b"127.0.0.1",
        b"127.0.0.1.",
        b"::1",
        b"[::1]",
        b"2001:db8::1",
        b"a" * 64 + b".test",
        b".".join([b"a" * 63] * 4),
    ],
)
def test_bad_server_names_are_refused(name: bytes) -> None:
    """RFC 6066 section 3: a DNS name, never an address; whatever else it is, nobody is served under it."""
    refused(records(message([(0, server_names(name))])))


@pytest.mark.parametrize(
    ("sent", "expected"),
    [(b"a.test.", "a.test"), (b"A.TeSt", "a.test"), (b"xn--BCHER-kva.test", "xn--bcher-kva.test"), (b"localhost", "localhost")],
)
def test_server_names_get_their_normal_form(sent: bytes, expected: str) -> None:
    """The same routine as for Host (decisions 1)."""
    hello = read(records(message([(0, server_names(sent))])))
    assert hello is not None
    assert hello.server_name == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00",
        b"\x00\x00",
        server_names(),
        server_names(b"a.test", b"b.test"),
        server_names(b"a.test", b"a.test"),
        server_names(b"a.test", kind=1),
        server_names(b"a.test") + b"\x00",
        server_names(b"a.test")[:-1],
        vector(2, b"\x00" + vector(2, b"a.test") + b"\x01"),
        vector(2, b"\x00\x00"),
        vector(2, b"\x00\x00\x09a.test"),
        b"\x00\x05" + server_names(b"a.test")[2:],
    ],
)
def test_malformed_server_name_lists_are_refused(body: bytes) -> None:
    """Two names, other types, wrong lengths: no name is better than a guess, and a refusal better than no name."""
    refused(records(message([(0, body)])))


@pytest.mark.parametrize(
    ("number", "body"),
    [
        (16, b""),
        (16, b"\x00\x00"),
        (16, vector(2, b"\x00")),
        (16, vector(2, b"\x02h2\x00")),
        (16, vector(2, b"\x03h2")),
        (16, vector(2, b"\x02h2") + b"x"),
        (16, b"\x00\x09\x02h2"),
        (43, b""),
        (43, b"\x00"),
        (43, vector(1, b"\x03")),
        (43, vector(1, b"\x03\x04\x03")),
        (43, vector(1, b"\x03\x04") + b"x"),
        (43, b"\x04\x03\x04"),
    ],
)
def test_malformed_alpn_and_versions_are_refused(number: int, body: bytes) -> None:
    """RFC 7301 section 3.1, RFC 8446 section 4.2.1."""
    refused(records(message([(number, body)])))


@pytest.mark.parametrize(
    "data",
    [
        message(version=0x0200),
        message(version=0xFEFD),
        message(session=b"s" * 33),
        message(suites=b""),
        message(suites=b"\x13\x01\x13"),
        message(compression=b""),
        message(compression=b"\x01"),
        message(tail=b"\x00"),
        message(None, tail=b"\x00"),
        message(None, tail=b"\x00\x05\x00\x00"),
        message(None, tail=b"\x00\x01\x00"),
        message(None, tail=b"\x00\x03\x00\x00\x00"),
        b"\x01\x00\x00\x00",
        b"\x01\x00\x00\x22" + bytes(34),
        message(kind=2),
        message(kind=0),
        message(kind=22),
    ],
)
def test_malformed_messages_are_refused(data: bytes) -> None:
    """RFC 8446 section 4.1.2."""
    refused(records(data))


def test_session_ids_of_0_31_and_32_bytes_pass() -> None:
    """RFC 8446 section 4.1.2: legacy_session_id<0..32>; 33 bytes are refused above."""
    for length in (0, 31, 32):
        assert read(records(message(session=b"s" * length)))


def test_every_truncation_of_the_message_with_repaired_lengths_is_refused() -> None:
    """A shorter message that claims to be complete is never read as a hello with less in it."""
    body = message()[4:]
    whole_without_extensions = len(message(None)) - 4
    for length in range(len(body)):
        data = records(b"\x01" + vector(3, body[:length]))
        if length == whole_without_extensions:
            continue
        refused(data)


@pytest.mark.parametrize("kind", [0, 20, 21, 23, 24, 25, 127])
def test_other_record_types_are_refused(kind: int) -> None:
    """Nothing but handshake records may come before the end of the ClientHello, not even between its fragments."""
    refused(records(b"\x01", kind=kind))
    refused(records(message()[:9]) + records(b"\x01", kind=kind))


@pytest.mark.parametrize("version", [b"\x02\x00", b"\x00\x00", b"\x04\x00", b"\x03\x05", b"\xfe\xfd"])
def test_unknown_record_versions_are_refused(version: bytes) -> None:
    """SSLv2 and DTLS records among them."""
    refused(records(message(), version=version))


@pytest.mark.parametrize("minor", [0, 1, 2, 3, 4])
def test_record_versions_that_clients_send_pass(minor: int) -> None:
    """RFC 8446 section 5.1: the record version is no promise."""
    assert read(records(message(), version=bytes([3, minor])))


def test_record_lengths_at_their_bounds() -> None:
    """RFC 8446 section 5.1: 1 to 2^14 bytes; empty handshake records are forbidden."""
    padded = message([(21, bytes(16384 - 87))])
    padded = message([(21, bytes(16384 - 87 + 16384 - len(padded)))])
    assert len(padded) == 16384
    assert read(records(padded)) == ClientHello(None, (), (TLS12,))
    assert refused(records(padded + b"x", 16385)) == "record length out of range"
    assert refused(b"\x16\x03\x01\x00\x00" + records(message())) == "record length out of range"
    assert refused(records(message()[:9]) + b"\x16\x03\x01\x00\x00") == "record length out of range"


def test_the_bound_on_bytes_is_exact() -> None:
    """n - 1, n, n + 1 bytes, in one record and in many."""
    for data in (records(message()), records(message(), 7), records(message(), 1)):
        size = len(data)
        assert read(data, size + 1)
        assert read(data, size)
        assert refused(data, size - 1) == "ClientHello too large"


def test_a_message_that_claims_too_much_is_refused_early() -> None:
    """Nobody makes us wait for 16 MiB."""
    assert refused(records(b"\x01\xff\xff\xff")) == "ClientHello too large"
    assert refused(records(b"\x01" + (65536 - 8).to_bytes(3, "big"))) == "ClientHello too large"
    assert read(records(b"\x01" + (65536 - 9).to_bytes(3, "big"))) is None


def test_dripping_records_for_ever_end_at_the_bound() -> None:
    """A hello that never ends is refused when the bound is reached, not later."""
    reader = ClientHelloReader(1000)
    stream = records(b"\x01\x00\x03\x00" + bytes(700), 1)
    fed = 0
    with pytest.raises(WireError, match="too large"):
        for byte in stream:
            fed += 1
            assert reader.feed(bytes([byte])) is None
    assert fed <= 1000


@pytest.mark.parametrize(
    "method", [b"GET", b"POST", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"CONNECT", b"TRACE", b"PRI", b"A", b"Z"]
)
def test_plain_http_is_named_so(method: bytes) -> None:
    """A client that forgot the `s` gets a plain answer."""
    with pytest.raises(PlainHttpOnTls):
        read(method + b" / HTTP/1.1\r\n\r\n")
    with pytest.raises(PlainHttpOnTls):
        read(method[:1])


@pytest.mark.parametrize(
    "data", [b"\x00", b"\x15", b"\x17", b"\x80\x2e\x01\x03\x01", b"\xff", b"@", b"[", b"get / HTTP/1.1", b"\r\n", b"smtp"]
)
def test_anything_else_is_refused_at_its_first_byte(data: bytes) -> None:
    """SSLv2, other record types, other protocols."""
    with pytest.raises(WireError) as caught:
        read(data[:1])
    assert not isinstance(caught.value, PlainHttpOnTls)


@settings(deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_garbage_gives_none_or_a_wire_error(junk: bytes, in_record: bool) -> None:
    """Nothing else, and never more memory than was fed."""
    data = records(b"\x01" + vector(3, junk)) if in_record else junk
    reader = ClientHelloReader(200)
    try:
        reader.feed(data)
    except WireError:
        pass
    assert reader.buffered == data


@fuzzed(300)
@given(st.data())
def test_a_damaged_hello_gives_a_hello_none_or_a_wire_error(data: st.DataObject) -> None:
    """Flip, delete or insert bytes anywhere in a real hello."""
    raw = bytearray(data.draw(st.sampled_from(REAL))[0])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        edit = data.draw(st.sampled_from(["flip", "drop", "insert"]))
        if edit == "flip":
            raw[at] ^= 0x55
        elif edit == "drop":
            del raw[at]
        else:
            raw.insert(at, 0)
    try:
        hello = read(bytes(raw))
    except WireError:
        return
    if hello is not None and hello.server_name is not None:
        assert hello.server_name.isascii()
        assert hello.server_name == hello.server_name.lower()
