"""The control API beside APIs with client certificates: which host and port it answers on, and what a handshake asks there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.certs import SERVER, Issued, make_authority
from tests.support.gateway import Client, Gateway, HandshakeRefused, Response, StrictUpstream, classic, running_gateway

SECRET = "test-secret-of-32-characters-xxxx"
CA1, CONTROL_CA = make_authority("CA One"), make_authority("Control CA")
ALICE, OPERATOR, MALLORY = CA1.issue("alice"), CONTROL_CA.issue("operator"), make_authority("Control CA").issue("operator")
SERVER_CERTIFICATE = make_authority("Server CA").issue("gateway", usages=SERVER, names=["localhost"])
VERSIONS = (771, 772)
MUTUAL = {"security": {"control_api_use_mutual_tls": True, "certificates": {"control_api": [CONTROL_CA.pem]}}}
FORBIDDEN = {"status": "error", "message": "Attempted administrative access with invalid or missing key!"}
MISSING = {"status": "error", "message": "Client TLS certificate is required"}


@pytest.fixture(scope="module")
def upstream() -> Iterator[StrictUpstream]:
    """Of all APIs."""
    with StrictUpstream() as server:
        yield server


def strict(api_id: str, upstream: StrictUpstream, domain: str = "", path: str = "/") -> dict[str, Any]:
    """A static mTLS API for clients of CA1."""
    fields = {"domain": domain} if domain else {}
    return classic(api_id, upstream.port, path, use_mutual_tls_auth=True, client_certificates=[CA1.pem], **fields)


@contextmanager
def serving(folder: Path, *apis: dict[str, Any], tls: bool = True, **config: Any) -> Iterator[Gateway]:
    """A gateway whose control API shares its port unless told otherwise."""
    with running_gateway(folder, *apis, server=SERVER_CERTIFICATE if tls else None, **{"control_api_port": 0, **config}) as gateway:
        yield gateway


def ask(
    port: int, sni: str | None, host: str, target: str, version: int = 772, *, who: Issued | None = None, secret: str | None = SECRET
) -> Response | None:
    """Ask once over a new connection; None when its handshake is refused."""
    headers = [("x-tyk-authorization", secret)] if secret is not None else []
    try:
        with Client(port, sni=sni, identity=who, version=version) as client:
            return client.request(host=host, target=target, headers=headers)
    except HandshakeRefused:
        return None


def status(*arguments: Any, **options: Any) -> int:
    """The status of one request; 0 for a refused handshake."""
    response = ask(*arguments, **options)
    return response.status if response is not None else 0


@pytest.mark.parametrize("version", VERSIONS)
def test_on_a_shared_port_names_that_are_all_strict_stay_strict(tmp_path: Path, upstream: StrictUpstream, version: int) -> None:
    """Decisions 1.4: those names do not serve control; every other name, and none, asks at most, and does."""
    apis = [
        strict("own", upstream, "own.test"),
        strict("wild", upstream, "{sub:[a-z]+}.wild.test"),
        strict("shared", upstream, "shared.test", "/strict/"),
        classic("lax", upstream.port, "/open/", domain="shared.test"),
        strict("any", upstream),
    ]
    with serving(tmp_path, *apis) as gateway:
        port = gateway.port
        for name in ("own.test", "abc.wild.test"):
            assert status(port, name, name, "/hello", version) == 0
            before = len(upstream.requests)
            for target in ("/hello", "/ready", "/tyk/apis", "/tyk"):
                assert status(port, name, name, target, version, who=ALICE) == 200
                assert status(port, None, name, target, version) == 403
            assert len(upstream.requests) - before == 4, "these paths are the API's there"
        for name in ("other.test", "shared.test", None, "a.b.wild.test"):
            host = name or "other.test"
            assert status(port, name, host, "/hello", version) == 200
            refused = ask(port, name, host, "/tyk/apis", version, secret=None)
            assert refused is not None and (refused.status, json.loads(refused.body)) == (403, FORBIDDEN)
            assert status(port, name, host, "/tyk/apis", version, secret="wrong") == 403
            assert status(port, name, host, "/tyk/apis", version) == 200
            assert status(port, name, host, "/strict/x", version) == 403
            assert status(port, name, host, "/strict/x", version, who=ALICE) == 200
        # Names and hosts that disagree.
        before = len(upstream.requests)
        assert status(port, "own.test", "other.test", "/hello", version, who=ALICE) == 421
        assert status(port, "own.test", "other.test", "/tyk/apis", version, who=ALICE) == 421
        assert status(port, "other.test", "own.test", "/tyk/apis", version) == 421
        assert status(port, "other.test", "own.test", "/hello", version, who=ALICE) == 421
        assert len(upstream.requests) == before
        warnings = [event["problem"] for event in gateway.events if event.get("event") == "load.problem"]
        assert any("control" in text and "per request only" in text for text in warnings)


@pytest.mark.parametrize("version", VERSIONS)
def test_control_hostname_answers_there_and_nowhere_else(tmp_path: Path, upstream: StrictUpstream, version: int) -> None:
    """Decisions 1.4: on a shared port, without certificates for control clients, while all APIs are strict."""
    apis = [strict("own", upstream, "own.test"), strict("any", upstream, path="/any/")]
    with serving(tmp_path, *apis, control_api_hostname="Control.Test") as gateway:
        port = gateway.port
        for name in ("control.test", "CONTROL.test", "control.test."):
            assert status(port, name, name, "/hello", version) == 200
            assert status(port, name, name, "/tyk/apis", version, secret=None) == 403
        assert status(port, "control.test", "control.test", "/any/x", version) == 403
        assert status(port, "own.test", "own.test", "/hello", version) == 0
        assert status(port, None, "own.test", "/hello", version) == 0, "every API is strict: so is the default"
        assert status(port, "other.test", "other.test", "/hello", version) == 0
        before = len(upstream.requests)
        for name, host, expected in (
            ("own.test", "control.test", 421),
            ("other.test", "control.test", 421),
            ("other.test", "other.test", 404),
            (None, "other.test", 404),
            (None, "control.test", 200),
        ):
            assert status(port, name, host, "/hello", version, who=ALICE) == expected, (name, host)
        assert status(port, "other.test", "other.test", "/tyk/apis", version, who=ALICE) == 404
        assert len(upstream.requests) == before


@pytest.mark.parametrize("version", VERSIONS)
def test_mutual_control_on_a_host_of_its_own(tmp_path: Path, upstream: StrictUpstream, version: int) -> None:
    """mTLS reference section 6: required in the handshake of its name, and again per request, after the secret."""
    apis = [classic("open", upstream.port, domain="open.test"), strict("own", upstream, "own.test"), strict("any", upstream, path="/any/")]
    with serving(tmp_path, *apis, control_api_hostname="control.test", **MUTUAL) as gateway:
        port = gateway.port
        assert status(port, "control.test", "control.test", "/hello", version, who=OPERATOR) == 200
        assert status(port, "control.test", "control.test", "/tyk/apis", version, who=OPERATOR) == 200
        assert status(port, "control.test", "control.test", "/tyk/apis", version, who=OPERATOR, secret="wrong") == 403
        for who in (None, ALICE, MALLORY):
            assert status(port, "control.test", "control.test", "/hello", version, who=who) == 0
        # Without a name the handshake asks only.
        bare = ask(port, None, "control.test", "/tyk/apis", version)
        assert bare is not None and (bare.status, json.loads(bare.body)) == (403, MISSING)
        wrong = ask(port, None, "control.test", "/tyk/apis", version, who=ALICE)
        assert wrong is not None and wrong.status == 403
        assert json.loads(wrong.body) == {"status": "error", "message": f"Certificate with SHA256 {ALICE.fingerprint} not allowed"}
        forbidden = ask(port, None, "control.test", "/tyk/apis", version, secret=None)
        assert forbidden is not None and json.loads(forbidden.body) == FORBIDDEN
        assert status(port, None, "control.test", "/tyk/apis", version, who=OPERATOR) == 200
        assert status(port, None, "control.test", "/hello", version) == 200, "needs neither secret nor certificate at HTTP level"
        before = len(upstream.requests)
        for name in ("open.test", "own.test", "other.test"):
            for target in ("/hello", "/tyk/apis"):
                assert status(port, name, "control.test", target, version, who=ALICE) == 421
        assert len(upstream.requests) == before
        assert status(port, "open.test", "open.test", "/x", version) == 200
        assert status(port, "control.test", "own.test", "/x", version, who=OPERATOR) == 421


@pytest.mark.parametrize("version", VERSIONS)
def test_mutual_control_on_a_port_of_its_own(tmp_path: Path, upstream: StrictUpstream, version: int) -> None:
    """mTLS reference section 6: control only there, for every name; the other port is as if it were not."""
    apis = [classic("open", upstream.port, domain="open.test"), strict("own", upstream, "own.test")]
    with running_gateway(tmp_path, *apis, server=SERVER_CERTIFICATE, **MUTUAL) as gateway:
        control = gateway.port_of("control")
        for name in (None, "any.test", "own.test", f"own{gateway.port}.test"):
            host = name or "any.test"
            assert status(control, name, host, "/hello", version, who=OPERATOR) == 200
            assert status(control, name, host, "/tyk/apis", version, who=OPERATOR, secret=None) == 403
            assert status(control, name, host, "/", version, who=OPERATOR) == 404
            for who in (None, ALICE, MALLORY):
                assert status(control, name, host, "/hello", version, who=who) == 0
        assert status(gateway.port, "open.test", "open.test", "/x", version) == 200
        assert status(gateway.port, "own.test", "own.test", "/x", version, who=ALICE) == 200
        assert status(gateway.port, "own.test", "own.test", "/x", version, who=OPERATOR) == 0
        for target in ("/hello", "/tyk/apis"):
            assert status(gateway.port, "other.test", "other.test", target, version) == 404


def test_a_session_of_the_gateway_is_nothing_on_the_control_port(tmp_path: Path, upstream: StrictUpstream) -> None:
    """mTLS reference section 14: nor under the control host, nor with the same authority on both sides."""
    from tests.support.clientside import ClientSide

    mutual = {"security": {"control_api_use_mutual_tls": True, "certificates": {"control_api": [CA1.pem]}}}
    with running_gateway(tmp_path, strict("own", upstream, "own.test"), server=SERVER_CERTIFICATE, **mutual) as gateway:
        for version in VERSIONS:
            for tickets in (True, False):
                side = ClientSide(version=version, tickets=tickets)
                with side.connect(gateway.port, "own.test", identity=ALICE) as client:
                    assert client.request(host="own.test").status == 200
                    session = client.session
                with (
                    pytest.raises((HandshakeRefused, EOFError)),
                    side.connect(gateway.port_of("control"), "own.test", session=session) as client,
                ):
                    client.request(host="own.test", target="/hello")
                with side.connect(gateway.port_of("control"), "own.test", session=session, identity=ALICE) as client:
                    assert not side.last_resumed


@pytest.mark.parametrize("version", VERSIONS)
def test_mutual_control_without_host_or_port_of_its_own_governs_the_port(tmp_path: Path, upstream: StrictUpstream, version: int) -> None:
    """mTLS reference section 6: all traffic on the port needs a certificate of the control API; the log says so."""
    apis = [classic("open", upstream.port, domain="open.test"), strict("own", upstream, "own.test")]
    with serving(tmp_path, *apis, **MUTUAL) as gateway:
        for name in ("open.test", "own.test", "other.test", None):
            for who in (None, ALICE, MALLORY):
                assert status(gateway.port, name, name or "other.test", "/x", version, who=who) == 0
        assert status(gateway.port, "open.test", "open.test", "/x", version, who=OPERATOR) == 200
        assert status(gateway.port, "own.test", "own.test", "/x", version, who=OPERATOR) == 403
        assert status(gateway.port, "other.test", "other.test", "/hello", version, who=OPERATOR) == 200
        assert any("every handshake" in event["problem"] for event in gateway.events if event.get("event") == "load.problem")


def test_an_empty_control_list_lets_nobody_in(tmp_path: Path, upstream: StrictUpstream) -> None:
    """mTLS reference section 6: unknown references are ignored; if none remains nobody gets in."""
    security = {"control_api_use_mutual_tls": True, "certificates": {"control_api": [str(tmp_path / "missing.pem")]}}
    with serving(tmp_path, control_api_hostname="control.test", security=security) as gateway:
        for version in VERSIONS:
            for who in (None, OPERATOR, ALICE):
                assert status(gateway.port, "control.test", "control.test", "/hello", version, who=who) == 0
                assert status(gateway.port, None, "control.test", "/tyk/apis", version, who=who) in (0, 403)


def test_a_port_without_apis_asks_for_nothing(tmp_path: Path) -> None:
    """Decisions 1.4: "all" is never true of nothing."""
    with serving(tmp_path) as gateway:
        for version in VERSIONS:
            for name in (None, "any.test"):
                assert status(gateway.port, name, "any.test", "/hello", version) == 200
                assert status(gateway.port, name, "any.test", "/x", version) == 404


def test_a_client_without_server_name_gets_what_every_api_needs(tmp_path: Path, upstream: StrictUpstream) -> None:
    """Decisions 1.3: REQUIRE only when each API of the port is strict, else a request and the HTTP-level 403, else nothing is asked."""
    cases = [
        ([strict("a", upstream, "a.test"), strict("b", upstream, "b.test")], 0, 200),
        ([strict("a", upstream, "a.test"), classic("b", upstream.port, domain="b.test")], 403, 200),
    ]
    for number, (apis, bare, shown) in enumerate(cases):
        folder = tmp_path / str(number)
        folder.mkdir()
        with running_gateway(folder, *apis, server=SERVER_CERTIFICATE) as gateway:
            for version in VERSIONS:
                assert status(gateway.port, None, "a.test", "/x", version) == bare
                assert status(gateway.port, None, "a.test", "/x", version, who=ALICE) == shown
                assert status(gateway.port, None, "nobody.test", "/x", version, who=ALICE) == 404


def test_on_plain_http_the_host_takes_the_place_of_the_name(tmp_path: Path, upstream: StrictUpstream) -> None:
    """Decisions 1.4: strict names do not serve control there either."""

    def plain(gateway: Gateway, host: str, target: str) -> int:
        with Client(gateway.port, tls=False) as client:
            return client.request(host=host, target=target, headers=[("x-tyk-authorization", SECRET)]).status

    apis = [strict("own", upstream, "own.test"), classic("open", upstream.port, domain="open.test")]
    for number, hostname in enumerate(("", "control.test")):
        folder = tmp_path / str(number)
        folder.mkdir()
        with serving(folder, *apis, tls=False, control_api_hostname=hostname) as gateway:
            assert [plain(gateway, "own.test", target) for target in ("/hello", "/tyk/apis")] == [403, 403]
            expected = 404 if hostname else 200
            assert plain(gateway, "other.test", "/hello") == expected
            assert plain(gateway, "control.test", "/hello") == 200
            assert plain(gateway, "control.test", "/tyk/apis") == 200
