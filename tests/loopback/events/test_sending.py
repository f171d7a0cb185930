"""One attempt of a web hook over real sockets: methods, TLS, redirects, receivers that are slow, endless or silent."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from twisted.internet.defer import TimeoutError as DeadlinePassed

from tests.support.certs import Issued, make_authority
from tests.support.gateway import Received, ScriptedUpstream, StrictUpstream, free_port, read_head, wait_until
from tests.support.loop import Loop, running_loop
from tests.support.tls_upstream import TlsUpstream, server_context
from tlsgate.events.sending import NoTrust, Sender
from tlsgate.events.webhook import Hook, build_hook
from tlsgate.model.events import WebhookHandler
from tlsgate.pki.pem import parse_pem
from tlsgate.tls.trust import TrustSet, build_trust


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loop]:
    """A loop that also moves Twisted's TLS, which takes the global reactor for its small delays."""
    with running_loop() as found:
        monkeypatch.setattr("twisted.protocols.tls._get_default_clock", lambda: found.reactor)
        yield found


def make_hook(url: str, **fields: Any) -> Hook:
    return build_hook(WebhookHandler(url=url, **fields), "f")[0]


def trust_of(*authorities: Issued) -> TrustSet:
    return build_trust([parse_pem(authority.pem.encode()) for authority in authorities], "test")


def send(loop: Loop, hook: Hook, body: bytes = b'{"a": 1}', *, trust: TrustSet | None = None, timeout_s: float = 10.0) -> int:
    """Make one attempt with a sender of its own, and leave nothing open."""
    sender = Sender(loop.reactor, trust, connect_timeout_s=2.0)

    async def work() -> int:
        try:
            return await sender.send(hook, body, timeout_s)
        finally:
            await sender.close()

    return loop.run(work(), timeout_s + 20)


def answer(status: str, *lines: str) -> Any:
    head = "\r\n".join([f"HTTP/1.1 {status}", *lines, "Content-Length: 2"])
    return lambda received: head.encode() + b"\r\n\r\nok"


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE", "PATCH"])
def test_a_delivery_is_one_request_with_the_body(loop: Loop, method: str) -> None:
    """Whatever the method; read by the letter of RFC 9112."""
    with StrictUpstream(answer("200 OK")) as receiver:
        hook = make_hook(
            f"http://127.0.0.1:{receiver.port}/a%2Fb?x=1", method=method, headers=(("X-A", "one"), ("Authorization", "Bearer t"))
        )
        assert send(loop, hook) == 200
        (received,) = receiver.requests
        assert (received.method, received.target, received.body) == (method, "/a%2Fb?x=1", b'{"a": 1}')
        assert received.header("User-Agent") == "Tyk-Hookshot"
        assert received.header("Content-Type") == "application/json"
        assert (received.header("X-A"), received.header("Authorization")) == ("one", "Bearer t")
        assert received.header("Host") == f"127.0.0.1:{receiver.port}"
        assert not receiver.violations


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(loop: Loop, status: int) -> None:
    """The body, and what stands in the headers, is for the address that was configured."""
    with StrictUpstream() as other, StrictUpstream(answer(f"{status} Go", f"Location: http://127.0.0.1:{other.port}/")) as receiver:
        assert send(loop, make_hook(f"http://127.0.0.1:{receiver.port}/", method="POST")) == status
        assert len(receiver.requests) == 1 and other.connections == 0


def test_a_receiver_that_answers_errors(loop: Loop) -> None:
    """The status says so."""
    with StrictUpstream(answer("503 No")) as receiver:
        assert send(loop, make_hook(f"http://127.0.0.1:{receiver.port}/")) == 503


def test_nobody_there(loop: Loop) -> None:
    with pytest.raises(Exception, match="refused"):
        send(loop, make_hook(f"http://127.0.0.1:{free_port()}/"))


@pytest.mark.parametrize("prelude", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"], ids=["silent", "in the body"])
def test_a_receiver_that_hangs_is_left_in_time(loop: Loop, prelude: bytes) -> None:
    """Before the answer or within it; its connection is closed."""
    ended: list[bytes] = []

    def hang(connection: socket.socket, number: int) -> None:
        read_head(connection)
        connection.sendall(prelude)
        try:
            ended.append(connection.recv(1))
        except OSError:
            ended.append(b"")

    with ScriptedUpstream(hang) as receiver:
        with pytest.raises(DeadlinePassed):
            send(loop, make_hook(f"http://127.0.0.1:{receiver.port}/"), b"", timeout_s=0.3)
        loop.until(lambda: bool(ended))
        assert ended == [b""]


def test_an_endless_answer_is_cut(loop: Loop) -> None:
    """Nobody reads what a receiver says; the status counts."""
    cut: list[bool] = []

    def flood(connection: socket.socket, number: int) -> None:
        read_head(connection)
        try:
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            for _ in range(10_000):
                connection.sendall(b"x" * 65536)
        except OSError:
            cut.append(True)

    with ScriptedUpstream(flood) as receiver:
        assert send(loop, make_hook(f"http://127.0.0.1:{receiver.port}/")) == 200
        assert wait_until(lambda: bool(cut))


@pytest.mark.parametrize("part", [b"X-A: " + b"a" * 1000 + b"\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_an_endless_head_is_cut(loop: Loop, part: bytes) -> None:
    """Each line is small and none is the last: it would fill memory until the time is up."""
    cut: list[bool] = []

    def flood(connection: socket.socket, number: int) -> None:
        read_head(connection)
        try:
            if part.startswith(b"X"):
                connection.sendall(b"HTTP/1.1 200 OK\r\n")
            for _ in range(10_000):
                connection.sendall(part * 64)
        except OSError:
            cut.append(True)

    with ScriptedUpstream(flood) as receiver:
        with pytest.raises(Exception) as caught:
            send(loop, make_hook(f"http://127.0.0.1:{receiver.port}/"), timeout_s=60.0)
        assert not isinstance(caught.value, DeadlinePassed)
        assert wait_until(lambda: bool(cut))


def test_a_connection_is_used_again(loop: Loop) -> None:
    with StrictUpstream(answer("200 OK")) as receiver:
        sender = Sender(loop.reactor, None)
        hook = make_hook(f"http://127.0.0.1:{receiver.port}/", method="POST")

        async def work() -> None:
            for number in range(3):
                assert await sender.send(hook, b"%d" % number, 5.0) == 200
            await sender.close()

        loop.run(work())
        assert [received.body for received in receiver.requests] == [b"0", b"1", b"2"]
        assert receiver.connections == 1


CA = make_authority("hooks")
SERVER = {"usages": [ExtendedKeyUsageOID.SERVER_AUTH]}


@pytest.mark.parametrize("version", [771, 772])
def test_a_receiver_behind_tls(loop: Loop, version: int) -> None:
    """Verified by the configured CAs, by name or address."""
    issued = CA.issue("hook", names=["localhost", "127.0.0.1"], **SERVER)
    with TlsUpstream(server_context(issued, version=version), answer("200 OK")) as receiver:
        for host in ("localhost", "127.0.0.1"):
            assert send(loop, make_hook(f"https://{host}:{receiver.port}/", method="POST"), trust=trust_of(CA)) == 200
        assert len(receiver.requests) == 2


def test_an_intermediate_may_be_the_anchor(loop: Loop) -> None:
    """As with upstreams: what is configured as a CA is one."""
    middle = CA.subordinate("middle")
    issued = middle.issue("hook", names=["localhost"], **SERVER)
    with TlsUpstream(server_context(issued), answer("200 OK")) as receiver:
        assert send(loop, make_hook(f"https://localhost:{receiver.port}/"), trust=trust_of(middle)) == 200


def refuse(received: Received) -> bytes:
    raise AssertionError("nothing may be sent")


@pytest.mark.parametrize(
    ("issued", "trust"),
    [
        (make_authority("foreign").issue("hook", names=["localhost"], **SERVER), trust_of(CA)),
        (CA.issue("hook", names=["other.test"], **SERVER), trust_of(CA)),
        (CA.issue("hook", names=["localhost"], not_before=1.5e9, not_after=1.6e9, **SERVER), trust_of(CA)),
    ],
    ids=["unknown CA", "another name", "expired"],
)
def test_a_receiver_that_is_not_who_it_should_be_gets_nothing(loop: Loop, issued: Issued, trust: TrustSet) -> None:
    """Neither the body nor the headers."""
    with TlsUpstream(server_context(issued), refuse) as receiver:
        with pytest.raises(Exception, match=r"(?i)ssl|tls|certificate|verif"):
            send(loop, make_hook(f"https://localhost:{receiver.port}/", method="POST"), trust=trust)
        assert receiver.requests == []


def test_without_cas_nothing_is_sent_over_tls(loop: Loop) -> None:
    with TlsUpstream(server_context(CA.issue("hook", names=["localhost"], **SERVER)), refuse) as receiver:
        with pytest.raises(NoTrust):
            send(loop, make_hook(f"https://localhost:{receiver.port}/"))
        assert receiver.connections == 0
