"""Header operations. Source: API definitions reference, sections 9.5, 10.1, 12.4, 18; decisions 2.10."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.apis import make_api, make_config, make_exchange
from tlsgate.errors import ConfigError
from tlsgate.model.api import CorsSettings, HeaderOperations, HeaderRule, VersionSettings
from tlsgate.model.exchange import Exchange, HeaderList
from tlsgate.transform.headers import build_request_headers_step, build_response_headers_step

Lines = list[tuple[str, str]]


def operations(remove: tuple[str, ...] = (), **add: str) -> HeaderOperations:
    return HeaderOperations(remove=remove, add=tuple((name.replace("_", "-"), text) for name, text in add.items()))


def raw(lines: Lines) -> HeaderList:
    return [(name.encode(), value.encode()) for name, value in lines]


def request(lines: Lines, exchange: Exchange | None = None, api: dict[str, Any] | None = None, **version: Any) -> HeaderList:
    definition = make_api(version=VersionSettings(**version), **(api or {}))
    step = build_request_headers_step(definition, make_config(secrets={"k": "conf"}), {"TYK_SECRET_K": "env"})
    assert step is not None
    return step(exchange or make_exchange(), raw(lines))


def response(lines: Lines, exchange: Exchange | None = None, api: dict[str, Any] | None = None, **version: Any) -> HeaderList:
    step = build_response_headers_step(make_api(version=VersionSettings(**version), **(api or {})), make_config())
    assert step is not None
    return step(exchange or make_exchange(), raw(lines))


def test_without_operations_there_is_no_step() -> None:
    """Absent, not skipped."""
    assert build_request_headers_step(make_api(), make_config()) is None
    assert build_response_headers_step(make_api(), make_config()) is None
    only_framing = make_api(version=VersionSettings(request_headers=operations(("Connection",))))
    assert build_request_headers_step(only_framing, make_config()) is None


def test_global_remove_then_set() -> None:
    """Reference 12.4: set, not append; the order of other lines stays."""
    lines = [("Host", "h"), ("A", "1"), ("X-Old", "2"), ("b", "3"), ("x-old", "4"), ("x-NEW", "5")]
    assert request(lines, request_headers=operations(("X-OLD", "X-New"), X_New="n")) == raw(
        [("Host", "h"), ("A", "1"), ("b", "3"), ("X-New", "n")]
    )


def test_other_spellings_do_not_slip_past() -> None:
    """Decisions 2.10: letter case and underscores."""
    lines = [("x_user", "evil"), ("X-USER", "evil"), ("X_Old-one", "1")]
    assert request(lines, request_headers=operations(("X-Old-One",), X_User="good")) == raw([("X-User", "good")])


def test_path_entries_come_after_the_global_ones() -> None:
    """Reference 12.4: delete, then add; the method must be equal; the first that matches."""
    rules = (
        HeaderRule(path="/a", method="POST", operations=operations(X_One="post")),
        HeaderRule(path="/a", method="GET", operations=operations(("X-Two",), X_One="get")),
        HeaderRule(path="/{x}", operations=operations(X_One="any")),
        HeaderRule(path="/q", operations=operations(X_One="never")),
    )
    fields: dict[str, Any] = {"request_headers": operations(X_One="global", X_Two="two"), "request_header_rules": rules}
    assert request([], make_exchange(path="/test/a"), **fields) == raw([("X-One", "get")])
    assert request([], make_exchange("POST", "/test/a"), **fields) == raw([("X-Two", "two"), ("X-One", "post")])
    assert request([], make_exchange(path="/test/q"), **fields) == raw([("X-Two", "two"), ("X-One", "any")])
    assert request([], make_exchange(path="/test/a/b"), **fields) == raw([("X-One", "global"), ("X-Two", "two")])


def test_a_rule_without_effect_changes_nothing() -> None:
    """It only names framing headers."""
    rules = (HeaderRule(path="/a", operations=operations(("Content-Length",))),)
    lines = [("Content-Length", "1"), ("A", "b")]
    assert request(lines, make_exchange(path="/test/a"), request_header_rules=rules) == raw(lines)


def test_variables() -> None:
    """Reference 12.4 and 18: a missing one is empty."""
    found = request(
        [],
        make_exchange(query="q=1"),
        {"context_variables": True},
        request_headers=operations(
            X_A="q=$tyk_context.request_data_q;", X_B="$secret_conf.k/$secret_env.k", X_C="$tyk_context.request_data_none"
        ),
    )
    assert found == raw([("X-A", "q=1;"), ("X-B", "conf/env"), ("X-C", "")])


@pytest.mark.parametrize(
    "name", ["Connection", "content-length", "Transfer_Encoding", "TE", "Trailer", "Upgrade", "Keep-Alive", "Proxy-Connection", "Expect"]
)
def test_framing_belongs_to_the_proxy(name: str) -> None:
    """An operation on it would smuggle."""
    lines = [(name, "kept")]
    changed = HeaderOperations(remove=(name,), add=((name, "5"), ("X-A", "b")))
    assert request(lines, request_headers=changed) == raw([(name, "kept"), ("X-A", "b")])
    assert response(lines, response_headers=changed) == raw([(name, "kept"), ("X-A", "b")])


def test_the_host_line_stays_one_and_first() -> None:
    """It can be set, not removed."""
    lines = [("Host", "up.test"), ("A", "b")]
    assert request(lines, request_headers=HeaderOperations(add=(("host", "new.test"),))) == raw([("Host", "new.test"), ("A", "b")])
    assert request(lines, request_headers=HeaderOperations(remove=("Host",))) == raw(lines)
    assert request([("A", "b")], request_headers=HeaderOperations(remove=("Host",))) == raw([("A", "b")])


def test_x_forwarded_for_can_be_removed() -> None:
    """Reference 18."""
    lines = [("X-Forwarded-For", "192.0.2.1"), ("A", "b")]
    assert request(lines, request_headers=operations(("x-forwarded-for",))) == raw([("A", "b")])


def test_the_last_of_two_equal_names_counts() -> None:
    """OAS lists may repeat a name; one line is sent."""
    changed = HeaderOperations(add=(("X-A", "1"), ("x-a", "2")))
    assert request([], request_headers=changed) == raw([("x-a", "2")])


def test_responses_path_then_global_then_processors() -> None:
    """Reference 12.4."""
    rules = (HeaderRule(path="/a", operations=operations(("Server",), X_Path="p", X_Both="path")),)
    api = {"response_header_injector": operations(("X-Global",), X_Last="l")}
    fields: dict[str, Any] = {"response_header_rules": rules, "response_headers": operations(X_Global="g", X_Both="global")}
    assert response([("Server", "s"), ("A", "b")], make_exchange(path="/test/a"), api, **fields) == raw(
        [("A", "b"), ("X-Path", "p"), ("X-Both", "global"), ("X-Last", "l")]
    )
    assert response([("Server", "s")], make_exchange(path="/test/b"), api, **fields) == raw(
        [("Server", "s"), ("X-Both", "global"), ("X-Last", "l")]
    )


def test_upstream_cors_headers_go_when_the_gateway_answers_for_them() -> None:
    """Reference 12.5: a refused origin is proxied without CORS headers; what the gateway set stays."""
    lines = [("Access-Control-Allow-Origin", "*"), ("access-control-allow-credentials", "true"), ("Vary", "Origin")]
    assert response(lines, api={"cors": CorsSettings()}) == raw([("Vary", "Origin")])
    exchange = make_exchange()
    exchange.response_headers = [(b"Access-Control-Allow-Origin", b"https://a.test")]
    ours = [("Access-Control-Allow-Origin", "https://a.test"), ("Access-Control-Expose-Headers", "X")]
    assert response(ours, exchange, {"cors": CorsSettings()}) == raw(ours[:1])
    passthrough = make_api(cors=CorsSettings(options_passthrough=True))
    assert build_response_headers_step(passthrough, make_config()) is None


@pytest.mark.parametrize(
    ("name", "text"), [("X A", "b"), ("", "b"), ("X:", "b"), ("X-A", "b\r\nc: d"), ("X-A", "$tyk_context.path\n"), ("é", "b")]
)
def test_what_cannot_be_sent_does_not_compile(name: str, text: str) -> None:
    """Named with its place; all of them at once."""
    changed = HeaderOperations(add=((name, text), ("X-B\n", "c")))
    api = make_api(version=VersionSettings(request_headers=changed, response_headers=changed), source="a.json", context_variables=True)
    for build, where in ((build_request_headers_step, "global_headers"), (build_response_headers_step, "global_response_headers")):
        with pytest.raises(ConfigError) as error:
            build(api, make_config())
        assert [(problem.file, problem.path, problem.value) for problem in error.value.problems] == [
            ("a.json", where, name),
            ("a.json", where, "X-B\n"),
        ]


def test_a_bad_path_does_not_compile() -> None:
    """Definitions are checked before; this is the second look."""
    rules = (HeaderRule(path="/(", operations=operations(X_A="b")),)
    api = make_api(version=VersionSettings(request_header_rules=rules))
    with pytest.raises(ConfigError, match="transform_headers"):
        build_request_headers_step(api, make_config())


def test_the_environment_is_the_process_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read when a generation is built, not per request."""
    monkeypatch.setenv("TYK_SECRET_HEADER_TEST", "env")
    api = make_api(version=VersionSettings(request_headers=operations(X_A="$secret_env.header_test")))
    step = build_request_headers_step(api, make_config())
    assert step is not None
    monkeypatch.delenv("TYK_SECRET_HEADER_TEST")
    assert step(make_exchange(), []) == raw([("X-A", "env")])
