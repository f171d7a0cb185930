"""What resources see of a request: IRequest, and what twisted.web.server.Request has beside it."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IConsumer
from twisted.logger import capturedLogs
from twisted.python.components import registerAdapter
from twisted.python.failure import Failure
from twisted.web import http, server
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource
from zope.interface import Interface
from zope.interface.verify import verifyObject

from tests.support.memory_channel import MemoryConnection, make_request
from tlsgate.errors import Refusal
from tlsgate.gateway.request import GateRequest


def basic(text: bytes) -> list[tuple[bytes, bytes]]:
    """An Authorization line."""
    return [(b"Authorization", text)]


@pytest.mark.parametrize("interface", [IRequest, IConsumer])
def test_a_request_provides_twisted_webs_interfaces(interface: Any) -> None:
    """Any resource that keeps to the interface can be mounted."""
    assert verifyObject(interface, make_request(b"/a?b=1"))


def test_a_proxied_request_pays_nothing() -> None:
    """No state is built before a resource asks."""
    request = make_request(b"/a?b=1", [(b"Cookie", b"a=b")])
    assert request.web is None
    assert not request.startedWriting
    assert not request.finished
    assert request.sentLength == 0
    assert request.producer is None
    assert request.isSecure()
    request.unregisterProducer()
    assert request.web is None


def test_adapters_for_twisteds_own_request_class_are_found() -> None:
    """Klein registers one; the adapter is kept with the request, so that it can carry state."""

    class IThing(Interface):
        pass

    class Thing:
        def __init__(self, request: GateRequest) -> None:
            self.request = request

    registerAdapter(Thing, server.Request, IThing)
    request = make_request()
    first: Any = IThing(request)  # type: ignore[misc]
    assert first.request is request
    assert IThing(request) is first  # type: ignore[misc]
    assert IRequest(request) is request  # type: ignore[misc]


def test_resources_can_keep_their_own_things_on_a_request() -> None:
    """As on Twisted's request."""
    request: Any = make_request()
    request.template_variables = {"a": 1}
    request.isSecure = lambda: False
    assert request.template_variables == {"a": 1}
    assert not request.isSecure()


def test_the_class_can_be_looked_at() -> None:
    """Documentation tools and mocks do."""
    assert GateRequest.prepath is GateRequest.__mro__[1].__dict__["prepath"]


# The request.


def test_target_and_version() -> None:
    """uri is what was sent, path is without the query; both can be changed by a resource (vhost.VHostMonsterResource)."""
    request = make_request(b"/a%20b/c?x=1")
    assert (request.method, request.uri, request.path, request.clientproto) == (b"GET", b"/a%20b/c?x=1", b"/a%20b/c", b"HTTP/1.1")
    request.version = 10
    assert request.clientproto == b"HTTP/1.0"
    request.uri, request.path = b"/other?y", b"/other"
    assert (request.uri, request.path) == (b"/other?y", b"/other")


def test_arguments_of_the_query() -> None:
    """Blank values are kept, as twisted.web does."""
    request = make_request(b"/?a=1&a=2&b=&c%20d=e+f")
    assert request.args == {b"a": [b"1", b"2"], b"b": [b""], b"c d": [b"e f"]}
    request.args = {b"x": [b"y"]}
    assert request.args == {b"x": [b"y"]}
    assert make_request(b"/").args == {}


def test_headers() -> None:
    """The last value counts; the type of the answer is the type of the name."""
    request = make_request(b"/", [(b"X-A", b"1"), (b"x-a", b"2"), (b"Accept", b"text/html")])
    assert request.getHeader(b"X-A") == b"2"
    assert request.getHeader("x-a") == "2"
    assert request.getHeader(b"x-b") is None
    everything = request.getAllHeaders()
    assert everything[b"x-a"] == b"2"
    assert everything[b"host"] == b"app.test"
    assert everything[b"accept"] == b"text/html"


def test_cookies() -> None:
    """Several lines, blanks, values with an equals sign; what has none is no cookie."""
    request = make_request(b"/", [(b"Cookie", b"a=b; c=d=e;f"), (b"Cookie", b"g=")])
    assert request.received_cookies == {b"a": b"b", b"c": b"d=e", b"g": b""}
    assert request.getCookie(b"c") == b"d=e"
    assert request.getCookie(b"f") is None


def test_addresses() -> None:
    """Ours and the peer's, in both families."""
    request = make_request()
    assert request.getClientAddress() == request.client == IPv4Address("TCP", "192.0.2.7", 40000)
    assert request.getClientIP() == "192.0.2.7"
    assert request.getHost() == IPv4Address("TCP", "10.0.0.1", 12345)
    assert request.transport is request.channel.transport
    assert make_request(peer="2001:db8::1").getClientAddress() == IPv6Address("TCP", "2001:db8::1", 40000)


@pytest.mark.parametrize(
    ("host", "name"),
    [(b"app.test", b"app.test"), (b"app.test:8443", b"app.test"), (b"[2001:db8::1]:8443", b"2001:db8::1"), (b"192.0.2.1:80", b"192.0.2.1")],
)
def test_the_host_that_was_asked_for(host: bytes, name: bytes) -> None:
    """Without port and brackets."""
    request = make_request(b"/", [(b"Host", host)])
    assert request.getRequestHostname() == name
    assert request.prePathURL() == b"https://" + host + b"/"


def test_without_host_our_address_stands_in() -> None:
    """HTTP/1.0 clients need not send one."""
    connection = MemoryConnection(object(), is_tls=False)
    connection.handled = []
    connection.send(b"GET / HTTP/1.0\r\n\r\n")
    (request,) = connection.handled
    assert request.getHeader(b"host") is None
    assert request.getRequestHostname() == b"10.0.0.1"
    assert request.prePathURL() == b"http://10.0.0.1:12345/"
    request = make_request()
    request.requestHeaders.removeHeader(b"host")
    request.open_web().host_address = IPv6Address("TCP", "2001:db8::2", 443)
    request.requestHeaders.removeHeader(b"host")
    assert request.prePathURL() == b"https://[2001:db8::2]:443/"


@pytest.mark.parametrize(
    ("host", "port", "ssl", "url"),
    [
        (b"www.test", 80, 0, b"http://www.test/"),
        (b"www.test", 443, 1, b"https://www.test/"),
        (b"www.test", 8080, 0, b"http://www.test:8080/"),
        (b"www.test", 8443, 1, b"https://www.test:8443/"),
    ],
)
def test_a_resource_may_believe_in_another_host(host: bytes, port: int, ssl: int, url: bytes) -> None:
    """setHost changes what URLs are made of."""
    request = make_request(is_tls=False)
    request.setHost(host, port, ssl)
    assert request.isSecure() == bool(ssl)
    assert request.prePathURL() == url
    assert request.getHost() == IPv4Address("TCP", "www.test", port)
    assert request.host == "app.test"


def test_urls_of_what_has_been_reached() -> None:
    """Segments are quoted again."""
    request = make_request(b"/a/b")
    request.prepath, request.postpath = [b"a b", b"c/d"], [b"e"]
    assert request.prePathURL() == b"https://app.test/a%20b/c%2Fd"
    assert str(request.URLPath()) == "https://app.test/a%20b/c%2Fd"
    assert request.getRootURL() is None
    request.rememberRootURL()
    assert request.getRootURL() == b"https://app.test/a%20b"


@pytest.mark.parametrize(
    ("headers", "user", "password"),
    [
        ([], b"", b""),
        (basic(b"Basic dXNlcjpwYXNzOndvcmQ="), b"user", b"pass:word"),
        (basic(b"basic   dXNlcjo="), b"user", b""),
        (basic(b"Basic dXNlcg=="), b"", b""),
        (basic(b"Basic x"), b"", b""),
        (basic(b"Bearer dXNlcjpwYXNz"), b"", b""),
    ],
)
def test_basic_credentials(headers: list[tuple[bytes, bytes]], user: bytes, password: bytes) -> None:
    """RFC 7617; anything else is nobody."""
    request = make_request(b"/", headers)
    assert (request.getUser(), request.getPassword()) == (user, password)


def test_sessions_are_refused_clearly() -> None:
    """They would be lost with each reload."""
    with pytest.raises(NotImplementedError, match="own sessions"):
        make_request().getSession()


# The answer's head.


def test_status_and_reason() -> None:
    """Unknown codes have a reason, too."""
    request = make_request()
    assert (request.code, request.code_message) == (200, b"OK")
    request.setResponseCode(404)
    assert (request.code, request.code_message) == (404, b"Not Found")
    request.setResponseCode(599)
    assert request.code_message == b"Unknown Status"
    request.setResponseCode(200, b"Fine")
    assert request.code_message == b"Fine"
    request.redirect(b"/there")
    assert (request.code, request.responseHeaders.getRawHeaders(b"location")) == (302, [b"/there"])


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((b"a", b"b"), b"a=b"),
        (("a", "ü"), b"a=\xc3\xbc"),
        ((b"a;\r\nX", b"b; c"), b"a  X=b  c"),
        (
            (b"a", b"b", b"Sun, 06 Nov 1994 08:49:37 GMT", b"d.test", b"/p", b"60", b"note", True, True, "Strict"),
            b"a=b; Expires=Sun, 06 Nov 1994 08:49:37 GMT; Domain=d.test; Path=/p; Max-Age=60; Comment=note; "
            b"Secure; HttpOnly; SameSite=strict",
        ),
        ((b"a", b"b", None, None, None, None, None, True, False, b"none"), b"a=b; Secure; SameSite=none"),
    ],
)
def test_cookies_are_set(arguments: tuple[Any, ...], line: bytes) -> None:
    """As twisted.web writes them; nothing in a cookie can end its line or its value."""
    request = make_request()
    request.addCookie(*arguments)
    assert request.cookies == [line]


@pytest.mark.parametrize(("policy", "secure"), [("none", False), ("odd", True)])
def test_unusable_same_site_rules_are_refused(policy: str, secure: bool) -> None:
    """Browsers would drop the cookie."""
    with pytest.raises(ValueError, match="sameSite"):
        make_request().addCookie(b"a", b"b", secure=secure, sameSite=policy)


NOW = 784111777  # Sun, 06 Nov 1994 08:49:37 GMT


@pytest.mark.parametrize(
    ("since", "when", "cached"),
    [
        (b"Sun, 06 Nov 1994 08:49:37 GMT", NOW, True),
        (b"Sun, 06 Nov 1994 08:49:37 GMT", NOW + 1, False),
        (b"Sun, 06 Nov 1994 08:49:37 GMT", NOW - 0.5, True),
        (b"Sun, 06 Nov 1994 08:49:37 GMT", NOW + 0.5, False),
        (b"Sunday, 06-Nov-94 08:49:37 GMT", NOW, True),
        (b"Sun Nov  6 08:49:37 1994", NOW, True),
        (b"Sun, 06 Nov 1994 08:49:37 GMT; length=5", NOW, True),
        (b"yesterday", NOW, False),
        (b"; length=5", NOW, False),
        (b"Sun, 99 Nov 1994 08:49:37 GMT", NOW, False),
        (b"Sun, 06 Nov 99999 08:49:37 GMT", NOW, False),
        (b"\xff", NOW, False),
    ],
)
def test_conditional_requests_by_date(since: bytes, when: float, cached: bool) -> None:
    """RFC 9110 13.1.3: an unreadable date is no condition; parts of a second round up."""
    request = make_request(b"/", [(b"If-Modified-Since", since)])
    assert (request.setLastModified(when) is http.CACHED) == cached
    assert request.code == (304 if cached else 200)


def test_the_latest_modification_counts() -> None:
    """As twisted.web keeps it."""
    request = make_request()
    for when in (NOW, NOW + 5, NOW + 3):
        assert request.setLastModified(when) is None
    assert request.lastModified == NOW + 5


@pytest.mark.parametrize(("method", "extra"), [(b"POST", []), (b"GET", [(b"If-None-Match", b'"x"')])])
def test_dates_do_not_decide_everything(method: bytes, extra: list[tuple[bytes, bytes]]) -> None:
    """RFC 9110 13.1.3: only GET and HEAD, and entity tags go before dates."""
    request = make_request(b"/", [(b"If-Modified-Since", b"Sun, 06 Nov 1994 08:49:37 GMT"), *extra], method=method)
    assert request.setLastModified(NOW) is None
    assert request.code == 200


@pytest.mark.parametrize(
    ("wanted", "etag", "method", "code"),
    [
        (b'"a"', b'"a"', b"GET", 304),
        (b'"a"', '"a"', b"HEAD", 304),
        (b'"b", "a"', b'"a"', b"GET", 304),
        (b'"b","a"', b'"a"', b"GET", 304),
        (b'W/"a"', b'"a"', b"GET", 304),
        (b'"a"', b'W/"a"', b"GET", 304),
        (b"*", b'"a"', b"GET", 304),
        (b"*", b'"a"', b"PUT", 412),
        (b'"a"', b'"a"', b"PUT", 412),
        (b'"b"', b'"a"', b"GET", 200),
        (b"", b'"a"', b"GET", 200),
        (b'"a"', None, b"GET", 200),
    ],
)
def test_conditional_requests_by_tag(wanted: bytes, etag: bytes | str | None, method: bytes, code: int) -> None:
    """RFC 9110 13.1.2: a list, weakly compared."""
    request = make_request(b"/", [(b"If-None-Match", wanted)], method=method)
    cached = request.setETag(etag) is http.CACHED
    assert request.code == code
    assert cached == (code != 200)
    assert request.etag == (etag.encode() if isinstance(etag, str) else etag)


# Ends.


class Failing(Resource):
    """Fails in a way that a test chooses."""

    isLeaf = True

    def __init__(self, problem: Exception) -> None:
        super().__init__()
        self.problem = problem

    def render_GET(self, request: GateRequest) -> int:
        """Fail later, as util.DeferredResource does."""
        assert request.processingFailed(Failure(self.problem)).value is self.problem
        return server.NOT_DONE_YET


@pytest.mark.parametrize(("problem", "status", "logged"), [(ValueError("x"), 500, 1), (Refusal("address.forbidden"), 403, 0)])
def test_failed_processing_is_refused(problem: Exception, status: int, logged: int) -> None:
    """The log has the error, the client has not; a refusal is an answer."""
    connection = MemoryConnection(Failing(problem))
    with capturedLogs() as logs:
        answer = connection.get()
    assert answer.status == status
    assert b"ValueError" not in answer.body
    assert len([event for event in logs if "log_failure" in event]) == logged


def test_a_lost_connection_gives_the_answer_up() -> None:
    """WSGIResource calls it when an application fails in the middle of its answer."""

    class Losing(Resource):
        isLeaf = True

        def render_GET(self, request: GateRequest) -> int:
            request.write(b"part")
            connection.reactor.callLater(0, request.loseConnection)
            return server.NOT_DONE_YET

    connection = MemoryConnection(Losing())
    answer = connection.get()
    assert (answer.status, answer.body, answer.complete) == (200, b"part", False)
    assert connection.transport.truncated


def test_a_resource_renders_another_one() -> None:
    """util.DeferredResource: request.render(getChildForRequest(...))."""

    class Other(Resource):
        def render_GET(self, request: GateRequest) -> bytes:
            return b"other"

    class Outer(Resource):
        isLeaf = True

        def render_GET(self, request: GateRequest) -> int:
            connection.reactor.callLater(1, request.render, Other())
            return server.NOT_DONE_YET

    connection = MemoryConnection(Outer())
    connection.send(b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")
    assert connection.transport.value() == b""
    connection.turn(1)
    assert connection.transport.value().endswith(b"\r\n\r\nother")


def test_unmounted_requests_can_be_written_to() -> None:
    """A resource that stands in the tree itself: each write goes out at once, nothing waits for a reactor."""
    request = make_request()
    request.write(b"a")
    request.write(b"b")
    request.finish()
    assert request.transport.value().endswith(b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n")
    with pytest.raises(RuntimeError, match="mounted"):
        make_request().registerProducer(object(), False)
