"""The header value of signatures: what may be written, and that nothing else is read."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsgate.auth import signature_header
from tlsgate.auth.signature_header import MAX_VALUE, SignatureValue, parse_signature

FULL = SignatureValue(b"key-1", b"hmac-sha256", b"(request-target) date", b"abc%3D")


@pytest.mark.parametrize(
    "value",
    [
        b'Signature keyId="key-1",algorithm="hmac-sha256",headers="(request-target) date",signature="abc%3D"',
        b'signature keyId="key-1",algorithm="hmac-sha256",headers="(request-target) date",signature="abc%3D"',
        b'keyId="key-1",algorithm="hmac-sha256",headers="(request-target) date",signature="abc%3D"',
        b'Signature KEYID="key-1", Algorithm="hmac-sha256" , headers="(request-target) date",  signature="abc%3D"',
        b'Signature keyID="key-1"algorithm="hmac-sha256"headers="(request-target) date"signature="abc%3D"',
        b'signature="abc%3D",keyId="other",algorithm="hmac-sha256",headers="(request-target) date",keyId="key-1"',
        b'Signature signature="abc%3D",keyId = "key-1",algorithm="hmac-sha256",headers="(request-target) date",',
    ],
)
def test_one_value_in_many_forms(value: bytes) -> None:
    """Token reference, section 7: the scheme may be missing, commas too; letter case of names; the last one counts."""
    assert parse_signature(value) == FULL


def test_what_is_not_there() -> None:
    """No algorithm is empty, no list is the date."""
    assert parse_signature(b'keyId=word,signature="x"') == SignatureValue(b"word", b"", b"date", b"x")
    assert parse_signature(b'keyId="a",signature="x",headers=""').headers == b""


def test_backslashes_in_quotes() -> None:
    """Before a quote or another backslash, where every reading of them agrees."""
    assert parse_signature(rb'keyId="a\"b\\c",signature="x"').key_id == rb'a"b\c'


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"Signature",
        b"Signature ",
        b"Basic dXNlcjpwYXNz",
        b'SIGNATURE keyId="a",signature="x"',
        b'keyId="",signature="x"',
        b'keyId="a",signature=""',
        b'keyId="a",signature="x',
        b'keyId="a,signature="x"',
        b'keyId="a",signature="x",created="1"',
        b'keyId="a",signature="x",expires=1',
        b'keyId=a-b,signature="x"',
        b'keyId="a";signature="x"',
        b'keyId="a",signature="x" trailing',
        rb'keyId="a\nb",signature="x"',
        rb'keyId="a\x41",signature="x"',
        rb'keyId="a",signature="x\"',
        b"keyId='a',signature='x'",
        b'keyId="a",signature="x",=""',
        b'keyId=,signature="x"',
    ],
)
def test_anything_else_is_no_signature(value: bytes) -> None:
    """Unknown fields, broken quotes, other escapes, words that are not plain."""
    with pytest.raises(ValueError, match=r"."):
        parse_signature(value)


def test_the_reason_never_has_the_value() -> None:
    """It goes to the log."""
    with pytest.raises(ValueError) as caught:
        parse_signature(b'keyId="s3cret",signature="s3cret",token="s3cret"')
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("piece", [b'keyId="a",', b'"', b"\\", b"keyId=", b"a", b" ", b",", b'keyId="\\"'])
def test_a_long_value_is_none(piece: bytes) -> None:
    """Past the limit it is not looked at; below it nothing is tried twice, so that this test ends."""
    with pytest.raises(ValueError, match="bytes"):
        parse_signature(piece * (1 << 20))
    with pytest.raises(ValueError, match=r"."):
        parse_signature((piece * MAX_VALUE)[:MAX_VALUE])


PIECES = ["Signature ", "signature ", 'keyId="a"', 'KEYID="b"', 'algorithm="x"', 'headers="date"', 'headers=""', 'signature="s"']
PIECES += [",", ", ", " ", '"', "\\"]


@given(st.lists(st.sampled_from(PIECES), max_size=10))
def test_the_usual_form_is_read_as_every_other(pieces: list[str]) -> None:
    """The quick way gives what the slow one gives, and takes nothing that it refuses."""
    value = "".join(pieces).encode()

    def result(parse: Callable[[bytes], SignatureValue]) -> SignatureValue | None:
        try:
            return parse(value)
        except ValueError:
            return None

    assert result(parse_signature) == result(signature_header._parse_rare)


@given(st.binary(max_size=200))
def test_garbage_gives_a_value_or_a_reason(value: bytes) -> None:
    """And nothing else."""
    try:
        found = parse_signature(value)
    except ValueError:
        return
    assert found.key_id and found.signature
