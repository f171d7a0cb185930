"""The rows of the table: what one measurement of one proxy is; knows nothing of the order of a run or of how figures are shown.

Each measurement also verifies that the proxy did what the row says (kept connections alive on both sides, resumed every session):
a proxy that did not gets no figure rather than a wrong one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from benchmarks.client import BODY_BYTES
from benchmarks.credentials import METHODS, make_token
from benchmarks.load import LoadError, hold_idle, run_ab, run_client
from benchmarks.measure import measure_cpu, read_rss_kib
from benchmarks.peers import NAMES, Proxy
from benchmarks.upstream import Site, Upstream

__all__ = ["FULL", "IDLE", "QUICK", "ROWS", "Bench", "Row", "Scale", "measure_keepalive", "measure_new"]

_KEPT_ALIVE_CONNECTIONS = 32
_NEW_CONNECTIONS = 16
_OWN_CONNECTIONS = 8
_BODY_CONNECTIONS = 2
_RATE_CONNECTIONS = 32
_NEW_UPSTREAM_SHARE = 0.01
"""Share of requests that may open an upstream connection before a proxy counts as one without keep-alive."""
_IDLE_SETTLE_S = 0.5


class Scale(NamedTuple):
    """How long and how often."""

    seconds: int
    """Of one measurement."""
    rounds: int
    """Measurements of one row and proxy."""
    idle: int
    """Idle connections held."""
    rate: int
    """Requests per second of the fixed-rate row."""
    rate_seconds: int
    tokens: int
    """New ones of a measurement; it may end earlier for want of them."""
    definitions: tuple[int, ...]
    certificates: tuple[int, ...]


FULL = Scale(
    seconds=1,
    rounds=4,
    idle=1000,
    rate=1000,
    rate_seconds=2,
    tokens=4000,
    definitions=(10, 1_000, 10_000),
    certificates=(10, 10_000, 100_000),
)
QUICK = Scale(seconds=1, rounds=1, idle=200, rate=1000, rate_seconds=1, tokens=2000, definitions=(10, 1_000), certificates=(10, 10_000))


class Bench(NamedTuple):
    """What a measurement needs beside its proxy."""

    site: Site
    upstream: Upstream
    scale: Scale


class Row(NamedTuple):
    """One row."""

    name: str
    title: str
    measure: Callable[[Bench, Proxy], float]
    """Raises LoadError."""
    lowest: bool = True
    """The lowest round counts, else the median."""
    without: frozenset[str] = frozenset()
    """Proxies that cannot do it."""


def measure_keepalive(bench: Bench, proxy: Proxy, path: str = "/", headers: tuple[str, ...] = ()) -> float:
    """CPU microseconds per request on kept-alive connections.

    :param bench: the run.
    :param proxy: the one under test.
    :param path: what to ask for.
    :param headers: sent with each request.
    :raises LoadError: it does not keep connections alive, or the load failed.
    """
    before = bench.upstream.accepted()
    cpu_s, result = measure_cpu(
        proxy.pid,
        lambda: run_ab(
            bench.site,
            proxy.port,
            path=path,
            seconds=bench.scale.seconds,
            connections=_KEPT_ALIVE_CONNECTIONS,
            keep_alive=True,
            headers=headers,
        ),
    )
    if result.kept_alive < result.complete - _KEPT_ALIVE_CONNECTIONS:
        raise LoadError(f"only {result.kept_alive} of {result.complete} requests were kept alive")
    opened = bench.upstream.accepted() - before - 1
    if opened > max(_KEPT_ALIVE_CONNECTIONS, result.complete * _NEW_UPSTREAM_SHARE):
        raise LoadError(f"{opened} upstream connections for {result.complete} requests: no keep-alive")
    return cpu_s * 1e6 / result.complete


def _with_credential(name: str) -> Callable[[Bench, Proxy], float]:
    """As ``measure_keepalive``, with a credential whose policy gives it a rate and a quota in the embedded store."""
    method = METHODS[name]
    headers = cache(method.headers)
    return lambda bench, proxy: measure_keepalive(bench, proxy, method.path, headers())


def _with_new_tokens(name: str, algorithm: str) -> Callable[[Bench, Proxy], float]:
    """CPU microseconds per request on kept-alive connections, each with a token that nobody has seen."""

    def measure(bench: Bench, proxy: Proxy) -> float:
        file = bench.site.folder / "tokens.txt"
        file.write_text("\n".join(make_token(algorithm) for _ in range(bench.scale.tokens)), encoding="ascii")
        cpu_s, result = _run(bench, proxy, "tokens", connections=_OWN_CONNECTIONS, path=METHODS[name].path, tokens=str(file))
        return cpu_s * 1e6 / int(result["count"])

    return measure


def measure_new(bench: Bench, proxy: Proxy, path: str = "/") -> float:
    """CPU microseconds per new connection: full TLS 1.3 handshake with client certificate, one request, close.

    :param bench: the run.
    :param proxy: the one under test.
    :param path: what to ask for.
    :raises LoadError: the load failed.
    """
    cpu_s, result = measure_cpu(
        proxy.pid,
        lambda: run_ab(bench.site, proxy.port, path=path, seconds=bench.scale.seconds, connections=_NEW_CONNECTIONS, keep_alive=False),
    )
    return cpu_s * 1e6 / result.complete


def _measure_fresh(bench: Bench, proxy: Proxy) -> float:
    """As ``measure_new``, by the client that also resumes: what resumption is compared with."""
    cpu_s, result = _run(bench, proxy, "fresh", connections=_OWN_CONNECTIONS)
    if result["reused"]:
        raise LoadError("a connection without a session was resumed")
    return cpu_s * 1e6 / int(result["count"])


def _measure_resumed(bench: Bench, proxy: Proxy, tls: str) -> float:
    cpu_s, result = _run(bench, proxy, "resume", connections=_OWN_CONNECTIONS, tls=tls)
    if result["reused"] != result["count"]:
        raise LoadError(f"only {result['reused']} of {result['count']} connections were resumed")
    return cpu_s * 1e6 / int(result["count"])


def _measure_resumed_13(bench: Bench, proxy: Proxy) -> float:
    return _measure_resumed(bench, proxy, "1.3")


def _measure_resumed_12(bench: Bench, proxy: Proxy) -> float:
    return _measure_resumed(bench, proxy, "1.2")


def _measure_down(bench: Bench, proxy: Proxy) -> float:
    cpu_s, result = _run(bench, proxy, "down", connections=_BODY_CONNECTIONS, path="/10m")
    return cpu_s * 1e6 / (int(result["count"]) * (BODY_BYTES >> 20))


def _measure_up(bench: Bench, proxy: Proxy) -> float:
    cpu_s, result = _run(bench, proxy, "up", connections=_BODY_CONNECTIONS, path="/body/")
    return cpu_s * 1e6 / (int(result["count"]) * (BODY_BYTES >> 20))


def _measure_p99(bench: Bench, proxy: Proxy) -> float:
    _, result = _run(bench, proxy, "rate", connections=_RATE_CONNECTIONS, rate=bench.scale.rate, seconds=bench.scale.rate_seconds)
    return float(result["p99_ms"])


def _measure_idle(bench: Bench, proxy: Proxy) -> float:
    growth = hold_idle(
        bench.site, proxy.port, bench.scale.idle, read=lambda: read_rss_kib(proxy.pid), settle=lambda: time.sleep(_IDLE_SETTLE_S)
    )
    return growth / bench.scale.idle


def _run(bench: Bench, proxy: Proxy, mode: str, **options: str | float) -> tuple[float, dict[str, Any]]:
    options = {"seconds": bench.scale.seconds, **options}
    return run_client(bench.site, proxy.port, mode, lambda action: measure_cpu(proxy.pid, action), **options)


_NOT_RESUMING = frozenset({"caddy"})
"""Caddy 2.11 sends no session ticket, in either version, on listeners that verify client certificates."""
_OTHERS = frozenset(NAMES) - {"tlsgate"}

ROWS = (
    Row("keepalive", "CPU us / kept-alive request", measure_keepalive),
    Row("token", "CPU us / request with token", _with_credential("token"), without=_OTHERS),
    Row("certificate", "CPU us / request with dynamic mTLS", _with_credential("certificate"), without=_OTHERS),
    Row("basic", "CPU us / request with Basic, cached", _with_credential("basic"), without=_OTHERS),
    Row("hmac", "CPU us / request with HMAC-SHA256", _with_credential("hmac"), without=_OTHERS),
    Row("jwt", "CPU us / request with RS256 JWT, warm", _with_credential("jwt"), without=_OTHERS),
    Row("introspection", "CPU us / request with introspection, warm", _with_credential("introspection"), without=_OTHERS),
    Row("jwt_cold", "CPU us / request with RS256 JWT, cold", _with_new_tokens("jwt", "RS256"), without=_OTHERS),
    Row("es256_cold", "CPU us / request with ES256 JWT, cold", _with_new_tokens("es256", "ES256"), without=_OTHERS),
    Row("new", "CPU us / new mTLS connection", measure_new),
    Row("fresh", "CPU us / new, own client", _measure_fresh),
    Row("resumed13", "CPU us / resumed, TLS 1.3", _measure_resumed_13, without=_NOT_RESUMING),
    Row("resumed12", "CPU us / resumed, TLS 1.2", _measure_resumed_12, without=_NOT_RESUMING),
    Row("down", "CPU us / MiB, 10 MiB down", _measure_down),
    Row("up", "CPU us / MiB, 10 MiB up", _measure_up),
    Row("p99", "p99 ms at a fixed rate", _measure_p99, lowest=False),
)
IDLE = Row("idle", "KiB / idle connection", _measure_idle)
"""Measured on a freshly started proxy: memory freed by other rows would hide the growth."""
