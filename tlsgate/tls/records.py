"""TLS records in and out of OpenSSL's memory BIOs with one foreign call each; knows nothing of transports or applications.

``OpenSSL.SSL.Connection`` allocates a buffer, asks for an error and looks for a callback's exception on every call, which costs more
than OpenSSL itself (2.1 us to decrypt a small record, 0.7 here). Here the buffer is one per process, and errors are looked for when a
result says that there is one. A pyOpenSSL whose insides are other ones is used by its public functions: the same, slower. Design note
0016.

For one thread, the reactor's: the buffer is shared by all connections.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from OpenSSL import SSL

__all__ = ["BUFFER_BYTES", "RECORD_BYTES", "Records", "find_records", "public_records", "records"]

RECORD_BYTES = 16384
"""Most plain bytes of one record (RFC 8446 section 5.1)."""
BUFFER_BYTES = 81920
"""Room for the records of 64 KiB of plain bytes."""


class Records:
    """Four functions on a connection over memory BIOs; each raises what the method of ``SSL.Connection`` that it stands for raises."""

    __slots__ = ("decrypt", "encrypt", "feed", "fetch")

    def __init__(
        self,
        feed: Callable[[Any, bytes], None],
        decrypt: Callable[[Any], bytes],
        encrypt: Callable[[Any, bytes], None],
        fetch: Callable[[Any], bytes],
    ) -> None:
        self.feed = feed
        """Give bytes from the network."""
        self.decrypt = decrypt
        """Return the plain bytes of the next record: all of them. Raises ``SSL.WantReadError`` when it is not there yet, and so on."""
        self.encrypt = encrypt
        """Make records of some plain bytes."""
        self.fetch = fetch
        """Return up to ``BUFFER_BYTES`` for the network, empty for none."""


def public_records() -> Records:
    """Return the functions made of pyOpenSSL's public ones."""

    def feed(ssl: Any, data: bytes) -> None:
        ssl.bio_write(data)

    def decrypt(ssl: Any) -> bytes:
        data: bytes = ssl.recv(RECORD_BYTES)
        return data

    def encrypt(ssl: Any, data: bytes) -> None:
        ssl.sendall(data)

    def fetch(ssl: Any) -> bytes:
        try:
            data: bytes = ssl.bio_read(BUFFER_BYTES)
        except SSL.WantReadError:
            return b""
        return data

    return Records(feed, decrypt, encrypt, fetch)


def find_records() -> Records | None:
    """Return the functions made of pyOpenSSL's insides, None where they are not what is known here."""
    try:
        from OpenSSL._util import ffi, lib

        bio_write, bio_read, ssl_read, ssl_write = lib.BIO_write, lib.BIO_read, lib.SSL_read, lib.SSL_write
        probe: Any = SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)
        known = (probe._ssl, probe._into_ssl, probe._from_ssl, probe._raise_ssl_error)
    except (ImportError, AttributeError):
        return None
    if any(part is None for part in known):
        return None
    pages = ffi.new("char[]", BUFFER_BYTES)
    buffer = ffi.buffer(pages)
    from_buffer = ffi.from_buffer

    def feed(ssl: Any, data: bytes) -> None:
        if bio_write(ssl._into_ssl, data, len(data)) != len(data):
            raise SSL.Error("OpenSSL takes no more bytes")

    def decrypt(ssl: Any) -> bytes:
        size = ssl_read(ssl._ssl, pages, RECORD_BYTES)
        if size <= 0:
            ssl._raise_ssl_error(ssl._ssl, size)
            raise SSL.Error("nothing was read")
        data: bytes = buffer[:size]
        return data

    def encrypt(ssl: Any, data: bytes) -> None:
        size = ssl_write(ssl._ssl, data, len(data))
        # With pyOpenSSL's modes a call writes one record at most.
        start = 0
        while size != len(data) - start:
            if size <= 0:
                ssl._raise_ssl_error(ssl._ssl, size)
                raise SSL.Error("nothing was written")
            start += size
            size = ssl_write(ssl._ssl, from_buffer(data) + start, len(data) - start)

    def fetch(ssl: Any) -> bytes:
        size = bio_read(ssl._from_ssl, pages, BUFFER_BYTES)
        data: bytes = buffer[:size] if size > 0 else b""
        return data

    return Records(feed, decrypt, encrypt, fetch)


records = find_records() or public_records()
"""What the process uses."""
