"""Signatures for upstreams: which headers, which text, in whose place; independent peers judge them over TLS."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from twisted.internet.task import Clock

from tests.support.apis import FixedClock, make_exchange
from tests.support.keys import run
from tests.support.memory_upstream import FakeBody
from tlsgate.auth.cavage import encode_signature, sign_hmac
from tlsgate.errors import Refusal
from tlsgate.model.credentials import RequestSigning, SigningRules
from tlsgate.model.exchange import HeaderList
from tlsgate.proxy.waiter import Work
from tlsgate.transform.request_signing import CavageSigner, MessageSigner, Unsigned
from tlsgate.wire.content_digest import write_content_digest
from tlsgate.wire.message_signatures import MessageSignature, build_message, parse_signatures, verify

NOW = 1136214245.0
DATE = b"Mon, 02 Jan 2006 15:04:05 GMT"
SECRET = "9879879878787878"
D = b"tPrU1o9A55e3zDCI%2FnaadOU3DlxXSFGUJyfRe4zaRV0%3D"
"""Token reference, section 7: hmac-sha256 of the date alone."""
H = b"7fCQ16lnWqiKdxpeaFJeG8JBBHBJPwP3xJTbMotTVyQ%3D"
"""The same of target ``get /hmac/get``, date and two headers."""


def cavage(*headers: str, **fields: Any) -> CavageSigner:
    settings = RequestSigning(key_id="k", algorithm="hmac-sha256", secret=SECRET, headers=headers, **fields)
    return CavageSigner(settings, None, FixedClock(NOW))


def signed(signer: CavageSigner, lines: HeaderList, target: bytes = b"/hmac/get", method: str = "GET") -> HeaderList:
    return signer.sign(make_exchange(method), "http", target, lines, b"")


def field(lines: HeaderList, name: str, header: bytes = b"Authorization") -> bytes:
    (value,) = [value for key, value in lines if key == header]
    assert value.startswith(b"Signature ")
    return value.split(f'{name}="'.encode())[1].split(b'"')[0]


def test_vectors_of_the_reference() -> None:
    """Section 7: the date alone, and target, date and two headers."""
    made = signed(cavage("date"), [(b"Date", DATE)])
    assert made[-1] == (b"Authorization", b'Signature keyId="k",algorithm="hmac-sha256",headers="date",signature="' + D + b'"')
    lines = [(b"Date", DATE), (b"X-Test-1", b"hello"), (b"X-Test-2", b"world")]
    made = signed(cavage("(request-target)", "date", "x-test-1", "x-test-2"), lines)
    assert field(made, "signature") == H


def test_without_a_list_everything_that_stays_is_signed() -> None:
    """In the order of the lines; the date last, added in GMT when there is none or an empty one."""
    lines = [(b"Host", b"up"), (b"X-B", b" 2 "), (b"Authorization", b"x"), (b"X-A", b"1"), (b"x-b", b"3"), (b"X-Forwarded-For", b"1.2.3.4")]
    for more in ([], [(b"Date", b"")]):
        made = signed(cavage(), [*lines, *more], b"/p?q")
        assert field(made, "headers") == b"(request-target) x-b x-a date"
        assert [line for line in made if line[0] == b"Date"] == [(b"Date", DATE)]
        text = b"(request-target): get /p?q\nx-b: 2, 3\nx-a: 1\ndate: " + DATE
        assert field(made, "signature") == encode_signature("hmac-sha256", sign_hmac("hmac-sha256", SECRET.encode(), text))
    made = signed(cavage(), [(b"Date", b"yesterday"), (b"X-Aux-Date", b"today")])
    assert field(made, "headers") == b"(request-target) x-aux-date date"
    assert (b"Date", DATE) not in made


@pytest.mark.parametrize(
    ("names", "lines", "shown"),
    [
        (("X-A", "x-none", "date"), [(b"x-a", b"1")], b"X-A"),
        (("x-a",), [(b"x-a", b"")], b"(request-target) date"),
        ((), [], b"(request-target) date"),
        (("(request-target)",), [(b"x-a", b"1")], b"(request-target) date"),
        (("(Request-Target)", "x-a"), [(b"x-a", b"1")], b"(Request-Target) x-a"),
        (("authorization",), [(b"Authorization", b"x")], b"(request-target) date"),
        (("host", "content-length"), [(b"Host", b"up"), (b"Content-Length", b"5")], b"host content-length"),
    ],
)
def test_a_list_names_what_is_there(names: tuple[str, ...], lines: HeaderList, shown: bytes) -> None:
    """Order and spelling as written; what is absent or empty is left out; the place of the signature never signs itself."""
    assert field(signed(cavage(*names), lines), "headers") == shown


def test_the_place_of_the_signature_is_cleared() -> None:
    """In any spelling; the key id is quoted."""
    signer = cavage("x-a", signature_header="X-Sig")
    assert signer.names == {b"x-sig"}
    made = signed(signer, [(b"X_Sig", b"1"), (b"x-sig", b"2"), (b"Authorization", b"stays"), (b"X-A", b"1")])
    assert [name for name, _ in made] == [b"Authorization", b"X-A", b"X-Sig"]
    odd = CavageSigner(RequestSigning(key_id='a"b\\c', algorithm="hmac-sha1", secret="s"), None, FixedClock(NOW))
    assert b'keyId="a\\"b\\\\c",' in signed(odd, [])[-1][1]
    assert run(signer.prepare(make_exchange())) == b""


def modern(**rules: Any) -> MessageSigner:
    settings = RequestSigning(key_id="k", algorithm="hmac-sha256", secret=SECRET, rules=SigningRules(format="rfc9421", **rules))
    return MessageSigner(settings, MessageSignature("hmac-sha256", SECRET.encode(), key_id="k", label="a"), FixedClock(NOW), Clock())


def test_message_signatures_cover_what_is_there() -> None:
    """And replace the client's, in any spelling; created is now."""
    signer = modern(components=("@method", "@target-uri", "x-a", "x-none"))
    exchange = make_exchange("POST")
    lines = [(b"Host", b"up:81"), (b"X-A", b"1"), (b"Signature", b"old"), (b"signature_input", b"old"), (b"Signature-Input", b"old")]
    made = signer.sign(exchange, "https", b"/p?q", lines, b"")
    assert [name for name, _ in made] == [b"Host", b"X-A", b"Signature-Input", b"Signature"]
    (presented,) = parse_signatures(made[2][1], made[3][1])
    assert presented.components == ("@method", "@target-uri", "x-a")
    assert presented.parameters["created"] == int(NOW)
    text = verify(presented, build_message(b"POST", "https", b"up:81", b"/p?q", made), "hmac-sha256", SECRET.encode())
    assert '"@target-uri": https://up:81/p?q\n' in text
    assert signer.names == {b"signature", b"signature-input"}


def test_a_digest_is_covered_once() -> None:
    """Whether it is named or not; the client's own goes."""
    for components in (("@method",), ("content-digest", "@method")):
        signer = modern(components=components, content_digest="sha-256")
        made = signer.sign(make_exchange("POST"), "http", b"/", [(b"Host", b"up"), (b"Content-Digest", b"old")], b"sha-256=:AAAA:")
        (presented,) = parse_signatures(made[-2][1], made[-1][1])
        assert sorted(presented.components) == ["@method", "content-digest"]
        assert [value for name, value in made if name == b"Content-Digest"] == [b"sha-256=:AAAA:"]
        assert signer.names == {b"signature", b"signature-input", b"content-digest"}


@pytest.mark.parametrize("name", ["sha-256", "sha-512"])
def test_a_body_is_held_and_hashed(name: str) -> None:
    """All of it, before anything is sent."""
    signer = modern(content_digest=name)
    exchange = make_exchange("POST")
    body = FakeBody(length=None)
    exchange.body = body  # type: ignore[assignment]
    results: list[bytes] = []

    async def prepare() -> None:
        results.append(await signer.prepare(exchange))

    Work(prepare())
    assert body.sink is not None and not results
    body.sink.body_chunk(b"hel")
    body.sink.body_chunk(b"lo")
    body.sink.body_end([])
    signer._reactor.advance(0)
    assert results == [write_content_digest(name, hashlib.new(name.replace("-", ""), b"hello").digest())]
    assert b"".join(exchange.held.pieces()) == b"hello"
    # A body that another step has held already is read again.
    assert run(signer.prepare(exchange)) == results[0]
    exchange.held.close()


@pytest.mark.parametrize(("method", "digest"), [("GET", False), ("DELETE", False), ("POST", True), ("PUT", True), ("PATCH", True)])
def test_no_body_has_a_digest_where_one_is_usual(method: str, digest: bool) -> None:
    """So that none can be put there on the way."""
    exchange = make_exchange(method)
    exchange.body = FakeBody(length=0)  # type: ignore[assignment]
    empty = write_content_digest("sha-256", hashlib.sha256().digest())
    assert run(modern(content_digest="sha-256").prepare(exchange)) == (empty if digest else b"")
    assert run(modern().prepare(exchange)) == b""


def test_a_body_over_the_limit_is_refused() -> None:
    """Before it is read."""
    exchange = make_exchange("POST")
    exchange.body = FakeBody(length=11)  # type: ignore[assignment]
    with pytest.raises(Refusal) as caught:
        run(modern(content_digest="sha-256", max_digest_body=10).prepare(exchange))
    assert caught.value.id == "size.too_large"


def test_what_cannot_be_signed_is_an_error() -> None:
    """A covered value that is not ASCII: 500, never unsigned."""
    with pytest.raises(Refusal) as caught:
        modern(components=("x-name",)).sign(make_exchange(), "http", b"/", [(b"Host", b"up"), (b"X-Name", b"\xe4")], b"")
    assert caught.value.id == "internal"


def test_unsigned_refuses_everything() -> None:
    """Both ways in."""
    unsigned = Unsigned("signing.fields", "no secret")
    assert unsigned.names == frozenset()
    with pytest.raises(Refusal, match="no secret"):
        run(unsigned.prepare(make_exchange()))
    with pytest.raises(Refusal, match=r"signing\.fields"):
        unsigned.sign(make_exchange(), "http", b"/", [], b"")
