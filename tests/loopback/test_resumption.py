"""Resumed sessions: good inside one policy, worth nothing in another one, after a reload that took their trust away, or past their time."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from OpenSSL import SSL

from tests.support.certs import SERVER, Issued, make_authority, make_self_signed
from tests.support.clientside import ClientSide
from tests.support.gateway import Client, Gateway, HandshakeRefused, StrictUpstream, classic, free_port, running_gateway
from tests.support.mtls_oracle import REQUEST, Presented, World, material, normal, worlds
from tests.support.secondhello import SecondHelloClient, TLSError, set_name

MATERIAL = material()
MIXED = worlds(MATERIAL.lists)["mixed"]
SERVER_CERTIFICATE = make_authority("Server CA").issue("gateway", usages=SERVER, names=["localhost"])
GOOD1, GOOD2, NOBODY = MATERIAL["good1"], MATERIAL["good2"], MATERIAL["none"]


class Way(NamedTuple):
    """How sessions are resumed."""

    version: int
    tickets: bool

    def side(self, shown: Presented = NOBODY) -> ClientSide:
        """A client of this way."""
        return ClientSide(shown.identity, extra=shown.extra, version=self.version, tickets=self.tickets)


WAYS = {"tls12-ticket": Way(771, True), "tls12-id": Way(771, False), "tls13": Way(772, True)}


@pytest.fixture(params=WAYS.values(), ids=WAYS)
def way(request: pytest.FixtureRequest) -> Way:
    """Each way to resume."""
    found: Way = request.param
    return found


class Served(NamedTuple):
    """The mixed world being served."""

    world: World
    gateway: Gateway
    upstream: StrictUpstream


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One gateway with hosts of all policies."""
    folder: Path = tmp_path_factory.mktemp("resumption")
    with (
        StrictUpstream() as upstream,
        running_gateway(folder, *MIXED.definitions("classic", upstream.port), server=SERVER_CERTIFICATE) as gateway,
    ):
        yield Served(MIXED, gateway, upstream)


def ask(client: Client, host: str, target: str = "/strict/x") -> int:
    """Ask once and return the status."""
    return client.request(host=host, target=target).status


def assert_refused(side: ClientSide, port: int, sni: str, **options: Any) -> None:
    """A client gets no answer: its handshake fails, or the connection ends before one (TLS 1.2 resumes with the client's word last)."""
    with pytest.raises((HandshakeRefused, EOFError, OSError, SSL.Error)), side.connect(port, sni, **options) as client:
        ask(client, sni)


INSIDE = [
    ("one.test", "good1"),
    ("one.test", "by intermediate"),
    ("shared.test", "good1"),
    ("shared.test", "by intermediate"),
    ("shared.test", "none"),
    ("open.test", "none"),
    ("pins.test", "pinned"),
    ("abc.wild.test", "good1"),
    ("union.test", "good2"),
    (None, "good1"),
]


@pytest.mark.parametrize(("sni", "name"), INSIDE)
def test_resumption_works_inside_one_policy(served: Served, way: Way, sni: str | None, name: str) -> None:
    """Decisions 1.6: ticket and session id, also with a leaf under an intermediate, whose certificate is in no ticket; several in a row.

    Session ids of clients that nobody judged in the handshake (REQUEST) are not kept: those resume by ticket, or shake hands in full.
    """
    shown = MATERIAL[name]
    side = way.side(shown)
    host = sni or "shared.test"
    expected = served.world.answer(sni, shown, host, "/strict/x").status
    session = None
    for number in range(4):
        with side.connect(served.gateway.port, sni, session=session) as client:
            assert ask(client, host) == expected
            session = client.session
        if number and not (served.world.policy(sni)[0] == REQUEST and not way.tickets):
            assert side.last_resumed


def test_a_session_of_another_policy_is_worth_nothing(served: Served, way: Way) -> None:
    """Decisions 1.6, mTLS reference section 14 (CVE-2025-23419 class): every session at every name, certificate withheld the second time.

    Same policy: the session's own identity counts. Another one: a full handshake, in which nothing is remembered, hence what a client
    without certificate gets there; never the other identity.
    """
    wrong = []
    world = served.world
    for shown in (GOOD1, GOOD2, NOBODY):
        for first in world.names:
            if not world.handshake(first, shown):
                continue
            side = way.side()
            with side.connect(served.gateway.port, first, identity=shown.identity) as client:
                ask(client, "nobody.test")
                session = client.session
            for second in world.names:
                same = world.policy(normal(first)) == world.policy(normal(second))
                where = f"{shown.name}: {first} then {second}"
                try:
                    with side.connect(served.gateway.port, second, session=session) as client:
                        resumed = side.last_resumed
                        if resumed and not same:
                            wrong.append(f"{where}: resumed")
                        who = shown if resumed else NOBODY
                        if not world.handshake(second, who):
                            wrong.append(f"{where}: let in")
                        for host in ("one.test", "two.test", "shared.test", "open.test"):
                            status, expected = ask(client, host), world.answer(second, who, host, "/strict/x").status
                            if status != expected:
                                wrong.append(f"{where}: {host}: {status} instead of {expected}")
                except (HandshakeRefused, EOFError) as refusal:
                    # TLS 1.2 reports the name of the first session; one that had none cannot be compared and is refused.
                    without_name = way.version == 771 and same and (first is None) != (second is None)
                    if world.handshake(second, NOBODY) and not without_name:
                        wrong.append(f"{where}: refused: {refusal}")
    assert not wrong, f"{len(wrong)} wrong:\n" + "\n".join(wrong[:30])


def test_a_resumed_tls12_session_may_name_another_host_of_its_policy_only(served: Served, way: Way) -> None:
    """Decisions 1.6: OpenSSL reports the name of the original session; the name that was sent now is the one that counts for 421."""
    side = way.side(GOOD1)
    with side.connect(served.gateway.port, "one.test") as client:
        ask(client, "one.test")
        session = client.session
    with side.connect(served.gateway.port, "twin.test", session=session) as client:
        assert side.last_resumed
        assert [ask(client, host) for host in ("twin.test", "one.test", "two.test", "shared.test", "open.test")] == [
            200,
            200,
            421,
            421,
            200,
        ]
    with side.connect(served.gateway.port, "shared.test", session=session) as client:
        assert not side.last_resumed
        assert [ask(client, host) for host in ("shared.test", "one.test")] == [200, 421]


def test_sessions_of_another_process_are_unknown(served: Served, way: Way, tmp_path: Path) -> None:
    """Ticket keys are a process's own (docs: with several workers a ticket works in the worker that made it)."""
    side = way.side(GOOD1)
    with (
        running_gateway(tmp_path, *MIXED.definitions("classic", served.upstream.port), server=SERVER_CERTIFICATE) as other,
        side.connect(other.port, "one.test") as client,
    ):
        assert ask(client, "one.test") == 200
        session = client.session
    with side.connect(served.gateway.port, "one.test", session=session) as client:
        assert not side.last_resumed
        assert ask(client, "one.test") == 200
    bare = way.side()
    with bare.connect(served.gateway.port, "one.test", identity=GOOD1.identity) as client:
        session = client.session
    with bare.connect(served.gateway.port, "one.test", session=session) as client:
        assert bare.last_resumed


# Reload.


def _definitions(upstream: int, reference: str, raw_port: int) -> list[dict[str, Any]]:
    strict = {"use_mutual_tls_auth": True, "client_certificates": [reference]}
    return [
        classic("own", upstream, domain="own.test", **strict),
        classic("shared-strict", upstream, "/strict/", domain="shared.test", **strict),
        classic("shared-open", upstream, "/open/", domain="shared.test"),
        classic("raw", f"tcp://127.0.0.1:{upstream}", domain="raw.test", protocol="tls", listen_port=raw_port, **strict),
    ]


@pytest.mark.parametrize("pinned", [False, True], ids=["ca", "leaf"])
def test_a_reload_that_removes_the_trust_ends_sessions_and_connections(way: Way, tmp_path: Path, pinned: bool) -> None:
    """Decisions 1.6 and 1.9: no session of before lets anybody in, kept-alive connections are judged anew, raw streams are cut.

    One that resumes without a certificate is refused as such, one with the removed certificate by its list; the new CA's clients get in.
    """
    before, after = (GOOD1.identity, GOOD2.identity) if pinned else (MATERIAL.ca1, MATERIAL.ca2)
    raw_port = free_port()
    with (
        StrictUpstream() as upstream,
        running_gateway(
            tmp_path, *_definitions(upstream.port, before.pem, raw_port), server=SERVER_CERTIFICATE, disable_ports_whitelist=True
        ) as gateway,
    ):
        side = way.side()
        ports = {"own.test": gateway.port, "shared.test": gateway.port, "raw.test": raw_port}
        live = {name: side.connect(port, name, identity=GOOD1.identity) for name, port in ports.items()}
        assert [ask(client, name) for name, client in live.items()] == [200, 200, 200]
        sessions = {name: client.session for name, client in live.items()}
        with side.connect(gateway.port, "own.test", session=sessions["own.test"]) as client:
            assert side.last_resumed and ask(client, "own.test") == 200
        gateway.write_apis(*_definitions(upstream.port, after.pem, raw_port))
        assert gateway.reload()["event"] == "reload.done"
        seen = len(upstream.requests)
        assert [ask(live[name], name) for name in ("own.test", "shared.test")] == [403, 403]
        with pytest.raises((EOFError, OSError, SSL.Error)):
            ask(live["raw.test"], "raw.test")
        for identity in (None, GOOD1.identity):
            for name in ("own.test", "raw.test"):
                assert_refused(side, ports[name], name, session=sessions[name], identity=identity)
            with side.connect(gateway.port, "shared.test", session=sessions["shared.test"], identity=identity) as client:
                assert not side.last_resumed
                assert ask(client, "shared.test") == 403
        assert len(upstream.requests) == seen
        for name, port in ports.items():
            with side.connect(port, name, identity=GOOD2.identity) as client:
                assert ask(client, name) == 200
        for client in live.values():
            client.close()


def test_a_reload_that_turns_an_open_host_strict_ends_its_sessions(way: Way, tmp_path: Path) -> None:
    """A session made when nobody was asked must not stand in for a certificate later."""
    with (
        StrictUpstream() as upstream,
        running_gateway(tmp_path, classic("a", upstream.port, domain="a.test"), server=SERVER_CERTIFICATE) as gateway,
    ):
        side = way.side()
        live = side.connect(gateway.port, "a.test")
        assert ask(live, "a.test") == 200
        gateway.write_apis(classic("a", upstream.port, domain="a.test", use_mutual_tls_auth=True, client_certificates=[MATERIAL.ca1.pem]))
        assert gateway.reload()["event"] == "reload.done"
        response = live.request(host="a.test")
        assert (response.status, b"Client TLS certificate is required" in response.body) == (403, True)
        assert_refused(side, gateway.port, "a.test", session=live.session)
        live.close()
        assert len(upstream.requests) == 1


# Time.


def test_a_certificate_that_expires_takes_its_sessions_and_connections_along(served: Served, tmp_path: Path) -> None:
    """mTLS reference section 14: judged by the presented leaf, now, on kept-alive and resumed connections.

    Waits in real time for certificates that live a few seconds: OpenSSL and the gateway read the machine's clock.
    """
    ends = time.time() + 6
    issued = MATERIAL.ca1.issue("brief", not_after=ends)
    pinned = make_self_signed("brief and pinned", not_after=ends)
    apis = [
        classic(
            "own", served.upstream.port, domain="own.test", use_mutual_tls_auth=True, client_certificates=[MATERIAL.ca1.pem, pinned.pem]
        ),
        classic(
            "strict",
            served.upstream.port,
            "/strict/",
            domain="shared.test",
            use_mutual_tls_auth=True,
            client_certificates=[MATERIAL.ca1.pem, pinned.pem],
        ),
        classic("lax", served.upstream.port, "/open/", domain="shared.test"),
    ]
    messages = {issued: f"Certificate with SHA256 {issued.fingerprint} not allowed", pinned: "Certificate has expired"}
    with running_gateway(tmp_path, *apis, server=SERVER_CERTIFICATE) as gateway:
        kept: list[tuple[Issued, ClientSide, str, Client]] = []
        for identity in (issued, pinned):
            for way in WAYS.values():
                side = ClientSide(identity, version=way.version, tickets=way.tickets)
                for host in ("own.test", "shared.test"):
                    client = side.connect(gateway.port, host)
                    assert ask(client, host) == 200
                    kept.append((identity, side, host, client))
        assert time.time() < ends, "too slow to be a test"
        time.sleep(max(0.0, ends + 1.2 - time.time()))
        seen = len(served.upstream.requests)
        for identity, side, host, client in kept:
            answer = client.request(host=host, target="/strict/x")
            assert (answer.status, messages[identity].encode() in answer.body) == (403, True), answer.body
            session = client.session
            client.close()
            if host == "own.test":
                assert_refused(side, gateway.port, host, session=session)
            else:
                with side.connect(gateway.port, host, session=session) as again:
                    answer = again.request(host=host, target="/strict/x")
                    assert (answer.status, messages[identity].encode() in answer.body) == (403, True), answer.body
        assert len(served.upstream.requests) == seen


# The second hello.

SECOND_HELLOS = [
    ("open.test", "one.test"),
    ("one.test", "open.test"),
    ("shared.test", "one.test"),
    ("one.test", "shared.test"),
    ("one.test", "twin.test"),
    ("nobody.test", "shared.test"),
    ("open.test", None),
    ("one.test", None),
    (None, "one.test"),
    (None, "shared.test"),
]


@pytest.mark.parametrize("sni", ["one.test", "shared.test", "open.test", None])
def test_an_honest_second_hello_is_served(served: Served, sni: str | None) -> None:
    """RFC 8446 section 4.1.4: the premise of the next test; the client's tricks work."""
    with SecondHelloClient(served.gateway.port, sni, GOOD1.identity) as client:
        assert client.hellos == 1
        assert client.get(sni or "shared.test", "/strict/x") == 200


@pytest.mark.parametrize("shown", [GOOD1, NOBODY], ids=["good1", "none"])
@pytest.mark.parametrize(("first", "second"), SECOND_HELLOS)
def test_a_second_hello_with_another_name_ends_the_connection(
    served: Served, first: str | None, second: str | None, shown: Presented
) -> None:
    """Decisions 1.6, RFC 8446 section 4.1.2: OpenSSL by itself goes on; also inside one policy, and with no name on either side."""
    seen = len(served.upstream.requests)
    with (
        pytest.raises((TLSError, OSError)),
        SecondHelloClient(served.gateway.port, first, shown.identity, change=set_name(second)) as client,
    ):
        for host in (first, second):
            client.get(host or "shared.test", "/strict/x")
    assert len(served.upstream.requests) == seen


@pytest.mark.parametrize(("first", "second"), [("one.test", "one.test"), *SECOND_HELLOS[:6]])
def test_a_second_hello_cannot_take_a_session_elsewhere(served: Served, first: str, second: str) -> None:
    """The same with a session of the first name and a binder over what was really sent."""
    with SecondHelloClient(served.gateway.port, first, GOOD1.identity) as before:
        before.get(first, "/strict/x")
        session = before.session
    assert session.tickets
    seen = len(served.upstream.requests)
    if first == second:
        with SecondHelloClient(served.gateway.port, first, change=set_name(second), session=session) as client:
            assert client.get(first, "/strict/x") == 200, "the binder is right"
        return
    with (
        pytest.raises((TLSError, OSError)),
        SecondHelloClient(served.gateway.port, first, change=set_name(second), session=session) as client,
    ):
        client.get(second, "/strict/x")
    assert len(served.upstream.requests) == seen


# Early data.


@pytest.mark.parametrize("host", ["one.test", "shared.test", "open.test"])
def test_early_data_is_never_offered_nor_taken(served: Served, tmp_path: Path, host: str) -> None:
    """mTLS reference section 14: no 0-RTT, with another OpenSSL as the client."""
    identity = tmp_path / "alice.pem"
    assert GOOD1.identity is not None
    identity.write_text(GOOD1.identity.full_pem)
    session, early = tmp_path / "session.pem", tmp_path / "early"
    request = f"GET /strict/early HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
    early.write_bytes(request)
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{served.gateway.port}", "-servername", host, "-tls1_3", "-ign_eof"]
    command += ["-cert", str(identity), "-key", str(identity)]
    first = subprocess.run([*command, "-sess_out", str(session)], input=request, capture_output=True, timeout=20, check=False).stdout
    assert b"HTTP/1.1 200" in first and b"Max Early Data: 0" in first
    second = subprocess.run(
        [*command, "-sess_in", str(session), "-early_data", str(early)], input=request, capture_output=True, timeout=20, check=False
    ).stdout
    assert b"Early data was not sent" in second or b"Early data was rejected" in second
    assert second.count(b"HTTP/1.1 200") == 1
