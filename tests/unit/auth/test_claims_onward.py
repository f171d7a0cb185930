"""Claims in headers for the upstream: the token's word is the only one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.apis import make_api, make_exchange
from tlsgate.auth.claims_onward import ClaimHeaders, build_onward_step, find_protected_names
from tlsgate.model.exchange import Exchange, HeaderList
from tlsgate.model.tokens import JwtSettings

FORWARD = (("X-User", "sub"), ("X_Roles", "realm.roles"), ("X-Ns", "https://ns.example/id"))


def headers_of(claims: dict[str, Any], **fields: Any) -> HeaderList | None:
    return ClaimHeaders(make_api(forward_claims=FORWARD, **fields), "jwt").find(claims)


def test_claims_by_name_and_by_path() -> None:
    """A name counts before a path; what is not there is not sent."""
    claims = {"sub": "alice", "realm": {"roles": ["a b", "c,d"]}, "https://ns.example/id": 7, "other": 1}
    assert headers_of(claims) == [(b"X-User", b"alice"), (b"X_Roles", b"a+b,c%2Cd"), (b"X-Ns", b"7")]
    assert headers_of({}) == []
    assert ClaimHeaders(make_api(), "jwt").find(claims) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (123452342, b"123452342"),
        (9007199254740993, b"9007199254740993"),
        (10**40, b"1" + b"0" * 40),
        (1e21, b"1" + b"0" * 21),
        (1.5, b"1.5"),
        (0, b"0"),
        (True, b"true"),
        (False, b"false"),
        ([1, "\u00e9", True, None, {}], b"1,%C3%A9,true,,"),
        ("\u00e9t\u00e9", "\u00e9t\u00e9".encode()),
        ("{$}\"'", b"{$}\"'"),
    ],
)
def test_values(value: Any, text: bytes) -> None:
    """Every digit, no exponent; the items of a list as in a query."""
    lines = headers_of({"sub": value})
    assert lines == [(b"X-User", text)]


@pytest.mark.parametrize(
    "value",
    [None, "", {}, {"a": 1}, [], "a\r\nX-Admin: yes", "a\nb", "\x00admin", "admin\x7f", " admin", "admin\t", "\u2028x", "\xa0admin"],
)
def test_values_that_are_not_sent(value: Any) -> None:
    """Nothing becomes another value by what somebody would trim or strip from it."""
    assert headers_of({"sub": value}) == []


def test_another_methods_session_counts() -> None:
    """Its claims do too, and these do not."""
    assert headers_of({"sub": "alice"}, base_identity="oidc") is None
    assert headers_of({"sub": "alice"}, base_identity="jwt") == [(b"X-User", b"alice")]


def step_of(inner: Any = None, **fields: Any) -> Any:
    return build_onward_step(make_api(**{"forward_claims": FORWARD, "jwt": JwtSettings(), **fields}), inner)


def test_a_clients_own_lines_go() -> None:
    """In every spelling, also when nobody was asked for a token."""
    step, exchange = step_of(), make_exchange()
    mine = [(b"x-user", b"root"), (b"X_USER", b"root"), (b"x-Roles", b"all"), (b"X-Ns", b"0"), (b"X-Other", b"1")]
    assert step(exchange, list(mine)) == [(b"X-Other", b"1")]
    exchange.onward = [(b"X-User", b"alice")]
    assert step(exchange, list(mine)) == [(b"X-Other", b"1"), (b"X-User", b"alice")]
    assert exchange.onward == [(b"X-User", b"alice")]


def test_an_apis_own_operations_come_after() -> None:
    """What an operator sets or removes has the last word."""
    seen: list[HeaderList] = []

    def inner(exchange: Exchange, headers: HeaderList) -> HeaderList:
        seen.append(list(headers))
        return []

    exchange = make_exchange()
    exchange.onward = [(b"X-User", b"alice")]
    assert step_of(inner)(exchange, []) == [] and seen == [[(b"X-User", b"alice")]]
    assert step_of(inner, forward_claims=(), jwt=None) is inner
    assert step_of(forward_claims=(), jwt=None) is None


def test_a_proof_that_was_judged_goes() -> None:
    """It is good once; one that nobody looked at is the upstream's to judge."""
    step, exchange = step_of(forward_claims=()), make_exchange()
    lines = [(b"DPoP", b"proof"), (b"X-Other", b"1")]
    assert step(exchange, list(lines)) == lines
    exchange.proved = (b"proof", b"token", "thumbprint")
    assert step(exchange, list(lines)) == lines[1:]


def test_names_that_no_trailer_brings_back() -> None:
    """In either spelling; the proof too, where tokens are read."""
    api = make_api(forward_claims=FORWARD, jwt=JwtSettings())
    assert find_protected_names(api) == {b"x-user", b"x_roles", b"x-roles", b"x-ns", b"dpop"}
    assert find_protected_names(make_api()) == frozenset()
