"""Keys, sessions and limits of tyk.conf to frozen records: fields at its top.

Knows what the fields mean; must not know any key. Source: keys reference, section 14; decisions 3.4.
"""

from __future__ import annotations

from tlsgate.config.event_handlers import build_webhook
from tlsgate.config.model import KeySettings, LimitSettings, MonitorSettings
from tlsgate.config.section import Section

__all__ = ["build_keys", "build_limits"]

_FUNCTIONS = ("", "murmur32", "murmur64", "murmur128", "sha256")
_SHOWN = ("quotas", "rate_limits")


def build_keys(section: Section) -> KeySettings:
    """Return the settings of keys and sessions; what is wrong is noted with the section's problems.

    :param section: all of tyk.conf, checked.
    """
    function = section.text("hash_key_function")
    hashes = section.flag("hash_keys")
    fallback = section.texts("hash_key_function_fallback")
    if function not in _FUNCTIONS:
        section.warning("hash_key_function", "there is no such function, murmur64 is used in its place", "write sha256")
    for index, name in enumerate(fallback):
        if name not in _FUNCTIONS:
            section.warning_at("hash_key_function_fallback", index, "there is no such function, murmur64 is used in its place")
    if hashes and function.startswith("murmur"):
        section.warning("hash_key_function", "such hashes can be forged; a check value is kept beside each key", "write sha256")
    if hashes and not function and "murmur32" not in fallback:
        section.warning(
            "hash_keys",
            "keys are hashed by sha256; those that Tyk stored without hash_key_function are not found",
            "list murmur32 under hash_key_function_fallback to read them",
        )
    if section.text("basic_auth_hash_key_function") not in ("", "bcrypt", "argon2id"):
        section.warning("basic_auth_hash_key_function", "passwords are never hashed that way: bcrypt is used", "write bcrypt or argon2id")
    if section.flag("allow_master_keys"):
        section.warning("allow_master_keys", "a key without access rights opens every API of the gateway")
    if section.flag("force_global_session_lifetime") and not section.integer("global_session_lifetime", low=-1):
        section.warning("global_session_lifetime", "is 0: keys are never deleted, whatever they or their APIs say")
    return KeySettings(
        hash_keys=hashes,
        hash_key_function=function,
        hash_key_function_fallback=fallback,
        basic_auth_hash_key_function=section.text("basic_auth_hash_key_function"),
        enable_hashed_keys_listing=section.flag("enable_hashed_keys_listing"),
        min_token_length=section.integer("min_token_length", low=-1, high=4096),
        allow_master_keys=section.flag("allow_master_keys"),
        disable_key_actions_by_username=section.flag("disable_key_actions_by_username"),
        force_global_session_lifetime=section.flag("force_global_session_lifetime"),
        global_session_lifetime=section.integer("global_session_lifetime", low=-1),
        session_lifetime_respects_key_expiration=section.flag("session_lifetime_respects_key_expiration"),
        show_in_logs=section.flag("enable_key_logging"),
        allow_unsafe_policy_ids=section.flag("allow_unsafe_policy_ids"),
        suppress_default_org_store=section.flag("suppress_default_org_store"),
        cache_sessions=not section.section("local_session_cache").flag("disable_cached_session_state"),
    )


def build_limits(section: Section) -> LimitSettings:
    """Return the settings of rate limiters; what is wrong is noted with the section's problems.

    :param section: all of tyk.conf, checked.
    """
    shown = section.text("rate_limit_response_headers") or _SHOWN[0]
    if shown not in _SHOWN:
        section.error("rate_limit_response_headers", f"must be one of {', '.join(_SHOWN)}")
        shown = _SHOWN[0]
    return LimitSettings(
        fixed_window=section.flag("enable_fixed_window_rate_limiter"),
        sentinel=section.flag("enable_sentinel_rate_limiter"),
        rolling=section.flag("enable_redis_rolling_limiter"),
        smoothing=section.flag("enable_rate_limit_smoothing"),
        drl_threshold=section.number("drl_threshold") or 5.0,
        response_headers=shown,
        local=section.section("tlsgate").flag("local_rate_limits"),
        organisations=section.flag("enforce_org_quotas"),
        organisations_later=section.flag("experimental_process_org_off_thread"),
        monitor=_build_monitor(section.section("monitor")),
    )


def _build_monitor(section: Section) -> MonitorSettings:
    enabled = section.flag("enable_trigger_monitors")
    limit = section.number("global_trigger_limit", high=100)
    if enabled and not (section.flag("monitor_user_keys") or section.flag("monitor_org_keys")):
        section.warning("enable_trigger_monitors", "nothing is watched", "set monitor_user_keys or monitor_org_keys to true")
    return MonitorSettings(
        enabled=enabled,
        global_limit=limit,
        user_keys=section.flag("monitor_user_keys"),
        org_keys=section.flag("monitor_org_keys"),
        webhook=build_webhook(section.section("configuration")) if enabled and section.has("configuration") else None,
    )
