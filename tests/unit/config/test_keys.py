"""Keys, sessions and limits of tyk.conf."""

from __future__ import annotations

from typing import Any

import pytest

from tlsgate.config.keys import build_keys, build_limits
from tlsgate.config.known import CONFIG
from tlsgate.config.model import KeySettings, LimitSettings
from tlsgate.config.problems import Problems
from tlsgate.config.section import check


def build(**members: Any) -> tuple[KeySettings, LimitSettings, list[str]]:
    problems = Problems("tyk.conf")
    section = check(members, CONFIG, problems)
    keys, limits = build_keys(section), build_limits(section)
    return keys, limits, [f"{problem.severity} {problem.path}" for problem in problems.all()]


def test_defaults_are_tyks() -> None:
    """Source: keys reference, section 14."""
    assert build() == (KeySettings(), LimitSettings(), [])


def test_fields_are_read() -> None:
    """One of each."""
    keys, limits, problems = build(
        hash_keys=True,
        hash_key_function="sha256",
        hash_key_function_fallback=["murmur32"],
        enable_hashed_keys_listing=True,
        min_token_length=8,
        disable_key_actions_by_username=True,
        global_session_lifetime=60,
        force_global_session_lifetime=True,
        session_lifetime_respects_key_expiration=True,
        local_session_cache={"disable_cached_session_state": True},
        enable_fixed_window_rate_limiter=True,
        enable_sentinel_rate_limiter=True,
        enable_redis_rolling_limiter=True,
        enable_rate_limit_smoothing=True,
        drl_threshold=2.5,
        rate_limit_response_headers="rate_limits",
        tlsgate={"local_rate_limits": True},
    )
    assert problems == []
    assert keys == KeySettings(
        hash_keys=True,
        hash_key_function="sha256",
        hash_key_function_fallback=("murmur32",),
        enable_hashed_keys_listing=True,
        min_token_length=8,
        disable_key_actions_by_username=True,
        global_session_lifetime=60,
        force_global_session_lifetime=True,
        session_lifetime_respects_key_expiration=True,
        cache_sessions=False,
    )
    assert limits == LimitSettings(
        fixed_window=True, sentinel=True, rolling=True, smoothing=True, drl_threshold=2.5, response_headers="rate_limits", local=True
    )


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ({"hash_key_function": "md5"}, "warning hash_key_function"),
        ({"hash_key_function_fallback": ["sha256", "md5"]}, "warning hash_key_function_fallback[1]"),
        ({"hash_keys": True, "hash_key_function": "murmur64"}, "warning hash_key_function"),
        ({"hash_keys": True}, "warning hash_keys"),
        ({"basic_auth_hash_key_function": "murmur64"}, "warning basic_auth_hash_key_function"),
        ({"basic_auth_hash_key_function": "sha256"}, "warning basic_auth_hash_key_function"),
        ({"allow_master_keys": True}, "warning allow_master_keys"),
        ({"force_global_session_lifetime": True}, "warning global_session_lifetime"),
        ({"rate_limit_response_headers": "both"}, "error rate_limit_response_headers"),
    ],
)
def test_what_an_operator_should_read(members: dict[str, Any], problem: str) -> None:
    """Each by its field."""
    assert build(**members)[2] == [problem]
