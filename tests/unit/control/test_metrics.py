"""``/tyk/metrics`` and ``/metrics``: who may ask, where, and that numbers survive a reload."""

from __future__ import annotations

import pytest

from tests.support.control import SECRET, MemoryControl, token_api
from tests.support.gateway import classic
from tests.support.memory_channel import Answer, parse_answer

PORT = 9464


def ask(control: MemoryControl, target: str, *headers: str, port: int | None = None) -> Answer:
    """Ask on a port."""
    channel, transport = control.gateway.connect(port=port)
    head = "".join(f"{line}\r\n" for line in (f"GET {target} HTTP/1.1", "Host: a", *headers))
    channel.dataReceived(f"{head}\r\n".encode())
    for _ in range(20):
        control.gateway.reactor.advance(0)
    return parse_answer(transport.value())


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (f"X-Tyk-Authorization: {SECRET}", 200),
        (f"Authorization: Bearer {SECRET}", 200),
        (f"authorization: bearer {SECRET}", 200),
        (f"Authorization: {SECRET}", 403),
        ("Authorization: Bearer wrong", 403),
        ("Authorization: Bearer ", 403),
        ("X-Other: 1", 403),
    ],
)
def test_the_control_port_wants_the_secret(header: str, status: int) -> None:
    """In the form of Tyk's tools, or in that of Prometheus."""
    answer = ask(MemoryControl(), "/tyk/metrics", header)
    assert answer.status == status
    assert (b"tlsgate_build_info" in answer.body) == (status == 200)


def test_the_bearer_form_is_for_metrics_alone() -> None:
    """Elsewhere a header that browsers and proxies send by themselves opens nothing."""
    assert ask(MemoryControl(), "/tyk/keys", f"Authorization: Bearer {SECRET}").status == 403


def test_a_listener_of_its_own_serves_metrics_and_nothing_else() -> None:
    """No secret there; the gateway's own port does not have that path."""
    control = MemoryControl(token_api(), classic("all", 9, "/"), tlsgate={"metrics": {"port": PORT}})
    answer = ask(control, "/metrics", port=PORT)
    assert answer.status == 200
    assert (answer.header(b"content-type") or b"").startswith(b"text/plain; version=")
    for target in ("/tyk/keys", "/tyk/metrics", "/hello", "/api/", "/", "/metrics/x"):
        assert ask(control, target, f"X-Tyk-Authorization: {SECRET}", port=PORT).status == 404, target
    assert ask(MemoryControl(tlsgate={"metrics": {"port": PORT}}), "/metrics").status == 404


def test_requests_are_counted_where_they_belong() -> None:
    """By API and status, refusals by id; a reload sets nothing back."""
    control = MemoryControl()
    key = control.call("POST", "/tyk/keys/create", {"org_id": "org", "access_rights": {"api": {"versions": ["Default"]}}}).key
    assert [control.ask(key), control.ask("nobody"), control.ask(key)] == [200, 403, 200]
    for _ in range(2):
        text = ask(control, "/tyk/metrics", f"X-Tyk-Authorization: {SECRET}").body.decode()
        assert 'tlsgate_http_requests_total{api="api",status="2xx"} 2.0' in text
        assert 'tlsgate_http_requests_total{api="api",status="4xx"} 1.0' in text
        assert 'tlsgate_refusals_total{refusal="auth.key_not_found"} 1.0' in text
        assert 'tlsgate_http_request_duration_seconds_count{api="api"} 3.0' in text
        assert key not in text and "nobody" not in text
        control.gateway.site.generation = control.gateway.build()
        control.gateway.site.configure(control.gateway.config)


def test_openmetrics_is_sent_to_whoever_asks_for_it() -> None:
    """As Prometheus does."""
    answer = ask(MemoryControl(), "/tyk/metrics", f"Authorization: Bearer {SECRET}", "Accept: application/openmetrics-text;version=1.0.0")
    assert (answer.header(b"content-type") or b"").startswith(b"application/openmetrics-text")
    assert answer.body.endswith(b"# EOF\n")
