"""TCP transports that send at once when nothing is queued; knows nothing of TLS or HTTP.

Twisted queues each write and lets the next reactor turn send it, which costs two ``epoll_ctl`` calls and a turn per answer
(``benchmarks/README.md``: about 130 us of a new connection). Here a write goes to the socket directly and only the rest is queued.
"""

from __future__ import annotations

import errno
import fcntl
import socket
import struct
import termios
from typing import TYPE_CHECKING, Any

from twisted.internet import main, tcp
from twisted.internet.error import CannotListenError
from twisted.python import failure

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorCore
    from twisted.internet.protocol import ClientFactory, Factory

__all__ = ["PromptPort", "adopt_prompt", "connect_prompt", "listen_prompt"]

_OUTPUT_QUEUE = termios.TIOCOUTQ  # the same number as SIOCOUTQ on Linux
_RETRY = (errno.EWOULDBLOCK, errno.EAGAIN, errno.ENOBUFS, errno.EINTR)

_READ_BYTES = 65536
_CHOKE_BYTES = 1 << 20
"""So much in the queue of an accepted connection stops the reading from it. Answers with a producer are paused long before (64 KiB and one
piece); what comes here is what nobody steers: pipelined refusals, TLS alerts and the like, asked for by a peer that does not read."""


def _read(transport: Any) -> Any:
    """Give the protocol what has come; as ``tcp.Connection.doRead``, in one call instead of two.

    :returns: why the connection is over, None when it is not.
    """
    try:
        data = transport.socket.recv(_READ_BYTES)
    except OSError as error:
        return None if error.errno == errno.EWOULDBLOCK else main.CONNECTION_LOST
    if not data:
        return main.CONNECTION_DONE
    transport.protocol.dataReceived(data)
    return None


def _write_promptly(transport: Any, data: bytes) -> None:
    """Send ``data`` now as far as the socket takes it, queue the rest."""
    if not transport.connected or transport._writeDisconnected or not data:
        return
    if not transport._tempDataBuffer and not transport.dataBuffer and not transport.disconnecting:
        try:
            sent = transport.socket.send(data)
        except OSError as error:
            if error.errno not in _RETRY:
                # Let the reactor report the loss from its own turn, as it does for a failed queued write.
                transport._tempDataBuffer.append(data)
                transport._tempDataLen += len(data)
                transport.startWriting()
                return
            sent = 0
        if sent == len(data):
            return
        data = data[sent:]
    transport._tempDataBuffer.append(data)
    transport._tempDataLen += len(data)
    transport._maybePauseProducer()
    transport.startWriting()
    if transport._tempDataLen + len(transport.dataBuffer) > _CHOKE_BYTES:
        transport.choke()


def _unacknowledged(transport: Any) -> int:
    """Return how many bytes wait in the kernel's queue.

    The kernel asks for more only when a good part of its queue, which may hold megabytes, is free: a slow reader is told by this number
    from one that does not read at all.
    """
    try:
        (count,) = struct.unpack("i", fcntl.ioctl(transport.fileno(), _OUTPUT_QUEUE, b"\0\0\0\0"))
    except (OSError, ValueError):  # closed meanwhile
        return 0
    return int(count)


class _PromptServer(tcp.Server):
    """An accepted connection; one that does not read what it asked for is not read from either."""

    _choked = False
    _paused = False
    doRead = _read
    write = _write_promptly

    def queued(self) -> int:
        """Return how many bytes wait for the socket."""
        return len(self.dataBuffer) - self.offset + self._tempDataLen

    def undelivered(self) -> int:
        """Return how many bytes the peer has not acknowledged."""
        return self.queued() + _unacknowledged(self)

    def choke(self) -> None:
        """Read nothing more until half of the queue is gone."""
        if not self._choked:
            self._choked = True
            self.stopReading()

    def doWrite(self) -> Any:
        result = super().doWrite()
        if self._choked and result is None and self.queued() < _CHOKE_BYTES // 2:
            self._choked = False
            if not self._paused:
                super().resumeProducing()
        return result

    def pauseProducing(self) -> None:
        self._paused = True
        super().pauseProducing()

    def resumeProducing(self) -> None:
        self._paused = False
        if not self._choked:
            super().resumeProducing()

    def loseConnection(self) -> None:
        if self.connected and not self.disconnecting and not self._tempDataBuffer and not self.dataBuffer and self.producer is None:
            # Nothing to flush: close within this turn instead of waiting for the socket to become writable.
            self.disconnecting = 1
            self.stopReading()
            self.stopWriting()
            later: Any = self.reactor
            later.callLater(0, self._close_now)
            return
        super().loseConnection()

    def _close_now(self) -> None:
        if self.connected:
            self.connectionLost(failure.Failure(main.CONNECTION_DONE))


class _PromptClient(tcp.Client):
    """A connection that we opened, with Nagle's algorithm off: small writes of a stream must not wait for acknowledgements."""

    def createInternetSocket(self) -> socket.socket:
        created: socket.socket = super().createInternetSocket()
        created.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return created

    doRead = _read
    write = _write_promptly

    def choke(self) -> None:
        """What goes up is steered by its producer; the answer must be read in any case."""

    def queued(self) -> int:
        """Return how many bytes wait for the socket."""
        return len(self.dataBuffer) - self.offset + self._tempDataLen

    def undelivered(self) -> int:
        """Return how many bytes the peer has not acknowledged."""
        return self.queued() + _unacknowledged(self)


class _PromptConnector(tcp.Connector):
    def _makeTransport(self) -> tcp.Client:
        return _PromptClient(self.host, self.port, self.bindAddress, self, self.reactor)


class PromptPort(tcp.Port):
    """A listening port whose connections write promptly and have Nagle's algorithm off."""

    transport = _PromptServer

    def createInternetSocket(self) -> socket.socket:
        created: socket.socket = super().createInternetSocket()
        # Accepted sockets inherit it (Linux), which saves a system call per connection.
        created.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return created


def listen_prompt(reactor: IReactorCore, port: int, factory: Factory, *, backlog: int, interface: str) -> PromptPort:
    """Listen on a TCP port.

    :param port: 0 takes any free one.
    :param interface: textual address; empty for all, IPv6 and IPv4, or IPv4 only where the host has no IPv6.
    :raises twisted.internet.error.CannotListenError: when the port cannot be had.
    """
    if not interface and socket.has_ipv6:
        listening = PromptPort(port, factory, backlog, "::", reactor)
        try:
            listening.startListening()
            return listening
        except CannotListenError as problem:
            if problem.socketError.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                raise
    listening = PromptPort(port, factory, backlog, interface, reactor)
    listening.startListening()
    return listening


def connect_prompt(reactor: IReactorCore, host: str, port: int, factory: ClientFactory, *, timeout_s: float) -> Any:
    """Open a TCP connection whose transport writes promptly.

    :param host: name or textual address.
    :returns: the connector.
    """
    connector = _PromptConnector(host, port, factory, timeout_s, None, reactor)
    connector.connect()
    return connector


def adopt_prompt(reactor: Any, descriptor: int, factory: Factory) -> PromptPort:
    """Listen on a socket that a service manager bound.

    :param descriptor: of a bound, listening TCP socket; duplicated.
    """
    adopted = socket.socket(fileno=descriptor)
    family = adopted.family
    adopted.detach()
    listening: PromptPort = PromptPort._fromListeningDescriptor(reactor, descriptor, family, factory)
    listening.startListening()
    return listening
