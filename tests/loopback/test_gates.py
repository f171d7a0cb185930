"""Checks and answers of the gateway itself through real requests: routes, path lists, sizes, mocks, CORS, error bodies, control paths.

Where a table of the reference has 401 for a request without credentials, the APIs here demand a client certificate on plain HTTP, whose
refusal (403) stands at the same place. Source: API definitions reference, sections 6, 7, 11, 12, 13; decisions 2.1, 2.11, 2.16.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.certs import Issued, make_authority
from tests.support.forms import FORMS, Rule, define
from tests.support.gateway import Client, Gateway, Received, Response, StrictUpstream, classic, echo, free_port, running_gateway

EACH_FORM = pytest.mark.parametrize("form", FORMS)
DENIED = b'{\n    "error": "TLS not enabled"\n}'


def answer(received: Received) -> bytes:
    """Answer by the path: errors, CORS headers of the upstream's own, else an echo."""
    if "/error/" in received.target:
        status = received.target.rpartition("/")[2]
        body = b'{"code": "E42", "deep": {"kind": "quota"}}'
        return f"HTTP/1.1 {status} Oops\r\nContent-Type: application/json\r\nX-Up: 1\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    if received.target.endswith("/own-cors"):
        return (
            b"HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: https://evil.test\r\nAccess-Control-Allow-Credentials: true\r\n"
            b"Vary: Accept\r\nContent-Length: 0\r\n\r\n"
        )
    return echo(received)


def ask(
    gateway: Gateway,
    target: str,
    method: str = "GET",
    *,
    host: str = "a.test",
    headers: list[tuple[str, str]] | None = None,
    body: bytes = b"",
    port: int = 0,
) -> Response:
    """Send one plain request on a connection of its own."""
    with Client(port or gateway.port, tls=False) as client:
        return client.request(method, target, host=host, headers=headers or (), body=body)


def error(message: str) -> bytes:
    """Return the standard JSON body."""
    return b'{\n    "error": "' + message.encode() + b'"\n}'


@pytest.fixture(scope="module")
def alice() -> Issued:
    return make_authority("clients").issue("alice")


@pytest.fixture(scope="module")
def upstream() -> Iterator[StrictUpstream]:
    with StrictUpstream(answer) as found:
        yield found
        assert not found.violations


# Routes.

STRICT = {
    "/": "root", "/app": "root", "/bob": "root", "/apple": "apple", "/apple/": "apple", "/apple/bot": "apple",
    "/apple/bottom": "bottom", "/apple/bottom/": "bottom", "/apple/bottom/jeans": "bottom",
    "/applebottomjeans": "root", "/apple-bottom-jeans": "root", "/apple/bottom-jeans": "apple",
    "/bob/": "bob", "/bob/name": "bob", "/bob/name/surname": "bob",
    "/charlie/suffix/": "root", "/charlie/name/suffix": "charlie", "/charlie/name/suffix/foo": "charlie",
    "/charlie/name/suffixfoo": "charlie", "/charlie/a/b/suffix/foo": "charlie",
}  # fmt: skip
"""Table 6.3, with BETTER: where a listen path does not fit, the next shorter one is tried (Tyk: 404 in the third line)."""
LOOSE = {**STRICT, "/applebottomjeans": "apple", "/apple-bottom-jeans": "apple", "/apple/bottom-jeans": "bottom"}


@pytest.fixture(scope="module")
def routed(tmp_path_factory: pytest.TempPathFactory, upstream: StrictUpstream) -> Iterator[dict[tuple[str, bool], Gateway]]:
    """The APIs of table 6.3 and a few domains, in strict and loose mode, in both forms."""
    paths = {"root": "/", "apple": "/apple", "bottom": "/apple/bottom", "bob": "/bob/{name:.*}", "charlie": "/charlie/{name:.*}/suffix"}
    with ExitStack() as stack:
        found = {}
        for form in FORMS:
            for strict in (True, False):
                apis = [define(form, f"id-{name}", upstream.port, path, strip=False, add={"X-Api": name}) for name, path in paths.items()]
                apis += [
                    define(form, "domain", upstream.port, "/", domain="own.test", add={"X-Api": "domain"}),
                    define(form, "sub", upstream.port, "/", domain="{sub:[a-z]+}.own.test", add={"X-Api": "sub"}),
                ]
                found[form, strict] = stack.enter_context(
                    running_gateway(tmp_path_factory.mktemp("routed"), *apis, http_server_options={"enable_strict_routes": strict})
                )
        yield found


def api_of(response: Response) -> str:
    """Return which API forwarded the request that an echo shows."""
    assert response.status == 200, response
    return str(dict(json.loads(response.body)["headers"])["X-Api"])


@EACH_FORM
@pytest.mark.parametrize("strict", [True, False], ids=["strict", "loose"])
@pytest.mark.parametrize("path", STRICT)
def test_listen_paths_take_what_the_table_says(routed: dict[tuple[str, bool], Gateway], form: str, strict: bool, path: str) -> None:
    """Reference 6.3."""
    assert api_of(ask(routed[form, strict], path)) == (STRICT if strict else LOOSE)[path]


@EACH_FORM
def test_clean_up_comes_before_routing(routed: dict[tuple[str, bool], Gateway], form: str) -> None:
    """Reference 6.3 and 6.5: 301 to the cleaned path; query and trailing slash are kept, methods and hosts do not matter."""
    gateway = routed[form, True]
    for path, location in (
        ("/charlie//suffix/", "/charlie/suffix/"),
        ("//evil.test/%2f..", "/evil.test/%2f.."),
        ("/a/../b?q=//x", "/b?q=//x"),
        ("/a/./b/", "/a/b/"),
        ("/..", "/"),
        ("/%2e%2e/%2e%2E/x", "/x"),
        ("///", "/"),
        ("//\\evil.test", "/%5Cevil.test"),
        ("/hello/../x", "/x"),
    ):
        for method in ("GET", "HEAD", "POST", "OPTIONS"):
            response = ask(gateway, path, method, host="own.test")
            assert (response.status, response.headers["location"], response.body) == (301, location, b""), path


@EACH_FORM
@pytest.mark.parametrize(
    ("host", "api"),
    [
        ("own.test", "domain"),
        ("OWN.TEST.", "domain"),
        ("own.test:8080", "domain"),
        ("www.own.test", "sub"),
        ("WWW.own.test.:1", "sub"),
        ("a.b.own.test", "apple"),
        ("7.own.test", "apple"),
        ("own.test.evil.test", "apple"),
        ("other.test", "apple"),
    ],
)
def test_domains_go_before_longer_paths(routed: dict[tuple[str, bool], Gateway], form: str, host: str, api: str) -> None:
    """Reference 6.1 and 6.2: one normaliser for the Host; a pattern matches the whole name."""
    assert api_of(ask(routed[form, True], "/apple", host=host)) == api


@EACH_FORM
def test_nothing_matches(tmp_path: Path, upstream: StrictUpstream, form: str) -> None:
    """Reference 6.4: plain ``Not Found`` without newline or ``X-Generator``, whatever the request's type."""
    with running_gateway(tmp_path, define(form, "a", upstream.port, "/a/", domain="own.test")) as gateway:
        for target, host in (("/x", "own.test"), ("/a/", "other.test"), ("/a", "own.test")):
            response = ask(gateway, target, host=host, headers=[("Content-Type", "application/xml"), ("Origin", "https://app.test")])
            assert (response.status, response.body) == (404, b"Not Found")
            assert response.headers["content-type"] == "text/plain; charset=utf-8"
            assert "x-generator" not in response.headers
            assert "connection" not in response.headers


@EACH_FORM
def test_path_that_reads_as_another_apis_is_refused(tmp_path: Path, upstream: StrictUpstream, form: str) -> None:
    """Decisions 2.11: encoded slashes, backslashes and ``;`` separate nothing for a rule that opens, nor lead past one that closes."""
    apis = (
        define(form, "open", upstream.port, "/open/", rules=(Rule("black_list", "/secret", "GET"), Rule("black_list", "/deep/.*", "GET"))),
        define(form, "closed", upstream.port, "/closed/", block=("127.0.0.1",)),
        define(form, "ruled", upstream.port, "/ruled/", rules=(Rule("white_list", "/fine", "GET"),)),
    )
    with running_gateway(tmp_path, *apis) as gateway:
        before = len(upstream.requests)
        for target in (
            "/open/..%2fclosed/x",
            "/open/..%2Fclosed%2Fx",
            "/open/..%5cclosed/x",
            "/open/..\\closed\\x",
            "/open/..;/closed/x",
            "/open/..;a=b/closed/x",
            "/open/%2e%2e%2fclosed/x",
            "/open/..%3b/closed/x",
            "/open/x/..%2fsecret",
            "/open/x%2f..%2fsecret",
            "/open/secret;v=1",
            "/open/x\\..\\secret",
            "/open/deep%2fx",
            "/open/deep\\x",
        ):
            assert ask(gateway, target).status == 400, target
        for target in ("/ruled/fine%2f", "/ruled/fine;x", "/ruled/x%2f..%2ffine", "/ruled/other"):
            assert ask(gateway, target).status in (400, 403), target
        assert len(upstream.requests) == before
        assert ask(gateway, "/open/x%2fy;z\\a").status == 200
        assert ask(gateway, "/ruled/%66ine").status == 200
        assert ask(gateway, "/open/%73ecret").status == 403
        assert ask(gateway, "/open/secret", "POST").status == 200


def test_clean_up_can_be_switched_off(tmp_path: Path, upstream: StrictUpstream) -> None:
    """``skip_url_cleaning``: table 9.1's ``foo//`` + ``//bar``; rules still see every reading."""
    api = define("classic", "a", f"http://127.0.0.1:{upstream.port}/foo//", "/a/", rules=(Rule("black_list", "/secret"),))
    with running_gateway(tmp_path, api, http_server_options={"skip_url_cleaning": True}) as gateway:
        assert json.loads(ask(gateway, "/a//bar").body)["target"] == "/foo/bar"
        for target in ("/a//secret", "/a/x/../secret", "/a/./secret", "/a/x/%2e%2e/secret"):
            assert ask(gateway, target).status in (400, 403), target


# Path lists.

LISTS = {
    "/test/anything": (200, 200, 200, 200),
    "/test/anything/health": (200, 200, 403, 403),
    "/test/anything/status/200": (200, 200, 403, 403),
    "/test/status/200": (403, 403, 403, 403),
    "/test/status/200/anything": (200, 403, 200, 403),
}
"""Table 7.1: default, prefix, suffix, both."""


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory, upstream: StrictUpstream, alice: Issued) -> Iterator[dict[tuple[str, int], Gateway]]:
    """The API of table 7.1 under each pair of settings; and one without any setting."""
    with ExitStack() as stack:
        found = {}
        for form in FORMS:
            for column, (prefix, suffix) in enumerate([(False, False), (True, False), (False, True), (True, True), (None, None)]):
                options = {"enable_path_prefix_matching": prefix, "enable_path_suffix_matching": suffix} if prefix is not None else {}
                api = define(form, "a", upstream.port, "/test/", mtls=(alice.pem,), rules=(Rule("ignored", "/anything", "GET"),))
                found[form, column] = stack.enter_context(
                    running_gateway(tmp_path_factory.mktemp("listed"), api, http_server_options=options)
                )
        yield found


@EACH_FORM
@pytest.mark.parametrize("column", range(5), ids=["default", "prefix", "suffix", "both", "unset"])
@pytest.mark.parametrize("path", LISTS)
def test_ignored_paths_match_as_the_table_says(listed: dict[tuple[str, int], Gateway], form: str, column: int, path: str) -> None:
    """Reference 7.1; decisions 4.2: absent settings are on, an explicit ``false`` is Tyk's behaviour."""
    response = ask(listed[form, column], path)
    assert response.status == LISTS[path][min(column, 3)]
    if response.status == 403:
        assert response.body == DENIED


@EACH_FORM
def test_ignored_path_stays_closed_in_any_other_spelling(listed: dict[tuple[str, int], Gateway], form: str) -> None:
    """Decisions 2.11: a rule that opens compares the canonical path; another method, case or separator does not match it."""
    gateway = listed[form, 4]
    assert ask(gateway, "/test/%61nything").status == 200
    for target in (
        "/test/anything%2f",
        "/test/anything;x",
        "/test/anything/",
        "/test/Anything",
        "/test/x%2f..%2fanything",
        "/test/anything%3bx",
    ):
        assert ask(gateway, target).status in (400, 403), target
    assert ask(gateway, "/test/anything", "POST").status == 403


@pytest.fixture(scope="module")
def ruled(tmp_path_factory: pytest.TempPathFactory, upstream: StrictUpstream) -> Iterator[Gateway]:
    """Lists, mocks and sizes in both forms."""
    reply = {"code": 418, "body": "mocked", "headers": {"X-Mock": "1", "Content-Type": "text/x-mock"}}
    apis: list[dict[str, Any]] = []
    for form in FORMS:
        apis += [
            define(form, f"{form}-black", upstream.port, f"/{form}/black/", rules=(Rule("black_list", "/no", "GET"),)),
            define(
                form,
                f"{form}-white",
                upstream.port,
                f"/{form}/white/",
                rules=(Rule("white_list", "/yes/{id}", "GET"), Rule("white_list", "/Case", "GET", {"ignore_case": True})),
            ),
            define(
                form,
                f"{form}-mock",
                free_port(),
                f"/{form}/mock/",
                rules=(Rule("mock_response", "/tea", "GET", reply), Rule("mock_response", "/plain", "GET", {"code": 200, "body": "text"})),
            ),
            define(form, f"{form}-size", upstream.port, f"/{form}/size/", rules=(Rule("size_limits", "/up", "POST", {"size_limit": 10}),)),
            define(form, f"{form}-all-sizes", upstream.port, f"/{form}/all-sizes/", size_limit=10),
            define(form, f"{form}-over", upstream.port, f"/{form}/over/", expiration="2020-01-01 00:00"),
            define(form, f"{form}-ending", upstream.port, f"/{form}/ending/", expiration="2099-01-02 15:04"),
        ]
    with_actions = {"GET": {"action": "reply", "code": 202, "data": "replied", "headers": {"X-Reply": "1"}}}
    version = {
        "use_extended_paths": True,
        "extended_paths": {
            "white_list": [{"path": "/reply", "method_actions": with_actions}, {"path": "/internal"}],
            "internal": [{"path": "/internal"}],
        },
    }
    apis.append(classic("actions", upstream.port, "/actions/", version=version))
    with running_gateway(tmp_path_factory.mktemp("ruled"), *apis) as gateway:
        yield gateway


@EACH_FORM
def test_black_and_white_lists(ruled: Gateway, form: str) -> None:
    """Reference 7.2: 403 on the black list and off the white list, per method, with the exact message."""
    forbidden = (403, error("Requested endpoint is forbidden"))
    response = ask(ruled, f"/{form}/black/no")
    assert (response.status, response.body) == forbidden
    assert response.headers["x-generator"] == "tyk.io"
    assert ask(ruled, f"/{form}/black/no", "POST").status == 200
    assert ask(ruled, f"/{form}/black/nope").status == 200
    assert ask(ruled, f"/{form}/white/yes/7").status == 200
    assert ask(ruled, f"/{form}/white/cASE").status == 200
    for target, method in (("yes/7/8", "GET"), ("yes/", "GET"), ("yes/7", "POST"), ("", "GET")):
        response = ask(ruled, f"/{form}/white/{target}", method)
        assert (response.status, response.body) == forbidden, target


def test_actions_and_internal_paths(ruled: Gateway) -> None:
    """Reference 4.5 and 7.2: ``action: reply`` answers by itself; internal endpoints are forbidden from outside."""
    response = ask(ruled, "/actions/reply")
    assert (response.status, response.body, response.headers["x-reply"]) == (202, b"replied", "1")
    assert ask(ruled, "/actions/reply", "POST").status == 403
    assert ask(ruled, "/actions/internal").body == error("Requested endpoint is forbidden")


@EACH_FORM
def test_mocks_answer_without_upstream(ruled: Gateway, form: str) -> None:
    """Reference 4.5."""
    response = ask(ruled, f"/{form}/mock/tea")
    assert (response.status, response.body) == (418, b"mocked")
    assert (response.headers["x-mock"], response.headers["content-type"]) == ("1", "text/x-mock")
    assert ask(ruled, f"/{form}/mock/plain").body == b"text"
    assert ask(ruled, f"/{form}/mock/tea", "POST").status == 500
    head = ask(ruled, f"/{form}/mock/tea", "HEAD")
    assert head.status == 500, "a mock speaks of its own method"


@EACH_FORM
@pytest.mark.parametrize("path", ["size/up", "all-sizes/x"])
def test_size_limits(ruled: Gateway, form: str, path: str) -> None:
    """Reference 11: equal passes, one more is 400, no length is 411; GET, DELETE, TRACE, OPTIONS and HEAD are not asked."""
    target = f"/{form}/{path}"
    assert ask(ruled, target, "POST", body=b"x" * 10).status == 200
    response = ask(ruled, target, "POST", body=b"x" * 11)
    assert (response.status, response.body) == (400, error("Request is too large"))
    with Client(ruled.port, tls=False) as client:
        client.send(f"POST {target} HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".encode())
        response = client.read_response()
        assert (response.status, response.body) == (411, error("Content length is required for this request"))
        client.send(f"POST {target} HTTP/1.1\r\nHost: a.test\r\n\r\n".encode())
        assert client.read_response().status == 411
        assert client.request(target=f"/{form}/size/other").status == 200
    for method in ("GET", "DELETE", "TRACE", "OPTIONS"):
        assert ask(ruled, target, method, body=b"x" * 11).status == 200, method
    assert ask(ruled, f"/{form}/size/other", "POST", body=b"x" * 11).status == 200
    assert ask(ruled, f"/{form}/size/%75p", "POST", body=b"x" * 11).status == 400


@EACH_FORM
def test_expired_apis(ruled: Gateway, form: str) -> None:
    """Reference 4.1: 403 with the exact message; a date to come is announced."""
    response = ask(ruled, f"/{form}/over/")
    assert (response.status, response.body) == (403, error("API has expired, please check documentation or contact administrator"))
    assert ask(ruled, f"/{form}/ending/").headers["x-tyk-api-expires"] == "Fri, 02 Jan 2099 15:04:00 UTC"


# Error bodies.


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory, upstream: StrictUpstream, alice: Issued) -> Iterator[Gateway]:
    """Errors of every kind, with and without overrides."""
    rules = {
        "403": [
            {"match": {"flag": "XXX"}, "response": {"status_code": 499}},
            {
                "match": {"message_pattern": "^access from"},
                "response": {"status_code": 451, "message": "Not from there", "headers": {"X-Why": "ip"}},
            },
        ],
        "4xx": [{"response": {"message": 'say "no"', "body": '{"api": "{{.Message}}", "status": {{.StatusCode}}}'}}],
        "500": [{"match": {"body_field": "code", "body_value": "E42"}, "response": {"status_code": 503, "body": "mapped"}}],
        "502": [{"match": {"body_field": "deep.kind", "body_value": "quota"}, "response": {"message": "quota"}}],
    }
    apis: list[dict[str, Any]] = []
    for form in FORMS:
        apis += [
            define(form, f"{form}-closed", upstream.port, f"/{form}/closed/", block=("127.0.0.1",)),
            define(form, f"{form}-mapped", upstream.port, f"/{form}/mapped/", overrides=rules, rules=(Rule("black_list", "/no"),)),
            define(form, f"{form}-mapped-closed", upstream.port, f"/{form}/mapped-closed/", overrides=rules, block=("127.0.0.1",)),
            define(form, f"{form}-mtls", upstream.port, f"/{form}/mtls/", mtls=(alice.pem,)),
            define(form, f"{form}-down", free_port(), f"/{form}/down/"),
            define(form, f"{form}-echo", upstream.port, f"/{form}/echo/"),
        ]
    with running_gateway(
        tmp_path_factory.mktemp("failing"),
        *apis,
        error_overrides={"403": [{"match": {"flag": "CRQ"}, "response": {"status_code": 401, "message": "Show yourself"}}]},
    ) as gateway:
        yield gateway


XML = b'<?xml version = "1.0" encoding = "UTF-8"?>\n<error>access from this IP has been disallowed</error>\n'


@EACH_FORM
@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        (None, "application/json"),
        ("application/json", "application/json"),
        ("text/html", "application/json"),
        ("application/xml", "application/xml"),
        ("application/xml; charset=utf-8", "application/xml"),
        ("TEXT/XML;charset=utf-8", "text/xml"),
        ("application/soap+xml", "application/soap+xml"),
        ("application/xmlx", "application/json"),
    ],
)
def test_error_bodies_are_exact(failing: Gateway, form: str, sent: str | None, kind: str) -> None:
    """Reference 12.1, decisions 2.16: JSON without newline at the end, XML with one, by the request's content type."""
    response = ask(failing, f"/{form}/closed/", "POST", headers=[("Content-Type", sent)] if sent else [])
    assert response.status == 403
    assert response.headers["content-type"] == kind
    assert response.body == (XML if "xml" in kind else error("access from this IP has been disallowed"))
    assert response.headers["x-generator"] == "tyk.io"
    assert "server" not in response.headers


@EACH_FORM
def test_wire_errors_have_bodies_of_the_same_form(failing: Gateway, form: str) -> None:
    """What cannot be read is answered like everything else."""
    with Client(failing.port, tls=False) as client:
        client.send(b"GET /%b/echo/ HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n" % form.encode())
        response = client.read_response()
        assert (response.status, response.body) == (400, error("Bad Request"))
        assert (response.headers["content-type"], response.headers["connection"]) == ("application/json", "close")


@EACH_FORM
def test_errors_are_overridden(failing: Gateway, form: str) -> None:
    """Reference 12.3: the definition before the configuration, the exact status before the class, the first rule that matches."""
    response = ask(failing, f"/{form}/mapped-closed/")
    assert (response.status, response.body, response.headers["x-why"]) == (451, error("Not from there"), "ip")
    response = ask(failing, f"/{form}/mapped/no")
    assert (response.status, response.body) == (403, b'{"api": "say \\"no\\"", "status": 403}')
    response = ask(failing, f"/{form}/mtls/")
    assert (response.status, response.body) == (401, error("Show yourself"))


@EACH_FORM
def test_upstream_errors_are_overridden(failing: Gateway, form: str) -> None:
    """Reference 12.3: by members of a JSON body; others pass unchanged (10.1)."""
    response = ask(failing, f"/{form}/mapped/error/500")
    assert (response.status, response.body, response.headers["x-up"]) == (503, b"mapped", "1")
    response = ask(failing, f"/{form}/mapped/error/502")
    assert (response.status, response.body) == (502, error("quota"))
    response = ask(failing, f"/{form}/mapped/error/404")
    assert response.status == 404
    for status in (400, 401, 404, 418, 500, 503):
        response = ask(failing, f"/{form}/echo/error/{status}")
        assert response.status == status and b"E42" in response.body
        assert "x-generator" not in response.headers


def test_messages_can_be_replaced_and_the_generator_hidden(tmp_path: Path, upstream: StrictUpstream, alice: Issued) -> None:
    """Reference 12.2: only the given part is replaced; ``hide_generator_header`` drops ``X-Generator`` from errors."""
    apis = [define(form, form, upstream.port, f"/{form}/", mtls=(alice.pem,)) for form in FORMS]
    server = make_authority("servers").issue("localhost", names=["localhost"])
    with running_gateway(
        tmp_path,
        *apis,
        define("classic", "open", upstream.port, "/open/"),
        server=server,
        hide_generator_header=True,
        override_messages={"cert.missing": {"message": "Certificate, please"}, "route.ambiguous_path": {"code": 422}},
    ) as gateway:
        for form in FORMS:
            with Client(gateway.port, sni="a.test") as client:
                response = client.request(target=f"/{form}/")
            assert response.status == 403
            assert "x-generator" not in response.headers
            assert response.body == error("Certificate, please")
            with Client(gateway.port, sni="a.test") as client:
                response = client.request(target=f"/open/..%2f{form}/")
            assert (response.status, response.body) == (422, error("Bad Request"))
        assert not [event for event in gateway.events if "message with this id" in str(event)]


# CORS.

APP = "https://app.test"
CORS = {
    "allowed_origins": [APP, "https://*.wild.test"],
    "allowed_methods": ["GET", "PUT"],
    "allowed_headers": ["X-Token", "Content-Type"],
    "exposed_headers": ["X-Shown"],
    "allow_credentials": True,
    "max_age": 60,
}


@pytest.fixture(scope="module")
def crossing(tmp_path_factory: pytest.TempPathFactory, upstream: StrictUpstream, alice: Issued) -> Iterator[Gateway]:
    """CORS with every kind of refusal behind it."""
    apis: list[dict[str, Any]] = []
    for form in FORMS:
        apis += [
            define(form, f"{form}-echo", upstream.port, f"/{form}/echo/", cors=CORS, rules=(Rule("black_list", "/no"),)),
            define(form, f"{form}-any", upstream.port, f"/{form}/any/", cors={}),
            define(form, f"{form}-closed", upstream.port, f"/{form}/closed/", cors=CORS, block=("127.0.0.1",)),
            define(form, f"{form}-mtls", upstream.port, f"/{form}/mtls/", cors=CORS, mtls=(alice.pem,)),
            define(form, f"{form}-down", free_port(), f"/{form}/down/", cors=CORS),
            define(form, f"{form}-size", upstream.port, f"/{form}/size/", cors=CORS, size_limit=1),
            define(form, f"{form}-pass", upstream.port, f"/{form}/pass/", cors={**CORS, "options_passthrough": True}, mtls=(alice.pem,)),
            define(form, f"{form}-off", upstream.port, f"/{form}/off/"),
        ]
    with running_gateway(tmp_path_factory.mktemp("crossing"), *apis) as gateway:
        yield gateway


def cors_of(response: Response) -> dict[str, str]:
    """Return the CORS headers."""
    return {name.removeprefix("access-control-"): value for name, value in response.headers.items() if name.startswith("access-control-")}


ALLOWED = {"allow-origin": APP, "allow-credentials": "true", "expose-headers": "X-Shown"}


@EACH_FORM
@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("echo/", "GET", 200),
        ("echo/no", "GET", 403),
        ("closed/", "GET", 403),
        ("mtls/", "GET", 403),
        ("down/", "GET", 500),
        ("size/", "PUT", 400),
    ],
)
def test_every_answer_has_the_same_cors_headers(crossing: Gateway, form: str, path: str, method: str, status: int) -> None:
    """Field report B35: errors too; a foreign origin gets none, and is served all the same."""
    body = b"xx" if method == "PUT" else b""
    response = ask(crossing, f"/{form}/{path}", method, headers=[("Origin", APP)], body=body)
    assert response.status == status
    assert cors_of(response) == ALLOWED
    assert "origin" in response.headers["vary"].lower()
    response = ask(crossing, f"/{form}/{path}", method, headers=[("Origin", "https://evil.test")], body=body)
    assert response.status == status
    assert cors_of(response) == {}
    assert "origin" in response.headers["vary"].lower()


@EACH_FORM
@pytest.mark.parametrize("path", ["echo/", "echo/no", "closed/", "mtls/", "down/", "size/"])
def test_preflights_are_answered_before_anything_that_they_cannot_know(crossing: Gateway, form: str, path: str) -> None:
    """Reference 12.5 and 7.2: 204; what is not allowed gets no permission."""
    wanted = [("Origin", APP), ("Access-Control-Request-Method", "PUT"), ("Access-Control-Request-Headers", "x-token, content-type")]
    response = ask(crossing, f"/{form}/{path}", "OPTIONS", headers=wanted)
    assert (response.status, response.body) == (204, b"")
    assert cors_of(response) == {
        "allow-origin": APP, "allow-methods": "PUT", "allow-headers": "x-token, content-type", "allow-credentials": "true", "max-age": "60",
    }  # fmt: skip
    assert response.headers["vary"] == "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
    for number, value in ((0, "https://evil.test"), (0, "null"), (1, "DELETE"), (2, "x-other")):
        changed = list(wanted)
        changed[number] = (wanted[number][0], value)
        response = ask(crossing, f"/{form}/{path}", "OPTIONS", headers=changed)
        assert response.status == 204
        assert cors_of(response) == {}, value


@EACH_FORM
def test_origins(crossing: Gateway, form: str) -> None:
    """Reference 12.5: ``*`` inside an origin, letter case; an empty list is everybody; the upstream's own headers are replaced."""
    for origin, allowed in (
        ("https://a.wild.test", True),
        ("HTTPS://App.Test", True),
        ("https://wild.test", False),
        ("https://a.wild.test.evil.test", False),
        ("http://app.test", False),
        ("https://app.test:444", False),
        ("", False),
    ):
        found = cors_of(ask(crossing, f"/{form}/echo/", headers=[("Origin", origin)]))
        assert found.get("allow-origin") == (origin if allowed else None), origin
    assert cors_of(ask(crossing, f"/{form}/any/", headers=[("Origin", "https://evil.test")])) == {"allow-origin": "*"}
    assert cors_of(ask(crossing, f"/{form}/echo/own-cors", headers=[("Origin", APP)])) == ALLOWED
    response = ask(crossing, f"/{form}/echo/own-cors", headers=[("Origin", "https://evil.test")])
    assert cors_of(response) == {}
    assert "Accept" in response.headers["vary"] and "Origin" in response.headers["vary"]
    assert cors_of(ask(crossing, f"/{form}/off/own-cors"))["allow-origin"] == "https://evil.test"


@EACH_FORM
def test_other_options_requests(crossing: Gateway, upstream: StrictUpstream, form: str) -> None:
    """Reference 5 and 12.5: answered 200 without upstream; with passthrough only real preflights skip the checks."""
    before = len(upstream.requests)
    response = ask(crossing, f"/{form}/echo/", "OPTIONS", headers=[("Origin", APP)])
    assert (response.status, response.body) == (200, b"")
    assert len(upstream.requests) == before
    assert ask(crossing, f"/{form}/pass/", "OPTIONS", headers=[("Origin", APP)]).status == 403
    assert ask(crossing, f"/{form}/pass/", "OPTIONS", headers=[("Origin", APP), ("Access-Control-Request-Method", "PUT")]).status == 200
    assert ask(crossing, f"/{form}/pass/", headers=[("Origin", APP)]).status == 403
    assert ask(crossing, f"/{form}/off/", "OPTIONS").status == 200


# Control paths.

SECRET = "test-secret-of-32-characters-xxxx"
FORBIDDEN = b'"Attempted administrative access with invalid or missing key!"'


@pytest.mark.parametrize("own_port", [True, False], ids=["own port", "shared port"])
def test_control_paths(tmp_path: Path, upstream: StrictUpstream, own_port: bool) -> None:
    """Reference 1.3, 6.1 and 13: on the control port alone, or before the APIs on the shared one; never an API's."""
    port = {} if own_port else {"control_api_port": 0}
    with running_gateway(tmp_path, define("oas", "a", upstream.port, "/"), **port) as gateway:
        control = gateway.port_of("control") if own_port else gateway.port
        for path, description in (("/hello", "Tyk GW"), ("/ready", "Tyk GW Ready")):
            response = ask(gateway, path, port=control)
            found = json.loads(response.body)
            assert (response.status, found["status"], found["description"]) == (200, "pass", description)
            assert response.headers["content-type"] == "application/json"
            response = ask(gateway, path, "POST", port=control)
            assert (response.status, json.loads(response.body)) == (405, {"status": "error", "message": "Method Not Allowed"})
            assert ask(gateway, path, "HEAD", port=control).status == 200
        for path in ("/tyk/apis", "/tyk/", "/tyk/reload", "/%74yk/apis", "/tyk/apis%2fx"):
            for headers in ([], [("x-tyk-authorization", "wrong")], [("x-tyk-authorization", "")], [("X-Tyk-Authorization", SECRET + "x")]):
                response = ask(gateway, path, headers=headers, port=control)
                assert response.status == 403 and FORBIDDEN in response.body, path
        before = len(upstream.requests)
        assert ask(gateway, "/tyk/nothing", headers=[("x-tyk-authorization", SECRET)], port=control).status == 404
        assert len(upstream.requests) == before
        if own_port:
            # The main port: an API has these paths like any other; the control port: nothing of any API.
            assert json.loads(ask(gateway, "/hello").body)["target"] == "/hello"
            assert json.loads(ask(gateway, "/tyk/apis", headers=[("x-tyk-authorization", SECRET)]).body)["target"] == "/tyk/apis"
            assert upstream.requests[-1].header("x-tyk-authorization") is None
            assert ask(gateway, "/", port=control).status == 404
        else:
            assert json.loads(ask(gateway, "/hellox").body)["target"] == "/hellox"


def test_control_host(tmp_path: Path, upstream: StrictUpstream) -> None:
    """Reference 1.3 BETTER and decisions 1.4: with ``control_api_hostname`` control paths answer there and nowhere else."""
    with running_gateway(
        tmp_path, define("classic", "a", upstream.port, "/a/"), control_api_port=0, control_api_hostname="Control.test"
    ) as gateway:
        assert ask(gateway, "/hello", host="control.test").status == 200
        assert ask(gateway, "/hello", host="CONTROL.test.:80").status == 200
        assert ask(gateway, "/hello", host="a.test").status == 404
        assert ask(gateway, "/tyk/apis", host="a.test", headers=[("x-tyk-authorization", SECRET)]).status == 404
        assert ask(gateway, "/tyk/apis", host="control.test").status == 403


def test_health_endpoints_can_be_named(tmp_path: Path, upstream: StrictUpstream) -> None:
    """Reference 1.3: ``health_check_endpoint_name`` and ``readiness_check_endpoint_name``."""
    with running_gateway(
        tmp_path,
        define("classic", "a", upstream.port, "/a/"),
        control_api_port=0,
        health_check_endpoint_name="alive",
        readiness_check_endpoint_name="fit",
    ) as gateway:
        assert ask(gateway, "/alive").status == 200
        assert ask(gateway, "/fit").status == 200
        assert ask(gateway, "/hello").status == 404
