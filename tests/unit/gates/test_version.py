"""Expiry and path lists. Source: API definitions reference, sections 4.1, 4.4, 7.2; decisions 2.11."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.apis import make_api, make_config, make_exchange, make_tools
from tlsgate.errors import Refusal
from tlsgate.gates.base import Gate, Reply
from tlsgate.gates.version import build
from tlsgate.model.api import ApiDefinition, CorsSettings, MockRule, PathReply, PathRule, VersionSettings

NOW = 1_000_000.0


def gate_of(api: ApiDefinition, **config: Any) -> Gate:
    gate = build(api, make_config(**config), make_tools(NOW))
    assert gate is not None
    return gate


def lists(cors: CorsSettings | None = None, **kinds: Any) -> Gate:
    """A gate with path lists; texts stand for rules of all methods."""
    compiled: dict[str, Any] = {}
    for kind, rules in kinds.items():
        record = MockRule if kind == "mocks" else PathRule
        compiled[kind] = tuple(record(path=rule) if isinstance(rule, str) else rule for rule in rules)
    return gate_of(make_api(version=VersionSettings(**compiled), cors=cors))


def outcome(gate: Gate, path: str, method: str = "GET", **fields: Any) -> str:
    """`open`, `ignored`, or the id of the refusal."""
    exchange = make_exchange(method, "/test" + path, **fields)
    try:
        gate(exchange)
    except Refusal as refusal:
        assert not exchange.ignored
        return refusal.id
    return "ignored" if exchange.ignored else "open"


FORBIDDEN = "endpoint.forbidden"
AMBIGUOUS = "route.ambiguous_path"


def test_an_api_without_dates_and_lists_has_no_gate() -> None:
    """Absent, not skipped."""
    assert build(make_api(), make_config(), make_tools()) is None


@pytest.mark.parametrize(
    ("api_end", "version_end", "expected"),
    [
        (NOW - 1, None, "api.expired"),
        (NOW, None, "api.expired"),
        (NOW + 1, None, "open"),
        (0.0, None, "api.expired"),
        (None, NOW - 1, "version.expired"),
        (None, NOW, "version.expired"),
        (None, NOW + 1, "open"),
        (None, 0.0, "version.expired"),
        (NOW, NOW, "api.expired"),
        (NOW + 1, NOW, "version.expired"),
        (NOW, NOW + 1, "api.expired"),
        (NOW + 2, NOW + 1, "open"),
    ],
)
def test_expiry(api_end: float | None, version_end: float | None, expected: str) -> None:
    """Reference 2.3, 4.1, 8: 0.0 stands for text that could not be parsed."""
    assert outcome(gate_of(make_api(expiration=api_end, version=VersionSettings(expires=version_end))), "/x") == expected


def test_a_definition_without_usable_version_refuses() -> None:
    """Reference 4.4."""
    api = make_api(version=VersionSettings(refusal="version.no_default"))
    assert outcome(gate_of(api), "/x") == "version.no_default"


def test_black_list() -> None:
    """Reference 7.2."""
    gate = lists(black_list=["/closed", PathRule(path="/post", method="POST")])
    assert outcome(gate, "/closed") == FORBIDDEN
    assert outcome(gate, "/closed", "DELETE") == FORBIDDEN
    assert outcome(gate, "/post", "POST") == FORBIDDEN
    assert outcome(gate, "/post") == "open"
    assert outcome(gate, "/other") == "open"


def test_white_list_closes_the_rest() -> None:
    """Reference 7.2: any entry makes the list a closed one, for other methods of the same path too."""
    gate = lists(white_list=["/open", PathRule(path="/get", method="GET")])
    assert outcome(gate, "/open") == "open"
    assert outcome(gate, "/get") == "open"
    assert outcome(gate, "/get", "POST") == FORBIDDEN
    assert outcome(gate, "/") == FORBIDDEN
    assert outcome(gate, "/open/") == FORBIDDEN


def test_ignored_paths_are_noted() -> None:
    """Reference 5: skips what concerns keys and client certificates."""
    gate = lists(ignored=["/free"])
    assert outcome(gate, "/free") == "ignored"
    assert outcome(gate, "/free/x") == "open"


def test_internal_paths_are_closed() -> None:
    """Reference 4.5: only by looping."""
    assert outcome(lists(internal=["/inner"], ignored=["/inner"], mocks=["/inner"]), "/inner") == FORBIDDEN


def test_order_of_the_lists() -> None:
    """Reference 7.2: mock, ignored, black list, white list."""
    assert outcome(lists(mocks=["/x"], ignored=["/x"], black_list=["/x"]), "/x") == "open"
    assert outcome(lists(ignored=["/x"], black_list=["/x"], white_list=["/y"]), "/x") == "ignored"
    assert outcome(lists(black_list=["/x"], white_list=["/x"]), "/x") == FORBIDDEN
    assert outcome(lists(mocks=["/x"], white_list=["/y"]), "/x") == "open"


@pytest.mark.parametrize("kind", ["ignored", "white_list", "black_list"])
def test_method_actions_reply(kind: str) -> None:
    """Reference 7.2: `action: reply` answers code, data and headers."""
    reply = PathReply(code=418, data="tea é", headers=(("X-Tea", "green"),))
    gate = lists(**{kind: [PathRule(path="/tea", method="GET", reply=reply)]})
    with pytest.raises(Reply) as answer:
        gate(make_exchange("GET", "/test/tea"))
    assert answer.value.status == 418
    assert answer.value.headers == ((b"X-Tea", b"green"), (b"Content-Type", b"text/plain; charset=utf-8"))
    assert answer.value.body == "tea é".encode()
    expected = FORBIDDEN if kind == "white_list" else "open"
    assert outcome(gate, "/tea", "POST") == expected


def test_the_first_rule_decides_between_reply_and_none() -> None:
    """Order of the definition."""
    reply = PathReply(code=200)
    gate = lists(ignored=[PathRule(path="/a"), PathRule(path="/{x}", reply=reply)])
    assert outcome(gate, "/a") == "ignored"
    with pytest.raises(Reply):
        gate(make_exchange("GET", "/test/b"))


def test_preflights_are_not_judged() -> None:
    """Reference 7.2: CORS on, no passthrough; other OPTIONS requests are judged."""
    ask = {"Origin": "https://a.test", "Access-Control-Request-Method": "GET"}
    gate = lists(cors=CorsSettings(), black_list=["/x"])
    assert outcome(gate, "/x", "OPTIONS", headers=ask) == "open"
    assert outcome(gate, "/x", "OPTIONS") == FORBIDDEN
    assert outcome(gate, "/x", "GET", headers=ask) == FORBIDDEN
    assert outcome(lists(cors=CorsSettings(options_passthrough=True), black_list=["/x"]), "/x", "OPTIONS", headers=ask) == FORBIDDEN
    assert outcome(lists(black_list=["/x"]), "/x", "OPTIONS", headers=ask) == FORBIDDEN


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/closed%2Fdoor", AMBIGUOUS),
        ("/closed%5cdoor", AMBIGUOUS),
        ("/closed\\door", AMBIGUOUS),
        ("/closed/door;x=1", AMBIGUOUS),
        ("/closed;x=1/door", AMBIGUOUS),
        ("/closed;door", AMBIGUOUS),
        ("/x/..%2Fclosed/door", AMBIGUOUS),
        ("/x/..;/closed/door", AMBIGUOUS),
        ("/..%2Ftest/closed/door", AMBIGUOUS),
        ("/..%2Felsewhere", AMBIGUOUS),
        ("/%63losed/door", FORBIDDEN),
        ("/closed/door", FORBIDDEN),
        ("/a%2Fb", "open"),
        ("/a;b", "open"),
        ("/a%20b", "open"),
    ],
)
def test_another_reading_that_hits_a_black_list(path: str, expected: str) -> None:
    """Decisions 2.11: refused when reading it otherwise hits a closing rule or leaves the listen path."""
    assert outcome(lists(black_list=["/closed/door"]), path) == expected
    assert outcome(lists(internal=["/closed/door"]), path) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/files/a", "open"),
        ("/files/a%2Fb", AMBIGUOUS),
        ("/files/a;v=1", AMBIGUOUS),
        ("/files%2Fa", FORBIDDEN),
        ("/tree/a%2Fb", "open"),
        ("/tree/a%2F..%2F..%2Fb", AMBIGUOUS),
        ("/tree/a%2F..%2Fb", "open"),
    ],
)
def test_the_white_list_opens_by_the_canonical_reading_only(path: str, expected: str) -> None:
    """Decisions 2.11: every other reading must be on the list as well."""
    assert outcome(lists(white_list=["/files/{name}", "/tree/*"]), path) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/public/a", "ignored"),
        ("/public/a%2Fb", "ignored"),
        ("/public/..%2Fprivate", "open"),
        ("/public/..;/private", "open"),
        ("/public/..%5Cprivate", "open"),
        ("/public%2Fa", "open"),
        ("/user/5", "ignored"),
        ("/user/5%2Fkeys", "open"),
    ],
)
def test_an_encoded_slash_leads_past_no_credentials(path: str, expected: str) -> None:
    """Decisions 2.11: what any server could read as a path that is not ignored keeps its checks."""
    assert outcome(lists(ignored=["/public/*", "/user/{id}"]), path) == expected


def test_a_path_that_is_no_longer_ignored_is_judged_by_the_other_lists() -> None:
    """The same, with a white list behind it."""
    gate = lists(ignored=["/public/*"], white_list=["/private", "/public/..%2Fprivate"])
    assert outcome(gate, "/public/..%2Fprivate") == "open"
    gate = lists(ignored=["/public/*"], white_list=["/private"])
    assert outcome(gate, "/public/..%2Fprivate") == FORBIDDEN


def test_mocks_open_by_the_canonical_reading_only() -> None:
    """Decisions 2.11."""
    gate = lists(mocks=["/mock/{x}"], black_list=["/mock/a/b"])
    assert outcome(gate, "/mock/a") == "open"
    assert outcome(gate, "/mock/a%2Fb") == AMBIGUOUS


def test_listen_path_names_open_nothing() -> None:
    """Reference 7.1 BETTER, for each setting of the anchors."""
    for http in ({}, {"enable_path_prefix_matching": False}, {"enable_path_suffix_matching": False}):
        api = make_api(listen_path="/free/", version=VersionSettings(ignored=(PathRule(path="/free"),)))
        gate = gate_of(api, http=http)
        exchange = make_exchange("GET", "/free/secret", matched="/free/")
        gate(exchange)
        assert not exchange.ignored


def test_ignore_case_of_the_gateway() -> None:
    """Reference 1.3: `ignore_endpoint_case` holds everywhere."""
    api = make_api(version=VersionSettings(black_list=(PathRule(path="/Closed"),)))
    assert outcome(gate_of(api, ignore_endpoint_case=True), "/cLOSED") == FORBIDDEN
    assert outcome(gate_of(api), "/cLOSED") == "open"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"expires": 1.0}, "Api Version has expired, please check documentation or contact administrator"),
        ({"refusal": "version.no_default"}, "No default API version for this non-versioned API found"),
        ({"black_list": (PathRule(path="/x"),)}, "Requested endpoint is forbidden"),
    ],
)
def test_refusals_are_told(fields: dict[str, Any], reason: str) -> None:
    """Event VersionFailure with Tyk's message, and why; what passes is not told."""
    told: list[Any] = []
    tools = make_tools()._replace(notify=lambda *event: told.append(event))
    gate = build(make_api(version=VersionSettings(**fields)), make_config(), tools)
    assert gate is not None
    exchange = make_exchange(path="/test/x")
    with pytest.raises(Refusal):
        gate(exchange)
    message = "Attempted access to disallowed version / path."
    assert told == [("VersionFailure", exchange, {"message": message, "reason": reason})]
    if "black_list" in fields:
        gate(make_exchange(path="/test/y"))
        assert len(told) == 1
