"""``GET /tyk/health``: averages per API over the last minute, counted by all workers of this node; must not know how a request is served.

Source: keys reference, section 11, "Health"; the names are Tyk's, the first one with its spelling.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from tlsgate.control.calls import Answer, Call, Endpoint, fail

if TYPE_CHECKING:
    from tlsgate.control.endpoints import ControlTools
    from tlsgate.gateway.request import GateRequest

__all__ = ["ApiHealth", "ApiSamples"]

_THROTTLED = frozenset({"limit.rate", "limit.api_rate"})
_FAILED = frozenset({"auth.key_not_found", "auth.key_inactive", "auth.key_expired", "auth.auth_field_missing", "auth.malformed_header"})
_BINS = 60
_REQUESTS, _THROTTLES, _QUOTAS, _FAILURES, _ANSWERED, _ELAPSED = range(6)


class ApiSamples:
    """Counts finished requests per API in bins of a sixtieth of the window; memory does not grow with traffic.

    :param monotonic: seconds.
    :param window_s: what the averages are over.
    """

    def __init__(self, monotonic: Callable[[], float], window_s: float) -> None:
        self.window_s = window_s
        self._monotonic = monotonic
        self._bin_s = window_s / _BINS
        self._apis: dict[str, OrderedDict[int, list[float]]] = {}

    def note(self, request: GateRequest) -> None:
        """Count a finished request."""
        api = request.api
        if api is None:
            return
        now = self._monotonic()
        bins = self._apis.setdefault(api.api_id, OrderedDict())
        number = int(now / self._bin_s)
        found = bins.get(number)
        if found is None:
            found = bins[number] = [0.0] * 6
            self._drop(bins, number)
        found[_REQUESTS] += 1
        if request.refusal in _THROTTLED:
            found[_THROTTLES] += 1
        elif request.refusal == "limit.quota":
            found[_QUOTAS] += 1
        elif request.refusal in _FAILED:
            found[_FAILURES] += 1
        elif not request.refusal and request.upstream:
            found[_ANSWERED] += 1
            found[_ELAPSED] += (now - request.entered_at) * 1000.0

    def read(self, api_id: str) -> dict[str, float]:
        """Return the averages of an API in this process; zeros when nobody asked."""
        return self.average(self._totals(api_id))

    def gauges(self) -> dict[str, float]:
        """Return the sums of the window in this process, for all APIs."""
        return {_gauge(api_id, column): value for api_id in self._apis for column, value in enumerate(self._totals(api_id)) if value}

    def average_of(self, api_id: str, gauges: Mapping[str, float]) -> dict[str, float]:
        """Return the averages of an API from :meth:`gauges`, perhaps of several processes together."""
        return self.average([gauges.get(_gauge(api_id, column), 0.0) for column in range(6)])

    def _totals(self, api_id: str) -> list[float]:
        bins = self._apis.get(api_id, OrderedDict())
        self._drop(bins, int(self._monotonic() / self._bin_s))
        return [sum(column) for column in zip(*bins.values(), strict=True)] or [0.0] * 6

    def average(self, totals: Sequence[float]) -> dict[str, float]:
        """Return averages from sums over the window."""
        return {
            "throttle_reqests_per_second": totals[_THROTTLES] / self.window_s,
            "quota_violations_per_second": totals[_QUOTAS] / self.window_s,
            "key_failures_per_second": totals[_FAILURES] / self.window_s,
            "average_upstream_latency": totals[_ELAPSED] / totals[_ANSWERED] if totals[_ANSWERED] else 0.0,
            "average_requests_per_second": totals[_REQUESTS] / self.window_s,
        }

    def forget_others(self, api_ids: frozenset[str]) -> None:
        """Forget all APIs but these."""
        for api_id in self._apis.keys() - api_ids:
            del self._apis[api_id]

    @staticmethod
    def _drop(bins: OrderedDict[int, list[float]], number: int) -> None:
        while bins and next(iter(bins)) <= number - _BINS:
            bins.popitem(last=False)


def _gauge(api_id: str, column: int) -> str:
    return f"health:{column}:{api_id}"


class ApiHealth:
    """The endpoint; the figures go on over reloads."""

    def __init__(self, tools: ControlTools) -> None:
        self._site = tools.site
        control = tools.config.control
        before: ApiSamples | None = tools.site.samples
        if not control.health_checks:
            tools.site.samples = None
        elif before is None or before.window_s != control.health_window_s:
            tools.site.samples = ApiSamples(tools.clock.monotonic, control.health_window_s)
        else:
            before.forget_others(frozenset(tools.site.generation.known))
        samples: ApiSamples | None = tools.site.samples
        tools.site.shared_counters.set_source("health", None if samples is None else lambda: ({}, samples.gauges()))

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return it."""
        return (Endpoint("GET", "/tyk/health", self.read),)

    async def read(self, call: Call) -> Answer:
        """The averages of one API."""
        samples: ApiSamples | None = self._site.samples
        if samples is None:
            raise fail(400, "Health checks are not enabled for this node")
        api_id = call.query.get("api_id", "")
        if not api_id:
            raise fail(400, "missing api_id parameter")
        if api_id not in self._site.generation.known:
            raise fail(404, "API ID not found")
        _, gauges = await self._site.shared_counters.total()
        return Answer(200, samples.average_of(api_id, gauges))
