"""ClientHellos: real ones of two OpenSSL builds, and made-up ones with anything wrong in them."""

from __future__ import annotations

import ssl
import struct
from collections.abc import Iterable

import pytest
from OpenSSL import SSL

__all__ = ["hello_of_pyopenssl", "hello_of_ssl", "message", "records", "server_names", "vector"]


def hello_of_ssl(name: str | None, alpn: tuple[str, ...] = (), highest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> bytes:
    """The first flight of the standard library's client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = highest
    if alpn:
        context.set_alpn_protocols(list(alpn))
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def hello_of_pyopenssl(name: bytes | None, alpn: tuple[bytes, ...] = (), highest: int = SSL.TLS1_3_VERSION) -> bytes:
    """The first flight of pyOpenSSL's client, which is another OpenSSL than the standard library's."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version(highest)
    if alpn:
        context.set_alpn_protos(list(alpn))
    client = SSL.Connection(context, None)
    if name is not None:
        client.set_tlsext_host_name(name)
    client.set_connect_state()
    with pytest.raises(SSL.WantReadError):
        client.do_handshake()
    return client.bio_read(65536)


def vector(width: int, data: bytes) -> bytes:
    """A length-prefixed field."""
    return len(data).to_bytes(width, "big") + data


def server_names(*names: bytes, kind: int = 0) -> bytes:
    """The body of a server_name extension."""
    return vector(2, b"".join(bytes([kind]) + vector(2, name) for name in names))


def message(
    extensions: Iterable[tuple[int, bytes]] | None = ((0, server_names(b"a.test")),),
    *,
    version: int = 771,
    session: bytes = b"s" * 32,
    suites: bytes = b"\x13\x01",
    compression: bytes = b"\x00",
    tail: bytes = b"",
    kind: int = 1,
) -> bytes:
    """A handshake message, a proper ClientHello unless told otherwise."""
    body = struct.pack(">H32s", version, b"r" * 32) + vector(1, session) + vector(2, suites) + vector(1, compression)
    if extensions is not None:
        body += vector(2, b"".join(struct.pack(">H", number) + vector(2, data) for number, data in extensions))
    return bytes([kind]) + vector(3, body + tail)


def records(payload: bytes, size: int = 16384, version: bytes = b"\x03\x01", kind: int = 22) -> bytes:
    """Handshake records of at most ``size`` bytes each."""
    return b"".join(bytes([kind]) + version + vector(2, payload[at : at + size]) for at in range(0, len(payload), size))
