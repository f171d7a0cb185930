"""Targets, heads, names and PROXY headers: any input gives one reading, or a refusal for the peer."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.apis import make_connection
from tests.support.fuzzing import fuzzed
from tlsgate.errors import WireError
from tlsgate.model.exchange import Exchange
from tlsgate.wire.forwarding import (
    build_address_set,
    build_request_headers,
    client_address,
    filter_response_headers,
    filter_trailers,
    validate_headers,
)
from tlsgate.wire.framing import FramingLimits, examine
from tlsgate.wire.names import normalise_host, split_host_port
from tlsgate.wire.proxyheader import MAX_HEADER_BYTES, ProxyHeader, ProxyHeaderReader
from tlsgate.wire.target import canonicalise, clean_path, closing_readings, needs_cleaning, parse_target

PARTS = [
    b"/",
    b"//",
    b".",
    b"..",
    b"%2e",
    b"%2E%2e",
    b"%2f",
    b"%5C",
    b"\\",
    b";",
    b"%3b",
    b";x=1",
    b"a",
    b"b.c",
    b"%41",
    b"%",
    b"%zz",
    b"%00",
    b"%25",
    b"~",
    b"?",
    b"#",
    b" ",
    b"\x7f",
    b"\xff",
    b"http://",
    b"h",
    b"@",
    b":80",
    b"*",
]
paths = st.one_of(st.lists(st.sampled_from(PARTS), max_size=12).map(b"".join), st.binary(max_size=40))


@fuzzed(2000)
@given(raw=paths, method=st.sampled_from([b"GET", b"OPTIONS", b"POST"]), root=st.booleans())
def test_any_target(raw: bytes, method: bytes, root: bool) -> None:
    """The canonical reading is a fixed point; no clean path leaves the root; other readings are clean and others."""
    if root:
        raw = b"/" + raw
    try:
        target = parse_target(method, raw, max_bytes=8192)
    except WireError as problem:
        assert problem.status_hint in (400, 414)
        return
    canonical = target.canonical
    assert canonicalise(canonical) == canonical
    assert b"?" not in canonical and b"#" not in canonical
    assert all(0x20 < byte < 0x7F for byte in canonical)
    if canonical != b"*":
        assert canonical.startswith(b"/")
    cleaned = clean_path(canonical)
    assert cleaned.startswith(b"/") and not cleaned.startswith(b"//")
    assert not needs_cleaning(canonicalise(cleaned))
    assert clean_path(cleaned) == cleaned
    readings = closing_readings(canonical)
    assert len(readings) <= 32
    assert canonical not in readings
    for reading in readings:
        assert not needs_cleaning(canonicalise(reading))


HEADER_NAMES = [
    b"Host",
    b"host",
    b"Content-Length",
    b"content_length",
    b"Transfer-Encoding",
    b"Connection",
    b"Upgrade",
    b"Expect",
    b"X-Forwarded-For",
    b"Te",
    b"X-Client-Cert",
    b"x_client_cert",
    b"A",
    b"",
    b"A B",
    b"A:",
    b"\xff",
]
HEADER_VALUES = [
    b"a.test",
    b"a.test:80",
    b"[::1]",
    b"a b",
    b"",
    b" 5",
    b"5",
    b"05",
    b"5,5",
    b"chunked",
    b"chunked ",
    b"gzip, chunked",
    b"close",
    b"keep-alive, Upgrade",
    b"websocket",
    b"100-continue",
    b"1.2.3.4, 5.6.7.8",
    b"Host, X-Client-Cert",
    b"a\r\nb",
    b"a\nb",
    b"a\0b",
    b"\xff",
]
lines = st.lists(
    st.tuples(
        st.one_of(st.sampled_from(HEADER_NAMES), st.binary(max_size=8)),
        st.one_of(st.sampled_from(HEADER_VALUES), st.binary(max_size=12)),
    ),
    max_size=8,
)


@fuzzed(2000)
@given(
    method=st.one_of(st.sampled_from([b"GET", b"POST", b"CONNECT", b"get", b"A B", b""]), st.binary(max_size=6)),
    target=paths,
    headers=lines,
    version=st.sampled_from(["1.0", "1.1", "2.0", "0.9"]),
    underscore=st.sampled_from(["drop", "refuse", "allow"]),
    with_host=st.booleans(),
)
def test_any_head(method: bytes, target: bytes, headers: list[tuple[bytes, bytes]], version: str, underscore: str, with_host: bool) -> None:
    """Good for forwarding as it is, or refused."""
    if with_host:
        headers = [(b"Host", b"a.test"), *(line for line in headers if line[0].lower() != b"host")]
    exchange = Exchange(make_connection(), 1, method, target, headers)
    try:
        framing = examine(exchange, FramingLimits(), version, underscore=underscore)
    except WireError as problem:
        assert problem.status_hint in (400, 405, 414, 417, 431, 505)
        return
    assert version in ("1.0", "1.1")
    assert framing.content_length is None or framing.content_length >= 0
    validate_headers(exchange.headers)
    names = [name.lower() for name, _ in exchange.headers]
    assert names.count(b"host") <= 1
    assert names.count(b"content-length") + names.count(b"transfer-encoding") <= 1
    built = build_request_headers(
        exchange,
        host=b"up.test",
        peer="192.0.2.1",
        protected=frozenset(),
        keep_client_certificate_headers=False,
        remove_xff=False,
    )
    validate_headers(built)
    assert [name for name, _ in built].count(b"Host") == 1
    out = {name.lower().replace(b"_", b"-") for name, _ in built}
    assert not out & {b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"x-client-cert", b"keep-alive"}


@fuzzed(500)
@given(headers=lines)
def test_any_headers_of_an_answer_and_any_trailers(headers: list[tuple[bytes, bytes]]) -> None:
    """Framing and hop-by-hop fields are gone, the others are as they were."""
    for found in (filter_response_headers(headers), filter_trailers(headers)):
        assert not {name.lower() for name, _ in found} & {b"content-length", b"transfer-encoding", b"connection"}
        assert all(line in headers for line in found)


@fuzzed(500)
@given(value=st.binary(max_size=40), depth=st.integers(-2, 5))
def test_any_forwarded_for(value: bytes, depth: int) -> None:
    """An address, or none where the list is shorter than it should be (reference, section 9.5)."""
    trusted = build_address_set(["192.0.2.0/24"])
    found = client_address({b"x-forwarded-for": value, b"x-real-ip": value}, "192.0.2.1", depth, trusted)
    if found or depth < 2:
        ipaddress.ip_address(found)


@fuzzed(1000)
@given(value=st.one_of(st.binary(max_size=30), st.text(max_size=20).map(str.encode)))
def test_any_host(value: bytes) -> None:
    """A normal form that is its own normal form, or a refusal."""
    try:
        host, port = split_host_port(value)
    except WireError:
        return
    assert normalise_host(f"[{host}]" if ":" in host else host) == host
    assert port is None or 0 <= port <= 65535


SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


@st.composite
def proxy_headers(draw: st.DrawFn) -> bytes:
    """A header of either version with odd parts, and something behind it."""
    if draw(st.booleans()):
        words = [b"PROXY", b"TCP4", b"TCP6", b"UNKNOWN", b"1.2.3.4", b"::1", b"80", b"65536", b"0", b"08", b"-1", b"", b"x" * 60]
        line = b" ".join(draw(st.lists(st.sampled_from(words), min_size=1, max_size=7)))
        start = draw(st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 "])) + line
        return start + draw(st.sampled_from([b"\r\n", b"\n", b"\r", b""])) + draw(st.binary(max_size=10))
    payload = draw(st.binary(max_size=60))
    length = draw(st.one_of(st.just(len(payload)), st.integers(0, 65535)))
    return (
        SIGNATURE
        + bytes((draw(st.sampled_from([0x20, 0x21, 0x22, 0x11])), draw(st.sampled_from([0, 0x11, 0x12, 0x21, 0x31, 0x41]))))
        + length.to_bytes(2, "big")
        + payload
    )


def read_proxy(pieces: list[bytes]) -> tuple[ProxyHeader, bytes] | str | None:
    """Feed a reader, as a connection does, until it has decided."""
    reader = ProxyHeaderReader()
    for number, piece in enumerate(pieces):
        try:
            found = reader.feed(piece)
        except WireError:
            return "refused"
        assert found is not None or len(reader.rest) <= MAX_HEADER_BYTES
        if found is not None:
            return found, reader.rest + b"".join(pieces[number + 1 :])
    return None


@fuzzed(1500)
@given(data=st.one_of(proxy_headers(), st.binary(max_size=60)), cuts=st.lists(st.integers(0, 100), max_size=5))
def test_any_proxy_header_in_any_pieces(data: bytes, cuts: list[int]) -> None:
    """One reading and the same rest, or a refusal."""
    whole = read_proxy([data])
    bounds = sorted({min(cut, len(data)) for cut in cuts})
    pieces = [data[start:stop] for start, stop in zip([0, *bounds], [*bounds, len(data)], strict=True)]
    assert read_proxy([piece for piece in pieces if piece]) == whole
    assert read_proxy([data[at : at + 1] for at in range(len(data))]) == whole


def test_the_limit_of_a_target_is_exact() -> None:
    """n and n+1."""
    parse_target(b"GET", b"/" + b"a" * 99, max_bytes=100)
    with pytest.raises(WireError):
        parse_target(b"GET", b"/" + b"a" * 100, max_bytes=100)
