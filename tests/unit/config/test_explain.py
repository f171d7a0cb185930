"""Tests of `tlsgate.config.explain`."""

from __future__ import annotations

from typing import Any

import pytest

from tlsgate.config.load import parse_config
from tlsgate.config.model import ExplainSettings


def parse(**explain: Any) -> tuple[ExplainSettings, list[str]]:
    """Settings, and the errors that they make."""
    tree = {"secret": "s" * 32, "tlsgate": {"development": True, "explain": explain}}
    loaded = parse_config(tree, "tyk.conf", {})
    return loaded.config.own.explain, [problem.path for problem in loaded.problems if problem.severity == "error"]


def test_it_is_off_unless_asked_for() -> None:
    """And keeps what was refused only."""
    settings, errors = parse()
    assert (settings, errors) == (ExplainSettings(), [])
    assert not settings.enabled and settings.refused_only


def test_settings_are_taken() -> None:
    """All of them."""
    given = {"enabled": True, "header": "X-Ray-Id", "keep": 5, "max_bytes": 65536, "refused_only": False}
    assert parse(**given) == (ExplainSettings(**given), [])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "header",
    [
        "",
        "X Ray",
        "X:Ray",
        "X-Ray\r\nSet-Cookie",
        "x" * 65,
        "Content-Length",
        "transfer-encoding",
        "Set-Cookie",
        "Access-Control-Allow-Origin",
    ],
)
def test_a_header_that_would_break_answers_is_refused(header: str) -> None:
    """No token, or a field that says something to clients; empty is the default."""
    settings, errors = parse(header=header)
    assert settings.header == ExplainSettings().header
    assert errors == (["tlsgate.explain.header"] if header else [])


@pytest.mark.parametrize(("name", "value"), [("keep", 0), ("keep", 10_000_000), ("max_bytes", 100), ("max_bytes", 1 << 40)])
def test_memory_is_always_bounded(name: str, value: int) -> None:
    """There is no value for "without end"."""
    assert parse(**{name: value})[1] == [f"tlsgate.explain.{name}"]
