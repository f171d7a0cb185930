"""What a key has left, as its holder may ask (``GET <listen path>/tyk/rate-limits/``); counts nothing.

Source: keys reference, section 8.
"""

from __future__ import annotations

import msgspec

from tlsgate.auth.base import AuthTools, Step, store_away
from tlsgate.auth.go_json import whole_numbers
from tlsgate.auth.sessions import KeyView
from tlsgate.errors import Refusal, StoreUnavailable
from tlsgate.gates.base import Reply
from tlsgate.limits.quota import fill_quotas
from tlsgate.model.api import ApiDefinition
from tlsgate.model.exchange import Exchange
from tlsgate.store.interface import CounterStore

__all__ = ["REPORT_PATH", "build", "build_report"]

REPORT_PATH = b"/tyk/rate-limits"
"""Below the listen path; with or without a slash at its end."""
_JSON = ((b"Content-Type", b"application/json"),)


def build(api: ApiDefinition, tools: AuthTools, store: CounterStore) -> Step | None:
    """Return the step that answers the path, None for a keyless API; it stands behind the access check and before the limits."""
    return None if api.keyless else _Report(tools, store)


class _Report:
    """Answers whoever asks what is left."""

    __slots__ = ("_now", "_store")

    def __init__(self, tools: AuthTools, store: CounterStore) -> None:
        self._store = store
        self._now = tools.clock.now

    def try_now(self, exchange: Exchange) -> bool:
        """Let everything else pass."""
        path = exchange.remaining_path
        return path[:5] != b"/tyk/" or path.rstrip(b"/") != REPORT_PATH or exchange.key is None

    async def finish(self, exchange: Exchange) -> None:
        """Answer.

        :raises Reply: the report.
        :raises Refusal: ``method.not_supported``; ``store.unavailable`` when the store does not answer.
        """
        if exchange.method not in (b"GET", b"HEAD"):
            raise Refusal("method.not_supported")
        try:
            body = await build_report(self._store, exchange.key, self._now())
        except StoreUnavailable as error:
            raise store_away(str(error)) from error
        raise Reply(200, _JSON, body)


async def build_report(store: CounterStore, view: KeyView, now: float) -> bytes:
    """Return the body: quota and rate at the session's level, the quota as it stands.

    :param now: epoch seconds.
    :raises StoreUnavailable: no answer.
    """
    session = view.session
    if session.quota_max > 0:
        # The counters of single APIs say nothing here, and a key may have a thousand.
        session = await fill_quotas(store, msgspec.structs.replace(session, access_rights={}), view.name, now)
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
