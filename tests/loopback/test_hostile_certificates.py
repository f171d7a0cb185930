"""Certificates that somebody built to get in, or to break something: both TLS versions, refused in the handshake and per request alike."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from OpenSSL import SSL

from tests.support.certs import (
    SERVER,
    Authority,
    Issued,
    der_element,
    key,
    key_usage,
    make_authority,
    make_self_signed,
    pem_of,
    rekeyed,
    resign,
    sha1_signed,
    swap_element,
    with_serial,
)
from tests.support.clientside import ClientSide
from tests.support.gateway import Client, Gateway, HandshakeRefused, StrictUpstream, classic, running_gateway
from tests.support.secondhello import SecondHelloClient, TLSError, TLSRemoteAlert

VERSIONS = (771, 772)
NOW = time.time()
SERVER_CERTIFICATE = make_authority("Server CA").issue("gateway", usages=SERVER, names=["localhost"])
ROOT = make_authority("Root")
ALICE = ROOT.issue("alice")


class Case(NamedTuple):
    """A client and whether it may come in."""

    name: str
    identity: Issued
    welcome: bool = False
    extra: tuple[bytes, ...] = ()


def sha1(issued: Issued, signer: Authority) -> Issued:
    """The same signed over SHA-1."""
    return rekeyed(issued, sha1_signed(issued, signer.key))


def _cases() -> tuple[list[Case], list[str]]:
    """Clients, and what is listed."""
    short = make_authority("Short", path_length=0)
    too_deep = short.subordinate("Below Short").issue("deep")
    names = x509.NameConstraints(permitted_subtrees=[x509.DNSName("good.test")], excluded_subtrees=[x509.DNSName("bad.good.test")])
    named = ROOT.subordinate("Named", extensions=[(names, True)])
    expired_ca = make_authority("Expired CA", not_after=NOW - 60)
    later_ca = make_authority("Later CA", not_before=NOW + 3600)
    expired_between = ROOT.subordinate("Expired Between", not_after=NOW - 60)
    for_servers = ROOT.subordinate("For Servers", usages=SERVER)
    no_sign = ROOT.subordinate("No Sign", usage=key_usage("crl_sign"))
    no_ca = ROOT.issue("no ca", usage=key_usage("digital_signature"))
    plain_req = make_self_signed("plain req", usages=None, ca=True)
    weak_ca = make_authority("Weak CA", kind="rsa-1024")
    old = make_self_signed("pinned over SHA-1", kind="rsa-2048")
    pinned_old = rekeyed(old, sha1_signed(old, old.key))
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
    loop_a, loop_b = make_authority("Loop A"), make_authority("Loop B")
    crossed = [loop_b.subordinate("Loop A", private_key=loop_a.key), loop_a.subordinate("Loop B", private_key=loop_b.key)]
    deep: Authority = ROOT
    for number in range(6):
        deep = deep.subordinate(f"Level {number}")
    deeper = deep
    for number in range(6):
        deeper = deeper.subordinate(f"Level {number + 6}")
    cases = [
        Case("six levels", deep.issue("deep"), True),
        Case("twelve levels", deeper.issue("deep")),
        Case("path length", too_deep),
        Case("path length, direct", short.issue("direct"), True),
        Case("name constraints kept", named.issue("n", names=["a.good.test"]), True),
        Case("name constraints, other name", named.issue("n", names=["a.other.test"])),
        Case("name constraints, excluded", named.issue("n", names=["x.bad.good.test"])),
        Case("expired ca", expired_ca.issue("e")),
        Case("ca of later", later_ca.issue("l")),
        Case("expired intermediate", expired_between.issue("e")),
        Case("intermediate for servers", for_servers.issue("s")),
        Case("intermediate without keyCertSign", no_sign.issue("s")),
        Case("issued by a leaf", Authority(no_ca.certificate, no_ca.key, (), is_root=False).issue("s")),
        Case("pinned client of openssl req", plain_req, True),
        Case("weak ca", weak_ca.issue("w")),
        Case("signed over SHA-1", sha1(ROOT.issue("s", kind="rsa-2048"), ROOT)),
        Case("pinned and signed over SHA-1", pinned_old),
        Case("small key", ROOT.issue("small", kind="rsa-1024")),
        Case("small curve", ROOT.issue("small", kind="secp192")),
        Case("unknown critical extension", ROOT.issue("u", extensions=[(unknown, True)])),
        Case("unknown extension", ROOT.issue("u", extensions=[(unknown, False)]), True),
        Case("key usage without signing", ROOT.issue("k", usage=key_usage("key_encipherment"))),
        Case("loop of cross certificates", loop_a.issue("loop"), False, tuple(one.der for one in crossed)),
        Case("rsa", ROOT.issue("rsa", kind="rsa-2048"), True),
        Case("ed25519", ROOT.issue("ed", kind="ed25519"), True),
        Case("p384 over SHA-384", ROOT.issue("p", kind="p384", digest=hashes.SHA384()), True),
        Case("empty subject", ROOT.issue(x509.Name([])), True),
    ]
    listed = [ROOT.pem, short.pem, expired_ca.pem, later_ca.pem, plain_req.pem, weak_ca.pem, pem_of(pinned_old.der)]
    return cases, listed


CASES, LISTED = _cases()


@pytest.fixture(scope="module")
def upstream() -> Iterator[StrictUpstream]:
    """Sees what got through."""
    with StrictUpstream() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: StrictUpstream) -> Iterator[Gateway]:
    """``own.test`` refuses in the handshake, ``shared.test`` per request below ``/strict/``."""
    strict = {"use_mutual_tls_auth": True, "client_certificates": LISTED}
    apis = [
        classic("own", upstream.port, domain="own.test", **strict),
        classic("shared", upstream.port, "/strict/", domain="shared.test", **strict),
        classic("lax", upstream.port, "/open/", domain="shared.test"),
    ]
    with running_gateway(tmp_path_factory.mktemp("hostile"), *apis, server=SERVER_CERTIFICATE) as running:
        yield running


def outcome(side: ClientSide, port: int, host: str) -> int | str:
    """The status of a request, or ``refused``."""
    try:
        client = side.connect(port, host)
    except HandshakeRefused:
        return "refused"
    with client:
        try:
            return client.request(host=host, target="/strict/x").status
        except (EOFError, OSError, SSL.Error):
            return "refused"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_who_gets_in_is_the_same_in_handshake_and_request(gateway: Gateway, upstream: StrictUpstream, case: Case, version: int) -> None:
    """mTLS reference section 14: paths, purposes, lengths, names, strength and validity of each member, at security level 2."""
    side = ClientSide(case.identity, extra=case.extra, version=version)
    before = len(upstream.requests)
    found = [outcome(side, gateway.port, host) for host in ("own.test", "shared.test")]
    if case.name == "small curve" and found == ["refused", "refused"]:
        return  # OpenSSL has no signature scheme for it
    assert found == ([200, 200] if case.welcome else ["refused", 403])
    assert len(upstream.requests) - before == (2 if case.welcome else 0)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_made_by_plain_openssl_req_need_not_be_a_ca(tmp_path: Path, upstream: StrictUpstream, version: int) -> None:
    """mTLS reference section 5: CA:TRUE without keyUsage works as a leaf; what it signed gets in only where the operator says so.

    By default such a certificate is taken for a CA, with a warning at load.
    """
    client = make_self_signed("plain req", usages=None, ca=True)
    signed = client.issue("signed by a client")
    strict = {"use_mutual_tls_auth": True, "client_certificates": [client.pem]}
    apis = [
        classic("default", upstream.port, domain="default.test", **strict),
        classic("off", upstream.port, domain="off.test", **{"x-tlsgate": {"client_certificates": {"trust_unmarked_ca": False}}}, **strict),
    ]
    with running_gateway(tmp_path, *apis, server=SERVER_CERTIFICATE) as gateway:
        for identity, expected in ((client, [200, 200]), (signed, [200, "refused"])):
            side = ClientSide(identity, version=version)
            assert [outcome(side, gateway.port, host) for host in ("default.test", "off.test")] == expected
        warnings = [event["problem"] for event in gateway.events if event.get("event") == "load.problem"]
        assert any("trust_unmarked_ca" in text for text in warnings)


# What cannot be read.


def _odd() -> dict[str, bytes]:
    """DER of certificates of ``ALICE``'s key that parsers stumble over; all signed by the trusted root."""
    base = ROOT.issue("odd", private_key=key("p256", "odd"))
    invalid_utf8 = der_element(0x30, der_element(0x31, der_element(0x30, b"\x06\x03\x55\x04\x03" + der_element(0x0C, b"\xff\xfe\xfd"))))
    odd_printable = der_element(0x30, der_element(0x31, der_element(0x30, b"\x06\x03\x55\x04\x03" + der_element(0x13, b"a\x00b\n*_@"))))
    bmp = der_element(0x30, der_element(0x31, der_element(0x30, b"\x06\x03\x55\x04\x03" + der_element(0x1E, b"\x00a\xd8"))))
    endless = der_element(0x30, der_element(0x18, b"20200101000000Z") + der_element(0x18, b"99991231235959Z"))
    swapped = der_element(0x30, der_element(0x17, b"450101000000Z") + der_element(0x17, b"200101000000Z"))
    twice = _doubled_extension(base)
    return {
        "invalid UTF-8 name": resign(base.der, swap_element(5, invalid_utf8), ROOT.key),
        "odd printable name": resign(base.der, swap_element(5, odd_printable), ROOT.key),
        "odd BMP name": resign(base.der, swap_element(5, bmp), ROOT.key),
        "no well-defined end": resign(base.der, swap_element(4, endless), ROOT.key),
        "end before start": resign(base.der, swap_element(4, swapped), ROOT.key),
        "duplicate extension": twice,
        "padded serial number": with_serial(base, ROOT.key, b"\x00\x00\x01"),
        "no certificate at all": b"hello, world",
        "cut": base.der[:-7],
        "trailing bytes": base.der + b"\x05\x00",
        "broken subjectAltName": _with_extension(base, bytes.fromhex("0603551d11") + der_element(0x04, b"\x30\x05\x82\x10ab")),
        "broken extended key usage": _with_extension(
            ROOT.issue("x", private_key=key("p256", "odd"), usages=None),
            bytes.fromhex("0603551d25") + der_element(0x04, b"\x30\x03\x06\x07\x2b"),
        ),
    }


def _with_extension(issued: Issued, content: bytes) -> bytes:
    def change(parts: list[bytes]) -> list[bytes]:
        inner = _content(_content(parts[7]))
        return [*parts[:7], der_element(0xA3, der_element(0x30, inner + der_element(0x30, content)))]

    return resign(issued.der, change, ROOT.key)


def _doubled_extension(issued: Issued) -> bytes:
    return _with_extension(issued, bytes.fromhex("0603551d25") + der_element(0x04, bytes.fromhex("300a06082b06010505070302")))


def _content(element: bytes) -> bytes:
    first = element[1]
    return element[2 + (first & 0x7F if first & 0x80 else 0) :]


ODD = _odd()
MALFORMED = {name for name in ODD if name.startswith(("broken", "duplicate", "end before", "no certificate", "cut", "trailing"))}


def show(gateway: Gateway, der: bytes, host: str, version: int) -> str:
    """Show a leaf of the odd key; returns the status, or ``alert``."""
    identity = ROOT.issue("odd", private_key=key("p256", "odd"))
    try:
        with SecondHelloClient(gateway.port, host, identity, der=der, retry=False, version=version) as client:
            return str(client.get(host, "/strict/x"))
    except TLSRemoteAlert:
        return "alert"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ODD)
def test_certificates_that_parsers_stumble_over_are_refused_cleanly(gateway: Gateway, name: str, version: int) -> None:
    """mTLS reference section 14: a clean alert or 403, or in where they are good; never a traceback, and others are served."""
    by_request, by_handshake = (show(gateway, ODD[name], host, version) for host in ("shared.test", "own.test"))
    assert (by_request, by_handshake) in {("200", "200"), ("403", "alert"), ("alert", "alert")}
    if name in MALFORMED:
        assert by_request != "200"
    assert outcome(ClientSide(ALICE, version=version), gateway.port, "own.test") == 200
    assert not gateway.tracebacks()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_stolen_certificate_without_its_key_is_worth_nothing(gateway: Gateway, upstream: StrictUpstream, version: int) -> None:
    """The premise of it all: accepting every certificate for later judgement must not skip the proof of its key."""
    mallory = make_self_signed("mallory")
    before = len(upstream.requests)
    for host in ("own.test", "shared.test"):
        stolen = Issued(ALICE.certificate, mallory.key)
        with pytest.raises((TLSError, OSError)), SecondHelloClient(gateway.port, host, stolen, retry=False, version=version) as client:
            client.get(host, "/strict/x")
        with SecondHelloClient(gateway.port, host, ALICE, retry=False, version=version) as client:
            assert client.get(host, "/strict/x") == 200
    assert len(upstream.requests) - before == 2


@pytest.mark.parametrize("version", VERSIONS)
def test_endless_chains_are_cut_without_harm(gateway: Gateway, version: int) -> None:
    """mTLS reference section 14: bounded in bytes and number; many certificates of one name do not make a judgement slow."""
    decoys = [make_authority("Root", key_ids=False).der for _ in range(120)]
    large = make_self_signed("large", names=[f"{number:060}.test" for number in range(1500)]).der
    mallory = make_authority("Root", key_ids=False).issue("mallory", key_ids=False)
    before = gateway.cpu_s()
    for extra in (decoys, [large], [large] * 3, decoys[:8], [ROOT.der] * 50, [ALICE.der] * 50):
        for host, expected in (("own.test", {"refused"}), ("shared.test", {"refused", 403})):
            assert outcome(ClientSide(mallory, extra=extra, version=version), gateway.port, host) in expected
    assert gateway.cpu_s() - before < 1.5
    assert outcome(ClientSide(ALICE, version=version, extra=[ROOT.der]), gateway.port, "own.test") == 200


def test_renegotiation_is_refused(gateway: Gateway) -> None:
    """mTLS reference section 14: with it a client could show another certificate, or burn time, on a connection that was judged."""
    for host in ("own.test", "shared.test"):
        with Client(gateway.port, sni=host, identity=ALICE, version=771) as client:
            assert client.request(host=host, target="/strict/x").status == 200
            assert client.ssl is not None
            client.ssl.renegotiate()
            with pytest.raises((HandshakeRefused, OSError)):
                client._handshake()
    assert outcome(ClientSide(ALICE, version=771), gateway.port, "own.test") == 200
