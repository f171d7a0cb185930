"""Addresses in one normal form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsgate.errors import WireError
from tlsgate.wire.uris import Address, parse_address


@pytest.mark.parametrize(
    ("text", "origin", "path"),
    [
        ("https://api.test", "https://api.test", b"/"),
        ("HTTPS://API.Test:443/A?b#c", "https://api.test", b"/A"),
        ("http://api.test.:80/%41%2f", "http://api.test", b"/A%2F"),
        ("http://api.test:443/", "http://api.test:443", b"/"),
        ("https://api.test?x=/y", "https://api.test", b"/"),
        ("https://[2001:DB8::0:1]:8443/x", "https://[2001:db8::1]:8443", b"/x"),
    ],
)
def test_normal_forms(text: str, origin: str, path: bytes) -> None:
    """RFC 3986, section 6.2."""
    assert parse_address(text) == Address(origin, path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/x",
        "ftp://a/",
        "https:///x",
        "https://a:b/",
        "https://u@a/",
        "https://a/%",
        "https://\u00e9.test/",
        " https://a/",
        "https://a b/",
        "https://a/\0",
        "https://a/%00",
    ],
)
def test_what_is_no_address(text: str) -> None:
    """Relative, of another scheme, with user information, or not well formed."""
    with pytest.raises(WireError):
        parse_address(text)


@given(st.text(max_size=60))
def test_any_text(text: str) -> None:
    """An address or the one fault; its normal form is its own."""
    for candidate in (text, f"https://{text}", f"http://a/{text}"):
        try:
            found = parse_address(candidate)
        except WireError:
            continue
        assert parse_address(found.origin + found.path.decode()) == found
