"""The record of a request."""

from __future__ import annotations

import pytest

from tlsgate.model.exchange import Connection, Exchange


def test_a_fresh_exchange_knows_its_connection_and_nothing_else() -> None:
    """The peer is the client until a trusted proxy says otherwise; no API, no refusal, no mark of an ignored path."""
    connection = Connection("c", "192.0.2.1", 40000, 8443, True)
    exchange = Exchange(connection, 1, b"GET", b"/x?y", [(b"Host", b"a.test")])
    assert exchange.client_address == "192.0.2.1"
    assert exchange.api is None
    assert exchange.refusal == ""
    assert not exchange.ignored
    assert connection.tls is None
    assert connection.verdicts == {}


def test_steps_cannot_invent_fields() -> None:
    """Slots: a typing error in a step is an error, and a record stays small."""
    exchange = Exchange(Connection("c", "192.0.2.1", 1, 1, False), 1, b"GET", b"/", [])
    with pytest.raises(AttributeError):
        exchange.igonred = True  # type: ignore[attr-defined]


def test_exchanges_share_nothing() -> None:
    """Lists and mappings belong to one request."""
    connection = Connection("c", "192.0.2.1", 1, 1, False)
    first, second = (Exchange(connection, number, b"GET", b"/", []) for number in (1, 2))
    first.response_headers.append((b"A", b"b"))
    first.index[b"host"] = b"a"
    assert second.response_headers == []
    assert second.index == {}
