"""Tests of `tlsgate.control.endpoints`: which endpoint a path is."""

from __future__ import annotations

from typing import Any

import pytest

from tlsgate.control.calls import Answer, Call, Endpoint
from tlsgate.control.endpoints import EndpointTable


async def nothing(call: Call) -> Answer:
    return Answer(200, {})


TABLE = EndpointTable(
    [
        Endpoint("GET", "/tyk/keys", nothing),
        Endpoint("POST", "/tyk/keys/create", nothing),
        Endpoint("GET", "/tyk/keys/{id}", nothing),
        Endpoint("POST", "/tyk/keys/policy/{id}", nothing),
    ],
    None,
    1000,
)


def find(method: bytes, path: bytes) -> Any:
    found = TABLE.find(method, path)
    return None if found is None else (found._endpoint.path, dict(found._names))


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        (b"GET", b"/tyk/keys", ("/tyk/keys", {})),
        (b"GET", b"/tyk/keys/", ("/tyk/keys", {})),
        (b"HEAD", b"/tyk/keys", ("/tyk/keys", {})),
        (b"GET", b"/tyk/keys/abc", ("/tyk/keys/{id}", {"id": "abc"})),
        (b"GET", b"/tyk/keys/a%2Fb%20c", ("/tyk/keys/{id}", {"id": "a/b c"})),
        (b"POST", b"/tyk/keys/create", ("/tyk/keys/create", {})),
        (b"POST", b"/tyk/keys/policy/x", ("/tyk/keys/policy/{id}", {"id": "x"})),
        (b"GET", b"/tyk/keys/a/b", None),
        (b"GET", b"/tyk/other", None),
        (b"GET", b"/tyk", None),
    ],
)
def test_paths(method: bytes, path: bytes, expected: Any) -> None:
    """A fixed segment wins over a name; a trailing slash does not count; an encoded slash is data."""
    assert find(method, path) == expected


def test_a_known_path_with_another_method() -> None:
    found = TABLE.find(b"DELETE", b"/tyk/keys/create")
    assert found is not None
    assert found._endpoint.method == ""
