"""The part of a request that Twisted Web resources see (``IRequest`` and what ``twisted.web.server.Request`` has beside it).

Knows Twisted Web's conventions; nothing of routing, pipelines or bodies on the wire. All state is in one object (``gateway.web_state``),
built when a mounted resource is used: a proxied request has None in its place and never pays.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from datetime import UTC
from email.utils import parsedate_to_datetime
from io import BytesIO
from math import ceil
from typing import TYPE_CHECKING, Any, BinaryIO, Generic, TypeVar, cast, overload
from urllib.parse import quote_from_bytes

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.logger import Logger
from twisted.python.components import Componentized
from twisted.python.urlpath import URLPath
from twisted.web import http
from twisted.web.error import UnsupportedMethod
from twisted.web.http_headers import Headers
from twisted.web.server import NOT_DONE_YET

from tlsgate.errors import Refusal
from tlsgate.gateway.web_state import Mount, NoMount, WebState
from tlsgate.model.exchange import Exchange

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IAddress
    from twisted.python.failure import Failure

    from tlsgate.gateway.channel import HttpChannel

__all__ = ["WebRequestMixin"]

_log = Logger()
_T = TypeVar("_T")

_KNOWN_METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE"})
"""Those that a server knows even if a resource has none of them (RFC 9110 section 15.6.2)."""


class _Kept(Generic[_T]):
    """An attribute of a request that lives in its :class:`WebState`."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, request: None, owner: type) -> _Kept[_T]: ...

    @overload
    def __get__(self, request: WebRequestMixin, owner: type) -> _T: ...

    def __get__(self, request: WebRequestMixin | None, owner: type) -> _Kept[_T] | _T:
        if request is None:
            return self
        return cast("_T", getattr(request.web or request.open_web(), self._name))

    def __set__(self, request: WebRequestMixin, value: _T) -> None:
        setattr(request.web or request.open_web(), self._name, value)


class WebRequestMixin(Exchange, Componentized):
    """``IRequest`` for an exchange on a channel.

    Names that both worlds use mean the same in both (``method``, ``path``), but for ``host``: here it is the name that the client asked
    for, as text (:meth:`getHost` gives the address). ``code`` is what a resource set, ``status`` what has been sent.
    """

    __slots__ = ()

    web: WebState | None
    channel: HttpChannel

    prepath = _Kept[list[bytes]]("prepath")
    postpath = _Kept[list[bytes]]("postpath")
    sitepath = _Kept[list[bytes]]("sitepath")
    appRootURL = _Kept["bytes | None"]("root_url")
    content = _Kept[BinaryIO]("content")
    requestHeaders = _Kept[Headers]("request_headers")
    responseHeaders = _Kept[Headers]("response_headers")
    cookies = _Kept[list[bytes]]("cookies")
    code = _Kept[int]("code")
    code_message = _Kept[bytes]("code_message")
    etag = _Kept["bytes | None"]("etag")
    lastModified = _Kept["int | None"]("last_modified")
    defaultContentType = _Kept["bytes | None"]("default_content_type")
    site = _Kept[Mount]("mount")
    _adapterCache = _Kept[dict[str, Any]]("components")  # of Componentized, whose __init__ is never called

    def open_web(self, mount: Mount | None = None, content: BinaryIO | None = None, content_length: int | None = None) -> WebState:
        """Build the state that resources need.

        :param mount: where the resource is mounted.
        :param content: the whole request body.
        :param content_length: its size in bytes, None for a request without one.
        """
        web = self.web = WebState(self, mount or NoMount(), content or BytesIO(), content_length)
        return web

    # The request.

    @property
    def uri(self) -> bytes:
        """The target as sent, query included."""
        return self.target

    @uri.setter
    def uri(self, value: bytes) -> None:
        self.target = value

    @property
    def clientproto(self) -> bytes:
        """``HTTP/1.1`` or ``HTTP/1.0``."""
        return b"HTTP/1.1" if self.version >= 11 else b"HTTP/1.0"

    @property
    def args(self) -> dict[bytes, list[bytes]]:
        """Arguments of the query and of a urlencoded POST body, parsed when first asked for."""
        web = self.web or self.open_web()
        if web.args is None:
            web.args = web.read_args()
        return web.args

    @args.setter
    def args(self, value: dict[bytes, list[bytes]]) -> None:
        (self.web or self.open_web()).args = value

    @property
    def received_cookies(self) -> dict[bytes, bytes]:
        """The cookies that the client sent."""
        web = self.web or self.open_web()
        if web.received_cookies is None:
            web.received_cookies = web.read_cookies()
        return web.received_cookies

    @property
    def transport(self) -> Any:
        """The connection's transport."""
        return self.channel.transport

    @property
    def client(self) -> IAddress:
        """The peer's address."""
        return self.getClientAddress()

    @overload
    def getHeader(self, key: bytes) -> bytes | None: ...

    @overload
    def getHeader(self, key: str) -> str | None: ...

    def getHeader(self, key: bytes | str) -> bytes | str | None:
        """Return the last value of a request header, None when it is absent."""
        values = self.requestHeaders.getRawHeaders(key)
        return values[-1] if values else None

    def getAllHeaders(self) -> dict[bytes, bytes]:
        """Return lower-case name to last value."""
        return {name.lower(): values[-1] for name, values in self.requestHeaders.getAllRawHeaders()}

    def getCookie(self, key: bytes) -> bytes | None:
        """Return a cookie that the client sent."""
        return self.received_cookies.get(key)

    def getRequestHostname(self) -> bytes:
        """Return the host that the client asked for, without port and brackets; our address without Host."""
        authority = self.getHeader(b"host")
        if not authority:
            return str(getattr(self.getHost(), "host", "")).encode("ascii")
        if authority.startswith(b"["):
            return authority[1:].partition(b"]")[0]
        return authority.partition(b":")[0]

    def getHost(self) -> IAddress:
        """Return our side's address."""
        return (self.web or self.open_web()).host_address

    def getClientAddress(self) -> IAddress:
        """Return the address of the connection's peer (what proxies say of their clients is ``client_address``)."""
        peer = self.connection
        kind = IPv6Address if ":" in peer.peer_address else IPv4Address
        address: IAddress = kind("TCP", peer.peer_address, peer.peer_port)
        return address

    def getClientIP(self) -> str:
        """Return the peer's address as text."""
        return self.connection.peer_address

    def getUser(self) -> bytes:
        """Return the name of HTTP basic credentials, empty without."""
        return self._basic_credentials()[0]

    def getPassword(self) -> bytes:
        """Return the password of HTTP basic credentials, empty without."""
        return self._basic_credentials()[1]

    def isSecure(self) -> bool:
        """Tell whether the connection uses TLS, or :meth:`setHost` says so."""
        return self.connection.is_tls or (self.web is not None and self.web.force_tls)

    def setHost(self, host: bytes, port: int, ssl: bool | int = 0) -> None:
        """Change the host and port that the resource takes for its own."""
        web = self.web or self.open_web()
        web.force_tls = bool(ssl)
        default = 443 if self.isSecure() else 80
        web.request_headers.setRawHeaders(b"host", [host if port == default else b"%b:%d" % (host, port)])
        web.host_address = IPv4Address("TCP", host.decode("latin-1"), port)

    def getSession(self, sessionInterface: object = None) -> Any:
        """Refuse: sessions in the memory of one process do not outlive a reload of the gateway.

        :raises NotImplementedError: always.
        """
        raise NotImplementedError("a mounted resource keeps its own sessions: the gateway has no twisted.web sessions")

    def URLPath(self) -> URLPath:
        """Return the URL of the resource."""
        path: URLPath = URLPath.fromBytes(self.prePathURL())
        return path

    def prePathURL(self) -> bytes:
        """Return the absolute URL of the most nested resource reached so far."""
        return self._url_of(self.prepath)

    def rememberRootURL(self) -> None:
        """Keep the URL of the resource above for :meth:`getRootURL`."""
        self.appRootURL = self._url_of(self.prepath[:-1])

    def getRootURL(self) -> bytes | None:
        """Return what :meth:`rememberRootURL` kept."""
        return self.appRootURL

    # The answer.

    @property
    def startedWriting(self) -> bool:
        """Whether the resource has written something."""
        return self.web is not None and self.web.output.started

    @property
    def finished(self) -> bool:
        """Whether the resource has finished its answer."""
        return self.web is not None and self.web.output.finished

    @property
    def sentLength(self) -> int:
        """Bytes of the body that have been sent."""
        return 0 if self.web is None else self.web.output.sent

    @property
    def producer(self) -> Any:
        """What :meth:`registerProducer` took."""
        return None if self.web is None else self.web.output.producer

    def setResponseCode(self, code: int, message: bytes | None = None) -> None:
        """Set the status; the reason phrase is kept but never sent (RFC 9112 section 4: clients ignore it)."""
        self.code = code
        self.code_message = http.RESPONSES.get(code, b"Unknown Status") if message is None else message

    def setHeader(self, name: bytes | str, value: bytes | str) -> None:
        """Set a header of the answer, in place of earlier values."""
        self.responseHeaders.setRawHeaders(name, [value])

    def addCookie(
        self,
        k: bytes | str,
        v: bytes | str,
        expires: bytes | str | None = None,
        domain: bytes | str | None = None,
        path: bytes | str | None = None,
        max_age: bytes | str | None = None,
        comment: bytes | str | None = None,
        secure: bool | None = None,
        httpOnly: bool = False,
        sameSite: bytes | str | None = None,
    ) -> None:
        """Set a cookie; line ends and semicolons in its parts become blanks.

        :raises ValueError: ``sameSite`` is none of ``lax``, ``strict`` and ``none``, or is ``none`` without ``secure``.
        """
        cookie = _cookie_part(k) + b"=" + _cookie_part(v)
        named = ((b"Expires", expires), (b"Domain", domain), (b"Path", path), (b"Max-Age", max_age), (b"Comment", comment))
        for name, value in named:
            if value is not None:
                cookie += b"; %b=%b" % (name, _cookie_part(value))
        if secure:
            cookie += b"; Secure"
        if httpOnly:
            cookie += b"; HttpOnly"
        if sameSite:
            policy = _cookie_part(sameSite).lower()
            if policy not in (b"lax", b"strict", b"none") or (policy == b"none" and not secure):
                raise ValueError(f"not a usable sameSite: {sameSite!r} (none needs secure)")
            cookie += b"; SameSite=" + policy
        self.cookies.append(cookie)

    def redirect(self, url: bytes | str) -> None:
        """Answer 302 to a URL; ``finish`` is still to be called."""
        self.setResponseCode(http.FOUND)
        self.setHeader(b"location", url)

    def setLastModified(self, when: float) -> object:
        """Set ``Last-Modified`` unless a later time is set, and judge ``If-Modified-Since`` by it.

        Stricter than Twisted, as RFC 9110 section 13.1.3 asks: only GET and HEAD, and not next to ``If-None-Match``.

        :param when: epoch seconds.
        :returns: ``http.CACHED`` when the client's copy is good: the code is 304 then, and no body is to be written.
        """
        modified = ceil(when)
        if self.lastModified is None or self.lastModified < modified:
            self.lastModified = modified
        text = self.getHeader(b"if-modified-since")
        if text and self.method in (b"GET", b"HEAD") and not self.getHeader(b"if-none-match"):
            since = _find_epoch(text)
            if since is not None and since >= self.lastModified:
                self.setResponseCode(http.NOT_MODIFIED)
                return http.CACHED
        return None

    def setETag(self, etag: bytes | str | None) -> object:
        """Set the entity tag and judge ``If-None-Match`` by it, weakly (RFC 9110 section 13.1.2).

        :param etag: quotes included.
        :returns: ``http.CACHED`` when no body is to be written: the code is 304 for GET and HEAD, else 412.
        """
        tag = etag.encode("latin-1") if isinstance(etag, str) else etag
        if tag:
            self.etag = tag
        wanted = b",".join(self.requestHeaders.getRawHeaders(b"if-none-match", ()))
        if wanted:
            tags = {part.strip(b" \t").removeprefix(b"W/") for part in wanted.split(b",")}
            if b"*" in tags or (tag and tag.removeprefix(b"W/") in tags):
                self.setResponseCode(http.NOT_MODIFIED if self.method in (b"GET", b"HEAD") else http.PRECONDITION_FAILED)
                return http.CACHED
        return None

    def write(self, data: bytes) -> None:
        """Send more of the body; the first call fixes status and headers.

        :raises RuntimeError: after :meth:`finish`.
        """
        web = self.web or self.open_web()
        encoder = web.encoder
        if encoder is not None and not web.output.is_head:
            data = encoder.encode(data)
        web.output.write(data)

    def finish(self) -> None:
        """End the answer. Unlike in Twisted no error when the client has gone meanwhile: :meth:`notifyFinish` has told.

        :raises RuntimeError: when called twice.
        """
        self._finish_with(b"")

    def notifyFinish(self) -> Deferred[None]:
        """Return a Deferred that fires at the end of the answer: with a failure when the client went or the answer was given up."""
        return (self.web or self.open_web()).output.notify()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Let the client's reading speed steer a producer.

        :raises ValueError: there is one already.
        """
        (self.web or self.open_web()).output.register(producer, bool(streaming))

    def unregisterProducer(self) -> None:
        """Undo :meth:`registerProducer`."""
        if self.web is not None:
            self.web.output.unregister()

    def loseConnection(self) -> None:
        """Give the answer up: the client sees that it is not complete."""
        (self.web or self.open_web()).output.fail(Refusal("internal", "a mounted resource gave its answer up", close=True))

    def processingFailed(self, reason: Failure) -> Failure:
        """Give the answer up because of an error, which is logged unless it is a refusal."""
        web = self.web or self.open_web()
        problem = reason.value
        if isinstance(problem, Refusal):
            web.output.fail(problem)
        else:
            _log.failure("mounted resource failed", reason, event="mounted.error")
            web.output.fail(Refusal("internal", f"mounted resource: {type(problem).__name__}"))
        return reason

    def render(self, resource: Any) -> None:
        """Let a resource answer.

        :raises Refusal: it does not know the method, or returned neither bytes nor ``NOT_DONE_YET``.
        """
        try:
            body = resource.render(self)
        except UnsupportedMethod as problem:
            body = self._render_unsupported(resource, list(problem.allowedMethods))
        if body is NOT_DONE_YET:
            return
        if not isinstance(body, bytes):
            raise Refusal("internal", f"{type(resource).__name__}.render returned {type(body).__name__}, not bytes")
        self._finish_with(body)

    def _render_unsupported(self, resource: Any, allowed: list[bytes]) -> Any:
        if self.method != b"HEAD" or b"GET" not in allowed:
            if self.method not in _KNOWN_METHODS:
                raise Refusal("wire.not_implemented", f"method {self.method!r}")
            raise Refusal("method.not_supported", headers=((b"Allow", b", ".join(allowed)),))
        # RFC 9110 section 9.1: whoever has GET has HEAD. The body is dropped on the way out.
        self.method = b"GET"
        try:
            return resource.render(self)
        finally:
            self.method = b"HEAD"

    def _finish_with(self, body: bytes) -> None:
        web = self.web or self.open_web()
        encoder = web.encoder
        if encoder is not None and not (web.output.is_head or web.output.ended):
            body = (encoder.encode(body) if body else b"") + encoder.finish()
        web.output.finish(body)

    def _basic_credentials(self) -> tuple[bytes, bytes]:
        scheme, _, encoded = (self.getHeader(b"authorization") or b"").partition(b" ")
        if scheme.lower() != b"basic":
            return b"", b""
        try:
            user, colon, password = b64decode(encoded.strip(b" ")).partition(b":")
        except binascii.Error:
            return b"", b""
        return (user, password) if colon else (b"", b"")

    def _url_of(self, segments: list[bytes]) -> bytes:
        authority = self.getHeader(b"host")
        if not authority:
            address = self.getHost()
            host = str(getattr(address, "host", ""))
            authority = f"{f'[{host}]' if ':' in host else host}:{getattr(address, 'port', 0)}".encode("ascii")
        path = "/".join(quote_from_bytes(segment, safe="") for segment in segments)
        return b"%b://%b/%b" % (b"https" if self.isSecure() else b"http", authority, path.encode("ascii"))


def _cookie_part(value: bytes | str) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return b" ".join(raw.splitlines()).replace(b";", b" ")


def _find_epoch(text: bytes) -> float | None:
    """Return the epoch seconds of an HTTP date, None for anything else."""
    try:
        moment = parsedate_to_datetime(text.partition(b";")[0].decode("ascii"))
    except (ValueError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp()
