"""The header with which a load balancer says who its client is (PROXY protocol, versions 1 and 2); knows nothing of connections.

Fails closed: a connection that should begin with a header and does not, or with one that cannot be read, is refused, because the
address in it decides about access.
Source: HAProxy, "The PROXY protocol, versions 1 and 2".
"""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

from tlsgate.errors import WireError

__all__ = ["MAX_HEADER_BYTES", "ProxyHeader", "ProxyHeaderReader"]

MAX_HEADER_BYTES = 4096
"""Of a whole version 2 header: 232 bytes are needed for addresses, the known kinds of extension add some hundred."""

_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_LINE_START = b"PROXY "
_FIXED_BYTES = 16
_LINE_LIMIT = 107
"""Longest version 1 line, its end included."""
_LINE = re.compile(rb"PROXY (TCP4|TCP6) ([0-9A-Fa-f.:]+) ([0-9A-Fa-f.:]+) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})\Z")
_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: [\x20-\x7e]*)?\Z")
_LOCAL, _PROXY = 0x20, 0x21
_ADDRESS_BYTES = {0x00: 0, 0x11: 12, 0x12: 12, 0x21: 36, 0x22: 36, 0x31: 216, 0x32: 216}
"""By family and transport: unspecified, IPv4, IPv6, Unix, each as stream and as datagrams; anything else is to be refused."""
_TLV_CRC = 0x03
_POLYNOMIAL = 0x82F63B78
"""Castagnoli's, reversed (RFC 3720, appendix B.4)."""


class ProxyHeader(NamedTuple):
    """What a header announces."""

    source: str | None
    """The client's address in its short form, an IPv4 one where it is mapped into IPv6; None where the balancer names none (its own
    health checks, connections that are not IP): then the connection's own address counts."""
    source_port: int = 0


class ProxyHeaderReader:
    """Reads one header, whatever the pieces in which it arrives."""

    __slots__ = ("_buffer", "_needed")

    def __init__(self) -> None:
        self._buffer = b""
        self._needed = 1

    def feed(self, data: bytes) -> ProxyHeader | None:
        """Take new bytes.

        :param data: everything that arrived since the last call.
        :returns: the header once it is complete, None to ask for more.
        :raises WireError: this is no header, or not one that may be believed.
        """
        buffer = self._buffer = self._buffer + data
        if len(buffer) < self._needed:
            return None
        if buffer.startswith(_SIGNATURE):
            return self._read_binary(buffer)
        if buffer.startswith(_LINE_START):
            return self._read_line(buffer)
        if _SIGNATURE.startswith(buffer) or _LINE_START.startswith(buffer):
            return None
        raise WireError("no PROXY header")

    @property
    def rest(self) -> bytes:
        """What followed the header, once there is one; before, everything that was fed."""
        return self._buffer

    def _read_line(self, buffer: bytes) -> ProxyHeader | None:
        end = buffer.find(b"\r\n", 0, _LINE_LIMIT)
        if end < 0:
            if len(buffer) >= _LINE_LIMIT or b"\n" in buffer:
                raise WireError("unreadable PROXY line")
            return None
        line, self._buffer = buffer[:end], buffer[end + 2 :]
        found = _LINE.match(line)
        if found is None:
            if _UNKNOWN.match(line) is None:
                raise WireError("unreadable PROXY line")
            return ProxyHeader(None)
        family, source, destination, *ports = found.groups()
        source_port, destination_port = (int(port) for port in ports)
        if source_port > 65535 or destination_port > 65535:
            raise WireError("port out of range in the PROXY line")
        try:
            kind = ipaddress.IPv4Address if family == b"TCP4" else ipaddress.IPv6Address
            address = kind(source.decode("ascii"))
            kind(destination.decode("ascii"))
        except ValueError as error:
            raise WireError(f"not a {family.decode()} address in the PROXY line") from error
        return ProxyHeader(_short(address), source_port)

    def _read_binary(self, buffer: bytes) -> ProxyHeader | None:
        if len(buffer) < _FIXED_BYTES:
            self._needed = _FIXED_BYTES
            return None
        command, kind = buffer[12], buffer[13]
        size = _FIXED_BYTES + int.from_bytes(buffer[14:16], "big")
        if command not in (_LOCAL, _PROXY):
            raise WireError(f"PROXY header with version and command {command:#04x}")
        if size > MAX_HEADER_BYTES:
            raise WireError("PROXY header too long")
        if len(buffer) < size:
            self._needed = size
            return None
        header, self._buffer = buffer[:size], buffer[size:]
        if command == _LOCAL:
            return ProxyHeader(None)
        addresses = _ADDRESS_BYTES.get(kind)
        if addresses is None:
            raise WireError(f"PROXY header of the unknown family {kind:#04x}")
        extensions = _FIXED_BYTES + addresses
        if size < extensions:
            raise WireError("PROXY header too short for its addresses")
        if kind:
            _check_extensions(header, extensions)
        if addresses not in (12, 36):
            return ProxyHeader(None)
        length = 4 if addresses == 12 else 16
        source = ipaddress.ip_address(header[16 : 16 + length])
        ports = 16 + 2 * length
        return ProxyHeader(_short(source), int.from_bytes(header[ports : ports + 2], "big"))


def _short(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _check_extensions(header: bytes, at: int) -> None:
    """Walk over the type-length-value fields; a checksum among them must be right."""
    while at < len(header):
        if at + 3 > len(header):
            raise WireError("PROXY header with a broken extension")
        kind, start = header[at], at + 3
        at = start + int.from_bytes(header[at + 1 : start], "big")
        if at > len(header):
            raise WireError("PROXY header with a broken extension")
        if kind == _TLV_CRC:
            blank = header[:start] + bytes(at - start) + header[at:]
            if at - start != 4 or int.from_bytes(header[start:at], "big") != _crc32c(blank):
                raise WireError("PROXY header with a wrong checksum")


def _build_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return tuple(table)


_TABLE = _build_table()


def _crc32c(data: bytes) -> int:
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ _TABLE[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF
