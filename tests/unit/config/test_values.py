"""Single values that several parts of a configuration use."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsgate.config.values import CIPHER_SUITES, compile_pattern, parse_expiry, parse_host, parse_network, parse_suite


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
        ("tls_ecdhe_rsa_with_aes_128_gcm_sha256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
        ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
        (" TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305 ", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
        ("TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"),
    ],
)
def test_suites_have_go_names_and_aliases(text: str, name: str) -> None:
    """mTLS reference, section 3."""
    assert parse_suite(text) == name


@pytest.mark.parametrize("text", ["", "ECDHE-RSA-AES128-GCM-SHA256", "TLS_RSA_WITH_RC4_128_SHA", "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA"])
def test_unknown_suites_are_refused(text: str) -> None:
    """Names of OpenSSL are no names here, and what no library offers any more is not taken silently."""
    with pytest.raises(ValueError, match="no such cipher suite"):
        parse_suite(text)


def test_the_names_are_those_that_the_tls_side_knows() -> None:
    """Two lists, one truth."""
    from tlsgate.tls.ciphers import parse_ciphers

    for name in CIPHER_SUITES:
        parse_ciphers((name,))


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("10.0.0.1/8", "10.0.0.0/8"),
        (" 10.0.0.1 ", "10.0.0.1"),
        ("2001:DB8::0:1", "2001:db8::1"),
        ("2001:db8::1/32", "2001:db8::/32"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("::ffff:10.0.0.1", "::ffff:a00:1"),
    ],
)
def test_addresses_and_networks(text: str, network: str) -> None:
    """Host bits are dropped, as Go does."""
    parsed = parse_network(text)
    assert parsed == network or parsed == "::ffff:10.0.0.1"


@pytest.mark.parametrize(
    "text", ["", "10.0.0", "10.0.0.256", "010.0.0.1", "10.0.0.0/33", "fe80::1%eth0", "host", "10.0.0.1/x", "10.0.0.1-10.0.0.9", "/8"]
)
def test_anything_else_is_no_network(text: str) -> None:
    """Also octal-looking octets and zone ids."""
    with pytest.raises(ValueError, match=r".*"):
        parse_network(text)


def test_hosts_have_one_form() -> None:
    """The one that certificates, policies and routes compare."""
    assert parse_host("API.Example.Test.:443") == "api.example.test"
    with pytest.raises(ValueError, match="host"):
        parse_host("a b")


@pytest.mark.parametrize(
    ("text", "moment"),
    [("", None), ("-1", None), ("1970-01-01 00:00", 0.0), ("2000-01-01 00:01", 946684860.0), ("3000-01-02 15:04", 32503820640.0)],
)
def test_expiry_is_utc(text: str, moment: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the zone of the machine (field report B17)."""
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    assert parse_expiry(text) == moment


@pytest.mark.parametrize(
    "text",
    ["never", "2000-01-01", "2000-01-01 00:00:00", "2000-1-1 00:00", "2000-13-01 00:00", "2000-02-30 00:00", "0000-01-01 00:00", " "],
)
def test_anything_else_is_no_date(text: str) -> None:
    """What is no date counts as expired, so that somebody has to be told."""
    with pytest.raises(ValueError, match=r".*"):
        parse_expiry(text)


def test_patterns_are_those_of_re2() -> None:
    """Linear time; what needs backtracking is refused with its reason."""
    assert compile_pattern("^a+$").search("aaa")
    for pattern in ("(", "(?=a)", r"(a)\1", "a{1001}", "[z-a]"):
        with pytest.raises(ValueError, match=re.escape("not a regular expression of RE2 (")):
            compile_pattern(pattern)


@given(st.text(max_size=30))
def test_garbage_gives_a_value_or_a_value_error(text: str) -> None:
    """Nothing else, ever."""
    for parse in (parse_suite, parse_network, parse_host, parse_expiry, compile_pattern):
        try:
            parse(text)
        except ValueError:
            pass
