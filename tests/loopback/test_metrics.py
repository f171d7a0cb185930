"""Metrics of a real gateway, scraped over sockets: both places, real handshakes and upstreams, reloads, several workers."""

from __future__ import annotations

import http.client
import time
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.support.certs import SERVER, make_authority
from tests.support.gateway import Client, Gateway, HandshakeRefused, StrictUpstream, classic, free_port, running_gateway

Samples = dict[tuple[str, ...], float]


def scrape(port: int, path: str = "/metrics", headers: dict[str, str] | None = None) -> Samples:
    """Samples by name and labels."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers=headers or {})
        answer = connection.getresponse()
        text = answer.read().decode()
        assert answer.status == 200, text
    finally:
        connection.close()
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def get(gateway: Gateway, path: str, **options: Any) -> int:
    """The status of one request on a connection of its own."""
    with Client(gateway.port, **options) as client:
        return client.request("GET", path, host=options.get("sni", "localhost")).status


def test_a_gateway_tells_what_it_did(tmp_path: Path) -> None:
    """Requests, refusals, upstream failures, handshakes, certificates, reloads; nothing is set back by a reload."""
    root = make_authority()
    server = root.issue("gate", usages=SERVER, names=("strict.test", "localhost"))
    alice = root.issue("alice")
    ca = tmp_path / "ca.pem"
    ca.write_text(root.pem)
    port = free_port()
    with StrictUpstream() as upstream:
        apis = (
            classic("open", upstream.port, "/open/"),
            classic("down", free_port(), "/down/"),
            classic("strict", upstream.port, "/", domain="strict.test", use_mutual_tls_auth=True, client_certificates=[str(ca)]),
        )
        with running_gateway(tmp_path, *apis, server=server, tlsgate={"metrics": {"port": port}}) as gateway:
            before = scrape(port)
            assert [get(gateway, "/open/x", sni="localhost") for _ in range(3)] == [200, 200, 200]
            assert get(gateway, "/down/x", sni="localhost") == 500
            assert get(gateway, "/nothing", sni="localhost") == 404
            assert get(gateway, "/x", sni="strict.test", identity=alice) == 200
            try:
                Client(gateway.port, sni="strict.test").close()
            except HandshakeRefused:
                pass
            for number in range(2):
                found = scrape(port)
                assert found["tlsgate_http_requests_total", "2xx", "open"] == 3
                assert found["tlsgate_http_requests_total", "5xx", "down"] == 1
                assert found["tlsgate_http_request_duration_seconds_count", "open"] == 3
                assert found["tlsgate_upstream_failures_total", "UCF"] == 1
                assert found["tlsgate_refusals_total", "route.not_found"] >= 1
                assert found["tlsgate_tls_handshakes_total", "accepted"] >= 6
                assert found["tlsgate_tls_handshakes_total", "refused"] >= 1
                assert found["tlsgate_reloads_total", "done"] == number
                assert found["tlsgate_apis", "served"] == 3
                assert found[("tlsgate_store_up",)] == 1
                assert found[("process_resident_memory_bytes",)] > 1 << 20
                expiries = [value for key, value in found.items() if key[0] == "tlsgate_certificate_expiry_timestamp_seconds"]
                assert expiries == [server.certificate.not_valid_after_utc.timestamp()]
                assert found[("tlsgate_connections_total",)] > before[("tlsgate_connections_total",)]
                if not number:
                    gateway.reload()
            assert get(gateway, "/metrics", sni="localhost") == 404
            control = int(gateway.config["control_api_port"])
            with Client(control, sni="localhost") as client:
                answer = client.request("GET", "/tyk/metrics", headers=[("Authorization", f"Bearer {gateway.config['secret']}")])
                assert answer.status == 200
                assert b"tlsgate_http_requests_total" in answer.body


def test_a_listener_can_come_and_go_by_a_reload(tmp_path: Path) -> None:
    """What was there before is closed."""
    first, second = free_port(), free_port()
    with running_gateway(tmp_path, classic("a", 9, "/a/"), tlsgate={"metrics": {"port": first}}) as gateway:
        scrape(first)
        gateway.config["tlsgate"]["metrics"]["port"] = second
        gateway.write_config()
        gateway.reload()
        scrape(second)
        try:
            scrape(first)
            raise AssertionError("the old listener is still there")
        except ConnectionRefusedError:
            pass


def test_numbers_of_all_workers_are_added(tmp_path: Path) -> None:
    """Whoever is asked tells what all have done."""
    port = free_port()
    with StrictUpstream() as upstream:
        own = {"metrics": {"port": port}, "workers": 2}
        with running_gateway(tmp_path, classic("open", upstream.port, "/open/"), tlsgate=own) as gateway:
            assert [get(gateway, "/open/x", tls=False) for _ in range(20)] == [200] * 20
            deadline = time.monotonic() + 10
            while True:
                found = scrape(port)
                if found[("tlsgate_processes",)] == 2 or time.monotonic() > deadline:
                    break
            assert found[("tlsgate_processes",)] == 2
            for _ in range(6):
                assert scrape(port)["tlsgate_http_requests_total", "2xx", "open"] == 20
