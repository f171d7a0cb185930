"""Rate and quota of the key that a request uses; knows nothing of how a key is found or what it may open.

Compiled once per key and API (``KeyView.memo``). A key with a limiter of this process is settled without waiting, its quota too where this
process can reach the store's counters (``CounterStore.hot_counter``); else the store is asked. Source: keys reference, sections 8 and 9;
decisions 2.1, 3.5.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple, NoReturn

from tlsgate.auth.base import AuthTools, Notify, Step, store_away
from tlsgate.auth.sessions import KeyView
from tlsgate.auth.shown import show_key
from tlsgate.config.model import GatewayConfig
from tlsgate.errors import Refusal, StoreUnavailable
from tlsgate.gates.base import find_one
from tlsgate.limits.base import Rate, RateLimit, Verdict, normalise_rate, tell_rate
from tlsgate.limits.effective import Effective, counter_group, find_effective, rate_name
from tlsgate.limits.headers import NAMES, build_headers, rate_headers, refusal_headers
from tlsgate.limits.monitor import QuotaMonitor
from tlsgate.limits.quota import Quota, build_quota
from tlsgate.limits.registry import LimiterPool
from tlsgate.limits.smoothing import parse_smoothing
from tlsgate.model.api import ApiDefinition
from tlsgate.model.exchange import Exchange, HeaderList
from tlsgate.model.session import AccessRight
from tlsgate.routing.paths import RuleSet, build_path_matcher
from tlsgate.store.interface import HotCounter

__all__ = ["KeyLimits", "build"]

_SHORTEST_WAIT_S = 0.01
"""A throttled request that asks again at once, again and again, would take the whole process for itself."""
_LONGEST_WAIT_S = 3600.0


class _Endpoint(NamedTuple):
    """The limit of a path, None for a path that is expressly unlimited."""

    limit: RateLimit | None


class _Compiled(NamedTuple):
    """The limits of one key on one API."""

    rate: RateLimit | None
    endpoints: RuleSet[_Endpoint] | None
    quota: Quota | None
    hot: HotCounter | None
    """The quota's counter, where the store can count it without waiting."""
    throttle_interval_s: float
    throttle_retries: int
    headers: HeaderList
    """Of an answer when no counter has anything to say."""


def build(
    api: ApiDefinition, config: GatewayConfig, tools: AuthTools, pool: LimiterPool, monitor: QuotaMonitor | None = None
) -> Step | None:
    """Return the step of an API, None where nobody has a key.

    :param monitor: told of each counted quota.
    """
    return None if api.keyless else KeyLimits(api, config, tools, pool, monitor)


class KeyLimits:
    """The step; about 0.5 us for a rate that is counted in this process."""

    __slots__ = ("_api", "_config", "_monitor", "_notify", "_now", "_pool", "_settings", "_shows_rates", "_sleep")

    def __init__(
        self, api: ApiDefinition, config: GatewayConfig, tools: AuthTools, pool: LimiterPool, monitor: QuotaMonitor | None
    ) -> None:
        self._monitor = monitor
        self._api = api
        self._config = config
        self._pool = pool
        self._settings = pool.settings
        self._shows_rates = pool.settings.response_headers == "rate_limits"
        self._notify = tools.notify
        self._sleep = tools.sleep
        self._now = tools.clock.now

    def try_now(self, exchange: Exchange) -> bool:
        """Count in this process.

        :raises Refusal: ``limit.rate``.
        """
        view = exchange.key
        if exchange.ignored or view is None:
            return True
        compiled = view.memo.get(self)
        if compiled is None:
            compiled = self._compile(view)
            view.remember(self, compiled)
        quota = compiled.quota
        if quota is not None and compiled.hot is None:
            return False
        limit = compiled.rate if compiled.endpoints is None else self._find_limit(compiled, exchange)
        if limit is not None:
            if not limit.is_local or compiled.throttle_retries:
                return False
            now = exchange.entered_at
            admitted = limit.take_now(now)
            if not admitted:
                self._notify("RatelimitExceeded", exchange, {"message": "Rate Limit Exceeded"})
            if self._shows_rates or not admitted:
                self._settle(exchange, limit, limit.verdict(admitted, now))
        if quota is None:
            if not self._shows_rates:
                exchange.limit_headers = compiled.headers
            return True
        assert compiled.hot is not None
        wall = self._now()
        counted = compiled.hot.count(quota.renewal_s, quota.maximum, wall)
        if counted is None:
            exchange.rate_counted = True
            return False
        admitted, value, ends = counted
        if not admitted:
            self._refuse_quota(exchange)
        if self._monitor is not None:
            self._monitor.look(exchange, view.session, view.session.org_id, view.id, quota.maximum, quota.maximum - value)
        if not self._shows_rates:
            # Written out here: this is every request of a key with a quota.
            exchange.limit_headers = [
                compiled.headers[0],
                (NAMES[1], b"%d" % (quota.maximum - value)),
                (NAMES[2], b"%d" % (ends + 0.5)),
            ]
        return True

    async def finish(self, exchange: Exchange) -> None:
        """Count in the store what has to be counted there; wait and try again where the key is throttled.

        :raises Refusal: ``limit.rate``, ``limit.quota``; ``store.unavailable`` when the store does not answer.
        """
        compiled: _Compiled = exchange.key.memo[self]
        try:
            limit = compiled.rate if compiled.endpoints is None else self._find_limit(compiled, exchange)
            if limit is not None and not exchange.rate_counted:
                await self._count_rate(exchange, limit, compiled)
            if not self._shows_rates:
                exchange.limit_headers = compiled.headers
            if compiled.quota is not None:
                await self._count_quota(exchange, compiled.quota)
        except StoreUnavailable as error:
            raise store_away(str(error)) from error

    async def _count_rate(self, exchange: Exchange, limit: RateLimit, compiled: _Compiled) -> None:
        now = exchange.entered_at
        verdict = await limit.take(now)
        if not verdict.admitted:
            self._notify("RatelimitExceeded", exchange, {"message": "Rate Limit Exceeded"})
            for _ in range(compiled.throttle_retries):
                await self._sleep(compiled.throttle_interval_s)
                now = self._pool.clock.monotonic()
                verdict = await limit.take(now)
                if verdict.admitted:
                    break
        self._settle(exchange, limit, verdict)

    def _settle(self, exchange: Exchange, limit: RateLimit, verdict: Verdict) -> None:
        if not verdict.admitted:
            raise Refusal("limit.rate", headers=refusal_headers(self._settings, limit.rate, verdict, self._now()))
        if self._shows_rates:
            exchange.limit_headers = rate_headers(limit.rate, verdict, self._now())

    async def _count_quota(self, exchange: Exchange, quota: Quota) -> None:
        verdict = await quota.take(self._pool.store, self._now())
        if not verdict.admitted:
            self._refuse_quota(exchange)
        if self._monitor is not None:
            view = exchange.key
            self._monitor.look(exchange, view.session, view.session.org_id, view.id, quota.maximum, verdict.remaining)
        if not self._shows_rates:
            exchange.limit_headers = build_headers(quota.maximum, verdict.remaining, verdict.renews)

    def tell(self, exchange: Exchange) -> dict[str, dict[str, int | float | None]]:
        """Return what limits the key and what was left of it, for a report; counts nothing, and knows no rest that is in the store."""
        compiled: _Compiled | None = exchange.key.memo.get(self) if exchange.key is not None else None
        told: dict[str, dict[str, int | float | None]] = {}
        if compiled is None:
            return told
        try:
            limit = compiled.rate if compiled.endpoints is None else self._find_limit(compiled, exchange)
        except Refusal:
            limit = None
        if limit is not None:
            told["rate"] = tell_rate(limit, self._pool.clock.monotonic())
        if compiled.quota is not None:
            told["quota"] = {"limit": compiled.quota.maximum, "per_s": compiled.quota.renewal_s, "remaining": None}
            lines = exchange.limit_headers
            if lines and not self._shows_rates:
                told["quota"] |= {"remaining": int(lines[1][1]), "renews": int(lines[2][1])}
        return told

    def _refuse_quota(self, exchange: Exchange) -> NoReturn:
        self._notify("QuotaExceeded", exchange, {"message": "Key Quota Limit Exceeded"})
        raise Refusal("limit.quota")

    def _find_limit(self, compiled: _Compiled, exchange: Exchange) -> RateLimit | None:
        assert compiled.endpoints is not None
        found = find_one(compiled.endpoints, exchange)
        return compiled.rate if found is None else found.limit

    def _compile(self, view: KeyView) -> _Compiled:
        session, api = view.session, self._api
        effective = find_effective(session, api.api_id)
        group = counter_group(session, view.name)
        # Keys that share a text share the counter whatever their versions.
        stamp = session.last_updated if group == view.name else ""
        report = _Report(self._notify, api.api_id, show_key(group, whole=self._shows_whole(group, view)))
        rate = endpoints = None
        if not api.disable_rate_limit:
            rate = self._limit(effective, rate_name(group, effective.rate_scope), stamp, report)
            right = session.access_rights.get(api.api_id)
            if right is not None and right.endpoints:
                endpoints = self._compile_endpoints(right, group, stamp)
        quota = None if api.disable_quota else build_quota(effective, group)
        return _Compiled(
            rate,
            endpoints,
            quota,
            None if quota is None else self._pool.store.hot_counter(quota.name),
            min(max(effective.throttle_interval_s, _SHORTEST_WAIT_S), _LONGEST_WAIT_S),
            max(0, effective.throttle_retries),
            build_headers(effective.quota_max, effective.quota_remaining, effective.quota_renews),
        )

    def _shows_whole(self, group: str, view: KeyView) -> bool:
        """Tell whether events may show what a counter is called: a hash or a chosen text, or any id where that is asked for."""
        keys = self._config.keys
        return keys.show_in_logs or keys.hash_keys or group != view.name

    def _limit(self, effective: Effective, name: str, stamp: str, report: _Report) -> RateLimit | None:
        rate = normalise_rate(effective.rate, effective.per)
        if rate is None:
            return None
        return self._pool.limit(name, rate, stamp, smoothing=parse_smoothing(effective.smoothing), report=report)

    def _compile_endpoints(self, right: AccessRight, group: str, stamp: str) -> RuleSet[_Endpoint] | None:
        http = self._config.http
        ignore_case = self._api.version.ignore_endpoint_case or self._config.ignore_endpoint_case
        rules = []
        for entry in right.endpoints:
            path = entry.get("path", "")
            try:
                pattern = build_path_matcher(
                    path,
                    prefix=http.enable_path_prefix_matching,
                    suffix=http.enable_path_suffix_matching,
                    ignore_case=ignore_case,
                    listen_path=self._api.proxy.listen_path,
                )
            except ValueError:
                continue
            for method in entry.get("methods", ()):
                name = method.get("name", "").upper()
                if name:
                    rules.append((pattern, name, self._endpoint(path, name, method.get("limit") or {}, right, group, stamp)))
        return RuleSet(rules) if rules else None

    def _endpoint(self, path: str, method: str, limit: dict[str, Any], right: AccessRight, group: str, stamp: str) -> _Endpoint:
        rate: Rate | None = normalise_rate(limit.get("rate", 0.0), limit.get("per", 0.0))
        if rate is None:
            return _Endpoint(None)
        suffix = "-" + hashlib.sha256(f"{method}:{path}".encode()).hexdigest()[:16]
        return _Endpoint(self._pool.limit(rate_name(group, right.allowance_scope, suffix), rate, stamp))


class _Report:
    """Passes the events of smoothing on, which concern a key and no request."""

    __slots__ = ("_fields", "_notify")

    def __init__(self, notify: Notify, api_id: str, group: str) -> None:
        self._notify = notify
        self._fields = {"api_id": api_id, "key": group}

    def __call__(self, event: str) -> None:
        self._notify(event, None, self._fields)
