"""Which numbers count for a key on an API, and under which names they are counted; pure, knows no algorithm.

Source: keys reference, sections 2, 4, 8 and 9. Differs from Tyk: a limit of an API that gives a rate or a quota only leaves the other to
the session (Tyk takes it for unlimited); counters are named by the stored id, whatever spelling of the key was presented.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from tlsgate.model.session import Session

__all__ = ["Effective", "counter_group", "find_effective", "quota_name", "quota_names", "rate_name"]

_PATTERN = re.compile(r"\$tyk_meta\.([A-Za-z0-9_.-]+)")


class Effective(NamedTuple):
    """Rate and quota of a key on one API."""

    rate: float
    per: float
    smoothing: dict[str, Any] | None
    throttle_interval_s: float
    throttle_retries: int
    rate_scope: str
    """Names a counter of its own; empty for the key's."""
    quota_max: int
    """0 and below is unlimited."""
    quota_remaining: int
    quota_renews: int
    quota_renewal_s: int
    quota_scope: str


def find_effective(session: Session, api_id: str) -> Effective:
    """Return what counts: the API's limit where it gives numbers, else the session's."""
    right = session.access_rights.get(api_id)
    limit = right.limit if right is not None else None
    scope = right.allowance_scope if right is not None else ""
    own_rate = limit is not None and bool(limit.rate or limit.per)
    own_quota = limit is not None and bool(limit.quota_max or limit.quota_renewal_rate)
    rate: Any = limit if own_rate else session
    quota: Any = limit if own_quota else session
    return Effective(
        rate.rate,
        rate.per,
        rate.smoothing,
        rate.throttle_interval,
        rate.throttle_retry_limit,
        scope if own_rate else "",
        quota.quota_max,
        quota.quota_remaining,
        quota.quota_renews,
        quota.quota_renewal_rate,
        scope if own_quota else "",
    )


def counter_group(session: Session, name: str) -> str:
    """Return what the counters of a key are named by: its stored name, or the text that ``meta_data.rate_limit_pattern`` gives.

    Keys of one text share their counters.
    """
    pattern = session.meta_data.get("rate_limit_pattern")
    if not isinstance(pattern, str) or not pattern:
        return name
    meta = session.meta_data
    return _PATTERN.sub(lambda found: _plain(meta.get(found[1])), pattern) or name


def rate_name(group: str, scope: str, endpoint: str = "") -> str:
    """Return the name of a rate's counter."""
    return f"rate-limit-{scope}-{group}{endpoint}" if scope else f"rate-limit-{group}{endpoint}"


def quota_name(group: str, scope: str) -> str:
    """Return the name of a quota's counter."""
    return f"quota-{scope}-{group}" if scope else f"quota-{group}"


def quota_names(session: Session, name: str) -> Iterator[tuple[str, str]]:
    """Yield scope and name of every quota counter that a key may have, the key's own first."""
    group = counter_group(session, name)
    for scope in dict.fromkeys(("", *(right.allowance_scope for right in session.access_rights.values()))):
        yield scope, quota_name(group, scope)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""
