"""Events of a real gateway to real receivers: good ones, failing, slow, silent, and such as are not who they should be.

Source: keys reference, section 12.
"""

from __future__ import annotations

import base64
import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.support.certs import make_authority
from tests.support.gateway import (
    Client,
    Gateway,
    Received,
    ScriptedUpstream,
    StrictUpstream,
    classic,
    oas,
    read_head,
    running_gateway,
    wait_until,
)
from tests.support.key_load import call
from tests.support.tls_upstream import TlsUpstream, server_context

KEY = "org0123456789abcdef0123456789abcdef"
EVENTS = ("AuthFailure", "KeyExpired", "RatelimitExceeded", "QuotaExceeded", "VersionFailure", "TriggerExceeded")


def ok(received: Received) -> bytes:
    return b"HTTP/1.1 204 No Content\r\n\r\n"


@pytest.fixture
def receiver() -> Iterator[StrictUpstream]:
    with StrictUpstream(ok) as found:
        yield found
        assert not found.violations


@pytest.fixture(scope="module")
def upstream() -> Iterator[StrictUpstream]:
    with StrictUpstream() as found:
        yield found


def hook(url: str, **meta: Any) -> dict[str, Any]:
    return {"handler_name": "eh_web_hook_handler", "handler_meta": {"method": "POST", "target_path": url, **meta}}


def url_of(receiver: Any, path: str = "/hook", *, scheme: str = "http", host: str = "127.0.0.1") -> str:
    return f"{scheme}://{host}:{receiver.port}{path}"


def define(form: str, upstream: StrictUpstream, handlers: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """An API with a token, a blocked path, and handlers."""
    if form == "classic":
        return classic(
            "token",
            upstream.port,
            "/token/",
            use_keyless=False,
            org_id="org",
            event_handlers={"events": handlers},
            version={"use_extended_paths": True, "extended_paths": {"black_list": [{"path": "/blocked", "method": "GET"}]}},
        )
    made = []
    for event, entries in handlers.items():
        for entry in entries:
            meta = entry["handler_meta"]
            if entry["handler_name"] == "eh_log_handler":
                made.append({"enabled": True, "trigger": event, "type": "log", "logPrefix": meta["prefix"]})
                continue
            made.append(
                {
                    "enabled": True,
                    "trigger": event,
                    "type": "webhook",
                    "url": meta["target_path"],
                    "method": meta["method"],
                    "bodyTemplate": meta.get("template_path", ""),
                    "headers": [{"name": name, "value": value} for name, value in meta.get("header_map", {}).items()],
                    "cooldownPeriod": f"{meta['event_timeout']}s" if "event_timeout" in meta else "",
                }
            )
    document = oas("token", upstream.port, "/token/", server={"authentication": {"enabled": True}, "eventHandlers": made})
    document["paths"] = {"/blocked": {"get": {"operationId": "blocked", "responses": {}}}}
    extension = document["x-tyk-api-gateway"]
    extension["info"]["orgId"] = "org"
    extension["middleware"] = {"operations": {"blocked": {"block": {"enabled": True}}}}
    return document


@contextmanager
def gateway_of(folder: Path, *apis: dict[str, Any], **config: Any) -> Iterator[Gateway]:
    with running_gateway(folder, *apis, storage={"type": "memory"}, **config) as gateway:
        yield gateway


def ask(gateway: Gateway, target: str = "/token/x", key: str | None = KEY) -> int:
    with Client(gateway.port, tls=False) as client:
        return client.request("GET", target, headers=[("Authorization", key)] if key is not None else []).status


def put_key(gateway: Gateway, key: str = KEY, **fields: Any) -> None:
    session = {"org_id": "org", "access_rights": {"token": {"api_id": "token", "versions": ["Default"]}}, **fields}
    with Client(gateway.port_of("control"), tls=False) as client:
        status, body = call(client, "POST", f"/tyk/keys/{key}", session)
        assert status == 200, body


def bodies(receiver: StrictUpstream) -> list[dict[str, Any]]:
    return [json.loads(received.body) for received in receiver.requests]


def wait_for(receiver: StrictUpstream, count: int) -> list[dict[str, Any]]:
    assert wait_until(lambda: len(receiver.requests) >= count, 15), [(body["event"], body["message"]) for body in bodies(receiver)]
    return bodies(receiver)


@pytest.mark.parametrize("form", ["classic", "oas"])
def test_each_event_of_a_request_is_told(tmp_path: Path, upstream: StrictUpstream, receiver: StrictUpstream, form: str) -> None:
    """With Tyk's words, and never with a key that would open anything; a missing key is no event."""
    api = define(form, upstream, {event: [hook(url_of(receiver))] for event in EVENTS})
    monitor = {"enable_trigger_monitors": True, "monitor_user_keys": True}
    with gateway_of(tmp_path, api, monitor=monitor) as gateway:
        put_key(gateway, KEY + "1", expires=int(time.time()) - 100)
        put_key(gateway, KEY + "2", is_inactive=True)
        put_key(gateway, KEY + "3", rate=1, per=1000)
        put_key(gateway, KEY + "4", quota_max=2, quota_renewal_rate=1000, monitor={"trigger_limits": [50.0, 90.0]})
        assert ask(gateway, key=None) == 401
        assert ask(gateway, "/token/blocked") == 403
        assert ask(gateway) == 403
        assert ask(gateway, key="Bearer " + KEY + "1") == 401
        assert ask(gateway, key=KEY + "2") == 403
        assert [ask(gateway, key=KEY + "3") for _ in range(2)] == [200, 429]
        assert [ask(gateway, key=KEY + "4") for _ in range(3)] == [200, 200, 403]
        told = wait_for(receiver, 8)
    common = {"path": "/token/x", "origin": "127.0.0.1"}
    assert sorted(told, key=str) == sorted(
        [
            {"event": "VersionFailure", "message": "Attempted access to disallowed version / path.", "origin": "127.0.0.1",
             "path": "/token/blocked", "key": ""},
            {"event": "AuthFailure", "message": "Auth Failure", **common, "key": "****cdef"},
            {"event": "KeyExpired", "message": "Attempted access from expired key.", **common, "key": "****def1"},
            {"event": "KeyExpired", "message": "Attempted access from inactive key.", **common, "key": "****def2"},
            {"event": "RatelimitExceeded", "message": "Rate Limit Exceeded", **common, "key": "****def3"},
            {"event": "TriggerExceeded", "message": "Quota trigger reached", "org": "org", "key": "****def4", "trigger_limit": 50.0},
            {"event": "TriggerExceeded", "message": "Quota trigger reached", "org": "org", "key": "****def4", "trigger_limit": 90.0},
            {"event": "QuotaExceeded", "message": "Key Quota Limit Exceeded", **common, "key": "****def4"},
        ],
        key=str,
    )  # fmt: skip
    for received in receiver.requests:
        assert received.method == "POST" and received.target == "/hook" and KEY.encode() not in received.raw_head + received.body
        assert received.header("User-Agent") == "Tyk-Hookshot" and received.header("Content-Type") == "application/json"


def test_tokens_are_told_to_the_handlers_of_the_gateway(tmp_path: Path, upstream: StrictUpstream, receiver: StrictUpstream) -> None:
    """Created, updated, deleted; handlers of an API do not hear it."""
    handlers = {event: [hook(url_of(receiver))] for event in ("TokenCreated", "TokenUpdated", "TokenDeleted")}
    with gateway_of(tmp_path, define("classic", upstream, {}), event_handlers={"events": handlers}) as gateway:
        put_key(gateway)
        with Client(gateway.port_of("control"), tls=False) as client:
            session = {"org_id": "org", "access_rights": {"token": {"api_id": "token", "versions": ["Default"]}}}
            assert call(client, "PUT", f"/tyk/keys/{KEY}", session)[0] == 200
            assert call(client, "DELETE", f"/tyk/keys/{KEY}")[0] == 200
        told = wait_for(receiver, 3)
    # Several deliveries are under way at once: their order is nobody's promise.
    assert {(body["event"], body["org"], body["key"]) for body in told} == {
        (event, "org", "****cdef") for event in ("TokenCreated", "TokenUpdated", "TokenDeleted")
    }


def test_certificates_near_their_end_are_told(tmp_path: Path, upstream: StrictUpstream, receiver: StrictUpstream) -> None:
    """To the API that names them; the body is that of the reference (mTLS, section 11)."""
    day = 86400.0
    ending = make_authority("clients").issue("ending", not_after=time.time() + 5.5 * day)
    ended = make_authority("clients").issue("ended", not_after=time.time() - 2.5 * day)
    handlers = {event: [hook(url_of(receiver))] for event in ("CertificateExpiringSoon", "CertificateExpired")}
    api = classic(
        "strict",
        upstream.port,
        "/",
        use_mutual_tls_auth=True,
        client_certificates=[ending.pem, ended.pem],
        event_handlers={"events": handlers},
    )
    with gateway_of(tmp_path, api):
        told = {body.pop("event"): body for body in wait_for(receiver, 2)}
    soon, over = told["CertificateExpiringSoon"], told["CertificateExpired"]
    assert soon["message"] == "Certificate ending is expiring in 5 days and 11 hours"
    assert over["message"].startswith("Certificate ended is expired since 2 days and 12 hours")
    assert (soon["cert_id"], soon["api_id"], soon["cert_role"], soon["days_remaining"]) == (ending.fingerprint, "strict", "client", 5)
    assert list(over) == [
        "message", "cert_id", "cert_name", "expired_at", "days_since_expiry", "api_id", "cert_role", "timestamp",
    ]  # fmt: skip


def test_the_log_hears_too(tmp_path: Path, upstream: StrictUpstream) -> None:
    """As a warning, with the end of the key."""
    log = {"handler_name": "eh_log_handler", "handler_meta": {"prefix": "mine"}}
    with gateway_of(tmp_path, define("classic", upstream, {"AuthFailure": [log]})) as gateway:
        assert ask(gateway) == 403
        event = gateway.wait_event("events.logged")
        assert (event["message"], event["level"], event["api"], event["key_name"]) == ("mine:AuthFailure", "warn", "token", "****cdef")


@pytest.mark.parametrize("form", ["classic", "oas"])
def test_templates_make_the_body(tmp_path: Path, upstream: StrictUpstream, receiver: StrictUpstream, form: str) -> None:
    """With the request, but without its credentials; text of clients is escaped."""
    template = tmp_path / "template.json"
    template.write_text('{"who": "{{.Meta.Origin}}", "what": "{{.Type}}", "path": "{{.Meta.Path}}", "raw": "{{.Meta.OriginatingRequest}}"}')
    handler = hook(url_of(receiver), template_path=str(template), header_map={"Authorization": "Bearer of-the-receiver"})
    with gateway_of(tmp_path, define(form, upstream, {"AuthFailure": [handler]})) as gateway:
        assert ask(gateway, '/token/",x?authorization=secret&a=1') == 403
        (told,) = wait_for(receiver, 1)
    raw = base64.b64decode(told.pop("raw")).decode()
    assert told == {"who": "127.0.0.1", "what": "AuthFailure", "path": '/token/",x'}
    assert raw.startswith('GET /token/",x?authorization=***&a=1 HTTP/1.1\r\nHost: localhost\r\n') and KEY not in raw
    assert receiver.requests[0].header("Authorization") == "Bearer of-the-receiver"


@pytest.mark.parametrize("form", ["classic", "oas"])
def test_a_cooldown_leaves_out_equal_deliveries(tmp_path: Path, upstream: StrictUpstream, receiver: StrictUpstream, form: str) -> None:
    """Equal means the body too."""
    with gateway_of(tmp_path, define(form, upstream, {"AuthFailure": [hook(url_of(receiver), event_timeout=3600)]})) as gateway:
        for _ in range(3):
            assert ask(gateway, "/token/a") == 403
        assert ask(gateway, "/token/b") == 403
        wait_for(receiver, 2)
        assert ask(gateway, "/token/c") == 403
        told = wait_for(receiver, 3)
    # Several deliveries are under way at once: their order is nobody's promise.
    assert sorted(body["path"] for body in told) == ["/token/a", "/token/b", "/token/c"]


def failing(times: int) -> Callable[[Received], bytes]:
    left = [times]

    def respond(received: Received) -> bytes:
        left[0] -= 1
        return b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n" if left[0] >= 0 else ok(received)

    return respond


def test_a_receiver_that_fails_is_asked_again(tmp_path: Path, upstream: StrictUpstream) -> None:
    """With the same body."""
    with StrictUpstream(failing(2)) as receiver:
        own = {"events": {"retry_delay_s": 0.05}}
        with gateway_of(tmp_path, define("classic", upstream, {"AuthFailure": [hook(url_of(receiver))]}), tlsgate=own) as gateway:
            assert ask(gateway) == 403
            told = wait_for(receiver, 3)
    assert len(receiver.requests) == 3 and told[0] == told[1] == told[2]


def test_a_receiver_that_always_fails_is_named_in_the_log(tmp_path: Path, upstream: StrictUpstream) -> None:
    """By host and port: its path may be a secret."""
    with StrictUpstream(failing(1000)) as receiver:
        own = {"events": {"retry_delay_s": 0.05, "attempts": 2}}
        handler = hook(url_of(receiver, "/very-secret-path"), name="mine")
        with gateway_of(tmp_path, define("classic", upstream, {"AuthFailure": [handler]}), tlsgate=own) as gateway:
            assert ask(gateway) == 403
            event = gateway.wait_event("events.webhook_failed")
            assert (event["name"], event["target"], event["attempts"]) == ("mine", f"http://127.0.0.1:{receiver.port}", 2)
            assert event["reason"] == "status 503"
            assert "very-secret-path" not in "\n".join(gateway.lines)


def test_a_receiver_that_says_nothing_holds_up_nobody(tmp_path: Path, upstream: StrictUpstream, receiver: StrictUpstream) -> None:
    """Requests are answered at once, other receivers are told, what does not fit is dropped, and the stop ends in time."""

    def hang(connection: Any, number: int) -> None:
        read_head(connection)
        connection.recv(65536)
        connection.recv(65536)

    with ScriptedUpstream(hang) as silent:
        handlers = {"AuthFailure": [hook(url_of(silent))], "VersionFailure": [hook(url_of(receiver))]}
        own = {"events": {"queue": 20, "deliveries": 4, "timeout_s": 30.0}}
        folder = tmp_path / "g"
        folder.mkdir()
        with gateway_of(folder, define("classic", upstream, handlers), tlsgate=own) as gateway:
            with Client(gateway.port, tls=False, timeout_s=5) as client:
                for _ in range(50):
                    assert client.request("GET", "/token/x", headers=[("Authorization", KEY)]).status == 403
            gateway.wait_event("events.dropped")
            assert ask(gateway, "/token/blocked") == 403
            wait_for(receiver, 1)
            began = time.monotonic()
            gateway.process.send_signal(signal.SIGTERM)  # type: ignore[union-attr]
            assert gateway.process.wait(20) == 0  # type: ignore[union-attr]
            assert time.monotonic() - began < 15
            gateway.wait_event("events.lost")


def test_what_waits_is_delivered_at_a_stop(tmp_path: Path, upstream: StrictUpstream) -> None:
    """A slow receiver still gets what happened before."""

    def slow(received: Received) -> bytes:
        time.sleep(0.5)
        return ok(received)

    with StrictUpstream(slow) as receiver:
        with gateway_of(tmp_path, define("classic", upstream, {"AuthFailure": [hook(url_of(receiver))]})) as gateway:
            for number in range(3):
                assert ask(gateway, f"/token/{number}") == 403
        assert wait_until(lambda: len(receiver.requests) == 3)
        assert sorted(body["path"] for body in bodies(receiver)) == ["/token/0", "/token/1", "/token/2"]


def test_receivers_over_tls_must_be_who_they_should_be(tmp_path: Path, upstream: StrictUpstream) -> None:
    """By ``tlsgate.upstream_ca``; one of another CA gets nothing, and the log says why."""
    usages = [ExtendedKeyUsageOID.SERVER_AUTH]
    ca, foreign = make_authority("hooks"), make_authority("foreign")
    file = tmp_path / "ca.pem"
    file.write_text(ca.pem)
    with (
        TlsUpstream(server_context(ca.issue("a", names=["localhost"], usages=usages)), ok) as good,
        TlsUpstream(server_context(foreign.issue("b", names=["localhost"], usages=usages)), ok) as bad,
    ):
        handlers = [hook(url_of(receiver, scheme="https", host="localhost")) for receiver in (bad, good)]
        own = {"upstream_ca": [str(file)], "events": {"attempts": 2, "retry_delay_s": 0.05}}
        with gateway_of(tmp_path, define("classic", upstream, {"AuthFailure": handlers}), tlsgate=own) as gateway:
            assert ask(gateway) == 403
            wait_for(good, 1)
            event = gateway.wait_event("events.webhook_failed")
            assert event["target"] == f"https://localhost:{bad.port}" and "verify" in event["reason"], event
        assert bad.requests == [] and len(good.requests) == 1


def test_a_reload_brings_other_handlers(tmp_path: Path, upstream: StrictUpstream, receiver: StrictUpstream) -> None:
    """From one moment to the next."""
    with (
        StrictUpstream(ok) as other,
        gateway_of(tmp_path, define("classic", upstream, {"AuthFailure": [hook(url_of(receiver))]})) as gateway,
    ):
        assert ask(gateway) == 403
        wait_for(receiver, 1)
        gateway.write_apis(define("oas", upstream, {"AuthFailure": [hook(url_of(other))]}))
        assert gateway.reload()["event"] == "reload.done"
        assert ask(gateway) == 403
        wait_for(other, 1)
        assert len(receiver.requests) == 1


def test_handlers_that_cannot_be_used_are_named_and_the_api_is_served(tmp_path: Path, upstream: StrictUpstream) -> None:
    """An event that nobody hears lets nobody in."""
    handlers = {
        "Authfailure": [hook("http://a.test/")],
        "KeyExpired": [hook("ftp://a.test/"), {"handler_name": "eh_dynamic_handler", "handler_meta": {"name": "x"}}],
        "QuotaExceeded": [hook("http://a.test/", template_path=str(tmp_path / "none"))],
    }
    with gateway_of(tmp_path, define("classic", upstream, handlers)) as gateway:
        put_key(gateway)
        assert ask(gateway) == 200
        problems = "\n".join(event["problem"] for event in gateway.events if event.get("event") == "load.problem")
    for words in ("did you mean AuthFailure?", "is no absolute address", "scripts and plugins", "template of a web hook"):
        assert words in problems
