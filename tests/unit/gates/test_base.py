"""What gates share."""

from __future__ import annotations

import pytest

from tests.support.apis import make_api, make_config, make_exchange
from tlsgate.gates.base import Reply, build_answer_headers, build_rules, other_readings
from tlsgate.model.api import VersionSettings


def test_a_reply_carries_an_answer() -> None:
    """Early exit is an exception carrying the answer."""
    with pytest.raises(Reply) as raised:
        raise Reply(204, ((b"A", b"b"),), b"c")
    assert (raised.value.status, raised.value.headers, raised.value.body) == (204, ((b"A", b"b"),), b"c")


@pytest.mark.parametrize("http", [{}, {"enable_path_suffix_matching": False}])
@pytest.mark.parametrize("where", ["entry", "version", "gateway", "nowhere"])
def test_rules_follow_the_settings(http: dict[str, bool], where: str) -> None:
    """Reference 7.1: anchors from the configuration, letter case from entry, version or configuration."""
    api = make_api(version=VersionSettings(ignore_endpoint_case=where == "version"))
    config = make_config(http=http, ignore_endpoint_case=where == "gateway")
    rules = build_rules([("/Any", "GET", where == "entry", 1)], api, config)
    assert rules is not None
    assert rules.find(b"GET", b"/Any", b"/test/Any") == 1
    assert (rules.find(b"GET", b"/any", b"/test/any") is not None) == (where != "nowhere")
    assert (rules.find(b"GET", b"/Any/x", b"/test/Any/x") is not None) == bool(http)


def test_no_rules_are_none() -> None:
    """Absent, not empty."""
    assert build_rules([], make_api(), make_config()) is None


def test_configured_answers_have_a_type() -> None:
    """A body without type would be guessed by browsers."""
    text = (b"Content-Type", b"text/plain; charset=utf-8")
    assert build_answer_headers([("X-A", "é")], b"x") == ((b"X-A", "é".encode()), text)
    assert build_answer_headers([("content-type", "a/b")], b"x") == ((b"content-type", b"a/b"),)
    assert build_answer_headers([], b"") == ()


def test_other_readings_are_those_below_the_listen_path() -> None:
    """Decisions 2.11."""
    assert other_readings(make_exchange(path="/test/a/b")) == ()
    assert other_readings(make_exchange(path="/test/a%2Fb")) == ((b"/a/b", b"/test/a/b"),)
    assert other_readings(make_exchange(path="/test/x/..%2Fb")) == ((b"/b", b"/test/b"),)
    assert other_readings(make_exchange(path="/test/..%2Fb")) is None
    assert other_readings(make_exchange(path="/test/x/..%2F..%2Ftest/b")) is None
    assert other_readings(make_exchange(path="/test/" + "a%2F" * 65)) is None


def test_readings_are_found_once() -> None:
    """Routing has them already; a gate that comes first keeps them for the next."""
    exchange = make_exchange(path="/test/a%2Fb")
    other_readings(exchange)
    assert exchange.readings == (b"/a/b",)
    exchange.readings = (b"/c",)
    assert other_readings(exchange) == ((b"/c", b"/test/c"),)
