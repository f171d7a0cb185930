"""The order of the gates. Source: decisions 2.1; field report B35."""

from __future__ import annotations

import pytest

from tests.support.apis import make_api, make_config, make_exchange, make_tools
from tlsgate.errors import ConfigError, Refusal
from tlsgate.gates.base import Reply
from tlsgate.gates.order import ORDER, build_gates
from tlsgate.model.api import ApiDefinition, CorsSettings, PathRule, VersionSettings


def test_the_order() -> None:
    """Path lists, CORS, IP lists, client certificate, what is published, size, context; CORS headers before all that may refuse."""
    assert [name for name, _ in ORDER] == [
        "cors_headers",
        "version",
        "cors",
        "addresses",
        "certificate",
        "protected_resource",
        "size",
        "context",
    ]


def test_unused_gates_are_absent() -> None:
    """A keyless API with nothing configured has no gate at all."""
    assert build_gates(make_api(), make_config(), make_tools()) == ()


def everything(**version: object) -> ApiDefinition:
    return make_api(
        cors=CorsSettings(allowed_origins=("https://app.test",)),
        use_mutual_tls=True,
        allowed_addresses=("192.0.2.1",),
        version=VersionSettings(size_limit_bytes=10, **version),  # type: ignore[arg-type]
    )


def run(api: ApiDefinition, method: str = "POST", *, address: str = "192.0.2.1", **headers: str) -> tuple[str, list[tuple[bytes, bytes]]]:
    lines = {"Origin": "https://app.test", **{name.replace("_", "-"): value for name, value in headers.items()}}
    exchange = make_exchange(method, headers=lines)
    exchange.client_address = address
    try:
        for gate in build_gates(api, make_config(), make_tools()):
            gate(exchange)
    except Refusal as refusal:
        return refusal.id, exchange.response_headers
    except Reply as reply:
        return str(reply.status), exchange.response_headers
    return "passes", exchange.response_headers


def test_every_refusal_carries_cors_headers() -> None:
    """Field report B35: a browser must be able to read status and text of each error."""
    allow = (b"Access-Control-Allow-Origin", b"https://app.test")
    for expected, api, address in (
        ("endpoint.forbidden", everything(black_list=(PathRule(path="/"),)), "192.0.2.1"),
        ("api.expired", make_api(expiration=0.0, cors=CorsSettings(allowed_origins=("https://app.test",))), "192.0.2.1"),
        ("address.forbidden", everything(), "192.0.2.2"),
        ("tls.not_enabled", everything(), "192.0.2.1"),
        ("size.length_required", everything(ignored=(PathRule(path="/"),)), "192.0.2.1"),
    ):
        outcome, headers = run(api, address=address)
        assert outcome == expected
        assert headers == [(b"Vary", b"Origin"), allow]


def test_preflights_come_before_addresses_and_certificates() -> None:
    """Decisions 2.1."""
    outcome, headers = run(everything(black_list=(PathRule(path="/"),)), "OPTIONS", address="8.8.8.8", Access_Control_Request_Method="POST")
    assert outcome == "204"
    assert headers == [(b"Vary", b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers")]


def test_all_problems_of_a_definition_are_told() -> None:
    """Not the first one only."""
    api = make_api(source="a.json", allowed_addresses=("nowhere",), version=VersionSettings(black_list=(PathRule(path="/("),)))
    with pytest.raises(ConfigError) as error:
        build_gates(api, make_config(), make_tools())
    assert [(problem.file, problem.path) for problem in error.value.problems] == [("a.json", "version"), ("a.json", "addresses")]
