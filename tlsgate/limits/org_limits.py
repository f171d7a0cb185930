"""Rate and quota of the organisation that an API belongs to, for keyless APIs too; before authentication; knows no key.

Refusals are 403, as in Tyk. Source: keys reference, section 9 (``enforce_org_quotas``).
"""

from __future__ import annotations

from typing import NamedTuple, NoReturn

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from tlsgate.auth.base import AuthTools, Step, store_away
from tlsgate.config.model import GatewayConfig
from tlsgate.errors import Refusal, StoreUnavailable
from tlsgate.limits.base import RateLimit, normalise_rate
from tlsgate.limits.effective import find_effective, rate_name
from tlsgate.limits.monitor import QuotaMonitor
from tlsgate.limits.organisations import Organisation, Organisations
from tlsgate.limits.quota import Quota, build_quota
from tlsgate.limits.registry import LimiterPool
from tlsgate.model.api import ApiDefinition
from tlsgate.model.exchange import Exchange
from tlsgate.store.interface import HotCounter

__all__ = ["OrgLimits", "build"]

_log = Logger()


class _Compiled(NamedTuple):
    inactive: bool
    rate: RateLimit | None
    quota: Quota | None
    hot: HotCounter | None
    """The quota's counter, where the store can count it without waiting."""


def build(
    api: ApiDefinition,
    config: GatewayConfig,
    tools: AuthTools,
    pool: LimiterPool,
    organisations: Organisations,
    monitor: QuotaMonitor | None,
) -> Step | None:
    """Return the step of an API, None where organisations have no limits.

    :param monitor: told of each counted quota; None for no monitor of organisations.
    """
    if not config.rate_limits.organisations or not api.org_id:
        return None
    step = OrgLimits(api.org_id, tools, pool, organisations, monitor)
    return OffThread(step) if config.rate_limits.organisations_later else step


class OrgLimits:
    """The step; about 0.3 us for an organisation without a session, 3 us for one with a quota in the embedded store."""

    __slots__ = ("_counter", "_monitor", "_notify", "_now", "_org", "_organisations", "_pool")

    def __init__(self, org: str, tools: AuthTools, pool: LimiterPool, organisations: Organisations, monitor: QuotaMonitor | None) -> None:
        self._org = org
        self._pool = pool
        self._organisations = organisations
        self._monitor = monitor
        self._notify = tools.notify
        self._now = tools.clock.now
        candidate = tools.sessions.naming.find_candidate(org)
        self._counter = candidate.name if candidate is not None else org

    def try_now(self, exchange: Exchange) -> bool:
        """Decide without waiting where the store is not needed, or counts at once.

        :raises Refusal: ``org.inactive``, ``org.rate``, ``org.quota``.
        """
        org = self._organisations.peek(self._org, exchange.entered_at)
        if org is None:
            return False
        compiled = self._compile(org)
        rate, quota = compiled.rate, compiled.quota
        if (rate is not None and not rate.is_local) or (quota is not None and compiled.hot is None):
            return False
        if rate is not None and not rate.take_now(exchange.entered_at):
            self._refuse_rate(exchange)
        if quota is None:
            return True
        assert compiled.hot is not None
        counted = compiled.hot.count(quota.renewal_s, quota.maximum, self._now())
        if counted is None:
            exchange.org_rate_counted = True
            return False
        self._judge_quota(exchange, org, quota.maximum, counted[0], quota.maximum - counted[1])
        return True

    async def finish(self, exchange: Exchange) -> None:
        """Count in the store; a refused rate costs no quota.

        :raises Refusal: ``org.inactive``, ``org.rate``, ``org.quota``; ``store.unavailable`` when the store does not answer.
        """
        try:
            org = self._organisations.peek(self._org, exchange.entered_at) or await self._organisations.find(self._org)
            compiled = self._compile(org)
            if compiled.rate is not None and not exchange.org_rate_counted and not (await compiled.rate.take(exchange.entered_at)).admitted:
                self._refuse_rate(exchange)
            if compiled.quota is None:
                return
            verdict = await compiled.quota.take(self._pool.store, self._now())
        except StoreUnavailable as error:
            raise store_away(str(error)) from error
        self._judge_quota(exchange, org, compiled.quota.maximum, verdict.admitted, verdict.remaining)

    def _judge_quota(self, exchange: Exchange, org: Organisation, maximum: int, admitted: bool, remaining: int) -> None:
        if not admitted:
            self._notify("OrgQuotaExceeded", exchange, {"message": "Organisation quota has been exceeded", "org": self._org})
            raise Refusal("org.quota")
        if self._monitor is not None and org.session is not None:
            self._monitor.look(exchange, org.session, self._org, "", maximum, remaining)

    def _refuse_rate(self, exchange: Exchange) -> NoReturn:
        self._notify("OrgRateLimitExceeded", exchange, {"message": "Organisation rate limit has been exceeded", "org": self._org})
        raise Refusal("org.rate")

    def _compile(self, org: Organisation) -> _Compiled:
        """Return the limits of an organisation.

        :raises Refusal: ``org.inactive``; a session that cannot be read lets nobody in, for nobody can tell its limits.
        """
        if org.unreadable:
            raise Refusal("org.inactive", "the session of the organisation cannot be read")
        compiled: _Compiled | None = org.memo
        if compiled is None:
            compiled = org.memo = self._build(org)
        if compiled.inactive:
            raise Refusal("org.inactive")
        return compiled

    def _build(self, org: Organisation) -> _Compiled:
        session = org.session
        if session is None:
            return _Compiled(False, None, None, None)
        rate = normalise_rate(session.rate, session.per)
        quota = build_quota(find_effective(session, ""), self._counter)
        return _Compiled(
            session.is_inactive,
            None if rate is None else self._pool.limit(rate_name(self._counter, ""), rate, session.last_updated),
            quota,
            None if quota is None else self._pool.store.hot_counter(quota.name),
        )


class OffThread:
    """``experimental_process_org_off_thread``: what is found counts from the next request on, so that no request waits for it."""

    __slots__ = ("_refused", "_step")

    def __init__(self, step: OrgLimits) -> None:
        self._step = step
        self._refused = ""

    def try_now(self, exchange: Exchange) -> bool:
        """Refuse by what the request before found, and look again.

        :raises Refusal: ``org.later``.
        """
        refused = self._refused
        Deferred.fromCoroutine(self._look(exchange)).addErrback(
            lambda failure: _log.failure("limits of an organisation failed", failure, event="limits.org_failed")
        )
        if refused:
            raise Refusal("org.later", refused)
        return True

    async def finish(self, exchange: Exchange) -> None:
        """Never needed."""

    async def _look(self, exchange: Exchange) -> None:
        try:
            if not self._step.try_now(exchange):
                await self._step.finish(exchange)
        except Refusal as refusal:
            self._refused = refusal.id
        else:
            self._refused = ""
