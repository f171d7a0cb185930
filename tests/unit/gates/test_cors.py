"""CORS. Source: API definitions reference, sections 5 and 12.5; decisions 2.15; field report B35."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.apis import make_api, make_config, make_exchange, make_tools
from tlsgate.gates.base import Reply
from tlsgate.gates.cors import build, build_headers, is_preflight
from tlsgate.model.api import CorsSettings

VARY = (b"Vary", b"Origin")
VARY_PREFLIGHT = (b"Vary", b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers")


def headers_of(cors: CorsSettings, method: str = "GET", **headers: str) -> list[tuple[bytes, bytes]]:
    gate = build_headers(make_api(cors=cors), make_config(), make_tools())
    assert gate is not None
    exchange = make_exchange(method, headers={name.replace("_", "-"): value for name, value in headers.items()})
    gate(exchange)
    return exchange.response_headers


def preflight(cors: CorsSettings, origin: str | None = "https://app.test", method: str = "GET", headers: str | None = None) -> Any:
    """(status, headers, body) of the answer; None when the request goes on, with the exchange's state."""
    gate = build(make_api(cors=cors), make_config(), make_tools())
    assert gate is not None
    lines = {"Access-Control-Request-Method": method}
    if origin is not None:
        lines["Origin"] = origin
    if headers is not None:
        lines["Access-Control-Request-Headers"] = headers
    with pytest.raises(Reply) as answer:
        gate(make_exchange("OPTIONS", headers=lines))
    return answer.value.status, list(answer.value.headers), answer.value.body


def test_without_cors_there_are_no_gates() -> None:
    """Absent, not skipped."""
    assert build(make_api(), make_config(), make_tools()) is None
    assert build_headers(make_api(), make_config(), make_tools()) is None


def test_an_allowed_origin_gets_its_headers() -> None:
    """Whatever the answer will be (field report B35)."""
    cors = CorsSettings(allowed_origins=("https://app.test",), allow_credentials=True, exposed_headers=("X-One", "X-Two"))
    assert headers_of(cors, Origin="https://app.test") == [
        VARY,
        (b"Access-Control-Allow-Origin", b"https://app.test"),
        (b"Access-Control-Expose-Headers", b"X-One, X-Two"),
        (b"Access-Control-Allow-Credentials", b"true"),
    ]


@pytest.mark.parametrize("origin", ["https://evil.test", "https://app.test.evil", "http://app.test", "null", "https://app.test:8443", ""])
def test_a_foreign_origin_gets_none(origin: str) -> None:
    """Field report B35; the request itself is served."""
    assert headers_of(CorsSettings(allowed_origins=("https://app.test",)), Origin=origin) == [VARY]


def test_without_an_origin_there_is_vary_only() -> None:
    """Caches must know."""
    assert headers_of(CorsSettings()) == [VARY]


@pytest.mark.parametrize("origins", [(), ("*",), ("https://a.test", "*")])
def test_everybody(origins: tuple[str, ...]) -> None:
    """Reference 12.5: empty is `*`; the star is sent, not the origin, so that credentials never go with it."""
    assert headers_of(CorsSettings(allowed_origins=origins), Origin="https://x.test") == [VARY, (b"Access-Control-Allow-Origin", b"*")]


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://a.app.test", True),
        ("https://a.b.app.test", True),
        ("HTTPS://A.App.Test", True),
        ("https://.app.test", True),
        ("https://app.test", False),
        ("https://a.app.test.evil", False),
        ("http://a.app.test", False),
        ("https://app.tes", False),
    ],
)
def test_wildcard_origins(origin: str, allowed: bool) -> None:
    """Reference 12.5: `*` inside an origin."""
    found = headers_of(CorsSettings(allowed_origins=("https://*.app.test",)), Origin=origin)
    assert found == ([VARY, (b"Access-Control-Allow-Origin", origin.encode())] if allowed else [VARY])


def test_a_wildcard_does_not_overlap_itself() -> None:
    """Start and end must both fit."""
    assert headers_of(CorsSettings(allowed_origins=("ab*ba",)), Origin="aba") == [VARY]
    assert len(headers_of(CorsSettings(allowed_origins=("ab*ba",)), Origin="abba")) == 2


def test_an_origin_with_control_or_high_bytes_is_never_echoed() -> None:
    """No injection through a wildcard."""
    assert headers_of(CorsSettings(allowed_origins=("https://*",)), Origin="https://a b") == [VARY]
    assert headers_of(CorsSettings(allowed_origins=("https://*",)), Origin="https://é") == [VARY]


def test_a_method_that_is_not_allowed_gets_none() -> None:
    """As the library that Tyk uses."""
    assert headers_of(CorsSettings(), "DELETE", Origin="https://x.test") == [VARY]
    assert len(headers_of(CorsSettings(allowed_methods=("delete",)), "DELETE", Origin="https://x.test")) == 2
    assert len(headers_of(CorsSettings(), "OPTIONS", Origin="https://x.test")) == 2


def test_preflights_are_told_apart() -> None:
    """OPTIONS with Access-Control-Request-Method; errors on them carry the long Vary."""
    assert headers_of(CorsSettings(), "OPTIONS", Origin="https://x.test", Access_Control_Request_Method="GET") == [VARY_PREFLIGHT]
    assert is_preflight(make_exchange("OPTIONS", headers={"Access-Control-Request-Method": "GET"}))
    assert not is_preflight(make_exchange("OPTIONS"))
    assert not is_preflight(make_exchange("GET", headers={"Access-Control-Request-Method": "GET"}))


def test_an_allowed_preflight() -> None:
    """Reference 12.5: 204 with what was asked for."""
    cors = CorsSettings(
        allowed_origins=("https://app.test",),
        allowed_methods=("PUT",),
        allowed_headers=("X-A", "X-B"),
        allow_credentials=True,
        max_age_s=60,
    )
    assert preflight(cors, method="put", headers="x-a,  X-B") == (
        204,
        [
            (b"Access-Control-Allow-Origin", b"https://app.test"),
            (b"Access-Control-Allow-Methods", b"PUT"),
            (b"Access-Control-Allow-Headers", b"x-a, x-b"),
            (b"Access-Control-Allow-Credentials", b"true"),
            (b"Access-Control-Max-Age", b"60"),
        ],
        b"",
    )
    assert preflight(CorsSettings(), headers="Origin, accept") == (
        204,
        [
            (b"Access-Control-Allow-Origin", b"*"),
            (b"Access-Control-Allow-Methods", b"GET"),
            (b"Access-Control-Allow-Headers", b"origin, accept"),
        ],
        b"",
    )


@pytest.mark.parametrize(
    ("origin", "method", "headers"),
    [
        ("https://evil.test", "GET", None),
        (None, "GET", None),
        ("https://app.test", "PATCH", None),
        ("https://app.test", "GET", "x-secret"),
        ("https://app.test", "GET", "accept, x-secret"),
    ],
)
def test_a_refused_preflight_is_204_without_permission(origin: str | None, method: str, headers: str | None) -> None:
    """Reference 12.5: always 204; the headers only if origin, method and headers are allowed."""
    assert preflight(CorsSettings(allowed_origins=("https://app.test",)), origin, method, headers) == (204, [], b"")


def test_all_headers_may_be_allowed() -> None:
    """A star stands for any name, not for any bytes."""
    cors = CorsSettings(allowed_headers=("*",))
    assert (b"Access-Control-Allow-Headers", b"x-any") in preflight(cors, headers="X-Any")[1]
    assert preflight(cors, headers="x any")[1] == []


def test_other_options_requests_are_answered_here() -> None:
    """Reference 12.5: 200 with an empty body, no upstream."""
    gate = build(make_api(cors=CorsSettings()), make_config(), make_tools())
    assert gate is not None
    with pytest.raises(Reply) as answer:
        gate(make_exchange("OPTIONS"))
    assert (answer.value.status, answer.value.body) == (200, b"")
    gate(make_exchange("GET"))


def test_passthrough_lets_preflights_by_and_nothing_else() -> None:
    """Reference 5 BETTER, decisions 2.15: only real preflights skip the credentials."""
    gate = build(make_api(cors=CorsSettings(options_passthrough=True)), make_config(), make_tools())
    assert gate is not None
    exchange = make_exchange("OPTIONS", headers={"Origin": "https://a.test", "Access-Control-Request-Method": "GET"})
    gate(exchange)
    assert exchange.ignored
    assert (b"Access-Control-Allow-Origin", b"*") in exchange.response_headers
    other = make_exchange("OPTIONS", headers={"Origin": "https://a.test"})
    gate(other)
    assert not other.ignored
    assert other.response_headers == []
