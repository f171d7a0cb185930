"""What a resource reads of a request, and how what it sets becomes a head."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.web.http_headers import Headers

from tests.support.memory_channel import MemoryConnection, make_request
from tlsgate.config.model import GatewayConfig, OwnSettings
from tlsgate.errors import Refusal, WireError
from tlsgate.gateway.mounted import MountedLeaf
from tlsgate.gateway.request import GateRequest
from tlsgate.gateway.web_output import AnswerHead
from tlsgate.model.exchange import HeaderList
from tlsgate.wire.target import canonicalise

FORM = (b"Content-Type", b"application/x-www-form-urlencoded")


def mounted(request: GateRequest, content: bytes | None = None, matched: bytes = b"/", **leaf: Any) -> GateRequest:
    """The request as a mounted resource gets it."""
    request.matched = matched
    config = leaf.pop("config", GatewayConfig())
    request.open_web(MountedLeaf(None, None, config, **leaf), BytesIO(content or b""), None if content is None else len(content))
    return request


def head_of(request: GateRequest, size: int | None = None) -> AnswerHead:
    """The head of its answer."""
    assert request.web is not None
    return request.web.build_head(size)


# The request.


@pytest.mark.parametrize(
    ("matched", "path", "prepath", "postpath"),
    [
        (b"/", b"/", [], [b""]),
        (b"/", b"/a/b", [], [b"a", b"b"]),
        (b"/", b"/a/", [], [b"a", b""]),
        (b"/app/", b"/app/", [b"app"], [b""]),
        (b"/app/", b"/app/x/y", [b"app"], [b"x", b"y"]),
        (b"/app", b"/app", [b"app"], []),
        (b"/app", b"/app/", [b"app"], [b""]),
        (b"/app", b"/app/x", [b"app"], [b"x"]),
        (b"/app", b"/apple", [b"app"], [b"le"]),
        (b"/a%20b/c/", b"/a%20b/c/d%2Fe/%E2%82%AC", [b"a b", b"c"], [b"d/e", b"\xe2\x82\xac"]),
        (b"/app/", b"/app//x", [b"app"], [b"", b"x"]),
        (b"", b"*", [], [b"*"]),
    ],
)
def test_path_segments(matched: bytes, path: bytes, prepath: list[bytes], postpath: list[bytes]) -> None:
    """The listen path is behind the resource, the rest before it; segments are decoded after splitting."""
    request = mounted(make_request(path, method=b"OPTIONS"), matched=matched)
    assert (request.prepath, request.postpath) == (prepath, postpath)
    assert request.sitepath == prepath


@given(st.lists(st.binary(max_size=6).filter(lambda segment: b"\0" not in segment), max_size=5))
def test_segments_are_those_of_the_path_as_sent(segments: list[bytes]) -> None:
    """The canonical path gives the same segments as twisted.web finds in the path as sent."""
    path = b"".join(b"/" + b"".join(b"%%%02x" % byte for byte in segment) for segment in segments) or b"/"
    request = make_request()
    request.path, request.canonical = path, canonicalise(path)
    assert mounted(request).postpath == (segments or [b""])


def test_a_resource_reads_what_an_upstream_would_get() -> None:
    """Decisions 2.10: no spelling of an identity header comes through, WSGI would not tell them apart."""
    lines: HeaderList = [
        (b"X-SSL-Client-Subject", b"CN=admin"),
        (b"x_ssl_client_subject", b"CN=admin"),
        (b"X-Forwarded-Client-Cert", b"x"),
        (b"X-Tyk-Authorization", b"x"),
        (b"Connection", b"close, X-Listed"),
        (b"X-Listed", b"x"),
        (b"Keep-Alive", b"x"),
        (b"Authorization", b"Bearer x"),
    ]
    request = mounted(make_request(b"/", lines))
    names = {name for name, _ in request.requestHeaders.getAllRawHeaders()}
    assert names == {b"Host", b"Authorization", b"User-Agent", b"X-Forwarded-For"}
    assert request.getHeader(b"x-forwarded-for") == b"192.0.2.7"
    unmounted = {name for name, _ in make_request(b"/", lines).requestHeaders.getAllRawHeaders()}
    assert unmounted == names


def test_settings_for_headers_apply() -> None:
    """As for an upstream: protected names, kept identity headers, X-Forwarded-For left out, operations of the API."""

    def operations(request: Any, headers: HeaderList) -> HeaderList:
        return [*headers, (b"X-Added", request.host.encode())]

    lines = [(b"X-Client-Cert", b"x"), (b"Connection", b"X-Kept"), (b"X-Kept", b"1")]
    request = mounted(
        make_request(b"/", lines),
        config=GatewayConfig(own=OwnSettings(keep_client_certificate_headers=True)),
        protected=frozenset({b"x-kept"}),
        remove_xff=True,
        request_headers=operations,
    )
    assert request.getHeader(b"x-client-cert") == b"x"
    assert request.getHeader(b"x-kept") == b"1"
    assert request.getHeader(b"x-added") == b"app.test"
    assert request.getHeader(b"x-forwarded-for") is None


def test_the_length_is_that_of_the_body() -> None:
    """A chunked body has one by now; a request without a body has none."""
    assert mounted(make_request(), b"12345").getHeader(b"content-length") == b"5"
    assert mounted(make_request(), b"").getHeader(b"content-length") == b"0"
    assert mounted(make_request()).getHeader(b"content-length") is None


@pytest.mark.parametrize("content_type", [FORM[1], b"Application/X-WWW-Form-Urlencoded ; charset=utf-8"])
def test_fields_of_a_form(content_type: bytes) -> None:
    """A field of the body replaces one of the query; the body can still be read from where it was."""
    request = mounted(make_request(b"/?a=1&q=2", [(b"Content-Type", content_type)], method=b"POST"), b"a=3&a=4&b=%20+;c")
    assert request.content.read(2) == b"a="
    assert request.args == {b"a": [b"3", b"4"], b"q": [b"2"], b"b": [b"  "]}
    assert request.content.read() == b"3&a=4&b=%20+;c"
    assert request.args[b"q"] == [b"2"]


@pytest.mark.parametrize(
    ("method", "content_type"),
    [(b"PUT", FORM[1]), (b"POST", b"multipart/form-data; boundary=x"), (b"POST", b"application/x-www-form-urlencoded-x")],
)
def test_other_bodies_are_the_resources_business(method: bytes, content_type: bytes) -> None:
    """No other body is parsed."""
    assert mounted(make_request(b"/?q=2", [(b"Content-Type", content_type)], method=method), b"a=1").args == {b"q": [b"2"]}


@pytest.mark.parametrize(
    ("form", "fits"),
    [
        (b"a=" + b"x" * (1024 * 1024 - 2), True),
        (b"a=" + b"x" * (1024 * 1024 - 1), False),
        (b"&".join([b"a=1"] * 1000), True),
        (b"&".join([b"a=1"] * 1001), False),
        (b";".join([b"a=1"] * 1001), False),
        (b"&" * 1000, False),
    ],
)
def test_forms_are_bounded(form: bytes, fits: bool) -> None:
    """1 MiB and 1000 fields are parsed, more is refused."""
    request = mounted(make_request(b"/", [FORM], method=b"POST"), form)
    if fits:
        assert b"a" in request.args
        return
    with pytest.raises(Refusal) as caught:
        _ = request.args
    assert caught.value.id == "size.too_large"


# The answer's head.


def test_the_head_as_set() -> None:
    """Order is kept; cookies, entity tag and modification time are added."""
    request = mounted(make_request())
    request.setResponseCode(201)
    request.setHeader(b"x-b", b"1")
    request.responseHeaders.addRawHeader("X-A", "ü")
    request.responseHeaders.addRawHeader("X-A", "2")
    request.addCookie(b"a", b"b")
    request.addCookie(b"c", b"d")
    request.setETag(b'"t"')
    request.setLastModified(784111777)
    assert head_of(request) == AnswerHead(
        201,
        [
            (b"X-B", b"1"),
            (b"X-A", b"\xc3\xbc"),
            (b"X-A", b"2"),
            (b"Last-Modified", b"Sun, 06 Nov 1994 08:49:37 GMT"),
            (b"ETag", b'"t"'),
            (b"Content-Type", b"text/html"),
            (b"Set-Cookie", b"a=b"),
            (b"Set-Cookie", b"c=d"),
        ],
        None,
    )


def test_a_modification_time_in_the_headers_stays() -> None:
    """The resource has the last word."""
    request = mounted(make_request())
    request.setHeader(b"last-modified", b"x")
    request.setLastModified(784111777)
    assert (b"Last-Modified", b"x") in head_of(request).headers


@pytest.mark.parametrize(
    ("status", "declared", "size", "default", "expected"),
    [
        (200, None, None, b"text/html", True),
        (200, None, 5, b"text/html", True),
        (200, None, 0, b"text/html", False),
        (200, b"0", None, b"text/html", False),
        (200, b"5", None, b"text/html", True),
        (204, None, None, b"text/html", False),
        (304, None, None, b"text/html", False),
        (200, None, 5, None, False),
    ],
)
def test_the_default_content_type(status: int, declared: bytes | None, size: int | None, default: bytes | None, expected: bool) -> None:
    """Like twisted.web: only for an answer that has content and no type, and not against the resource's will."""
    request = mounted(make_request())
    request.defaultContentType = default
    request.setResponseCode(status)
    if declared is not None:
        request.setHeader(b"content-length", declared)
    assert ((b"Content-Type", b"text/html") in head_of(request, size).headers) == expected


def test_a_type_that_is_set_stays() -> None:
    """No second one."""
    request = mounted(make_request())
    request.setHeader("content-type", "text/plain")
    assert head_of(request).headers == [(b"Content-Type", b"text/plain")]


def test_what_belongs_to_the_connection_is_dropped() -> None:
    """A mounted resource no more than an upstream says how the gateway's connections are framed."""
    request = mounted(make_request())
    request.defaultContentType = None
    for name, value in [
        (b"connection", b"close, x-listed"),
        (b"x-listed", b"1"),
        (b"transfer-encoding", b"chunked"),
        (b"keep-alive", b"1"),
        (b"upgrade", b"x"),
        (b"trailer", b"x"),
        (b"content-length", b"7"),
        (b"x-kept", b"1"),
    ]:
        request.setHeader(name, value)
    assert head_of(request) == AnswerHead(200, [(b"X-Kept", b"1")], 7)


def test_gates_and_operations_have_the_last_word() -> None:
    """Headers of gates (CORS) replace the resource's, Vary adds up, then come the API's operations."""

    def operations(request: Any, headers: HeaderList) -> HeaderList:
        return [*headers, (b"X-Operated", b"%d" % len(headers))]

    request = mounted(make_request(), response_headers=operations, extra_response_headers=[(b"X-Extra", b"1")])
    request.defaultContentType = None
    request.setHeader(b"access-control-allow-origin", b"*")
    request.setHeader(b"vary", b"Accept")
    request.response_headers = [(b"Access-Control-Allow-Origin", b"https://a.test"), (b"Vary", b"Origin")]
    assert head_of(request).headers == [
        (b"Vary", b"Accept"),
        (b"Access-Control-Allow-Origin", b"https://a.test"),
        (b"Vary", b"Origin"),
        (b"X-Extra", b"1"),
        (b"X-Operated", b"4"),
    ]


@pytest.mark.parametrize(
    ("values", "declared"),
    [
        ([b"0"], 0),
        ([b" 5 "], 5),
        ([b"5", b"5"], 5),
        ([b"9" * 18], 10**18 - 1),
        ([b"9" * 19], None),
        ([b"5", b"6"], None),
        ([b"-1"], None),
        ([b"5, 5"], None),
        ([b"x"], None),
        ([b""], None),
    ],
)
def test_declared_lengths(values: list[bytes], declared: int | None) -> None:
    """One number, or nothing is sent."""
    request = mounted(make_request())
    request.responseHeaders.setRawHeaders(b"content-length", values)
    if declared is not None:
        assert head_of(request).declared == declared
        return
    with pytest.raises(Refusal, match="Content-Length"):
        head_of(request)


@pytest.mark.parametrize(("status", "fits"), [(199, False), (200, True), (599, True), (600, False), (101, False)])
def test_statuses(status: int, fits: bool) -> None:
    """Final ones only: a resource cannot switch protocols."""
    request = mounted(make_request())
    request.setResponseCode(status)
    if fits:
        assert head_of(request).status == status
        return
    with pytest.raises(Refusal, match="status"):
        head_of(request)


@pytest.mark.parametrize("value", [b"a\0b", b"a\x7fb", b"\x1b"])
def test_control_bytes_never_leave(value: bytes) -> None:
    """Line ends are blanks already; the rest is refused where the head is written."""
    request = mounted(make_request())
    request.setHeader(b"x-a", value)
    with pytest.raises(WireError):
        head_of(request)
    request.responseHeaders = Headers()
    request.setHeader(b"x-a", b"a\r\nX-Injected: 1")
    assert (b"X-A", b"a X-Injected: 1") in head_of(request).headers


def test_an_encoder_hides_the_length() -> None:
    """What the resource declared is the size before encoding."""
    request = mounted(make_request(method=b"HEAD"))
    request.setHeader(b"content-length", b"100")
    assert request.web is not None
    request.web.encoder = object()
    assert head_of(request).declared is None


def test_state_belongs_to_its_mount() -> None:
    """Resources find it as request.site."""
    connection = MemoryConnection(object())
    request = make_request()
    request.open_web(connection.leaf)
    assert request.site is connection.leaf
