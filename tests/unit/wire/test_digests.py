"""``Digest`` against bodies."""

from __future__ import annotations

import hashlib
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsgate.wire.digests import parse_digest

BODY = b'{"hello": "world"}'
RIGHT = b"SHA-256=X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE="
"""draft-cavage-http-signatures-12, appendix C."""


def digest(name: str, body: bytes = BODY) -> bytes:
    return {"sha256": b"SHA-256=", "sha512": b"SHA-512="}[name] + b64encode(hashlib.new(name, body).digest())


def matches(value: bytes, body: bytes = BODY, size: int = 100) -> bool:
    check = parse_digest(value)
    for at in range(0, len(body), size):
        check.update(body[at : at + size])
    return check.matches()


def test_the_digest_of_appendix_c() -> None:
    """Whole, and byte by byte."""
    assert matches(RIGHT) and matches(RIGHT, size=1)
    assert not matches(RIGHT, BODY + b"\n")


def test_nothing_has_a_digest() -> None:
    """Field report B58: requests without a body."""
    assert matches(digest("sha256", b""), b"")
    assert not matches(RIGHT, b"")


@pytest.mark.parametrize(
    ("value", "right"),
    [
        (digest("sha256") + b"," + digest("sha512"), True),
        (digest("sha512") + b" , " + digest("sha256"), True),
        (digest("sha256") + b"," + digest("sha512", b"other"), False),
        (digest("sha256", b"other") + b"," + digest("sha512"), False),
        (digest("sha256") + b", " + digest("sha256", b"other"), False),
        (b"MD5=abc, " + digest("sha256"), True),
        (b"md5=abc,unixsum=30637," + digest("sha256", b"other"), False),
        (b"sha-256=" + RIGHT.partition(b"=")[2], True),
        (RIGHT.rstrip(b"="), False),
        (RIGHT.replace(b"DBPE=", b"DBPF="), False),
        (b"SHA-256=" + hashlib.sha256(BODY).hexdigest().encode(), False),
        (b"SHA-256=", None),
        (b"", None),
        (b"MD5=abc", None),
        (b"SHA=abc", None),
        (RIGHT + b",", None),
        (RIGHT + b" x", None),
        (b"SHA-256", None),
        (b"SHA-256 =" + RIGHT.partition(b"=")[2], None),
    ],
)
def test_every_known_algorithm_has_to_match(value: bytes, right: bool | None) -> None:
    """Field report B58; None: it cannot be read, or nothing would be compared."""
    if right is None:
        with pytest.raises(ValueError, match="Digest"):
            parse_digest(value)
    else:
        assert matches(value) is right


@given(st.binary(max_size=100))
def test_garbage_never_matches(value: bytes) -> None:
    """It cannot be read, or is not the digest."""
    try:
        check = parse_digest(value)
    except ValueError:
        return
    assert not check.matches()
