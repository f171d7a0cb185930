"""What the TLS edge offers and refuses once a hello is readable: suites, versions, groups, renegotiation, early data, odd records.

Source: reliability reference, 2a and 5b; mTLS reference, section 14; RFC 5246, 8446, 5746.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from OpenSSL import SSL

from tests.support.certs import SERVER, Authority, Issued, make_authority
from tests.support.clientside import ClientSide
from tests.support.gateway import Client, Gateway, HandshakeRefused, StrictUpstream, classic, oas, running_gateway, wait_until
from tests.support.hellos import message, records, server_names, vector
from tests.support.oddhello import ChangedHelloClient, Outcome, TLSError, add_extension, exchange, read_outcome
from tests.support.secondhello import SecondHelloClient

VERSIONS = (771, 772)
REQUEST = b"GET / HTTP/1.1\r\nHost: open.test\r\n\r\n"
HANDSHAKE_FAILURE, NO_RENEGOTIATION = 40, 100
UNEXPECTED_MESSAGE, BAD_RECORD_MAC, RECORD_OVERFLOW, DECODE_ERROR = 10, 20, 22, 50


class World(NamedTuple):
    """A gateway with an ECDSA and an RSA certificate, an open host and strict ones."""

    gateway: Gateway
    upstream: StrictUpstream
    authority: Authority
    pinned: Issued

    @property
    def port(self) -> int:
        """Of the TLS listener."""
        return self.gateway.port


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Both key types, so that no suite is refused for want of a certificate."""
    folder: Path = tmp_path_factory.mktemp("edge")
    authority, servers = make_authority("clients"), make_authority("servers")
    pinned = authority.issue("small and pinned", kind="rsa-1024")
    names = ["open.test", "strict.test", "mixed.test"]
    files = []
    for kind in ("p256", "rsa-2048"):
        files.append(folder / f"{kind}.pem")
        files[-1].write_text(servers.issue(kind, usages=SERVER, names=names, kind=kind).full_pem)
    lists = [authority.pem, pinned.pem]
    with StrictUpstream() as upstream:
        apis = [
            classic("strict", upstream.port, domain="strict.test", use_mutual_tls_auth=True, client_certificates=lists),
            oas(
                "judged",
                upstream.port,
                "/judged/",
                server={
                    "customDomain": {"enabled": True, "name": "mixed.test"},
                    "clientCertificates": {"enabled": True, "allowlist": lists},
                },
            ),
            classic("mixed", upstream.port, domain="mixed.test"),
            classic("open", upstream.port, domain="open.test"),
        ]
        options = {"use_ssl": True, "ssl_certificates": [str(path) for path in files]}
        with running_gateway(folder, *apis, http_server_options=options, tlsgate={"limits": {"close_timeout_s": 1.0}}) as gateway:
            yield World(gateway, upstream, authority, pinned)
        assert not upstream.violations


# Suites, versions, compression.


def hello(suites: bytes, *extensions: tuple[int, bytes], **fields: Any) -> bytes:
    """A TLS 1.2 hello that only its suites can spoil."""
    usable = (
        (0, server_names(b"open.test")),
        (10, vector(2, b"\x00\x17\x00\x1d\x01\x00")),
        (11, b"\x01\x00"),
        (13, vector(2, bytes.fromhex("040308040401020302010805"))),
    )
    return records(message((*usable, *extensions), suites=suites, **fields))


GOOD_SUITES = {
    0xC02B: "ECDHE-ECDSA-AES128-GCM-SHA256",
    0xC02F: "ECDHE-RSA-AES128-GCM-SHA256",
    0xC02C: "ECDHE-ECDSA-AES256-GCM-SHA384",
    0xC030: "ECDHE-RSA-AES256-GCM-SHA384",
    0xCCA9: "ECDHE-ECDSA-CHACHA20-POLY1305",
    0xCCA8: "ECDHE-RSA-CHACHA20-POLY1305",
}


def test_exactly_the_modern_suites_of_tls12_are_spoken(world: World) -> None:
    """Each of the 65,536 numbers, in halves: no RSA key exchange, 3DES, CBC, RC4, DHE, NULL, anonymous or export suite among them."""

    def spoken(numbers: Sequence[int]) -> set[int]:
        """Return the suites that the gateway takes from a list, by halving it."""
        outcome = exchange(world.port, hello(b"".join(number.to_bytes(2, "big") for number in numbers)), wait_s=5, half_close=True)
        server_hello = outcome.server_hello
        if server_hello is None:
            assert outcome.alert == HANDSHAKE_FAILURE
            return set()
        at = 35 + server_hello[34]
        chosen = int.from_bytes(server_hello[at : at + 2], "big")
        assert chosen in numbers
        return {chosen} | spoken([number for number in numbers if number != chosen])

    found: set[int] = set()
    # 0x5600 is a signal, not a suite, and refuses by itself (RFC 7507).
    every = [number for number in range(0x10000) if number != 0x5600]
    for start in range(0, len(every), 8192):
        found |= spoken(every[start : start + 8192])
    assert found == set(GOOD_SUITES)


@pytest.mark.parametrize("suite", [0x000A, 0x002F, 0x009C, 0xC012, 0xC013, 0xC009, 0xC027, 0x0005, 0x009E, 0x0034, 0x0001, 0x003B, 0x00FF])
def test_a_weak_suite_alone_is_refused_with_an_alert(world: World, suite: int) -> None:
    """3DES, RSA key exchange, CBC, RC4, DHE, anonymous, NULL: handshake_failure (mTLS reference, section 14)."""
    assert exchange(world.port, hello(suite.to_bytes(2, "big"))).alert == HANDSHAKE_FAILURE


def test_compression_is_never_chosen(world: World) -> None:
    """CRIME: a client that prefers deflate gets none."""
    server_hello = exchange(world.port, hello(b"\xc0\x2b", compression=b"\x01\x00"), half_close=True).server_hello
    assert server_hello is not None
    at = 35 + server_hello[34]
    assert server_hello[at : at + 3] == b"\xc0\x2b\x00"


@pytest.mark.parametrize(("version", "group"), [(772, "X25519MLKEM768"), (771, "x25519")])
def test_the_hybrid_group_is_used_with_a_client_that_offers_it(world: World, version: int, group: str) -> None:
    """Post-quantum key exchange by default where TLS 1.3 allows it."""
    with Client(world.port, sni="open.test", version=version) as client:
        assert client.ssl is not None
        assert client.ssl.get_group_name() == group
        assert client.request(host="open.test").status == 200


@pytest.mark.parametrize("curves", [["secp256r1"], ["x25519"], ["secp384r1"]])
def test_clients_without_the_hybrid_group_are_served(world: World, curves: list[str]) -> None:
    """With a share or after a HelloRetryRequest."""

    def adjust(settings: Any, shares: list[str]) -> None:
        settings.eccCurves = curves
        settings.keyShares = shares

    for shares in (curves, []):
        with ChangedHelloClient(world.port, "open.test", adjust=lambda settings, shares=shares: adjust(settings, shares)) as client:
            assert client.get("open.test") == 200


@pytest.mark.parametrize("version", VERSIONS)
def test_both_key_types_are_served(world: World, version: int) -> None:
    """The certificate follows what the client can check."""

    def only(algorithms: list[str]) -> Callable[[Any], None]:
        def adjust(settings: Any) -> None:
            settings.rsaSigHashes = ["sha256"] if "rsa" in algorithms else []
            settings.ecdsaSigHashes = ["sha256"] if "ecdsa" in algorithms else []
            settings.more_sig_schemes = []

        return adjust

    for algorithm in ("ecdsa", "rsa"):
        with ChangedHelloClient(world.port, "open.test", version=version, adjust=only([algorithm])) as client:
            assert client.session.serverCertChain.x509List[0].certAlg in (algorithm, "rsa" if algorithm == "rsa" else "ecdsa")
            assert client.get("open.test") == 200


# Client keys that are too small.


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("pinned", [False, True], ids=["by the CA", "by its fingerprint"])
def test_a_leaf_with_an_rsa_key_of_1024_bits_gets_in_nowhere(world: World, version: int, pinned: bool) -> None:
    """mTLS reference, section 14: refused in the handshake where the host demands certificates, with 403 where it only asks."""
    leaf = world.pinned if pinned else world.authority.issue("small", kind="rsa-1024")
    side = ClientSide(leaf, version=version)
    before = len(world.upstream.requests)
    with pytest.raises((HandshakeRefused, EOFError, OSError)), side.connect(world.port, "strict.test") as client:
        client.request(host="strict.test")
    try:
        with side.connect(world.port, "mixed.test") as client:
            assert client.request(host="mixed.test", target="/judged/").status == 403
    except (HandshakeRefused, EOFError):
        pass  # an alert is as good
    assert len(world.upstream.requests) == before


# openssl s_client: the command-line client that everybody has.


def _is_quiet(read: Callable[[], bytes]) -> bool:
    """Whether nothing more is printed for a while."""
    mark = len(read())
    return not wait_until(lambda: len(read()) > mark, 0.1)


def s_client(world: World, *options: str, steps: Sequence[bytes], stop: str = "") -> str:
    """Run ``openssl s_client`` against the open host, give it lines one by one, return what it prints.

    Each step waits until the client has answered the one before (its prompt, or half a second: it prints nothing for some commands).
    """
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{world.port}", "-servername", "open.test", *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdin is not None and process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        output = b""

        def read() -> bytes:
            nonlocal output
            output += process.stdout.read() or b""  # type: ignore[union-attr]
            return output

        try:
            assert wait_until(lambda: b"Verify return code" in read() or process.poll() is not None, 10), output.decode("latin-1")
            for step in steps:
                mark = len(read())
                try:
                    process.stdin.write(step)
                    process.stdin.flush()
                except OSError:
                    break
                wait_until(lambda mark=mark: len(read()) > mark, 0.5)
                # What it prints comes in pieces, and two steps that it reads at once would be one.
                while not _is_quiet(read):
                    pass
            wait_until(lambda: process.poll() is not None or bool(stop and stop.encode() in read()), 5)
        finally:
            process.kill()
            os.set_blocking(process.stdout.fileno(), True)
            output += process.stdout.read()
            try:
                process.stdin.close()
            except OSError:
                pass  # what was not flushed is lost with the process
    return output.decode("latin-1")


def test_renegotiation_is_refused(world: World) -> None:
    """``R`` in s_client under TLS 1.2: a warning alert; the connection of a client that gives up leaves no traceback."""
    output = s_client(world, "-tls1_2", "-msg", steps=[b"R\n", REQUEST])
    assert "RENEGOTIATING" in output
    assert re.search(r"<<< .*Alert \[length 0002\], warning no_renegotiation", output), output[-3000:]
    assert "HTTP/1.1 200" not in output


def test_a_client_that_lives_with_the_refusal_is_served_on(world: World) -> None:
    """RFC 5246 7.2.2: no_renegotiation is a warning; what follows on the connection is read as before."""
    with ChangedHelloClient(world.port, "open.test", version=771) as client:
        for _ in range(50):
            send_handshake(client, b"\x01\x00\x00\x00")
        client.write(REQUEST)
        seen: list[bytes] = []
        while not seen or seen[-1][:2] == bytes((1, NO_RENEGOTIATION)):
            seen.append(next_record(client))
        assert len(seen) == 51
        assert seen[-1].startswith(b"HTTP/1.1 200")


def next_record(client: ChangedHelloClient) -> bytes:
    """Return the content of the next record, whatever its type; the client's own reading would give up at the first alert."""
    for result in client._recordLayer.recvRecord():
        if result not in (0, 1):
            return bytes(result[1].bytes)
    raise AssertionError("no record")


def send_handshake(client: ChangedHelloClient, data: bytes) -> None:
    """Send bytes in an encrypted handshake record."""
    from tlslite.constants import ContentType
    from tlslite.messages import Message

    for _ in client._sendMsg(Message(ContentType.handshake, bytearray(data))):
        pass


@pytest.mark.parametrize("command", [b"K\n", b"k\n"], ids=["both ways", "one way"])
def test_key_updates_work(world: World, command: bytes) -> None:
    """RFC 8446 4.6.3: asked for or not, before and between requests."""
    request = REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    output = s_client(world, "-tls1_3", "-msg", steps=[command, REQUEST, command, command, request])
    assert output.count("HTTP/1.1 200") == 2, output[-3000:]
    assert len(re.findall(r">>> .*KeyUpdate", output)) == 3
    assert bool(re.search(r"<<< .*KeyUpdate", output)) == (command == b"K\n")


# Early data.


class EarlyClient(SecondHelloClient):
    """Claims early data and sends records that nobody can read right behind its hello."""

    junk = b""

    def _sendMsgs(self, msgs: Any) -> Any:
        yield from super()._sendMsgs(msgs)
        if self.hellos == 1 and self.junk:
            junk, self.junk = self.junk, b""
            self.plain.sendall(junk)


@pytest.mark.parametrize("size", [0, 1, 200, 16000])
@pytest.mark.parametrize("resumes", [True, False], ids=["resumed", "fresh"])
def test_early_data_that_nobody_invited_is_thrown_away(world: World, size: int, resumes: bool) -> None:
    """RFC 8446 4.2.10: the server skips what it cannot read and goes on; the upstream sees one request, the one after the handshake."""
    session = None
    if resumes:
        with SecondHelloClient(world.port, "open.test", retry=False) as client:
            assert client.get("open.test") == 200
            session = client.session

    def claim(hello: Any) -> None:
        extensions = hello.extensions
        at = len(extensions) - 1 if resumes else len(extensions)  # pre_shared_key stays last
        add_extension(42, b"")(hello)
        extensions.insert(at, extensions.pop())

    class Claims(EarlyClient):
        junk = b"" if not size else b"\x17\x03\x03" + vector(2, os.urandom(size + 17))

    before = len(world.upstream.requests)
    with Claims(world.port, "open.test", change=claim, session=session, retry=False) as client:
        assert client.get("open.test") == 200
    assert len(world.upstream.requests) == before + 1


# Records.


def encrypted_answer(client: Client, data: bytes) -> Outcome:
    """Put raw bytes on the wire of an open connection and read raw bytes until its end."""
    client.socket.sendall(data)
    return read_outcome(client.socket, 3.0)


BROKEN = {
    "junk of application data": b"\x17\x03\x03\x00\x20" + bytes(32),
    "too short for its tag": b"\x17\x03\x03\x00\x08" + bytes(8),
    "empty": b"\x17\x03\x03\x00\x00",
    "over-long": b"\x17\x03\x03\x42\x00" + bytes(0x4200),
    "65535 bytes": b"\x17\x03\x03\xff\xff" + bytes(65535),
    "unknown type": b"\x63\x03\x03\x00\x20" + bytes(32),
    "another version": b"\x17\x03\x01\x00\x20" + bytes(32),
    "heartbeat": b"\x18\x03\x03\x00\x03\x01\x40\x00",
    "plain handshake": b"\x16\x03\x03\x00\x04\x01\x00\x00\x00",
    "plain fatal alert": b"\x15\x03\x03\x00\x02\x02\x28",
    "plain close_notify": b"\x15\x03\x03\x00\x02\x01\x00",
    "change cipher spec": b"\x14\x03\x03\x00\x01\x01",
    "plain HTTP": b"GET / HTTP/1.1\r\nHost: open.test\r\n\r\n",
    "SSLv2": b"\x80\x2e\x01\x00\x02" + bytes(40),
    "noise": bytes(range(256)) * 8,
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("while_answering", [False, True], ids=["idle", "in a request"])
def test_a_broken_record_ends_the_connection(world: World, data: bytes, version: int, while_answering: bool) -> None:
    """An alert where OpenSSL has one, then the end, by the peer's close or the deadline; nothing decrypted by accident goes anywhere."""
    before = len(world.upstream.requests)
    with Client(world.port, sni="open.test", version=version) as client:
        assert client.request(host="open.test").status == 200
        if while_answering:
            client.send(b"POST / HTTP/1.1\r\nHost: open.test\r\nContent-Length: 100\r\n\r\nhalf")
            assert wait_until(lambda: len(world.upstream.requests) > before, 1.0)
        outcome = encrypted_answer(client, data)
    assert outcome.ended in ("closed", "reset")
    assert len(world.upstream.requests) == before + 1


def test_too_many_empty_records_end_the_connection(world: World) -> None:
    """TLS 1.2 allows empty records; a stream of them is a way to keep a server busy for nothing."""
    with ChangedHelloClient(world.port, "open.test", version=771) as client:
        assert client.get("open.test") == 200
        with pytest.raises((TLSError, OSError, ConnectionError)):
            for _ in range(2000):
                send_application_data(client, b"")
            client.get("open.test")


def send_application_data(client: ChangedHelloClient, data: bytes) -> None:
    """Send one application-data record, also an empty one."""
    from tlslite.messages import ApplicationData

    for _ in client._sendMsg(ApplicationData().create(bytearray(data)), randomizeFirstBlock=False):
        pass


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("size", [1, 2, 7, 100])
def test_requests_in_small_records_are_served(world: World, version: int, size: int) -> None:
    """A head and a body in records of a byte each."""
    body = bytes(range(256)) * 2
    with Client(world.port, sni="open.test", version=version) as client:
        data = b"POST /x HTTP/1.1\r\nHost: open.test\r\nContent-Length: 512\r\n\r\n" + body
        for at in range(0, len(data), size):
            client.send(data[at : at + size])
        assert client.read_response().status == 200
    assert world.upstream.requests[-1].body == body


@pytest.mark.parametrize(
    "options",
    [
        ("-tls1_3", "-record_padding", "16384"),
        ("-tls1_2", "-maxfraglen", "512"),
        ("-tls1_3", "-maxfraglen", "512"),
        ("-tls1_2", "-max_send_frag", "512"),
        ("-tls1_2", "-legacy_server_connect"),
        ("-tls1_2", "-no_ticket"),
        ("-tls1_2", "-no_etm"),
        ("-tls1_3", "-no_middlebox"),
        ("-tls1_3", "-status"),
        ("-tls1_2", "-nextprotoneg", "http/1.1"),
    ],
    ids=" ".join,
)
def test_unusual_wishes_of_s_client_are_served(world: World, options: tuple[str, ...]) -> None:
    """Padding, small fragments, no tickets, no compatibility mode, OCSP and NPN wishes that go unanswered."""
    request = REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    output = s_client(world, *options, steps=[request])
    assert "HTTP/1.1 200" in output, output[-2000:]


def test_a_client_that_closes_its_half_gets_its_answer(world: World) -> None:
    """close_notify after the request: the answer still comes, then the end (RFC 8446 6.1)."""
    for version in VERSIONS:
        with Client(world.port, sni="open.test", version=version) as client:
            client.send(REQUEST)
            assert client.ssl is not None
            client.ssl.shutdown()
            try:
                while True:
                    client.socket.sendall(client.ssl.bio_read(65536))
            except SSL.WantReadError:
                pass
            assert client.read_response().status == 200
            started = time.monotonic()
            assert client.recv() == b""
            assert time.monotonic() - started < 1.0
