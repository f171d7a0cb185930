"""Enforced time-outs. Source: API definitions reference, section 11."""

from __future__ import annotations

import pytest

from tests.support.apis import make_api, make_config, make_exchange
from tlsgate.errors import ConfigError
from tlsgate.model.api import TimeoutRule, VersionSettings
from tlsgate.transform.timeouts import build_timeout_of


def test_without_limits_there_is_no_function() -> None:
    """Absent, not skipped."""
    assert build_timeout_of(make_api(), make_config()) is None


def test_path_before_global() -> None:
    """`hard_timeouts` by path and method, else `global_enforce_timeout`, else none."""
    rules = (TimeoutRule(path="/slow", method="GET", timeout_s=9.0), TimeoutRule(path="/slow", timeout_s=8.0))
    for everywhere in (0.0, 4.0):
        timeout_of = build_timeout_of(make_api(version=VersionSettings(timeout_s=everywhere, timeout_rules=rules)), make_config())
        assert timeout_of is not None
        assert timeout_of(make_exchange("GET", "/test/slow")) == 9.0
        assert timeout_of(make_exchange("POST", "/test/slow")) == 8.0
        assert timeout_of(make_exchange("GET", "/test/fast")) == everywhere
    only_global = build_timeout_of(make_api(version=VersionSettings(timeout_s=4.0)), make_config())
    assert only_global is not None
    assert only_global(make_exchange()) == 4.0


def test_a_bad_path_does_not_compile() -> None:
    """Named with its place."""
    with pytest.raises(ConfigError, match="hard_timeouts"):
        build_timeout_of(make_api(version=VersionSettings(timeout_rules=(TimeoutRule(path="/(", timeout_s=1.0),))), make_config())
