"""One strict reading of the compact form."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsgate.jose.compact import MAX_TOKEN_BYTES, TokenFault, decode_base64url, parse_claims, parse_compact


def encode(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def token(header: Any = None, payload: bytes = b"{}", signature: bytes = b"sig") -> bytes:
    head = header if isinstance(header, bytes) else json.dumps(header or {"alg": "HS256"}).encode()
    return b".".join((encode(head), encode(payload), encode(signature)))


def test_the_parts() -> None:
    """As they stand; what is signed is the text itself."""
    text = token({"alg": "RS256", "kid": "a", "typ": "JWT"}, b'{"sub":"x"}')
    made = parse_compact(text)
    assert (made.algorithm, made.key_id, made.payload, made.signature) == ("RS256", "a", b'{"sub":"x"}', b"sig")
    assert made.signed == text.rsplit(b".", 1)[0]
    assert parse_claims(made.payload) == {"sub": "x"}


def test_the_example_of_the_rfc() -> None:
    """RFC 7515, appendix A.1: line breaks within header and payload are theirs."""
    made = parse_compact(
        b"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
        b".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    )
    assert made.header == {"typ": "JWT", "alg": "HS256"}
    assert parse_claims(made.payload) == {"iss": "joe", "exp": 1300819380, "http://example.com/is_root": True}


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"a.b",
        b"a.b.c.d",
        b"..",
        token() + b"=",
        token() + b"\n",
        b" " + token(),
        token().replace(b".", b".\n", 1),
        token(b"[]"),
        token(b'"x"'),
        token(b"{}"),
        token({"alg": None}),
        token({"alg": 7}),
        token(b'{"alg":"HS256","alg":"none"}'),
        token(b'{"alg":"HS256"} {}'),
        token(b'{"alg":"HS256"'),
        token(b'{"alg":"HS256","x":' + b"[" * 200 + b"]" * 200 + b"}"),
        token({"alg": "HS256", "crit": ["exp"], "exp": 1}),
        token({"alg": "HS256", "crit": []}),
        token({"alg": "HS256", "b64": False}),
        token({"alg": "HS256", "x": "y" * 9000}),
        token(payload=b"x" * MAX_TOKEN_BYTES),
        b'{"payload":"","protected":"","signature":""}',
        json.dumps({f"a{n}": n for n in range(600)}).encode(),
    ],
)
def test_what_is_no_token(text: bytes) -> None:
    """Each is refused, without quoting it."""
    with pytest.raises(TokenFault) as caught:
        parse_compact(text)
    assert "HS256" not in str(caught.value)


@pytest.mark.parametrize("kid", [None, 7, ["a"], {"a": 1}, "x" * 513])
def test_a_key_id_that_is_no_text_is_none(kid: Any) -> None:
    """B50: never a fault of ours."""
    assert parse_compact(token({"alg": "HS256", "kid": kid})).key_id is None


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b"1", b"null", b"{", b'{"a":1,"a":2}', b'{"exp":1e400}', b'{"exp":NaN}', b"{}{}", b"\xff{}", b'{"a":"\\ud800"}']
)
def test_claims_are_one_object(payload: bytes) -> None:
    """Duplicate members, numbers without measure and half surrogates are refused."""
    with pytest.raises(TokenFault):
        parse_claims(payload)


def test_large_numbers_keep_their_digits() -> None:
    """B48: no way through floating point."""
    assert parse_claims(b'{"uid":9007199254740993}') == {"uid": 9007199254740993}


@given(st.binary(max_size=60))
def test_base64url_has_one_spelling(data: bytes) -> None:
    """Whatever is not exactly what an encoder writes is refused."""
    text = encode(data)
    assert decode_base64url(text) == data
    if len(text) % 4:
        last = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        others = [text[:-1] + last[number : number + 1] for number in range(64)]
        same = [other for other in others if base64.urlsafe_b64decode(other + b"=" * (-len(other) % 4)) == data]
        for other in same:
            if other != text:
                with pytest.raises(TokenFault):
                    decode_base64url(other)


@given(st.binary(max_size=300))
def test_nothing_makes_it_fail_otherwise(data: bytes) -> None:
    """Any bytes are a token or a TokenFault."""
    for text in (data, token(data), token(payload=data)):
        try:
            parse_claims(parse_compact(text).payload)
        except TokenFault:
            pass
