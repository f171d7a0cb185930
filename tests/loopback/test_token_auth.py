"""Auth tokens through real requests: where a key is read, what it opens, what becomes of it on the way upstream; both forms of definitions.

Source: token reference, sections 2, 3 and 5; keys reference, section 5; decisions 2.2, 3.1, 3.3.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.gateway import Client, Gateway, Response, StrictUpstream, classic, oas, running_gateway
from tests.support.key_load import call

FORMS = ("classic", "oas")
EACH_FORM = pytest.mark.parametrize("form", FORMS)
KEY = "org0123456789abcdef0123456789abcdef"
CUSTOM = "my-custom-token"
MISSING = (401, "Authorization field missing")
DISALLOWED = (403, "Access to this API has been disallowed")
RESOURCE = (403, "Access to this resource has been disallowed")


class Place(NamedTuple):
    """Where an API reads keys."""

    header: str = ""
    no_header: bool = False
    param: str | None = None
    """None reads no parameter; empty is the header's name."""
    cookie: str | None = None


PLACES = {
    "plain": Place(),
    "own": Place(header="X-Key"),
    "every": Place(header="X-Key", param="key", cookie="sid"),
    "named": Place(header="X-Key", param="", cookie=""),
    "param": Place(no_header=True, param="key"),
}


def define(form: str, api_id: str, upstream: int, place: Place, **more: Any) -> dict[str, Any]:
    """An API that takes keys under ``/<api_id>/``, with a few paths that lists speak of.

    :param more: ``strip``, ``add`` (headers for the upstream).
    """
    strip, add = more.get("strip", False), more.get("add", {})
    if form == "classic":
        block: dict[str, Any] = {"auth_header_name": place.header, "disable_header": place.no_header}
        if place.param is not None:
            block.update(use_param=True, param_name=place.param)
        if place.cookie is not None:
            block.update(use_cookie=True, cookie_name=place.cookie)
        lists = {
            "ignored": [{"path": "/open", "method": "GET"}],
            "black_list": [{"path": "/blocked", "method": "GET"}],
        }
        return classic(
            api_id,
            upstream,
            f"/{api_id}/",
            use_keyless=False,
            use_standard_auth=True,
            org_id="org",
            auth_configs={"authToken": block},
            strip_auth_data=strip,
            version={"use_extended_paths": True, "extended_paths": lists, "global_headers": add},
        )
    scheme: dict[str, Any] = {"enabled": True, "header": {"enabled": not place.no_header, "name": place.header}}
    if place.param is not None:
        scheme["query"] = {"enabled": True, "name": place.param}
    if place.cookie is not None:
        scheme["cookie"] = {"enabled": True, "name": place.cookie}
    section = {"enabled": True, "stripAuthorizationData": strip, "securitySchemes": {"key": scheme}}
    document = oas(api_id, upstream, f"/{api_id}/", server={"authentication": section})
    if not place.no_header:
        # The main place stands in the component.
        del scheme["header"]
        document["components"] = {"securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": place.header or "Authorization"}}}
        document["security"] = [{"key": []}]
    document["paths"] = {f"/{name}": {"get": {"operationId": name, "responses": {}}} for name in ("open", "blocked")}
    extension = document["x-tyk-api-gateway"]
    extension["info"]["orgId"] = "org"
    extension["middleware"] = {
        "operations": {"open": {"ignoreAuthentication": {"enabled": True}}, "blocked": {"block": {"enabled": True}}},
        "global": {"transformRequestHeaders": {"enabled": True, "add": [{"name": name, "value": value} for name, value in add.items()]}},
    }
    return document


ALL = {api: {"api_id": api, "versions": ["Default"]} for api in (*PLACES, "stripping", "meta")}
META = {"X-User": "$tyk_meta.user", "X-Level": "<$tyk_meta.level>", "X-None": "($tyk_meta.none)", "X-List": "$tyk_meta.list"}


@pytest.fixture(scope="module")
def upstream() -> Iterator[StrictUpstream]:
    with StrictUpstream() as found:
        yield found
        assert not found.violations


@pytest.fixture(scope="module")
def gateways(tmp_path_factory: pytest.TempPathFactory, upstream: StrictUpstream) -> Iterator[dict[str, Gateway]]:
    """One gateway per form, with the same APIs and keys."""
    with ExitStack() as stack:
        found = {}
        for form in FORMS:
            apis = [define(form, name, upstream.port, place) for name, place in PLACES.items()]
            apis.append(define(form, "stripping", upstream.port, PLACES["every"], strip=True))
            apis.append(define(form, "meta", upstream.port, PLACES["plain"], add=META))
            gateway = stack.enter_context(running_gateway(tmp_path_factory.mktemp(form), *apis, storage={"type": "memory"}))
            put_key(gateway, KEY, meta_data={"user": "ann\r\nX-Evil: 1", "level": 7, "list": ["a", "b"]})
            put_key(gateway, CUSTOM)
            found[form] = gateway
        yield found


def put_key(gateway: Gateway, key: str, **fields: Any) -> None:
    session = {"org_id": "org", "access_rights": ALL, **fields}
    with Client(gateway.port_of("control"), tls=False) as client:
        status, body = call(client, "POST", f"/tyk/keys/{key}", session)
        assert status == 200, body


def ask(gateway: Gateway, target: str, *headers: tuple[str, str], method: str = "GET") -> Response:
    with Client(gateway.port, tls=False) as client:
        return client.request(method, target, headers=headers)


def result(response: Response) -> tuple[int, str]:
    """Status, and the message of an error."""
    if response.status == 200:
        return 200, ""
    return response.status, json.loads(response.body)["error"]


def seen(response: Response) -> dict[str, str]:
    """The headers that the upstream got, lower case."""
    assert response.status == 200, response
    return {name.lower(): value for name, value in json.loads(response.body)["headers"]}


# Where a key is read.


@EACH_FORM
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (KEY, (200, "")),
        ("Bearer " + KEY, (200, "")),
        ("bearer " + KEY, (200, "")),
        ("bEaReR " + KEY, (200, "")),
        ("Bearer  " + KEY, DISALLOWED),
        ("Bearer: " + KEY, DISALLOWED),
        ("Basic " + KEY, DISALLOWED),
        (CUSTOM, (200, "")),
        ("org" + CUSTOM, (200, "")),
        ("Bearer " + CUSTOM, (200, "")),
        (KEY[3:], (200, "")),
        (KEY + "x", DISALLOWED),
        (KEY.upper(), DISALLOWED),
        ("xy", DISALLOWED),
        ("", MISSING),
    ],
)
def test_a_key_in_the_header(gateways: dict[str, Gateway], form: str, value: str, expected: tuple[int, str]) -> None:
    """``Bearer`` in any letter case with one blank; a custom key in its short and its full spelling."""
    assert result(ask(gateways[form], "/plain/", ("Authorization", value))) == expected


@EACH_FORM
def test_the_body_of_a_refusal_is_that_of_tyk(gateways: dict[str, Gateway], form: str) -> None:
    """To the byte, without ``WWW-Authenticate``."""
    response = ask(gateways[form], "/plain/")
    assert response.body == b'{\n    "error": "Authorization field missing"\n}'
    assert response.headers["content-type"] == "application/json" and response.headers["x-generator"] == "tyk.io"
    assert "www-authenticate" not in response.headers


@EACH_FORM
@pytest.mark.parametrize(
    ("target", "headers", "expected"),
    [
        ("/own/", [("X-Key", KEY)], (200, "")),
        ("/own/", [("x-KEY", "Bearer " + KEY)], (200, "")),
        ("/own/", [("Authorization", KEY)], MISSING),
        (f"/own/?X-Key={KEY}", [], MISSING),
        (f"/every/?key={KEY}", [], (200, "")),
        (f"/every/?a=1&key=Bearer+{KEY}", [], (200, "")),
        (f"/every/?Key={KEY}", [], MISSING),
        ("/every/", [("Cookie", f"a=b; sid={KEY}; c=d")], (200, "")),
        ("/every/", [("Cookie", f"SID={KEY}")], MISSING),
        (f"/named/?X-Key={KEY}", [], (200, "")),
        ("/named/", [("Cookie", f"X-Key={KEY}")], (200, "")),
        (f"/param/?key={KEY}", [], (200, "")),
        ("/param/", [("Authorization", KEY)], MISSING),
    ],
)
def test_places(gateways: dict[str, Gateway], form: str, target: str, headers: list[tuple[str, str]], expected: tuple[int, str]) -> None:
    """Names of headers do not depend on case, those of parameters and cookies do."""
    assert result(ask(gateways[form], target, *headers)) == expected


@EACH_FORM
@pytest.mark.parametrize(
    ("header", "param", "cookie", "status"),
    [
        ("bad", "bad", KEY, 200),
        (KEY, KEY, "bad", 403),
        ("bad", KEY, None, 200),
        (KEY, "bad", None, 403),
        (KEY, "", "", 200),
        ("bad", KEY, "", 200),
    ],
)
def test_a_cookie_beats_a_parameter_beats_a_header(
    gateways: dict[str, Gateway], form: str, header: str, param: str, cookie: str | None, status: int
) -> None:
    """An empty one falls through."""
    headers = [("X-Key", header), *([("Cookie", f"sid={cookie}")] if cookie is not None else [])]
    assert ask(gateways[form], f"/every/?key={param}", *headers).status == status


@EACH_FORM
@pytest.mark.parametrize("second", [KEY, "other", ""])
def test_a_repeated_header_is_refused(gateways: dict[str, Gateway], form: str, second: str) -> None:
    """Decisions 2.2: two servers could read two keys."""
    response = ask(gateways[form], "/plain/", ("Authorization", KEY), ("Authorization", second))
    assert result(response) == (400, "Attempted access with malformed header")


@EACH_FORM
def test_path_lists_come_before_keys(gateways: dict[str, Gateway], form: str) -> None:
    """A blocked path is 403 without a key and with one; an ignored one asks for none."""
    forbidden = (403, "Requested endpoint is forbidden")
    assert result(ask(gateways[form], "/plain/blocked")) == forbidden
    assert result(ask(gateways[form], "/plain/blocked", ("Authorization", KEY))) == forbidden
    assert result(ask(gateways[form], "/plain/open")) == (200, "")
    assert result(ask(gateways[form], "/plain/open", ("Authorization", "bad"))) == (200, "")
    assert result(ask(gateways[form], "/plain/open", method="POST")) == MISSING
    assert result(ask(gateways[form], "/plain/opener")) == MISSING


# What a key opens.


@EACH_FORM
def test_states_of_a_key(gateways: dict[str, Gateway], form: str) -> None:
    """Inactive, expired, without a right, deleted; inactive wins over expired."""
    gateway = gateways[form]
    past = int(time.time()) - 10
    put_key(gateway, "state-inactive", is_inactive=True)
    put_key(gateway, "state-expired", expires=past)
    put_key(gateway, "state-both", expires=past, is_inactive=True)
    put_key(gateway, "state-later", expires=int(time.time()) + 1000)
    put_key(gateway, "state-never", expires=-1)
    put_key(gateway, "state-narrow", access_rights={"own": ALL["own"]})
    put_key(gateway, "state-deleted")
    expected = {
        "state-inactive": (403, "Key is inactive, please renew"),
        "state-expired": (401, "Key has expired, please renew"),
        "state-both": (403, "Key is inactive, please renew"),
        "state-later": (200, ""),
        "state-never": (200, ""),
        "state-narrow": DISALLOWED,
        "state-deleted": (200, ""),
    }
    assert {key: result(ask(gateway, "/plain/", ("Authorization", key))) for key in expected} == expected
    assert result(ask(gateway, "/own/", ("X-Key", "state-narrow"))) == (200, "")
    with Client(gateway.port_of("control"), tls=False) as client:
        assert call(client, "DELETE", "/tyk/keys/state-deleted?org_id=org")[0] == 200
    assert result(ask(gateway, "/plain/", ("Authorization", "state-deleted"))) == DISALLOWED


URLS = [{"url": "/users", "methods": ["GET"]}, {"url": "/orders/{id}", "methods": ["GET", "POST"]}, {"url": "/files/*", "methods": ["GET"]}]
ANCHORED = {
    ("GET", "/plain/users"): 200,
    ("POST", "/plain/users"): 403,
    ("GET", "/plain/orders/7"): 200,
    ("POST", "/plain/orders/7"): 200,
    ("DELETE", "/plain/orders/7"): 403,
    ("GET", "/plain/orders/7/lines"): 403,
    ("GET", "/plain/files/a/b"): 200,
    ("GET", "/plain/"): 403,
    # BETTER: in Tyk each of these is open.
    ("GET", "/plain/users-secret"): 403,
    ("GET", "/plain/admin/users"): 403,
    ("GET", "/plain/usersx/y"): 403,
    # Two servers may read these in two ways.
    ("GET", "/plain/x/..%2Fusers"): 403,
    ("GET", "/plain/users%2F..%2Fadmin"): 403,
}


@EACH_FORM
def test_rules_of_paths_are_anchored(gateways: dict[str, Gateway], form: str) -> None:
    """They speak of the whole path below the listen path."""
    put_key(gateways[form], "granular-key", access_rights={"plain": {**ALL["plain"], "allowed_urls": URLS}})
    found = {}
    for method, target in ANCHORED:
        response = ask(gateways[form], target, ("Authorization", "granular-key"), method=method)
        found[method, target] = 403 if response.status == 400 and "%" in target else response.status
        if response.status == 403:
            assert result(response) == RESOURCE
    assert found == ANCHORED


@EACH_FORM
def test_the_flags_bring_back_what_tyk_does(tmp_path: Path, upstream: StrictUpstream, form: str) -> None:
    """Explicit ``false``: a search anywhere in the path."""
    flags = {"enable_path_prefix_matching": False, "enable_path_suffix_matching": False}
    api = define(form, "plain", upstream.port, Place())
    with running_gateway(tmp_path, api, storage={"type": "memory"}, http_server_options=flags) as gateway:
        put_key(gateway, "granular-key", access_rights={"plain": {**ALL["plain"], "allowed_urls": URLS[:1]}})
        for target in ("/plain/users", "/plain/users-secret", "/plain/admin/users", "/plain/usersx/y"):
            assert ask(gateway, target, ("Authorization", "granular-key")).status == 200, target
        assert result(ask(gateway, "/plain/other", ("Authorization", "granular-key"))) == RESOURCE


@EACH_FORM
def test_messages_can_be_those_of_the_seed(tmp_path: Path, upstream: StrictUpstream, form: str) -> None:
    """Decisions 3.1: 400 for whoever wants it, for unknown and deleted keys alike; what is a right stays 403."""
    messages = {"auth.key_not_found": {"code": 400}, "auth.auth_field_missing": {"message": "Where is your key?"}}
    api = define(form, "plain", upstream.port, Place())
    with running_gateway(tmp_path, api, storage={"type": "memory"}, override_messages=messages) as gateway:
        put_key(gateway, "deleted-key")
        put_key(gateway, "narrow-key", access_rights={"other": {"api_id": "other"}})
        with Client(gateway.port_of("control"), tls=False) as client:
            assert call(client, "DELETE", "/tyk/keys/deleted-key?org_id=org")[0] == 200
        for key in ("deleted-key", "never-there"):
            assert result(ask(gateway, "/plain/", ("Authorization", key))) == (400, DISALLOWED[1])
        assert result(ask(gateway, "/plain/", ("Authorization", "narrow-key"))) == DISALLOWED
        assert result(ask(gateway, "/plain/")) == (401, "Where is your key?")


# On the way upstream.


@EACH_FORM
def test_credentials_go_upstream_unless_they_are_stripped(gateways: dict[str, Gateway], form: str) -> None:
    """As they came."""
    response = ask(gateways[form], "/every/x?b=2&key=" + KEY + "&a=1", ("X-Key", "1"), ("Cookie", "sid=; x=y"))
    assert json.loads(response.body)["target"] == f"/x?b=2&key={KEY}&a=1"
    assert (seen(response)["x-key"], seen(response)["cookie"]) == ("1", "sid=; x=y")


@EACH_FORM
def test_stripped_credentials_stay_here(gateways: dict[str, Gateway], form: str) -> None:
    """From all three places, whichever was used; everything else keeps its order."""
    headers = [("X-Key", "1"), ("Cookie", f"a=b; sid={KEY}; sid2=c"), ("X-Other", "2")]
    response = ask(gateways[form], "/stripping/x?b=2&key=1&a=1", *headers)
    assert json.loads(response.body)["target"] == "/x?b=2&a=1"
    assert "x-key" not in seen(response)
    assert (seen(response)["cookie"], seen(response)["x-other"]) == ("a=b; sid2=c", "2")
    response = ask(gateways[form], f"/stripping/x?key={KEY}", ("Cookie", "sid="))
    assert json.loads(response.body)["target"] in ("/x", "/x?") and "cookie" not in seen(response)


@EACH_FORM
def test_stripping_happens_on_ignored_paths_too(gateways: dict[str, Gateway], form: str) -> None:
    """Token reference, section 1."""
    assert "x-key" not in seen(ask(gateways[form], "/stripping/open", ("X-Key", KEY)))


@EACH_FORM
def test_meta_data_of_the_key_goes_into_headers(gateways: dict[str, Gateway], form: str) -> None:
    """Without line breaks; what the key does not have is empty, and so is everything without a key."""
    headers = seen(ask(gateways[form], "/meta/", ("Authorization", KEY)))
    assert [headers[name] for name in ("x-user", "x-level", "x-none", "x-list")] == ["annX-Evil: 1", "<7>", "()", "a,b"]
    assert "x-evil" not in headers
    headers = seen(ask(gateways[form], "/meta/open"))
    assert [headers[name] for name in ("x-level", "x-none")] == ["<>", "()"]
