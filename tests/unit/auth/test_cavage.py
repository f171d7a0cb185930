"""Signing strings, algorithms and spellings against published vectors; which targets may be meant."""

from __future__ import annotations

from base64 import b64decode, b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from hypothesis import given
from hypothesis import strategies as st

from tlsgate.auth.cavage import (
    ALGORITHMS,
    HMAC_DIGESTS,
    RSA_SHA256,
    build_signing_string,
    encode_signature,
    find_targets,
    is_same_signature,
    read_rsa_signature,
    sign_hmac,
    verify_rsa,
)

SECRET = b"9879879878787878"
HEADERS = {b"date": b"Mon, 02 Jan 2006 15:04:05 GMT", b"x-test-1": b"hello", b"x-test-2": b"world"}
DATE_ONLY = (b"date",)
WHOLE = (b"(request-target)", b"date", b"x-test-1", b"x-test-2")
TYK = {
    ("hmac-sha1", DATE_ONLY): b"KxFByzIuvzbxSur8qxJvAnvIWv4%3D",
    ("hmac-sha1", WHOLE): b"h8Y2EjDow40PN%2BnsbnuMFGzwBs0%3D",
    ("hmac-sha256", DATE_ONLY): b"tPrU1o9A55e3zDCI%2FnaadOU3DlxXSFGUJyfRe4zaRV0%3D",
    ("hmac-sha256", WHOLE): b"7fCQ16lnWqiKdxpeaFJeG8JBBHBJPwP3xJTbMotTVyQ%3D",
    ("hmac-sha384", DATE_ONLY): b"%2FzjfGeT5M4bdil0lm6nsThYYnFatFnOZRdO6rLKnhAVAXd%2FDrDPipwZz7xK%2FmBce",
    ("hmac-sha384", WHOLE): b"dDE0IY3wtlfvfVYss%2Ft1blPs0nma1Qx%2FbzLW4lwi7wsBe0HSKtaF1XcLM%2F8R5Bcr",
}
APPENDIX_C_KEY = b"""-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDCFENGw33yGihy92pDjZQhl0C3
6rPJj+CvfSC8+q28hxA161QFNUd13wuCTUcq0Qd2qsBe/2hFyc2DCJJg0h1L78+6
Z4UMR7EOcpfdUE9Hf3m/hs+FUR45uBJeDK1HSFHD8bHKD6kv8FPGfJTotc+2xjJw
oYi+1hqp1fIekaxsyQIDAQAB
-----END PUBLIC KEY-----
"""
APPENDIX_C_HEADERS = {
    b"host": b"example.com",
    b"date": b"Sun, 05 Jan 2014 21:31:40 GMT",
    b"content-type": b"application/json",
    b"digest": b"SHA-256=X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=",
    b"content-length": b"18",
}
APPENDIX_C = {
    b"date": (
        b"SjWJWbWN7i0wzBvtPl8rbASWz5xQW6mcJmn+ibttBqtifLN7Sazz6m79cNfwwb8DMJ5cou1s7uEGKKCs+FLEEaDV5lp7q25WqS+lavg7T8hc0Gppau"
        b"B6hbgEKTwblDHYGEtbGmtdHgVCk9SuS13F0hZ8FD0k/5OxEPXe5WozsbM="
    ),
    b"(request-target) host date": (
        b"qdx+H7PHHDZgy4y/Ahn9Tny9V3GP6YgBPyUXMmoxWtLbHpUnXS2mg2+SbrQDMCJypxBLSPQR2aAjn7ndmw2iicw3HMbe8VfEdKFYRqzic+efkb3nnd"
        b"iv/x1xSHDJWeSWkx3ButlYSuBskLu6kd9Fswtemr3lgdDEmn04swr2Os0="
    ),
    b"(request-target) host date content-type digest content-length": (
        b"vSdrb+dS3EceC9bcwHSo4MlyKS59iFIrhgYkz8+oVLEEzmYZZvRs8rgOp+63LEM3v+MFHB32NfpB2bEKBIvB1q52LaEUHFv120V01IL+TAD48XaERZ"
        b"FukWgHoBTLMhYS2Gb51gWxpeIq8knRmPnYePbF5MOkR0Zkly4zKH7s1dE="
    ),
}


@pytest.mark.parametrize(("algorithm", "names"), list(TYK))
def test_vectors_of_the_reference(algorithm: str, names: tuple[bytes, ...]) -> None:
    """Token reference, section 7: what Tyk computes."""
    text = build_signing_string(names, b"GET", b"/hmac/get", HEADERS.get)
    assert encode_signature(algorithm, sign_hmac(algorithm, SECRET, text)) == TYK[algorithm, names]


@pytest.mark.parametrize("names", list(APPENDIX_C), ids=["default", "basic", "all headers"])
def test_vectors_of_appendix_c(names: bytes) -> None:
    """draft-cavage-http-signatures-12, C.1 to C.3: the published key verifies the published signatures over our text, and no other."""
    key = load_pem_public_key(APPENDIX_C_KEY)
    assert isinstance(key, rsa.RSAPublicKey)
    signature = read_rsa_signature(APPENDIX_C[names])
    assert signature is not None
    text = build_signing_string(tuple(names.split()), b"POST", b"/foo?param=value&pet=dog", APPENDIX_C_HEADERS.get)
    assert verify_rsa(key, signature, text)
    assert not verify_rsa(key, signature, text + b" ")
    assert not verify_rsa(key, signature[:-1], text)


def test_the_target_of_appendix_c_is_among_those_that_count() -> None:
    """With its query; Tyk knows the path alone."""
    assert find_targets(b"/foo?param=value&pet=dog", "either") == (b"/foo", b"/foo?param=value&pet=dog")


def test_the_text_has_a_line_for_each_name() -> None:
    """No newline at the end; absent headers leave an empty line; values are trimmed; the method is in lower case."""
    assert build_signing_string((b"(request-target)", b"x", b"none"), b"PoST", b"/a b", {b"x": b" 1, 2 "}.get) == (
        b"(request-target): post /a b\nx: 1, 2\nnone: "
    )


def test_another_date_stands_in_for_the_date() -> None:
    """``date`` names ``x-aux-date`` where there is one; an empty one is none."""
    assert build_signing_string((b"date",), b"GET", b"", {b"x-aux-date": b"now", b"date": b"then"}.get) == b"x-aux-date: now"
    assert build_signing_string((b"date",), b"GET", b"", {b"x-aux-date": b"", b"date": b"then"}.get) == b"date: then"


def test_three_spellings_of_an_hmac_count() -> None:
    """Plain base64 (the seed), escaped (Tyk), escaped with lower-case digits (.NET)."""
    signature = b64decode("+/+/AAAAAAAAAAAAAAAAAAAAAAA=")
    plain = b64encode(signature)
    for sent in (
        plain,
        b"%2B%2F%2B%2FAAAAAAAAAAAAAAAAAAAAAAA%3D",
        b"%2b%2f%2b%2fAAAAAAAAAAAAAAAAAAAAAAA%3d",
        b"%2b%2F%2B%2fAAAAAAAAAAAAAAAAAAAAAAA%3d",
    ):
        assert is_same_signature(signature, sent), sent


@pytest.mark.parametrize(
    "sent",
    [
        b"%2B/%2B/AAAAAAAAAAAAAAAAAAAAAAA%3D",
        b"+/+/AAAAAAAAAAAAAAAAAAAAAAA",
        b"-_-_AAAAAAAAAAAAAAAAAAAAAAA=",
        b"+/+/AAAAAAAAAAAAAAAAAAAAAAB=",
        b"+/+/AAAAAAAAAAAAAAAAAAAAAAA==",
        b"+/+/AAAAAAAAAAAAAAAAAAAAAAA=\n",
        b"%2B%2F%2B%2F%41AAAAAAAAAAAAAAAAAAAAAA%3D",
        b"%252B%252F%252B%252FAAAAAAAAAAAAAAAAAAAAAAA%253D",
        b" /+/AAAAAAAAAAAAAAAAAAAAAAA=",
        b"+/+/aaaaaaaaaaaaaaaaaaaaaaa=",
        b"",
        b"%",
    ],
)
def test_no_other_spelling_counts(sent: bytes) -> None:
    """Decisions 2.2: half escaped, unpadded, URL-safe, other padding bits, letters escaped, escaped twice, decoded as a form."""
    assert not is_same_signature(b64decode("+/+/AAAAAAAAAAAAAAAAAAAAAAA="), sent)


def test_an_rsa_signature_has_one_spelling() -> None:
    """Base64 with its padding; escaped it is none, as in Tyk."""
    assert read_rsa_signature(b"+/8=") == b"\xfb\xff"
    for sent in (b"%2B%2F8%3D", b"+/8", b"+/9=", b"-_8=", b"+/8=\n", b"+/8= ", b" +/8="):
        assert read_rsa_signature(sent) is None, sent


@given(st.binary(min_size=1, max_size=64), st.binary(min_size=1, max_size=64))
def test_another_signature_is_never_the_same(signature: bytes, other: bytes) -> None:
    """In neither spelling."""
    for sent in (b64encode(other), encode_signature("hmac-sha1", other)):
        assert is_same_signature(signature, sent) == (signature == other)


def test_algorithms() -> None:
    """Four with a secret, one with a key pair."""
    assert set(ALGORITHMS) == {*HMAC_DIGESTS, RSA_SHA256} and len(ALGORITHMS) == 5


@pytest.mark.parametrize(
    ("target", "either", "path", "full"),
    [
        (b"/a", (b"/a",), (b"/a",), (b"/a",)),
        (b"/a?b=%20", (b"/a", b"/a?b=%20"), (b"/a",), (b"/a?b=%20",)),
        (b"/a?", (b"/a", b"/a?"), (b"/a",), (b"/a?",)),
        (b"/a%20b", (b"/a b", b"/a%20b"), (b"/a b",), (b"/a%20b",)),
        (b"/a%3Fb", (b"/a%3Fb",), (b"/a?b",), (b"/a%3Fb",)),
        (b"/a%2541", (b"/a%2541",), (b"/a%41",), (b"/a%2541",)),
        (b"/a%2fb", (b"/a%2fb",), (b"/a/b",), (b"/a%2fb",)),
        (b"/a%3Bb", (b"/a%3Bb",), (b"/a;b",), (b"/a%3Bb",)),
        (b"/a%5cb", (b"/a%5cb",), (b"/a\\b",), (b"/a%5cb",)),
        (b"/a%0Ax:%20y", (b"/a%0Ax:%20y",), (), (b"/a%0Ax:%20y",)),
        (b"/a%7f", (b"/a%7f",), (), (b"/a%7f",)),
        (b"*", (b"*",), (b"*",), (b"*",)),
    ],
)
def test_targets_that_may_be_meant(target: bytes, either: tuple[bytes, ...], path: tuple[bytes, ...], full: tuple[bytes, ...]) -> None:
    """Tyk's form and the draft's, where neither can be another request's; control characters would make two lines of one."""
    assert tuple(find_targets(target, form) for form in ("either", "path", "full")) == (either, path, full)


PIECES = [b"a", b"/", b"%20", b"%41", b"%2F", b"%3F", b"%25", b"%23", b"%0A", b";", b"%3b", b"?", b"x=1", b"%5C"]
PARTS = st.lists(st.sampled_from(PIECES), max_size=6)


@given(PARTS, PARTS)
def test_one_text_never_stands_for_two_requests(one: list[bytes], other: list[bytes]) -> None:
    """With ``either``: where two targets share a text, their paths differ in escapes of ordinary characters and queries at most."""

    def plain(target: bytes) -> bytes:
        return target.partition(b"?")[0].replace(b"%41", b"A").replace(b"%20", b" ")

    first, second = b"/" + b"".join(one), b"/" + b"".join(other)
    if set(find_targets(first, "either")) & set(find_targets(second, "either")):
        assert plain(first) == plain(second)
