"""Requests of our own to web addresses: verified TLS, redirects not followed, everything bounded in time and size.

Knows treq; must not know what the answers are for. Import it where it is used: treq brings Twisted's endpoints, which take ``LISTEN_FDS``
out of the environment, and some memory. Connections are kept for a few seconds, and a request that may have arrived is never
repeated by itself. Hosts and certificates are compared as those of upstreams are: Twisted and hyperlink refuse names that DNS has, such as
``my_idp.test`` (B21).
"""

from __future__ import annotations

import weakref
import zlib
from collections.abc import Sequence
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, NamedTuple

from hyperlink import URL
from OpenSSL import SSL, crypto
from treq.client import HTTPClient
from twisted.internet._sslverify import IOpenSSLTrustRoot  # its place; twisted.internet.ssl takes what provides it
from twisted.internet.defer import Deferred, succeed
from twisted.internet.defer import TimeoutError as DeadlinePassed
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Protocol
from twisted.internet.ssl import CertificateOptions, PrivateCertificate, TLSVersion
from twisted.python.failure import Failure
from twisted.web._newclient import HTTP11ClientProtocol
from twisted.web.client import URI, Agent, HTTPConnectionPool, ResponseDone, _HTTP11ClientFactory
from twisted.web.error import SchemeNotSupported
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IBodyProducer, IPolicyForHTTPS
from zope.interface import implementer

from tlsgate.errors import AnswerTooLarge, AnswerUnusable, PkiError, TlsgateError
from tlsgate.pki.der import open_certificate
from tlsgate.tls.hostcheck import find_name_fault
from tlsgate.wire.names import is_ip_literal, normalise_host

if TYPE_CHECKING:
    from OpenSSL.crypto import X509

    from tlsgate.tls.trust import TrustSet

__all__ = ["Answer", "AnswerTooLarge", "NoTrust", "NotTheHost", "UnknownCoding", "WebClient"]

_IDLE_S = 10
_MAX_TARGETS = 64
_CODINGS = b"Tlsgate-Codings"
"""Where an answer's ``Content-Encoding`` is kept until its body is there."""


class NoTrust(TlsgateError):
    """There are no CAs by which an address could be verified."""


class NotTheHost(TlsgateError):
    """The certificate of a server is for others."""


class UnknownCoding(AnswerUnusable):
    """An answer is packed in a way that we did not ask for, or not well."""


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: Headers
    body: bytes


class WebClient:
    """Connections to web addresses.

    :param trust: CAs; None sends nothing over TLS.
    :param connect_timeout_s: for each connection.
    :param max_bytes: of an answer's body; head, interim answers and all may have four times as many.
    :param identity: certificate and key that we show.
    :param chain: of that certificate.
    :param verify: False believes every server: whoever is on the way can answer.
    """

    def __init__(
        self,
        reactor: Any,
        trust: TrustSet | None,
        *,
        connect_timeout_s: float = 5.0,
        max_bytes: int = 65536,
        identity: PrivateCertificate | None = None,
        chain: Sequence[X509] = (),
        verify: bool = True,
    ) -> None:
        self._reactor = reactor
        self._trust = trust
        self._verify = verify
        self._max_bytes = max_bytes
        self._pool = _Pool(reactor, persistent=True)
        self._pool.max_exchange_bytes = 4 * max_bytes
        self._pool.cachedConnectionTimeout = _IDLE_S
        self._pool.retryAutomatically = False
        policy = _Policy(trust, identity, chain) if verify else _Unverified()
        agent = Agent.usingEndpointFactory(reactor, _Endpoints(reactor, policy, connect_timeout_s), pool=self._pool)
        # What a server sets for one client or API is not brought along with another's question.
        nothing: Any = CookieJar(DefaultCookiePolicy(allowed_domains=()))
        self._client = HTTPClient(_Packed(agent), nothing)

    async def exchange(
        self, method: str, url: str, headers: Sequence[tuple[str, str]] = (), body: bytes = b"", *, timeout_s: float, lenient: bool = False
    ) -> Answer:
        """Send one request and return the answer.

        :param timeout_s: from the connection to the end of the answer.
        :param lenient: an answer that is too large is cut off, or empty where it is packed, rather than an error.
        :raises Exception: there was no answer; ``twisted.internet.defer.TimeoutError``: not in time; :class:`NoTrust`;
            :class:`AnswerTooLarge`, also when it is that after unpacking; :class:`UnknownCoding`.
        """
        if self._verify and self._trust is None and url[:6].lower() == "https:":
            raise NoTrust("no CAs are configured, and the system has none")
        sent = Headers()
        for name, value in headers:
            sent.addRawHeader(name.encode("latin-1"), value.encode("latin-1"))
        work = Deferred.fromCoroutine(self._exchange(method, url, sent, body, lenient))
        work.addTimeout(timeout_s, self._reactor, onTimeoutCancel=_too_late)
        return await work

    async def _exchange(self, method: str, url: str, headers: Headers, body: bytes, lenient: bool) -> Answer:
        response = await self._client.request(
            method, _Address.read(url), headers=headers, data=_Body(body) if body else None, allow_redirects=False, unbuffered=True
        )
        reader = _Reader(self._max_bytes, lenient)
        response.deliverBody(reader)
        await reader.done
        body = b"".join(reader.pieces)
        codings = response.headers.getRawHeaders(_CODINGS, [])
        if codings:
            try:
                body = _unpack(body, codings, self._max_bytes)
            except (AnswerTooLarge, UnknownCoding):
                if not lenient:
                    raise
                body = b""
        return Answer(int(response.code), response.headers, body)

    def close(self) -> Deferred[Any]:
        """Close idle connections."""
        closed: Deferred[Any] = self._pool.closeCachedConnections()
        return closed


def _too_late(result: Any, timeout_s: float) -> Any:
    """Say what happened in one way, wherever the attempt was when its time was up."""
    if isinstance(result, Failure):
        raise DeadlinePassed(f"no whole answer within {timeout_s:g} s")
    return result


class _Address(URL):
    """An address whose host is in its normal form already."""

    @classmethod
    def read(cls, text: str) -> _Address:
        """Return an address.

        :raises Exception: none can be spelled like this.
        """
        found = URL.from_text(text)
        # hyperlink's own way to ASCII asks IDNA about names that are ASCII, and refuses some.
        plain = found.replace(host="localhost").to_uri()
        host = f"[{found.host}]" if ":" in found.host else found.host
        return cls(
            plain.scheme,
            normalise_host(host),
            plain.path,
            plain.query,
            plain.fragment,
            found.port,
            plain.rooted,
            plain.userinfo,
            plain.uses_netloc,
        )

    def to_uri(self) -> URL:
        """Return it as it is."""
        return self


@implementer(IAgent)
class _Packed:
    """Keeps treq from unpacking an answer while it comes: each layer of gzip makes a thousand octets of one, with nobody to say stop."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def request(self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: Any = None) -> Deferred[Any]:
        return self._agent.request(method, uri, headers, bodyProducer).addCallback(_set_codings_aside)


def _set_codings_aside(response: Any) -> Any:
    found = [name.strip().lower() for line in response.headers.getRawHeaders(b"Content-Encoding", []) for name in line.split(b",")]
    response.headers.removeHeader(b"Content-Encoding")
    response.headers.setRawHeaders(_CODINGS, [name for name in found if name not in (b"", b"identity")])
    return response


def _unpack(data: bytes, codings: Sequence[bytes], most: int) -> bytes:
    """Return the content of a packed body.

    :param most: bytes that it may have.
    :raises AnswerTooLarge: it has more.
    :raises UnknownCoding: it is packed otherwise than once by gzip, or cut short.
    """
    if list(codings) not in ([b"gzip"], [b"x-gzip"]):
        raise UnknownCoding("the answer is packed otherwise than by gzip")
    reader = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        content = reader.decompress(data, most + 1)
    except zlib.error as error:
        raise UnknownCoding("the answer is not what gzip makes") from error
    if len(content) > most:
        raise AnswerTooLarge("the answer is too large")
    if not reader.eof:
        raise UnknownCoding("the answer is cut short")
    return content


@implementer(IAgentEndpointFactory)
class _Endpoints:
    """Ways to hosts of any name."""

    def __init__(self, reactor: Any, policy: Any, timeout_s: float) -> None:
        self._reactor = reactor
        self._policy = policy
        self._timeout_s = timeout_s

    def endpointForURI(self, uri: URI) -> Any:
        if uri.scheme not in (b"http", b"https"):
            raise SchemeNotSupported(f"no requests by {uri.scheme!r}")
        endpoint = _Endpoint(self._reactor, uri.host, uri.port, timeout=self._timeout_s)
        return endpoint if uri.scheme == b"http" else wrapClientTLS(self._policy.creatorForNetloc(uri.host, uri.port), endpoint)


class _Endpoint(HostnameEndpoint):
    """Leaves it to DNS which names there are."""

    @staticmethod
    def _hostAsBytesAndText(host: bytes | str) -> tuple[bool, bytes, str]:
        data = host if isinstance(host, bytes) else host.encode("ascii")
        return False, data, data.decode("ascii")


@implementer(IBodyProducer)
class _Body:
    """A body that is written at once."""

    def __init__(self, data: bytes) -> None:
        self.length = len(data)
        self._data = data

    def startProducing(self, consumer: Any) -> Deferred[None]:
        consumer.write(self._data)
        return succeed(None)

    def pauseProducing(self) -> None:
        """There is nothing to pause."""

    def resumeProducing(self) -> None:
        """There is nothing to resume."""

    def stopProducing(self) -> None:
        """There is nothing to stop."""


class _Bounded(HTTP11ClientProtocol):
    """A connection that is cut when an answer is larger than anybody needs: Twisted bounds a line, but not how many there are."""

    transport: Any
    room = 0
    _left = 0

    def request(self, request: Any) -> Deferred[Any]:
        self._left = self.room
        made: Deferred[Any] = super().request(request)
        return made

    def dataReceived(self, bytes: bytes) -> None:
        self._left -= len(bytes)
        if self._left < 0:
            self.transport.abortConnection()
        else:
            super().dataReceived(bytes)


class _Pool(HTTPConnectionPool):
    """Connections come and go without a word in the log."""

    max_exchange_bytes = 0

    def _factory(self, quiescentCallback: Any, metadata: Any) -> _HTTP11ClientFactory:  # type: ignore[override]
        return _QuietFactory(quiescentCallback, metadata, room=self.max_exchange_bytes)


class _QuietFactory(_HTTP11ClientFactory):
    noisy = False

    def __init__(self, *arguments: Any, room: int) -> None:
        super().__init__(*arguments)
        self._room = room

    def buildProtocol(self, addr: Any) -> HTTP11ClientProtocol:
        made = _Bounded(self._quiescentCallback)
        made.room = self._room
        return made


class _Reader(Protocol):
    """Reads a body to its end, or up to its bound."""

    def __init__(self, room: int, lenient: bool) -> None:
        self.done: Deferred[None] = Deferred(lambda deferred: self._cut())
        self.pieces: list[bytes] = []
        self._room = room
        self._lenient = lenient

    def dataReceived(self, data: bytes) -> None:
        self._room -= len(data)
        if self._room < 0:
            self._cut()
        else:
            self.pieces.append(data)

    def connectionLost(self, reason: Failure | None = None) -> None:
        if self.done.called:
            return
        if self._room < 0 and not self._lenient:
            self.done.errback(AnswerTooLarge("the answer is too large"))
        elif self._room < 0 or reason is None or reason.check(ResponseDone, PotentialDataLoss, ConnectionDone):
            self.done.callback(None)
        else:
            self.done.errback(reason)

    def _cut(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()


@implementer(IPolicyForHTTPS)
class _Policy:
    """TLS 1.2 at least, chain and name verified by our CAs."""

    def __init__(self, trust: TrustSet | None, identity: PrivateCertificate | None, chain: Sequence[X509]) -> None:
        self._root = _TrustRoot(trust)
        self._chain = list(chain)
        self._identity = identity
        self._creators: dict[bytes, Any] = {}

    def creatorForNetloc(self, hostname: bytes, port: int) -> Any:
        found = self._creators.get(hostname)
        if found is None:
            if len(self._creators) >= _MAX_TARGETS:
                self._creators.clear()
            options: dict[str, Any] = {"extraCertChain": self._chain} if self._identity is not None and self._chain else {}
            if self._identity is not None:
                options |= {"privateKey": self._identity.privateKey.original, "certificate": self._identity.original}
            made = CertificateOptions(trustRoot=self._root, raiseMinimumTo=TLSVersion.TLSv1_2, **options)
            found = _VerifyingCreator(hostname.decode("ascii"), made)
            self._creators[hostname] = found
        return found


@implementer(IOpenSSLClientConnectionCreator)
class _VerifyingCreator:
    """Connections to one host.

    :param host: normalised.
    """

    def __init__(self, host: str, options: CertificateOptions) -> None:
        self._host = host
        self._options = options

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        connection = SSL.Connection(self._options.getContext(), None)
        if not is_ip_literal(self._host):
            connection.set_tlsext_host_name(self._host.encode("ascii"))
        host, protocol = self._host, weakref.ref(tlsProtocol)  # the protocol holds the connection, and this its callback

        def check(_: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int) -> bool:
            if not ok or depth:
                return bool(ok)
            fault = _name_fault(certificate, host)
            waiting = protocol()
            if fault and waiting is not None:
                waiting.failVerification(Failure(NotTheHost(fault)))
            return not fault

        connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, check)
        return connection


def _name_fault(certificate: crypto.X509, host: str) -> str | None:
    """Return why a certificate is not for a host; what is raised in a callback of OpenSSL is lost, so nothing is."""
    try:
        return find_name_fault(open_certificate(crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)), host)
    except Exception as problem:
        return str(problem) if isinstance(problem, PkiError) else f"the certificate cannot be read: {type(problem).__name__}"


@implementer(IPolicyForHTTPS)
class _Unverified:
    """TLS that keeps listeners out, and nobody else."""

    def creatorForNetloc(self, hostname: bytes, port: int) -> Any:
        return _UnverifiedCreator(hostname)


@implementer(IOpenSSLClientConnectionCreator)
class _UnverifiedCreator:
    def __init__(self, hostname: bytes) -> None:
        self._hostname = hostname
        self._options = CertificateOptions(verify=False, raiseMinimumTo=TLSVersion.TLSv1_2)

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        connection = SSL.Connection(self._options.getContext(), None)
        if not is_ip_literal(self._hostname.decode("ascii")):
            connection.set_tlsext_host_name(self._hostname)
        return connection


@implementer(IOpenSSLTrustRoot)
class _TrustRoot:
    def __init__(self, trust: TrustSet | None) -> None:
        self._trust = trust

    def _addCACertsToContext(self, context: Any) -> None:
        if self._trust is not None:
            self._trust.fill(context.get_cert_store())
