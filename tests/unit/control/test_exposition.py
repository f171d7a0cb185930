"""Prometheus's text: read back by its own parser, sums over processes, names and labels by its conventions."""

from __future__ import annotations

import re
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tlsgate.control.exposition import METRICS, render
from tlsgate.gateway.meter import BOUNDS_S
from tlsgate.gateway.shared_counters import Snapshot


def snapshot(worker: int = 1, counters: dict[str, float] | None = None, gauges: dict[str, float] | None = None) -> Snapshot:
    """Numbers of a process."""
    return Snapshot(worker=worker, counters=counters or {}, gauges=gauges or {})


def read(*snapshots: Snapshot, accept: str = "") -> dict[tuple[str, ...], float]:
    """Samples by name and labels, as a scraper reads them."""
    text, content_type = render(snapshots, accept)
    parse: Any = parse_openmetrics if "openmetrics" in content_type else parse_text
    found: dict[tuple[str, ...], float] = {}
    for family in parse(text.decode()):
        for sample in family.samples:
            key = (sample.name, *(f"{name}={value}" for name, value in sorted(sample.labels.items())))
            assert key not in found, key
            found[key] = sample.value
    return found


def test_counters_of_processes_are_added() -> None:
    """With their labels; an id of an API may hold a colon."""
    first = {"http:2xx:a": 3, "http:4xx:": 1, "refused:cert.missing": 2, "connections": 5, "http:2xx:x:y": 1, "handshakes_done": 4}
    found = read(snapshot(1, first), snapshot(2, {"http:2xx:a": 4, "handshakes_done": 1}), snapshot(0, {"http:2xx:a": 10}))
    assert found["tlsgate_http_requests_total", "api=a", "status=2xx"] == 17
    assert found["tlsgate_http_requests_total", "api=", "status=4xx"] == 1
    assert found["tlsgate_http_requests_total", "api=x:y", "status=2xx"] == 1
    assert found["tlsgate_refusals_total", "refusal=cert.missing"] == 2
    assert found[("tlsgate_connections_total",)] == 5
    assert found["tlsgate_tls_handshakes_total", "outcome=accepted"] == 5


def test_gauges_are_joined_by_what_they_mean() -> None:
    """Connections add up, definitions do not; one process without its store is a store that is away."""
    first = {"connections": 3, "apis:served": 7, "store_up": 1, "certificate:ab:gate.test": 2000.0, "process_started": 50.0, "processes": 1}
    second = {
        "connections": 4,
        "apis:served": 7,
        "store_up": 0,
        "certificate:ab:gate.test": 2000.0,
        "process_started": 60.0,
        "processes": 1,
    }
    found = read(snapshot(1, None, first), snapshot(2, None, second))
    assert found[("tlsgate_connections_open",)] == 7
    assert found["tlsgate_apis", "state=served"] == 7
    assert found[("tlsgate_store_up",)] == 0
    assert found["tlsgate_certificate_expiry_timestamp_seconds", "fingerprint=ab", "name=gate.test"] == 2000
    assert found[("process_start_time_seconds",)] == 50
    assert found[("tlsgate_processes",)] == 2


def test_the_histogram_is_cumulative() -> None:
    """The last bucket is the count."""
    counters = {"took:0:a": 2, "took:3:a": 1, f"took:{len(BOUNDS_S)}:a": 4, "took:sum:a": 1.5}
    found = read(snapshot(1, counters), snapshot(2, {"took:0:a": 1, "took:sum:a": 0.5}))
    name = "tlsgate_http_request_duration_seconds"
    assert found[f"{name}_bucket", "api=a", "le=0.001"] == 3
    assert found[f"{name}_bucket", "api=a", "le=0.0025"] == 3
    assert found[f"{name}_bucket", "api=a", "le=0.01"] == 4
    assert found[f"{name}_bucket", "api=a", "le=30.0"] == 4
    assert found[f"{name}_bucket", "api=a", "le=+Inf"] == found[f"{name}_count", "api=a"] == 8
    assert found[f"{name}_sum", "api=a"] == 2.0


@pytest.mark.parametrize("accept", ["", "text/plain", "application/openmetrics-text; version=1.0.0", "*/*", "garbage;;q=x"])
def test_both_forms_are_read_by_prometheus_s_own_parsers(accept: str) -> None:
    """Names with quotes, newlines and letters of all kinds do not break the text."""
    odd = 'a"b\\c\nd\u00fc'
    found = read(snapshot(1, {f"http:2xx:{odd}": 1, "took:0:a": 1, "took:sum:a": 0.1}), accept=accept)
    assert found["tlsgate_http_requests_total", f"api={odd}", "status=2xx"] == 1


def test_what_has_not_happened_yet_is_zero_not_absent() -> None:
    """So that the first refusal or failed reload is a rise."""
    found = read(snapshot())
    assert found["tlsgate_reloads_total", "outcome=done"] == found["tlsgate_reloads_total", "outcome=refused"] == 0
    assert found[("tlsgate_connections_total",)] == 0


def test_names_follow_the_conventions() -> None:
    """Base units, lower case, a prefix of ours or the usual one of processes; ``_total`` is added by the library."""
    for described in METRICS:
        assert re.fullmatch(r"(tlsgate|process)_[a-z_]+", described.name)
        assert not described.name.endswith("_total")
        assert described.help.endswith(".")
        assert described.kind in ("counter", "gauge")
        assert set(described.labels) <= {"status", "api", "refusal", "flag", "outcome", "state", "severity", "fingerprint", "name"}


def test_what_is_not_described_is_not_shown() -> None:
    """A number that somebody adds does not become a series by itself."""
    text, _ = render([snapshot(1, {"secret-thing:of-a-client": 1})], "")
    assert b"secret" not in text and b"of-a-client" not in text
