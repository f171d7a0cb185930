"""Tests of `tlsgate.control.api_health` (keys reference, section 11, "Health")."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred

from tests.support.gateway import classic
from tests.support.memory_gateway import MemoryGateway
from tlsgate.control.api_health import ApiHealth, ApiSamples
from tlsgate.control.calls import Answer, Call, CallFailed
from tlsgate.control.endpoints import ControlTools

ZEROS = {
    "throttle_reqests_per_second": 0.0,
    "quota_violations_per_second": 0.0,
    "key_failures_per_second": 0.0,
    "average_upstream_latency": 0.0,
    "average_requests_per_second": 0.0,
}


def finished(api_id: str, refusal: str = "", entered_at: float = 0.0, upstream: str = "up:80") -> Any:
    return SimpleNamespace(api=SimpleNamespace(api_id=api_id), refusal=refusal, entered_at=entered_at, upstream=upstream)


def tools_of(gateway: MemoryGateway) -> ControlTools:
    async def reload() -> str:
        return ""

    return ControlTools(gateway.config, gateway.site, gateway.state, gateway.clock, reload)


def ask(health: ApiHealth, **query: str) -> Answer:
    (endpoint,) = health.endpoints()
    answers: list[Answer] = []

    async def run() -> None:
        try:
            answers.append(await endpoint.handle(Call("GET", {}, query, b"", "", None)))  # type: ignore[arg-type]
        except CallFailed as failed:
            answers.append(failed.answer)

    Deferred.fromCoroutine(run())
    return answers[0]


def test_averages_over_the_window() -> None:
    """Each kind of end has its own; latency is of proxied requests alone."""
    now = [1000.0]
    samples = ApiSamples(lambda: now[0], 60.0)
    for refusal in ("limit.rate", "limit.api_rate", "limit.quota", "auth.key_not_found", "auth.auth_field_missing", "cert.missing"):
        samples.note(finished("a", refusal))
    samples.note(finished("a", entered_at=999.9))
    samples.note(finished("a", entered_at=999.7))
    samples.note(finished("a", upstream=""))
    samples.note(finished("b"))
    samples.note(SimpleNamespace(api=None))  # type: ignore[arg-type]
    found = samples.read("a")
    assert round(found["average_upstream_latency"], 6) == 200.0
    assert {name: round(value * 60) for name, value in found.items() if name != "average_upstream_latency"} == {
        "throttle_reqests_per_second": 2,
        "quota_violations_per_second": 1,
        "key_failures_per_second": 2,
        "average_requests_per_second": 9,
    }
    assert samples.read("nobody") == ZEROS


def test_what_is_older_than_the_window_is_gone() -> None:
    """And takes no memory: at most sixty bins per API."""
    now = [0.0]
    samples = ApiSamples(lambda: now[0], 60.0)
    for second in range(500):
        now[0] = float(second)
        samples.note(finished("a"))
    assert samples.read("a")["average_requests_per_second"] == 1.0
    assert len(samples._apis["a"]) <= 60
    now[0] = 558.5
    assert round(samples.read("a")["average_requests_per_second"] * 60) == 1
    now[0] = 560.0
    assert samples.read("a") == ZEROS


def test_errors_of_the_endpoint() -> None:
    off = ask(ApiHealth(tools_of(MemoryGateway(classic("one", 9, "/one/")))), api_id="one")
    assert (off.status, off.body["message"]) == (400, "Health checks are not enabled for this node")
    gateway = MemoryGateway(classic("one", 9, "/one/"), health_check={"enable_health_checks": True})
    health = ApiHealth(tools_of(gateway))
    missing, unknown = ask(health), ask(health, api_id="two")
    assert (missing.status, missing.body["message"]) == (400, "missing api_id parameter")
    assert (unknown.status, unknown.body["message"]) == (404, "API ID not found")
    assert ask(health, api_id="one") == Answer(200, ZEROS)


def test_requests_are_counted_where_it_is_on_and_over_reloads() -> None:
    gateway = MemoryGateway(classic("one", 9, "/one/", blacklisted_ips=["192.0.2.7"]), health_check={"enable_health_checks": True})
    health = ApiHealth(tools_of(gateway))
    assert gateway.ask(b"GET /one/ HTTP/1.1\r\nHost: a\r\n\r\n").status == 403
    assert round(ask(health, api_id="one").body["average_requests_per_second"] * 60) == 1
    gateway.site.samples.note(finished("gone"))
    again = ApiHealth(tools_of(gateway))
    assert round(ask(again, api_id="one").body["average_requests_per_second"] * 60) == 1
    assert "gone" not in gateway.site.samples._apis


def test_it_is_switched_off_by_a_reload() -> None:
    gateway = MemoryGateway(health_check={"enable_health_checks": True})
    ApiHealth(tools_of(gateway))
    assert gateway.site.samples is not None
    ApiHealth(tools_of(gateway)._replace(config=MemoryGateway().config))
    assert gateway.site.samples is None
