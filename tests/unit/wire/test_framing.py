"""What llhttp lets through and a gateway must not."""

from __future__ import annotations

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fuzzing import fuzzed
from tlsgate.errors import WireError
from tlsgate.model.exchange import Connection, Exchange, HeaderList
from tlsgate.wire.framing import Framing, FramingLimits, examine

HOST = (b"Host", b"a.test")
LIMITS = FramingLimits(max_target_bytes=100, max_fields=10)


def exchange_of(headers: HeaderList, method: bytes = b"GET", target: bytes = b"/") -> Exchange:
    """An exchange as the channel builds it."""
    return Exchange(Connection("c", "192.0.2.1", 1024, 443, True), 1, method, target, headers)


def look(
    *headers: tuple[bytes, bytes], method: bytes = b"GET", target: bytes = b"/", version: str = "1.1", underscore: str = "drop"
) -> tuple[Exchange, Framing]:
    """Examine a request."""
    exchange = exchange_of(list(headers), method, target)
    return exchange, examine(exchange, LIMITS, version, underscore=underscore)


def status_of(
    *headers: tuple[bytes, bytes], method: bytes = b"GET", target: bytes = b"/", version: str = "1.1", underscore: str = "drop"
) -> int:
    """The status of the refusal."""
    with pytest.raises(WireError) as caught:
        look(*headers, method=method, target=target, version=version, underscore=underscore)
    return caught.value.status_hint


def test_an_ordinary_request_fills_the_exchange() -> None:
    """Every field that the pipeline reads."""
    headers = [(b"HOST", b"A.Test.:8443"), (b"Accept", b"*/*"), (b"X-Empty", b"")]
    exchange, framing = look(*headers, target=b"/%61?x=1")
    assert exchange.index == {b"host": b"A.Test.:8443", b"accept": b"*/*", b"x-empty": b""}
    assert exchange.headers == headers
    assert (exchange.host, exchange.path, exchange.canonical, exchange.query) == ("a.test", b"/%61", b"/a", b"x=1")
    assert (exchange.version, exchange.keep_alive, exchange.upgrade, exchange.target) == (11, True, b"", b"/%61?x=1")
    assert framing == Framing(0, False, 8443)


# Host


def test_http_1_1_needs_a_host() -> None:
    """RFC 9112 section 3.2."""
    assert status_of() == 400
    assert status_of((b"Accept", b"*/*")) == 400


def test_http_1_0_may_come_without_host() -> None:
    """RFC 9112 section 3.2 speaks of HTTP/1.1 only."""
    exchange, framing = look(version="1.0")
    assert (exchange.host, exchange.version, framing.host_port) == ("", 10, None)
    exchange, _ = look((b"Accept", b"*/*"), version="1.0")
    assert exchange.host == ""


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("second", [b"a.test", b"b.test", b""])
def test_several_hosts_are_refused_even_when_equal(version: str, second: bytes) -> None:
    """twisted#12435; two lines are two readings."""
    assert status_of(HOST, (b"host", second), version=version) == 400


@pytest.mark.parametrize(
    "value", [b"", b" ", b"a.test, b.test", b"a b", b"u@a.test", b"a.test/", b"a.test:", b"a.test:0", b"a.test:65536", b"\xfc.test"]
)
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_malformed_hosts_are_refused(value: bytes, version: str) -> None:
    """RFC 9112 section 3.2: an invalid field value is a 400."""
    assert status_of((b"Host", value), version=version) == 400


@pytest.mark.parametrize(
    ("target", "host"),
    [
        (b"http://a.test/x?y", b"a.test"),
        (b"http://A.TEST:80/x?y", b"a.test."),
        (b"http://a.test/x?y", b"a.test:80"),
        (b"https://a.test/x?y", b"a.test:443"),
        (b"HTTPS://a.test:443/x?y", b"a.test"),
        (b"http://a.test:8080/x?y", b"a.test:8080"),
    ],
)
def test_an_absolute_target_that_agrees_becomes_an_origin_form(target: bytes, host: bytes) -> None:
    """RFC 9112 section 3.2.2; nothing absolute is forwarded."""
    exchange, _ = look((b"Host", host), target=target)
    assert (exchange.host, exchange.target, exchange.path, exchange.query) == ("a.test", b"/x?y", b"/x", b"y")


def test_the_port_of_an_absolute_target_is_the_port() -> None:
    """RFC 9112 section 3.2.2: the target wins over Host."""
    assert look((b"Host", b"a.test"), target=b"http://a.test:80/")[1].host_port == 80
    exchange, framing = look((b"Host", b"a.test:80"), target=b"http://a.test")
    assert (framing.host_port, exchange.target) == (None, b"/")


@pytest.mark.parametrize(
    ("target", "host"),
    [
        (b"http://b.test/", b"a.test"),
        (b"http://a.test:8080/", b"a.test"),
        (b"http://a.test/", b"a.test:8080"),
        (b"https://a.test/", b"a.test:80"),
        (b"http://a.test/", b"a.test:443"),
        (b"http://u@a.test/", b"a.test"),
        (b"http://a.test:/", b"a.test"),
        (b"http://a.test\\@b.test/", b"a.test"),
    ],
)
def test_an_absolute_target_that_disagrees_is_refused(target: bytes, host: bytes) -> None:
    """Reliability reference 5c: Twisted takes another host in the target."""
    assert status_of((b"Host", host), target=target) == 400


def test_an_absolute_target_does_not_replace_a_missing_host() -> None:
    """RFC 9112 section 3.2: 400 without Host, whatever the target; on HTTP/1.0 the target names the host."""
    assert status_of(target=b"http://a.test/") == 400
    exchange, framing = look(target=b"http://A.test:81/x", version="1.0")
    assert (exchange.host, framing.host_port, exchange.target) == ("a.test", 81, b"/x")


# Lengths and codings


@pytest.mark.parametrize(("digits", "length"), [(b"0", 0), (b"1", 1), (b"10", 10), (b"9" * 18, 10**18 - 1)])
def test_plain_lengths_pass(digits: bytes, length: int) -> None:
    """RFC 9110 section 8.6."""
    assert look(HOST, (b"Content-Length", digits), method=b"POST")[1].content_length == length


@pytest.mark.parametrize(
    "digits",
    [b"", b" ", b"-1", b"+1", b"1 1", b"1,1", b"1, 1", b"0x1", b"1e1", b"1_0", b"01", b"00", b"1.0", b"\xb2", b"1" * 19, b"1" * 5000],
)
def test_odd_lengths_are_refused(digits: bytes) -> None:
    """Signs, lists, leading zeros, digits without end (over 4,300 Python would raise ValueError)."""
    assert status_of(HOST, (b"Content-Length", digits), method=b"POST") == 400


def test_blanks_around_a_length_are_no_part_of_it() -> None:
    """RFC 9110 section 5.5; llhttp leaves blanks after a value in place."""
    assert look(HOST, (b"Content-Length", b"5 \t"), method=b"POST")[1].content_length == 5


def test_two_lengths_are_refused_even_when_equal() -> None:
    """Bandit CVE-2026-39805."""
    assert status_of(HOST, (b"Content-Length", b"1"), (b"content-length", b"1"), method=b"POST") == 400


def test_chunked_has_no_length() -> None:
    """RFC 9112 section 6.3."""
    assert look(HOST, (b"Transfer-Encoding", b"chunked"), method=b"POST")[1].content_length is None
    assert look(HOST, (b"transfer-encoding", b"Chunked "), method=b"POST")[1].content_length is None


@pytest.mark.parametrize(
    "coding",
    [
        b"",
        b"identity",
        b"gzip",
        b"gzip, chunked",
        b"chunked, gzip",
        b"chunked, chunked",
        b"chunked,",
        b"xchunked",
        b"chunked;q=1",
        b'"chunked"',
    ],
)
def test_other_codings_are_refused(coding: bytes) -> None:
    """Decisions 2.9: 400 and close."""
    assert status_of(HOST, (b"Transfer-Encoding", coding), method=b"POST") == 400


def test_two_coding_lines_are_refused() -> None:
    """One final `chunked` in one line."""
    assert status_of(HOST, (b"Transfer-Encoding", b"chunked"), (b"Transfer-Encoding", b"chunked"), method=b"POST") == 400
    assert status_of(HOST, (b"Transfer-Encoding", b"gzip"), (b"Transfer-Encoding", b"chunked"), method=b"POST") == 400


def test_length_and_coding_together_are_refused() -> None:
    """RFC 9112 section 6.1: the smuggler's pair."""
    assert status_of(HOST, (b"Content-Length", b"0"), (b"Transfer-Encoding", b"chunked"), method=b"POST") == 400


def test_chunked_on_http_1_0_is_refused() -> None:
    """RFC 9112 section 6.1: faulty framing."""
    assert status_of(HOST, (b"Transfer-Encoding", b"chunked"), method=b"POST", version="1.0") == 400


# Versions, methods, targets


@pytest.mark.parametrize("version", ["0.9", "1.2", "2.0", "1.10", "", "1", "HTTP/1.1"])
def test_other_versions_are_505(version: str) -> None:
    """RFC 9110 section 15.6.6."""
    assert status_of(HOST, version=version) == 505


@pytest.mark.parametrize("method", [b"CONNECT", b"connect", b"Connect"])
def test_connect_is_405(method: bytes) -> None:
    """Decisions 2.9."""
    assert status_of(HOST, method=method, target=b"a.test:443") == 405


@pytest.mark.parametrize("method", [b"PROPFIND", b"M-SEARCH", b"get", b"X!#$%&'*+-.^_`|~9"])
def test_any_other_token_is_a_method(method: bytes) -> None:
    """RFC 9110 section 9.1; the upstream decides what it means."""
    assert look(HOST, method=method)[0].method == method


@pytest.mark.parametrize("method", [b"", b"GET ", b"G ET", b"GET\n", b"G(T", b"G\x00", b"G\xc4T", b"G/T"])
def test_a_method_that_is_no_token_is_refused(method: bytes) -> None:
    """RFC 9110 section 5.6.2."""
    assert status_of(HOST, method=method) == 400


def test_targets_are_bounded_and_checked() -> None:
    """RFC 9112 section 3; the details are `wire.target`'s."""
    assert look(HOST, target=b"/" + b"a" * 99)[0].path
    assert status_of(HOST, target=b"/" + b"a" * 100) == 414
    assert status_of(HOST, target=b"/a#b") == 400
    assert status_of(HOST, target=b"*") == 400
    assert look(HOST, target=b"*", method=b"OPTIONS")[0].path == b"*"


# Fields


def test_the_number_of_fields_is_bounded() -> None:
    """n - 1, n, n + 1 fields (reliability reference 2d, header bomb)."""
    filler = [(b"X-%d" % number, b"") for number in range(10)]
    assert look(HOST, *filler[:8])
    assert look(HOST, *filler[:9])
    assert status_of(HOST, *filler) == 431
    assert status_of(HOST, *([(b"X", b"")] * 10)) == 431


@pytest.mark.parametrize(
    "name", [b"", b" ", b"X ", b" X", b"X:", b"X\n", b"X\r\nY", b"X\x00", b"X\t", b"\xc4", b"X(", b"X/Y", b"X\x7f", b"\n"]
)
def test_names_that_are_no_tokens_are_refused(name: bytes) -> None:
    """HAProxy CVE-2023-25725 (empty name), twisted#12235."""
    for underscore in ("drop", "refuse", "allow"):
        assert status_of(HOST, (name, b"x"), underscore=underscore) == 400
        assert status_of((name, b"x"), HOST, (b"a_b", b"x"), underscore=underscore) == 400


@pytest.mark.parametrize("byte", [*range(9), *range(10, 32), 127])
def test_control_bytes_in_values_are_refused(byte: int) -> None:
    """RFC 9110 section 5.5; folded lines come under it."""
    value = b"a" + bytes([byte]) + b"b"
    assert status_of(HOST, (b"X", value)) == 400
    assert status_of((b"X", value), HOST) == 400


def test_tab_and_8_bit_bytes_in_values_pass() -> None:
    """RFC 9110 section 5.5: obs-text is opaque data."""
    value = b"a\tb" + bytes(range(0x80, 0x100))
    assert look(HOST, (b"X", value))[0].index[b"x"] == value


@pytest.mark.parametrize(("sent", "kept"), [(b"v ", b"v"), (b"v\t", b"v"), (b"v \t ", b"v"), (b" ", b""), (b" v ", b"v")])
def test_blanks_around_values_are_taken_off(sent: bytes, kept: bytes) -> None:
    """RFC 9110 section 5.5: a credential with a blank after it is the credential."""
    for headers in ([HOST, (b"X", sent)], [(b"X", sent), HOST]):
        exchange, _ = look(*headers)
        assert exchange.index[b"x"] == kept
        assert (b"X", kept) in exchange.headers
    assert len(exchange.headers) == 2


def test_repeated_fields_are_joined_in_order() -> None:
    """RFC 9110 section 5.3; the lines themselves stay apart."""
    exchange, _ = look((b"X", b"1"), HOST, (b"x", b""), (b"X", b"2"))
    assert exchange.index[b"x"] == b"1, , 2"
    assert exchange.headers == [(b"X", b"1"), HOST, (b"x", b""), (b"X", b"2")]


def test_names_with_underscore_are_dropped_refused_or_allowed() -> None:
    """Reliability reference 2b: alias spellings of identity headers."""
    sent = (b"X_User", b"root")
    exchange, _ = look(HOST, sent, (b"X-User", b"me"))
    assert exchange.headers == [HOST, (b"X-User", b"me")]
    assert exchange.index == {b"host": b"a.test", b"x-user": b"me"}
    assert status_of(HOST, sent, underscore="refuse") == 400
    exchange, _ = look(HOST, sent, underscore="allow")
    assert exchange.index[b"x_user"] == b"root"
    assert exchange.headers == [HOST, sent]


@pytest.mark.parametrize("underscore", ["drop", "allow"])
def test_underscores_never_make_framing(underscore: str) -> None:
    """`Content_Length` is no length."""
    assert look(HOST, (b"Content_Length", b"5"), (b"Transfer_Encoding", b"chunked"), underscore=underscore)[1].content_length == 0


# Connection, Upgrade, Expect


@pytest.mark.parametrize(
    ("version", "value", "keep_alive"),
    [
        ("1.1", None, True),
        ("1.0", None, False),
        ("1.1", b"keep-alive", True),
        ("1.0", b"Keep-Alive", True),
        ("1.1", b"close", False),
        ("1.1", b"CLOSE", False),
        ("1.1", b"x, close", False),
        ("1.1", b"closed", True),
        ("1.0", b"close", False),
        ("1.0", b"keep-alive, close", False),
        ("1.0", b"x,\tkeep-alive ,y", True),
        ("1.0", b"keep-alive-x", False),
        ("1.1", b"", True),
        ("1.1", b"upgrade", True),
    ],
)
def test_keep_alive_follows_version_and_options(version: str, value: bytes | None, keep_alive: bool) -> None:
    """RFC 9112 section 9.3."""
    headers = [HOST] if value is None else [HOST, (b"Connection", value)]
    assert look(*headers, version=version)[0].keep_alive is keep_alive


def test_connection_may_come_in_several_lines() -> None:
    """RFC 9110 section 7.6.1."""
    assert look(HOST, (b"Connection", b"keep-alive"), (b"Connection", b"close"))[0].keep_alive is False


@pytest.mark.parametrize(
    ("connection", "protocol", "upgrade"),
    [
        (b"Upgrade", b"websocket", b"websocket"),
        (b"keep-alive, Upgrade", b"WebSocket", b"websocket"),
        (b"upgrade,x", b"custom/1.0", b"custom/1.0"),
    ],
)
def test_an_upgrade_is_noted_and_the_connection_is_not_used_again(connection: bytes, protocol: bytes, upgrade: bytes) -> None:
    """RFC 9110 section 7.8; API definitions reference 10.3 (token list); decisions 2.3."""
    exchange, framing = look(HOST, (b"Connection", connection), (b"Upgrade", protocol))
    assert (exchange.upgrade, exchange.keep_alive, framing.content_length) == (upgrade, False, 0)


@pytest.mark.parametrize("protocol", [b"h2c", b"H2C", b"h2", b"TLS/1.0", b"tls"])
def test_upgrades_that_are_never_taken_are_plain_requests(protocol: bytes) -> None:
    """Decisions 2.3, Apache CVE-2025-49812: no HTTP/2 and no TLS inside HTTP; the connection ends all the same."""
    exchange, _ = look(HOST, (b"Connection", b"Upgrade, HTTP2-Settings"), (b"Upgrade", protocol), (b"HTTP2-Settings", b"AAA"))
    assert (exchange.upgrade, exchange.keep_alive) == (b"", False)


def test_upgrade_on_http_1_0_is_ignored() -> None:
    """RFC 9110 section 7.8; the parser stops nevertheless, so the connection ends."""
    exchange, _ = look(HOST, (b"Connection", b"keep-alive, upgrade"), (b"Upgrade", b"websocket"), version="1.0")
    assert (exchange.upgrade, exchange.keep_alive) == (b"", False)


def test_upgrade_that_connection_does_not_list_is_ignored() -> None:
    """RFC 9110 section 7.8."""
    exchange, framing = look(HOST, (b"Upgrade", b"websocket"), (b"Content-Length", b"5"), method=b"POST")
    assert (exchange.upgrade, exchange.keep_alive, framing.content_length) == (b"", True, 5)
    exchange, _ = look(HOST, (b"Connection", b"keep-alive"), (b"Upgrade", b"websocket"))
    assert (exchange.upgrade, exchange.keep_alive) == (b"", True)


@pytest.mark.parametrize("protocol", [b"websocket", b"h2c"])
@pytest.mark.parametrize("body", [(b"Content-Length", b"1"), (b"Transfer-Encoding", b"chunked")])
def test_an_upgrade_with_a_body_is_refused(protocol: bytes, body: tuple[bytes, bytes]) -> None:
    """Reliability reference 5c': the parser would deliver no body and leave it to be read as a second request."""
    assert status_of(HOST, (b"Connection", b"upgrade"), (b"Upgrade", protocol), body, method=b"POST") == 400


@pytest.mark.parametrize("protocol", [b"", b"websocket, h2c", b"websocket,", b"a b", b"a/b/c", b"/1", b"websocket;x", b"\xff"])
def test_several_or_malformed_protocols_are_refused(protocol: bytes) -> None:
    """One protocol or none."""
    assert status_of(HOST, (b"Connection", b"upgrade"), (b"Upgrade", protocol)) == 400


def test_two_upgrade_lines_are_refused() -> None:
    """Two lines are a list."""
    assert status_of(HOST, (b"Connection", b"upgrade"), (b"Upgrade", b"websocket"), (b"Upgrade", b"websocket")) == 400


@pytest.mark.parametrize(
    ("version", "body", "expected"),
    [
        ("1.1", [(b"Content-Length", b"5")], True),
        ("1.1", [(b"Transfer-Encoding", b"chunked")], True),
        ("1.1", [(b"Content-Length", b"0")], False),
        ("1.1", [], False),
        ("1.0", [(b"Content-Length", b"5")], False),
    ],
)
def test_a_client_that_waits_is_noted(version: str, body: HeaderList, expected: bool) -> None:
    """RFC 9110 section 10.1.1: not on HTTP/1.0, not without a body."""
    assert look(HOST, (b"Expect", b"100-Continue"), *body, method=b"POST", version=version)[1].expect_continue is expected


@pytest.mark.parametrize("value", [b"", b"100-continue, x", b"200-ok", b"100-continue;x", b"100-continue, 100-continue"])
def test_other_expectations_are_417(value: bytes) -> None:
    """RFC 9110 section 10.1.1."""
    assert status_of(HOST, (b"Expect", value)) == 417


# Against the parser


class Collector:
    """Callbacks of httptools."""

    def __init__(self) -> None:
        self.headers: HeaderList = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a line."""
        self.headers.append((name, value))


def parsed_by_llhttp(raw: bytes) -> tuple[HeaderList, bool]:
    """Header lines, and whether the parser stopped for an upgrade."""
    collector = Collector()
    parser = httptools.HttpRequestParser(collector)
    try:
        parser.feed_data(raw)
    except httptools.HttpParserUpgrade:
        return collector.headers, True
    return collector.headers, False


def test_llhttp_leaves_blanks_after_a_value() -> None:
    """Why `examine` looks for them; if this fails one day, the look can go."""
    headers, _ = parsed_by_llhttp(b"GET / HTTP/1.1\r\nHost:  a.test \t \r\n\r\n")
    assert headers == [(b"Host", b"a.test \t ")]


@fuzzed(300)
@given(
    st.lists(st.sampled_from([b"upgrade", b"Upgrade", b" ", b"\t", b",", b";", b"x", b"keep-alive", b"close", b"\xff"]), max_size=6).map(
        b"".join
    )
)
def test_wherever_the_parser_stops_the_connection_ends(connection: bytes) -> None:
    """Decisions 2.3: nothing that llhttp left over is ever parsed, so our reading must see each upgrade that it sees."""
    headers, stopped = parsed_by_llhttp(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection:" + connection + b"\r\nUpgrade: websocket\r\n\r\n")
    exchange = exchange_of(headers)
    examine(exchange, FramingLimits(), "1.1", underscore="drop")
    assert (exchange.upgrade == b"websocket") is stopped
    if stopped:
        assert not exchange.keep_alive


@fuzzed(300)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"Host", b"Content-Length", b"Transfer-Encoding", b"Connection", b"Upgrade", b"Expect", b"X", b"x_y", b""])
            | st.binary(max_size=4),
            st.sampled_from([b"a.test", b"5", b"chunked", b"upgrade", b"close", b"100-continue", b"", b" x "]) | st.binary(max_size=6),
        ),
        max_size=8,
    ),
    st.sampled_from(["1.0", "1.1"]),
    st.sampled_from(["drop", "refuse", "allow"]),
)
def test_garbage_gives_a_framing_or_a_wire_error(headers: HeaderList, version: str, underscore: str) -> None:
    """Nothing else; and the fast reading of the fields is the slow, readable one."""
    exchange = exchange_of(list(headers))
    try:
        examine(exchange, FramingLimits(), version, underscore=underscore)
    except WireError:
        return
    kept = [(name, value.strip(b" \t")) for name, value in headers if underscore == "allow" or b"_" not in name]
    index: dict[bytes, bytes] = {}
    for name, value in kept:
        index[name.lower()] = index[name.lower()] + b", " + value if name.lower() in index else value
    assert exchange.index == index
    assert [(name, value.strip(b" \t")) for name, value in exchange.headers] == kept
