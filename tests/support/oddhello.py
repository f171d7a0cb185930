"""Clients whose first bytes are odd: cut, spread over records, padded, changed, or no ClientHello at all."""

from __future__ import annotations

import socket
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from tests.support.certs import Issued
from tests.support.gateway import Client, Gateway, HandshakeRefused

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it imports asyncore
    from tlslite.api import X509, HandshakeSettings, TLSConnection, X509CertChain, parsePEMKey
    from tlslite.errors import TLSError
    from tlslite.extensions import TLSExtension
    from tlslite.messages import ClientHello

__all__ = [
    "ChangedHelloClient",
    "Outcome",
    "ShapedClient",
    "TLSError",
    "add_extension",
    "connect",
    "exchange",
    "idle_descriptors",
    "read_outcome",
]


class Outcome(NamedTuple):
    """What came back from the gateway, and how it ended."""

    data: bytes
    ended: str
    """``closed``, ``reset`` or ``open`` (nothing more came in time)."""
    seconds: float
    """From the last byte sent to the end."""

    @property
    def records(self) -> list[tuple[int, bytes]]:
        """Types and contents of TLS records."""
        found = []
        at = 0
        while at + 5 <= len(self.data):
            end = at + 5 + int.from_bytes(self.data[at + 3 : at + 5], "big")
            found.append((self.data[at], self.data[at + 5 : end]))
            at = end
        return found

    @property
    def alert(self) -> int | None:
        """Description of a plain alert."""
        return next((content[1] for kind, content in self.records if kind == 21 and len(content) == 2), None)

    @property
    def server_hello(self) -> bytes | None:
        """The ServerHello message, without its header."""
        for kind, content in self.records:
            if kind == 22 and content[:1] == b"\x02":
                return content[4 : 4 + int.from_bytes(content[1:4], "big")]
        return None


def connect(port: int, *, receive_buffer: int | None = None) -> socket.socket:
    """Connect without delay for small segments.

    :param receive_buffer: bytes that the kernel holds for a client that does not read.
    """
    created = socket.socket()
    if receive_buffer is not None:
        created.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    created.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    created.settimeout(10)
    created.connect(("127.0.0.1", port))
    return created


def exchange(port: int, *segments: bytes, pause_s: float = 0.0, wait_s: float = 5.0, half_close: bool = False) -> Outcome:
    """Send segments and read until the gateway ends the connection.

    :param pause_s: between segments, so that they arrive apart.
    :param half_close: say that nothing more comes.
    """
    with connect(port) as client:
        try:
            for number, segment in enumerate(segments):
                if number and pause_s:
                    time.sleep(pause_s)
                client.sendall(segment)
            if half_close:
                client.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # refused while it was sending: the reading tells
        return read_outcome(client, wait_s)


def read_outcome(client: socket.socket, wait_s: float = 5.0) -> Outcome:
    """Read until the gateway ends the connection, or for ``wait_s`` seconds."""
    started = time.monotonic()
    data = b""
    ended = "open"
    while (left := wait_s - (time.monotonic() - started)) > 0:
        client.settimeout(left)
        try:
            piece = client.recv(65536)
        except TimeoutError:
            break
        except OSError:
            ended = "reset"
            break
        if not piece:
            ended = "closed"
            break
        data += piece
    return Outcome(data, ended, time.monotonic() - started)


def idle_descriptors(gateway: Gateway) -> int:
    """Return how many descriptors a gateway has that has served once and has no connection: the least number within half a second."""
    exchange(gateway.port, b"\x00")
    levels = []
    for _ in range(10):
        levels.append(gateway.open_files())
        time.sleep(0.05)
    return min(levels)


class ShapedClient(Client):
    """A client whose first flight goes out in another shape; what it says stays the same, so that the handshake can end well.

    :param shape: turns the first flight into segments.
    :param pause_s: between segments, so that they arrive apart.
    """

    def __init__(self, port: int, shape: Callable[[bytes], Iterable[bytes]], *, pause_s: float = 0.0, **options: Any) -> None:
        self._shape: Callable[[bytes], Iterable[bytes]] | None = shape
        self._pause_s = pause_s
        super().__init__(port, **options)

    def _pump_out(self) -> None:
        shape, self._shape = self._shape, None
        if shape is None:
            super()._pump_out()
            return
        assert self.ssl is not None
        try:
            for number, segment in enumerate(shape(self.ssl.bio_read(1 << 20))):
                if number and self._pause_s:
                    time.sleep(self._pause_s)
                self.socket.sendall(segment)
        except OSError as error:
            raise HandshakeRefused(f"send: {error}") from error


def add_extension(number: int, content: bytes, *, first: bool = False) -> Callable[[ClientHello], None]:
    """Return a change of a ClientHello: one more extension."""

    def change(hello: ClientHello) -> None:
        extension = TLSExtension(extType=number).create(number, bytearray(content))
        if first:
            hello.extensions.insert(0, extension)
        else:
            hello.extensions.append(extension)

    return change


class ChangedHelloClient(TLSConnection):  # type: ignore[misc]
    """Another TLS stack (tlslite-ng), whose ClientHello is changed before it is hashed and sent.

    :param changes: applied in order.
    :param version: 771 or 772.
    :param adjust: last changes to the settings.
    :param session: to resume.
    """

    def __init__(
        self,
        port: int,
        sni: str | None,
        changes: Sequence[Callable[[ClientHello], None]] = (),
        *,
        version: int = 772,
        identity: Issued | None = None,
        alpn: Sequence[bytes] = (),
        adjust: Callable[[HandshakeSettings], None] | None = None,
        session: Any = None,
        receive_buffer: int | None = None,
    ) -> None:
        self.plain = connect(port, receive_buffer=receive_buffer)
        super().__init__(self.plain)
        self._changes = changes
        settings = HandshakeSettings()
        settings.minVersion = settings.maxVersion = (3, version - 768)
        settings.versions = [settings.maxVersion]
        settings.cipherNames = ["aes128gcm"]
        settings.eccCurves = ["secp256r1", "x25519"]
        settings.keyShares = ["secp256r1"]
        settings.certificate_compression_send = settings.certificate_compression_receive = []
        if adjust is not None:
            adjust(settings)
        chain = key = None
        if identity is not None:
            certificate = X509()
            certificate.parse(identity.pem)
            chain = X509CertChain([certificate])
            key = parsePEMKey(identity.key_pem, private=True)
        try:
            self.handshakeClientCert(
                chain, key, session=session, settings=settings, serverName=sni, alpn=[bytearray(name) for name in alpn] or None
            )
        except BaseException:
            self.plain.close()
            raise

    def __enter__(self) -> ChangedHelloClient:
        return self

    def __exit__(self, *exception: object) -> None:
        self.plain.close()

    def _sendMsgs(self, msgs: Any) -> Any:
        for message in msgs:
            if isinstance(message, ClientHello):
                for change in self._changes:
                    change(message)
        return super()._sendMsgs(msgs)

    def get(self, host: str, target: str = "/") -> int:
        """Ask for a page and return the status; raises ConnectionError when the connection ends instead."""
        self.write(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        data = bytes(self.read(min=1, max=65536))
        if not data:
            raise ConnectionError("no answer")
        return int(data.split(b" ", 2)[1])
