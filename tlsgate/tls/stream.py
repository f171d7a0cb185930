"""A TLS connection between a Twisted transport and an application protocol, over OpenSSL's memory BIOs; knows nothing of HTTP.

Why not ``twisted.protocols.tls``: the context must be chosen after the ClientHello was read, a refused client's last flight must not be
sent, and each write there costs a delayed call (design note 0003, with figures). What is the same: an application protocol sees an
ordinary transport, and closing is two-stage and idempotent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from OpenSSL import SSL
from twisted.internet import error
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from tlsgate.tls.records import BUFFER_BYTES, records

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress

__all__ = ["Application", "TlsBroken", "TlsStream", "describe_ssl_error"]

_READ_JOIN_BYTES = 65536
_UNSENT_LIMIT = 65536

_feed, _decrypt, _encrypt, _fetch = records.feed, records.decrypt, records.encrypt, records.fetch


class TlsBroken(error.ConnectionLost):
    """A TLS error or an alert ended an open connection; the argument says which."""


class Application(Protocol):
    """What runs over a stream: a Twisted protocol whose clean end is told apart from a cut."""

    def makeConnection(self, transport: Any) -> None:
        """The stream is ready."""

    def dataReceived(self, data: bytes) -> None:
        """Plain bytes arrived."""

    def readConnectionLost(self) -> None:
        """The peer said that nothing more comes (close_notify or FIN); writing still works."""

    def connectionLost(self, reason: Failure) -> None:
        """The connection is gone."""


def describe_ssl_error(exception: SSL.Error) -> str:
    """Return OpenSSL's reasons as one line for a log."""
    if exception.args and isinstance(exception.args[0], list):
        return "; ".join(str(entry[2]) for entry in exception.args[0] if len(entry) > 2) or "unspecified TLS error"
    return str(exception) or type(exception).__name__


@implementer(IHalfCloseableProtocol)
class TlsStream:
    """Moves bytes between a transport and an :class:`SSL.Connection` without buffers of its own.

    Subclasses set ``self._ssl`` (before or after the first bytes) and implement the three hooks at the end.
    """

    __slots__ = (
        "_corked",
        "_lost",
        "_more_plain",
        "_open",
        "_outstanding",
        "_peer_closed",
        "_read_paused",
        "_shut",
        "_ssl",
        "_unsent",
        "application",
        "connected",
        "transport",
    )

    def __init__(self) -> None:
        self.transport: Any = None
        self.connected = False
        self._ssl: SSL.Connection | None = None
        self.application: Application | None = None
        self._open = False
        self._corked = False
        self._read_paused = False
        self._more_plain = False
        self._peer_closed = False
        self._shut = False
        self._lost = False
        self._unsent = 0
        self._outstanding = 0

    # Twisted's side: we are the protocol of a TCP transport.

    def makeConnection(self, transport: Any) -> None:
        """Take the TCP transport."""
        self.transport = transport
        self.connected = True
        self.connectionMade()

    def connectionMade(self) -> None:
        """Start (clients send their hello here)."""

    def dataReceived(self, data: bytes) -> None:
        """Take bytes from the network."""
        ssl = self._ssl
        if ssl is None or self._lost:
            return
        self._corked = True
        try:
            _feed(ssl, data)
            size = len(data)
            if not self._outstanding and size > 5 and size == 5 + (data[3] << 8) + data[4]:
                count = 1
            else:
                count = self._count_records(data)
            if self._open:
                self._pump(one_record=count == 1)
            else:
                self._unsent = 1
                self._handshake()
        finally:
            self._corked = False
            if self._unsent and not self._lost:
                self._unsent = 0
                self._flush()

    def readConnectionLost(self) -> None:
        """FIN without close_notify: a cut, never a clean end."""
        if not self._peer_closed:
            self.abortConnection()

    def writeConnectionLost(self) -> None:
        """Our half is closed: nothing to do."""

    def connectionLost(self, reason: Failure) -> None:
        """The TCP connection is gone."""
        self.connected = False
        self._lost = True
        ssl, self._ssl = self._ssl, None
        if self._open and ssl is not None:
            # OpenSSL takes the session of a connection that ended without close_notify for broken and forgets its id. Most clients end
            # that way, and since TLS 1.1 it means nothing (RFC 4346 section 7.2.1).
            ssl.set_shutdown(SSL.SENT_SHUTDOWN | SSL.RECEIVED_SHUTDOWN)
        if self._open and self.application is not None:
            application, self.application = self.application, None
            application.connectionLost(reason)
        elif not self._open:
            self.handshake_failed("connection lost during the handshake")

    # The application's side: we are its transport.

    def write(self, data: bytes) -> None:
        """Encrypt and send ``data``.

        The caller joins small pieces: each call makes a TLS record of its own.
        """
        ssl = self._ssl
        if ssl is None or self._shut or not data:
            return
        try:
            _encrypt(ssl, data)
        except SSL.Error as exception:
            self._fail(exception)
            return
        if not self._corked:
            self._flush()
            return
        self._unsent += len(data)
        if self._unsent > _UNSENT_LIMIT:
            # What piles up within one read must show in the queue, by which the application stops.
            self._unsent = 0
            self._flush()

    def writeSequence(self, pieces: list[bytes]) -> None:
        """Encrypt and send the joined pieces."""
        self.write(b"".join(pieces))

    def loseConnection(self) -> None:
        """Send what is queued and a close_notify, then close the TCP connection."""
        if not self._lost:
            self._send_close_notify()
            self.transport.loseConnection()

    def loseWriteConnection(self) -> None:
        """Send a close_notify and close our half only."""
        if not self._lost:
            self._send_close_notify()
            self.transport.loseWriteConnection()

    def truncateConnection(self) -> None:
        """Close after what is queued, without a close_notify: the peer sees that something is missing (RFC 8446 6.1)."""
        if not self._lost:
            self._shut = True
            self.transport.loseConnection()

    def abortConnection(self) -> None:
        """Cut the connection (TCP reset)."""
        if not self._lost:
            self.transport.abortConnection()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Let the TCP transport's queue steer ``producer``; this layer queues nothing."""
        self.transport.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """Undo :meth:`registerProducer`."""
        self.transport.unregisterProducer()

    def pauseProducing(self) -> None:
        """Deliver nothing more for now."""
        self._read_paused = True
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """Deliver again, first what was already decrypted or received."""
        if not self._read_paused:
            return
        self._read_paused = False
        if self._more_plain and self._open:
            self._pump()
        if not self._read_paused and not self._lost:
            self.transport.resumeProducing()

    def queued(self) -> int:
        """Return how many bytes wait for the socket."""
        count: int = self.transport.queued()
        return count

    def undelivered(self) -> int:
        """Return how many bytes the peer has not acknowledged."""
        count: int = self.transport.undelivered()
        return count

    def getPeer(self) -> IAddress:
        """Return the peer's address."""
        peer: IAddress = self.transport.getPeer()
        return peer

    def getHost(self) -> IAddress:
        """Return our address."""
        host: IAddress = self.transport.getHost()
        return host

    # Inside.

    def _handshake(self) -> None:
        assert self._ssl is not None
        try:
            self._ssl.do_handshake()
        except SSL.WantReadError:
            return
        except SSL.Error as exception:
            self._flush()
            self.handshake_failed(describe_ssl_error(exception))
            self._drop()
            return
        problem = self.handshake_finished(self._ssl)
        if problem is not None:
            # What OpenSSL wants to send now (the last flight) is withheld.
            self._ssl = None
            self.handshake_failed(problem)
            self._drop()
            return
        self._open = True
        application = self.build_application()
        self.application = application
        application.makeConnection(self)
        self.application_connected()
        self._pump()

    def _count_records(self, data: bytes) -> int:
        """Return how many TLS records ``data`` is, 0 when it is not exactly some whole records.

        Asking OpenSSL for more than there is costs an exception (2 us); one whole record is what a usual request comes as.
        """
        position = self._outstanding
        size = len(data)
        count = 0
        whole = not position
        if position < 0:
            return 0
        while position + 5 <= size:
            position += 5 + (data[position + 3] << 8) + data[position + 4]
            count += 1
        if position < size:
            # A header is split over two reads: give up counting on this connection.
            self._outstanding = -1
            return 0
        self._outstanding = position - size
        return count if whole and position == size else 0

    def _pump(self, *, one_record: bool = False) -> None:
        """Decrypt and deliver until OpenSSL wants more or the application pauses.

        :param one_record: exactly one record has arrived, and nothing was left of earlier ones.
        """
        while not self._lost:
            ssl = self._ssl
            application = self.application
            if ssl is None or application is None:
                return
            if self._read_paused:
                self._more_plain = True
                return
            data = b""
            pieces: list[bytes] | None = None
            ended = drained = False
            failure: SSL.Error | None = None
            try:
                data = _decrypt(ssl)
                if one_record and not self._more_plain:
                    drained = True
                else:
                    one_record = False
                    pieces = [data]
                    size = len(data)
                    while size < _READ_JOIN_BYTES:
                        pieces.append(_decrypt(ssl))
                        size += len(pieces[-1])
            except SSL.WantReadError:
                drained = True
                # Records without data may have made OpenSSL answer (alerts, key updates).
                self._unsent = 1
            except SSL.ZeroReturnError:
                ended = True
            except SSL.Error as exception:
                failure = exception
            if data:
                application.dataReceived(data if pieces is None else b"".join(pieces))
            if failure is not None:
                self._fail(failure)
                return
            if ended:
                if not self._peer_closed and not self._lost:
                    self._peer_closed = True
                    application.readConnectionLost()
                return
            if drained:
                self._more_plain = False
                return

    def _flush(self) -> None:
        """Hand what OpenSSL wrote to the TCP transport."""
        ssl = self._ssl
        while ssl is not None:
            data = _fetch(ssl)
            if data:
                self.transport.write(data)
            if len(data) < BUFFER_BYTES:
                return

    def _send_close_notify(self) -> None:
        if self._shut or self._ssl is None:
            return
        self._shut = True
        try:
            self._ssl.shutdown()
        except SSL.Error:
            return
        self._flush()

    def _fail(self, exception: SSL.Error) -> None:
        """A broken record: OpenSSL's alert goes out, the application sees a cut."""
        self._flush()
        self._shut = True
        application, self.application = self.application, None
        if application is not None:
            application.connectionLost(Failure(TlsBroken(describe_ssl_error(exception))))
        self._drop()
        # Nobody reads any more: what a peer still sends must not fill OpenSSL's buffer.
        self._ssl = None

    def _drop(self) -> None:
        self._shut = True
        if not self._lost:
            self.transport.loseConnection()

    # Hooks.

    def handshake_finished(self, ssl: SSL.Connection) -> str | None:
        """Judge the finished handshake; a text refuses the peer before our last flight is sent."""
        raise NotImplementedError

    def handshake_failed(self, reason: str) -> None:
        """The handshake ended without a connection; called once."""
        raise NotImplementedError

    def build_application(self) -> Application:
        """Return the application protocol."""
        raise NotImplementedError

    def application_connected(self) -> None:
        """The application has its transport."""
