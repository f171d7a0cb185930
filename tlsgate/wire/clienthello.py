"""The ClientHello, read before OpenSSL sees a byte: server name, ALPN and versions; anything unreadable is refused.

Knows TLS records and the handshake message; must not know policies, certificates or sockets. What it reads is compared with what
OpenSSL reports after the handshake (decisions 1.6), so a difference between the two readings closes the connection and never opens one.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from tlsgate.errors import WireError
from tlsgate.wire.names import is_ip_literal, normalise_dns_name

__all__ = ["ClientHello", "ClientHelloReader", "PlainHttpOnTls"]

_RECORD_HEADER = 5
_HANDSHAKE_HEADER = 4
_MAX_FRAGMENT = 16384  # RFC 8446 section 5.1: 2^14 bytes of plaintext
_HANDSHAKE = 22
_CLIENT_HELLO = 1

_EXTENSION_HEADER = struct.Struct(">HH")
_SERVER_NAME = 0
_ALPN = 16
_SUPPORTED_VERSIONS = 43


class PlainHttpOnTls(WireError):
    """A client speaks plain HTTP on a TLS port; it may be told so in plain text."""


class ClientHello(NamedTuple):
    """What a client asked for in its first message."""

    server_name: str | None
    """Normal form (``wire.names``); None when there was no SNI."""
    alpn: tuple[bytes, ...]
    """Protocols offered, in the client's order."""
    versions: tuple[int, ...]
    """Wire numbers of ``supported_versions`` without GREASE, else the one legacy version."""


class ClientHelloReader:
    """Collects the bytes of one connection until the ClientHello is complete.

    Each byte is looked at a bounded number of times, however it was cut into segments and records.

    :param max_bytes: records included, the hello must end within so many bytes.
    """

    __slots__ = ("_buffer", "_done", "_error", "_length", "_max_bytes", "_message", "_record_at")

    def __init__(self, max_bytes: int = 65536) -> None:
        self._max_bytes = max_bytes
        self._buffer = bytearray()
        self._message = bytearray()
        self._record_at = 0
        self._length = -1
        self._done = False
        self._error: WireError | None = None

    @property
    def buffered(self) -> bytes:
        """All bytes fed so far, to be handed to OpenSSL."""
        return bytes(self._buffer)

    def feed(self, data: bytes) -> ClientHello | None:
        """Take the next bytes.

        Source: RFC 8446 sections 4.1.2 and 5.1, RFC 6066 section 3, RFC 7301 section 3.1, RFC 8701 (GREASE).

        :param data: new bytes only, in any portions.
        :returns: the hello when it is complete, None when more is needed.
        :raises PlainHttpOnTls: the first byte starts an HTTP method.
        :raises WireError: anything that is not a well-formed ClientHello; so does each later call.
        :raises ValueError: the hello was complete before.
        """
        if self._done:
            raise ValueError("the ClientHello is complete")
        if self._error is not None:
            raise self._error
        self._buffer += data
        try:
            hello = self._advance()
            if hello is None and len(self._buffer) >= self._max_bytes:
                raise WireError("ClientHello too large")
        except WireError as error:
            self._error = error
            raise
        self._done = hello is not None
        return hello

    def _advance(self) -> ClientHello | None:
        buffer = self._buffer
        if buffer and not self._record_at:
            _check_first_byte(buffer[0])
        while len(buffer) - self._record_at >= _RECORD_HEADER:
            at = self._record_at
            end = at + _RECORD_HEADER + _record_length(buffer[at : at + _RECORD_HEADER])
            if end > self._max_bytes:
                raise WireError("ClientHello too large")
            if len(buffer) < end:
                return None
            self._message += buffer[at + _RECORD_HEADER : end]
            self._record_at = end
            if self._is_complete():
                return _parse_hello(bytes(self._message[_HANDSHAKE_HEADER : _HANDSHAKE_HEADER + self._length]))
        return None

    def _is_complete(self) -> bool:
        message = self._message
        if message[0] != _CLIENT_HELLO:
            raise WireError("first handshake message is not a ClientHello")
        if self._length < 0:
            if len(message) < _HANDSHAKE_HEADER:
                return False
            self._length = int.from_bytes(message[1:_HANDSHAKE_HEADER], "big")
            if self._length + _HANDSHAKE_HEADER + _RECORD_HEADER > self._max_bytes:
                raise WireError("ClientHello too large")
        return len(message) >= _HANDSHAKE_HEADER + self._length


class _Fields:
    """A cursor over length-prefixed fields that refuses to read beyond its end."""

    __slots__ = ("_at", "_data", "_end")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._end = len(data)

    @property
    def empty(self) -> bool:
        return self._at == self._end

    def take(self, count: int) -> bytes:
        at = self._at
        if self._end - at < count:
            raise WireError("truncated field in ClientHello")
        self._at = at + count
        return self._data[at : at + count]

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width), "big")

    def vector(self, width: int) -> bytes:
        return self.take(self.number(width))


def _check_first_byte(first: int) -> None:
    if first == _HANDSHAKE:
        return
    if 0x41 <= first <= 0x5A:  # "A" to "Z": no TLS content type lies there, each HTTP method starts there
        raise PlainHttpOnTls("plain HTTP on a TLS port")
    if first & 0x80:
        raise WireError("SSLv2 ClientHello")
    raise WireError("not a TLS handshake record")


def _record_length(header: bytes | bytearray) -> int:
    if header[0] != _HANDSHAKE:
        raise WireError("record of another type inside the ClientHello")
    if header[1] != 3 or header[2] > 4:
        raise WireError("unknown record version")
    length = header[3] << 8 | header[4]
    # RFC 8446 section 5.1 forbids empty handshake records; they would also be a way to send bytes for ever.
    if not 0 < length <= _MAX_FRAGMENT:
        raise WireError("record length out of range")
    return length


def _parse_hello(body: bytes) -> ClientHello:
    fields = _Fields(body)
    legacy_version = fields.number(2)
    if legacy_version >> 8 != 3:
        raise WireError("unknown protocol version")
    fields.take(32)
    if len(fields.vector(1)) > 32:
        raise WireError("session id too long")
    suites = fields.vector(2)
    if not suites or len(suites) % 2:
        raise WireError("malformed cipher suites")
    if 0 not in fields.vector(1):
        raise WireError("null compression not offered")
    extensions = {} if fields.empty else _parse_extensions(fields.vector(2))
    if not fields.empty:
        raise WireError("bytes after the extensions of the ClientHello")
    name = extensions.get(_SERVER_NAME)
    protocols = extensions.get(_ALPN)
    versions = extensions.get(_SUPPORTED_VERSIONS)
    return ClientHello(
        None if name is None else _parse_server_name(name),
        () if protocols is None else _parse_alpn(protocols),
        (legacy_version,) if versions is None else _parse_versions(versions),
    )


def _parse_extensions(data: bytes) -> dict[int, bytes]:
    # By hand, not with _Fields: some fifteen extensions are most of a hello (10 us instead of 16 in all, `benchmarks/micro_wire.py`).
    extensions: dict[int, bytes] = {}
    at, end = 0, len(data)
    while at < end:
        body = at + _EXTENSION_HEADER.size
        if body > end:
            raise WireError("truncated field in ClientHello")
        kind, length = _EXTENSION_HEADER.unpack_from(data, at)
        at = body + length
        if at > end:
            raise WireError("truncated field in ClientHello")
        if kind in extensions:
            raise WireError("repeated extension")
        extensions[kind] = data[body:at]
    return extensions


def _parse_server_name(data: bytes) -> str:
    # RFC 6066 would allow several name types; none but host_name exists, and a second entry is a second reading.
    outer = _Fields(data)
    fields = _Fields(outer.vector(2))
    if not outer.empty or fields.number(1) != 0:
        raise WireError("malformed server name list")
    raw = fields.vector(2)
    if not fields.empty:
        raise WireError("several server names")
    try:
        name = normalise_dns_name(raw.decode("ascii"))
    except UnicodeDecodeError as error:
        raise WireError("server name is not ASCII") from error
    if is_ip_literal(name):
        raise WireError("IP address as server name")
    return name


def _parse_alpn(data: bytes) -> tuple[bytes, ...]:
    outer = _Fields(data)
    fields = _Fields(outer.vector(2))
    protocols: list[bytes] = []
    while not fields.empty:
        protocols.append(fields.vector(1))
    if not outer.empty or not protocols or b"" in protocols:
        raise WireError("malformed ALPN list")
    return tuple(protocols)


def _parse_versions(data: bytes) -> tuple[int, ...]:
    outer = _Fields(data)
    listed = outer.vector(1)
    if not outer.empty or not listed or len(listed) % 2:
        raise WireError("malformed supported_versions")
    numbers = [listed[at] << 8 | listed[at + 1] for at in range(0, len(listed), 2)]
    return tuple(number for number in numbers if number & 0x0F0F != 0x0A0A)
