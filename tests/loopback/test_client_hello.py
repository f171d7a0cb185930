"""Odd, hostile and slow ClientHellos: none gets around a host's policy, none outlives its deadline (issue: acceptance 4).

In each case the strict host must stay strict: without a certificate nobody gets in and the upstream hears nothing; with one, a hello that
is merely unusual is served. Source: mTLS reference, section 14; reliability reference, 2a, 2d, 4; decisions 1.3, 1.6.
"""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.certs import SERVER, Issued, make_authority
from tests.support.gateway import (
    Client,
    Gateway,
    HandshakeRefused,
    Response,
    StrictUpstream,
    classic,
    oas,
    running_gateway,
    wait_until,
)
from tests.support.hellos import hello_of_pyopenssl, hello_of_ssl, message, records, server_names, vector
from tests.support.oddhello import (
    ChangedHelloClient,
    ShapedClient,
    TLSError,
    add_extension,
    connect,
    exchange,
    idle_descriptors,
    read_outcome,
)
from tests.support.scale import FULL, scaled

VERSIONS = (771, 772)
HANDSHAKE_S = 1.5
STRICT = ("strict.test", "oas.test")
PROTOCOL_VERSION, INAPPROPRIATE_FALLBACK = 70, 86


class World(NamedTuple):
    """A gateway with strict, mixed and open hosts, and a client that the strict ones know."""

    gateway: Gateway
    upstream: StrictUpstream
    alice: Issued

    level: int
    """Descriptors of the idle gateway."""

    @property
    def port(self) -> int:
        """Of the TLS listener."""
        return self.gateway.port

    def descriptors(self) -> int:
        """Return how many descriptors there are beside those of the idle gateway and of its connections to the upstream."""
        return self.gateway.open_files() - self.upstream.open_connections - self.level

    def settle(self, timeout_s: float = 5.0) -> None:
        """Wait until nothing is left of earlier clients."""
        assert wait_until(lambda: self.descriptors() <= 0, timeout_s), f"{self.descriptors()} descriptors too many\n{self.gateway.tail()}"

    def mark(self) -> int:
        """Return the present position of the log."""
        return len(self.gateway.events)

    def reasons(self, mark: int) -> list[str]:
        """Return the reasons of the handshakes refused since a position of the log."""
        return [event["reason"] for event in self.gateway.events[mark:] if event.get("event") == "tls.handshake_refused"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Strict hosts in both forms of definitions, a mixed one and an open one; at the end the descriptors are back where they were."""
    folder: Path = tmp_path_factory.mktemp("hello")
    authority = make_authority("clients")
    server = make_authority("servers").issue("gateway", usages=SERVER, names=["localhost"])
    with StrictUpstream() as upstream:
        apis = [
            classic("strict", upstream.port, domain="strict.test", use_mutual_tls_auth=True, client_certificates=[authority.pem]),
            oas(
                "oas",
                upstream.port,
                server={
                    "customDomain": {"enabled": True, "name": "oas.test"},
                    "clientCertificates": {"enabled": True, "allowlist": [authority.pem]},
                },
            ),
            classic("mixed", upstream.port, "/", domain="mixed.test"),
            classic(
                "judged", upstream.port, "/strict/", domain="mixed.test", use_mutual_tls_auth=True, client_certificates=[authority.pem]
            ),
            classic("open", upstream.port, domain="open.test"),
        ]
        limits = {"handshake_timeout_s": HANDSHAKE_S, "close_timeout_s": 1.0}
        with running_gateway(folder, *apis, server=server, tlsgate={"limits": limits}) as gateway:
            found = World(gateway, upstream, authority.issue("alice"), idle_descriptors(gateway))
            yield found
            found.settle(2 * HANDSHAKE_S + 3)
        assert not upstream.violations


def refused(connect_and_ask: Callable[[], object]) -> str:
    """Return how an attempt without certificate failed; fails when it got an answer."""
    try:
        answer = connect_and_ask()
    except (HandshakeRefused, TLSError, EOFError, OSError) as problem:
        return str(problem)
    raise AssertionError(f"got in: {answer!r}")


def ask(client: Client, host: str) -> Response:
    """Ask once and close."""
    with client:
        return client.request(host=host)


# Good hellos in odd shapes.


def spread(size: int, segment: int = 0) -> Callable[[bytes], Iterable[bytes]]:
    """Spread the first record over records of ``size`` bytes, sent in segments of ``segment`` bytes."""

    def shape(flight: bytes) -> Iterable[bytes]:
        payload = b""
        at = 0
        while at < len(flight):
            end = at + 5 + int.from_bytes(flight[at + 3 : at + 5], "big")
            assert flight[at] == 22
            payload += flight[at + 5 : end]
            at = end
        stream = records(payload, size)
        return [stream[start : start + segment] for start in range(0, len(stream), segment)] if segment else [stream]

    return shape


SHAPES: dict[str, Callable[[bytes], Iterable[bytes]]] = {
    "one byte per segment": lambda flight: [flight[at : at + 1] for at in range(len(flight))],
    "one byte per record": spread(1),
    "one byte per record, one record per segment": spread(1, 6),
    "one byte per record, segments across records": spread(1, 5),
    "records of 3 bytes": spread(3),
    "records of 100 bytes, 50 per segment": spread(100, 50),
    "header alone": lambda flight: [flight[:5], flight[5:]],
    "all but the last byte": lambda flight: [flight[:-1], flight[-1:]],
}


@pytest.mark.parametrize("name", STRICT)
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_the_shape_of_a_hello_changes_nothing(world: World, shape: Callable[[bytes], Iterable[bytes]], version: int, name: str) -> None:
    """RFC 8446 5.1; Traefik CVE-2026-32305: records and segments may cut a hello anywhere; the strict host stays strict, and serves."""
    before = len(world.upstream.requests)
    problem = refused(lambda: ask(ShapedClient(world.port, shape, sni=name, version=version), name))
    assert "certificate required" in problem or "handshake failure" in problem, problem
    assert len(world.upstream.requests) == before
    assert ask(ShapedClient(world.port, shape, sni=name, version=version, identity=world.alice), name).status == 200
    assert len(world.upstream.requests) == before + 1


@pytest.mark.parametrize("version", VERSIONS)
def test_a_hello_cut_at_every_byte_meets_the_same_policy(world: World, version: int) -> None:
    """Two segments that a pause of 2 ms keeps apart: refused without certificate, served with one (every fourth cut by default)."""
    name = STRICT[0]
    length = len(hello_of_pyopenssl(name.encode(), (b"http/1.1",), highest=version))
    before = len(world.upstream.requests)

    def cut(at: int, identity: Issued | None) -> int:
        client = ShapedClient(
            world.port,
            lambda flight: [flight[:at], flight[at:]],
            pause_s=0.002,
            sni=name,
            version=version,
            identity=identity,
        )
        return ask(client, name).status

    with ThreadPoolExecutor(8) as pool:
        problems = list(pool.map(lambda at: refused(lambda: cut(at, None)), range(1, length)))
        assert len(world.upstream.requests) == before
        odd = [problem for problem in problems if "certificate required" not in problem and "handshake failure" not in problem]
        assert not odd, odd[:5]
        assert set(pool.map(lambda at: cut(at, world.alice), range(1, length, scaled(4, 1)))) == {200}


# Hellos with odd contents that are still hellos: another TLS stack says them and means them.

GREASE = (0x0A0A, 0x1A1A, 0x8A8A, 0xFAFA)


def grease(hello: Any) -> None:
    """RFC 8701: reserved values in suites and extensions, and an empty and a filled extension of reserved types."""
    hello.cipher_suites = [GREASE[0], *hello.cipher_suites]
    add_extension(GREASE[1], b"", first=True)(hello)
    add_extension(GREASE[2], b"\x00", first=True)(hello)


def many_extensions(hello: Any) -> None:
    """Two thousand extensions that nobody knows."""
    for number in range(60000, 62000):
        add_extension(number, b"", first=True)(hello)


def shuffled(hello: Any) -> None:
    """Extensions in another order (none of them is tied to the end here)."""
    random.Random(1).shuffle(hello.extensions)


def without_session_id(hello: Any) -> None:
    """RFC 8446 D.4: the compatibility mode is the client's choice."""
    hello.session_id = bytearray()


def many_suites(hello: Any) -> None:
    """Suites that nobody knows before the good one."""
    hello.cipher_suites = [*range(0x4000, 0x5000), *hello.cipher_suites]


CHANGES: dict[str, Callable[[Any], None]] = {
    "16 KiB of padding": add_extension(21, bytes(16384)),
    "16 KiB of padding first": add_extension(21, bytes(16384), first=True),
    "60 KiB of padding first": add_extension(21, bytes(61440), first=True),
    "GREASE": grease,
    "2000 extensions": many_extensions,
    "4096 unknown suites": many_suites,
    "extensions shuffled": shuffled,
    "no session id": without_session_id,
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_contents_of_a_hello_change_nothing(world: World, change: Callable[[Any], None], version: int) -> None:
    """What pushes the name far away or hides it among unknown things is read all the same."""
    name = STRICT[0]
    before = len(world.upstream.requests)

    def attempt(identity: Issued | None) -> int:
        with ChangedHelloClient(world.port, name, [change], version=version, identity=identity) as client:
            return client.get(name)

    refused(lambda: attempt(None))
    assert len(world.upstream.requests) == before
    assert attempt(world.alice) == 200


class Alpn(NamedTuple):
    """What a client offers and what must come of it; ``chosen`` is None for an answer without ALPN."""

    offered: tuple[bytes, ...]
    chosen: bytes | None
    works: bool = True


ALPN = {
    "none": Alpn((), None),
    "http/1.1": Alpn((b"http/1.1",), b"http/1.1"),
    "h2 and http/1.1": Alpn((b"h2", b"http/1.1"), b"http/1.1"),
    "GREASE, h2 and http/1.1": Alpn((b"\x0a\x0a", b"h2", b"http/1.1"), b"http/1.1"),
    "http/1.1 after many": Alpn((*(b"x%d" % number for number in range(1000)), b"http/1.1"), b"http/1.1"),
    "h2 alone": Alpn((b"h2",), None, works=False),
    "http/1.0 alone": Alpn((b"http/1.0",), None, works=False),
    "another case": Alpn((b"HTTP/1.1",), None, works=False),
    "name of 255 bytes": Alpn((b"x" * 255,), None, works=False),
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("alpn", ALPN.values(), ids=ALPN)
def test_alpn_is_answered_or_refused(world: World, alpn: Alpn, version: int) -> None:
    """RFC 7301 3.2: http/1.1 where it is offered, no ALPN where none is offered, else the alert; never a way around the certificate."""
    name = STRICT[0]
    before = len(world.upstream.requests)

    def attempt(identity: Issued | None) -> ChangedHelloClient:
        return ChangedHelloClient(world.port, name, version=version, identity=identity, alpn=alpn.offered)

    if not alpn.works:
        for identity in (None, world.alice):
            assert "no_application_protocol" in refused(lambda identity=identity: attempt(identity))
        return
    refused(lambda: attempt(None).get(name))
    assert len(world.upstream.requests) == before
    with attempt(world.alice) as client:
        assert client.get(name) == 200
        assert bytes(client.session.appProto or b"") == (alpn.chosen or b"")


SPELLINGS = ("STRICT.TEST", "Strict.Test", "strict.test.", "STRICT.TEST.")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_the_spelling_of_a_name_changes_nothing(world: World, spelling: str, version: int) -> None:
    """Traefik CVE-2026-53622: one normal form for certificates, policies and routes."""
    before = len(world.upstream.requests)
    refused(lambda: ask(Client(world.port, sni=spelling, version=version), "strict.test"))
    assert len(world.upstream.requests) == before
    assert ask(Client(world.port, sni=spelling, version=version, identity=world.alice), "strict.test").status == 200


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("sni", [None, "unknown.test", "mixed.test", "open.test"])
def test_another_name_does_not_open_the_strict_host(world: World, sni: str | None, version: int) -> None:
    """Decisions 1.3, 1.5: no SNI and unknown names ask for a certificate and judge at HTTP level; the upstream hears nothing."""
    before = len(world.upstream.requests)
    for host in STRICT:
        assert ask(Client(world.port, sni=sni, version=version), host).status in (403, 421)
    assert len(world.upstream.requests) == before
    expected = 421 if sni == "open.test" else 200
    # A name whose policy asks for certificates, but another one than the strict host's: 421 as well (decisions 1.5).
    if sni is not None:
        expected = 421
    assert ask(Client(world.port, sni=sni, version=version, identity=world.alice), STRICT[0]).status == expected


# Hellos that are none.

_NAME = (0, server_names(b"strict.test"))
# What OpenSSL needs to choose a suite in TLS 1.2, so that a hello which should be refused for its name is not refused for want of a suite.
_USABLE = ((10, vector(2, b"\x00\x17\x00\x1d")), (11, b"\x01\x00"), (13, vector(2, b"\x04\x03\x08\x04")))
_SUITES = b"\xc0\x2b\xc0\x2f"


def hello(*extensions: tuple[int, bytes], **fields: Any) -> bytes:
    """A hello that OpenSSL would answer if it were allowed to see it."""
    return records(message((*extensions, *_USABLE), **{"suites": _SUITES, **fields}))


class Bad(NamedTuple):
    """Bytes that must not get an answer, and why."""

    data: bytes
    reason: str
    """Part of the reason in the log."""
    alert: int | None = None


_REAL = hello_of_ssl("strict.test")
_OLD = "unsupported protocol"
_SPREAD = records(_REAL[5:], 200)
_SSLV2 = bytes.fromhex("802e0100020015000000100100800200800300800400800500800600800700c0") + bytes(16)

BAD = {
    "zeros": Bad(bytes(100), "not a TLS handshake record"),
    "noise": Bad(random.Random(7).randbytes(4000).replace(b"\x16", b"\x17"), ""),
    "SSLv2 hello": Bad(_SSLV2, "SSLv2"),
    "SSH": Bad(b"SSH-2.0-OpenSSH_9.2\r\n", "plain HTTP"),
    "PROXY header": Bad(b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n" + _REAL, "plain HTTP"),
    "PROXY v2 header": Bad(b"\r\n\r\n\x00\r\nQUIT\n" + bytes(4), "not a TLS handshake record"),
    "lower-case method": Bad(b"get / HTTP/1.1\r\n\r\n", "not a TLS handshake record"),
    "application data": Bad(b"\x17" + _REAL[1:], "not a TLS handshake record"),
    "alert first": Bad(b"\x15\x03\x01\x00\x02\x01\x00" + _REAL, "not a TLS handshake record"),
    "change cipher spec first": Bad(b"\x14\x03\x01\x00\x01\x01" + _REAL, "not a TLS handshake record"),
    "change cipher spec inside": Bad(_SPREAD[:205] + b"\x14\x03\x01\x00\x01\x01" + _SPREAD[205:], "another type"),
    "empty record": Bad(b"\x16\x03\x01\x00\x00" + _REAL, "record length"),
    "record of 16385 bytes": Bad(b"\x16\x03\x01\x40\x01" + bytes(16385), "record length"),
    "record version 3.5": Bad(b"\x16\x03\x05" + _REAL[3:], "record version"),
    "record version 2.0": Bad(b"\x16\x02\x00" + _REAL[3:], "record version"),
    "ServerHello": Bad(hello(_NAME, kind=2), "not a ClientHello"),
    "hello of 16 MiB": Bad(b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + bytes(16380), "too large"),
    "over 64 KiB": Bad(records(message(((21, bytes(40000)), _NAME), suites=_SUITES * 10000)), "too large"),
    "64 KiB of one-byte records": Bad(records(message(((21, bytes(12000)), _NAME)), 1), "too large"),
    "two names": Bad(hello((0, server_names(b"open.test", b"strict.test"))), "several server names"),
    "two name extensions": Bad(hello((0, server_names(b"open.test")), _NAME), "repeated extension"),
    "IPv4 literal": Bad(hello((0, server_names(b"127.0.0.1"))), "IP address"),
    "IPv6 literal": Bad(hello((0, server_names(b"::1"))), ""),
    "NUL in the name": Bad(hello((0, server_names(b"open.test\x00.strict.test"))), "host name"),
    "NUL at the end": Bad(hello((0, server_names(b"strict.test\x00"))), "host name"),
    "blank in the name": Bad(hello((0, server_names(b"strict.test "))), "host name"),
    "slash in the name": Bad(hello((0, server_names(b"strict.test/"))), "host name"),
    "port in the name": Bad(hello((0, server_names(b"strict.test:443"))), ""),
    "UTF-8 name": Bad(hello((0, server_names("str\u00efct.test".encode()))), "not ASCII"),
    "empty name": Bad(hello((0, server_names(b""))), "host name"),
    "only a dot": Bad(hello((0, server_names(b"."))), "host name"),
    "two dots at the end": Bad(hello((0, server_names(b"strict.test.."))), "host name"),
    "empty name list": Bad(hello((0, b"\x00\x00")), ""),
    "empty name extension": Bad(hello((0, b"")), ""),
    "name of 300 bytes": Bad(hello((0, server_names(b"a." * 150 + b"test"))), "host name"),
    "other name type": Bad(hello((0, server_names(b"strict.test", kind=1))), "server name"),
    "name longer than its list": Bad(hello((0, b"\x00\x05\x00\x00\x0bstrict.test")), ""),
    "bytes after the name list": Bad(hello((0, server_names(b"strict.test") + b"x")), ""),
    "extension longer than the message": Bad(records(message(None, suites=_SUITES, tail=b"\x00\x08\x00\x00\xff\xff\x00\x00")), "truncated"),
    "bytes after the extensions": Bad(hello(_NAME, tail=b"x"), "after the extensions"),
    "session id of 33 bytes": Bad(hello(_NAME, session=bytes(33)), "session id"),
    "no suites": Bad(hello(_NAME, suites=b""), "cipher suites"),
    "half a suite": Bad(hello(_NAME, suites=b"\xc0\x2b\xc0"), "cipher suites"),
    "only deflate": Bad(hello(_NAME, compression=b"\x01"), "null compression"),
    "empty ALPN": Bad(hello(_NAME, (16, b"\x00\x00")), "ALPN"),
    "empty protocol": Bad(hello(_NAME, (16, b"\x00\x01\x00")), "ALPN"),
    "TLS 1.1": Bad(hello(_NAME, version=770), _OLD, PROTOCOL_VERSION),
    "TLS 1.0": Bad(hello(_NAME, version=769), _OLD, PROTOCOL_VERSION),
    "SSL 3": Bad(hello(_NAME, version=768), "", PROTOCOL_VERSION),
    "TLS 1.0 without extensions": Bad(records(message(None, version=769, suites=_SUITES)), _OLD, PROTOCOL_VERSION),
    "TLS 1.0 and 1.1 in supported_versions": Bad(hello(_NAME, (43, vector(1, b"\x03\x02\x03\x01"))), _OLD, PROTOCOL_VERSION),
    "drafts of TLS 1.3 only": Bad(hello(_NAME, (43, vector(1, b"\x7f\x1c\x7f\x17"))), _OLD, PROTOCOL_VERSION),
    "protocol version 4": Bad(hello(_NAME, version=0x0400), "protocol version"),
    "fallback to TLS 1.2": Bad(hello(_NAME, suites=_SUITES + b"\x56\x00"), "fallback", INAPPROPRIATE_FALLBACK),
}


@pytest.mark.parametrize("pause_s", [None, 0.002], ids=["at once", "in two segments"])
@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_what_is_no_usable_hello_is_closed_at_once(world: World, bad: Bad, pause_s: float | None) -> None:
    """No ServerHello, no waiting for the deadline, the reason in the log; a pause keeps two segments apart."""
    mark, before = world.mark(), len(world.upstream.requests)
    segments = (bad.data,) if pause_s is None else (bad.data[:3], bad.data[3:])
    outcome = exchange(world.port, *segments, pause_s=pause_s or 0.0)
    assert outcome.ended in ("closed", "reset")
    assert outcome.seconds < HANDSHAKE_S * 0.6
    assert outcome.server_hello is None
    if bad.alert is not None:
        assert outcome.alert == bad.alert
    assert len(world.upstream.requests) == before
    world.gateway.wait_event("tls.handshake_refused", after=mark, match=lambda event: bad.reason in event["reason"])


def test_the_usable_hello_of_these_cases_is_answered(world: World) -> None:
    """The control: with nothing wrong in it, the made-up hello gets a ServerHello and a request for a certificate."""
    outcome = exchange(world.port, hello(_NAME), wait_s=0.5)
    assert outcome.server_hello is not None
    assert outcome.ended == "open"
    assert 13 in [content[0] for kind, content in outcome.records if kind == 22]  # CertificateRequest
    open_one = exchange(world.port, hello((0, server_names(b"open.test"))), wait_s=0.5)
    assert 13 not in [content[0] for kind, content in open_one.records if kind == 22]


@pytest.mark.parametrize("junk", [b"junk" * 100, b"\x17\x03\x03\x00\x20" + bytes(32), b"\x16\x03\x03\x00\x00", _REAL, b"\x80\x80"])
@pytest.mark.parametrize("version", VERSIONS)
def test_junk_after_a_hello_ends_the_handshake(world: World, junk: bytes, version: int) -> None:
    """Junk, early application data, an empty record, a second hello in the same flight: OpenSSL refuses, nothing is left behind."""
    before = len(world.upstream.requests)
    flight = hello_of_pyopenssl(b"strict.test", highest=version)
    outcome = exchange(world.port, flight + junk, wait_s=HANDSHAKE_S + 2)
    assert outcome.ended in ("closed", "reset")
    assert len(world.upstream.requests) == before


def test_plain_http_is_told_so(world: World) -> None:
    """A browser that forgot the s gets a text, whole, whatever it sends behind; never a redirect or a request upstream."""
    before = len(world.upstream.requests)
    for method in (b"GET", b"POST", b"OPTIONS", b"CONNECT", b"PRI"):
        for rest in (b" / HTTP/1.1\r\nHost: open.test\r\n\r\n", b" / HTTP/1.1\r\n" + b"x" * 100_000):
            outcome = exchange(world.port, method + rest)
            head, _, body = outcome.data.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.0 400 ")
            assert b"\r\nConnection: close" in head
            assert body == b"Client sent an HTTP request to an HTTPS server."
            assert outcome.ended == "closed"
    assert len(world.upstream.requests) == before


def test_a_downgrade_leaves_its_mark(world: World) -> None:
    """RFC 8446 4.1.3: a TLS 1.2 answer of a server that speaks 1.3 ends its random with the sentinel."""
    outcome = exchange(world.port, hello(_NAME), wait_s=0.5)
    assert outcome.server_hello is not None
    assert outcome.server_hello[2:34].endswith(b"DOWNGRD\x01")


def test_mutated_hellos_change_nothing(world: World) -> None:
    """A real hello with bytes changed, taken out, doubled: closed or answered, never a traceback, never a word to the upstream."""
    chance = random.Random(20261125)
    originals = [hello_of_ssl("strict.test", ("h2", "http/1.1")), hello_of_pyopenssl(b"strict.test", highest=771), hello(_NAME)]
    before = len(world.upstream.requests)

    def mutate(number: int) -> bytes:
        data = bytearray(chance.choice(originals))
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(data))
            match chance.randrange(4):
                case 0:
                    data[at] = chance.randrange(256)
                case 1:
                    del data[at : at + chance.randint(1, 8)]
                case 2:
                    data[at:at] = data[at : at + chance.randint(1, 64)]
                case _:
                    data[at] ^= 1 << chance.randrange(8)
        return bytes(data)

    flights = [mutate(number) for number in range(scaled(500, 20_000))]
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda flight: exchange(world.port, flight, half_close=True), flights))
    assert {outcome.ended for outcome in outcomes} <= {"closed", "reset"}
    assert len(world.upstream.requests) == before
    assert not world.gateway.tracebacks()


# Time.


def drip(client: socket.socket, data: bytes, pause_s: float) -> float:
    """Send byte by byte until the gateway ends it; returns the seconds it took."""
    started = time.monotonic()
    client.settimeout(0.001)
    try:
        for at in range(len(data)):
            client.sendall(data[at : at + 1])
            time.sleep(pause_s)
            try:
                if client.recv(65536) == b"":
                    break
            except TimeoutError:
                pass
    except OSError:
        pass
    return time.monotonic() - started


SLOW: dict[str, bytes] = {
    "silence": b"",
    "one byte": b"\x16",
    "half a hello": _REAL[: len(_REAL) // 2],
    "all but the last byte": _REAL[:-1],
    "announced but never sent": b"\x16\x03\x01\x40\x00",
    "hello of TLS 1.3, then nothing": hello_of_pyopenssl(b"strict.test"),
    "hello of TLS 1.2, then nothing": hello_of_pyopenssl(b"strict.test", highest=771),
    "open host, then nothing": hello_of_pyopenssl(b"open.test"),
    "hello, then half a record": hello_of_pyopenssl(b"strict.test") + b"\x14\x03\x03\x00\x01\x01\x17\x03\x03\x00\x40" + bytes(10),
}


def test_a_stuck_handshake_ends_by_its_deadline(world: World) -> None:
    """Wherever it is stuck: not before, not much later (the coarse clock may be half a second late), and the log says so."""
    mark = world.mark()
    with ThreadPoolExecutor(len(SLOW)) as pool:
        outcomes = dict(zip(SLOW, pool.map(lambda data: exchange(world.port, data, wait_s=HANDSHAKE_S + 3), SLOW.values()), strict=True))
    for name, outcome in outcomes.items():
        assert outcome.ended in ("closed", "reset"), name
        assert HANDSHAKE_S * 0.9 < outcome.seconds < HANDSHAKE_S + 1.5, (name, outcome.seconds)
    assert wait_until(lambda: sum("deadline" in reason for reason in world.reasons(mark)) == len(SLOW), 2.0)


@pytest.mark.parametrize("data", [_REAL, records(_REAL[5:], 1)], ids=["bytes of one record", "records of one byte"])
def test_a_dripping_hello_does_not_move_the_deadline(world: World, data: bytes) -> None:
    """Reliability reference, 2d: the deadline is absolute; the sleep between two bytes is the attack."""
    with connect(world.port) as client:
        assert HANDSHAKE_S * 0.9 < drip(client, data, 0.02) < HANDSHAKE_S + 1.5


@pytest.mark.parametrize("data", [b"", _REAL[:100], hello_of_pyopenssl(b"strict.test")], ids=["nothing", "part", "hello"])
def test_a_client_that_ends_in_the_middle_is_closed_at_once(world: World, data: bytes) -> None:
    """A FIN before the handshake is over: nothing can come any more."""
    outcome = exchange(world.port, data, half_close=True)
    assert outcome.ended in ("closed", "reset")
    assert outcome.seconds < 1.0


def test_a_client_that_resets_leaves_nothing(world: World) -> None:
    """RST at each stage; the descriptors are compared at the end of the module, too."""
    world.settle()
    for data in SLOW.values():
        with connect(world.port) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            client.sendall(data)
    world.settle(1.0)


def test_good_clients_do_not_notice_stuck_handshakes(world: World) -> None:
    """500 stuck handshakes of all kinds (fewer by default) and garbage: good clients are served quickly, stuck ones reaped."""
    count = scaled(150, 500)
    kinds = [*SLOW.values(), b"\x16\x03\x01" + b"\xff" * 60]
    before = len(world.upstream.requests)
    stuck = [connect(world.port) for _ in range(count)]
    try:
        for number, client in enumerate(stuck):
            try:
                client.sendall(kinds[number % len(kinds)])
            except OSError:
                pass
        opened = time.monotonic()
        times = []
        while time.monotonic() - opened < HANDSHAKE_S * 0.8:
            started = time.monotonic()
            response = ask(Client(world.port, sni="strict.test", identity=world.alice, version=VERSIONS[len(times) % 2]), "strict.test")
            times.append(time.monotonic() - started)
            assert response.status == 200
        times.sort()
        assert len(times) > 20
        # Generous: a good handshake takes a few milliseconds, the bound is for a busy machine.
        assert times[len(times) // 2] < 0.1
        assert times[-1] < 1.0
        for client in stuck:
            assert read_outcome(client, HANDSHAKE_S + 3).ended in ("closed", "reset")
        assert time.monotonic() - opened < HANDSHAKE_S + 3
    finally:
        for client in stuck:
            client.close()
    assert len(world.upstream.requests) == before + len(times)
    world.settle()
    if FULL:
        print(f"\n{count} stuck: {len(times)} good, median {times[len(times) // 2] * 1e3:.1f} ms, worst {times[-1] * 1e3:.1f} ms")


# Caps.

CAP, HANDSHAKES = 12, 5


@pytest.fixture(scope="module")
def capped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A gateway that takes few connections and fewer handshakes at once."""
    folder: Path = tmp_path_factory.mktemp("capped")
    authority = make_authority("clients")
    server = make_authority("servers").issue("gateway", usages=SERVER, names=["localhost"])
    limits = {"handshake_timeout_s": HANDSHAKE_S, "close_timeout_s": 1.0, "max_connections": CAP, "max_handshakes": HANDSHAKES}
    with StrictUpstream() as upstream:
        api = classic("strict", upstream.port, domain="strict.test", use_mutual_tls_auth=True, client_certificates=[authority.pem])
        with running_gateway(folder, api, server=server, tlsgate={"limits": limits}) as gateway:
            yield World(gateway, upstream, authority.issue("alice"), idle_descriptors(gateway))


def good(world: World) -> Client:
    """A client that has been served once and stays connected."""
    client = Client(world.port, sni="strict.test", identity=world.alice)
    assert client.request(host="strict.test").status == 200
    return client


def open_clients(world: World, limit: int) -> list[Client]:
    """Connect good clients until the gateway refuses one, quickly; at most ``limit``."""
    clients = []
    try:
        for _ in range(limit):
            started = time.monotonic()
            try:
                clients.append(good(world))
            except (HandshakeRefused, OSError):
                assert time.monotonic() - started < 1.0
                break
    except BaseException:
        close_all(clients)
        raise
    return clients


def close_all(clients: Iterable[Client]) -> None:
    """Close clients."""
    for client in clients:
        client.close()


def test_connections_over_the_cap_are_refused_quickly_and_no_slot_is_lost(capped: World) -> None:
    """n-1, n and n+1 connections; each one that ends makes room for exactly one, also after churn at the cap."""
    capped.settle()
    for _ in range(scaled(3, 20)):
        clients = open_clients(capped, CAP + 1)
        close_all(clients)
        assert len(clients) == CAP
        capped.settle()
    clients = open_clients(capped, CAP)
    try:
        for _ in range(scaled(20, 500)):
            refused(lambda: good(capped))
            clients.pop(0).close()
            assert wait_until(lambda: bool(grown := open_clients(capped, 1)) and clients.extend(grown) is None, 2.0)
            assert len(clients) == CAP
        for client in clients:
            assert client.request(host="strict.test").status == 200
    finally:
        close_all(clients)
    capped.settle()


def test_handshakes_over_the_cap_are_refused_quickly_and_no_slot_is_lost(capped: World) -> None:
    """Stuck handshakes fill the cap: one less lets a client in, none less does not; after their deadline, or their end, all is well."""
    for way in ("closed", "reaped", "garbage") * scaled(1, 5):
        capped.settle()
        stuck = [connect(capped.port) for _ in range(HANDSHAKES - 1)]
        try:
            good(capped).close()
            stuck.append(connect(capped.port))
            # The refusal of the next one shows that the gateway has taken the one before.
            assert wait_until(lambda: bool(refused_quickly(capped)), 1.0)
            if way == "reaped":
                for client in stuck:
                    assert read_outcome(client, HANDSHAKE_S + 2).ended in ("closed", "reset")
            elif way == "garbage":
                for client in stuck:
                    client.sendall(b"\x00")
                    assert read_outcome(client, 1.0).ended in ("closed", "reset")
        finally:
            for client in stuck:
                client.close()
        capped.settle(1.0)
        clients = open_clients(capped, CAP + 1)
        close_all(clients)
        assert len(clients) == CAP


def test_a_stuck_handshake_gives_way_to_a_new_one(capped: World) -> None:
    """Silent sockets cannot hold all places until their deadline: after a grace of a second the oldest makes room for whoever comes."""
    capped.settle()
    stuck = [connect(capped.port) for _ in range(HANDSHAKES)]
    try:
        assert wait_until(lambda: bool(refused_quickly(capped)), 0.5)
        assert wait_until(lambda: not refused_quickly(capped), 1.3)
        ended = [client for client in stuck if read_outcome(client, 0.01).ended != "open"]
        assert stuck[0] in ended
        assert len(ended) < HANDSHAKES
    finally:
        for client in stuck:
            client.close()
    capped.settle(1.0)


def refused_quickly(world: World) -> str:
    """How a good client is refused at once, empty when it is not."""
    started = time.monotonic()
    try:
        good(world).close()
    except (HandshakeRefused, OSError) as problem:
        assert time.monotonic() - started < 1.0
        return str(problem) or "refused"
    return ""


def test_open_connections_live_on_while_handshakes_are_refused(capped: World) -> None:
    """The cap on handshakes is for new ones."""
    capped.settle()
    with good(capped) as client:
        stuck = [connect(capped.port) for _ in range(HANDSHAKES)]
        try:
            assert wait_until(lambda: bool(refused_quickly(capped)), 1.0)
            assert client.request(host="strict.test").status == 200
        finally:
            for one in stuck:
                one.close()


def test_connections_that_only_wait_for_their_close_count_as_well(capped: World) -> None:
    """A broken record ends a connection with an alert; until the peer closes, its descriptor is still one of the cap's."""
    capped.settle()
    broken = []
    most = 0
    try:
        for _ in range(3 * CAP):
            try:
                client = good(capped)
            except (HandshakeRefused, OSError):
                pass
            else:
                client.socket.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
                broken.append(client)
            most = max(most, capped.descriptors())
    finally:
        close_all(broken)
    # The client just being accepted, and a connection to the upstream on its way, may be seen besides.
    assert most <= CAP + 2
