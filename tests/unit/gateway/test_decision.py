"""Tests of `tlsgate.gateway.decision`: what a record says, and what it must not."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from tests.support.certs import make_authority
from tests.support.memory_channel import make_connection, make_request
from tlsgate.gateway.decision import describe_handshake, describe_request, describe_unreadable
from tlsgate.gateway.stages import Stage
from tlsgate.model.exchange import Connection
from tlsgate.model.session import Session
from tlsgate.model.tls import ClientAuth, TlsFacts, TlsPolicy
from tlsgate.pki.identity import build_identity

NOW = 1_800_000_000.0
CA = make_authority("Some CA")


def describe(request: Any, stages: tuple[Stage, ...] = (), *, whole_keys: bool = False) -> dict[str, Any]:
    """The record, as it comes out of JSON."""
    record = describe_request(request, stages, now=NOW, elapsed_s=0.0123, whole_keys=whole_keys)
    tree: dict[str, Any] = json.loads(msgspec.json.encode(record))
    return tree


def facts(identity: Any = None, **fields: Any) -> TlsFacts:
    """Of a connection."""
    policy = TlsPolicy(client_auth=ClientAuth.REQUEST)
    made = {"version": 771, "cipher": "ECDHE", "server_name": "a.test", "policy": policy, "resumed": True, "peer": identity}
    return TlsFacts(**{**made, **fields})


@pytest.mark.parametrize(
    ("refusal", "stopped", "outcome"),
    [
        ("", None, "passed"),
        ("", object(), "answered by the gateway"),
        ("cert.missing", object(), "refused"),
        ("upstream.timeout", object(), "failed"),
        ("internal", object(), "failed"),
        ("client.gone", object(), "client gone"),
    ],
)
def test_how_a_request_can_end(refusal: str, stopped: object, outcome: str) -> None:
    """A failure is not a refusal, and an answer of our own is not the upstream's."""
    request = make_request()
    request.refusal, request.stopped = refusal, stopped
    assert describe(request)["outcome"] == outcome


def test_the_certificate_of_a_connection() -> None:
    """Names, fingerprint, validity at that moment, and that its key was proven."""
    issued = CA.issue("alice", not_after=NOW - 1)
    request = make_request()
    request.connection.tls = facts(build_identity(issued.der, ()))
    tls = describe(request)["tls"]
    assert (tls["version"], tls["resumed"], tls["client_certificate"]) == ("TLS 1.2", True, "asked for")
    shown = tls["certificate"]
    assert (shown["subject"], shown["issuer"], shown["fingerprint"]) == ("CN=alice", "CN=Some CA", issued.fingerprint)
    assert (shown["proven"], shown["valid_now"], shown["not_after"]) == (True, False, NOW - 1)


def test_without_a_certificate_nobody_knows_whether_a_session_was_resumed() -> None:
    """The verification that did not happen would tell."""
    request = make_request()
    request.connection.tls = facts()
    tls = describe(request)["tls"]
    assert (tls["resumed"], tls["certificate"]) == (None, None)


def test_the_certificate_of_a_refused_handshake_is_not_proven() -> None:
    """It was shown, no more."""
    identity = build_identity(CA.issue("alice").der, ())
    record = describe_handshake(make_connection(), "a.test", identity, "not listed", NOW)
    assert record["tls"]["certificate"]["proven"] is False
    assert (record["id"], record["kind"], record["rule"], record["status"]) == ("c1", "handshake", "not listed", 0)
    assert "certificate" not in describe_handshake(make_connection(), None, None, "timeout", NOW)["tls"]


def test_keys_are_shown_as_logs_show_them() -> None:
    """Whole only where an operator wants that of the logs."""
    request = make_request()
    request.session, request.session_id = Session(alias="a", apply_policies=("gold",), expires=5), "org0123456789abcdef"
    session = describe(request)["session"]
    assert (session["key"], session["alias"], session["policies"], session["expires"]) == ("****cdef", "a", ["gold"], 5)
    assert describe(request, whole_keys=True)["session"]["key"] == "org0123456789abcdef"


def test_of_header_fields_the_names_alone_and_of_the_query_that_there_is_one() -> None:
    """Neither values nor the body."""
    headers = [(b"Authorization", b"Bearer hidden"), (b"Cookie", b"a=hidden"), (b"X-Hidden-Not", b"hidden")]
    request = make_request(b"/x?key=hidden", headers)
    request.credential = b"hidden"
    record = describe(request)
    assert set(record["request"]["fields"]) == {"host", "authorization", "cookie", "x-hidden-not"}
    assert (record["request"]["path"], record["request"]["has_query"]) == ("/x", True)
    assert "hidden" not in json.dumps(record).replace("x-hidden-not", "")


def test_paths_of_the_control_api_show_no_key() -> None:
    """As logs do it."""
    record = describe(make_request(b"/tyk/keys/0123456789abcdef"))
    assert record["request"]["path"] == "/tyk/keys/****cdef"
    unreadable = describe_unreadable(make_connection(), 3, b"GET", b"/tyk/keys/0123456789abcdef?x=1", "wire.bad_request", "no", 400, NOW)
    assert (unreadable["id"], unreadable["request"]["path"], unreadable["request"]["has_query"]) == ("c1.3", "/tyk/keys/****cdef", True)


def test_a_record_has_a_largest_size() -> None:
    """Whatever a client sends: it must fit into one message between processes (64 KiB)."""
    request = make_request()
    request.index = {b"x-%d-" % number + b"n" * 200: b"v" for number in range(90)}
    request.path = request.canonical = b"/" + b"\x01\xff" * 30000
    request.host = "\x01" * 60000
    request.method = b"M" * 60000
    request.detail = "\x02" * 60000
    request.upstream = "u" * 60000
    request.session = Session(alias="\x01" * 60000, org_id="\x01" * 60000, apply_policies=("\x01" * 1000,) * 1000)
    request.session_id = "\x01" * 60000
    record = describe(request, whole_keys=True)
    assert len(msgspec.json.encode(record)) < 40_000
    assert record["request"]["fields"][-1] == "..."


def test_steps_without_an_api() -> None:
    """What ended it is named as well as can be."""
    request = make_request()
    request.api = None
    request.refusal = "route.not_found"
    assert describe(request)["steps"] == [{"name": "route", "outcome": "refused"}]
    request.refusal = "control.forbidden"
    assert describe(request)["steps"] == [{"name": "control", "outcome": "refused"}]


def test_a_connection_without_tls() -> None:
    """Has no facts of it."""
    request = make_request()
    assert isinstance(request.connection, Connection)
    request.connection.is_tls, request.connection.tls = False, None
    record = describe(request)
    assert (record["tls"], record["connection"]["tls"]) == (None, False)
