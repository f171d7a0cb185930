"""Mocked answers. Source: API definitions reference, sections 4.5, 5 and 7.2."""

from __future__ import annotations

import pytest

from tests.support.apis import make_api, make_config, make_exchange
from tlsgate.errors import ConfigError
from tlsgate.gates.base import Gate, Reply
from tlsgate.model.api import MockRule, VersionSettings
from tlsgate.transform.mock import build


def step_of(*rules: MockRule) -> Gate | None:
    return build(make_api(version=VersionSettings(mocks=rules)), make_config())


def test_without_mocks_there_is_no_step() -> None:
    """Absent, not skipped."""
    assert step_of() is None


def test_a_mock_answers_code_body_and_headers() -> None:
    """Reference 4.5; by method, first that matches."""
    step = step_of(
        MockRule(path="/a", method="GET", code=201, body="é", headers=(("Content-Type", "text/html"),)),
        MockRule(path="/{x}", code=204),
        MockRule(path="/B/c", ignore_case=True, body="x"),
    )
    assert step is not None
    for method, path, expected in (
        ("GET", "/test/a", (201, ((b"Content-Type", b"text/html"),), "é".encode())),
        ("POST", "/test/a", (204, (), b"")),
        ("GET", "/test/b/C", (200, ((b"Content-Type", b"text/plain; charset=utf-8"),), b"x")),
    ):
        with pytest.raises(Reply) as answer:
            step(make_exchange(method, path))
        assert (answer.value.status, answer.value.headers, answer.value.body) == expected
    step(make_exchange("GET", "/test/a/b"))
    step(make_exchange("GET", "/test/b%2FC/d"))


def test_a_bad_path_does_not_compile() -> None:
    """Named with its place."""
    with pytest.raises(ConfigError, match="mock_response"):
        step_of(MockRule(path="/("))
