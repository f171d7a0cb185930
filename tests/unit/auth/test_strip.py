"""Credentials taken out of requests."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.apis import make_api, make_exchange
from tlsgate.auth import strip
from tlsgate.model.credentials import CredentialSource, KeySignature, MessageSignatureRules


def stripped(headers: list[tuple[str, str]], query: str | None = None, source: dict[str, Any] | None = None) -> tuple[dict[str, str], Any]:
    api = make_api(keyless=False, strip_auth_data=True, auth_sources={"authToken": CredentialSource(**(source or {}))})
    step = strip.build(api)
    assert step is not None
    exchange = make_exchange(headers=headers, query=query)
    step(exchange)
    return {name.decode(): value.decode() for name, value in exchange.headers}, exchange.query


def test_absent_where_it_is_not_asked_for() -> None:
    """Off by default, and for keyless APIs."""
    assert strip.build(make_api(keyless=False)) is None
    assert strip.build(make_api(keyless=True, strip_auth_data=True)) is None


def test_headers_go_even_where_they_are_not_read() -> None:
    """In any letter case; the rest stays in order."""
    assert stripped([("A", "1"), ("AUTHORIZATION", "x"), ("B", "2")])[0] == {"A": "1", "B": "2"}
    assert stripped([("X-Key", "x"), ("Authorization", "y")], source={"header_name": "x-key"})[0] == {"Authorization": "y"}
    assert stripped([("Authorization", "x")], source={"disable_header": True})[0] == {}


@pytest.mark.parametrize(
    ("cookie", "left"),
    [
        ("Dummy=DUMMY; NonDefaultName=A; Dummy2=DUMMY2", "Dummy=DUMMY; Dummy2=DUMMY2"),
        ("NonDefaultName=A", None),
        ("NonDefaultName=A; NonDefaultName=B; C=1", "C=1"),
        ("NonDefaultName2=A", "NonDefaultName2=A"),
        ("a=1", "a=1"),
    ],
)
def test_cookies_go_by_their_exact_name(cookie: str, left: str | None) -> None:
    """BETTER: all of them, no prefix match, no empty header."""
    assert stripped([("Cookie", cookie)], source={"cookie_name": "NonDefaultName"})[0].get("Cookie") == left


def test_parameters_go_where_they_are_read() -> None:
    """The order of the rest stays (BETTER), every spelling of the name goes."""
    source = {"use_param": True, "param_name": "key"}
    assert stripped([], "b=2&key=x&a=1&k%65y=y", source)[1] == b"b=2&a=1"
    assert stripped([], "key=x", source)[1] is None
    assert stripped([], "a=1;key=x", source)[1] is None
    assert stripped([], "a=1", source)[1] == b"a=1"
    assert stripped([], "key=x", {"param_name": "key"})[1] == b"key=x"
    assert stripped([], "Authorization=x&a=1", {"use_param": True, "disable_header": True, "header_name": "X"})[1] == b"a=1"
    assert stripped([("Cookie", "Authorization=x")], None, {"use_cookie": True, "disable_header": True, "header_name": "X"})[0] == {}


@pytest.mark.parametrize(
    ("signature", "headers", "query"),
    [
        ({"header": "X-Sig"}, {"A": "1"}, b"X-Sig=1&sig=2&b=3"),
        ({"header": "X-Sig", "use_param": True}, {"A": "1"}, b"sig=2&b=3"),
        ({"header": "X-Sig", "param_name": "sig"}, {"A": "1"}, b"X-Sig=1&b=3"),
        ({"param_name": "sig"}, {"A": "1", "x-sig": "s"}, b"X-Sig=1&b=3"),
        ({"use_param": True}, {"A": "1", "x-sig": "s"}, b"X-Sig=1&sig=2&b=3"),
    ],
)
def test_the_signature_beside_a_key_goes_with_it(signature: dict[str, Any], headers: dict[str, str], query: bytes) -> None:
    """BETTER: Tyk sends it on."""
    api = make_api(keyless=False, strip_auth_data=True, key_signature=KeySignature(**signature))
    step = strip.build(api)
    assert step is not None
    exchange = make_exchange(headers=[("A", "1"), ("x-sig", "s"), ("Authorization", "k")], query="X-Sig=1&sig=2&b=3")
    step(exchange)
    assert {name.decode(): value.decode() for name, value in exchange.headers} == headers and exchange.query == query


def test_message_signatures_go_where_they_are_read() -> None:
    """Both fields, beside the places of keys; elsewhere they are no credentials."""
    headers = [("Signature-Input", "a"), ("Signature", "b"), ("Content-Digest", "c")]
    for rules, left in (
        (MessageSignatureRules(enabled=True), {"Content-Digest"}),
        (MessageSignatureRules(), {name for name, _ in headers}),
    ):
        step = strip.build(make_api(keyless=False, strip_auth_data=True, auth_methods=("hmac",), message_signatures=rules))
        assert step is not None
        exchange = make_exchange(headers=[*headers, ("Authorization", "x")])
        step(exchange)
        assert {name.decode() for name, _ in exchange.headers} == left
