"""Quotas: so many requests in a period that starts with the first one; always counted in the store, in one atomic step.

Knows counters, not requests. Source: keys reference, section 9; decisions 3.10.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from tlsgate.limits.base import LONGEST_S
from tlsgate.limits.effective import Effective, counter_group, quota_name, quota_names, rate_name
from tlsgate.model.session import Session
from tlsgate.store.interface import CounterStore, Store

__all__ = ["Quota", "QuotaVerdict", "build_quota", "fill_quotas", "reset_quotas"]


class QuotaVerdict(NamedTuple):
    """What a quota says of a request."""

    admitted: bool
    remaining: int
    renews: int
    """Epoch seconds; 0 is never."""


class Quota(NamedTuple):
    """A quota of one counter."""

    name: str
    maximum: int
    renewal_s: int
    """0 never renews."""

    async def take(self, store: CounterStore, now: float) -> QuotaVerdict:
        """Count a request.

        :param now: epoch seconds.
        :raises StoreUnavailable: no answer.
        """
        admitted, count = await store.count_window(self.name, self.renewal_s, self.maximum)
        renews = 0 if count.expires_in_s is None else round(now + count.expires_in_s)
        return QuotaVerdict(admitted, max(0, self.maximum - count.value), renews)


def build_quota(effective: Effective, group: str) -> Quota | None:
    """Return the quota of a key on an API, None for no quota."""
    if effective.quota_max <= 0:
        return None
    return Quota(quota_name(group, effective.quota_scope), effective.quota_max, min(max(0, effective.quota_renewal_s), LONGEST_S))


async def reset_quotas(store: Store, session: Session, name: str) -> None:
    """Start all quotas of a key anew, and take the flags of its rate limits down.

    :param name: what the key is stored under: its id, or the hash.
    :raises StoreUnavailable: no answer.
    """
    group = counter_group(session, name)
    names = []
    for scope, quota in quota_names(session, name):
        names += [quota, rate_name(group, scope) + ".BLOCKED"]
    await store.delete(*names)


async def fill_quotas(store: CounterStore, session: Session, name: str, now: float) -> Session:
    """Return a session whose ``quota_remaining`` and ``quota_renews`` are those of the counters.

    Without a counter the session level shows what is stored, and the limit of an API shows its maximum.

    :param now: epoch seconds.
    :raises StoreUnavailable: no answer.
    """
    counts = {scope: await store.read_count(quota) for scope, quota in quota_names(session, name)}
    own = counts[""]
    if own is not None and session.quota_max > 0:
        renews = session.quota_renews if own.expires_in_s is None else round(now + own.expires_in_s)
        session = msgspec.structs.replace(session, quota_remaining=max(0, session.quota_max - own.value), quota_renews=renews)
    rights = {}
    for api, right in session.access_rights.items():
        limit = right.limit
        if limit is None or limit.quota_max <= 0:
            continue
        count = counts[right.allowance_scope]
        renews = limit.quota_renews if count is None or count.expires_in_s is None else round(now + count.expires_in_s)
        used = 0 if count is None else count.value
        filled = msgspec.structs.replace(limit, quota_remaining=max(0, limit.quota_max - used), quota_renews=renews)
        rights[api] = msgspec.structs.replace(right, limit=filled)
    return msgspec.structs.replace(session, access_rights={**session.access_rights, **rights}) if rights else session
