"""What the upstream sees of a request, and the client of an answer: targets, headers, addresses, transforms, time limits.

Source: API definitions reference, sections 7, 9, 10, 11, 12.4, 18; decisions 2.10; field reports B31, B34.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.certs import make_authority
from tests.support.forms import FORMS, Rule, define
from tests.support.gateway import Client, Gateway, Received, StrictUpstream, echo, running_gateway
from tlsgate import __version__

EACH_FORM = pytest.mark.parametrize("form", FORMS)


def answer(received: Received) -> bytes:
    """Answer by the end of the path."""
    if "/slow/" in received.target:
        time.sleep(float(received.target.rpartition("/")[2]))
    if received.target.endswith("/headers"):
        return (
            b"HTTP/1.1 200 OK\r\nServer: up/1\r\nX-Kept: 1\r\nX-Kept: 2\r\nX-Remove-Me: a\r\nX-Global: up\r\nX-Path: up\r\n"
            b"Connection: X-Listed, keep-alive\r\nX-Listed: a\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\n"
            b"Proxy-Connection: keep-alive\r\nUpgrade: h2c\r\nTrailer: X-T\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n"
            b"Access-Control-Allow-Origin: *\r\nContent-Length: 2\r\n\r\nok"
        )
    return echo(received)


class _Gate:
    def __init__(self, gateway: Gateway, upstream: StrictUpstream) -> None:
        self.gateway = gateway
        self.upstream = upstream

    def ask(self, target: str, *, method: str = "GET", headers: list[tuple[str, str]] | None = None, host: str = "a.test") -> Received:
        """Send a request that is forwarded; return what the upstream saw."""
        before = len(self.upstream.requests)
        with Client(self.gateway.port, sni="a.test") as client:
            response = client.request(method, target, host=host, headers=headers or ())
        assert response.status == 200, (target, response)
        assert len(self.upstream.requests) == before + 1
        return self.upstream.requests[-1]


class _Join(NamedTuple):
    target: str
    rest: str
    keep_slash: bool
    result: str


JOINS = (
    _Join("/foo", "/", False, "/foo"),
    _Join("/foo/", "", False, "/foo"),
    _Join("/foo/", "/", False, "/foo"),
    _Join("/foo/", "", True, "/foo/"),
    _Join("/foo/", "/", True, "/foo/"),
    _Join("/foo", "/", True, "/foo"),
    _Join("/foo//", "/bar", False, "/foo/bar"),
    _Join("/foo//", "/bar", True, "/foo/bar"),
    _Join("", "/x/", False, "/x/"),
    _Join("", "/x/", True, "/x/"),
    _Join("", "/", False, "/"),
    _Join("", "", True, "/"),
    _Join("/", "/", False, "/"),
    _Join("/foo", "/bar/", False, "/foo/bar/"),
    _Join("/foo?a=1", "/bar?b=2", False, "/foo/bar?a=1&b=2"),
    _Join("/foo?a=1", "/bar", False, "/foo/bar?a=1"),
    _Join("/foo?a=1", "/bar?", False, "/foo/bar?a=1"),
    _Join("?a=1", "/bar?b=2&c", False, "/bar?a=1&b=2&c"),
    _Join("/foo", "/bar?b=2?c=/../d", False, "/foo/bar?b=2?c=/../d"),
)


def _join_path(number: int, form: str) -> str:
    return f"/{form}/join{number}" + ("" if JOINS[number].rest == "" else "/")


def _apis(form: str, port: int) -> Iterator[dict[str, Any]]:
    for number, join in enumerate(JOINS):
        url = f"http://127.0.0.1:{port}{join.target}"
        yield define(form, f"{form}-join{number}", url, _join_path(number, form), keep_slash=join.keep_slash)
    yield define(form, f"{form}-echo", port, f"/{form}/echo/")
    yield define(form, f"{form}-whole", port, f"/{form}/whole/", strip=False)
    yield define(form, f"{form}-item", port, f"/{form}/item/{{id}}/")
    yield define(form, f"{form}-host", port, f"/{form}/host/", preserve_host=True)
    yield define(
        form,
        f"{form}-turns",
        "http://127.0.0.1:1/never",
        f"/{form}/turns/",
        targets=(f"http://127.0.0.1:{port}/one", f"http://127.0.0.1:{port}/two/?q=2", f"127.0.0.1:{port}/three"),
    )
    yield define(
        form,
        f"{form}-headers",
        port,
        f"/{form}/headers-of/",
        context=True,
        add={
            "X-Static": "static",
            "X-Both": "set",
            "X-Query": "$tyk_context.request_data_colour",
            "X-Agent": "$tyk_context.headers_User_Agent",
            "X-Where": "$tyk_context.path",
            "X-Peer": "$tyk_context.remote_addr",
            "X-Nothing": "$tyk_context.headers_Absent",
            "X-Env": "$secret_env.FORWARDING_TEST",
        },
        remove=("X-Both", "X-Gone"),
        response_add={"X-Global": "gateway"},
        response_remove=("X-Remove-Me",),
        rules=(
            Rule(
                "transform_headers", "/headers", "GET", {"add_headers": {"X-Path": "path", "X-Static": "path"}, "delete_headers": ["X-Bye"]}
            ),
            Rule("transform_response_headers", "/headers", "GET", {"add_headers": {"X-Path": "path"}, "delete_headers": ["Server"]}),
        ),
    )
    yield define(form, f"{form}-anonymous", port, f"/{form}/anonymous/", remove=("X-Forwarded-For",))
    yield define(
        form,
        f"{form}-timed",
        port,
        f"/{form}/timed/",
        timeout="3s",
        rules=(Rule("hard_timeouts", "/slow/{x}", "GET", {"timeout": 1}),),
    )
    yield define(form, f"{form}-late", port, f"/{form}/late/", timeout="4s")


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Gate]:
    """One gateway, all APIs in both forms."""
    server = make_authority("servers").issue("localhost", names=["localhost"])
    with ExitStack() as stack:
        upstream = stack.enter_context(StrictUpstream(answer))
        apis = [api for form in FORMS for api in _apis(form, upstream.port)]
        gateway = stack.enter_context(
            running_gateway(
                tmp_path_factory.mktemp("forwarding"),
                *apis,
                server=server,
                environ={"FORWARDING_TEST": "from the environment"},
                proxy_default_timeout=2,
            )
        )
        yield _Gate(gateway, upstream)
        assert not upstream.violations


# Targets.


@EACH_FORM
@pytest.mark.parametrize("number", range(len(JOINS)), ids=[f"{join.target}+{join.rest}-{join.keep_slash}" for join in JOINS])
def test_paths_are_joined_by_the_table(gate: _Gate, form: str, number: int) -> None:
    """Reference 9.1 and 9.2."""
    join = JOINS[number]
    assert gate.ask(_join_path(number, form).rstrip("/") + join.rest).target == join.result


@EACH_FORM
def test_double_slash_after_the_listen_path_is_redirected_before(gate: _Gate, form: str) -> None:
    """Reference 6.5: the row ``foo//`` + ``//bar`` of table 9.1 reaches the join only without clean-up."""
    with Client(gate.gateway.port, sni="a.test") as client:
        response = client.request(target=f"/{form}/echo//bar?x=//y")
        assert (response.status, response.headers["location"]) == (301, f"/{form}/echo/bar?x=//y")


@EACH_FORM
@pytest.mark.parametrize(
    "rest",
    [
        "/(A,B)",
        "/!$&'()*+,;=:@~-._",
        "/%28x%29",
        "/a%2fb",
        "/a%2Fb",
        "/%e9",
        "/%E9",
        "/a%20b+c",
        "/%41%7E",
        "/a\\b",
        '/a"<>^`{|}b',
        "/x?a=b=c&&x",
        "/x?(A,B)!$&'()*+,;=:@~-._%28%2f%2F%e9a%20b+c",
        "/x?",
        "/x?%zz%",
        '/x?"<>\\^`{|}',
        "/x;y=1/z;w",
    ],
)
def test_targets_travel_byte_for_byte(gate: _Gate, form: str, rest: str) -> None:
    """Field report B31: hex case included, after the listen path was stripped and when it was not."""
    assert gate.ask(f"/{form}/echo{rest}").target == rest
    assert gate.ask(f"/{form}/whole{rest}").target == f"/{form}/whole{rest}"


@EACH_FORM
def test_listen_path_is_stripped_in_any_spelling(gate: _Gate, form: str) -> None:
    """Routing compares the canonical path, the rest keeps its spelling; a pattern is stripped as it matched; an alias is its path."""
    spelled = "".join(f"%{ord(letter):02x}" for letter in form)
    assert gate.ask(f"/{spelled}/%65cho/a%2fb").target == "/a%2fb"
    assert gate.ask(f"/{form}/item/42/x").target == "/x"
    assert gate.ask(f"/{form}/item/%34%32/x%2e").target == "/x%2e"
    assert gate.ask(f"/{form}-echo/x").target == "/x"
    assert gate.ask(f"/{form}-whole/x%2fy").target == f"/{form}/whole/x%2fy"


@EACH_FORM
def test_targets_take_turns(gate: _Gate, form: str) -> None:
    """Reference 10.6: each entry's own path and query, in order, whatever ``target_url`` says."""
    seen = [gate.ask(f"/{form}/turns/x?y").target for _ in range(6)]
    assert seen == ["/one/x?y", "/two/x?q=2&y", "/three/x?y"] * 2


# Request headers.


@EACH_FORM
def test_host_is_the_targets_unless_it_is_preserved(gate: _Gate, form: str) -> None:
    """Reference 9.3."""
    port = gate.upstream.port
    assert gate.ask(f"/{form}/echo/").header("Host") == f"127.0.0.1:{port}"
    assert gate.ask(f"/{form}/host/", host="Some.Host.test:8443").header("Host") == "Some.Host.test:8443"
    with Client(gate.gateway.port, sni="a.test") as client:
        client.send(f"GET /{form}/host/ HTTP/1.0\r\n\r\n".encode())
        assert client.read_response().status == 200
    assert gate.upstream.requests[-1].header("Host") == f"127.0.0.1:{port}"


@EACH_FORM
def test_user_agent_has_a_default(gate: _Gate, form: str) -> None:
    """Reference 9.3: only where the client sends none."""
    assert gate.ask(f"/{form}/echo/").header("User-Agent") == f"Tyk/{__version__}"
    assert gate.ask(f"/{form}/echo/", headers=[("User-Agent", "curl/8")]).header("User-Agent") == "curl/8"
    assert gate.ask(f"/{form}/echo/", headers=[("User-Agent", "")]).header("User-Agent") == ""


@EACH_FORM
def test_hop_by_hop_headers_stay_here(gate: _Gate, form: str) -> None:
    """Reference 9.4; RFC 9110 7.6.1."""
    received = gate.ask(
        f"/{form}/echo/",
        headers=[
            ("Connection", "X-One, keep-alive"),
            ("Connection", "x-two"),
            ("X-One", "1"),
            ("X-TWO", "2"),
            ("X-Three", "3"),
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Connection", "keep-alive"),
            ("Proxy-Authorization", "Basic eA=="),
            ("Proxy-Authenticate", "Basic"),
            ("TE", "trailers, deflate"),
            ("Trailer", "X-T"),
        ],
    )
    names = {name.lower() for name, _ in received.headers}
    assert "x-three" in names
    assert not names & {
        "connection", "x-one", "x-two", "keep-alive", "proxy-connection", "proxy-authorization", "proxy-authenticate", "te", "trailer"
    }  # fmt: skip
    assert gate.ask(f"/{form}/echo/", headers=[("TE", "trailers")]).header("TE") == "trailers"


@EACH_FORM
def test_client_cannot_delete_what_the_gateway_adds(gate: _Gate, form: str) -> None:
    """Reference 9.4 BETTER; reliability reference 2b (hop-by-hop stripping abuse)."""
    received = gate.ask(
        f"/{form}/headers-of/x", headers=[("Connection", "X-Static, X-Forwarded-For, Host, User-Agent, Content-Length, X-Peer")]
    )
    assert received.header("X-Static") == "static"
    assert received.header("X-Peer") == "127.0.0.1"
    assert received.header("X-Forwarded-For") == "127.0.0.1"
    assert received.header("Host") == f"127.0.0.1:{gate.upstream.port}"


@EACH_FORM
def test_identity_and_control_headers_are_dropped(gate: _Gate, form: str) -> None:
    """Decisions 2.10, in any spelling; reference 14 (``x-tyk-*``)."""
    dropped = [
        "X-Forwarded-Client-Cert", "Client-Cert", "client-cert-chain", "X-Client-Cert", "X-SSL-Client-Verify", "x-ssl-client-s-dn",
        "SSL-Client-Cert", "X-ARR-ClientCert", "x-tyk-internal", "X-Tyk-Authorization",
    ]  # fmt: skip
    received = gate.ask(f"/{form}/echo/", headers=[(name, "forged") for name in dropped] + [("X-Client", "kept")])
    assert received.header("X-Client") == "kept"
    assert "forged" not in {value for _, value in received.headers}


@EACH_FORM
def test_trailers_cannot_speak_for_the_gateway(gate: _Gate, form: str) -> None:
    """Decisions 2.7 and 2.10: no name that the API itself sets, in any spelling."""
    with Client(gate.gateway.port, sni="a.test") as client:
        client.send(
            f"POST /{form}/headers-of/x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
            "x-static: forged\r\nX-PEER: forged\r\nX-Sum: 1\r\n\r\n".encode()
        )
        assert client.read_response().status == 200
    assert gate.upstream.requests[-1].trailers == (("X-Sum", "1"),)


@EACH_FORM
def test_other_headers_keep_order_case_and_number(gate: _Gate, form: str) -> None:
    """Nothing is re-cased, joined or sorted on the way through."""
    sent = [("X-b", "1"), ("x-A", "2"), ("X-b", "3"), ("ACCEPT", "*/*"), ("Cookie", "a=1; b=2"), ("X-e", ""), ("Content-Type", "a/b")]
    received = gate.ask(f"/{form}/echo/", headers=sent)
    assert [line for line in received.headers if line in sent] == sent


# Addresses.


class _Forwarded(NamedTuple):
    name: str
    lines: tuple[str, ...]
    result: str


FORWARDED = (
    _Forwarded("none", (), "127.0.0.1"),
    _Forwarded("one", ("198.51.100.1",), "198.51.100.1, 127.0.0.1"),
    _Forwarded("empty", ("",), "127.0.0.1"),
    _Forwarded("two lines", ("198.51.100.1", "198.51.100.2"), "198.51.100.1, 198.51.100.2, 127.0.0.1"),
    _Forwarded("word", ("unknown",), "unknown, 127.0.0.1"),
    _Forwarded("commas", (", ,",), "127.0.0.1"),
    _Forwarded("holes", ("198.51.100.1, ,, 198.51.100.2",), "198.51.100.1, 198.51.100.2, 127.0.0.1"),
    _Forwarded("IPv6 with a port", ("[2001:db8::1]:99",), "[2001:db8::1]:99, 127.0.0.1"),
    _Forwarded("mixed lines", ("", "a,b", " ", "c"), "a, b, c, 127.0.0.1"),
    _Forwarded("8-bit bytes", ("\xe9",), "\xe9, 127.0.0.1"),
)


@EACH_FORM
@pytest.mark.parametrize("case", FORWARDED, ids=[case.name for case in FORWARDED])
def test_forwarded_for_is_one_line(gate: _Gate, form: str, case: _Forwarded) -> None:
    """Field report B34: all earlier values in order plus the peer, no empty members."""
    received = gate.ask(f"/{form}/echo/", headers=[("X-Forwarded-For", line) for line in case.lines])
    assert received.header("X-Forwarded-For") == case.result


@EACH_FORM
def test_forwarded_for_can_be_removed(gate: _Gate, form: str) -> None:
    """Reference 9.5: left alone when it is among the removed headers."""
    received = gate.ask(f"/{form}/anonymous/", headers=[("X-Forwarded-For", "198.51.100.1")])
    assert received.header("X-Forwarded-For") is None


@EACH_FORM
def test_no_other_forwarding_headers_are_invented(gate: _Gate, form: str) -> None:
    """Reference 9.5."""
    names = {name.lower() for name, _ in gate.ask(f"/{form}/echo/").headers}
    assert names == {"host", "user-agent", "x-forwarded-for"}


class _Trust(NamedTuple):
    depth: int
    headers: tuple[tuple[str, str], ...]
    allowed: bool


XFF = "X-Forwarded-For"
TRUST = (
    _Trust(0, ((XFF, "198.51.100.7"),), True),
    _Trust(0, ((XFF, "198.51.100.7, 203.0.113.1"),), True),
    _Trust(0, ((XFF, "203.0.113.1, 198.51.100.7"),), False),
    _Trust(0, ((XFF, "203.0.113.1"), (XFF, "198.51.100.7")), False),
    _Trust(1, ((XFF, "203.0.113.1, 198.51.100.7"),), True),
    _Trust(1, ((XFF, "203.0.113.1"), (XFF, "198.51.100.7")), True),
    _Trust(1, ((XFF, "198.51.100.7, 203.0.113.1"),), False),
    _Trust(2, ((XFF, "198.51.100.7, 203.0.113.1"),), True),
    _Trust(2, ((XFF, "198.51.100.7"),), False),
    _Trust(1, ((XFF, "unknown"),), False),
    _Trust(1, ((XFF, "[2001:db8::1]:99"),), False),
    _Trust(0, ((XFF, ", ,"),), False),
    _Trust(0, ((XFF, ""),), False),
    _Trust(1, ((XFF, "::ffff:198.51.100.7"),), True),
    _Trust(1, (("X-Real-IP", "198.51.100.7"), (XFF, "203.0.113.1")), True),
    _Trust(1, (("X-Real-IP", "nonsense"), (XFF, "198.51.100.7")), True),
    _Trust(1, (), False),
)


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, tuple[Gateway, StrictUpstream]]]:
    """Gateways that trust loopback as a proxy, with each ``xff_depth``; -1 trusts nobody."""
    with ExitStack() as stack:
        found = {}
        for depth in (-1, 0, 1, 2):
            upstream = stack.enter_context(StrictUpstream())
            apis = [define(form, form, upstream.port, f"/{form}/", allow=("198.51.100.0/24",), block=("198.51.100.9",)) for form in FORMS]
            gateway = stack.enter_context(
                running_gateway(
                    tmp_path_factory.mktemp("proxied"),
                    *apis,
                    http_server_options={"xff_depth": max(depth, 0)},
                    tlsgate={"trusted_proxies": [] if depth < 0 else ["127.0.0.0/8"]},
                )
            )
            found[depth] = gateway, upstream
        yield found


@EACH_FORM
@pytest.mark.parametrize("case", TRUST, ids=[f"{case.depth}: {case.headers}" for case in TRUST])
def test_address_lists_believe_trusted_proxies(proxied: dict[int, tuple[Gateway, StrictUpstream]], form: str, case: _Trust) -> None:
    """Reference 9.5 and field report B34: by ``xff_depth``, never 500."""
    gateway, _ = proxied[case.depth]
    with Client(gateway.port, tls=False) as client:
        response = client.request(target=f"/{form}/", headers=case.headers)
        assert response.status == (200 if case.allowed else 403)
        if not case.allowed:
            assert response.body == b'{\n    "error": "access from this IP has been disallowed"\n}'


@EACH_FORM
def test_address_lists_believe_nobody_else(proxied: dict[int, tuple[Gateway, StrictUpstream]], form: str) -> None:
    """Reference 9.5 BETTER: with Tyk's default anybody passes by sending ``X-Real-IP``; and the block list works inside the allow list."""
    gateway, _ = proxied[-1]
    for headers in ([(XFF, "198.51.100.7")], [("X-Real-IP", "198.51.100.7")], [("X_Real_IP", "198.51.100.7")], []):
        with Client(gateway.port, tls=False) as client:
            assert client.request(target=f"/{form}/", headers=headers).status == 403
    with Client(proxied[0][0].port, tls=False) as client:
        assert client.request(target=f"/{form}/", headers=[(XFF, "198.51.100.8")]).status == 200
        assert client.request(target=f"/{form}/", headers=[(XFF, "198.51.100.9")]).status == 403


# Transforms.


@EACH_FORM
def test_request_headers_are_transformed(gate: _Gate, form: str) -> None:
    """Reference 12.4: global remove, global add (set), then the path's delete and add; missing variables are empty."""
    received = gate.ask(
        f"/{form}/headers-of/headers?colour=red",
        headers=[("X-Both", "client"), ("X-Both", "again"), ("X-Gone", "1"), ("x-bye", "1"), ("X-Static", "client"), ("User-Agent", "me")],
    )
    expected = {
        "X-Both": "set", "X-Static": "path", "X-Path": "path", "X-Query": "red", "X-Agent": "me", "X-Peer": "127.0.0.1", "X-Nothing": "",
        "X-Env": "from the environment",
    }  # fmt: skip
    for name, value in expected.items():
        assert received.header(name) == value, name
    assert received.header("X-Gone") is None
    assert received.header("X-Bye") is None
    other = gate.ask(f"/{form}/headers-of/other", headers=[("X-Bye", "1")])
    assert (other.header("X-Static"), other.header("X-Path"), other.header("X-Bye")) == ("static", None, "1")


@EACH_FORM
def test_variables_cannot_smuggle_lines(gate: _Gate, form: str) -> None:
    """Client text in a variable never becomes a line of its own, and is never read as a variable again."""
    for text in ("a%0d%0aX-Evil:%201", "a%0aX-Evil:%201", "$secret_env.FORWARDING_TEST", "$tyk_context.path", "%00"):
        with Client(gate.gateway.port, sni="a.test") as client:
            before = len(gate.upstream.requests)
            response = client.request(target=f"/{form}/headers-of/x?colour={text}")
            assert response.status in (200, 400)
            for received in gate.upstream.requests[before:]:
                assert received.header("X-Evil") is None
                assert received.header("X-Query") != "from the environment"


@EACH_FORM
def test_response_headers_are_transformed(gate: _Gate, form: str) -> None:
    """Reference 9.4, 10 and 12.4: hop-by-hop ones stay, others pass in order, repeated ones too; path entry, then global."""
    with Client(gate.gateway.port, sni="a.test") as client:
        response = client.request(target=f"/{form}/headers-of/headers")
        lines = response.raw_head.decode().split("\r\n")
    assert response.headers["x-kept"] == "1, 2"
    assert [line for line in lines if line.startswith("Set-Cookie")] == ["Set-Cookie: a=1", "Set-Cookie: b=2"]
    assert response.headers["x-global"] == "gateway"
    assert response.headers["x-path"] == "path"
    gone = {"server", "x-remove-me", "x-listed", "keep-alive", "proxy-authenticate", "proxy-connection", "upgrade", "trailer", "connection"}
    assert not gone & set(response.headers)
    assert response.headers["access-control-allow-origin"] == "*"
    assert (
        response.headers["x-ratelimit-limit"] == response.headers["x-ratelimit-remaining"] == response.headers["x-ratelimit-reset"] == "0"
    )
    assert "x-generator" not in response.headers
    assert lines.count(next(line for line in lines if line.lower().startswith("date:"))) == 1


# Time limits.


@EACH_FORM
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("timed/slow/0.1", 200),
        ("timed/slow/1.6", 504),
        ("timed/x/slow/1.2", 200),
        ("echo/slow/1", 200),
        ("echo/slow/3", 504),
        ("late/slow/1", 200),
    ],
)
def test_time_limits_end_with_504(gate: _Gate, form: str, path: str, status: int) -> None:
    """Reference 11: ``hard_timeouts`` by path, else ``global_enforce_timeout``, besides ``proxy_default_timeout`` for the head."""
    with Client(gate.gateway.port, sni="a.test") as client:
        started = time.monotonic()
        response = client.request(target=f"/{form}/{path}")
        elapsed = time.monotonic() - started
        assert response.status == status
        if status == 504:
            assert response.body == b'{\n    "error": "Upstream service reached hard timeout."\n}'
            limit = 1.0 if path.startswith("timed") else 2.0
            assert limit - 0.3 < elapsed < limit + 0.6
            assert client.request(target=f"/{form}/echo/").status == 200


def test_path_of_an_underscore_host_is_forwarded(gate: _Gate, tmp_path: Path) -> None:
    """Names with an underscore are real names (field report B21)."""
    assert gate.ask("/oas/echo/x", host="my_svc.test").target == "/x"
