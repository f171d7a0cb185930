"""One normal form of host names for certificates, policies and routes."""

from __future__ import annotations

import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tlsgate.errors import WireError
from tlsgate.wire.names import host_matches_wildcard, is_ip_literal, normalise_dns_name, normalise_host, split_host_port

LABEL_63 = "a" * 63
NAME_253 = ".".join([LABEL_63, LABEL_63, LABEL_63, "a" * 61])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("example.test", "example.test"),
        ("EXAMPLE.Test", "example.test"),
        ("example.test.", "example.test"),
        ("Example.Test.:8443", "example.test"),
        ("example.test:1", "example.test"),
        ("example.test:65535", "example.test"),
        ("localhost", "localhost"),
        ("127.0.0.1:80", "127.0.0.1"),
        ("[2001:DB8::0:1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("2001:db8:0:0::1", "2001:db8::1"),
        ("::1", "::1"),
        ("[::1]", "::1"),
    ],
)
def test_spellings_of_one_host_become_one(text: str, expected: str) -> None:
    """Case, final dot, port and brackets do not make another host (decisions 1)."""
    assert normalise_host(text) == expected


@pytest.mark.parametrize(
    "text", ["my_svc.up.test", "_dmarc.example.test", "ab--cd.test", "xn--bcher-kva.test", "a-.test", "-a.test", "1.test"]
)
def test_names_that_idna_refuses_but_dns_knows_pass(text: str) -> None:
    """Field report B21: underscores, `--` at position 3, `xn--`."""
    assert normalise_host(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bücher.test", "xn--bcher-kva.test"),
        ("BÜCHER.test", "xn--bcher-kva.test"),
        ("bücher.my_svc.ab--cd.test", "xn--bcher-kva.my_svc.ab--cd.test"),
        ("bücher。test", "xn--bcher-kva.test"),
        ("ＥＸＡＭＰＬＥ.test", "example.test"),
        ("straße.test:443", "xn--strae-oqa.test"),
    ],
)
def test_unicode_names_become_a_labels(text: str, expected: str) -> None:
    """Configured domains may be written in Unicode; the wire only knows A-labels."""
    assert normalise_host(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        ".example.test",
        "example..test",
        "example.test..",
        "exa mple.test",
        "example.test/",
        "example.test\n",
        "example.test\x00",
        "user@example.test",
        "*.example.test",
        "{name}.example.test",
        "example.test:",
        "example.test:0",
        "example.test:65536",
        "example.test:100000",
        "example.test:http",
        "example.test:+80",
        "example.test:-1",
        "example.test: 80",
        "example.test:٨٠",
        ":80",
        "[::1",
        "::1]",
        "[::1]x",
        "[::1]80",
        "[::1]:",
        "[::1]:0",
        "[::1]:x",
        "[::1]:80:80",
        "[127.0.0.1]",
        "[fe80::1%eth0]",
        "fe80::1%eth0",
        "[example.test]",
        "[v1.x]",
        "[]",
        "a:b:c",
        "a℀b.test",
        "a\u2488com",
        "\u0301a.test",
        "bücher..test",
        "\ud800.test",
        "%61.test",
    ],
)
def test_text_that_cannot_be_a_host_is_refused(text: str) -> None:
    """A refusal, and never another name, comes out of malformed text."""
    with pytest.raises(WireError):
        normalise_host(text)


def test_lengths_of_names_and_labels_at_their_bounds() -> None:
    """RFC 1035 section 2.3.4: 63 bytes a label, 253 characters of text."""
    assert normalise_dns_name("a" * 62) == "a" * 62
    assert normalise_dns_name(LABEL_63) == LABEL_63
    with pytest.raises(WireError):
        normalise_dns_name("a" * 64)
    assert normalise_dns_name(NAME_253[:-1]) == NAME_253[:-1]
    assert normalise_dns_name(NAME_253) == NAME_253
    assert normalise_dns_name(NAME_253 + ".") == NAME_253
    with pytest.raises(WireError):
        normalise_dns_name(NAME_253 + "a")


@pytest.mark.parametrize("text", ["example.test:80", "[::1]", "::1"])
def test_a_bare_name_has_neither_port_nor_brackets(text: str) -> None:
    """What stands in an SNI is a name only (RFC 6066 section 3)."""
    with pytest.raises(WireError):
        normalise_dns_name(text)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"example.test", ("example.test", None)),
        (b"Example.TEST.:8080", ("example.test", 8080)),
        (b"example.test:1", ("example.test", 1)),
        (b"example.test:65535", ("example.test", 65535)),
        (b"127.0.0.1:80", ("127.0.0.1", 80)),
        (b"[2001:DB8::1]", ("2001:db8::1", None)),
        (b"[2001:db8::1]:443", ("2001:db8::1", 443)),
        (b"my_svc.ab--cd.test:9", ("my_svc.ab--cd.test", 9)),
        (NAME_253.encode() + b".:65535", (NAME_253, 65535)),
    ],
)
def test_host_fields_are_split(value: bytes, expected: tuple[str, int | None]) -> None:
    """RFC 9112 section 3.2: Host = uri-host [ ":" port ]."""
    assert split_host_port(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b":80",
        b"example.test:",
        b"example.test:0",
        b"example.test:080",
        b"example.test:65536",
        b"example.test:99999",
        b"example.test:100000",
        b"example.test:8a",
        b"example.test:80:80",
        b"user@example.test",
        b"user:pass@example.test",
        b"example.test/path",
        b"example.test?x",
        b"example.test#x",
        b"example.test\\x",
        b"ex%61mple.test",
        b"example.test,other.test",
        b"example.test, other.test",
        b"example.test other.test",
        b" example.test",
        b"example.test ",
        b"example.test\n",
        b"example.test\r\n",
        b"b\xfccher.test",
        b"b\xc3\xbccher.test",
        b"2001:db8::1",
        b"[2001:db8::1",
        b"[2001:db8::1]443",
        b"[::1%25eth0]",
        b"[1.2.3.4]",
        b"[:::]",
        b"[v7.x]",
        b"..",
        b"a..b",
        NAME_253.encode() + b".:655350",
        b"a" * 10000,
    ],
)
def test_malformed_host_fields_are_refused(value: bytes) -> None:
    """User information, escapes, lists, bad ports: one reading or none."""
    with pytest.raises(WireError):
        split_host_port(value)


@pytest.mark.parametrize(
    ("pattern", "host", "expected"),
    [
        ("*.example.test", "a.example.test", True),
        ("*.example.test", "a.b.example.test", False),
        ("*.example.test", "example.test", False),
        ("*.example.test", ".example.test", False),
        ("*.example.test", "aexample.test", False),
        ("*.example.test", "a.example.test2", False),
        ("example.test", "example.test", False),
        ("*", "example.test", False),
        ("*.", "example", False),
        ("*.", "example.", False),
        ("*.test", "example.test", True),
    ],
)
def test_a_wildcard_covers_exactly_one_label(pattern: str, host: str, expected: bool) -> None:
    """RFC 9525 section 6.3: one level, left-most."""
    assert host_matches_wildcard(pattern, host) is expected


@pytest.mark.parametrize(
    ("host", "expected"), [("127.0.0.1", True), ("::1", True), ("1.2.3", False), ("a.test", False), ("a.b.c.d1", False), ("", False)]
)
def test_addresses_are_told_from_names(host: str, expected: bool) -> None:
    """RFC 6066 section 3: literal addresses are no server names."""
    assert is_ip_literal(host) is expected


@settings(deadline=None)
@given(st.text() | st.text(alphabet=string.ascii_letters + "0123456789.-_:[]%ü"))
@example("İ.test")
@example("ﬀ.test")
def test_any_text_gives_a_stable_normal_form_or_a_wire_error(text: str) -> None:
    """Normalising twice changes nothing, and the result can be sent in an SNI or compared as bytes."""
    try:
        host = normalise_host(text)
    except WireError:
        return
    assert host
    assert host.isascii()
    assert host == host.lower()
    assert normalise_host(host) == host


@settings(deadline=None)
@given(st.binary(max_size=60) | st.text(alphabet="aB1.-_:[]", max_size=30).map(str.encode))
def test_the_strict_reading_never_disagrees_with_the_tolerant_one(value: bytes) -> None:
    """What a Host field says is what configuration text with the same spelling says."""
    try:
        host, port = split_host_port(value)
    except WireError:
        return
    assert host == normalise_host(value.decode("ascii"))
    assert port is None or 0 < port < 65536
