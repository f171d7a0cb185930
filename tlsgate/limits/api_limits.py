"""The rate of an API for all its clients together, keyless or not, and of single paths of it; knows nothing of keys.

It comes before the key's own limits: what the API refuses costs the key neither rate nor quota (BETTER; Tyk counts the key first).
Source: keys reference, section 8; decisions 2.1.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from tlsgate.auth.base import AuthTools, Step, store_away
from tlsgate.config.model import GatewayConfig
from tlsgate.errors import Refusal, StoreUnavailable
from tlsgate.gates.base import build_rules, find_one
from tlsgate.limits.base import RateLimit, Verdict, normalise_rate, tell_rate
from tlsgate.limits.headers import rate_headers, refusal_headers
from tlsgate.limits.registry import LimiterPool
from tlsgate.model.api import ApiDefinition
from tlsgate.model.exchange import Exchange
from tlsgate.routing.paths import RuleSet

__all__ = ["ApiLimits", "build"]


class _Endpoint(NamedTuple):
    limit: RateLimit


def build(api: ApiDefinition, config: GatewayConfig, tools: AuthTools, pool: LimiterPool, stamp: object = "") -> Step | None:
    """Return the step of an API, None for an API without limits of its own.

    :param stamp: of the definition: a changed one starts its counters in this process anew.
    :raises ValueError: a path that does not compile.
    """
    if api.disable_rate_limit:
        return None
    name = "rate-limit-" + _identity(api, tools)
    rate = normalise_rate(api.global_rate, api.global_per)
    whole = None if rate is None else pool.limit(name, rate, stamp)
    rules = []
    for rule in api.version.rate_rules:
        own = normalise_rate(rule.rate, rule.per)
        if own is not None:
            suffix = "-" + hashlib.sha256(f"{rule.method}:{rule.path}".encode()).hexdigest()[:16]
            rules.append((rule.path, rule.method, False, _Endpoint(pool.limit(name + suffix, own, stamp))))
    paths = build_rules(rules, api, config)
    return None if whole is None and paths is None else ApiLimits(whole, paths, tools, pool)


def _identity(api: ApiDefinition, tools: AuthTools) -> str:
    return tools.sessions.naming.place("apilimiter-" + api.org_id + api.api_id).name


class ApiLimits:
    """The step; about 0.3 us for a rate that is counted in this process."""

    __slots__ = ("_clock", "_limit", "_notify", "_paths", "_settings")

    def __init__(self, limit: RateLimit | None, paths: RuleSet[_Endpoint] | None, tools: AuthTools, pool: LimiterPool) -> None:
        self._limit = limit
        self._paths = paths
        self._notify = tools.notify
        self._clock = pool.clock
        self._settings = pool.settings

    def try_now(self, exchange: Exchange) -> bool:
        """Count in this process; ignored paths count too.

        :raises Refusal: ``limit.api_rate``.
        """
        limit = self._limit if self._paths is None else self._find_limit(exchange)
        if limit is None:
            return True
        if not limit.is_local:
            return False
        now = exchange.entered_at
        admitted = limit.take_now(now)
        if not admitted or self._settings.response_headers == "rate_limits":
            self._settle(exchange, limit, limit.verdict(admitted, now))
        return True

    async def finish(self, exchange: Exchange) -> None:
        """Count in the store.

        :raises Refusal: ``limit.api_rate``; ``store.unavailable`` when the store does not answer.
        """
        limit = self._limit if self._paths is None else self._find_limit(exchange)
        assert limit is not None
        try:
            verdict = await limit.take(exchange.entered_at)
        except StoreUnavailable as error:
            raise store_away(str(error)) from error
        self._settle(exchange, limit, verdict)

    def tell(self, exchange: Exchange) -> dict[str, dict[str, int | float | None]]:
        """Return the limit of the API and what was left of it; as ``KeyLimits.tell``."""
        try:
            limit = self._limit if self._paths is None else self._find_limit(exchange)
        except Refusal:
            limit = None
        return {} if limit is None else {"api_rate": tell_rate(limit, self._clock.monotonic())}

    def _find_limit(self, exchange: Exchange) -> RateLimit | None:
        assert self._paths is not None
        found = find_one(self._paths, exchange)
        return self._limit if found is None else found.limit

    def _settle(self, exchange: Exchange, limit: RateLimit, verdict: Verdict) -> None:
        now = self._clock.now()
        if not verdict.admitted:
            self._notify("RatelimitExceeded", exchange, {"message": "API Rate Limit Exceeded"})
            raise Refusal("limit.api_rate", headers=refusal_headers(self._settings, limit.rate, verdict, now))
        if self._settings.response_headers == "rate_limits":
            exchange.limit_headers = rate_headers(limit.rate, verdict, now)
