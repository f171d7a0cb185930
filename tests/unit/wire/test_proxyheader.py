"""Tests of :mod:`tlsgate.wire.proxyheader`: what a balancer says, read whole and in pieces, and everything that is not believed."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsgate.errors import WireError
from tlsgate.wire.proxyheader import MAX_HEADER_BYTES, ProxyHeader, ProxyHeaderReader

SIGNATURE = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a"
V4 = ipaddress.IPv4Address("203.0.113.9").packed + ipaddress.IPv4Address("192.0.2.1").packed + struct.pack("!HH", 40001, 443)
V6 = ipaddress.IPv6Address("2001:db8::7").packed + ipaddress.IPv6Address("2001:db8::1").packed + struct.pack("!HH", 40002, 443)


def binary(kind: int, content: bytes, *, command: int = 0x21) -> bytes:
    """A version 2 header."""
    return SIGNATURE + bytes((command, kind)) + struct.pack("!H", len(content)) + content


def extension(kind: int, value: bytes) -> bytes:
    """A type-length-value field."""
    return bytes((kind,)) + struct.pack("!H", len(value)) + value


GOOD = [
    (b"PROXY TCP4 203.0.113.9 192.0.2.1 40001 443\r\n", ProxyHeader("203.0.113.9", 40001)),
    (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", ProxyHeader("255.255.255.255", 65535)),
    (b"PROXY TCP4 1.2.3.4 5.6.7.8 0 0\r\n", ProxyHeader("1.2.3.4", 0)),
    (b"PROXY TCP6 2001:0DB8:0:0:0:0:0:7 2001:db8::1 40002 443\r\n", ProxyHeader("2001:db8::7", 40002)),
    (b"PROXY TCP6 ::ffff:203.0.113.9 ::1 40002 443\r\n", ProxyHeader("203.0.113.9", 40002)),
    (b"PROXY UNKNOWN\r\n", ProxyHeader(None)),
    (b"PROXY UNKNOWN ffff:f 65535 anything\r\n", ProxyHeader(None)),
    (b"PROXY UNKNOWN " + b"x" * (107 - 16) + b"\r\n", ProxyHeader(None)),
    (binary(0x11, V4), ProxyHeader("203.0.113.9", 40001)),
    (binary(0x12, V4), ProxyHeader("203.0.113.9", 40001)),
    (binary(0x21, V6), ProxyHeader("2001:db8::7", 40002)),
    (binary(0x22, V6), ProxyHeader("2001:db8::7", 40002)),
    (binary(0x21, ipaddress.IPv6Address("::ffff:198.51.100.4").packed + V6[16:]), ProxyHeader("198.51.100.4", 40002)),
    (binary(0x31, b"/run/a.sock".ljust(108, b"\0") + bytes(108)), ProxyHeader(None)),
    (binary(0x00, b""), ProxyHeader(None)),
    (binary(0x00, b"\x99\xff"), ProxyHeader(None)),
    (binary(0x00, b"", command=0x20), ProxyHeader(None)),
    (binary(0xFF, b"whatever", command=0x20), ProxyHeader(None)),
    (binary(0x11, V4, command=0x20), ProxyHeader(None)),
    (
        binary(0x11, V4 + extension(0x04, b"") + extension(0xEA, b"\x01vpce-1") + extension(0x04, bytes(300))),
        ProxyHeader("203.0.113.9", 40001),
    ),
    (binary(0x11, V4 + extension(0x04, bytes(MAX_HEADER_BYTES - 16 - 12 - 3))), ProxyHeader("203.0.113.9", 40001)),
]
BAD = [
    b"GET / HTTP/1.1\r\n",
    b"\x16\x03\x01\x00\xa5\x01",
    b"\n",
    b"proxy TCP4 203.0.113.9 192.0.2.1 40001 443\r\n",
    b"PROXY\r\n",
    b"PROXY \r\n",
    b"PROXY UDP4 203.0.113.9 192.0.2.1 40001 443\r\n",
    b"PROXY  TCP4 203.0.113.9 192.0.2.1 40001 443\r\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 40001 443 \r\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 40001\r\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 040001 443\r\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 -1 443\r\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 65536 443\r\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 1 65536\r\n",
    b"PROXY TCP4 203.0.113.09 192.0.2.1 40001 443\r\n",
    b"PROXY TCP4 203.0.113 192.0.2.1 40001 443\r\n",
    b"PROXY TCP4 2001:db8::7 2001:db8::1 40001 443\r\n",
    b"PROXY TCP4 203.0.113.9 2001:db8::1 40001 443\r\n",
    b"PROXY TCP6 203.0.113.9 192.0.2.1 40001 443\r\n",
    b"PROXY TCP6 fe80::1%eth0 ::1 40001 443\r\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 40001 443\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 40001 443\n\r\n",
    b"PROXY TCP4 203.0.113.9\0 192.0.2.1 40001 443\r\n",
    b"PROXY UNKNOWN\x01\r\n",
    b"PROXY UNKNOWNS\r\n",
    b"PROXY UNKNOWN \xff\r\n",
    b"PROXY UNKNOWN " + b"x" * (107 - 15) + b"\r\n",
    SIGNATURE[:11] + b"\r",
    binary(0x11, V4, command=0x11),
    binary(0x11, V4, command=0x22),
    binary(0x11, V4, command=0x31),
    binary(0x11, V4, command=0x2F),
    binary(0x11, V4[:11]),
    binary(0x21, V6[:35]),
    binary(0x21, V4),
    binary(0x31, bytes(215)),
    binary(0x01, V4),
    binary(0x10, V4),
    binary(0x13, V4),
    binary(0x41, V4),
    binary(0x11, V4 + b"\x04"),
    binary(0x11, V4 + b"\x04\x00"),
    binary(0x11, V4 + b"\x04\x00\x01"),
    binary(0x11, V4 + extension(0x04, b"") + b"\x04\x00\x02x"),
    binary(0x11, V4 + extension(0x03, bytes(4))),
    binary(0x11, V4 + extension(0x03, bytes(3))),
    binary(0x11, V4 + extension(0x04, bytes(MAX_HEADER_BYTES - 16 - 12 - 2))),
]


@pytest.mark.parametrize(("data", "expected"), GOOD)
@pytest.mark.parametrize("after", [b"", b"\x16\x03\x01", b"PROXY TCP4 6.6.6.6 6.6.6.6 6 6\r\n"])
def test_headers_are_read_up_to_their_end(data: bytes, expected: ProxyHeader, after: bytes) -> None:
    """HAProxy's text, sections 2.1 and 2.2: what follows belongs to the connection, a second header too."""
    reader = ProxyHeaderReader()
    assert reader.feed(data + after) == expected
    assert reader.rest == after


@pytest.mark.parametrize(("data", "expected"), [case for case in GOOD if len(case[0]) < 600])
def test_headers_may_come_byte_by_byte(data: bytes, expected: ProxyHeader) -> None:
    """Nothing is decided early, nothing is left over."""
    reader = ProxyHeaderReader()
    assert [reader.feed(data[at : at + 1]) for at in range(len(data))] == [None] * (len(data) - 1) + [expected]
    assert reader.rest == b""


@pytest.mark.parametrize("data", BAD)
def test_everything_else_is_refused(data: bytes) -> None:
    """No header, half a header with an end, numbers out of range, families and commands that nobody may send (section 2.2)."""
    with pytest.raises(WireError):
        ProxyHeaderReader().feed(data)


@pytest.mark.parametrize("data", BAD)
def test_everything_else_is_refused_byte_by_byte(data: bytes) -> None:
    """However it is cut."""
    reader = ProxyHeaderReader()
    with pytest.raises(WireError):
        for at in range(len(data)):
            assert reader.feed(data[at : at + 1]) is None


def test_a_line_without_an_end_is_refused_at_its_limit() -> None:
    """107 bytes with the end: the 107th without one is too much (section 2.1)."""
    reader = ProxyHeaderReader()
    assert reader.feed(b"PROXY UNKNOWN " + b"x" * 92) is None
    with pytest.raises(WireError):
        reader.feed(b"x")


def test_an_announced_length_over_the_limit_is_refused_before_it_arrives() -> None:
    """A header of 64 KiB is not waited for."""
    with pytest.raises(WireError, match="too long"):
        ProxyHeaderReader().feed(SIGNATURE + b"\x21\x11\xff\xff")


def test_a_checksum_that_is_right_is_accepted() -> None:
    """Section 2.2.4: taken over the header with the field zeroed."""
    blank = binary(0x11, V4 + extension(0x03, bytes(4)) + extension(0x04, b"ab"))
    good = blank.replace(extension(0x03, bytes(4)), extension(0x03, struct.pack("!I", crc32c(blank))))
    assert ProxyHeaderReader().feed(good) == ProxyHeader("203.0.113.9", 40001)
    for at in (13, 17, 30, len(good) - 1):
        broken = bytearray(good)
        broken[at] ^= 1
        with pytest.raises(WireError):
            ProxyHeaderReader().feed(bytes(broken))


def crc32c(data: bytes) -> int:
    """The checksum by the bits of its definition (RFC 3720, appendix B.4)."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def test_the_checksum_of_the_standard_vectors() -> None:
    """RFC 3720, appendix B.4: the oracle above gives the published values."""
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(b"123456789") == 0xE3069283


@given(st.binary(max_size=300), st.lists(st.integers(1, 40), max_size=20))
def test_garbage_gives_a_header_or_a_refusal(data: bytes, cuts: list[int]) -> None:
    """Nothing else, and in bounded memory."""
    for start in (b"", b"PROXY ", SIGNATURE, SIGNATURE + b"\x21\x11\x00\x20"):
        reader, rest = ProxyHeaderReader(), start + data
        try:
            for size in [*cuts, len(rest) or 1]:
                piece, rest = rest[:size], rest[size:]
                if reader.feed(piece) is not None:
                    break
            assert len(reader.rest) <= 400
        except WireError:
            pass


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6), st.integers(0, 65535))
def test_both_versions_say_the_same(address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> None:
    """The same client announced both ways."""
    other = "192.0.2.1" if address.version == 4 else "2001:db8::1"
    line = f"PROXY TCP{address.version} {address} {other} {port} 443\r\n".encode()
    packed = address.packed + ipaddress.ip_address(other).packed + struct.pack("!HH", port, 443)
    read = ProxyHeaderReader().feed(binary(0x11 if address.version == 4 else 0x21, packed))
    assert ProxyHeaderReader().feed(line) == read
    assert read is not None
    assert read.source_port == port
