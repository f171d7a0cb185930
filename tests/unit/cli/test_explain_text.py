"""Tests of `tlsgate.cli.explain_text`: the report that an auditor reads."""

from __future__ import annotations

from typing import Any

import pytest

from tlsgate.cli.explain_text import format_report

RECORD: dict[str, Any] = {
    "id": "1a2b3c4d-00112233445566.1",
    "kind": "request",
    "at": 1_800_000_000.5,
    "outcome": "refused",
    "status": 403,
    "refusal": "cert.not_allowed",
    "message": "Certificate with SHA256 {fingerprint} not allowed",
    "flag": "CMM",
    "rule": "not listed",
    "remedy": "Put it on the list. " * 12,
    "node": "gate-1",
    "worker": 2,
    "request": {"method": "GET", "host": "a.test", "path": "/orders/1", "has_query": True, "http": "1.1", "fields": ["host", "accept"]},
    "connection": {
        "id": "1a2b3c4d-00112233445566",
        "peer": "10.0.0.1",
        "peer_port": 4711,
        "client": "192.0.2.7",
        "port": 8443,
        "tls": True,
    },
    "tls": {
        "version": "TLS 1.3",
        "cipher": "TLS_AES_128_GCM_SHA256",
        "server_name": "a.test",
        "resumed": False,
        "client_certificate": "asked for",
        "certificate": {
            "subject": "CN=mallory",
            "issuer": "CN=Foreign CA",
            "serial": "0a",
            "fingerprint": "ab" * 32,
            "not_before": 1_700_000_000,
            "not_after": 1_750_000_000,
            "valid_now": False,
            "proven": True,
            "client_usage": True,
            "weakness": "",
            "readable": True,
        },
    },
    "route": {
        "api_id": "orders",
        "name": "Orders",
        "org_id": "acme",
        "listen_path": "/orders/",
        "domain": "a.test",
        "by_id": False,
        "version": "",
        "ignored": False,
        "keyless": False,
        "credentials_from": ["header Authorization"],
    },
    "steps": [
        {"name": "route", "outcome": "passed"},
        {"name": "certificate", "outcome": "refused", "rule": "not listed"},
        {"name": "token", "outcome": "not reached"},
        {"name": "mock", "outcome": "not used"},
    ],
    "session": {"key": "****cdef", "alias": "shop", "org_id": "acme", "policies": ["gold"], "expires": 0, "inactive": False, "others": []},
    "limits": {
        "rate": {"limit": 5, "per_s": 60.0, "remaining": 0},
        "quota": {"limit": 100, "per_s": 0, "remaining": None},
        "api_rate": {"limit": 9, "per_s": 1.0, "remaining": 4, "renews": 1_800_000_100},
    },
    "upstream": "",
    "elapsed_ms": 0.42,
    "bytes": 120,
}

REPORT = """\
Request 1a2b3c4d-00112233445566.1 was refused with 403 (cert.not_allowed).

when             2027-01-15T08:00:00Z, after 0.42 ms
where            gate-1, worker 2
told the client  Certificate with SHA256 {fingerprint} not allowed
rule             not listed

What to do
  Put it on the list. Put it on the list. Put it on the list. Put it on the list. Put it on the list. Put it on
  the list. Put it on the list. Put it on the list. Put it on the list. Put it on the list. Put it on the list.
  Put it on the list.

Request
  line           GET a.test/orders/1?...
  version        HTTP/1.1
  header fields  host, accept
  upstream       not asked
  bytes sent     120

Connection
  id              1a2b3c4d-00112233445566
  from            10.0.0.1 port 4711
  for the client  192.0.2.7
  to port         8443
  TLS             TLS 1.3, TLS_AES_128_GCM_SHA256, full handshake
  server name     a.test
  certificate     asked for

Client certificate
  subject      CN=mallory
  issuer       CN=Foreign CA
  serial       0a
  SHA-256      abababababababababababababababababababababababababababababababab
  valid        2023-11-14T22:13:20Z to 2025-06-15T15:06:40Z: not at that moment
  private key  proven

API
  id            orders
  name          Orders
  organisation  acme
  listens at    a.test/orders/
  found         by host and path
  credentials   header Authorization

Key
  key           ****cdef
  alias         shop
  organisation  acme
  policies      gold
  expires       never
  active        yes

Limits
  rate of the key   5 in 60 s, 0 left
  quota of the key  100 in all, what is left is counted in the store
  rate of the API   9 in 1 s, 4 left, renews 2027-01-15T08:01:40Z

Steps
  STEP         OUTCOME      RULE
  route        passed
  certificate  REFUSED      not listed
  token        not reached
  mock         not used
"""


def test_the_whole_report() -> None:
    """Word for word."""
    assert format_report(RECORD) == REPORT


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"outcome": "passed", "refusal": ""}, "was let through; the upstream answered 403."),
        ({"outcome": "failed", "status": 500, "refusal": "upstream.failed"}, "was let through and failed with 500 (upstream.failed)."),
        ({"outcome": "client gone", "status": 499}, "ended without an answer: the client was gone."),
        ({"outcome": "answered by the gateway", "status": 200}, "was answered 200 by the gateway itself."),
    ],
)
def test_how_it_ended_is_the_first_line(changes: dict[str, Any], text: str) -> None:
    """Whoever reads no further knows who said no."""
    assert format_report({**RECORD, **changes}).splitlines()[0] == f"Request {RECORD['id']} {text}"


def test_a_handshake() -> None:
    """Has neither request nor API."""
    record = {name: RECORD[name] for name in ("id", "at", "node", "worker", "remedy", "connection")}
    record |= {"kind": "handshake", "outcome": "refused", "rule": "not listed", "tls": {"server_name": None}, "steps": []}
    report = format_report(record)
    assert report.startswith(f"The TLS handshake of connection {RECORD['id']} was refused.\n")
    assert "Client certificate\n  shown  none\n" in report
    assert "\nRequest\n" not in report and "\nAPI\n" not in report


def test_what_a_client_chose_steers_no_terminal() -> None:
    """Control characters of paths and names are escapes."""
    record = {**RECORD, "request": {**RECORD["request"], "path": "/\x1b[2J\nfake line"}, "rule": "a\rb"}
    report = format_report(record)
    assert "\x1b" not in report and "\r" not in report
    assert "\nfake line" not in report


def test_a_raw_service() -> None:
    """Has no path and no credentials."""
    route = {"api_id": "db", "name": "Database", "org_id": "", "listen_path": "", "domain": "db.test"}
    record = {name: RECORD[name] for name in ("id", "at", "node", "worker", "remedy", "connection", "tls")}
    report = format_report({**record, "kind": "connection", "outcome": "refused", "rule": "not listed", "route": route, "steps": []})
    assert report.startswith(f"Connection {RECORD['id']} was turned away by a raw service.\n")
    assert "listens at  db.test\n" in report and "by port and name" in report
    assert "credentials" not in report
