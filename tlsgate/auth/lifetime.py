"""How long a key stays stored, counted from the write; pure arithmetic, knows nothing of stores.

Expiry is refusal and lives in ``access``; this is deletion. Source: keys reference, section 6; the seed's precedence table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tlsgate.config.model import KeySettings
from tlsgate.model.api import ApiDefinition
from tlsgate.model.session import Session

__all__ = ["NEVER", "ApiLifetime", "compute_lifetime", "find_api_lifetimes"]

NEVER = -1
"""Stays for ever, whatever other APIs of the key say."""
_UNSET = 0
_LONGEST_S = 10**10
"""Some 300 years; what is longer no store can hold, and is for ever."""


class ApiLifetime(NamedTuple):
    """What a loaded API says of the lifetime of its keys."""

    lifetime_s: int = 0
    respects_expiry: bool = False


def find_api_lifetimes(session: Session, apis: Mapping[str, ApiDefinition]) -> list[ApiLifetime]:
    """Return what the loaded ones among the APIs of a key say.

    :param apis: loaded definitions by id.
    """
    return [
        ApiLifetime(api.session_lifetime, api.session_lifetime_respects_key_expiration)
        for api_id in session.access_rights
        if (api := apis.get(api_id)) is not None
    ]


def compute_lifetime(session: Session, settings: KeySettings, apis: Iterable[ApiLifetime], now: float) -> int | None:
    """Return the seconds that a key written now stays stored, None for ever.

    :param apis: of the loaded APIs that the key opens; the largest result counts, :data:`NEVER` before all others.
    :param now: epoch seconds.
    """
    if settings.force_global_session_lifetime:
        return _stored(settings.global_session_lifetime)
    fixed = _after_expiry(session, now)
    if fixed is not None:
        return _stored(fixed)
    found = [_of_api(session, api, settings, now) for api in apis] or [_of_api(session, ApiLifetime(), settings, now)]
    longest = NEVER if NEVER in found else max(found)
    return _stored(longest)


def _stored(lifetime: int) -> int | None:
    return lifetime if 0 < lifetime <= _LONGEST_S else None


def _after_expiry(session: Session, now: float) -> int | None:
    """What ``post_expiry_action`` says, None when it says nothing."""
    action = session.post_expiry_action
    grace = session.post_expiry_grace_period
    if action == "delete":
        return _until(session.expires, now) if session.expires > 0 else _UNSET
    if action == "retain" and grace == -1:
        return NEVER
    if action == "retain" and grace > 0:
        # A key that never expires has no end to count the grace from.
        return _until(session.expires + grace, now) if session.expires > 0 else _UNSET
    return None


def _of_api(session: Session, api: ApiLifetime, settings: KeySettings, now: float) -> int:
    lifetime = session.session_lifetime if session.session_lifetime > 0 else api.lifetime_s
    if lifetime <= 0:
        return _UNSET
    if not (api.respects_expiry or settings.session_lifetime_respects_key_expiration):
        return lifetime
    if session.expires <= 0:
        # It never expires, and its expiry is respected: another API without that flag must not delete it.
        return NEVER
    return max(lifetime, _until(session.expires, now))


def _until(moment: int, now: float) -> int:
    """Whole seconds until a moment, at least 1: rounded up, so that nothing is deleted before its time."""
    return max(1, -int((now - moment) // 1))
