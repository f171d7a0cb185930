"""Plain numbers of one or several processes to Prometheus's text; knows neither where they come from nor who asks.

Names follow Prometheus's conventions: base units, ``_total`` for what only grows. Labels are bounded: ids of APIs up to a number, ids of
the catalogue, flags, certificates of the gateway itself; never a path, key, address or name of a client.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from tlsgate import __version__
from tlsgate.gateway.meter import BOUNDS_S

if TYPE_CHECKING:
    from tlsgate.gateway.shared_counters import Snapshot

__all__ = ["METRICS", "Described", "collect", "render"]


class Described(NamedTuple):
    """One metric and the numbers that it is made of."""

    name: str
    kind: str
    """``counter`` or ``gauge``."""
    help: str
    source: str
    """Name of the number; with labels the part before the first colon."""
    labels: tuple[str, ...] = ()
    """The rest of the number's name, split at colons; the last label takes what is left."""
    join: str = "sum"
    """Over processes: ``sum``, ``min`` or ``max``."""


METRICS = (
    Described("tlsgate_http_requests", "counter", "Finished requests by API and status class.", "http", ("status", "api")),
    Described("tlsgate_refusals", "counter", "Requests refused, by id of the catalogue.", "refused", ("refusal",)),
    Described("tlsgate_upstream_failures", "counter", "Requests that the upstream failed, by flag.", "upstream_failed", ("flag",)),
    Described("tlsgate_connections", "counter", "Accepted connections.", "connections"),
    Described("tlsgate_connections_over_limit", "counter", "Connections that met the limit of connections.", "connections_over_limit"),
    Described("tlsgate_connections_open", "gauge", "Open client connections, handshakes included.", "connections"),
    Described("tlsgate_proxy_headers_refused", "counter", "Connections without a readable PROXY header.", "proxy_headers_refused"),
    Described("tlsgate_tls_handshakes", "counter", "Ended TLS handshakes by outcome.", "handshake", ("outcome",)),
    Described("tlsgate_tls_handshakes_resumed", "counter", "Handshakes that resumed a session with a client certificate.", "resumed"),
    Described("tlsgate_tls_handshakes_over_limit", "counter", "Handshakes that met the limit of handshakes.", "handshakes_over_limit"),
    Described("tlsgate_tls_handshakes_running", "gauge", "Handshakes under way.", "handshaking"),
    Described("tlsgate_raw_connections", "counter", "Connections to raw services.", "raw_connections"),
    Described("tlsgate_raw_connections_refused", "counter", "Connections that raw services refused.", "raw_refused"),
    Described("tlsgate_raw_upstream_failures", "counter", "Connections whose raw service was not reached.", "raw_upstream_failed"),
    Described("tlsgate_upstream_connections_open", "gauge", "Open connections to upstreams.", "upstream_connections"),
    Described("tlsgate_upstream_connections_idle", "gauge", "Idle ones among them.", "upstream_idle"),
    Described("tlsgate_reloads", "counter", "Reloads by outcome, of every process.", "reload", ("outcome",)),
    Described("tlsgate_apis", "gauge", "Definitions by state.", "apis", ("state",), "max"),
    Described("tlsgate_load_problems", "gauge", "Problems of the last load by severity.", "load_problems", ("severity",), "max"),
    Described(
        "tlsgate_certificate_expiry_timestamp_seconds",
        "gauge",
        "End of the gateway's own server certificates.",
        "certificate",
        ("fingerprint", "name"),
        "min",
    ),
    Described("tlsgate_store_up", "gauge", "Whether the store answers, to every process.", "store_up", (), "min"),
    Described("tlsgate_webhook_deliveries", "counter", "Deliveries to web hooks by outcome.", "webhook", ("outcome",)),
    Described("tlsgate_webhook_queue", "gauge", "Deliveries to web hooks that wait or are under way.", "webhook_queue"),
    Described("tlsgate_processes", "gauge", "Processes that serve.", "processes"),
    Described("process_cpu_seconds", "counter", "CPU time of all processes.", "process_cpu_s"),
    Described("process_resident_memory_bytes", "gauge", "Resident memory of all processes.", "process_resident_bytes"),
    Described("process_virtual_memory_bytes", "gauge", "Virtual memory of all processes.", "process_virtual_bytes"),
    Described("process_open_fds", "gauge", "Open descriptors of all processes.", "process_open_files"),
    Described("process_start_time_seconds", "gauge", "Start of the oldest process.", "process_started", (), "min"),
)
_RENAMED = {
    "handshakes_done": "handshake:accepted",
    "handshakes_refused": "handshake:refused",
    "handshakes_resumed": "resumed",
    "reloads": "reload:done",
    "reloads_refused": "reload:refused",
    "reloads_failed": "reload:failed",
}
_ALWAYS = ("handshake:accepted", "handshake:refused", "reload:done", "reload:refused")
"""Counters that are there from the start: a rate needs a first value."""
_JOINS: dict[str, Callable[[Iterable[float]], float]] = {"sum": sum, "min": min, "max": max}


def render(snapshots: Sequence[Snapshot], accept: str) -> tuple[bytes, str]:
    """Return the text and its content type; takes milliseconds for many APIs: not for the reactor's thread.

    :param snapshots: one for each process.
    :param accept: the scraper's header: OpenMetrics where it is asked for, else Prometheus's own text.
    """
    chosen: Any = choose_encoder(accept)
    text: bytes = chosen[0](_Found(collect(snapshots)))
    return text, str(chosen[1])


def collect(snapshots: Sequence[Snapshot]) -> Iterator[Metric]:
    """Yield the metrics of all processes together."""
    counters = _gather(snapshots, "counters")
    gauges = _gather(snapshots, "gauges")
    for name in _ALWAYS:
        counters[name.partition(":")[0]].setdefault(name.partition(":")[2], [0.0])
    for described in METRICS:
        counts = described.kind == "counter"
        family: CounterMetricFamily | GaugeMetricFamily
        family = (CounterMetricFamily if counts else GaugeMetricFamily)(described.name, described.help, labels=described.labels)
        join = _JOINS[described.join]
        for rest, values in sorted((counters if counts else gauges).get(described.source, {}).items()):
            family.add_metric(_split(rest, len(described.labels)), join(values))
        if counts and not described.labels and not family.samples:
            family.add_metric((), 0)
        yield family
    yield _build_histogram(counters.get("took", {}))
    info = GaugeMetricFamily("tlsgate_build_info", "The version that runs.", labels=("version",))
    info.add_metric((__version__,), 1)
    yield info


class _Found(Collector):
    """What encoders want: something to collect from."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _gather(snapshots: Sequence[Snapshot], kind: str) -> dict[str, dict[str, list[float]]]:
    """Return numbers by first and other parts of their names, one for each process that has it."""
    found: dict[str, dict[str, list[float]]] = defaultdict(dict)
    for snapshot in snapshots:
        numbers = snapshot["counters"] if kind == "counters" else snapshot["gauges"]
        for name, value in numbers.items():
            first, _, rest = _RENAMED.get(name, name).partition(":")
            found[first].setdefault(rest, []).append(value)
    return found


def _split(rest: str, count: int) -> tuple[str, ...]:
    return tuple(rest.split(":", count - 1)) if count else ()


def _build_histogram(took: dict[str, list[float]]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(
        "tlsgate_http_request_duration_seconds", "From the head of a request to the end of its answer, by API.", labels=("api",)
    )
    rows: dict[str, dict[str, float]] = defaultdict(dict)
    for rest, values in took.items():
        part, _, api = rest.partition(":")
        rows[api][part] = sum(values)
    bounds = [*map(str, BOUNDS_S), "+Inf"]
    for api, row in sorted(rows.items()):
        total = 0.0
        buckets = []
        for number, bound in enumerate(bounds):
            total += row.get(str(number), 0)
            buckets.append((bound, total))
        family.add_metric((api,), buckets, row.get("sum", 0.0))
    return family
