"""The record of an API."""

from __future__ import annotations

import pytest

from tlsgate.model.api import ApiDefinition, HeaderOperations, ProxySettings


def api(**fields: object) -> ApiDefinition:
    """A minimal API."""
    return ApiDefinition(api_id="a", raw={}, proxy=ProxySettings(listen_path="/", target_url="http://u.test/"), **fields)  # type: ignore[arg-type]


def test_defaults_open_nothing() -> None:
    """A record built from nothing asks for authentication and has no client certificates."""
    made = api()
    assert not made.keyless
    assert not made.use_mutual_tls
    assert made.client_certificates == ()
    assert made.require_client_usage


@pytest.mark.parametrize(
    ("protocol", "raw"), [("", False), ("http", False), ("https", False), ("h2c", False), ("tcp", True), ("tls", True)]
)
def test_raw_services_are_told_by_their_protocol(protocol: str, raw: bool) -> None:
    """Byte streams have no HTTP-level checks behind them."""
    assert api(protocol=protocol).is_raw is raw


def test_records_are_frozen() -> None:
    """Generations share them."""
    with pytest.raises(AttributeError):
        api().keyless = True  # type: ignore[misc]


def test_empty_header_operations_are_false() -> None:
    """So that an unused step is left out."""
    assert not HeaderOperations()
    assert HeaderOperations(remove=("a",))
    assert HeaderOperations(add=(("a", "b"),))
