"""What a Twisted Web resource reads and sets of one request, beyond the exchange itself; knows nothing of when the answer is sent.

Headers, as a resource reads them, are those that an upstream would get: hop-by-hop fields, identity headers and control headers of the
client are gone. What the resource sets becomes the head of an answer here, checked as an upstream's would be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO, Protocol
from urllib.parse import unquote_to_bytes

from twisted.web import http
from twisted.web.http_headers import Headers

from tlsgate.errors import Refusal
from tlsgate.gateway.web_output import AnswerHead, WebOutput
from tlsgate.wire.forwarding import build_request_headers, filter_response_headers, validate_headers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.internet.interfaces import IAddress

    from tlsgate.gateway.web_request import WebRequestMixin
    from tlsgate.model.exchange import Exchange, HeaderList

__all__ = ["Mount", "NoMount", "WebState"]

_FORM_BYTES = 1024 * 1024
_FORM_FIELDS = 1000
_FORM_TYPE = b"application/x-www-form-urlencoded"
_LENGTH_DIGITS = 18


class Mount(Protocol):
    """What a request asks of the place where its resource is mounted (``gateway.mounted``); resources see it as ``request.site``."""

    @property
    def reactor(self) -> Any:
        """Provides ``callLater``; None outside of a mount."""
        ...

    def build_request_headers(self, request: Any) -> HeaderList:
        """Return the headers that the resource reads, without body framing."""
        ...

    def shape_answer(self, request: Any, headers: HeaderList) -> HeaderList:
        """Return the headers that the client gets, without body framing."""
        ...


class NoMount:
    """Stands in where a resource is rendered without a mount."""

    reactor = None

    def build_request_headers(self, request: Exchange) -> HeaderList:
        """Return what an upstream would get by default."""
        host = request.index.get(b"host", b"")
        peer = request.connection.peer_address
        return build_request_headers(
            request, host=host, peer=peer, protected=frozenset(), keep_client_certificate_headers=False, remove_xff=False
        )

    def shape_answer(self, request: Exchange, headers: HeaderList) -> HeaderList:
        """Return them as they are."""
        return headers


class WebState:
    """What a resource reads and sets of one request, beyond the exchange."""

    def __init__(self, request: WebRequestMixin, mount: Mount, content: BinaryIO, content_length: int | None) -> None:
        self.request = request
        self.mount = mount
        self.content = content
        self.output = WebOutput(request, mount.reactor, self.build_head)
        self.request_headers = headers = Headers()
        for name, value in mount.build_request_headers(request):
            if value or name != b"Host":
                headers.addRawHeader(name, value)
        if content_length is not None:
            headers.setRawHeaders(b"Content-Length", [b"%d" % content_length])
        self.prepath, self.postpath = _split_path(request.matched, request.canonical)
        self.sitepath = list(self.prepath)
        self.args: dict[bytes, list[bytes]] | None = None
        self.received_cookies: dict[bytes, bytes] | None = None
        self.host_address: IAddress = request.channel.transport.getHost()
        self.force_tls = False
        self.root_url: bytes | None = None
        self.components: dict[str, Any] = {}
        # The answer.
        self.code = http.OK
        self.code_message: bytes = http.RESPONSES[http.OK]
        self.response_headers = Headers()
        self.cookies: list[bytes] = []
        self.etag: bytes | None = None
        self.last_modified: int | None = None
        self.default_content_type: bytes | None = b"text/html"
        self.encoder: Any = None

    def build_head(self, size: int | None) -> AnswerHead:
        """Return the head of the answer.

        :param size: of the whole body in bytes, None when it is not known.
        :raises Refusal: what the resource set cannot be sent.
        :raises WireError: a header holds a byte that no header may have.
        """
        status = self.code
        if not 200 <= status <= 599:
            raise Refusal("internal", f"a mounted resource set status {status}")
        response = self.response_headers
        declared = _parse_declared(response.getRawHeaders(b"content-length", ()))
        if self.last_modified is not None and not response.hasHeader(b"last-modified"):
            response.setRawHeaders(b"last-modified", [http.datetimeToString(self.last_modified)])
        if self.etag is not None:
            response.setRawHeaders(b"etag", [self.etag])
        body_size = size if declared is None and not self.output.is_head else declared
        if (
            self.default_content_type is not None
            and status not in (204, 304)
            and body_size != 0
            and not response.hasHeader(b"content-type")
        ):
            response.setRawHeaders(b"content-type", [self.default_content_type])
        lines = [(name, value) for name, values in response.getAllRawHeaders() for value in values]
        lines += [(b"Set-Cookie", cookie) for cookie in self.cookies]
        headers = self.mount.shape_answer(self.request, filter_response_headers(lines))
        validate_headers(headers)
        if self.encoder is not None:
            declared = None
        return AnswerHead(status, headers, declared)

    def read_args(self) -> dict[bytes, list[bytes]]:
        """Return the arguments of the query and of a urlencoded POST body; a field of the body replaces one of the query.

        :raises Refusal: a form that is too large to be parsed at once.
        """
        request = self.request
        args: dict[bytes, list[bytes]] = http.parse_qs(request.query, 1) if request.query else {}
        kind = (self.request_headers.getRawHeaders(b"content-type") or [b""])[0]
        if request.method == b"POST" and kind.partition(b";")[0].strip().lower() == _FORM_TYPE:
            content = self.content
            position = content.tell()
            content.seek(0)
            form = content.read(_FORM_BYTES + 1)
            content.seek(position)
            if len(form) > _FORM_BYTES or form.count(b"&") + form.count(b";") >= _FORM_FIELDS:
                raise Refusal("size.too_large", f"a form has more than {_FORM_BYTES} bytes or {_FORM_FIELDS} fields")
            args.update(http.parse_qs(form, 1))
        return args

    def read_cookies(self) -> dict[bytes, bytes]:
        """Return the cookies that the client sent."""
        cookies: dict[bytes, bytes] = {}
        for line in self.request_headers.getRawHeaders(b"cookie", ()):
            for pair in line.split(b";"):
                name, equals, value = pair.lstrip().partition(b"=")
                if equals:
                    cookies[name] = value
        return cookies


def _split_path(matched: bytes, canonical: bytes) -> tuple[list[bytes], list[bytes]]:
    """Return the decoded segments of the listen path and of what lies below it.

    Reading the canonical path gives the same as reading the path as sent: it keeps every encoded slash.
    """
    below = canonical[len(matched) :]
    prepath = [unquote_to_bytes(segment) for segment in matched.split(b"/") if segment]
    if not below and not matched.endswith(b"/"):
        return prepath, [] if matched else [b""]
    return prepath, [unquote_to_bytes(segment) for segment in below.removeprefix(b"" if matched.endswith(b"/") else b"/").split(b"/")]


def _parse_declared(values: Sequence[bytes]) -> int | None:
    """Return the length that a resource declared.

    :raises Refusal: it is no number, or there are two.
    """
    if not values:
        return None
    text = values[0].strip(b" \t")
    if len(set(values)) > 1 or not text.isdigit() or len(text) > _LENGTH_DIGITS:
        raise Refusal("internal", "a mounted resource set an unusable Content-Length")
    return int(text)
