"""Forms that are read for variables: which, when, and that the body goes on."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.task import Clock

from tests.support.apis import make_api, make_exchange
from tlsgate.errors import Refusal
from tlsgate.model.api import HeaderOperations, HeaderRule, VersionSettings
from tlsgate.model.credentials import KeySignature
from tlsgate.model.exchange import Exchange
from tlsgate.proxy.waiter import Work
from tlsgate.transform.form_data import MAX_FORM_BYTES, FormData, build, is_needed_early
from tlsgate.transform.variables import compile_value, render

USES = HeaderOperations(add=(("X-A", "<$tyk_context.request_data_a>"),))
FORM_TYPE = "application/x-www-form-urlencoded"


class Body:
    """A whole body that arrives at once."""

    def __init__(self, data: bytes, length: int | None) -> None:
        self.data = data
        self.length = length

    def attach(self, sink: Any) -> None:
        sink.body_chunk(self.data)
        sink.body_end([])

    def detach(self) -> None:
        """Nothing flows any more."""


def exchange_of(data: bytes = b"a=1", *, kind: str = FORM_TYPE, method: str = "POST", length: int | None = -1, query: str = "") -> Exchange:
    exchange = make_exchange(method, headers=[("Content-Type", kind)], query=query)
    exchange.context = {}
    exchange.body = Body(data, len(data) if length == -1 else length)  # type: ignore[assignment]
    return exchange


def value_of(exchange: Exchange, name: str = "request_data_a") -> bytes:
    return render(compile_value(f"$tyk_context.{name}", has_context=True, secrets={}, environ={}), exchange)


def run(exchange: Exchange) -> bool:
    """Do the step; tells whether a form was read."""
    clock = Clock()
    step = FormData(clock)
    if step.try_now(exchange):
        return False
    failures: list[BaseException] = []

    async def finish() -> None:
        try:
            await step.finish(exchange)
        except Refusal as refusal:
            failures.append(refusal)

    work = Work(finish())
    clock.advance(0)
    assert work.done
    if failures:
        raise failures[0]
    return True


@pytest.mark.parametrize(
    ("fields", "there"),
    [
        ({}, False),
        ({"version": VersionSettings(request_headers=USES)}, True),
        ({"version": VersionSettings(response_headers=USES)}, True),
        ({"version": VersionSettings(request_header_rules=(HeaderRule(path="/x", method="POST", operations=USES),))}, True),
        ({"version": VersionSettings(request_headers=HeaderOperations(add=(("X-A", "$tyk_context.path"),)))}, False),
        ({"response_header_injector": USES}, True),
        ({"key_signature": KeySignature(secret="$tyk_context.request_data_a")}, True),
        ({"key_signature": KeySignature(secret="a")}, False),
    ],
)
def test_it_is_there_where_a_value_asks_for_it(fields: dict[str, Any], there: bool) -> None:
    """And nowhere without ``enable_context_vars``: bodies stream."""
    assert (build(make_api(context_variables=True, **fields), Clock()) is not None) is there
    assert build(make_api(context_variables=False, **fields), Clock()) is None


@pytest.mark.parametrize("kind", [FORM_TYPE, f"{FORM_TYPE}; charset=utf-8", FORM_TYPE.upper()])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_a_form_is_read_and_goes_on(kind: str, method: str) -> None:
    """Its values before those of the query, as in Go."""
    exchange = exchange_of(b"a=1+2%21&b=x;y&a=3", kind=kind, method=method, query="a=4&c=5")
    assert run(exchange)
    assert (value_of(exchange), value_of(exchange, "request_data_c"), value_of(exchange, "request_data_b")) == (b"1 2!", b"5", b"")
    assert value_of(exchange, "request_data") == b"a:1 2!,3,4;c:5"
    assert b"".join(exchange.held.pieces()) == b"a=1+2%21&b=x;y&a=3"


@pytest.mark.parametrize(
    "exchange",
    [
        exchange_of(kind="application/json"),
        exchange_of(kind="multipart/form-data; boundary=x"),
        exchange_of(method="GET"),
        exchange_of(b"", length=0),
        exchange_of(length=MAX_FORM_BYTES + 1),
    ],
    ids=["json", "multipart", "get", "empty", "long"],
)
def test_everything_else_streams(exchange: Exchange) -> None:
    """Nothing is held."""
    assert not run(exchange)
    assert exchange.held is None and value_of(exchange) == b""


def test_a_form_of_unknown_length_has_a_bound() -> None:
    """It may be as long as one of known length, not a byte longer."""
    longest = exchange_of(b"a=" + b"x" * (MAX_FORM_BYTES - 2), length=None)
    assert run(longest)
    longest.held.close()
    with pytest.raises(Refusal, match=r"^size\.too_large"):
        run(exchange_of(b"a=" + b"x" * (MAX_FORM_BYTES - 1), length=None))


@pytest.mark.parametrize("data", [b"a=1" + b"&b" * 5000, b"a=1&b=" + b"%41" * 70_000], ids=["pairs", "escapes"])
def test_a_form_that_costs_too_much_gives_no_values(data: bytes) -> None:
    """Half a million pairs fit into 1 MiB: taking them apart would stop everybody for a third of a second."""
    exchange = exchange_of(data, query="a=4")
    assert run(exchange)
    assert value_of(exchange) == b"4"
    assert b"".join(exchange.held.pieces()) == data
    exchange.held.close()


@pytest.mark.parametrize(("secret", "early"), [("$tyk_context.request_data_a", True), ("a", False), (None, False)])
def test_a_form_is_read_before_the_credential_only_where_that_needs_it(secret: str | None, early: bool) -> None:
    """Else everybody could make the gateway hold and take apart what nobody has asked a key for."""
    signature = None if secret is None else KeySignature(secret=secret)
    api = make_api(context_variables=True, version=VersionSettings(request_headers=USES), key_signature=signature)
    assert is_needed_early(api) is early


def test_nobody_reaches_the_form_by_a_name() -> None:
    """The place where its pairs are is no variable."""
    exchange = exchange_of()
    assert run(exchange)
    for name in ("form data", "form", "form_data", "data"):
        assert value_of(exchange, name) in (b"", b" data")
