"""Every row of the reference on auth tokens, over TLS: both forms of definitions, each store.

Source: token reference, sections 2, 3, 5, 10 and 11; decisions 2.2, 3.1 and 3.3.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.control import rights
from tests.support.credentials import EACH_WORLD, protected, running_world, told
from tests.support.gateway import Client, Gateway, Response, StrictUpstream, wait_until
from tests.support.key_load import call
from tests.support.redis_server import needs_redis
from tests.support.token_world import EACH_BACKEND, FORMS, SERVER_CERTIFICATE, KeyWorld, as_seen, key_world

MISSING = (401, "Authorization field missing")
UNKNOWN = (403, "Access to this API has been disallowed")
MALFORMED = (400, "Attempted access with malformed header")
OPEN = (200, "")


def token(**entry: Any) -> dict[str, Any]:
    return {"auth_configs": {"authToken": entry}}


EVERY = {"auth_header_name": "X-Key", "use_param": True, "param_name": "key", "use_cookie": True, "cookie_name": "sid"}
UNNAMED = {"use_param": True, "use_cookie": True}
APIS: dict[str, dict[str, Any]] = {
    "plain": {},
    "explicit": {"use_standard_auth": True, **token()},
    "every": token(**EVERY),
    "unnamed": token(**UNNAMED),
    "odd": token(auth_header_name="x-oDD", **UNNAMED),
    "lower": token(auth_header_name="authorization", **UNNAMED),
    "param": token(disable_header=True, auth_header_name="X-Key", use_param=True),
    "cookie": token(disable_header=True, auth_header_name="X-Key", use_cookie=True),
    "switched-off": token(auth_header_name="X-Key", param_name="key", cookie_name="sid"),
    "stripped": {**token(**EVERY), "strip_auth_data": True},
    "stripped-header": {**token(auth_header_name="X-Key"), "strip_auth_data": True},
    "stripped-param": {**token(disable_header=True, use_param=True), "strip_auth_data": True},
    "variables": {
        "enable_context_vars": True,
        "global_headers": {
            "X-Token": "$tyk_context.token",
            "X-Request": "$tyk_context.request_id",
            "X-Where": "$tyk_context.path|$tyk_context.path_parts|$tyk_context.remote_addr",
            "X-Host": "$tyk_context.headers_Host",
            "X-One": "$tyk_context.headers_X_One_More|$tyk_context.headers_X_None",
            "X-Cookie": "$tyk_context.cookies_sid|$tyk_context.cookies_my_name",
            "X-Data": "$tyk_context.request_data_a|$tyk_context.request_data_my_name|$tyk_context.request_data_none",
            "X-Who": "$tyk_meta.who",
            "X-Numbers": "$tyk_meta.small|$tyk_meta.large|$tyk_meta.part|$tyk_meta.huge",
            "X-List": "$tyk_meta.list",
            "X-Nested": "<$tyk_meta.nested>",
            "X-None": "<$tyk_meta.none>",
            "X-Dots": "$tyk_meta.a.b-c_d",
        },
    },
    "no-variables": {"global_headers": {"X-Token": "<$tyk_context.token>", "X-Who": "$tyk_meta.who"}},
    "foreign": {"org_id": "other"},
    "nobodys": {"org_id": ""},
}
META = {
    "who": "ann",
    "small": 7,
    "large": 9007199254740993,
    "part": 0.25,
    "huge": 1e21,
    "list": ["a", 1, "b c&,"],
    "nested": {"x": 1},
    "a.b-c_d": "dotted",
}
KEY = "a-key-of-our-own"


@pytest.fixture(scope="module", params=EACH_BACKEND)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyWorld]:
    with key_world(tmp_path_factory.mktemp(request.param), request.param, APIS) as found:
        found.put(KEY, meta_data=META)
        yield found


EACH_OF_BOTH = pytest.mark.parametrize("form", FORMS)


def outcome(response: Response) -> tuple[int, str]:
    return OPEN if response.status == 200 else told(response)


def target_of(response: Response) -> str:
    assert response.status == 200, response
    return str(json.loads(response.body)["target"])


# Where a key is read.


@EACH_OF_BOTH
@pytest.mark.parametrize(
    ("api", "query", "headers", "expected"),
    [
        ("plain", "", [("Authorization", KEY)], OPEN),
        ("plain", "", [("AUTHORIZATION", KEY)], OPEN),
        ("plain", f"?Authorization={KEY}", [], MISSING),
        ("plain", "", [("Cookie", f"Authorization={KEY}")], MISSING),
        ("explicit", "", [("Authorization", KEY)], OPEN),
        ("switched-off", f"?key={KEY}", [("Cookie", f"sid={KEY}")], MISSING),
        ("switched-off", "", [("x-key", KEY)], OPEN),
        # Names that are not given are that of the header, in its own letter case.
        ("unnamed", f"?Authorization={KEY}", [], OPEN),
        ("unnamed", f"?authorization={KEY}", [], MISSING),
        ("unnamed", "", [("Cookie", f"Authorization={KEY}")], OPEN),
        ("unnamed", "", [("Cookie", f"authorization={KEY}")], MISSING),
        ("odd", f"?x-oDD={KEY}", [], OPEN),
        ("odd", f"?X-Odd={KEY}", [], MISSING),
        ("odd", "", [("Cookie", f"x-oDD={KEY}")], OPEN),
        ("odd", "", [("Cookie", f"X-ODD={KEY}")], MISSING),
        ("odd", "", [("X-ODD", KEY)], OPEN),
        ("odd", f"?Authorization={KEY}", [("Authorization", KEY)], MISSING),
        ("lower", f"?authorization={KEY}", [], OPEN),
        ("lower", f"?Authorization={KEY}", [], MISSING),
        ("lower", "", [("Authorization", KEY)], OPEN),
        # Without the header they are called Authorization, whatever the header would be called.
        ("param", f"?Authorization={KEY}", [], OPEN),
        ("param", f"?X-Key={KEY}", [], MISSING),
        ("param", "", [("X-Key", KEY), ("Authorization", KEY)], MISSING),
        ("cookie", "", [("Cookie", f"Authorization={KEY}")], OPEN),
        ("cookie", "", [("Cookie", f"X-Key={KEY}")], MISSING),
        ("cookie", "", [("X-Key", KEY), ("Authorization", KEY)], MISSING),
    ],
)
def test_where_a_key_is_read(
    world: KeyWorld, form: str, api: str, query: str, headers: list[tuple[str, str]], expected: tuple[int, str]
) -> None:
    """Names of headers in any letter case, those of parameters and cookies as they are written."""
    assert outcome(world.ask(f"/{form}-{api}/{query}", *headers)) == expected


@EACH_OF_BOTH
@pytest.mark.parametrize("cookie", [None, "", "bad", KEY])
@pytest.mark.parametrize("param", [None, "", "bad", KEY])
@pytest.mark.parametrize("header", [None, "", "bad", KEY])
def test_a_cookie_beats_a_parameter_beats_a_header(
    world: KeyWorld, form: str, cookie: str | None, param: str | None, header: str | None
) -> None:
    """The whole table: the first that is not empty decides."""
    headers = [] if header is None else [("X-Key", header)]
    headers += [] if cookie is None else [("Cookie", f"x=y; sid={cookie}")]
    counts = next((value for value in (cookie, param, header) if value), "")
    expected = {"": MISSING, "bad": UNKNOWN, KEY: OPEN}[counts]
    assert outcome(world.ask(f"/{form}-every/" + ("" if param is None else f"?key={param}"), *headers)) == expected


@EACH_OF_BOTH
@pytest.mark.parametrize("place", ["header", "parameter", "cookie"])
@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("Bearer ", OPEN),
        ("bearer ", OPEN),
        ("bEaReR ", OPEN),
        ("Bearer: ", UNKNOWN),
        ("Bearer  ", UNKNOWN),
        ("Basic ", UNKNOWN),
        ("Bearer Bearer ", UNKNOWN),
    ],
)
def test_bearer_is_stripped_in_every_place(world: KeyWorld, form: str, place: str, before: str, expected: tuple[int, str]) -> None:
    """Any letter case, exactly one blank; nothing else is trimmed."""
    value = before + KEY
    query = "?key=" + value.replace(" ", "%20") if place == "parameter" else ""
    headers = {"header": [("X-Key", value)], "cookie": [("Cookie", f"sid={value}")], "parameter": []}[place]
    assert outcome(world.ask(f"/{form}-every/{query}", *headers)) == expected


@EACH_OF_BOTH
@pytest.mark.parametrize("second", [KEY, "other", ""])
@pytest.mark.parametrize("elsewhere", ["", f"?key={KEY}"])
def test_a_repeated_header_is_refused(world: KeyWorld, form: str, second: str, elsewhere: str) -> None:
    """Whatever else there is: two servers could read two keys."""
    before = len(world.upstream.requests)
    assert outcome(world.ask(f"/{form}-every/{elsewhere}", ("X-Key", KEY), ("x-key", second))) == MALFORMED
    assert len(world.upstream.requests) == before


@EACH_OF_BOTH
def test_a_header_of_a_mebibyte_reaches_nobody(world: KeyWorld, form: str) -> None:
    """431, and the connection ends."""
    before = len(world.upstream.requests)
    with Client(world.gateway.port) as client:
        head = f"GET /{form}-plain/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: ".encode()
        try:
            client.send(head + b"a" * (1 << 20) + b"\r\n\r\n")
        except OSError:
            pass  # the gateway need not read it all
        assert client.read_response().status == 431
    assert len(world.upstream.requests) == before
    assert outcome(world.ask(f"/{form}-plain/", ("Authorization", KEY))) == OPEN


@EACH_OF_BOTH
def test_the_answer_of_a_refusal(world: KeyWorld, form: str) -> None:
    """To the byte, in JSON and in XML, without ``WWW-Authenticate``."""
    for headers in ([], [("Authorization", "nobody")]):
        response = world.ask(f"/{form}-plain/", *headers)
        message = told(response)[1]
        assert response.body == f'{{\n    "error": "{message}"\n}}'.encode()
        assert "www-authenticate" not in response.headers and response.headers["x-generator"] == "tyk.io"
        response = world.ask(f"/{form}-plain/", *headers, ("Content-Type", "application/xml; charset=utf-8"), method="POST")
        assert response.body == f'<?xml version = "1.0" encoding = "UTF-8"?>\n<error>{message}</error>\n'.encode()


# Whose key it is.


@EACH_OF_BOTH
def test_organisations(world: KeyWorld, form: str) -> None:
    """An organisation that differs is no reason by itself: rights decide. A short name is one of the API's own organisation."""
    whole = world.put("of-the-other", org="other")
    assert whole == "otherof-the-other"
    ask = {api: lambda key, api=api: outcome(world.ask(f"/{form}-{api}/", ("Authorization", key))) for api in APIS}
    assert (ask["foreign"](whole), ask["foreign"]("of-the-other")) == (OPEN, OPEN)
    assert (ask["plain"](whole), ask["plain"]("of-the-other")) == (OPEN, UNKNOWN)
    assert (ask["foreign"]("org" + KEY), ask["foreign"](KEY)) == (OPEN, UNKNOWN)
    # Without an organisation only the key as it was sent is tried.
    assert (ask["nobodys"](whole), ask["nobodys"]("of-the-other"), ask["nobodys"](KEY)) == (OPEN, UNKNOWN, UNKNOWN)
    world.put("narrow", org="other", access_rights=rights(f"{form}-foreign"))
    assert (ask["plain"]("othernarrow"), ask["foreign"]("othernarrow")) == (UNKNOWN, OPEN)


@EACH_OF_BOTH
def test_states_of_a_key(world: KeyWorld, form: str) -> None:
    """Inactive, expired, without a right, of a policy that is not there, deleted; a change counts at once under every spelling."""
    past = int(time.time()) - 10
    world.put("inactive", is_inactive=True)
    world.put("expired", expires=past)
    world.put("never", expires=-1)
    world.put("narrow", access_rights=rights("another"))
    expected = {"inactive": (403, "Key is inactive, please renew"), "expired": (401, "Key has expired, please renew"), "never": OPEN}
    expected["narrow"] = UNKNOWN
    assert {key: outcome(world.ask(f"/{form}-plain/", ("Authorization", key))) for key in expected} == expected
    for round in range(2):
        whole = world.put("come-and-go")
        spellings = ("come-and-go", whole, f"Bearer {whole}")
        assert [outcome(world.ask(f"/{form}-plain/", ("Authorization", key))) for key in spellings] == [OPEN] * 3
        if round:
            world.put("come-and-go", is_inactive=True)
            expected_now = expected["inactive"]
        else:
            assert world.control("DELETE", f"/tyk/keys/{whole}")[0] == 200
            expected_now = UNKNOWN
        assert [outcome(world.ask(f"/{form}-plain/", ("Authorization", key))) for key in spellings] == [expected_now] * 3


@EACH_OF_BOTH
@pytest.mark.parametrize("key", [KEY + "x", KEY[:-1], KEY.upper(), "org", "orgorg" + KEY, "ab", KEY + " x", "{}", "*", "%"])
def test_what_only_looks_like_a_key(world: KeyWorld, form: str, key: str) -> None:
    """Unknown."""
    assert outcome(world.ask(f"/{form}-plain/", ("Authorization", key))) == UNKNOWN


# On the way upstream.


@EACH_OF_BOTH
@pytest.mark.parametrize(
    ("api", "query", "headers", "target", "left"),
    [
        ("stripped", f"?b=2&key={KEY}&a=1&key=x", [("X-Key", "1")], "/x?b=2&a=1", {}),
        ("stripped", f"?k%65y={KEY}&b=2", [("X-Key", "1")], "/x?b=2", {}),
        ("stripped", f"?key={KEY}", [], "/x", {}),
        ("stripped", "?Key=1", [("X-Key", KEY), ("Authorization", "other")], "/x?Key=1", {"authorization": "other"}),
        ("stripped", "", [("Cookie", f"Dummy=DUMMY; sid={KEY}; Dummy2=DUMMY2")], "/x", {"cookie": "Dummy=DUMMY; Dummy2=DUMMY2"}),
        ("stripped", "", [("Cookie", f"sid={KEY}")], "/x", {}),
        ("stripped", "", [("Cookie", f"sid={KEY}; sid=2; sid2=3")], "/x", {"cookie": "sid2=3"}),
        # The header and the cookie go even where they are not read, the parameter does not.
        ("stripped-header", "?X-Key=1", [("X-Key", KEY), ("Cookie", "X-Key=1; a=b")], "/x?X-Key=1", {"cookie": "a=b"}),
        ("stripped-param", f"?Authorization={KEY}&a=1", [("Authorization", "1"), ("Cookie", "Authorization=1")], "/x?a=1", {}),
        ("every", f"?b=2&key={KEY}", [("X-Key", "1"), ("Cookie", "sid=; a=b")], f"/x?b=2&key={KEY}", {"x-key": "1", "cookie": "sid=; a=b"}),
    ],
)
def test_what_stays_here(
    world: KeyWorld, form: str, api: str, query: str, headers: list[tuple[str, str]], target: str, left: dict[str, str]
) -> None:
    """``strip_auth_data``: everything else as it came."""
    response = world.ask(f"/{form}-{api}/x{query}", *headers)
    assert target_of(response) == target
    assert {name: value for name, value in as_seen(response).items() if name in ("x-key", "authorization", "cookie")} == left


@EACH_OF_BOTH
def test_variables_of_request_and_key(world: KeyWorld, form: str) -> None:
    """Numbers in plain decimal, items of lists encoded, nested and unknown ones empty; each name as far as it goes."""
    path = f"/{form}-variables/a%20b"
    headers = [("X-One-More", "1"), ("X-One-More", "2"), ("Cookie", 'sid=s1; my-name="x"'), ("Authorization", f"Bearer {KEY}")]
    sent = as_seen(world.ask(path + "?a=1&a=2&my-name=n+m", *headers))
    assert sent.pop("x-request")
    assert {name: value for name, value in sent.items() if name.startswith("x-") and name not in ("x-forwarded-for", "x-one-more")} == {
        "x-token": "org" + KEY,
        "x-where": f"/{form}-variables/a b|{form}-variables,a b|127.0.0.1",
        "x-host": "localhost",
        "x-one": "1|",
        "x-cookie": "s1|x",
        "x-data": "1|n m|",
        "x-who": "ann",
        "x-numbers": "7|9007199254740993|0.25|1000000000000000000000",
        "x-list": "a,1,b+c%26%2C",
        "x-nested": "<>",
        "x-none": "<>",
        "x-dots": "dotted",
    }


@EACH_OF_BOTH
def test_variables_of_a_form(world: KeyWorld, form: str) -> None:
    """Read where a value asks for them; the upstream gets the form as it came."""
    body = b"a=from+the+form&my-name=%21"
    headers = [("Content-Type", "application/x-www-form-urlencoded"), ("Authorization", KEY)]
    response = world.ask(f"/{form}-variables/?a=from-the-query", *headers, method="POST", body=body)
    assert as_seen(response)["x-data"] == "from the form|!|"
    assert world.upstream.requests[-1].body == body


@EACH_OF_BOTH
def test_context_variables_need_their_switch(world: KeyWorld, form: str) -> None:
    """Data of the key do not."""
    sent = as_seen(world.ask(f"/{form}-no-variables/", ("Authorization", KEY)))
    assert (sent["x-token"], sent["x-who"]) == ("<>", "ann")


# Custom keys and how ids are made.


@pytest.mark.parametrize(
    ("backend", "function", "hashed"),
    [
        *(
            ("sqlite", function, hashed)
            for function in ("", "murmur32", "murmur64", "murmur128", "sha256", "none")
            for hashed in (False, True)
        ),
        pytest.param("redis", "", False, marks=needs_redis),
        pytest.param("redis", "murmur64", True, marks=needs_redis),
    ],
)
def test_a_custom_key_works_in_both_spellings(tmp_path: Path, backend: str, function: str, hashed: bool) -> None:
    """Whatever the hash function, hashed or not; with anything appended it is another one."""
    with key_world(tmp_path, backend, {"plain": {}}, hash_keys=hashed, hash_key_function=function) as world:
        whole = world.put("my-custom-token")
        assert (whole == "orgmy-custom-token") is not bool(function or hashed)
        for form in FORMS:
            ask = {key: outcome(world.ask(f"/{form}-plain/", ("Authorization", key))) for key in ("my-custom-token", whole)}
            assert set(ask.values()) == {OPEN}
            for near in ("my-custom-tokenX", "my-custom-toke", whole + "X", whole[:-1], whole + "=", whole + "AAAA"):
                assert outcome(world.ask(f"/{form}-plain/", ("Authorization", near))) == UNKNOWN, near
        assert world.control("DELETE", f"/tyk/keys/{whole}")[0] == 200
        for form in FORMS:
            for key in ("my-custom-token", whole):
                assert outcome(world.ask(f"/{form}-plain/", ("Authorization", key))) == UNKNOWN


@pytest.mark.parametrize("backend", EACH_BACKEND)
def test_keys_of_another_function_need_the_fallback(tmp_path: Path, backend: str) -> None:
    """Made under sha256; under murmur64 they work only where the list names sha256, in both spellings."""
    with StrictUpstream() as upstream:
        apis = [protected(form, f"{form}-plain", upstream.port) for form in FORMS]
        with running_world(tmp_path, backend, *apis, server=SERVER_CERTIFICATE, hash_key_function="sha256") as gateway:
            with Client(gateway.port_of("control")) as client:
                body = {"org_id": "org", "access_rights": rights("classic-plain", "oas-plain")}
                status, answer = call(client, "POST", "/tyk/keys/my-custom-token", body)
                assert status == 200
            whole = answer["key"]

            def asked(key: str) -> list[tuple[int, str]]:
                found = []
                for form in FORMS:
                    with Client(gateway.port) as client:
                        found.append(outcome(client.request("GET", f"/{form}-plain/", headers=[("Authorization", key)])))
                return found

            assert asked("my-custom-token") == asked(whole) == [OPEN] * 2
            restart(gateway, hash_key_function="murmur64", hash_key_function_fallback=["sha256"])
            assert asked("my-custom-token") == asked(whole) == [OPEN] * 2
            restart(gateway, hash_key_function="murmur64", hash_key_function_fallback=["murmur32"])
            # The whole key is stored under itself; the short one has to be found.
            assert (asked("my-custom-token"), asked(whole)) == ([UNKNOWN] * 2, [OPEN] * 2)


def restart(gateway: Gateway, **config: Any) -> None:
    """Stop the gateway and start it with other settings, on the same store."""
    assert gateway.stop() == 0
    gateway.config.update(config)
    gateway.listeners.clear()
    gateway.events.clear()
    gateway.start()


@EACH_WORLD
@pytest.mark.parametrize(("minimum", "short", "enough"), [(0, "ab", "abc"), (8, "1234567", "12345678")])
def test_keys_that_are_too_short(tmp_path: Path, form: str, backend: str, minimum: int, short: str, enough: str) -> None:
    """``min_token_length``, 3 if it is 0: refused at creation, by name, and unknown at the gate."""
    with key_world(tmp_path, backend, {"plain": {}}, min_token_length=minimum) as world:
        body = {"org_id": "org", "access_rights": rights(f"{form}-plain")}
        status, answer = world.control("POST", f"/tyk/keys/{short}", body)
        assert (status, answer["message"]) == (
            400,
            f"custom key ID length {len(short)} is less than min_token_length ({minimum or 3}); the key would be unreachable at auth time. "
            "Use an ID of at least min_token_length characters, or lower min_token_length in the gateway configuration.",
        )
        assert outcome(world.ask(f"/{form}-plain/", ("Authorization", short))) == UNKNOWN
        world.put(enough)
        assert outcome(world.ask(f"/{form}-plain/", ("Authorization", enough))) == OPEN


@EACH_WORLD
def test_without_key_actions_by_username_custom_keys_go_on_working(tmp_path: Path, form: str, backend: str) -> None:
    """BETTER: in Tyk the switch closes them out."""
    with key_world(tmp_path, backend, {"plain": {}}, disable_key_actions_by_username=True) as world:
        whole = world.put("my-custom-token")
        for key in ("my-custom-token", whole):
            assert outcome(world.ask(f"/{form}-plain/", ("Authorization", key))) == OPEN


# Definitions.


@EACH_WORLD
def test_a_definition_that_reads_no_place_is_refused(tmp_path: Path, form: str, backend: str) -> None:
    """By the control API, for an explicit token, with Tyk's words; a file is served, and lets nobody in."""
    entry = {"disable_header": True, "use_param": True, "param_name": "key"}
    tree = protected(form, "closed", 9, use_standard_auth=True, auth_configs={"authToken": entry})
    if form == "classic":
        del tree["auth_configs"]["authToken"]["use_param"]
    else:
        tree["components"]["securitySchemes"]["authToken"] = {"type": "apiKey"}
        tree["x-tyk-api-gateway"]["server"]["authentication"]["securitySchemes"]["authToken"] = {
            "enabled": True, "header": {"enabled": False}, "query": {"enabled": False},
        }  # fmt: skip
    with running_world(tmp_path, backend, tree, server=SERVER_CERTIFICATE) as gateway, Client(gateway.port_of("control")) as client:
        with Client(gateway.port) as other:
            assert told(other.request("GET", f"/closed/?key={KEY}", headers=[("Authorization", KEY)])) == MISSING
        place = "/tyk/apis" if form == "classic" else "/tyk/apis/oas"
        status, answer = call(client, "POST", place, {**tree, "api_id": "closed2"} if form == "classic" else tree)
        assert (status, answer) == (
            400,
            {
                "status": "error",
                "message": "Validation of API Definition failed. Reason: all auth sources are disabled for authToken, "
                "at least one of header/cookie/query must be enabled.",
            },
        )


@pytest.mark.parametrize("backend", EACH_BACKEND)
def test_an_entry_even_an_empty_one_hides_auth(tmp_path: Path, backend: str) -> None:
    """Classic only: documents have one place for it."""
    general = {"auth_header_name": "X-General"}
    with StrictUpstream() as upstream:
        apis = [
            protected("classic", "general", upstream.port, auth=general),
            protected("classic", "hidden", upstream.port, auth=general, auth_configs={"authToken": {}}),
            protected("classic", "beside", upstream.port, auth=general, auth_configs={"basic": {"auth_header_name": "X-Basic"}}),
        ]
        with running_world(tmp_path, backend, *apis, server=SERVER_CERTIFICATE) as gateway:
            with Client(gateway.port_of("control")) as client:
                body = {"org_id": "org", "access_rights": rights("general", "hidden", "beside")}
                assert call(client, "POST", f"/tyk/keys/{KEY}", body)[0] == 200
            found = {}
            for api in ("general", "hidden", "beside"):
                for header in ("X-General", "Authorization", "X-Basic"):
                    with Client(gateway.port) as client:
                        found[api, header] = client.request("GET", f"/{api}/", headers=[(header, KEY)]).status
    read = {
        api: [header for (of, header), status in found.items() if of == api and status == 200] for api in ("general", "hidden", "beside")
    }
    assert read == {"general": ["X-General"], "hidden": ["Authorization"], "beside": ["X-General"]}


# Words of one's own, and who is told.


@EACH_WORLD
def test_messages_flags_and_events(tmp_path: Path, form: str, backend: str) -> None:
    """Each part of ``override_messages`` alone; ``error_overrides`` see the outcome, by flag; ``AuthFailure`` for an unknown key only."""
    with StrictUpstream() as upstream:
        tree = protected(form, "plain", upstream.port)
        if form == "classic":
            log: dict[str, Any] = {"handler_name": "eh_log_handler", "handler_meta": {"prefix": "mine"}}
            tree["event_handlers"] = {"events": {"AuthFailure": [log]}}
        else:
            log = {"enabled": True, "trigger": "AuthFailure", "type": "log", "logPrefix": "mine"}
            tree["x-tyk-api-gateway"]["server"]["eventHandlers"] = [log]
        messages = {"auth.auth_field_missing": {"message": "Where is it?"}, "auth.key_not_found": {"code": 400}}
        overrides = {
            "400": [{"match": {"flag": "AKI"}, "response": {"status_code": 404}}],
            "401": [
                {"match": {"flag": "AMF"}, "response": {"headers": {"X-Hint": "key"}}},
                {"match": {"flag": "TKE"}, "response": {"status_code": 499}},
            ],
        }
        with running_world(
            tmp_path, backend, tree, server=SERVER_CERTIFICATE, override_messages=messages, error_overrides=overrides
        ) as gateway:
            with Client(gateway.port_of("control")) as client:
                body = {"org_id": "org", "access_rights": rights("plain"), "expires": int(time.time()) - 5}
                assert call(client, "POST", "/tyk/keys/an-expired-key", body)[0] == 200

            def ask(*headers: tuple[str, str]) -> Response:
                with Client(gateway.port) as client:
                    return client.request("GET", "/plain/", headers=headers)

            missing = ask()
            assert (told(missing), missing.headers["x-hint"]) == ((401, "Where is it?"), "key")
            assert told(ask(("Authorization", "an-expired-key"))) == (401, "Key has expired, please renew")
            assert told(ask(("Authorization", KEY), ("Authorization", KEY))) == MALFORMED
            assert told(ask(("Authorization", "nobody-s-key"))) == (404, UNKNOWN[1])
            wait_until(lambda: any(event.get("event") == "events.logged" for event in gateway.events))
            logged = [event for event in gateway.events if event.get("event") == "events.logged"]
            assert [(event["message"], event["key_name"]) for event in logged] == [("mine:AuthFailure", "****-key")]
        assert upstream.requests == []


@EACH_WORLD
def test_a_keyless_api_passes_everything_on(tmp_path: Path, form: str, backend: str) -> None:
    """The client's own ``Authorization`` too, whatever the definition says of stripping; nobody's data are empty."""
    with StrictUpstream() as upstream:
        tree = protected(form, "open", upstream.port, use_keyless=True, strip_auth_data=True, global_headers={"X-Who": "<$tyk_meta.who>"})
        with running_world(tmp_path, backend, tree, server=SERVER_CERTIFICATE) as gateway, Client(gateway.port) as client:
            sent = as_seen(client.request("GET", "/open/", headers=[("Authorization", "Bearer of-the-upstream")]))
            assert (sent["authorization"], sent["x-who"]) == ("Bearer of-the-upstream", "<>")
