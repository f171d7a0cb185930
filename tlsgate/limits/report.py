"""What a key has left, as its holder may ask (``GET <listen path>/tyk/rate-limits/``); counts nothing.

Source: keys reference, section 8.
"""

from __future__ import annotations

import msgspec

from tlsgate.auth.go_json import whole_numbers
from tlsgate.auth.sessions import KeyView
from tlsgate.limits.quota import fill_quotas
from tlsgate.store.interface import CounterStore

__all__ = ["REPORT_PATH", "build_report"]

REPORT_PATH = b"/tyk/rate-limits/"
"""Below the listen path."""


async def build_report(store: CounterStore, view: KeyView, now: float) -> bytes:
    """Return the body: quota and rate at the session's level, the quota as it stands.

    :param now: epoch seconds.
    :raises StoreUnavailable: no answer.
    """
    session = view.session
    if session.quota_max > 0:
        session = await fill_quotas(store, session, view.name, now)
    return msgspec.json.encode(
        whole_numbers(
            {
                "quota": {
                    "quota_max": session.quota_max,
                    "quota_remaining": session.quota_remaining,
                    "quota_renews": session.quota_renews,
                },
                "rate_limit": {"requests": session.rate, "per_unit": session.per},
            }
        )
    )
